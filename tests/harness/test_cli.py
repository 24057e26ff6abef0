"""The command as a user runs it: help texts, one-line errors, exit codes, no tracebacks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from budgetnas import __version__

pytestmark = pytest.mark.slow

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "subprocess.Popen[str]"]
PLUGINS = Path(__file__).parent / "plugins"
STUDY = """
name = "small"
seeds = 2
[problem]
datasets = ["closed-form"]
devices = ["closed-form"]
limits = ["latency_ms@q50"]
allowance = { queries = 15 }
[[method]]
name = "random_search"
"""


def complaint(result: subprocess.CompletedProcess[str], code: int = 1) -> str:
    """Return a command's error message, which must be its only one and its last line."""
    assert result.returncode == code, (result.stdout, result.stderr)
    assert "Traceback" not in result.stdout + result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("budgetnas: ")]
    assert len(lines) == 1 and result.stderr.rstrip().endswith(lines[0])
    return lines[0]


def test_the_version(command: Command) -> None:
    result = command("--version")
    assert (result.returncode, result.stdout) == (0, f"budgetnas {__version__}\n")


COMMANDS = [
    (), ("run",), ("leaderboard",), ("query",), ("oracle",), ("check",), ("data",), ("data", "list"), ("data", "fetch"), ("data", "import"),
    ("list",), ("list", "methods"), ("list", "spaces"), ("list", "datasets"), ("list", "devices"),
]  # fmt: skip


