# SPDX-License-Identifier: Apache-2.0
"""Sections of a Markdown page that measurements write."""
from __future__ import annotations

import argparse
import json
import pathlib
import sys
from typing import Any, Callable


def put(page: pathlib.Path, begin: str, end: str, section: str, pictures: dict[str, str]) -> None:
    """Put a section between the lines begin and end, and its pictures (name: SVG) into the folder beside the page.
    ValueError: the page has no place for it."""
    text = page.read_text(encoding="utf-8")
    before, has_begin, rest = text.partition(begin)
    _, has_end, after = rest.partition(end)
    if not has_begin or not has_end:
        raise ValueError(f"{page} has no lines {begin!r} and {end!r}, between which the section goes")
    images(page).mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        (images(page) / name).write_text(picture, encoding="utf-8")
    page.write_text(f"{before}{begin}\n{section}\n{end}{after}", encoding="utf-8")


def images(page: pathlib.Path) -> pathlib.Path:
    """Where its pictures lie."""
    return page.parent / "images"


def run(options: argparse.Namespace, program: str, measure: Callable[[argparse.Namespace], dict[str, Any]],
        report: Any) -> int:
    """A program that measures, or, with options.docs, writes what it measured before into that page. The result goes
    to options.json, its picture beside it, its table to whoever runs it. Returns the exit status: 1 if something
    failed. report: a module with table, picture and write_page."""
    try:
        if options.docs:
            report.write_page(json.loads(options.json.read_text(encoding="utf-8")), options.docs)
            return 0
        result = measure(options)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    options.json.with_suffix(".svg").write_text(report.picture(result), encoding="utf-8")
    print(report.table(result))
    print(f"{options.json}, and the picture beside it", file=sys.stderr, flush=True)
    return 1 if result["failed"] else 0
