"""Figures that the README and the pages of `docs/` quote, compared with the published CSV files.

A table of figures stands below a comment `<!-- figures: PATH.csv -->`; sentences with figures are listed in `CLAIMS`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pages import own_pages
from scipy.stats import rankdata, t, wilcoxon

from budgetnas.leaderboards.shared.statistics import difference_estimate
from budgetnas.spaces.task import task_of

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT / "leaderboards" / "published"
MARK = re.compile(r"^<!-- figures: (\S+) -->\n\n((?:\|.*\n)+)", re.MULTILINE)
NUMBER = r"[+-]?\d[\d,]*(?:\.\d+)?"
CALLED = {"RCAS, 40 trainings": "rcas", "random search, 40 trainings": "random_search"}  # where a page does not use a method's label
NONE = "—"
# Tables of ranks that are examples of what a command prints, not published figures.
EXAMPLES = {"docs/getting-started.md"}

Row = Mapping[str, list[float] | str]  # by column of a page: the figures that a cell should hold, or its text


@dataclass(frozen=True)
class Table:
    """A table of figures on a page: the CSV file it comes from, its columns, and its rows."""

    source: str
    columns: list[str]
    rows: list[dict[str, str]]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def tables(text: str) -> Iterator[Table]:
    for source, block in MARK.findall(text):
        header, _, *rows = block.splitlines()
        columns = cells(header)
        yield Table(source, columns, [dict(zip(columns, cells(row), strict=True)) for row in rows])


@cache
def csv(name: str) -> pd.DataFrame:
    return pd.read_csv(PUBLISHED / name)


def known(*values: float) -> list[float]:
    return [] if any(math.isnan(value) for value in values) else list(values)


@cache
def ranked(source: str) -> dict[str, Row]:
    """Return what a table of ranks should hold, from `ranking.csv`."""
    rows: dict[str, Row] = {}
    for row in pd.read_csv(ROOT / source).to_dict("records"):
        against = not pd.isna(row["signed_rank_p_holm"])
        rows[row["method"]] = {
            "ranking class": str(row["ranking_class"]),
            "average rank": [row["average_rank"], *known(row["average_rank_low"], row["average_rank_high"])],
            "regret, IQM [points]": [row["regret_iqm"], *known(row["regret_iqm_low"], row["regret_iqm_high"])],
            "feasible": [100 * row["feasible_share"]],
            "beats random search on": [100 * row["beats_random_search"] / row["problems"]] if against else [],
            "loses to it on": [100 * row["loses_to_random_search"] / row["problems"]] if against else [],
            "signed-rank p": known(row["signed_rank_p_holm"]),
            "over all problems": str(row["verdict"]),
        }
    return rows


def student(sample: np.ndarray) -> list[float]:
    """Return the mean of figures in percent and its 95 % interval by Student's t, cut at 0 and 100; no interval below three."""
    mean = float(sample.mean())
    if len(sample) < 3:
        return [mean]
    half = float(t.ppf(0.975, len(sample) - 1) * sample.std(ddof=1) / math.sqrt(len(sample)))
    return [mean, max(0.0, mean - half), min(100.0, mean + half)]


@cache
def searched(source: str) -> dict[str, Row]:
    """Return what a table of searches that trained should hold, from `searches.csv`; computed here again, not by the project."""
    table = pd.read_csv(ROOT / source)
    chance = task_of(table["dataset"].iloc[0]).chance
    table["score"] = table["retrained_test"].where(table["feasible"], chance)
    table["reached"] = table["retrained_test"].where(table["connected"], chance)
    means = table.pivot_table(index="problem", columns="method", values="score")
    ranks = dict(zip(means.columns, rankdata(-means.round(9), axis=1).mean(axis=0), strict=True))
    rows: dict[str, Row] = {}
    for method, searches in table.groupby("method"):
        by_seed = searches.groupby("seed")["score"].mean().to_numpy()
        shown = student(searches["reached"].to_numpy())
        rows[str(method)] = {
            "average rank": [float(ranks[method])],
            "retrained test accuracy, guessing where a limit is broken [%]": student(by_seed),
            "retrained test accuracy [%]": shown,
            "feasible": [100 * float(searches["feasible"].mean())],
            "searches": [float(len(searches))],
            "seconds a search": [float(searches["search_seconds"].mean())],
            "its share of graphs [s]": known(float(searches["graph_seconds"].mean())),
        }
    return rows


