"""What is stored, as pages: the runs of a history, one of them, what pruning would do, and what verification found."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_alignbench.gates import Gate
from pytest_alignbench.history import Record, Run
from pytest_alignbench.index import Head
from pytest_alignbench.observations import Tally
from pytest_alignbench.reports.pages import Page, Row
from pytest_alignbench.reports.shapes import HistoryShape, PruningShape, StoredShape, VerificationShape
from pytest_alignbench.retention import Fate
from pytest_alignbench.verification import Verified


def of_history(heads: Sequence[Head], unreadable: Sequence[str], named: str) -> Page:
    """Every run in a line, oldest first."""
    return Page(
        title=f"history {named}: {_counted(len(heads), 'run')}",
        heads=("run", "started", "records", "models", "verdicts", "state"),
        rows=tuple(_head_row(head) for head in heads),
        first=3,
        closing=tuple(unreadable),
        shape=HistoryShape(runs=tuple(heads), unreadable=tuple(unreadable)),
    )


def _head_row(head: Head) -> Row:
    words = ", ".join(f"{count} {word}" for word, count in sorted(head.words.items()))
    state = ", ".join([*([] if head.complete else ["incomplete"]), *(["imported"] if head.imported else [])])
    cells = (head.run, head.started[:16].replace("T", " "), str(head.records), ", ".join(head.models), words, state)
    return Row(name=head.run, cells=cells, below=head.notes, tone="" if head.complete else "yellow")


def of_stored(run: Run, *, size: int, logs: str) -> Page:
    """One run: where it came from, and what is in it."""
    lead = [f"started {run.started}" + (f", finished {run.finished}" if run.finished else "")]
    lead += [] if run.complete else ["incomplete: some planned claims have no record"]
    lead += [f"imported from {', '.join(run.imported)}"] if run.imported else [f"logs in {logs}"]
    lead += [f"sessions {', '.join(run.parts)}"] if run.parts else []
    lead += [f"with {', '.join(f'{name} {number}' for name, number in run.versions.items())}"] if run.versions else []
    return Page(
        title=f"run {run.id}: {_counted(len(run.records), 'record')}, {_bytes(size)}",
        lead=tuple(lead),
        heads=("claim", "model", "served", "grader", "allowed", "replies", "fingerprint"),
        rows=tuple(_record_row(record) for record in run.records),
        first=2,
        closing=(
            *run.notes,
            "fingerprint: two records with the same one are the same experiment, whatever the model",
        ),
        shape=StoredShape.of(run, size=size),
    )


def _record_row(record: Record) -> Row:
    below = [said for said in (record.fault, record.not_measured) if said is not None]
    below += [f"stopped early, at look {record.stopped_at} of {record.looks}"] if record.stopped_at else []
    below += [f"compared with {record.baseline.source}"] if record.baseline is not None else []
    cells = (
        record.claim,
        record.asked if record.asked == record.model else f"{record.asked} ({record.model})",
        ", ".join(record.served) or "–",
        record.grader or "–",
        Gate.from_json(record.gate).rule,
        str(Tally.of(record.observations)),
        record.experiment,
    )
    return Row(name=record.key, cells=cells, below=tuple(below), tone="yellow" if record.fault is not None else "")


def of_pruning(fates: Sequence[Fate], *, done: bool) -> Page:
    """What goes and what stays."""
    going = [fate for fate in fates if not fate.kept]
    size = _bytes(sum(fate.size for fate in going))
    verb = "removed" if done else "would go"
    closing = [f"{_counted(len(going), 'run')} {verb}, {size}"]
    closing += [] if done or not going else ["nothing was removed: say --yes to do it"]
    return Page(
        title="prune",
        heads=("", "run", "started", "models", "size"),
        rows=tuple(_fate_row(fate, verb) for fate in fates),
        first=2,
        closing=tuple(closing),
        shape=PruningShape.of(fates, done=done),
    )


def _fate_row(fate: Fate, verb: str) -> Row:
    head = fate.head
    cells = (verb if not fate.kept else "stays", head.run, head.started[:10], ", ".join(head.models), _bytes(fate.size))
    return Row(name=head.run, cells=cells, below=(fate.kept,) if fate.kept else (), tone="" if fate.kept else "red")


def of_verification(found: Verified) -> Page:
    """Every file that is not what was written."""
    looked = f"{_counted(found.runs, 'run file')} and {_counted(found.logs, 'log')}, and the index"
    sound = (
        f"all is sound: {looked}"
        if not found.faults
        else f"{_counted(len(found.faults), 'file')} of {looked} are not sound"
    )
    hint = "damaged files stay where they are; --quarantine sets them aside"
    return Page(
        title="verify",
        lead=(sound,),
        heads=("file", "what is wrong", "now in"),
        rows=tuple(
            Row(name=fault.file, cells=(fault.file, fault.why, fault.moved), tone="red") for fault in found.faults
        ),
        first=1,
        closing=(hint,) if any(not fault.moved for fault in found.faults) else (),
        tone="red" if found.faults else "green",
        shape=VerificationShape.of(found),
    )


def _counted(count: int, one: str) -> str:
    return f"{count:,} {one}" + ("" if count == 1 else "s")


def _bytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
