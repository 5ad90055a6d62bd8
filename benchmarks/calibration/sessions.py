"""The long way: pytest sessions on a suite of made claims, whose records are read from history; and its check.

Made("suite", {"size": 20, "n": 60})         claims, by the function of suite.py that makes them
session(folder, made, "--model", ...)        -> Run, by pytest, our plugin and Inspect
differing(run, made)                         -> which of its records the short way does not make alike
"""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.calibration import suite
from benchmarks.calibration.short import Short, Terms
from pytest_alignbench import Claim
from pytest_alignbench.gates import Outcome
from pytest_alignbench.history import History, Record, Run
from pytest_alignbench.models import Simulated
from pytest_alignbench.verdicts import judge

_TESTS = """
import pytest
from benchmarks.calibration import suite

@pytest.mark.parametrize("claim", suite.{maker}(**{options!r}))
def test_claim(claim, verdict):
    assert verdict.holds, verdict.explanation
"""


@dataclass(frozen=True)
class Made:
    """Claims, as a function of suite.py and its arguments: so that a test file can say them too."""

    maker: str
    options: Mapping[str, int]

    @property
    def claims(self) -> list[Claim]:
        made: list[Claim] = getattr(suite, self.maker)(**self.options)
        return made

    @property
    def tests(self) -> str:
        """A test file for these claims."""
        return _TESTS.format(maker=self.maker, options=dict(self.options))


def settings() -> str:
    """The body of `[tool.alignbench]`: the declared size of the suite, and what is true of the simulated models."""
    lines = [f"claims = {suite.SIZE}"]
    for name, effects in suite.PROFILES.items():
        lines.append(f"[tool.alignbench.simulated.{name}]")
        lines.extend(f'"{pattern}" = {effect}' for pattern, effect in effects.items())
    return "\n".join(lines)


def session(folder: Path, made: Made, *args: str) -> Run:
    """One pytest session of the project in `folder`, in this process; what it put into history.

    Raises RuntimeError with all that pytest printed if a claim could not be measured.
    """
    project = folder / "pyproject.toml"
    project.write_text(f"[tool.pytest.ini_options]\n[tool.alignbench]\n{settings()}\n", encoding="utf-8")
    file = folder / f"test_{len(list(folder.glob('test_*.py')))}.py"
    file.write_text(made.tests, encoding="utf-8")
    plain = ["-q", "--tb=no", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:hypothesispytest"]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = pytest.main([*plain, "--rootdir", str(folder), "-c", str(project), *args, str(file)])
    ended = code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    run = History(str(folder / ".alignbench")).read("latest") if ended else None
    if run is None or not run.complete or any(record.fault for record in run.records):
        raise RuntimeError(f"the session did not measure all its claims:\n{printed.getvalue()}")
    return run


@dataclass(frozen=True, kw_only=True)
class Checked:
    """One session of the long way, made again by the short one."""

    what: str
    run: Run
    differing: Sequence[str]

    @property
    def outcomes(self) -> Counter[Outcome]:
        return Counter(judge(record).outcome for record in self.run.records)

    @property
    def replies(self) -> int:
        return sum(len(record.observations) for record in self.run.records)


def checked(folder: Path, *, quick: bool) -> Iterator[Checked]:
    """Sessions of every kind: claims of all shapes, an A/A and a worse version with --baseline, early stops, a grader."""
    various, size = Made("various", {"n": 60}), 3 if quick else 20
    small = Made("suite", {"size": size, "n": 60})
    shapes = ["effect-0.05@1"] if quick else ["effect-0.05@1", "effect-0.00@2", "effect-0.15@3", "blind@4"]
    early = ["effect-0.40@1"] if quick else ["effect-0.40@1", "effect-0.00@2", "effect-0.05@3"]
    for what, made, models, options in (
        ("claims of all shapes", various, shapes, []),
        ("version w", small, ["w@1"], []),
        ("w again, and x, `--baseline` w", small, ["w@2", "x@1"], ["--baseline", "simulated/w@1"]),
        ("`--alignbench-stop-early`", various, early, ["--alignbench-stop-early"]),
        (
            "`--grader` of sensitivity .90, specificity .95",
            Made("graded", {"size": 1 if quick else 5, "n": 60}),
            ["effect-0.10@1"],
            ["--grader", "simulated/grader-0.9-0.95@1"],
        ),
    ):
        named = [part for model in models for part in ("--model", f"simulated/{model}")]
        run = session(folder, made, *named, *options)
        yield Checked(what=what, run=run, differing=differing(run, made))


# -- the same again, the short way


def differing(run: Run, made: Made) -> list[str]:
    """`claim @ model: fields` of each record that the short way does not make alike, verdict included."""
    claims = made.claims
    shorts = {claim.id: Short(claim) for claim in claims}
    found = []
    for record in run.records:
        bare, again = _bare(record), _again(record, shorts[record.claim], first=shorts[claims[0].id])
        parts = [name for name in Record.model_fields if getattr(bare, name) != getattr(again, name)]
        verdicts = [judge(record), judge(again)]
        parts += [name for name in ("outcome", "effect", "why") if len({getattr(v, name) for v in verdicts}) > 1]
        if parts:
            found.append(f"{record.key}: {', '.join(parts)}")
    return found


def _again(record: Record, short: Short, *, first: Short) -> Record:
    """The record by the short way, from nothing but who was asked, on what terms."""
    replies = short.draw(_seed(record.asked))
    if record.grader is not None:
        grader = Simulated(_seed(record.grader))
        terms = Terms(m=suite.SIZE, grader=record.grader, calibration=first.calibration(grader))
        return short.record(short.graded(replies, grader), record.asked, terms)
    terms = Terms(m=suite.SIZE, look=record.looks is not None)
    if record.baseline is not None:
        before = record.baseline.model
        return short.record(replies, record.asked, terms, before=short.draw(_seed(before)), before_asked=before)
    if not terms.look:
        return short.record(replies, record.asked, terms)
    found, items = asyncio.run(short.looked(replies, terms))
    return short.record(replies, record.asked, terms, items=items, stopped_at=found.stopped_at)


def _seed(model: str) -> str:
    return model.removeprefix("simulated/")


_TRANSPORT = {
    "reason": "",
    "label": "",
    "reply": "",
    "served_model": "",
    "input_tokens": 0,
    "output_tokens": 0,
    "sample": "",
}


_PLACE = {name: Record.model_fields[name].default for name in ("identity", "file", "line")}
"""Where its test stands, and what names it as one: nothing of either has the short way."""


def _bare(record: Record) -> Record:
    """The record without what only a transport can give: texts, tokens, times, ids."""
    baseline = record.baseline
    if baseline is not None:
        baseline = baseline.model_copy(update={"source": f"{baseline.model} in run short", "served": ()})
    rows = tuple(o.model_copy(update=_TRANSPORT) for o in record.observations)
    return record.model_copy(
        update={"observations": rows, "baseline": baseline, "served": (), "logs": (), "seconds": 0.0} | _PLACE
    )
