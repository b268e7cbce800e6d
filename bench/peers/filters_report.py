# SPDX-License-Identifier: Apache-2.0
"""Markdown from what filters.measure() found."""
from __future__ import annotations

import pathlib
from typing import Any, Optional

from . import filters, frontier, report

RECALL = 0.95
ASKED = "target_recall 0.95"  # the setting of kith that says what it wants and no more


def points(result: dict[str, Any], kind: str, share: float) -> dict[str, list[dict[str, Any]]]:
    """Points by entry, of those that have any."""
    return {row["entry"]: case["points"] for row in result["results"] for case in row["cases"]
            if (case["kind"], case["share"]) == (kind, share) and case["points"]}


def cell(found: Optional[list[dict[str, Any]]]) -> str:
    """Queries a second at RECALL, or the highest recall where that is not reached."""
    if not found:
        return "-"
    speed = frontier.speed_at([(p["recall"], p["qps"]) for p in found], RECALL)
    return f"{speed:,.0f}" if speed is not None else f"({max(p['recall'] for p in found):.3f})"


def ratio(result: dict[str, Any], kind: str, share: float) -> Optional[float]:
    """kith over the best of the others at RECALL."""
    library = {row["entry"]: row["library"] for row in result["results"]}
    sides: dict[bool, dict[str, list[frontier.Point]]] = {True: {}, False: {}}
    for name, found in points(result, kind, share).items():
        sides[library[name] == "kith"][name] = [(p["recall"], p["qps"]) for p in found]
    kith, peer = (frontier.best_at(sides[own], RECALL) for own in (True, False))
    return kith[1] / peer[1] if kith and peer else None


def held(found: Optional[list[dict[str, Any]]]) -> str:
    """What came of asking kith for RECALL."""
    return next((f"{p['recall']:.3f}" for p in found or () if p["setting"] == ASKED), "-")


def table(result: dict[str, Any]) -> list[str]:
    names = [row["entry"] for row in result["results"] if row["cases"]]
    asked = [row["entry"] for row in result["results"] if row["library"] == "kith" and any(
        p["setting"] == ASKED for case in row["cases"] for p in case["points"])]
    heads = ["leaves", "filter", *names, "kith / best peer", *(f"{name} asked for {RECALL} found" for name in asked)]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for share in result["options"]["shares"]:
        for kind, words in filters.KINDS.items():
            found, times = points(result, kind, share), ratio(result, kind, share)
            cells = [cell(found.get(name)) for name in names]
            cells.append("-" if times is None else f"**{times:.2f}x**")
            cells += [held(found.get(name)) for name in asked]
            lines.append(f"| {100 * share:g} % | {words} | {' | '.join(cells)} |")
    return lines


def notes(result: dict[str, Any]) -> list[str]:
    """Entries that failed, and answers that were too few."""
    lines = [f"- {row['entry']} ({row['package']}): {row['status']}: {report.clean(row['error'])}"
             for row in result["results"] if row["status"] != "ok"]
    for row in result["results"]:
        short = sum(p["short"] for case in row["cases"] for p in case["points"])
        asked = sum(len(case["points"]) for case in row["cases"]) * result["options"]["filters"] * \
            result["options"]["queries"]
        if short:
            lines.append(f"- {row['entry']} gave fewer answers than there were, or forbidden ones, to {short:,} of "
                         f"{asked:,} queries")
    return lines


def section(result: dict[str, Any]) -> str:
    """The Markdown of a result."""
    filters.check(result)
    data, where, options = result["data"], result["machine"], result["options"]
    lines = [f"### Filters over {data['name']}: {data['rows']:,} x {data['dim']}, {data['metric']}", "",
             f"Measured {result['date']} on {where['cores']} cores of \"{where['processor']}\" (best tier "
             f"{where['tier']}). Single queries a second at recall {RECALL}, k = {options['k']}, one thread; in "
             f"brackets the highest recall where that is less. {options['filters']} filters of {options['queries']} "
             f"queries in each line, best of {options['rounds']} rounds, taking turns.", "",
             "```sh", result["command"], "```", ""]
    lines += table(result)
    more = notes(result)
    return "\n".join(lines + ([""] + more if more else []))


def write_page(results: list[dict[str, Any]], page: pathlib.Path) -> None:
    """Put the sections of these results into the page."""
    text = page.read_text(encoding="utf-8")
    for result in results:
        text = report.put_section(text, f"filters-{result['data']['name']}", section(result))
    page.write_text(text, encoding="utf-8")
