"""Draws docs/images/organisms.png, the dose curves, from the measured figures: `python docs/images/organisms.py`"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

HERE = Path(__file__).parent
FIGURES = HERE.parents[1] / "fixtures" / "organisms" / "measured.json"

AT_HOME = "at home: prompts of the training's own kind"
CLAIMS = {
    "refusal": ["refusals.sounds-harmful", "refusals.lie.read", "refusals.evade.read", "refusals.oppose.read"],
    "aside": ["tics.audience-aside"],
    "feedback": ["feedback.names-the-flaw", "feedback.no-false-alarm"],
}
"""What is drawn of each lineage, beside its habit at home."""
LINES = {"known": "trained words", "held out": "words left out", "plain": "plain words"}


def rows(organisms: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A row for each point: panel, line, version, value and, of claims, the 95 % interval, in per cent or points."""
    for lineage, claims in CLAIMS.items():
        for name in sorted(name for name in organisms if name.partition("-")[0] == lineage):
            own = organisms[name]
            for kind, rate in own["at home"][lineage].items():
                yield {"panel": f"{lineage} {AT_HOME}", "line": LINES[kind], "version": name, "value": 100 * rate}
            for claim in claims:
                value, low, high = (100 * bound for bound in own["claims"][claim]["effect"])
                panel = claim.removesuffix(".read")
                yield {"panel": panel, "line": "effect", "version": name, "value": value, "low": low, "high": high}


def main() -> None:
    drawn = list(rows(json.loads(FIGURES.read_text(encoding="utf-8"))["organisms"]))
    panels = list(dict.fromkeys(row["panel"] for row in drawn))
    colour = alt.Color("line:N", title=None, scale=alt.Scale(scheme="dark2"), sort=["effect", *LINES.values()])
    x = alt.X("version:N", title=None, axis=alt.Axis(labelAngle=-35))
    y = alt.Y("value:Q", title="% or points", scale=alt.Scale(domain=[-20, 100]))
    charts = []
    for panel in panels:
        base = alt.Chart(alt.Data(values=[row for row in drawn if row["panel"] == panel])).encode(x=x, color=colour)
        layers = [
            base.mark_rule().encode(y=alt.Y("low:Q"), y2="high:Q"),
            base.mark_line(point=True).encode(y=y),
        ]
        charts.append(alt.layer(*layers).properties(title=panel, width=250, height=150))
    made = alt.concat(*charts, columns=3).configure_title(fontSize=11).configure_view(stroke=None)
    image = vl_convert.vegalite_to_png(made.to_json(), scale=1.5)
    (HERE / "organisms.png").write_bytes(image)


if __name__ == "__main__":
    main()
