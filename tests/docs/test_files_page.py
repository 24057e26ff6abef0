"""The page *Files* has every key of what is read and every key and column of what is written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from budgetnas.harness.catalogue.settings_help import as_written
from budgetnas.harness.studies.study import AllowancePart, MethodPart, PluginPart, ProblemPart, SelectionPart, Study
from budgetnas.harness.training.images.augmentation import Augmentation
from budgetnas.harness.training.recipes.recipe import Optimiser, Recipe, Schedule, Subset, Validation
from budgetnas.harness.training.recipes.search_recipe import SearchRecipe
from budgetnas.spaces.tables.home import shipped_table

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reference" / "files.md").read_text(encoding="utf-8")
RUNS = ROOT / "tests" / "golden" / "runs"
PUBLISHED = ROOT / "leaderboards" / "published"
NAME = re.compile(r"`([^`]+)`")

MODELS: list[tuple[str, str, type[BaseModel]]] = [
    ("A study", "At the top", Study),
    ("A study", "`[problem]`", ProblemPart),
    ("A study", "`allowance`", AllowancePart),
    ("A study", "`[[method]]`", MethodPart),
    ("A study", "`[plugin]`", PluginPart),
    ("A study", "`[selection]`", SelectionPart),
    ("A training recipe", "", Recipe),
    ("A training recipe", "`[optimiser]`", Optimiser),
    ("A training recipe", "`[schedule]`", Schedule),
    ("A training recipe", "`[augmentation]`", Augmentation),
    ("A training recipe", "`[validation]`", Validation),
    ("A training recipe", "`[images]`", Subset),
    ("A search recipe", "", SearchRecipe),
]


def section(page: str, heading: str, under: str = "") -> str:
    """Return the text of a section, or of one of its subsections; without a subsection what stands before the first."""
    (text,) = [part for part in re.split(r"^## ", page, flags=re.MULTILINE) if part.startswith(f"{heading}\n")]
    parts = re.split(r"^### ", text, flags=re.MULTILINE)
    return parts[0] if not under else next(part for part in parts if part.startswith(f"{under}\n"))


def table(text: str) -> dict[str, str]:
    """Return the second column of a table by the names in its first: several names may share a row."""
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) > 1:
            found |= dict.fromkeys(NAME.findall(cells[0]), cells[1])
    return found


def default_of(model: type[BaseModel], key: str) -> str:
    """Return a key's default as a file writes it; nothing where it has none, or is a table of its own."""
    default = model.model_fields[key].get_default(call_default_factory=True)
    if default is PydanticUndefined or default is None or (isinstance(default, (BaseModel, dict)) and key != "allowance"):
        return ""
    if isinstance(default, AllowancePart):
        return f"`{{ queries = {default.queries} }}`"
    return f"`{as_written(default)}`"


@pytest.mark.parametrize(("heading", "under", "model"), MODELS)
def test_every_key_of_a_study_and_of_a_recipe_is_there_with_its_default(heading: str, under: str, model: type[BaseModel]) -> None:
    shown = table(section(PAGE, heading, under))
    assert set(shown) == set(model.model_fields)
    for key, default in shown.items():
        assert default == default_of(model, key), key


def test_a_key_that_is_left_out_or_has_another_default_is_found() -> None:
    text = section(PAGE, "A study", "`[plugin]`")
    assert table(text.replace("| `memory_mb` | `2048` |", "| `memory_mb` | `1024` |"))["memory_mb"] != default_of(PluginPart, "memory_mb")
    assert set(table(text.replace("`memory_mb`", "memory"))) != set(PluginPart.model_fields)


def parsed(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def every(kind: str) -> list[Any]:
    return [parsed(path) for path in sorted(RUNS.glob(f"*/{kind}"))]


WRITTEN = [
    ("A record", "records/*.json"),
    ("`plan.json`", "plan.json"),
    ("`context/BOARD.json`", "context/*.json"),
    ("`histories/ID.parquet`", "histories/*.json"),
    ("`selections/ID.json`", "selections/*.json"),
    ("`compare.json`", "compare.json"),
]


def keys_of(value: Any) -> set[str]:
    """Return the keys of a value and of the mappings in its lists; not those whose names are data (settings, identities, figures)."""
    if isinstance(value, list):
        return {key for each in value for key in keys_of(each)}
    if not isinstance(value, Mapping):
        return set()
    named_by_data = {"trials", "graph_seconds", "settings", "report", "cost", "steps"}
    inner = {key for name, each in value.items() if name not in named_by_data for key in keys_of(each)}
    return {key for key in value if not re.fullmatch("[0-9a-f]{64}", key)} | inner


@pytest.mark.parametrize(("heading", "kind"), WRITTEN)
def test_every_key_of_a_file_of_a_run_is_there(heading: str, kind: str) -> None:
    values = every(kind)
    assert values
    text = section(PAGE, heading)
    for value in values:
        missing = {key for key in keys_of(value) if f"`{key}`" not in text}
        assert missing == set()


def test_every_key_of_a_timing_is_there() -> None:
    timings = [value for value in every("timings/*.json") if "trial_seconds" in value]
    assert timings
    assert {key for value in timings for key in value if f"`{key}`" not in section(PAGE, "A record")} == set()


CSV = {"ranking.csv": "`ranking.csv` and `boards.csv`", "boards.csv": "`ranking.csv` and `boards.csv`", "feasible.csv": "`feasible.csv`",
       "searches.csv": "`searches.csv`", "compare.csv": "`compare.csv`"}  # fmt: skip


@pytest.mark.parametrize("path", sorted(PUBLISHED.rglob("*.csv")), ids=lambda path: path.relative_to(PUBLISHED).as_posix())
def test_every_column_of_the_published_csv_files_is_there(path: Path) -> None:
    columns = path.read_text(encoding="utf-8").splitlines()[0].split(",")
    shown = set(table(section(PAGE, "CSV files of pages", CSV.get(path.name, "`BOARD.csv`"))))
    assert set(columns) <= shown


def test_every_column_of_an_export_is_there() -> None:
    export = pytest.importorskip("budgetnas.harness.records.export", reason="records are not exported yet")
    assert set(export.COLUMNS) == set(table(section(PAGE, "The folder of a run", "An export")))


def test_every_column_of_the_shipped_table_is_there() -> None:
    patterns = [re.sub(r"[A-Z]+", r"[^/]+", name) for name in table(section(PAGE, "A table"))]
    assert [name for name in shipped_table("digits201") if not any(re.fullmatch(pattern, name) for pattern in patterns)] == []
