"""Runs the missing trials of a study, and writes the files for its pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from budgetnas import __version__
from budgetnas.harness.catalogue.catalogue import find_method
from budgetnas.harness.evaluators.registry import entry_of
from budgetnas.harness.lookup.files import content_of
from budgetnas.harness.records.store import RunError, Store
from budgetnas.harness.records.trial import Trial
from budgetnas.harness.studies.board_context import board
from budgetnas.harness.studies.plan import Plan
from budgetnas.harness.studies.selection import planned
from budgetnas.harness.trials.crew import Confinement, run_trials
from budgetnas.harness.trials.deaths import Unfinished

GRAPHS = "graphs.json"  # in the run folder: a copy of the look-up graphs that its trials read, because the study's file may change
_PROVENANCE = ("numpy", "pyarrow", "scipy", "pymoo", "optuna", "moocore")


@dataclass(frozen=True, slots=True)
class RunResult:
    """The numbers of trials in a run: planned, found with a record at its start, failed (before or now); skipped and unfinished ones."""

    planned: int
    found: int
    failed: int
    skipped: tuple[str, ...]
    unfinished: tuple[Unfinished, ...] = ()


Progress = Callable[[int, int, int], None]  # done, planned, failed


def run(plan: Plan, store: Store, workers: int, retry_failed: bool, progress: Progress) -> RunResult:
    """Run every trial of the plan that has no record yet.

    Trials run in the order of their identities. This order is fixed and mixes long and short trials, so that the remaining time can be
    estimated.

    Args:
        plan: The plan.
        store: The run folder.
        workers: The largest number of worker processes.
        retry_failed: Whether to run failed trials again.
        progress: Called with (done, planned, failed) at the start and after every trial.

    Raises:
        RunError: The folder cannot be written, another process uses it, or it holds the run of another study.
    """
    with store.locked():
        _require_same_study(plan, store)
        write_plan(plan, store)
        done = store.statuses()
        if retry_failed:  # a failed record stays until the new one takes its place
            done = {identity: status for identity, status in done.items() if status != "failed"}
        found = sum(trial.identity in done for trial in plan.trials)
        failed = sum(done.get(trial.identity) == "failed" for trial in plan.trials)
        state = {"done": found, "failed": failed}
        progress(found, len(plan.trials), failed)

        def settled(trial: Trial, ok: bool) -> None:
            state["done"] += 1
            state["failed"] += not ok
            progress(state["done"], len(plan.trials), state["failed"])

        missing = sorted((trial for trial in plan.trials if trial.identity not in done), key=lambda trial: trial.identity)
        confinement = Confinement(plan.study.plugin.timeout_seconds, plan.study.plugin.memory_mb)
        unfinished: list[Unfinished] = []
        for plugin in (False, True):
            chosen = [trial for trial in missing if (trial.folder is not None) == plugin]
            unfinished += run_trials(chosen, store, min(workers, max(len(chosen), 1)), confinement if plugin else None, settled)
        return RunResult(len(plan.trials), found, state["failed"], plan.skipped, tuple(unfinished))


def _require_same_study(plan: Plan, store: Store) -> None:
    """Raise `RunError` if the folder holds the run of another study, because its pages would be lost."""
    path = store.root / "plan.json"
    there = store.read(path) if path.is_file() else {}
    name = there.get("study") if isinstance(there, dict) else None
    if isinstance(name, str) and name != plan.study.name:
        raise RunError(f"{store.root} holds the run of the study '{name}', not '{plan.study.name}'; choose another folder with --out")


def write_plan(plan: Plan, store: Store) -> None:
    """Write the files that pages need in addition to the records: the plan, and a context file for every board."""
    boards = {
        f"{each.costed.space.name}-{each.costed.task.dataset}-{each.costed.device or 'no-device'}": board(each) for each in plan.boards
    }
    for path in store.context.glob("*.json"):
        store.delete(path)
    for name, content in boards.items():
        store.write(store.context / f"{name}.json", content)
    store.write(
        store.root / "plan.json",
        {
            "study": plan.study.name,
            "reference": plan.reference,
            "title": plan.study.title or plan.study.name,
            "trials": plan.labels,
            # Even a method that draws nothing depends on the seed if the answers of the evaluator do.
            "deterministic": sorted(
                {plan.labels[t.identity] for t in plan.trials if not entry_of(t.evaluator).seeded and _draws_nothing(t)}
            ),
            "skipped": list(plan.skipped),
            "evaluator": plan.study.problem.evaluator,
            "graph_seconds": _graph_seconds(plan),
            **({"selections": planned(plan)} if plan.study.selection else {}),
        },
    )
    everything = {graph.place: graph for graphs in plan.graphs.values() for graph in graphs}
    if everything:
        store.write(store.root / GRAPHS, content_of(list(everything.values())))
    else:
        store.delete(store.root / GRAPHS)  # of an earlier plan
    store.write(store.timings / "provenance.json", {"budgetnas": __version__} | _versions())


def _versions() -> dict[str, str]:
    """Return the versions of the installed packages that a run may use."""
    found = {}
    for name in _PROVENANCE:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _graph_seconds(plan: Plan) -> dict[str, float]:
    """Return each trial's share of the seconds of its look-up graphs, by identity.

    Every method that reads a graph is charged the whole graph, divided among the method's trials.
    """
    readers = Counter((plan.labels[identity], graph.place) for identity, graphs in plan.graphs.items() for graph in graphs)
    return {
        identity: round(sum(graph.seconds / readers[plan.labels[identity], graph.place] for graph in graphs), 3)
        for identity, graphs in plan.graphs.items()
    }


def _draws_nothing(trial: Trial) -> bool:
    return find_method(trial.method, trial.folder).deterministic


def default_folder(study: str) -> Path:
    """Return the default folder for the run of a study."""
    return Path("runs") / study
