"""Standings of methods on one problem, on one board, and over many problems. Ranking classes are never mixed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from budgetnas.leaderboards.boards.context import Board
from budgetnas.leaderboards.boards.outcomes import BOARD_COLUMNS, points_by_seed, samples_by_method
from budgetnas.leaderboards.shared.pareto import normalised_hypervolumes
from budgetnas.leaderboards.shared.statistics import (
    TIE_DECIMALS,
    Estimate,
    Friedman,
    average_rank_estimates,
    difference_estimates,
    friedman,
    interquartile_mean_estimates,
    mean_estimates,
    pairwise_wilcoxon,
    pooled_difference_estimates,
    rank_biserial,
    ranks,
    smallest_p,
)

Floats = NDArray[np.float64]
ProblemKey = tuple[str, ...]  # space, dataset, device, problem
ProblemStandings = Mapping[ProblemKey, Sequence["ProblemStanding"]]

RANDOM_SEARCH = "random_search"
SIGNIFICANCE = 0.05
# With fewer runs there is no verdict, because a percentile interval is far too short (with 5 runs it covers about 85 %, not 95 %).
FEWEST_SEEDS = 5
# With fewer runs the intervals are still too short, and pages have a warning.
ADVISED_SEEDS = 10

# Means of equal values may differ by rounding by up to this [points], which must not affect verdicts.
ROUNDING = 10.0**-TIE_DECIMALS

BEATS, LOSES, UNDECIDED = "beats", "loses", "no difference shown"
TOO_FEW_SEEDS, TOO_FEW_PROBLEMS, NO_REFERENCE, REFERENCE = "too few seeds", "too few problems", "no random search", "reference"


@dataclass(frozen=True, slots=True)
class ProblemStanding:
    """A method on one problem. Accuracies are in percent, regrets and differences in percentage points, time in simulated GPU hours."""

    method: str
    rank: float
    trials: int
    test: Estimate
    regret: Estimate
    feasible_share: float
    queries: float
    gpu_hours: float
    difference: Estimate | None
    verdict: str


@dataclass(frozen=True, slots=True)
class Standing:
    """A method over many problems.

    Attributes:
        beats: the number of problems on which it beats random search.
        loses: the number of problems on which it loses to random search.
        p: p-value of the signed-rank test against random search, with problems as blocks.
        effect: rank-biserial correlation of that test.
        verdict: the result of that test, for problems in general.
        difference: its mean regret minus random search's, averaged over the problems [points]; seeds are resampled.
        here: the result of that difference, for these problems only.
        hypervolume: share of the exact front's hypervolume; None over several boards.
    """

    method: str
    rank: Estimate
    regret: Estimate
    feasible_share: float
    beats: int
    loses: int
    p: float | None
    effect: float | None
    verdict: str
    difference: Estimate | None
    here: str
    hypervolume: Estimate | None = None


@dataclass(frozen=True, slots=True)
class Ranking:
    """The standings of one ranking class over `problems` problems, the best first. `left_out` problems do not count: they lack a method."""

    standings: tuple[Standing, ...]
    problems: int
    left_out: int
    friedman: Friedman | None
    p_values: pd.DataFrame
    smallest_p: float
    scores: pd.DataFrame


def _verdicts(trials: Mapping[str, pd.DataFrame]) -> dict[str, tuple[Estimate | None, str]]:
    """Return each method's difference of mean regrets to random search [points] and what it shows."""
    random, others = trials.get(RANDOM_SEARCH), [method for method in trials if method != RANDOM_SEARCH]
    if random is None:
        return dict.fromkeys(others, (None, NO_REFERENCE))
    found: dict[str, tuple[Estimate | None, str]] = {RANDOM_SEARCH: (None, REFERENCE)}
    differences = difference_estimates([trials[method]["counted_regret"] for method in others], random["counted_regret"])
    for method, difference in zip(others, differences, strict=True):
        seeds = [len(rows) for rows in (trials[method], random) if not bool(rows["deterministic"].iloc[0])]
        found[method] = difference, _shown(difference, min(seeds, default=FEWEST_SEEDS))
    return found


