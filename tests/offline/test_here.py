# SPDX-License-Identifier: Apache-2.0
"""Builds and joins in this process: what they answer, and what they refuse. The clusters' own tests are beside this."""
import json
import os
import pathlib
import shutil

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import DIM, ITEMS, K, NAMES, lists_of
from here import Here, build_here, generation_here, join_here

import kith
from kith._offline import places, shards
from kith._offline.columns import hashes


@pytest.fixture(autouse=True)
def copies(tmp_path, monkeypatch):
    monkeypatch.setenv("KITH_OFFLINE_CACHE", str(tmp_path / "copies"))
    return tmp_path / "copies"


# ---- Answers ---------------------------------------------------------------------------------------------------------


def test_one_index(world):
    world.check(join_here(world.users_path, world.index.path, K, **NAMES))


@pytest.mark.parametrize("count, by", [(1, "hash"), (4, "hash"), (3, "cluster"), (2, "segment")])
def test_shards_answer_as_one_index(world, tmp_path, count, by):
    made = build_here(world.items_path, tmp_path / "shards", shards=count, by=by, segment="segment")
    assert (made.rows, made.dim, made.by, len(made.shards)) == (ITEMS, DIM, by, count)
    world.check(join_here(world.users_path, str(tmp_path / "shards"), K, **NAMES))
    assert join_here(world.users_path, made, 2, tasks=1, **NAMES).num_rows == len(world.users)


def test_more_shards_than_items(world, tmp_path):
    few = pa.table({"id": world.ids[:5], "vector": lists_of(world.items[:5])})
    made = build_here(few, tmp_path / "few", shards=20)
    assert 0 in [shard.rows for shard in made.shards] and made.rows == 5
    index = kith.Index.build(world.items[:5], world.ids[:5])
    world.check(join_here(world.users_path, made, K, **NAMES), tuple(index.search(world.queries, K)))


def test_frames_and_other_types(world, tmp_path):
    items = pa.table({"key": pa.array(world.ids.astype("u4")),
                      "v": pa.array(list(world.items.astype("f8")), pa.list_(pa.float64()))})
    made = build_here(items, tmp_path / "f", shards=2, id="key", vector="v", index="flat")
    queries = pa.table({"user": pa.array(world.users.astype("i4")), "taste": lists_of(world.queries.astype("f2"))})
    world.check(join_here(queries, made, K, **NAMES))


def test_strings_are_ordered_by_their_bytes(world, tmp_path):
    names = [f"{'ü' if i % 3 else 'z'}{i}" for i in range(ITEMS)]
    order = sorted(range(ITEMS), key=lambda i: names[i].encode())
    index = kith.Index.build(world.items[order], [names[i] for i in order])
    made = build_here(pa.table({"id": names, "vector": lists_of(world.items)}), tmp_path / "s", shards=3)
    assert made.id_kind == "string"
    queries = pa.table({"user": [f"user {i}" for i in world.users], "taste": lists_of(world.queries)})
    table = join_here(queries, made, K, **NAMES)
    got = {row["id"]: row["ids"] for row in table.to_pylist()}
    found = index.search(world.queries, K)
    assert [got[f"user {i}"] for i in world.users] == found.ids.tolist()


def test_large_ids(tmp_path, world):
    ids = world.ids.astype("u8") + np.uint64(2**63)
    made = build_here(pa.table({"id": ids, "vector": lists_of(world.items)}), tmp_path / "w", shards=2)
    assert made.id_kind == "uint64"
    truth = kith.Index.build(world.items, ids).search(world.queries, K)
    world.check(join_here(world.users_path, made, K, **NAMES), (truth.ids, truth.distances))


@pytest.mark.parametrize("count", [1, 3])
def test_segments(world, tmp_path, count):
    made = build_here(world.items_path, tmp_path / "by", shards=count, by="segment", segment="segment")
    table = join_here(world.users_path, made, K, by="segment", segment="country", **NAMES)
    world.check(table, world.by_segment())
    assert dict(zip(table["id"].to_pylist(), table["segment"].to_pylist())) == dict(
        zip(world.users.tolist(), world.segments.tolist()))


