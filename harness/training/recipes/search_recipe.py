"""Search recipes: how the weights of a supernet are trained. The method decides how its architecture variables are trained."""

from __future__ import annotations

import math
from functools import cache
from importlib import resources
from typing import Annotated, Literal

from pydantic import Field

from budgetnas.harness.records.identity import identity_of
from budgetnas.harness.toml_files import TomlFiles, TomlTable
from budgetnas.harness.training.images.augmentation import Augmentation
from budgetnas.harness.training.recipes.recipe import MOST_THREADS, Count, Optimiser, RecipeError, Subset

_FILES = TomlFiles(RecipeError, "search recipe")


class SearchRecipe(TomlTable):
    """Everything that a search in a supernet depends on besides the method, the space, the images and the seed.

    One half of the training images trains the weights, and the other half the architecture variables. Images that do not fill a batch are
    left out of the epoch. The learning rate falls along half a cosine, epoch by epoch, from the optimiser's to `last_learning_rate`.
    `channels` and `cells` are the size of the supernet (nasbench201: cells per stage); left out, it is the space's default.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    version: Count
    source: str
    kind: Literal["search"]
    epochs: Annotated[int, Field(ge=1, le=100_000)]
    batch: Annotated[int, Field(ge=2, le=1_000_000)]
    optimiser: Optimiser
    last_learning_rate: Annotated[float, Field(ge=0)] = 0.0
    channels: Annotated[int, Field(ge=1, le=4096)] | None = None
    cells: Annotated[int, Field(ge=1, le=1000)] | None = None
    threads: Annotated[int, Field(ge=1, le=MOST_THREADS)] = 1
    precision: Literal["full", "bf16"] = "full"
    deterministic: bool = False
    augmentation: Augmentation = Augmentation()
    images: Subset = Subset()

    @property
    def checksum(self) -> str:
        """The sha256 of all values, including defaults, but without `source`."""
        return identity_of({name: value for name, value in self.hashed_values().items() if name != "source"})

    def rate(self, epoch: int, epochs: int) -> float:
        """Return the learning rate in `epoch`, counted from 0, of `epochs`."""
        share = 0.5 * (1.0 + math.cos(math.pi * epoch / epochs))
        return self.last_learning_rate + (self.optimiser.learning_rate - self.last_learning_rate) * share


@cache
def own_search_recipes() -> dict[str, SearchRecipe]:
    """Return the search recipes that come with the project, by name."""
    found = {}
    for entry in sorted(resources.files("budgetnas.harness.training").joinpath("recipes").iterdir(), key=lambda entry: entry.name):
        if entry.name.startswith("search-") and entry.name.endswith(".toml"):
            recipe = _FILES.parsed(entry.name, entry.read_text(encoding="utf-8"), SearchRecipe)
            found[recipe.name] = recipe
    return found


def read_search_recipe(reference: str) -> SearchRecipe:
    """Return the search recipe with this name, if the project has it, or the one in the TOML file at this path.

    Raises RecipeError, with the file, the key and the expected value, if it cannot be read or is invalid.
    """
    if reference in own_search_recipes():
        return own_search_recipes()[reference]
    return _FILES.parsed(reference, _FILES.text(reference, own_search_recipes()), SearchRecipe)
