# SPDX-License-Identifier: Apache-2.0
"""Sections of a Markdown page that measurements write."""
from __future__ import annotations

import pathlib


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
