"""The pages as a whole: links, generated parts, commands, code, the navigation, and what the README promises to be."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import command_line
import generate
import pages
import pytest
import yaml

from budgetnas import __version__
from budgetnas.harness.catalogue.catalogue import own_methods
from budgetnas.harness.cli import app
from budgetnas.harness.studies.study import own_studies, read_study

ROOT = Path(__file__).resolve().parents[2]
PAGES = {path.relative_to(ROOT).as_posix(): path for path in pages.own_pages()}
EVERY = pytest.mark.parametrize("name", PAGES)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def text_of(name: str) -> str:
    return PAGES[name].read_text(encoding="utf-8")


@EVERY
def test_every_link_leads_to_a_file_of_the_repository(name: str) -> None:
    for link in pages.links(PAGES[name]):
        assert link.path.is_file(), f"{name} links to {link.written}, which is no file"
        assert link.path.is_relative_to(ROOT), f"{name} links to {link.written}, outside the repository"
        if link.anchor:
            assert link.anchor in pages.anchors(link.path), f"{name} links to {link.written}, and the page has no such heading"


def test_every_link_of_the_published_pages_and_of_the_cards_leads_to_a_file() -> None:
    others = [path for path in pages.site_files() if path.suffix == ".md" and path not in PAGES.values()]
    assert len(others) > 30
    assert [f"{path}: {link.written}" for path in others for link in pages.links(path) if not link.path.is_file()] == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("[a](missing.md), `[b](code.md)`\n\n```\n[c](block.md)\n```\n[d](page.md#the-heading)\n\n## The `heading`\n")
    first, second = pages.links(page)
    assert not first.path.exists() and (second.path, second.anchor) == (page, "the-heading")
    assert pages.anchors(page) == {"the-heading"}


@EVERY
def test_generated_parts_are_those_of_the_code(name: str) -> None:
    text = text_of(name)
    assert text == generate.generated(text), (
        f"{name} repeats the code and differs from it; run `make docs`, or python docs/tools/generate.py"
    )


def test_an_edited_generated_part_is_found() -> None:
    text = text_of("docs/methods/rcas.md")
    assert "| `random_tail` | `0` |" in text
    assert generate.generated(text.replace("| `random_tail` | `0` |", "| `random_tail` | `1` |")) == text
    with pytest.raises(generate.UnknownPart, match="'setings'; choose one of settings, "):
        generate.generated("<!-- generated: setings rcas -->\n<!-- /generated -->")


def test_every_method_and_every_published_study_has_a_page() -> None:
    assert {f"docs/methods/{name}.md" for name in own_methods()} | {"docs/methods/index.md"} == {
        name for name in PAGES if name.startswith("docs/methods/")
    }
    published = {path.parent.name for path in (ROOT / "leaderboards" / "published").glob("*/README.md")} | {"published"}
    assert {f"docs/results/{name}.md" for name in published} | {"docs/results/index.md"} == {
        name for name in PAGES if name.startswith("docs/results/")
    }
    for study in published:
        assert study in own_studies()


def commands_on(text: str) -> Iterator[list[str]]:
    """Yield the words of every `budgetnas ...` in the code blocks of a page that show what to type."""
    for language, block in BLOCK.findall(text):
        if language in ("", "bash", "console"):
            for line in block.splitlines():
                if match := re.match(r"(?:\$ )?(?:\.venv/bin/)?(budgetnas .*)", line):
                    yield shlex.split(match[1], comments=True)


KNOWN = {name: {flag for each in command_line.parameters(function) for flag in each.flags} for name, function in command_line.commands(app)}


def objections(words: list[str]) -> list[str]:
    """Return what is wrong with a command: it is unknown, or an option of it is."""
    name = next((" ".join(words[:count]) for count in (3, 2) if " ".join(words[:count]) in KNOWN), None)
    if name is None:
        return [f"there is no command {' '.join(words[:3])}"]
    return [f"{name} has no option {word}" for word in words if word.startswith("--") and word not in KNOWN[name]]


@EVERY
def test_every_command_that_a_page_prints_exists(name: str) -> None:
    for words in commands_on(text_of(name)):
        assert objections(words) == [], f"{name}: {shlex.join(words)}"


def test_there_are_commands_to_check_and_wrong_ones_are_found() -> None:
    assert sum(1 for name in PAGES for _ in commands_on(text_of(name))) > 80
    assert objections(["budgetnas", "rum", "default"]) and objections(["budgetnas", "run", "default", "--wrokers", "2"])
    assert not objections(["budgetnas", "data", "list", "--json"])


@EVERY
def test_every_make_target_that_a_page_names_exists(name: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+)(?: [a-z-]+)*:", makefile, re.MULTILINE)) | {"quick", "test"}
    shown = re.findall(r"`make ([a-z-]+)`", text_of(name))
    for _, block in BLOCK.findall(text_of(name)):
        shown += re.findall(r"^make ([a-z-]+)", block, re.MULTILINE)
    assert set(shown) <= targets


@EVERY
def test_python_on_pages_is_python_and_imports_what_there_is(name: str) -> None:
    for language, block in BLOCK.findall(text_of(name)):
        if language != "python" or not re.match(r'("""|from |import |@|class |def |#)', block):
            continue  # a line to add to a file
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("budgetnas"):
                module = import_module(str(node.module))
                assert all(hasattr(module, alias.name) for alias in node.names), f"{name}: {ast.unparse(node)}"


