"""TPE: a tree-structured Parzen estimator with constraints, on optuna."""

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
    """Tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011), multivariate, on optuna's `TPESampler`.

    A gene is a categorical parameter. A density of the good architectures so far, l, and one of the others, g, are fitted; of `candidates`
    draws from l the one with the greatest l/g is the next suggestion. A cost is free and feasibility a function of it, so both are known
    before an accuracy is asked. They are used like this:

    - The acquisition is l/g times the indicator "feasible and not asked yet", and plain l/g where no draw passes: expected improvement
      times the probability of feasibility (Gardner et al., ICML 2014), a probability that is 0 or 1 here.
    - An infeasible suggestion costs no query. optuna is told its violation as a constraint and ranks it behind every feasible trial by
      violation alone (the accuracy of 0 told with it plays no part), so a first feasible architecture is approached.
    - A start-up trial is the first new feasible one of `draws` uniform draws, else the least violating of them. The same takes the place of
      a suggestion that was told before.

    The search ends after `patience` suggestions in a row without a new query: all that it can find of the feasible region is known.
    """

    startup: int = 20
    """Trials before the densities are first fitted (20 in hyperopt, 10 in optuna)."""
    candidates: int = 24
    """Draws from l for a suggestion (24 in hyperopt and optuna)."""
    infeasible: int = 100
    """Infeasible trials that are told at most: every trial makes all later suggestions slower."""
    draws: int = 100
    """Uniform draws for a start-up trial, or in place of a suggestion told before."""
    patience: int = 100
    """Suggestions in a row without a new query after which the search ends."""
    needs: ClassVar[frozenset[Need]] = frozenset({Need.ACCURACY})

    def search(self, problem: Problem, evaluator: Evaluator, rng: np.random.Generator) -> Iterator[tuple[Architecture, ...]]:
        """Yield the best feasible architecture by validation accuracy, as a tuple of one, whenever it changes."""
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
        """Return the first feasible of `draws` uniform draws not told yet, else the least violating of them, else None."""
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
    """What the search knows for free: the violation of all it looked at, and which architectures the sampler was told."""

    def __init__(self, problem: Problem, evaluator: Evaluator):
        self.problem = problem
        self.told: set[_Genes] = set()
        self._evaluator = evaluator
        self._violations: dict[_Genes, float] = {}

    def violation(self, genes: _Genes) -> float:
        """Return `problem.violation`, asked once for every architecture."""
        found = self._violations.get(genes)
        if found is None:
            arch = Architecture(self.problem.space.name, genes)
            found = self._violations[genes] = self.problem.violation(arch, self._evaluator.cost(arch))
        return found

    def worth_asking(self, genes: _Genes) -> bool:
        """Return whether a query could be spent on it: feasible, and not asked before."""
        return genes not in self.told and self.violation(genes) == 0


class _Suggestions:
    """A study's trials as genes: parameter `i` is gene i."""

    def __init__(self, arity: tuple[int, ...], study: Study):
        from optuna.distributions import CategoricalDistribution

        self.study = study
        self._distributions: Any = {str(gene): CategoricalDistribution(tuple(range(choices))) for gene, choices in enumerate(arity)}

    def ask(self, fixed: _Genes | None) -> tuple[_Genes, Trial]:
        """Return a new trial and its genes: the sampler's own, or the `fixed` ones."""
        if fixed is not None:
            self.study.enqueue_trial({str(gene): value for gene, value in enumerate(fixed)})
        trial = self.study.ask(self._distributions)
        params = trial.params
        return tuple([params[name] for name in self._distributions]), trial


def _study(settings: TPE, known: _Known, rng: np.random.Generator) -> Study:
    """Return a study in memory that maximises; optuna's announcement of it is silenced, its level of logging left as it was."""
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


@cache  # one class a process: a class of its own for each search would hold on to the search's memory until a full collection
def _constrained_sampler() -> Callable[..., BaseSampler]:
    """Return the class of optuna's sampler with the indicator of feasible, new candidates in its acquisition."""
    from optuna.samplers import TPESampler

    class ConstrainedSampler(TPESampler):
        def __init__(self, known: _Known, **settings: Any):
            super().__init__(**settings)
            self._known = known

        # Should optuna rename this, suggestions stay valid: the search checks each; only more of them would be in vain.
        def _compute_acquisition_func(self, samples: dict[str, NDArray[np.float64]], *densities: Any) -> NDArray[np.float64]:
            acquisition = super()._compute_acquisition_func(samples, *densities)
            genes = np.zeros((len(acquisition), len(self._known.problem.space.arity)), dtype=int)  # a gene without a choice is not sampled
            for name, values in samples.items():
                genes[:, int(name)] = values
            worth = np.array([self._known.worth_asking(tuple(row)) for row in genes.tolist()])
            return np.where(worth, acquisition, -np.inf) if worth.any() else acquisition

    return ConstrainedSampler
