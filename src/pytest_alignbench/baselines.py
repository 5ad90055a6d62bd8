"""A baseline: what a claim is compared with, small enough to be committed to git.

    MODEL  its latest record of the claim that is comparable        --baseline claude-w
    RUN    that run's record                                        --baseline 20260131-142530-3f9a61c0
    FILE   what `alignbench baseline save` wrote                    --baseline baseline.json

A file holds one model's records of a run without their text: no prompt, no reply, no reason. One line per condition,

    "plain twin": {"cooking": {"9f2c41d07be8a356": "1 twin-017", …}, …}

that is family -> hash of the prompt -> a character per epoch (`1` exhibits, `0` does not, `x` excluded) and the pair, where
it has one. So a file can be judged, shown and compared like the run that it came from, some fifty bytes a prompt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count, takewhile
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from pytest_alignbench.errors import HistoryError
from pytest_alignbench.history import History, Past, Record, Run
from pytest_alignbench.observations import Exclusion, Observation
from pytest_alignbench.redaction import redacted
from pytest_alignbench.text import one_line
from pytest_alignbench.verdicts import judge

_SHOWN = {True: "1", False: "0", None: "x"}
_EXHIBITS = {shown: exhibits for exhibits, shown in _SHOWN.items()}


def _packed(value: str) -> str:
    if not re.match(r"[01x]+( |$)", value):
        raise ValueError(f"{value[:20]!r}: a prompt shows '1', '0' or 'x' for each epoch, then perhaps its pair")
    return value


_Packed = Annotated[str, AfterValidator(_packed)]


class Kept(BaseModel):
    """One claim of a baseline file: its record, without any text that was asked or answered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    statement: str
    claim_version: int
    asked: str
    model: str
    served: tuple[str, ...] = ()
    grader: str | None = None
    calibration: dict[str, int] | None = None
    gate: dict[str, Any]
    alpha: float
    m: int
    fingerprint: dict[str, str]
    replies: dict[str, dict[str, dict[str, _Packed]]]
    """Condition -> family -> hash of the prompt -> what each epoch showed, and the pair where it is not the hash."""

    @classmethod
    def of(cls, record: Record) -> Kept:
        replies: dict[str, dict[str, dict[str, str]]] = {}
        for o in sorted(record.observations, key=lambda o: o.epoch):
            prompts = replies.setdefault(o.condition, {}).setdefault(o.family, {})
            shown, _, pair = prompts.get(o.prompt_hash, "").partition(" ")
            pair = pair or ("" if o.pair == o.prompt_hash else o.pair)
            prompts[o.prompt_hash] = f"{shown}{_SHOWN[o.exhibits]} {pair}".rstrip()
        return cls(replies=replies, **{name: getattr(record, name) for name in cls.model_fields if name != "replies"})

    def record(self, claim: str) -> Record:
        """The record as far as it was kept. The causes of exclusions were not."""
        fields = {name: getattr(self, name) for name in Kept.model_fields if name != "replies"}
        return Record(claim=claim, observations=tuple(self._observations()), **fields)

    def _observations(self) -> Iterator[Observation]:
        for condition, families in self.replies.items():
            for family, prompts in families.items():
                for hash, packed in prompts.items():
                    shown, _, pair = packed.partition(" ")
                    for epoch, character in enumerate(shown, start=1):
                        exhibits = _EXHIBITS[character]
                        yield Observation(
                            prompt=hash,
                            prompt_hash=hash,
                            condition=condition,
                            family=family,
                            pair=pair or hash,
                            epoch=epoch,
                            exhibits=exhibits,
                            exclusion=Exclusion.UNMEASURED if exhibits is None else None,
                            reason="excluded; a baseline file does not keep the cause" if exhibits is None else "",
                        )


