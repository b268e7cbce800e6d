# SPDX-License-Identifier: Apache-2.0
"""The table and the picture of a result."""
from __future__ import annotations

import html
import math
import pathlib
from typing import Any

from peers import page, plot

from . import marks

LINES = (("p50_ms", "p50", "#2f7fd6"), ("p90_ms", "p90", "#16917f"), ("p99_ms", "p99", "#d6403a"),
         ("p999_ms", "p99.9", "#8a63d2"))


BEGIN, END = "<!-- begin of bench/serve -->", "<!-- end of bench/serve -->"
PICTURE = "serve.svg"


def number(value: float, unit: str) -> str:
    if unit == "/s" or value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if unit == "" else f"{value:.3g}"


def rows_of(result: dict[str, Any]) -> list[tuple[str, list[tuple[str, str, str, str]]]]:
    """Parts that were measured, and their rows: title, value, mark, and whether that was reached ("" without one)."""
    found = []
    for title, rows in marks.PARTS:
        shown = [(row, value) for row in rows if (value := row.value(result["values"])) is not None]
        if shown:
            found.append((title, [(row.title, told(value, row.unit), row.mark,
                                   "" if row.reached is None else "reached" if row.reached(value) else "missed")
                                  for row, value in shown]))
    return found


def told(value: float, unit: str) -> str:
    return f"{number(value, unit)} {unit}".replace(" /s", "/s").replace(" x", "x").strip()


def table(result: dict[str, Any]) -> str:
    out = []
    for title, rows in rows_of(result):
        out += ["", title] + [f"  {name:44} {value:>12}   {mark:12} {verdict}".rstrip()
                              for name, value, mark, verdict in rows]
    out += [f"\nfailed: {name}: {why}" for name, why in result["failed"].items()]
    return "\n".join(out)


def section(result: dict[str, Any], images: str) -> str:
    """The Markdown of a result; images: the folder of pictures as the page sees it."""
    machine, effort = result["machine"], result["effort"]
    out = [f"Measured {result['date']} on \"{machine['processor']}\" (tier {machine['tier']}), Linux "
           f"{machine['kernel']}: {result['data']}, k = 10, a target recall of .95. One core serves, another loads; "
           f"{effort['seconds']:g} seconds each, best of {effort['rounds']} rounds where a row is repeated, taking "
           f"turns.", ""]
    if result.get("command"):
        out += ["```sh", result["command"], "```", ""]
    out += [f"![time of an answer against load]({images}/{PICTURE})", "", "| | | mark | reached |", "|---|---|---|---|"]
    for title, rows in rows_of(result):
        out.append(f"| **{title}** | | | |")
        out += [f"| {name} | {value} | {mark} | {f'**{verdict}**' if verdict == 'reached' else verdict} |"
                for name, value, mark, verdict in rows]
    failed = [f"- not measured: {name}: {why}" for name, why in result["failed"].items()]
    return "\n".join(out + ([""] + failed if failed else []))


def write_page(result: dict[str, Any], where: pathlib.Path) -> None:
    """Put the section into the page, and its picture beside it. ValueError: the page has no place for it."""
    page.put(where, BEGIN, END, section(result, page.images(where).name), {PICTURE: picture(result)})


def picture(result: dict[str, Any]) -> str:
    """Latency against the rate that was offered, on a logarithmic axis; the dashed line is ten milliseconds."""
    width, height, left, right, top, bottom = 860, 460, 70, 760, 70, 410
    curve = [one for one in result["curve"] if one["p50_ms"] > 0]
    body = []
    if curve:
        highest = max(one["offered"] for one in curve) * 1.02
        low = math.floor(math.log10(min(one["p50_ms"] for one in curve)))
        high = max(low + 1, math.ceil(math.log10(max(one["p999_ms"] for one in curve))))

        def x(rate: float) -> float:
            return left + (right - left) * rate / highest

        def y(ms: float) -> float:
            return bottom - (bottom - top) * (math.log10(max(ms, 10.0 ** low)) - low) / (high - low)

        for power in range(low, high + 1):
            at = y(10.0 ** power)
            body.append(f'<line class="g" x1="{left}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>'
                        f'<text class="s" x="{left - 8}" y="{at + 4:.1f}" text-anchor="end">{10.0 ** power:g} ms'
                        f'</text>')
        for step in range(6):
            rate = highest * step / 5
            body.append(f'<text class="s" x="{x(rate):.1f}" y="{bottom + 20}" text-anchor="middle">{rate:,.0f}'
                        f'</text>')
        if low <= 1 <= high:
            body.append(f'<line class="raw" x1="{left}" x2="{right}" y1="{y(10):.1f}" y2="{y(10):.1f}"/>')
        names = plot.spread([y(curve[-1][name]) for name, _, _ in LINES], 15, top, bottom)
        for (name, title, colour), at in zip(LINES, names):
            points = " ".join(f'{x(one["offered"]):.1f},{y(one[name]):.1f}' for one in curve)
            body.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
                        f'<text x="{right + 8}" y="{at + 4:.1f}" style="fill:{colour}">{title}</text>')
        body.append(f'<text class="s" x="{(left + right) / 2}" y="{height - 8}" text-anchor="middle">'
                    f'queries a second that were due (raw f32 bodies, 256 connections)</text>')
    machine = result["machine"]
    where = (f'{machine["processor"]}, tier {machine["tier"]}, one core serves, one loads, {result["date"]}: '
             f'{result["data"]}')
    return plot.document(width, height, "kith serve: time of an answer against load", where, body)
