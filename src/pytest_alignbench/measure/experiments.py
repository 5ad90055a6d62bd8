"""What is to be measured, by which instrument, and what came of it; and what makes two measurements comparable."""

from __future__ import annotations

import inspect
import io
import textwrap
import tokenize
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from inspect_ai.model import GenerateConfig
from inspect_ai.util import registry_info
from pydantic import ValidationError

from pytest_alignbench.claims import Claim, Condition
from pytest_alignbench.data import digest
from pytest_alignbench.errors import ClaimError
from pytest_alignbench.estimates import Calibration
from pytest_alignbench.observations import Observation


@dataclass(frozen=True)
class Experiment:
    """One claim on one model. `asked` is the name that the user typed, `model` what it resolved to."""

    claim: Claim
    asked: str
    model: str

    @property
    def key(self) -> str:
        return f"{self.claim.id} @ {self.asked}"

    @property
    def direct(self) -> bool:
        """Whether each reply takes one call and no grader: such claims need none of what Inspect's samples offer."""
        arms = self.claim.arms.values()
        plain = all(isinstance(arm, Condition) and arm.solver is None for arm in arms)
        return plain and not needs_grader(self.claim) and "batch" not in self.claim.config

    @property
    def task_name(self) -> str:
        """Short enough for a file name, whatever the ids are: its log is named after it."""
        return f"{slug(self.claim.id)}--{slug(self.asked)}--{digest(self.key)[:6]}"


@dataclass(frozen=True, kw_only=True)
class Instrument:
    """How replies are asked for and graded: equal for all experiments of a session.

    `connections`: calls in flight at once to one model from this process. `attempts`: tries of one call, the first
    included. `attempt_timeout`: seconds for one try; it is what ends a call that hangs.
    """

    log_dir: str
    connections: int = 20
    grader: str | None = None
    attempts: int = 5
    attempt_timeout: int = 120
    look_alpha: float | None = None
    """One-sided level of each look, where claims may stop early; None where every planned reply is asked for."""
    m: int = 1
    """The declared number of decisions, for VIOLATED at a look."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one experiment gave. `fault` says why nothing can be concluded, if so."""

    key: str
    observations: tuple[Observation, ...]
    calibration: Calibration | None
    logs: tuple[str, ...]
    seconds: float
    fault: str | None = None
    not_measured: str | None = None
    """Why nothing was asked, where that is no fault: the budget was spent."""
    stopped_at: int | None = None
    """The look at which it was decided early, if it was: the replies planned after it are no part of the design."""

    @property
    def served(self) -> tuple[str, ...]:
        return tuple(sorted({o.served_model for o in self.observations if o.served_model}))


# -- from claims to Inspect


def needs_grader(claim: Claim) -> bool:
    """Whether the claim's scorer asks a model for a grade; scorers say so by `@scorer(..., grader=True)`."""
    if claim.scorer is None:
        return False
    try:
        return bool(registry_info(claim.scorer).metadata.get("grader"))
    except (AttributeError, ValueError) as fault:
        raise ClaimError(
            f"claim {claim.id!r}: its scorer {claim.scorer!r} is not one of Inspect's; "
            "decorate the function that makes it with @scorer(metrics=[mean()]), and call it: scorer=my_scorer()"
        ) from fault


def config_of(claim: Claim) -> GenerateConfig:
    """The claim's generation options as Inspect's. Raises ClaimError for what is none of them, or would not be measuring."""
    unknown = sorted(claim.config.keys() - GenerateConfig.model_fields.keys())
    if unknown:
        close = get_close_matches(unknown[0], GenerateConfig.model_fields, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ClaimError(f"claim {claim.id!r}: its config has {unknown[0]!r}, which is no option of Inspect's{hint}")
    if claim.config.get("cache"):
        raise ClaimError(f"claim {claim.id!r}: its config asks for cached replies; a claim is measured on new ones")
    try:
        return GenerateConfig(**claim.config)
    except ValidationError as fault:
        first = fault.errors()[0]
        at = ".".join(map(str, first["loc"]))
        raise ClaimError(f"claim {claim.id!r}: its config has {at}={first['input']!r}: {first['msg']}") from fault


def scorer_of(claim: Claim) -> dict[str, Any]:
    """Name, version and arguments of the claim's scorer: its part of the fingerprint."""
    return {} if claim.scorer is None else _made(claim.scorer)


def _made(thing: Any) -> dict[str, Any]:
    """What a scorer or solver of Inspect's registry is, as a JSON value.

    `@scorer(..., version=2)` says when its meaning changes. Where nobody says it, its source does, without comments and
    layout. Inspect keeps the arguments in an attribute of its own; a test pins that.
    """
    info = registry_info(thing)
    return {
        "name": info.name,
        "version": info.metadata.get("version") or _source(thing),
        "args": _plain(getattr(thing, "__registry_params__", {})),
    }


def _source(thing: Any) -> str | None:
    try:
        tokens = tokenize.generate_tokens(io.StringIO(textwrap.dedent(inspect.getsource(thing))).readline)
        layout = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
        return digest([token.string for token in tokens if token.type not in layout])
    except (OSError, TypeError, tokenize.TokenError):
        return None


def fingerprint(experiment: Experiment, instrument: Instrument) -> dict[str, str]:
    """Part -> hash of all that makes two records of a claim comparable.

    Parts apart, so that a comparison can name what differs; the model under test is no part.
    """
    claim = experiment.claim
    prompts: dict[str, Any] = {}
    solvers: dict[str, Any] = {}
    for name, arm in claim.arms.items():
        if isinstance(arm, Condition):
            prompts[name] = sorted((p.pair, p.hash) for p in arm.asked)
            steps = arm.solver if isinstance(arm.solver, Sequence) else [arm.solver]
            solvers[name] = [_made(step) for step in steps if step is not None]
        else:
            task = arm.task if isinstance(arm.task, str) else f"{arm.task.__module__}.{arm.task.__qualname__}"
            prompts[name] = [task, _plain(arm.args), arm.limit]
            solvers[name] = task
    return {
        "claim version": digest(claim.version),
        "prompts": digest(prompts),
        "solver": digest(solvers),
        "generation config": digest([_plain(claim.config), claim.epochs]),
        "scorer": digest(scorer_of(claim)),
        "grader": digest(instrument.grader if needs_grader(claim) else None),
    }


def _plain(value: Any) -> Any:
    """A JSON value that stands for `value`: objects by their type's name, never by an address."""
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, Iterable):
        return [_plain(v) for v in value]
    return f"{type(value).__module__}.{type(value).__qualname__}"


def identity(experiment: Experiment, instrument: Instrument) -> str:
    """Names everything that a reply and its score depend on, rows of data whole: only what was measured under the very
    same identity may be taken for a reply that is still due."""
    arms = {
        name: [prompt.model_dump(mode="json") for prompt in arm.asked] if isinstance(arm, Condition) else None
        for name, arm in experiment.claim.arms.items()
    }
    return digest([experiment.key, experiment.model, fingerprint(experiment, instrument), _plain(arms)])


def slug(text: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in text)[:60].strip("-.")
