"""What has to be said about a set of outcomes: warnings, trials that count as chance, methods' own figures, verdicts in words."""

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
    """Return the smallest number of seeds that a method with randomness has on a problem; None if there is no such method."""
    random = table[~table["deterministic"].astype(bool)]
    if random.empty:
        return None
    return int(random.groupby(["space", "dataset", "device", "problem", "method"]).size().min())


def most_seeds(table: pd.DataFrame) -> int:
    """Return the largest number of seeds that a method has on a problem."""
    return int(table.groupby(["space", "dataset", "device", "problem", "method"]).size().max())


def _seed_warnings(table: pd.DataFrame) -> list[str]:
    fewest = fewest_seeds(table)
    if fewest is None or fewest >= ADVISED_SEEDS:
        return []
    has_run = f"Some method has run {several(fewest, 'seed')} on some problem."
    if fewest < FEWEST_SEEDS:
        return [
            f"**Too few seeds.** {has_run} Below {FEWEST_SEEDS} seeds a bootstrap interval means little, and no verdict on a single "
            f"problem is given; run {ADVISED_SEEDS} or more."
        ]
    return [
        f"**Few seeds.** {has_run} Bootstrap intervals from fewer than {ADVISED_SEEDS} seeds are shorter than they should be; read the "
        "verdicts with that in mind."
    ]


def _problem_warnings(ranking: Ranking) -> list[str]:
    warnings = []
    if ranking.left_out:
        are = "is" if ranking.left_out == 1 else "are"
        warnings.append(
            f"**Incomplete.** {several(ranking.left_out, 'problem')} on which some method has no trial {are} left out of the ranking "
            "and the tests; finish the run for a full one."
        )
    if ranking.smallest_p > SIGNIFICANCE and len(ranking.standings) > 1:
        size = f"{several(ranking.problems, 'problem')} and {len(ranking.standings)} methods"
        least = f"the smallest p-value that Wilcoxon's signed-rank test with Holm's correction can give is {p_value(ranking.smallest_p)}"
        warnings.append(
            f"**Too few problems to tell.** With {size} {least}: no difference over these problems can be shown at {SIGNIFICANCE}, "
            "however large. Average ranks are a description here, not a finding."
        )
    return warnings


def warnings_of(table: pd.DataFrame, ranking: Ranking) -> list[str]:
    """Return in plain sentences why there may be too little to tell: too few seeds, too few problems, trials missing."""
    found = [*_seed_warnings(table), *_problem_warnings(ranking)]
    if (table["ranking_class"] == FULL_INFORMATION).all():
        return found  # a class that random search, which pays for its queries, is not in
    if RANDOM_SEARCH not in set(table["method"]):
        found.append(
            f"**No random search.** The run has no method `{RANDOM_SEARCH}`, so nothing says whether a method is better than random draws."
        )
    return found


def counted_as_chance(table: pd.DataFrame) -> list[tuple[str, str, str, int]]:
    """Return (method, problems, reason, count) for all trials that count with chance accuracy, by method, then most frequent first."""
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
    """Return in one sentence whether a method beats random search over the problems, with the test's figures."""
    name = f"**{escape(row.method)}**"
    if row.verdict == REFERENCE:
        return f"{name} is what the others are measured against."
    if row.verdict == NO_REFERENCE:
        return f"{name}: not known, for the run has no random search."
    single = f"on single problems it beats it on {row.beats} and loses on {row.loses} of {problems}"
    test = f"p = {p_value(row.p)}, effect {number(row.effect)}"
    if row.verdict == TOO_FEW_PROBLEMS:
        return f"{name}: too few problems to tell ({test}); {single}."
    words = {BEATS: "beats random search", LOSES: "loses to random search"}.get(row.verdict, "is not shown to differ from random search")
    return f"{name} {words} ({test}); {single}."


def sentence_here(row: Standing, problems: int) -> str:
    """Return in one sentence whether a method beats random search on a board's own problems, with the mean difference of regrets."""
    name, where = f"**{escape(row.method)}**", f"on {'these' if problems > 1 else 'this'} {several(problems, 'problem')}"
    if row.here == REFERENCE:
        return f"{name} is what the others are measured against."
    if row.difference is None:
        return f"{name}: not known, for the run has no random search."
    figures = f"mean difference of regrets {estimate(row.difference)} points"
    words = {
        BEATS: f"beats random search {where}",
        LOSES: f"loses to random search {where}",
        UNDECIDED: f"is not shown to differ from random search {where}",
    }.get(row.here, "has run on too few seeds to tell")
    return f"{name} {words} ({figures})."


def full_information_sentences(regrets: pd.DataFrame, random: pd.Series | None) -> list[str]:
    """Return how the methods of the full information class stand to random search, without ranking them together.

    `regrets` has one row a problem and one column a method [points]; `random` holds random search's on the same problems.
    """
    names = [f"**{escape(str(method))}**" for method in regrets.columns]
    if not names:
        return []
    read = f"{', '.join(names)} {'reads' if len(names) == 1 else 'read'} the whole table"
    if random is None:
        return [f"{read}, and there is no random search to set beside."]
    counts = []
    for name, method in zip(names, regrets.columns, strict=True):
        own = regrets[method].dropna()
        shared = own.index.intersection(random.index)
        lower = int((own.loc[shared] < random.loc[shared] - 1e-9).sum())
        counts.append(f"{name} on {lower} of {len(shared)}" if len(shared) else f"{name} on none that both have run")
    return [
        f"They read the whole table, so less regret than random search's is no like-for-like win. Problems with less on average: "
        f"{'; '.join(counts)}."
    ]


def winners(names_and_figures: Sequence[tuple[str, float]], highest: bool) -> list[str]:
    """Return the names with the best figure, all of those that tie to nine decimals; none if there is no figure."""
    known = [(name, round(value, 9)) for name, value in names_and_figures if value == value]
    if not known:
        return []
    best = (max if highest else min)(value for _, value in known)
    return [name for name, value in known if value == best]
