# SPDX-License-Identifier: Apache-2.0
"""A picture of a result: a panel a row, a bar a store, each panel with a scale of its own. Where more is better the
longest bar is the best, where less is better the shortest; the panel says which."""
from __future__ import annotations

import html
from typing import Any

from peers import plot

from . import drivers, marks

# In the order of drivers.STORES; each is at least 3:1 against both backgrounds.
COLOURS = ("#d6403a", "#c06c12", "#7b8794", "#2f7fd6", "#8a63d2", "#16917f", "#c2479c")
COLUMNS, WIDTH, LEFT, STEP = 3, 1080, 92, 16


def colour(store: str) -> str:
    return COLOURS[drivers.STORES.index(store)] if store in drivers.STORES else "#808890"


def words(value: float, unit: str) -> str:
    text = f"{value:,.0f}" if value >= 100 else "0" if value < 1e-4 else f"{value:.3g}"
    return text if unit == "/s" else f"{text} {unit}"


def panel(row: marks.Row, values: dict[str, float], names: dict[str, str], x: float, y: float, wide: float) -> str:
    """One row's bars."""
    more = row.unit == "/s"
    best = (max if more else min)(values.values())
    longest = max(values.values()) or 1.0
    unit = "a second, more is better" if more else f"{row.unit}, less is better"
    out = [f'<text x="{x:.0f}" y="{y + 12:.0f}" style="font-weight:600">{html.escape(row.title)}</text>'
           f'<text class="s" x="{x:.0f}" y="{y + 26:.0f}" style="font-size:10px">{html.escape(unit)}</text>']
    for number, (store, value) in enumerate(values.items()):
        at = y + 34 + number * STEP
        length = max(1.5, (wide - LEFT - 74) * value / longest)
        kith = ' class="k"' if store == "kith" else ""
        weight = ' style="font-weight:700"' if value == best else ""
        out.append(f'<text{kith} x="{x + LEFT - 6:.0f}" y="{at + 10:.0f}" text-anchor="end" style="font-size:11px">'
                   f'{html.escape(names[store])}</text>'
                   f'<rect x="{x + LEFT:.0f}" y="{at:.0f}" width="{length:.1f}" height="12" rx="1" '
                   f'fill="{colour(store)}"/>'
                   f'<text class="s"{weight} x="{x + LEFT + length + 5:.1f}" y="{at + 10:.0f}">'
                   f'{html.escape(words(value, row.unit))}</text>')
    return "".join(out)


def draw(result: dict[str, Any]) -> str:
    """The SVG of all rows that are drawn and have a value."""
    from .report import tier, title

    values = marks.values_of(result)
    names = {store: title(store) for store in values}
    wide, y, body = (WIDTH - 32) / COLUMNS, 62.0, []
    for part in marks.PARTS:
        rows = [(row, {store: found[row.name] for store, found in values.items() if row.name in found})
                for row in part.rows if row.drawn]
        rows = [(row, found) for row, found in rows if found]
        if not rows:
            continue
        body.append(f'<line class="g" x1="16" x2="{WIDTH - 16}" y1="{y:.0f}" y2="{y:.0f}"/>'
                    f'<text class="t" x="16" y="{y + 22:.0f}">{html.escape(part.title)}</text>')
        y += 34
        for start in range(0, len(rows), COLUMNS):
            some = rows[start:start + COLUMNS]
            for column, (row, found) in enumerate(some):
                body.append(panel(row, found, names, 16 + column * wide, y, wide - 16))
            y += 34 + STEP * max(len(found) for _, found in some) + 18
    told, machine = result["data"], result["machine"]
    where = (f"{machine['processor']}, tier {tier(machine)}, {result['options']['cores']} of {machine['cores']} "
             f"processors a store, {result['date']}")
    return plot.document(WIDTH, y, f"A collection beside other stores: {told['rows']:,} x {told['dim']}", where, body)
