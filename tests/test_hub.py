"""Prompts from the hub: the real `datasets` client against a hub of ours on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

REVISION = "a" * 40
ROWS = [{"question": f"question {i}", "topic": f"topic {i // 2}", "note": f"n{i}"} for i in range(6)]
_CONTENT = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
_FILE = {"type": "file", "path": "train.jsonl", "size": len(_CONTENT), "oid": "b" * 40}


class _Hub(BaseHTTPRequestHandler):
    """As much of the hub's protocol as one pinned data set with one file needs."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Silent: the test's output is no place for an access log."""

    def _answer(self, *, body_too: bool = True) -> None:
        info = {"id": "some/data", "sha": REVISION, "private": False, "siblings": [{"rfilename": "train.jsonl"}]}
        pages = {
            f"/api/datasets/some/data/revision/{REVISION}": json.dumps(info).encode(),
            f"/api/datasets/some/data/tree/{REVISION}": json.dumps([_FILE]).encode(),
            f"/datasets/some/data/resolve/{REVISION}/train.jsonl": _CONTENT,
        }
        body = pages.get(self.path.partition("?")[0])
        self.send_response(404 if body is None else 200)
        if body is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("ETag", f'"{_FILE["oid"]}"')
        self.send_header("X-Repo-Commit", REVISION)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        if body_too and body is not None:
            self.wfile.write(body)

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer(body_too=False)


@pytest.fixture
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


_LOAD = f"""
from pytest_alignbench import ClaimError, hub_prompts
try:
    rows = hub_prompts("some/data", revision="{REVISION}", split="train", input="question", family="topic")
    print(repr([(p.id, p.input, p.family, dict(p.metadata)) for p in rows]))
except ClaimError as fault:
    print("REFUSED", fault)
"""


def _load(endpoint: str, cache: Path, **more: str) -> str:
    # A process of its own: the client reads its endpoint and cache when it is imported.
    env = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_DISABLE_TELEMETRY": "1", **more}
    env.pop("HF_HUB_OFFLINE", None) if "HF_HUB_OFFLINE" not in more else None
    done = subprocess.run([sys.executable, "-c", _LOAD], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_a_pinned_data_set_becomes_prompts_and_is_kept_for_offline_use(hub: str, tmp_path: Path) -> None:
    expected = repr([(f"row-{i}", r["question"], r["topic"], {"note": r["note"]}) for i, r in enumerate(ROWS)])

    assert _load(hub, tmp_path) == expected
    assert _load("http://127.0.0.1:1", tmp_path, HF_HUB_OFFLINE="1") == expected


def test_offline_without_a_cache_is_refused_with_what_to_do(tmp_path: Path) -> None:
    said = _load("http://127.0.0.1:1", tmp_path, HF_HUB_OFFLINE="1")

    assert said.startswith("REFUSED hub_prompts('some/data'")
    assert "cannot be loaded" in said
    assert "HF_HOME" in said
    assert "--ignore" in said
