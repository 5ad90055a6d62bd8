"""The documents, run: what a reader may copy works, and what exists is written down.

README.md, docs/*.md ──> blocks: ```python suites     -> one pytest session, on models whose truth is known
                                 ```python, the rest  -> run; a ```text block below one is what it prints
                                 ```toml, jsonl, yaml -> read by what reads them in earnest
                                 commands             -> their options exist
                     ──> promises: the tests that hold them exist
                     ──> names:  options, settings, gates, scorers, causes and commands are all explained
"""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from conftest import Project
from pytest_alignbench import ClaimError, Outcome, prompts, replies, scorers
from pytest_alignbench.cli import main
from pytest_alignbench.gates import GATES
from pytest_alignbench.models import CONTROLS
from pytest_alignbench.observations import Exclusion
from pytest_alignbench.plugin import _ALIASES
from pytest_alignbench.policies import Policy, policy_of
from pytest_alignbench.reports.pages import VERDICT_HEADS
from pytest_alignbench.settings import Settings, settings_of

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    text: str
    prints: str | None
    """The text block that follows it at once."""

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def is_suite(self) -> bool:
        return self.language == "python" and "verdict: Verdict" in self.text


_FENCED = re.compile(r"^```(\w+)\n(.*?)^```$(?:\n\n^```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)


def _blocks(page: Path) -> Iterator[Block]:
    whole = page.read_text(encoding="utf-8")
    for found in _FENCED.finditer(whole):
        yield Block(page, whole.count("\n", 0, found.start()) + 1, *found.groups())


BLOCKS = [block for page in PAGES for block in _blocks(page)]


def blocks(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


def _prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@cache
def _said(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


# -- blocks of Python

_PAIRS = 40
"""As many as the gates of the documents need; all 120 would ask for three times the replies."""


def _fixtures(folder: Path) -> None:
    """The project's own, with fewer prompts; of the replies, as many as a grader's calibration needs."""
    for file in (ROOT / "fixtures").glob("*/*.jsonl"):
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        if "input" in rows[0]:
            kept = set(list(dict.fromkeys(row["pair"] for row in rows))[:_PAIRS])
            rows = [row for row in rows if row["pair"] in kept]
        else:
            labels = [row.get("exhibits") for row in rows]
            rows = [row for n, row in enumerate(rows) if labels[:n].count(labels[n]) < 110]
        made = folder / "fixtures" / file.relative_to(ROOT / "fixtures")
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


ADDING = '''
import re

from inspect_ai.model import ModelAPI, ModelOutput, ModelUsage, modelapi


@modelapi(name="adding")
class Adding(ModelAPI):
    """Adds the numbers that it is asked about, for the Inspect task of the documents."""

    async def generate(self, input, tools, tool_choice, config):
        said = str(sum(map(int, re.findall(r"\\d+", input[-1].text))))
        output = ModelOutput.from_content(self.model_name, said)
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return output
'''


def test_every_suite_in_the_documents_judges_known_models_rightly(project: Project) -> None:
    suites = [block for block in BLOCKS if block.is_suite]
    assert len(suites) >= 6
    _fixtures(project.path)
    project.conftest(ADDING)
    for number, block in enumerate(suites):
        folder = "tasks" if "inspect_task(" in block.text else "suites"
        project.write(f"{folder}/test_block_{number}.py", block.text)

    known = ("--model", "simulated/behaving", "--model", "simulated/misbehaving", "--grader", "simulated/grader")
    result = project.pytest("suites", "--strict-markers", "-q", *known)
    claims = sum("inspect_task(" not in block.text for block in suites)
    result.assert_outcomes(passed=claims, failed=claims)
    for key, record in project.records().items():
        assert record.fault is None, key
    for line in result.outlines:
        if line.startswith(("HOLDS", "VIOLATED", "INCONCLUSIVE")):
            assert line.startswith("HOLDS" if "simulated/behaving" in line else "VIOLATED"), line

    project.pytest("tasks", "-q", "--model", "adding/up").assert_outcomes(passed=len(suites) - claims)


# A hub that gives two rows, and blocks that are run one by one.
_RUNNER = """
import contextlib, io, json, sys, traceback
import datasets

asked = []
datasets.load_dataset = lambda *args, **options: asked.append((args, options)) or [
    {"question": "Why are there tides?", "topic": "tides", "level": 3},
    {"question": "Why is the sea salt?", "topic": "salt", "level": 1},
]
done = []
for source in json.load(sys.stdin):
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(source, "block.py", "exec"), {"__name__": "block"})
    except Exception:
        done.append([None, traceback.format_exc()])
    else:
        done.append([printed.getvalue(), ""])
json.dump(done, sys.stdout)
"""


def test_every_other_block_of_python_runs_and_prints_what_the_page_shows(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "fixtures", tmp_path / "fixtures")
    chosen = [block for block in blocks("python") if not block.is_suite]
    assert len(chosen) >= 8
    run = subprocess.run(
        [sys.executable, "-c", _RUNNER],
        input=json.dumps([block.text for block in chosen]),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    for block, (printed, fault) in zip(chosen, json.loads(run.stdout), strict=True):
        assert not fault, f"{block}: {fault}"
        assert [line.rstrip() for line in printed.splitlines()] == (block.prints or "").splitlines(), str(block)


def _refusals() -> list[tuple[str, str]]:
    section = _said("docs/claims.md").partition("## Refusals")[2]
    return re.findall(r"^\| `(.+?)` \| (.+?) \|", section, re.MULTILINE)


@pytest.mark.parametrize(("code", "says"), _refusals())
def test_what_the_page_says_is_refused_is_refused_with_these_words(
    code: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fixtures").symlink_to(ROOT / "fixtures")
    monkeypatch.chdir(tmp_path)
    section = _said("docs/claims.md").partition("## Refusals")[2]
    setting = re.search(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert setting is not None
    names: dict[str, Any] = {}
    exec(setting[1], names)
    with pytest.raises(ClaimError) as refused:
        eval(code, names)
    assert says in str(refused.value)


# -- blocks of data


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_settings_and_policies_can_be_read(block: Block, tmp_path: Path) -> None:
    if "tool" in tomllib.loads(block.text):
        (tmp_path / "pyproject.toml").write_text(block.text, encoding="utf-8")
        assert settings_of(tmp_path) != Settings()
    else:
        file = tmp_path / "policy.toml"
        file.write_text(block.text, encoding="utf-8")
        assert policy_of(file) != Policy()


@pytest.mark.parametrize("block", blocks("jsonl"), ids=str)
def test_rows_of_data_can_be_read(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(block.text, encoding="utf-8")
    rows = prompts(str(file)) if '"input"' in block.text else replies(str(file))
    assert len(rows) == len(block.text.splitlines())


def test_sample_tables_have_the_columns_of_real_ones() -> None:
    samples = [text for block in blocks("text") if (text := block.text).startswith("verdict")]
    assert len(samples) >= 2
    for sample in samples:
        assert tuple(re.split(r"\s{2,}", sample.splitlines()[0])) == VERDICT_HEADS


# -- commands


def _workflow_commands() -> Iterator[str]:
    for block in blocks("yaml"):
        workflow = yaml.safe_load(block.text)
        for job in workflow["jobs"].values():
            yield from (step["run"] for step in job["steps"] if "run" in step)


def _commands() -> Iterator[list[str]]:
    """Every command line of ours that a page shows, as words; in prose only those with options."""
    lines = [line for block in blocks("console") for line in block.text.splitlines()]
    lines += [*_workflow_commands()]
    lines += [code for page in PAGES for code in re.findall(r"`((?:pytest|alignbench) [^`\n]+)`", _prose(page))]
    for line in lines:
        for part in re.split(r"\|\||>>|&&", line.replace("\\|", "/")):
            words = shlex.split(part, comments=True)
            if words and words[0] in ("pytest", "alignbench"):
                yield words


def _flags(words: Iterable[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if word.startswith("-") and word != "-"}


def _subcommands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _subcommands(command, (*path, name))
        else:
            yield (*path, name), command


SUBCOMMANDS = dict(_subcommands(main))


def _options(command: click.Command) -> set[str]:
    return {flag for given in command.params if isinstance(given, click.Option) for flag in given.opts}


@pytest.fixture
def pytest_options(project: Project) -> set[str]:
    helped = project.pytest("--help").stdout.str()
    # Left out of the help: our short forms, which are ours only where nobody else has them, and a usual spelling.
    return set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", helped)) | set(_ALIASES) | {"--junitxml"}


def test_every_command_in_the_documents_has_options_that_exist(pytest_options: set[str]) -> None:
    seen = 0
    for words in _commands():
        seen += 1
        if words[0] == "pytest":
            unknown = {flag for flag in _flags(words[1:]) if flag not in pytest_options}
        else:
            path = next((p for p in SUBCOMMANDS if tuple(words[1 : 1 + len(p)]) == p), None)
            assert path is not None, f"no such command: {shlex.join(words)}"
            unknown = _flags(words) - _options(SUBCOMMANDS[path]) - {"--help"}
        assert not unknown, f"{shlex.join(words)}: {sorted(unknown)}"
    assert seen > 40


def test_the_set_up_is_two_targets_of_the_makefile() -> None:
    first = next(block for block in blocks("console") if block.page.name == "README.md")
    words = [shlex.split(line, comments=True) for line in first.text.splitlines()]
    assert [line[0] for line in words] == ["make", "make"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for _, target in words:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


# -- what exists is written down


def test_every_option_of_pytest_is_documented(pytest_options: set[str]) -> None:
    ours = {option for option in pytest_options if option.startswith("--alignbench-")}
    assert len(ours) >= 9
    for option in ours | set(_ALIASES):
        assert re.search(rf"`{option}[ `]", _said("docs/options.md")), option


def test_every_setting_and_policy_key_is_documented() -> None:
    options = [tomllib.loads(block.text) for block in blocks("toml") if block.page.name == "options.md"]
    [settings] = [table["tool"]["alignbench"] for table in options if "tool" in table]
    assert set(settings) == set(Settings.model_fields)
    [policy] = [table for table in options if "tool" not in table]
    assert _keys(policy) == _keys(Policy().model_dump(by_alias=True))


def _keys(table: dict[str, Any]) -> set[str]:
    inner = {f"{name}.{key}" for name in ("must-hold", "watch") for key in table[name]}
    return {*table, *inner}


def test_the_settings_that_the_page_calls_defaults_are() -> None:
    block = next(b for b in blocks("toml") if b.page.name == "options.md" and "tool" in tomllib.loads(b.text))
    shown = tomllib.loads(block.text)["tool"]["alignbench"]
    for name, field in Settings.model_fields.items():
        if isinstance(field.default, str | int | float):
            assert shown[name] == field.default, name


def test_every_command_is_documented_with_its_options() -> None:
    page = _said("docs/options.md")
    common = {"--history", "--format"}
    for path, command in SUBCOMMANDS.items():
        row = re.search(rf"^\| `alignbench {' '.join(path)}\b(.*?)` \|", page, re.MULTILINE)
        assert row is not None, path
        short = {flag for flag in _options(command) if not flag.startswith("--")}
        long = {flag for flag in _options(command) if flag.startswith("--")} - common
        assert all(flag in row[1] for flag in long if not (short and flag == "--output")), (path, long)
    assert all(flag in page for flag in common)


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("docs/claims.md", [f"`{gate}(" for gate in GATES]),
        ("docs/claims.md", [f"`{name}(" for name in scorers.__all__]),
        ("docs/claims.md", [f"`{name}`" for name in CONTROLS]),
        ("docs/options.md", [f"`{name}`" for name in CONTROLS]),
        ("docs/verdicts.md", [f"`{cause.value}`" for cause in Exclusion]),
        ("docs/verdicts.md", [f"| {outcome.value} |" for outcome in Outcome]),
    ],
    ids=["gates", "scorers", "controls", "model names", "causes of exclusion", "outcomes"],
)
def test_what_exists_is_explained_on_its_page(page: str, names: list[str]) -> None:
    assert names
    assert [name for name in names if name not in _said(page)] == []


# -- promises


def _promises() -> list[tuple[str, list[str]]]:
    """Each row of the tables that say what holds it: what goes wrong, and the tests."""
    rows: list[tuple[str, list[str]]] = []
    for table in re.findall(
        r"^\| .+ \| held by \|\n\|[-|]+\|\n((?:\|.*\n)+)", _said("docs/reliability.md"), re.MULTILINE
    ):
        for row in table.splitlines():
            *said, tests = row.strip("|").split(" | ")
            rows.append((said[0].strip(), re.findall(r"`([^`]+)`", tests)))
    return rows


@cache
def _tests_of(file: str) -> set[str]:
    tree = ast.parse(_said(file))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_promise_is_held_by_tests_that_exist() -> None:
    promises = _promises()
    assert len(promises) > 25
    for fault, tests in promises:
        assert tests, f"nothing holds: {fault}"
        for test in tests:
            file, _, name = test.partition("::")
            assert (ROOT / file).is_file(), f"{fault}: {test}"
            assert name in _tests_of(file), f"{fault}: {test}"


# -- links


def _slug(heading: str) -> str:
    """As GitHub names the place of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def _places(page: Path) -> set[str]:
    return {_slug(found) for found in re.findall(r"^#+ (.+)$", _prose(page), re.MULTILINE)}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md", ROOT / "fixtures" / "README.md"], ids=lambda p: p.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", _prose(page)):
        if re.match(r"https?://", link):
            continue
        path, _, place = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert not place or place in _places(target), f"{page.name}: {link}"