def expected(source: str) -> dict[str, Row]:
    return ranked(source) if source.endswith("ranking.csv") else searched(source)


def differs(cell: str, figures: list[float] | str) -> bool:
    """Return whether a cell differs from figures by more than rounding to the digits that it shows."""
    if isinstance(figures, str):
        return cell != figures
    shown = re.findall(NUMBER, cell)
    if len(shown) != len(figures):
        return True
    return any(abs(float(a.replace(",", "")) - b) > 0.5001 * 10.0 ** -len(a.partition(".")[2]) for a, b in zip(shown, figures, strict=True))


def mistakes(text: str) -> list[str]:
    """Return every cell of the tables of a page that is not what the CSV file says."""
    found = []
    for table in tables(text):
        rows = expected(table.source)
        name = table.columns[0]
        methods = [CALLED.get(row[name], row[name]) for row in table.rows]
        classes = {rows[method]["ranking class"] for method in methods if method in rows and "ranking class" in rows[method]}
        wanted = {method for method, row in rows.items() if not classes or row["ranking class"] in classes}
        if set(methods) != wanted:
            found.append(f"{table.source}: methods {sorted(set(methods) ^ wanted)} are on one side only")
            continue
        for method, row in zip(methods, table.rows, strict=True):
            for column in table.columns[1:]:
                if column == "retrained test accuracy [%]":
                    continue  # of which some cells are words: see CLAIMS
                if differs(row[column], rows[method][column]):
                    found.append(f"{table.source}: {method}, {column}: {row[column]} is not {rows[method][column]}")
    return found


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


PAGES = [path.relative_to(ROOT).as_posix() for path in own_pages()]
WITH_FIGURES = [name for name in PAGES if MARK.search(page(name))]


def test_there_are_figures_on_the_readme_and_on_a_page_of_every_study_with_a_ranking() -> None:
    sources = {table.source for name in WITH_FIGURES for table in tables(page(name))}
    assert "README.md" in WITH_FIGURES
    # The two tables of papers have figures in sentences only.
    without = {"dca-nas-fig4a/searches.csv", "rc-darts-table3/searches.csv", "dca-nas-fig3/ranking.csv"}
    published = {path.relative_to(PUBLISHED).as_posix() for kind in ("ranking", "searches") for path in PUBLISHED.rglob(f"{kind}.csv")}
    assert {source.removeprefix("leaderboards/published/") for source in sources} == published - without


@pytest.mark.parametrize("name", [name for name in PAGES if name not in EXAMPLES])
def test_no_table_of_ranks_stands_there_unchecked(name: str) -> None:
    assert page(name).count("| average rank |") == sum("average rank" in table.columns for table in tables(page(name)))


@pytest.mark.parametrize("name", WITH_FIGURES)
def test_tables_are_those_of_the_published_files(name: str) -> None:
    assert mistakes(page(name)) == []


def raised(number: str) -> str:
    """Return a number with its last digit changed by five, so that neither way of rounding a tie makes it right."""
    return number[:-1] + str((int(number[-1]) + 5) % 10)


@pytest.mark.parametrize("name", WITH_FIGURES)
def test_every_edited_figure_is_found(name: str) -> None:
    text = page(name)
    edited = 0
    for mark in MARK.finditer(text):
        columns = cells(mark[2].splitlines()[0])
        start = mark.start(2) + len("".join(mark[2].splitlines(keepends=True)[:2]))
        for row in text[start : mark.end(2)].splitlines(keepends=True):
            place = start + 1
            for column, cell in zip(columns, row.strip().strip("|").split("|"), strict=True):
                if column not in (columns[0], "retrained test accuracy [%]"):
                    for number in re.finditer(NUMBER, cell):
                        a, b = place + number.start(), place + number.end()
                        assert mistakes(text[:a] + raised(text[a:b]) + text[b:]), f"{column}: {text[a:b]} in {row}"
                        edited += 1
                place += len(cell) + 1
            start += len(row)
    assert edited >= 4


def test_a_row_that_is_left_out_is_found() -> None:
    text = page("README.md")
    rows = [line for line in text.splitlines(keepends=True) if line.startswith("| rcas |")]
    assert len(rows) == 1 and mistakes(text.replace(rows[0], ""))


