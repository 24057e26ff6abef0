"""Computes the identities and checksums that `identities.json` pins. `python tests/golden/golden_identities.py` writes the file again.

The file was made with version 0.2. A test compares it with the identities that the current code computes, so that users' runs stay
readable. An entry may change only on purpose, and the CHANGELOG must name it.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from budgetnas.harness.lookup.files import content_of
from budgetnas.harness.lookup.graphs import Graph, basis_of, wanted
from budgetnas.harness.records.identity import canonical_json
from budgetnas.harness.studies.plan import Plan, expand
from budgetnas.harness.studies.study import Study, own_studies, read_study
from budgetnas.harness.training.images.dataset import Dataset, Part, in_memory
from budgetnas.harness.training.images.load import LOADERS
from budgetnas.harness.training.recipes.digits201_recipe import digits201_recipe
from budgetnas.harness.training.recipes.recipe import own_recipes, read_recipe
from budgetnas.harness.training.recipes.search_recipe import own_search_recipes, read_search_recipe
from budgetnas.spaces.tables.home import open_table
from budgetnas.spaces.task import task_of

HERE = Path(__file__).resolve().parent
FILE = HERE / "identities.json"
SMALL = sorted(path.stem for path in (HERE / "studies").glob("*.toml"))
IMAGES = ("fashion-mnist", "cifar10", "cifar100")  # datasets of shipped studies that may be missing on this machine
Golden = dict[str, Any]


def identities_of_small_study(name: str) -> dict[str, str]:
    """Return the identities of all trials of a study in `studies/`, by a text that describes the trial."""
    return _identities(HERE / "studies" / f"{name}.toml")


def identity_of_shipped_study(name: str) -> dict[str, str]:
    """Return the identity of the first trial of a shipped study, by the same text."""
    return dict(list(_identities(name).items())[:1])


def needs_real_tables(name: str) -> bool:
    """Return whether a shipped study reads tables that must be downloaded."""
    problem = read_study(name)[0].problem
    return problem.evaluator == "table" and not set(problem.datasets) <= {"digits201", "closed-form"}


def needs_operators(name: str) -> bool:
    """Return whether a shipped study reads the table of FBNet's operators, which must be imported."""
    return "fbnet" in read_study(name)[0].problem.spaces


def checksums() -> dict[str, dict[str, str]]:
    """Return the checksums of all shipped recipes and tables."""
    recipes = {name: read_recipe(name).checksum for name in own_recipes()}
    searches = {name: read_search_recipe(name).checksum for name in own_search_recipes()}
    return {
        "recipes": recipes | searches | {"digits201": digits201_recipe().checksum},
        "tables": {name: open_table("nasbench201", name).checksum for name in ("digits201", "closed-form")},
    }


def _identities(reference: str | Path) -> dict[str, str]:
    with made_up_images(), tempfile.TemporaryDirectory() as folder:
        study, where = read_study(str(reference))
        plan = _with_graphs(study, where, Path(folder))
        return {_text(plan, trial): trial.identity for trial in plan.trials}


def _text(plan: Plan, trial: Any) -> str:
    limits = ", ".join(f"{x.lower:.9g} <= {x.resource} <= {x.upper:.9g}" for x in trial.limits) or "unlimited"
    return f"{trial.space} {trial.dataset} {trial.device or 'no device'}; {limits}; {plan.labels[trial.identity]}; seed {trial.seed}"


def _with_graphs(study: Study, where: Path, folder: Path) -> Plan:
    """Return the plan of a study, with made-up look-up graphs in place of its own, which are not in the repository."""
    readers = [part for part in study.method if "lookup" in part.settings]
    if not readers:
        return expand(study, where, study.name)
    bare = [type(part).model_validate({k: v for k, v in part.model_dump().items() if k != "lookup"}) for part in readers]
    graphs = [
        Graph(
            basis_of(trial), trial.method, trial.space, trial.dataset, trial.device, resource,
            tuple((limit, 0.9 * limit) for limit in (0.5 * uppers[0], *uppers, 4.0 * uppers[-1])), (0.25 * uppers[0],), 4, 100, 1.5,
        )
        for trial, resource, uppers in wanted(expand(study.model_copy(update={"method": bare}), where, study.name).trials)
    ]  # fmt: skip
    file = folder / "graphs.json"
    file.write_text(canonical_json(content_of(graphs)), encoding="utf-8")
    given = [
        type(part).model_validate(part.model_dump() | ({"lookup": str(file)} if "lookup" in part.settings else {})) for part in study.method
    ]
    return expand(study.model_copy(update={"method": given}), where, study.name)


@contextmanager
def made_up_images() -> Iterator[None]:
    """Replace images that may be missing on this machine by one grey image per class, so that identities do not depend on them."""
    import numpy as np

    def grey(name: str, _folder: Path) -> Dataset:
        task = task_of(name)
        shape = (task.classes, task.image_channels, task.image_size, task.image_size)
        labels = np.arange(task.classes, dtype=np.int64)
        part = Part(np.full(shape, 128, np.uint8), labels)
        return in_memory(name, part, part, task.classes)

    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())  # a new one: images are read once per process and folder
        stack.enter_context(patch.dict(os.environ, {"BUDGETNAS_IMAGES": folder}))
        stack.enter_context(patch.dict(LOADERS, dict.fromkeys(IMAGES, grey)))  # type: ignore[arg-type]
        yield


def everything() -> Golden:
    """Return the whole content of the file."""
    return {
        "small": {name: identities_of_small_study(name) for name in SMALL},
        "shipped": {name: identity_of_shipped_study(name) for name in own_studies()},
        **checksums(),
    }


def text_of(golden: Mapping[str, Any]) -> str:
    """Return the text of the file."""
    return json.dumps(golden, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(text_of(everything()), encoding="utf-8")
    sys.stdout.write(f"wrote {FILE}\n")
