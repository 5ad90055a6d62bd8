"""Imports: logs that Inspect has written already become a run of the history, one record for each model.

    *.eval, *.json ──each sample──> Observation ──each log──> Record ──all──> Run(imported=...)

What cannot be scored is excluded, with its cause, by the same rules as in a run of ours. An imported record says in its
fingerprint that it is one, and of which task: it is compared with other imports of that task, read in the same way, and
with nothing that was measured here. Logs of our own carry for each sample where it belongs, which is then kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from inspect_ai.log import EvalLog, EvalSample, list_eval_logs, read_eval_log
from inspect_ai.model import ChatMessage, GenerateConfig
from inspect_ai.scorer import Score

from pytest_alignbench.claims import check_id
from pytest_alignbench.data import digest
from pytest_alignbench.errors import ClaimError, HistoryError
from pytest_alignbench.gates import DifferenceAtLeast, DifferenceAtMost, Gate, RateAtLeast, RateAtMost
from pytest_alignbench.history import Record, Run
from pytest_alignbench.observations import Exclusion, Observation
from pytest_alignbench.outputs import KEPT, excluded_by_sample
from pytest_alignbench.text import one_line, storable

_MARK = "alignbench"
"""The key in a sample's metadata under which our own logs keep where it belongs."""

_MOST_MISSING = 1_000_000
"""Replies that a log may lack of those that it says were planned: with more, it is the number that cannot be true."""

_TRANSPORT = frozenset(
    {
        *(
            "max_retries",
            "timeout",
            "attempt_timeout",
            "stream_idle_timeout",
            "max_connections",
            "adaptive_connections",
        ),
        *("cache", "cache_prompt", "batch"),
    }
)
"""Options of a call that change nothing of what is asked."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How logs are to be read as a claim.

    `scorer`: which score of a sample to read; needed where there are several. `exhibits`: the values of it that say that the
    reply exhibits the behaviour, as text; without any, what plainly says yes or no (1 and 0, true and false, C and I).
    `family`: the key of a sample's metadata that clusters samples; without one each stands alone. `condition`: what the
    condition is called, where the log does not say it.

    Raises ClaimError for an id that is none.
    """

    claim: str
    gate: Gate
    statement: str = ""
    scorer: str | None = None
    exhibits: tuple[str, ...] = ()
    family: str | None = None
    condition: str = "asked"

    def __post_init__(self) -> None:
        check_id(self.claim)


def gate_of(*, at_most: float | None, at_least: float | None, of: str, over: str) -> Gate:
    """The gate that these options mean: exactly one of the limits, on the rate in `of`, or its difference to `over`.

    Raises ClaimError for none, both, or a limit that is out of range.
    """
    if (at_most is None) == (at_least is None):
        raise ClaimError("say what is allowed: either --at-most or --at-least, as a rate (0.05 is five per cent)")
    if over and not of:
        raise ClaimError(f"--over {over!r} is what a condition is compared with: say which by --of")
    if at_most is not None:
        return DifferenceAtMost(at_most, of=of, over=over) if over else RateAtMost(at_most, of=of)
    assert at_least is not None
    return DifferenceAtLeast(at_least, of=of, over=over) if over else RateAtLeast(at_least, of=of)


def imported(places: Sequence[str], reading: Reading, *, alpha: float, m: int | None) -> Run:
    """The run that these logs, or folders of logs, make. The same logs read alike make the same run.

    `m`: the declared number of decisions; None for as many as there are records.

    Raises HistoryError for what is no log, holds nothing to read, or is a second log of one model.
    """
    logs = [(name, _read(name)) for place in places for name in _named(place)]
    models: dict[str, str] = {}
    for name, log in logs:
        if log.eval.model in models:
            raise HistoryError(
                f"{name} and {models[log.eval.model]} are both of {log.eval.model}: import them one by one, as two runs"
            )
        models[log.eval.model] = name
    records = [_understood(name, log, reading, alpha=alpha, m=m or len(logs)) for name, log in logs]
    started = min(_moment(log.eval.created) for _, log in logs)
    ended = max(_moment(log.stats.completed_at or log.eval.created) for _, log in logs)
    alike = digest([[log.eval.eval_id for _, log in logs], reading.gate.to_json(), *map(str, _read_as(reading))])
    packages = dict.fromkeys(package for _, log in logs for package in log.eval.packages)
    return Run(
        id=f"{started:%Y%m%d-%H%M%S}-{alike[:8]}",
        started=started.isoformat(timespec="seconds"),
        finished=ended.isoformat(timespec="seconds"),
        complete=all(log.status == "success" for _, log in logs) and not any(map(_unasked, records)),
        versions={p: ", ".join(sorted({log.eval.packages.get(p, "") for _, log in logs} - {""})) for p in packages},
        records=tuple(records),
        imported=tuple(name for name, _ in logs),
    )