def _shown(difference: Estimate, seeds: int) -> str:
    """Return the verdict for a difference to random search [points], from at least `seeds` runs."""
    if seeds < FEWEST_SEEDS or difference.interval is None:
        return TOO_FEW_SEEDS
    if difference.interval.high < -ROUNDING:
        return BEATS
    return LOSES if difference.interval.low > ROUNDING else UNDECIDED


def _here(
    methods: Sequence[str], verdicts: Sequence[ProblemStanding], complete: Sequence[Mapping[str, Floats]]
) -> dict[str, tuple[Estimate | None, str]]:
    """Return each method's mean difference to random search over problems that every method has run on, and what it shows there."""
    others = [method for method in methods if method != RANDOM_SEARCH]
    if len(others) == len(methods):
        return dict.fromkeys(methods, (None, NO_REFERENCE))
    found: dict[str, tuple[Estimate | None, str]] = {RANDOM_SEARCH: (None, REFERENCE)}
    random = [samples[RANDOM_SEARCH] for samples in complete]
    differences = pooled_difference_estimates([[samples[method] for samples in complete] for method in others], random)
    for method, difference in zip(others, differences, strict=True):
        few = any(row.method == method and row.verdict == TOO_FEW_SEEDS for row in verdicts)
        found[method] = difference, TOO_FEW_SEEDS if few else _shown(difference, FEWEST_SEEDS)
    return found


def problem_standings(table: pd.DataFrame) -> list[ProblemStanding]:
    """Return the standings on one problem, the lowest mean regret first, ties by name.

    Args:
        table: the outcomes of the problem, of one ranking class.
    """
    means = table.groupby("method", sort=True)["counted_regret"].mean()
    rank = dict(zip(means.index, ranks([means.to_numpy()])[0], strict=True)) if len(means) else {}
    by_method = {str(method): trials for method, trials in table.groupby("method", sort=True)}
    verdicts = _verdicts(by_method)
    figures = mean_estimates([trials[name] for trials in by_method.values() for name in ("counted_test", "counted_regret")])
    rows = [
        ProblemStanding(
            method=method,
            rank=float(rank[method]),
            trials=len(trials),
            test=test,
            regret=regret,
            feasible_share=float(trials["feasible"].mean()),
            queries=float(trials["queries"].mean()),
            gpu_hours=float(trials["gpu_hours"].mean()),
            difference=verdicts[method][0],
            verdict=verdicts[method][1],
        )
        for (method, trials), test, regret in zip(by_method.items(), figures[::2], figures[1::2], strict=True)
    ]
    return sorted(rows, key=lambda row: (row.rank, row.method))


def standings_by_problem(table: pd.DataFrame) -> dict[ProblemKey, list[ProblemStanding]]:
    """Return the standings on each problem, by (space, dataset, device, problem), from outcomes of one ranking class."""
    return {tuple(map(str, key)): problem_standings(group) for key, group in table.groupby([*BOARD_COLUMNS, "problem"], sort=True)}


def hypervolumes(table: pd.DataFrame, board: Board) -> dict[str, Estimate]:
    """Return each method's hypervolume on a board divided by that of the exact front, as mean over seeds with an interval.

    The points of a seed are all its feasible recommendations over the board's problems. If the front dominates no area, the value is NaN.
    """
    values = {
        str(method): normalised_hypervolumes(points_by_seed(trials), board.front, board.hypervolume_reference)
        for method, trials in table.groupby("method", sort=True)
    }
    known = [method for method, shares in values.items() if np.isfinite(shares).all()]
    estimates = dict(zip(known, mean_estimates([values[method] for method in known]), strict=True))
    return {method: estimates.get(method, Estimate(float("nan"))) for method in values}


def _complete(table: pd.DataFrame) -> tuple[dict[ProblemKey, dict[str, Floats]], int]:
    """Return the regrets by problem and method for the problems on which all methods have run, and the number of other problems."""
    methods = set(table["method"])
    by_problem = {key: samples_by_method(group, "counted_regret") for key, group in table.groupby([*BOARD_COLUMNS, "problem"], sort=True)}
    complete = {tuple(map(str, key)): samples for key, samples in by_problem.items() if set(samples) == methods}
    return complete, len(by_problem) - len(complete)


