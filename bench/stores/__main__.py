# SPDX-License-Identifier: Apache-2.0
"""python -m stores VERB: see --help of each verb."""
from __future__ import annotations

import argparse
import json
import os
import pathlib
import shlex
import sys

from peers import install
from peers.__main__ import say

from . import drivers, picture, report, rows, runner

RESULT = pathlib.Path("build/bench/collections.json")


def run(options: argparse.Namespace) -> int:
    effort = rows.QUICK if options.quick else rows.Effort(states=options.states, state_seconds=options.state_seconds)
    how = runner.Options(rounds=1 if options.quick else options.rounds, cores=options.cores, large=options.large,
                         only=tuple(options.only or runner.NAMES), timeout=options.timeout, effort=effort)
    if not 1 <= options.cores <= len(os.sched_getaffinity(0)):
        raise ValueError(f"{options.cores} processors a store, and this process may use "
                         f"{len(os.sched_getaffinity(0))}")
    result = runner.measure(options.base, options.queries, options.rows, drivers.select(options.peers), how,
                            options.folder, command_line(options), say, install.reasons())
    runner.check(result)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    options.json.with_suffix(".svg").write_text(picture.draw(result), encoding="utf-8")
    print(report.text_table(result))
    say(f"{options.json}, and the picture beside it")
    return 0 if any(store["store"] == "kith" and store["status"] == "ok" for store in result["stores"]) else 1


def command_line(options: argparse.Namespace) -> str:
    """The make command that repeats this, without the folders of its files."""
    words = ["make bench-collections", f"BASE={shlex.quote(options.base.name)}",
             f"ASKED={shlex.quote(options.queries.name)}"]
    for name, given in (("PEERS", options.peers), ("ONLY", options.only)):
        if given:
            words.append(f'{name}="{" ".join(given)}"')
    for name, given in (("ROWS", options.rows), ("LARGE", options.large)):
        if given:
            words.append(f"{name}={given}")
    return " ".join([*words, f"CORES={options.cores}", f"ROUNDS={options.rounds}"])


def docs(options: argparse.Namespace) -> int:
    report.write_page(report.read(options.json), options.page)
    return 0


def show(_: argparse.Namespace) -> int:
    for name in drivers.STORES:
        module = drivers.module(name)
        print(f"{name:12} {module.KIND:7} {module.PACKAGE or '(Python)':32} {module.__doc__.splitlines()[0]}")
    return 0


def put(options: argparse.Namespace) -> int:
    names = [name for name in drivers.select(options.peers) if drivers.package(name)]
    # The index file is kith's own: one package, installed under kith's name.
    install.install(dict.fromkeys("kith" if name == "kith_index" else name for name in names), say, drivers.package)
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m stores", description="Measure a collection beside other stores.")
    verbs = top.add_subparsers(required=True, metavar="VERB")
    measure = verbs.add_parser("run", help="measure; write a table, JSON and a picture")
    measure.set_defaults(call=run)
    measure.add_argument("base", type=pathlib.Path, help="an .npy file of vectors; they are scaled to unit length")
    measure.add_argument("queries", type=pathlib.Path, help="another one; the first 1,000 are asked")
    measure.add_argument("--peers", nargs="*", default=[], help="stores (default: all; see `list`)")
    measure.add_argument("--rows", type=int, help="only the first vectors")
    measure.add_argument("--rounds", type=int, default=3)
    measure.add_argument("--cores", type=int, default=1, help="processors of each store (%(default)s)")
    measure.add_argument("--only", nargs="*", choices=runner.NAMES, help="some rows, and what they stand on")
    measure.add_argument("--large", type=int, help="also open a store of so many synthetic vectors")
    measure.add_argument("--states", type=int, default=100_000, help="random states that are asked for short answers")
    measure.add_argument("--state-seconds", type=float, default=300, help="at most so long, peers a tenth")
    measure.add_argument("--timeout", type=float, default=3600, help="seconds for one row of one store")
    measure.add_argument("--quick", action="store_true", help="a moment of everything: does it run?")
    measure.add_argument("--folder", type=pathlib.Path, default=RESULT.parent / "stores",
                         help="where stores are while they are measured, and logs (%(default)s)")
    page = verbs.add_parser("docs", help="write the table and the picture of a result into a Markdown page")
    page.set_defaults(call=docs)
    page.add_argument("--page", type=pathlib.Path, default=pathlib.Path("docs/benchmarks.md"))
    for one in (measure, page):
        one.add_argument("--json", type=pathlib.Path, default=RESULT, help="the result (%(default)s)")
    lists = verbs.add_parser("list", help="show the stores")
    lists.set_defaults(call=show)
    adds = verbs.add_parser("install", help="install stores into this Python environment")
    adds.set_defaults(call=put)
    adds.add_argument("peers", nargs="*")
    return top


def main() -> int:
    options = parser().parse_args()
    try:
        return options.call(options)
    except (ValueError, OSError) as error:
        print(f"stores: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
