"""`budgetnas search METHOD SPACE`: runs one search with a live view, and keeps its record in a folder."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from budgetnas.harness.commands.progress import progress_of
from budgetnas.harness.commands.query import AsJson, SpaceName
from budgetnas.harness.commands.setting_option import settings_of
from budgetnas.harness.evaluators.registry import EVALUATORS
from budgetnas.harness.records.identity import DEFAULT_EVALUATOR

if TYPE_CHECKING:
    from budgetnas.harness.evaluators.registry import Watch
    from budgetnas.harness.problem import Step

_COLLAPSE = 0.5  # share of skip connections among kept edges
_LOGGED_EVERY_SECONDS = 30.0  # without a terminal, which shows a live view instead


def _known(evaluator: str) -> str:
    """Return the name of an evaluator; raises `typer.BadParameter` if there is no such evaluator."""
    if evaluator not in EVALUATORS:
        raise typer.BadParameter(f"unknown evaluator '{evaluator}'; choose one of {', '.join(EVALUATORS)}")
    return evaluator


def search_command(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="A method: see `budgetnas list methods`.", show_default=False)],
    space: SpaceName,
    dataset: Annotated[str, typer.Option(help="A dataset: see `budgetnas list datasets`.")] = "digits201",
    device: Annotated[str | None, typer.Option(help="A device: see `budgetnas list devices`.", show_default=False)] = None,
    limit: Annotated[
        list[str] | None, typer.Option(help="A limit, such as 'latency_ms@q25'; may be given several times.", show_default=False)
    ] = None,
    evaluator: Annotated[
        str, typer.Option(metavar=f"[{'|'.join(EVALUATORS)}]", help="How architectures are evaluated.", callback=_known)
    ] = DEFAULT_EVALUATOR,
    recipe: Annotated[
        str | None, typer.Option(help="Training recipe: a name or a TOML file. Not allowed with the evaluator `table`.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="The search seed.")] = 0,
    queries: Annotated[int, typer.Option(min=1, max=2**63 - 1, help="Number of accuracies that the method may query.")] = 200,
    settings: Annotated[
        list[str] | None,
        typer.Option("--setting", help="A setting of the method, NAME=VALUE; may be given several times.", show_default=False),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for records, histories and checkpoints.")] = Path("runs/search"),
    as_json: AsJson = False,
) -> None:
    """Run one search. It may be stopped at any moment; give the same command again to continue from the last checkpoint."""
    from budgetnas.harness.studies.one_search import SearchRequest, search, trial_of

    given = settings_of(settings or [])
    trial, bounds = trial_of(SearchRequest(method, space, dataset, device, limit or [], evaluator, recipe, seed, queries, given))
    with _live(f"{method} in {space} on {dataset}") as watch:
        record, timing, found = search(trial, out, watch)
    answer = _answer(record, timing, bounds.text, out)
    if as_json:
        typer.echo(json.dumps(answer))
    else:
        for line in _lines(answer, found):
            typer.echo(line)
    if record["status"] == "failed":
        raise typer.Exit(1)


def _answer(record: dict[str, Any], timing: dict[str, Any], limits: str, out: Path) -> dict[str, Any]:
    final = record["final"] or {}
    return {
        "identity": record["identity"],
        "status": record["status"],
        "failure": record["failure"],
        "limits": limits,
        "arch": final.get("text"),
        "feasible": bool(final.get("feasible")),
        "violation": final.get("violation"),
        "cost": final.get("cost"),
        "validation": final.get("validation"),
        "test": final.get("test"),
        "regret": record["regret"],
        "report": record["report"],
        "seconds": timing.get("search_seconds", timing.get("trial_seconds")),
        "search_memory_bytes": timing.get("search_memory_bytes"),
        "record": str(out / "records.sqlite"),
    }


def _lines(answer: dict[str, Any], found: bool) -> Iterator[str]:
    if answer["failure"]:
        yield f"failed: {answer['failure']}"
    if answer["arch"] is None:
        yield "the search recommended nothing"
    else:
        yield answer["arch"]
        state = f"feasible under {answer['limits']}" if answer["feasible"] else f"NOT feasible under {answer['limits']}"
        if answer["violation"] is None and not answer["feasible"]:
            state = "NOT feasible: no path leads from input to output, or the device does not run it"
        if (answer["report"].get("skip_share") or 0.0) >= _COLLAPSE:
            yield "the search collapsed: at least half of the kept edges are skip connections"
        yield f"{state}; " + ", ".join(f"{name} {_shown(value)}" for name, value in answer["cost"].items())
        if answer["test"] is not None:
            regret = "" if answer["regret"] is None else f"; regret {answer['regret']:.2f} points"
            yield f"queried: validation {answer['validation']:.2f} %, test {answer['test']:.2f} %{regret}"
    if answer["report"]:
        yield "; ".join(f"{name} {_shown(value)}" for name, value in answer["report"].items())
    yield f"{'found from an earlier run' if found else 'took ' + format(answer['seconds'], '.1f') + ' s'}; record in {answer['record']}"


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


@contextmanager
def _live(title: str) -> Iterator[Watch]:
    """Yield a function of (step, figures). It draws a bar with the time left and the latest figures or, without a terminal, writes a line
    every 30 seconds.
    """
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    console = Console(stderr=True)
    # The figures are below the bar and may take several lines: cut off at the right, the costs would be invisible.
    progress, latest = progress_of(console), Text("")
    task, logged_at = progress.add_task("", total=None, text=""), [time.monotonic() - _LOGGED_EVERY_SECONDS]
    with Live(Group(Text(title), progress, latest), console=console) if console.is_terminal else nullcontext():

        def watch(step: Step, figures: Mapping[str, float]) -> None:
            epoch = f"epoch {step.epoch + 1} of {step.epochs}: " if step.epochs < step.total else ""
            line = epoch + ", ".join(f"{_word(name)} {value:.4g}" for name, value in figures.items())
            progress.update(task, completed=step.index + 1, total=step.total)
            latest.plain = line
            if not console.is_terminal and time.monotonic() - logged_at[0] >= _LOGGED_EVERY_SECONDS:
                logged_at[0] = time.monotonic()
                typer.echo(f"step {step.index + 1} of {step.total}, {line}", err=True)

        yield watch


def _word(name: str) -> str:
    return name.replace("_", " ")
