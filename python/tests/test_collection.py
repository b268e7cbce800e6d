# SPDX-License-Identifier: Apache-2.0
"""Collections: writing, reading and searching, by numbers and strings, in threads and processes."""
import asyncio
import datetime
import gc
import math
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import time
import types
import weakref

import numpy as np
import pytest

import kith
from kith import _items, _kith

UTC = datetime.timezone.utc
DIM = 8


@pytest.fixture
def rows():
    return np.random.default_rng(3).standard_normal((300, DIM), dtype=np.float32)


@pytest.fixture
def shop(somewhere):
    return somewhere.create(dim=DIM, fields={"color": "tag", "price": float, "at": datetime.datetime})


@pytest.fixture
def named(somewhere):
    return somewhere.create(vectors={"image": (4, "f16", "cosine"), "title": 2}, ids="string")


def payloads(count):
    return [{"color": ("red", "green", "blue")[i % 3], "price": i / 2} for i in range(count)]


def nearest(rows, query, k, ids=None):
    distances = ((rows.astype("f8") - query) ** 2).sum(1)
    order = np.lexsort((np.arange(len(rows)), distances))[:k]
    return (np.arange(len(rows)) if ids is None else np.asarray(ids))[order]


# ---- Writing and reading ---------------------------------------------------------------------------------------------


def test_items_by_number(shop, rows):
    written = shop.add(np.arange(300), rows, payloads(300))
    assert written == (written.version, 300, 0, 0, 0) and written.inserted == 300
    assert len(shop) == 300 and 7 in shop and 300 not in shop and -1 not in shop and "7" not in shop
    assert 2**64 - 1 not in shop and 7.0 not in shop and True not in shop and None not in shop
    item = shop[7]
    assert item.id == 7 and item.payload == {"color": "green", "price": 3.5} and item.version == written.version
    assert np.array_equal(item.vector, rows[7]) and item.expires is None and list(item.vectors) == [""]
    assert [item.id for item in shop.get([5, 999, 3])] == [5, 3] and shop.get([5])[0].vectors is None
    assert shop.get([]) == [] and shop.exists([1, 1000]).tolist() == [True, False]
    assert shop.add([], [], [])[1:] == shop.delete([])[1:] == (0, 0, 0, 0)
    assert shop.delete([7, 1000]).removed == 1 and 7 not in shop
    with pytest.raises(kith.MissingIdError, match="no item 7"):
        shop[7]
    assert shop.delete(8).removed == 1 and shop.delete(where='color = "red"').removed == 100
    assert len(shop) == shop.count() == shop.info["items"] == 198


def test_items_by_string(named):
    named.add(["a", "ü", "c"], {"image": np.eye(4)[:3], "title": [[1, 2], None, [3, 4]]}, [{"n": 1}, None, {}])
    assert len(named) == 3 and "ü" in named and "x" not in named and "" not in named and 1 not in named
    assert named["ü"].payload is None and named["c"].payload == {} and list(named["ü"].vectors) == ["image"]
    ids, distances = named.search(np.eye(4)[1], k=4, vector="image")
    assert ids.tolist() == ["ü", "a", "c", None] and distances.tolist() == [0.0, 1.0, 1.0, np.inf]
    assert named.search([[1, 2], [3, 4]], k=3, vector="title").ids.tolist() == [["a", "c", None], ["c", "a", None]]
    assert named.delete("a").removed == 1 and [item.id for item in named.scroll()] == ["ü", "c"]
    assert [item.id for item in named.scroll(after="ü")] == ["c"]
    assert named.add(np.array(["d", "e"]), {"title": np.zeros((2, 2))}).inserted == 2


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i1", "u1", "i4", ">f4", "i8"])
def test_arrays_as_they_lie(shop, dtype):
    table = np.random.default_rng(1).integers(0, 50, (40, 2 * DIM)).astype(dtype)
    for view in (table[:, ::2], table[::-1, :DIM], np.asfortranarray(table[:, :DIM]), table[5:6, :DIM]):
        shop.add(range(len(view)), view)
        assert all(np.array_equal(shop[i].vector, view[i].astype("f4")) for i in range(0, len(view), 7))
    assert shop.search(table[:3, :DIM][::-1], k=1).distances.shape == (3, 1)


def test_other_vectors(tmp_path):
    with kith.Collection.create(None, dim=16, dtype="b1") as bits:
        table = np.random.default_rng(2).integers(0, 2, (20, 16)).astype(bool)
        bits.add(range(20), table)
        assert np.array_equal(bits[3].vector, np.packbits(table[3]))
        bits.add(3, bits[4].vector)
        bits.add([5], [bits[4].vector.tolist()])
        assert bits.search(table[4], k=3).ids.tolist() == [3, 4, 5]
    with kith.Collection.create(None, dim=2, dtype="i8", metric="ip") as small:
        small.add([1], [[3, -4]])
        assert small[1].vector.tolist() == [3, -4]
        with pytest.raises(kith.DataError, match="3.5"):
            small.add([1], [[3.5, 1]])


def test_ids_of_every_kind(shop, rows):
    for ids in (range(5), [0, 1, 2, 3, 4], (i for i in range(5)), np.arange(5, dtype="u1"),
                {i: 0 for i in range(5)}.keys(), np.arange(10)[::2] // 2, np.arange(5).astype(object)):
        assert shop.add(ids, rows[:5]).inserted + len(shop) >= 5
    assert len(shop) == 5
    largest = 2**64 - 2
    shop.add([largest], rows[:1])
    assert largest in shop and shop[largest].id == largest
    hits = shop.search(rows[0], k=8)
    assert hits.ids.dtype == np.uint64 and hits.ids[:2].tolist() == [0, largest] and hits.ids[-1] == 2**64 - 1


def test_frames_as_payloads(shop, rows):
    pd, pa = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"color": ["red", None, "blue"], "price": [0.1 + 0.2, np.nan, 3.0],
                          "n": pd.array([1, None, 2**60 + 1], "Int64"), "tags": [["a", "b"], None, []],
                          "at": pd.to_datetime(["2024-05-06 07:08:09.5", None, "2024-05-06 00:00:00.0"])})
    expected = [{"color": "red", "price": 0.1 + 0.2, "n": 1, "tags": ["a", "b"],
                 "at": "2024-05-06T07:08:09.500000+00:00"},
                {}, {"color": "blue", "price": 3.0, "n": 2**60 + 1, "tags": [], "at": "2024-05-06T00:00:00+00:00"}]
    shop.add([1, 2, 3], rows[:3], frame)
    assert [item.payload for item in shop.get([1, 2, 3])] == expected
    assert shop.count('at > "2024-05-06T07:00"') == 1
    zoned = frame.assign(at=frame["at"].dt.tz_localize("UTC"))
    shop.add([4, 5, 6], rows[:3], pa.Table.from_pandas(zoned))
    assert [item.payload for item in shop.get([4, 5, 6])] == expected
    with pytest.raises(kith.ArgumentError, match="several columns 'price'"):
        shop.add([1, 2, 3], rows[:3], frame.rename(columns={"n": "price"}))
    with pytest.raises(kith.ArgumentError, match="there are 3 for 2 items"):
        shop.add([1, 2], rows[:2], frame)
    pl = pytest.importorskip("polars")
    shop.add([1, 2], rows[:2], pl.DataFrame({"color": ["red", None], "price": [1.5, float("nan")]}))
    assert [item.payload for item in shop.get([1, 2])] == [{"color": "red", "price": 1.5}, {}]
    shop.add(pd.Series([1, 2]), rows[:2], (row for row in [{"price": 1}, None]))
    assert [item.payload for item in shop.get(pd.Series([1, 2]))] == [{"price": 1}, None]


