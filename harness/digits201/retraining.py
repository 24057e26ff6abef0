"""A network of digits201 trained again, to the bit as the table's builder does it on the same machine."""

from __future__ import annotations

from importlib.util import find_spec

from budgetnas.harness.training.job import CannotRetrain, Retrained
from budgetnas.harness.training.recipes.digits201_recipe import digits201_recipe


def require() -> None:
    """Raise `CannotRetrain` without PyTorch, `MissingImages` without scikit-learn's images."""
    if find_spec("torch") is None:
        raise CannotRetrain("PyTorch is not installed, so nothing can be trained; run `pip install budgetnas[train]`")
    digits201_recipe().images()


def retrain_seed(index: int, seed: int) -> Retrained:
    """Return what the network of a cell reaches with one seed; `UnknownSeed` for one that the recipe does not have."""
    from budgetnas.harness.digits201.together import train_seed

    trained = train_seed(index, seed, digits201_recipe())
    return Retrained(index, trained.seed, trained.validation, trained.test, trained.seconds)


def retrain(index: int) -> list[Retrained]:
    """Return what the network of a cell reaches with every seed of the recipe."""
    from budgetnas.harness.digits201.together import train_together

    recipe = digits201_recipe()
    return [Retrained(index, one.seed, one.validation, one.test, one.seconds) for one in train_together(index, recipe.seeds, recipe)]
