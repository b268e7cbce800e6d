# SPDX-License-Identifier: Apache-2.0
"""Nothing is kept by calls that ended, whether they succeeded or were refused."""
import gc
import sys
import tracemalloc

import numpy as np
import pytest

import kith

Q = np.zeros((3, 24), np.float32)


def refused(call):
    def run(index):
        try:
            call(index)
        except (kith.Error, TypeError):
            return
        raise AssertionError("was not refused")

    return run


CALLS = {
    "search": lambda i: i.search(Q, 5),
    "one": lambda i: i.search(Q[0], 5, threads=2),
    "every option": lambda i: i.search(Q, k=5, exact=True, target_recall=None, allow=[1, 2], plan="gather", threads=2,
                                       radius=9.0, timeout=5.0),
    "target": lambda i: str(i.search(Q, k=5, target_recall=0.5).explain),
    "lists": refused(lambda i: i.search(Q, k=5, nprobe=3, rerank=9, scan_code="int8")),
    "join": lambda i: i.join(Q, 3),
    "tuned": lambda i: i.tuned,
    "converted": lambda i: i.search(Q.astype("f8")[:, ::-1], 5),
    "explain": lambda i: str(i.search(Q, 5).explain),
    "range": lambda i: list(i.range_search(Q, 20.0)),
    "filter": lambda i: i.search(Q, 5, allow=i.filter([3, 1000])),
    "deny": lambda i: (i.search(Q, 5, deny=[3, 1000]), i.search(Q, 5, allow={3, 4}, deny=i.filter([4]))),
    "pair": lambda i: (i.search(Q, 5)[0], i.search(Q, 5)[1], len(i.search(Q, 5))),
    "many vectors": lambda i: (i.vectors(np.array([4, 4, 1])), i.vectors(range(5)), i.vectors([])),
    "look": lambda i: (i.info, i.ids, i.vector(3), i.vectors([1, 2]), 3 in i, "a" in i, repr(i), i._repr_html_()),
    "build": lambda i: kith.Index.build(Q[:, ::2], ids=["a", "b", "c"], names=["x", "y", "z"]).search(Q[:, ::2], 2),
    "build from rows": lambda i: kith.Index.build(Q, ids=[5, 6, 7]).close(),
    "bad k": refused(lambda i: i.search(Q, 0)),
    "bad shape": refused(lambda i: i.search(Q[:, :3])),
    "bad value": refused(lambda i: i.search(Q * np.nan)),
    "bad filter": refused(lambda i: i.search(Q, allow=[-1])),
    "bad filters": refused(lambda i: i.search(Q, allow=["a"], deny=[1])),
    "bad mask": refused(lambda i: i.search(np.ma.masked_less(Q, 1), 5)),
    "bad string": refused(lambda i: i.vectors(["a", 0])),
    "bad keyword": refused(lambda i: i.search(Q, nothing=1)),
    "bad plan": refused(lambda i: i.search(Q, plan="levels")),
    "bad promise": refused(lambda i: i.search(Q, exact=True, target_recall=0.5)),
    "bad join": refused(lambda i: i.join(Q * np.nan, 3)),
    "bad tune": refused(lambda i: i.tune(Q)),
    "bad radius": refused(lambda i: i.range_search(Q, float("nan"))),
    "bad id": refused(lambda i: i.vectors([0, 5000])),
    "bad build": refused(lambda i: kith.Index.build(Q * np.nan, ids=["a", "b", "c"])),
    "bad file": refused(lambda i: kith.open("/nonexistent/x.kith")),
}


def growth(call, index):
    """Bytes of Python's memory that 100 calls leave behind."""
    tracemalloc.start()
    try:
        call(index)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(100):
            call(index)
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", CALLS)
def test_memory_of_python_does_not_grow(name, index):
    """A call that keeps something keeps it each time. Now and then others keep something too: the interpreter's cache of
    attributes has a strong hold of the strings that were looked up, found again by where they lie, until it is full."""
    call = CALLS[name]
    for _ in range(20):
        call(index)
    gc.collect()
    references = sys.getrefcount(Q), sys.getrefcount(index), sys.getrefcount(kith.Result)
    grown = []
    while not grown or grown[-1] >= 3000:
        grown.append(growth(call, index))
        assert len(grown) < 20, f"bytes that 100 calls kept, again and again: {grown}"
    assert (sys.getrefcount(Q), sys.getrefcount(index), sys.getrefcount(kith.Result)) == references


def test_growth_is_seen(index):
    kept = []
    assert all(growth(lambda i: kept.append(bytes(100)), index) >= 3000 for _ in range(20))
