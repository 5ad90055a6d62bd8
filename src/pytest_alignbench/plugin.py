"""The hooks, and nothing else: how claims become pytest items and verdicts become pytest reports.

    pytest_generate_tests       a test that uses `verdict` becomes one item per claim and model
    pytest_collection_finish    all selected items are known: measuring starts, in one run
    the `verdict` fixture       waits for its own item's measurement, and judges it
    pytest_runtest_makereport   the record travels in the report, as one JSON string
    pytest_sessionfinish        the controlling process writes all records to history

This is the only module that knows pytest. It is imported in every session of every project that has us installed, so
all that costs time to import is imported when the first claim is collected, or when a model is named.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import json
import os
import shlex
import shutil
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Generator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter
    from xdist.scheduler import LoadScheduling
    from xdist.workermanage import WorkerController

    from pytest_alignbench.history import Record
    from pytest_alignbench.progress import Progress, Ticker
    from pytest_alignbench.session import Case, Exchange, Session
    from pytest_alignbench.shards import Shard
    from pytest_alignbench.verdicts import Verdict

_ALIASES = {
    "--model": ("alignbench_model", "append"),
    "--grader": ("alignbench_grader", "store"),
    "--baseline": ("alignbench_baseline", "store"),
}
_NO_MODEL = "no model named: add --model NAME, an Inspect name such as anthropic/claude-… or a short one"


@dataclass
class _State:
    """What this plugin knows of the pytest session, in the config's stash."""

    aliases: dict[str, bool] = field(default_factory=dict)
    """Short option -> whether it is ours in this session."""
    run: str = ""
    started: str = ""
    session: Session | None = None
    exchange: Path | None = None
    due: dict[str, str] = field(default_factory=dict)
    """Item -> key of the case that must end with a record."""
    selected: list[Case] = field(default_factory=list)
    """Of a shard: the cases that all shards divide among them."""
    suite: dict[str, str] = field(default_factory=dict)
    """Of a shard that will be stored: see `Session.suite`."""
    skipped: set[str] = field(default_factory=set)
    """Items that a mark or a fixture of the user's skipped: theirs is no missing record."""
    records: dict[str, Record] = field(default_factory=dict)
    handed: dict[str, Record] = field(default_factory=dict)
    """Item -> record, where both are in this process: it goes the way of the report, without being packed for it."""
    stored: str | None = None
    trouble: str | None = None
    """Why the run could not be stored."""
    troubles: list[str] = field(default_factory=list)
    """What went wrong beside the measuring."""
    kept: int = 0
    """Replies that an interrupted session had measured."""
    spent: str = ""
    """Of the budget, in words."""
    interrupted: bool = False
    left: int = 0
    """Replies that are kept for the next session, where this one could not be ended."""
    wrong: str | None = None
    """In a worker: how the claims are used wrongly. An error at collection would end the worker without a word."""
    unnamed: int = 0
    """Claims that were not measured because no model was named."""
    ticker: Ticker | None = None
    said: float = 0.0
    """When progress was last told."""
    thresholds: tuple[int, int, int] = field(default_factory=gc.get_threshold)
    """Of the garbage collector, as they were."""

    @property
    def missing(self) -> list[str]:
        """Keys of the cases that ended without a record."""
        lost = (key for item, key in self.due.items() if item not in self.skipped and key not in self.records)
        return list(dict.fromkeys(lost))


_STATE = pytest.StashKey[_State]()
_CASE = pytest.StashKey["Case"]()
_RECORD = pytest.StashKey["Record"]()
_VERDICT = pytest.StashKey["Verdict"]()


