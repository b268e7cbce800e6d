# SPDX-License-Identifier: Apache-2.0
"""python -m serve: see --help."""
from __future__ import annotations

import argparse
import datetime
import os
import pathlib
import shlex
import shutil
import sys

from peers import machine, page

from . import asked, peer, report, rows
from .process import Tools, say

RESULT = pathlib.Path("build/bench/serve.json")


def processors() -> tuple[int, int]:
    """One that serves, one that loads. ValueError: there is only one."""
    mine = sorted(os.sched_getaffinity(0))
    if len(mine) < 2:
        raise ValueError("two processors are needed: one serves, one loads")
    return mine[0], mine[1]


def data_of(options: argparse.Namespace) -> asked.Data:
    if options.base or options.queries:
        if not options.base or not options.queries:
            raise ValueError("--base and --queries go together")
        return asked.read(options.base, options.queries, options.rows)
    if options.quick:
        return asked.synthetic(options.rows or 3000, 32, 200)
    return asked.synthetic(options.rows or 115_659, 384, 2000)


def measure(options: argparse.Namespace) -> dict[str, object]:
    serve_on, load_on = processors()
    build = options.build.resolve()
    tools = Tools(build / "kith", build / "bench/serve/bin/load", build / "bench/serve/bin/library",
                  options.folder.resolve(), serve_on, load_on)
    for program in (tools.kith, tools.load, tools.library):
        if not program.exists():
            raise ValueError(f"{program} is not there: build it first")
    bench = rows.begin(tools, data_of(options), rows.QUICK if options.quick else rows.FULL)
    measures = {**rows.ROWS, "chroma": peer.measure}
    failed = {}
    for name in options.only or measures:
        say(f"measuring {name}")
        try:
            measures[name](bench)
        except (RuntimeError, OSError) as error:
            failed[name] = str(error)
            say(f"{name} failed: {error}")
    shutil.rmtree(bench.collection, ignore_errors=True)
    return {"data": bench.data.name, "command": command_line(options),
            "date": datetime.date.today().isoformat(), "machine": machine.describe(),
            "effort": vars(bench.effort), "values": bench.values, "curve": bench.curve, "failed": failed}


def command_line(options: argparse.Namespace) -> str:
    """The make command that repeats this, without the folders of its files."""
    words = ["make bench-serve"]
    if options.base:
        words += [f"BASE={shlex.quote(options.base.name)}", f"ASKED={shlex.quote(options.queries.name)}"]
    words += [f"ROWS={options.rows}"] if options.rows else []
    words += [f'ONLY="{" ".join(options.only)}"'] if options.only else []
    return " ".join(words + (["QUICK=yes"] if options.quick else []))


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m serve", description="Measure kith serve.")
    top.add_argument("--base", type=pathlib.Path, help="an .npy file of vectors (default: synthetic ones)")
    top.add_argument("--queries", type=pathlib.Path, help="another one; the first 2,000 are asked")
    top.add_argument("--rows", type=int, help="only the first vectors, or so many synthetic ones")
    top.add_argument("--only", nargs="*", choices=[*rows.ROWS, "chroma"], help="some rows")
    top.add_argument("--quick", action="store_true", help="a moment of everything: does it run?")
    top.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"), help="where the programs are")
    top.add_argument("--folder", type=pathlib.Path, default=RESULT.parent / "serve/work", help="for what is made")
    top.add_argument("--json", type=pathlib.Path, default=RESULT, help="the result (%(default)s), and .svg beside it")
    top.add_argument("--docs", type=pathlib.Path, metavar="PAGE",
                     help="measure nothing: write the table and the picture of the result into a Markdown page")
    return top


def main() -> int:
    return page.run(parser().parse_args(), "serve", measure, report)


if __name__ == "__main__":
    sys.exit(main())
