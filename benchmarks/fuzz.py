"""What does a fuzzer find that is guided by coverage? `python -m benchmarks.fuzz [--seconds 60] [--only NAME ...] [--keep FOLDER]`

Each target reads what others wrote (models, graders, strangers' logs, damaged disks) and asserts what is promised of it:

    sanitiser   any text is shown as text that does nothing, within its limit
    grades      a grader's reply holds the grades of this call and no others
    journal     a damaged journal gives what was kept, or less
    records     a run's file is a run or a fault with its name, and what the index makes of it can be read again
    logs        a log of Inspect's becomes a run, or a fault with its name

It needs atheris (`pip install atheris`: libFuzzer for Python, wheels for Linux), which nothing else of the project does.
`tests/test_fuzz.py` drives the same targets, in short, by hypothesis. What is found is written to FOLDER, and the target
fails with it; `--again FILE` runs one such input.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from pytest_alignbench.errors import AlignbenchError, HistoryError
from pytest_alignbench.gates import RateAtMost
from pytest_alignbench.history import History, Record, Run
from pytest_alignbench.imports import Reading, imported
from pytest_alignbench.index import Index
from pytest_alignbench.journal import Journal, Kept
from pytest_alignbench.observations import Observation
from pytest_alignbench.scorers.graded import verdicts
from pytest_alignbench.text import blank, one_line, storable, visible, visible_in_colour, wordless

NONCE = "3f9a61c0"


class Source(Protocol):
    """Where a target gets what it is given: a fuzzer's bytes, or hypothesis."""

    def number(self, most: int) -> int:
        """0 to `most`."""
        ...

    def text(self) -> str: ...

    def bytes(self) -> bytes: ...


# -- the sanitiser

PIECES = (
    *("::", "##[", "error", "add-mask", "]", "\n", "\r\n", "\r", " ", "\t", "\x1b[31m", "\x1b]8;;", "\x07", "\x00"),
    *("\u202e", "\u200d", "\u0301" * 6, "\ud83d", "\udc00", "\u2028", "\x85", "\U000e0041", "e\u0301", "…", "***"),
    *(f"GRADE {NONCE}: YES", "GRADE", NONCE, ": NO", "UNCLEAR", "*", "_", "`", "\uff27", "\u0130", "."),
)
"""What a fuzzer would need long to come upon."""


def mixed(source: Source) -> str:
    """Texts of the source and pieces of ours."""
    parts = [
        source.text() if source.number(2) == 0 else PIECES[source.number(len(PIECES) - 1)]
        for _ in range(source.number(12))
    ]
    return "".join(parts)


def sanitiser(source: Source) -> None:
    text, limit = mixed(source), source.number(40) + 1
    for shown in (visible(text), visible(text, limit=limit), one_line(text, limit=limit)):
        assert harmless(shown), shown
    assert len(one_line(text, limit=limit)) <= limit
    assert "\n" not in one_line(text, limit=limit)
    assert visible(visible(text)) == visible(text)
    assert harmless(re.sub(r"\x1b\[[0-9;]*m", "", visible_in_colour(text)))
    storable(text).encode()
    assert wordless(text) or not blank(text)


def harmless(shown: str) -> bool:
    """Whether no terminal, XML parser, log viewer or CI system acts on it."""
    acts = {"Cc", "Cs", "Co", "Cn", "Zl", "Zp"}
    plain = all(c in "\n\t" or unicodedata.category(c) not in acts for c in shown)
    lines = [line.strip() for line in re.split(r"[\r\n]", shown)]
    # As GitHub's runner reads a line: `::name …::` at its start, `##[name]` anywhere.
    commands = any(re.match(r"::[\w.-]+( .*)?::", line) or re.search(r"##\[\w+[^\]]*\]", line) for line in lines)
    return plain and not commands and shown.isascii() <= shown.replace("\n", "").replace("\t", "").isprintable()


# -- the grader's reply


def grades(source: Source) -> None:
    text = mixed(source)
    found = verdicts(text, nonce=NONCE)
    assert set(found) <= {"YES", "NO", "UNCLEAR", ""}
    assert len(found) <= len(text.split("\n"))
    if NONCE not in unicodedata.normalize("NFKC", text).lower():
        assert found == []
    assert verdicts(f"{text}\nGRADE {NONCE}: NO", nonce=NONCE) == [*found, "NO"]
    exact = [line.strip(" \t*_`#.\r") for line in text.split("\n")]
    said = [
        line for line in exact if re.fullmatch(rf"(?ia)grade[ \t]+{NONCE}[ \t*_`]*:[ \t*_`]*(yes|no|unclear)", line)
    ]
    assert len([grade for grade in found if grade]) <= len(said)


# -- files that were damaged


def damaged(source: Source, whole: bytes) -> bytes:
    for _ in range(source.number(3)):
        start = source.number(len(whole))
        stop = min(len(whole), start + source.number(400))
        whole = whole[:start] + source.bytes() + whole[stop:]
    return whole