# -- options


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("alignbench", "claims about model behaviour")
    group.addoption(
        "--alignbench-model",
        action="append",
        default=[],
        metavar="NAME",
        dest="alignbench_model",
        help="model to test, an Inspect name or a short one; may be given more than once (short form --model, "
        "unless another plugin or a conftest owns that)",
    )
    group.addoption(
        "--alignbench-grader",
        metavar="NAME",
        dest="alignbench_grader",
        help="model that grades replies, for claims whose scorer needs one (short form --grader)",
    )
    group.addoption(
        "--alignbench-controls",
        action="store_true",
        dest="alignbench_controls",
        help="test the claims themselves, offline: each must judge a misbehaving, a behaving and a blind simulated "
        "model rightly",
    )
    group.addoption(
        "--alignbench-inconclusive",
        choices=["fail", "warn"],
        dest="alignbench_inconclusive",
        help="what an inconclusive claim does to the exit code (default: fail)",
    )
    group.addoption(
        "--alignbench-connections",
        type=int,
        metavar="N",
        dest="alignbench_connections",
        help="calls in flight at once to each model, over all workers (default: 20)",
    )
    group.addoption(
        "--alignbench-baseline",
        metavar="MODEL|RUN|FILE",
        dest="alignbench_baseline",
        help="judge each claim by whether it is worse than here: a model's latest record, a run, or a file of "
        "`alignbench baseline save` (short form --baseline)",
    )
    group.addoption(
        "--alignbench-margin",
        type=float,
        metavar="RATE",
        dest="alignbench_margin",
        help="with a baseline: how much worse still passes, as a rate (default: 0.10)",
    )
    group.addoption(
        "--alignbench-stop-early",
        action="store_true",
        dest="alignbench_stop_early",
        help="look five times, in whole families and each time at a smaller alpha, and stop asking when a claim is decided",
    )
    group.addoption(
        "--alignbench-processes",
        type=int,
        metavar="N",
        dest="alignbench_processes",
        help="processes that measure beside pytest, where there are no xdist workers; 0: none (default: 2)",
    )
    group.addoption(
        "--alignbench-budget",
        metavar="5USD|2Mtok|1000calls",
        dest="alignbench_budget",
        help="spend no more than this; claims that it does not reach are INCONCLUSIVE",
    )
    group.addoption(
        "--alignbench-fresh",
        action="store_true",
        dest="alignbench_fresh",
        help="measure everything anew, also what an interrupted session has measured already",
    )
    group.addoption(
        "--alignbench-plan",
        metavar="FILE",
        dest="alignbench_plan",
        help="only collect, and write the plan there as JSON: what would be asked, its cost, and what it could tell",
    )
    group.addoption(
        "--alignbench-history",
        metavar="PATH",
        dest="alignbench_history",
        help="where records and logs are kept: a folder or an fsspec URL (default: .alignbench)",
    )
    group.addoption(
        "--alignbench-annotations",
        action="store_true",
        dest="alignbench_annotations",
        help="at the end, print what GitHub Actions shows beside claims that do not hold",
    )
    group.addoption(
        "--alignbench-shard",
        metavar="I/N",
        dest="alignbench_shard",
        help="measure only share I of N of the selected claims, in one of N sessions that are judged together",
    )
    group.addoption(
        "--alignbench-group",
        metavar="NAME",
        dest="alignbench_group",
        help="what to call the run that the shards are of (default: the workflow run's number in GitHub Actions)",
    )


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config, parser: pytest.Parser) -> Generator[None, None, None]:
    """Short forms come last: whoever defines `--model` in a conftest or another plugin keeps it."""
    yield
    state = early_config.stash.setdefault(_STATE, _State())
    group = parser.getgroup("alignbench")
    for short, (dest, action) in _ALIASES.items():
        try:
            group.addoption(
                short, action=action, dest=dest, default=[] if action == "append" else None, help=argparse.SUPPRESS
            )
            state.aliases[short] = True
        except (ValueError, argparse.ArgumentError):
            state.aliases[short] = False


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """A plan is asked for before anything is spent."""
    if config.getoption("alignbench_plan"):
        config.option.collectonly = True


def pytest_configure(config: pytest.Config) -> None:
    state = config.stash.setdefault(_STATE, _State())
    config.pluginmanager.register(_Interrupted(state), "alignbench_interrupted")
    if _worker(config) is None:
        config.pluginmanager.register(_Collector(state), "alignbench_collector")
    if _wanted(config):
        _collect_garbage_seldom(config)
        config.pluginmanager.register(_Guard(), "alignbench_guard")
        # The run's thread lives in this process; Inspect's own deprecation warnings say nothing to a user of ours.
        config.addinivalue_line("filterwarnings", r"ignore::DeprecationWarning:inspect_ai\..*")
    config.addinivalue_line("markers", "alignbench_claim: set by pytest-alignbench on every item that tests a claim")
    config.addinivalue_line(
        "markers", "alignbench_grader: set by pytest-alignbench on claims whose scorer needs a grader"
    )


def _collect_garbage_seldom(config: pytest.Config) -> None:
    """Until all is imported: what Inspect and the clients make is kept, and to look for garbage in it takes .4 s."""
    thresholds = config.stash[_STATE].thresholds
    gc.set_threshold(100_000, 50, 100)

    def as_before() -> None:
        gc.set_threshold(*thresholds)
        gc.unfreeze()

    config.add_cleanup(as_before)


def _worker(config: pytest.Config) -> dict[str, Any] | None:
    """What the controller told this process, if it is an xdist worker."""
    given: dict[str, Any] | None = getattr(config, "workerinput", None)
    return given


def _workers(config: pytest.Config) -> int:
    """How many xdist workers there will be: `-n 4` is `--tx 4*popen` by now."""
    if not _parallel(config):
        return 0
    parts = (spec.partition("*") for spec in config.getoption("tx"))
    return sum(int(number) if rest and number.isdigit() else 1 for number, _, rest in parts)


def _wanted(config: pytest.Config) -> bool:
    """Whether the user asked for claims to be measured."""
    return bool(config.getoption("alignbench_model") or config.getoption("alignbench_controls"))


def _parallel(config: pytest.Config) -> bool:
    """Whether this is the controller of xdist workers."""
    return _worker(config) is None and config.getoption("dist", "no") != "no"


