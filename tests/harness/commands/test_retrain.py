"""`budgetnas retrain` and `budgetnas data build`: their output, and their one-line errors."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from budgetnas.harness.costs.tabulated_space import tabulated_space_of
from budgetnas.spaces.nasbench201.space import NASBench201
from budgetnas.spaces.tables.accuracy import accuracy
from budgetnas.spaces.tables.home import shipped_path

pytestmark = pytest.mark.slow

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "subprocess.Popen[str]"]
CELL = "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
GENOTYPE = "Genotype(normal=[('sep_conv_3x3', 0)], normal_concat=range(2, 6), reduce=[], reduce_concat=[])"


@pytest.fixture
def trains() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")


LACKING = """
import importlib.util, sys

NAMES, find_spec = {names!r}, importlib.util.find_spec

class Lacking:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in NAMES:
            raise ModuleNotFoundError(f"No module named '{{name}}'", name=name)

sys.meta_path.insert(0, Lacking())
importlib.util.find_spec = lambda name, package=None: None if name.split(".")[0] in NAMES else find_spec(name, package)
"""


def lacking(folder: Path, *names: str) -> dict[str, str]:
    """Return the environment of a process in which some packages seem not to be installed."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(LACKING.format(names=names))
    return {"PYTHONPATH": ":".join([str(folder), *(path for path in sys.path if path)])}


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    return done.stderr.removeprefix("budgetnas: ").strip()


def test_json_for_scripts(command: Command, trains: None) -> None:
    done = command("retrain", "nasbench201", CELL, "--dataset", "digits201", "--seed", "1", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert list(found) == [
        "space", "dataset", "arch", "index", "seed", "seeds", "trained", "queried", "difference", "queried_mean", "seconds",
    ]  # fmt: skip
    index = NASBench201().index(NASBench201().decode(CELL))
    assert (found["space"], found["dataset"], found["arch"], found["index"]) == ("nasbench201", "digits201", CELL, index)
    assert (found["seed"], found["seeds"]) == (1, [0, 1, 2])
    tabulated = tabulated_space_of("nasbench201", "digits201")
    for split, mean in (("validation", tabulated.validation), ("test", tabulated.test)):
        queried = float(accuracy(tabulated.table, "digits201", split, seed=1)[index])  # type: ignore[arg-type]
        assert (found["queried"][split], found["queried_mean"][split]) == (queried, float(mean[index]))
        assert found["difference"][split] == pytest.approx(found["trained"][split] - queried, abs=1e-3)
        assert 0 <= found["trained"][split] <= 100
    assert found["seconds"] > 0


def test_without_json_trained_and_queried_accuracies_are_printed(command: Command, trains: None) -> None:
    by_index = command("retrain", "nasbench201", "0")
    assert (by_index.returncode, by_index.stderr) == (0, "")
    for text in ("nasbench201 0 on digits201, seed 0", "trained", "queried", "difference", "mean of seeds 0, 1, 2", "validation", "test"):
        assert text in by_index.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nasbench201", GENOTYPE), "has 1 node(s) between '+'; a nasbench201 cell has 3"),
        (("nasbench201", "15625"), "index 15625 is outside nasbench201; choose 0 to 15624"),
        (("dart", "0"), "unknown space 'dart'; choose one of nasbench201"),
        (("nasbench201", CELL, "--seed", "7"), "the table has no seed 7 for digits201; it has 0, 1, 2"),
        (("nasbench201", CELL, "--seed", "-1"), "the table has no seed -1 for digits201; it has 0, 1, 2"),
        (
            ("nasbench201", CELL, "--dataset", "cifar10"),
            "nasbench201 on cifar10 has no default recipe; give --recipe, the path of a TOML file or one of",
        ),
        (("nasbench201", CELL, "--dataset", "cifar10", "--recipe", "smoke"), "CIFAR-10 is not in"),
        (("nasbench201", CELL, "--dataset", "mnist", "--recipe", "smoke"), "unknown dataset 'mnist'; choose one of"),
        (("nasbench201", CELL, "--dataset", "closed-form", "--recipe", "smoke"), "there are no images of closed-form"),
        (("nasbench201", CELL, "--dataset", "digits", "--recipe", "smokes"), "there is no recipe smokes; give the path of a TOML file, or"),
        (("nasbench201", CELL, "--dataset", "digits", "--recipe", "smoke", "--seed", "-1"), "the seed is -1; choose 0 to 2^63 - 1"),
    ],
)
def test_a_wrong_argument_is_a_one_line_error(command: Command, arguments: tuple[str, ...], message: str) -> None:
    assert message in one_line(command("retrain", *arguments))


@pytest.mark.parametrize(
    ("package", "message"), [("torch", "PyTorch is not installed"), ("sklearn", "scikit-learn, which brings the images of digits, is not")]
)
def test_without_a_package_the_error_names_what_to_install(
    command: Command, tmp_path: Path, trains: None, package: str, message: str
) -> None:
    line = one_line(command("retrain", "nasbench201", CELL, **lacking(tmp_path / "site", package)))
    assert message in line and "run `pip install budgetnas[train]`" in line


