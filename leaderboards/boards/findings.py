"""Texts about a set of outcomes: warnings, trials that count as chance, figures of methods, verdicts."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from budgetnas.leaderboards.boards.outcomes import FULL_INFORMATION
from budgetnas.leaderboards.boards.standings import (
    ADVISED_SEEDS,
    BEATS,
    FEWEST_SEEDS,
    LOSES,
    NO_REFERENCE,
    RANDOM_SEARCH,
    REFERENCE,
    SIGNIFICANCE,
    TOO_FEW_PROBLEMS,
    UNDECIDED,
    Ranking,
    Standing,
)
from budgetnas.leaderboards.shared.nested_columns import ROW, reported_figures
from budgetnas.leaderboards.shared.tables import escape, estimate, number, p_value, several


def fewest_seeds(table: pd.DataFrame) -> int | None:
    """Return the smallest number of seeds of a method on a problem, without deterministic methods; None if there are no others."""
    random = table[~table["deterministic"].astype(bool)]
    if random.empty:
        return None
    return int(random.groupby(["space", "dataset", "device", "problem", "method"]).size().min())


def most_seeds(table: pd.DataFrame) -> int:
    """Return the largest number of seeds of a method on a problem."""
    return int(table.groupby(["space", "dataset", "device", "problem", "method"]).size().max())


def _seed_warnings(table: pd.DataFrame) -> list[str]:
    fewest = fewest_seeds(table)
    if fewest is None or fewest >= ADVISED_SEEDS:
        return []
    has_run = f"A method has only {several(fewest, 'seed')} on a problem."
    if fewest < FEWEST_SEEDS:
        return [
            f"**Too few seeds.** {has_run} With fewer than {FEWEST_SEEDS} seeds, a bootstrap interval means little, so there are no "
            f"verdicts on single problems. Run {ADVISED_SEEDS} or more seeds."
        ]
    return [
        f"**Few seeds.** {has_run} With fewer than {ADVISED_SEEDS} seeds, bootstrap intervals are too short. Read the verdicts with care."
    ]


def _problem_warnings(ranking: Ranking) -> list[str]:
    warnings = []
    if ranking.left_out:
        are = "is" if ranking.left_out == 1 else "are"
        warnings.append(
            f"**Incomplete.** {several(ranking.left_out, 'problem')} {are} left out of the ranking and the tests, because not all methods "
            "have trials there. Finish the run."
        )
    if ranking.smallest_p > SIGNIFICANCE and len(ranking.standings) > 1:
        size = f"{several(ranking.problems, 'problem')} and {len(ranking.standings)} methods"
        least = f"the smallest possible p-value of Wilcoxon's signed-rank test with Holm's correction is {p_value(ranking.smallest_p)}"
        warnings.append(
            f"**Too few problems.** With {size}, {least}. No difference, however large, can be significant at {SIGNIFICANCE}; the average "
            "ranks only describe this run."
        )
    return warnings


def warnings_of(table: pd.DataFrame, ranking: Ranking) -> list[str]:
    """Return warnings about too few seeds, too few problems, missing trials, and missing random search."""
    found = [*_seed_warnings(table), *_problem_warnings(ranking)]
    if (table["ranking_class"] == FULL_INFORMATION).all():
        return found  # random search pays for its queries, so it is not in this class
    if RANDOM_SEARCH not in set(table["method"]):
        found.append(
            f"**No random search.** The run has no method `{RANDOM_SEARCH}`, so it is unknown whether a method is better than random draws."
        )
    return found


def counted_as_chance(table: pd.DataFrame) -> list[tuple[str, str, str, int]]:
    """Return (method, problems, reason, count) of the trials that count with chance accuracy, by method, then by falling count."""
    lost = table[table["reason"] != ""]
    rows = []
    for (method, reason), trials in lost.groupby(["method", "reason"], sort=True):
        problems = sorted(set(trials["problem"]))
        rows.append((str(method), ", ".join(problems), str(reason), len(trials)))
    return sorted(rows, key=lambda row: (row[0], -row[3], row[2]))


def own_figures(table: pd.DataFrame) -> list[tuple[str, str, float, int]]:
    """Return (method, figure, mean, trials) of the numbers that methods report about themselves, by method and figure."""
    figures = reported_figures(table["report"])
    figures = figures.assign(method=table["method"].to_numpy()[figures[ROW]])
    grouped = figures.groupby(["method", "figure"], sort=True)["value"]
    return [(str(key[0]), str(key[1]), float(values.mean()), len(values)) for key, values in grouped]


def verdict_sentence(row: Standing, problems: int) -> str:
    """Return sentences about whether a method beats random search over the problems, with the figures of the test."""
    name = f"**{escape(row.method)}**"
    if row.verdict == REFERENCE:
        return f"{name} is the reference."
    if row.verdict == NO_REFERENCE:
        return f"{name}: unknown, because the run has no random search."
    single = f"Of {several(problems, 'single problem')}, it beats random search on {row.beats} and loses on {row.loses}."
    test = f"p = {p_value(row.p)}, effect {number(row.effect)}"
    if row.verdict == TOO_FEW_PROBLEMS:
        return f"{name} has too few problems for a verdict ({test}). {single}"
    words = {BEATS: "beats random search", LOSES: "loses to random search"}.get(row.verdict, "shows no difference from random search")
    return f"{name} {words} ({test}). {single}"


def sentence_here(row: Standing, problems: int) -> str:
    """Return a sentence about whether a method beats random search on the problems of a board, with the mean difference of regrets."""
    name, where = f"**{escape(row.method)}**", f"on {'these' if problems > 1 else 'this'} {several(problems, 'problem')}"
    if row.here == REFERENCE:
        return f"{name} is the reference."
    if row.difference is None:
        return f"{name}: unknown, because the run has no random search."
    figures = f"mean difference of regrets {estimate(row.difference)} points"
    words = {
        BEATS: f"beats random search {where}",
        LOSES: f"loses to random search {where}",
        UNDECIDED: f"shows no difference from random search {where}",
    }.get(row.here, "has too few seeds for a verdict")
    return f"{name} {words} ({figures})."


def full_information_sentences(regrets: pd.DataFrame, random: pd.Series | None) -> list[str]:
    """Return sentences that compare the methods of full information with random search, without ranking them together.

    Args:
        regrets: mean regrets [points], with one row per problem and one column per method.
        random: those of random search on the same problems; None if the run does not have it.
    """
    names = [f"**{escape(str(method))}**" for method in regrets.columns]
    if not names:
        return []
    read = f"{', '.join(names)} {'reads' if len(names) == 1 else 'read'} the whole table"
    if random is None:
        return [f"{read}. The run has no random search for comparison."]
    counts = []
    for name, method in zip(names, regrets.columns, strict=True):
        own = regrets[method].dropna()
        shared = own.index.intersection(random.index)
        lower = int((own.loc[shared] < random.loc[shared] - 1e-9).sum())
        counts.append(f"{name} {lower} of {len(shared)}" if len(shared) else f"{name} (no problem with both)")
    return [
        "They read the whole table, so a smaller regret than that of random search is not a fair win. Problems on which the mean regret is "
        f"smaller: {'; '.join(counts)}."
    ]


def winners(names_and_figures: Sequence[tuple[str, float]], highest: bool) -> list[str]:
    """Return the names with the best value. Values that agree to nine decimals tie. Names without a value are left out."""
    known = [(name, round(value, 9)) for name, value in names_and_figures if value == value]
    if not known:
        return []
    best = (max if highest else min)(value for _, value in known)
    return [name for name, value in known if value == best]
