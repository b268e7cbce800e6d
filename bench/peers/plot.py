# SPDX-License-Identifier: Apache-2.0
"""SVG pictures of results: speed against recall, and bars. Text and colours suit light and dark pages alike, and each
line has its name beside it, in the right margin, where names are moved apart until none covers another."""
from __future__ import annotations

import dataclasses
import html
import math
from typing import Iterable, Optional, Sequence

from . import frontier
from .libraries import LIBRARIES

# One hue a library, in the order of LIBRARIES; each is at least 3:1 against both backgrounds.
COLOURS = ("#d6403a", "#2f7fd6", "#8a63d2", "#16917f", "#c06c12", "#c2479c", "#6b8a1e", "#7b8794")
BACKGROUNDS = ("#ffffff", "#15191e")
DASHES = ("", "7 3", "2 3", "9 3 2 3")  # several indexes of one library
TICKS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
TOP = 0.9998  # where a recall of 1 is drawn
LINE = 15  # height of a line of text
STYLE = ("text{font:12px system-ui,sans-serif;fill:#24292f}.t{font-size:15px;font-weight:600}.s{fill:#57606a}"
         ".g{stroke:#8c959f;stroke-opacity:.3}.bg{fill:#fff}.m{stroke:#fff;stroke-width:1}.k{font-weight:700}"
         ".raw{stroke:#24292f;stroke-dasharray:3 3}"
         "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.s{fill:#9da7b1}.bg{fill:#15191e}.m{stroke:#15191e}"
         ".raw{stroke:#e6edf3}}")


@dataclasses.dataclass
class Curve:
    """An index: its points are (recall, queries a second)."""

    name: str
    library: str
    points: list[frontier.Point]
    dash: str = ""

    @property
    def colour(self) -> str:
        return COLOURS[LIBRARIES.index(self.library)] if self.library in LIBRARIES else "#808890"


@dataclasses.dataclass
class Bar:
    """A value, and what it reached at its most, where that is known."""

    name: str
    library: str
    value: float
    peak: Optional[float] = None


def dashes(entries: Iterable[tuple[str, str]]) -> dict[str, str]:
    """A dash for each (entry, library): the first of a library is solid."""
    seen: dict[str, int] = {}
    out = {}
    for name, library in entries:
        out[name] = DASHES[seen.get(library, 0) % len(DASHES)]
        seen[library] = seen.get(library, 0) + 1
    return out


def logit(recall: float) -> float:
    """log(r / (1 - r)), with recall held inside what is drawn."""
    recall = min(max(recall, 1e-4), TOP)
    return math.log(recall / (1 - recall))


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions near those wanted, at least gap apart, inside low..high if they fit there; in the order given."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    groups: list[tuple[float, int]] = []  # (sum of wanted less offset, count): runs of positions that touch
    for i in order:
        groups.append((wanted[i], 1))
        while len(groups) > 1:
            (left, n), (right, m) = groups[-2], groups[-1]
            if left / n + n * gap <= right / m:
                break
            groups[-2:] = [(left + right - m * n * gap, n + m)]
    placed = [total / count + number * gap for total, count in groups for number in range(count)]
    for i, place in enumerate(placed):
        placed[i] = max(place, low if i == 0 else placed[i - 1] + gap)
    for i in reversed(range(len(placed))):
        placed[i] = min(placed[i], high if i == len(placed) - 1 else placed[i + 1] - gap)
    out = [0.0] * len(wanted)
    for i, place in zip(order, placed):
        out[i] = place
    return out


def _mark(kind: int, x: float, y: float, colour: str) -> str:
    """A small shape: a second cue beside colour."""
    if kind % 4 == 0:
        return f'<circle class="m" cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
    shapes: dict[int, list[tuple[float, float]]] = {
        1: [(-3.6, -3.6), (3.6, -3.6), (3.6, 3.6), (-3.6, 3.6)], 2: [(0, -4.6), (4.3, 3.4), (-4.3, 3.4)],
        3: [(0, -5), (4.4, 0), (0, 5), (-4.4, 0)]}
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in shapes[kind % 4])
    return f'<polygon class="m" points="{points}" fill="{colour}"/>'


def document(width: int, height: float, title: str, subtitle: str, body: Iterable[str]) -> str:
    """A whole picture."""
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" width="{width}" '
            f'height="{height:.0f}" role="img"><title>{html.escape(title)}</title><style>{STYLE}</style>'
            f'<rect class="bg" width="100%" height="100%"/><text class="t" x="16" y="26">{html.escape(title)}</text>'
            f'<text class="s" x="16" y="44">{html.escape(subtitle)}</text>{"".join(body)}</svg>\n')


def _rate_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5 times powers of ten inside low..high."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    ticks = [m * 10.0 ** e for e in range(first, last + 1) for m in (1, 2, 5)]
    return [t for t in ticks if low <= t <= high]


