"""The index: what trends and reports need of each stored run, judged once and kept beside the records.

    History (records) ──judge──> Entry, one per record ──> <history>/index/<run id>.json.gz
                                                           (the user's cache folder, for a history that is elsewhere)

A record holds every reply; an entry holds the verdict on them, one number per item, and the replies that tell most. It is
a cache: nothing is in it that the records would not give again, and deleting it costs only time. What is missing, damaged,
of another version of ours or of a run file that has changed is made again; what cannot be written is not missed.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import secrets
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, TypeAdapter

from pytest_alignbench.errors import AlignbenchError, HistoryError, ModelError
from pytest_alignbench.estimates import (
    Calibration,
    Estimate,
    Relative,
    difference_between,
    levels,
    rate_in,
    relative,
)
from pytest_alignbench.gates import Gate, NotWorseThanBaseline, WithinMargin, regression_gate
from pytest_alignbench.history import History, Record, Run
from pytest_alignbench.names import resolve
from pytest_alignbench.observations import Observation, Tally
from pytest_alignbench.text import one_line, storable
from pytest_alignbench.verdicts import Verdict, judge

FORMAT = 1

_TEXT = 2_000
"""Characters of a telling reply that an entry keeps."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Arm(_Value):
    """One condition of a record, as measured."""

    rate: Estimate | None
    """None where nothing could be scored."""
    replies: Tally
    """planned = scored + each exclusion."""


class Reply(_Value):
    """A reply that tells much about a verdict."""

    prompt: str
    condition: str
    exhibits: bool
    label: str
    reason: str
    text: str
    """Shortened to what a page can show; the logs hold the whole."""


class Entry(_Value):
    """One claim on one model in one run: the verdict, and what it is made of."""

    run: str
    started: str
    """UTC, ISO 8601."""
    complete: bool
    """Whether the run measured all that it planned."""
    versions: dict[str, str]
    """Of the packages that measured."""
    claim: str
    statement: str
    claim_version: int
    asked: str
    """The model as it was typed: what a lineage lists."""
    model: str
    """Its Inspect name."""
    served: tuple[str, ...]
    """What the provider says answered."""
    grader: str | None
    calibration: dict[str, int] | None = None
    """The grader's results on labelled replies (tp, fn, tn, fp); `items` are as it graded, `effect` is corrected by them."""
    fingerprint: dict[str, str]
    imported: bool = False
    """Read from a log of Inspect's that another program wrote, and not measured by a run of ours."""
    stopped_at: int | None = None
    """The look at which the claim was decided early: its effect is then no measure of the model."""
    word: str
    """HOLDS, VIOLATED, INCONCLUSIVE, NOT_COMPARABLE, or ERROR where the instrument failed."""
    why: str
    allowed: str
    """The rule in words."""
    baseline: str | None = None
    """What the verdict compares with, where one was named. `effect`, `limits` and `items` are the claim's own all the same."""
    unit: Literal["rate", "points"]
    """How the effect is shown: a share in per cent, or a difference in percentage points."""
    limits: tuple[float, ...]
    """Where the rule draws its line, on the scale of the effect; two for a margin on both sides."""
    good: Literal["low", "high", "near", "steady"]
    """Which way the effect is better: lower, higher, close to 0, or neither: any change counts as worse."""
    effect: Estimate | None
    relative: Relative | None = None
    """Of a difference: the rate in its first condition over that in its second. None where the effect is a rate."""
    uses: tuple[str, ...] = ()
    """The conditions that the rule looks at, in its order: of a difference, first - second."""
    conditions: dict[str, Arm]
    items: dict[str, dict[str, float]]
    """Family -> item -> its value: the share of its epochs that exhibit, or the difference of that between two conditions."""
    alpha: float
    m: int
    notes: tuple[str, ...]
    power: str
    """What so many prompts can tell, in words."""
    telling: tuple[Reply, ...]

    def of_model(self, name: str, aliases: Mapping[str, str]) -> bool:
        """Whether it is of the model that a lineage lists, or a person types, under this name."""
        return name in (self.asked, self.model) or self.model == _stands_for(name, aliases.get(name))


