# SPDX-License-Identifier: Apache-2.0
"""What a library can do at a given recall: the frontier of its points, interpolated.

A point is (recall, queries a second). The frontier of an index are its points that no other point of the same index
beats in both. Between two neighbours of a frontier the logarithm of the speed is taken as linear in recall. Outside of
it nothing is made up: below its lowest recall the fastest point holds, for its answers are better than asked, and above
its highest the index has no figure. A library with several indexes has at each recall the best of them; points of
different indexes are never joined, because no setting lies between them.
"""
from __future__ import annotations

import math
from typing import Iterable, Optional

Point = tuple[float, float]


def pareto(points: Iterable[Point]) -> list[Point]:
    """The points that no other beats, by rising recall and so by falling speed."""
    best: list[Point] = []
    for recall, speed in sorted(points, key=lambda p: (-p[0], -p[1])):
        if not best or speed > best[-1][1]:
            best.append((recall, speed))
    return best[::-1]


def speed_at(points: Iterable[Point], recall: float) -> Optional[float]:
    """Queries a second of one index at this recall; None where it does not get there."""
    front = pareto(points)
    if not front or recall > front[-1][0]:
        return None
    if recall <= front[0][0]:
        return front[0][1]
    for (low, fast), (high, slow) in zip(front, front[1:]):
        if low <= recall <= high:
            part = (recall - low) / (high - low)
            return math.exp(math.log(fast) + part * (math.log(slow) - math.log(fast)))
    raise AssertionError("a recall inside the frontier lies between two of its points")


def best_at(indexes: dict[str, list[Point]], recall: float) -> Optional[tuple[str, float]]:
    """(name, queries a second) of the index that is fastest at this recall; None where none gets there."""
    found = {name: speed for name, points in indexes.items() if (speed := speed_at(points, recall)) is not None}
    if not found:
        return None
    name = max(found, key=lambda key: found[key])
    return name, found[name]
