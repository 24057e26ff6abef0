"""The table's columns, computed from the results of classes, and the builder's computation."""

from __future__ import annotations

import numpy as np
import pytest

from budgetnas.harness.digits201.chunks import BuildError
from budgetnas.harness.digits201.table import exact_columns, trained_columns
from budgetnas.harness.training.recipes.digits201_recipe import digits201_recipe
from budgetnas.spaces.nasbench201.identity import canonical_indices

pytestmark = pytest.mark.slow

RECIPE = digits201_recipe()


def results() -> dict[int, dict[str, object]]:
    """Return results in which each figure identifies its cell and seed."""
    return {
        index: {
            "validation": [index + 0.1 * seed for seed in range(3)],
            "test": [-index - 0.1 * seed for seed in range(3)],
            "seconds": 2.0 * index,
        }
        for index in np.unique(canonical_indices()).tolist()
    }


def test_each_cell_has_the_results_of_its_representative() -> None:
    columns = trained_columns(results(), RECIPE)
    canonical = canonical_indices()
    for seed in range(3):
        np.testing.assert_allclose(columns[f"accuracy/digits201/validation/6/{seed}"], canonical + 0.1 * seed)
        np.testing.assert_allclose(columns[f"accuracy/digits201/test/6/{seed}"], -canonical - 0.1 * seed)
    np.testing.assert_allclose(columns["accuracy/digits201/validation/6"], canonical + 0.1)
    np.testing.assert_allclose(columns["accuracy/digits201/test/6"], -canonical - 0.1)
    np.testing.assert_allclose(columns["training_seconds/digits201/6"], 2.0 * canonical)
    assert len(columns) == 9


def test_a_class_that_is_not_trained_is_an_error() -> None:
    partial = results()
    del partial[0]
    with pytest.raises(BuildError, match="1 classes are not trained, the first is that of cell 0; run the command again"):
        trained_columns(partial, RECIPE)


def test_exact_columns_have_all_cells() -> None:
    columns = exact_columns()
    assert sorted(columns) == ["cycles/digits201", "macs/digits201", "params/digits201"]
    assert {column.shape for column in columns.values()} == {(15625,)}


def test_the_builder_trains_one_cell_of_each_class() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from budgetnas.harness.digits201.builder import accuracy_chunks

    chunks = accuracy_chunks()
    assert len(chunks.items) == 5234
    assert (canonical_indices()[list(chunks.items)] == chunks.items).all()


def test_the_builder_keeps_the_results_of_training() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    from budgetnas.harness.digits201.builder import train_class
    from budgetnas.harness.digits201.together import train_together

    kept, trained = train_class(0), train_together(0, RECIPE.seeds, RECIPE)
    assert kept["test"] == [network.test for network in trained]
    assert kept["validation"] == [network.validation for network in trained]
    assert kept["seconds"] > 0