class Baseline(BaseModel):
    """A file of past claims of one model, one per claim id."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = Field(default=1, ge=1, le=1)
    run: str
    """The run that it was saved from."""
    started: str
    claims: dict[str, Kept]

    @classmethod
    def of(cls, run: Run, *, model: str | None = None) -> Baseline:
        """Raises HistoryError when the run holds several models and none is named, or not the one that is."""
        rows = of_model(run, model)
        return cls(run=run.id, started=run.started, claims={r.claim: Kept.of(r) for r in rows})

    def restored(self) -> Run:
        """The run that it was saved from, as far as it was kept."""
        records = tuple(kept.record(claim) for claim, kept in sorted(self.claims.items()))
        return Run(id=self.run, started=self.started, records=records)

    @property
    def prompts(self) -> int:
        """How many there are, in all conditions of all claims."""
        return sum(
            len(family) for kept in self.claims.values() for arm in kept.replies.values() for family in arm.values()
        )

    def to_text(self) -> str:
        """JSON in ASCII with sorted keys and a line per condition, so that a change is seen where it is."""
        return redacted(_laid_out(self.model_dump(mode="json"), depth=4)) + "\n"


def savable(run: Run, *, model: str | None = None, force: bool = False) -> Baseline:
    """The run as a baseline.

    Raises HistoryError, with the claims named, for what would be no firm ground to compare with: an incomplete run, a
    claim that was not measured or stopped early, and, unless `force`, one that is INCONCLUSIVE or NOT_COMPARABLE.
    """
    if not run.complete:
        raise HistoryError(
            f"run {run.id} is incomplete, and no baseline: {'; '.join(run.notes) or 'some of its claims have no record'}; "
            "run it again"
        )
    rows = of_model(run, model)
    unfit = [f"{r.claim} ({one_line(why, limit=80)})" for r in rows if (why := _unusable(r)) is not None]
    if unfit:
        raise HistoryError(f"run {run.id} is no baseline, not even with --force: {_some(unfit)}")
    undecided = [f"{v.claim} ({v.outcome.value})" for v in map(judge, rows) if v.inconclusive]
    if undecided and not force:
        raise HistoryError(
            f"run {run.id} is undecided about {_some(undecided)}: ask more prompts, or say --force to compare with it as it is"
        )
    return Baseline.of(run, model=model)


def read(path: Path) -> Baseline:
    """The baseline in this file. Raises HistoryError for any other."""
    try:
        return Baseline.model_validate(json.loads(path.read_bytes()))
    except ValidationError as fault:
        first = fault.errors()[0]
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (OSError, ValueError) as fault:
        why = str(fault)
    raise HistoryError(f"{path} is no baseline file ({one_line(why)}); `alignbench baseline save` makes one")


class Baselines:
    """Finds the past of each claim from what the user named. Files and runs are read once, and only as far as needed."""

    def __init__(
        self, named: str, history: History, *, like: str | None = None, besides: tuple[str, str] | None = None
    ) -> None:
        """`like`: the model to take from a run that holds several; `"*"`: all of them. `besides`: (run, model as typed) whose
        records are no past of their own; it matters where `named` is a model.

        Raises HistoryError when `named` is no file, run or model with a record.
        """
        self.named = named
        self._besides = besides
        self._runs: list[Run] = []
        self._unread: list[str] = []
        self._history = history
        self._model: str | None = None
        if Path(named).is_file():
            self._runs = [read(Path(named)).restored()]
        elif named == "latest" or history.names(named) or re.match(r"\d{8}(-\d|$)", named):
            run = history.read(named)
            if like != "*":
                several = len({record.asked for record in run.records}) > 1
                run = run.model_copy(update={"records": tuple(of_model(run, like if several else None))})
            self._runs = [run]
        else:
            self._model = named
            self._unread = history.runs()
            if next(self._records(), None) is None:
                other = "" if besides is None else " other than what is to be compared"
                raise HistoryError(
                    f"baseline {named!r} is no file, and neither a run nor a model with a record{other} in {history.url}; "
                    "`alignbench history list` names both"
                )

    def of(self, claim: str, fingerprint: Mapping[str, str]) -> Past | None:
        """The claim's past: the latest that is comparable, else the latest, else None."""
        found = self.find(claim, fingerprint)
        return None if found is None else Past.of(found[1], run=found[0])

    def find(self, claim: str, fingerprint: Mapping[str, str]) -> tuple[str, Record] | None:
        """As `of`, the whole record with the id of its run. None too where what there is was never measured."""
        latest: tuple[str, Record] | None = None
        for run, record in self._records(claim):
            if _unusable(record) is None:
                if not Past.of(record, run=run).differs(fingerprint):
                    return run, record
                latest = latest or (run, record)
        return latest

    def latest(self) -> Iterator[tuple[str, Record]]:
        """The latest record of each claim and model as it was typed, with the id of its run."""
        seen: set[str] = set()
        for run, record in self._records():
            if record.key not in seen:
                seen.add(record.key)
                yield run, record

    @property
    def claims(self) -> frozenset[str]:
        """The claims of the file or run; of a model, those of its latest run."""
        first = next((run for run, _ in self._records()), "")
        return frozenset(record.claim for _, record in takewhile(lambda found: found[0] == first, self._records()))

    def _records(self, claim: str | None = None) -> Iterator[tuple[str, Record]]:
        """Newest run first."""
        for run in self._newest_first():
            for record in run.records:
                ours = self._model is None or (
                    self._model in (record.asked, record.model) and (run.id, record.asked) != self._besides
                )
                if ours and claim in (None, record.claim):
                    yield run.id, record

    def _newest_first(self) -> Iterator[Run]:
        for place in count():
            if place == len(self._runs):
                if not self._unread:
                    return
                self._runs.append(self._history.read(self._unread.pop()))
            yield self._runs[place]


def _unusable(record: Record) -> str | None:
    """Why nothing can be compared with this record, if so."""
    if record.fault is not None or record.not_measured is not None:
        return f"not measured: {record.fault or record.not_measured}"
    if record.stopped_at is not None:
        return f"stopped early, at look {record.stopped_at} of {record.looks}"
    return None if any(o.exhibits is not None for o in record.observations) else "not one reply was scored"


def of_model(run: Run, model: str | None) -> Sequence[Record]:
    """The records of one model, by its name as typed or Inspect's; None where the run holds no other.

    Raises HistoryError where that is none, or not one.
    """
    asked = sorted({record.asked for record in run.records})
    if model is None and len(asked) > 1:
        raise HistoryError(f"run {run.id} holds {len(asked)} models; say which is the baseline: {', '.join(asked)}")
    rows = [r for r in run.records if model is None or model in (r.asked, r.model)]
    if not rows:
        raise HistoryError(f"run {run.id} holds no record of {model!r}; it holds {', '.join(asked) or 'none at all'}")
    names = {r.asked for r in rows}
    if len(names) > 1:
        raise HistoryError(
            f"{model!r} was measured under {len(names)} names in run {run.id}: {', '.join(sorted(names))}"
        )
    return rows


def _some(names: Iterable[str], *, most: int = 10) -> str:
    every = list(names)
    return ", ".join(every[:most]) + (f" and {len(every) - most} more" if len(every) > most else "")


def _laid_out(value: object, *, depth: int, indent: str = "") -> str:
    """JSON with the outer `depth` levels of objects on lines of their own, and what is within them on one."""
    if not (isinstance(value, dict) and value and depth):
        return json.dumps(value, sort_keys=True)
    inner = indent + " "
    rows = [
        f"{inner}{json.dumps(key)}: {_laid_out(value[key], depth=depth - 1, indent=inner)}" for key in sorted(value)
    ]
    return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
