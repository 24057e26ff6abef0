"""TPE: a tree-structured Parzen estimator with constraints, with optuna."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from budgetnas.harness.problem import Architecture, Evaluator, Need, Problem
from budgetnas.spaces.space import sample

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import Trial

_Genes = tuple[int, ...]


@dataclass(frozen=True)
class TPE:
    """Tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011), multivariate, with optuna's `TPESampler`.

    Each gene is a categorical parameter. The estimator fits a density l to the good architectures so far and a density g to the others. It
    draws `candidates` times from l, and suggests the draw with the greatest l/g. Costs are free, so feasibility is known before a query.
    The search uses this in three ways:

    - The acquisition is l/g, multiplied by 1 for a draw that is feasible and not yet evaluated, and by 0 for any other. If all draws would
      get 0, plain l/g is used. This is expected improvement times the probability of feasibility (Gardner et al., ICML 2014); here the
      probability is 0 or 1.
    - An infeasible suggestion costs no query. optuna receives its violation as a constraint, and ranks it behind every feasible trial by
      violation alone (the accuracy of 0 that is reported with it is not used). This leads the search towards the feasible region.
    - A start-up trial is the first new feasible architecture in `draws` uniform draws, or the draw with the smallest violation if none is
      feasible. A trial of the same kind replaces a suggestion that optuna already knows.

    The search ends after `patience` suggestions in a row without a new query: it no longer finds new feasible architectures.
    """

    startup: int = 20
    """Trials before the densities are first fitted (20 in hyperopt, 10 in optuna)."""
    candidates: int = 24
    """Draws from l per suggestion (24 in hyperopt and optuna)."""
    infeasible: int = 100
    """Limit on the number of infeasible trials that optuna receives. Each trial makes all later suggestions slower."""
    draws: int = 100
    """Uniform draws for a start-up trial, and for the replacement of a suggestion that optuna already knows."""
    patience: int = 100
    """Suggestions in a row without a new query, after which the search ends."""
    needs: ClassVar[frozenset[Need]] = frozenset({Need.ACCURACY})

    def search(self, problem: Problem, evaluator: Evaluator, rng: np.random.Generator) -> Iterator[tuple[Architecture, ...]]:
        """Yield the feasible architecture of the best validation accuracy, as a tuple of one, whenever it changes."""
        from optuna.trial import TrialState

        known = _Known(problem, evaluator)
        suggestions = _Suggestions(problem.space.arity, _study(self, known, rng))
        best, misses, infeasible_told = -math.inf, 0, 0
        while misses < self.patience:
            misses += 1
            drawn = self._draw(known, rng) if len(known.told) < self.startup else None
            genes, trial = suggestions.ask(drawn)
            if genes in known.told:
                suggestions.study.tell(trial, state=TrialState.FAIL)  # failed trials are left out of the densities
                drawn = self._draw(known, rng)
                if drawn is None:
                    continue
                genes, trial = suggestions.ask(drawn)
            violation = known.violation(genes)
            trial.set_constraint("violation", violation)
            if violation > 0:
                if infeasible_told < self.infeasible:
                    suggestions.study.tell(trial, 0.0)
                    known.told.add(genes)
                    infeasible_told += 1
                else:
                    suggestions.study.tell(trial, state=TrialState.FAIL)
                continue
            arch = Architecture(problem.space.name, genes)
            accuracy = evaluator.accuracy(arch)
            suggestions.study.tell(trial, accuracy)
            known.told.add(genes)
            misses = 0
            if accuracy > best:
                best = accuracy
                yield (arch,)

    def _draw(self, known: _Known, rng: np.random.Generator) -> _Genes | None:
        """Return the first of `draws` uniform draws that is feasible and new to optuna.

        If none is feasible, return the new one with the smallest violation; if none is new, return None.
        """
        least: _Genes | None = None
        for _ in range(self.draws):
            genes = sample(known.problem.space, rng).genes
            if genes in known.told:
                continue
            if known.violation(genes) == 0:
                return genes
            if least is None or known.violation(genes) < known.violation(least):
                least = genes
        return least


class _Known:
    """The violations computed so far, and the architectures (`told`) that optuna knows."""

    def __init__(self, problem: Problem, evaluator: Evaluator):
        self.problem = problem
        self.told: set[_Genes] = set()
        self._evaluator = evaluator
        self._violations: dict[_Genes, float] = {}

    def violation(self, genes: _Genes) -> float:
        """Return `problem.violation`, computed once for each architecture."""
        found = self._violations.get(genes)
        if found is None:
            arch = Architecture(self.problem.space.name, genes)
            found = self._violations[genes] = self.problem.violation(arch, self._evaluator.cost(arch))
        return found

    def worth_asking(self, genes: _Genes) -> bool:
        """Return whether a query is worthwhile: the architecture is feasible and new to optuna."""
        return genes not in self.told and self.violation(genes) == 0


class _Suggestions:
    """The trials of an optuna study as genes: parameter `i` is gene i."""

    def __init__(self, arity: tuple[int, ...], study: Study):
        from optuna.distributions import CategoricalDistribution

        self.study = study
        self._distributions: Any = {str(gene): CategoricalDistribution(tuple(range(choices))) for gene, choices in enumerate(arity)}

    def ask(self, fixed: _Genes | None) -> tuple[_Genes, Trial]:
        """Return a new trial and its genes: the `fixed` ones if given, otherwise the sampler's suggestion."""
        if fixed is not None:
            self.study.enqueue_trial({str(gene): value for gene, value in enumerate(fixed)})
        trial = self.study.ask(self._distributions)
        params = trial.params
        return tuple([params[name] for name in self._distributions]), trial


def _study(settings: TPE, known: _Known, rng: np.random.Generator) -> Study:
    """Return an in-memory optuna study that maximises. optuna does not log its creation, and its log level is restored afterwards."""
    import optuna

    sampler = _constrained_sampler()(
        known,
        seed=int(rng.integers(2**31)),
        multivariate=True,
        constant_liar=False,  # one trial runs at a time
        n_startup_trials=settings.startup,
        n_ei_candidates=settings.candidates,
    )
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(sampler=sampler, direction="maximize")
    finally:
        optuna.logging.set_verbosity(level)


@cache  # one class per process: a class per search would keep the search's memory alive until a full garbage collection
def _constrained_sampler() -> Callable[..., BaseSampler]:
    """Return a subclass of optuna's sampler that considers only feasible, new candidates where there are any."""
    from optuna.samplers import TPESampler

    class ConstrainedSampler(TPESampler):
        def __init__(self, known: _Known, **settings: Any):
            super().__init__(**settings)
            self._known = known

        # If optuna renames this method, the search stays correct, as it checks each suggestion; it only wastes more suggestions.
        def _compute_acquisition_func(self, samples: dict[str, NDArray[np.float64]], *densities: Any) -> NDArray[np.float64]:
            acquisition = super()._compute_acquisition_func(samples, *densities)
            genes = np.zeros((len(acquisition), len(self._known.problem.space.arity)), dtype=int)  # genes of one choice are not sampled
            for name, values in samples.items():
                genes[:, int(name)] = values
            worth = np.array([self._known.worth_asking(tuple(row)) for row in genes.tolist()])
            return np.where(worth, acquisition, -np.inf) if worth.any() else acquisition

    return ConstrainedSampler
