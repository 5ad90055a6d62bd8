"""The house: which module stands on which floor. Imports go down a floor or more, never up and never to a neighbour.

The table below is the plan, and the imports that the source really has are held against it: those inside functions too,
since a cycle that hides in a function is a cycle, and those under TYPE_CHECKING too, since a reader follows them. A new
module fails here until it is given its place.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from textwrap import dedent

import pytest

import pytest_alignbench

SOURCE = Path(pytest_alignbench.__file__).parent
PACKAGE = "pytest_alignbench"

FLOORS = [
    # 0  what nobody may see
    {"redaction"},
    # 1  words that all others use
    {"errors", "text", "observations", "progress", "sharing"},
    # 2  what comes in, and all statistics; what may be spent, what is kept as it goes,
    #    and small models of our own
    {"settings", "names", "data", "estimates", "framing", "outputs", "budgets", "journal", "shards", "organisms"},
    # 3  the rule on an estimate; when to look; what moves over time; what would be asked
    {"gates", "looks", "timeseries", "plans"},
    # 4  what is asked, and what is kept
    {"claims", "history", "movements"},
    # 5  what a record says; who is asked; who reads the replies
    {"verdicts", "models", "scorers", "imports"},
    # 6  the run engine; what is compared with; what reports need of each run
    {"measure", "baselines", "solvers", "index"},
    # 7  one session; many verdicts; many runs
    {"session", "comparisons", "policies", "trends", "retention", "verification"},
    # 8  what people and workers are told
    {"reports", "scheduling"},
    # 9  groups of commands
    {"commands"},
    # 10  the two ways in
    {"cli", "plugin"},
]
"""A package (`scorers`, `reports`) stands on one floor; its own modules may use each other, in no circle."""

FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}

ALONE = {
    "pytest": {"plugin"},
    "xdist": {"scheduling"},
    "inspect_ai": {"models", "measure", "session", "scorers", "solvers", "outputs", "looks", "imports"},
    "datasets": {"data"},
    "fsspec": {"history"},
    "scipy": {"estimates", "timeseries"},
    "statsmodels": {"estimates", "timeseries"},
    "numpy": {"estimates", "timeseries", "movements", "trends", "organisms"},
    "onnxruntime": {"organisms"},
    "platformdirs": {"index"},
    "altair": {"reports.charts"},
    "vl_convert": {"reports.charts"},
    "jinja2": {"reports.html"},
    "markupsafe": {"reports.html"},
}
"""Who may import what others must not know of: rows of the table, or single modules of a package."""

FOR_TYPES = {"_pytest": {"plugin"}, "xdist": {"plugin"}}
"""Who may besides, under TYPE_CHECKING."""

HEAVY = (
    "altair",
    "datasets",
    "inspect_ai",
    "jinja2",
    "numpy",
    "pandas",
    "pydantic",
    "scipy",
    "statsmodels",
    "vl_convert",
)
"""A second and more of importing that no session without claims should pay."""


@dataclass(frozen=True)
class Import:
    """`importer` (a dotted module of ours) imports `target` (dotted; ours without the package's name)."""

    importer: str
    target: str
    ours: bool
    for_types: bool
    line: int

    @property
    def row(self) -> str:
        return self.importer.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.importer}, line {self.line}: imports {self.target}"


def modules() -> dict[str, Path]:
    """Dotted name below the package -> file. The package itself is `__init__`."""
    found = {}
    for file in SOURCE.rglob("*.py"):
        parts = file.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = file
    return found


MODULES = modules()


def imports_of(name: str) -> Iterator[Import]:
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    typed = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for statement in branch.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        for target in targets(node):
            ours = target.partition(".")[0] == PACKAGE
            inner = target.removeprefix(PACKAGE).lstrip(".") or "__init__"
            yield Import(name, inner if ours else target, ours, id(node) in typed, getattr(node, "lineno", 0))


