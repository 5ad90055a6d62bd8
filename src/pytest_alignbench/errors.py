"""What can go wrong, one name each; every message gives the value, what is allowed and the fix.

AlignbenchError
├── ClaimError         a claim, gate or data set is wrong: refused when it is built
├── ModelError         a model cannot be used: no such provider, no key, not installed
├── MeasurementError   the instrument failed: nothing can be said about the behaviour
├── BudgetError        a call would not have fitted into what is left of the budget (budgets.py)
└── HistoryError       a record cannot be read or written
"""

from __future__ import annotations


class AlignbenchError(Exception):
    """The root: catch this to catch all of ours."""


class ClaimError(AlignbenchError, ValueError):
    """A claim, condition, gate or prompt that cannot be what was meant."""


class ModelError(AlignbenchError):
    """A model name that leads to no usable model. One line, fit to be shown as it is."""


class MeasurementError(AlignbenchError):
    """A claim that could not be measured. Shown as a pytest ERROR, never as a failed claim."""


class HistoryError(AlignbenchError):
    """A record that cannot be stored, found or trusted."""
