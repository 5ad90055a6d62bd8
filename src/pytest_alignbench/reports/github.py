"""What GitHub shows: annotations beside the claims, a job's summary, and one comment on the pull request.

    verdicts, a gate's decision ──annotate──> `::error file=…,line=…,title=…::…`, a line each, on stdout
                       decision ──summary──────> Markdown to be added to the file that $GITHUB_STEP_SUMMARY names
                       decision ──comment──────> Markdown that begins with MARKER, by which a workflow finds it again

Nothing that a model said can be a command: a line that is printed is either one of ours, with its text escaped, or went
through `text.visible`. All sizes are below what GitHub takes.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pytest_alignbench.gates import Outcome
from pytest_alignbench.policies import Decided, Decision
from pytest_alignbench.reports.formats import as_markdown, escaped
from pytest_alignbench.reports.pages import brief, of_gate, ranked, worst_first
from pytest_alignbench.text import one_line, visible
from pytest_alignbench.verdicts import Verdict

MARKER = "<!-- pytest-alignbench: gate -->"

COMMENT_LIMIT = 65_536
"""Bytes of UTF-8. GitHub says characters; what it counts differs from place to place, and is never less than this."""
SUMMARY_LIMIT = 1_000_000
"""Bytes: GitHub drops the summary of a step that writes more than 1 MiB."""
_SHOWN = 10
"""Annotations of a kind that GitHub keeps of a step; it drops more without a word."""
_NAMED = 5
"""Claims that a sentence names."""

Level = Literal["error", "warning"]


# -- annotations


@dataclass(frozen=True, kw_only=True)
class Annotation:
    level: Level
    title: str
    text: str
    """May have several lines."""
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        """One line, as the runner reads it."""
        at = {"file": self.file, "line": self.line, "title": one_line(self.title, limit=200)}
        properties = ",".join(f"{name}={_property(str(value))}" for name, value in at.items() if value is not None)
        return f"::{self.level} {properties}::{_data(visible(self.text, limit=4000))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def annotate(found: Iterable[Annotation]) -> Iterator[str]:
    """Their lines: at most ten of a level, which is what GitHub shows, the last of them to name those left out."""
    every = list(found)
    for level in ("error", "warning"):
        ours = [a for a in every if a.level == level]
        kept = ours if len(ours) <= _SHOWN else ours[: _SHOWN - 1]
        yield from map(str, kept)
        left = [a.title for a in ours[len(kept) :]]
        if left:
            yield str(Annotation(level=level, title=f"and {len(left)} more", text="\n".join(left)))


def of_verdicts(verdicts: Sequence[Verdict], *, prefix: str = "") -> Iterator[Annotation]:
    """An error for each that is VIOLATED or could not be measured, a warning for each that is undecided."""
    for v in ranked(verdicts):
        if not v.holds:
            yield _of(v, "error" if v.violated or v.fault is not None else "warning", prefix)


def of_decision(decided: Decided, *, prefix: str = "") -> Iterator[Annotation]:
    """What the gate makes of each: an error only where it fails because of what was shown, or because it is not there."""
    for name in decided.missing:
        yield Annotation(level="error", title=f"missing: {name}", text="required by the policy, and not in this run")
    if not decided.complete:
        yield Annotation(level="warning", title=f"run {decided.run} is incomplete", text="\n".join(decided.notes))
    for d in worst_first(decided.decisions):
        if d.consequence != "pass":
            shown = d.verdict.violated or d.verdict.fault is not None
            yield _of(d.verdict, "error" if shown and d.consequence == "fail" else "warning", prefix)


def _of(v: Verdict, level: Level, prefix: str) -> Annotation:
    lines = [v.statement, f"measured: {v.measured}", f"allowed: {v.gate.allowed}", v.why]
    lines += [f"compared with {v.compared_to}"] if v.compared_to is not None else []
    file = None if v.file is None else f"{prefix}{v.file}"
    text = "\n".join(one_line(line, limit=600) for line in lines)
    return Annotation(level=level, title=f"{v.word}: {v.key}", text=text, file=file, line=v.line)


def prefix_of(root: Path, environment: Mapping[str, str]) -> str:
    """What stands before a path from `root` to make it one from the repository's root, which is what GitHub looks for."""
    workspace = environment.get("GITHUB_WORKSPACE")
    if not workspace or not root.resolve().is_relative_to(Path(workspace).resolve()):
        return ""
    below = root.resolve().relative_to(Path(workspace).resolve()).as_posix()
    return "" if below == "." else f"{below}/"


