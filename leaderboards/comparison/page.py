"""The comparison of queried and retrained accuracies as Markdown and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence

from budgetnas.harness.comparison.agreement import CONFIDENCE, FEWEST_RANKED, Mean, Noise
from budgetnas.harness.comparison.candidates import Candidate, methods_of
from budgetnas.harness.comparison.retrain_all import Agreement, Compared, Side, agreements, known_figure, recipe_for, retrained_figure
from budgetnas.harness.training.recipes.recipe import Recipe
from budgetnas.harness.training.recipes.table_recipes import difference_line, table_recipe

PICTURE = "compare.png"
_COLUMNS = (
    "space", "dataset", "arch", "found_by", "evaluation_seed", "recipe", "test_queried", "validation_early_stopped",
    "test_retrained", "validation_retrained", "diverged", "training_seconds",
)  # fmt: skip
FEWEST_FIGURES = 3  # of two figures Student's t gives an interval as wide as the scale
_WORDS = {"queried": "queried test accuracy", "early_stopped": "early-stopped validation accuracy"}


def csv_of(compared: Sequence[Compared]) -> str:
    """Return a row for every network and evaluation seed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for one in compared:
        candidate = one.candidate
        found_by = "; ".join(f"{each.method} on {each.problem}, seed {each.seed}" for each in candidate.findings)
        for training in one.trainings:
            writer.writerow(
                [
                    candidate.space, candidate.dataset, candidate.text, found_by, training.identity["seed"], training.identity["recipe"],
                    _figure(candidate.queried), _figure(candidate.early_stopped), _figure(training.test),
                    "" if training.validation is None else _figure(training.validation), int(training.diverged), f"{training.seconds:.6g}",
                ]
            )  # fmt: skip
    return text.getvalue()