def test_segments_that_are_numbers(world, tmp_path):
    number = pa.array((world.ids % 7).astype("i2"))
    made = build_here(pa.table({"id": world.ids, "vector": lists_of(world.items), "s": number}), tmp_path / "n",
                      shards=2, by="segment", segment="s")
    asked = pa.table({"id": world.users, "vector": lists_of(world.queries), "s": world.users % 7})
    table = join_here(asked, made, K, by="segment", segment="s")
    assert all(id % 7 == row["segment"] for row in table.to_pylist() for id in row["ids"])
    with pytest.raises(kith.ArgumentError, match="type string, but the items' segments are of type int64"):
        join_here(world.users_path, made, K, by="segment", segment="country", **NAMES)


def test_target_recall(world, tmp_path):
    rng = np.random.default_rng(3)
    centres = rng.standard_normal((40, DIM), dtype="f4") * 3
    items = centres[rng.integers(0, 40, 20_000)] + rng.standard_normal((20_000, DIM), dtype="f4")
    queries = centres[rng.integers(0, 40, 400)] + rng.standard_normal((400, DIM), dtype="f4")
    table = pa.table({"id": np.arange(20_000), "vector": lists_of(items)})
    made = build_here(table, tmp_path / "r", shards=2, index="ivf", lists=40)
    asked = pa.table({"id": np.arange(400), "vector": lists_of(queries)})
    exact = join_here(asked, made, K).sort_by("id")["ids"].to_pylist()
    found = join_here(asked, made, K, target_recall=0.9).sort_by("id")["ids"].to_pylist()
    assert sum(len({*a} & {*b}) for a, b in zip(exact, found)) / (400 * K) > 0.88
    assert join_here(asked, made, K, target_recall=0.9).sort_by("id")["ids"].to_pylist() == found


def test_a_build_again_gives_the_same_bytes(world, tmp_path):
    first = build_here(world.items_path, tmp_path / "a", shards=2)
    table = pq.read_table(world.items_path)
    table = table.take(np.random.default_rng(1).permutation(table.num_rows))
    again = build_here(table, tmp_path / "b", shards=2)
    assert first.shards == again.shards
    for shard in first.shards:
        assert (tmp_path / "a" / shard.file).read_bytes() == (tmp_path / "b" / shard.file).read_bytes()
    with pytest.raises(kith.ArgumentError, match="is there already"):
        build_here(world.items_path, tmp_path / "a", shards=3)
    more = build_here(world.items_path, tmp_path / "a", shards=3, replace=True)
    assert sorted(os.listdir(tmp_path / "a")) == sorted(["manifest.json", *(shard.file for shard in more.shards)])


def test_hashes_stay():
    """Queries of tomorrow must find the segments of today."""
    assert hashes(pa.array([0, 1, -1])).tolist() == [16294208416658607535, 10451216379200822465, 16490336266968443936]
    assert hashes(pa.array(["", "de"])).tolist() == [16294208416658607535, 3644810998259634282]


# ---- What is refused -------------------------------------------------------------------------------------------------


def spoilt(world, folder, **columns):
    """The users, with a column replaced, in two files of several row groups."""
    table = pq.read_table(world.users_path)
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, values)
    return world.write(folder, dict(zip(table.column_names, table.columns)), 2, group=90)


def tastes(world, row, value):
    rows = world.queries.tolist()
    rows[row] = value
    return pa.array(rows, pa.list_(pa.float32()))


@pytest.mark.parametrize("value, complaint", [
    (None, "part-1.parquet: column 'taste': row 93: is missing"),
    ([1.0] * (DIM - 1), "part-1.parquet: column 'taste': row 93 has 23 elements"),
    ([1.0] * (DIM - 1) + [None], "part-1.parquet: column 'taste': row 93, element 23: is missing"),
    ([1.0] * (DIM - 1) + [float("nan")], "part-1.parquet: column 'taste': row 93: has an element that is not finite"),
])
def test_vectors_name_file_and_row(world, tmp_path, value, complaint):
    path = spoilt(world, tmp_path / "bad", taste=tastes(world, 250 + 93, value))
    with pytest.raises(kith.DataError, match=complaint):
        join_here(path, world.index.path, K, **NAMES)
    with pytest.raises(kith.DataError, match=complaint):
        build_here(path, tmp_path / "never", shards=2, **NAMES)
    assert not (tmp_path / "never" / "manifest.json").exists()