def _short(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if value >= 1e3 else f"{value:g}"


def recall_speed(curves: Sequence[Curve], title: str, subtitle: str) -> str:
    """Queries a second on a logarithmic axis against recall on a logit axis. Up and to the right is better. An index
    with a single point has a level line to its left: it gives that recall, or better, wherever less is asked."""
    curves = [dataclasses.replace(c, points=frontier.pareto(c.points)) for c in curves if c.points]
    curves.sort(key=lambda c: c.library == "kith")  # kith is drawn over the others
    lowest = min((c.points[0][0] for c in curves), default=0.9)
    ticks = [t for t in TICKS if t > lowest or t >= 0.9]
    least = max([t for t in TICKS if t <= max(lowest, 0.5)] or [0.5])
    if least < 0.9:
        ticks = [least] + ticks
    rates = [rate for c in curves for recall, rate in c.points if recall >= least] or [1.0, 10.0]
    bottom, top = min(rates) / 1.4, max(rates) * 1.4
    left, right, upper, width = 64, 690, 62, 860
    lower = upper + max(380, LINE * len(curves))
    x0, x1 = logit(min(least, 0.9)), logit(1.0)

    def x(recall: float) -> float:
        return left + (right - left) * (logit(recall) - x0) / (x1 - x0)

    def y(rate: float) -> float:
        return lower - (lower - upper) * math.log(rate / bottom) / math.log(top / bottom)

    body = []
    for tick in sorted({*ticks, 1.0}):
        body.append(f'<line class="g" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{upper}" y2="{lower}"/>'
                    f'<text class="s" x="{x(tick):.1f}" y="{lower + 16}" text-anchor="middle">{tick:g}</text>')
    for rate in _rate_ticks(bottom, top):
        body.append(f'<line class="g" x1="{left}" x2="{right}" y1="{y(rate):.1f}" y2="{y(rate):.1f}"/>'
                    f'<text class="s" x="{left - 6}" y="{y(rate) + 4:.1f}" text-anchor="end">{_short(rate)}</text>')
    body.append(f'<text class="s" x="{(left + right) / 2}" y="{lower + 34}" text-anchor="middle">recall</text>'
                f'<text class="s" transform="translate(16 {(upper + lower) / 2}) rotate(-90)" '
                'text-anchor="middle">queries a second</text>')
    ends, drawn = [], []
    for curve in curves:
        points = [(recall, rate) for recall, rate in curve.points if recall >= least]
        if not points:
            continue
        thick = 3 if curve.library == "kith" else 1.8
        places = [(x(recall), y(rate)) for recall, rate in points]
        if len(places) == 1:
            body.append(f'<line x1="{left}" x2="{places[0][0]:.1f}" y1="{places[0][1]:.1f}" y2="{places[0][1]:.1f}" '
                        f'stroke="{curve.colour}" stroke-width="{thick / 2}" stroke-dasharray="1 4"/>')
        else:
            dash = f' stroke-dasharray="{curve.dash}"' if curve.dash else ""
            body.append('<polyline fill="none" points="' + " ".join(f"{px:.1f},{py:.1f}" for px, py in places) +
                        f'" stroke="{curve.colour}" stroke-width="{thick}"{dash}/>')
        kind = LIBRARIES.index(curve.library) if curve.library in LIBRARIES else 0
        body += [_mark(kind, px, py, curve.colour) for px, py in places]
        ends.append(places[-1])
        drawn.append(curve)
    for curve, (px, py), at in zip(drawn, ends, spread([py for _, py in ends], LINE, upper + 4, lower)):
        kith = ' class="k"' if curve.library == "kith" else ""
        body.append(f'<polyline fill="none" points="{px + 6:.1f},{py:.1f} {right + 8},{at:.1f} {right + 16},{at:.1f}" '
                    f'stroke="{curve.colour}" stroke-opacity=".45"/>'
                    f'<text{kith} x="{right + 20}" y="{at + 4:.1f}" style="fill:{curve.colour}">'
                    f'{html.escape(curve.name)}</text>')
    return document(width, lower + 46, title, subtitle, body)


def bars(rows: Sequence[Bar], unit: str, title: str, subtitle: str, mark: Optional[tuple[str, float]] = None) -> str:
    """Bars by rising value; a pale part shows the peak. mark: a name and a value for an upright line."""
    rows = sorted(rows, key=lambda row: row.value)
    left, right, width, step = 130, 700, 860, 22
    largest = max([max(row.value, row.peak or 0) for row in rows] + [mark[1] if mark else 0, 1e-9])
    scale = (right - left) / largest
    top = 78 if mark else 60
    body = []
    for number, row in enumerate(rows):
        at = top + number * step
        colour = Curve(row.name, row.library, []).colour
        length = max(1.0, row.value * scale)
        extent = max(length, (row.peak or 0) * scale)
        kith = ' class="k"' if row.library == "kith" else ""
        body.append(f'<text{kith} x="{left - 8}" y="{at + 12}" text-anchor="end">{html.escape(row.name)}</text>')
        words = f"{row.value:,.3g}" if row.value < 100 else f"{row.value:,.0f}"
        if row.peak is not None and row.peak > row.value:
            body.append(f'<rect x="{left}" y="{at + 4}" width="{extent:.1f}" height="8" fill="{colour}" '
                        'fill-opacity=".35"/>')
            words += f" ({row.peak:,.0f})"
        body.append(f'<rect x="{left}" y="{at}" width="{length:.1f}" height="16" rx="1" fill="{colour}"/>'
                    f'<text class="s" x="{left + extent + 6:.1f}" y="{at + 12}">{words} {html.escape(unit)}</text>')
    if mark:
        raw = left + mark[1] * scale
        body.append(f'<line class="raw" x1="{raw:.1f}" x2="{raw:.1f}" y1="{top - 8}" y2="{top + len(rows) * step}"/>'
                    f'<text class="s" x="{raw + 4:.1f}" y="{top - 10}">{html.escape(mark[0])}</text>')
    return document(width, top + len(rows) * step + 14, title, subtitle, body)
