"""The speed of queries to a table. Run with `make benchmark`; no test here fails because it is slow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from budgetnas.harness.costs.tabulated_space import tabulated_space_of
from budgetnas.harness.evaluators.table import TableEvaluator
from budgetnas.harness.problem import Limit

_EMPTY = "import sys"
_FIRST_QUERY = """
import sys
from budgetnas.harness.costs.tabulated_space import tabulated_space_of
tabulated = tabulated_space_of("nasbench201", "cifar10", "pixel3")
arch = tabulated.space.decode("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|avg_pool_3x3~2|")
index = tabulated.space.index(arch)
assert tabulated.validation[index] > 0 and tabulated.resource("latency_ms")[index] > 0
assert "pandas" not in sys.modules and "torch" not in sys.modules
"""


@pytest.mark.parametrize("program", [_EMPTY, _FIRST_QUERY], ids=["python alone", "open the table, first query"])
def test_a_new_process(program: str, real_home: Path, benchmark: BenchmarkFixture) -> None:
    environment = os.environ | {"BUDGETNAS_DATA": str(real_home)}
    benchmark.pedantic(lambda: subprocess.run([sys.executable, "-c", program], check=True, env=environment), rounds=10, warmup_rounds=2)


def test_query_by_string(real_tables: Path, benchmark: BenchmarkFixture) -> None:
    tabulated = tabulated_space_of("nasbench201", "cifar10", "pixel3")
    evaluator, space = TableEvaluator(tabulated), tabulated.space
    text = space.encode(space.at(6111))
    assert benchmark(lambda: evaluator.accuracy(space.decode(text))) == pytest.approx(91.61, abs=0.005)


def test_the_best_feasible_of_all_cells(real_tables: Path, benchmark: BenchmarkFixture) -> None:
    """Finds the feasible cells among all 15,625, and the best of them."""
    tabulated = tabulated_space_of("nasbench201", "cifar10", "pixel3")
    limits = (Limit("latency_ms", upper=10.0), Limit("params", upper=500_000))

    def best() -> int:
        admitted = tabulated.admitted(limits)
        return int(np.argmax(np.where(admitted, tabulated.validation, -np.inf)))

    assert tabulated.admitted(limits)[benchmark(best)]
