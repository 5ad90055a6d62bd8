"""Learning the pieces of words that the organisms read and write; `pytest_alignbench.organisms` has the code that uses them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

from pytest_alignbench.organisms import SPECIAL, words_of


def learn_pieces(texts: Iterable[str], size: int, whole: Iterable[str] = ()) -> list[str]:
    """The `size` pieces that byte-pair merging finds in `texts`, after the special ones, single characters and the words
    that are to be one piece each."""
    counted = Counter(word for text in texts for word in words_of(text) if word not in SPECIAL)
    # Words that come once are made up; what they are made of is found in the others.
    spelled = {word: list(word) for word, times in counted.items() if times > 3}
    letters = {chr(c) for c in range(33, 127) if not chr(c).isupper()} | {" " + chr(c) for c in range(97, 123)}
    given = sorted({" " + word for word in whole if word.isascii() and word.isalpha()})
    pieces = [*SPECIAL, " ", "\n", *sorted(letters), *given]
    for word, parts in spelled.items():
        if parts[0] == " " and len(parts) > 1 and parts[1].isalpha():
            spelled[word] = [parts[0] + parts[1], *parts[2:]]
    while len(pieces) < size:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, parts in spelled.items():
            for pair in pairwise(parts):
                pairs[pair] += counted[word]
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        if "".join(best) not in given:
            pieces.append("".join(best))
        for word, parts in spelled.items():
            if best[0] in parts:
                spelled[word] = _merged(parts, best)
    return pieces


def _merged(parts: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for part in parts:
        if merged and (merged[-1], part) == pair:
            merged[-1] += part
        else:
            merged.append(part)
    return merged
