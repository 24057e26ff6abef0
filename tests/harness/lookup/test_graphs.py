"""Look-up graphs: each search is a trial that runs once, a graph fits certain trials only, and damaged files are refused."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from budgetnas.harness.catalogue.catalogue import find_method
from budgetnas.harness.costs.limits import resolve
from budgetnas.harness.costs.tabulated_space import tabulated_space_of
from budgetnas.harness.lookup import graphs as lookup_graph
from budgetnas.harness.lookup.files import draw, graphs_csv, read_graphs, write_graphs
from budgetnas.harness.lookup.graphs import (
    Graph,
    Grid,
    LookupGraphError,
    basis_of,
    build,
    default_range,
    graphs_of,
    looked_up,
    wanted,
)
from budgetnas.harness.problem import Allowance, Architecture
from budgetnas.harness.problem.lookup import search_limit
from budgetnas.harness.records.store import RunError, Store
from budgetnas.harness.records.trial import TrainingSpec, Trial
from budgetnas.methods.dca_nas import DCANAS
from budgetnas.spaces.registry import space_of
from budgetnas.spaces.task import task_of

# A search without torch: of a few random cells, it returns the slowest one that costs at most 1.2 times the limit.
METHOD = '''
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from budgetnas.harness.problem import Need
from budgetnas.spaces.space import sample


@dataclass(frozen=True)
class Overshooting:
    """Delivers networks that cost slightly more than the limit."""

    needs: ClassVar = frozenset({Need.ACCURACY})
    lookup_searches: ClassVar[Mapping] = {"lookup": (), "repair": False}
    lookup: tuple[tuple, ...] = ()
    repair: bool = False
    draws: int = 40
    fails: bool = False
    strays_from: float = 1e9

    def search(self, problem, evaluator, rng):
        if self.fails:
            raise RuntimeError("failed on request")
        (limit,) = problem.limits
        if limit.upper > self.strays_from and rng.random() < 0.7:
            yield (problem.space.at(10),)
            return {}
        cells = [problem.space.at(15624), *(sample(problem.space, rng) for _ in range(self.draws))]
        costs = {cell: evaluator.cost(cell)[limit.resource] for cell in cells if problem.space.connected(cell)}
        costs = {cell: cost for cell, cost in costs.items() if cost == cost}
        within = [cell for cell, cost in costs.items() if cost <= 1.2 * limit.upper]
        yield (max(within, key=costs.get) if within else min(costs, key=costs.get),)
        return {"steps": 7.0}
'''
GRID = Grid(1.5, 4.0, points=4, seeds=3)


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    """Return a trial of that method on the closed-form benchmark, under two limits."""
    (tmp_path / "overshooting.py").write_text(METHOD)
    return trial_in(tmp_path)


def trial_in(folder: Path, **settings: Any) -> Trial:
    found = find_method("overshooting.py:Overshooting", folder)
    tabulated = tabulated_space_of("nasbench201", "closed-form", "closed-form")
    return Trial(
        space="nasbench201",
        dataset="closed-form",
        device="closed-form",
        limits=resolve(tabulated, ("latency_ms<=3", "params<=600k")).limits,
        allowance=Allowance(None),
        validation="mean",
        method="overshooting.py:Overshooting",
        settings=tuple(sorted(found.settings(settings).items())),
        version=found.version,
        table=tabulated.checksum,
        seed=0,
        folder=folder,
    )


def built(trial: Trial, folder: Path, workers: int = 1, grid: Grid = GRID) -> list[Graph]:
    return build([(trial, "latency_ms", grid), (trial, "params", Grid(2e5, 9e5, 3, 1))], Store(folder), workers)


def without_clock(graphs: list[Graph]) -> list[Graph]:
    return [replace(graph, seconds=0.0) for graph in graphs]


@pytest.mark.slow
def test_graph_has_a_node_for_every_search_with_any_number_of_workers(trial: Trial, tmp_path: Path) -> None:
    latency, params = built(trial, tmp_path / "serial")
    assert [len(latency.nodes), len(params.nodes)] == [12, 3]
    assert [limit for limit, _ in latency.nodes] == [limit for limit in GRID.limits for _ in range(3)]
    assert GRID.limits[0] == 1.5 and GRID.limits[-1] == 4.0
    assert (latency.searches, latency.steps, params.steps) == (12, 84, 21)
    clocks = [json.loads(row.timing)["trial_seconds"] for row in Store(tmp_path / "serial").rows()]
    assert len(clocks) == 15 and latency.seconds + params.seconds == pytest.approx(sum(clocks), abs=0.1)
    tabulated = tabulated_space_of("nasbench201", "closed-form", "closed-form")
    assert {delivered for _, delivered in latency.nodes} <= set(tabulated.resource("latency_ms").tolist())
    assert len({delivered for limit, delivered in latency.nodes if limit == 1.5}) > 1  # seeds differ
    assert without_clock(built(trial, tmp_path / "parallel", workers=2)) == without_clock([latency, params])


def test_search_with_a_record_does_not_run_again(trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = built(trial, tmp_path / "graphs")
    run: list[Trial] = []
    real = lookup_graph.run_trials

    def counted(trials: Any, *rest: Any) -> None:
        run.extend(trials)
        real(trials, *rest)

    monkeypatch.setattr(lookup_graph, "run_trials", counted)
    assert built(trial, tmp_path / "graphs") == first and run == []
    seeds = built(trial, tmp_path / "graphs", grid=replace(GRID, seeds=4))[0]
    assert len(run) == 4 and seeds.searches == 16


@pytest.mark.slow
def test_damaged_record_and_failed_search_give_one_line_errors(trial: Trial, tmp_path: Path) -> None:
    built(trial, tmp_path / "graphs")
    store = Store(tmp_path / "graphs")
    row = next(store.rows())
    store.write_rows([replace(row, content=row.content[:-20])])
    with pytest.raises(RunError, match=f"the record of trial {row.identity} .* was changed or damaged"):
        built(trial, tmp_path / "graphs")
    failing = trial_in(tmp_path, fails=True)
    with pytest.raises(
        LookupGraphError,
        match=r"the search under .*<=1.5 failed: RuntimeError: failed on request \(overshooting.py:\d+\); fix the cause and run the",
    ):
        built(failing, tmp_path / "failing")


def test_search_limits_that_deliver_unsupported_networks_promise_nothing(trial: Trial, tmp_path: Path) -> None:
    tabulated = tabulated_space_of("nasbench201", "closed-form", "closed-form")
    assert not tabulated.eligible[10]
    graph = built(trial_in(tmp_path, strays_from=2.5), tmp_path / "graphs", grid=replace(GRID, seeds=8))[0]
    assert set(graph.left_out) == {limit for limit in GRID.limits if limit > 2.5}
    kept = [limit for limit, _ in graph.nodes]
    assert sorted([*kept, *graph.left_out]) == [limit for limit in GRID.limits for _ in range(8)]  # one search, one place
    assert [kept.count(limit) for limit in GRID.limits if limit <= 2.5] == [8, 8]
    assert 0 < sum(limit > 2.5 for limit in kept) < 16  # with other seeds; their costs count in the envelope


# --- trials of a graph ------------------------------------------------------------------------------------------------------------------


def test_only_trials_that_differ_in_seed_limits_or_ending_share_a_graph(trial: Trial, tmp_path: Path) -> None:
    same = [replace(trial, seed=5, limits=()), trial_in(tmp_path, repair=True), trial_in(tmp_path, lookup=[["params", 1.0, 2.0]])]
    others = [trial_in(tmp_path, draws=41), replace(trial, table="another"), replace(trial, device=None), replace(trial, version="2")]
    assert {basis_of(each) for each in same} == {basis_of(trial)}
    of_recipes = [TrainingSpec("small", *checksums) for checksums in (("a" * 64, "b" * 64), ("c" * 64, "b" * 64), ("a" * 64, "c" * 64))]
    others += [replace(trial, training=training, evaluator="supernet") for training in of_recipes]
    assert len({basis_of(each) for each in others} | {basis_of(trial)}) == 8


def test_wanted_returns_one_graph_per_resource_with_all_upper_limits(trial: Trial) -> None:
    loose = replace(trial, seed=1, limits=tuple(replace(limit, upper=2 * limit.upper, lower=1.0) for limit in trial.limits))
    only_lower = replace(trial, limits=tuple(replace(limit, upper=float("inf"), lower=1.0) for limit in trial.limits))
    without = replace(trial, method="random_search", settings=(), folder=None)
    found = wanted([trial, loose, only_lower, without])
    assert [(resource, uppers) for _, resource, uppers in found] == [("latency_ms", (3.0, 6.0)), ("params", (6e5, 12e5))]


def test_search_limits_go_from_half_the_tightest_limit_to_twice_the_loosest(trial: Trial) -> None:
    assert default_range(trial, "params", (6e5, 12e5)) == (3e5, 24e5)


def test_default_range_in_a_supernet_is_of_the_search_network(trial: Trial) -> None:
    space: Any = space_of("nasbench201")
    sized = (("cells", 5), ("channels", 16))  # the size of the evaluation network, whose costs are known in closed form
    recipe = TrainingSpec("search-digits", "", "")
    of_supernet = replace(trial, dataset="cifar10", settings=sized, training=recipe, evaluator="supernet")
    # Costs add up over edges, so a uniform mixture of operations costs the mean over the cells that have one operation on all edges.
    alike = [space.complexity(Architecture(space.name, (operation,) * 6), task_of("cifar10")) for operation in range(5)]
    for resource in ("params", "macs"):
        sizes = [getattr(each, resource) for each in alike]
        assert default_range(of_supernet, resource, (1.0,)) == pytest.approx((min(sizes), 2.0 * sum(sizes) / 5), rel=1e-12)
    assert default_range(of_supernet, "latency_ms", (3.0, 6.0)) == (1.5, 12.0)
    # Sizes that the method does not set come from the recipe: four cells of 8 channels, whatever network the limits refer to.
    small = replace(of_supernet, space="darts", dataset="digits", settings=(), training=TrainingSpec("search-digits-cells", "", ""))
    known: Any = space_of("darts[cells=4,channels=8]")
    costs, fixed = known.edge_costs("params", task_of("digits")), known.fixed_cost("params", task_of("digits"))
    expected = fixed, 2.0 * (fixed + sum(float(each.sum()) / 8 for each in costs))  # `none` is the cheapest operation of every edge
    assert default_range(small, "params", (1e6,)) == pytest.approx(expected, rel=1e-12)


def test_rows_of_the_graphs_are_part_of_the_identity(trial: Trial, tmp_path: Path) -> None:
    graphs = built(trial, tmp_path / "graphs")
    found = looked_up(trial, graphs_of(trial, graphs, "graphs.json"))
    rows = dict(found.settings)["lookup"]
    assert rows == [["latency_ms", *node] for node in graphs[0].nodes] + [["params", *node] for node in graphs[1].nodes]
    assert found.identity != trial.identity
    assert looked_up(found, graphs_of(found, graphs, "graphs.json")) == found
    strayed = [replace(graphs[0], nodes=(), left_out=(1.5, 4.0)), graphs[1]]
    assert dict(looked_up(trial, strayed).settings)["lookup"][:2] == [["latency_ms", 1.5], ["latency_ms", 4.0]]
    limited = replace(trial, limits=trial.limits[1:])
    assert {row[0] for row in dict(looked_up(limited, graphs_of(limited, graphs, "graphs.json")).settings)["lookup"]} == {"params"}
    with pytest.raises(LookupGraphError, match=r"graphs.json has no look-up graph of latency_ms for method 'overshooting.*nasbench201 on"):
        graphs_of(trial_in(tmp_path, draws=3), graphs, "graphs.json")


def test_dca_nas_accepts_the_rows() -> None:
    rows = [["latency_ms", 1.0, 2.0], ["latency_ms", 2.0, 3.0]]
    settings = find_method("dca_nas").settings({"lookup": rows})
    assert settings["lookup"] == rows
    assert set(DCANAS.lookup_searches) <= set(settings)
    assert search_limit([(row[1], row[2]) for row in rows], 2.5) == 1.0


# --- files ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_graphs_are_written_read_and_extended(trial: Trial, tmp_path: Path) -> None:
    graphs, path = built(trial, tmp_path / "graphs"), tmp_path / "new" / "graphs.json"
    write_graphs(graphs[:1], path)
    assert read_graphs(path) == graphs[:1]
    write_graphs(graphs[1:], path)
    assert read_graphs(path) == graphs
    write_graphs([replace(graphs[0], seconds=9.0)], path)
    assert {graph.resource: graph.seconds for graph in read_graphs(path)} == {"params": graphs[1].seconds, "latency_ms": 9.0}
    assert path.with_suffix(".csv").read_text() == graphs_csv(read_graphs(path))
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_csv_has_a_line_for_each_search_with_the_envelope() -> None:
    graph = Graph("b", "dca_nas", "nasbench201", "cifar10", "fpga", "latency_ms", ((1.0, 5.0), (1.0, 2.0), (2.0, 4.0)), (3.0,), 4, 40, 1.0)
    assert graphs_csv([graph]).splitlines() == [
        "method,space,dataset,device,resource,search_limit,delivered,envelope,basis",
        "dca_nas,nasbench201,cifar10,fpga,latency_ms,1.0,5.0,5.0,b",
        "dca_nas,nasbench201,cifar10,fpga,latency_ms,1.0,2.0,5.0,b",
        "dca_nas,nasbench201,cifar10,fpga,latency_ms,2.0,4.0,5.0,b",
        "dca_nas,nasbench201,cifar10,fpga,latency_ms,3.0,,,b",
    ]


def test_empty_graph_can_be_drawn(tmp_path: Path) -> None:
    draw([Graph("b", "dca_nas", "nasbench201", "cifar10", None, "macs", (), (3.0,), 1, 0, 0.0)], tmp_path / "x.png")
    draw([], tmp_path / "y.png")
    assert (tmp_path / "x.png").stat().st_size > 1000 and (tmp_path / "y.png").exists()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"schema": 2}', '{"schema": 2, "graphs": [{"nodes": []}]}', '{"schema": 2, "graphs": [{"nodes": [[1, "x"]]}]}'],
)
def test_a_damaged_file_is_refused_with_its_name(text: str, tmp_path: Path) -> None:
    path = tmp_path / "graphs.json"
    path.write_text(text)
    with pytest.raises(LookupGraphError, match=re.escape(f"{path} is not a file of look-up graphs, or is damaged (")):
        read_graphs(path)


def test_missing_file_and_unknown_schema_are_reported(tmp_path: Path) -> None:
    with pytest.raises(LookupGraphError, match="make them with `budgetnas lookup-graph STUDY`"):
        read_graphs(tmp_path / "graphs.json")
    (tmp_path / "graphs.json").write_text(json.dumps({"schema": 7, "graphs": []}))
    with pytest.raises(LookupGraphError, match="schema 7"):
        read_graphs(tmp_path / "graphs.json")


@pytest.mark.parametrize("given", [(0.0, 1.0), (2.0, 1.0), (1.0, float("inf")), (1.0, 2.0, 1), (1.0, 2.0, 5, 0)], ids=str)
def test_impossible_grid_is_refused(given: Any) -> None:
    with pytest.raises(LookupGraphError, match="cannot make a grid of"):
        Grid(*given)


def test_file_of_another_version_is_reported(tmp_path: Path) -> None:
    (tmp_path / "graphs.json").write_text('{"schema": 1, "graphs": []}')
    with pytest.raises(LookupGraphError, match="has look-up graphs of schema 1, not 2; delete it and make them again"):
        read_graphs(tmp_path / "graphs.json")


def test_folder_is_not_reported_as_damaged(tmp_path: Path) -> None:
    with pytest.raises(LookupGraphError, match=r"cannot read look-up graphs from .*: Is a directory; name a file that can be read"):
        read_graphs(tmp_path)


@pytest.mark.slow
def test_graphs_of_other_settings_are_kept_and_older_ones_replaced(trial: Trial, tmp_path: Path) -> None:
    graphs, path = built(trial, tmp_path / "graphs"), tmp_path / "graphs.json"
    write_graphs(graphs, path)
    other = replace(graphs[0], basis="of other settings")
    write_graphs([other], path)
    assert read_graphs(path) == [*graphs, other]
    again = replace(graphs[0], nodes=graphs[0].nodes[1:])
    write_graphs([again], path)
    assert read_graphs(path) == [graphs[1], other, again]
    assert {line.split(",")[-1] for line in path.with_suffix(".csv").read_text().splitlines()} == {"basis", graphs[0].basis, other.basis}