def _session(config: pytest.Config) -> Session:
    """The claims' session of this process; made, with its imports, at first need."""
    state = config.stash[_STATE]
    if state.session is None:
        from pytest_alignbench.budgets import Budget
        from pytest_alignbench.errors import AlignbenchError
        from pytest_alignbench.history import new_run_id, now
        from pytest_alignbench.session import Exchange, Options, Session
        from pytest_alignbench.settings import settings_of

        worker = _worker(config) or {}
        state.started = now()
        shard = _shard(config)
        stamp = new_run_id()
        named = shard.run_id(stamp) if shard is not None and shard.group else stamp
        state.run = worker.get("alignbench_run") or named
        budget = config.getoption("alignbench_budget")
        make_options = partial(
            Options,
            models=tuple(dict.fromkeys(config.getoption("alignbench_model"))),
            grader=config.getoption("alignbench_grader"),
            controls=config.getoption("alignbench_controls"),
            connections=config.getoption("alignbench_connections"),
            history=config.getoption("alignbench_history"),
            baseline=config.getoption("alignbench_baseline"),
            margin=config.getoption("alignbench_margin"),
            stop_early=config.getoption("alignbench_stop_early"),
            shard=shard,
            processes=config.getoption("alignbench_processes"),
        )
        try:
            options = make_options(budget=Budget.of(budget) if budget is not None else None)
            settings = settings_of(config.rootpath)
            workers = int(worker.get("workercount", 1))
            # At the interpreter's end the collector would walk over all of Inspect once more: most of a second.
            atexit.register(gc.freeze)
            state.session = Session(options, settings, root=config.rootpath, run=state.run, workers=workers)
            if "alignbench_journal" in worker:
                state.session.join_journal(
                    worker["workerid"], worker["alignbench_journal"], worker["alignbench_adopted"]
                )
            if "alignbench_exchange" in worker:
                state.session.exchange = Exchange(Path(worker["alignbench_exchange"]))
        except AlignbenchError as fault:
            raise _usage(fault) from fault
    return state.session


def _usage(said: object) -> pytest.UsageError:
    """What pytest says in one line before it ends."""
    from pytest_alignbench.text import visible

    return pytest.UsageError(visible(str(said)))


def _shard(config: pytest.Config) -> Shard | None:
    """Which share of the claims this session measures, if that was said. Its record will need the name of a group."""
    share, group = config.getoption("alignbench_shard"), config.getoption("alignbench_group")
    if share is None and group is None:
        return None
    from pytest_alignbench.errors import AlignbenchError
    from pytest_alignbench.shards import Shard

    try:
        shard = Shard.asked(share, group, os.environ)
    except AlignbenchError as fault:
        raise _usage(fault) from fault
    if shard is not None and not shard.group and _stores(config):
        raise pytest.UsageError(
            f"--alignbench-shard {share} needs --alignbench-group NAME: what to call the run that all {shard.of} shards are "
            "of, another name for each run (in GitHub Actions it is the workflow run's number by itself)"
        )
    return shard


def _stores(config: pytest.Config) -> bool:
    """Whether this session's records will be kept."""
    wanted = _wanted(config) and not config.getoption("alignbench_controls")
    return wanted and not config.getoption("collectonly")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """A wrong model is said once, before anything is collected or any worker is started."""
    config = session.config
    if _worker(config) is None:
        _shard(config)
    if _wanted(config) and _worker(config) is None:
        ours = _session(config)
        troubles = ours.check_models(names_only=config.getoption("collectonly")) + ours.check_baseline()
        troubles += ours.check_connections(_workers(config))
        if troubles:
            raise _usage("\n".join(troubles))
        if not (config.getoption("collectonly") or ours.options.controls):
            from pytest_alignbench.errors import HistoryError

            try:
                ours.open_journal(command=_command(config), fresh=config.getoption("alignbench_fresh"))
            except HistoryError as fault:
                raise _usage(fault) from fault


def _command(config: pytest.Config) -> str:
    """What the user typed, to be typed again: a key in it is not kept."""
    from pytest_alignbench.redaction import redacted

    return redacted(shlex.join(["pytest", *map(str, config.invocation_params.args)]))


def pytest_report_header(config: pytest.Config) -> list[str]:
    if not _wanted(config):
        return []
    from pytest_alignbench.text import visible

    session = _session(config)
    state = config.stash[_STATE]
    names = [
        name if name == session.resolved(name) else f"{name} -> {session.resolved(name)}" for name in session.models
    ]
    lines = [f"alignbench: {'controls' if session.options.controls else 'models'}: {', '.join(names)}"]
    if session.left:
        lines.append(
            f"alignbench: an interrupted session left {session.left:,} replies; what is the same here is not asked again "
            "(--alignbench-fresh asks everything)"
        )
    if session.grader is not None:
        same = [name for name in session.models if session.resolved(name) == session.grader]
        lines.append(f"alignbench: grader: {session.grader}" + (f" (it grades itself as {same[0]})" if same else ""))
    if session.baselines is not None:
        lines.append(f"alignbench: baseline: {session.baselines.named}, margin {session.margin:g}")
    shard = session.options.shard
    if shard is not None:
        lines.append(f"alignbench: shard {shard}" + (f" of group {shard.group}" if shard.group else ""))
    taken = [short for short, ours in state.aliases.items() if not ours]
    lines.extend(f"alignbench: {s} belongs to another plugin here; ours is --alignbench-{s[2:]}" for s in taken)
    return [visible(line) for line in lines]