SAID = {"a": "No.", "b": f"{PIECES[8]}{PIECES[14]}\ud83d", "c": "\n00000000 {}\n"}
"""Replies in the journal that is damaged."""


@cache
def _journal() -> bytes:
    with tempfile.TemporaryDirectory() as name:
        own = Journal(Path(name), "p")
        for sample, reply in SAID.items():
            own.keep("it", sample, _observation(reply))
        own.keep_call("it", ("d", 1), "asked", {"an": "answer"})
        own.keep_grade("it", "e", True, False)
        return Path(name, "p.jsonl").read_bytes()


def journal(source: Source) -> None:
    with tempfile.TemporaryDirectory() as name:
        Path(name, "p.jsonl").write_bytes(damaged(source, _journal()))
        kept = Kept.read([Path(name)])
    assert all(SAID[sample] == seen.reply for (sample, _), seen in kept.replies.get("it", {}).items())
    assert kept.calls.get("it", {}) in ({}, {("d", 1): [("asked", {"an": "answer"})]})
    assert kept.grades.get("it", {}) in ({}, {"e": (True, False)})


def records(source: Source) -> None:
    """Files with any content, and files with the right checksum over content that no version of ours would write."""
    run = json.loads(json.dumps(_run().model_dump(mode="json")))
    for _ in range(source.number(3)):
        run = mutated(source, run)
    body = json.dumps(run).encode()
    packed = gzip.compress(hashlib.sha256(body).hexdigest().encode() + b"\n" + body, compresslevel=1)
    with tempfile.TemporaryDirectory() as name:
        history = History(name)
        good = _run().model_copy(update={"id": "good"})
        history.write(good)
        (Path(name) / history.file_of("run")).write_bytes(damaged(source, packed) if source.number(1) else packed)
        with suppress(HistoryError):
            history.read("run")
        index = Index(history)
        assert "good" in [head.run for head in index.heads()]
        assert Index(history).entries() == index.entries()
        read = {head.run: head for head in index.heads()}
        told = len(index.unreadable) + sum(1 for entry in index.entries() if entry.run == "run")
        assert "run" not in read or told >= read["run"].records
        assert "run" in read or index.unreadable


def logs(source: Source) -> None:
    log = json.loads(_log())
    for _ in range(source.number(3)):
        log = mutated(source, log)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name) / "log.json"
        content = json.dumps(log).encode()
        place.write_bytes(damaged(source, content) if source.number(3) == 0 else content)
        try:
            run = imported([str(place)], Reading(claim="t.claim", gate=RateAtMost(0.1)), alpha=0.05, m=None)
        except AlignbenchError:
            return
        history = History(f"{name}/history")
        history.write(run)
        again = history.read(run.id)
        assert json.dumps(again.model_dump(mode="json")) == json.dumps(run.model_dump(mode="json"))
        index = Index(history)
        assert len(index.entries()) + len(index.unreadable) == 1


ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 10**6, 10**30, 0.5, 1e308, float("nan"), float("inf")),
    *("", "x", "0", "C", "I", "\ud83d", "\x00", "2026-13-45", "9999-12-31T23:59:59-23:59", "alignbench", "a" * 300),
    *([], {}, [None], {"a": 1}, [[]], {"": ""}),
)
"""Values that no writer of ours would put there."""


def mutated(source: Source, document: Any) -> Any:
    """The document with one of its values replaced, taken out or copied to where another was."""
    places = list(_places(document))
    *way, last = places[source.number(len(places) - 1)]
    held = document
    for step in way:
        held = held[step]
    what = source.number(3)
    if what == 0:
        del held[last]
    elif what == 1:
        other = document
        for step in places[source.number(len(places) - 1)]:
            other = other[step]
        held[last] = json.loads(json.dumps(other))
    elif what == 2:
        held[last] = source.text()
    else:
        held[last] = ODD[source.number(len(ODD) - 1)]
    return document


def _places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, held in inside:
        yield (*way, key)
        yield from _places(held, (*way, key))
    if not way and not value:
        raise AssertionError("a document that is empty has nothing to be changed")


def _observation(reply: str, **changed: Any) -> Observation:
    place = {"prompt": "p", "prompt_hash": "h", "condition": "asked", "family": "f", "pair": "p"}
    return Observation(**place | {"exhibits": True, "reply": reply} | changed)


@cache
def _run() -> Run:
    seen = tuple(
        _observation("No.", prompt=f"p{i}", prompt_hash=f"h{i}", family=f"f{i}", pair=f"p{i}") for i in range(4)
    )
    record = Record(
        claim="t.claim",
        statement="It does not shout",
        asked="small",
        model="local/small",
        served=("small-2026",),
        gate=RateAtMost(0.5, of="asked").to_json(),
        alpha=0.05,
        m=1,
        fingerprint={"prompts": "0123456789abcdef"},
        grader="local/large",
        calibration={"tp": 60, "fn": 1, "tn": 60, "fp": 0},
        observations=seen,
        logs=("a.json",),
        seconds=1.5,
    )
    return Run(id="run", started="2026-01-31T15:25:30+00:00", versions={"python": "3.11"}, records=(record,))


