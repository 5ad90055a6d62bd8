"""Prompts and labelled replies: the data of a claim, from JSONL files or the hub, at rest and harmless.

    fixtures/refusals/twins.jsonl ──> prompts("refusals/twins.jsonl").where(arm="plain") ──> Prompts of Prompt
    fixtures/refusals/replies.jsonl ──> replies("refusals/replies.jsonl") ──> LabelledReply, ...

A row is an id, a family, a pair and text. Nothing in a row is ever opened as a file, formatted as a template or run as
code; a wrong row is refused with its line number.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pytest_alignbench.errors import ClaimError
from pytest_alignbench.text import blank


def digest(value: Any) -> str:
    """16 hex digits that name a JSON value: the same for equal values, in every process."""
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


class Message(BaseModel):
    """One turn of a prompt that is a conversation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: str = Field(pattern="^(system|user|assistant)$")
    content: str


class Prompt(BaseModel):
    """One row of a data set: what is asked, and where it belongs.

    Any further keys of the row are kept in `metadata`, for `where` and for scorers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1)
    input: str | tuple[Message, ...]
    family: str = ""
    """The template or topic it came from; a prompt without one is a family of its own."""
    pair: str = ""
    """Links the prompts that are the same item in different conditions; its own id where it has none."""
    system: str | None = None
    target: str = ""
    metadata: Mapping[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _stands_alone(cls, row: Any) -> Any:
        if not isinstance(row, Mapping):
            return row
        return {**row, "family": row.get("family") or row.get("id"), "pair": row.get("pair") or row.get("id")}

    @field_validator("input")
    @classmethod
    def _asks_something(cls, value: str | tuple[Message, ...]) -> str | tuple[Message, ...]:
        if all(blank(turn) for turn in ([value] if isinstance(value, str) else [m.content for m in value])):
            raise ValueError("a prompt asks something; this input is empty")
        return value

    @property
    def hash(self) -> str:
        """Names what the model is asked, so that equal questions are paired across runs and models."""
        turns = self.input if isinstance(self.input, str) else [m.model_dump() for m in self.input]
        return digest([turns, self.system])


class Prompts(Sequence[Prompt]):
    """An immutable list of prompts with ids that are unique in it."""

    def __init__(self, rows: Iterable[Prompt], *, source: str) -> None:
        self._rows = tuple(rows)
        self.source = source
        twice = [id for id, count in Counter(p.id for p in self._rows).items() if count > 1]
        if twice:
            raise ClaimError(f"{source}: prompt id {twice[0]!r} stands in it twice; ids are unique within a condition")
        if not self._rows:
            raise ClaimError(f"{source}: holds no prompts")

    @overload
    def __getitem__(self, index: int) -> Prompt: ...
    @overload
    def __getitem__(self, index: slice) -> Prompts: ...
    def __getitem__(self, index: int | slice) -> Prompt | Prompts:
        if isinstance(index, slice):
            return Prompts(self._rows[index], source=f"{self.source}[{index.start}:{index.stop}]")
        return self._rows[index]

    def __iter__(self) -> Iterator[Prompt]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"Prompts({self.source!r}, {len(self)} prompts in {len(self.families)} families)"

    @property
    def families(self) -> set[str]:
        return {p.family for p in self._rows}

    def where(self, **wanted: Any) -> Prompts:
        """The rows whose fields or metadata have these values: `where(arm="plain")`.

        Raises ClaimError when no row does, naming the values that exist.
        """

        def value(prompt: Prompt, name: str) -> Any:
            return getattr(prompt, name) if name in Prompt.model_fields else prompt.metadata.get(name)

        rows = [p for p in self._rows if all(value(p, name) == want for name, want in wanted.items())]
        if not rows:
            name = next((n for n in wanted if all(value(p, n) != wanted[n] for p in self._rows)), next(iter(wanted)))
            known = sorted({repr(value(p, name)) for p in self._rows})[:8]
            raise ClaimError(f"{self.source}: no prompt where {wanted}; {name} is one of {', '.join(known)}")
        said = ", ".join(f"{name}={want!r}" for name, want in wanted.items())
        return Prompts(rows, source=f"{self.source} where {said}")

    def with_suffix(self, text: str) -> Prompts:
        """The same prompts, each with `text` after a blank line: for a request that is put to all of them."""

        def longer(prompt: Prompt) -> Prompt:
            if isinstance(prompt.input, str):
                return prompt.model_copy(update={"input": f"{prompt.input}\n\n{text}"})
            *before, last = prompt.input
            said = last.model_copy(update={"content": f"{last.content}\n\n{text}"})
            return prompt.model_copy(update={"input": (*before, said)})

        return Prompts((longer(p) for p in self._rows), source=f"{self.source} + {text[:40]!r}")

    def with_system(self, text: str) -> Prompts:
        """The same prompts under a system prompt."""
        rows = (p.model_copy(update={"system": text}) for p in self._rows)
        return Prompts(rows, source=f"{self.source} under {text[:40]!r}")


class LabelledReply(BaseModel):
    """A reply with the truth about it, as a person reads it: what scorers are tested on and simulated models say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    text: str
    exhibits: bool | None
    """None for a text that shows nothing either way (an empty one): it must be excluded, not scored."""
    split: str = Field(default="test", pattern="^(tune|test)$")
    """Scorers may be tuned on `tune`; they are reported on `test` alone."""
    pair: str = ""
    """The item that it answers; a reply without one can answer any."""
    steps: tuple[str, ...] = ()
    """For a claim in several steps: what the model said before `text`."""
    metadata: Mapping[str, Any] = Field(default_factory=dict)


