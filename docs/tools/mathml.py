r"""A Markdown extension: formulas in TeX become MathML when the site is built, so that a browser needs no script and no font for them.

`$...$` is a formula within a line; a paragraph that begins and ends with `$$` is one on a line of its own.

>>> from markdown import markdown
>>> html = markdown("so $a^2$, `$5`, \\$6", extensions=[MathML()])
>>> html.count("<math"), "<msup><mi>a</mi><mn>2</mn></msup>" in html, "<code>$5</code>" in html, "$6" in html
(1, True, True, True)
"""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

from latex2mathml.converter import convert_to_element
from markdown import Extension, Markdown
from markdown.blockprocessors import BlockProcessor
from markdown.inlinepatterns import InlineProcessor
from markdown.util import AtomicString

INLINE = r"(?<![\\$])\$(?![\s$])([^$\n]*[^$\s\\])\$(?!\d)"
BLOCK = re.compile(r"\s*\$\$(.+?)\$\$\s*", re.DOTALL)
BEFORE_ESCAPES, BEFORE_PARAGRAPHS = 185, 90  # priorities: behind code spans, before backslashes mean something; before paragraphs


def formula(tex: str, display: str) -> ElementTree.Element:
    """Return the MathML of a formula. Its text is atomic: no other pattern of Markdown looks for marks in it."""
    found: ElementTree.Element = convert_to_element(" ".join(tex.split()), display=display)
    for element in found.iter():
        if element.text:
            element.text = AtomicString(element.text)
    return found


class Inline(InlineProcessor):
    """A formula within a line."""

    def handleMatch(self, m: re.Match[str], data: str) -> tuple[ElementTree.Element, int, int]:  # type: ignore[override]  # noqa: N802, D102
        return formula(m[1], "inline"), m.start(), m.end()


class Block(BlockProcessor):
    """A formula on a line of its own."""

    def test(self, parent: ElementTree.Element, block: str) -> bool:  # noqa: D102
        return BLOCK.fullmatch(block) is not None

    def run(self, parent: ElementTree.Element, blocks: list[str]) -> None:  # noqa: D102
        match = BLOCK.fullmatch(blocks.pop(0))
        assert match is not None
        ElementTree.SubElement(parent, "div", {"class": "formula"}).append(formula(match[1], "block"))


class MathML(Extension):
    """The extension; `mkdocs.yml` names this module."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802, D102
        md.inlinePatterns.register(Inline(INLINE, md), "mathml", BEFORE_ESCAPES)
        md.parser.blockprocessors.register(Block(md.parser), "mathml", BEFORE_PARAGRAPHS)


def makeExtension(**options: Any) -> MathML:  # noqa: N802
    """Return the extension, as Markdown asks for it."""
    return MathML(**options)