def _figure(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


def page_of(compared: Sequence[Compared], recipe: str | None, every: bool, command: str, left_out: Sequence[str]) -> str:
    """Return the comparison as Markdown; `every` says that all searches' networks were retrained, not the winners only."""
    chosen = (
        "What every search recommended, feasible or not, each network once"
        if every
        else "Of every problem and method, the feasible recommendation that is best by validation over the seeds, each network once"
    )
    lines = [
        "# Queried against retrained",
        "",
        f"{chosen}, trained from scratch with every evaluation seed. Made by `{command}`; every figure is in [compare.csv](compare.csv). "
        f"Square brackets hold {100 * CONFIDENCE:.0f} % intervals by Student's t.",
        "",
        *[line for text in left_out for line in (f"> {text}", "")],
        f"![Retrained accuracy of every network, with the figure known before it]({PICTURE})",
        "",
        "*A mark is a network, in the colour of the first method that found it; its bar is one standard deviation over evaluation seeds. "
        "On the dashed line, where there is one, both figures are equal.*",
        "",
    ]
    for key in dict.fromkeys((one.candidate.space, one.candidate.dataset) for one in compared):
        lines += _section([one for one in compared if (one.candidate.space, one.candidate.dataset) == key], recipe_for(*key, recipe))
    return "\n".join(lines)


def _section(compared: Sequence[Compared], recipe: str | Recipe) -> Iterator[str]:
    space, dataset = compared[0].candidate.space, compared[0].candidate.dataset
    seeds = [training.identity["seed"] for training in compared[0].trainings]
    yield f"## {space} on {dataset}"
    yield ""
    yield f"Recipe {compared[0].trainings[0].identity['recipe']}, evaluation seeds {', '.join(map(str, seeds))}. " + _protocol(
        space, dataset, recipe
    )
    yield ""
    if diverged := sum(training.diverged for one in compared for training in one.trainings):
        yield f"{diverged} trainings diverged; they count with the accuracy of guessing."
        yield ""
    for found in agreements(compared):
        yield f"- {sentence(found, len(compared))}"
    if not agreements(compared):
        yield "- No table knows these networks on this dataset, and no search trained them alone: retrained figures stand by themselves."
    yield ""
    yield from _table(compared)


def _protocol(space: str, dataset: str, recipe: str | Recipe) -> str:
    if isinstance(recipe, str):
        return "The table's own trainer: on the kind of machine that made the table, retrained figures equal the table's of the same seed."
    if table_recipe(space, dataset) is None:
        return ""
    return difference_line(space, dataset, recipe)


def sentence(found: Agreement, networks: int) -> str:
    """Return an agreement in words."""
    count = found.difference.count
    beside = _beside(found.side)
    said = [
        f"{count} of {networks} networks have both figures: {beside} is {found.difference.value:+.2f} points on average"
        f" ({_interval_words(found.difference)})"
    ]
    if not math.isnan(found.kendall):
        said.append(f"over networks, Kendall's tau-b is {found.kendall:.2f} and Spearman's coefficient {found.spearman:.2f}")
    elif count < FEWEST_RANKED:
        said.append(f"fewer than {FEWEST_RANKED} networks have no ranking to compare")
    else:
        said.append("ranks cannot be compared: the networks do not differ")
    text = "; ".join(said) + "."
    if found.side == "queried":
        text += " " + _noise_words("The table's own seeds", found.known) if found.known else " The table keeps means over seeds only."
    if found.retrained:
        text += " " + _noise_words("The evaluation seeds", found.retrained)
    if not math.isnan(found.by_seeds):
        text += f" Seeds alone would make {100 * found.by_seeds:.0f} % of the variance of the differences between networks."
    return text


def _beside(side: Side) -> str:
    return f"retrained minus {_WORDS[side]}"


def _interval_words(mean: Mean) -> str:
    return "one network has no interval" if mean.count < 2 else f"{mean.low:+.2f} to {mean.high:+.2f} over networks"


def _noise_words(whose: str, noise: Noise) -> str:
    ranks = ""
    if not math.isnan(noise.kendall):
        ranks = f", and any two of them order the networks with tau-b {noise.kendall:.2f} and Spearman {noise.spearman:.2f} on average"
    return f"{whose} differ by a standard deviation of {noise.deviation:.2f} points for one network{ranks}."


def _table(compared: Sequence[Compared]) -> Iterator[str]:
    """Yield the networks, best by retrained test accuracy first, with only those columns that hold something."""
    columns = {
        "test %, queried": [_shown(one.candidate.queried) for one in compared],
        "validation %, early-stopped": [_shown(one.candidate.early_stopped) for one in compared],
        "test %, retrained": [_mean(one.test) for one in compared],
        "validation %, retrained": [_mean(one.validation) for one in compared],
        "difference": [_difference(one) for one in compared],
        "search's last validation loss": [_shown(one.candidate.search_loss, 3) for one in compared],
        "search's last training accuracy %": [_shown(one.candidate.search_accuracy) for one in compared],
    }
    kept = {name: cells for name, cells in columns.items() if any(cell != "—" for cell in cells)}
    yield "| network | found by | " + " | ".join(kept) + " |"
    yield "|---|---|" + "---:|" * len(kept)
    for place in sorted(range(len(compared)), key=lambda place: (-compared[place].test.value, compared[place].candidate.arch.genes)):
        candidate = compared[place].candidate
        text = candidate.text.replace("|", "\\|")
        yield f"| `{text}` | {_found_by(candidate)} | " + " | ".join(cells[place] for cells in kept.values()) + " |"
    yield ""


def _found_by(candidate: Candidate) -> str:
    counts = {name: sum(finding.method == name for finding in candidate.findings) for name in methods_of(candidate)}
    return "; ".join(f"{name.replace('|', '/')} ({count})" if count > 1 else name.replace("|", "/") for name, count in counts.items())


def _shown(value: float, decimals: int = 2) -> str:
    return "—" if math.isnan(value) else f"{value:.{decimals}f}"


def _mean(mean: Mean) -> str:
    if not mean.count:
        return "—"
    return f"{mean.value:.2f} [—]" if mean.count < FEWEST_FIGURES else f"{mean.value:.2f} [{mean.low:.2f}, {mean.high:.2f}]"


def _difference(one: Compared) -> str:
    side: Side = "queried" if not math.isnan(one.candidate.queried) else "early_stopped"
    value = retrained_figure(one, side) - known_figure(one, side)
    return "—" if math.isnan(value) else f"{value:+.2f}"