def holm(study: str, first: str, second: str) -> float:
    """Return the Holm-adjusted p-value of Wilcoxon's signed-rank test of two methods over the problems of a study."""
    boards = pd.concat([pd.read_csv(path) for path in sorted((PUBLISHED / study).glob("nasbench201-*.csv"))])
    boards = boards[boards["ranking_class"] == "full information"]
    regrets = boards.pivot_table(index=["dataset", "device", "problem"], columns="method", values="regret").round(9)
    p = {}
    for pair in combinations(regrets.columns, 2):
        difference = regrets[pair[0]] - regrets[pair[1]]
        p[pair] = 1.0 if (difference == 0).all() else float(wilcoxon(difference).pvalue)
    adjusted, largest = {}, 0.0
    for rank, pair in enumerate(sorted(p, key=lambda pair: p[pair])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[pair]))
        adjusted[pair] = largest
    return adjusted[(first, second) if (first, second) in adjusted else (second, first)]


def ranking(study: str, method: str, column: str) -> float:
    table = csv(f"{study}/ranking.csv".lstrip("/"))
    return float(table.loc[table["method"] == method, column].iloc[0])


def searches(study: str, method: str, column: str, scale: float = 1.0, problem: str | None = None) -> float:
    table = csv(f"{study}/searches.csv")
    table = table[(table["method"] == method) & ((table["problem"] == problem) if problem else True)]
    return float(table[column].mean()) * scale


def less_regret(study: str, method: str) -> float:
    """Return on which share of the problems a method has less regret than random search."""
    boards = pd.concat([pd.read_csv(path) for path in sorted((PUBLISHED / study).glob("nasbench201-*.csv"))])
    regrets = boards.pivot_table(index=["dataset", "device", "problem"], columns="method", values="regret")
    return float((regrets[method] < regrets["random_search"]).mean())


def against_random(column: str) -> list[float]:
    table = csv("rcas-digits/searches.csv")
    own, other = (table.loc[table["method"] == method, column].to_numpy() for method in ("rcas", "random_search"))
    found = difference_estimate(own, other)
    assert found.interval is not None
    return [found.value, found.interval.low, found.interval.high]


def core_hours(*studies: str) -> float:
    """Return the core hours of all searches, each look-up graph counted once."""
    seconds = 0.0
    for study in studies:
        table = csv(f"{study}/searches.csv")
        graphs = table.groupby("method")["graph_seconds"].sum()
        seconds += float(table["search_seconds"].sum() + graphs.max())
    return seconds / 3600


def training_hours(*studies: str) -> float:
    return sum(float(csv(f"{study}/compare.csv")["training_seconds"].sum()) for study in studies) / 3600