@EVERY
def test_modules_of_the_api_pages_can_be_imported(name: str) -> None:
    for module in re.findall(r"^::: (\S+)$", text_of(name), re.MULTILINE):
        assert import_module(module).__doc__


def test_python_of_reading_a_table_prints_what_the_query_prints(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = [code for language, code in BLOCK.findall(text_of("docs/how-to/get-the-data.md")) if language == "python"]
    exec(compile(block, "get-the-data.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("96.98") and printed[1].startswith("0.023") and printed[2].startswith("|nor_conv_3x3~0|+|")


def readme_block(language: str) -> str:
    (block,) = [code for kind, code in BLOCK.findall(text_of("README.md")) if kind == language]
    return block


@pytest.mark.slow
def test_the_method_of_the_readme_keeps_the_contract(tmp_path: Path) -> None:
    from budgetnas.harness.trials.contract import check_reference

    (tmp_path / "my_search.py").write_text(readme_block("python"), encoding="utf-8")
    clauses = check_reference("my_search.py:MySearch", tmp_path, {})
    assert [clause.broken for clause in clauses] == [""] * 4
    # What the README shows is what the command prints.
    for clause in clauses:
        assert f"holds   {clause.text}\n" in text_of("README.md")


def test_the_study_of_the_readme_is_one(tmp_path: Path) -> None:
    from budgetnas.harness.studies.plan import expand

    (tmp_path / "my_search.py").write_text(readme_block("python"), encoding="utf-8")
    (tmp_path / "phone.toml").write_text(readme_block("toml"), encoding="utf-8")
    study, folder = read_study(str(tmp_path / "phone.toml"))
    assert len(expand(study, folder, "phone.toml").trials) == 2 * 2 * 10


def test_the_readme_is_short_and_begins_with_its_use() -> None:
    lines = text_of("README.md").splitlines()
    assert len(lines) <= 150
    first_screen = "\n".join(lines[:60])
    assert "leaderboards/published/nasbench201-cifar10-pixel3.png" in first_screen
    assert "\nmake        #" in first_screen and "\nmake test   #" in first_screen


def test_the_navigation_has_every_page_once() -> None:
    # Only the tree of pages is of interest; Material's tags are no plain YAML.
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))

    def leaves(node: object) -> Iterator[str]:
        if isinstance(node, str):
            yield node
        for each in node if isinstance(node, list) else node.values() if isinstance(node, dict) else ():
            yield from leaves(each)

    found = list(leaves(config["nav"]))
    assert sorted(found) == sorted(PAGES)


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0" and citation["title"] == "budgetnas" and citation["license"] == "MIT"
    assert citation["version"] == __version__
    assert citation["authors"] == [{"name": "The budgetnas developers"}]
    assert {"message", "type", "abstract", "keywords"} <= set(citation)
