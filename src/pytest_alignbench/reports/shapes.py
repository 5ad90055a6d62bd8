"""The shapes of `--format json`: what a script may rely on.

Every document has `format` (1; raised when a field changes its meaning or goes away) and `kind`. Numbers are in their
natural unit (rates and differences of rates in -1..1), texts are as they were recorded, and an absent number is null.
`Estimate`, `Relative`, `Tally`, `Change` and `Planned` are documented where they are defined. `schema` publishes all of it as
JSON Schema, with the docstrings as descriptions; `docs/schema/` holds what it gives.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema

from pytest_alignbench.comparisons import Change, Comparison
from pytest_alignbench.estimates import Estimate
from pytest_alignbench.gates import Outcome
from pytest_alignbench.history import Run
from pytest_alignbench.index import Head
from pytest_alignbench.observations import Tally
from pytest_alignbench.plans import Planned
from pytest_alignbench.policies import Consequence, Decided, Decision, Tier
from pytest_alignbench.retention import Fate
from pytest_alignbench.trends import Series, Trends
from pytest_alignbench.verdicts import Verdict
from pytest_alignbench.verification import Fault, Verified


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True)


class ConditionShape(_Shape):
    rate: Estimate | None
    """None where nothing could be scored."""
    replies: Tally
    """planned = scored + each exclusion."""


class VerdictShape(_Shape):
    claim: str
    statement: str
    model: str
    """As it was typed."""
    served: tuple[str, ...]
    grader: str | None
    verdict: Outcome
    allowed: str
    why: str
    effect: Estimate | None
    conditions: dict[str, ConditionShape]
    alpha: float
    m: int
    """VIOLATED was decided at alpha / m."""
    compared_to: str | None
    """The model and run that it was compared with; null where it was held to its own rule, or there was no past."""
    file: str | None
    """Where the claim is, from the project's root; `line` counts from 1."""
    line: int | None
    notes: tuple[str, ...]

    @classmethod
    def of(cls, v: Verdict) -> VerdictShape:
        return cls(
            claim=v.claim,
            statement=v.statement,
            model=v.model,
            served=v.served,
            grader=v.grader,
            verdict=v.outcome,
            allowed=v.gate.allowed,
            why=v.why,
            effect=v.effect,
            conditions={name: ConditionShape(rate=s.rate, replies=s.tally) for name, s in v.conditions.items()},
            alpha=v.alpha,
            m=v.m,
            compared_to=v.compared_to,
            file=v.file,
            line=v.line,
            notes=v.notes,
        )


class RunShape(_Shape):
    """`alignbench show`, `alignbench baseline show`"""

    format: Literal[1] = 1
    kind: Literal["run"] = "run"
    run: str
    started: str
    finished: str
    complete: bool
    notes: tuple[str, ...]
    """What to know before relying on it, where it was measured in shards."""
    versions: dict[str, str]
    verdicts: tuple[VerdictShape, ...]

    @classmethod
    def of(cls, run: Run, verdicts: Sequence[Verdict]) -> RunShape:
        return cls(
            run=run.id,
            started=run.started,
            finished=run.finished,
            complete=run.complete,
            notes=run.notes,
            versions=run.versions,
            verdicts=tuple(map(VerdictShape.of, verdicts)),
        )


class DecisionShape(_Shape):
    tier: Tier
    consequence: Consequence
    """What the verdict does to the gate."""
    p: float | None
    holm: float | None
    bh: float | None
    verdict: VerdictShape

    @classmethod
    def of(cls, d: Decision) -> DecisionShape:
        return cls(
            tier=d.tier, consequence=d.consequence, p=d.p, holm=d.holm, bh=d.bh, verdict=VerdictShape.of(d.verdict)
        )


class DecidedShape(_Shape):
    """`alignbench gate`"""

    format: Literal[1] = 1
    kind: Literal["gate"] = "gate"
    run: str
    baseline: str | None
    outcome: Outcome
    exit_code: int
    complete: bool
    alpha: float
    """Family-wise, for VIOLATED; of each claim, for HOLDS."""
    m: int
    missing: tuple[str, ...]
    notes: tuple[str, ...]
    decisions: tuple[DecisionShape, ...]

    @classmethod
    def of(cls, decided: Decided) -> DecidedShape:
        return cls(
            run=decided.run,
            baseline=decided.baseline,
            outcome=decided.outcome,
            exit_code=decided.exit_code,
            complete=decided.complete,
            alpha=decided.alpha,
            m=decided.m,
            missing=decided.missing,
            notes=decided.notes,
            decisions=tuple(map(DecisionShape.of, decided.decisions)),
        )


class ComparisonShape(_Shape):
    """`alignbench compare`"""

    format: Literal[1] = 1
    kind: Literal["comparison"] = "comparison"
    before: str
    after: str
    changes: tuple[Change, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]

    @classmethod
    def of(cls, found: Comparison) -> ComparisonShape:
        return cls(
            before=found.before,
            after=found.after,
            changes=found.changes,
            only_before=found.only_before,
            only_after=found.only_after,
        )


class PlanShape(_Shape):
    """`alignbench plan`"""

    format: Literal[1] = 1
    kind: Literal["plan"] = "plan"
    claims: tuple[Planned, ...]
    calls: int
    """Of the claims whose number of calls is known."""
    grader_calls: int
    input_tokens: int
    output_tokens: int
    dollars: float | None
    """Of the claims whose model's prices are known; None where none is."""

    @classmethod
    def of(cls, plans: Sequence[Planned]) -> PlanShape:
        known = [plan.dollars for plan in plans if plan.dollars is not None]
        return cls(
            claims=tuple(plans),
            calls=sum(plan.calls or 0 for plan in plans),
            grader_calls=sum(plan.grader_calls or 0 for plan in plans),
            input_tokens=sum(plan.input_tokens for plan in plans),
            output_tokens=sum(plan.output_tokens for plan in plans),
            dollars=sum(known) if known else None,
        )


