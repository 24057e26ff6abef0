"""Retrains networks of digits201. The results equal those of the table's builder bit for bit, on a machine of the same kind."""

from __future__ import annotations

from importlib.util import find_spec

from budgetnas.harness.training.job import CannotRetrain, Retrained
from budgetnas.harness.training.recipes.digits201_recipe import digits201_recipe


def require() -> None:
    """Raise CannotRetrain if PyTorch is not installed, MissingImages if scikit-learn is not."""
    if find_spec("torch") is None:
        raise CannotRetrain("PyTorch is not installed, so nothing can be trained; run `pip install budgetnas[train]`")
    digits201_recipe().images()


def retrain_seed(index: int, seed: int) -> Retrained:
    """Return the result of training the network of a cell with one seed. Raises UnknownSeed if the recipe does not have the seed."""
    from budgetnas.harness.digits201.together import train_seed

    trained = train_seed(index, seed, digits201_recipe())
    return Retrained(index, trained.seed, trained.validation, trained.test, trained.seconds)


def retrain(index: int) -> list[Retrained]:
    """Return the results of training the network of a cell, one per seed of the recipe."""
    from budgetnas.harness.digits201.together import train_together

    recipe = digits201_recipe()
    return [Retrained(index, one.seed, one.validation, one.test, one.seconds) for one in train_together(index, recipe.seeds, recipe)]