def test_plain_payloads_are_packed_as_json_has_them():
    """C packs what is plain to the bytes of Python's json, and leaves all else to it."""
    plain = [{}, None, {"a": 1, "b": [1, -2, 0.5, True, False, None, "x", (), [[]], {"c": {}}]},
             {"é": "ü\U0001f600\x7f"}, {"\"\\\b\f\n\r\t\x00\x1f/\u2028": "a\"b\\c\nd\x01e"}, {"": ""},
             {"x": [1e22, 1e-7, 0.1, -0.0, 5e-324, 1.7976931348623157e308, 2.0, 1e16, 123456789012345680.0]},
             {"n": [0, 2**63 - 1, -2**63, 10**18]}, {"deep": [[[[[[[[1]]]]]]]]}]
    packed, ends = _kith.pack_payloads(plain)
    texts = [b"" if row is None else _items.encode(row, "row").encode() for row in plain]
    assert packed == b"".join(texts) and ends.tolist() == np.cumsum([len(text) for text in texts]).tolist()
    rng = np.random.default_rng(8)
    numbers = [{"x": float(x)} for x in rng.standard_normal(500) * 10.0 ** rng.integers(-300, 300, 500)]
    assert _kith.pack_payloads(numbers)[0] == b"".join(_items.encode(row, "row").encode() for row in numbers)
    loop: list = []
    loop.append(loop)
    for odd in ({"x": math.nan}, {"x": math.inf}, {1: 2}, {"x": {1}}, {"x": 2**64}, {"x": "\ud800"}, {"\ud800": 1},
                [], "a", {"x": np.float32(1)}, {"x": datetime.date(2024, 1, 2)}, {"x": loop},
                types.MappingProxyType({"x": 1})):
        assert _kith.pack_payloads([{"x": 1}, odd]) is None
    assert _kith.pack_payloads(({"x": 1},)) is None


def test_plain_ids_are_packed():
    """C takes what is plain, and leaves all else to Python, which says what is wrong."""
    for ids in ([3, 1, 2**63, 2**64 - 2], [0]):
        assert _kith.pack_ids(ids).tolist() == ids and _kith.pack_ids(np.array(ids, np.uint64)).tolist() == ids
    assert _kith.pack_ids(np.arange(5)).dtype == np.uint64 and _kith.pack_ids(np.arange(5)[1:]).tolist() == [1, 2, 3, 4]
    for odd in ([-1], [2**64 - 1], [2**64], [True], [1.0], ["1"], [np.int64(1)], (1, 2), {1}, 1, None, np.array([-1]),
                np.array([2**64 - 1], np.uint64), np.arange(4)[::2], np.arange(4).reshape(2, 2), np.arange(4.0),
                np.arange(4, dtype=np.int32), np.ma.masked_array([1, 2], [True, False])):
        assert _kith.pack_ids(odd) is None
    packed, ends = _kith.pack_texts(["a", "bü", "\U0001f600"])
    assert packed == "abü\U0001f600".encode() and ends.tolist() == [1, 4, 8]
    for odd in (["a", ""], ["a", 1], ["\ud800"], ("a",), "a", None, [b"a"], [np.str_("a")]):
        assert _kith.pack_texts(odd) is None


def test_values_of_payloads(shop, rows):
    noon = datetime.datetime(2024, 5, 6, 12, tzinfo=UTC)
    shop.add(1, rows[0], {"at": noon, "day": noon.date(), "n": np.int64(5), "x": np.float32(0.5), "many": np.arange(3),
                          "tags": {"b", "a"}, "pair": (1, "é"), "nested": {"deep": [None, True]},
                          "when": np.datetime64("2024-05-06T12:00")})
    assert shop[1].payload == {"at": "2024-05-06T12:00:00+00:00", "day": "2024-05-06", "n": 5, "x": 0.5,
                               "many": [0, 1, 2], "tags": ["a", "b"], "pair": [1, "é"],
                               "nested": {"deep": [None, True]}, "when": "2024-05-06T12:00:00.000Z"}
    shop.add(1, rows[0], {"at": noon.astimezone().replace(tzinfo=None)})  # local time
    assert datetime.datetime.fromisoformat(shop[1].payload["at"]) == noon
    assert shop.count(f'at = "{noon.isoformat()}"') == 1


def test_modes(shop, rows):
    shop.add([1, 2], rows[:2], [{"price": 1, "color": "red"}, {"price": 2}])
    with pytest.raises(kith.DataError, match="2"):
        shop.add([3, 2], rows[:2], mode="insert")
    assert len(shop) == 2
    with pytest.raises(kith.NotFoundError, match="9"):
        shop.update([1, 9], payloads=[{"price": 5}, {"price": 5}])
    shop.update([1], payloads=[{"price": 9, "color": None}], merge=True)
    assert shop[1].payload == {"price": 9} and np.array_equal(shop[1].vector, rows[0])
    shop.update(1, rows[7])
    assert shop[1].payload == {"price": 9} and np.array_equal(shop[1].vector, rows[7])
    assert shop.search(rows[7], k=1).ids.tolist() == [1]
    shop.update([1, 2], payloads=[{}, {"color": "blue"}])
    assert [item.payload for item in shop.get([1, 2])] == [{}, {"color": "blue"}]
    shop.add(1, rows[0])
    assert shop[1].payload is None
    shop.add([4, 4], rows[:2], [{"price": 1}, {"price": 2}])
    assert shop[4].payload == {"price": 2} and np.array_equal(shop[4].vector, rows[1])


def test_conditions(shop, rows):
    first = shop.add([1, 2], rows[:2])
    assert shop.add([1, 2, 3], rows[:3], if_version=0) == (shop[3].version, 1, 0, 0, 2)
    second = shop.add([1], rows[:1], if_version=first.version)
    assert second.replaced == 1 and second.version > first.version
    assert shop.update([1, 2], payloads=[{}, {}], if_version=[first.version, None])[1:] == (0, 1, 0, 1)
    assert shop.delete([1, 2], if_version=np.array([first.version, shop[2].version])).removed == 1
    assert 1 in shop and 2 not in shop


def test_expiry(shop, rows):
    now = datetime.datetime.now(UTC)
    later = now.replace(microsecond=250000) + datetime.timedelta(hours=1)
    shop.add([1, 2, 3, 4], rows[:4], expires=[later, None, now.timestamp() - 5, datetime.timedelta(days=1)])
    assert shop[1].expires == later and shop[2].expires is None and 3 not in shop and len(shop) == 3
    assert 23 < (shop[4].expires - now).total_seconds() / 3600 < 25
    assert set(shop.search(rows[2], k=4).ids.tolist()) == {1, 2, 4, -1}
    shop.update([1, 2], expires=later + datetime.timedelta(1))
    assert shop[2].expires == shop[1].expires == later + datetime.timedelta(1)
    shop.update([1], expires=[None])
    assert shop[1].expires is None
    shop.update([1], expires=np.array(["2100-01-01", "NaT"], "M8[s]")[:1])
    assert shop[1].expires == datetime.datetime(2100, 1, 1, tzinfo=UTC)
    shop.add([5], rows[:1], expires=time.time() + 0.2)
    assert 5 in shop
    deadline = time.monotonic() + 30
    while 5 in shop and time.monotonic() < deadline:
        time.sleep(0.01)
    assert 5 not in shop


