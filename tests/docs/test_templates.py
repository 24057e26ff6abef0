"""The files under `docs/templates/`, which readers copy: each is used here as its page says."""

from __future__ import annotations

import importlib.util
import inspect
import itertools
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from budgetnas.harness.trials.contract import check_method, check_reference
from budgetnas.spaces.registry import SPACES, space_of
from budgetnas.spaces.space import Enumerable, Space, sample

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES, HOW_TO = ROOT / "docs" / "templates", ROOT / "docs" / "how-to"
CONTRACTS = ROOT / "tests" / "contracts"
Command = Callable[..., Any]
Counted = Callable[..., Any]


def loaded(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def load() -> Iterator[Callable[[str, str], ModuleType]]:
    """Load a template under the name that it has once it was copied into the package."""
    names: list[str] = []

    def load(file: str, name: str) -> ModuleType:
        names.append(name)
        return loaded(TEMPLATES / file, name)

    yield load
    for name in names:
        sys.modules.pop(name, None)


def page(name: str) -> str:
    return (HOW_TO / f"{name}.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with copies of the templates, as a reader's own."""
    for path in TEMPLATES.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy(path, tmp_path / path.name)
    return tmp_path


def test_every_template_is_used_by_a_test_and_shown_on_a_page() -> None:
    here = Path(__file__).read_text(encoding="utf-8")
    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md"))
    for path in TEMPLATES.iterdir():
        if path.is_file() and not path.name.startswith("."):
            assert here.count(path.stem) > 0 and path.name in pages, path.name


@pytest.mark.slow
def test_my_method_keeps_the_contract() -> None:
    clauses = check_method(loaded(TEMPLATES / "my_method.py", "my_method").MySearch, seeds=5, queries=60)
    assert len(clauses) == 4


@pytest.mark.slow
def test_my_differentiable_method_keeps_the_contract(folder: Path) -> None:
    pytest.importorskip("torch")
    clauses = check_reference("my_differentiable_method.py:MyDifferentiableSearch", folder, {})
    assert [clause.broken for clause in clauses] == [""] * 3


@pytest.mark.slow
def test_the_test_to_copy_passes() -> None:
    loaded(TEMPLATES / "my_method.py", "my_method")
    loaded(TEMPLATES / "test_my_method.py", "test_my_method").test_my_search_keeps_the_contract()


def test_a_setting_out_of_range_is_refused() -> None:
    method = loaded(TEMPLATES / "my_method.py", "my_method").MySearch
    with pytest.raises(ValueError, match="restart is 2; give a probability"):
        method(restart=2)


@pytest.mark.slow
def test_my_study_runs_and_has_pages(folder: Path, command: Command) -> None:
    run = command("run", "my_study.toml", "--workers", "1", cwd=folder)
    assert run.returncode == 0 and run.stdout.startswith("30 trials"), run.stderr
    pages = command("leaderboard", "runs/my-study", cwd=folder)
    assert pages.returncode == 0 and "begin with runs/my-study/leaderboards/README.md" in pages.stdout, pages.stderr
    assert "| my search | " in (folder / "runs" / "my-study" / "leaderboards" / "README.md").read_text(encoding="utf-8")


def test_the_workflow_checks_the_method_template() -> None:
    workflow = yaml.safe_load((TEMPLATES / "budgetnas.yml").read_text(encoding="utf-8"))
    steps = [step["run"] for step in workflow["jobs"]["contract"]["steps"] if "run" in step]
    assert steps[-1] == "budgetnas check my_method.py:MySearch"


@pytest.mark.slow
def test_my_recipe_trains_a_network(folder: Path, command: Command) -> None:
    pytest.importorskip("torch")
    done = command("retrain", "nasbench201", "6111", "--dataset", "digits", "--recipe", "my_recipe.toml", "--out", "out", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "recipe my-recipe, seed 0" in done.stdout and "for 2 epochs" in done.stdout
    assert list((folder / "out").iterdir())


@pytest.mark.slow
def test_my_search_recipe_trains_a_supernet(folder: Path, command: Command) -> None:
    pytest.importorskip("torch")
    supernet = ("--evaluator", "supernet", "--recipe", "my_search_recipe.toml", "--limit", "params@q25")
    done = command("search", "darts", "nasbench201", "--dataset", "digits201", *supernet, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "under params<=" in done.stdout


SPACE_LINE = '"my_space": "budgetnas.spaces.my_space:MySpace"'


@pytest.fixture
def my_space(load: Callable[[str, str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> Space:
    """The template, registered by the line that its page has."""
    assert SPACE_LINE in page("add-a-space")
    name, _, target = SPACE_LINE.replace('"', "").partition(": ")
    load("my_space.py", target.partition(":")[0])
    monkeypatch.setitem(SPACES, name, target)
    return space_of(name)


def contract(file: str) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Yield every test of a contract that is of all spaces, with the marks of its other parameters."""
    module = loaded(CONTRACTS / file, f"contract_of_{Path(file).stem}")
    for name, function in inspect.getmembers(module, inspect.isfunction):
        marks = [mark for mark in getattr(function, "pytestmark", []) if mark.name == "parametrize"]
        spaces = next((mark.args[1] for mark in marks if mark.args[0] == "space"), None)
        if not name.startswith("test_") or spaces is None or all(isinstance(each, Enumerable) for each in spaces):
            continue
        yield function, tuple(mark for mark in marks if mark.args[0] != "space")


@pytest.mark.slow
@pytest.mark.parametrize("file", ["test_spaces.py", "test_buildable.py"])
def test_my_space_keeps_the_contract(file: str, my_space: Space, request: pytest.FixtureRequest) -> None:
    if file == "test_buildable.py":
        pytest.importorskip("torch")
    held = 0
    for space in (my_space, space_of("my_space[positions=6]")):
        for function, marks in contract(file):
            fixtures = {name: request.getfixturevalue(name) for name in ("tmp_path", "counted") if name in _parameters(function)}
            for values in itertools.product(*(mark.args[1] for mark in marks)):
                function(space=space, **fixtures, **{mark.args[0]: value for mark, value in zip(marks, values, strict=True)})
                held += 1
    assert held >= 15


def _parameters(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters)


@pytest.mark.slow
def test_a_network_of_my_space_is_trained_by_my_recipe(my_space: Space, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from budgetnas.harness.training.job import job_of
    from budgetnas.harness.training.retrain import run_job

    arch = sample(my_space, np.random.default_rng(1))
    trained = run_job(job_of("my_space", arch, "digits", str(TEMPLATES / "my_recipe.toml"), 0), tmp_path)
    assert trained.identity["arch"] == my_space.encode(my_space.canonical(arch)) and 0 <= trained.test <= 100


TASK_LINE = 'Task("my-dataset", image_size=8, image_channels=1, classes=3)'
LOADER_LINE = '"my-dataset": load_my_dataset'


@pytest.mark.slow
def test_my_dataset_is_loaded_and_trained_on(
    load: Callable[[str, str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from budgetnas.harness.training.images import load as loaders
    from budgetnas.harness.training.images.dataset import DamagedImages, MissingImages
    from budgetnas.harness.training.job import job_of
    from budgetnas.harness.training.retrain import run_job
    from budgetnas.spaces.task import TASKS, Task

    assert TASK_LINE in page("add-a-dataset") and LOADER_LINE in page("add-a-dataset")
    task = eval(TASK_LINE, {"Task": Task})
    template = load("my_dataset.py", "budgetnas.harness.training.images.my_dataset")
    monkeypatch.setitem(TASKS, task.dataset, task)
    monkeypatch.setitem(loaders.LOADERS, task.dataset, template.load_my_dataset)  # type: ignore[arg-type]
    monkeypatch.setenv("BUDGETNAS_IMAGES", str(tmp_path))
    with pytest.raises(MissingImages, match=r"not at .*my-dataset\.npz; put the file there"):
        loaders.load(task)
    (tmp_path / "my-dataset.npz").write_bytes(b"no archive")
    with pytest.raises(DamagedImages, match="cannot be read"):
        loaders.load(task)
    rng = np.random.default_rng(0)
    parts = {f"{part}_images": rng.integers(256, size=(count, 1, 8, 8), dtype=np.uint8) for part, count in (("train", 90), ("test", 30))}
    labels = {f"{part}_labels": rng.integers(3, size=count) for part, count in (("train", 90), ("test", 30))}
    np.savez(tmp_path / "my-dataset.npz", **parts, **labels)
    assert len(loaders.load(task).train) == 90
    space = space_of("nasbench201")
    job = job_of("nasbench201", space.identity, task.dataset, str(TEMPLATES / "my_recipe.toml"), 0)
    assert 0 <= run_job(job, tmp_path / "out").test <= 100


DEVICE_LINE = 'Device("my-device", "my board", {"latency_ms": "measured"}, "my laboratory, 2026")'


def test_my_device_is_queried_from_the_table(
    load: Callable[[str, str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from budgetnas.harness.cli import app
    from budgetnas.spaces.devices import DEVICES, Device
    from budgetnas.spaces.tables.columnar import Table
    from budgetnas.spaces.tables.home import table_path

    assert DEVICE_LINE in page("add-a-device")
    device = eval(DEVICE_LINE, {"Device": Device})
    monkeypatch.setitem(DEVICES, device.name, device)
    monkeypatch.setenv("BUDGETNAS_DATA", str(tmp_path))
    rng = np.random.default_rng(0)
    names = ("accuracy/cifar10/validation/200", "accuracy/cifar10/test/200", "training_seconds/cifar10/200")
    fetched = {name: rng.uniform(10, 90, size=15_625) for name in names}
    Table.from_columns("nasbench201", fetched, dict.fromkeys(names, "made up")).write(table_path("nasbench201"))
    latencies = rng.uniform(1, 2, size=15_625)
    latencies[7] = np.nan
    template = load("my_device.py", "my_device")
    assert template.add_latencies(latencies, "cifar10", "made up") == table_path("nasbench201")
    asked = ["oracle", "nasbench201", "--dataset", "cifar10", "--device", device.name, "--limit", "latency_ms<=1.5", "--json"]
    answer = json.loads(CliRunner().invoke(app, asked).stdout)
    space = space_of("nasbench201")
    within = [index for index in np.flatnonzero(latencies <= 1.5).tolist() if space.connected(space.at(index))]  # type: ignore[attr-defined]
    assert answer["feasible"] == len(within)
    best = max(within, key=lambda index: fetched["accuracy/cifar10/test/200"][index])
    assert answer["best_by_test"]["index"] == best and answer["best_by_test"]["cost"]["latency_ms"] == latencies[best]
