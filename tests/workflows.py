"""A runner of GitHub workflows, as far as ours go: jobs in their order, shards, conditions, artifacts, and `run` steps in bash.

    runner = Runner(origin, shims)
    done = runner.run(text, Event("pull_request", fork=False), environment={"MODEL": "simulated/x"})
    done["gate"].result, done["gate"].log, done["gate"].summary

Each job gets a fresh checkout. Actions are played by the methods of `_Job`; commands that leave the machine (`pip`, `gh`) by
scripts in `shims`. Semantics are those of GitHub's documentation: a step or job without a status function in its `if` runs
only after success; `${{ }}` is put into scripts as text; artifacts are relative to the deepest folder above all their paths
and leave hidden files out unless told to keep them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = "acme/behaviour"
_STATUS = re.compile(r"\b(always|cancelled|success|failure)\s*\(")
_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<sign>&&|\|\||==|!=|!|[(),])|(?P<name>[A-Za-z_][\w.-]*)|(?P<number>\d+))"
)
_SIGNS = {"&&": " and ", "||": " or ", "!": " not "}


@dataclass(frozen=True)
class Event:
    name: str
    fork: bool = False
    run: str = "4711"
    attempt: int = 1
    only: Mapping[str, list[dict[str, Any]] | None] | None = None
    """Jobs to run, with the matrix rows to run of them (None: all); the others passed in an earlier attempt."""

    @property
    def context(self) -> dict[str, Any]:
        head = "stranger/behaviour" if self.fork else REPOSITORY
        event = (
            {"pull_request": {"number": 12, "head": {"repo": {"full_name": head}}}}
            if self.name == "pull_request"
            else {}
        )
        return {
            "event_name": self.name,
            "event": event,
            "repository": REPOSITORY,
            "run_id": self.run,
            "run_attempt": str(self.attempt),
            "ref": "refs/heads/main",
            "token": "" if self.fork else "a-token",
        }


@dataclass
class Done:
    """What became of a job, over all rows of its matrix."""

    result: str
    log: str = ""
    summary: str = ""


@dataclass
class Runner:
    origin: Path
    """A bare repository."""
    shims: Path
    folder: Path
    artifacts: dict[str, Path] = field(default_factory=dict)

    def run(self, text: str, event: Event, *, environment: Mapping[str, str]) -> dict[str, Done]:
        workflow = yaml.safe_load(text)
        triggers = workflow[True]  # YAML 1.1 reads `on` so
        assert event.name in triggers, "nothing would start"
        done: dict[str, Done] = {}
        for name, body in workflow["jobs"].items():  # ours are written in the order of their needs
            needs = [body["needs"]] if isinstance(body.get("needs"), str) else body.get("needs", [])
            contexts = {
                "github": event.context,
                "needs": {need: {"result": done[need].result} for need in needs},
                "secrets": {},
                "env": workflow.get("env", {}) | dict(environment),
            }
            passed = all(done[need].result == "success" for need in needs)
            rows = _rows(body)
            if event.only is not None:
                if name not in event.only:
                    done[name] = Done("success")
                    continue
                rows = event.only[name] or rows
            if not _holds(body.get("if"), contexts, success=passed):
                done[name] = Done("skipped")
                continue
            jobs = [_Job(self, event, name, body, contexts | {"matrix": row}) for row in rows]
            each = [job.run() for job in jobs]
            result = "success" if all(d.result == "success" for d in each) else "failure"
            done[name] = Done(result, "".join(d.log for d in each), "".join(d.summary for d in each))
        return done


def _rows(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    matrix = body.get("strategy", {}).get("matrix", {})
    rows: list[dict[str, Any]] = [{}]
    for name, values in matrix.items():
        rows = [row | {name: value} for row in rows for value in values]
    return rows


@dataclass
class _Job:
    runner: Runner
    event: Event
    name: str
    body: Mapping[str, Any]
    contexts: dict[str, Any]
    log: str = ""
    failed: bool = False

    def run(self) -> Done:
        place = (
            self.runner.folder
            / f"{self.name}-{'-'.join(map(str, self.contexts['matrix'].values()))}-{self.event.attempt}"
        )
        shutil.rmtree(place, ignore_errors=True)
        self.workspace = place / "work"
        self.summary = place / "summary.md"
        place.mkdir(parents=True)
        self.summary.touch()
        for step in self.body["steps"]:
            if _holds(step.get("if"), self.contexts, success=not self.failed, workspace=self.workspace):
                if "uses" in step:
                    action = step["uses"].partition("@")[0].rpartition("/")[2].replace("-", "_")
                    getattr(self, f"_{action}")(
                        **{k.replace("-", "_"): self._put(v) for k, v in step.get("with", {}).items()}
                    )
                else:
                    self.failed = self._bash(step) or self.failed
        return Done("failure" if self.failed else "success", self.log, self.summary.read_text(encoding="utf-8"))

    def _put(self, value: Any) -> Any:
        return substituted(value, self.contexts) if isinstance(value, str) else value

    def _bash(self, step: Mapping[str, Any]) -> bool:
        """Whether it failed. GitHub's shell, where none is named."""
        script = self.workspace.parent / "step.sh"
        script.write_text(self._put(step["run"]), encoding="utf-8")
        given = {**self.contexts["env"], **self.body.get("env", {}), **step.get("env", {})}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
        environment |= {name: str(self._put(self.contexts["env"].get(name, value))) for name, value in given.items()}
        environment |= {
            "PATH": f"{self.runner.shims}:{os.environ['PATH']}",
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKSPACE": str(self.workspace),
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_RUN_ID": self.event.run,
            "GITHUB_RUN_ATTEMPT": str(self.event.attempt),
            "GITHUB_STEP_SUMMARY": str(self.summary),
        }
        done = subprocess.run(
            ["bash", "-e", str(script)],
            cwd=self.workspace,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        self.log += f"$ {step['run']}\n{done.stdout}{done.stderr}\n"
        return done.returncode != 0

    # -- the actions that our workflows use

    def _checkout(self) -> None:
        subprocess.run(["git", "clone", "--quiet", f"file://{self.runner.origin}", str(self.workspace)], check=True)

    def _setup_python(self, *, python_version: str, cache: str) -> None:
        assert re.fullmatch(r"3\.\d+", python_version), "3.10 without quotes is 3.1"
        assert cache == "pip"

    def _upload_artifact(self, *, name: str, path: str, include_hidden_files: bool = False) -> None:
        paths = [self.workspace / line for line in path.split("\n") if line]
        root = Path(os.path.commonpath(paths)) if len(paths) > 1 else paths[0]
        made = self.runner.folder / "artifacts" / f"{name}"
        assert not made.exists(), f"artifact {name} is there already"
        for file in (file for path in paths for file in _files(path)):
            below = file.relative_to(root)
            if include_hidden_files or not any(part.startswith(".") for part in file.relative_to(self.workspace).parts):
                (made / below).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, made / below)
        assert made.exists(), f"nothing to upload in {path!r}"
        self.runner.artifacts[name] = made

    def _download_artifact(self, *, pattern: str, merge_multiple: bool, run_id: str, github_token: str) -> None:
        assert run_id == self.event.run, "artifacts of another run"
        assert github_token
        for name, made in self.runner.artifacts.items():
            if fnmatchcase(name, pattern):
                target = self.workspace if merge_multiple else self.workspace / name
                shutil.copytree(made, target, dirs_exist_ok=True)


