# SPDX-License-Identifier: Apache-2.0
"""Markdown and pictures from the runner's JSON."""
from __future__ import annotations

import itertools
import json
import pathlib
from typing import Any, Optional

from . import frontier, libraries, plot, runner

RECALLS = (0.90, 0.95, 0.99)
MODES = {"batch": "all queries in one call", "single": "one query a call"}  # those that are drawn
BEGIN, END = "<!-- begin of bench/peers: {} -->", "<!-- end of bench/peers: {} -->"
LAST = "<!-- end of all sections of bench/peers -->"


def indexes(result: dict[str, Any], mode: str) -> dict[str, list[frontier.Point]]:
    """Points by entry, of those that have any."""
    return {row["entry"]: [(p[mode]["recall"], p[mode]["qps"]) for p in row["points"]]
            for row in result["results"] if row["points"]}


def ratios(result: dict[str, Any], mode: str, recall: float) -> dict[str, Any]:
    """kith and the best of the others at a recall: {"kith": (name, qps) or None, "peer": ..., "ratio": number or None}.
    """
    library = {row["entry"]: row["library"] for row in result["results"]}
    found = indexes(result, mode)
    kith = frontier.best_at({n: p for n, p in found.items() if library[n] == "kith"}, recall)
    peer = frontier.best_at({n: p for n, p in found.items() if library[n] != "kith"}, recall)
    return {"kith": kith, "peer": peer, "ratio": kith[1] / peer[1] if kith and peer else None}


def _rate(value: Optional[float]) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _mib(value: float) -> str:
    return f"{value / 2 ** 20:,.0f}"


def ways(result: dict[str, Any]) -> dict[str, str]:
    """Words for each way of asking that was measured."""
    return {mode: MODES.get(mode, f"{size} queries a call") for mode, size in runner.modes(result["options"]).items()}


def ratio_table(result: dict[str, Any]) -> list[str]:
    asked = ways(result)
    heads = [f"{words}: kith / best peer" for words in asked.values()]
    lines = [f"| recall | {' | '.join(heads)} |", "|" + "---|" * (1 + len(asked))]
    for recall in RECALLS:
        cells = []
        for mode in asked:
            found = ratios(result, mode, recall)
            sides = [f"{_rate(side[1])} ({side[0]})" if side else "-" for side in (found["kith"], found["peer"])]
            share = f"**{found['ratio']:.2f}x**" if found["ratio"] is not None else "-"
            cells.append(f"{sides[0]} / {sides[1]} = {share}")
        lines.append(f"| {recall:.2f} | " + " | ".join(cells) + " |")
    return lines


def index_table(result: dict[str, Any]) -> list[str]:
    """One line an entry, those that failed with the reason."""
    heads = [f"{recall:.2f}".lstrip("0") for recall in RECALLS]
    columns = [f"batch @{head}" for head in heads] + [f"single @{head}" for head in heads]
    lines = ["| index | version | build, s | memory, MiB | of it mapped | of it originals | peak of build | "
             "highest recall | " + " | ".join(columns) + " |", "|" + "---|" * (8 + len(columns))]
    points = {mode: indexes(result, mode) for mode in MODES}
    speeds = {(row["entry"], mode, recall): frontier.speed_at(points[mode].get(row["entry"], []), recall)
              for row in result["results"] for mode in MODES for recall in RECALLS}
    best = {(mode, recall): max((s for (_, *where), s in speeds.items() if s and where == [mode, recall]), default=None)
            for mode in MODES for recall in RECALLS}
    for row in result["results"]:
        if not row["points"]:
            continue
        cells = []
        for mode, recall in itertools.product(MODES, RECALLS):
            speed = speeds[row["entry"], mode, recall]
            text = _rate(speed)
            cells.append(f"**{text}**" if speed and speed == best[mode, recall] else text)
        top = max(point["batch"]["recall"] for point in row["points"])
        sizes = [_mib(row["memory"][name]) if name in row["memory"] else "-"
                 for name in ("total", "file", "originals", "peak")]
        lines.append(f"| {row['entry']} | {row['version']} | {row['build_seconds']:.1f} | {' | '.join(sizes)} | "
                     f"{top:.4f} | {' | '.join(cells)} |")
    return lines


