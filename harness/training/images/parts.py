"""The training, validation and test images of a recipe."""

from __future__ import annotations

from dataclasses import dataclass

from budgetnas.harness.training.images.dataset import AnyPart, Dataset
from budgetnas.harness.training.images.splits import of_each_class, split, subset
from budgetnas.harness.training.recipes.recipe import Recipe


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """The images of a recipe. `everything` is for training a second network, which is tested, if the recipe has `test_on_all`."""

    train: AnyPart
    validation: AnyPart | None
    test: AnyPart
    everything: AnyPart | None = None


def parts_of(dataset: Dataset, recipe: Recipe) -> Parts:
    """Return the parts of a dataset that a recipe uses. Raises CannotSplit if there are too few images."""
    rule, most = recipe.validation_on(dataset.name), recipe.images
    train, validation, test = dataset.train, dataset.validation, dataset.test
    if rule.per_class:
        validation, train = of_each_class(train, rule.per_class, rule.seed)
    elif validation is None and rule.share and rule.part == "train":
        validation, train = split(train, round(rule.share * len(train)), rule.seed)
    elif validation is None and rule.share:
        validation, test = split(test, round(rule.share * len(test)), rule.seed)
    return Parts(
        train=subset(train, most.train, most.seed),
        validation=None if validation is None else subset(validation, most.validation, most.seed),
        test=subset(test, most.test, most.seed),
        everything=subset(dataset.train, most.train, most.seed) if rule.test_on_all and validation is not None else None,
    )
