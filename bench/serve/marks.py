# SPDX-License-Identifier: Apache-2.0
"""What is shown, and what is asked of it."""
from __future__ import annotations

import dataclasses
from typing import Callable, Optional

Values = dict[str, float]


@dataclasses.dataclass(frozen=True)
class Row:
    title: str
    name: str  # of the value
    unit: str
    mark: str = ""  # in words
    reached: Optional[Callable[[float], bool]] = None
    of: Optional[Callable[[Values], Optional[float]]] = None  # how it follows from others

    def value(self, values: Values) -> Optional[float]:
        return self.of(values) if self.of else values.get(self.name)


def least(limit: float) -> Callable[[float], bool]:
    return lambda value: value >= limit


def most(limit: float) -> Callable[[float], bool]:
    return lambda value: value <= limit


def beside_chroma(clients: int) -> Callable[[Values], Optional[float]]:
    def share(values: Values) -> Optional[float]:
        ours, theirs = (values.get(f"{who} {clients}.cpu_us") for who in ("closed raw", "chroma"))
        return ours / theirs if ours is not None and theirs else None
    return share


def closed(body: str) -> list[Row]:
    rows = []
    for clients in (1, 16, 64):
        name, who = f"closed {body} {clients}", f"{clients} client{'s' * (clients > 1)}, {body}"
        rows += [Row(who, f"{name}.rate", "/s"), Row(f"{who}: p50", f"{name}.p50_ms", "ms"),
                 Row(f"{who}: p99", f"{name}.p99_ms", "ms"), Row(f"{who}: server time a query", f"{name}.cpu_us", "us")]
    return rows + [Row(f"64 clients against one, {body}", f"closed {body}.gain", "x", ">= 5x", least(5))]


PARTS: list[tuple[str, list[Row]]] = [
    ("Answers", [Row("recall at a target of .95", "recall", "", ">= .95", least(0.95))]),
    ("Clients that ask again at once", closed("raw") + closed("json")),
    ("wrk, 64 connections", [
        Row("raw f32 bodies", "wrk raw.rate", "/s", ">= 30,000/s", least(30_000)),
        Row("JSON bodies", "wrk json.rate", "/s", ">= 15,000/s", least(15_000)),
        Row("raw f32 bodies: p99", "wrk raw.p99_ms", "ms"), Row("JSON bodies: p99", "wrk json.p99_ms", "ms")]),
    ("Requests at a constant rate, counted from when they were due", [
        Row("highest rate with p99 < 10 ms", "open.rate", "/s", ">= 10,000/s", least(10_000)),
        Row("p99 at 10,000/s", "open 10,000/s.p99_ms", "ms", "< 10 ms", most(10))]),
    ("Beside the library in a process", [
        Row("the library, one query a call", "library.rate", "/s"), Row("the library: p50", "library.p50_us", "us"),
        Row("HTTP adds, raw f32 body: server time", "overhead raw.cpu_us", "us", "<= 15 us", most(15)),
        Row("HTTP adds, JSON body: server time", "overhead json.cpu_us", "us", "<= 60 us", most(60)),
        Row("HTTP adds, raw f32 body: p50 of a client", "overhead raw.p50_us", "us"),
        Row("HTTP adds, JSON body: p50 of a client", "overhead json.p50_us", "us")]),
    ("Idle connections", [
        Row("p99 without them", "idle.p99_alone_ms", "ms"), Row("p99 with them", "idle.p99_ms", "ms"),
        Row("growth of p99", "idle.growth", "x", "<= 1.10x", most(1.10)),
        Row("memory of the server", "idle.memory_mb", "MB")]),
    ("Twice the load", [
        Row("answered, of what is possible", "overload.goodput", "", ">= .90", least(0.90)),
        Row("refused: p50", "overload.refused_p50_ms", "ms", "<= 1 ms", most(1)),
        Row("refused: p99", "overload.refused_p99_ms", "ms"),
        Row("begun and given up, of all (504)", "overload.late", "")]),
    ("Chroma's HTTP server", [
        Row("1 client", "chroma 1.rate", "/s"), Row("16 clients", "chroma 16.rate", "/s"),
        Row("its server time a query, 1 client", "chroma 1.cpu_us", "us"),
        Row("its server time a query, 16 clients", "chroma 16.cpu_us", "us"),
        Row("ours beside it, 1 client", "", "x", "<= 0.10x", most(0.10), beside_chroma(1)),
        Row("ours beside it, 16 clients", "", "x", "<= 0.05x", most(0.05), beside_chroma(16))]),
]
