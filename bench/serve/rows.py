# SPDX-License-Identifier: Apache-2.0
"""The rows: each is a function that measures one thing on a running server, and puts values under names."""
from __future__ import annotations

import dataclasses
import pathlib
import subprocess
from typing import Any, Callable

import numpy as np

from peers import truth

from . import asked, process
from .process import Kith, Tools, load, run_json, say

BODIES = ("raw", "json")
CLIENTS = (1, 16, 64)
P99_MS = 10.0


@dataclasses.dataclass(frozen=True)
class Effort:
    seconds: float  # of each measurement
    rounds: int  # of those that are compared: they take turns
    probes: int  # rates that are tried
    idle: int
    truths: int  # queries whose recall is looked at


FULL = Effort(seconds=5, rounds=3, probes=8, idle=10_000, truths=1000)
QUICK = Effort(seconds=0.3, rounds=1, probes=2, idle=200, truths=50)


@dataclasses.dataclass
class Bench:
    tools: Tools
    data: asked.Data
    collection: pathlib.Path
    effort: Effort
    requests: dict[str, pathlib.Path]  # by body
    values: dict[str, float] = dataclasses.field(default_factory=dict)
    curve: list[dict[str, float]] = dataclasses.field(default_factory=list)

    def load(self, server: Kith, body: str, connections: int, **more: Any) -> process.Loaded:
        more.setdefault("seconds", self.effort.seconds)
        return load(self.tools, server, server.port, self.requests[body], connections, **more)