def latency(row: dict[str, Any], recall: float) -> Optional[tuple[float, float]]:
    """(p50, p99) in microseconds of single queries at the fastest setting that reaches a recall."""
    fit = [p["single"] for p in row["points"] if p["single"]["recall"] >= recall and "p50_us" in p["single"]]
    best = max(fit, key=lambda single: single["qps"], default=None)
    return (best["p50_us"], best["p99_us"]) if best else None


def few_table(result: dict[str, Any]) -> list[str]:
    """Calls of a few queries, and how long single ones take; nothing for results without."""
    few = [mode for mode, size in runner.modes(result["options"]).items() if size and size > 1]
    if not few:
        return []
    heads = [f"{mode.removeprefix('calls-')} a call @.{round(recall * 100)}" for mode in few for recall in RECALLS]
    heads = ["index", "one query @.95: p50, us", "p99, us", "p99 / p50", f"over {runner.FEW} rows, us",
             "all at once, first touch, us", *heads]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    points = {mode: indexes(result, mode) for mode in few}
    for row in result["results"]:
        if not row["points"]:
            continue
        found, call = latency(row, 0.95), row.get("call_us")
        cells = [f"{found[0]:.1f}", f"{found[1]:.1f}", f"{found[1] / found[0]:.1f}"] if found else ["-"] * 3
        cells.append("-" if call is None else f"{call:.1f}")
        cells.append(f"{row['first_us']:.1f}" if "first_us" in row else "-")
        cells += [_rate(frontier.speed_at(points[mode][row["entry"]], recall)) for mode in few for recall in RECALLS]
        lines.append(f"| {row['entry']} | {' | '.join(cells)} |")
    return lines


def absences(result: dict[str, Any]) -> list[str]:
    """What could not be measured, and what broke the rules, one line each."""
    lines = []
    words = {"missing": "not installed", "failed": "failed", "died": "died", "late": "stopped"}
    for row in result["results"]:
        if row["status"] != "ok":
            lines.append(f"- {row['entry']} ({row['package']}): {words[row['status']]}: {clean(row['error'])}")
        used = max((p[mode]["cpus"] for p in row["points"] for mode in ways(result)), default=0)
        if used > result["options"]["search_threads"] * 1.2:
            lines.append(f"- {row['entry']} kept {used:.1f} processors busy while searching; "
                         f"{result['options']['search_threads']} was asked for")
    return lines


def clean(text: str) -> str:
    """One line of at most 300 characters that Markdown leaves alone."""
    text = " ".join(text.split())
    return (text if len(text) <= 300 else text[:297] + "...").replace("|", "\\|").replace("<", "&lt;")


def section(result: dict[str, Any], images: Optional[str]) -> str:
    """The Markdown of a result; images: the folder of its pictures as the page sees it, None for no pictures."""
    runner.check(result)
    data, machine, options = result["data"], result["machine"], result["options"]
    caches = ", ".join(f"{name} {size >> 10:,} KiB" for name, size in machine["caches"].items())
    order = "taking turns" if options["alternate"] else "one index after another"
    lines = [f"### {data['name']}: {data['rows']:,} x {data['dim']}, {data['metric']}", "",
             f"Measured {result['date']} on {machine['cores']} cores of \"{machine['processor']}\" (best tier "
             f"{machine['tier']}; {caches}), Linux {machine['kernel']}, Python {machine['python']}, NumPy "
             f"{result['versions']['numpy']}. {data['queries']:,} queries, k = {options['k']}; threads: "
             f"{options['search_threads']} to search, {options['build_threads']} to build; best of {options['rounds']} "
             f"rounds, {order}. The vectors themselves are {_mib(data['raw_bytes'])} MiB of float32.", "",
             "```sh", result["command"], "```", ""]
    if images is not None:
        lines += [f"![{words}]({images}/peers-{data['name']}-{name}.svg)" for name, words in
                  (("batch", "speed against recall, all queries in one call"),
                   ("single", "speed against recall, one query a call"),
                   ("build", "build time"), ("memory", "memory"))] + [""]
    lines += ratio_table(result) + [""] + index_table(result)
    few = few_table(result)
    lines += [""] + few if few else []
    notes = absences(result)
    return "\n".join(lines + ([""] + notes if notes else []))


