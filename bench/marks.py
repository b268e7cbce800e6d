#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Hold kith's exact search against Faiss's flat index in one run, and write the table.

    python3 -m venv .venv && .venv/bin/pip install numpy faiss-cpu
    .venv/bin/python bench/marks.py --kith build/kith --out build/bench/marks.json \\
        --set "words:base.npy:queries.npy:ip" --set "fashion-mnist::l2" [--docs docs/benchmarks.md]

A set is NAME:BASE.npy:QUERIES.npy:METRIC (float32 or float16 rows; converted to float32 first), or NAME::METRIC where
NAME is fashion-mnist, read from Debian's package dataset-fashion-mnist. Every figure is the best of --rounds, kith's
tiers and Faiss taking turns, one thread each; the build uses two. With --docs the tables replace what lies between the
markers of that file. --from takes an earlier result instead of measuring.
"""
import argparse
import datetime
import gzip
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np

K = 10
FASHION = pathlib.Path("/usr/share/datasets/fashion-mnist")
MARK = "<!-- {} of the tables of bench/marks.py -->"


def fashion(part):
    with gzip.open(FASHION / f"{part}-images-idx3-ubyte.gz") as file:
        data = file.read()
    return np.frombuffer(data, np.uint8, offset=16).reshape(-1, 784).astype(np.float32)


def load(text, folder, queries):
    """A set's name, metric and two .npy files of float32."""
    name, *rest = text.split(":")
    metric = rest[-1]
    if name == "fashion-mnist":
        base, query = fashion("train"), fashion("t10k")
    else:
        base, query = (np.load(path).astype(np.float32) for path in rest[:2])
    query = query[:queries]
    paths = folder / f"{name}.npy", folder / f"{name}-queries.npy"
    np.save(paths[0], base)
    np.save(paths[1], query)
    return name, metric, base, query, paths


def faiss_rates(base, query, metric, single):
    """Queries a second in one call, and one a call; and the answers."""
    import faiss
    faiss.omp_set_num_threads(1)
    index = (faiss.IndexFlatIP if metric == "ip" else faiss.IndexFlatL2)(base.shape[1])
    index.add(base)
    index.search(query[:64], K)
    start = time.perf_counter()
    found = index.search(query, K)[1]
    batch = len(query) / (time.perf_counter() - start)
    start = time.perf_counter()
    for row in range(single):
        index.search(query[row:row + 1], K)
    return batch, single / (time.perf_counter() - start), found


def plain_write(path, size):
    """Seconds to write and sync a new file of this size: what the disk and fresh memory allow."""
    block = bytes(4 << 20)
    start = time.perf_counter()
    with open(path, "wb", buffering=0) as file:
        for at in range(0, size, len(block)):
            file.write(block[:min(len(block), size - at)])
        os.fdatasync(file.fileno())
    return time.perf_counter() - start


def run(kith, *words, tier=None):
    env = dict(os.environ)
    env.pop("KITH_CPU", None)
    if tier:
        env["KITH_CPU"] = tier
    result = subprocess.run([kith, *map(str, words)], env=env, stdout=subprocess.PIPE, text=True, check=True)
    return result.stdout


def kith_rates(kith, index, queries, batch, tier):
    out = json.loads(run(kith, "bench", index, queries, "-k", K, "--batch", f"1,{batch}", "--threads", "1", "--seconds",
                         "1", "--truth", "0", "--json", "-", tier=tier))
    return {r["batch"]: r["queries_per_second"] for r in out["runs"]} | {"first_us": out["first_touch_ns"] / 1e3}


def measure(kith, text, folder, options):
    name, metric, base, query, (base_path, query_path) = load(text, folder, options.queries)
    index = folder / f"{name}.kith"
    raw = base.size * 4
    row = {"set": name, "metric": metric, "n": len(base), "dim": base.shape[1], "queries": len(query), "k": K,
           "raw_bytes": raw, "faiss": {"batch": 0, "single": 0}, "kith": {}}
    # Every build and every plain write makes a file of its own, kept until the end: a file that takes the place of
    # another gets its pages, warm, and what is measured then depends on what ran before.
    builds, writes = [], []
    for number in range(options.rounds):
        path = folder / f"{name}-{number}.kith"
        builds.append(json.loads(run(kith, "build", base_path, "-o", path, "--metric", metric, "--threads", 2, "--json")))
        writes.append(plain_write(folder / f"{name}-{number}.plain", path.stat().st_size))
    row["build"] = min(builds, key=lambda r: r["total_ns"] - r["train_ns"])
    row["plain_write_s"] = min(writes)
    for number in range(options.rounds):
        (folder / f"{name}-{number}.kith").replace(index)
        (folder / f"{name}-{number}.plain").unlink()
    row["file_ratio"] = index.stat().st_size / raw
    bare = folder / f"{name}-bare.kith"
    run(kith, "build", base_path, "-o", bare, "--metric", metric, "--originals", "none", "--first-level", "none")
    row["file_ratio_without_originals"] = bare.stat().st_size / raw
    plain = folder / f"{name}-plain.kith"
    run(kith, "build", base_path, "-o", plain, "--metric", metric, "--first-level", "none")
    row["file_ratio_without_first_level"] = plain.stat().st_size / raw
    for round_number in range(options.rounds):
        for tier in options.tiers:
            rates = kith_rates(kith, index, query_path, len(query), tier)
            best = row["kith"].setdefault(tier, {"batch": 0, "single": 0})
            best["batch"] = max(best["batch"], rates[len(query)])
            best["single"] = max(best["single"], rates[1])
            best["first_us"] = min(best.get("first_us", rates["first_us"]), rates["first_us"])
        batch, single, found = faiss_rates(base, query, metric, options.single)
        row["faiss"]["batch"] = max(row["faiss"]["batch"], batch)
        row["faiss"]["single"] = max(row["faiss"]["single"], single)
        print(f"{name}: round {round_number + 1} of {options.rounds}", file=sys.stderr)
    answers = folder / "answers.npy"
    run(kith, "search", index, query_path, "-k", K, "-o", answers)
    ours = np.load(answers)
    row["same_ids_as_faiss"] = float(np.mean([len(np.intersect1d(a, b)) for a, b in zip(ours, found)]) / K)
    first = []
    for _ in range(9):
        start = time.perf_counter()
        run(kith, "search", index, query_path, "--rows", 1, "-k", K, "--json")
        first.append(time.perf_counter() - start)
    row["first_answer_ms"] = min(first) * 1e3
    row["open_ms"] = json.loads(run(kith, "bench", index, query_path, "--batch", 1, "--threads", 1, "--seconds", "0.1",
                                    "--truth", 0, "--json", "-"))["open_ns"] / 1e6
    return row


