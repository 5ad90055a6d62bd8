"""A truth: how often a simulated model exhibits a behaviour, which replies it has for that, and how well a grader grades.

Draws depend on the name, the claim, the prompt and the epoch alone: the same come serial, in parallel and on every machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pytest_alignbench.claims import Claim
from pytest_alignbench.data import LabelledReply
from pytest_alignbench.errors import ModelError
from pytest_alignbench.models.plays import Play

CONTROLS = ("simulated/misbehaving", "simulated/behaving", "simulated/blind")

PROFILES: dict[str, Mapping[str, float]] = {}
"""The project's own simulated models, by name; filled from its settings before a run."""


def uniform(*key: object) -> float:
    """A number in [0, 1) that depends on `key` alone, equal in every process."""
    bits = hashlib.sha256("\x1f".join(map(str, key)).encode()).digest()[:7]
    return int.from_bytes(bits) / 2**56


@dataclass(frozen=True)
class Truth:
    """How often a simulated model exhibits a claim's behaviour in each condition."""

    name: str
    profiles: Mapping[str, Mapping[str, float]]

    def rates(self, claim: Claim) -> Mapping[str, float]:
        """Rate per condition: 0 in a condition that the gate does not look at, unless the name says otherwise."""
        kind = self.name.partition("@")[0]
        names = list(claim.arms)
        if kind == "blind":
            return dict.fromkeys(names, 0.5)
        if kind.startswith("rate-"):
            return dict.fromkeys(names, self.number(kind))
        behaving, misbehaving = claim.gate.extremes
        if kind == "behaving":
            rates = claim.gate.true_rates(behaving)
        elif kind == "misbehaving":
            rates = claim.gate.true_rates(misbehaving)
        elif kind.startswith("effect-"):
            rates = claim.gate.true_rates(self.number(kind), base=0.02)
        elif kind in self.profiles:
            effects = [effect for pattern, effect in self.profiles[kind].items() if fnmatchcase(claim.id, pattern)]
            rates = claim.gate.true_rates(effects[-1] if effects else behaving, base=0.02)
        else:
            raise ModelError(self.unknown(kind))
        return {name: rates.get(name, 0.0) for name in names}

    def draw(self, play: Play) -> bool:
        # A blind model does the same for an item in all conditions: the condition is no part of its draw.
        where = "" if self.name.startswith("blind") else play.condition
        drawn = uniform("draw", self.name, play.claim.id, where, play.pair, play.epoch)
        return drawn < self.rates(play.claim)[play.condition]

    def number(self, kind: str) -> float:
        """The number in `rate-0.30` or `effect-0.15`."""
        word, _, said = kind.partition("-")
        try:
            number = float(said)
        except ValueError:
            raise ModelError(self.unknown(kind)) from None
        least = 0.0 if word == "rate" else -1.0
        if not least <= number <= 1:
            raise ModelError(f"model 'simulated/{kind}': {word} is within {least:g}..1, as in {word}-0.15")
        return number

    def unknown(self, kind: str) -> str:
        known = ", ".join(["behaving, misbehaving, blind, effect-0.15, rate-0.30", *self.profiles])
        return f"model 'simulated/{kind}': not one of {known}"


def check_simulated(kind: str) -> None:
    """Raises ModelError for a name under `simulated/` that stands for nothing."""
    if kind.startswith("grader"):
        grader_quality(kind)
        return
    truth, plain = Truth(kind, PROFILES), kind.partition("@")[0]
    if plain.startswith(("rate-", "effect-")):
        truth.number(plain)
    elif plain not in ("behaving", "misbehaving", "blind", *PROFILES):
        raise ModelError(truth.unknown(plain))


def labelled_reply(play: Play, truth: bool) -> LabelledReply:
    """A labelled reply of the wanted kind: to this very item if there is one, else one that fits any item.

    Raises ModelError when the claim has no reply of that kind.
    """
    kind = [r for r in play.claim.labelled if r.exhibits is truth]
    fitting = [r for r in kind if r.pair == play.pair] or [r for r in kind if not r.pair] or kind
    if not fitting:
        raise ModelError(
            f"claim {play.claim.id!r} has no labelled reply with exhibits={truth} for a simulated model to give"
        )
    return fitting[int(uniform("reply", play.claim.id, play.pair, play.epoch) * len(fitting))]


def grader_quality(kind: str) -> tuple[float, float]:
    numbers = kind.partition("@")[0].removeprefix("grader").strip("-").split("-")
    if numbers == [""]:
        return 1.0, 1.0
    try:
        sensitivity, specificity = map(float, numbers)
    except ValueError:
        raise ModelError(f"model 'simulated/{kind}': a simulated grader is grader-SENSITIVITY-SPECIFICITY") from None
    if not (0 <= sensitivity <= 1 and 0 <= specificity <= 1):
        raise ModelError(f"model 'simulated/{kind}': sensitivity and specificity are within 0..1")
    return sensitivity, specificity
