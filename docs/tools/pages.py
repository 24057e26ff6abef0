"""The Markdown pages of the repository and the links between them: what `stage.py` copies, and what the tests check."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENTRANCES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")
NO_PAGES = ("docs/tools/",)  # what the site is made with

_FENCE = re.compile(r"^( *)(```+|~~~+).*?^\1\2\s*$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Link:
    """A link of a page to a file of the repository: the file's path, the anchor there ('' if none), and the link as it is written."""

    path: Path
    anchor: str
    written: str


def without_code(text: str) -> str:
    """Return a page without its code blocks and code spans.

    >>> without_code("see `[a](b)` and\\n```\\n[c](d)\\n```\\nthis")
    'see  and\\n\\nthis'
    """
    return _CODE.sub("", _FENCE.sub("", text))


def links(page: Path) -> Iterator[Link]:
    """Yield the links of a page to files, pictures among them. Addresses elsewhere (`https:`) are left out."""
    for written in _LINK.findall(without_code(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", written):
            continue
        path, _, anchor = written.partition("#")
        yield Link((page.parent / path).resolve() if path else page, anchor, written)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as Python-Markdown and GitHub both make them of plain words."""
    found = set()
    for heading in _HEADING.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        words = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).strip()
        found.add(re.sub(r"[-\s]+", "-", words))
    return found


def own_pages(root: Path = ROOT) -> list[Path]:
    """Return the pages that people write: those of `docs/` and those at the top of the repository."""
    pages = [root / name for name in ENTRANCES if (root / name).is_file()]
    return pages + [path for path in sorted((root / "docs").rglob("*.md")) if not _is_tool(path, root)]


def site_files(root: Path = ROOT) -> list[Path]:
    """Return the files of the site: `docs/`, the entrances, and whatever their pages link to, and so on from there."""
    waiting = [*own_pages(root), *(path for path in sorted((root / "docs").rglob("*")) if path.is_file() and not _is_tool(path, root))]
    found: dict[Path, None] = {}
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found[path] = None
        if path.suffix == ".md":
            waiting += [link.path for link in links(path) if link.path.is_file() and link.path.is_relative_to(root)]
    return sorted(found)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, [":---"] * len(header), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _is_tool(path: Path, root: Path) -> bool:
    return path.relative_to(root).as_posix().startswith(NO_PAGES) or path.name.startswith(".") or "__pycache__" in path.parts
