"""Runs: the same bytes with any number of workers and interruptions, nothing runs twice, and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from budgetnas.harness.records.store import RunError, Store
from budgetnas.harness.studies.plan import expand
from budgetnas.harness.studies.run import RunResult, run
from budgetnas.harness.studies.study import read_study

pytestmark = pytest.mark.slow

PLUGINS = Path(__file__).parent.parent / "plugins"
PATIENCE_S = 60.0  # a bound against waiting for ever, not a measurement
STUDY = """\
name = "mine"
seeds = {seeds}
[problem]
datasets = ["closed-form"]
devices = ["closed-form"]
limits = ["latency_ms@q50", ["params<=600k", "energy_mj<=15"]]
allowance = {{ queries = 30 }}
[plugin]
timeout_seconds = 60
[[method]]
name = "random_search"
[[method]]
name = "regularized_evolution"
"""


def study_in(folder: Path, seeds: int = 10, more: str = "") -> Path:
    path = folder / "study.toml"
    path.write_text(STUDY.format(seeds=seeds) + more)
    return path


def conduct(study: Path, out: Path, workers: int = 1, retry_failed: bool = False) -> tuple[RunResult, list[tuple[int, int, int]]]:
    described, folder = read_study(str(study))
    shown: list[tuple[int, int, int]] = []
    result = run(expand(described, folder, str(study)), Store(out), workers, retry_failed, lambda *state: shown.append(state))
    return result, shown


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def records(out: Path) -> dict[str, bytes]:
    return {row.identity: row.json() for row in Store(out).rows()}


def marks(out: Path) -> dict[str, tuple[str, int]]:
    """Return, for each record, its timing (with the process) and its attempts, which change if the record is written again."""
    return {row.identity: (row.timing, row.attempts) for row in Store(out).rows()}


def test_records_do_not_depend_on_workers_and_a_second_run_does_nothing(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    result, shown = conduct(study, tmp_path / "one", workers=1)
    assert (result, shown[0], shown[-1]) == (RunResult(40, 0, 0, ()), (0, 40, 0), (40, 40, 0))
    assert [done for done, _, _ in shown] == list(range(41))
    conduct(study, tmp_path / "two", workers=2)
    assert records(tmp_path / "one") == records(tmp_path / "two")
    assert contents(tmp_path / "one" / "context") == contents(tmp_path / "two" / "context")
    assert (tmp_path / "one" / "plan.json").read_bytes() == (tmp_path / "two" / "plan.json").read_bytes()
    assert all(json.loads(timing)["trial_seconds"] > 0 for timing, _ in marks(tmp_path / "one").values())
    assert {path.name for path in (tmp_path / "one").iterdir()} == {".lock", "records.sqlite", "plan.json", "context", "timings"}
    before = marks(tmp_path / "one")
    assert conduct(study, tmp_path / "one", workers=2) == (RunResult(40, 40, 0, ()), [(40, 40, 0)])
    assert marks(tmp_path / "one") == before


def test_larger_and_smaller_studies_keep_existing_records(tmp_path: Path) -> None:
    conduct(study_in(tmp_path, seeds=2), tmp_path / "out")
    before = marks(tmp_path / "out")
    result, _ = conduct(study_in(tmp_path, seeds=4), tmp_path / "out", workers=2)
    assert (result.planned, result.found) == (16, 8)
    after = marks(tmp_path / "out")
    assert len(after) == 16 and before.items() <= after.items()
    result, _ = conduct(study_in(tmp_path, seeds=1), tmp_path / "out")
    assert (result.planned, result.found) == (4, 4)
    assert marks(tmp_path / "out") == after
    assert len(json.loads((tmp_path / "out" / "plan.json").read_text())["trials"]) == 4


FLAKY = """
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from budgetnas.harness.problem import Need

@dataclass(frozen=True)
class Flaky:
    needs: ClassVar[frozenset[Need]] = frozenset({{Need.ACCURACY}})
    def search(self, problem, evaluator, rng):
        Path({tries!r}).open("a").write("x")
        evaluator.accuracy(problem.space.at(1))
        if not Path({mended!r}).exists():
            raise OSError("the network is away")
        yield (problem.space.at(1),)
