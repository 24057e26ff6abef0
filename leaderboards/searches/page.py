"""The texts and tables on the page of searches that trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from budgetnas.leaderboards.boards.standings import RANDOM_SEARCH
from budgetnas.leaderboards.searches.rows import RESOURCES, SearchRow, accuracy_of, flags, search_rows
from budgetnas.leaderboards.shared.curves import COSTS
from budgetnas.leaderboards.shared.statistics import difference_estimate
from budgetnas.leaderboards.shared.tables import NO_INTERVAL, csv_text, escape, estimate, markdown_table, number, percent, several

MIB = 2.0**20
# A fifth of the images of DARTS's search (50 epochs of 25,000). With fewer, the page has a warning.
FEW_IMAGES_SEEN = 250_000
_DECIMALS = {"latency_ms": 4, "energy_mj": 4}


def searched_text(context: Mapping[str, Any]) -> str:
    """Return sentences about the space, the dataset, the recipe, the images, and the evaluator."""
    device = f" for {escape(context['device_title'])}" if context["device"] else ""
    place = f"Space `{context['space']}` on {escape(context['dataset'])}{device}."
    if "training" not in context:
        return f"{place} The evaluator `{context['evaluator']}` answered each search, without a recipe and without queries of a table."
    training = context["training"]
    schedule = f"recipe {escape(training['recipe'])}: {several(training['epochs'], 'epoch')}, batches of {training['batch']}"
    of = f"of {training['images_of_training_set']:,} training images"
    if training.get("shares_weights", training["evaluator"] == "supernet"):  # contexts of version 0.2 have the name alone
        how = (
            f"Each search trains a supernet, in which all architectures share weights ({schedule}): the weights on "
            f"{training['images_trained']:,} and the architecture variables on {training['images_judged']:,} {of}. Methods get no "
            "accuracies of single architectures, and do not query a table."
        )
    else:
        how = (
            f"Each search trains its candidates from scratch with early stopping ({schedule}): on {training['images_trained']:,} {of}, "
            f"with {training['images_judged']:,} others for validation. Methods do not query a table."
        )
    return f"{place} {how}"


def warnings_of(context: Mapping[str, Any]) -> list[str]:
    """Return warnings for the reader: a short training on few images shows little."""
    if "training" not in context:
        return []
    training = context["training"]
    seen = training["epochs"] * training["images_trained"]
    found = []
    if seen < FEW_IMAGES_SEEN:
        found.append(
            f"**Short training.** The weights were trained on {seen:,} images ({several(training['epochs'], 'epoch')} of "
            f"{training['images_trained']:,}); DARTS's search uses 1,250,000. Such a run shows that everything works, but little about the "
            "quality of methods."
        )
    return found


def problem_section(context: Mapping[str, Any], problem: Mapping[str, Any], table: pd.DataFrame) -> dict[str, str]:
    """Return heading, text and tables of one problem."""
    return {
        "heading": escape(problem["problem"]),
        "text": f"Limit: `{problem['limits_text']}`, kept by {percent(problem['share'])} of the connected, supported networks among "
        f"{several(context['counted_over'], 'architecture')}.",
        "table": _problem_table(search_rows(table, context["chance"])),
        "against": _against_random_search(table),
    }


def _against_random_search(table: pd.DataFrame) -> str:
    """Return sentences with each method's mean accuracy minus that of random search, with interval; '' without random search."""
    samples: dict[str, dict[str, list[float]]] = {}
    for row in table.to_dict("records"):
        of_method = samples.setdefault(str(row["method"]), {"early-stopped validation": [], "retrained test": []})
        if not math.isnan(row["early_stopped"]):
            of_method["early-stopped validation"].append(float(row["early_stopped"]))
        if len(row["retrained_test"]):
            of_method["retrained test"].append(sum(row["retrained_test"]) / len(row["retrained_test"]))
    rival = samples.pop(RANDOM_SEARCH, {})
    sentences = [
        f"{escape(method)} minus random search: {estimate(difference_estimate(figures, rival[kind]))} points of {kind} accuracy."
        for method, kinds in samples.items()
        for kind, figures in kinds.items()
        if figures and rival.get(kind)
    ]
    return " ".join([*sentences, "Intervals: 95 %, by bootstrap over searches."]) if sentences else ""


