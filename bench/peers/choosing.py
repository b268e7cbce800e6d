# SPDX-License-Identifier: Apache-2.0
"""Which type of index pays when: kith's own types beside each other on one data set, and their page.

What is measured is what runner measures of any library's entries; here are the entries, and tables that say what a type
costs (build, memory) beside what it gives (speed at a recall, one query a call and many)."""
from __future__ import annotations

import pathlib
from typing import Any, Optional

from . import frontier, report, runner

NUMBERS = ("kith-exact", "kith-ivf", "kith-graph", "kith-graph-lean", "kith-hnsw", "kith-lsh", "kith-pq", "kith-recall")
BITS = ("kith-bits", "kith-bits-lsh", "kith-bits-hnsw")
NAMES = {"kith-exact": "flat (exact)", "kith-ivf": "ivf", "kith-graph": "graph", "kith-graph-lean": "graph, lean",
         "kith-hnsw": "hnsw", "kith-lsh": "lsh", "kith-pq": "pq", "kith-recall": "nothing named",
         "kith-bits": "flat (exact)", "kith-bits-lsh": "lsh", "kith-bits-hnsw": "hnsw"}
RECALL = 0.95


def entries_for(text: str) -> tuple[str, ...]:
    """Names of the entries that a data set's text asks for."""
    return BITS if text.startswith("signs:") else NUMBERS


def speeds(result: dict[str, Any], mode: str) -> dict[str, float]:
    """Queries a second at RECALL by entry, of those that reach it."""
    found = report.indexes(result, mode)
    return {name: speed for name, points in found.items() if (speed := frontier.speed_at(points, RECALL)) is not None}


def times_raw(result: dict[str, Any], row: dict[str, Any], without: Optional[str] = None) -> str:
    """Resident memory as a multiple of the vectors as float32, or bits where they are bits."""
    rows, dim = result["data"]["rows"], result["data"]["dim"]
    raw = rows * dim / 8 if row["entry"] in BITS else result["data"]["raw_bytes"]
    memory = row["memory"]
    return f"{(memory['total'] - (memory.get(without, 0) if without else 0)) / raw:.2f}"


def table(result: dict[str, Any]) -> list[str]:
    few = [mode for mode, size in runner.modes(result["options"]).items() if size and size > 1]
    columns = [("single", recall) for recall in report.RECALLS] + [(mode, RECALL) for mode in (*few[::-1], "batch")]
    words = {"batch": "all a call", "single": "one a call", **{mode: f"{mode[6:]} a call" for mode in few}}
    heads = ["type", "build, s", "memory / raw", "without originals", "highest recall", "p99 / p50"]
    heads += [f"{words[mode]} @.{round(100 * recall)}" for mode, recall in columns]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    points = {mode: report.indexes(result, mode) for mode, _ in columns}
    for row in result["results"]:
        if not row["points"]:
            continue
        tail = report.latency(row, RECALL)
        cells = [NAMES.get(row["entry"], row["entry"]), f"{row['build_seconds']:.1f}", times_raw(result, row),
                 times_raw(result, row, "originals"), f"{max(p['single']['recall'] for p in row['points']):.4f}",
                 f"{tail[1] / tail[0]:.1f}" if tail else "-"]
        found = [frontier.speed_at(points[mode][row["entry"]], recall) for mode, recall in columns]
        lines.append(f"| {' | '.join(cells + ['-' if speed is None else f'{speed:,.0f}' for speed in found])} |")
    return lines


def verdict(result: dict[str, Any]) -> str:
    """One sentence: which type was the fastest at RECALL, for each way of asking."""
    parts = []
    for mode, words in reversed(report.ways(result).items()):
        named = {name: speed for name, speed in speeds(result, mode).items() if name != "kith-recall"}
        if named:
            parts.append(f"{words} {NAMES.get(best := max(named, key=lambda name: named[name]), best)}")
    return f"Fastest at recall {RECALL}: " + "; ".join(parts) + "." if parts else f"None reached recall {RECALL}."


def section(result: dict[str, Any], images: str) -> str:
    """The Markdown of a result; images: the folder of its pictures as the page sees it."""
    runner.check(result)
    data, where, options = result["data"], result["machine"], result["options"]
    lines = [f"### {data['name']}: {data['rows']:,} x {data['dim']}, {data['metric']}", "",
             f"Measured {result['date']} on {where['cores']} cores of \"{where['processor']}\" (best tier "
             f"{where['tier']}); {options['search_threads']} thread searches, {options['build_threads']} build; k = "
             f"{options['k']}; queries a second, best of {options['rounds']} rounds, taking turns.", "",
             "```sh", result["command"], "```", "", verdict(result), "",
             f"![speed against recall, one query a call]({images}/choosing-{data['name']}-single.svg)",
             f"![speed against recall, all queries in one call]({images}/choosing-{data['name']}-batch.svg)", ""]
    lines += table(result)
    notes = report.absences(result)
    return "\n".join(lines + ([""] + notes if notes else []))


def write_page(results: list[dict[str, Any]], page: pathlib.Path) -> None:
    """Put the sections of these results into the page, and their pictures beside it."""
    text, images = page.read_text(encoding="utf-8"), page.parent / "images"
    for result in results:
        text = report.put_section(text, f"choosing-{result['data']['name']}", section(result, images.name))
        report.pictures(result, images, "choosing", tuple(report.MODES))
    page.write_text(text, encoding="utf-8")
