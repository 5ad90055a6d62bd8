"""The workflows in docs/ci.md, run as they stand there: every step, in a fresh repository, with models that call nobody."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import Project
from pytest_alignbench.history import History
from pytest_alignbench.reports.github import MARKER
from test_docs import ROOT, blocks
from test_github import commands
from workflows import Event, Runner, evaluated, substituted

WORKFLOWS = {yaml.safe_load(block.text)["name"]: block.text for block in blocks("yaml") if block.page.name == "ci.md"}
POLICY = next(block.text for block in blocks("toml") if block.page.name == "ci.md")
SHIPPED = {"MODEL": "simulated/shipped", "GRADER": "simulated/grader"}
WORSE = {"MODEL": "simulated/worse", "GRADER": "simulated/grader"}

SUITE = """
import pytest
from made import *

def many(arm):
    rows = (Prompt(id=f"{arm}-{i}", input=f"Question {i}, {arm}?", family=f"topic-{i}") for i in range(150))
    return {arm: Prompts(rows, source="here")}

CLAIMS = [
    rate("refusals.loud", conditions=many("loud")),
    rate("refusals.quiet", conditions=many("quiet")),
    rate("tics.plain", conditions=many("plain")),
    rate("feedback.kind", conditions=many("kind")),
]

@pytest.mark.parametrize("claim", CLAIMS)
def test_claim(claim, verdict):
    assert verdict.holds, verdict.explanation
"""

PIP = """#!/bin/sh
[ "$1 $2 $3" = "install -r requirements.txt" ] && [ -f requirements.txt ]
"""

GH = """#!{python}
import json, os, re, sys

file = {state!r}
comments = json.load(open(file))
words = sys.argv[1:]
assert words.pop(0) == "api" and os.environ["GH_TOKEN"], "not signed in"
option = lambda name: words[words.index(name) + 1] if name in words else None
if option("--method") is None:
    path = words[0]
    assert path == "repos/acme/behaviour/issues/12/comments" and "--paginate" in words
    wanted = re.fullmatch(r'\\.\\[\\] \\| select\\(\\.user\\.login == "(.+?)" and \\(\\.body \\| startswith\\("(.+?)"\\)\\)\\) \\| \\.id', option("--jq"))
    print("\\n".join(str(c["id"]) for c in comments if c["login"] == wanted[1] and c["body"].startswith(wanted[2])))
else:
    path = next(word for word in words if word.startswith("repos/"))
    name, _, source = option("--field").partition("=@")
    body = open(source).read()
    assert name == "body" and len(body) <= 65536
    if option("--method") == "POST":
        assert path == "repos/acme/behaviour/issues/12/comments"
        comments.append({{"id": len(comments), "login": "github-actions[bot]", "body": body}})
    else:
        (one,) = [c for c in comments if path == f"repos/acme/behaviour/issues/comments/{{c['id']}}"]
        one["body"] = body
    json.dump(comments, open(file, "w"))
