"""`budgetnas list`: what is available, and why the rest is not."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from budgetnas.harness.commands import list as listing
from budgetnas.spaces.devices import DEVICES
from budgetnas.spaces.registry import SPACES
from budgetnas.spaces.task import TASKS

pytestmark = pytest.mark.slow
UNTABLED = ("digits", "fashion-mnist", "tiny-imagenet", "imagenet")

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def rows(done: "subprocess.CompletedProcess[str]") -> list[dict[str, Any]]:
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert isinstance(found, list) and found
    return found


def test_spaces(command: Command) -> None:
    found = rows(command("list", "spaces", "--json"))
    assert [row["space"] for row in found] == list(SPACES)
    by_name = {row["space"]: row for row in found}
    assert (by_name["nasbench201"]["architectures"], by_name["nasbench201"]["genes"]) == ("15,625", 6)
    assert by_name["nasbench201"]["parameters"] == "none"
    assert (by_name["darts"]["architectures"], by_name["darts"]["genes"]) == ("too many to list", 24)
    assert by_name["darts"]["parameters"] == "channels, cells, groups, connection"


def test_datasets_without_a_table_name_the_command_that_downloads_it(command: Command) -> None:
    found = {row["dataset"]: row["available"] for row in rows(command("list", "datasets", "--json"))}
    assert list(found) == list(TASKS)
    assert found.pop("closed-form") == found.pop("digits201") == "yes"
    for name in UNTABLED:
        assert found.pop(name).startswith("no table: ")
    assert list(found) == ["cifar10", "cifar100", "ImageNet16-120"]
    assert all(text.startswith("no: ") and "run `budgetnas data fetch`" in text for text in found.values())


def test_datasets_and_devices_of_the_real_tables(command: Command, real_home: Path) -> None:
    datasets = rows(command("list", "datasets", "--json", home=real_home))
    assert {row["available"] for row in datasets if row["dataset"] not in UNTABLED} == {"yes"}
    assert {row["space"] for row in datasets if row["dataset"] in UNTABLED} == {"-"}
    devices = {row["device"]: row["queried here for"] for row in rows(command("list", "devices", "--json", home=real_home))}
    assert devices.pop("closed-form") == "closed-form"
    assert devices.pop("amd-epyc") == "digits201"
    assert set(devices.values()) == {"ImageNet16-120, cifar10, cifar100"}


def test_devices_show_metrics_units_and_whether_they_are_measured(command: Command) -> None:
    found = {row["device"]: row for row in rows(command("list", "devices", "--json"))}
    assert list(found) == list(DEVICES)
    assert found["edgegpu"]["metrics"] == "latency_ms (measured), energy_mj (measured)"
    assert found["pixel3"]["metrics"] == "latency_ms (measured)"
    assert found["fpga"]["metrics"] == "latency_ms (estimated), energy_mj (estimated)"
    assert all("HW-NAS-Bench" in row["source"] for name, row in found.items() if name not in ("closed-form", "amd-epyc"))
    assert found["amd-epyc"]["metrics"] == "latency_ms (measured)" and "digits201" in found["amd-epyc"]["source"]
    assert found["raspi4"]["queried here for"] == "nothing: run `budgetnas data fetch`"


def test_methods_are_the_files_of_the_folder_with_their_evaluators(command: Command) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    found = {row["method"]: row for row in rows(command("list", "methods", "--json"))}
    folder = Path(listing.__file__).resolve().parents[2] / "methods"
    assert set(found) >= {path.stem for path in folder.glob("*.py") if path.stem != "__init__"}
    assert found["random_search"]["evaluators"] == "table, training"
    assert found["darts"]["evaluators"] == "table, supernet"
    assert found["pc_darts"]["evaluators"] == "supernet"
    assert all(row["evaluators"] and row["what it is"] for row in found.values())


def test_one_method_with_its_settings(command: Command) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    (found,) = rows(command("list", "methods", "darts", "--json"))
    assert found["settings"]["unrolled"] is False and "\n" in found["what it is"]
    done = command("list", "methods", "darts")
    assert (done.returncode, done.stderr) == (0, "") and "unrolled" in done.stdout and done.stdout.startswith("darts: table, supernet\n")
    unknown = command("list", "methods", "dart")
    assert (unknown.returncode, unknown.stdout, unknown.stderr.count("\n")) == (1, "", 1) and "darts" in unknown.stderr


@pytest.mark.parametrize("what", ["methods", "spaces", "datasets", "devices"])
def test_without_json_every_name_is_in_the_table(command: Command, what: str) -> None:
    names = [next(iter(row.values())) for row in rows(command("list", what, "--json"))]
    done = command("list", what)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(name in done.stdout for name in names)


def test_brackets_in_a_name_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Rich takes brackets for markup, and spaces with parameters have them."""
    listing._show([{"space": "rcnet[positions=6]"}], as_json=False)
    assert "rcnet[positions=6]" in capsys.readouterr().out


@pytest.mark.parametrize("what", ["datasets", "devices"])
def test_a_damaged_table_is_one_line(command: Command, tmp_path: Path, what: str) -> None:
    (tmp_path / "nasbench201.parquet").write_bytes(b"PAR1 cut off")
    done = command("list", what, home=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)


@pytest.mark.parametrize("arguments", [("list", "cells"), ("list", "devices", "edgegpu"), ("list", "devices", "--yaml")])
def test_a_wrong_command_line_is_refused_in_one_line(command: Command, arguments: tuple[str, ...]) -> None:
    done = command(*arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("budgetnas: ") and done.stderr.endswith("--help`\n")


def test_the_home_of_an_unknown_user_is_a_one_line_error(command: Command) -> None:
    done = command("list", "datasets", BUDGETNAS_DATA="~no-such-user-here/tables")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("budgetnas: BUDGETNAS_DATA is ~no-such-user-here/tables") and done.stderr.count("\n") == 1