def test_scroll_in_pages(shop, rows):
    ids = np.random.default_rng(1).permutation(2500)
    shop.add(ids, np.resize(rows, (2500, DIM)), [{"color": "red" if i % 5 else "blue"} for i in ids.tolist()])
    assert [item.id for item in shop.scroll()] == list(range(2500))
    assert [item.id for item in shop.scroll('color = "blue"', after=100)] == list(range(105, 2500, 5))
    first = next(shop.scroll(vectors=True))
    assert first.id == 0 and np.array_equal(first.vector, rows[ids.tolist().index(0) % 300])
    frame = pytest.importorskip("pandas") and shop.to_pandas('color = "blue"')
    assert frame.index.name == "id" and len(frame) == 500 and set(frame["color"]) == {"blue"}


# ---- Searching -------------------------------------------------------------------------------------------------------


def test_answers_are_those_of_a_scan(shop, rows):
    shop.add(range(200), rows[:200], payloads(200))
    shop.compact()
    shop.add(range(200, 300), rows[200:], payloads(300)[200:])
    shop.delete([50])
    ids = np.delete(np.arange(300), 50)
    hits = shop.search(rows[:20], k=7)
    assert hits.ids.dtype == np.int64
    assert all(np.array_equal(hits.ids[q], nearest(rows[ids], rows[q], 7, ids)) for q in range(20))
    red = ids[ids % 3 == 0]
    red = red[red >= 150]
    for where in ('color = "red" and price >= 75', {"must": [{"key": "color", "match": {"value": "red"}},
                                                           {"key": "price", "range": {"gte": np.float64(75)}}]}):
        found = shop.search(rows[3], k=60, where=where, payload=True, versions=True, vectors=True, explain=True)
        assert found.ids[:len(red)].tolist() == nearest(rows[red], rows[3], 60, red).tolist()
        assert set(found.ids[len(red):].tolist()) == {-1} and found.explain["matched"] == len(red) == shop.count(where)
        assert [p["price"] for p in found.payloads] == [i / 2 for i in found.ids[:len(red)].tolist()]
        assert np.array_equal(found.vectors[""], rows[found.ids[:len(red)]]) and len(found.versions) == len(red)
    assert shop.search(rows[3], k=2, where="price > 1e9").ids.tolist() == [-1, -1]


def test_hits(shop, rows):
    pytest.importorskip("pandas")
    shop.add(range(4), rows[:4], [{"color": "red", "id": 5}, {"price": 2}, None, {}])
    hits = shop.search(rows[:2], k=6, payload=True)
    assert len(hits) == 2 and hits[0] is hits.ids and hits[1] is hits.distances and len(hits.payloads) == 2
    assert hits.payloads[0][0] == {"color": "red", "id": 5}
    frame = hits.to_pandas()
    assert frame["id"].tolist() == hits.ids[:, :4].ravel().tolist() and frame["rank"].tolist() == [1, 2, 3, 4] * 2
    assert frame["query"].tolist() == [0] * 4 + [1] * 4 and frame["id_payload"].dropna().tolist() == [5, 5]
    assert shop.search(rows[:0], k=3).to_pandas().empty and shop.search(rows[:0], k=3).ids.shape == (0, 3)
    one = shop.search(rows[0], k=2)
    assert list(one.to_pandas().columns) == ["query", "rank", "id", "distance"]
    assert "Hits(ids=" in repr(one) and "<table>" in hits._repr_html_() and hits._repr_html_().count("<tr>") == 3
    again = pickle.loads(pickle.dumps(hits))
    assert np.array_equal(again.ids, hits.ids) and again.payloads == hits.payloads
    for name, option in (("payloads", "payload"), ("versions",) * 2, ("vectors",) * 2, ("explain",) * 2):
        with pytest.raises(kith.ArgumentError, match=rf"search\(..., {option}=True\)"):
            getattr(one, name)


def test_fused_vectors(named):
    table = np.random.default_rng(4).standard_normal((30, 4))
    named.add([f"i{i}" for i in range(30)], {"image": table, "title": table[:, :2]})
    named.add(["bare"], {"title": [[9, 9]]})
    ids, distances = named.search({"image": table[3], "title": table[3, :2]}, k=3)
    assert ids[0] == "i3" and np.isclose(distances[0], -2 / 61)
    assert named.search({"image": table[3], "title": [9, 9]}, k=2, weights={"title": 50}).ids[0] == "bare"
    assert named.search({"image": table[:2], "title": table[:2, :2]}, k=3).ids[:, 0].tolist() == ["i0", "i1"]
    lacking = named.search([9, 9], k=1, vector="title", vectors=True)
    assert np.isnan(lacking.vectors["image"]).all() and lacking.vectors["title"].tolist() == [[9, 9]]


def test_segments_and_models(somewhere, rows):
    with somewhere.create(dim=DIM, fields={"user": "tag"}, segment_field="user", model="m1") as shop:
        shop.add(range(300), rows, [{"user": f"u{i % 7}"} for i in range(300)])
        shop.compact()
        ids = np.arange(3, 300, 7)
        assert shop.search(rows[0], k=5, segment="u3", model="m1").ids.tolist() == \
            nearest(rows[ids], rows[0], 5, ids).tolist()
        assert shop.search(rows[0], k=2, segment="nobody").ids.tolist() == [-1, -1]
        with pytest.raises(kith.ArgumentError, match="m2"):
            shop.search(rows[0], model="m2")
        assert shop.info["segment_field"] == "user" and shop.info["model"] == "m1"


# ---- Mistakes --------------------------------------------------------------------------------------------------------

