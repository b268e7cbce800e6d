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


def shop_calls():
    many = [{"n": i, "t": ["a"]} for i in range(3)]
    return {
        "search": lambda s: s.search(Q, 5),
        "one": lambda s: list(s.search(Q[0].astype("f8")[::-1], 5, where="n < 2", payload=True, versions=True,
                                       vectors=True, explain=True, timeout=5.0, target_recall=0.5)),
        "parts": lambda s: [(hits.payloads, hits.versions, hits.vectors, hits.explain, hits._repr_html_()) for hits in [
            s.search(Q, 5, payload=True, versions=True, vectors=True, explain=True)]],
        "legs": lambda s: s.search({"": Q}, 5, weights={"": 2}),
        "get": lambda s: (s.get([1, 2], vectors=True), s[1], 1 in s, s.exists([1, 9]), s.count("n > 1"), len(s)),
        "scroll": lambda s: list(s.scroll("n > 0", vectors=True)),
        "look": lambda s: (s.info, repr(s), s._repr_html_(), s.path, s.closed),
        "generations": lambda s: (s.generations, s.check_generation(2, sample=3, lacks=True), s.generation_of("ann"),
                                  s.get([1], vectors=True, generation=2), s.search(Q[:, :3], 2, generation=2, vectors=True),
                                  s.search(Q, 2, user="ann"), list(s.scroll(vectors=True, generation=2))),
        "bad generation": refused(lambda s: s.begin_generation("m", vectors={"": 3, "x": 4})),
        "bad flip": refused(lambda s: s.flip(2, min_recall=1, min_overlap=1)),
        "bad check": refused(lambda s: s.check_generation(2, progress=lambda *_: True)),
        "bad add": refused(lambda s: s.add([1, 2, 3], Q * np.nan, many)),
        "bad value": refused(lambda s: s.add([1, 2, 3], Q, [{}, {}, {"x": object()}])),
        "bad ids": refused(lambda s: s.add(["a", "b", "c"], Q)),
        "bad shape": refused(lambda s: s.add([1, 2, 3], Q[:, :3], many, expires=[1, 2, 3], if_version=[0, 0, 0])),
        "bad present": refused(lambda s: s.add([1, 2], {"": [Q[0], None, Q[1]]})),
        "bad count": refused(lambda s: s.add([1, 2, 3], Q, many[:2])),
        "bad update": refused(lambda s: s.update([77], Q[:1])),
        "bad filter": refused(lambda s: s.search(Q, where="n <")),
        "bad legs": refused(lambda s: s.search({"": Q, "x": Q})),
        "bad query": refused(lambda s: s.search(Q[:, :3])),
        "bad field": refused(lambda s: s.declare("n", "text")),
        "bad place": refused(lambda s: kith.Collection("/nonexistent/x")),
        "bad make": refused(lambda s: kith.Collection.create(None, vectors={"a": 2, "b": 0})),
        "bad copy": refused(lambda s: s.snapshot("/nonexistent/x/y")),
        "bad verify": refused(lambda s: kith.Collection.verify("/nonexistent/x")),
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


def refuse_to_grow(call, thing):
    """A call that keeps something keeps it each time. Now and then others keep something too: the interpreter's cache
    of attributes has a strong hold of the strings that were looked up, found again by where they lie, until it is full."""
    for _ in range(20):
        call(thing)
    gc.collect()
    references = sys.getrefcount(Q), sys.getrefcount(thing), sys.getrefcount(kith.Result)
    grown = []
    while not grown or grown[-1] >= 3000:
        grown.append(growth(call, thing))
        assert len(grown) < 20, f"bytes that 100 calls kept, again and again: {grown}"
    assert (sys.getrefcount(Q), sys.getrefcount(thing), sys.getrefcount(kith.Result)) == references


@pytest.fixture(scope="module")
def shop():
    with kith.Collection.create(None, dim=24, fields={"n": "int"}, background=False, threads=1) as made:
        made.add(range(50), np.ones((50, 24)), [{"n": i} for i in range(50)])
        made.compact()
        made.begin_generation("m", dim=3)
        made.update(range(40), np.ones((40, 3)), generation=2)
        yield made


@pytest.mark.parametrize("name", shop_calls())
def test_memory_does_not_grow_by_collections(name, shop):
    refuse_to_grow(shop_calls()[name], shop)


def test_memory_does_not_grow_by_writes():
    """Each write grows the head of the collection, which is not memory of Python's."""
    with kith.Collection.create(None, dim=24, background=False, threads=1) as made:
        refuse_to_grow(lambda s: (s.add([1, 2, 3], {"": [Q[0], None, Q[1]]}, [{"n": i} for i in range(3)], expires=4e9,
                                        if_version=[None] * 3), s.update(1, payloads={"n": None}, merge=True),
                                  s.delete([2]), s.delete(where="n = 7")), made)


@pytest.mark.parametrize("name", CALLS)
def test_memory_of_python_does_not_grow(name, index):
    refuse_to_grow(CALLS[name], index)


def test_growth_is_seen(index):
    kept = []
    assert all(growth(lambda i: kept.append(bytes(100)), index) >= 3000 for _ in range(20))
