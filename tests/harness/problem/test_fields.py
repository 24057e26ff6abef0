"""Fields that a later version added: while they have their default, nothing that older versions hashed changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import FrozenInstanceError, dataclass, replace
from typing import Annotated, Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from budgetnas.harness.catalogue.catalogue import FoundMethod, MethodError
from budgetnas.harness.problem import Allowance, Limit, Need, since
from budgetnas.harness.problem.fields import hashed_fields
from budgetnas.harness.records.identity import identity_of
from budgetnas.harness.records.trial import Trial
from budgetnas.harness.training.images.augmentation import Augmentation, TomlTable
from budgetnas.harness.training.recipes.recipe import Recipe, read_recipe
from budgetnas.harness.training.recipes.search_recipe import SearchRecipe, read_search_recipe

VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.tuples(st.integers(), st.text())


@given(old=VALUES, default=VALUES, value=VALUES)
def test_a_later_field_is_hashed_only_if_it_has_another_value(old: Any, default: Any, value: Any) -> None:
    @dataclass(frozen=True)
    class Grown:
        first: Any
        second: Any = 5
        third: Any = since("0.3", default)  # noqa: RUF009

    assert Grown(old).third == default
    assert hashed_fields(Grown(old)) == hashed_fields(Grown(old, third=default)) == {"first": old, "second": 5}
    expected = {"first": old, "second": 5} | ({} if value == default else {"third": value})
    assert hashed_fields(Grown(old, third=value)) == expected


def test_a_field_of_the_first_version_is_always_hashed() -> None:
    assert hashed_fields(Allowance()) == {"queries": 200, "seconds": None}
    assert hashed_fields(Allowance(3, 1.5)) == {"queries": 3, "seconds": 1.5}


def test_a_later_field_is_a_field_like_others() -> None:
    @dataclass(frozen=True)
    class Grown:
        third: int = since("0.3", 1)

    assert Grown() == Grown(1) != Grown(2) and replace(Grown(), third=3).third == 3
    with pytest.raises(FrozenInstanceError):
        Grown().third = 2  # type: ignore[misc]
    with pytest.raises(ValueError, match="mutable default"):

        @dataclass
        class Wrong:
            third: list[int] = since("0.3", [])  # noqa: RUF009


@dataclass(frozen=True)
class Search:
    """A method of version 0.2."""

    needs: ClassVar[frozenset[Need]] = frozenset({Need.ACCURACY})
    steps: int = 10

    def search(self, problem: Any, evaluator: Any, rng: Any) -> Iterator[Any]:
        yield ()


@dataclass(frozen=True)
class GrownSearch(Search):
    restarts: int = since("0.3", 1)
    steepness: float | None = since("0.3", None)


@dataclass(frozen=True)
class GrownAllowance(Allowance):
    cost_queries: int | None = since("0.3", None)


def trial_of(cls: type[Search], given: dict[str, Any], allowance: Allowance | None = None) -> Trial:
    found = FoundMethod("search", cls, "1", plugin=False)
    settings = found.settings(given)
    assert found.make(settings) == found.make(given)  # the trial does what was asked for
    limits = (Limit("params", upper=5.0),)
    allowance = allowance or Allowance(7)
    return Trial("nasbench201", "cifar10", None, limits, allowance, "mean", "search", tuple(sorted(settings.items())), "1", "table", 0)


def test_a_method_with_a_later_setting_keeps_the_identities_of_its_trials() -> None:
    before = trial_of(Search, {"steps": 5})
    assert trial_of(GrownSearch, {"steps": 5}).identity == before.identity
    assert trial_of(GrownSearch, {"steps": 5, "restarts": 1, "steepness": None}).identity == before.identity
    changed = [
        trial_of(GrownSearch, {"steps": 5} | more) for more in ({"restarts": 2}, {"steepness": 1.0}, {"restarts": 2, "steepness": 1.0})
    ]
    assert len({before.identity, *(trial.identity for trial in changed)}) == 4
    assert changed[0].payload()["method"]["settings"] == {"steps": 5, "restarts": 2}


def test_a_later_setting_is_checked_like_others() -> None:
    with pytest.raises(MethodError, match="setting 'restarts' of method 'search' is 'two'; expected a whole number"):
        trial_of(GrownSearch, {"restarts": "two"})


def test_an_allowance_with_a_later_field_keeps_the_identities_of_its_trials() -> None:
    before = trial_of(Search, {})
    assert trial_of(Search, {}, GrownAllowance(7)).identity == before.identity
    assert trial_of(Search, {}, GrownAllowance(7, None, 3)).payload()["allowance"] == {"queries": 7, "seconds": None, "cost_queries": 3}
    assert trial_of(Search, {}, GrownAllowance(7, None, 3)).identity != before.identity


class GrownAugmentation(Augmentation):
    rotation: Annotated[float, Field(json_schema_extra={"since": "0.3"})] = 0.0
    angles: list[int] = Field(default_factory=list, json_schema_extra={"since": "0.3"})


class Blur(TomlTable):
    size: int = 0


class GrownRecipe(Recipe):
    augmentation: GrownAugmentation = GrownAugmentation()
    warm_up: int = Field(default=0, json_schema_extra={"since": "0.3"})
    blur: Blur = Field(default=Blur(), json_schema_extra={"since": "0.3"})


class GrownSearchRecipe(SearchRecipe):
    warm_up: int = Field(default=0, json_schema_extra={"since": "0.3"})


def test_a_recipe_with_later_keys_keeps_its_checksum() -> None:
    before = read_recipe("smoke")
    values = before.model_dump(mode="json")
    grown = GrownRecipe.model_validate(values)
    assert grown.checksum == before.checksum
    defaults = {"warm_up": 0, "blur": {"size": 0}, "augmentation": values["augmentation"] | {"rotation": 0.0, "angles": []}}
    assert GrownRecipe.model_validate(values | defaults).checksum == before.checksum
    changes: list[dict[str, Any]] = [
        {"warm_up": 5},
        {"blur": {"size": 3}},
        {"augmentation": values["augmentation"] | {"rotation": 15.0}},
        {"augmentation": values["augmentation"] | {"angles": [1]}},
        {"epochs": before.epochs + 1},
    ]
    checksums = [GrownRecipe.model_validate(values | change).checksum for change in changes]
    assert len({before.checksum, *checksums}) == 6
    assert GrownRecipe.model_validate(values | changes[0]).hashed_values() == before.hashed_values() | {"warm_up": 5}


def test_later_keys_of_what_holds_on_one_dataset_are_left_out_too() -> None:
    class GrownOverride(TomlTable):
        augmentation: GrownAugmentation | None = None

    class Part(TomlTable):
        on: dict[str, GrownOverride] = Field(default_factory=dict)

    values = Part.model_validate({"on": {"cifar10": {"augmentation": {"flip": True}}, "fashion": {}}}).hashed_values()
    augmentation = Augmentation(flip=True).hashed_values()
    assert values == {"on": {"cifar10": {"augmentation": augmentation}, "fashion": {"augmentation": None}}}
    assert "rotation" not in augmentation


def test_a_search_recipe_with_a_later_key_keeps_its_checksum() -> None:
    before = read_search_recipe("search-smoke")
    values = before.model_dump(mode="json")
    assert GrownSearchRecipe.model_validate(values | {"warm_up": 0}).checksum == before.checksum
    assert GrownSearchRecipe.model_validate(values | {"warm_up": 1}).checksum != before.checksum


def test_values_of_the_first_version_are_hashed_with_their_defaults() -> None:
    recipe = read_recipe("smoke")
    everything = {name: value for name, value in recipe.model_dump(mode="json").items() if name != "source"}
    assert recipe.checksum == identity_of(everything)