@pytest.mark.parametrize(
    ("package", "step", "message"),
    [
        ("onnxruntime", "latency", "onnxruntime is not installed, so latency cannot be measured"),
        ("onnx", "latency", "onnx is not installed, so latency cannot be measured"),
        ("torch", "accuracies", "PyTorch is not installed"),
        ("torch", "table", "PyTorch is not installed"),
    ],
)
def test_a_build_without_a_package_names_what_to_install(
    command: Command, tmp_path: Path, trains: None, package: str, step: str, message: str
) -> None:
    done = command("data", "build", "digits201", "--step", step, **lacking(tmp_path / "site", package))
    line = one_line(done)
    assert message in line and "run `pip install budgetnas[train]`" in line


def test_a_table_without_trained_networks_is_refused_and_nothing_is_written(command: Command, tmp_path: Path, trains: None) -> None:
    done = command("data", "build", "digits201", "--step", "table", "--out", str(tmp_path / "out"))
    assert "accuracies: 328 of 328 parts are missing; run the command again without --step" in one_line(done)
    assert not (tmp_path / "out").exists()


WITH_ANOTHER_TABLE = """
import sys
from pathlib import Path
from budgetnas.harness.cli import main
from budgetnas.spaces.tables import home
home.shipped_path = lambda dataset: Path({folder!r}) / "digits201.parquet"
main()
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ("query", "nasbench201", "0", "--dataset", "digits201"),
        ("retrain", "nasbench201", "0"),
        ("retrain", "nasbench201", "0", "--recipe", "smoke"),
        ("run", "default"),
    ],
)
def test_an_edited_table_is_refused_in_one_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    for suffix in (".parquet", ".md"):
        shutil.copy(shipped_path("digits201").with_suffix(suffix), tmp_path / f"digits201{suffix}")
    content = bytearray((tmp_path / "digits201.parquet").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "digits201.parquet").write_bytes(content)
    code = WITH_ANOTHER_TABLE.format(folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert "was edited or damaged; install budgetnas again" in one_line(done)


RECIPE = """
name = "own"
version = 1
source = "a test"
epochs = 4
batch = 16
[optimiser]
learning_rate = 0.1
[schedule]
kind = "cosine"
[images]
train = 100
validation = 50
test = 50
"""


def test_training_with_a_user_s_recipe_is_shown_beside_the_table(command: Command, tmp_path: Path, trains: None) -> None:
    (tmp_path / "own.toml").write_text(RECIPE)
    asked = ("retrain", "nasbench201", CELL, "--recipe", "own.toml", "--out", "run")
    done = command(*asked)
    assert done.returncode == 0, done.stderr
    assert "recipe own, 4 epochs of batches of 16: about " in done.stderr
    assert [line.split(":")[0] for line in done.stderr.splitlines()[1:]] == [f"epoch {number} of 4" for number in (1, 2, 3, 4)]
    for text in (CELL, "nasbench201 on digits201, recipe own, seed 0", "queried", "epochs 4, not 6", "batch 16, not 64", "kept in run"):
        assert text in done.stdout
    assert (tmp_path / "run" / "checkpoint.pt").exists()
    again = command(*asked, "--json")
    found = json.loads(again.stdout)
    assert found["kept"] and (found["arch"], found["folder"]) == (CELL, "run") and again.stderr == ""
    tabulated = tabulated_space_of("nasbench201", "digits201")
    assert found["queried"] == tabulated.accuracy_of(tabulated.space.decode(CELL))
    assert (found["identity"]["recipe"], len(found["epochs"]), found["diverged"]) == ("own", 4, False)
    assert f"{found['test']:.2f}" in done.stdout
    assert "its seed is 0, here it is 1; choose another folder with --out" in one_line(command(*asked, "--seed", "1"))


@pytest.mark.long
def test_an_interrupted_training_continues(command: Command, start: Start, tmp_path: Path, trains: None) -> None:
    (tmp_path / "own.toml").write_text(RECIPE)
    asked = ("retrain", "nasbench201", CELL, "--recipe", "own.toml")
    with start(*asked, "--out", "broken") as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch 1 of 4"):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
    if process.returncode == 130:  # it may have finished before the signal
        assert "budgetnas: stopped; finished work is kept, run the same command to continue" in rest
        assert not (tmp_path / "broken" / "result.json").exists()
    assert [path.name for path in (tmp_path / "broken").iterdir() if path.name.startswith(".checkpoint")] == []
    resumed, straight = (json.loads(command(*asked, "--out", out, "--json").stdout) for out in ("broken", "straight"))
    for figure in ("validation", "test", "epochs", "identity"):
        assert resumed[figure] == straight[figure]
