"""Writes the parts of the pages that repeat the code: settings of methods, the command line, lists of studies and recipes, templates.

In a page, such a part stands between `<!-- generated: KIND ARGUMENT -->` and `<!-- /generated -->`. A test fails where it differs from the
code. Usage: python docs/tools/generate.py
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from command_line import command_line
from pages import ROOT, own_pages, table

from budgetnas.harness.catalogue.catalogue import find_method, own_methods
from budgetnas.harness.catalogue.settings_help import as_written, meanings
from budgetnas.harness.problem import Need
from budgetnas.harness.studies.study import own_studies, read_study
from budgetnas.spaces.devices import DEVICES
from budgetnas.spaces.task import TASKS

TEMPLATES = ROOT / "docs" / "templates"
PART = re.compile(r"^(<!-- generated: (\S+)(?: (\S+))? -->\n).*?^(<!-- /generated -->)$", re.DOTALL | re.MULTILINE)


class UnknownPart(ValueError):
    """A part of a page that nothing here makes; the message lists what there is."""


def settings(method: str) -> str:
    """Return the table of a method's settings: names, defaults and what they mean, as `budgetnas list methods METHOD` prints them."""
    found = find_method(method)
    said = meanings(found.cls)
    rows = [[f"`{name}`", f"`{as_written(value)}`", said.get(name, "")] for name, value in found.settings({}).items()]
    return table(["setting", "default", "meaning"], rows) if rows else "It has no settings."


def methods(_: str) -> str:
    """Return the table of all methods, with the evaluators that can answer each."""
    rows = []
    for name in own_methods():
        found = find_method(name)
        evaluators = (
            "supernet" if Need.WEIGHTS in found.needs else "table, supernet" if Need.RELAXATION in found.needs else "table, training"
        )
        rows.append([f"[`{name}`]({name}.md)", evaluators, (found.cls.__doc__ or "").strip().split("\n")[0]])
    return table(["method", "evaluators", "what it does"], rows)


def studies(_: str) -> str:
    """Return the table of the studies that come with the project."""
    rows = []
    for name in own_studies():
        study, _folder = read_study(name)
        part = study.problem
        where = ", ".join(part.datasets) + (f" on {', '.join(part.devices)}" if part.devices else "")
        rows.append(
            [f"[`{name}`](../../harness/studies/{name}.toml)", part.evaluator, ", ".join(part.spaces), where, str(len(study.seed_list))]
        )
    return table(["study", "evaluator", "space", "dataset and device", "seeds"], rows)


def recipes(_: str) -> str:
    """Return the table of the recipes that come with the project: what each trains, and whose it is."""
    rows = []
    folder = resources.files("budgetnas.harness.training").joinpath("recipes")
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if not entry.name.endswith(".toml"):
            continue
        content = tomllib.loads(entry.read_text(encoding="utf-8"))
        kind = "a search" if content.get("kind") == "search" else "a table" if "schedule" not in content else "a network"
        name = entry.name.removesuffix(".toml")
        rows.append(
            [f"[`{name}`](../../harness/training/recipes/{name}.toml)", kind, str(content.get("epochs", "")), content.get("source", "")]
        )
    return table(["recipe", "trains", "epochs", "source"], rows)


def datasets(_: str) -> str:
    """Return the table of the datasets."""
    rows = [
        [f"`{task.dataset}`", f"{task.image_size}x{task.image_size}x{task.image_channels}", str(task.classes), f"{task.chance:.3g}"]
        for task in TASKS.values()
    ]
    return table(["dataset", "images", "classes", "accuracy of guessing [%]"], rows)


def devices(_: str) -> str:
    """Return the table of the devices."""
    rows = [
        [f"`{device.name}`", device.title, ", ".join(f"`{name}`, {origin}" for name, origin in device.metrics.items()), device.source]
        for device in DEVICES.values()
    ]
    return table(["device", "what it is", "costs", "source"], rows)


def template(name: str) -> str:
    """Return a file of `docs/templates/` as a code block."""
    text = (TEMPLATES / name).read_text(encoding="utf-8").rstrip()
    language = {".py": "python", ".toml": "toml", ".yml": "yaml"}[Path(name).suffix]
    return f"```{language}\n{text}\n```"


KINDS: dict[str, Callable[[str], str]] = {
    "settings": settings, "methods": methods, "studies": studies, "recipes": recipes, "datasets": datasets, "devices": devices,
    "template": template, "command-line": lambda _: command_line(),
}  # fmt: skip


def generated(text: str) -> str:
    """Return a page with its generated parts made anew. Raises `UnknownPart` for one of another kind."""

    def made(match: re.Match[str]) -> str:
        if match[2] not in KINDS:
            raise UnknownPart(f"a page has a generated part '{match[2]}'; choose one of {', '.join(KINDS)}")
        return f"{match[1]}\n{KINDS[match[2]](match[3] or '')}\n\n{match[4]}"

    return PART.sub(made, text)


def main() -> None:
    """Rewrite the pages whose generated parts differ."""
    for page in own_pages():
        text = page.read_text(encoding="utf-8")
        if (new := generated(text)) != text:
            page.write_text(new, encoding="utf-8")
            print(f"written: {page.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