BAD_WRITES = [
    (lambda s, r: s.add([1, 2], r[:3]), kith.ArgumentError, "3 vectors for 2 items"),
    (lambda s, r: s.add([1], r[:1, :5]), kith.Error, "5"),
    (lambda s, r: s.add([1, 2], [r[0], r[1] * np.nan]), kith.DataError, "2"),
    (lambda s, r: s.add([1, 2], [r[0], r[1, :3]]), kith.DataError, "vectors: row 1 has 3 elements"),
    (lambda s, r: s.add([1], np.full((1, DIM), 1e300)), kith.DataError, "vectors: row 0, column 0"),
    (lambda s, r: s.add([1], r[:1].astype(str)), kith.UnsupportedError, "vectors"),
    (lambda s, r: s.add([1], np.ma.masked_less(r[:1], 9)), kith.DataError, "vectors: row 0, column 0: is masked"),
    (lambda s, r: s.add([1], []), kith.ArgumentError, "vectors: there are none"),
    (lambda s, r: s.add([1], {"x": r[:1]}), kith.ArgumentError, "vector 'x' is unknown"),
    (lambda s, r: s.add([1], {"": [None]}), kith.ArgumentError, "no item has one"),
    (lambda s, r: s.add(["a"], r[:1]), TypeError, "ids: 'a' is a string"),
    (lambda s, r: s.add([1.5], r[:1]), kith.DataError, "ids"),
    (lambda s, r: s.add([-1], r[:1]), kith.DataError, "ids: row 0: id -1"),
    (lambda s, r: s.add([2**64 - 1], r[:1]), kith.DataError, "reserved|not in"),
    (lambda s, r: s.add({1, 2}, r[:2]), kith.ArgumentError, "ids: a set has no order"),
    (lambda s, r: s.add(1.5, r[0]), kith.ArgumentError, "ids: a list or an array"),
    (lambda s, r: s.add(None, r), kith.ArgumentError, "ids: a list"),
    (lambda s, r: s.add([1, 2], r[:2], [{}]), kith.ArgumentError, "payloads: there are 1 for 2"),
    (lambda s, r: s.add([1], r[:1], {"price": 1}), kith.ArgumentError, "payloads: a list"),
    (lambda s, r: s.add([1], r[:1], ["x"]), kith.DataError, "payloads: row 0: is 'x'"),
    (lambda s, r: s.add([1], r[:1], [{"x": np.nan}]), kith.DataError, "payloads: row 0"),
    (lambda s, r: s.add([1], r[:1], [{"x": 1j}]), kith.DataError, "payloads: row 0: complex"),
    (lambda s, r: s.add([1], r[:1], [{"x": "\ud800"}]), kith.DataError, "payloads: row 0: cannot be written"),
    (lambda s, r: s.add([1, 2], r[:2], [{}, {"price": "dear"}]), kith.DataError, "price"),
    (lambda s, r: s.add([1], r[:1], mode="put"), kith.ArgumentError, "mode 'put'"),
    (lambda s, r: s.add([1], r[:1], expires=-1), kith.ArgumentError, "expires: -1"),
    (lambda s, r: s.add([1], r[:1], expires=[1e12]), kith.ArgumentError, "expires: row 0"),
    (lambda s, r: s.add([1], r[:1], expires=float("nan")), kith.ArgumentError, "expires"),
    (lambda s, r: s.add([1], r[:1], expires=["soon"]), TypeError, "expires: row 0: 'soon'"),
    (lambda s, r: s.add([1], r[:1], expires=[None, None]), kith.ArgumentError, "expires: there are 2"),
    (lambda s, r: s.add([1], r[:1], if_version=-1), kith.ArgumentError, "if_version: row 0: -1"),
    (lambda s, r: s.add([1], r[:1], if_version=[0, 0]), kith.ArgumentError, "if_version: there are 2"),
    (lambda s, r: s.delete(), kith.ArgumentError, "delete takes"),
    (lambda s, r: s.delete([1], where="price = 1"), kith.ArgumentError, "delete takes"),
    (lambda s, r: s.delete(where="price = 1", if_version=1), kith.ArgumentError, "if_version belongs"),
    (lambda s, r: s.delete(where="price >"), kith.ArgumentError, "column"),
    (lambda s, r: s.delete(where="price > 0\0 and color = red"), kith.ArgumentError, "where: has a null character"),
    (lambda s, r: s.declare("price", "tag"), kith.ArgumentError, "price"),
    (lambda s, r: s.declare("x\0", "tag"), kith.ArgumentError, "null character"),
    (lambda s, r: s.declare("x", "text"), kith.ArgumentError, "'text' is no type"),
    (lambda s, r: s.update(77, r[0]), kith.NotFoundError, "77"),
]


@pytest.mark.parametrize("number", range(len(BAD_WRITES)))
def test_a_refused_write_changes_nothing(shop, rows, number):
    call, error, text = BAD_WRITES[number]
    shop.add([1], rows[9:10], [{"price": 1}])
    before = shop.info["version"]
    with pytest.raises(error, match=text):
        call(shop, rows)
    assert shop.info["version"] == before and np.array_equal(shop[1].vector, rows[9]) and len(shop) == 1


BAD_READS = [
    (lambda s, r: s.search(r[0], k=0), kith.ArgumentError, "k is 0"),
    (lambda s, r: s.search(r[0], k="9"), TypeError, "k"),
    (lambda s, r: s.search(r[0, :3]), kith.ArgumentError, "3"),
    (lambda s, r: s.search(r[0] * np.nan), kith.DataError, "query 0"),
    (lambda s, r: s.search(r[0], where="price <"), kith.ArgumentError, "column"),
    (lambda s, r: s.search(r[0], where=5), TypeError, "where: a filter is a text or a dict"),
    (lambda s, r: s.search(r[0], where={"must": np.nan}), kith.DataError, "where"),
    (lambda s, r: s.search(r[0], where="price < 1\0"), kith.ArgumentError, "where: has a null"),
    (lambda s, r: s.search(r[0], segment="x"), kith.NotFoundError, "segment"),
    (lambda s, r: s.search(r[0], vector="x"), kith.ArgumentError, "vector 'x' is unknown: '' are"),
    (lambda s, r: s.search(r[0], weights={"": 1}), kith.ArgumentError, "weights belong"),
    (lambda s, r: s.search({"": r[0]}, weights={"x": 1}), kith.ArgumentError, "weights: there are no queries of 'x'"),
    (lambda s, r: s.search({"": r[0]}, weights={"": 0}), kith.ArgumentError, "weights: that of '' is 0"),
    (lambda s, r: s.search({"": r[0]}, weights=[1]), TypeError, "weights must be a dict"),
    (lambda s, r: s.search({"": r[0]}, vector=""), kith.ArgumentError, "cannot both"),
    (lambda s, r: s.search({}), kith.ArgumentError, "one vector at least"),
    (lambda s, r: s.search(r[0], target_recall=2), kith.ArgumentError, "target_recall is 2"),
    (lambda s, r: s.search(r[0], plan="fast"), kith.ArgumentError, "fast"),
    (lambda s, r: s.search(r[0], segment=5), TypeError, "segment must be a text, not 5"),
    (lambda s, r: s.search(r[0], timeout="1"), TypeError, "timeout must be a number"),
    (lambda s, r: s.search(r[0], target_recall="high"), TypeError, "target_recall must be a number"),
    (lambda s, r: s.search(r[0], min_version=None), TypeError, "min_version must be a whole number"),
    (lambda s, r: s.search(r[0], model="m\0"), kith.ArgumentError, "model: has a null character, at byte 1"),
    (lambda s, r: s.search(r[0], timeout=0), kith.ArgumentError, "timeout is 0"),
    (lambda s, r: s.search(r[0], min_version=-1), kith.ArgumentError, "min_version is -1"),
    (lambda s, r: s.search(r[0], min_version=1000, timeout=0.05), kith.DeadlineError, "1000"),
    (lambda s, r: s.get(5), kith.ArgumentError, "ids: a list"),
    (lambda s, r: s.get(["a"]), TypeError, "'a' is a string"),
    (lambda s, r: s["a"], TypeError, "'a' is a string"),
    (lambda s, r: list(s.scroll("price <")), kith.ArgumentError, "column"),
    (lambda s, r: s.count("nothing like a filter"), kith.ArgumentError, "column"),
    (lambda s, r: pickle.dumps(kith.Collection.create(None, dim=2)), kith.ArgumentError, "in memory"),
]


@pytest.mark.parametrize("number", range(len(BAD_READS)))
def test_a_refused_read_says_why(shop, rows, number):
    call, error, text = BAD_READS[number]
    shop.add([1], rows[:1])
    with pytest.raises(error, match=text):
        call(shop, rows)


