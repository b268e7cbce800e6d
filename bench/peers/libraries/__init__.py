# SPDX-License-Identifier: Apache-2.0
"""The libraries that can be measured. A module here is one library:

PACKAGE    what pip installs, or a path relative to the repository
ENTRIES    {name: {"constructor": class, "arguments": [...], "search": [[...], ...]}}: an entry is one index (the
           constructor's arguments after the metric) and the query arguments that are swept over it, from fast to
           thorough. These are ann-benchmarks' words; `python -m peers config NAME` prints its config.yml. What it
           does not know: "filters", the settings swept where a filter leaves some of the rows, of entries that can;
           "named": true, of entries that are measured only where their name is given.

The library itself is imported by the adapter's constructor, so that listing the entries needs none of them.
"""
from __future__ import annotations

import dataclasses
import importlib
import pathlib
from typing import Any, Iterable

# In the order of tables and colours: kith first.
LIBRARIES = ("kith", "faiss", "hnswlib", "usearch", "svs", "rabitqlib", "scann", "vsag")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One index of one library, and the settings swept over it."""

    name: str
    library: str
    package: str
    constructor: str
    arguments: list[Any]
    search: list[list[Any]]
    filters: tuple[list[Any], ...] = ()  # as search
    named: bool = False  # only where its name is given

    def filtered(self) -> Entry:
        """The same entry with its settings for filters."""
        return dataclasses.replace(self, search=list(self.filters))

    def create(self, metric: str) -> Any:
        """The adapter's object. ImportError: the library is not installed."""
        module = importlib.import_module(f"{__name__}.{self.library}")
        return getattr(module, self.constructor)(metric, *self.arguments)

    def label(self, number: int) -> str:
        """What the setting of this number is called in results."""
        return " ".join(str(word) for word in self.search[number]) or "-"


def package(library: str) -> str:
    """What pip installs for this library."""
    return importlib.import_module(f"{__name__}.{library}").PACKAGE


def entries(libraries: Iterable[str] = LIBRARIES) -> dict[str, Entry]:
    """All entries of these libraries by name."""
    found = {}
    for library in libraries:
        module = importlib.import_module(f"{__name__}.{library}")
        for name, row in module.ENTRIES.items():
            found[name] = Entry(name, library, module.PACKAGE, row["constructor"], row["arguments"], row["search"],
                                tuple(row.get("filters", ())), row.get("named", False))
    return found


def select(words: Iterable[str]) -> dict[str, Entry]:
    """Entries by the names of libraries or entries; none given: all, but for those that want to be named. ValueError: a
    name that is neither."""
    everything = entries()
    chosen: dict[str, Entry] = {}
    words = list(words)
    for word in words:
        matching = {name: entry for name, entry in everything.items()
                    if word == name or word == entry.library and not entry.named}
        if not matching:
            raise ValueError(f"no library or entry is called {word!r}; there are the libraries {', '.join(LIBRARIES)}, "
                             f"and the entries {', '.join(everything)}")
        chosen.update(matching)
    return {name: entry for name, entry in everything.items() if name in chosen or not (words or entry.named)}


def source_folder() -> pathlib.Path:
    """The repository that paths in PACKAGE are relative to."""
    return pathlib.Path(__file__).resolve().parents[3]
