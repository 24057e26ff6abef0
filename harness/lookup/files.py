"""The files of look-up graphs: JSON to look up in, CSV to read, PNG to see."""

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
    """Write the graphs as JSON, a CSV beside it with every search and the envelope, and a PNG with a drawing of each.

    Other graphs that the file has already are kept, so that studies may share it; an older one of the same basis and resource is replaced.
    `RunError` if they cannot be written.
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
    """Return what a file of graphs holds, as `read_graphs` reads it."""
    return {"schema": SCHEMA, "graphs": [asdict(graph) for graph in graphs]}


def read_graphs(path: Path) -> list[Graph]:
    """Return the graphs of a file. `LookupGraphError` if it is missing or damaged."""
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
            f"{path} is no file of look-up graphs, or a damaged one ({reason:.100}); name another, which `budgetnas lookup-graph` writes"
        ) from None


def _parsed(entry: dict[str, Any]) -> Graph:
    nodes = tuple([(float(limit), float(delivered)) for limit, delivered in entry["nodes"]])
    if not all(math.isfinite(value) for node in nodes for value in node):
        raise ValueError("a node is no number")
    return Graph(**entry | {"nodes": nodes, "left_out": tuple(map(float, entry["left_out"]))})


def graphs_csv(graphs: Sequence[Graph]) -> str:
    """Return a table with a line a search: its limit, what it delivered, and what the envelope promises under that limit.

    A search that delivered something disconnected or not supported has neither, and a search limit of many such promises nothing.
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
    """Draw every graph into one PNG: what each search delivered against its limit, and the envelope as the steps that it promises."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(3, max(len(graphs), 1))
    rows = max(1, math.ceil(len(graphs) / columns))
    figure = Figure(figsize=(4.5 * columns, 3.6 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for place, graph in enumerate(graphs):
        axes = figure.add_subplot(rows, columns, place + 1)
        for left_out in graph.left_out:
            axes.axvline(left_out, color="0.5", alpha=0.2, linewidth=3, zorder=0)  # the darker, the more seeds
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
