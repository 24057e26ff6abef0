"""Reads and writes files of look-up graphs: JSON for programs, CSV and PNG for readers."""

from __future__ import annotations

import csv
import io
import json
import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from budgetnas.harness.lookup.graphs import Graph, LookupGraphError
from budgetnas.harness.records.identity import canonical_json
from budgetnas.harness.records.store import RunError
from budgetnas.spaces.files import replacing, write_text

SCHEMA = 2


def write_graphs(graphs: Sequence[Graph], path: Path) -> None:
    """Write the graphs as JSON and, beside it, as CSV (every search, and the envelope) and as PNG (a plot of each graph).

    Graphs that are already in the file are kept, so that studies can share it; those with the same basis and resource are replaced.

    Raises:
        RunError: A file cannot be written.
        LookupGraphError: The existing file is damaged.
    """
    made = {graph.place for graph in graphs}
    kept = [graph for graph in (read_graphs(path) if path.exists() else []) if graph.place not in made]
    everything = [*kept, *graphs]
    try:
        write_text(path, canonical_json(content_of(everything)) + "\n")
        write_text(path.with_suffix(".csv"), graphs_csv(everything))
        with replacing(path.with_suffix(".png")) as partial:
            draw(everything, partial)
    except OSError as error:
        raise RunError(f"cannot write the look-up graphs to {path}: {error.strerror}; choose another file with --out") from None


def content_of(graphs: Sequence[Graph]) -> dict[str, Any]:
    """Return the content of a file of graphs as JSON values, in the form that `read_graphs` reads."""
    return {"schema": SCHEMA, "graphs": [asdict(graph) for graph in graphs]}


def read_graphs(path: Path) -> list[Graph]:
    """Return the graphs in a file. Raises `LookupGraphError` if it is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise LookupGraphError(f"{path} has look-up graphs of schema {content['schema']}, not {SCHEMA}; delete it and make them again")
        return [_parsed(entry) for entry in content["graphs"]]
    except FileNotFoundError:
        raise LookupGraphError(f"there are no look-up graphs at {path}; make them with `budgetnas lookup-graph STUDY`") from None
    except OSError as error:
        raise LookupGraphError(f"cannot read look-up graphs from {path}: {error.strerror}; name a file that can be read") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, LookupGraphError):
            raise
        reason = f"{type(error).__name__}: {error}".split("\n")[0]
        raise LookupGraphError(
            f"{path} is not a file of look-up graphs, or is damaged ({reason:.100}); name a file that `budgetnas lookup-graph` wrote"
        ) from None


def _parsed(entry: dict[str, Any]) -> Graph:
    nodes = tuple([(float(limit), float(delivered)) for limit, delivered in entry["nodes"]])
    if not all(math.isfinite(value) for node in nodes for value in node):
        raise ValueError("a node is not finite")
    return Graph(**entry | {"nodes": nodes, "left_out": tuple(map(float, entry["left_out"]))})


def graphs_csv(graphs: Sequence[Graph]) -> str:
    """Return a CSV table with one line for each search: its limit, the cost delivered, and the cost that the envelope promises.

    Both costs are empty for a search that delivered a disconnected or unsupported network. A limit at which half of the searches or more
    did so has no promised cost.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "space", "dataset", "device", "resource", "search_limit", "delivered", "envelope", "basis"])
    writer.writerows(_lines(graphs))
    return text.getvalue()


def _lines(graphs: Sequence[Graph]) -> Iterator[list[Any]]:
    for graph in graphs:
        promised = dict(graph.promised)
        place = [graph.method, graph.space, graph.dataset, graph.device or "", graph.resource]
        for limit, delivered in graph.nodes:
            yield [*place, limit, delivered, promised.get(limit, ""), graph.basis]
        for limit in graph.left_out:
            yield [*place, limit, "", "", graph.basis]


def draw(graphs: Sequence[Graph], path: Path) -> None:
    """Plot every graph into one PNG: the cost that each search delivered against its limit, and the envelope as a step function."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(3, max(len(graphs), 1))
    rows = max(1, math.ceil(len(graphs) / columns))
    figure = Figure(figsize=(4.5 * columns, 3.6 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for place, graph in enumerate(graphs):
        axes = figure.add_subplot(rows, columns, place + 1)
        for left_out in graph.left_out:
            axes.axvline(left_out, color="0.5", alpha=0.2, linewidth=3, zorder=0)  # darker for more seeds
        if graph.promised:
            limits, promised = zip(*graph.promised, strict=True)
            axes.step(limits, promised, where="pre", color="tab:blue", label="envelope")
            axes.plot(*zip(*graph.nodes, strict=True), "o", markersize=4, color="tab:orange", label="delivered by a search", zorder=3)
            axes.axline((limits[0], limits[0]), slope=1.0, color="0.6", linewidth=0.8, linestyle=":")
            axes.set(xlim=(0, 1.05 * limits[-1]), ylim=(0, 1.1 * max(promised)))
            axes.legend(fontsize=8)
        title = graph.title if [each.title for each in graphs].count(graph.title) == 1 else f"{graph.title}, basis {graph.basis[:8]}"
        lost = f"; {len(graph.left_out)} of {graph.searches} searches delivered no network" if graph.left_out else ""
        axes.set_title(textwrap.fill(title + lost, 52), fontsize=9)
        axes.set(xlabel=f"search limit K' [{graph.resource}]", ylabel=f"cost K of the network [{graph.resource}]")
    figure.savefig(path, format="png", dpi=110, metadata={"Software": None})