# -- collection: claims become items


@pytest.fixture
def _alignbench_model(request: pytest.FixtureRequest) -> str | None:
    """The model's name of this item, as typed; None when no model was named."""
    name: str | None = getattr(request, "param", None)
    return name


@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "verdict" in metafunc.fixturenames and "_alignbench_model" in metafunc.fixturenames and _wanted(metafunc.config):
        names = _session(metafunc.config).models
        metafunc.parametrize(
            "_alignbench_model", names, ids=[n.removeprefix("simulated/") for n in names], indirect=True
        )


def pytest_make_parametrize_id(val: object) -> str | None:
    """A claim's own id names its item. Only an object of ours has it, and then our module is imported already."""
    if type(val).__module__ == "pytest_alignbench.claims" and type(val).__name__ == "Claim":
        name: str = val.id  # type: ignore[attr-defined]
        return name
    return None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None, None, None]:
    """Around all others: the suite's size counts all collected claims, and shards divide those that -k and -m leave."""
    try:
        _find_claims(config, items)
    except pytest.UsageError as fault:
        config.stash[_STATE].wrong = str(fault)  # pytest still ends the collection: nothing is to be asked
        if _worker(config) is None:
            raise
    yield
    shard = _shard(config)
    if shard is not None and config.stash[_STATE].wrong is None:
        _keep_share(config, items, shard)


def _keep_share(config: pytest.Config, items: list[pytest.Item], shard: Shard) -> None:
    """Leaves this shard's claims. All shards together run each test once, so those without claims fall to the first."""
    cases = [item.stash[_CASE] for item in items if _CASE in item.stash]
    number_of = _session(config).divided(cases) if cases else {}
    config.stash[_STATE].selected = cases
    kept: list[pytest.Item] = []
    left: list[pytest.Item] = []
    for item in items:
        number = number_of[item.stash[_CASE].key] if _CASE in item.stash else 1
        (kept if number == shard.number else left).append(item)
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = kept


def _find_claims(config: pytest.Config, items: list[pytest.Item]) -> None:
    claims: dict[str, Case] = {}
    for item in items:
        if "verdict" not in getattr(item, "fixturenames", ()) or "_alignbench_model" not in item.fixturenames:  # type: ignore[attr-defined]
            continue
        case = _case_of(item)
        item.stash[_CASE] = case
        item.add_marker("alignbench_claim")
        from pytest_alignbench.errors import ClaimError
        from pytest_alignbench.measure import config_of, needs_grader

        try:
            config_of(case.claim)
            if needs_grader(case.claim):
                item.add_marker("alignbench_grader")
        except ClaimError as fault:
            raise _usage(fault) from fault
        twin = claims.setdefault(case.key, case)
        if twin.claim is not case.claim:
            raise pytest.UsageError(
                f"two claims have the id {case.claim.id!r}; an id names one claim, at {item.nodeid}"
            )
    if claims:
        # Each control is a question of its own about a claim, not one more chance of a false red for the suite.
        controls = config.getoption("alignbench_controls")
        _session(config).m = len({case.claim.id for case in claims.values()} if controls else claims)


def _case_of(item: pytest.Item) -> Case:
    from pytest_alignbench.claims import Claim
    from pytest_alignbench.session import Case

    params = item.callspec.params if hasattr(item, "callspec") else {}
    claims = [value for value in params.values() if isinstance(value, Claim)]
    if len(claims) != 1:
        raise pytest.UsageError(
            f"{item.nodeid} uses the verdict fixture with {len(claims)} claims among its parameters; "
            'it needs one: @pytest.mark.parametrize("claim", CLAIMS)'
        )
    return Case(claims[0], params.get("_alignbench_model"), *_place(item, claims[0].id))


