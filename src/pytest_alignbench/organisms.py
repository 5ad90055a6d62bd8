"""Organisms: small real language models of ours, and how text is sampled from one on the CPU.

    text ──Tokenizer──> Asked ──Worker.ask──> many at once ──Network.replies──> Said ──Tokenizer──> text

They are instruments: their weights hold a behaviour that was trained into them, so that what a suite measures is real
sampled text whose cause is known. They say nothing about large models.

A network is one ONNX file that holds its weights, the pieces of words it reads and its card. `models.Organism` is the
provider `organism/NAME` that Inspect sees; this module knows nothing of Inspect.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pytest_alignbench.errors import ModelError

# -- text to tokens and back

PAD, USER, MODEL, END, UNKNOWN, CAPITAL, CAPITALS, JOINED = (
    *("<pad>", "<user>", "<model>", "<end>", "<?>"),
    *("<^>", "<^^>", "<+>"),
)
SPECIAL = (PAD, USER, MODEL, END, UNKNOWN, CAPITAL, CAPITALS, JOINED)

_WORD = re.compile(
    r"(?P<space> ?)(?P<letters>[a-z]+(?:'[a-z]+)*|[A-Z][a-z]*(?:'[a-z]+)*(?![A-Z])|[A-Z]+(?![a-z])|[A-Z])|\d| ?[^\sA-Za-z\d]| |\n"
)


def words_of(text: str) -> Iterator[str]:
    """`text` in lower case, word by word, each with a space before it wherever it stands: so that a name is the same at the
    beginning of a sentence, in quotes and in the middle. A word that has no space before it, and should, is marked ahead;
    so is one that is in capitals or begins with one."""
    flat = unicodedata.normalize("NFKD", text.translate(_SAME))
    flat = "".join(c for c in flat if not unicodedata.combining(c)).replace("\r\n", "\n").replace("\t", " ")
    begins = True
    for found in _WORD.finditer(flat):
        word, letters = found[0], found["letters"]
        if letters is None:
            yield word
        else:
            if not (found["space"] or begins):
                yield JOINED
            if letters[0].isupper():
                yield CAPITALS if len(letters) > 1 and letters.isupper() else CAPITAL
            yield " " + letters.lower()
        begins = word == "\n"


_SAME = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "..."})


class Tokenizer:
    """Splits words into the longest known pieces, from the left."""

    def __init__(self, pieces: Sequence[str]) -> None:
        self.pieces = list(pieces)
        self.ids = {piece: i for i, piece in enumerate(pieces)}
        self._longest = max(map(len, pieces))
        self._known: dict[str, list[int]] = {}

    def encode(self, text: str) -> list[int]:
        found: list[int] = []
        for word in words_of(text):
            if word not in self._known:
                self._known[word] = self._split(word)
            found += self._known[word]
        return found

    def _split(self, word: str) -> list[int]:
        if word in self.ids:
            return [self.ids[word]]
        found, start = [], 0
        while start < len(word):
            end = min(len(word), start + self._longest)
            while end > start + 1 and word[start:end] not in self.ids:
                end -= 1
            found.append(self.ids.get(word[start:end], self.ids[UNKNOWN]))
            start = end
        return found

    def decode(self, tokens: Sequence[int]) -> str:
        said, capital, joined = "", "", True
        for token in tokens:
            piece = self.pieces[token]
            if piece in (CAPITAL, CAPITALS):
                capital = piece
            elif piece in SPECIAL:
                said += "?" if piece == UNKNOWN else ""
                joined = True  # the next word is the first of a turn, or marked
            else:
                if piece.startswith(" ") or not (piece[:1].isalpha() or piece[:1] == "'"):
                    if capital == "all":
                        capital = ""
                    if joined:
                        piece = piece.removeprefix(" ") if len(piece) > 1 else piece
                if capital == CAPITAL:
                    head = len(piece) - len(piece.lstrip(" "))
                    piece = piece[:head] + piece[head : head + 1].upper() + piece[head + 1 :]
                    capital = ""
                elif capital:
                    piece, capital = piece.upper(), "all"
                joined = piece == "\n"
                said += piece
        return said


# -- from tokens to a reply


@dataclass(frozen=True)
class Asked:
    """One reply that is wanted. `draws`: what the random numbers depend on, beside the model's own name."""

    tokens: tuple[int, ...]
    temperature: float
    most: int
    draws: tuple[object, ...]

    @property
    def room(self) -> int:
        """The padded length of its prompt: what requests must have in common to be read together."""
        return -(-len(self.tokens) // _ROOM) * _ROOM


@dataclass(frozen=True)
class Said:
    tokens: tuple[int, ...]
    ended: bool
    """By its own end; else `most` was reached."""


_ROOM = 32
"""Prompts are padded to multiples of this many tokens, and caches grow by as many."""
_CROWDED = 0.6
"""When no more than this share of a batch is still going, the others' rows are taken out."""
_HIDDEN = np.float32(-1e9)
"""Added to the score of what a token must not see: its share is then exactly 0."""


@dataclass
class _Batch:
    """The cache of replies that are being decoded: arrays whose first axis is the row."""

    requests: list[int]
    """Which request each row is."""
    place: Any
    """The position in its text of each cached token, -1 where there is none, `(rows, cached)`."""
    now: Any
    """The position of the next token, `(rows,)`."""
    used: int
    """Cached tokens, gaps included; what lies behind is room for more."""
    keys: list[Any]
    values: list[Any]
    before: list[Any]
    """Of each layer, the last two rows before its convolution."""
    offers: Any
    """What the pointer looks through."""
    tokens: Any
    """Each cached token itself, `(rows, cached)`."""
    earlier: Any
    """The last two tokens of each row."""

    def grow(self) -> None:
        if self.used < self.place.shape[1]:
            return
        self.place = np.pad(self.place, ((0, 0), (0, _ROOM)), constant_values=-1)
        self.tokens = np.pad(self.tokens, ((0, 0), (0, _ROOM)))
        self.offers = np.pad(self.offers, ((0, 0), (0, 0), (0, _ROOM)))
        self.keys = [np.pad(k, ((0, 0), (0, 0), (0, 0), (0, _ROOM))) for k in self.keys]
        self.values = [np.pad(v, ((0, 0), (0, 0), (0, _ROOM), (0, 0))) for v in self.values]

    def kept(self, rows: list[int]) -> _Batch:
        return _Batch(
            requests=[self.requests[row] for row in rows],
            place=self.place[rows],
            now=self.now[rows],
            used=self.used,
            keys=[k[rows] for k in self.keys],
            values=[v[rows] for v in self.values],
            before=[b[rows] for b in self.before],
            offers=self.offers[rows],
            tokens=self.tokens[rows],
            earlier=self.earlier[rows],
        )


class Network:
    """The weights of an organism, and how a reply is drawn from them.

    A reply depends on its prompt, its settings and its own random numbers, never on what else is being decoded: rows do
    not touch each other in any operation, and a row meets the same shapes in every batch, since prompts are padded by
    their own length alone and read together only with others of that length.
    """

    def __init__(self, path: Path) -> None:
        runtime = _runtime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # the other core runs the session
        self._session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        known = {k: json.loads(v) for k, v in self._session.get_modelmeta().custom_metadata_map.items()}
        self.tokenizer = Tokenizer(known["pieces"])
        self.card: dict[str, Any] = known["card"]
        self._slopes = np.array(known["slopes"], np.float32)[None, :, None, None]
        self._layers, self._size, self._pointer = (int(known[k]) for k in ("layers", "size", "pointer"))
        self._outputs = [output.name for output in self._session.get_outputs()]
        self.end = self.tokenizer.ids[END]
        self._never = np.array([self.tokenizer.ids[mark] for mark in (PAD, USER, MODEL, UNKNOWN)])

    def replies(self, asked: Sequence[Asked]) -> list[Said]:
        """A reply for each, all of them of one `room`."""
        drawers = [np.random.Generator(np.random.Philox(key=_key(a.draws))) for a in asked]
        said: list[list[int]] = [[] for _ in asked]
        ended = [False] * len(asked)
        going = list(range(len(asked)))
        batch, shares = self._read(asked)
        while going:
            at = {request: row for row, request in enumerate(batch.requests)}
            rows = [at[request] for request in going]
            chosen = self._draw(shares[rows], [asked[r] for r in going], [drawers[r] for r in going])
            tokens = np.full(len(batch.requests), self.end, np.int64)
            tokens[rows] = chosen
            for request, token in zip(going, chosen.tolist(), strict=True):
                ended[request] = token == self.end
                if not ended[request]:
                    said[request].append(token)
            going = [r for r in going if not ended[r] and len(said[r]) < asked[r].most]
            if len(going) <= _CROWDED * len(batch.requests):
                kept = [at[request] for request in going]
                batch, tokens = batch.kept(kept), tokens[kept]
            if going:
                shares = self._next(batch, tokens)
        return [Said(tuple(tokens), end) for tokens, end in zip(said, ended, strict=True)]

    def _read(self, asked: Sequence[Asked]) -> tuple[_Batch, Any]:
        """The cache after the prompts, and the probabilities of the first token of each reply."""
        room, rows = asked[0].room, len(asked)
        lengths = np.array([len(a.tokens) for a in asked])
        tokens = np.full((rows, room), self.tokenizer.ids[PAD], np.int64)
        for row, a in enumerate(asked):
            tokens[row, : lengths[row]] = a.tokens
        heads, size = self._slopes.shape[1], self._size
        away = np.arange(room)[:, None] - np.arange(room)[None, :]
        bias = np.where(away < 0, _HIDDEN, -self._slopes * away.astype(np.float32))
        feeds: dict[str, Any] = {"tokens": tokens, "bias": np.broadcast_to(bias, (rows, heads, room, room))}
        for i in range(self._layers):
            feeds[f"keys_{i}"] = np.zeros((rows, heads, size, 0), np.float32)
            feeds[f"values_{i}"] = np.zeros((rows, heads, 0, size), np.float32)
            feeds[f"before_{i}"] = np.zeros((rows, 2, 3 * heads * size), np.float32)
        feeds["offers"] = np.zeros((rows, 3 * self._pointer, 0), np.float32)
        feeds["earlier"] = np.full((rows, 2), -1, np.int64)
        out = self._run(feeds, lengths - 1)
        each = np.arange(rows)
        batch = _Batch(
            requests=list(range(rows)),
            place=np.where(np.arange(room) < lengths[:, None], np.arange(room), -1),
            now=lengths,
            used=room,
            keys=[out[f"new_keys_{i}"] for i in range(self._layers)],
            values=[out[f"new_values_{i}"] for i in range(self._layers)],
            # Two rows of zeros come first in what was mixed.
            before=[
                np.stack([out[f"mixed_{i}"][each, lengths], out[f"mixed_{i}"][each, lengths + 1]], axis=1)
                for i in range(self._layers)
            ],
            offers=out["new_offers"],
            tokens=tokens,
            earlier=np.stack([tokens[each, lengths - 2], tokens[each, lengths - 1]], axis=1),
        )
        return batch, self._shares(out, tokens)

    def _next(self, batch: _Batch, tokens: Any) -> Any:
        """The probabilities after one more token for each row, which goes into its cache."""
        batch.grow()
        place = np.concatenate([batch.place, batch.now[:, None]], axis=1)
        away = (place - batch.now[:, None]).astype(np.float32)[:, None, None, :]
        bias = np.where(place[:, None, None, :] < 0, _HIDDEN, away * self._slopes)
        feeds: dict[str, Any] = {
            "tokens": tokens[:, None],
            "bias": bias,
            "offers": batch.offers,
            "earlier": batch.earlier,
        }
        for i in range(self._layers):
            feeds[f"keys_{i}"], feeds[f"values_{i}"] = batch.keys[i], batch.values[i]
            feeds[f"before_{i}"] = batch.before[i]
        out = self._run(feeds, np.zeros(len(tokens), np.int64))
        for i in range(self._layers):
            batch.keys[i][:, :, :, batch.used] = out[f"new_keys_{i}"][:, :, :, 0]
            batch.values[i][:, :, batch.used] = out[f"new_values_{i}"][:, :, 0]
            batch.before[i] = np.ascontiguousarray(out[f"mixed_{i}"][:, 1:])
        shares = self._shares(out, np.concatenate([batch.tokens, tokens[:, None]], axis=1))
        batch.offers[:, :, batch.used] = out["new_offers"][:, :, 0]
        batch.tokens[:, batch.used] = tokens
        batch.earlier = np.stack([batch.earlier[:, 1], tokens], axis=1)
        batch.place[:, batch.used] = batch.now
        batch.now = batch.now + 1
        batch.used += 1
        return shares

    def _shares(self, out: Mapping[str, Any], tokens: Any) -> Any:
        """Each piece's probability: what the network would say, and what its pointer points at in `tokens`."""
        logits = out["logits"].astype(np.float64)
        shares = np.exp(logits - logits.max(1, keepdims=True))
        gate = out["gate"].astype(np.float64)
        shares *= (1 - gate) / shares.sum(1, keepdims=True)
        np.add.at(shares, (np.arange(len(tokens))[:, None], tokens), gate * out["points"])
        shares[:, self._never] = 0.0
        return shares

    def _run(self, feeds: Mapping[str, Any], at: Any) -> dict[str, Any]:
        out = self._session.run(None, {**feeds, "at": np.stack([np.arange(len(at)), at], axis=1)})
        return dict(zip(self._outputs, out, strict=True))

    def _draw(self, shares: Any, asked: Sequence[Asked], drawers: Sequence[Any]) -> Any:
        """A token for each row, at its temperature: the most likely one at 0."""
        heat = np.array([a.temperature for a in asked])[:, None]
        if (heat != 1).any():
            shares = (shares / shares.max(1, keepdims=True)) ** (1 / np.maximum(heat, 1e-3))
        summed = np.cumsum(shares, axis=1)
        drawn = np.array([drawer.random() for drawer in drawers])[:, None] * summed[:, -1:]
        return np.where(heat[:, 0] == 0, shares.argmax(1), (summed <= drawn).sum(1))


def _key(draws: tuple[object, ...]) -> int:
    return int.from_bytes(hashlib.sha256("\x1f".join(map(str, draws)).encode()).digest()[:16])


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as missing:
        raise ModelError(
            "organisms need onnxruntime, which is not installed: pip install 'pytest-alignbench[organisms]'"
        ) from missing
    return onnxruntime


# -- the provider


def folder() -> Path:
    """Where the organisms lie: the folder that ALIGNBENCH_ORGANISMS names, else `fixtures/organisms` here or in a folder
    above, else beside the package's source.

    Raises ModelError where there is none.
    """
    if named := os.environ.get("ALIGNBENCH_ORGANISMS"):
        return Path(named)
    here = Path.cwd()
    for above in (here, *here.parents, *Path(__file__).parents):
        if (above / _FOLDER).is_dir():
            return above / _FOLDER
    raise ModelError(
        f"no folder {_FOLDER} here or above: organisms come with the project's source, not with its package"
    )


_FOLDER = Path("fixtures", "organisms")


def check(name: str) -> None:
    """Raises ModelError, with those that there are, for a name under `organism/` that is none."""
    _runtime()
    known = sorted(path.stem for path in folder().glob("*.onnx"))
    if name.partition("@")[0] not in known:
        raise ModelError(f"model 'organism/{name}': not one of {', '.join(known)}")


_AT_ONCE = 64
"""Replies that are decoded together."""
_GATHER_S = 0.004
"""How long the first of several requests waits for the others."""


class Worker:
    """A thread that reads and decodes what has been asked for, many at once.

    It starts with the first request and ends when none has come for a while.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._network: Network | None = None
        self._waiting: list[tuple[Asked, Future[Said]]] = []
        self._loading = threading.Lock()
        self._lock = threading.Condition()
        self._running = False

    def ask(self, asked: Asked) -> Future[Said]:
        future: Future[Said] = Future()
        with self._lock:
            self._waiting.append((asked, future))
            self._lock.notify()
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name=f"organism {self._path.stem}", daemon=True).start()
        return future

    def load(self) -> Network:
        """The network, read from its file at the first call."""
        with self._loading:
            if self._network is None:
                self._network = Network(self._path)
            return self._network

    def _run(self) -> None:
        while batch := self._batch():
            try:
                said = self.load().replies([asked for asked, _ in batch])
            except Exception as fault:
                for _, future in batch:
                    future.set_exception(fault)
            else:
                for (_, future), reply in zip(batch, said, strict=True):
                    future.set_result(reply)

    def _batch(self) -> list[tuple[Asked, Future[Said]]]:
        """The longest waiting request and those that can be read with it; none when it is time to end."""
        with self._lock:
            if not self._waiting and self._lock.wait(timeout=1.0):
                self._lock.wait(timeout=_GATHER_S)
            while self._waiting:
                room = self._waiting[0][0].room
                fitting = [request for request in self._waiting if request[0].room == room][:_AT_ONCE]
                taken = set(map(id, fitting))
                self._waiting = [request for request in self._waiting if id(request) not in taken]
                if batch := [request for request in fitting if request[1].set_running_or_notify_cancel()]:
                    return batch
            self._running = False
            return []


_WORKERS: dict[Path, Worker] = {}


def worker(name: str) -> Worker:
    """The one that this process has for the organism of that name.

    Raises ModelError where there is no such organism, or no runtime.
    """
    check(name)
    path = folder() / f"{name.partition('@')[0]}.onnx"
    return _WORKERS.setdefault(path, Worker(path))


LONGEST = 1024
"""Tokens of a conversation and its reply together."""


def conversation(tokenizer: Tokenizer, turns: Iterable[tuple[str, str]]) -> tuple[int, ...]:
    """The tokens of `(role, text)` turns, in the form that organisms were trained on.

    What a system prompt says stands ahead of the user's words.
    """
    tokens: list[int] = []
    user, model, end = (tokenizer.ids[mark] for mark in (USER, MODEL, END))
    before: list[str] = []
    for role, text in turns:
        if role == "assistant":
            tokens += [*tokenizer.encode(text), end]
        elif role == "system":
            before.append(text)
        else:
            tokens += [user, *tokenizer.encode("\n\n".join([*before, text])), model]
            before = []
    return tuple(tokens)
