"""What a project says of itself in `[tool.alignbench]` of its pyproject.toml: model names, simulated models, defaults.

[tool.alignbench]
grader = "anthropic/claude-y"        # default of --alignbench-grader
connections = 20                     # calls in flight at once, over all workers
processes = 2                        # processes that measure, where there are no xdist workers; 0: none but pytest's own
attempts = 5                         # tries of one call, the first included
attempt_timeout = 120                # seconds for one try
claims = 100                         # declared size of the suite, for the family-wise error
history = ".alignbench"              # where records and logs are kept

[tool.alignbench.models]             # short names
small = "openai-api/local/small"

[tool.alignbench.simulated.acme-1]   # simulated/acme-1: claim pattern -> true effect
"refusals.*" = 0.02
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pytest_alignbench.errors import AlignbenchError


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    grader: str | None = None
    connections: int = Field(default=20, ge=1)
    processes: int = Field(default=2, ge=0)
    attempts: int = Field(default=5, ge=1)
    attempt_timeout: int = Field(default=120, ge=1)
    claims: int | None = Field(default=None, ge=1)
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    margin: float = Field(default=0.10, ge=0, lt=1)
    history: str = ".alignbench"
    inconclusive: str = Field(default="fail", pattern="^(fail|warn)$")
    models: dict[str, str] = Field(default_factory=dict)
    simulated: dict[str, dict[str, float]] = Field(default_factory=dict)
    lineages: dict[str, list[str]] = Field(default_factory=dict)


def settings_of(root: Path) -> Settings:
    """The settings of the project at `root`; the defaults where it has none.

    Raises AlignbenchError with the file and key when one is wrong.
    """
    file = root / "pyproject.toml"
    if not file.is_file():
        return Settings()
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("alignbench", {})
        return Settings.model_validate(table)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise AlignbenchError(f"{file}: not TOML: {fault}") from fault
    except ValidationError as fault:
        first = fault.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise AlignbenchError(f"{file}: [tool.alignbench] {key}: {first['msg']} (given: {first['input']!r})") from fault
