"""One PDF of the documentation: `python -m sandbox.handbook [FILE]`, or `make pdf`.

Needs the packages of requirements-docs.txt. The pages are those that docs/README.md lists, in its
order; links between them become links within the PDF.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt
from mdit_py_plugins.anchors import anchors_plugin
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound
from weasyprint import HTML

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it.token import Token

ROOT = Path(__file__).resolve().parent.parent
INDEX = ROOT / "docs" / "README.md"
STYLE = Path(__file__).with_name("handbook.css")
TITLE = "Iterable integration"
HEADINGS_IN_CONTENTS = ("h1", "h2")
_LINK = re.compile(r"^\* \[[^]]+\]\(([^)#]+\.md)\)", re.MULTILINE)
_EXTERNAL = re.compile(r"[a-z]+:")
_COLOURS = HtmlFormatter(style="friendly", nobackground=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the PDF and print its name."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    target = Path(given[0] if given else "handbook.pdf")
    HTML(string=document(chapters()), base_url=str(ROOT)).write_pdf(target)
    sys.stdout.write(f"{target}\n")
    return 0


def chapters() -> list[Path]:
    """The pages, in the order of the index."""
    found = _LINK.findall(INDEX.read_text(encoding="utf-8"))
    return [(INDEX.parent / link).resolve() for link in found]


def document(pages: Sequence[Path]) -> str:
    """All pages as one HTML document with a title page and contents."""
    contents: list[str] = []
    parts = [_Chapter(page, pages).html(contents) for page in pages]
    style = STYLE.read_text(encoding="utf-8") + str(_COLOURS.get_style_defs(".code"))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{TITLE}</title>'
        f"<style>{style}</style></head><body>"
        f'<header><h1>{TITLE}</h1><p>Handbook</p></header><nav><h2 class="contents">Contents</h2>'
        f"<ul>{''.join(contents)}</ul></nav>{''.join(parts)}</body></html>"
    )


class _Chapter:
    """One page of the documentation.

    Args:
        page: its file.
        pages: all files of the handbook, which links may lead to.
    """

    def __init__(self, page: Path, pages: Sequence[Path]) -> None:
        self._page = page
        self._pages = pages
        self._markdown = MarkdownIt("gfm-like", {"linkify": False, "highlight": coloured})
        self._markdown.use(anchors_plugin, max_level=4, slug_func=slug)

    def html(self, contents: list[str]) -> str:
        """The page as a section; adds its headings to the contents."""
        tokens = self._markdown.parse(self._page.read_text(encoding="utf-8"))
        for position, token in enumerate(tokens):
            if token.type == "heading_open":
                self._name_heading(token, tokens[position + 1].content, contents)
            for child in token.children or ():
                self._turn_link(child)
        body = self._markdown.renderer.render(tokens, self._markdown.options, {})
        return f'<section id="{_id_of(self._page)}">{body}</section>'

    def _name_heading(self, token: Token, text: str, contents: list[str]) -> None:
        anchor = f"{_id_of(self._page)}--{token.attrs['id']}"
        token.attrs["id"] = anchor
        if token.tag in HEADINGS_IN_CONTENTS:
            shown = self._markdown.renderInline(text)
            entry = re.sub(r"</?a\b[^>]*>", "", shown)
            contents.append(f'<li class="{token.tag}"><a href="#{anchor}">{entry}</a></li>')

    def _turn_link(self, token: Token) -> None:
        if token.type == "image":
            path = self._page.parent / str(token.attrs["src"])
            token.attrs["src"] = path.resolve().as_uri()
        elif token.type == "link_open":
            token.attrs["href"] = self._target(str(token.attrs["href"]))

    def _target(self, link: str) -> str:
        if _EXTERNAL.match(link):
            return link
        path, _, anchor = link.partition("#")
        page = (self._page.parent / path).resolve() if path else self._page
        if page not in self._pages:
            return f"#{_id_of(self._page)}"  # a file of the repository, which the PDF has not
        return f"#{_id_of(page)}--{anchor}" if anchor else f"#{_id_of(page)}"


def slug(text: str) -> str:
    """The anchor of a heading, as code hosts make it."""
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def coloured(code: str, language: str, _: str) -> str:
    """A block of code with its syntax coloured, if the language is known."""
    try:
        lexer = get_lexer_by_name(language or "text", stripnl=False)
    except ClassNotFound:
        return ""
    formatter = HtmlFormatter(nowrap=True)
    return f'<pre class="code">{highlight(code, lexer, formatter)}</pre>'


def _id_of(page: Path) -> str:
    return slug(str(page.relative_to(ROOT).with_suffix("")).replace("/", "-"))


if __name__ == "__main__":
    sys.exit(main())
