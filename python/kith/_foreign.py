# SPDX-License-Identifier: Apache-2.0
"""What the command asks of this package: to lay out files of formats that only Python reads as files that it reads too.

The command starts ``main`` in a process of its own (cli/foreign.c), with a private folder that it removes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import numpy as np

from ._errors import CorruptError, DataError, Error, FileError, NotFoundError
from ._sources import Source, read

OTHER, INPUT, INDEX, ABSENT, STORAGE, INTERRUPTED = 1, 3, 4, 5, 6, 130  # the command's exit codes: docs/cli.md


def main(path: str, folder: str, dtype: str, id_column: str, name_column: str) -> None:
    """Write `path` to vectors.npy, ids.npy or ids.txt, and names.txt in `folder`; "" stands for what is not given.
    Exits with the command's code for what went wrong, after a sentence in its manner."""
    try:
        lay_out(read(path, dtype=dtype or None, id_column=id_column or None, name_column=name_column or None), path,
                folder, dtype == "b1")
    except (Error, OSError, MemoryError) as error:
        print(f"kith: {error or type(error).__name__}", file=sys.stderr)
        sys.exit(_code(error))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def lay_out(source: Source, path: str, folder: str, bits: bool) -> None:
    """Write a source to the files that the command reads."""
    if source.dtype == "b1" and not bits:
        raise DataError(f"{path}: holds bits; say so, with --dtype b1")
    rows = source.array
    if source.dtype == "bf16":  # which .npy has no name for; every one is a float32
        rows = (rows.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    np.save(os.path.join(folder, "vectors.npy"), rows, allow_pickle=False)
    if isinstance(source.ids, list):
        if all(id.isascii() and id.removeprefix("-").isdigit() for id in source.ids):
            raise DataError(f"{path}: its ids are strings of digits, which the command takes for numbers: build the "
                            "index in Python, where they stay strings, or store them as integers")
        _write_lines(source.ids, f"{path}: ids", os.path.join(folder, "ids.txt"))
    elif source.ids is not None:
        np.save(os.path.join(folder, "ids.npy"), source.ids, allow_pickle=False)
    if source.names is not None:
        _write_lines(source.names, f"{path}: names", os.path.join(folder, "names.txt"))


def _write_lines(lines: Sequence[str], what: str, path: str) -> None:
    for row, line in enumerate(lines):
        if "\n" in line or "\r" in line or "\0" in line:
            raise DataError(f"{what}: row {row}: {line!r} does not fit into a line")
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


def _code(error: BaseException) -> int:
    for kind, code in ((MemoryError, OTHER), (NotFoundError, ABSENT), (FileError, STORAGE), (CorruptError, INDEX),
                       (Error, INPUT), (OSError, STORAGE)):
        if isinstance(error, kind):
            return code
    return OTHER