@pytest.mark.parametrize("options, error, text", [
    ({}, kith.ArgumentError, "needs dim="), ({"dim": 2, "vectors": {"a": 2}}, kith.ArgumentError, "needs dim="),
    ({"dim": 0}, kith.ArgumentError, "dim is 0"), ({"dim": "2"}, TypeError, "dim"),
    ({"dim": 2, "metric": "near"}, kith.ArgumentError, "near"), ({"dim": 2, "ids": "uuid"}, kith.ArgumentError, "uuid"),
    ({"vectors": {}}, kith.ArgumentError, "vector"),
    ({"vectors": {"a": (2, "f4", "l2", 1)}}, kith.ArgumentError, "'a'"), ({"vectors": {5: 2}}, TypeError, "name"),
    ({"vectors": {"a": 2}, "metric": "l2"}, kith.ArgumentError, "gives each"),
    ({"dim": 2, "fields": {"x": "text"}}, kith.ArgumentError, "text"), ({"dim": 2, "fields": {"x": 5}}, TypeError, "5"),
    ({"dim": 2, "segment_field": "x"}, kith.ArgumentError, "x"), ({"dim": 2, "durability": "none"}, kith.ArgumentError,
                                                                  "durability"),
    ({"dim": 2, "threads": 0}, kith.ArgumentError, "threads"), ({"dim": 2, "head_bytes": 0}, kith.ArgumentError,
                                                                "head_bytes"),
    ({"dim": 2, "nothing": 1}, TypeError, "nothing"), ({"dim": 2, "fields": ["a"]}, TypeError, "a dict of name to type"),
    ({"dim": 2, "model": "a\0"}, kith.ArgumentError, "model: 'a.x00' has a null"),
])
def test_a_collection_that_cannot_be_made(tmp_path, options, error, text):
    for path in (tmp_path / "x", None):
        with pytest.raises(error, match=text):
            kith.Collection.create(path, **options)
    assert not (tmp_path / "x").exists()


@pytest.mark.folder
def test_folders_that_are_none(tmp_path, shop):
    with pytest.raises(kith.MissingFileError):
        kith.Collection(tmp_path / "nothing")
    with pytest.raises(kith.BusyError, match=os.path.basename(shop.path)):
        kith.Collection(shop.path)
    with pytest.raises(kith.BusyError, match=os.path.basename(shop.path)):
        kith.Collection.create(shop.path, dim=2)
    with pytest.raises(TypeError):
        kith.Collection(5)


# ---- Life ------------------------------------------------------------------------------------------------------------


def test_closing(tmp_path, rows):
    shop = kith.Collection.create(tmp_path / "x", dim=DIM)
    shop.add([1], rows[:1])
    assert not shop.closed and "1 items" in repr(shop) and "<caption>" in shop._repr_html_()
    shop.close()
    shop.close()
    assert shop.closed and repr(shop) == "<kith.Collection, closed>" and "closed" in shop._repr_html_()
    for call in (lambda: shop.search(rows[0]), lambda: shop.add([1], rows[:1]), lambda: shop.info, lambda: len(shop),
                 lambda: shop.get([1]), lambda: shop.compact(), lambda: shop.__enter__(), lambda: pickle.dumps(shop)):
        with pytest.raises(kith.ArgumentError, match="the collection is closed"):
            call()
    with kith.Collection(tmp_path / "x", durability="relaxed", background=False, head_bytes=4096) as again:
        assert again[1].id == 1
    assert again.closed


def test_references(tmp_path, rows):
    shop = kith.Collection.create(tmp_path / "x", dim=DIM)
    hits = shop.search(rows[0])
    gone = weakref.ref(shop)
    del shop
    gc.collect()
    assert gone() is None and len(hits.ids) == 10
    kith.Collection(tmp_path / "x").close()  # nobody holds it any more


@pytest.mark.folder
def test_pickles_read(shop, rows):
    shop.add([1, 2], rows[:2])
    with pickle.loads(pickle.dumps(shop)) as reader:
        assert reader.info["read_only"] and reader.path == shop.path and len(reader) == 2
        version = shop.add([3], rows[2:3]).version
        assert reader.search(rows[2], k=1, min_version=version).ids.tolist() == [3]
        with pytest.raises(kith.Error, match="read"):
            reader.add([4], rows[:1])


@pytest.mark.folder
def test_keeping(shop, rows, tmp_path):
    seen = []
    shop.add(range(300), rows, payloads(300))
    shop.compact(progress=lambda stage, done, total: seen.append(stage))
    assert "sealing" in seen and shop.info["segments"] == 1
    shop.snapshot(tmp_path / "copy")
    shop.add([1000], rows[:1])
    with pytest.raises(kith.Error, match="copy"):
        shop.snapshot(tmp_path / "copy")
    kith.Collection.restore(tmp_path / "copy", tmp_path / "again", progress=False)
    kith.Collection.verify(tmp_path / "again")
    with kith.Collection(tmp_path / "again") as again:
        assert len(again) == 300 and again.search(rows[5], k=3).ids.tolist() == nearest(rows, rows[5], 3).tolist()
    assert kith.Collection.repair(tmp_path / "again") == []
    with pytest.raises(kith.MissingFileError):
        kith.Collection.verify(tmp_path / "nothing")
    with pytest.raises(ZeroDivisionError):
        kith.Collection.verify(tmp_path / "again", progress=lambda *_: 1 / 0)
    with pytest.raises(kith.CancelledError):
        kith.Collection.verify(tmp_path / "again", progress=lambda *_: True)


def test_damage_is_found_and_repaired(tmp_path, rows):
    with kith.Collection.create(tmp_path / "x", dim=DIM, background=False) as shop:
        shop.add(range(300), rows, payloads(300))
        shop.compact()
    index = next((tmp_path / "x" / "segments").rglob("vectors.0.kith"))
    data = bytearray(index.read_bytes())
    data[len(data) // 2] ^= 0xFF
    index.write_bytes(data)
    with pytest.raises(kith.CorruptError, match=index.name):
        kith.Collection.verify(tmp_path / "x")
    lost = kith.Collection.repair(tmp_path / "x")
    assert all(isinstance(id, int) and why for id, why in lost)
    kith.Collection.verify(tmp_path / "x")
    with kith.Collection(tmp_path / "x") as shop:
        assert len(shop) == 300 - len(lost)


def test_background_work(tmp_path, rows):
    with kith.Collection.create(tmp_path / "x", dim=DIM, head_bytes=2048) as shop:
        for at in range(0, 300, 20):
            shop.add(range(at, at + 20), rows[at:at + 20])
        deadline = time.monotonic() + 60
        while not shop.info["segments"] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert shop.info["segments"] and shop.info["trouble"] == ""
        assert shop.search(rows[5], k=3).ids.tolist() == nearest(rows, rows[5], 3).tolist()


@pytest.mark.folder
def test_declaring_later(shop, rows):
    shop.add(range(300), rows, [{"stock": i % 10} for i in range(300)])
    assert shop.search(rows[0], where="stock < 2", explain=True).explain["read_payloads"]
    shop.declare("stock", int)
    assert shop.info["fields"]["stock"] == "int"
    shop.compact()
    found = shop.search(rows[0], where="stock < 2", explain=True).explain
    assert not found["read_payloads"] and found["matched"] == 60


# ---- Threads, tasks and processes ------------------------------------------------------------------------------------


def test_two_threads_search_while_one_adds(shop, rows):
    stop, seen = threading.Event(), [0, 0]

    def search(number):
        while not stop.is_set():
            hits = shop.search(rows[seen[number] % 300], k=3)
            assert (np.diff(hits.distances[hits.ids >= 0]) >= 0).all()
            seen[number] += 1

    readers = [threading.Thread(target=search, args=(number,)) for number in range(2)]
    for thread in readers:
        thread.start()
    try:
        at = 0
        while at < 300 or min(seen) < 5:
            shop.add([at % 300], rows[at % 300][None])
            assert shop.search(rows[at % 300], k=1).ids.tolist() == [at % 300]
            at += 1
    finally:
        stop.set()
        for thread in readers:
            thread.join()
    assert len(shop) == 300 and min(seen) >= 5


def test_closed_by_one_thread_while_others_work(rows, tmp_path):
    for turn in range(5):
        shop = kith.Collection.create(tmp_path / str(turn), dim=DIM, durability="relaxed")
        start = threading.Barrier(4)
        failures = []

        def work(number, shop=shop, start=start, failures=failures):
            start.wait()
            try:
                for i in range(200):
                    shop.add([number * 1000 + i], rows[i % 300][None]) if number else shop.search(rows[:3], k=2)
            except kith.ArgumentError as error:
                if "closed" not in str(error):
                    failures.append(error)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        start.wait()
        shop.close()
        for thread in threads:
            thread.join()
        assert not failures
        del shop, work
        gc.collect()
        kith.Collection(tmp_path / str(turn)).close()


@pytest.mark.folder
def test_python_runs_while_the_library_works(shop, rows):
    """As of searches of an index: with the interpreter's own switching put off, only a call that lets go of the GIL
    lets the other thread run."""
    many = np.resize(rows, (3000, DIM))
    shop.add(range(3000), many, payloads(3000))
    interval = sys.getswitchinterval()
    for call in (lambda turn: shop.search(many, k=50), lambda turn: shop.add(range(3000), many),
                 lambda turn: shop.get(range(3000)), lambda turn: shop.count(f"stock = {turn}"),
                 lambda turn: shop.delete(where=f"stock = {turn + 1000}"), lambda turn: shop.exists(range(3000)),
                 lambda turn: shop.compact(), lambda turn: list(shop.scroll(f"stock = {turn + 2000}"))):
        ran, began = threading.Event(), threading.Event()

        def other(ran=ran, began=began):
            began.wait()
            ran.set()

        thread = threading.Thread(target=other)
        thread.start()
        sys.setswitchinterval(3600)
        try:
            began.set()
            for turn in range(500):  # on a busy machine the other may not get a turn in the time that one call takes
                call(turn)
                if ran.is_set():
                    break
            assert ran.is_set()
        finally:
            sys.setswitchinterval(interval)
            thread.join()


def test_tasks(shop, rows):
    async def work():
        done = await asyncio.gather(*(shop.aadd([i], rows[i][None]) for i in range(20)))
        await shop.aupdate(3, payloads={"price": 5})
        await shop.adelete([4])
        (item,), hits = await asyncio.gather(shop.aget([3, 4]), shop.asearch(rows[5], k=1))
        return done, item, hits

    done, item, hits = asyncio.run(work())
    assert sum(w.inserted for w in done) == 20 and len({w.version for w in done}) == 20
    assert item.payload == {"price": 5.0} and hits.ids.tolist() == [5]


def run(script, *arguments):
    return subprocess.run([sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)], capture_output=True,
                          text=True, timeout=300, check=False)


