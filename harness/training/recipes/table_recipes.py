"""How a training differs from that of a table. It explains why a queried and a retrained accuracy may differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from budgetnas.harness.training.images.augmentation import Augmentation
from budgetnas.harness.training.recipes.digits201_recipe import digits201_recipe
from budgetnas.harness.training.recipes.recipe import Optimiser, Recipe, Schedule, Subset, read_recipe

# The datasets of NAS-Bench-201's tables, trained with its own recipe.
_NASBENCH201 = frozenset({"cifar10", "cifar100", "ImageNet16-120"})
_WORDS = {
    "optimiser.learning_rate": "learning rate",
    "optimiser.weight_decay": "weight decay",
    "auxiliary_weight": "weight of the auxiliary loss",
    "drop_path": "drop path",
    "label_smoothing": "label smoothing",
    "images.train": "training images",
    "images.validation": "validation images",
    "images.test": "test images",
}
_COMPARED = ("epochs", "batch", "optimiser", "schedule", "label_smoothing", "auxiliary_weight", "drop_path", "augmentation", "images")


def table_recipe(space: str, dataset: str) -> Recipe | None:
    """Return the recipe with which the networks of a table were trained, or None if no table is known."""
    if space == "nasbench201" and dataset in _NASBENCH201:
        return read_recipe("nasbench201-200")
    if (space, dataset) != ("nasbench201", "digits201"):
        return None
    known = digits201_recipe()
    return Recipe(
        name=known.name,
        version=known.version,
        source="this project",
        epochs=known.epochs,
        batch=known.batch,
        optimiser=Optimiser(
            learning_rate=known.learning_rate, momentum=known.momentum, nesterov=True, weight_decay=known.weight_decay
        ),
        schedule=Schedule(kind="cosine", each="step"),
        augmentation=Augmentation(),
        images=Subset(),
    )  # fmt: skip


def differences(space: str, dataset: str, recipe: Recipe) -> list[str]:
    """Return the differences between a recipe and that of a table, such as `epochs 3, not 200`. Empty if there is no table."""
    of_table = table_recipe(space, dataset)
    if of_table is None:
        return []
    here, there = (dict(_values(each, dataset)) for each in (recipe, of_table))
    changed = [key for key in here if here[key] != there[key]]
    return [
        f"{_WORDS.get(key, key.replace('.', ' '))} {_value_in_words(key, here[key])}, not {_value_in_words(key, there[key])}"
        for key in changed
    ]


def difference_line(space: str, dataset: str, recipe: Recipe) -> str:
    """Return a note for the user that explains why queried and retrained accuracies differ."""
    found = differences(space, dataset, recipe)
    how = "; ".join(found) if found else "by the same recipe as the table"
    return (
        f"Trained here: {how}. The initial weights, the order and split of the images, and rounding always differ from the table's, "
        "so that even with the same recipe the accuracies differ like those of two seeds."
    )


def _values(recipe: Recipe, dataset: str) -> Iterator[tuple[str, Any]]:
    values: Mapping[str, Any] = recipe.model_dump() | {"augmentation": recipe.augmentation_on(dataset).model_dump()}
    for key in _COMPARED:
        if isinstance(values[key], dict):
            yield from ((f"{key}.{inner}", value) for inner, value in values[key].items() if inner != "seed")
        else:
            yield key, values[key]


def _value_in_words(key: str, value: object) -> str:
    if value is None:
        return "all" if key.startswith("images.") else "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)
