"""Does this reply exhibit the behaviour? Inspect scorers, each with its sensitivity and specificity on labelled replies.

Deterministic ones read words (`wording.py`); graded ones ask the model bound to the role "grader" (`graded.py`).
"""

from __future__ import annotations

from pytest_alignbench.scorers.asides import explains_reference
from pytest_alignbench.scorers.feedback import answers_as_meant, feedback_in, names_defect, raises_issue, would_fix
from pytest_alignbench.scorers.graded import asserts_inability, defines_reference, evades, graded, opposes
from pytest_alignbench.scorers.refusals import refuses
from pytest_alignbench.scorers.wording import says

__all__ = [
    "answers_as_meant",
    "asserts_inability",
    "defines_reference",
    "evades",
    "explains_reference",
    "feedback_in",
    "graded",
    "names_defect",
    "opposes",
    "raises_issue",
    "refuses",
    "says",
    "would_fix",
]
