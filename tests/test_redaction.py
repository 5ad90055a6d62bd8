"""Key values: known by where they are, found in whatever form, and nowhere in what a session shows or leaves behind."""

from __future__ import annotations

import base64
import gzip
import html
import json
import os
import re
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from conftest import Project
from pytest_alignbench import redaction
from pytest_alignbench.redaction import learn, learn_environment, learn_named, learn_url, redacted, throughout
from pytest_alignbench.text import one_line, visible
from server import FaultyServer, Reply, Request

KEY = "sk-live/Ab+Cd=Ef&Gh'Jk\"0123456789-wxyz"
"""With what percent-encoding, base64, JSON, Python and HTML each write in another way."""


@pytest.fixture
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_values", "_ends"):
        monkeypatch.setattr(redaction, name, {})
    monkeypatch.setattr(redaction, "_learnt", True)


@pytest.fixture
def known(nothing_known: None) -> None:
    learn(KEY, "A_KEY")


def forms(key: str) -> dict[str, str]:
    """How a value travels, written out without the module's help."""
    raw = key.encode()
    return {
        "as it is": key,
        "JSON": json.dumps({"key": key})[9:-2],
        "Python": repr(key)[1:-1],
        "percent": quote(key, safe=""),
        "percent, slashes kept": quote(key),
        "percent, lower case": re.sub("%..", lambda code: code[0].lower(), quote(key, safe="")),
        "form": quote_plus(key),
        "HTML": html.escape(key),
        "base64": base64.b64encode(raw).decode().rstrip("="),
        "basic auth": base64.b64encode(b"u:" + raw + b":x").decode(),
        "basic auth, other place": base64.b64encode(b"you:" + raw + b"...").decode(),
        "base64 for URLs": base64.urlsafe_b64encode(raw).decode().rstrip("="),
    }


# -- in whatever form


@pytest.mark.parametrize("form", forms(KEY))
def test_a_known_value_is_found_in_each_form(form: str, known: None) -> None:
    shown = redacted(f"before {forms(KEY)[form]} after")
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    assert "[redacted A_KEY]" in shown
    # In base64, what stands beside the value stays, and a digit at either end belongs to both.
    assert len(shown) <= len("before [redacted A_KEY] after") + (16 if "auth" in form else 2)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            f"Incorrect API key provided: {KEY[:8]}{'*' * 24}{KEY[-4:]}.",
            "Incorrect API key provided: [redacted A_KEY].",
        ),
        (f"key {KEY[:3]}...{KEY[-4:]}, see", "key [redacted A_KEY], see"),
        (f"key {KEY[:6]}…", "key [redacted A_KEY]"),
        (f"{{'Authorization': 'Bearer {KEY[:13]}...", "{'Authorization': 'Bearer [redacted A_KEY]"),
        (f"...{KEY[-9:]}'}}", "[redacted A_KEY]'}"),
        (f"cut at its end: {KEY[:20]}", "cut at its end: [redacted A_KEY]"),
        (f"{KEY[-20:]} cut at its beginning", "[redacted A_KEY] cut at its beginning"),
        ("wait... what? …yz", "wait... what? …yz"),
    ],
)
def test_what_a_mask_leaves_goes_too(said: str, shown: str, known: None) -> None:
    assert redacted(said) == shown


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    keys=st.lists(
        st.text(st.characters(codec="utf-8"), min_size=8, max_size=40).map(str.strip), min_size=1, max_size=3
    ),
    texts=st.lists(st.text(max_size=30), min_size=4, max_size=4),
    form=st.sampled_from(sorted(forms(KEY))),
)
def test_no_value_survives_and_nothing_else_is_lost(
    keys: list[str], texts: list[str], form: str, nothing_known: None
) -> None:
    assume(all(len(key) >= 8 for key in keys))
    redaction._values, redaction._ends = {}, {}
    for number, key in enumerate(keys):
        learn(key, f"K{number}")
    for text in texts:
        assume(not any(mask in text for mask in ("***", "...", "…")))
        if not any(key[:8] in text or key[-8:] in text for key in keys):
            assert redacted(text) == text
    said = "".join(part for key, text in zip(keys, texts, strict=False) for part in (text, forms(key)[form]))
    assert not any(key in redacted(said) for key in keys)


def test_a_value_within_another_leaves_nothing_of_the_longer_one(nothing_known: None) -> None:
    short, long = "0123456789abcdefXY", "prefix-0123456789abcdefXY-suffix"
    learn(short, "SHORT")
    learn(long, "LONG")
    assert redacted(f"{long} {short}") == "[redacted LONG] [redacted SHORT]"


