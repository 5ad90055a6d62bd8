"""A baseline: what a claim is compared with, small enough to be committed to git.

    MODEL  its latest record of the claim that is comparable        --baseline claude-w
    RUN    that run's record                                        --baseline 20260131-142530-3f9a
    FILE   what `alignbench baseline save` wrote                    --baseline baseline.json

It keeps, per condition and prompt hash, what each epoch showed: `1` exhibits, `0` does not, `x` excluded. Families and
pairs come from the run that is compared, so a baseline is a few dozen bytes a prompt and holds no text.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pytest_alignbench.errors import HistoryError
from pytest_alignbench.history import History, Past, Run


class Baseline(BaseModel):
    """A file of past claims, one per claim id."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = Field(default=1, ge=1, le=1)
    run: str
    claims: dict[str, Past]

    @classmethod
    def of(cls, run: Run, *, model: str | None = None) -> Baseline:
        """Raises HistoryError when the run holds several models and none is named."""
        asked = sorted({record.asked for record in run.records})
        if model is None and len(asked) > 1:
            raise HistoryError(f"run {run.id} holds {len(asked)} models; say which is the baseline: {', '.join(asked)}")
        rows = [r for r in run.records if model is None or model in (r.asked, r.model)]
        if not rows:
            raise HistoryError(f"run {run.id} holds no record of {model!r}; it holds {', '.join(asked)}")
        return cls(run=run.id, claims={r.claim: Past.of(r, run=run.id) for r in rows})


class Baselines:
    """Finds the baseline of each claim from what the user named. Files and runs are read once."""

    def __init__(self, named: str, history: History) -> None:
        """Raises HistoryError when `named` is no file, run or model with a record."""
        self.named = named
        self._runs: list[Run] = []
        self._file: Baseline | None = None
        path = Path(named)
        if path.is_file():
            self._file = _read(path)
        elif named in history.runs():
            self._file = Baseline.of(history.read(named))
        else:
            runs = [history.read(id) for id in reversed(history.runs())]
            self._runs = [run for run in runs if any(named in (r.asked, r.model) for r in run.records)]
            if not self._runs:
                raise HistoryError(
                    f"baseline {named!r} is no file, and neither a run nor a model with a record in {history.url}; "
                    "`alignbench history list` names both"
                )

    def of(self, claim: str, fingerprint: Mapping[str, str]) -> Past | None:
        """The claim's past: the latest that is comparable, else the latest, else None."""
        if self._file is not None:
            return self._file.claims.get(claim)
        found = [
            Past.of(record, run=run.id)
            for run in self._runs
            for record in run.records
            if record.claim == claim and self.named in (record.asked, record.model) and record.observations
        ]
        fitting = [past for past in found if not past.differs(fingerprint)]
        return next(iter(fitting or found), None)


def _read(path: Path) -> Baseline:
    try:
        return Baseline.model_validate_json(path.read_bytes())
    except (OSError, ValueError, ValidationError) as fault:
        raise HistoryError(
            f"{path} is no baseline file ({str(fault).splitlines()[0]}); `alignbench baseline save` makes one"
        ) from fault
