"""A budget: the most that a session may spend, over all its processes.

    1000calls     requests to providers, each retry counted
    2Mtok         tokens, in and out (also 500ktok, 900tok)
    5USD          dollars, at the prices that Inspect was told

What a call may cost at worst is reserved before it is made, and what it did cost is settled after it. So the budget is
never exceeded: a call whose worst case does not fit is not made. The account is a file that all processes of a session
share; what a killed process had reserved stays spent, since nobody knows whether its calls were billed. A session that goes
on with an interrupted one counts what that one spent.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import psutil
from filelock import FileLock

from pytest_alignbench.errors import AlignbenchError

Unit = Literal["calls", "tokens", "dollars"]

_FORM = re.compile(
    # A comma parts thousands and nothing else: 2,5USD may mean 2.5 to who types it, and is refused.
    r"(?P<number>(?:\d{1,3}(?:[,_]\d{3})+|\d+)(?:\.\d+)?)\s*(?P<scale>[kM]?)\s*(?P<unit>calls?|tok(?:ens?)?|USD|\$)",
    re.IGNORECASE | re.ASCII,
)
_SCALES = {"": 1, "k": 1_000, "m": 1_000_000}
_UNITS: dict[str, Unit] = {"c": "calls", "t": "tokens", "u": "dollars", "$": "dollars"}
"""By their first letter."""


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
        if found is None:
            raise AlignbenchError(f"budget {text!r}: write it as 5USD, 2.5USD, 2Mtok, 500ktok or 1000calls")
        number = float(found["number"].replace("_", "").replace(",", ""))
        return cls(number * _SCALES[found["scale"].lower()], _UNITS[found["unit"][0].lower()])

    def __str__(self) -> str:
        return self.said(self.amount)

    def said(self, amount: float) -> str:
        """So much of its unit, for people."""
        if self.unit == "dollars":
            return f"${amount:,.2f}"
        return f"{amount:,.0f} {self.unit if amount != 1 else self.unit[:-1]}"


Taken = Literal["taken", "wait", "spent"]


class Purse:
    """What has been spent of a budget, in a file of this folder; any number of processes may use it at once.

    `before`: what was spent of it by others.
    """

    def __init__(self, folder: Path, budget: Budget, *, before: float = 0.0) -> None:
        self.budget = budget
        self._before = before
        self._file = folder / f"spent-{budget.unit}.json"

    @property
    def spent(self) -> float:
        """With what is reserved."""
        account = self._read()
        return self._before + account.spent + sum(account.reserved.values())

    def reserve(self, worst: float) -> Taken:
        """Takes `worst` out of the purse, if it is in there. `wait`: calls in flight may give some back."""
        with self._locked():
            account = self._read()
            if self._before + account.spent + sum(account.reserved.values()) + worst > self.budget.amount:
                hope = any(held > 0 and _lives(int(process)) for process, held in account.reserved.items())
                return "wait" if hope and worst <= self.budget.amount - self._before - account.spent else "spent"
            own = str(os.getpid())
            account.reserved[own] = account.reserved.get(own, 0.0) + worst
            self._write(account)
            return "taken"

    def settle(self, worst: float, cost: float) -> None:
        """What a reservation of `worst` did cost."""
        with self._locked():
            account = self._read()
            own = str(os.getpid())
            account.reserved[own] = max(0.0, account.reserved.get(own, 0.0) - worst)
            account.spent += cost
            self._write(account)

    def _locked(self) -> AbstractContextManager[object]:
        # A new lock each time: one that was made before a fork is of no use after it.
        return FileLock(f"{self._file}.lock").acquire(poll_interval=0.002)

    def _read(self) -> _Account:
        try:
            return _Account(**json.loads(self._file.read_text(encoding="ascii")))
        except (FileNotFoundError, ValueError, TypeError):  # none yet; or torn by a power cut, which nobody can mend
            return _Account()

    def _write(self, account: _Account) -> None:
        aside = self._file.with_suffix(".part")
        aside.write_text(json.dumps(asdict(account)), encoding="ascii")
        aside.replace(self._file)


def _lives(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


@dataclass
class _Account:
    spent: float = 0.0
    reserved: dict[str, float] = field(default_factory=dict)
    """By process: what its calls in flight may cost at worst. That of one that was killed stays: nobody knows its bill."""