def pictures(result: dict[str, Any], folder: pathlib.Path, prefix: str = "peers",
             kinds: tuple[str, ...] = (*MODES, "build", "memory")) -> list[pathlib.Path]:
    """Draw a result's pictures, <prefix>-<name>-<kind>.svg; returns their paths."""
    runner.check(result)
    folder.mkdir(parents=True, exist_ok=True)
    data, options, rows = result["data"], result["options"], [r for r in result["results"] if r["points"]]
    dash = plot.dashes((row["entry"], row["library"]) for row in rows)
    what = f"{data['name']}, {data['rows']:,} x {data['dim']}, {data['metric']}"
    where = f"{result['machine']['processor']}, tier {result['machine']['tier']}, {result['date']}"
    drawn = {}
    for mode, words in MODES.items():
        curves = [plot.Curve(row["entry"], row["library"], indexes(result, mode)[row["entry"]], dash[row["entry"]])
                  for row in rows]
        drawn[mode] = plot.recall_speed(curves, f"{what}: {words}",
                                        f"recall@{options['k']}, {options['search_threads']} thread; {where}")
    drawn["build"] = plot.bars([plot.Bar(r["entry"], r["library"], r["build_seconds"]) for r in rows], "s",
                               f"{what}: build time", f"{options['build_threads']} threads; {where}")
    drawn["memory"] = plot.bars([plot.Bar(r["entry"], r["library"], r["memory"]["total"] / 2 ** 20,
                                          r["memory"]["peak"] / 2 ** 20) for r in rows], "MiB", f"{what}: memory",
                                "resident after the searches, without the library; in brackets, pale: at its most "
                                "during the build, the given vectors included",
                                ("the vectors as float32", data["raw_bytes"] / 2 ** 20))
    paths = []
    for name in kinds:
        paths.append(folder / f"{prefix}-{data['name']}-{name}.svg")
        paths[-1].write_text(drawn[name], encoding="utf-8")
    return paths


def put_section(page: str, name: str, text: str) -> str:
    """The page with the section of this name replaced, or added before the last marker. ValueError: no marker."""
    begin, end = BEGIN.format(name), END.format(name)
    block = f"{begin}\n{text}\n{end}"
    if begin in page:
        before, _, rest = page.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"the page has {begin!r}, but not its end")
        return before + block + after
    if LAST not in page:
        raise ValueError(f"the page has no line {LAST!r}, before which a new section would go")
    return page.replace(LAST, f"{block}\n\n{LAST}")


def write_page(results: list[dict[str, Any]], page: pathlib.Path, images: pathlib.Path) -> None:
    """Put the sections of these results into the page, and their pictures beside it."""
    text = page.read_text(encoding="utf-8")
    for result in results:
        text = put_section(text, result["data"]["name"], section(result, images.name))
        pictures(result, images)
    page.write_text(text, encoding="utf-8")


def ann_benchmarks(library: str) -> str:
    """A library's config.yml: each list of a run group's args and query_args is one argument's values, of which
    ann-benchmarks takes all combinations."""
    lines = ["float:", "  any:"]
    found = [entry for entry in libraries.entries([library]).values() if not entry.named]
    for constructor, group in itertools.groupby(found, key=lambda entry: entry.constructor):
        lines += ["  - base_args: ['@metric']", f"    constructor: {constructor}", "    disabled: false",
                  f"    docker_tag: ann-benchmarks-{library}", f"    module: ann_benchmarks.algorithms.{library}",
                  f"    name: {library}", "    run_groups:"]
        for entry in group:
            lines += [f"      {entry.name}:", f"        args: {json.dumps([[word] for word in entry.arguments])}"]
            columns = [list(dict.fromkeys(column)) for column in zip(*entry.search)]
            if columns:
                lines.append(f"        query_args: {json.dumps(columns)}")
    return "\n".join(lines)