def _files(path: Path) -> Iterator[Path]:
    yield from [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())


# -- expressions


def substituted(text: str, contexts: Mapping[str, Any]) -> str:
    return re.sub(r"\$\{\{(.+?)\}\}", lambda found: str(evaluated(found[1], contexts)), text)


def _holds(condition: str | None, contexts: Mapping[str, Any], *, success: bool, workspace: Path | None = None) -> bool:
    if condition is None:
        return success
    inner = re.fullmatch(r"\s*\$\{\{(.+)\}\}\s*", condition)
    expression = inner[1] if inner else condition
    value = bool(evaluated(expression, contexts, success=success, workspace=workspace))
    return value and (success or _STATUS.search(expression) is not None)


def evaluated(
    expression: str, contexts: Mapping[str, Any], *, success: bool = True, workspace: Path | None = None
) -> Any:
    source, at = "", 0
    while at < len(expression.rstrip()):
        found = _TOKEN.match(expression, at)
        assert found is not None, f"not understood: {expression[at:]}"
        at = found.end()
        if found["name"] and not expression[at:].lstrip().startswith("("):
            source += f"value({found['name']!r})"
        elif found["text"]:
            source += repr(found["text"][1:-1].replace("''", "'"))
        else:
            source += _SIGNS.get(found["sign"] or "", found["sign"] or found["name"] or found["number"])

    def value(name: str) -> Any:
        found: Any = contexts
        for part in name.split("."):
            found = found.get(part, "") if isinstance(found, Mapping) else ""
        return found

    functions = {
        "value": value,
        "always": lambda: True,
        "cancelled": lambda: False,
        "success": lambda: success,
        "failure": lambda: not success,
        "hashFiles": lambda name: "hash" if workspace is not None and (workspace / name).exists() else "",
    }
    return eval(source.strip(), {"__builtins__": {}}, functions)
