# SPDX-License-Identifier: Apache-2.0
"""python -m peers VERB: see --help of each verb."""
from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import shlex
import sys
import time
from typing import Any

from . import choosing, datasets, filters, filters_report, install, libraries, marks, report, runner

FOLDER = pathlib.Path("build/bench/peers")


def say(text: str) -> None:
    print(time.strftime("%H:%M:%S ") + text, file=sys.stderr, flush=True)


def run(options: argparse.Namespace) -> int:
    how = runner.Options(k=options.k, rounds=options.rounds, single=options.single, calls=tuple(options.calls),
                         build_threads=options.build_threads, search_threads=options.search_threads,
                         timeout=options.timeout,
                         alternate={"auto": None, "yes": True, "no": False}[options.alternate])
    for text in options.data:
        data = datasets.load(text, options.folder / "data", options.queries, options.rows)
        if os.environ.get("KITH_CPU"):  # results of another tier stand beside those of the machine's own
            data = dataclasses.replace(data, name=f"{data.name}-{os.environ['KITH_CPU'].replace(',', '')}")
        own = choosing.entries_for(text) if options.make == "bench-choosing" else ()
        entries = libraries.select(options.peers or own)
        result = runner.measure(data, entries, how, options.folder, command_line(options, text), say, install.reasons())
        path = options.folder / "results" / f"{data.name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n")
        report.pictures(result, options.folder / "images")
        print(report.section(result, None))
        say(f"{path} and pictures in {options.folder / 'images'}")
    return 0


def run_filters(options: argparse.Namespace) -> int:
    how = filters.Options(k=options.k, rounds=options.rounds, filters=options.filters, queries=options.queries,
                          shares=tuple(options.shares), build_threads=options.build_threads,
                          search_threads=options.search_threads, timeout=options.timeout)
    for text in options.data:
        data = datasets.load(text, options.folder / "data", None, options.rows)
        result = filters.measure(data, libraries.select(options.peers), how, options.folder,
                                 command_line(options, text), say)
        path = options.folder / "filters" / f"{data.name}.json"
        path.write_text(json.dumps(result, indent=1) + "\n")
        print(filters_report.section(result))
        say(str(path))
    return 0


def command_line(options: argparse.Namespace, text: str) -> str:
    """The make command that repeats this."""
    tier = [f"KITH_CPU={shlex.quote(os.environ['KITH_CPU'])}"] if os.environ.get("KITH_CPU") else []
    words = [*tier, f"make {options.make}", f"DATA={shlex.quote(without_folders(text))}"]
    if options.peers:
        words.append(f'PEERS="{" ".join(options.peers)}"')
    words += [f"QUERIES={options.queries}", f"K={options.k}", f"ROUNDS={options.rounds}"]
    if options.rows:
        words.append(f"ROWS={options.rows}")
    return " ".join(words)


def without_folders(text: str) -> str:
    """A data set's text without the folders of its files: whoever repeats it has others."""
    return ":".join(pathlib.PurePath(word).name if "/" in word else word for word in text.split(":"))


def docs(options: argparse.Namespace) -> int:
    plain, filtered = read(options, "results"), read(options, "filters")
    if options.choosing and plain:
        choosing.write_page(plain, options.page)
        return 0
    if not plain + filtered:
        raise datasets.DataError(f"{options.folder / 'results'}: no results there; make bench-peers makes them")
    report.write_page(plain, options.page, options.page.parent / "images")
    filters_report.write_page(filtered, options.page)
    marks.write_page(*({r["data"]["name"]: r for r in some} for some in (plain, filtered)), options.page)
    return 0


def read(options: argparse.Namespace, kind: str) -> list[Any]:
    """The results of a kind, of the data sets that were named, or of all."""
    results = [json.loads(path.read_text()) for path in sorted((options.folder / kind).glob("*.json"))]
    return [result for result in results if not options.data or result["data"]["name"] in options.data]