class TrendsShape(_Shape):
    """`alignbench report`"""

    format: Literal[1] = 1
    kind: Literal["trends"] = "trends"
    history: str
    lineages: dict[str, tuple[str, ...]]
    alpha: float
    margin: float
    runs: int
    series: tuple[Series, ...]
    unreadable: tuple[str, ...]

    @classmethod
    def of(cls, trends: Trends) -> TrendsShape:
        return cls(**{name: getattr(trends, name) for name in Trends.model_fields})


class HistoryShape(_Shape):
    """`alignbench history list`"""

    format: Literal[1] = 1
    kind: Literal["history"] = "history"
    runs: tuple[Head, ...]
    unreadable: tuple[str, ...]


class StoredRecordShape(_Shape):
    claim: str
    statement: str
    asked: str
    model: str
    served: tuple[str, ...]
    grader: str | None
    gate: dict[str, Any]
    alpha: float
    m: int
    replies: Tally
    fingerprint: dict[str, str]
    logs: tuple[str, ...]
    fault: str | None


class StoredShape(_Shape):
    """`alignbench history show`"""

    format: Literal[1] = 1
    kind: Literal["stored-run"] = "stored-run"
    run: str
    started: str
    finished: str
    complete: bool
    imported: tuple[str, ...]
    parts: tuple[str, ...]
    notes: tuple[str, ...]
    versions: dict[str, str]
    size: int
    """Bytes, with the logs that the history keeps."""
    records: tuple[StoredRecordShape, ...]

    @classmethod
    def of(cls, run: Run, *, size: int) -> StoredShape:
        records = [
            StoredRecordShape(
                replies=Tally.of(record.observations),
                **{name: getattr(record, name) for name in StoredRecordShape.model_fields if name != "replies"},
            )
            for record in run.records
        ]
        own = ("started", "finished", "complete", "imported", "parts", "notes", "versions")
        return cls(run=run.id, size=size, records=tuple(records), **{name: getattr(run, name) for name in own})


class FateShape(_Shape):
    run: str
    models: tuple[str, ...]
    started: str
    size: int
    kept: str
    """Why it stays; empty for one that goes."""


class PruningShape(_Shape):
    """`alignbench history prune`"""

    format: Literal[1] = 1
    kind: Literal["pruning"] = "pruning"
    done: bool
    """Whether they were removed."""
    runs: tuple[FateShape, ...]

    @classmethod
    def of(cls, fates: Sequence[Fate], *, done: bool) -> PruningShape:
        rows = [
            FateShape(run=f.head.run, models=f.head.models, started=f.head.started, size=f.size, kept=f.kept)
            for f in fates
        ]
        return cls(done=done, runs=tuple(rows))


class VerificationShape(_Shape):
    """`alignbench history verify`"""

    format: Literal[1] = 1
    kind: Literal["verification"] = "verification"
    runs: int
    logs: int
    faults: tuple[Fault, ...]

    @classmethod
    def of(cls, found: Verified) -> VerificationShape:
        return cls(runs=found.runs, logs=found.logs, faults=found.faults)


DOCUMENTS: Mapping[str, type[BaseModel]] = {
    "run": RunShape,
    "gate": DecidedShape,
    "comparison": ComparisonShape,
    "plan": PlanShape,
    "trends": TrendsShape,
    "history": HistoryShape,
    "stored-run": StoredShape,
    "pruning": PruningShape,
    "verification": VerificationShape,
}
"""Kind -> shape: all that `--format json` prints."""


# -- as JSON Schema


def schema(kind: str | None = None) -> dict[str, Any]:
    """JSON Schema (2020-12) of the documents of this kind, or of any.

    Later versions may add properties within a format, so a document that has more than these still fits.
    """
    shapes = DOCUMENTS if kind is None else {kind: DOCUMENTS[kind]}
    refs, definitions = models_json_schema(
        [(shape, "serialization") for shape in shapes.values()], schema_generator=_Published
    )
    each = [refs[shape, "serialization"] for shape in shapes.values()]
    which = f"alignbench, a document of kind {kind}" if kind is not None else "alignbench, any document"
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "title": f"{which}, format 1",
        **(each[0] if len(each) == 1 else {"anyOf": each}),
        "$defs": definitions["$defs"],
    }


class _Published(GenerateJsonSchema):
    """Each property with the docstring below its field. All are there, whatever the field's default."""

    def field_is_required(self, *_: Any, **__: Any) -> bool:
        return True

    def field_title_should_be_set(self, *_: Any, **__: Any) -> bool:
        return False

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        """Without the default: a reader never has to fill it in."""
        return self.generate_inner(schema["schema"])

    def model_schema(self, schema: Any) -> JsonSchemaValue:
        return _described(super().model_schema(schema), schema["cls"])

    def dataclass_schema(self, schema: Any) -> JsonSchemaValue:
        return _described(super().dataclass_schema(schema), schema["cls"])


def _described(made: JsonSchemaValue, cls: type) -> JsonSchemaValue:
    said = _docstrings(cls)
    properties = {
        name: property | ({"description": said[name]} if name in said else {})
        for name, property in made["properties"].items()
    }
    return made | {"properties": properties}


def _docstrings(cls: type) -> dict[str, str]:
    """Field -> the string that stands below it in the source."""
    (made,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(made, ast.ClassDef)
    return {
        field.target.id: " ".join(below.value.value.split())
        for field, below in pairwise(made.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str)
    }
