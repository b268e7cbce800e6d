# SPDX-License-Identifier: Apache-2.0
"""What is asked of the figures."""
from __future__ import annotations

import dataclasses
from typing import Any, Optional

MEMORY_MB = 256


@dataclasses.dataclass(frozen=True)
class Mark:
    title: str
    value: float
    unit: str
    asked: str
    reached: bool


def marks(result: dict[str, Any]) -> list[Mark]:
    runs, found = result["runs"], []
    ours, command, faiss = runs.get("kith.ray"), runs.get("kith join"), runs.get("Faiss on Ray")
    if ours and command:
        found.append(most("kith.ray: CPU time of workers beside kith join", ours["cpu_workers"] / command["cpu"], "x", 1.15))
    if ours:
        beyond = (ours["worker_bytes"] - result["index_bytes"]) / 2**20
        found.append(most("kith.ray: a worker's memory beyond the index", beyond, "MB", MEMORY_MB))
    if ours and faiss:
        ratio = faiss["cpu"] / ours["cpu"]
        found.append(Mark("Faiss on Ray: CPU time beside kith.ray", ratio, "x", ">= 3x", ratio >= 3))
    spark: Optional[dict[str, Any]] = runs.get("kith.spark")
    if spark and command:
        ratio = spark["cpu_workers"] / command["cpu"]
        found.append(most("kith.spark: CPU time of workers beside kith join", ratio, "x", 1.15))
    return found


def most(title: str, value: float, unit: str, limit: float) -> Mark:
    return Mark(title, value, unit, f"<= {limit:g}{'x' if unit == 'x' else f' {unit}'}", value <= limit)
