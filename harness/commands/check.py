"""`budgetnas check METHOD`: checks that a method keeps the contract, for example in a user's CI."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from budgetnas.harness.commands.setting_option import settings_of


def check_command(
    method: Annotated[
        str, typer.Argument(metavar="METHOD", help="The name of a method, module:Class or file.py:Class.", show_default=False)
    ],
    setting: Annotated[
        list[str] | None, typer.Option(help="A setting, NAME=VALUE; may be given several times.", show_default=False)
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds after which the check fails.")] = 60.0,
    memory_mb: Annotated[int, typer.Option(min=64, help="Memory that the method may use for data, in megabytes.")] = 2048,
) -> None:
    """Check that a method keeps its allowance, recommends feasible architectures, is repeatable, and is no worse than random search."""
    from rich.console import Console

    from budgetnas.harness.trials.contract import ContractBroken, check_reference
    from budgetnas.harness.trials.crew import Confinement, call_confined
    from budgetnas.harness.trials.worker import Died

    console = Console()
    with Console(stderr=True).status(f"checking {method}"):
        try:
            clauses = call_confined(check_reference, (method, Path.cwd(), settings_of(setting or [])), Confinement(timeout, memory_mb))
        except TimeoutError:
            raise ContractBroken(f"{method} did not end within {timeout:g} s (--timeout)") from None
        except Died as death:
            raise ContractBroken(f"{method} cannot be checked: {death}") from None
        except MemoryError:
            raise ContractBroken(f"{method} used more than {memory_mb} MB of data (--memory-mb)") from None
    for clause in clauses:
        console.print(f"{'[red]broken[/]' if clause.broken else '[green]holds [/]'}  {clause.text}", highlight=False)
        if clause.broken:
            console.print(f"        {clause.broken}", highlight=False, markup=False)
    broken = sum(bool(clause.broken) for clause in clauses)
    if broken:
        raise ContractBroken(f"{method} breaks {broken} of {len(clauses)} clauses")
    typer.echo(f"{method} keeps the contract")
