"""Pages as text for a terminal, as JSON for scripts and as Markdown for pull requests.

A format is a function from a page to a string and a row in `FORMATS`. What a page says may come from a model or from a
stranger's file, so each format makes it harmless for its own place: `text.visible` for the terminal, ASCII escapes in JSON,
and in Markdown everything that GitHub would read as markup, a link, a mention or HTML.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence

import click
from pydantic import BaseModel

from pytest_alignbench.redaction import redacted
from pytest_alignbench.reports.pages import Page
from pytest_alignbench.reports.terminal import rendered, wrapped
from pytest_alignbench.text import one_line, visible

_LOG_WIDTH = 180
"""Columns where there is no terminal: a log has no edge, and 80 would only break lines."""


def as_text(page: Page) -> str:
    """Lines for a terminal, in colours; `click.echo` takes these out where there is none."""
    width = shutil.get_terminal_size((_LOG_WIDTH, 24)).columns
    lines = [click.style(one_line(page.title), bold=True)]
    lines += [click.style(line, fg=page.tone or None) for said in page.lead for line in wrapped(said, width)]
    for line, tone in rendered(page.heads, page.rows, width=width, first=page.first):
        lines.append(click.style(line, fg=tone if tone not in ("", "bold") else None, bold=tone == "bold"))
    lines += [line for said in page.closing for line in wrapped(said, width)]
    lines += [line for block in page.full for line in ("", *visible(block).split("\n"))]
    return "\n".join(lines)


def as_json(page: Page) -> str:
    """ASCII, so that nothing in it can act on a terminal. `reports/shapes.py` documents what is in it."""
    return json_of(page.shape)


def json_of(shape: BaseModel) -> str:
    """`##[…]` is a command to CI systems wherever in a line it stands, so it is escaped too."""
    return re.sub(r"##(?=\w*\[)", r"#\\u0023", redacted(json.dumps(shape.model_dump(mode="json"), indent=2)))


def as_markdown(page: Page) -> str:
    """GitHub's Markdown: a heading, sentences, one table, and a list of what explains its rows."""
    blocks = [f"## {escaped(page.title)}", *map(escaped, page.lead)]
    if page.rows:
        blocks.append("\n".join(_table(page)))
    below = [f"- **{escaped(row.name)}**: {escaped(' '.join(row.below))}" for row in page.rows if any(row.below)]
    blocks += ["\n".join(below)] if below else []
    blocks += [escaped(said) for said in page.closing]
    blocks += [_fenced(block) for block in page.full]
    return "\n\n".join(blocks)


FORMATS: Mapping[str, Callable[[Page], str]] = {"text": as_text, "json": as_json, "markdown": as_markdown}


def _table(page: Page) -> Iterator[str]:
    yield _cells(page.heads)
    yield _cells(["---"] * len(page.heads))
    for row in page.rows:
        first, *others = (escaped(cell) for cell in row.cells)
        yield _cells([f"**{first}**" if row.tone in ("red", "yellow") else first, *others])


def _cells(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def escaped(text: str) -> str:
    """One line of Markdown that shows `text` and does nothing: no markup, HTML, link, mention or further table cell."""
    marked = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", one_line(text, limit=600)).translate(_ENTITIES)
    unlinked = marked.replace("://", "&#58;//").replace("www.", "www&#46;")
    return re.sub(r"@(?=\w)", "@&#8203;", unlinked)


def _fenced(block: str) -> str:
    """A code block whose fence is longer than any in it."""
    said = visible(block)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", said)), default=0))
    return f"{fence}text\n{said}\n{fence}"
