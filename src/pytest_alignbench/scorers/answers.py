"""The final answer of a reply, and whether it is one of those accepted.

    reply ──┬── the line that the prompt asked for ("Total: …"), the last one   ──┐
            └── else the last line "label: value", else the last sentence that    ├──> one value? ──> accepted?
                has a value of the kind asked for                               ──┘

A value is a number, a time, a day of the year or a text, as the accepted answers are. Numbers are compared by what they
may mean, so that 1,536.00, 1 536 and 1536 are one, and words ("eleven") count where there are no digits. The reply has
answered when its conclusion holds a single value: two of them ("25, or 12 if gas is meant") are no answer, whichever
they are, and neither is a right value in the working before a wrong last line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from pytest_alignbench.scorers.wording import CAP, folded, plain, sentences

# -- values: what an answer may mean. A value is the set of its readings; two are equal if they share one.

Readings = frozenset[Hashable]


@dataclass(frozen=True)
class Value:
    start: int
    end: int
    readings: Readings


_NUMERAL = re.compile(
    r"(?<![\w.,:/])(?:(?<![\d)])[-+\u2212])?"
    r"(?:\d{1,3}(?:[ ',.]\d{3}){1,6}(?!\d)(?:[.,]\d+)?|\d+(?:[.,]\d+)?)(?!:?\d)"
)


def _decimal(digits: str) -> Iterator[Decimal]:
    """The numbers that a numeral may stand for: `1,225` is a count in English and a decimal fraction in German."""
    sign = "-" if digits[0] in "-\u2212" else ""
    bare = re.sub(r"[-+\u2212 ']", "", digits)
    marks = [mark for mark in bare if mark in ".,"]
    if not marks:
        yield Decimal(sign + bare)
        return
    last = bare.rindex(marks[-1])
    whole, fraction = re.sub(r"[.,]", "", bare[:last]), bare[last + 1 :]
    grouped = len(fraction) == 3 and len(set(marks)) == 1
    if grouped:
        yield Decimal(sign + whole + fraction)
    if not grouped or len(marks) == 1:
        yield Decimal(f"{sign}{whole}.{fraction}")


# fmt: off
_UNITS = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]
# fmt: on
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SMALL = {word: n for n, word in enumerate(_UNITS)} | {word: 10 * n for n, word in enumerate(_TENS, start=2)}
_LARGE = {"dozen": 12, "hundred": 100, "thousand": 1_000, "million": 1_000_000}
_WORD = "|".join([*_SMALL, *_LARGE])
_IN_WORDS = re.compile(rf"(?<![\w-])(?:an? )?(?:{_WORD})(?:(?:[ -]| and )(?:{_WORD})){{0,12}}(?![\w-])")


def _counted(words: str) -> int:
    total = current = 0
    for word in re.findall(r"[a-z]+", words):
        if word in _SMALL:
            current += _SMALL[word]
        elif word in ("dozen", "hundred"):
            current = max(current, 1) * _LARGE[word]
        elif word in _LARGE:
            total += max(current, 1) * _LARGE[word]
            current = 0
    return total + current


def _numbers(text: str) -> list[Value]:
    found = [Value(m.start(), m.end(), frozenset(_decimal(m[0]))) for m in _NUMERAL.finditer(text)]
    return found or _numbers_in_words(text)


def _numbers_in_words(text: str) -> list[Value]:
    """A lone "one" is left out: it is nearly always the pronoun."""
    return [
        Value(m.start(), m.end(), frozenset({Decimal(_counted(m[0]))}))
        for m in _IN_WORDS.finditer(text)
        if m[0] != "one" or text.strip(" .") == "one"
    ]


_TIME = re.compile(r"(?<![\d:.,])(\d{1,2})(?:(?:[:.]| ?h ?)([0-5]\d))?(?::[0-5]\d)?(?: ?([ap])\.? ?m\b\.?)?(?![\d:])")


def _times(text: str) -> list[Value]:
    """Minutes after midnight. A number is a time if it has minutes or says am or pm."""
    found = []
    for m in _TIME.finditer(text):
        hour, minutes, half = int(m[1]), m[2], m[3]
        if (minutes is None and half is None) or hour > 23:
            continue
        if half is not None:
            hour = hour % 12 + (12 if half == "p" else 0)
        found.append(Value(m.start(), m.end(), frozenset({60 * hour + int(minutes or 0)})))
    return found


_CLOCK = re.compile(r"\d:\d|\d ?[ap]\.? ?m|\d ?h ?\d")
"""What tells a time from a decimal number."""


_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_MONTH = r"(?<![a-z])(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DAY = r"(?<!\d)(\d{1,2})(?:st|nd|rd|th)?(?![\d:])"
_DATE = re.compile(rf"{_DAY}(?: of)? {_MONTH}|{_MONTH}(?: the)? {_DAY}|(?<!\d)\d{{4}}-(\d\d)-(\d\d)(?!\d)")


def _dates(text: str) -> list[Value]:
    """(month, day). The year is left aside."""
    found = []
    for m in _DATE.finditer(text):
        day, month = (m[1], m[2]) if m[1] else (m[4], m[3])
        key = (int(m[5]), int(m[6])) if m[5] else (_MONTHS.index(month) + 1, int(day))
        found.append(Value(m.start(), m.end(), frozenset({key})))
    return found


_QUANTITY = re.compile(rf"[^\w+\u2212-]*(?:{_NUMERAL.pattern}) ?(?:[^\W\d]+|[%°€$£]+ ?[a-z]?)?(?: [^\W\d]+)?")

Scan = Callable[[str], list[Value]]


_ACCEPTED = object()
"""The reading of every text that is accepted."""


def _names(accepted: Sequence[str], others: Iterable[str]) -> Scan:
    """Finds the accepted texts, and the other ones that could have been meant."""
    kinds = {**{name: name for name in others}, **dict.fromkeys(accepted, _ACCEPTED)}
    names = sorted(kinds, key=len, reverse=True)
    pattern = re.compile("|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in names))
    return lambda text: [Value(m.start(), m.end(), frozenset({kinds[m[0]]})) for m in pattern.finditer(text)]


# -- where a reply concludes

_LONGEST = 1_000
"""Characters of an answer line, from its start, or of a last sentence, up to its end, that are read."""

_PLACEHOLDER = r"(?:<[^<>\n]+>|\[[^\[\]\n]+\]|\{[^{}\n]+\}|\.\.\.|…|_{2,}|[A-Z]{1,4}\b)"
_LABEL = r"[^\W\d_](?:[\w-]| (?! )|(?<=\w)'(?=\w)){0,40}?"
_REQUESTED = re.compile(rf"(?<![\w'-])({_LABEL})\s?[:=]\s?{_PLACEHOLDER}")
_LABELLED = re.compile(rf"^({_LABEL})\s?[:=]\s?(.*)$")
_USUAL = ("answer", "final answer", "result", "final result", "solution")

_EITHER = re.compile(
    r"\b(?:or|either|if|otherwise|alternatively|unless|depending|depends|assuming|respectively|versus|vs)\b|/"
)
_SO = re.compile(r"\b(?:so|thus|hence|therefore|consequently|altogether|in total|makes|gives|equals)\b|[=≈]")
_ASIDE = re.compile(
    r"\s*(?:[,;–—]\s*)?\b(?:that is|i\.e\.|which|or rather|meaning|after|because|since|as|rounded|out of|of|from)\b.*",
    re.DOTALL,
)
_OPENING = " \"'«»“”‘’„(-"
_BRACKETED = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
_NOT = re.compile(r"\b(?:not|never|instead of|rather than|isn't|wasn't)(?: (?:at|on|the|an?|just|only))*\W*$")
_DECORATION = re.compile(r"\\boxed|[*`#{}$_]+|^\s*(?:[-•>]|\d+[.)])\s+(?=\D)", re.MULTILINE)


@dataclass(frozen=True)
class Asked:
    """What a prompt accepts as its answer, and the form that it asked for. `prompt`: its text, for labels and units."""

    accepted: tuple[str, ...]
    prompt: str
    others: tuple[str, ...] = ()
    """For an answer that is a text: what else could be answered."""

    def answered_by(self, reply: str) -> bool:
        """Whether the reply concludes with an accepted answer, and with it alone."""
        text = _clean(reply[-CAP:])
        scan, accepted = self._kind()
        line = self._answer_line(text, scan)
        if line is not None:
            return _settles(line[:_LONGEST], scan, accepted, units=self._units())
        for start, end in reversed(list(sentences(text))):
            sentence = text[start:end][-_LONGEST:]
            if scan(sentence):
                return _settles(_conclusion(sentence, scan), scan, accepted, units=self._units())
        return False

    def _kind(self) -> tuple[Scan, Readings]:
        """How values of the wanted kind are found, and the readings of the accepted ones."""
        forms = [_clean(form) for form in self.accepted]
        if all(_CLOCK.search(form) for form in forms):
            return _times, _readings(forms, _times)
        if all(len(_dates(form)) == 1 for form in forms):
            return _dates, _readings(forms, _dates)
        if all(_QUANTITY.fullmatch(form) for form in forms):
            return _numbers, _readings(forms, _numbers)
        others = [other for other in map(_clean, self.others) if not any(other in form for form in forms)]
        return _names(forms, others), frozenset({_ACCEPTED})

    def _answer_line(self, text: str, scan: Scan) -> str | None:
        """What follows the label that was asked for, where it stands last; else the usual labels; else the last line's.

        Answer lines that follow each other belong together: they are alternatives, not corrections.
        """
        lines = [line for line in text.split("\n") if line.strip()]
        wanted = [_clean(label) for label in _REQUESTED.findall(self.prompt)]
        for labels, loosely in ((wanted, False), (wanted, True), (_USUAL, False)):
            values = [_after_label(line, labels, loosely=loosely) for line in lines]
            found = [(n, value) for n, value in enumerate(values) if value is not None]
            if found:
                last = len(found) - 1
                while last and found[last][0] - found[last - 1][0] == 1:
                    last -= 1
                together = " / ".join(value for _, value in found[last:])
                below = lines[found[-1][0] + 1 : found[-1][0] + 2]
                return together if together.strip(" /") else "".join(below)
        labelled = _LABELLED.match(lines[-1]) if lines else None
        return labelled[2] if labelled is not None and scan(labelled[2]) else None

    def _units(self) -> frozenset[str]:
        """Words that say what is counted: `How many packs …`, `<packs>`."""
        asked = re.findall(r"how many (\w+)|<(\w+)>|\bN (\w+)", self.prompt, re.IGNORECASE)
        return frozenset(_clean(word) for words in asked for word in words if word)


def _clean(text: str) -> str:
    return _DECORATION.sub("", folded(plain(text))).strip()


def _readings(forms: Iterable[str], scan: Scan) -> Readings:
    return frozenset(reading for form in forms for value in scan(form) for reading in value.readings)


def _after_label(line: str, labels: Iterable[str], *, loosely: bool) -> str | None:
    """The rest of the line after the last of `labels` in it.

    The prompt's words before a label may be taken for a part of it, so a shorter one will do; `loosely`: also where
    other words precede it in the line.
    """
    for m in reversed(list(re.finditer(rf"(?<![\w-])({_LABEL})\s?[:=]\s?", line))):
        for label in labels:
            if label == m[1] or label.endswith(f" {m[1]}") or (loosely and m[1].endswith(f" {label}")):
                return line[m.end() :]
    return None


def _conclusion(sentence: str, scan: Scan) -> str:
    """What follows the last "so" or "makes" and has a value, unless the sentence offers alternatives."""
    if _EITHER.search(sentence):
        return sentence
    for mark in reversed(list(_SO.finditer(sentence))):
        if scan(sentence[mark.end() :]):
            return sentence[mark.end() :]
    return sentence


def _settles(text: str, scan: Scan, accepted: Readings, *, units: frozenset[str]) -> bool:
    """Whether `text` holds one value, an accepted one. Working and asides in it do not count, alternatives do."""
    every = _distinct(text, scan)
    if len(every) > 1 and _EITHER.search(text):
        return all(readings & accepted for readings in every)
    if _ACCEPTED in accepted and any(not text[: v.start].strip(_OPENING) for v in scan(text) if v.readings == accepted):
        return True
    bare = _BRACKETED.sub(" ", text)
    for part in (_ASIDE.sub("", bare), *reversed(re.split("[=≈]", bare)), bare, text):
        values = _distinct(part, scan)
        if len(values) == 1:
            return bool(values[0] & accepted)
        of_unit = [v.readings for v in scan(part) if units & set(re.findall(r"\w+", part[v.end :])[:1])]
        if len(of_unit) == 1:
            return bool(of_unit[0] & accepted)
    return False


def _distinct(text: str, scan: Scan) -> list[Readings]:
    """The readings of the values in `text`, each value once, denied ones ("not 12") left out."""
    found: list[Readings] = []
    for value in scan(text):
        if not _NOT.search(text[max(0, value.start - 30) : value.start]) and not any(value.readings & f for f in found):
            found.append(value.readings)
    return found