@cache
def _stands_for(name: str, alias: str | None) -> str | None:
    """The Inspect name behind a name as typed; None for one that stands for nothing."""
    try:
        return resolve(name, {} if alias is None else {name: alias})
    except ModelError:
        return None


class Head(_Value):
    """One run, without its entries."""

    run: str
    started: str
    """UTC, ISO 8601."""
    finished: str
    complete: bool
    versions: dict[str, str]
    imported: bool
    records: int
    models: tuple[str, ...]
    """As they were typed, each once."""
    words: dict[str, int]
    """How many records came out how."""
    notes: tuple[str, ...] = ()
    """What to know before relying on it."""
    troubles: tuple[str, ...] = ()
    """Records that could not be judged, with the reason."""


_ENTRIES = TypeAdapter(tuple[Entry, ...])
_Kept = tuple[Head, tuple[Entry, ...]]


class Index:
    """The entries of a history's runs: read from the cache, and made where they are not there.

    `progress`: told (runs made, runs to be made) while runs have to be judged, which takes some 15 ms a record.
    """

    def __init__(self, history: History, *, progress: Callable[[int, int], None] | None = None) -> None:
        self.history = history
        self._progress = progress or (lambda done, of: None)
        self._folder = _folder(history)
        self._unread: list[str] = []
        self._read: dict[str, _Kept] | None = None

    def entries(self) -> Sequence[Entry]:
        """Of all runs, oldest run first; within a run in the order of its records."""
        return [entry for _, entries in self._all().values() for entry in entries]

    def heads(self) -> Sequence[Head]:
        """All runs that can be read, oldest first."""
        return [head for head, _ in self._all().values()]

    @property
    def unreadable(self) -> tuple[str, ...]:
        """What could not be read or judged, with the reason: whole runs first, then single records."""
        troubles = [trouble for head in self.heads() for trouble in head.troubles]
        return (*self._unread, *troubles)

    def _all(self) -> dict[str, _Kept]:
        if self._read is None:
            stamps = self.history.stamps()
            found = {run: self._kept(run, stamp) for run, stamp in stamps.items()}
            missing = [run for run, kept in found.items() if kept is None]
            for done, run in enumerate(missing):
                self._progress(done, len(missing))
                try:
                    found[run] = self._made(run, stamps[run])
                except HistoryError as fault:
                    self._unread.append(str(fault))
            if missing:
                self._progress(len(missing), len(missing))
            self._read = {run: kept for run, kept in found.items() if kept is not None}
        return self._read

    def forget(self, run: str) -> None:
        """Lets go of what is kept of a run that has been removed."""
        with contextlib.suppress(OSError):
            self._file(run).unlink()
        if self._read is not None:
            self._read.pop(run, None)

    def faults(self) -> dict[str, str]:
        """Run -> what is wrong with what is kept of it: damaged, or not what its records say. Empty for a sound index.

        All runs that can be read are judged again for it.
        """
        stamps = self.history.stamps()
        found = {}
        for done, (run, stamp) in enumerate(stamps.items()):
            self._progress(done, len(stamps))
            try:
                current = self._parts(run)[0] == _made_by(stamp)
            except FileNotFoundError:
                continue
            except _DAMAGED:
                found[run] = "damaged"
                continue
            with contextlib.suppress(HistoryError):  # a run that cannot be read is the history's fault, not the index's
                if current and self._kept(run, stamp) != indexed(self.history.read(run)):
                    found[run] = "not what its records say"
        self._progress(len(stamps), len(stamps))
        names = [file.name for file in self._folder.glob("[!.]*.json.gz")] if self._folder.is_dir() else []
        strays = {name.removesuffix(".json.gz") for name in names} - stamps.keys()
        return found | dict.fromkeys(sorted(strays), "of a run that is not there")

    # -- the cache

    def _file(self, run: str) -> Path:
        return self._folder / f"{run}.json.gz"

    def _parts(self, run: str) -> list[bytes]:
        """What made the file, the head and the entries. Raises FileNotFoundError, or one of `_DAMAGED`."""
        checksum, *parts = gzip.decompress(self._file(run).read_bytes()).split(b"\n")
        if len(parts) != 3 or checksum.decode() != _checksum(*parts):
            raise ValueError("its content does not match its checksum")
        return parts

    def _kept(self, run: str, stamp: str) -> _Kept | None:
        """What the cache has of the run; None for nothing that can be trusted."""
        try:
            made_by, head, entries = self._parts(run)
            if made_by != _made_by(stamp):
                return None
            return Head.model_validate_json(head), _ENTRIES.validate_json(entries)
        except _DAMAGED:
            return None

    def _made(self, run: str, stamp: str) -> _Kept:
        """Raises HistoryError for a run that cannot be read."""
        head, entries = indexed(self.history.read(run))
        try:
            parts = (_made_by(stamp), head.model_dump_json().encode(), _ENTRIES.dump_json(entries))
        except ValueError as fault:  # half a character, where no version of ours would have written one
            why = one_line(str(fault), limit=300)
            raise HistoryError(f"run {run} in {self.history.url} cannot be indexed: {why}") from fault
        _put(self._file(run), gzip.compress(b"\n".join((_checksum(*parts).encode(), *parts)), compresslevel=4, mtime=0))
        return head, entries