def make_collection(tools: Tools, data: asked.Data) -> pathlib.Path:
    """Loaded, merged and measured: plans for a target recall are known when it is served."""
    folder = tools.folder / "bench"
    vectors = tools.folder / "base.npy"
    subprocess.run(["rm", "-rf", str(folder)], check=True)
    np.save(vectors, data.base)
    for words in (["create", folder, "--dim", data.base.shape[1], "--metric", "ip"], ["load", folder, vectors],
                  ["compact", folder]):
        done = subprocess.run([str(word) for word in (tools.kith, *words, "--quiet")], capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            raise RuntimeError(f"kith {words[0]}: {done.stderr.strip()}")
    vectors.unlink()
    return folder


def begin(tools: Tools, data: asked.Data, effort: Effort) -> Bench:
    tools.folder.mkdir(parents=True, exist_ok=True)
    say(f"making a collection: {data.name}")
    collection = make_collection(tools, data)
    name = collection.name
    requests = {"raw": asked.write(tools.folder / "raw.requests", asked.as_raw(name, data.queries)),
                "json": asked.write(tools.folder / "json.requests", asked.as_json(name, data.queries))}
    (tools.folder / "queries.f32").write_bytes(data.queries.tobytes())
    return Bench(tools, data, collection, effort, requests)


# ---- Rows


def recall(bench: Bench) -> None:
    """Of answers that came over HTTP."""
    count = min(bench.effort.truths, len(bench.data.queries))
    queries = bench.data.queries[:count]
    with Kith(bench.tools, bench.collection) as server:
        answers = [server.ask(request)["results"][0] for request in asked.as_json(server.name, queries)]
    ids = np.array([[hit["id"] for hit in answer] for answer in answers])
    limit = truth.exact(bench.data.base, queries, "ip", asked.K)[1]
    bench.values["recall"] = truth.recall(ids, bench.data.base, queries, limit, "ip")


def closed(bench: Bench) -> None:
    """Clients that ask again when they have their answer."""
    with Kith(bench.tools, bench.collection) as server:
        for _ in range(bench.effort.rounds):
            for body in BODIES:
                for clients in CLIENTS:
                    seen = bench.load(server, body, clients)
                    must_be_whole(seen, f"{clients} clients, {body}")
                    name = f"closed {body} {clients}"
                    if seen.rate > bench.values.get(f"{name}.rate", 0):
                        bench.values |= {f"{name}.rate": seen.rate, f"{name}.p50_ms": seen.ms("p50"),
                                         f"{name}.p99_ms": seen.ms("p99"), f"{name}.cpu_us": seen.cpu_us}
    for body in BODIES:
        bench.values[f"closed {body}.gain"] = (bench.values[f"closed {body} 64.rate"] /
                                               bench.values[f"closed {body} 1.rate"])


def must_be_whole(seen: process.Loaded, what: str, late: bool = False) -> None:
    """Every request was answered by 200 or 503, or, where that may be, by 504."""
    told = {name: seen.seen[name] for name in ("others", "broken", "lost")}
    if not late:
        told["late"] = seen.seen["late"]
    if any(told.values()) or not seen.seen["ok"]:
        raise RuntimeError(f"{what}: {seen.seen['ok']} answers, {told}, status {seen.seen['other_status']}")


def by_wrk(bench: Bench) -> None:
    """The same from a loader that is not ours."""
    with Kith(bench.tools, bench.collection) as server:
        for body in BODIES:
            for _ in range(bench.effort.rounds):
                seen = process.wrk(bench.tools, server, server.port, bench.requests[body], 64, bench.effort.seconds)
                if seen is None:
                    return
                if seen["failed"]:
                    raise RuntimeError(f"wrk: {seen['failed']} of {seen['all']} failed")
                if seen["rate"] > bench.values.get(f"wrk {body}.rate", 0):
                    bench.values |= {f"wrk {body}.rate": seen["rate"], f"wrk {body}.p99_ms": seen["p99_us"] / 1e3}


def overhead(bench: Bench) -> None:
    """One client beside the library in a process of its own, taking turns: what HTTP adds to a query, as the client
    sees it (with its own part of the way), and of the processor that serves."""
    library: list[dict[str, float]] = []
    served: dict[str, list[process.Loaded]] = {body: [] for body in BODIES}
    with Kith(bench.tools, bench.collection) as server:
        for _ in range(bench.effort.rounds):
            library.append(run_json(process.pinned(bench.tools.serve_on, [
                bench.tools.library, bench.collection, bench.tools.folder / "queries.f32", len(bench.data.queries),
                asked.K, asked.TARGET, bench.effort.seconds]), bench.effort.seconds + 60))
            for body in BODIES:
                served[body].append(bench.load(server, body, 1))
    p50, cpu = (min(one[name] for one in library) for name in ("p50_us", "cpu_us"))
    bench.values |= {"library.rate": max(one["queries_per_s"] for one in library), "library.p50_us": p50,
                     "library.cpu_us": cpu}
    for body, seen in served.items():
        bench.values |= {f"overhead {body}.p50_us": min(one.ms("p50") * 1e3 for one in seen) - p50,
                         f"overhead {body}.cpu_us": min(one.cpu_us for one in seen) - cpu}


def open_loop(bench: Bench) -> None:
    """Requests at a constant rate: latency against load, and the highest rate with p99 < 10 ms, by halving what is
    between one that is kept and one that is not."""
    with Kith(bench.tools, bench.collection) as server:
        most = max(bench.load(server, "raw", 64).rate for _ in range(bench.effort.rounds))
        low, high = 0.0, 1.3 * most
        for share in (0.1, 0.3, 0.5, 0.7):
            if point(bench, server, share * most)["p99_ms"] < P99_MS:
                low = max(low, share * most)
            else:
                high = min(high, share * most)
        for _ in range(bench.effort.probes):
            rate = (low + high) / 2
            found = point(bench, server, rate)
            if found["p99_ms"] < P99_MS and found["kept"]:
                low = rate
            else:
                high = rate
        if most > 10_000:
            bench.values["open 10,000/s.p99_ms"] = point(bench, server, 10_000)["p99_ms"]
    bench.values["open.rate"] = low
    bench.curve.sort(key=lambda one: one["offered"])


def point(bench: Bench, server: Kith, rate: float) -> dict[str, float]:
    seen = bench.load(server, "raw", 256, rate=max(1.0, rate))
    found = {"offered": rate, "rate": seen.rate, "kept": float(seen.rate > 0.98 * rate and not seen.seen["never_sent"]),
             **{f"{name}_ms": seen.ms(name) for name in ("p50", "p90", "p99", "p999")}}
    bench.curve.append(found)
    return found


def idle(bench: Bench) -> None:
    """The same load with and without many connections that say nothing, taking turns."""
    found: dict[int, list[float]] = {0: [], bench.effort.idle: []}
    with Kith(bench.tools, bench.collection, "--connections-max", bench.effort.idle + 1000) as server:
        rate = 0.5 * bench.load(server, "raw", 64).rate
        for _ in range(max(2, bench.effort.rounds)):
            for count, p99 in found.items():
                seen = bench.load(server, "raw", 64, rate=rate, idle=count)
                must_be_whole(seen, f"{count} idle connections")
                if seen.seen["idle_closed"]:
                    raise RuntimeError(f"{seen.seen['idle_closed']} of {count} idle connections were closed")
                p99.append(seen.ms("p99"))
        bench.values["idle.memory_mb"] = server.memory_bytes() / 1e6
    alone, beside = (float(np.median(p99)) for p99 in found.values())
    bench.values |= {"idle.p99_alone_ms": alone, "idle.p99_ms": beside, "idle.growth": beside / alone}


def overload(bench: Bench) -> None:
    """Twice as many requests as can be answered, each of which is worth something for 50 ms: how many are answered,
    beside what is possible, and how soon the others are told."""
    path = asked.write(bench.tools.folder / "urgent.requests",
                       asked.as_raw(bench.collection.name, bench.data.queries, timeout_ms=50))
    goodput, told, late = [], [], []
    with Kith(bench.tools, bench.collection) as server:
        for _ in range(bench.effort.rounds):
            most = bench.load(server, "raw", 64).rate
            seen = load(bench.tools, server, server.port, path, 2048, bench.effort.seconds, rate=2 * most)
            must_be_whole(seen, "twice the load", late=True)
            if seen.seen["refused_without_retry_after"]:
                raise RuntimeError("a 503 came without Retry-After")
            goodput.append(seen.rate / most)
            told.append(seen.seen["refusals"])
            late.append(seen.seen["late"] / seen.seen["due"])
    best = int(np.argmax(goodput))
    bench.values |= {"overload.goodput": goodput[best], "overload.refused_p50_ms": told[best]["p50_us"] / 1e3,
                     "overload.refused_p99_ms": told[best]["p99_us"] / 1e3, "overload.late": late[best]}


ROWS: dict[str, Callable[[Bench], None]] = {
    "recall": recall, "closed": closed, "wrk": by_wrk, "overhead": overhead, "open": open_loop, "idle": idle,
    "overload": overload}
