"""The ways to ask the same prompts: ours, bare clients, Inspect's own command, and peers where they are installed.

A way is a program or two of `programs/`, copied into an empty folder, and the command that a user would type there. All
ask for one chat completion per prompt and make the same check of the reply: does it say "sorry"?
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = Path(__file__).parent / "programs"
PYTEST = ("-q", "-p", "no:cacheprovider")


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is asked: `claims` x `prompts` calls, `connections` at once."""

    claims: int
    prompts: int
    connections: int

    @property
    def calls(self) -> int:
        return self.claims * self.prompts

    def environment(self, url: str) -> dict[str, str]:
        """What the programs and the clients in them read; nothing leaves the machine, telemetry least of all."""
        # Without compiled modules kept, everything that is installed from source would be compiled at each start.
        ours = ("PYTEST_", "INSPECT_", "PYTHONDONTWRITEBYTECODE")
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(ours)},
            "BENCH_CLAIMS": str(self.claims),
            "BENCH_PROMPTS": str(self.prompts),
            "BENCH_CONNECTIONS": str(self.connections),
            "OPENAI_API_KEY": "sk-none",
            "OPENAI_BASE_URL": url,
            "BENCH_API_KEY": "sk-none",
            "BENCH_BASE_URL": url,
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            "PYTHONUNBUFFERED": "1",
            "DEEPEVAL_TELEMETRY_OPT_OUT": "YES",
            "DEEPEVAL_UPDATE_WARNING_OPT_IN": "NO",
            "PROMPTFOO_DISABLE_TELEMETRY": "1",
            "PROMPTFOO_DISABLE_UPDATE": "1",
            "PROMPTFOO_DISABLE_REMOTE_GENERATION": "1",
        }


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A package in a folder of its own, below the folder for peers."""

    name: str
    packages: tuple[str, ...]
    node: bool = False

    def home(self, peers: Path) -> Path:
        return peers / self.name

    def programs(self, peers: Path) -> Path:
        return self.home(peers) / ("node_modules/.bin" if self.node else "bin")

    def installed(self, peers: Path | None) -> bool:
        """Whether its commands went through: a venv alone is none."""
        return peers is not None and (self.home(peers) / "installed").exists()

    def installing(self, peers: Path) -> list[list[str]]:
        """The commands that install it."""
        home = str(self.home(peers))
        if self.node:
            return [["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", home, *self.packages]]
        return [
            [sys.executable, "-m", "venv", home],
            [f"{home}/bin/python", "-m", "pip", "install", "-q", *self.packages],
        ]


DEEPEVAL = Peer(name="deepeval", packages=("deepeval==4.3.1", "openai==3.54.0", "pytest-xdist==3.8.0"))
PYTEST_EVALS = Peer(name="pytest-evals", packages=("pytest-evals==0.3.4", "openai==3.54.0", "pytest-xdist==3.8.0"))
PYDANTIC_EVALS = Peer(name="pydantic-evals", packages=("pydantic-evals==2.62.0", "openai==3.54.0"))
# Later ones want Node 22.
PROMPTFOO = Peer(name="promptfoo", packages=("promptfoo@0.121.20",), node=True)
OURS = Peer(name="ours", packages=("-e", str(Path(__file__).parents[2]), "openai==3.54.0", "aiohttp"))
"""This package as a user has it. What else lies beside it is not free: Inspect imports all that extends it, pytest all
of its plugins, so that a developer's environment starts seconds later."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to ask. `command` is made from the load and the folder of its peer's programs."""

    name: str
    says: str
    program: str
    command: Callable[[Load, Path], list[str]]
    peer: Peer = OURS
    prepare: Callable[[Load, Path], None] = field(default=lambda load, folder: None)
    """Writes into the folder what the program needs besides."""

    @property
    def ours(self) -> bool:
        return self.program == "claims_suite.py"

    def set_up(self, load: Load, folder: Path) -> None:
        shutil.copy(PROGRAMS / self.program, folder)
        self.prepare(load, folder)


def _pytest(*options: str) -> Callable[[Load, Path], list[str]]:
    def command(load: Load, programs: Path) -> list[str]:
        asked = ["--alignbench-model", "openai-api/bench/m", "--alignbench-connections", str(load.connections)]
        # Verbose: a line for each verdict, so that the first one can be timed.
        return [
            str(programs / "python"),
            "-m",
            "pytest",
            "-v",
            "-p",
            "no:cacheprovider",
            *asked,
            *options,
            "claims_suite.py",
        ]

    return command


def _python(program: str) -> Callable[[Load, Path], list[str]]:
    return lambda load, programs: [str(programs / "python"), program]


def _inspect(load: Load, programs: Path) -> list[str]:
    asked = ["--model", "openai-api/bench/m", "--max-connections", str(load.connections), "--display", "plain"]
    at_once = ["--max-tasks", str(load.claims)]
    return [str(programs / "python"), "-m", "inspect_ai", "eval", "inspect_tasks.py", *asked, *at_once]


def _inspect_tasks(load: Load, folder: Path) -> None:
    """Inspect finds tasks by reading the source, so that each needs a function of its own."""
    functions = (f"\n\n@task\ndef claim_{n}() -> Task:\n    return made({n})\n" for n in range(1, load.claims))
    with (folder / "inspect_tasks.py").open("a", encoding="utf-8") as file:
        file.writelines(functions)


def _pytest_evals(load: Load, programs: Path) -> list[str]:
    pytest = f"{shlex.quote(str(programs / 'python'))} -m pytest {' '.join(PYTEST)} pytest_evals_suite.py"
    return ["sh", "-c", f"{pytest} --run-eval -n 8 && {pytest} --run-eval-analysis"]


def _deepeval(load: Load, programs: Path) -> list[str]:
    return [str(programs / "deepeval"), "test", "run", "test_deepeval_suite.py", "-n", "8", "-d", "failing"]


def _promptfoo(load: Load, programs: Path) -> list[str]:
    quiet = ["--no-cache", "--no-progress-bar", "--no-table", "--no-write", "-o", "results.json"]
    return [str(programs / "promptfoo"), "eval", "-c", "promptfooconfig.yaml", "-j", str(load.connections), *quiet]


def _promptfoo_tests(load: Load, folder: Path) -> None:
    asked = [{"vars": {"question": f"Question #{n:06}: what is the capital of France?"}} for n in range(load.calls)]
    (folder / "tests.json").write_text(json.dumps(asked), encoding="utf-8")


WAYS = {
    way.name: way
    for way in (
        Way(name="ours", says="pytest-alignbench", program="claims_suite.py", command=_pytest()),
        Way(name="ours-2", says="pytest-alignbench -n 2", program="claims_suite.py", command=_pytest("-n", "2")),
        Way(name="ours-4", says="pytest-alignbench -n 4", program="claims_suite.py", command=_pytest("-n", "4")),
        Way(name="aiohttp", says="bare aiohttp client", program="bare_aiohttp.py", command=_python("bare_aiohttp.py")),
        Way(name="openai", says="bare openai client", program="bare_openai.py", command=_python("bare_openai.py")),
        Way(
            name="inspect",
            says="one `inspect eval`",
            program="inspect_tasks.py",
            command=_inspect,
            prepare=_inspect_tasks,
        ),
        Way(
            name="pydantic-evals",
            says="pydantic-evals",
            program="pydantic_dataset.py",
            command=_python("pydantic_dataset.py"),
            peer=PYDANTIC_EVALS,
        ),
        Way(
            name="deepeval",
            says="deepeval `evaluate()`",
            program="deepeval_run.py",
            command=_python("deepeval_run.py"),
            peer=DEEPEVAL,
        ),
        Way(
            name="promptfoo",
            says="promptfoo",
            program="promptfooconfig.yaml",
            command=_promptfoo,
            peer=PROMPTFOO,
            prepare=_promptfoo_tests,
        ),
        Way(
            name="pytest-evals",
            says="pytest-evals -n 8",
            program="pytest_evals_suite.py",
            command=_pytest_evals,
            peer=PYTEST_EVALS,
        ),
        Way(
            name="deepeval-pytest",
            says="deepeval test run -n 8",
            program="test_deepeval_suite.py",
            command=_deepeval,
            peer=DEEPEVAL,
        ),
    )
}


def programs_of(way: Way, peers: Path | None) -> Path | None:
    """Where the way's programs lie, or None where they are not installed.

    Ours, and what shares our packages, run in the Python that runs the benchmark if there is no folder of ours.
    """
    if peers is not None and way.peer.installed(peers):
        return way.peer.programs(peers)
    return Path(sys.executable).parent if way.peer is OURS else None


def install(peer: Peer, peers: Path) -> None:
    """Raises CalledProcessError where one of its commands fails."""
    for command in peer.installing(peers):
        subprocess.run(command, check=True, stdout=sys.stderr)
    (peer.home(peers) / "installed").touch()


def environment(load: Load, url: str, programs: Path, folder: Path) -> Mapping[str, str]:
    """The load's, with a home of the way's own for what it writes of itself."""
    own = {**load.environment(url), "PROMPTFOO_CONFIG_DIR": str(folder / "promptfoo"), "HOME": str(folder)}
    if programs != Path(sys.executable).parent:
        own.pop("PYTHONPATH", None)
    return own
