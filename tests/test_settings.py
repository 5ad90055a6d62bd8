"""What a project says in `[tool.alignbench]`: read once, and wrong values refused with file, key and value."""

from __future__ import annotations

import inspect
import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from pytest_alignbench import AlignbenchError
from pytest_alignbench import settings as module
from pytest_alignbench.settings import Settings, settings_of


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return tmp_path / "pyproject.toml"


def test_a_project_without_settings_has_the_defaults(project: Path) -> None:
    assert settings_of(project.parent) == Settings()
    project.write_text('[project]\nname = "theirs"\n[tool.ruff]\nline-length = 100\n')
    assert settings_of(project.parent) == Settings()


def test_what_a_project_says_is_kept(project: Path) -> None:
    project.write_text(
        """
        [tool.alignbench]
        grader = "anthropic/claude-y"
        claims = 100
        inconclusive = "warn"
        [tool.alignbench.models]
        small = "openai-api/local/small"
        [tool.alignbench.simulated.acme-1]
        "refusals.*" = 0.02
        [tool.alignbench.lineages]
        acme = ["acme-1", "acme-2"]
        """
    )
    settings = settings_of(project.parent)
    assert settings.grader == "anthropic/claude-y"
    assert settings.claims == 100
    assert settings.inconclusive == "warn"
    assert settings.models == {"small": "openai-api/local/small"}
    assert settings.simulated == {"acme-1": {"refusals.*": 0.02}}
    assert settings.lineages == {"acme": ["acme-1", "acme-2"]}


def test_the_example_that_the_module_teaches_is_valid() -> None:
    example = inspect.cleandoc(module.__doc__ or "").partition("\n")[2]
    table = tomllib.loads(example)["tool"]["alignbench"]
    assert len(table) >= 6
    assert Settings.model_validate(table) != Settings()


@pytest.mark.parametrize(
    ("line", "key", "given"),
    [
        ("connections = 0", "connections", "0"),
        ("attempts = 0", "attempts", "0"),
        ("attempt_timeout = 0", "attempt_timeout", "0"),
        ("claims = 0", "claims", "0"),
        ("alpha = 0.5", "alpha", "0.5"),
        ("alpha = 0.0", "alpha", "0.0"),
        ('inconclusive = "skip"', "inconclusive", "'skip'"),
        ("grader = 3", "grader", "3"),
        ("greader = 'x'", "greader", "'x'"),
        ("models = { small = 1 }", "models.small", "1"),
        ("simulated = { acme = { all = 'often' } }", "simulated.acme.all", "'often'"),
    ],
)
def test_a_wrong_value_is_refused_with_file_key_and_value(project: Path, line: str, key: str, given: str) -> None:
    project.write_text(f"[tool.alignbench]\n{line}\n")
    with pytest.raises(AlignbenchError) as refused:
        settings_of(project.parent)
    said = str(refused.value)
    assert said.startswith(f"{project}: [tool.alignbench] {key}: ")
    assert f"(given: {given})" in said


@pytest.mark.parametrize("content", [b"[tool.alignbench\n", b"[tool.alignbench]\ngrader = '\xff'\n"])
def test_a_file_that_is_not_toml_is_refused_by_name(project: Path, content: bytes) -> None:
    project.write_bytes(content)
    with pytest.raises(AlignbenchError) as refused:
        settings_of(project.parent)
    assert str(refused.value).startswith(f"{project}: not TOML: ")


def test_settings_are_a_value() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().connections = 3  # type: ignore[misc]