def test_two_values_with_one_beginning_are_told_apart(nothing_known: None) -> None:
    """As with two tokens of the same issuer: the same header, encoded, and then the secret."""
    header = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
    learn(f"{header}first-secret", "FIRST")
    learn(f"{header}second-secret-longer", "SECOND")
    assert redacted(f"{header}second-secret-longer, {header}first-secret") == "[redacted SECOND], [redacted FIRST]"


@pytest.mark.parametrize("before", range(100, 170))
def test_a_cut_does_not_show_half_of_a_value(before: int, known: None) -> None:
    text = "x" * before + KEY + "y" * 1000
    for shown in (visible(text, limit=150), one_line(text, limit=40), one_line(text, limit=160)):
        assert KEY[:4] not in shown
        assert KEY[-4:] not in shown


def test_a_million_characters_take_no_longer_than_reading_them(known: None) -> None:
    """Each of these would take hours if its time grew with the square of its length."""
    for hostile in (
        "*" * 10**6,
        "." * 10**6,
        KEY[:4] * 10**5,
        (KEY[:15] + "... ") * 10**4,
        "…" * 10**5,
        KEY[:16] * 10**4,
    ):
        redacted(hostile)


# -- what is known


@pytest.mark.parametrize(
    "name",
    [
        "OPENAI_API_KEY",
        "SOME_VENDOR_APIKEY",
        "HF_TOKEN",
        "GITHUB_TOKEN",
        "MYTOKEN",
        "AZURE_CLIENT_SECRET",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SESSION_TOKEN",
        "AWS_BEARER_TOKEN_BEDROCK",
        "PGPASSWORD",
        "openai_api_key",
        "OPENAI_API_KEYS",
        "Authorization",
        "x-api-key",
    ],
)
def test_values_are_secret_by_name(name: str, nothing_known: None) -> None:
    learn_named({name: "hunter22hunter22"})
    assert redacted("hunter22hunter22") == f"[redacted {name}]"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_DEFAULT_REGION", "eu-central-1"),
        ("MAX_TOKENS", "1000000000"),
        ("TOKENIZERS_PARALLELISM", "definitely"),
        ("KEYBOARD_LAYOUT", "dvorak-us-intl"),
        ("SOME_KEY_FILE", "keys-of-the-house"),
        ("LOCAL_API_KEY", "inference"),
        ("LOCAL_API_KEY", "short"),
        ("GOOGLE_CREDENTIALS", os.path.abspath(__file__)),
        ("OPENAI_BASE_URL", "https://gateway.example/v1?version=2026-01-01"),
    ],
)
def test_what_is_no_secret_stays(name: str, value: str, nothing_known: None) -> None:
    learn_named({name: value})
    assert redacted(value) == value


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        ("https://user:pass%2Fword-1234@gateway.example/v1", ["pass%2Fword-1234", "pass/word-1234"]),
        ("https://0123456789token@gateway.example/v1", ["0123456789token"]),
        ("https://gateway.example/v1?api_key=0123456789abc&x=y", ["0123456789abc"]),
        ("sftp://ci:longpassword@host/history", ["longpassword"]),
    ],
)
def test_credentials_in_a_url_are_secret(url: str, secrets: list[str], nothing_known: None) -> None:
    learn_url(url, "URL")
    for secret in secrets:
        assert redacted(f"at {secret}!") == "at [redacted URL]!"
    assert "example" in redacted(url) or "host" in redacted(url)


