"""The records of a run as one pandas table with one row for each trial. The leaderboards are made from it."""

from __future__ import annotations

import json
import math
from collections import Counter
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


def read_records(store: Store) -> tuple[pd.DataFrame, list[Path], dict[str, Any]]:
    """Return the table of a run's finished trials, the paths of its context files, and its plan.

    Only trials of the present plan are included. Raises `RunError` if there is no run, or if no trial has ended.
    """
    import pandas as pd

    if not (store.root / "plan.json").is_file():
        raise RunError(f"{store.root} holds no run; make one with `budgetnas run STUDY.toml --out {store.root}`")
    store.take_over()
    store.check()
    plan = _plan(store)
    contexts = sorted(store.context.glob("*.json"))
    problems = _problems(store, contexts)
    labels, seen = plan["trials"], dict[str, str]()
    columns: dict[str, list[Any]] = {}
    for row in store.rows():
        if row.identity in labels:
            record = store.checked(row)
            try:
                values = _row(record, labels[row.identity], problems, plan)
            except (KeyError, TypeError, AttributeError) as error:
                raise RunError(
                    f"the record of trial {row.identity} in {store.root} is damaged ({reason_of(error)}); run the study again"
                ) from None
            for name, value in values.items():
                # Thousands of rows have the same few texts: each is kept once.
                columns.setdefault(name, []).append(seen.setdefault(value, value) if isinstance(value, str) else value)
    if not columns:
        raise RunError(f"no trial of {store.root} has ended yet; run the study first")
    return pd.DataFrame(columns), contexts, plan


def _plan(store: Store) -> dict[str, Any]:
    path = store.root / "plan.json"
    plan = store.read(path)
    if isinstance(plan, dict):
        plan = {"evaluator": DEFAULT_EVALUATOR, "graph_seconds": {}} | plan  # as runs of earlier versions had it
    kinds = {"evaluator": str, "graph_seconds": dict, "study": str, "title": str, "trials": dict, "deterministic": list, "skipped": list}
    sound = isinstance(plan, dict) and all(isinstance(plan.get(name), kind) for name, kind in kinds.items())
    if not sound or not all(isinstance(seconds, (int, float)) for seconds in plan["graph_seconds"].values()):
        raise RunError(f"{path} is no plan of a run; run the study again: what is there is kept")
    return dict(plan)


def _problems(store: Store, contexts: list[Path]) -> dict[str, tuple[str, str]]:
    """Return, for every problem, its label on pages and the resource of its axis."""
    found = {}
    for path in contexts:
        context = store.read(path)
        try:
            for problem in context["problems"]:
                place = _key(context["space"], context["dataset"], context["device"], problem["limits"])
                found[place] = (problem["problem"], context["resource"])
        except (KeyError, TypeError):
            raise RunError(f"{path} is no context of a run; run the study again: what is there is kept") from None
    return found


def _key(space: str, dataset: str, device: str, limits: list[dict[str, Any]]) -> str:
    return json.dumps([space, dataset, device, limits], sort_keys=True)


def _row(record: dict[str, Any], label: str, problems: dict[str, tuple[str, str]], plan: dict[str, Any]) -> dict[str, Any]:
    trial, final = record["trial"], record["final"]
    device = trial["device"] or ""
    try:
        problem, resource = problems[_key(trial["space"], trial["dataset"], device, trial["limits"])]
    except KeyError:
        raise RunError(f"the context of trial {record['identity'][:12]} is missing; run the study again: what is there is kept") from None
    return {
        "identity": record["identity"],
        "space": trial["space"],
        "dataset": trial["dataset"],
        "device": device,
        "problem": problem,
        "resource": resource,
        "method": label,
        # A look-up graph's rows are those of the problem's own device and resources: they make no variant of the method.
        "settings": json.dumps({name: value for name, value in trial["method"]["settings"].items() if name != SETTING}, sort_keys=True),
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
        "report": record["report"],
        "graph_seconds": float(plan["graph_seconds"].get(record["identity"], math.nan)),
        "lookup_grid": _lookup_grid(trial["method"]["settings"].get(SETTING)),
    }


def _lookup_grid(rows: Any) -> tuple[int, int] | None:
    """Return the number of search limits in the look-up graphs and the number of searches at each; None without look-up graphs.

    A user's method may have an unrelated setting of the same name.
    """
    rows = [row for row in rows if isinstance(row, list)] if isinstance(rows, list) else []
    counts = Counter(
        (row[0], row[1]) for row in rows if len(row) in (2, 3) and isinstance(row[0], str) and isinstance(row[1], (int, float))
    )
    points = Counter(resource for resource, _ in counts)
    return (max(points.values()), max(counts.values())) if counts else None


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _costs(cost: dict[str, Any]) -> dict[str, float]:
    return {name: math.nan if cost.get(name) is None else float(cost[name]) for name in RESOURCES}