def _problem_table(rows: Sequence[SearchRow]) -> str:
    """Return the Markdown table of a problem's methods, without empty columns."""
    columns: dict[str, list[str]] = {
        "method": [escape(row.method) for row in rows],
        "searches": [f"{row.searches}" for row in rows],
        "networks": [f"{row.distinct}" for row in rows],
        "feasible": [percent(row.feasible_share) for row in rows],
        "violation if infeasible": [NO_INTERVAL if math.isnan(row.violation) else percent(row.violation) for row in rows],
        **{COSTS[name]: [number(row.costs[name], _DECIMALS.get(name, 0)) for row in rows] for name in RESOURCES},
        "early-stopped validation [%]": [number(row.early_stopped) for row in rows],
        "queried test [%]": [estimate(row.queried) for row in rows],
        "regret [points]": [number(row.regret) for row in rows],
        "retrained validation [%]": [estimate(row.validation) for row in rows],
        "retrained test [%]": [estimate(row.test) for row in rows],
        "seconds": [number(row.seconds, 0 if row.seconds >= 100 else 1) for row in rows],
        "memory [MiB]": [number(row.memory / MIB, 0) for row in rows],
        "graph searches": [number(row.looked_up, 0) for row in rows],
        "graph seconds per search": [number(row.graph_seconds, 0 if row.graph_seconds >= 100 else 1) for row in rows],
    }
    always = ("method", "searches", "networks", "feasible")
    kept = {name: cells for name, cells in columns.items() if name in always or any(cell != NO_INTERVAL for cell in cells)}
    return markdown_table(list(kept), [list(line) for line in zip(*kept.values(), strict=True)])


def flag_table(table: pd.DataFrame) -> str:
    """Return the Markdown table of failed, collapsed and disconnected searches; '' if there are none."""
    rows = [[escape(method), escape(problem), f"{seed}", escape(text)] for method, problem, seed, text in flags(table)]
    return markdown_table(["method", "problem", "seed", "what happened"], rows, left=(0, 1, 3)) if rows else ""


def retrained_text(comparison: Mapping[str, Any], table: pd.DataFrame, command: str) -> str:
    """Return sentences about the retraining of the delivered networks: recipe, seeds, missing networks, and the command for it."""
    networks = comparison["networks"]
    waiting = {row["network"] for row in table.to_dict("records") if row["connected"] and not len(row["retrained_test"])}
    if not networks:
        return f"The networks have not been retrained yet. `{' '.join(command.split())}` retrains them; then these pages show the result."
    seeds = max(len(each["seeds"]) for each in networks)
    diverged = sum(each["diverged"] for each in networks)
    epochs = max(each["epochs"] for each in networks)  # 0 for the trainer of a table, which does not keep epochs
    stated = f" ({several(epochs, 'epoch')})" if epochs else ""
    text = (
        f"{several(len(networks), 'network')} retrained from scratch by the recipe {escape(comparison['recipe'])}"
        f"{stated}, each with {several(seeds, 'evaluation seed')}. `compare.md` has the queried and retrained accuracies of each network."
    )
    if diverged:
        text += f" {several(diverged, 'training')} diverged and count with chance accuracy."
    if waiting:
        command = " ".join(command.split())
        text += f" **Not retrained yet: {several(len(waiting), 'network')}** found later; `{command}` retrains them."
    return text


def own_table(table: pd.DataFrame) -> str:
    """Return the Markdown table of the figures that methods report, as means over searches."""
    from budgetnas.leaderboards.boards.findings import own_figures

    rows = [[escape(method), escape(figure), number(mean, 4), f"{count:,}"] for method, figure, mean, count in own_figures(table)]
    return markdown_table(["method", "figure", "mean", "searches"], rows, left=(0, 1)) if rows else ""


def quoted_table(context: Mapping[str, Any]) -> str:
    """Return the Markdown table of published results; '' if there are none for the dataset."""
    rows = [
        [
            escape(row["method"]),
            number(row["test"]) + ("" if row["deviation"] is None else f" ± {number(row['deviation'])}"),
            escape(row["source"]),
            escape(row["note"] or ""),
        ]
        for row in sorted(context.get("quoted", []), key=lambda row: (-row["test"], row["method"], row["source"]))
    ]
    return markdown_table(["method (quoted)", "test accuracy [%]", "source", "note"], rows, left=(0, 2, 3)) if rows else ""


def searches_csv(table: pd.DataFrame) -> str:
    """Return CSV with one row per search in full precision: accuracies in percent, costs in the units of their names, memory in bytes."""
    plain = (
        "identity", "space", "dataset", "device", "problem", "method", "settings", "seed", "status", "failure", "network", "connected",
        "feasible", "violation", *RESOURCES, "skip_share", "early_stopped", "queried", "regret",
    )  # fmt: skip
    rows = []
    for row in table.to_dict("records"):
        values: dict[str, object] = {name: row[name] for name in plain}
        for part in ("validation", "test"):
            figures = row[f"retrained_{part}"]
            values |= {f"retrained_{part}": float(np.mean(figures)) if len(figures) else None, f"retrained_{part}_seeds": len(figures)}
        values |= {"shown_accuracy": accuracy_of(row)}
        rows.append(values | {name: row[name] for name in ("queries", "search_seconds", "search_memory_bytes", "graph_seconds", "machine")})
    return csv_text(rows)