def show(_: argparse.Namespace) -> int:
    for entry in libraries.entries().values():
        print(f"{entry.library:10} {entry.name:14} {entry.package:12} {len(entry.search)} settings: "
              f"{', '.join(entry.label(number) for number in range(len(entry.search)))}")
    return 0


def config(options: argparse.Namespace) -> int:
    print(report.ann_benchmarks(options.library))
    return 0


def put(options: argparse.Namespace) -> int:
    entries = libraries.select(options.peers)
    install.install([name for name in libraries.LIBRARIES if any(e.library == name for e in entries.values())], say)
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m peers", description="Measure kith beside other libraries.")
    verbs = top.add_subparsers(required=True, metavar="VERB")
    measure = verbs.add_parser("run", help="measure, and write JSON, tables and pictures", epilog=datasets.__doc__,
                               formatter_class=argparse.RawDescriptionHelpFormatter)
    measure.set_defaults(call=run, make="bench-peers")
    measure.add_argument("--choosing", action="store_const", dest="make", const="bench-choosing",
                         help="kith's own types of indexes, which docs/choosing.md shows")
    among = verbs.add_parser("filters", help="measure searches that may find some of the rows", epilog=filters.__doc__,
                             formatter_class=argparse.RawDescriptionHelpFormatter)
    among.set_defaults(call=run_filters, make="bench-filters")
    among.add_argument("--filters", type=int, default=3, help="filters of each kind and share (%(default)s)")
    among.add_argument("--shares", type=float, nargs="+", default=filters.SHARES, help="of rows that a filter leaves")
    for one, queries, rounds in ((measure, 2000, 3), (among, 60, 2)):
        one.add_argument("--data", action="append", required=True, help="a data set; may be given again")
        one.add_argument("--peers", nargs="*", default=[], help="libraries or entries (default: all; see `list`)")
        one.add_argument("--queries", type=int, default=queries, help="(%(default)s)")
        one.add_argument("--rows", type=int, help="only the first rows of the base")
        one.add_argument("-k", type=int, default=10)
        one.add_argument("--rounds", type=int, default=rounds)
        one.add_argument("--build-threads", type=int, default=2)
        one.add_argument("--search-threads", type=int, default=1)
        one.add_argument("--timeout", type=float, default=3600, help="seconds for one build or one setting")
    measure.add_argument("--single", type=int, default=500, help="queries sent one a call (%(default)s)")
    measure.add_argument("--calls", type=int, nargs="*", default=[4, 16, 64],
                         help="the same, so many a call (4 16 64)")
    measure.add_argument("--alternate", choices=("auto", "yes", "no"), default="auto",
                         help="hold all indexes at once and take turns (auto: if memory allows)")
    page = verbs.add_parser("docs", help="write tables and pictures of the results into a Markdown page")
    page.set_defaults(call=docs)
    page.add_argument("--page", type=pathlib.Path, default=pathlib.Path("docs/benchmarks.md"))
    page.add_argument("--choosing", action="store_true", help="as of run")
    page.add_argument("data", nargs="*", help="names of data sets (default: all that have results)")
    for one in (measure, among, page):
        one.add_argument("--folder", type=pathlib.Path, default=FOLDER, help="where data and results are (%(default)s)")
    lists = verbs.add_parser("list", help="show libraries, entries and settings")
    lists.set_defaults(call=show)
    ann = verbs.add_parser("config", help="print a library's config.yml for ann-benchmarks")
    ann.set_defaults(call=config)
    ann.add_argument("library", choices=libraries.LIBRARIES)
    adds = verbs.add_parser("install", help="install libraries into this Python environment")
    adds.set_defaults(call=put)
    adds.add_argument("peers", nargs="*")
    return top


def main() -> int:
    options = parser().parse_args()
    try:
        return options.call(options)
    except (datasets.DataError, ValueError, OSError) as error:
        print(f"peers: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
