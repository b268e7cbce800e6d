# SPDX-License-Identifier: Apache-2.0
"""The marks of single queries, held against what was measured: one table of all data sets.

A mark is a row of Markdown: what, how good it was to be, how good it is. What was not measured stands there as such."""
from __future__ import annotations

import pathlib
from typing import Any, Iterator, Optional

from . import filters, filters_report, frontier, report, runner

MAIN, TIER = "wordnet", "wordnet-avx2"  # data sets by their names; the second one with KITH_CPU=avx2
OTHERS = ("glove-words", "fashion-mnist", "clustered-1000000x96-i12")
LARGE = "clustered-1000000x384-"  # how its name begins
NAME = "marks of single queries"

Results = dict[str, dict[str, Any]]  # by the name of the data


def row_of(result: Optional[dict[str, Any]], entry: str) -> Optional[dict[str, Any]]:
    """What an entry reached, where it did."""
    return next((row for row in (result or {}).get("results", ()) if row["entry"] == entry and row["points"]), None)


def speed(result: Optional[dict[str, Any]], entry: str, mode: str, recall: float) -> Optional[float]:
    return frontier.speed_at(report.indexes(result, mode).get(entry, []), recall) if result else None


def line(what: str, mark: str, measured: Optional[str], met: bool) -> str:
    return f"| {what} | {mark} | {'not measured' if measured is None else measured} | " \
           f"{'' if measured is None else 'met' if met else '**missed**'} |"


def beside(results: Results, name: str, mode: str, recall: float, least: float, words: str) -> str:
    """kith over the best peer of the same run."""
    asked = name in results and mode in runner.modes(results[name]["options"])
    found = report.ratios(results[name], mode, recall) if asked else {"ratio": None}
    measured = None if found["ratio"] is None else \
        f"{found['ratio']:.2f}x: {found['kith'][1]:,.0f} ({found['kith'][0]}) and {found['peer'][1]:,.0f} " \
        f"({found['peer'][0]})"
    return line(f"{name}, {words}, at {recall:.2f}", f">= {least}x the best peer", measured,
                measured is not None and found["ratio"] >= least)


def against(name: str, what: str, least: float, ours: Optional[float], theirs: Optional[float]) -> str:
    """One number over another: speeds, or times of builds with theirs first."""
    times = ours / theirs if ours and theirs else None
    return line(what, f">= {least}x {name}", None if times is None else f"{times:.2f}x",
                times is not None and times >= least)


def at_most(what: str, most: float, unit: str, found: Optional[float]) -> str:
    return line(what, f"<= {most:g}{unit}", None if found is None else f"{found:.2f}{unit}",
                found is not None and found <= most)


def memory(result: Optional[dict[str, Any]], entry: str) -> Optional[float]:
    """Resident memory without original vectors, as a multiple of the vectors as float32."""
    row = row_of(result, entry)
    if not result or not row or "originals" not in row["memory"]:
        return None
    return (row["memory"]["total"] - row["memory"]["originals"]) / result["data"]["raw_bytes"]


def tail(result: Optional[dict[str, Any]]) -> Optional[float]:
    """p99 over p50 at .95 of kith's fastest entry there."""
    if not result:
        return None
    best = report.ratios(result, "single", 0.95)["kith"]
    row = row_of(result, best[0]) if best else None
    found = report.latency(row, 0.95) if row else None
    return found[1] / found[0] if found else None


def filtered(found: Results) -> Iterator[str]:
    """Every share and kind of filter, on each data set that was measured with filters."""
    for name, result in found.items():
        for share in result["options"]["shares"]:
            for kind, words in filters.KINDS.items():
                times = filters_report.ratio(result, kind, share)
                held = filters_report.held(filters_report.points(result, kind, share).get("kith-recall"))
                measured = None if times is None else f"{times:.2f}x; asked for {filters_report.RECALL}, found {held}"
                good = times is not None and times >= 2 and held != "-" and float(held) >= filters_report.RECALL - 0.01
                yield line(f"{name}, a filter leaves {100 * share:g} %: {words}", ">= 2x the best peer, target held",
                           measured, good)


def table(results: Results, found: Results) -> list[str]:
    main, tier = results.get(MAIN), results.get(TIER)
    large = next((result for name, result in sorted(results.items()) if name.startswith(LARGE)), None)

    def built(result: Optional[dict[str, Any]], entry: str) -> Optional[float]:
        row = row_of(result, entry)
        return row["build_seconds"] if row else None

    rows = [beside(results, MAIN, "single", recall, least, "one query a call")
            for recall, least in ((0.90, 1.2), (0.95, 1.3), (0.99, 1.6))]
    rows += [beside(results, MAIN, f"calls-{size}", 0.95, 1.5, f"{size} queries a call") for size in (4, 16, 64)]
    rows += [beside(results, name, "single", 0.95, 1.2, "one query a call") for name in OTHERS]
    rows += [at_most(f"{MAIN}, build of `graph`, two threads", 5, " s", built(main, "kith-graph")),
             at_most("1M x 384, build of `graph`, two threads", 90, " s", built(large, "kith-graph")),
             at_most(f"{MAIN}, resident memory of `graph`, originals cold", 1.9, "x raw", memory(main, "kith-graph")),
             at_most(f"{MAIN}, the same, lean", 0.5, "x raw", memory(main, "kith-graph-lean")),
             against("hnswlib", f"{MAIN}, build of `hnsw`", 1.5, built(main, "hnswlib"), built(main, "kith-hnsw")),
             against("hnswlib", f"{MAIN}, `hnsw` at 0.95", 1.5, speed(main, "kith-hnsw", "single", 0.95),
                     speed(main, "hnswlib", "single", 0.95)),
             against("hnswlib", f"{MAIN}, `graph` at 0.95, avx2", 2, speed(tier, "kith-graph", "single", 0.95),
                     speed(tier, "hnswlib", "single", 0.95)),
             at_most(f"{MAIN}, p99 / p50 of single queries at 0.95", 2.5, "", tail(main))]
    return ["| what | mark | measured | |", "|---|---|---|---|", *rows, *filtered(found)]


def write_page(results: Results, found: Results, page: pathlib.Path) -> None:
    """Put the table into the page."""
    text = "\n".join([f"### The {NAME}", "", *table(results, found)])
    page.write_text(report.put_section(page.read_text(encoding="utf-8"), NAME, text), encoding="utf-8")