MIB = 2.0**-20
DIGITS, BOTH = "docs/results/darts-digits.md", ("constrained-digits", "constrained-darts-digits")
FULL, FIG4A, RCAS = "docs/results/full-information.md", "docs/results/dca-nas-fig4a.md", "docs/results/rcas-digits.md"
EITHER = rf"({NUMBER}) \[({NUMBER}), ({NUMBER})\]"
SAVED = ["none of the parts", "+ weight sharing", "+ weight sharing + bottleneck", "+ weight sharing + bottleneck + derived cells"]
# A page, a sentence on it with a group for each figure, and the figures.
FEW = "full-information/feasible.csv"
CLAIMS: list[tuple[str, str, Callable[[], list[float]]]] = [
    (FULL, rf"Holm-adjusted p ({NUMBER}) and ({NUMBER})", lambda: [
        holm("full-information", "DCA-NAS", "DARTS, repaired"), holm("full-information", "RC-DARTS, exact", "DARTS, repaired")]),
    (FULL, rf"not told apart \(p ({NUMBER})\)", lambda: [holm("full-information", "DCA-NAS", "RC-DARTS, exact")]),
    (FULL, rf"keeps every limit, without it ({NUMBER}) %", lambda: [
        100 * ranking("full-information", "DCA-NAS, no graph", "feasible_share")]),
    (FULL, rf"\(({NUMBER}) points on digits201, ({NUMBER}) over the 54 problems\)", lambda: [
        ranking("full-information-digits", "random_search", "regret_iqm"), ranking("full-information", "random_search", "regret_iqm")]),
    (FULL, rf"\(in ({NUMBER}) of ({NUMBER}) pairs of problem and method\)", lambda: [
        float((csv(FEW)["networks"] == 1).sum()), float(len(csv(FEW)))]),
    (FULL, rf"ten seeds, ({NUMBER}) trials", lambda: [
        float(sum(pd.read_csv(path)["trials"].sum() for path in (PUBLISHED / "full-information").glob("nasbench201-*.csv")))]),
    (FULL, r"DCA-NAS has less on\s+(half) of these", lambda: [less_regret("full-information", "DCA-NAS")]),
    (DIGITS, rf"\| {EITHER}; queried ({NUMBER}), regret ({NUMBER}) \|", lambda: [
        *student(csv("darts-digits/searches.csv").query("method == 'DARTS, first order'")["retrained_test"].to_numpy()),
        searches("darts-digits", "DARTS, first order", "queried"), searches("darts-digits", "DARTS, first order", "regret")]),
    (DIGITS, rf"\| ({NUMBER}) for two, and two found disconnected cells \|", lambda: [
        float(csv("darts-digits/searches.csv").query("method == 'DARTS, second order' and connected")["retrained_test"].mean())]),
    *[(f"docs/results/{study}.md", rf"\| {method} \| \d \| ({NUMBER}) \|", lambda study=study, method=method: [  # type: ignore[misc]
        searches(study, method, "retrained_test")]) for study in ("darts-fashion", "darts-fashion-cells")
        for method in ("DARTS, first order", "DARTS, second order")],
    *[(RCAS, rf"\| {called} \| 10 \| {EITHER} \|", lambda method=method: student(  # type: ignore[misc]
        csv("rcas-digits/searches.csv").query(f"method == '{method}'")["retrained_test"].to_numpy())) for called, method in CALLED.items()],
    (RCAS, rf"random search: {EITHER} points of the early", lambda: against_random("early_stopped")),
    (RCAS, rf"choose by, {EITHER}", lambda: against_random("retrained_test")),
    (FIG4A, rf"from ({NUMBER}) to ({NUMBER}) s and the process from\s+({NUMBER}) to ({NUMBER}) MiB", lambda: [
        searches("dca-nas-fig4a", method, column, scale, "unlimited")
        for column, scale in (("search_seconds", 1.0), ("search_memory_bytes", MIB)) for method in SAVED[:2]]),
    (FIG4A, rf"bottleneck on top to ({NUMBER}) s and ({NUMBER}) MiB, derived cells on top to ({NUMBER}) s and ({NUMBER}) MiB", lambda: [
        searches("dca-nas-fig4a", method, column, scale, "unlimited")
        for method in SAVED[2:] for column, scale in (("search_seconds", 1.0), ("search_memory_bytes", MIB))]),
    ("docs/results/constrained-digits.md", rf"took ({NUMBER}) core hours, and retraining\s+what they found ({NUMBER})", lambda: [
        core_hours(*BOTH), training_hours(*BOTH)]),
    ("docs/results/published.md", rf"ask ({NUMBER}) queries on each of ({NUMBER}) problems", lambda: [
        float(csv("nasbench201-cifar10-pixel3.csv")["queries"].max()), ranking("", "tpe", "problems")]),
    ("docs/results/published.md", rf"with ({NUMBER}) seeds", lambda: [float(csv("nasbench201-cifar10-pixel3.csv")["trials"].max())]),
]  # fmt: skip


def claimed(name: str, sentence: str, text: str) -> list[str]:
    found = re.search(sentence, text)
    assert found is not None, f"{name} has no sentence {sentence}; change CLAIMS with it"
    return [{"half": "0.5"}.get(number, number) for number in found.groups()]


@pytest.mark.parametrize(("name", "sentence", "figures"), CLAIMS)
def test_sentences_have_the_published_figures(name: str, sentence: str, figures: Callable[[], list[float]]) -> None:
    shown, right = claimed(name, sentence, page(name)), figures()
    for number, figure in zip(shown, right, strict=True):
        assert not differs(number, [figure]), f"{name}: {number} is not {figure}"
        assert number == "0.5" or differs(raised(number), [figure])