@pytest.mark.folder
def test_another_process_reads_what_was_written(shop, rows):
    shop.add(range(100), rows[:100])
    script = """
        import sys, kith
        with kith.Collection(sys.argv[1], read_only=True) as shop:
            print("ready", len(shop), flush=True)
            version = int(sys.stdin.readline())
            hits = shop.search([0] * 8, k=1, min_version=version, timeout=60)
            print(hits.ids.tolist(), shop[7777].payload, len(shop), flush=True)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script), shop.path], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout.readline() == "ready 100\n"
        version = shop.add(7777, np.zeros(DIM), {"color": "grey"}).version
        answer, _ = reader.communicate(f"{version}\n", timeout=300)
    assert answer == "[7777] {'color': 'grey'} 101\n"


def test_what_was_written_survives_a_kill(tmp_path, rows):
    done = run("""
        import os, sys, kith
        shop = kith.Collection.create(sys.argv[1], dim=2)
        shop.add([1, 2], [[1, 2], [3, 4]], [{"a": 1}, None])
        os.kill(os.getpid(), 9)
    """, tmp_path / "x")
    assert done.returncode == -9
    with kith.Collection(tmp_path / "x") as shop:
        assert len(shop) == 2 and shop[1].payload == {"a": 1}


INTERRUPTED = """
    import os, signal, sys, threading, time
    import numpy as np, kith
    rows = np.random.default_rng(1).standard_normal((40_000, 32), dtype=np.float32)
    shop = kith.Collection.create(sys.argv[1], dim=32, background=False, durability="relaxed")
    shop.add(range(40_000), rows)
    reader = kith.Collection(sys.argv[1], read_only=True)
    work = {
        "search": lambda: shop.search(rows, 100, plan="plain"),
        "wait": lambda: shop.search(rows[0], min_version=1000, timeout=500),
        "wait of a reader": lambda: reader.search(rows[0], min_version=1000, timeout=500),
        "verify": lambda: kith.Collection.verify(sys.argv[1]),
        "export": lambda: shop.export(sys.argv[1] + ".npy"),
        "compact": lambda: (shop.add([1], rows[:1]), shop.compact()),
    }[sys.argv[2]]

    def press():
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    try:
        while True:
            work()
    except KeyboardInterrupt:
        print("interrupted", shop.search(rows[5], 1).ids.tolist())
