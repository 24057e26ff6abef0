"""The command `budgetnas`."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn, cast

import typer

from budgetnas.harness.commands import check, compare, data, export, leaderboard, lookup_graph, query, retrain, run, search
from budgetnas.harness.commands import list as listing

# Click's UsageError, from whichever click typer uses. Its subclass for a command without arguments, which prints the help, has no message.
_UsageError = cast(type[typer.BadParameter], typer.BadParameter.__bases__[0])

app = typer.Typer(
    name="budgetnas",
    help="Rank neural architecture searches that must respect a budget: parameters, multiply-adds, milliseconds, millijoules.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("run")(run.run_command)
app.command("leaderboard")(leaderboard.leaderboard_command)
app.command("query")(query.query_command)
app.command("oracle")(query.oracle_command)
app.command("search")(search.search_command)
app.command("retrain")(retrain.retrain_command)
app.command("compare")(compare.compare_command)
app.command("export")(export.export_command)
app.command("lookup-graph")(lookup_graph.lookup_graph_command)
app.command("check")(check.check_command)
app.add_typer(data.app, name="data")
app.add_typer(listing.app, name="list")


@app.callback(invoke_without_command=True)
def _options(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        from budgetnas import __version__

        typer.echo(f"budgetnas {__version__}")
        raise typer.Exit


class Stopped(BaseException):
    """A signal asked the command to stop."""


def main() -> None:
    """Run the command. An error that the user can fix ends in one line on standard error and exit code 1 (2 for a wrong command line).

    Every error that the project raises on purpose is a ValueError with a message for the user. Any other exception is a defect and keeps
    its traceback. After Ctrl-C or SIGTERM the running work cleans up, and the command ends in one line and exit code 128 plus the
    signal's number.
    """
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _stop)
        sys.exit(app(prog_name="budgetnas", standalone_mode=False) or 0)
    except _UsageError as error:
        if not error.format_message():
            sys.exit(2)
        path = error.ctx.command_path if error.ctx else "budgetnas"
        message = error.format_message().replace("Value error, ", "").rstrip(".")  # Typer's own words before a wrong choice
        _fail(f"{message}; see `{path} --help`", code=2)
    except ValueError as error:
        if not type(error).__module__.startswith("budgetnas."):
            raise
        _fail(str(error))
    except Stopped as stopped:
        print("budgetnas: stopped; finished work is kept, run the same command to continue", file=sys.stderr)
        sys.exit(128 + stopped.args[0])
    except (BrokenPipeError, SystemExit) as end:
        if not isinstance(end, BrokenPipeError) and not isinstance(end.__context__, BrokenPipeError):  # Typer turns it into exit 1
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)  # a second Ctrl-C must not interrupt the clean-up
    raise Stopped(number)


def _fail(message: str, code: int = 1) -> NoReturn:
    print(f"budgetnas: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