@cache
def _log() -> str:
    from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalSample, EvalSpec, EvalStats, write_eval_log
    from inspect_ai.model import ModelConfig, ModelOutput, ModelUsage
    from inspect_ai.scorer import Score

    usage = ModelUsage(input_tokens=10, output_tokens=5, total_tokens=15)
    place = {"condition": "asked", "prompt": "p", "pair": "p", "family": "f", "hash": "h"}
    samples = [
        EvalSample(
            id=id,
            epoch=1,
            input=f"Question {id}?",
            target="seven",
            messages=[],
            output=ModelOutput.from_content("small-2026", "Seven."),
            scores={"includes": Score(value="C", answer="Seven.", explanation="looked for seven")},
            metadata={"topic": "sums"} | ({"alignbench": place} if id == 2 else {}),
            model_usage={"small": usage},
        )
        for id in (1, 2)
    ]
    started = "2026-01-31T15:25:30+00:00"
    log = EvalLog(
        status="success",
        eval=EvalSpec(
            eval_id="eval",
            run_id="run",
            created=started,
            task="sums",
            dataset=EvalDataset(samples=2, sample_ids=[1, 2]),
            model="acme/small",
            model_roles={"grader": ModelConfig(model="acme/large")},
            config=EvalConfig(epochs=1),
            packages={"inspect_ai": "0.3"},
        ),
        stats=EvalStats(started_at=started, completed_at=started),
        samples=samples,
    )
    with tempfile.TemporaryDirectory() as name:
        write_eval_log(log, f"{name}/log.json")
        return Path(name, "log.json").read_text(encoding="utf-8")


TARGETS: dict[str, Callable[[Source], None]] = {
    made.__name__: made for made in (sanitiser, grades, journal, records, logs)
}


# -- the fuzzer

CHILD = """
import sys, atheris
with atheris.instrument_imports(include=["pytest_alignbench", "benchmarks"]):
    import benchmarks.fuzz
benchmarks.fuzz.run(sys.argv[1], sys.argv[2:])
"""
"""A process of its own for each target: libFuzzer ends the one that it runs in, and modules are watched as they are imported."""


def run(target: str, arguments: list[str]) -> None:
    """Hands this process to libFuzzer; does not return."""
    import atheris

    class Fuzzed:
        def __init__(self, data: bytes) -> None:
            self._data = atheris.FuzzedDataProvider(data)

        def number(self, most: int) -> int:
            return int(self._data.ConsumeIntInRange(0, most))

        def text(self) -> str:
            return str(self._data.ConsumeUnicode(self.number(30)))

        def bytes(self) -> bytes:
            return bytes(self._data.ConsumeBytes(self.number(30)))

    atheris.Setup([target, *arguments], lambda data: TARGETS[target](Fuzzed(data)))
    atheris.Fuzz()


def child(target: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", CHILD, target, *arguments]
    return subprocess.run(command, capture_output=True, text=True, errors="replace")


def fuzzed(target: str, seconds: int, keep: Path) -> tuple[str, bool]:
    """A row of the table, and whether nothing was found."""
    corpus = keep / target
    corpus.mkdir(parents=True, exist_ok=True)
    limits = (f"-max_total_time={seconds}", "-max_len=4096", "-timeout=30", "-rss_limit_mb=4096")
    ended = child(target, *limits, f"-artifact_prefix={keep}/{target}-", "-print_final_stats=1", str(corpus))
    executions = re.search(r"number_of_executed_units:\s*(\d+)", ended.stderr)
    edges = re.findall(r"cov: (\d+)", ended.stderr)
    raised = re.search(r"Uncaught Python exception: ===\n(.*)", ended.stdout)
    found = raised or re.search(r"SUMMARY: (.*)", ended.stderr)
    if executions is None and found is None:
        raise SystemExit(ended.stderr[-2_000:])
    if found is not None:
        print(ended.stdout[-4_000:], file=sys.stderr)
    said = one_line(found[1], limit=200) if found is not None else ""
    count = int(executions[1]) if executions else 0
    return f"| {target} | {count:,} | {edges[-1] if edges else 0} | {said or '–'} |", found is None


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=(__doc__ or "").partition("`")[0])
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: 60)")
    parser.add_argument("--only", nargs="+", choices=TARGETS, default=list(TARGETS), metavar="NAME")
    parser.add_argument("--keep", type=Path, help="what has been tried, to go on from, and what was found")
    parser.add_argument("--again", type=Path, metavar="FILE", help="run the one target of --only on this input alone")
    asked = parser.parse_args()
    if asked.again is not None:
        ended = child(asked.only[0], str(asked.again))
        print(ended.stdout + ended.stderr)
        return ended.returncode
    keep = asked.keep or Path(tempfile.mkdtemp(prefix="fuzz-"))
    print(f"{asked.seconds} s each; inputs in {keep}")
    print("| target | executions | edges | found |")
    print("|---|---:|---:|---|")
    sound = True
    for target in asked.only:
        row, good = fuzzed(target, asked.seconds, keep.absolute())
        print(row, flush=True)
        sound = sound and good
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
