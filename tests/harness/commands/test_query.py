"""`budgetnas query` and `budgetnas oracle`: their JSON, and the messages for wrong command lines."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from budgetnas.harness.costs.oracle import pareto_front
from budgetnas.harness.costs.tabulated_space import tabulated_space_of
from budgetnas.spaces.nasbench201.order import SIZE
from budgetnas.spaces.tables.accuracy import accuracy_column, seconds_column
from budgetnas.spaces.tables.columnar import Table

pytestmark = pytest.mark.slow

CELL_0 = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
DEVICES = ["edgegpu", "raspi4", "edgetpu", "pixel3", "eyeriss", "fpga"]
QUERY_KEYS = ("space", "dataset", "arch", "index", "connected", "params", "macs", "accuracy", "latency_ms", "energy_mj")
Answer = Callable[..., Any]


@pytest.fixture
def answer(here: Callable[..., tuple[int, str, str]]) -> Answer:
    """Return what a command prints with --json, parsed."""

    def ask(*arguments: str) -> Any:
        code, output, errors = here(*arguments, "--json")
        assert (code, errors) == (0, "")
        assert output.count("\n") == 1
        # Strict JSON: no NaN, no Infinity.
        return json.loads(output, parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))

    return ask


def test_query_from_a_shell(command: Callable[..., Any]) -> None:
    done = command("query", "nasbench201", "0", "--dataset", "closed-form", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    known = json.loads(done.stdout)
    assert tuple(known)[: len(QUERY_KEYS)] == QUERY_KEYS
    assert known["space"] == "nasbench201" and known["dataset"] == "closed-form"
    assert (known["arch"], known["index"], known["connected"]) == (CELL_0, 0, True)
    assert (known["params"], known["macs"]) == (129_306, 15_647_360)


def test_oracle_from_a_shell(command: Callable[..., Any]) -> None:
    done = command("oracle", "nasbench201", "--dataset", "closed-form", "--device", "closed-form", "--limit", "latency_ms<=2", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert {"limits", "feasible", "best_by_validation", "best_by_test", "front"} <= set(found)
    assert found["limits"] == [{"resource": "latency_ms", "upper": 2.0, "lower": 0.0}]


def test_query_has_the_keys_that_scripts_rely_on(answer: Answer) -> None:
    known = answer("query", "nasbench201", "0", "--dataset", "closed-form")
    tabulated = tabulated_space_of("nasbench201", "closed-form", "closed-form")
    assert known["accuracy"] == {"validation": tabulated.validation[0], "test": tabulated.test[0]}
    assert known["latency_ms"] == {"closed-form": tabulated.resource("latency_ms")[0]}
    assert known["energy_mj"] == {"closed-form": tabulated.resource("energy_mj")[0]}


def test_an_index_and_a_text_name_the_same_architecture(answer: Answer) -> None:
    by_index = answer("query", "nasbench201", "0", "--dataset", "closed-form")
    for text in (CELL_0, f" {CELL_0} ", "+0", "000", " 0 "):
        assert answer("query", "nasbench201", text, "--dataset", "closed-form") == by_index


def test_costs_on_a_device_that_does_not_support_the_network_are_null(answer: Answer) -> None:
    unsupported = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|none~2|"
    known = answer("query", "nasbench201", unsupported, "--dataset", "closed-form")
    assert known["connected"] is True
    assert known["latency_ms"] == known["energy_mj"] == {"closed-form": None}


def test_a_disconnected_cell_is_shown_as_disconnected(answer: Answer, here: Answer) -> None:
    empty = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    assert answer("query", "nasbench201", empty, "--dataset", "closed-form")["connected"] is False
    code, output, _ = here("query", "nasbench201", empty, "--dataset", "closed-form")
    assert code == 0 and empty in output and "does not depend on its input" in output


def test_query_s_default_dataset_is_cifar10_and_every_device_is_shown(
    real_home: Path, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUDGETNAS_DATA", str(real_home))
    known = answer("query", "nasbench201", "6111")
    assert known["dataset"] == "cifar10"
    assert round(known["accuracy"]["test"], 2) == 94.37 and round(known["accuracy"]["validation"], 2) == 91.61
    assert sorted(known["latency_ms"]) == sorted(DEVICES)
    assert sorted(known["energy_mj"]) == ["edgegpu", "eyeriss", "fpga"]
    assert all(isinstance(value, float) for value in (*known["latency_ms"].values(), *known["energy_mj"].values()) if value is not None)
    assert answer("query", "nasbench201", "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")["latency_ms"]["edgetpu"] is None


def test_oracle_prints_the_best_and_the_front_as_entries(answer: Answer) -> None:
    found = answer(
        "oracle",
        "nasbench201",
        "--dataset",
        "closed-form",
        "--device",
        "closed-form",
        "--limit",
        "latency_ms<=3",
        "--limit",
        "params>=300k",
    )
    tabulated = tabulated_space_of("nasbench201", "closed-form", "closed-form")
    assert found["limits"] == [
        {"resource": "latency_ms", "upper": 3.0, "lower": 0.0},
        {"resource": "params", "upper": None, "lower": 300_000.0},
    ]
    entries = [found["best_by_validation"], found["best_by_test"], *found["front"]]
    for entry in entries:
        index = tabulated.space.index(tabulated.space.decode(entry["arch"]))
        assert (entry["validation"], entry["test"]) == (tabulated.validation[index], tabulated.test[index])
        assert entry["cost"] == tabulated.cost_at(index)
        assert entry["cost"]["latency_ms"] <= 3 and entry["cost"]["params"] >= 300_000
    assert found["best_by_test"] == found["front"][-1]
    assert found["front_resource"] == "latency_ms"
    assert found["feasible"] == int(
        ((tabulated.resource("latency_ms") <= 3) & (tabulated.resource("params") >= 3e5) & tabulated.eligible).sum()
    )


@pytest.mark.parametrize("resource", ["latency_ms", "energy_mj", "params", "macs"])
def test_the_front_may_be_against_any_resource(answer: Answer, resource: str) -> None:
    found = answer("oracle", "nasbench201", "--dataset", "closed-form", "--device", "closed-form", "--front", resource)
    tabulated = tabulated_space_of("nasbench201", "closed-form", "closed-form")
    assert found["limits"] == []
    assert [entry["index"] for entry in found["front"]] == pareto_front(tabulated, resource).tolist()


def test_nothing_feasible_is_not_an_error(answer: Answer, here: Answer) -> None:
    arguments = ("oracle", "nasbench201", "--dataset", "closed-form", "--limit", "params<=1")
    found = answer(*arguments)
    assert (found["feasible"], found["best_by_validation"], found["best_by_test"], found["front"]) == (0, None, None, [])
    code, output, errors = here(*arguments)
    assert (code, errors) == (0, "") and "0 architectures are feasible" in output


def test_the_published_best_on_the_real_tables(real_home: Path, answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUDGETNAS_DATA", str(real_home))
    found = answer("oracle", "nasbench201", "--dataset", "ImageNet16-120")
    assert (found["best_by_test"]["index"], found["best_by_validation"]["index"]) == (857, 10676)
    assert found["feasible"] == SIZE - 341


def test_a_partly_imported_table_answers_for_the_known_architectures(answer: Answer, here: Answer, tmp_path: Path) -> None:
    known = {accuracy_column("cifar10", "test"): 90.0, accuracy_column("cifar10", "validation"): 80.0, seconds_column("cifar10"): 7.0}
    columns = {name: [float("nan")] * SIZE for name in known}
    for name, value in known.items():
        columns[name][6111] = value
    Table.from_columns("nasbench201", columns, dict.fromkeys(columns, "made up")).write(tmp_path / "no-data" / "nasbench201.parquet")  # type: ignore[arg-type]
    assert answer("query", "nasbench201", "5")["accuracy"] == {"validation": None, "test": None}
    found = answer("oracle", "nasbench201", "--dataset", "cifar10")
    assert found["best_by_test"]["index"] == found["best_by_validation"]["index"] == 6111
    assert [entry["index"] for entry in found["front"]] == [6111]
    for arguments in (("query", "nasbench201", "5"), ("oracle", "nasbench201"), ("oracle", "nasbench201", "--limit", "params<=100k")):
        code, output, errors = here(*arguments)
        assert (code, errors) == (0, "") and output


CLOSED = ("--dataset", "closed-form")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("query", "nasbench", "0", *CLOSED), "unknown space 'nasbench'; choose one of nasbench201"),
        (("query", "nasbench201", "0", "--dataset", "mnist"), "unknown dataset 'mnist'; choose one of cifar10"),
        (("query", "nasbench201", "0"), "run `budgetnas data fetch`"),
        (("query", "nasbench201", "15625", *CLOSED), "index 15625 is outside nasbench201; choose 0 to 15624"),
        (("query", "nasbench201", "9" * 1000, *CLOSED), "index of more than 18 digits is outside nasbench201"),
        (("query", "nasbench201", "9" * 5000, *CLOSED), "has 1 node(s)"),
        (("query", *CLOSED, "--", "nasbench201", "-1"), "index -1 is outside nasbench201"),
        (("query", *CLOSED, "--", "nasbench201", "--5"), "'--5' has 1 node(s)"),
        (("query", "nasbench201", "²", *CLOSED), "'²' has 1 node(s)"),
        (("query", "nasbench201", "1.5", *CLOSED), "'1.5' has 1 node(s)"),
        (("query", "nasbench201", "1_000", *CLOSED), "'1_000' has 1 node(s)"),
        (("query", "nasbench201", "", *CLOSED), "'' has 1 node(s)"),
        (("query", "nasbench201", "line\nfeed", *CLOSED), r"'line\nfeed' has 1 node(s)"),
        (
            ("query", "nasbench201", CELL_0.replace("avg", "max"), *CLOSED),
            "unknown operation 'max_pool_3x3' on the edge from node 0 to node 1",
        ),
        (("oracle", "nasbench", *CLOSED), "unknown space 'nasbench'"),
        (("oracle", "nasbench201", "--dataset", "mnist"), "unknown dataset 'mnist'"),
        (("oracle", "nasbench201", *CLOSED, "--device", "tpu"), "unknown device 'tpu'; choose one of edgegpu"),
        (("oracle", "nasbench201", *CLOSED, "--device", "pixel3"), "device 'pixel3' is not known for closed-form"),
        (("oracle", "nasbench201", *CLOSED, "--limit", "latency_ms<=5"), "latency_ms needs a device; name a device"),
        (("oracle", "nasbench201", *CLOSED, "--limit", "latency_ms<5"), "limit 'latency_ms<5' cannot be read; write resource<=NUMBER"),
        (("oracle", "nasbench201", *CLOSED, "--limit", "params@q0"), "the quantile must be above 0 and at most 100"),
        (("oracle", "nasbench201", *CLOSED, "--limit", "speed<=5"), "unknown resource 'speed'; choose one of latency_ms"),
        (("oracle", "nasbench201", *CLOSED, "--limit", "params<=1,params>=2"), "the lower bound is above the upper one"),
        (("oracle", "nasbench201", *CLOSED, "--front", "speed"), "unknown resource 'speed'"),
        (("oracle", "nasbench201", *CLOSED, "--front", "energy_mj"), "energy_mj needs a device; name a device"),
    ],
)
def test_a_wrong_argument_is_one_line_on_standard_error(
    here: Callable[..., tuple[int, str, str]], arguments: tuple[str, ...], message: str
) -> None:
    code, output, errors = here(*arguments, *([] if "--" in arguments else ["--json"]))
    assert (code, output) == (1, "")
    assert message in errors and errors.startswith("budgetnas: ")
    assert errors.count("\n") == 1 and len(errors) < 600


@pytest.mark.parametrize(
    "arguments",
    [
        ("query",),
        ("query", "nasbench201"),
        ("query", "nasbench201", "0", "1"),
        ("query", "nasbench201", "-5"),
        ("query", "nasbench201", "0", "--datasets", "cifar10"),
        ("oracle",),
        ("oracle", "nasbench201", "--limit"),
        ("oracle", "nasbench201", "latency_ms<=5"),
    ],
)
def test_a_wrong_command_line_is_refused_in_one_line(command: Callable[..., Any], arguments: tuple[str, ...]) -> None:
    done = command(*arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("budgetnas: ") and done.stderr.endswith("--help`\n")


def test_a_device_without_the_metric_is_refused(real_home: Path, here: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUDGETNAS_DATA", str(real_home))
    code, output, errors = here("oracle", "nasbench201", "--device", "pixel3", "--limit", "energy_mj<=5")
    assert (code, output, errors) == (1, "", "budgetnas: device 'pixel3' has no energy_mj; it has latency_ms\n")


def test_a_damaged_table_is_one_line(tmp_path: Path, command: Callable[..., Any]) -> None:
    (tmp_path / "nasbench201.parquet").write_bytes(b"PAR1 cut off")
    for arguments in (("query", "nasbench201", "0"), ("oracle", "nasbench201")):
        done = command(*arguments, home=tmp_path)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert "run `budgetnas data fetch` again" in done.stderr
