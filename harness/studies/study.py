"""A study file (TOML): problems x methods x seeds, read and checked. `plan.py` expands it into trials."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from budgetnas.harness.evaluators.registry import EVALUATORS, alternatives, entry_of, names_of
from budgetnas.harness.records.identity import DEFAULT_EVALUATOR
from budgetnas.harness.toml_files import TomlFiles, TomlTable

Name = Annotated[str, Field(min_length=1)]
MOST_SEEDS = 1_000_000


class StudyError(ValueError):
    """A study file that cannot be read or does not make sense; the message names the file, the key and what was expected."""


_FILES = TomlFiles(StudyError, "study", "a path")


class AllowancePart(TomlTable):
    """`allowance = {queries = 200, seconds = 1e6}`; what is left out is not limited, but one of them must be given."""

    queries: Annotated[int, Field(ge=1)] | None = None
    seconds: Annotated[float, Field(gt=0)] | None = None


class ProblemPart(TomlTable):
    """`[problem]`: every space with every dataset, every device and every group of limits is a problem.

    `space` is a name, or a list of names. Limits are resolved in each space by itself: a share `@qNN` is of that space's own networks.
    `evaluator` is the name of one in `harness/evaluators/registry.py`; `recipe` is the name or path of the recipe that it needs, if any.
    """

    space: Name | Annotated[list[Name], Field(min_length=1)] = "nasbench201"
    datasets: Annotated[list[Name], Field(min_length=1)]
    devices: list[Name] = Field(default_factory=list)
    limits: Annotated[list[str | list[str]], Field(min_length=1)]
    allowance: AllowancePart = AllowancePart(queries=200)
    validation: Literal["mean", "seed"] = "mean"
    skip_unsupported: bool = False
    evaluator: Name = DEFAULT_EVALUATOR
    recipe: Name | None = None

    @model_validator(mode="after")
    def _training_has_a_recipe(self) -> ProblemPart:
        if (not entry_of(self.evaluator).recipe) != (self.recipe is None):
            trained = alternatives(names_of(lambda entry: entry.recipe))
            raise ValueError(f"expected `recipe`, a recipe's name or path, with evaluator = {trained}, and only there")
        return self

    @field_validator("evaluator")
    @classmethod
    def _a_known_evaluator(cls, evaluator: str) -> str:
        if evaluator not in EVALUATORS:
            raise ValueError(f"expected {alternatives(EVALUATORS)}, not '{evaluator:.60}'")
        return evaluator

    @property
    def spaces(self) -> list[str]:
        """The names of the spaces, as the study has them."""
        return [self.space] if isinstance(self.space, str) else list(self.space)

    @field_validator("space", mode="before")
    @classmethod
    def _a_name_or_names(cls, space: Any) -> Any:
        names = space if isinstance(space, list) else [space]
        if not names or not all(isinstance(name, str) and name for name in names):
            raise ValueError(f"expected the name of a space, or a list of such names, not {space!r:.60}")
        return space

    @field_validator("limits", mode="before")
    @classmethod
    def _texts_and_lists_of_texts(cls, limits: Any) -> Any:
        groups = limits if isinstance(limits, list) else [None]
        if not all(isinstance(text, str) for group in groups for text in (group if isinstance(group, list) else [group])):
            raise ValueError(f"expected a list whose members are limits, or lists of limits that hold together, not {limits!r:.60}")
        return limits

    @field_validator("allowance")
    @classmethod
    def _something_ends_a_search(cls, allowance: AllowancePart) -> AllowancePart:
        if allowance.queries is None and allowance.seconds is None:
            raise ValueError("give queries, seconds or both: without either a search would never end")
        return allowance


class MethodPart(BaseModel):
    """`[[method]]`: its name, how pages call it, and its settings beside them."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    name: Name
    label: Name | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """The settings given in the file."""
        return dict(self.model_extra or {})


class PluginPart(TomlTable):
    """`[plugin]`: what a trial of a user's own method may take before it is ended."""

    timeout_seconds: Annotated[float, Field(gt=0, le=1e7)] = 600.0
    memory_mb: Annotated[int, Field(ge=64, le=2**30)] = 2048


class SelectionPart(TomlTable):
    """`[selection]`: one network of so many searches, the best by validation after a brief training by `recipe` (DARTS's own selection)."""

    of: Annotated[int, Field(ge=2, le=1000)] = 4
    recipe: Name


class Study(TomlTable):
    """A study. `seeds` is how many, or a list of them."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    title: str = ""
    problem: ProblemPart
    method: Annotated[list[MethodPart], Field(min_length=1)]
    seeds: int | list[int] = 10
    plugin: PluginPart = PluginPart()
    selection: SelectionPart | None = None

    @model_validator(mode="after")
    def _selects_among_whole_groups(self) -> Study:
        if self.selection is not None and entry_of(self.problem.evaluator).reads_table:
            others = alternatives(names_of(lambda entry: not entry.reads_table))
            raise ValueError(f"expected [selection] with evaluator = {others} only: it retrains what searches found")
        if self.selection is not None and len(self.seed_list) % self.selection.of:
            raise ValueError(f"expected seeds in groups of selection.of = {self.selection.of}; {len(self.seed_list)} seeds leave some over")
        return self

    @field_validator("seeds", mode="before")
    @classmethod
    def _seeds_in_range(cls, seeds: Any) -> Any:
        each = seeds if isinstance(seeds, list) and seeds else [seeds]
        most = 2**63 - 1 if each is seeds else MOST_SEEDS
        if not all(type(seed) is int and (each is not seeds) <= seed <= most for seed in each):
            raise ValueError(f"expected how many seeds (1 to {MOST_SEEDS}), or a list of seeds (each 0 to 2^63 - 1), not {seeds!r:.60}")
        return seeds

    @property
    def seed_list(self) -> list[int]:
        """The search seeds, each once."""
        return list(range(self.seeds)) if isinstance(self.seeds, int) else list(dict.fromkeys(self.seeds))


def own_studies() -> list[str]:
    """Return the names of the studies that come with the project."""
    return sorted(
        entry.name.removesuffix(".toml") for entry in resources.files("budgetnas.harness.studies").iterdir() if entry.name.endswith(".toml")
    )


def read_study(reference: str) -> tuple[Study, Path]:
    """Return a study from a path or from the name of one that comes with the project, and the folder that its plug-ins are named from.

    `StudyError` names the file, the key and what was expected.
    """
    if reference in own_studies() and not Path(reference).exists():
        folder = Path.cwd()
        text = resources.files("budgetnas.harness.studies").joinpath(f"{reference}.toml").read_text(encoding="utf-8")
    else:
        text = _FILES.text(reference, own_studies())
        folder = Path(reference).resolve().parent
    if not text.strip():
        raise StudyError(f"{reference} is empty; a study has a name, [problem] and at least one [[method]]")
    return _FILES.parsed(reference, text, Study), folder
