"""Models: the names people type, and the simulated models whose truth is known.

Any Inspect name is a model. Short names resolve by prefix (`claude-x` -> `anthropic/claude-x`) or by the project's own
`[tool.alignbench.models]`.

`simulated/…` is an Inspect provider of ours that calls nobody. It knows which claim it is asked for, draws whether this
reply exhibits the behaviour at its true rate, and answers with a labelled reply of that kind:

    simulated/behaving       keeps the claim's rule plainly                  must be judged HOLDS
    simulated/misbehaving    breaks it plainly                               must be judged VIOLATED
    simulated/blind          does the same in all conditions, half the time  must be judged as the rule has it
    simulated/effect-0.15    true effect of 15 points, as the gate counts it
    simulated/rate-0.30      exhibits in 30 % of replies, whatever the condition
    simulated/NAME           a profile of `[tool.alignbench.simulated.NAME]`: claim pattern -> true effect
    simulated/grader-0.9-0.95   a grader of that sensitivity and specificity; `simulated/grader` errs never

`organism/NAME` is a small real model of ours that samples text in this process: see `organisms.py` and docs/organisms.md.

A trailing `@7` seeds another draw.
"""

from pytest_alignbench.models.bills import Bill, meter
from pytest_alignbench.models.calls import (
    Answered,
    Attempt,
    Failed,
    around,
    bind_retries,
    frameless,
    hopeless,
    output_of,
    unwrapped,
)
from pytest_alignbench.models.clients import usable
from pytest_alignbench.models.plays import PLAY, Memory, Play, remembering
from pytest_alignbench.models.providers import Organism, Simulated
from pytest_alignbench.models.truths import CONTROLS, PROFILES, Truth, labelled_reply
from pytest_alignbench.names import resolve

__all__ = [
    "CONTROLS",
    "PLAY",
    "PROFILES",
    "Answered",
    "Attempt",
    "Bill",
    "Failed",
    "Memory",
    "Organism",
    "Play",
    "Simulated",
    "Truth",
    "around",
    "bind_retries",
    "frameless",
    "hopeless",
    "labelled_reply",
    "meter",
    "output_of",
    "remembering",
    "resolve",
    "unwrapped",
    "usable",
]
