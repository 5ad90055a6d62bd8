"""A budget: the most that a session may spend, over all its processes.

    1000calls     requests to providers, each retry counted
    2Mtok         tokens, in and out (also 500ktok, 900tok)
    5USD          dollars, at the prices that Inspect was told

What a call may cost at worst is reserved before it is made, and what it did cost is settled after it. So the budget is
never exceeded: a call whose worst case does not fit is not made. The account is a file that all processes of a session
share; what a killed process had reserved stays spent, since nobody knows whether its calls were billed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock

from pytest_alignbench.errors import AlignbenchError

Unit = Literal["calls", "tokens", "dollars"]

_FORM = re.compile(
    r"(?P<number>\d+(?:[._,]\d+)*)\s*(?P<scale>[kM]?)\s*(?P<unit>calls?|tok(?:ens)?|USD|\$)", re.IGNORECASE
)
_SCALES = {"": 1, "k": 1_000, "m": 1_000_000}
_UNITS: dict[str, Unit] = {"call": "calls", "calls": "calls", "tok": "tokens", "tokens": "tokens"}


class BudgetError(AlignbenchError):
    """A call was not made: its worst case would not have fitted into what is left."""


@dataclass(frozen=True)
class Budget:
    """So much of a unit."""

    amount: float
    unit: Unit

    @classmethod
    def of(cls, text: str) -> Budget:
        """Raises AlignbenchError, with what is allowed, for anything that is no budget."""
        found = _FORM.fullmatch(text.strip())
        number = found["number"].replace("_", "").replace(",", "") if found else ""
        try:
            amount = float(number) * _SCALES[found["scale"].lower()] if found else -1.0
        except ValueError:
            amount = -1.0
        if found is None or amount < 0:
            raise AlignbenchError(f"budget {text!r}: write it as 5USD, 2Mtok, 500ktok or 1000calls")
        return cls(amount, _UNITS.get(found["unit"].lower(), "dollars"))

    def __str__(self) -> str:
        return self.said(self.amount)

    def said(self, amount: float) -> str:
        """So much of its unit, for people."""
        return f"${amount:,.2f}" if self.unit == "dollars" else f"{amount:,.0f} {self.unit}"


class Purse:
    """What has been spent of a budget, in a file; any number of processes may use it at once."""

    def __init__(self, file: Path, budget: Budget) -> None:
        self.budget = budget
        self._file = file
        self._lock = FileLock(f"{file}.lock")
        self.open = 0
        """Reservations of this process that are not settled: what they leave over may yet come back."""

    @property
    def spent(self) -> float:
        try:
            return float(self._file.read_text(encoding="ascii"))
        except FileNotFoundError:
            return 0.0

    def reserve(self, worst: float) -> bool:
        """Takes `worst` out of the purse, if it is in there."""
        with self._lock:
            spent = self.spent
            if spent + worst > self.budget.amount:
                return False
            self._put(spent + worst)
        self.open += 1
        return True

    def settle(self, worst: float, cost: float) -> None:
        """Gives back what a reservation of `worst` did not need."""
        self.open -= 1
        if cost != worst:
            with self._lock:
                self._put(max(0.0, self.spent - worst + cost))

    def begin(self, spent: float) -> None:
        """What an interrupted session spent counts for the one that goes on with it."""
        with self._lock:
            self._put(spent)

    def _put(self, spent: float) -> None:
        aside = self._file.with_name(f".{self._file.name}.part")
        aside.write_text(repr(spent), encoding="ascii")
        aside.replace(self._file)