def targets(node: ast.AST) -> Iterator[str]:
    """The modules that a statement imports: `from package import name` means a module of ours where there is one."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports here are absolute"
        base = node.module or ""
        for alias in node.names:
            full = f"{base}.{alias.name}"
            yield full if full.removeprefix(f"{PACKAGE}.") in MODULES and full != base else base


IMPORTS = [found for name in MODULES for found in imports_of(name)]
INSIDE = [found for found in IMPORTS if found.ours and found.row != "__init__"]


def test_every_module_has_its_place() -> None:
    rows = {name.partition(".")[0] for name in MODULES} - {"__init__"}
    assert rows == set(FLOOR_OF), "a new module is given its floor in FLOORS, one that is gone leaves it"
    assert len(FLOOR_OF) == sum(map(len, FLOORS)), "a module stands on one floor"


def test_imports_go_down() -> None:
    assert len(INSIDE) > 50, "the imports were not found"
    upward = [
        str(found)
        for found in INSIDE
        if found.target.partition(".")[0] != found.row
        and FLOOR_OF.get(found.target.partition(".")[0], len(FLOORS)) >= FLOOR_OF[found.row]
    ]
    assert upward == []


def test_no_circle_of_files() -> None:
    graph: dict[str, set[str]] = {name: set() for name in MODULES}
    for found in INSIDE:
        graph[found.importer].add(found.target)
    TopologicalSorter(graph).prepare()  # raises CycleError, with the circle


def test_what_one_module_alone_may_know() -> None:
    strangers = [
        str(found)
        for found in IMPORTS
        if not found.ours
        for root in [found.target.partition(".")[0]]
        if root in ALONE or root in FOR_TYPES
        if ALONE.get(root, set()).isdisjoint({found.row, found.importer})
        if not (found.for_types and found.row in FOR_TYPES.get(root, set()))
    ]
    assert strangers == []


def test_the_front_door_opens_lazily() -> None:
    """`__init__` imports nothing of ours but for types, and offers exactly what it shows to type checkers."""
    own = [found for found in IMPORTS if found.importer == "__init__"]
    assert {found.target for found in own if not found.for_types} <= {"__future__", "importlib", "typing"}
    tree = ast.parse(MODULES["__init__"].read_text(encoding="utf-8"))
    shown = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE)
        for alias in node.names
    }
    assert sorted(shown) == sorted(pytest_alignbench.__all__) == dir(pytest_alignbench)
    for name, home in shown.items():
        offered = getattr(pytest_alignbench, name)
        assert offered is getattr(sys.modules[str(home)], name)
    with pytest.raises(AttributeError, match="no attribute 'Sample'"):
        pytest_alignbench.Sample  # noqa: B018


# -- what it costs those who do not use it


def python(program: str, folder: Path, *args: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    done = subprocess.run(
        [sys.executable, "-c", program, *args],
        cwd=folder,
        env=environment | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_importing_the_package_and_the_plugin_is_cheap(tmp_path: Path) -> None:
    loaded = "import sys, pytest_alignbench, pytest_alignbench.plugin; print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    names = set(python(loaded, tmp_path).split())
    assert PACKAGE in names
    assert names.isdisjoint(HEAVY)


SESSION = """
import sys, pytest
code = pytest.main(sys.argv[1:])
assert code == 0, code
loaded = {name.partition(".")[0] for name in sys.modules}
print("LOADED", *sorted(loaded & set("HEAVY".split())), "pytest_alignbench.plugin" in sys.modules)
""".replace("HEAVY", " ".join(HEAVY))


def test_a_session_without_claims_imports_prints_and_writes_nothing_of_ours(tmp_path: Path) -> None:
    (tmp_path / "test_theirs.py").write_text("def test_theirs(tmp_path):\n    assert tmp_path.exists()\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers --strict-config\n")
    before = sorted(tmp_path.rglob("*"))
    theirs = ("-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-rA")
    with_us = python(SESSION, tmp_path, *theirs)
    without_us = python(SESSION, tmp_path, *theirs, "-p", "no:alignbench")

    def told(output: str) -> str:
        return re.sub(r"in \d+\.\d+s", "in no time", output.partition("LOADED")[0])

    assert "1 passed" in with_us
    assert told(with_us) == told(without_us)
    assert with_us.splitlines()[-1] == "LOADED True", "the plugin was there, and nothing heavy"
    assert without_us.splitlines()[-1] == "LOADED False"
    assert sorted(tmp_path.rglob("*")) == before


def test_a_session_needs_no_more_than_its_verdicts_do() -> None:
    """What a session imports is waited for before the first call and after the last: charts and tests of trends are not."""
    code = """
        import sys
        import pytest_alignbench.session, pytest_alignbench.reports.terminal
        print(*(name for name in ("scipy.stats", "statsmodels", "pandas", "datasets", "altair", "jinja2") if name in sys.modules))
    """
    done = subprocess.run([sys.executable, "-c", dedent(code)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