# -- sentences and tables


def summary(decided: Decided) -> str:
    """Markdown for a job's page: what matters in three lines, then every claim."""
    return _fitted(decided, limit=SUMMARY_LIMIT, opening=(), fold="<details open>")


def comment(decided: Decided) -> str:
    """Markdown for a comment: the same, with the table folded, and a first line that nobody sees."""
    return _fitted(decided, limit=COMMENT_LIMIT, opening=(MARKER,), fold="<details>")


def _fitted(decided: Decided, *, limit: int, opening: Sequence[str], fold: str) -> str:
    """With as many rows of the table, the worst first, as there is room for."""

    def body(rows: int) -> str:
        return "\n".join([*opening, *_blocks(decided, rows=rows, fold=fold), ""])

    most = len(decided.decisions)
    fitting = bisect(range(1, most + 1), limit, key=lambda rows: len(body(rows).encode()))
    return body(fitting).encode()[:limit].decode(errors="ignore")


def _blocks(decided: Decided, *, rows: int, fold: str) -> Iterator[str]:
    against = f" against {escaped(decided.baseline)}" if decided.baseline is not None else ""
    yield f"### Model behaviour{against}: {decided.outcome.value.replace('_', ' ').lower()}\n"
    yield from (f"- {line}" for line in _sentences(decided))
    page = of_gate(decided)
    which = f"The first {rows} of {len(page.rows)}" if rows < len(page.rows) else f"All {rows}"
    shown = f"{which} {'claim' if len(page.rows) == 1 else 'claims'}"
    table = as_markdown(replace(page, rows=page.rows[:rows])).partition("\n")[2].strip()
    yield f"\n{fold}<summary>{shown}, with intervals and p-values</summary>\n\n{table}\n\n</details>"
    yield f"\nRun {escaped(decided.run)}, exit code {decided.exit_code}."


def _sentences(decided: Decided) -> Iterator[str]:
    """What got worse, what cannot be told, what holds: each with its interval, and what it was compared with."""
    compared = decided.baseline is not None
    violated = [d for d in decided.decisions if d.verdict.violated]
    holding = [d for d in decided.decisions if d.verdict.holds]
    open_ones = [d for d in decided.decisions if d.verdict.inconclusive]
    missing = [f"missing though required: {escaped(name)}" for name in decided.missing]
    lacking = [escaped(note) for note in decided.notes[:_NAMED]] if not decided.complete else []
    yield _sentence("Worse" if compared else "Violated", violated, decided, missing)
    yield _sentence("Cannot be told", open_ones, decided, lacking)
    yield _sentence("No worse" if compared else "Holds", holding, decided, [])
    sources = dict.fromkeys(d.verdict.compared_to for d in decided.decisions if d.verdict.compared_to is not None)
    if sources:
        yield f"Compared with {_some([escaped(source) for source in sources])}."


def _sentence(head: str, decisions: Sequence[Decision], decided: Decided, also: Sequence[str]) -> str:
    """`**Worse (2)**: one, another`, or `nothing`."""
    one_model = len({d.verdict.model for d in decided.decisions}) == 1
    named = [_named(d, one_model=one_model) for d in worst_first(decisions)]
    said = "; ".join([*also[:_NAMED], *([_some(named)] if named else [])])
    return f"**{head} ({len(decisions)})**: {said or 'nothing'}"


def _named(d: Decision, *, one_model: bool) -> str:
    v = d.verdict
    name = v.claim if one_model else v.key
    watched = ", only watched" if d.tier == "watch" else ""
    undecided = f": {v.why}" if v.outcome is Outcome.NOT_COMPARABLE or v.effect is None else ""
    return escaped(one_line(f"{name} {brief(v)} (allowed: {v.gate.rule}{watched}){undecided}", limit=200))


def _some(named: Sequence[str]) -> str:
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return "; ".join(named[:_NAMED]) + more
