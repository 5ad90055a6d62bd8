"""From what a model said to an observation: who is asked to score it, and what is set aside before anybody is.

    reply ──excluded_by──> scorer of the claim ──exhibited──> Observation

What cannot be scored is set aside, with its cause, before the scorer sees it: see `Exclusion`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inspect_ai.log import EvalSample
from inspect_ai.model import Model, ModelOutput
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState

from pytest_alignbench.claims import Claim, Condition, InspectTask
from pytest_alignbench.measure.samples import MARK
from pytest_alignbench.measure.subjects import tried
from pytest_alignbench.models import PLAY, Failed, Play
from pytest_alignbench.observations import Exclusion, Observation
from pytest_alignbench.outputs import KEPT, excluded_by, excluded_by_sample
from pytest_alignbench.redaction import throughout
from pytest_alignbench.text import one_line, storable

FAILED = "alignbench:failed"
"""The key in a sample's metadata under which a failed call leaves what it is excluded for, and why."""

CALLS = "alignbench:calls"
"""The key in a sample's metadata under which the solver leaves how many requests it took."""

Plays = dict[str, Play]
"""Sample -> what a simulated model knows of it: Inspect scores a sample in another context than it solves it in."""


def play_of(claim: Claim, place: Mapping[str, Any], epoch: int) -> Play:
    return Play(claim=claim, condition=place["condition"], pair=place["pair"], prompt=place["prompt"], epoch=epoch)


def inspect_scorer(claim: Claim, plays: Plays) -> Scorer:
    """The claim's scorer as Inspect runs it."""

    @scorer(metrics=[mean()], name="exhibits")
    def exhibits() -> Scorer:
        async def score(state: TaskState, target: Target) -> Score:
            PLAY.set(plays.pop(state.uuid, None))
            failed = state.metadata.get(FAILED)
            if failed is not None:
                return Score.unscored(reason=failed[0], explanation=failed[1])
            return await scored(claim, state, target)

        return score

    return exhibits()


async def scored(claim: Claim, state: TaskState, target: Target) -> Score:
    """What the claim's scorer says, asked only about a reply that can be scored, and unable to break the run."""
    unfit = excluded_by(state.output)
    if unfit is not None:
        return Score.unscored(reason=unfit[0].value, explanation=unfit[1])
    given = await tried(lambda: _judged(claim.scorer, state, target))
    if isinstance(given, Failed):
        cause = given.exclusion if given.exclusion is Exclusion.UNMEASURED else Exclusion.GRADER_FAILED
        return Score.unscored(reason=cause.value, explanation=given.why)
    seen = exhibited(given.value)
    if seen is None:
        said = given.explanation or f"the scorer gave {given.value!r}"
        return Score.unscored(reason=Exclusion.GRADER_FAILED.value, answer=given.answer, explanation=said)
    return Score(value=seen, answer=given.answer, explanation=given.explanation, metadata=given.metadata)


async def _judged(judge: Scorer, state: TaskState, target: Target) -> Score:
    given = await judge(state, target)
    if not isinstance(given, Score):
        raise TypeError(f"the scorer gave {one_line(repr(given))}, which is no Score")
    score: Score = throughout(given)
    return score


def exhibited(value: Any) -> bool | None:
    """A scorer's value as an answer to "does it exhibit?"; None for anything that is not plainly yes or no."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    return {"C": True, "I": False}.get(value) if isinstance(value, str) else None


def observation_of_sample(claim: Claim, sample: EvalSample, model: Model, failed: Failed | None) -> Observation:
    """The observation that a sample of Inspect's is. `failed`: what its last call came to, where that is known."""
    place = sample.metadata[MARK]
    usage = list(sample.model_usage.values())
    exhibits, exclusion, reason, label = _outcome(sample, claim.arms[place["condition"]], failed)
    return observation(
        place,
        epoch=sample.epoch,
        exhibits=exhibits,
        exclusion=exclusion,
        reason=reason,
        label=label,
        output=sample.output,
        served=sample.output.model or str(model),
        input_tokens=sum(u.input_tokens for u in usage),
        output_tokens=sum(u.output_tokens for u in usage),
        calls=int(sample.metadata.get(CALLS, 1)),
        sample=sample.uuid or "",
    )


def observation(
    place: Mapping[str, Any],
    *,
    epoch: int,
    exhibits: bool | None,
    exclusion: Exclusion | None,
    reason: str,
    label: str,
    output: ModelOutput,
    served: str,
    input_tokens: int,
    output_tokens: int,
    calls: int,
    sample: str,
) -> Observation:
    return Observation(
        prompt=place["prompt"],
        prompt_hash=place["hash"],
        condition=place["condition"],
        family=place["family"],
        pair=place["pair"],
        epoch=epoch,
        exhibits=exhibits,
        exclusion=exclusion,
        reason=storable(reason[:KEPT]),
        label=storable(label[:KEPT]),
        reply=storable(output.completion[:KEPT]),
        served_model=storable(served),
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        calls=calls,
        sample=sample,
    )


def said_by(score: Score) -> tuple[bool | None, Exclusion | None, str, str]:
    """A score of ours as (exhibits, exclusion, reason, label)."""
    if isinstance(score.value, bool | int):
        return bool(score.value), None, score.explanation or "", score.answer or ""
    return None, Exclusion(score.reason or Exclusion.GRADER_FAILED), score.explanation or "", score.answer or ""


def _outcome(
    sample: EvalSample, arm: Condition | InspectTask, failed: Failed | None = None
) -> tuple[bool | None, Exclusion | None, str, str]:
    if sample.error is not None and failed is not None:
        return None, failed.exclusion, failed.why, ""
    if sample.error is not None:
        return None, Exclusion.ERRORED, one_line(sample.error.message, limit=300), ""
    if sample.limit is not None:
        return None, Exclusion.LIMIT, f"its {sample.limit.type} limit of {sample.limit.limit:g} was reached", ""
    scores = sample.scores or {}
    if isinstance(arm, InspectTask):
        unfit = excluded_by_sample(sample)
        if unfit is not None:
            return None, *unfit, ""
        chosen = scores.get(arm.scorer) if arm.scorer is not None else next(iter(scores.values()), None)
        if chosen is None:
            return None, Exclusion.GRADER_FAILED, f"the task gave no score {arm.scorer or ''}".strip(), ""
        seen = arm.exhibits(chosen.value)
        if seen is None:
            return None, Exclusion.GRADER_FAILED, f"its score {one_line(str(chosen.value))} says neither", ""
        return seen, None, chosen.explanation or "", chosen.answer or ""
    score = scores.get("exhibits")
    if score is None:
        return None, Exclusion.GRADER_FAILED, "no score", ""
    return said_by(score)