def test_a_value_is_known_to_the_end_of_the_process(nothing_known: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", KEY)
    learn_environment()
    monkeypatch.delenv("SOME_API_KEY")
    learn_environment()
    assert KEY not in redacted(KEY)


def test_a_variable_that_goes_meanwhile_is_no_error(nothing_known: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest sets and takes away `PYTEST_CURRENT_TEST` around each phase, while another thread makes its clients."""
    monkeypatch.setenv("SOME_API_KEY", "sk-some-value")
    over = threading.Event()

    def change() -> None:
        while not over.is_set():
            os.environ["FLEETING"] = "here"
            os.environ.pop("FLEETING", None)

    often = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    changing = threading.Thread(target=change)
    changing.start()
    try:
        for _ in range(2000):
            learn_environment()
    finally:
        over.set()
        changing.join()
        sys.setswitchinterval(often)
    assert redacted("sk-some-value") == "[redacted SOME_API_KEY]"


def test_several_keys_in_one_variable(nothing_known: None) -> None:
    learn_named({"ALL_KEYS": "first-key-0123456789, second-key-0123456789"})
    assert redacted("it was 'second-key-0123456789'") == "it was '[redacted ALL_KEYS]'"


def test_exceptions_are_cleaned_with_their_causes(known: None) -> None:
    class ProviderError(Exception):
        def __init__(self, message: str, body: object) -> None:
            super().__init__(message)
            self.message, self.body = message, body

    inner = ProviderError(f"bad key {KEY}", {"error": {"message": [f"bad key {KEY}"]}, KEY: 1})
    outer = RuntimeError(f"after {KEY}", 7)
    outer.__cause__ = inner
    inner.__context__ = outer  # a circle, as careless code makes them
    throughout(outer)
    assert KEY not in f"{outer!r} {inner!r} {inner.message} {inner.body}"
    assert outer.args[1] == 7


# -- a whole session

SUITE = """
import logging
import os
import warnings

import pytest
from made import *

CLAIMS = [
    rate(), difference(), rate("t.graded", scorer=graded()), rate("t.quoted", scorer=quoting()),
    rate("t.refused", conditions={"quiet": asks("refused", 8)}, gate=RateAtMost(0.5)),
    rate("t.unknown", conditions={"quiet": asks("unknown", 8)}, gate=RateAtMost(0.5), scorer=graded()),
]

@pytest.mark.parametrize("claim", CLAIMS)
def test_claim(claim, verdict):
    local = os.environ["FAULTY_API_KEY"]
    headers = {"Authorization": "Bearer " + local, "other": list(range(200)), "again": "x" * 300 + local}
    print("printed", local)
    logging.getLogger("mine").warning("logged %s", local)
    warnings.warn(f"warned {local}")
    assert verdict.violated and local == headers["again"], local
"""

MORE = """
import os

@scorer(metrics=[mean()])
def quoting():
    async def score(state, target):
        key = os.environ["FAULTY_API_KEY"]
        return Score(value="No" in state.output.completion, answer=key, explanation=f"by {key}", metadata={"key": key})

    return score
"""


def echoing(request: Request) -> Reply:
    """A provider that repeats the key that it was sent wherever a provider may."""
    key = request.headers.get("x-api-key", "") or request.headers["authorization"].removeprefix("Bearer ")
    if "refused" in request.text:
        return Reply(status=401, message=f"Incorrect API key provided: {key}")
    if "unknown" in request.text:
        return Reply(status=400, message=f"bad request by {json.dumps(key)} of {quote(key, safe='')}")
    if "Does this refuse" in request.text:
        return Reply(f"YES, says {key}", model=f"grader-{key}")
    return Reply(f"No. Your key is {key}, or {' or '.join(forms(key).values())}.", model=f"m-{key}")


def left_behind(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder, unpacked."""
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            content = file.read_bytes()
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as packed:
                    yield from ((f"{file}:{name}", _unpacked(packed.read(name))) for name in packed.namelist())
            else:
                yield str(file), _unpacked(content)


def _unpacked(content: bytes) -> bytes:
    return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_no_key_value_in_anything_that_a_session_shows_or_leaves(workers: tuple[str, ...], project: Project) -> None:
    project.write("made.py", (project.path / "made.py").read_text(encoding="utf-8") + MORE)
    project.write("test_suite.py", SUITE)
    project.write(
        "test_broken.py", 'import os\nkey = os.environ["FAULTY_API_KEY"]\nraise ValueError(f"collecting with {key}")'
    )
    model = ("--model", "openai-api/faulty/m-1", "--grader", "openai-api/faulty/grader")
    loud = ("-vv", "-rA", "--showlocals", "--tb=long", "--junitxml=junit.xml", "--continue-on-collection-errors")
    with FaultyServer(echoing) as server:
        project.serve(server.environment(key=KEY))
        result = project.pytest(*loud, *workers, *model)
        assert len(server.requests) > 100
    records = project.records()
    assert len(records) == 6, "the collection error may not hide the claims"
    assert records["t.rate @ openai-api/faulty/m-1"].observations[0].reply.startswith("No. Your key is [redacted")
    shown = {"terminal": result.stdout.str() + result.stderr.str()}
    assert shown["terminal"].count("[redacted FAULTY_API_KEY]") > 10, "there was nothing to redact"
    if not workers:  # what is made of records is the same whoever measured
        for form in ("text", "json", "markdown"):
            shown[form] = project.alignbench("show", "--full", "--format", form).output
        for file in ("report.html", "report.json", "report.csv"):
            project.alignbench("report", "-o", file)
        project.alignbench("baseline", "save", "--force", "-o", "baseline.json")
    left = dict(left_behind(project.path))
    assert sum(name.endswith((".json", ".eval")) or ".eval:" in name for name in left) > 6, "no logs were looked at"
    shown |= {name: content.decode("utf-8", "replace") for name, content in left.items()}
    leaks = [
        f"{place}: {form}: …{text[max(0, text.index(value[8:-8]) - 80) :][:80]}"
        for place, text in shown.items()
        for form, value in forms(KEY).items()
        if value[8:-8] in text
    ]
    assert leaks == []
    assert not any(KEY[:20] in text or KEY[-20:] in text for text in shown.values())
