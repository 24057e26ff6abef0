"""Writes the comparison of known and retrained accuracies as a page, a CSV file and lines for the terminal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from budgetnas.leaderboards.comparison.agreement import FEWEST_RANKED, Agreement, Mean, Noise, agreements, mean_of
from budgetnas.leaderboards.comparison.picture import comparison_picture
from budgetnas.leaderboards.comparison.rows import Known, Network, by_dataset, networks_of
from budgetnas.leaderboards.shared.documents import LeaderboardError, write
from budgetnas.leaderboards.shared.statistics import LEVEL, Estimate, Interval
from budgetnas.leaderboards.shared.tables import NO_INTERVAL, csv_text, escape, estimate, markdown_table, number, several

PAGE, CSV, PICTURE = "compare.md", "compare.csv", "compare.png"
CSV_COLUMNS = (
    "space", "dataset", "index", "arch", "found_by", "evaluation_seed", "recipe", "test_queried", "validation_queried",
    "test_queried_same_seed", "validation_queried_same_seed", "validation_early_stopped", "test_retrained", "validation_retrained",
    "diverged", "training_seconds",
)  # fmt: skip
FEWEST_FIGURES = 3  # of two figures Student's t gives an interval as wide as the scale
_NAMES: dict[Known, str] = {"queried": "queried test accuracy", "early_stopped": "early-stopped validation accuracy"}


def write_comparison_pages(table: pd.DataFrame, out: Path, command: str, left_out: Sequence[str] = ()) -> list[str]:
    """Write `compare.md`, `compare.csv` and `compare.png` into `out`.

    Args:
        table: a row for each network and evaluation seed, with the columns of `rows.COLUMNS`.
        out: the folder, created if it is missing.
        command: the command that made the comparison.
        left_out: a line for each dataset that could not be compared.

    Returns:
        Lines for the terminal: how well the figures of each space and dataset agree.

    Raises:
        LeaderboardError: a column is missing, the table is empty, or `out` cannot be written.
    """
    networks = networks_of(table)
    try:
        out.mkdir(parents=True, exist_ok=True)
        write(out / CSV, comparison_csv(table))
        write(out / PAGE, comparison_page(networks, command, left_out))
        comparison_picture(networks, out / PICTURE)
    except OSError as error:
        raise LeaderboardError(f"cannot write the comparison into {out}: {error.strerror}; choose another folder with --out") from None
    return summary_lines(networks)


def comparison_csv(table: pd.DataFrame) -> str:
    """Return a row for every network and evaluation seed, with `CSV_COLUMNS`; unknown cells are empty."""
    plain = {"index": "Int64", "evaluation_seed": "Int64", "diverged": "Int64"}
    rows = table[list(CSV_COLUMNS)].astype(plain).astype(object).to_dict("records")
    return csv_text([{str(name): None if pd.isna(value) else _rounded(value) for name, value in row.items()} for row in rows])


def _rounded(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


def comparison_page(networks: Sequence[Network], command: str, left_out: Sequence[str] = ()) -> str:
    """Return the comparison as Markdown: how well the figures of each space and dataset agree, and a table of the networks."""
    winners = networks[0].won is not None
    chosen = (
        "Of every problem and method, the feasible recommendation that is best by validation over the seeds, each network once"
        if winners
        else "What every search recommended, feasible or not, each network once"
    )
    lines = [
        "# Queried against retrained",
        "",
        f"{chosen}, trained from scratch with every evaluation seed. Made by `{command}`; every figure is in [{CSV}]({CSV}). "
        f"Square brackets hold {100 * LEVEL:.0f} % intervals by Student's t.",
        "",
        *[line for text in left_out for line in (f"> {text}", "")],
        f"![Retrained accuracy of every network, with the figure known before it]({PICTURE})",
        "",
        "*A mark is a network, in the colour of the first method that found it; its bar is one standard deviation over evaluation seeds. "
        "On the dashed line, where there is one, both figures are equal.*",
        "",
    ]
    for of_dataset in by_dataset(networks):
        lines += _section(of_dataset)
    return "\n".join(lines)


def summary_lines(networks: Sequence[Network]) -> list[str]:
    """Return lines on how well the figures of each space and dataset agree, or that networks without known figures were retrained."""
    groups = by_dataset(networks)
    datasets = Counter(group[0].dataset for group in groups)
    lines = []
    for group in groups:
        space, dataset = group[0].space, group[0].dataset
        name = dataset if datasets[dataset] == 1 else f"{space} on {dataset}"
        summaries = [_summary(found, len(group)) for found in agreements(group)]
        if not group[0].same_seeds:
            summaries.insert(0, f"{several(len(group), 'network')} retrained by {group[0].recipe}")
        lines += [f"{name}: {summaries[0]}", *[f"  {text}" for text in summaries[1:]]]
    return lines


def _section(networks: Sequence[Network]) -> Iterator[str]:
    first = networks[0]
    found = agreements(networks)
    yield f"## {first.space} on {first.dataset}"
    yield ""
    yield f"Recipe {first.recipe}, {_seeds(first.seeds)}. {first.protocol}".rstrip()
    yield ""
    if diverged := sum(network.diverged for network in networks):
        verb = "diverged; it counts" if diverged == 1 else "diverged; they count"
        yield f"{several(diverged, 'training')} {verb} with the accuracy of guessing."
        yield ""
    for each in found:
        yield f"- {_summary(each, len(networks))} {_noise(each)}".rstrip()
    if not found:
        yield "- No table knows these networks on this dataset, and no search trained them alone: retrained figures stand by themselves."
    yield ""
    if any(each.equal < each.compared for each in found):
        yield (
            "Another processor or another version of PyTorch may round sums differently. A retraining then differs from the table as two "
            "seeds differ."
        )
        yield ""
    yield _table(networks)
    yield ""
    yield from _notes(networks)


def _seeds(seeds: Sequence[int]) -> str:
    return f"evaluation seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _summary(found: Agreement, networks: int) -> str:
    """Return an agreement in one sentence; `networks` is the number of all networks."""
    if found.compared:
        counted = f"{several(found.networks, 'network')}, {found.equal} of {found.compared} accuracies equal to the table's precision"
    else:
        counted = f"{found.networks} of {several(networks, 'network')} have both figures"
    if not math.isnan(found.kendall):
        ranks = f"Kendall's tau-b {found.kendall:.3f}, Spearman {found.spearman:.3f}"
    elif found.networks < FEWEST_RANKED:
        ranks = f"fewer than {FEWEST_RANKED} networks have no ranking to compare"
    else:
        ranks = "ranks cannot be compared: the networks do not differ"
    return (
        f"{counted}; retrained minus {_NAMES[found.known]} {_signed(found.difference.value, 3)} points on average "
        f"({_interval(found.difference)}); {ranks}."
    )


def _interval(mean: Mean) -> str:
    if mean.count < 2:
        return "one network has no interval"
    return f"{100 * LEVEL:.0f}% interval {_signed(mean.low, 3)} to {_signed(mean.high, 3)} over networks"


def _signed(value: float, decimals: int) -> str:
    """Return a difference with its sign, which is `+` for zero."""
    text = f"{value:+.{decimals}f}"
    return text if text.strip("-0.") else text.replace("-", "+")


def _noise(found: Agreement) -> str:
    """Return the seed noise in sentences; that of the retrainings is left out if they all equal the table."""
    sentences = []
    if found.table_noise:
        sentences.append(_noise_of("The table's own seeds", found.table_noise))
    elif found.known == "queried":
        sentences.append("The table keeps means over seeds only.")
    if found.retrained_noise and (not found.compared or found.equal < found.compared):
        sentences.append(_noise_of("The evaluation seeds", found.retrained_noise))
    if not math.isnan(found.by_seeds):
        sentences.append(f"Seeds alone would make {100 * found.by_seeds:.0f} % of the variance of the differences between networks.")
    return " ".join(sentences)


def _noise_of(source: str, noise: Noise) -> str:
    ranks = ""
    if not math.isnan(noise.kendall):
        ranks = f", and any two of them order the networks with tau-b {noise.kendall:.2f} and Spearman {noise.spearman:.2f} on average"
    return f"{source} differ by a standard deviation of {noise.deviation:.2f} points for one network{ranks}."


def _table(networks: Sequence[Network]) -> str:
    """Return the table of networks, best retrained test accuracy first, without empty columns."""
    ordered = sorted(networks, key=lambda network: -float(network.test.mean()))
    columns = {
        "network": [_name(network) for network in ordered],
        "found by": [_found_by(network) for network in ordered],
        "won": [number(network.won, 0) for network in ordered],
        "test %, queried": [number(network.test_queried) for network in ordered],
        "validation %, early-stopped": [number(network.early_stopped) for network in ordered],
        "test %, retrained": [_mean(mean_of(network.test)) for network in ordered],
        "validation %, retrained": [_mean(mean_of(network.validation)) for network in ordered],
        "difference": [_difference(network) for network in ordered],
        "equal": [f"{network.equal} of {network.compared}" if network.compared else NO_INTERVAL for network in ordered],
        "search's last validation loss": [number(network.search_loss, 3) for network in ordered],
        "search's last training accuracy %": [number(network.search_accuracy) for network in ordered],
    }
    kept = {name: cells for name, cells in columns.items() if any(cell != NO_INTERVAL for cell in cells)}
    return markdown_table(list(kept), [list(line) for line in zip(*kept.values(), strict=True)], left=(0, 1))


def _notes(networks: Sequence[Network]) -> Iterator[str]:
    """Yield the meaning of the columns that only some comparisons have."""
    if networks[0].won is not None:
        yield "*won*: on how many pairs of problem and method the network (or one identical to it) was the best found."
        yield ""
    if networks[0].same_seeds:
        yield (
            "*equal*: how many accuracies, validation and test with every seed, equal the table's with the same seed within its precision. "
            "*queried*: the table's mean over these seeds."
        )
        yield ""


def _name(network: Network) -> str:
    text = network.arch.replace("|", "\\|")
    return f"`{text}`" if network.index is None else f"{network.index} `{text}`"


def _found_by(network: Network) -> str:
    counts = Counter(network.methods)
    return "; ".join(f"{escape(name)} ({counts[name]})" if counts[name] > 1 else escape(name) for name in sorted(counts))


def _mean(mean: Mean) -> str:
    return estimate(Estimate(mean.value, Interval(mean.low, mean.high) if mean.count >= FEWEST_FIGURES else None))


def _difference(network: Network) -> str:
    value = network.difference("early_stopped" if math.isnan(network.test_queried) else "queried")
    return NO_INTERVAL if math.isnan(value) else _signed(value, 2)
