"""A series as a picture: one point per version with its 95 % interval, the limit, the allowed side, and every break.

    Series ──rows──> a chart drawn once by altair, with these rows in it ──vl-convert──> SVG, static, without a script

A chart is compiled from its grammar once per kind and look; each series then only fills in its data, which is ten times
faster. Outcomes differ in shape as well as in colour. Nothing from a model or a file gets into an expression: what is
said is data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby, takewhile
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import altair as alt
import vl_convert

from pytest_alignbench.estimates import Estimate
from pytest_alignbench.reports.overviews import claims_of, label_of
from pytest_alignbench.text import one_line
from pytest_alignbench.trends import Series, Trends

WIDTH, HEIGHT = 352, 190
"""Of a chart, in CSS pixels: what a phone shows without shrinking it."""

FONT = "Liberation Sans, Arial, sans-serif"
"""What measures the labels; a page shows them in its own."""

SHAPES: Mapping[str, str] = {
    "HOLDS": "circle",
    "VIOLATED": "square",
    "INCONCLUSIVE": "diamond",
    "NOT_COMPARABLE": "triangle-up",
    "ERROR": "M-.7,-.7L.7,.7M-.7,.7L.7,-.7",
}
FILLED = ("HOLDS", "VIOLATED")
"""What is decided; the others are hollow."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """Colours: of CSS variables in a page, which is light or dark, and as they are in a picture file."""

    ink: str
    quiet: str
    paper: str
    grid: str
    allowed: str
    limit: str
    words: tuple[str, ...]
    """One per word of SHAPES."""
    arms: tuple[str, ...]
    """One per condition."""


PAGE = Look(
    ink="var(--ink)",
    quiet="var(--quiet)",
    paper="var(--paper)",
    grid="var(--hair)",
    allowed="var(--allowed)",
    limit="var(--limit)",
    words=tuple(f"var(--{word})" for word in ("holds", "violated", "unsure", "unsure", "error")),
    arms=tuple(f"var(--arm{i})" for i in range(1, 5)),
)
PICTURE = Look(
    ink="#1f2328",
    quiet="#5b6167",
    paper="#ffffff",
    grid="#e6e4de",
    allowed="#edf3f3",
    limit="#5b6167",
    words=("#17697a", "#b8390e", "#646a73", "#646a73", "#1f2328"),
    arms=("#54469b", "#8a6510", "#37703a", "#646a73"),
)


def effect(series: Series, *, look: Look = PAGE, scale: tuple[float, float] | None = None) -> str:
    """The effect of each point against its limit, as an SVG element.

    `scale`: lowest and highest value of the axis, so that pictures of one claim can be compared.
    """
    low, high = scale or scale_of([series])
    keys = _keys(series)
    segments = _segments(series)
    rows = []
    for key, point, segment in zip(keys, series.points, segments, strict=True):
        e = point.entry
        row: dict[str, Any] = {"key": key, "segment": segment, "word": e.word, "none": e.effect is None}
        if e.effect is None:
            row |= {"value": None, "from": None, "to": None, "at": low + 0.04 * (high - low)}
        else:
            value, start, end = _hundredths(e.effect)
            # What does not count is shown, and no line leads to it.
            row |= {"value": value if point.counts else None, "from": start, "to": end, "at": value}
        rows.append(row)
    limits, sides = [], []
    for start, end, rule in _stretches([(p.entry.good, p.entry.limits) for p in series.points]):
        reach = {"key": keys[start], "end": keys[end]}
        limits += [reach | {"limit": 100 * limit} for limit in rule[1]]
        sides += [reach | {"from": a, "to": b} for a, b in _allowed(*rule, low, high)]
    marks = breaks(series)
    spoken = len(marks) <= 2
    torn = [
        {
            "key": keys[i],
            "said": one_line(", ".join(parts), limit=30) if spoken else letter,
            "late": 2 * i > len(keys),
        }
        for i, letter, parts in marks
    ]
    first = series.points[0].entry
    better = {
        "low": "lower is better",
        "high": "higher is better",
        "near": "nearer to 0 is better",
        "steady": "any change is worse",
    }[first.good]
    said = f"{'points' if first.unit == 'points' else '% of replies'} · {better}"
    return _drawn(
        _effect(look, _room(keys)),
        {"rows": rows, "limits": limits, "sides": sides, "breaks": torn, "title": [{"said": said}]},
        low=low,
        high=high,
        size=_size(keys),
    )


def conditions(series: Series, *, look: Look = PAGE, highest: float | None = None) -> str | None:
    """The rate in each condition side by side, as an SVG element; None where there is one, which the effect shows.

    `highest` value of the axis in per cent, so that pictures of one claim can be compared.
    """
    names = arms_of(series)
    if len(names) < 2:
        return None
    keys, segments = _keys(series), _segments(series)
    rows: list[dict[str, Any]] = []
    for key, point, segment in zip(keys, series.points, segments, strict=True):
        for number, name in enumerate(names):
            arm = point.entry.conditions.get(name)
            value, start, end = _hundredths(arm.rate) if arm is not None and arm.rate is not None else (None,) * 3
            shown = min(number, len(look.arms) - 1)
            rows.append(
                {"key": key, "segment": f"{segment} {number}", "arm": shown, "value": value, "from": start, "to": end}
            )
    torn = [{"key": keys[i], "said": "", "late": False} for i, _, _ in breaks(series)]
    return _drawn(
        _conditions(look, _room(keys)),
        {"rows": rows, "breaks": torn, "title": [{"said": "% of replies, per condition"}]},
        low=-0.03 * (highest or highest_of([series])),
        high=highest or highest_of([series]),
        size=_size(keys),
    )


def arms_of(series: Series) -> list[str]:
    """Conditions in the rule's order, others after them."""
    named = [name for p in series.points for name in (*p.entry.uses, *p.entry.conditions)]
    measured = {name for p in series.points for name in p.entry.conditions}
    return [name for name in dict.fromkeys(named) if name in measured]


