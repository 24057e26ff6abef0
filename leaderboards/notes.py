"""The rules of counting, in the words that the pages print."""

from __future__ import annotations

from budgetnas.leaderboards.standings import ADVISED_SEEDS, FEWEST_SEEDS
from budgetnas.leaderboards.statistics import BOOTSTRAP_SEED, RESAMPLES
from budgetnas.leaderboards.tables import number


def _bullets(*sentences: str) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


CHANCE_RULE = (
    "A trial that failed, or whose final recommendation is missing or breaks a limit, counts with chance accuracy, and its regret is the optimum minus chance. "
    "No trial is dropped."
)
INTERVAL_RULE = (
    f"Square brackets hold 95 % percentile bootstrap intervals over seeds ({RESAMPLES:,} resamples, generator seeded with {BOOTSTRAP_SEED}). A dash in them: a "
    "single run, as of a method without randomness, which has no interval."
)
REGRET_RULE = (
    "Regret is the test accuracy of the exact best feasible cell minus that of the recommendation, in points of percent. Methods choose by validation accuracy "
    "only, so a search that knew every validation figure would still have the regret stated as 'best by validation'."
)
VERDICT_RULE = (
    "Against random search: the difference of mean regrets, negative is better. 'Beats' and 'loses' are said where the 95 % interval of that difference (the two "
    "samples resampled independently; a method without randomness held fixed) lies on one side of 0. These verdicts are one a problem and not corrected for their "
    f"number: about one in twenty would be wrong if nothing differed. With fewer than {FEWEST_SEEDS} seeds none is given, and below {ADVISED_SEEDS} a warning is shown."
)
TIE_RULE = "Ties share the average rank."


def board_notes(reference: tuple[float, float], unit: str, checksum: str) -> str:
    """Return the rules that a board's page follows; `reference` is the hypervolume's (cost, accuracy [%])."""
    cost, chance = reference
    return _bullets(
        CHANCE_RULE,
        INTERVAL_RULE,
        REGRET_RULE,
        VERDICT_RULE,
        TIE_RULE + " The average rank's interval resamples seeds within each problem: it speaks of these problems only.",
        "The interquartile mean leaves out the lowest and the highest quarter of a method's trials over all problems; its interval resamples seeds within each problem.",
        f"The hypervolume is the area that a seed's feasible recommendations over all problems dominate, up to the reference point ({number(cost, 4)} {unit}, "
        f"{number(chance)} %), as a share of the exact front's: the mean over seeds. The reference is the loosest limit of the board and chance accuracy.",
        "Simulated GPU hours add up the training times of the queried cells, as the benchmark's table has them.",
        f"Table: `{checksum}`.",
    )


def index_notes() -> str:
    """Return the rules that the index follows."""
    return _bullets(
        CHANCE_RULE,
        INTERVAL_RULE,
        REGRET_RULE,
        VERDICT_RULE,
        TIE_RULE + " Methods are ranked within a problem by mean regret; the average rank's interval resamples seeds within each problem.",
        "The interquartile mean (IQM) of regret leaves out the lowest and the highest quarter of a method's trials over all problems; its interval resamples seeds "
        "within each problem. It is in points, so datasets with larger regrets weigh more; the ranks are free of that.",
        "The tests' blocks are problems, a method's score on a block is its mean regret over seeds: Friedman's test, then Wilcoxon's signed-rank test for every pair "
        "with Holm's correction over all pairs. Problems on which two methods tie are left out of their comparison. The effect is the matched-pairs rank-biserial "
        "correlation, from -1 (lower regret than random search throughout) to 1.",
    )


def dependence_note(datasets: int, devices: int, problems: int) -> str:
    """Return what has to be said about problems that are not independent of each other."""
    shared = (
        f"the {devices} devices share each dataset's accuracies: only the costs differ"
        if devices > 1
        else "the problems of a dataset share its accuracies: only the limits differ"
    )
    count = "one dataset" if datasets == 1 else f"{datasets} datasets"
    return (
        f"The problems ({problems:,}) are not independent: {shared}, and all of them rest on {count}. The p-values take the problems for independent, so "
        "they are optimistic: they say that a difference holds on these problems, less that it would hold on another dataset."
    )
