#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What Python costs: Index.search held against the same call made from C, and what importing the package adds.

    make python && build/venv/bin/python bench/python_overhead.py [--json build/bench/python.json]

The C side is `kith._kith.time_search`: a loop around kith_search() with the options and the scratch that Index.search
uses, over the same index, queries and threads. Both take turns, and the best of all rounds counts. Importing is
measured in fresh interpreters: `import numpy, kith` against `import numpy`, also in turn, with what Python has compiled
before.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

import kith

K = 10
MARKS = {"single_overhead_us": 2.0, "batch_share": 0.97, "import_ms": 30.0}


def best_of(rounds, measures):
    """The least time of each of several functions that take turns, in seconds."""
    best = [float("inf")] * len(measures)
    for _ in range(rounds):
        for at, measure in enumerate(measures):
            best[at] = min(best[at], measure())
    return best


def time_python(index, queries, calls, **options):
    search = index.search
    start = time.perf_counter()
    for query in queries[:calls]:
        search(query, K, **options)
    return (time.perf_counter() - start) / calls


def single(rounds, rows, dim):
    """Microseconds a call from C and from Python, one query each."""
    rng = np.random.default_rng(1)
    index = kith.Index.build(rng.standard_normal((rows, dim), dtype=np.float32), progress=False)
    calls = 100  # few, and many rounds: short measurements fit between the disturbances of a busy machine
    queries = rng.standard_normal((calls, dim), dtype=np.float32)
    one_by_one = list(queries)
    index.search(queries[0], K)
    from_c, from_python, empty = best_of(rounds * 20, [
        lambda: kith._kith.time_search(index, queries, K, 1, 1, 1)[0] * 1e-9 / calls,
        lambda: time_python(index, one_by_one, calls),
        lambda: time_loop(one_by_one, calls),
    ])
    return {"rows": rows, "dim": dim, "c_us": from_c * 1e6, "python_us": (from_python - empty) * 1e6,
            "overhead_us": (from_python - empty - from_c) * 1e6}


def time_loop(queries, calls):
    """What the loop itself costs, so that it is not taken for the search's."""
    start = time.perf_counter()
    for _ in queries[:calls]:
        pass
    return (time.perf_counter() - start) / calls


def batch(rounds, rows, dim, count, threads):
    """Queries a second, all in one call."""
    rng = np.random.default_rng(2)
    index = kith.Index.build(rng.standard_normal((rows, dim), dtype=np.float32), progress=False)
    queries = rng.standard_normal((count, dim), dtype=np.float32)

    def from_python():
        start = time.perf_counter()
        index.search(queries, K, threads=threads)
        return time.perf_counter() - start

    measures = [lambda: kith._kith.time_search(index, queries, K, count, threads, 1)[0] * 1e-9, from_python]
    best_of(1, measures)
    in_c, in_python = best_of(rounds, measures)
    return {"rows": rows, "dim": dim, "queries": count, "threads": threads, "c_qps": count / in_c,
            "python_qps": count / in_python, "share": in_c / in_python}


def imports(rounds):
    """Milliseconds that a fresh interpreter takes for numpy, and for numpy and kith."""
    def start(code):
        script = f"import time; start = time.perf_counter(); {code}; print(time.perf_counter() - start)"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True,
                              env={key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"})
        return float(done.stdout)

    measures = [lambda: start("import numpy"), lambda: start("import numpy, kith")]
    best_of(1, measures)
    alone, both = best_of(rounds, measures)
    return {"numpy_ms": alone * 1e3, "numpy_and_kith_ms": both * 1e3, "added_ms": (both - alone) * 1e3}


def table(results):
    ok = {True: "ok", False: "MISSED"}
    lines = ["| what | C | Python | difference | mark | |", "|---|---|---|---|---|---|"]
    for one in results["single"]:
        lines.append(f"| one query, k={K}, {one['rows']:,} x {one['dim']} "
                     f"| {one['c_us']:.2f} us | {one['python_us']:.2f} us | {one['overhead_us']:.2f} us | <= {MARKS['single_overhead_us']} us "
                     f"| {ok[one['overhead_us'] <= MARKS['single_overhead_us']]} |")
    for one in results["batch"]:
        lines.append(f"| {one['queries']:,} queries, {one['rows']:,} x {one['dim']}, {one['threads']} threads "
                     f"| {one['c_qps']:,.0f}/s | {one['python_qps']:,.0f}/s | {one['share']:.3f}x "
                     f"| >= {MARKS['batch_share']}x | {ok[one['share'] >= MARKS['batch_share']]} |")
    one = results["import"]
    lines.append(f"| import, beside NumPy's {one['numpy_ms']:.0f} ms | | {one['numpy_and_kith_ms']:.0f} ms "
                 f"| {one['added_ms']:.1f} ms | <= {MARKS['import_ms']} ms "
                 f"| {ok[one['added_ms'] <= MARKS['import_ms']]} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="times that each is measured (15)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    threads = kith.get_threads()
    results = {
        "version": kith.version, "numpy": np.__version__, "python": sys.version.split()[0], "cpu": kith.cpu(),
        "marks": MARKS,
        "single": [single(options.rounds, rows, dim) for rows, dim in ((100, 32), (2000, 128))],
        "batch": [batch(options.rounds * 8, 20_000, 128, count, number)
                  for count, number in ((64, 1), (500, 1), (500, threads))],
        "import": imports(options.rounds),
    }
    print(table(results))
    if options.json:
        folder = os.path.dirname(os.path.abspath(options.json))
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as file:
            json.dump(results, file, indent=1)
        os.replace(file.name, options.json)


if __name__ == "__main__":
    main()
