# SPDX-License-Identifier: Apache-2.0
"""What a result must say of the machine it was taken on."""
from __future__ import annotations

import os
import pathlib
import platform
from typing import Any


def _cpuinfo(field: str) -> str:
    """A field of the first processor in /proc/cpuinfo, or the empty text."""
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return ""


def tier(flags: set[str]) -> str:
    """The best of kith's tiers that processor flags of Linux allow."""
    if {"amx_tile", "amx_int8"} <= flags:
        return "amx"
    if {"avx512f", "avx512bw", "avx512vl", "avx512_vnni"} <= flags:
        return "avx512"
    if {"avx2", "fma"} <= flags:
        return "avx2"
    return "neon" if "asimd" in flags else "scalar"


def caches() -> dict[str, int]:
    """Bytes of the caches that the first processor sees: {"L1d": ..., "L2": ..., "L3": ...}."""
    found = {}
    for folder in sorted(pathlib.Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        if kind != "Instruction":
            unit = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(size[-1:], 1)
            found[f"L{level}{'d' if kind == 'Data' else ''}"] = int(size.rstrip("KMG")) * unit
    return found


def describe() -> dict[str, Any]:
    """Processor, cores that may be used, tier, caches, memory, kernel, Python."""
    flags = set((_cpuinfo("flags") or _cpuinfo("Features")).split())
    return {"processor": _cpuinfo("model name") or platform.machine(), "cores": len(os.sched_getaffinity(0)),
            "tier": tier(flags), "caches": caches(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "kernel": platform.release().split("-")[0], "python": platform.python_version()}