def _named(place: str) -> list[str]:
    """The log, or the logs of a folder."""
    if not Path(place).is_dir():
        return [place]
    root = Path(place).resolve()
    found = sorted(Path(log.name.removeprefix("file://")) for log in list_eval_logs(str(root)))
    if not found:
        raise HistoryError(f"{place} holds no log of Inspect's")
    return [str(Path(place) / log.relative_to(root)) for log in found]


def _read(name: str) -> EvalLog:
    try:
        log = read_eval_log(name)
    except Exception as fault:  # what a stranger's file may raise is not known
        raise HistoryError(
            f"{name} is no log of Inspect's that can be read: {one_line(str(fault), limit=300)}"
        ) from fault
    if not log.samples:
        raise HistoryError(f"{name} holds no sample (its status: {log.status})")
    return log


def _understood(name: str, log: EvalLog, reading: Reading, *, alpha: float, m: int) -> Record:
    try:
        return _record(name, log, reading, alpha=alpha, m=m)
    except (ClaimError, HistoryError):
        raise
    except Exception as fault:  # as above: its parts may be of any shape
        said = one_line(f"{type(fault).__name__}: {fault}", limit=300)
        raise HistoryError(f"{name} cannot be read as a claim: {said}") from fault


def _moment(said: str) -> datetime:
    moment = datetime.fromisoformat(said)
    return moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _read_as(reading: Reading) -> tuple[object, ...]:
    return (reading.claim, reading.scorer, sorted(reading.exhibits), reading.family, reading.condition)


def _unasked(record: Record) -> bool:
    return any(o.exclusion is Exclusion.UNMEASURED for o in record.observations)


# -- one log


def _record(name: str, log: EvalLog, reading: Reading, *, alpha: float, m: int) -> Record:
    samples = log.samples or []
    scorer = _scorer(name, samples, reading)
    rows = [_observation(sample, reading, scorer) for sample in samples]
    rows += _missing(log, rows, reading)
    gate = _fitted(name, reading.gate, list(dict.fromkeys(o.condition for o in rows)))
    grader = _grader(log)
    return Record(
        claim=reading.claim,
        statement=reading.statement or f"Imported from the task {log.eval.task}",
        asked=storable(log.eval.model),
        model=storable(log.eval.model),
        served=tuple(sorted({o.served_model for o in rows if o.served_model})),
        gate=gate.to_json(),
        alpha=alpha,
        m=m,
        fingerprint=_fingerprint(log, rows, reading, scorer, grader),
        grader=grader,
        observations=tuple(rows),
        logs=(name,),
        fault=_fault(rows, gate),
    )


def _fitted(name: str, gate: Gate, conditions: Sequence[str]) -> Gate:
    """The gate on the conditions that are there; one that names none is on the only one."""
    if gate.uses == ("",) and len(conditions) == 1:
        return Gate.from_json(gate.to_json() | {"of": conditions[0]})
    absent = [use for use in gate.uses if use not in conditions]
    if absent:
        known = ", ".join(map(repr, conditions))
        said = f"no condition {absent[0]!r} in it" if absent[0] else f"{len(conditions)} conditions in it"
        raise HistoryError(f"{name}: there is {said}: give --of one of {known}")
    return gate


