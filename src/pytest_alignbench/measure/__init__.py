"""The run engine: experiments in, observations out. The only place where models are asked.

Experiment (claim x model) ──> Measurement: a desk, and a thread that works through it
                                 ├── direct lane     one call a reply, no grader: Model.generate alone
                                 └── inspect lane    solvers, graders, tasks of Inspect's: one Inspect run for all
                               ──> Observation, by observation ──> Measured

children.py puts Measurements into processes of their own.
"""

from pytest_alignbench.measure.experiments import (
    Experiment,
    Instrument,
    Measured,
    config_of,
    fingerprint,
    identity,
    needs_grader,
)
from pytest_alignbench.measure.measurement import Measurement
from pytest_alignbench.measure.scoring import exhibited

__all__ = [
    "Experiment",
    "Instrument",
    "Measured",
    "Measurement",
    "config_of",
    "exhibited",
    "fingerprint",
    "identity",
    "needs_grader",
]