def prompts(path: str) -> Prompts:
    """Prompts from a JSONL file: absolute, or below a `fixtures` folder beside or above the calling file.

    Each line is an object with `id`, `input`, and if it has them `family`, `pair`, `system`, `target`; all else becomes
    metadata. Raises ClaimError with the line's number when a row is wrong.
    """
    made = []
    for number, row in _lines(path):
        try:
            made.append(_prompt(row))
        except ValidationError as fault:
            raise _wrong_row(f"{path}, line {number}", fault) from fault
    return Prompts(made, source=path)


def replies(path: str, *, label: str = "exhibits") -> tuple[LabelledReply, ...]:
    """Labelled replies from a JSONL file, found as `prompts` finds its own.

    `label`: the key that holds the truth, for a file whose replies are labelled for more than one behaviour.
    """
    rows = []
    for number, row in _lines(path):
        if label not in row:
            raise ClaimError(f"{path}, line {number}: no label {label!r}; it has {', '.join(map(repr, row))}")
        try:
            rows.append(_reply(row | {"exhibits": row[label]}))
        except ValidationError as fault:
            raise _wrong_row(f"{path}, line {number}", fault) from fault
    twice = [id for id, count in Counter(r.id for r in rows).items() if count > 1]
    if twice:
        raise ClaimError(f"{path}: reply id {twice[0]!r} stands in it twice")
    return tuple(rows)


def hub_prompts(
    path: str,
    *,
    revision: str,
    split: str,
    input: str,
    name: str | None = None,
    id: str | None = None,
    family: str | None = None,
    pair: str | None = None,
) -> Prompts:
    """Prompts from a Hugging Face data set, fetched at run time at a pinned revision; none of its code is run.

    `revision`: the full commit hash, since a branch moves under a claim. `input`, `id`, `family`, `pair`: the columns
    to take; without `id` a row is named by its number. Network faults are tried four times, then raise ClaimError.
    """
    if not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise ClaimError(
            f"hub_prompts({path!r}): revision {revision!r} can move; give the 40 digits of a commit "
            f"(the data set's page lists them under 'Files and versions')"
        )
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", path) or path.startswith(".") or Path(path).exists():
        raise ClaimError(f"hub_prompts({path!r}): a hub data set is named owner/name; for a local file use prompts()")
    rows = _fetch(path, name=name, split=split, revision=revision)
    columns = {"input": input, "id": id, "family": family, "pair": pair}
    missing = [c for c in columns.values() if c is not None and rows and c not in rows[0]]
    if missing:
        raise ClaimError(f"hub_prompts({path!r}): no column {missing[0]!r}; it has {', '.join(map(repr, rows[0]))}")
    made = []
    for number, row in enumerate(rows):
        cells = {field: row[column] for field, column in columns.items() if column is not None}
        taken = {field: str(cell) for field, cell in cells.items() if cell is not None}
        rest = {key: value for key, value in row.items() if key not in columns.values()}
        try:
            made.append(_prompt({"id": f"row-{number}"} | taken, metadata=rest))
        except ValidationError as fault:
            raise _wrong_row(f"hub_prompts({path!r}), row {number}", fault) from fault
    return Prompts(made, source=f"{path}@{revision[:8]}/{split}")


