"""The published shapes of `--format json`: what is committed is what is printed, and real documents fit it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator, ValidationError

from builders import counted, observed, record, run
from conftest import Project
from pytest_alignbench import RateAtMost
from pytest_alignbench.cli import main
from pytest_alignbench.history import History, Record
from pytest_alignbench.reports.shapes import DOCUMENTS, schema

PUBLISHED = Path(__file__).resolve().parents[1] / "docs" / "schema"
OLD, NEW = "20260101-000000-aaaa", "20260102-000000-aaaa"


def alignbench(*args: str) -> str:
    return CliRunner().invoke(main, args).output


def test_what_is_committed_is_what_the_command_prints() -> None:
    """`make schema` writes them anew."""
    assert {file.stem for file in PUBLISHED.iterdir()} == set(DOCUMENTS)
    for kind in DOCUMENTS:
        assert (PUBLISHED / f"{kind}.json").read_text(encoding="utf-8") == alignbench("schema", kind)
    every = json.loads(alignbench("schema"))
    Draft202012Validator.check_schema(every)
    assert len(every["anyOf"]) == len(DOCUMENTS)
    assert "the kinds are run, gate, comparison, plan, trends, history, " in alignbench("schema", "nothing")


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_a_schema_says_what_its_fields_mean(kind: str) -> None:
    made = schema(kind)
    Draft202012Validator.check_schema(made)
    own = made["$defs"][DOCUMENTS[kind].__name__]
    assert own["properties"]["format"] == {"const": 1, "type": "integer"}
    assert own["properties"]["kind"] == {"const": kind, "type": "string"}
    assert set(own["required"]) == set(own["properties"])
    assert any("description" in p for d in made["$defs"].values() for p in d.get("properties", {}).values())


def seen(hits: int, claim: str = "t.one", **changed: Any) -> Record:
    return record(observed(counted(hits, 100, missing=3)), gate=RateAtMost(0.5, of="asked"), claim=claim, **changed)


def documents(folder: Path) -> dict[str, list[Any]]:
    """Kind -> documents that the commands really print: with and without numbers, pasts, faults and shards."""
    history = History(str(folder / ".alignbench"))
    down = seen(0, "t.down", fault="the provider was down").model_copy(update={"observations": ()})
    shown: dict[str, Any] = {"file": "suites/test_a.py", "line": 3}
    history.write(run(OLD, seen(10), seen(10, "t.two"), seen(10, "t.down")))
    history.write(run(NEW, seen(60, **shown), seen(10, "t.two", fingerprint={"prompts": "x"}), down))
    history.write(run(f"{NEW}.1of2.g", seen(10)))
    commands = [
        ("show", NEW),
        ("show", "g"),
        ("gate", NEW),
        ("gate", "g"),
        ("gate", NEW, "--baseline", OLD),
        ("compare", OLD, NEW),
        ("report", "-o", "-"),
        ("trends",),
        ("history", "list"),
        ("history", "show", "g"),
        ("history", "prune", "--keep", "1"),
        ("history", "verify"),
    ]
    found: dict[str, list[Any]] = {}
    for command in commands:
        document = json.loads(alignbench(*command, "--format", "json"))
        found.setdefault(document["kind"], []).append(document)
    return found


def test_what_is_printed_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pyproject.toml").write_text("[tool.alignbench]\n")
    found = documents(tmp_path)
    assert {kind: len(each) for kind, each in found.items()} == {
        **{kind: 1 for kind in DOCUMENTS if kind != "plan"},
        "run": 2,
        "gate": 3,
        "trends": 2,
    }
    for kind, each in found.items():
        for document in each:
            for validator in (Draft202012Validator(schema(kind)), Draft202012Validator(schema())):
                validator.validate(document)
                for broken in (document | {"format": 2}, document | {"kind": "other"}, {**document, "kind": None}):
                    with pytest.raises(ValidationError):
                        validator.validate(broken)
            for name in document:
                lacking = {key: value for key, value in document.items() if key != name}
                assert not Draft202012Validator(schema(kind)).is_valid(lacking), name
            others = [other for other in DOCUMENTS if other != kind]
            assert not any(Draft202012Validator(schema(other)).is_valid(document) for other in others)
    shards = found["run"][1]
    assert (shards["complete"], len(shards["notes"])) == (False, 1)
    assert found["run"][0]["verdicts"][0]["file"] in ("suites/test_a.py", None)


def test_a_plan_fits(project: Project) -> None:
    project.suite()
    plan = json.loads(project.alignbench("plan", "--model", "simulated/behaving", "--format", "json").output)
    Draft202012Validator(schema("plan")).validate(plan)
    assert len(plan["claims"]) == 2
