"""Reads and checks study files (TOML): problems x methods x seeds. `plan.py` expands a study into trials."""

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
    """Raised for a study file that cannot be read or is invalid. The message names the file, the key and what was expected."""


_FILES = TomlFiles(StudyError, "study", "a path")


class AllowancePart(TomlTable):
    """`allowance = {queries = 200, seconds = 1e6}`: a missing key is not limited, but one of the two is required."""

    queries: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    seconds: Annotated[float, Field(gt=0)] | None = None


class ProblemPart(TomlTable):
    """`[problem]`: every combination of a space, a dataset, a device and a group of limits is a problem.

    `space` is a name or a list of names. Limits are resolved separately in each space: `@qNN` is a share of that space's architectures.
    `evaluator` is a name in `harness/evaluators/registry.py`; `recipe` is the name or path of the recipe that the evaluator needs, if any.
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
        """The names of the spaces as written in the study."""
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
            raise ValueError(f"expected a list of limits, or of lists of limits that must all hold, not {limits!r:.60}")
        return limits

    @field_validator("allowance")
    @classmethod
    def _something_ends_a_search(cls, allowance: AllowancePart) -> AllowancePart:
        if allowance.queries is None and allowance.seconds is None:
            raise ValueError("give queries, seconds or both; without them a search would never end")
        return allowance


class MethodPart(BaseModel):
    """`[[method]]`: the name of a method, its label on pages, and its settings as further keys."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    name: Name
    label: Name | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """The settings given in the file."""
        return dict(self.model_extra or {})


class PluginPart(TomlTable):
    """`[plugin]`: the time and memory after which a trial of a user's method is ended."""

    timeout_seconds: Annotated[float, Field(gt=0, le=1e7)] = 600.0
    memory_mb: Annotated[int, Field(ge=64, le=2**30)] = 2048


class SelectionPart(TomlTable):
    """`[selection]`: choose one network from every `of` searches, the best by validation after a brief training by `recipe` (as DARTS)."""

    of: Annotated[int, Field(ge=2, le=1000)] = 4
    recipe: Name


class Study(TomlTable):
    """A study. `seeds` is the number of seeds or a list of seeds."""

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
            raise ValueError(f"expected a multiple of selection.of = {self.selection.of} seeds, not {len(self.seed_list)}")
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
        """The search seeds, without duplicates."""
        return list(range(self.seeds)) if isinstance(self.seeds, int) else list(dict.fromkeys(self.seeds))


def own_studies() -> list[str]:
    """Return the names of the studies in this package."""
    return sorted(
        entry.name.removesuffix(".toml") for entry in resources.files("budgetnas.harness.studies").iterdir() if entry.name.endswith(".toml")
    )


def read_study(reference: str) -> tuple[Study, Path]:
    """Return a study and the folder from which its paths start.

    Args:
        reference: A path, or the name of a study in this package.

    Raises:
        StudyError: The file cannot be read or is invalid.
    """
    if reference in own_studies() and not Path(reference).exists():
        folder = Path.cwd()
        text = resources.files("budgetnas.harness.studies").joinpath(f"{reference}.toml").read_text(encoding="utf-8")
    else:
        text = _FILES.text(reference, own_studies())
        folder = Path(reference).resolve().parent
    if not text.strip():
        raise StudyError(f"{reference} is empty; a study needs a name, a [problem] and at least one [[method]]")
    return _FILES.parsed(reference, text, Study), folder
