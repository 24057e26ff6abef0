"""Fixtures for all tests: the real tables, a data folder made from them, and the command as a user runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# No deadlines: a loaded machine must not fail a test.
settings.register_profile("budgetnas", deadline=None, derandomize=True)  # the same cases in every run
settings.register_profile("explore", deadline=None)  # new cases: `pytest --hypothesis-profile explore`
settings.load_profile("budgetnas")

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"
Command = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "subprocess.Popen[str]"]
SmallDisk = Callable[[int], Path]
PROGRAM = [sys.executable, "-c", "from budgetnas.harness.cli import main; main()"]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder with the upstream files, beside the project; skips the test if it is missing."""
    if not (SHARED_DATA / "mirror").is_dir():
        pytest.skip("the upstream files (../shared/data) are not on this machine")
    return SHARED_DATA


@pytest.fixture(scope="session")
def real_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder with the table made from the real files; set $BUDGETNAS_DATA to it.

    It is $BUDGETNAS_DATA itself if that has the table, else a new folder with a table made from the files beside the project.
    """
    from budgetnas.spaces.tables.upstream.convert import convert
    from budgetnas.spaces.tables.upstream.fetch import manifest

    given = Path(os.environ.get("BUDGETNAS_DATA") or "no-data")
    if (given / "nasbench201.parquet").is_file():
        return given.resolve()
    mirror = SHARED_DATA / "mirror"
    files = {entry.path: mirror / entry.path for entry in manifest() if not entry.optional}
    if not all(file.is_file() for file in files.values()):
        pytest.skip("the real tables are not on this machine: neither in $BUDGETNAS_DATA nor in ../shared/data")
    home = tmp_path_factory.mktemp("home")
    convert(files).write(home / "nasbench201.parquet")
    return home


@pytest.fixture
def real_tables(real_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set $BUDGETNAS_DATA to the folder with the real tables, and return it."""
    monkeypatch.setenv("BUDGETNAS_DATA", str(real_home))
    return real_home


@pytest.fixture
def real_operators(real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set $BUDGETNAS_DATA to a folder with the costs of FBNet's operators, and return it."""
    from budgetnas.spaces.tables.operators import OPERATORS
    from budgetnas.spaces.tables.upstream.importing import read

    read(real_data / "rebuilt" / "HW-NAS-Bench-v1_0.rebuilt.pickle")[OPERATORS].write(tmp_path / f"{OPERATORS}.parquet")
    monkeypatch.setenv("BUDGETNAS_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Return a function that runs `budgetnas ARGUMENTS` in a new process and folder; its data folder `home` is empty by default."""

    def run(
        *arguments: str, home: Path | None = None, cwd: Path | None = None, timeout: float = 120, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, *arguments],
            capture_output=True,
            text=True,
            cwd=cwd or tmp_path,
            timeout=timeout,
            env=surroundings(home or tmp_path / "no-data") | environment,
            check=False,
        )

    return run


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts `budgetnas ARGUMENTS` like `command`, and returns the process; it is killed after the test."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str, home: Path | None = None, cwd: Path | None = None, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*PROGRAM, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd or tmp_path,
            env=surroundings(home or tmp_path / "no-data") | environment,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        with process:
            process.kill()


def surroundings(home: Path) -> dict[str, str]:
    """Return the environment of a command: its data folder, a wide terminal, one thread."""
    return os.environ | {"BUDGETNAS_DATA": str(home), "COLUMNS": "200", "OMP_NUM_THREADS": "1"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """Return a function that mounts a disk of some kilobytes. Only the superuser may do that; for others the test is skipped."""
    mounted: list[Path] = []

    def mount(kilobytes: int) -> Path:
        disk = tmp_path / f"disk-{len(mounted)}"
        disk.mkdir()
        done = shutil.which("mount") and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(disk)], capture_output=True, text=True, check=False
        )
        if not done or done.returncode:
            pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip() if done else 'there is no mount'}")
        mounted.append(disk)
        return disk

    yield mount
    for disk in mounted:
        if subprocess.run(["umount", str(disk)], capture_output=True, check=False).returncode:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.fixture(scope="session")
def counted() -> Callable[..., Any]:
    """Return a function that counts the `Complexity` of a built network: its trained parameters, and its MACs in convolutions and linear
    layers, which hooks count.

    It runs on PyTorch's meta device, which follows shapes without computing. It also checks the shape of the logits.
    """
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from budgetnas.spaces.space import Complexity

    def count(network: Any, task: Any) -> Complexity:
        macs = 0

        def add(module: Any, _inputs: object, output: Any) -> None:
            nonlocal macs
            macs += module.weight[0].numel() * output.numel()

        network = deepcopy(network).to("meta").eval()
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
                module.register_forward_hook(add)
        logits = network(torch.zeros(1, task.image_channels, task.image_size, task.image_size, device="meta"))
        assert logits.shape == (1, task.classes)
        return Complexity(sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad), macs)

    return count
