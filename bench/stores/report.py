# SPDX-License-Identifier: Apache-2.0
"""The table on the terminal and the section of the page, from the runner's JSON."""
from __future__ import annotations

import json
import pathlib
from typing import Any, Iterable

from peers import page
from peers.report import clean

from . import marks, picture, runner

BEGIN, END = "<!-- begin of bench/stores -->", "<!-- end of bench/stores -->"
PICTURE = "collections.svg"
NAMES = {"kith": "kith", "kith_index": "index file", "sqlite_rows": "SQLite's rows", "qdrant_edge": "Qdrant Edge",
         "lancedb": "LanceDB", "sqlite_vec": "sqlite-vec", "zvec": "zvec"}


def title(store: str) -> str:
    return NAMES.get(store, store)


def shown(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Stores that have values."""
    return [store for store in result["stores"] if store["values"]]


def number(found: float, unit: str) -> str:
    """A value as the table has it."""
    if unit == "/s":
        return f"{found:,.0f}" if found >= 100 else f"{found:.3g}"
    return f"{found:.3f}" if unit == "" else marks.plain(found if found >= 1e-4 else 0.0)


def cell(row: marks.Row, values: dict[str, float]) -> str:
    """One store's value, with what it is worth nothing without."""
    if row.name == "states.short" and "states.tried" in values:
        return f"{values['states.short']:,.0f} of {values['states.tried']:,.0f}"
    if row.name == "twice.recall" and row.name in values:
        return f"{values['twice.recall']:.3f} (fresh {values['twice.fresh']:.3f})"
    if row.name.startswith("target ") and row.name in values:
        rate = values[row.name.removesuffix("recall") + "rate"]
        return f"{values[row.name]:.3f} at {number(rate, '/s')}/s"
    recall = values.get(row.recall) if row.recall else None
    if row.name in values:
        text = number(values[row.name], row.unit)
        return text if recall is None or recall >= 0.9995 else f"{text} ({share(recall)})"
    return f"at most {share(recall)}" if recall is not None else "-"


def share(recall: float) -> str:
    return f"{recall:.3f}".lstrip("0") if recall < 1 else "1"


def lines(result: dict[str, Any]) -> list[list[str]]:
    """The table without its looks: rows of words; a single word is a head."""
    stores, values = shown(result), marks.values_of(result)
    out = [["", *(title(store["store"]) for store in stores), "mark", "reached"]]
    for part in marks.PARTS:
        rows = [row for row in part.rows if any(cell(row, store["values"]) != "-" for store in stores)]
        if rows:
            out.append([part.title])
        for row in rows:
            unit = f", {row.unit}" if row.unit in ("s", "ms", "us", "MB", "x") else ""
            asked = "; ".join(mark.text for mark in row.marks) or ""
            out.append([row.title + unit, *(cell(row, store["values"]) for store in stores), asked,
                        "; ".join(mark.words(values) for mark in row.marks)])
    return out


def text_table(result: dict[str, Any]) -> str:
    """For a terminal."""
    table = [[word.replace("**", "") for word in words] for words in lines(result)]
    full = [words for words in table if len(words) > 1]
    widths = [max(len(words[column]) for words in full) for column in range(len(full[0]))]
    out = []
    for words in table:
        if len(words) == 1:
            out += ["", words[0]]
        else:
            out.append("  ".join(word.ljust(width) if column in (0, len(words) - 2) else word.rjust(width)
                                 for column, (word, width) in enumerate(zip(words[:-1], widths))) + "  " + words[-1])
    return "\n".join(out + [""] + absences(result))


def markdown(result: dict[str, Any]) -> list[str]:
    table = lines(result)
    out = ["| " + " | ".join(table[0]) + " |", "|" + "---|" * len(table[0])]
    for words in table[1:]:
        head = [f"**{words[0]}**"] + [""] * (len(table[0]) - 1)
        out.append("| " + " | ".join(words if len(words) > 1 else head) + " |")
    return out


def absences(result: dict[str, Any]) -> list[str]:
    """What could not be measured, one line each."""
    words = {"missing": "not installed", "failed": "failed", "died": "died", "late": "stopped"}
    out = []
    for store in result["stores"]:
        name = title(store["store"])
        if store["status"] != "ok":
            out.append(f"- {name} ({store['package']}): {words[store['status']]}: {clean(store['error'])}")
        for row, why in store.get("failed", {}).items():
            out.append(f"- {name}: {row}: {clean(why)}")
    kith = next((store for store in result["stores"] if store["store"] == "kith"), None)
    for row, why in (kith or {}).get("not_offered", {}).items():
        out.append(f"- kith: {row}: not offered" + (f": {clean(why)}" if why else ""))
    return out


def parts(result: dict[str, Any]) -> list[str]:
    """Memory by part, as stores tell it."""
    out = []
    for store in shown(result):
        told = {name.removeprefix("memory.part ").removesuffix(".mb"): size for name, size in store["values"].items()
                if name.startswith("memory.part ")}
        if told:
            out.append(f"- {title(store['store'])} tells its memory as: " +
                       ", ".join(f"{name} {marks.plain(size)} MB" for name, size in told.items()))
    return out


def tier(machine: dict[str, Any]) -> str:
    """kith's on this machine."""
    return machine.get("tier_used", machine["tier"])


def section(result: dict[str, Any], images: str) -> str:
    """The Markdown of a result; images: the folder of pictures as the page sees it."""
    runner.check(result)
    told, machine, options = result["data"], result["machine"], result["options"]
    versions = ", ".join(f"{title(store['store'])} {store.get('version', '?')}" for store in shown(result))
    head = (f"Measured {result['date']} on \"{machine['processor']}\" (tier {tier(machine)}), "
            f"Linux {machine['kernel']}, Python {machine['python']}, NumPy {result['versions']['numpy']}: "
            f"{told['rows']:,} vectors of {told['dim']} dimensions, scaled to unit length, {told['queries']:,} "
            f"queries, k = 10. Each store had {options['cores']} of {machine['cores']} processors, except in the "
            f"ingest, where two threads of the client work. Best of {options['rounds']} rounds where a row is "
            f"repeated, taking turns. Versions: {versions}.")
    large = [store["values"]["large.rows"] for store in shown(result) if "large.rows" in store["values"]]
    notes = parts(result) + absences(result) + [f"- many vectors of 8 dimensions: {large[0]:,.0f}" for _ in large[:1]]
    return "\n".join([head, "", "```sh", result["command"], "```", "",
                      f"![rates and times of each store, a panel a row]({images}/{PICTURE})", "", *markdown(result),
                      *(["", *notes] if notes else [])])


def write_page(result: dict[str, Any], where: pathlib.Path) -> None:
    """Put the section into the page, and its picture beside it. ValueError: the page has no place for it."""
    page.put(where, BEGIN, END, section(result, page.images(where).name), {PICTURE: picture.draw(result)})


def read(path: pathlib.Path) -> dict[str, Any]:
    """A result from its file. ValueError: it is none."""
    result = json.loads(path.read_text(encoding="utf-8"))
    runner.check(result)
    return result


def missed(result: dict[str, Any]) -> Iterable[str]:
    """Titles of rows with a mark that was measured and not reached."""
    values = marks.values_of(result)
    return [row.title for part in marks.PARTS for row in part.rows
            if any(mark.reached(values) is False for mark in row.marks)]