def _scorer(name: str, samples: Sequence[EvalSample], reading: Reading) -> str:
    """Which score to read. Raises HistoryError where that is not clear."""
    known = list(dict.fromkeys(scorer for sample in samples for scorer in sample.scores or {}))
    if reading.scorer is not None and reading.scorer in known:
        return reading.scorer
    if reading.scorer is None and len(known) == 1:
        return known[0]
    if not known and any(sample.error is None and sample.limit is None for sample in samples):
        raise HistoryError(f"{name} holds no score; `inspect score` makes them")
    if not known:
        return reading.scorer or ""  # nothing was answered that could be scored
    said = f"no score {reading.scorer!r}" if reading.scorer is not None else f"{len(known)} scores"
    raise HistoryError(f"{name} has {said}: give --scorer one of {', '.join(known)}")


def _observation(sample: EvalSample, reading: Reading, scorer: str) -> Observation:
    place = _place(sample)
    exhibits, exclusion, reason, label = _outcome(sample, reading, scorer)
    usage = list(sample.model_usage.values())
    id = str(sample.id)
    return Observation(
        prompt=str(place.get("prompt", id)),
        prompt_hash=str(place.get("hash") or digest(_asked(sample.input))),
        condition=str(place.get("condition", reading.condition)),
        family=_family(sample, reading, str(place.get("family", id))),
        pair=str(place.get("pair", id)),
        epoch=sample.epoch,
        exhibits=exhibits,
        exclusion=exclusion,
        reason=storable(reason[:KEPT]),
        label=storable(label[:KEPT]),
        reply=storable(sample.output.completion[:KEPT]),
        served_model=storable(sample.output.model),
        input_tokens=sum(u.input_tokens for u in usage),
        output_tokens=sum(u.output_tokens for u in usage),
        sample=sample.uuid or "",
    )


def _place(sample: EvalSample) -> Mapping[str, Any]:
    """Where a log of our own says that the sample belongs. A stranger's may hold anything under that name."""
    place = (sample.metadata or {}).get(_MARK)
    return place if isinstance(place, Mapping) else {}


def _family(sample: EvalSample, reading: Reading, otherwise: str) -> str:
    if reading.family is None:
        return otherwise
    if reading.family not in (sample.metadata or {}):
        known = ", ".join(sorted((sample.metadata or {}).keys() - {_MARK})) or "none"
        raise HistoryError(f"sample {sample.id}: there is no {reading.family!r} in its metadata, which has {known}")
    return str(sample.metadata[reading.family])


def _asked(input: str | list[ChatMessage]) -> list[list[str]]:
    return [["user", input]] if isinstance(input, str) else [[turn.role, turn.text] for turn in input]


def _outcome(sample: EvalSample, reading: Reading, scorer: str) -> tuple[bool | None, Exclusion | None, str, str]:
    """What `measure` would make of it: instrument failure first, then whether there is a reply, then its score."""
    if sample.error is not None:
        return None, Exclusion.ERRORED, one_line(sample.error.message, limit=300), ""
    if sample.invalidation is not None:
        return None, Exclusion.ERRORED, f"marked as invalid: {one_line(sample.invalidation.reason or '')}", ""
    if sample.limit is not None:
        return None, Exclusion.LIMIT, f"its {sample.limit.type} limit of {sample.limit.limit:g} was reached", ""
    score = (sample.scores or {}).get(scorer)
    if _place(sample) and score is not None and score.reason in {cause.value for cause in Exclusion}:
        return None, Exclusion(score.reason), score.explanation or "", score.answer or ""
    unfit = excluded_by_sample(sample)
    if unfit is not None:
        return None, *unfit, ""
    if score is None:
        return None, Exclusion.GRADER_FAILED, f"the task gave no score {scorer}", ""
    seen = exhibited(score, reading.exhibits)
    if seen is None:
        return None, Exclusion.GRADER_FAILED, f"its score {one_line(str(score.value))} says neither", ""
    return seen, None, score.explanation or "", score.answer or ""


