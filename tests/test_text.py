"""The sanitiser: whatever a model says, what a person is shown is printable, bounded, and loses nothing unsaid."""

from __future__ import annotations

import re
import unicodedata
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_alignbench.text import blank, one_line, percent, points, visible, visible_in_colour, wordless

BIDI_CONTROLS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Unicode's property Bidi_Control; the overrides among them are those of CVE-2021-42574."""

HOSTILE = (
    "\x00\x07\x08\x1b\r\n\t\x7f\x85\x9b\xad\u200b\u2028\u2029\ufeff\ufffe\ufff9\ue000\ud83d\udc00\U000e0041\U0010ffff"
    + BIDI_CONTROLS
)

# Every code point, lone surrogates included, with the dangerous ones far more often than by chance.
texts = st.text(st.one_of(st.characters(), st.sampled_from(HOSTILE), st.sampled_from("::##[]ax \n")))
for_any = settings(max_examples=100, deadline=None)


@for_any
@given(texts)
def test_what_is_visible_holds_nothing_that_acts(text: str) -> None:
    for character in visible(text):
        assert character in "\n\t" or unicodedata.category(character) not in {"Cc", "Cs", "Co"}
        assert character not in BIDI_CONTROLS


@for_any
@given(texts)
def test_what_is_visible_is_fit_for_utf8_and_xml(text: str) -> None:
    shown = visible(text)
    shown.encode()
    assert ElementTree.fromstring(f"<reply>{escape(shown)}</reply>").text == (shown or None)


@for_any
@given(texts.map(lambda text: text.replace("\\", "/")))
def test_nothing_is_lost(text: str) -> None:
    restored = re.sub(r"\\u\{([0-9a-f]+)\}", lambda code: chr(int(code[1], 16)), visible(text))
    assert restored == text.replace("\r\n", "\n")


@for_any
@given(texts, st.integers(0, 30))
def test_a_limit_keeps_the_beginning_and_says_what_is_left_out(text: str, limit: int) -> None:
    shown = visible(text, limit=limit)
    assert shown.startswith(visible(text[:limit]))
    left_out = re.search(r"… \(([\d,]+) more characters\)$", shown[len(visible(text[:limit])) :])
    assert (int(left_out[1].replace(",", "")) if left_out else 0) == max(0, len(text) - limit)


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "two\nlines\tand a tab",
        "naïve café — “quoted” …",
        "日本語、ﺎﻠﻋﺮﺒﻳﺓ",
        "👩\u200d💻 and 🇫🇷",
        "نمی\u200cخواهم",
        "std::vector<int>, ::pair, ## heading, x[::2], a :: b, test_x.py::test_y::z",
        "",
    ],
)
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", r"\u{1b}[31mred\u{1b}[0m"),
        ("\x1b]8;;http://x\x07link", r"\u{1b}]8;;http://x\u{7}link"),
        ("over\rwritten", r"over\u{d}written"),
        ("if (a) { \u202e} \u2066", r"if (a) { \u{202e}} \u{2066}"),
        ("nul\x00, half an emoji \ud83d", r"nul\u{0}, half an emoji \u{d83d}"),
        ("hidden\u200bword", r"hidden\u{200b}word"),
        ("a\r\nb", "a\nb"),
        ("::error::red", r":\u{3a}error::red"),
        ("fine\n \t::set-output name=a,b=c::d", "fine\n \t:\\u{3a}set-output name=a,b=c::d"),
        ("fine ::stop-commands::x", r"fine :\u{3a}stop-commands::x"),
        ("fine ##[add-mask]a", r"fine #\u{23}[add-mask]a"),
        ("##vso[task.setvariable variable=a]b", r"#\u{23}vso[task.setvariable variable=a]b"),
        ("##teamcity[blockOpened name='a']", r"#\u{23}teamcity[blockOpened name='a']"),
    ],
)
def test_attacks_are_shown_by_their_code_points(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
        ("\x1b[31mred\x1b[2J", "\x1b[31mred\\u{1b}[2J"),
        ("::error title=a\x1b[0m::b", r":\u{3a}error title=a::b"),
        ("::add\x1b[0m-mask::b", r":\u{3a}add-mask::b"),
        ("a #\x1b[1m#[add-mask]b", r"a #\u{23}[add-mask]b"),
    ],
)
def test_colours_stay_and_no_command_comes_of_what_is_between_them(text: str, shown: str) -> None:
    assert visible_in_colour(text) == shown


@for_any
@given(texts, st.integers(1, 60))
def test_one_line_is_one_line_within_its_limit(text: str, limit: int) -> None:
    shown = one_line(text, limit=limit)
    assert len(shown.splitlines()) <= 1
    assert "\t" not in shown
    assert len(shown) <= limit


def test_one_line_folds_white_space_and_says_that_it_was_cut() -> None:
    assert one_line("  two\n\n words\t") == "two words"
    assert one_line("abcdef", limit=6) == "abcdef"
    assert one_line("abcdefg", limit=6) == "abcde…"


def test_a_reply_of_twenty_million_characters_costs_no_more_than_its_beginning() -> None:
    huge = "\u202e" * 20_000_000
    assert visible(huge, limit=3) == r"\u{202e}\u{202e}\u{202e}… (19,999,997 more characters)"
    assert len(one_line(huge, limit=50)) == 50


@pytest.mark.parametrize("text", ["", " \n\t", "\u200b\ufeff", "\x00\x1b", "\u2028\u3000", "\u202e \ue000"])
def test_blank_is_what_nobody_can_see(text: str) -> None:
    assert blank(text)
    assert wordless(text)


@pytest.mark.parametrize("text", ["...?!", " – ", "\u200b¿?"])
def test_punctuation_is_seen_and_says_nothing(text: str) -> None:
    assert wordless(text)
    assert not blank(text)


@for_any
@given(texts, st.sampled_from("a1é語👩+"), texts)
def test_one_letter_digit_or_symbol_is_enough(before: str, printable: str, after: str) -> None:
    assert not wordless(before + printable + after)
    assert not blank(before + printable + after)


@pytest.mark.parametrize(
    ("value", "signed", "unsigned"),
    [
        (0.05, "+5.0 points", "5.0 points"),
        (-0.123, "-12.3 points", "-12.3 points"),
        (-0.0001, "+0.0 points", "0.0 points"),
    ],
)
def test_points_of_a_rate(value: float, signed: str, unsigned: str) -> None:
    assert points(value) == signed
    assert points(value, signed=False) == unsigned


def test_percent() -> None:
    assert percent(0.05) == "5.0 %"
    assert percent(-0.0) == "0.0 %"