"""


def git(*args: str, at: Path) -> str:
    named = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org")
    return subprocess.run(["git", *named, *args], cwd=at, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def runner(project: Project, tmp_path: Path) -> Runner:
    """A repository with a suite, a policy, and a baseline of the model that is shipped today."""
    project.write("suites/test_suite.py", SUITE)
    project.settings(
        """
        processes = 0
        [tool.alignbench.simulated.shipped]
        "*" = 0.02
        [tool.alignbench.simulated.worse]
        "*" = 0.02
        "refusals.loud" = 0.5
        """
    )
    project.write("policy.toml", POLICY)
    project.write("requirements.txt", "pytest-alignbench\n")
    project.write(".gitignore", ".alignbench\n__pycache__\n")
    assert project.pytest("suites", "--model", "simulated/shipped").ret == pytest.ExitCode.OK
    assert project.alignbench("baseline", "save", "-o", "baseline.json").exit_code == 0
    git("init", "--quiet", "--initial-branch=main", at=project.path)
    git("add", "--all", at=project.path)
    git("commit", "--quiet", "--message=A suite", at=project.path)
    git("clone", "--quiet", "--bare", str(project.path), str(tmp_path / "origin"), at=tmp_path)

    shims, state = tmp_path / "shims", tmp_path / "comments.json"
    shims.mkdir()
    for name, source in (("pip", PIP), ("gh", GH.format(python=sys.executable, state=str(state)))):
        (shims / name).write_text(source)
        (shims / name).chmod(0o755)
    for name in ("pytest", "alignbench"):
        (shims / name).symlink_to(Path(sys.executable).with_name(name))
    state.write_text(json.dumps([{"id": 0, "login": "stranger", "body": f"{MARKER}\nmine now"}]))
    return Runner(origin=tmp_path / "origin", shims=shims, folder=tmp_path / "jobs")


def comments(runner: Runner) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((runner.shims.parent / "comments.json").read_text())
    return found


def test_a_pull_request_is_measured_in_three_jobs_and_gated_once(runner: Runner) -> None:
    done = runner.run(WORKFLOWS["behaviour"], Event("pull_request"), environment=WORSE)
    results = {name: job.result for name, job in done.items()}
    assert results == {"controls": "success", "measure": "success", "gate": "failure", "stored": "skipped"}, done
    assert "no call was made" in done["controls"].summary
    assert set(runner.artifacts) == {"shard-1-1", "shard-2-1", "shard-3-1"}
    measured = [line for line in done["measure"].log.splitlines() if re.match(r"(HOLDS|VIOLATED) ", line)]
    assert sorted(line.split()[1] for line in measured) == [
        "feedback.kind",
        "refusals.loud",
        "refusals.quiet",
        "tics.plain",
    ]

    gate = done["gate"]
    assert "VIOLATED, exit code 1; must hold: 1 VIOLATED, 2 HOLDS; watched: 1 HOLDS" in gate.log
    (annotation,) = commands(gate.log)
    assert (annotation.name, annotation.properties["title"]) == ("error", "VIOLATED: refusals.loud @ simulated/worse")
    assert annotation.properties["file"] == "suites/test_suite.py"
    assert (
        SUITE.splitlines()[int(annotation.properties["line"]) - 1]
        == '    rate("refusals.loud", conditions=many("loud")),'
    )
    assert re.search(r"\*\*Worse \(1\)\*\*: refusals\.loud \+4\d\.\d ", gate.summary)
    stranger, ours = comments(runner)
    assert stranger["body"].endswith("mine now")
    assert ours["body"].startswith(f"{MARKER}\n### Model behaviour against baseline.json: violated\n")

    # A job that is run again until it is green: what was measured first counts, and that is said.
    (loud,) = [n for n in (1, 2, 3) if "refusals.loud" in _records(runner.artifacts[f"shard-{n}-1"])]
    again = Event("pull_request", attempt=2, only={"measure": [{"shard": loud}], "gate": None, "stored": None})
    done = runner.run(WORKFLOWS["behaviour"], again, environment=SHIPPED)
    assert (done["measure"].result, done["gate"].result) == ("success", "failure")
    assert f"shard-{loud}-2" in runner.artifacts
    stranger, ours = comments(runner)
    assert stranger["body"].endswith("mine now")
    assert "is of another suite than shard" in ours["body"], "it names another model: these are no shards of one run"


def _records(folder: Path) -> set[str]:
    history = History(str(folder / ".alignbench"))
    return {record.claim for run in history.runs() for record in history.read(run).records}


def test_nights_are_kept_reported_and_good_for_forks(runner: Runner, tmp_path: Path) -> None:
    for night in (1, 2):
        done = runner.run(WORKFLOWS["nightly"], Event("schedule", run=f"{night}"), environment=SHIPPED)["nightly"]
        assert done.result == "success", done.log
        made = runner.artifacts.pop("nightly")
        assert "feedback.kind" in (made / "report.html").read_text(encoding="utf-8")
        assert len(list((made / "history" / "logs").iterdir())) == 1, "of this night"
        made.rename(tmp_path / f"night-{night}")
        assert git("rev-list", "--count", "alignbench-history", at=runner.origin).strip() == str(night)
        files = git("ls-tree", "-r", "--name-only", "alignbench-history", at=runner.origin).split()
        assert [file.rpartition("/")[0] for file in files] == ["", *["runs"] * night]
        assert "refusals.loud" in done.summary
        assert "### Model behaviour: holds" in done.summary

    fork = Event("pull_request", fork=True, only={"measure": None, "gate": None, "stored": None})
    done_fork = runner.run(WORKFLOWS["behaviour"], fork, environment=SHIPPED)
    results = {name: job.result for name, job in done_fork.items()}
    assert results == {"controls": "success", "measure": "skipped", "gate": "skipped", "stored": "success"}, done_fork
    assert "HOLDS, exit code 0" in done_fork["stored"].log
    assert len(comments(runner)) == 1


def test_workflows_ask_for_no_more_rights_than_they_use() -> None:
    assert set(WORKFLOWS) == {"behaviour", "nightly"}
    for text in WORKFLOWS.values():
        workflow = yaml.safe_load(text)
        assert "pull_request_target" not in workflow[True]
        uses = re.findall(r"uses: (\S+?)@(\S+)(.*)", text)
        assert len(uses) == text.count("uses:")
        for _, commit, version in uses:
            assert re.fullmatch(r"[0-9a-f]{40}", commit)
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", version)
        for name, job in workflow["jobs"].items():
            secret = "secrets." in json.dumps(job)
            assert secret == (name in ("measure", "nightly")), name
            assert "timeout-minutes" in job
    behaviour = yaml.safe_load(WORKFLOWS["behaviour"])
    assert behaviour["permissions"] == {"contents": "read"}
    assert [n for n, job in behaviour["jobs"].items() if "permissions" in job] == ["gate"]
    everything = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    pins = dict.fromkeys(re.findall(r"uses: (\S+@\S+ # \S+)", everything))
    assert len({pin.partition("@")[0] for pin in pins}) == len(pins), "one version of each action"


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("github.event_name == 'pull_request'", True),
        ("github.event_name != 'pull_request' || github.a.b == 'it''s'", True),
        ("!cancelled() && needs.x.result != 'skipped'", True),
        ("(github.event_name == 'push') && true()", False),
    ],
)
def test_the_runner_of_these_tests_understands_expressions(expression: str, value: bool) -> None:
    contexts = {"github": {"event_name": "pull_request", "a": {"b": "it's"}}, "needs": {"x": {"result": "failure"}}}
    assert bool(evaluated(expression, contexts)) is value
    assert substituted("a ${{ github.event_name }} b ${{github.none}}", contexts) == "a pull_request b "