def test_wrong_dimension_of_all(world, tmp_path):
    path = world.write(tmp_path / "bad", {"id": world.users, "vector": lists_of(world.queries[:, :7])}, 1)
    with pytest.raises(kith.DataError, match="part-0.parquet: column 'vector': row 0 has 7 elements, but the index has "
                                             f"{DIM}"):
        join_here(path, world.index.path, K)


def test_ids_and_segments_without_value(world, tmp_path):
    users = pa.array([None if i == 300 else user for i, user in enumerate(world.users.tolist())])
    with pytest.raises(kith.DataError, match="part-1.parquet: column 'user': row 50: is missing"):
        join_here(spoilt(world, tmp_path / "u", user=users), world.index.path, K, **NAMES)
    made = build_here(world.items_path, tmp_path / "by", by="segment", segment="segment")
    countries = pa.array([None if i == 7 else "de" for i in range(len(users))])
    with pytest.raises(kith.DataError, match="part-0.parquet: column 'country': row 7: is missing"):
        join_here(spoilt(world, tmp_path / "c", country=countries), made, K, by="segment", segment="country", **NAMES)


def test_frames_name_the_id(world):
    queries = pa.table({"id": world.users, "vector": tastes(world, 3, None)})
    with pytest.raises(kith.DataError, match=rf"the row with the id {world.users[0]}: column 'vector': row 3: is miss"):
        join_here(queries, world.index.path, K)


def test_zero_vectors_under_cosine(world, tmp_path):
    items = world.items.copy()
    items[5] = 0
    with pytest.raises(kith.DataError, match="row 5: is a zero vector, which has no cosine"):
        build_here(pa.table({"id": world.ids, "vector": lists_of(items)}), tmp_path / "z", metric="cosine")


def test_ids_that_come_twice(world, tmp_path):
    twice = np.where(np.arange(ITEMS) == 8, world.ids[9], world.ids)
    for by in ("hash", "cluster"):
        with pytest.raises(kith.DataError, match=f"{world.ids[9]}"):
            build_here(pa.table({"id": twice, "vector": lists_of(world.items)}), tmp_path / by, shards=2, by=by)
    made = build_here(world.items_path, tmp_path / "good", shards=2)
    queries = pa.table({"id": np.full(4, 7), "vector": lists_of(world.queries[:4])})
    with pytest.raises(kith.DataError, match="the id 7 comes twice"):
        join_here(queries, made, K)
    assert join_here(queries, world.index.path, K).num_rows == 4  # with one index nothing is put together


def test_an_engine_that_loses_rows(world, tmp_path, monkeypatch):
    made = build_here(world.items_path, tmp_path / "good", shards=2)
    monkeypatch.setattr(Here, "union", lambda self, frames: frames[0])
    with pytest.raises(kith.DataError, match="has answers of 1 of 2 shards"):
        join_here(world.users_path, made, K, **NAMES)


def test_nothing_to_read(world, tmp_path):
    empty = pq.read_table(world.users_path).slice(0, 0)
    pq.write_table(empty, tmp_path / "empty.parquet")
    with pytest.raises(kith.DataError, match="has no rows"):
        join_here(str(tmp_path / "empty.parquet"), world.index.path, K, **NAMES)
    with pytest.raises(kith.MissingFileError):
        join_here(str(tmp_path / "absent.parquet"), world.index.path, K)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(kith.MissingFileError, match="no Parquet files"):
        join_here(str(tmp_path / "nothing"), world.index.path, K)
    (tmp_path / "no.parquet").write_text("no")
    with pytest.raises(kith.FormatError, match="no.parquet"):
        join_here(str(tmp_path / "no.parquet"), world.index.path, K)
    with pytest.raises(kith.ArgumentError, match="has no column 'vector'; it has name, user, taste, country"):
        join_here(world.users_path, world.index.path, K, id="user")
    with pytest.raises(kith.DataError, match="have no rows"):
        build_here(pa.table({"id": pa.array([], pa.int64()), "vector": pa.array([], pa.list_(pa.float32()))}),
                   tmp_path / "none", shards=2)


