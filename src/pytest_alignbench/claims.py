"""A claim: a falsifiable statement about a behaviour, as a value that is known before anything is measured.

    Claim ── conditions ──> Condition: prompts (data.py), perhaps with a solver of its own
      │                     or InspectTask: any task of Inspect's, with a reading of its score
      ├── scorer            any Inspect scorer: does this reply exhibit the behaviour?
      ├── gate              what is allowed (gates.py)
      └── replies           labelled replies: they test the scorer, and feed the simulated models

A claim is frozen and checks itself when it is built: one that cannot be right, or that can never hold with the prompts
it has, is refused there with the fix named. This module knows nothing of Inspect; scorers and solvers pass through it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from pytest_alignbench.data import LabelledReply, Prompts, replies
from pytest_alignbench.errors import ClaimError
from pytest_alignbench.gates import Arm, Gate

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


def check_id(id: str) -> None:
    """Raises ClaimError, with the fix, for what is no claim's id."""
    if not _ID.fullmatch(id):
        raise ClaimError(
            f"claim id {id!r}: an id is 1 to 100 of a-z, 0-9, '.', '_' and '-', starting with a letter or digit; "
            f"did you mean {_slug(id)!r}?"
        )


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One arm of the experiment.

    `solver`: an Inspect solver in place of a plain call to the model, for an experiment in several steps; its last
    output is what is scored. `calls`: how many calls it makes for a prompt, for the plan.
    """

    prompts: Prompts
    system: str | None = None
    solver: Any = None
    calls: int = 1

    @property
    def asked(self) -> Prompts:
        """The prompts as the model gets them, the condition's system prompt in place."""
        return self.prompts if self.system is None else self.prompts.with_system(self.system)


@dataclass(frozen=True)
class InspectTask:
    """A condition that is a task of Inspect's: its data, solver and scorer run as `inspect eval` runs them.

    `task`: a registered name (`inspect_evals/…`), or a function that returns a Task. `exhibits` reads the task's score:
    it is given the value (`"C"`, `1.0`, a dict …) and returns whether the reply exhibits the behaviour, or None if the
    score does not say. `family`: the metadata key that clusters samples; without one each sample stands alone.
    """

    task: str | Callable[..., Any]
    exhibits: Callable[[Any], bool | None] = field(kw_only=True)
    args: Mapping[str, Any] = field(kw_only=True, default_factory=dict)
    scorer: str | None = field(kw_only=True, default=None)
    """Which of the task's scorers to read; the first one if None."""
    family: str | None = field(kw_only=True, default=None)
    limit: int | None = field(kw_only=True, default=None)
    """At most so many samples, the first ones."""


inspect_task = InspectTask


@dataclass(frozen=True, kw_only=True, repr=False)
class Claim:
    """One falsifiable statement, with all that is needed to test it on any model.

    `conditions`: name -> Prompts, Condition or InspectTask; the names are those that the gate and the reports use.
    `scorer`: an Inspect scorer whose value says whether the reply exhibits the behaviour (True/False, 1/0, "C"/"I"); an
    unscored value is an exclusion. Claims that hold InspectTasks alone need none. `replies`: labelled replies, or the
    path of their file. `version`: raised by hand when the meaning of the claim changes; older records are then not
    comparable. `epochs`: replies per prompt. `config`: Inspect generation options such as `{"temperature": 1.0}`.

    Raises ClaimError for anything that cannot be meant.
    """

    id: str
    statement: str
    conditions: Mapping[str, Prompts | Condition | InspectTask]
    gate: Gate
    scorer: Any = None
    replies: str | tuple[LabelledReply, ...] = ()
    version: int = 1
    epochs: int = 1
    config: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_id(self.id)
        self._need(self.statement.strip(), "has no statement; say in one sentence what would be false if it failed")
        self._need(self.conditions, "has no conditions; give it at least one, as {'name': prompts(…)}")
        self._need(self.epochs >= 1, f"epochs={self.epochs}; a prompt is asked at least once")
        self._need(
            isinstance(self.gate, Gate), f"gate={self.gate!r} is no gate; use RateAtMost(…), DifferenceAtMost(…) …"
        )
        arms = {name: _condition(self.id, name, given) for name, given in self.conditions.items()}
        plain = [name for name, arm in arms.items() if isinstance(arm, Condition)]
        self._need(
            self.scorer is not None or not plain, f"has no scorer to score condition {plain[:1]}; give it scorer=…"
        )
        object.__setattr__(self, "conditions", MappingProxyType(arms))
        object.__setattr__(self, "config", MappingProxyType(dict(self.config)))
        if isinstance(self.replies, str):
            object.__setattr__(self, "replies", replies(self.replies))
        try:
            object.__setattr__(self, "gate", self.gate.fitted({name: _arm(arm) for name, arm in arms.items()}))
        except ClaimError as fault:
            raise ClaimError(f"claim {self.id!r}: {fault}") from fault

    def __repr__(self) -> str:
        """Short: pytest shows it when an assertion about the claim fails."""
        return f"<Claim {self.id}>"

    def _need(self, condition: object, otherwise: str) -> None:
        if not condition:
            raise ClaimError(f"claim {self.id!r} {otherwise}")

    @property
    def arms(self) -> Mapping[str, Condition | InspectTask]:
        """The conditions as they were understood: bare prompts have become a Condition."""
        return {name: arm for name, arm in self.conditions.items() if not isinstance(arm, Prompts)}

    @property
    def labelled(self) -> tuple[LabelledReply, ...]:
        assert not isinstance(self.replies, str)  # resolved when built
        return self.replies

    @property
    def planned(self) -> int | None:
        """Replies to be scored, or None where an InspectTask's size is not known before it is loaded."""
        return self._sum(lambda arm: len(arm.prompts))

    @property
    def calls(self) -> int | None:
        """Calls to the model for them: more than the replies where a condition takes several steps."""
        return self._sum(lambda arm: len(arm.prompts) * arm.calls)

    def _sum(self, size: Callable[[Condition], int]) -> int | None:
        sizes = [size(arm) if isinstance(arm, Condition) else None for arm in self.arms.values()]
        return None if None in sizes else sum(size or 0 for size in sizes) * self.epochs


def _condition(claim: str, name: str, given: object) -> Condition | InspectTask:
    if isinstance(given, Prompts):
        return Condition(prompts=given)
    if isinstance(given, Condition | InspectTask):
        return given
    raise ClaimError(
        f"claim {claim!r}, condition {name!r}: {type(given).__name__} is none; give prompts(…), Condition(…) or inspect_task(…)"
    )


def _arm(condition: Condition | InspectTask) -> Arm | None:
    if isinstance(condition, InspectTask):
        return None
    return Arm(prompts=[(p.pair, p.family) for p in condition.prompts])


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:100] or "my-claim"