def machine(kith):
    import faiss
    cpu = json.loads(run(kith, "cpu", "--json"))
    return {"date": datetime.date.today().isoformat(), "processor": cpu["model"], "cores": cpu["cores"],
            "tier": cpu["tier_found"], "l2_bytes": cpu["l2_bytes"], "l3_bytes": cpu["l3_bytes"],
            "kernel": platform.release().split("-")[0], "faiss": faiss.__version__, "numpy": np.__version__,
            "kith": run(kith, "--version").split()[-1]}


def ratio(value):
    return f"{value:.1f}x"


def tables(result):
    m, lines = result["machine"], []
    lines.append(f"Measured {m['date']} on {m['cores']} cores of \"{m['processor']}\" (best tier {m['tier']}, L2 "
                 f"{m['l2_bytes'] >> 10} KiB, L3 {m['l3_bytes'] >> 20} MiB), kith {m['kith']}, Faiss {m['faiss']}, "
                 f"NumPy {m['numpy']}. One thread searches, two build; k = {K}; best of {result['rounds']} rounds, taking turns.")
    lines += ["", "| set | what | Faiss flat | kith | ratio |", "|---|---|---|---|---|"]
    for row in result["sets"]:
        head = f"{row['set']} ({row['n']:,} x {row['dim']}, {row['metric']})"
        for what, words in (("batch", f"{row['queries']:,} queries in one call"), ("single", "one query a call")):
            for tier, rates in row["kith"].items():
                lines.append(f"| {head} | {words}, {tier} | {row['faiss'][what]:,.0f}/s | {rates[what]:,.0f}/s | "
                             f"**{ratio(rates[what] / row['faiss'][what])}** |")
    lines += ["", "| set | first touch of what searches read, us a query |", "|---|---|"]
    for row in result["sets"]:
        lines.append(f"| {row['set']} | {min(rates['first_us'] for rates in row['kith'].values()):,.0f} |")
    lines += ["", "| set | build, GB/s of input (apart from training) | of it coding, two threads | plain write of as many bytes | training | file / raw f32 | without first level | "
              "without originals | open | process to first answer | ids shared with Faiss |",
              "|---|---|---|---|---|---|---|---|---|---|---|"]
    for row in result["sets"]:
        b = row["build"]
        rate = row["raw_bytes"] / (b["total_ns"] - b["train_ns"])
        lines.append(f"| {row['set']} | {rate:.2f} | {2 * row['raw_bytes'] / b['code_ns']:.2f} | "
                     f"{row['raw_bytes'] / row['plain_write_s'] / 1e9:.2f} | {b['train_ns'] / 1e6:.0f} ms | {row['file_ratio']:.3f} | "
                     f"{row['file_ratio_without_first_level']:.3f} | {row['file_ratio_without_originals']:.3f} | "
                     f"{row['open_ms']:.2f} ms | {row['first_answer_ms']:.1f} ms | {row['same_ids_as_faiss']:.5f} |")
    return "\n".join(lines)


def measure_all(options):
    cpu = json.loads(run(options.kith, "cpu", "--json"))
    order, found = ["avx2", "avx512", "amx"], cpu["tier_found"]
    tiers = order[:order.index(found) + 1] if found in order else [found]
    options.tiers = options.tiers.split() or ["avx2,-avxvnni"] * ("avxvnni" in cpu["features"]) + tiers
    folder = pathlib.Path(options.folder or tempfile.mkdtemp(prefix="kith-marks-"))
    folder.mkdir(exist_ok=True)
    try:
        result = {"machine": machine(options.kith), "rounds": options.rounds,
                  "sets": [measure(options.kith, text, folder, options) for text in options.sets]}
    finally:
        if not options.folder:
            shutil.rmtree(folder)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kith", default="build/kith")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--set", action="append", dest="sets")
    source.add_argument("--from", dest="result", help="JSON that --out wrote")
    parser.add_argument("--tiers", default="", help="settings of KITH_CPU, separated by spaces; default: all from avx2 up")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--single", type=int, default=200, help="queries that Faiss gets one a call")
    parser.add_argument("--folder", help="where the files are put (default: a temporary folder)")
    parser.add_argument("--out"), parser.add_argument("--docs")
    options = parser.parse_args()
    result = json.loads(pathlib.Path(options.result).read_text()) if options.result else measure_all(options)
    text = tables(result)
    print(text)
    if options.out:
        pathlib.Path(options.out).write_text(json.dumps(result, indent=1) + "\n")
    if options.docs:
        page = pathlib.Path(options.docs)
        begin, end = MARK.format("begin"), MARK.format("end")
        before, _, rest = page.read_text().partition(begin)
        page.write_text(f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}")


if __name__ == "__main__":
    main()