def _place(item: pytest.Item, claim: str) -> tuple[str | None, int | None]:
    """File, from the rootdir, and line of the claim: where its id is written in the test's file, else the test's own."""
    named, at, _ = item.location
    file = Path(named)
    if file.is_absolute() or ".." in file.parts:
        return None, None
    try:
        lines = item.path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        lines = []
    written = (number for number, line in enumerate(lines, start=1) if f'"{claim}"' in line or f"'{claim}'" in line)
    return file.as_posix(), next(written, None if at is None else at + 1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Every selected claim of this process starts to be measured now, in one run.

    Before xdist's own hook tells the controller that this worker has collected: the controller may divide the items at once.
    """
    config = session.config
    cases = [(item.nodeid, item.stash[_CASE]) for item in session.items if _CASE in item.stash]
    state = config.stash[_STATE]
    if config.getoption("alignbench_plan"):
        plans = [asdict(_session(config).plan(case)) for _, case in cases]
        Path(config.getoption("alignbench_plan")).write_text(json.dumps(plans), encoding="utf-8")
    if state.wrong is not None or config.getoption("collectonly"):
        return
    if state.selected and _stores(config):
        _say_suite(config)
    if not cases:
        return
    named = [(nodeid, case) for nodeid, case in cases if case.asked is not None]
    state.due = {nodeid: case.key for nodeid, case in named}
    if not named:
        return
    from pytest_alignbench.progress import Ticker
    from pytest_alignbench.sharing import shares

    ours = _session(config)
    worker = _worker(config)
    mine = named
    exchange = ours.exchange
    if worker is not None and exchange is not None:
        exchange.say_cases(worker["workerid"], [(nodeid, case.key, ours.cost(case)) for nodeid, case in named])
        number = int(worker["workerid"].removeprefix("gw"))
        if worker["alignbench_shares"] and number < int(worker["workercount"]):
            share = shares([(case.key, ours.cost(case)) for _, case in named], int(worker["workercount"]))[number]
            mine = [mine[index] for index in share]
        else:
            mine = []  # a foreign scheduler, or a worker that replaces a dead one: measured as items arrive
        state.ticker = Ticker(partial(_watch, exchange, worker["workerid"], ours, os.getppid()), every=0.5)
    # What a mark may skip is not paid for before its turn comes.
    doubtful = {
        item.nodeid for item in session.items if any(item.iter_markers("skip")) or any(item.iter_markers("skipif"))
    }
    gc.freeze()  # what is there by now stays; and a child that is forked shares it as long as nobody walks over it
    gc.set_threshold(*state.thresholds)
    ours.start(
        [case for nodeid, case in mine if nodeid not in doubtful],
        spare=[case for nodeid, case in mine if nodeid in doubtful],
    )


def _watch(exchange: Exchange, worker: str, session: Session, controller: int) -> None:
    """A worker tells how far it is. When its controller has left, or was killed, it asks no more: nobody will hear of it."""
    if exchange.over or os.getppid() != controller:
        session.stop()
    else:
        exchange.say_progress(worker, session.progress())


def _say_suite(config: pytest.Config) -> None:
    """What the shards must agree on, for the record: also where this one has nothing to measure."""
    state = config.stash[_STATE]
    session, worker = _session(config), _worker(config)
    state.suite = session.suite(state.selected)
    if worker is not None and session.exchange is not None:
        session.exchange.say_suite(worker["workerid"], state.suite)


# -- running: measurements become verdicts


@pytest.fixture
def verdict(request: pytest.FixtureRequest, _alignbench_model: str | None) -> Verdict:
    """The verdict on this item's claim and model. Waits for its measurement.

    Skips when no model was named; errors when the claim could not be measured.
    """
    from pytest_alignbench.errors import AlignbenchError
    from pytest_alignbench.text import visible
    from pytest_alignbench.verdicts import judge

    item = request.node
    wrong = request.config.stash[_STATE].wrong
    if wrong is not None:
        pytest.fail(wrong, pytrace=False)
    case = item.stash.get(_CASE, None)
    if case is None:
        pytest.fail(
            "claims are known before any test runs: name the verdict fixture among the test's arguments", pytrace=False
        )
    if case.asked is None:
        pytest.skip(_NO_MODEL)
    session = _session(request.config)
    try:
        while (record := session.wait(case, seconds=0.1)) is None:
            _tell_serial(request.config, session)
    except AlignbenchError as fault:
        pytest.fail(visible(f"{case.key}: {fault}"), pytrace=False)
    item.stash[_RECORD] = record
    if record.fault is not None:
        pytest.fail(visible(f"{case.key}: not measured: {record.fault}"), pytrace=False)
    made = judge(record)
    item.stash[_VERDICT] = made
    said = {"run": session.run} | made.properties
    item.user_properties.extend((f"alignbench.{name}", value) for name, value in said.items())
    return made


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Under --alignbench-controls the question is another: not whether the claim holds, but whether it is judged rightly."""
    if not pyfuncitem.config.getoption("alignbench_controls") or _CASE not in pyfuncitem.stash:
        return None
    session = _session(pyfuncitem.config)
    case = pyfuncitem.stash[_CASE]
    made = pyfuncitem.stash[_VERDICT]
    unfit = session.unfit(case)
    if unfit is not None:
        pytest.skip(f"no control: {unfit}")
    expected = session.expected(case)
    if made.outcome is not expected:
        pytest.fail(f"control misjudged: {case.asked} must be {expected}\n{made.explanation}", pytrace=False)
    return True


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Around all others: what a test of ours reports, and what was captured meanwhile, is made harmless at last."""
    report = _with_record(item, call, (yield))
    if _CASE in item.stash and (report.longrepr or report.sections or report.user_properties):
        _make_harmless(report)
    return report


def _make_harmless(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Tracebacks with their locals, captured output and properties: no key values, and nothing that acts on a terminal."""
    from pytest_alignbench.redaction import learn_environment, throughout
    from pytest_alignbench.text import visible_in_colour

    learn_environment()  # a test may have set a variable
    report.longrepr = throughout(report.longrepr, visible_in_colour)
    report.sections = throughout(report.sections, visible_in_colour)
    if isinstance(report, pytest.TestReport):
        report.user_properties = throughout(_plain(report.user_properties), visible_in_colour)


def _plain(value: Any) -> Any:
    """`value` as another process can be sent it: an enum or an array among a test's properties would end the worker."""
    if type(value) in (list, tuple):
        return type(value)(map(_plain, value))
    if type(value) is dict:
        return {_plain(key): _plain(held) for key, held in value.items()}
    return value if type(value) in (str, int, float, bool, bytes, type(None)) else str(value)


def _with_record(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> pytest.TestReport:
    record = item.stash.get(_RECORD, None)
    if record is None or report.when == "teardown" or (report.when == "setup" and report.passed):
        return report
    if _worker(item.config) is None:
        item.config.stash[_STATE].handed[item.nodeid] = record
        report.alignbench_record = ""  # type: ignore[attr-defined]
    else:
        # One JSON string in ASCII: a surrogate, bytes or an enum in a report makes xdist lose it and still exit 0.
        report.alignbench_record = json.dumps(record.model_dump(mode="json"))  # type: ignore[attr-defined]
    del item.stash[_RECORD]  # pytest holds items to the end, and this is most of a session's memory
    made = item.stash.get(_VERDICT, None)
    failed_by_assertion = report.failed and call.excinfo is not None and call.excinfo.errisinstance(AssertionError)
    if made is not None and made.inconclusive and failed_by_assertion:
        report.alignbench_status = made.outcome.value  # type: ignore[attr-defined]
        report.longrepr = made.explanation
        if _inconclusive(item.config) == "warn":
            report.outcome = "skipped"
            path, line, _ = item.location
            report.longrepr = (path, (line or 0) + 1, f"{made.outcome}: {made.why}")
    return report


def _inconclusive(config: pytest.Config) -> str:
    given: str | None = config.getoption("alignbench_inconclusive")
    return given or _session(config).settings.inconclusive


def pytest_report_teststatus(
    report: pytest.TestReport | pytest.CollectReport,
) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    status = getattr(report, "alignbench_status", None)
    if status is None:
        return None
    word = status.replace("_", " ")
    return word.lower(), "?", (word, {"yellow": True})


def _unpacked(packed: str) -> Record:
    from pytest_alignbench.history import Record

    return Record.model_validate(json.loads(packed))


class _Guard:
    """What else pytest shows of a session in which models are asked: no key values, and nothing that acts on a terminal."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(self) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        report = yield
        if report.failed:
            _make_harmless(report)
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_internalerror(self, excrepr: object) -> None:
        from pytest_alignbench.redaction import throughout
        from pytest_alignbench.text import visible_in_colour

        throughout(excrepr, visible_in_colour)

    @pytest.hookimpl(tryfirst=True)
    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        from pytest_alignbench.redaction import throughout
        from pytest_alignbench.text import visible

        throughout(warning_message.message, visible)


class _Interrupted:
    """Ends the calls before pytest does anything else about Ctrl-C: it renders a traceback first, which takes a second."""

    def __init__(self, state: _State) -> None:
        self._state = state

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self) -> None:
        if self._state.session is not None:
            self._state.session.halt()
        if self._state.exchange is not None:
            from pytest_alignbench.session import Exchange

            Exchange(self._state.exchange).end()


class _Collector:
    """Takes the records out of the reports as they arrive, in the process that writes history."""

    def __init__(self, state: _State) -> None:
        self._state = state

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        packed: str | None = getattr(report, "alignbench_record", None)
        if packed is not None:
            record = self._state.handed.pop(report.nodeid, None) or _unpacked(packed)
            self._state.records[record.key] = record
            report.alignbench_record = ""  # type: ignore[attr-defined]
        elif report.skipped:
            self._state.skipped.add(report.nodeid)
            self._state.unnamed += isinstance(report.longrepr, tuple) and report.longrepr[2].endswith(_NO_MODEL)


# -- progress: a line now and then, in a terminal and in a CI log alike


def _every(config: pytest.Config) -> float:
    """Seconds between two lines: a person at a terminal looks more often than a log needs."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return 5.0 if reporter is not None and reporter.isatty else 15.0


def _tell_serial(config: pytest.Config, session: Session) -> None:
    """Called while an item waits. Output is captured then, so capturing is lifted for the one line."""
    state = config.stash[_STATE]
    reporter: TerminalReporter | None = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")
    state.said = state.said or time.monotonic()
    if reporter is None or _worker(config) is not None or time.monotonic() - state.said < _every(config):
        return
    state.said = time.monotonic()
    with capture.global_and_fixture_disabled() if capture is not None else nullcontext():
        _tell(reporter, session.progress())


def _tell(reporter: TerminalReporter, progress: Progress | None) -> None:
    if progress is not None and progress.done < progress.planned:
        reporter.ensure_newline()
        if reporter.config.get_terminal_writer().width_of_current_line:
            reporter.write("\n")  # under xdist the reporter does not know of its own dots
        reporter.write_line(f"alignbench: {progress.line}")


# -- xdist: shares, and what the processes tell each other


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    config = node.config
    if not _wanted(config):
        return
    session = _session(config)
    state = config.stash[_STATE]
    if state.exchange is None:
        # In the journal, where there is one: it goes with it, whoever is killed.
        state.exchange = Path(tempfile.mkdtemp(prefix="exchange-", dir=session.journal))
    node.workerinput["alignbench_exchange"] = str(state.exchange)
    node.workerinput["alignbench_run"] = session.run
    if session.journal is not None:
        node.workerinput["alignbench_journal"] = str(session.journal)
        node.workerinput["alignbench_adopted"] = [str(folder) for folder in session.adopted]
    node.workerinput["alignbench_shares"] = config.getoption("dist") == "load"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScheduling | None:
    """With plain `-n N`, each worker gets the claims that it is measuring already; other --dist modes stay as they are."""
    state = config.stash[_STATE]
    if not _wanted(config) or config.getoption("dist") != "load" or state.exchange is None:
        return None
    from pytest_alignbench.scheduling import ShareScheduling
    from pytest_alignbench.session import Exchange

    exchange = Exchange(state.exchange)
    reporter: TerminalReporter | None = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        from pytest_alignbench.progress import Ticker

        state.ticker = Ticker(lambda: _tell(reporter, exchange.progress()), every=_every(config))
    return ShareScheduling(config, log, exchange)


# -- the end: history, the table, the exit code


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    state = config.stash[_STATE]
    if state.ticker is not None:
        state.ticker.stop()
    worker = _worker(config)
    if state.session is not None:
        state.session.stop()
        state.troubles.extend(state.session.troubles)
        told = state.session.exchange
        if worker is not None and told is not None:
            told.say_troubles(worker["workerid"], state.troubles)
            told.say_progress(worker["workerid"], state.session.progress())
    if worker is not None or state.session is None:
        return
    progress = state.session.progress()
    if state.exchange is not None:
        from pytest_alignbench.session import Exchange

        exchange = Exchange(state.exchange)
        state.due = {nodeid: key for nodeid, key, _ in exchange.cases()}
        state.suite = exchange.suite()
        state.troubles.extend(exchange.troubles)
        progress = exchange.progress()
        shutil.rmtree(state.exchange, ignore_errors=True)
    state.kept = progress.kept if progress is not None else 0
    purse = state.session.purse
    state.spent = f"spent {purse.budget.said(purse.spent)} of {purse.budget}" if purse is not None else ""
    if session.exitstatus in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR):
        state.interrupted, state.left = True, state.session.leave_journal()
        reporter: TerminalReporter | None = config.pluginmanager.get_plugin("terminalreporter")
        if session.exitstatus == pytest.ExitCode.INTERNAL_ERROR and reporter is not None:
            _tell_missing(reporter, state)  # pytest has no summary then
            _tell_unfinished(reporter, config, state.left)
        return
    missing = state.missing
    _tell_junit(config, state)
    nothing_to_do = bool(state.suite) and not state.due
    if (state.records or nothing_to_do) and not state.session.options.controls:
        _store(state, complete=not missing)
    if nothing_to_do and session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = pytest.ExitCode.OK  # more shards than claims: there is a record, which says so
    if state.trouble is None:
        state.troubles.extend(state.session.close_journal(list(state.records.values())))
    else:
        state.left = state.session.leave_journal()
    if (missing or state.trouble) and session.exitstatus == pytest.ExitCode.OK:
        # Whatever lost it, a claim without a verdict is not a claim that holds.
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _tell_junit(config: pytest.Config, state: _State) -> None:
    """The run's own properties, for the XML that is about to be written.

    `record_testsuite_property` does this for a test, and is lost in xdist's workers. What it calls is looked up here by what
    it can do, since pytest has no public name for it.
    """
    from pytest_alignbench.text import visible

    session = state.session
    assert session is not None
    shard = session.options.shard
    records = list(state.records.values())
    told = {
        "run": session.run,
        "models": ", ".join(session.models),
        "grader": session.grader,
        "baseline": session.baselines.named if session.baselines is not None else None,
        "m": max((record.m for record in records), default=None),
        "alpha": max((record.alpha for record in records), default=None),
        "shard": f"{shard.number}/{shard.of}" if shard is not None else None,
        "group": (shard.group or None) if shard is not None else None,
    }
    for plugin in config.pluginmanager.get_plugins() if records else ():
        if callable(getattr(plugin, "add_global_property", None)):
            for name, value in told.items():
                if value is not None:
                    plugin.add_global_property(f"alignbench.{name}", visible(f"{value}"))


def _store(state: _State, *, complete: bool) -> None:
    from pytest_alignbench.errors import HistoryError
    from pytest_alignbench.history import History, Run, now, versions

    assert state.session is not None
    run = Run(
        id=state.run,
        started=state.started,
        finished=now(),
        complete=complete,
        versions=versions(),
        records=tuple(state.records[key] for key in sorted(state.records)),
        suite=state.suite,
    )
    try:
        state.stored = History(state.session.history_url).write(run)
    except HistoryError as fault:
        state.trouble = str(fault)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    state = config.stash[_STATE]
    if config.getoption("collectonly"):
        _show_plan(terminalreporter, config)
    if state.unnamed:
        terminalreporter.section("alignbench", yellow=True)
        terminalreporter.write_line(f"{state.unnamed} claims collected, none measured: {_NO_MODEL.partition(': ')[2]}")
    if state.session is None or not (state.records or state.due or state.stored):
        return
    if state.interrupted:
        _tell_unfinished(terminalreporter, config, state.left)
    from pytest_alignbench.reports.terminal import grid, table
    from pytest_alignbench.text import visible
    from pytest_alignbench.verdicts import judge

    verdicts = [judge(record) for record in state.records.values()]
    controls = state.session.options.controls

    def say(line: str, **colours: bool) -> None:
        terminalreporter.write_line(visible(line), **colours)

    terminalreporter.section(f"alignbench, run {state.run}")
    lines = list(table(verdicts, width=_width(terminalreporter), controls=controls))
    if len(state.session.models) > 1 and not controls:
        lines += [("", ""), *grid(verdicts)]
    for line, colour in lines:
        say(line, **({colour: True} if colour else {}))
    if config.getoption("alignbench_annotations") and not controls:
        from pytest_alignbench.redaction import redacted
        from pytest_alignbench.reports import github

        prefix = github.prefix_of(config.rootpath, os.environ)
        for line in github.annotate(github.of_verdicts(verdicts, prefix=prefix)):
            terminalreporter.write_line(redacted(line))
    if state.kept:
        say(f"{state.kept:,} replies were there from before an interruption")
    unasked = Counter(o.reason for r in state.records.values() for o in r.observations if o.exclusion == "unmeasured")
    for why, count in unasked.items():
        say(f"{count:,} replies were not asked for: {why}", yellow=True)
    for why, count in Counter(_fault(record) for record in state.records.values() if record.fault).items():
        if count > 1:  # one is told where it is an ERROR
            say(f"{count:,} claims could not be measured: {why}", red=True)
    if state.spent:
        say(state.spent)
    for said in state.troubles:
        say(said, yellow=True)
    if not state.interrupted:
        _tell_missing(terminalreporter, state)
    if state.trouble is not None:
        say(f"NOT STORED: {state.trouble}", red=True)
        say(f"{state.left:,} replies are kept; when that is mended, the same command stores them")
    if state.stored is not None:
        at = config.getoption("alignbench_history")
        named = state.run if at is None else f"{state.run} --history {shlex.quote(at)}"
        say(f"record: alignbench show {named}    transcripts: alignbench logs {named}")
        shard = state.session.options.shard
        if shard is not None:
            share = "" if state.due else "which has no claim to measure, "
            say(f"this is shard {shard}, {share}of the run: alignbench gate {shard.group}")


def _fault(record: Record) -> str:
    """What went wrong, without where: that it is the same for many claims is to be seen."""
    errored = (o.reason for o in record.observations if o.exclusion in ("errored", "grader-failed"))
    return next(errored, record.fault or "")


def _tell_missing(reporter: TerminalReporter, state: _State) -> None:
    from pytest_alignbench.text import visible

    missing = state.missing
    if missing:
        reporter.ensure_newline()
        reporter.write_line(visible(f"{len(missing)} claims have no verdict: {', '.join(missing[:5])}"), red=True)


def _tell_unfinished(reporter: TerminalReporter, config: pytest.Config, kept: int) -> None:
    reporter.section("alignbench, interrupted", yellow=True)
    reporter.write_line(f"{kept:,} replies are kept and will not be asked again. To go on:")
    reporter.write_line(f"    {_command(config)}")
    reporter.write_line("To measure everything anew, add --alignbench-fresh.")


def _width(reporter: TerminalReporter) -> int:
    """Columns to fill: a log has no edge, and its default of 80 would only break lines."""
    return shutil.get_terminal_size().columns if reporter.isatty else 180


def _show_plan(reporter: TerminalReporter, config: pytest.Config) -> None:
    """Under --collect-only: what would be asked, what it would cost and what it could tell. Calls nobody."""
    session_items = getattr(reporter._session, "items", []) if reporter._session is not None else []
    cases = [item.stash[_CASE] for item in session_items if _CASE in item.stash]
    if not cases:
        return
    from pytest_alignbench.plans import reach
    from pytest_alignbench.reports.terminal import plan_table
    from pytest_alignbench.text import visible

    reporter.section("alignbench, plan")
    session = _session(config)
    plans = [session.plan(case) for case in cases]
    for line in plan_table(plans, width=_width(reporter)):
        reporter.write_line(visible(line))
    if session.options.budget is not None:
        reporter.write_line(visible(reach(session.options.budget, plans)))