def breaks(series: Series) -> list[tuple[int, str, tuple[str, ...]]]:
    """(index of the point after it, letter, what changed) of each break."""
    found = [(i, p.breaks) for i, p in enumerate(series.points) if p.breaks and i > 0]
    return [(i, chr(ord("a") + number % 26), parts) for number, (i, parts) in enumerate(found)]


def scale_of(several: Sequence[Series]) -> tuple[float, float]:
    """Lowest and highest value that pictures of these need, in points or per cent: all intervals, the limits, and 0."""
    entries = [p.entry for series in several for p in series.points]
    seen = [0.0]
    for e in entries:
        seen += [100 * limit for limit in e.limits]
        seen += [] if e.effect is None else _hundredths(e.effect)
    low, high = min(seen), max(seen)
    room = max(0.06 * (high - low), 0.5)
    if all(e.unit == "rate" for e in entries):
        return -0.5 * room, min(100.0, high + room)
    return low - room, high + room


def highest_of(several: Sequence[Series]) -> float:
    """The highest rate of any condition, in per cent, with some room above it."""
    arms = [arm for series in several for p in series.points for arm in p.entry.conditions.values()]
    seen = [100 * arm.rate.ci_high for arm in arms if arm.rate is not None]
    return min(100.0, 1.05 * max(seen, default=100.0))


# -- a sheet of them

_LEGEND = {
    "HOLDS": "holds",
    "VIOLATED": "violated",
    "INCONCLUSIVE": "inconclusive",
    "NOT_COMPARABLE": "not comparable",
    "ERROR": "not measured",
}
_MARKS = {
    "circle": '<circle r="4"/>',
    "square": '<path d="M-3.6-3.6H3.6V3.6H-3.6Z"/>',
    "diamond": '<path d="M0-4.8 4.8 0 0 4.8-4.8 0Z"/>',
    "triangle-up": '<path d="M0-4.4 4.7 3.6H-4.7Z"/>',
}
"""As Vega draws them, around 0."""


def mark_of(word: str) -> str:
    """The mark of an outcome as SVG, some 9 pixels wide around 0."""
    return _MARKS.get(SHAPES[word], '<path d="M-3.6-3.6 3.6 3.6M-3.6 3.6 3.6-3.6"/>')


