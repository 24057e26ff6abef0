"""The site: both generators build it without a warning, and a browser that reads it asks nobody else for anything."""

from __future__ import annotations

import doctest
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pages
import pytest

pytest.importorskip("zensical", reason="the extra `docs` is not installed")

import mathml
from markdown import markdown

ROOT = Path(__file__).resolve().parents[2]
ELSEWHERE = (
    re.compile(
        r"<(?:script|link|img|iframe|source|video|audio|object|embed)\b[^>]*\b(?:src|href|srcset|data)=[\"']?(?:https?:)?//[^\"' >]+"
    ),
    re.compile(r"(?:@import|url\()\s*[\"']?(?:https?:)?//[^\"')]+"),
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the site is built from, so that nothing is written into the checkout."""
    copy = tmp_path_factory.mktemp("checkout")
    shutil.copyfile(ROOT / "mkdocs.yml", copy / "mkdocs.yml")
    for path in pages.site_files():
        target = copy / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    shutil.copytree(ROOT / "docs" / "tools", copy / "docs" / "tools", dirs_exist_ok=True)
    (copy / "src").mkdir()
    (copy / "src" / "budgetnas").symlink_to(ROOT / "src" / "budgetnas")
    run(copy, sys.executable, "docs/tools/stage.py")
    return copy


def run(folder: Path, *command: str) -> str:
    environment = os.environ | {"PYTHONPATH": "docs/tools", "NO_COLOR": "1", "NO_MKDOCS_2_WARNING": "1"}
    result = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def zensical(folder: Path) -> Path:
    said = run(folder, sys.executable, "-m", "zensical", "build", "--strict")
    assert "No issues found" in said
    return folder / "build" / "site"


def material(folder: Path) -> Path:
    pytest.importorskip("material", reason="Material for MkDocs is not installed")
    said = run(folder, sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", "build/material")
    assert "WARNING" not in said
    return folder / "build" / "material"


@pytest.mark.slow
@pytest.mark.parametrize("build", [zensical, material])
def test_the_site_is_whole_and_asks_nobody_for_anything(build: Callable[[Path], Path], checkout: Path) -> None:
    site = build(checkout)
    texts = {path: path.read_text(encoding="utf-8") for kind in ("html", "css") for path in site.rglob(f"*.{kind}")}
    for page in pages.own_pages():
        name = page.relative_to(ROOT).with_suffix(".html").as_posix()
        built = site / re.sub(r"\bREADME\.html$", "index.html", name)
        assert built in texts, f"{name} is not in the site"
        if "$$" in page.read_text(encoding="utf-8"):
            assert "<math" in texts[built] and "$$" not in re.sub(r"<code.*?</code>", "", texts[built], flags=re.DOTALL), name
    assert (site / "leaderboards/published/full-information/index.html") in texts
    assert (site / "docs/templates/my_method.py").is_file()
    assert [f"{path}: {found}" for path, text in texts.items() for each in ELSEWHERE for found in each.findall(text)] == []


def test_a_request_elsewhere_would_be_found() -> None:
    tag, style = ELSEWHERE
    assert tag.search('<script async src="https://cdn.example/a.js">') and tag.search("<link rel=stylesheet href=//fonts.example/css>")
    assert style.search('@import "https://fonts.example/css"') and style.search("src: url(https://fonts.example/a.woff2)")
    assert not tag.search('<a href="https://example.org">') and not tag.search('<img src="../a.png">') and not style.search("url(../a.svg)")


def test_formulas_become_mathml() -> None:
    assert doctest.testmod(mathml).failed == 0
    html = markdown("**so** $a_i^* \\le \\frac{1}{2}$:\n\n$$\n\\sum_{i=1}^n x_i\n$$\n\nand `$x$`", extensions=[mathml.MathML()])
    assert html.count("<math") == 2 and html.count('display="block"') == 1 and "<em>" not in html
    assert '<div class="formula">\n<math' in html and "<code>$x$</code>" in html and "$$" not in html


def test_the_reader_of_links_has_examples() -> None:
    assert doctest.testmod(pages).failed == 0