@pytest.mark.parametrize("options", [
    {"k": 0}, {"target_recall": 2}, {"threads": 0}, {"by": "hash"}, {"by": "segment", "segment": "country"}])
def test_arguments_of_a_join(world, options):
    with pytest.raises(kith.ArgumentError):
        join_here(world.users_path, world.index.path, **options, **NAMES)


@pytest.mark.parametrize("options", [
    {"shards": 0}, {"by": "colour"}, {"metric": "jaccard"}, {"by": "segment"}, {"colour": 3}, {"lists": 0}])
def test_arguments_of_a_build(world, tmp_path, options):
    with pytest.raises(kith.ArgumentError):
        build_here(world.items_path, tmp_path / "x", **options)
    assert not (tmp_path / "x").exists()


# ---- Shards that do not belong ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def good(world, tmp_path_factory):
    return build_here(world.items_path, tmp_path_factory.mktemp("good") / "good", shards=2, by="segment",
                      segment="segment")


@pytest.fixture
def copy(good, tmp_path):
    shutil.copytree(good.path, tmp_path / "copy")
    return tmp_path / "copy"


def test_missing_shards(world, good, copy):
    (copy / good.shards[1].file).unlink()
    with pytest.raises(kith.MissingFileError, match=good.shards[1].file):
        join_here(world.users_path, copy, K, **NAMES)
    (copy / "manifest.json").unlink()
    with pytest.raises(kith.MissingFileError, match="their build has not ended"):
        join_here(world.users_path, copy, K, **NAMES)


def test_shards_of_another_build(world, good, copy, tmp_path):
    shutil.copy(world.index.path, copy / good.shards[0].file)
    with pytest.raises(kith.CorruptError, match=f"{good.shards[0].file}: is of another build"):
        join_here(world.users_path, copy, K, **NAMES)


def test_segments_of_another_build(good, copy):
    beside = [copy / f"{shard.file}.segments" for shard in good.shards]
    shutil.copy(beside[0], beside[1])
    with pytest.raises(kith.CorruptError, match="segments: is of another build"):
        shards.load(copy)


def test_damaged_shards(good, copy):
    with open(copy / good.shards[0].file, "r+b") as file:
        file.truncate(5000)
    with pytest.raises(kith.CorruptError):
        shards.load(copy)


@pytest.mark.parametrize("change", [
    lambda about: about.update(dim=7), lambda about: about["shards"].pop(), lambda about: about.update(format=2),
    lambda about: about.update(kith="else"), lambda about: about["shards"][0].update(file="../../etc/passwd"),
    lambda about: about["shards"][0].update(rows=-1), lambda about: about.update(shards=[]),
    lambda about: about["shards"][0].update(colour=1), lambda about: about.pop("by")])
def test_a_manifest_that_was_changed(copy, change):
    about = json.loads((copy / "manifest.json").read_text())
    change(about)
    for honest in (False, True):
        if honest:
            about["hash"] = shards._hash_of(about)
        (copy / "manifest.json").write_text(json.dumps(about))
        with pytest.raises((kith.CorruptError, kith.VersionError)):
            shards.load(copy)
    (copy / "manifest.json").write_text("[" * 100)
    with pytest.raises(kith.CorruptError):
        shards.load(copy)


# ---- Elsewhere -------------------------------------------------------------------------------------------------------


