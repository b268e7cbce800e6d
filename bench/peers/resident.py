# SPDX-License-Identifier: Apache-2.0
"""How much of the original vectors of kith's indexes this process holds resident. Searches read few of them, here and
there: where memory is short, they are the pages that the system can do without first.

Where they lie in an index file is told by its section table, as docs/format.md draws it."""
from __future__ import annotations

import mmap
import pathlib
import struct
from typing import Iterator

HEADER, ENTRIES, ENTRY, ORIGINALS = 4096, 256, 32, 7
PRESENT = 1 << 63  # in an entry of pagemap


def originals_place(path: pathlib.Path) -> tuple[int, int]:
    """Offset and bytes of the section of original vectors; (0, 0) where there is none."""
    with open(path, "rb") as file:
        file.seek(HEADER)
        table = file.read(ENTRIES * ENTRY)
    for family, _, offset, size, _ in struct.iter_unpack("<2I3Q", table[:len(table) // ENTRY * ENTRY]):
        if family == ORIGINALS:
            return offset, size
    return 0, 0


def maps() -> Iterator[tuple[int, int, int, pathlib.Path]]:
    """Start, end, offset and file of each mapped index."""
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
        for line in file:
            words = line.split(maxsplit=5)
            if len(words) == 6 and words[5].rstrip("\n").endswith(".kith"):
                start, end = (int(word, 16) for word in words[0].split("-"))
                yield start, end, int(words[2], 16), pathlib.Path(words[5].rstrip("\n"))


def originals() -> int:
    """Resident bytes of original vectors, of all indexes that are open."""
    pages = 0
    for start, end, at, path in maps():
        offset, size = originals_place(path)
        first, last = max(start, start + offset - at), min(end, start + offset - at + size)
        if not size or first >= last:
            continue
        with open("/proc/self/pagemap", "rb", buffering=0) as file:
            file.seek(first // mmap.PAGESIZE * 8)
            entries = file.read((-(-last // mmap.PAGESIZE) - first // mmap.PAGESIZE) * 8)
        pages += sum(entry & PRESENT != 0 for (entry,) in struct.iter_unpack("<Q", entries))
    return pages * mmap.PAGESIZE