def _scores(complete: Mapping[ProblemKey, Mapping[str, Floats]], methods: Sequence[str]) -> pd.DataFrame:
    rows = {" ".join(key): [samples[method].mean() for method in methods] for key, samples in complete.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(methods), dtype=np.float64)


def ranking_scores(table: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """Return the mean regrets [points], (problems, methods), on the problems on which all methods of `table` have run."""
    complete, _ = _complete(table)
    return _scores({key: samples for key, samples in complete.items() if set(methods) <= set(samples)}, methods)


def _overall_verdict(method: str, p: float | None, effect: float | None, least: float) -> str:
    if method == RANDOM_SEARCH:
        return REFERENCE
    if p is None or effect is None:
        return NO_REFERENCE
    if least > SIGNIFICANCE:
        return TOO_FEW_PROBLEMS
    if p > SIGNIFICANCE or effect == 0.0:
        return UNDECIDED
    return BEATS if effect < 0.0 else LOSES


def ranking(table: pd.DataFrame, by_problem: ProblemStandings, board: Board | None = None) -> Ranking:
    """Return the ranking over all problems on which all methods have run.

    Regrets are pooled in percentage points: datasets with large regrets have more weight in the interquartile mean, but not in the ranks.

    Args:
        table: the outcomes, of one ranking class.
        by_problem: the standings of the same outcomes, from `standings_by_problem`.
        board: the board of the outcomes, if they are of one board; it adds hypervolumes.
    """
    methods = sorted(set(table["method"]))
    complete, left_out = _complete(table)
    scores = _scores(complete, methods)
    p_values = pairwise_wilcoxon(scores)
    least = smallest_p(len(complete), len(methods) * (len(methods) - 1) // 2)
    rank = average_rank_estimates(scores) if complete else []
    shares = hypervolumes(table, board) if board is not None else {}
    verdicts = [row for rows in by_problem.values() for row in rows]
    regrets = interquartile_mean_estimates([[samples[method] for samples in complete.values()] for method in methods]) if complete else []
    here = _here(methods, verdicts, list(complete.values())) if complete else {}
    standings = []
    for position, method in enumerate(methods if complete else ()):
        against = RANDOM_SEARCH in methods and method != RANDOM_SEARCH
        p = float(p_values.loc[method, RANDOM_SEARCH]) if against else None
        effect = rank_biserial(scores[method], scores[RANDOM_SEARCH]) if against else None
        standings.append(
            Standing(
                method=method,
                rank=rank[position],
                regret=regrets[position],
                feasible_share=float(table.loc[table["method"] == method, "feasible"].mean()),
                beats=sum(row.method == method and row.verdict == BEATS for row in verdicts),
                loses=sum(row.method == method and row.verdict == LOSES for row in verdicts),
                p=p,
                effect=effect,
                verdict=_overall_verdict(method, p, effect, least),
                difference=here[method][0],
                here=here[method][1],
                hypervolume=shares.get(method),
            )
        )
    standings.sort(key=lambda row: (round(row.rank.value, TIE_DECIMALS), row.method))
    order = [row.method for row in standings]
    return Ranking(tuple(standings), len(complete), left_out, friedman(scores), p_values.loc[order, order], least, scores)


def dataset_scores(table: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """Return the mean regret [points] of each method on each dataset, (datasets, methods).

    It is the mean over the problems of the dataset on which all methods have run, so that devices with shared accuracies count once.
    """
    complete, _ = _complete(table)
    rows: dict[str, list[list[float]]] = {}
    for key, samples in complete.items():
        rows.setdefault(" ".join(key[:2]), []).append([float(samples[method].mean()) for method in methods])
    means = {dataset: np.mean(values, axis=0) for dataset, values in rows.items()}
    return pd.DataFrame.from_dict(means, orient="index", columns=list(methods), dtype=np.float64)
