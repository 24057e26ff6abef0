"""The records of a run as one pandas table with one row for each trial. The leaderboards are made from it."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from budgetnas.harness.problem.lookup import SETTING
from budgetnas.harness.records.identity import DEFAULT_EVALUATOR
from budgetnas.harness.records.ranking_classes import QUERIES
from budgetnas.harness.records.store import RunError, Store
from budgetnas.harness.records.trial import reason_of
from budgetnas.spaces.devices import RESOURCES

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Problems = dict[tuple[Any, ...], tuple[str, str]]
BATCH = 1000  # trials whose records are Python objects at a time; of all others there are only columns


def read_records(store: Store) -> tuple[pd.DataFrame, list[Path], dict[str, Any]]:
    """Return the table of a run's finished trials, the paths of its context files, and its plan.

    Only trials of the run's present plan are taken. `front` and `report` are columns of Arrow lists: recommendations, and figures by name.
    `RunError` if there is no run, or none of its trials has ended.
    """
    import pyarrow as pa

    if not (store.root / "plan.json").is_file():
        if store.root.exists() and not store.root.is_dir():
            raise RunError(f"{store.root} is a file; give the folder of a run, such as runs/default")
        if store.holds_records():
            raise RunError(f"{store.root} holds records but no study, so it has no pages: `budgetnas export {store.root}` writes them")
        raise RunError(f"{store.root} holds no run; make one with `budgetnas run STUDY.toml --out {store.root}`")
    store.take_over()
    store.check()
    plan = _plan(store)
    contexts = sorted(store.context.glob("*.json"))
    batches = list(_batches(store, plan, _problems(store, contexts)))
    if not batches:
        raise RunError(f"no trial of {store.root} has ended yet; run the study first")
    return _frame(pa.Table.from_batches(batches)), contexts, plan


def _batches(store: Store, plan: dict[str, Any], problems: Problems) -> Iterator[pa.RecordBatch]:
    """Yield the rows of the plan's trials, in the order of their identities, `BATCH` at a time."""
    schema, labels = _schema(), plan["trials"]
    rows: list[dict[str, Any]] = []
    for row in store.rows():
        if row.identity in labels:
            record = store.checked(row)
            try:
                rows.append(_row(record, labels[row.identity], problems, plan))
            except (KeyError, TypeError, AttributeError) as error:
                raise _damaged(store, row.identity, error) from None
            if len(rows) == BATCH:
                yield _batch(store, rows, schema)
                rows = []
    if rows:
        yield _batch(store, rows, schema)