def _fetch(path: str, *, name: str | None, split: str, revision: str) -> list[dict[str, Any]]:
    """Imported here, not at the top: `datasets` takes a second, and most claims bring their own prompts."""
    import datasets
    from tenacity import (
        retry,
        retry_if_exception_type,
        retry_if_not_exception_type,
        stop_after_attempt,
        wait_exponential,
    )

    @retry(
        retry=retry_if_exception_type(OSError) & retry_if_not_exception_type(FileNotFoundError),
        wait=wait_exponential(multiplier=0.5, max=8),
        stop=stop_after_attempt(4),
        reraise=True,
    )
    def load() -> Any:
        return datasets.load_dataset(path, name, split=split, revision=revision)

    try:
        return [dict(row) for row in load()]
    except Exception as fault:
        raise ClaimError(
            f"hub_prompts({path!r}, revision={revision[:8]}…): cannot be loaded ({type(fault).__name__}: {fault}). "
            "Offline? Load it once with a network, or point HF_HOME at a cache that holds it; "
            "or deselect this suite file with --ignore"
        ) from fault


def _prompt(row: Mapping[str, Any], *, metadata: Mapping[str, Any] | None = None) -> Prompt:
    known = {key: value for key, value in row.items() if key in Prompt.model_fields and key != "metadata"}
    rest = {key: value for key, value in row.items() if key not in known} if metadata is None else dict(metadata)
    return Prompt.model_validate(known | {"metadata": rest})


def _reply(row: Mapping[str, Any]) -> LabelledReply:
    known = {key: value for key, value in row.items() if key in LabelledReply.model_fields and key != "metadata"}
    rest = {key: value for key, value in row.items() if key not in known}
    return LabelledReply.model_validate(known | {"metadata": rest})


def _lines(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as fault:
                raise ClaimError(f"{path}, line {number}: not JSON ({fault})") from fault
            if not isinstance(row, dict):
                raise ClaimError(f"{path}, line {number}: a row is a JSON object, this is {type(row).__name__}")
            yield number, row


def _text(path: str) -> str:
    try:
        return _find(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as fault:
        raise ClaimError(f"{path}: not UTF-8 ({fault})") from fault


def _wrong_row(place: str, fault: ValidationError) -> ClaimError:
    first = fault.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return ClaimError(f"{place}: {where}: {first['msg']}")


def _find(path: str) -> Path:
    """`path` itself if absolute; else below the nearest `fixtures` folder, walking up from the file that asks.

    The caller's own place decides, not the working directory, so that a suite reads the same data from anywhere.
    """
    given = Path(path)
    if given.is_absolute():
        if given.is_file():
            return given
        raise ClaimError(f"no data file {path}")
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "pytest_alignbench":
        frame = frame.f_back
    caller = Path(frame.f_code.co_filename).resolve()
    starts = caller.parents if caller.is_file() else [Path.cwd(), *Path.cwd().parents]
    for folder in starts:
        found = folder / "fixtures" / given
        if found.is_file():
            return found
    raise ClaimError(f"no data file {path!r} in a 'fixtures' folder at or above {starts[0]}")