"""


@pytest.mark.parametrize("work", ["search", "wait", "wait of a reader", "verify", "export", "compact"])
def test_ctrl_c_stops(work, tmp_path):
    done = run(INTERRUPTED, tmp_path / "x", work)
    assert done.stdout == "interrupted [5]\n", done.stderr


@pytest.mark.folder
def test_a_fork_is_refused_and_harmless(shop, rows):
    shop.add([1], rows[:1])
    child = os.fork()
    if child == 0:
        status = 1
        try:
            shop.search(rows[0])
        except kith.ArgumentError as error:
            status = 0 if "forked" in str(error) else 2
        finally:
            shop.close()
            with kith.Collection(shop.path or sys.argv[0], read_only=True) as reader:
                status = status or (0 if len(reader) == 1 else 3)
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert shop.add([2], rows[1:2]).inserted == 1 and shop.search(rows[1], k=1).ids.tolist() == [2]


def test_nothing_is_left_when_the_interpreter_ends(tmp_path):
    done = run("""
        import sys, kith
        memory = kith.Collection.create(None, dim=2)
        memory.add([1], [[1, 2]])
        memory.compact()
        kept = kith.Collection.create(sys.argv[1], dim=2)
        kept.add([1], [[1, 2]])
        hits = kept.search([1, 2], payload=True)
    """, tmp_path / "x")
    assert done.returncode == 0 and done.stderr == ""
    kith.Collection(tmp_path / "x").close()


# ---- Files -----------------------------------------------------------------------------------------------------------


def same(a, b):
    for one, other in zip(a.scroll(vectors=True), b.scroll(vectors=True), strict=True):
        assert one[:2] == other[:2] and one.expires == other.expires and list(one.vectors) == list(other.vectors)
        assert all(np.array_equal(one.vectors[name], other.vectors[name]) for name in one.vectors)


@pytest.mark.parametrize("name", ["x.npy", "x", "x.parquet"])
def test_export_and_load(tmp_path, rows, named, name):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    numbers = kith.Collection.create(None, dim=DIM, background=False)
    numbers.add(range(9000), np.resize(rows, (9000, DIM)), payloads(9000),
                expires=[4e9 + i if i % 2 else None for i in range(9000)])
    named.add(["a", "ü", "c"], {"image": np.eye(4)[:3], "title": [[1, 2], None, [3, 4]]}, [{"n": 1}, None, {}])
    other = kith.Collection.create(None, vectors={"image": (4, "f16", "cosine"), "title": 2}, ids="string")
    bits = kith.Collection.create(None, dim=16, dtype="b1")
    bits.add([5, 6], np.arange(4, dtype="u1").reshape(2, 2))
    for made, again in ((numbers, kith.Collection.create(None, dim=DIM)), (named, other),
                        (bits, kith.Collection.create(None, dim=16, dtype="b1"))):
        seen = []
        assert made.export(tmp_path / name, progress=lambda *told: seen.append(told)) == len(made)
        assert seen[-1] == ("exporting", len(made), len(made))
        assert again.load(tmp_path / name, progress=lambda *told: seen.append(told)).inserted == len(made)
        assert seen[-1] == ("loading", len(made), len(made))
        same(made, again)
        assert not [path for path in os.listdir(tmp_path) if path.startswith(".")]
    assert numbers.export(tmp_path / name, where='color = "red" and price < 9') == 6


def test_exports_that_fail_leave_the_old_files(tmp_path, shop, rows):
    shop.add(range(10), rows[:10])
    shop.export(tmp_path / "x.npy")
    before = (tmp_path / "x.npy").read_bytes(), sorted(os.listdir(tmp_path))
    shop.add(range(20), rows[:20])
    with pytest.raises(kith.CancelledError, match="exporting"):
        shop.export(tmp_path / "x.npy", progress=lambda *_: True)
    with pytest.raises(kith.ArgumentError, match="column"):
        shop.export(tmp_path / "x.npy", where="price <")
    with pytest.raises(kith.MissingFileError, match="nowhere"):
        shop.export(tmp_path / "nowhere" / "x.npy")
    assert ((tmp_path / "x.npy").read_bytes(), sorted(os.listdir(tmp_path))) == before
    assert np.load(tmp_path / "x.npy").shape == (10, DIM)


def test_loading_tables(tmp_path, rows):
    pd, pa = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"id": range(50), "vector": list(rows[:50]), "color": ["red", None] * 25,
                          "price": np.arange(50)})
    expected = [{"color": "red", "price": 0}, {"price": 1}]
    frame.to_parquet(tmp_path / "t.parquet")
    tables = [frame, pa.Table.from_pandas(frame), tmp_path / "t.parquet", frame.rename(columns={"vector": "embedding"})]
    if pl := __import__("importlib").util.find_spec("polars") and __import__("polars"):
        tables.append(pl.from_pandas(frame))
    for table in tables:
        with kith.Collection.create(None, dim=DIM) as shop:
            assert shop.load(table).inserted == 50
            assert [item.payload for item in shop.get([0, 1])] == expected and np.array_equal(shop[7].vector, rows[7])
            for wrong, text in ((frame.drop(columns="id"), "no column 'id'"),
                                (frame.drop(columns="vector"), "no column of vectors")):
                with pytest.raises(kith.ArgumentError, match=text):
                    shop.load(wrong)


def test_loading_vectors(tmp_path, rows):
    np.save(tmp_path / "v.npy", rows)
    (tmp_path / "p.jsonl").write_text("".join(f'{{"n": {i}}}\n' for i in range(300)))
    with kith.Collection.create(None, dim=DIM) as shop:
        assert shop.load(tmp_path / "v.npy", payloads=tmp_path / "p.jsonl").inserted == 300
        assert shop[299].payload == {"n": 299} and np.array_equal(shop[299].vector, rows[299])
        assert shop.load(rows, ids=range(300, 600), payloads=[{}] * 300).inserted == 300
        with pytest.raises(kith.DataError, match="items 0 to 299"):
            shop.load(rows, mode="insert")
        with pytest.raises(kith.ArgumentError, match="mode 'put'"):
            shop.load(rows, mode="put")
        with pytest.raises(kith.ArgumentError, match="payloads: there are 2 for 300"):
            shop.load(rows, payloads=[{}, {}])
        with pytest.raises(TypeError, match="'a' is a string"):
            shop.load(rows[:1], ids=["a"])
        with pytest.raises(kith.CancelledError, match="300 items are written"):
            shop.load(rows, progress=lambda *_: True)
        (tmp_path / "p.jsonl").write_text('{"n": 1}\n{"n"\n')
        with pytest.raises(kith.FormatError, match="p.jsonl: line 2"):
            shop.load(rows[:2], payloads=tmp_path / "p.jsonl")


@pytest.mark.folder
def test_loading_at_once(tmp_path):
    rows = np.random.default_rng(5).standard_normal((6000, DIM)).astype(np.float32)
    bodies = [{"n": i, "color": "rb"[i % 2]} if i % 7 else None for i in range(6000)]
    seen = []
    path = tmp_path / "at-once"
    with kith.Collection.create(path, dim=DIM, fields={"color": "tag"}) as shop:
        shop.add(range(5), rows[5:10], [{"old": 1}] * 5)
        assert shop.load(rows, payloads=bodies, progress=lambda *told: seen.append(told)) == (2, 5995, 5, 0, 0)
        assert seen[-1] == ("loading", 6000, 6000) and len({told[0] for told in seen}) > 3
        assert [item.payload for item in shop.get([0, 1, 5999])] == [None, bodies[1], bodies[5999]]
        assert np.array_equal(shop[3].vector, rows[3]) and shop.info["segments"] == 1
        assert shop.count("color = 'r'") == sum(body is not None and body["color"] == "r" for body in bodies)
        assert np.array_equal(shop.search(rows[:9], k=1).ids.ravel(), np.arange(9))
        with pytest.raises(kith.DataError, match=r"row 0 \(id 0\): is there already"):
            shop.load(rows, mode="insert")
        with pytest.raises(kith.DataError, match=r"row 4 \(id 9004\): .*color"):
            shop.load(rows, ids=np.arange(9000, 15000), payloads=[{"color": {} if i == 4 else "x"} for i in range(6000)])
        with pytest.raises(kith.ArgumentError, match="there are 2 for 6000"):
            shop.load(rows, payloads=[{}, {}])
        with pytest.raises(TypeError, match="'a' is a string"):
            shop.load(rows, ids=["a"] * 6000)
        with pytest.raises(kith.ArgumentError, match="some thousand at a time"):
            shop.load(rows, mode="update", resume=True)
        with pytest.raises(kith.ArgumentError, match="no vector 'x'"):
            shop.load(rows, name="x")
        with pytest.raises(kith.CancelledError):
            shop.load(rows, progress=lambda stage, *_: not stage.endswith("items"))
        assert os.path.exists(path / "load")
        assert shop.load(rows, payloads=None, resume=True).replaced == 6000
        assert shop[1].payload is None and len(shop) == 6000 and not os.path.exists(path / "load")


def test_loading_files_and_names_at_once(tmp_path):
    rows = np.random.default_rng(6).standard_normal((5000, 4)).astype(np.float32)
    np.save(tmp_path / "v.npy", rows)
    (tmp_path / "p.jsonl").write_text("".join(f'{{"n": {i}}}\n' for i in range(5000)))
    with kith.Collection.create(None, vectors={"image": (4, "f16", "cosine"), "title": 2}, ids="string") as named:
        ids = [f"ü{i}" for i in range(5000)]
        written = named.load({"image": tmp_path / "v.npy", "title": rows[:, :2].astype(np.float64)}, ids,
                             tmp_path / "p.jsonl")
        assert written.inserted == 5000 and named["ü42"].payload == {"n": 42}
        assert np.array_equal(named["ü42"].vectors["title"], rows[42, :2])
        assert np.array_equal(named["ü42"].vectors["image"], rows[42].astype(np.float16).astype(np.float32))
        assert named.load(rows[:, :2], ids, name="title").replaced == 5000
        assert list(named["ü42"].vectors) == ["title"]
        with pytest.raises(kith.ArgumentError, match="5000 and 1 rows|1 and 5000 rows"):
            named.load({"image": rows, "title": rows[:1, :2]}, ids)
        (tmp_path / "p.jsonl").write_text("{}\n" * 4999)
        with pytest.raises(kith.FormatError, match="p.jsonl: has 4999 lines"):
            named.load(rows, ids, tmp_path / "p.jsonl", name="image")


def test_loading_tables_at_once(tmp_path):
    pd, pa = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    rows = np.random.default_rng(7).standard_normal((5000, DIM)).astype(np.float32)
    frame = pd.DataFrame({"id": np.arange(5000)[::-1], "vector": list(rows), "price": np.arange(5000)})
    frame.to_parquet(tmp_path / "t.parquet")
    for table in (frame, pa.Table.from_pandas(frame), tmp_path / "t.parquet"):
        with kith.Collection.create(None, dim=DIM) as shop:
            assert shop.load(table, mode="insert").inserted == 5000
            assert shop.info["segments"] == 1 and shop[4999].payload == {"price": 0}
            assert np.array_equal(shop[4990].vector, rows[9])


def test_loading_lines(tmp_path, named):
    path = tmp_path / "x.jsonl"
    path.write_text('{"id": "a", "vectors": {"title": [1, 2]}, "payload": {"n": 1}}\n'
                    '{"id": "b", "vectors": {"title": [3, 4], "image": [1, 0, 0, 0]}, "n": 2, '
                    '"expires": 4000000000000}\n'
                    '{"id": "c"}\n')
    assert named.load(path).inserted == 3
    assert [item.payload for item in named.scroll()] == [{"n": 1}, {"n": 2}, None]
    assert list(named["a"].vectors) == ["title"] and len(named["b"].vectors) == 2 and not named["c"].vectors
    assert named["b"].expires.year == 2096
    path.write_text('{"id": "a"}\n{"id": "b", "vector": [1, 2]}\n')
    with pytest.raises(kith.FormatError, match="x.jsonl: line 2: the collection has no vector called ''"):
        named.load(path)
    with kith.Collection.create(None, dim=2) as shop:
        path.write_text('{"id": 1, "vector": [1, 2], "n": 1}\n')
        assert shop.load(path).inserted == 1 and shop[1].payload == {"n": 1} and shop[1].vector.tolist() == [1, 2]


def test_pairs_that_do_not_go_together(tmp_path, shop, rows):
    np.save(tmp_path / "x.npy", rows[:3])
    for text, message in (('{"id": 1}\n', "has 1 lines for 3 vectors"), ('{"id": 1}\n' * 4, "line 4: there are 3"),
                          ('{"id": 1}\n[]\n', "line 2: an object"), ('{"id": 1}\n{\n', "line 2")):
        (tmp_path / "x.jsonl").write_text(text)
        with pytest.raises(kith.FormatError, match=message):
            shop.load(tmp_path / "x.npy")
    os.unlink(tmp_path / "x.npy")
    with pytest.raises(kith.MissingFileError, match="no vectors beside it"):
        shop.load(tmp_path / "x")
    with pytest.raises(kith.MissingFileError):
        shop.load(tmp_path / "nothing.parquet")
    (tmp_path / "y.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(kith.FormatError, match="y.parquet"):
        shop.load(tmp_path / "y.parquet")


# ---- Profiles --------------------------------------------------------------------------------------------------------


def test_a_profile(shop, rows):
    shop.add(range(300), rows)
    with pytest.raises(kith.NotFoundError):
        shop.profile("ann")
    shop.event("ann", like=7)
    about = shop.profile("ann")
    assert about["vectors"].shape == (1, DIM) and about["weights"].tolist() == [1.0] and about["seen"] == 1
    assert about["half_life"] is None and about["interests"] == 1 and about["vector"] == ""
    plain = shop.search(rows[7], k=11)
    hits = shop.search(profile="ann", k=10)
    assert hits.ids.shape == (10,) and hits.ids.tolist() == plain.ids.tolist()[1:]
    assert shop.search(profile="ann", k=10, leave_out_seen=False).ids.tolist() == plain.ids.tolist()[:10]
    shop.event("ann", seen=hits.ids[:3].tolist())  # and they change at once
    assert shop.search(profile="ann", k=5).ids.tolist() == plain.ids.tolist()[4:9]
    blended = shop.search(rows[9], profile="ann", blend=1.0, k=5).ids
    assert blended.tolist() == [i for i in shop.search(rows[9], k=20).ids.tolist() if i not in
                                {7, *hits.ids[:3].tolist()}][:5]
    diverse = shop.search(rows[7], k=10, diversity=0.9).ids.tolist()
    assert len(set(diverse)) == 10 and diverse[0] == 7 and diverse != plain.ids.tolist()[:10]
    shop.forget("ann")
    with pytest.raises(kith.NotFoundError):
        shop.search(profile="ann")


def test_interests_and_time(named):
    named.add(["a", "b", "c"], {"image": [[1, 0, 0, 0], [0, 1, 0, 0], [1, 0.1, 0, 0]], "title": np.eye(3, 2)})
    day = datetime.timedelta(days=1)
    now = datetime.datetime.now(UTC)
    named.event("x", like="a", time=now - day, vector="image", interests=4, half_life=day)
    named.event("x", like="b", time=now)
    about = named.profile("x")
    assert about["weights"] == pytest.approx([0.5, 1], abs=1e-6) and about["half_life"] == 86400
    assert about["vectors"] == pytest.approx(np.eye(2, 4))
    assert named.search(profile="x").ids.tolist()[0] == "c"
    named.event("x", dislike=["b"], view="c")
    assert len(named.profile("x")["weights"]) == 1
    asyncio.run(named.aevent("x", like="c"))


def test_new_vectors_and_a_profile(shop, rows):
    shop.add(range(300), rows)
    shop.event("ann", like=[7, 8])
    shop.event("bo", like=9)
    shop.update([7, 8], rows[[100, 101]])
    shop.delete(9)
    before = shop.profile("ann")
    assert shop.profile("ann")["vectors"] == pytest.approx(before["vectors"])
    assert shop.rebuild_profile("ann") == {"profiles": 1, "events": 2, "skipped": 0}
    shop.event("other", like=[7, 8])
    assert shop.profile("ann")["vectors"] == pytest.approx(shop.profile("other")["vectors"])
    assert shop.profile("ann")["vectors"] != pytest.approx(before["vectors"])
    calls = []
    told = shop.rebuild_profile(progress=lambda *state: calls.append(state))
    assert told == {"profiles": 3, "events": 5, "skipped": 1} and len(shop.profile("bo")["weights"]) == 0
    with pytest.raises(kith.NotFoundError, match="nobody"):
        shop.rebuild_profile("nobody")
    assert (shop.info["profile_cache_bytes"] == 0) == (shop.path is not None), "a server keeps a cache"


def test_mistakes_with_profiles(shop, rows):
    shop.add(range(300), rows)
    for wrong in ({"like": 999}, {"like": [1, 999]}):
        with pytest.raises(kith.NotFoundError, match="999"):
            shop.event("x", **wrong)
    for wrong in ({"interests": 17}, {"threshold": 2}, {"half_life": 0}, {"weight": -1.0}, {"remember": 0}, {"time": -5}):
        with pytest.raises(kith.ArgumentError):
            shop.event("x", like=1, **wrong)
    for wrong in ({}, {"diversity": 2, "Q": rows[0]}, {"blend": 0.5, "Q": rows[0]}, {"profile": "x\0"}):
        with pytest.raises(kith.ArgumentError):
            shop.search(**wrong)
    shop.event("x", seen=3)
    with pytest.raises(kith.NotFoundError, match="no interests yet"):
        shop.search(profile="x")
    with pytest.raises(kith.ArgumentError):
        shop.search(rows[:2], profile="x")
