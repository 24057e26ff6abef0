"""`budgetnas query` without a table: the figures computed for architectures of any space, and the messages for wrong arguments."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from budgetnas.harness.commands import query
from budgetnas.harness.costs.query import computed
from budgetnas.spaces.darts import DARTS
from budgetnas.spaces.darts.published import GENOTYPES
from budgetnas.spaces.space import Architecture, CostedOnDevices
from budgetnas.spaces.task import TASKS, Task

CELL_0 = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
Ran = Callable[..., tuple[int, str, str]]
Answer = Callable[..., dict[str, Any]]


@pytest.fixture
def answer(here: Ran) -> Answer:
    """Return what `budgetnas query ... --json` prints, parsed."""

    def ask(*arguments: str) -> dict[str, Any]:
        code, output, errors = here("query", *arguments, "--json")
        assert (code, errors, output.count("\n")) == (0, "", 1)
        found = json.loads(output, parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))
        assert isinstance(found, dict)
        return found

    return ask


def test_the_published_genotypes_have_their_published_figures(answer: Answer) -> None:
    known = answer("darts", GENOTYPES["darts_v2"], "--dataset", "cifar10", "--channels", "36", "--cells", "20")
    assert (known["params"], known["params_with_auxiliary"], known["macs"]) == (3_349_342, 3_825_768, 528_359_040)
    assert known["space"] == "darts[cells=20,channels=36]" and known["connected"] is True and "accuracy" not in known
    known = answer("darts", "pcdarts_cifar10")
    assert (known["params"], known["params_with_auxiliary"], known["macs"]) == (3_634_678, 4_111_104, 556_670_592)
    assert (known["space"], known["dataset"]) == ("darts", "cifar10")


def test_a_published_name_is_read_in_any_spelling(answer: Answer) -> None:
    expected = answer("darts", GENOTYPES["pcdarts_cifar10"])
    for name in ("pcdarts_cifar10", "PC-DARTS (CIFAR-10)", " PCDARTS_cifar10 "):
        assert answer("darts", name) == expected


def test_size_options_replace_the_space_s_sizes_and_keep_its_other_parameters(answer: Answer) -> None:
    space = DARTS(channels=16, cells=8, groups=2)
    arch = space.published["darts_v2"]
    for name, options in (
        ("darts[groups=2]", ("--channels", "16", "--cells", "8")),
        ("darts[groups=2,channels=20,cells=8]", ("--channels", "16")),
    ):
        known = answer(name, "darts_v2", *options)
        assert known["space"] == space.name and known["params"] == space.complexity(arch, TASKS["cifar10"]).params


def test_imagenet_has_its_own_stem_and_size(answer: Answer) -> None:
    known = answer("darts", "darts_v2", "--dataset", "imagenet")
    assert (known["params"], known["macs"]) == (4_718_752, 529_911_552)
    assert answer("darts", "darts_v2", "--dataset", "imagenet", "--channels", "48", "--cells", "14")["macs"] == known["macs"]


def test_cycles_are_those_of_the_paper_or_of_the_network(answer: Answer) -> None:
    assert answer("darts", "darts_v2", "--cycles", "paper")["cycles"] == 1_244_160
    network = answer("darts", "darts_v2", "--cycles", "network")["cycles"]
    assert network == DARTS().figures(DARTS().published["darts_v2"], TASKS["cifar10"])["cycles"] == 2_643_076_800


def test_cells_of_nasbench201_on_a_dataset_without_a_table(answer: Answer) -> None:
    known = answer("nasbench201", "0", "--dataset", "fashion-mnist")
    assert (known["arch"], known["index"], known["connected"]) == (CELL_0, 0, True)
    assert (known["params"], known["macs"], known["cycles"]) == (129_018, 11_754_368, 59_896_160)
    assert answer("nasbench201", CELL_0, "--dataset", "imagenet", "--cycles", "network")["params"] == 193_656


def test_with_a_table_the_cycles_option_adds_only_the_cycles(answer: Answer) -> None:
    for dataset, cycles in (("closed-form", 79_705_280), ("digits201", 104_112)):
        before, asked = (answer("nasbench201", "0", "--dataset", dataset, *more) for more in ((), ("--cycles", "network")))
        assert asked == before | {"cycles": cycles}
        assert "accuracy" in before


def test_without_json_a_table_is_printed(here: Ran) -> None:
    code, output, errors = here("query", "darts", "darts_v2", "--channels", "36")
    assert (code, errors) == (0, "")
    for text in ("darts[channels=36] on cifar10", "3,349,342", "parameters with auxiliary head", "528,359,040", "Genotype(normal=["):
        assert text in output
    assert "accuracy" not in output and "training" not in output


@dataclass(frozen=True)
class OnDevices(DARTS):
    """A space whose costs on devices are computed."""

    def devices(self, task: Task) -> tuple[str, ...]:
        return "edgegpu", "pixel3"

    def device_cost(self, arch: Architecture, task: Task, device: str) -> Mapping[str, float]:
        return {"edgegpu": {"latency_ms": 2.5, "energy_mj": 7.0}, "pixel3": {"latency_ms": float("nan")}}[device]


def test_costs_on_devices_are_shown_where_a_space_computes_them() -> None:
    space = OnDevices()
    assert isinstance(space, CostedOnDevices)
    known = computed(space, space.identity, TASKS["cifar10"])
    assert known["latency_ms"] == {"edgegpu": 2.5, "pixel3": None}
    assert known["energy_mj"] == {"edgegpu": 7.0}
    assert query._sheet(known).row_count == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("darts", "darts_v3"), "'darts_v3' at character 1; expected 'Genotype'"),
        (("darts", "darts_v3"), "the published architectures are darts_v2, pcdarts_cifar10"),
        (("darts", ""), "the end of the text at character 1"),
        (("darts", "0"), "'0' at character 1; expected 'Genotype'"),
        (("darts", "__import__('os').getcwd()"), "'.' at character 17 is not allowed in a genotype"),
        (("darts", GENOTYPES["darts_v2"][:-1]), "the end of the text"),
        (("darts", CELL_0), "'|' at character 1 is not allowed in a genotype"),
        (("darts", "x" * 100_000), "a text of 100,000 characters is not a genotype"),
        (("darts", "line\nfeed"), "'line' at character 1"),
        (("darts", "darts_v2", "--dataset", "mnist"), "unknown dataset 'mnist'"),
        (("darts", "darts_v2", "--channels", "0"), "0 channels; a DARTS network has 1 to 4096"),
        (("darts", "darts_v2", "--channels", "-3"), "channels is '-3'; expected a whole number"),
        (("darts", "darts_v2", "--cells", "2"), "2 cells; a DARTS network has 3 to 1000"),
        (("darts", "darts_v2", "--cells", "1000000"), "cells is '1000000'; expected a whole number"),
        (("darts[groups=7]", "darts_v2", "--cells", "8"), "7 groups; choose 1 to 6, the number of normal cells in a network of 8 cells"),
        (("darts[width=7]", "darts_v2"), "space 'darts' has no parameter 'width=7'"),
        (("nope", "darts_v2", "--channels", "3"), "unknown space 'nope'; choose one of"),
        (("nasbench201", "0", "--channels", "16"), "space 'nasbench201' has no parameter 'channels=16'; it takes none"),
        (("nasbench201", "0", "--cells", "5", "--dataset", "fashion-mnist"), "space 'nasbench201' has no parameter 'cells=5'"),
        (("nasbench201", "0", "--dataset", "fashion-mnist", "--cycles", "paper"), "the DEff-ARTS paper counts no cells of 'nasbench201'"),
        (("nasbench201", "15625", "--dataset", "fashion-mnist"), "index 15625 is outside nasbench201"),
        (("nasbench201", "darts_v2", "--dataset", "fashion-mnist"), "'darts_v2' has 1 node(s)"),
    ],
)
def test_a_wrong_argument_is_one_line(here: Ran, arguments: tuple[str, ...], message: str) -> None:
    code, output, errors = here("query", *arguments, "--json")
    assert (code, output) == (1, "")
    assert message in errors and errors.startswith("budgetnas: ") and errors.count("\n") == 1 and len(errors) < 600


@pytest.mark.parametrize("arguments", [("--cycles", "both"), ("--channels", "many"), ("--cells", "1.5"), ("--cells",)])
def test_a_wrong_option_is_one_line(here: Ran, arguments: tuple[str, ...]) -> None:
    code, output, errors = here("query", "darts", "darts_v2", *arguments)
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert errors.endswith("--help`\n")


def test_the_oracle_lists_the_datasets_that_have_a_table(here: Ran) -> None:
    code, output, errors = here("oracle", "nasbench201", "--dataset", "fashion-mnist")
    assert (code, output) == (1, "")
    assert "no table has the accuracies of nasbench201 on fashion-mnist; choose one of cifar10, cifar100" in errors
    code, output, errors = here("oracle", "darts")
    assert (code, output) == (1, "") and "cannot all be listed" in errors