"""


def test_failed_trial_runs_again_only_on_request(tmp_path: Path) -> None:
    tries, mended = tmp_path / "tries", tmp_path / "mended"
    (tmp_path / "flaky.py").write_text(FLAKY.format(tries=str(tries), mended=str(mended)))
    study = study_in(tmp_path, seeds=1, more='[[method]]\nname = "flaky.py:Flaky"\n')
    result, shown = conduct(study, tmp_path / "out")
    assert (result.planned, result.failed, shown[-1]) == (6, 2, (6, 6, 2))
    mended.touch()
    result, _ = conduct(study, tmp_path / "out")
    assert (result.found, result.failed, tries.read_text()) == (6, 2, "xx")
    kept = marks(tmp_path / "out")
    result, shown = conduct(study, tmp_path / "out", retry_failed=True)
    assert (result.found, result.failed, tries.read_text(), shown[0]) == (4, 0, "xxxx", (4, 6, 0))
    assert sorted(attempts for _, attempts in marks(tmp_path / "out").values()) == [1, 1, 1, 1, 2, 2]
    now = marks(tmp_path / "out")
    assert len([name for name in kept if now[name] == kept[name]]) == 4


def test_changed_plugin_runs_again_and_its_old_records_stay(tmp_path: Path) -> None:
    (tmp_path / "flaky.py").write_text(FLAKY.format(tries=str(tmp_path / "tries"), mended="/"))
    study = study_in(tmp_path, seeds=1, more='[[method]]\nname = "flaky.py:Flaky"\n')
    command = [sys.executable, "-c", "from budgetnas.harness.cli import main; main()", "run", str(study), "--out", str(tmp_path / "out")]
    subprocess.run(command, check=True, capture_output=True)
    with (tmp_path / "flaky.py").open("a") as file:
        file.write("\n# mended\n")
    again = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "6 trials (4 were there already)" in again.stdout
    assert len(marks(tmp_path / "out")) == 8


def test_plan_file_has_what_pages_need(tmp_path: Path) -> None:
    study = study_in(
        tmp_path, seeds=1, more=f'[[method]]\nname = "rcas"\nlabel = "greedy"\n[[method]]\nname = "{PLUGINS}/breaking.py:AsksForMore"\n'
    )
    result, _ = conduct(study, tmp_path / "out")
    plan = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert (plan["study"], plan["title"], plan["deterministic"]) == ("mine", "mine", ["greedy"])
    assert set(plan["trials"]) == set(records(tmp_path / "out"))
    assert sorted(set(plan["trials"].values())) == ["greedy", "random_search", "regularized_evolution"]
    assert plan["skipped"] == list(result.skipped) and "needs relaxation" in plan["skipped"][0]
    provenance = json.loads((tmp_path / "out" / "timings" / "provenance.json").read_text())
    assert {"budgetnas", "numpy"} <= set(provenance)


def test_folder_with_another_study_is_refused(tmp_path: Path) -> None:
    conduct(study_in(tmp_path, seeds=1), tmp_path / "out")
    before = records(tmp_path / "out"), (tmp_path / "out" / "plan.json").read_bytes()
    other = tmp_path / "other.toml"
    other.write_text(study_in(tmp_path, seeds=1).read_text().replace('name = "mine"', 'name = "theirs"', 1))
    with pytest.raises(RunError, match=r"out holds the run of the study 'mine', not 'theirs'; choose another folder with --out"):
        conduct(other, tmp_path / "out")
    assert before == (records(tmp_path / "out"), (tmp_path / "out" / "plan.json").read_bytes())


def test_contexts_of_an_earlier_plan_are_removed(tmp_path: Path) -> None:
    store = Store(tmp_path / "out")
    store.create()
    (store.context / "nasbench201-cifar10-edgegpu.json").write_text("{}")
    conduct(study_in(tmp_path, seeds=1), tmp_path / "out")
    assert list(contents(store.context)) == ["nasbench201-closed-form-closed-form.json"]


def test_damaged_file_ends_the_run_with_one_line_at_its_start(tmp_path: Path) -> None:
    study, path = study_in(tmp_path, seeds=1), tmp_path / "out" / "records.sqlite"
    conduct(study, tmp_path / "out")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match=r"records\.sqlite is cut off or damaged .*export .*--recover"):
        conduct(study, tmp_path / "out")
    path.write_bytes(whole)
    assert conduct(study, tmp_path / "out")[0].found == 4


def test_a_second_run_in_one_folder_is_refused(tmp_path: Path) -> None:
    with (
        Store(tmp_path / "out").locked(),
        pytest.raises(RunError, match=r"another process is using .*out; wait for it, or choose another folder"),
    ):
        conduct(study_in(tmp_path), tmp_path / "out")


def start(study: Path, out: Path) -> subprocess.Popen[str]:
    """Start `budgetnas run` as the leader of a new process group, as a shell does."""
    command = [
        sys.executable,
        "-c",
        # Each record is written at once, so that the run can be stopped between any two.
        "from budgetnas.harness.records import commits; commits.MOST_ROWS = 1; from budgetnas.harness.cli import main; main()",
        "run",
        str(study),
        "--out",
        str(out),
        "--workers",
        "2",
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_for_records(process: subprocess.Popen[str], out: Path, count: int) -> None:
    end = time.monotonic() + PATIENCE_S
    while len(Store(out).done()) < count or not (out / "plan.json").exists():
        assert time.monotonic() < end and process.poll() is None, process.communicate()
        time.sleep(0.002)  # polling; the test does not depend on this duration


def gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE_S)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


# (signal, whether the whole group receives it, as from a terminal, number of new records before it is sent)
OWN = [
    (signal.SIGINT, True, 0),
    (signal.SIGINT, True, 15),
    (signal.SIGKILL, False, 15),
    (signal.SIGTERM, True, 15),
    (signal.SIGINT, False, 30),
]
PLUGIN = [
    (signal.SIGINT, True, 33),
    (signal.SIGKILL, False, 2),
    (signal.SIGTERM, False, 2),
]  # the first 32 records are of the project's methods


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seeds", "method", "planned", "stops"),
    [(200, "", 800, OWN), (8, f'[[method]]\nname = "{PLUGINS}/misbehaving.py:Good"\n', 48, PLUGIN)],
    ids=["own", "plugin"],
)
def test_interrupted_run_resumes_to_the_same_records(
    tmp_path: Path, seeds: int, method: str, planned: int, stops: list[tuple[signal.Signals, bool, int]]
) -> None:
    study, out = study_in(tmp_path, seeds, method), tmp_path / "out"
    conduct(study, tmp_path / "straight", workers=2)
    for number, group, more in stops:
        before = marks(out)
        process = start(study, out)
        wait_for_records(process, out, len(before) + more)
        family = psutil.Process(process.pid).children(recursive=True)
        (os.killpg if group else os.kill)(process.pid, number)
        output, errors = process.communicate(timeout=PATIENCE_S)
        gone(family)
        after = marks(out)
        assert before.items() <= after.items()
        assert len(after) < planned, "the run ended before it could be stopped; make the study longer"
        assert output == ""
        if number == signal.SIGKILL:  # Python's fork server may print an error when its client is killed during a call
            assert process.returncode == -signal.SIGKILL
        else:
            assert process.returncode == 128 + number and "Traceback" not in errors
            assert errors.rstrip().split("\n")[-1] == "budgetnas: stopped; finished work is kept, run the same command to continue"
    before = marks(out)
    finished = start(study, out)
    output, errors = finished.communicate(timeout=PATIENCE_S)
    assert (finished.returncode, errors.count("Traceback")) == (0, 0)
    assert f"{planned} trials ({len(before)} were there already); records in" in output
    assert before.items() <= marks(out).items()
    assert records(out) == records(tmp_path / "straight")
    assert not list(out.rglob("*.partial"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_hanging_plugin_ends_with_its_stopped_run(tmp_path: Path, number: signal.Signals) -> None:
    study = study_in(tmp_path, seeds=1, more=f'[[method]]\nname = "{PLUGINS}/misbehaving.py:Hangs"\n')
    process = start(study, tmp_path / "out")
    wait_for_records(process, tmp_path / "out", 4)
    logs = tmp_path / "out" / "logs"
    end = time.monotonic() + PATIENCE_S
    while not (logs.is_dir() and len(list(logs.iterdir())) == 2):
        assert time.monotonic() < end
        time.sleep(0.002)
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 3  # two hanging workers, and the server that they were forked from
    process.send_signal(number)
    process.communicate(timeout=PATIENCE_S)
    gone(family)
    assert len(marks(tmp_path / "out")) == 4


def test_second_command_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    study = study_in(tmp_path, seeds=1, more=f'[[method]]\nname = "{PLUGINS}/misbehaving.py:Hangs"\n')
    first = start(study, tmp_path / "out")
    try:
        wait_for_records(first, tmp_path / "out", 4)
        second = start(study, tmp_path / "out")
        output, errors = second.communicate(timeout=PATIENCE_S)
        assert second.returncode == 1
        assert errors.rstrip().split("\n")[-1].startswith("budgetnas: another process is using ")
        assert output == "" and "Traceback" not in errors
    finally:
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=PATIENCE_S)


def records_of(out: Path) -> list[dict[str, Any]]:
    return [row.record() for row in Store(out).rows()]


def test_plugins_from_a_repository_with_folders_named_like_this_package(tmp_path: Path) -> None:
    for name in ("methods", "spaces"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("WHOSE = 'the user'\n")
    source = FLAKY.format(tries=os.devnull, mended="/") + "\nimport spaces\nassert spaces.WHOSE == 'the user'\n"
    (tmp_path / "methods" / "mine.py").write_text(source)
    more = '[[method]]\nname = "methods.mine:Flaky"\nlabel = "module"\n[[method]]\nname = "methods/mine.py:Flaky"\nlabel = "file"\n'
    process = start(study_in(tmp_path, seeds=1, more=more), tmp_path / "out")
    output, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    assert output.startswith("8 trials (0 were there already); records in")
    assert {record["failure"] for record in records_of(tmp_path / "out")} == {""}
    assert len(list((tmp_path / "out" / "logs").iterdir())) == 4