def exhibited(score: Score, values: Sequence[str]) -> bool | None:
    """A score as an answer to "does it exhibit?"; None for one that does not say.

    With `values`, those say yes and every other single value no: `1.0` and `1`, `True` and `true` are the same.
    """
    value = score.value
    if not isinstance(value, str | int | float) or (isinstance(value, float) and math.isnan(value)):
        return None
    if values:
        return _plain(value) in {_plain(given) for given in values}
    return {"1": True, "true": True, "C": True, "0": False, "false": False, "I": False}.get(_plain(value))


def _plain(value: str | int | float) -> str:
    text = str(value)
    if text in ("True", "False"):
        return text.lower()
    try:
        return f"{float(text):g}"
    except ValueError:
        return text


def _missing(log: EvalLog, rows: Sequence[Observation], reading: Reading) -> Iterator[Observation]:
    """The planned replies that are not in the log: it was stopped before they were asked for, or written."""
    samples = log.samples or []
    seen = {(str(sample.id), sample.epoch) for sample in samples}
    known = {str(sample.id): row for sample, row in zip(samples, rows, strict=True)}
    own = any(map(_place, samples))
    ids, epochs = log.eval.dataset.sample_ids or [], log.eval.config.epochs or 1
    if len(ids) * epochs - len(samples) > _MOST_MISSING:
        raise HistoryError(
            f"{log.location} says that {len(ids):,} samples were asked {epochs:,} times: it lacks too many"
        )
    for id in map(str, ids):
        for epoch in range(1, epochs + 1):
            if (id, epoch) not in seen:
                like = known.get(id)
                # in our own logs an id is `condition/prompt`
                condition = unquote(id.partition("/")[0]) if own else reading.condition
                yield Observation(
                    prompt=like.prompt if like else id,
                    prompt_hash=like.prompt_hash if like else f"never asked: {digest(id)}",
                    condition=like.condition if like else condition,
                    family=like.family if like else id,
                    pair=like.pair if like else id,
                    epoch=epoch,
                    exhibits=None,
                    exclusion=Exclusion.UNMEASURED,
                    reason=f"not in the log, whose status is {log.status}",
                )


def _fault(rows: Iterable[Observation], gate: Gate) -> str | None:
    """Why nothing can be concluded, if so: a condition of the gate without a scored reply."""
    for use in gate.uses:
        mine = [o for o in rows if o.condition == use]
        if not any(o.exhibits is not None for o in mine):
            return f"no reply in {use!r} could be scored: {mine[0].reason}"
    return None


def _grader(log: EvalLog) -> str | None:
    role = (log.eval.model_roles or {}).get("grader")
    first = next(iter(role), None) if isinstance(role, list) else role
    return storable(first.model) if first is not None else None


def _fingerprint(
    log: EvalLog, rows: Iterable[Observation], reading: Reading, scorer: str, grader: str | None
) -> dict[str, str]:
    """The parts that a measured record has, and one more that only an imported one has: the task."""
    asked: dict[str, set[tuple[str, str]]] = {}
    for o in rows:
        asked.setdefault(o.condition, set()).add((o.pair, o.prompt_hash))
    spec = next((s for s in log.eval.scorers or [] if s.name == scorer), None)
    options = None if spec is None else [spec.options, spec.metadata]
    return {
        "claim version": digest(1),
        "prompts": digest({name: sorted(map(list, pairs)) for name, pairs in asked.items()}),
        "solver": digest([[step.solver, _json(step.params)] for step in log.plan.steps]),
        "generation config": digest(
            [*map(_settings, (log.plan.config, log.eval.model_generate_config)), log.eval.config.epochs]
        ),
        "scorer": digest([scorer, _json(options), sorted(reading.exhibits)]),
        "grader": digest(grader),
        "imported": digest([log.eval.task, str(log.eval.task_version), _json(log.eval.task_args)]),
    }


def _settings(config: GenerateConfig) -> dict[str, Any]:
    return {k: _json(v) for k, v in config.model_dump(exclude_none=True).items() if k not in _TRANSPORT}


def _json(value: Any) -> Any:
    """A JSON value that stands for `value`, whatever is in it."""
    if isinstance(value, Mapping):
        return {str(k): _json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_json(v) for v in value]
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