def test_shards_elsewhere(world, copies):
    """Another file system, from the items to the answers; indexes are copied once, and an old copy goes."""
    far = fsspec.filesystem("memory")
    for name in os.listdir(world.items_path):
        far.put_file(f"{world.items_path}/{name}", f"/far/items/{name}")
    made = build_here("memory://far/items", "memory://far/shards", shards=2, by="segment", segment="segment")
    assert far.exists("/far/shards/manifest.json")
    world.check(join_here(world.users_path, "memory://far/shards", K, **NAMES))
    held = {name: os.stat(copies / name).st_mtime_ns for name in os.listdir(copies) if name.endswith(".kith")}
    assert len(held) == 2
    join_here(world.users_path, "memory://far/shards", K, by="segment", segment="country", **NAMES)
    assert len([name for name in os.listdir(copies) if name.endswith(".kith")]) == 4  # and what lies beside them
    assert {name: os.stat(copies / name).st_mtime_ns for name in held} == held
    far.put_file(world.index.path, "/far/one.kith")
    world.check(join_here(world.users_path, "memory://far/one.kith", K, **NAMES))
    some = pa.table({"id": world.ids[:50], "vector": lists_of(world.items[:50])})
    kith.Index.build(world.items[:60], path=str(copies.parent / "other.kith"))
    far.put_file(str(copies.parent / "other.kith"), "/far/one.kith")
    assert shards.load("memory://far/one.kith").rows == 60
    assert len([name for name in os.listdir(copies) if name.endswith(".kith")]) == 5
    with pytest.raises(kith.ArgumentError, match="is there already"):
        build_here(some, "memory://far/shards")
    far.rm_file(f"/far/shards/{made.shards[0].file}")
    shutil.rmtree(copies)
    shards._opened.cache_clear()
    with pytest.raises(kith.MissingFileError, match=made.shards[0].file):
        join_here(world.users_path, "memory://far/shards", K, **NAMES)


def test_a_damaged_copy(world, tmp_path, copies):
    data = bytearray(pathlib.Path(world.index.path).read_bytes())
    data[-100] ^= 1
    fsspec.filesystem("memory").pipe_file("/far/damaged.kith", bytes(data))
    with pytest.raises(kith.CorruptError, match="memory://far/damaged.kith"):
        shards.load("memory://far/damaged.kith")
    assert not [name for name in os.listdir(copies) if not name.endswith(".lock")]


def test_paths():
    assert places.is_local("/a/b") and places.is_local("file:///a") and not places.is_local("s3://a/b")
    assert not places.is_local("zip://a::file:///b.zip")
    assert places.join("s3://a/b/", "c") == "s3://a/b/c" and places.join("/a", "c") == "/a/c"
    assert places.join("zip://a::file:///b.zip", "c") == "zip://a/c::file:///b.zip"
    with pytest.raises(kith.ArgumentError, match="nonsense"):
        places.exists("nonsense://a")


# ---- The next generation ---------------------------------------------------------------------------------------------


@pytest.fixture
def shop(world):
    made = kith.Collection.create(None, dim=DIM, model="old")
    made.add(world.ids, world.items)
    return made


def test_the_next_generation(world, shop, tmp_path):
    rng = np.random.default_rng(2)
    new = rng.standard_normal((ITEMS, 5), dtype="f4")
    ids = np.append(world.ids, 10**9)  # one that the collection does not have
    path = world.write(tmp_path / "new", {"id": ids, "vector": lists_of(np.vstack([new, new[:1]]))}, 2, group=300)
    done = generation_here(path, shop, model="new")
    assert (done["from"], done["to"], done["generation"], done["updated"], done["missing"]) == (1, 2, 2, ITEMS, 1)
    assert shop.info["model"] == "new" and shop.search(new[3], k=1).ids.tolist() == [world.ids[3]]
    done = generation_here(pa.table({"id": world.ids, "vector": lists_of(world.items)}), shop, model="newer",
                           drop_previous=True)
    assert done["to"] == 3 and [one["number"] for one in shop.generations if one["state"] != "current"] == [1]


def test_a_generation_that_is_refused_leaves_nothing(world, shop):
    states = shop.generations
    half = pa.table({"id": world.ids[:100], "vector": lists_of(world.items[:100])})
    bad = pa.table({"id": world.ids, "vector": pa.array([[1.0] * 4] * 2000 + [[1.0] * 3] * 1000)})
    for given in (half, bad, half.slice(0, 0)):
        with pytest.raises(kith.DataError):
            generation_here(given, shop, model="new")
        assert shop.generations == states
    assert generation_here(half, shop, model="new", flip=False)["with_vectors"] == 100
    assert shop.info["generation"] == 1
    with pytest.raises(TypeError, match="must be a kith.Collection"):
        generation_here(half, "shop", model="new")
