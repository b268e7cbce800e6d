# SPDX-License-Identifier: Apache-2.0
"""The table and the picture of a result."""
from __future__ import annotations

import html
import pathlib
from typing import Any

from peers import page, plot

from .marks import marks

BEGIN, END = "<!-- begin of bench/offline -->", "<!-- end of bench/offline -->"
PICTURE = "offline.svg"
HEAD = ("join", "seconds", "CPU seconds", "of them workers'", "recall", "a worker's memory, MB")


def cells(result: dict[str, Any]) -> list[tuple[str, ...]]:
    return [(name, f"{run['seconds']:.1f}", f"{run['cpu']:.1f}", f"{run['cpu_workers']:.1f}", f"{run['recall']:.3f}",
             f"{run['worker_bytes'] / 2**20:,.0f}" if run["worker_bytes"] else "")
            for name, run in result["runs"].items()]


def verdicts(result: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    return [(mark.title, f"{mark.value:.3g} {mark.unit}".replace(" x", "x"), mark.asked,
             "reached" if mark.reached else "missed") for mark in marks(result)]


def table(result: dict[str, Any]) -> str:
    rows = [HEAD, *cells(result)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    out = []
    for row in rows:
        figures = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        out.append("  ".join([row[0].ljust(widths[0]), *figures]).rstrip())
    out += [""] + [f"{title:50} {value:>9}   {asked:10} {verdict}" for title, value, asked, verdict in verdicts(result)]
    return "\n".join(out + [f"failed: {name}: {why}" for name, why in result["failed"].items()])


def section(result: dict[str, Any], images: str) -> str:
    """The Markdown of a result; images: the folder of pictures as the page sees it."""
    machine = result["machine"]
    out = [f"Measured {result['date']} on \"{machine['processor']}\" (tier {machine['tier']}, two cores), Linux "
           f"{machine['kernel']}: {result['data']}, k = {result['k']}, a target recall of {result['target']:g}; "
           f"from files to files, the best of {result['rounds']} rounds that took turns. An index of "
           f"{result['index_bytes'] / 2**20:,.0f} MB. Engines and workers had been started.", "",
           f"![CPU time of joins]({images}/{PICTURE})", "", f"| {' | '.join(HEAD)} |", f"|{'---|' * len(HEAD)}"]
    out += [f"| {' | '.join(row)} |" for row in cells(result)]
    out += ["", "| | | mark | reached |", "|---|---|---|---|"]
    out += [f"| {title} | {value} | {asked} | {f'**{verdict}**' if verdict == 'reached' else verdict} |"
            for title, value, asked, verdict in verdicts(result)]
    return "\n".join(out)


def write_page(result: dict[str, Any], where: pathlib.Path) -> None:
    """Put the section into the page, and its picture beside it. ValueError: the page has no place for it."""
    page.put(where, BEGIN, END, section(result, page.images(where).name), {PICTURE: picture(result)})


def picture(result: dict[str, Any]) -> str:
    """A bar a join: CPU time, of which that of workers is filled."""
    left, right, top, step = 190, 720, 70, 34
    runs = list(result["runs"].items())
    longest = max([run["cpu"] for _, run in runs], default=1.0) or 1.0
    body = []
    for number, (name, run) in enumerate(runs):
        y, scale = top + number * step, (right - left) / longest
        colour = plot.COLOURS[0] if name.startswith("kith") else plot.COLOURS[1]
        body.append(f'<text x="{left - 10}" y="{y + 15}" text-anchor="end">{html.escape(name)}</text>'
                    f'<rect x="{left}" y="{y}" width="{run["cpu"] * scale:.1f}" height="20" fill="{colour}" '
                    f'fill-opacity=".35"/>'
                    f'<rect x="{left}" y="{y}" width="{run["cpu_workers"] * scale:.1f}" height="20" fill="{colour}"/>'
                    f'<text x="{left + run["cpu"] * scale + 8:.1f}" y="{y + 15}">{run["cpu"]:.1f} s, recall '
                    f'{run["recall"]:.3f}</text>')
    machine = result["machine"]
    where = f'{machine["processor"]}, tier {machine["tier"]}, two cores, {result["date"]}: {result["data"]}'
    return plot.document(860, top + len(runs) * step + 30, "Joins on clusters: CPU time, workers' filled", where, body)