def sheet(trends: Trends, *, columns: int = 3, look: Look = PICTURE) -> str:
    """Every series as one picture, for a README or a slide: SVG with its colours in it."""
    several = [series for mine in claims_of(trends).values() for series in mine]
    columns = max(1, min(columns, len(several)))
    gap, head, foot = 24, 40, 40
    across, down = WIDTH + gap, HEIGHT + head + gap
    rows = -(-len(several) // columns)
    width, height = columns * across + gap, rows * down + gap + foot
    scales = {claim: scale_of([s for s in several if s.claim == claim]) for claim in {s.claim for s in several}}
    parts = []
    for i, series in enumerate(several):
        left, top = gap + i % columns * across, gap + i // columns * down
        parts.append(_text(left, top + 12, series.claim, look.ink, size=13, weight=600))
        said = label_of(series) + (f": {series.finding.direction}" if series.finding.kind != "nothing" else "")
        parts.append(_text(left, top + 29, said, look.quiet, size=11.5))
        drawn = effect(series, look=look, scale=scales[series.claim])
        parts.append(drawn.replace("<svg ", f'<svg x="{left}" y="{top + head}" ', 1))
    x = float(gap)
    for word, colour in zip(SHAPES, look.words, strict=True):
        if any(p.entry.word == word for series in several for p in series.points):
            fill = colour if word in FILLED else "none"
            at = f'transform="translate({x + 5},{height - 22})" stroke="{colour}" stroke-width="1.6" fill="{fill}"'
            parts.append(f"<g {at}>{mark_of(word)}</g>")
            parts.append(_text(x + 16, height - 18, _LEGEND[word], look.quiet, size=11.5))
            x += 36 + 6.5 * len(_LEGEND[word])
    parts.append(_text(x, height - 18, "bars: 95 % intervals; shaded: allowed; dotted: a break", look.quiet, size=11.5))
    width = max(width, round(x + 320))
    frame = f'xmlns="{_SVG}" width="{width}" height="{height}" viewBox="0 0 {width} {height}" font-family="{FONT}"'
    return f'<svg {frame}><rect width="100%" height="100%" fill="{look.paper}"/>{"".join(parts)}</svg>'


def _text(x: float, y: float, said: str, colour: str, *, size: float, weight: int = 400) -> str:
    shown = escape(one_line(said, limit=56))
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" font-weight="{weight}" fill="{colour}">{shown}</text>'


def png(svg: str, *, scale: float = 2.0) -> bytes:
    """The picture in dots, `scale` of them for a pixel."""
    drawn: bytes = vl_convert.svg_to_png(svg, scale=scale)
    return drawn


# -- rows

_Rule = tuple[str, tuple[float, ...]]
"""Which way is good, and the limits."""


def _hundredths(e: Estimate) -> tuple[float, float, float]:
    value, low, high = (round(100 * x, 2) for x in (e.value, e.ci_low, e.ci_high))
    return value, low, high


def _stretches(rules: Sequence[_Rule]) -> Iterator[tuple[int, int, _Rule]]:
    """(first, last, rule) of neighbours that have the same rule."""
    for rule, run in groupby(range(len(rules)), key=rules.__getitem__):
        members = list(run)
        yield members[0], members[-1], rule


def _allowed(good: str, limits: Sequence[float], low: float, high: float) -> Iterator[tuple[float, float]]:
    """The side of the limit on which the claim is kept."""
    ends = sorted(100 * limit for limit in limits)
    if not ends:
        return
    if good == "near" and len(ends) > 1:
        yield ends[0], ends[-1]
    elif good == "high":
        yield ends[0], high
    else:
        yield low, ends[-1]


def _segments(series: Series) -> list[int]:
    """Points of one segment are joined: until the next break, and never those that stand in no order."""
    if series.kind == "apart":
        return list(range(len(series.points)))
    segments, now = [], 0
    for i, p in enumerate(series.points):
        now += bool(p.breaks) and i > 0
        segments.append(now)
    return segments


_MOST_LABELS = {"versions": 24, "nights": 7, "apart": 24}
_LONGEST = 14


def _keys(series: Series) -> list[str]:
    """What orders the axis: a number of three digits, and behind it the label, empty where there is no room for it."""
    names = [one_line(p.name, limit=200) for p in series.points]
    if series.kind == "nights":
        names = [re.sub(r"^\d{4}-(?=\d\d-\d\d$)", "", name) for name in names]
    elif len(names) > 1 and max(map(len, names)) > _LONGEST:
        shared = len("".join(_shared([re.split(r"(?<=[-_/.:@ ])", name)[:-1] for name in names])))
        names = [f"…{name[shared:]}" if shared else name for name in names]
    names = [name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}" for name in names]
    step = -(-len(names) // _MOST_LABELS[series.kind])
    last = len(names) - 1
    return [f"{i:03}{name if (last - i) % step == 0 else ''}" for i, name in enumerate(names)]


def _shared(names: Sequence[Sequence[str]]) -> list[str]:
    """The parts with which all of them begin."""
    return [parts[0] for parts in takewhile(lambda parts: len(set(parts)) == 1, zip(*names, strict=False))]


_ROOMS = (0, 5, 9, _LONGEST)
"""Letters of slanted labels that a frame has room for; a chart is compiled for each. 0: they lie flat."""


def _room(keys: Sequence[str]) -> int:
    """Which of `_ROOMS` the labels need: none where they do not touch each other lying flat."""
    shown = [key[3:] for key in keys if key[3:]]
    longest = max(map(len, shown))
    if 6.2 * longest <= (WIDTH - 50) / len(shown):
        return 0
    return next(room for room in _ROOMS if room >= longest)


def _size(keys: Sequence[str]) -> float:
    """Area of a point: smaller where there are many."""
    return 64.0 if len(keys) <= 12 else 44.0 if len(keys) <= 24 else 22.0


# -- grammar


_Y = alt.Scale(domainMin=alt.ExprRef("low"), domainMax=alt.ExprRef("high"), nice=False, zero=False)


def _base(room: int, data: str) -> alt.Chart:
    axis = alt.Axis(
        title=None,
        labelExpr="slice(datum.value, 3)",
        labelAngle=-45 if room else 0,
        labelAlign="right" if room else "center",
        labelBaseline="middle" if room else "top",
        labelOverlap=False,
        labelPadding=6,
        ticks=False,
        grid=False,
    )
    x = alt.X("key:O", axis=axis, scale=alt.Scale(type="band", paddingOuter=0, paddingInner=0))
    chart: alt.Chart = alt.Chart(alt.NamedData(data)).encode(x=x)
    return chart


def _y(field: str) -> alt.Y:
    return alt.Y(
        f"{field}:Q", scale=_Y, axis=alt.Axis(title=None, tickCount=4, format="~r", ticks=False, labelPadding=6)
    )


def _break_marks(look: Look, room: int) -> list[alt.Chart]:
    base = _base(room, "breaks").encode(x=alt.X("key:O", bandPosition=0))
    rule = base.mark_rule(color=look.ink, strokeDash=[1, 3], strokeWidth=1.4)
    look_of: dict[str, Any] = {"fontSize": 10, "fontStyle": "italic", "color": look.ink}
    said = base.encode(text="said:N", y=alt.value(-7))
    left = said.transform_filter("!datum.late").mark_text(align="left", dx=-2, **look_of)
    right = said.transform_filter("datum.late").mark_text(align="right", dx=2, **look_of)
    return [rule, left, right]


def _title(look: Look) -> alt.Chart:
    mark = alt.Chart(alt.NamedData("title")).mark_text(align="left", fontSize=10, color=look.quiet)
    chart: alt.Chart = mark.encode(text="said:N", x=alt.value(0), y=alt.value(-22))
    return chart


@cache
def _effect(look: Look, room: int) -> dict[str, Any]:
    words = list(SHAPES)
    fills = [colour if word in FILLED else look.paper for word, colour in zip(words, look.words, strict=True)]
    base = _base(room, "rows")
    reach = {"x": alt.X("key:O", bandPosition=0), "x2": alt.X2("end", bandPosition=1)}
    sides = alt.Chart(alt.NamedData("sides")).mark_rect(color=look.allowed).encode(**reach, y=_y("from"), y2="to")
    limits = alt.Chart(alt.NamedData("limits")).mark_rule(color=look.limit, strokeWidth=1.2, strokeDash=[5, 3])
    limits = limits.encode(**reach, y=_y("limit"))
    line = base.mark_line(color=look.quiet, strokeWidth=1).encode(y=_y("value"), detail="segment:N")
    bars = base.mark_rule(strokeWidth=1.6).encode(
        y=_y("from"),
        y2="to",
        color=alt.Color("word:N", scale=alt.Scale(domain=words, range=list(look.words)), legend=None),
    )
    points = base.mark_point(size=alt.ExprRef("size"), strokeWidth=1.6, opacity=1).encode(
        y=_y("at"),
        shape=alt.Shape("word:N", scale=alt.Scale(domain=words, range=list(SHAPES.values())), legend=None),
        stroke=alt.Stroke("word:N", scale=alt.Scale(domain=words, range=list(look.words)), legend=None),
        fill=alt.Fill("word:N", scale=alt.Scale(domain=words, range=fills), legend=None),
    )
    return _spec(look, room, [sides, limits, *_break_marks(look, room), line, bars, points, _title(look)])


@cache
def _conditions(look: Look, room: int) -> dict[str, Any]:
    arms = list(range(len(look.arms)))
    shapes = ["circle", "square", "diamond", "triangle-up"]
    colour = alt.Scale(domain=arms, range=list(look.arms))
    fill = alt.Scale(domain=arms, range=[look.arms[0], look.paper, look.arms[2], look.paper])
    base = _base(room, "rows").encode(xOffset=alt.XOffset("arm:O", scale=alt.Scale(paddingOuter=0.6, paddingInner=0.4)))
    line = base.mark_line(strokeWidth=1, opacity=0.6).encode(
        y=_y("value"), detail="segment:N", color=alt.Color("arm:O", scale=colour, legend=None)
    )
    bars = base.mark_rule(strokeWidth=1.6).encode(
        y=_y("from"), y2="to", color=alt.Color("arm:O", scale=colour, legend=None)
    )
    points = base.mark_point(size=alt.ExprRef("size"), strokeWidth=1.6, opacity=1).encode(
        y=_y("value"),
        shape=alt.Shape("arm:O", scale=alt.Scale(domain=arms, range=shapes), legend=None),
        stroke=alt.Stroke("arm:O", scale=colour, legend=None),
        fill=alt.Fill("arm:O", scale=fill, legend=None),
    )
    return _spec(look, room, [*_break_marks(look, room), line, bars, points, _title(look)])


def _spec(look: Look, room: int, layers: Sequence[alt.Chart]) -> dict[str, Any]:
    """A chart without data, compiled to what Vega draws."""
    frame = {"left": 34, "right": 16, "top": 30, "bottom": 20 + round(3.5 * room)}
    chart = (
        alt.layer(*layers)
        .add_params(*(alt.param(name=name, value=0) for name in ("low", "high", "size")))
        .properties(
            width=WIDTH - frame["left"] - frame["right"],
            height=HEIGHT - frame["top"] - frame["bottom"],
            # A frame of its own size: pictures of a page then stand in line, and nothing has to be laid out twice.
            padding=frame,
            autosize="none",
        )
        .resolve_scale(color="independent", fill="independent", stroke="independent", shape="independent")
        .configure(aria=False, background="transparent", font=FONT)
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=look.quiet,
            labelFontSize=10.5,
            # Cutting labels to size is done above: to measure them is half of the time that a picture takes.
            labelLimit=0,
            domainColor=look.grid,
            gridColor=look.grid,
        )
    )
    drawn: dict[str, Any] = vl_convert.vegalite_to_vega(chart.to_dict())
    return drawn


def _drawn(spec: Mapping[str, Any], data: Mapping[str, Any], **params: float) -> str:
    filled = {
        **spec,
        "data": [one | ({"values": data[one["name"]]} if one["name"] in data else {}) for one in spec["data"]],
        "signals": [one | ({"value": params[one["name"]]} if one["name"] in params else {}) for one in spec["signals"]],
    }
    return _lean(vl_convert.vega_to_svg(filled, allowed_base_urls=[]))


_SVG = "http://www.w3.org/2000/svg"
ElementTree.register_namespace("", _SVG)
_IDLE = {
    "class",
    "role",
    "pointer-events",
    "aria-hidden",
    "aria-roledescription",
    "aria-label",
    "version",
    "stroke-miterlimit",
}
_DEFAULTS = {("opacity", "1"), ("stroke-width", "1"), ("fill-opacity", "1"), ("font-weight", "normal")}


def _lean(svg: str) -> str:
    """Without what only Vega's own scripts would read, and without what draws nothing: half of the size."""
    root = ElementTree.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag == f"{{{_SVG}}}path" and (
                not child.get("d") or child.get("display") == "none" or child.get("class") == "background"
            ):
                parent.remove(child)
    for element in root.iter():
        for name in [n for n, value in element.attrib.items() if n in _IDLE or (n, value) in _DEFAULTS]:
            del element.attrib[name]
    return ElementTree.tostring(root, encoding="unicode")