_DAMAGED = (OSError, EOFError, zlib.error, ValueError)


def _made_by(stamp: str) -> bytes:
    return f"{_maker()} {stamp}".encode()


def _folder(history: History) -> Path:
    if history.folder is not None:
        return history.folder / "index"
    name = hashlib.sha256(history.url.encode()).hexdigest()[:16]
    return platformdirs.user_cache_path("pytest-alignbench") / "index" / name


def _checksum(*parts: bytes) -> str:
    return hashlib.sha256(b"\n".join(parts)).hexdigest()


@cache
def _maker() -> str:
    """What made the entries: our version, and the sources of what judges, since these change without it while we work."""
    made = hashlib.sha256(f"{FORMAT} {version('pytest-alignbench')}".encode())
    for name in ("estimates", "gates", "history", "index", "observations", "redaction", "shards", "text", "verdicts"):
        with contextlib.suppress(OSError):
            made.update((Path(__file__).parent / f"{name}.py").read_bytes())
    return made.hexdigest()


def _put(file: Path, content: bytes) -> None:
    """Whole or not at all: written aside and renamed. A store that takes nothing is a slower one, and no fault."""
    aside = file.with_name(f".{file.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    with contextlib.suppress(OSError):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            aside.write_bytes(content)
            aside.replace(file)
        finally:
            aside.unlink(missing_ok=True)


# -- from records to entries


def indexed(run: Run) -> tuple[Head, tuple[Entry, ...]]:
    """A run's head and its entries. A record that cannot be judged has none, and is named in the head."""
    entries, troubles = [], []
    for record in run.records:
        try:
            entries.append(entry_of(run, record))
        except (AlignbenchError, ValueError, KeyError, TypeError) as fault:
            why = one_line(f"{type(fault).__name__}: {fault}", limit=300)
            troubles.append(f"{storable(record.key)} in run {run.id} cannot be judged: {why}")
    head = Head(
        run=run.id,
        started=run.started,
        finished=run.finished,
        complete=run.complete,
        versions=run.versions,
        imported=bool(run.imported),
        records=len(run.records),
        models=tuple(dict.fromkeys(storable(record.asked) for record in run.records)),
        words=dict(Counter(entry.word for entry in entries)),
        notes=tuple(map(storable, run.notes)),
        troubles=tuple(troubles),
    )
    return head, tuple(entries)


def entry_of(run: Run, record: Record) -> Entry:
    """What the index keeps of a record.

    The verdict is the record's. The effect, its items, limits and scale are those of the claim's own gate, also where the
    verdict was about a baseline: a trend is of levels, and a baseline may be another one in each run.
    """
    verdict = judge(record)
    own = Gate.from_json(record.gate)
    calibration = Calibration(**record.calibration) if record.calibration else None
    measured = record.fault is None and record.not_measured is None
    return Entry(
        run=run.id,
        started=run.started,
        complete=run.complete,
        versions=run.versions,
        claim=record.claim,
        statement=storable(record.statement),
        claim_version=record.claim_version,
        asked=storable(record.asked),
        model=storable(record.model),
        served=tuple(map(storable, record.served)),
        grader=record.grader,
        calibration=record.calibration,
        fingerprint=record.fingerprint,
        imported=bool(run.imported),
        stopped_at=record.stopped_at,
        word=verdict.word,
        why=storable(verdict.why),
        allowed=storable(verdict.gate.allowed),
        baseline=storable(record.baseline.source) if record.baseline is not None else None,
        unit="rate" if len(own.uses) == 1 else "points",
        limits=_limits(own),
        good=_good(own),
        effect=_effect(record, own, calibration, verdict) if measured else None,
        relative=_ratio(record, own, calibration) if measured else None,
        uses=tuple(map(storable, own.uses)),
        conditions={
            storable(name): Arm(rate=seen.rate, replies=seen.tally) for name, seen in verdict.conditions.items()
        },
        items={
            storable(family): {storable(item): value for item, value in items.items()}
            for family, items in levels(record.observations, own.uses).items()
        },
        alpha=record.alpha,
        m=record.m,
        notes=tuple(map(storable, verdict.notes)),
        power=_power(verdict.gate, record.observations),
        telling=tuple(map(_reply, verdict.telling)),
    )


def _effect(record: Record, own: Gate, calibration: Calibration | None, verdict: Verdict) -> Estimate | None:
    if verdict.effect is not None and record.margin is None and not isinstance(own, NotWorseThanBaseline):
        return verdict.effect
    if len(own.uses) == 1:
        return rate_in(record.observations, own.uses[0], alpha=record.alpha, calibration=calibration)
    of, over = own.uses
    return difference_between(record.observations, of=of, over=over, alpha=record.alpha, calibration=calibration)


def _ratio(record: Record, own: Gate, calibration: Calibration | None) -> Relative | None:
    if len(own.uses) == 1:
        return None
    rates = [rate_in(record.observations, name, calibration=calibration) for name in own.uses]
    if rates[0] is None or rates[1] is None:
        return None
    found = relative(rates[0], rates[1])
    if calibration is None:
        return found
    # its interval is that of counted replies, and knows nothing of what the grader's own errors add
    return replace(found, ci_low=None, ci_high=None, method="ratio of corrected rates: no interval")


def _limits(own: Gate) -> tuple[float, ...]:
    if isinstance(own, NotWorseThanBaseline):
        return ()
    return (-own.limit, own.limit) if isinstance(own, WithinMargin) else (own.limit,)


def _good(own: Gate) -> Literal["low", "high", "near", "steady"]:
    worse = regression_gate(own, margin=0.0).worse
    if worse == "either":
        return "near" if len(own.uses) > 1 else "steady"
    return "low" if worse == "higher" else "high"


def _power(gate: Gate, observations: Iterable[Observation]) -> str:
    sizes = Counter(condition for condition, _ in {(o.condition, o.prompt) for o in observations})
    return _power_of(gate, tuple(sorted(sizes.items())))


@cache
def _power_of(gate: Gate, sizes: tuple[tuple[str, int], ...]) -> str:
    return gate.power(dict(sizes))


def _reply(o: Observation) -> Reply:
    more = len(o.reply) - _TEXT
    return Reply(
        prompt=storable(o.prompt),
        condition=storable(o.condition),
        exhibits=bool(o.exhibits),
        label=storable(o.label),
        reason=storable(o.reason[:_TEXT]),
        text=storable(o.reply[:_TEXT]) + (f"… ({more:,} more characters)" if more > 0 else ""),
    )