def test_every_command_has_help() -> None:
    # In one process: a process for each command would take long.
    code = f"""
import sys
from budgetnas.harness.cli import main
for words in {COMMANDS!r}:
    sys.argv = ["budgetnas", *words, "--help"]
    try:
        main()
    except SystemExit as end:
        print("###", words, end.code)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ | {"COLUMNS": "120"})
    pages = result.stdout.split("###")
    assert len(pages) == len(COMMANDS) + 1
    for words, page, end in zip(COMMANDS, pages, pages[1:], strict=False):
        assert " ".join(["Usage: budgetnas", *words]) in page.replace("-c", "budgetnas")
        assert "--help" in page
        assert end.split("\n")[0].endswith(" 0")
    for name in ("run", "leaderboard", "query", "oracle", "check", "data", "list"):
        assert name in pages[0]


@pytest.mark.parametrize(
    "arguments",
    [("nonsense",), ("run",), ("run", "smoke", "--worker", "2"), ("run", "smoke", "--workers", "0"), ("run", "smoke", "--workers", "two"),
     ("check",), ("check", "rcas", "--timeout", "0"), ("check", "rcas", "--setting", "novalue"), ("check", "rcas", "--setting", "=3"),
     ("list", "things"), ("leaderboard", "a", "b")],
)  # fmt: skip
def test_a_wrong_command_line_is_one_line_and_exit_code_2(command: Command, arguments: tuple[str, ...]) -> None:
    result = command(*arguments)
    assert complaint(result, 2).endswith(" --help`")
    assert result.stdout == ""


def test_no_arguments_show_the_help(command: Command) -> None:
    result = command()
    assert "Usage:" in result.stdout + result.stderr and result.returncode in (0, 2)


def test_a_run_and_its_pages(command: Command, tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(STUDY)
    result = command("run", "small.toml", "--workers", "1")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "2 trials (0 were there already); records in runs/small/records.sqlite\n"
    assert "2/2" in result.stderr
    assert command("run", "small.toml").stdout == "2 trials (2 were there already); records in runs/small/records.sqlite\n"
    pages = command("leaderboard", "runs/small", "--out", "pages")
    assert pages.returncode == 0, pages.stderr
    assert (tmp_path / "pages" / "README.md").is_file() and "pages/README.md" in pages.stdout


def test_a_run_with_failures_counts_them_and_succeeds(command: Command, tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(STUDY + f'[[method]]\nname = "{PLUGINS}/misbehaving.py:Exits"\n')
    result = command("run", "small.toml", "--out", "out")
    assert result.returncode == 0
    assert (
        result.stdout
        == "4 trials (0 were there already), 2 of them failed: see `budgetnas leaderboard out`; records in out/records.sqlite\n"
    )
    again = command("run", "small.toml", "--out", "out", "--retry-failed")
    assert again.stdout.startswith("4 trials (2 were there already), 2 of them failed")


def test_methods_that_are_left_out_are_reported(command: Command, tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(STUDY + f'[[method]]\nname = "{PLUGINS}/breaking.py:AsksForMore"\nlabel = "a [b] c"\n')
    result = command("run", "small.toml", "--out", "out")
    assert result.returncode == 0
    needs = "it needs relaxation with trained weights, which the evaluator 'table' does not offer here"
    assert f"left out: method '{PLUGINS}/breaking.py:AsksForMore': {needs}\n" in result.stderr


def test_a_full_or_unwritable_disk_is_a_one_line_error(command: Command, tmp_path: Path, small_disk: Callable[[int], Path]) -> None:
    (tmp_path / "small.toml").write_text(STUDY)
    (tmp_path / "file").write_text("")
    assert "cannot write the run into file: " in complaint(command("run", "small.toml", "--out", "file"))
    assert "cannot write the run into file/below: " in complaint(command("run", "small.toml", "--out", "file/below"))
    small = small_disk(64)
    assert "No space left on device; make room" in complaint(command("run", "small.toml", "--out", str(small / "out")))
    assert not list(small.rglob("*.partial"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "nothing.toml"), "there is no study nothing.toml; give a path, or one of "),
        (("run", "wrong.toml"), "wrong.toml: problem.limits: Field required"),
        (("leaderboard", "nowhere"), "nowhere holds no run; make one with `budgetnas run STUDY.toml --out nowhere`"),
        (("check", "nothing"), "unknown method 'nothing'; choose one of "),
        (("check", "nothing.py:Mine"), "there is no file "),
        (("check", "nowhere:Mine"), "no module 'nowhere' can be imported from "),
        (("check", "broken.py:Mine"), "broken.py cannot be loaded: SyntaxError: "),
        (("check", "exits.py:Mine"), "exits.py:Mine cannot be checked: its process ended by itself with exit code 3"),
        (("check", "hangs.py:Mine", "--timeout", "1"), "hangs.py:Mine did not end within 1 s (--timeout)"),
        (("check", f"{PLUGINS}/breaking.py:Hangs", "--timeout", "1"), "did not end within 1 s (--timeout)"),
        (("check", "eats.py:Mine", "--memory-mb", "512"), "eats.py cannot be loaded: MemoryError"),
        (("check", "rcas", "--setting", "nothing=3"), "method 'rcas' has no setting 'nothing'"),
        (
            ("check", "random_search", "--setting", "patience=many"),
            "setting 'patience' of method 'random_search' is 'many'; expected a whole number",
        ),
    ],
)
def test_an_error_that_the_user_can_fix_is_one_line(command: Command, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    (tmp_path / "wrong.toml").write_text('name = "x"\n[problem]\ndatasets = ["closed-form"]\n[[method]]\nname = "rcas"\n')
    (tmp_path / "broken.py").write_text("x = (")
    (tmp_path / "exits.py").write_text("import os\nos._exit(3)")
    (tmp_path / "hangs.py").write_text("import time\ntime.sleep(1000)")
    (tmp_path / "eats.py").write_text("x = bytearray(2**32)")
    assert message in complaint(command(*arguments))


def test_a_check_that_passes(command: Command) -> None:
    result = command("check", "random_search", "--setting", "patience=5000")
    assert (result.returncode, result.stderr.strip()) == (0, "checking random_search" if "checking" in result.stderr else "")
    assert result.stdout.count("holds") == 4 and result.stdout.endswith("random_search keeps the contract\n")


def test_a_check_that_fails(command: Command, tmp_path: Path) -> None:
    for name in ("methods", "spaces"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    (tmp_path / "methods" / "mine.py").write_text((PLUGINS / "breaking.py").read_text())
    result = command("check", "methods.mine:IgnoresLimits")
    assert complaint(result) == "budgetnas: methods.mine:IgnoresLimits breaks 1 of 3 clauses"
    assert "broken  recommends something feasible whenever it asked about something feasible" in result.stdout


def test_a_reader_that_closes_the_pipe_causes_no_error(start: Start) -> None:
    for arguments in (["query", "nasbench201", "5", "--dataset", "closed-form"], ["list", "devices"], ["--help"]):
        process = start(*arguments)
        assert process.stdout and process.stderr
        process.stdout.close()
        complained = process.stderr.read()
        process.wait()
        assert complained == "" and process.returncode in (0, 1, 141)


def test_an_interrupted_check_ends_its_method_too(start: Start, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    (tmp_path / "hangs.py").write_text(f"import time, os\nopen({str(marker)!r}, 'w').write(str(os.getpid()))\ntime.sleep(1000)")
    process = start("check", "hangs.py:Mine")
    while not (marker.exists() and marker.read_text()):
        assert process.poll() is None
    family = psutil.Process(process.pid).children(recursive=True)
    assert int(marker.read_text()) in {child.pid for child in family}
    process.send_signal(signal.SIGINT)
    _, complained = process.communicate(timeout=60)
    assert process.returncode == 130
    assert complained.rstrip().endswith("budgetnas: stopped; finished work is kept, run the same command to continue")
    _, alive = psutil.wait_procs(family, timeout=60)
    assert not [child for child in alive if child.status() != psutil.STATUS_ZOMBIE]


def test_lists_are_json_for_scripts(command: Command) -> None:
    methods = {row["method"]: row for row in json.loads(command("list", "methods", "--json").stdout)}
    assert methods["random_search"]["evaluators"].startswith("table") and methods["random_search"]["settings"] == "patience=100000"
    datasets = {row["dataset"]: row["available"] for row in json.loads(command("list", "datasets", "--json").stdout)}
    assert datasets["closed-form"] == "yes" and "budgetnas data fetch" in datasets["cifar10"]