def _batch(store: Store, rows: list[dict[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Return rows as columns. Raises `RunError` with the name of the first trial that has something else where a number or text belongs."""
    import pyarrow as pa

    try:
        return pa.RecordBatch.from_pylist(rows, schema)
    except (pa.ArrowException, OverflowError) as error:
        if len(rows) > 1:
            for row in rows:
                _batch(store, [row], schema)
        raise _damaged(store, rows[0]["identity"], error) from None


def _damaged(store: Store, identity: str, error: Exception) -> RunError:
    return RunError(f"the record of trial {identity} in {store.root} is damaged ({reason_of(error)}); run the study again")


def _schema() -> pa.Schema:
    """Return what each column of the table holds. Costs and accuracies that are not known are NaN."""
    import pyarrow as pa

    costs = dict.fromkeys(RESOURCES, pa.float64())
    point = pa.struct({"test": pa.float64(), "validation": pa.float64(), "feasible": pa.bool_(), **costs})
    texts = ("identity", "space", "dataset", "device", "problem", "resource", "method", "settings", "ranking_class", "status", "failure")
    return pa.schema(
        {
            **dict.fromkeys((*texts, "recommendation"), pa.string()),
            **dict.fromkeys(("deterministic", "feasible"), pa.bool_()),
            **dict.fromkeys(("seed", "queries", "repeats", "cost_questions", "lookup_points", "lookup_seeds"), pa.int64()),
            **dict.fromkeys(("violation", "test", "validation", "regret", "simulated_seconds", "graph_seconds"), pa.float64()),
            **costs,
            "front": pa.list_(point),
            "report": pa.list_(pa.struct({"figure": pa.string(), "value": pa.float64()})),
        }
    )


def _frame(table: pa.Table) -> pd.DataFrame:
    import pandas as pd

    lists = {field.type: pd.ArrowDtype(field.type) for field in table.schema if field.name in ("front", "report")}
    frame: pd.DataFrame = table.to_pandas(types_mapper=lists.get)
    return frame


def _plan(store: Store) -> dict[str, Any]:
    path = store.root / "plan.json"
    plan = store.read(path)
    if isinstance(plan, dict):
        plan = {"evaluator": DEFAULT_EVALUATOR, "graph_seconds": {}} | plan  # as runs of earlier versions had it
    kinds = {"evaluator": str, "graph_seconds": dict, "study": str, "title": str, "trials": dict, "deterministic": list, "skipped": list}
    sound = isinstance(plan, dict) and all(isinstance(plan.get(name), kind) for name, kind in kinds.items())
    if not sound or not all(isinstance(seconds, (int, float)) for seconds in plan["graph_seconds"].values()):
        raise RunError(f"{path} is not the plan of a run; run the study again, which keeps its records")
    return dict(plan)


def _problems(store: Store, contexts: list[Path]) -> Problems:
    """Return, for every problem, how pages call it and the resource they draw along."""
    found = {}
    for path in contexts:
        context = store.read(path)
        try:
            for problem in context["problems"]:
                place = _key(context["space"], context["dataset"], context["device"], problem["limits"])
                found[place] = (problem["problem"], context["resource"])
        except (KeyError, TypeError):
            raise RunError(f"{path} is not the context of a board; run the study again, which keeps its records") from None
    return found


def _key(space: str, dataset: str, device: str, limits: list[dict[str, Any]]) -> tuple[Any, ...]:
    return space, dataset, device, *((limit["resource"], limit["lower"], limit["upper"]) for limit in limits)


def _row(record: dict[str, Any], label: str, problems: Problems, plan: dict[str, Any]) -> dict[str, Any]:
    trial, final = record["trial"], record["final"]
    settings = trial["method"]["settings"]
    points, seeds = _lookup_grid(settings.get(SETTING)) or (0, 0)
    device = trial["device"] or ""
    try:
        problem, resource = problems[_key(trial["space"], trial["dataset"], device, trial["limits"])]
    except KeyError:
        raise RunError(f"the context of trial {record['identity'][:12]} is missing; run the study again, which keeps its records") from None
    return {
        "identity": record["identity"],
        "space": trial["space"],
        "dataset": trial["dataset"],
        "device": device,
        "problem": problem,
        "resource": resource,
        "method": label,
        # A look-up graph's rows are those of the problem's own device and resources: they make no variant of the method.
        "settings": json.dumps({name: value for name, value in settings.items() if name != SETTING}, sort_keys=True),
        "ranking_class": record.get("ranking_class", QUERIES),
        "deterministic": label in plan["deterministic"],
        "seed": trial["seed"],
        "status": record["status"],
        "failure": record["failure"],
        "feasible": bool(final and final["feasible"]),
        "violation": math.inf if final is None or final["violation"] is None else final["violation"],
        "test": _number(final and final["test"]),
        "validation": _number(final and final["validation"]),
        "regret": math.nan if record["regret"] is None else record["regret"],
        "queries": record["queries"],
        "repeats": record["repeats"],
        "cost_questions": sum(len(keys) for kind, keys in record["questions"] if kind == "cost"),
        "simulated_seconds": record["simulated_seconds"],
        "recommendation": final["text"] if final else "",
        **_costs(final["cost"] if final else {}),
        "front": [
            {"test": entry["test"], "validation": entry["validation"], "feasible": entry["feasible"], **_costs(entry["cost"])}
            for entry in record["front"]
        ],
        "report": [{"figure": name, "value": value} for name, value in record["report"].items()],
        "graph_seconds": float(plan["graph_seconds"].get(record["identity"], math.nan)),
        "lookup_points": points,
        "lookup_seeds": seeds,
    }


def _lookup_grid(rows: Any) -> tuple[int, int] | None:
    """Return the number of search limits in the look-up graphs and the number of searches at each; None without look-up graphs.

    A user's method may have an unrelated setting of the same name.
    """
    if not isinstance(rows, list):
        return None
    rows = [row for row in rows if isinstance(row, list)]
    counts = Counter(
        (row[0], row[1]) for row in rows if len(row) in (2, 3) and isinstance(row[0], str) and isinstance(row[1], (int, float))
    )
    points = Counter(resource for resource, _ in counts)
    return (max(points.values()), max(counts.values())) if counts else None


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _costs(cost: dict[str, Any]) -> dict[str, float]:
    return {name: math.nan if cost.get(name) is None else float(cost[name]) for name in RESOURCES}
