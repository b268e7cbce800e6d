# SPDX-License-Identifier: Apache-2.0
"""Generations of a collection: another model's vectors beside today's, tried, made current, and taken back."""
import asyncio
import json
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import kith

OLD, NEW = 8, 5
COUNT = 200
USERS = [f"user {i}" for i in range(1000)]


@pytest.fixture
def old():
    return np.random.default_rng(3).standard_normal((COUNT + 50, OLD), dtype=np.float32)


@pytest.fixture
def new():
    return np.random.default_rng(4).standard_normal((COUNT + 50, NEW), dtype=np.float32)


@pytest.fixture
def shop(somewhere, old):
    """200 items of the model "old"."""
    made = somewhere.create(dim=OLD, model="old", fields={"price": float})
    made.add(range(COUNT), old[:COUNT], [{"price": i / 2} for i in range(COUNT)])
    return made


@pytest.fixture
def two(shop, new):
    """The same with a second generation, which is whole."""
    assert shop.begin_generation("new", dim=NEW) == 2
    shop.update(range(COUNT), new[:COUNT], generation=2)
    return shop


def nearest(rows, query, k):
    distances = ((rows.astype("f8") - query) ** 2).sum(1)
    return np.lexsort((np.arange(len(rows)), distances))[:k].tolist()


def states(shop):
    return {one["number"]: one["state"] for one in shop.generations}


# ---- From one to the next --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sealed", [False, True])
def test_tomorrows_embeddings(shop, old, new, sealed):
    if sealed:
        shop.compact()
    version = shop.info["version"]
    number = shop.begin_generation("new", dim=NEW)
    assert number == 2 and states(shop) == {1: "current", 2: "building"}
    first, second = shop.generations
    assert first["model"] == "old" and second["model"] == "new" and first["created"] is None
    assert abs(second["created"].timestamp() - time.time()) < 3600 and second["own"] == 1
    assert first["vectors"] == [("", OLD, "f32", "l2")] and second["vectors"] == [("", NEW, "f32", "l2")]
    assert shop.info["generation"] == 1 and shop.info["generations"] == 2 and shop.info["model"] == "old"
    assert shop.search(old[7], k=5).ids.tolist() == nearest(old[:COUNT], old[7], 5)
    assert shop.search(new[7], k=2, generation=2).ids.tolist() == [-1, -1]
    # Half of them, while the first one is searched.
    half = COUNT // 2
    assert shop.update(range(half), new[:half], generation=2)[1:] == (0, half, 0, 0)
    assert shop.info["version"] > version and len(shop) == COUNT and shop[3].payload == {"price": 1.5}
    assert shop.search(old[7], k=5).ids.tolist() == nearest(old[:COUNT], old[7], 5)
    assert shop.search(new[7], k=5, generation=2).ids.tolist() == nearest(new[:half], new[7], 5)
    about = shop.check_generation(2, lacks=True)
    assert (about["number"], about["current"], about["items"]) == (2, 1, COUNT)
    assert (about["with_vectors"], about["lacking"]) == (half, COUNT - half)
    assert sorted(about["lacks"]) == [(i, "") for i in range(half, COUNT)]
    before = shop.info["version"]
    with pytest.raises(kith.DataError):
        shop.flip(2)
    assert shop.info["version"] == before and shop.info["generation"] == 1
    # The others.
    if sealed:
        shop.compact()
    shop.update(range(half, COUNT), new[half:COUNT], generation=2)
    about = shop.check_generation(2)
    assert about["lacking"] == 0 and "lacks" not in about and about["sampled"] == 100
    assert about["recall"] == 1 and 0 <= about["overlap"] < 0.6
    with pytest.raises(kith.DataError):
        shop.flip(2, min_overlap=0.9)
    done = shop.flip(2)
    assert (done["from"], done["to"], done["items"], done["with_vectors"]) == (1, 2, COUNT, COUNT)
    assert done["pause_seconds"] >= 0 and states(shop) == {1: "previous", 2: "current"}
    info = shop.info
    assert (info["generation"], info["model"], info["vectors"]) == (2, "new", [("", NEW, "f32", "l2")])
    hits = shop.search(new[7], k=5, vectors=True, payload=True, explain=True)
    assert hits.ids.tolist() == nearest(new[:COUNT], new[7], 5) and hits.explain["generation"] == 2
    assert np.array_equal(hits.vectors[""], new[hits.ids]) and hits.payloads[0] == {"price": 3.5}
    assert np.array_equal(shop[7].vector, new[7])
    # And back.
    assert shop.flip()["to"] == 1 and states(shop) == {1: "current", 2: "previous"}
    assert shop.search(old[7], k=5).ids.tolist() == nearest(old[:COUNT], old[7], 5)
    assert shop.flip()["to"] == 2
    shop.drop_generation(1)
    assert states(shop) == {2: "current"}
    with pytest.raises(kith.NotFoundError):
        shop.flip()
    with pytest.raises(kith.NotFoundError, match="1"):
        shop.search(old[7], generation=1)
    shop.compact()
    assert shop.search(new[7], k=5).ids.tolist() == nearest(new[:COUNT], new[7], 5)
    assert shop.begin_generation("newer", dim=3) == 3
    if not shop.path:
        return
    shop.close()
    kith.Collection.verify(shop.path)
    with kith.Collection(shop.path, read_only=True) as again:
        assert states(again) == {2: "current", 3: "building"}
        assert again.search(new[9], k=4).ids.tolist() == nearest(new[:COUNT], new[9], 4)


def test_what_is_written_on_both_sides_of_a_flip(two, old, new):
    two.add([COUNT], old[COUNT:COUNT + 1], [{"price": 0}], generations={2: new[COUNT:COUNT + 1]})
    two.add(COUNT + 1, old[COUNT + 1])
    assert two.check_generation(2, lacks=True, sample=0)["lacks"] == [(COUNT + 1, "")]
    assert two.flip(2, min_share=0.99)["with_vectors"] == COUNT + 1
    assert two.search(new[COUNT], k=1).ids.tolist() == [COUNT]
    assert COUNT + 1 in two and two[COUNT + 1].vector is None
    two.update(COUNT + 1, new[COUNT + 1], generations={1: old[COUNT]})
    assert two.search(new[COUNT + 1], k=1).ids.tolist() == [COUNT + 1]
    two.add(COUNT + 2, new[COUNT + 2], generations={1: old[COUNT + 2]})
    two.add(COUNT + 3, new[COUNT + 3])
    two.delete(5)
    two.flip()
    assert two.search(old[COUNT + 2], k=1).ids.tolist() == [COUNT + 2]
    assert two.search(old[COUNT], k=2).ids.tolist() == [COUNT, COUNT + 1]
    assert COUNT + 3 not in two.search(old[0], k=500).ids and 5 not in two.search(old[5], k=500).ids
    two.add(7, old[7])  # as a whole: its vector of the other generation goes
    assert two.get([7], vectors=True, generation=2)[0].vectors == {}
    two.update(8, payloads={"price": 3})
    assert np.array_equal(two.get([8], vectors=True, generation=2)[0].vector, new[8])
    two.update(8, old[0])
    assert np.array_equal(two.get([8], vectors=True, generation=2)[0].vector, new[8])
    two.update(8, new[0], generation=2)
    assert np.array_equal(two.get([8], vectors=True)[0].vector, old[0])


def test_overlap_of_what_is_the_same(shop, old):
    """Turned and moved, all distances are what they were."""
    shop.begin_generation("turned", dim=OLD + 1)
    turned = np.hstack([old[:COUNT, ::-1], np.full((COUNT, 1), 3, "f4")])
    shop.update(range(COUNT), turned, generation=2)
    about = shop.check_generation(2, sample=50, k=5, seed=7)
    assert about["overlap"] == pytest.approx(1, abs=0.02) and about["sampled"] == 50
    assert shop.check_generation(2, sample=50, k=5, seed=7) == about
    assert shop.check_generation(2, sample=0)["sampled"] == 0
    assert shop.flip(2, min_recall=0.95, min_overlap=0.9)["recall"] >= 0.95


@pytest.mark.folder  # a server looks at the dimensions first
def test_models(two, old, new):
    two.search(old[0], model="old")
    two.search(new[0], model="new", generation=2)
    for query, model, options in ((new[0], "new", {}), (old[0], "old", {"generation": 2})):
        with pytest.raises(kith.ArgumentError, match="new") as refusal:
            two.search(query, model=model, **options)
        assert "old" in str(refusal.value)
    two.flip(2)
    two.search(new[0], model="new")
    with pytest.raises(kith.ArgumentError, match="old"):
        two.search(new[0], model="old")
    with pytest.raises(kith.ArgumentError, match="8"):
        two.search(old[0])


def test_named_vectors_are_shared(new):
    with kith.Collection.create(None, vectors={"image": (4, "f16", "cosine"), "title": (2, "f32", "ip")},
                                ids="string") as shop:
        shop.add(["a", "b"], {"image": np.eye(4)[:2], "title": [[1, 2], None]})
        assert shop.begin_generation(vectors={"title": 3}) == 2
        assert shop.generations[1]["vectors"] == [("image", 4, "f16", "cosine"), ("title", 3, "f32", "ip")]
        assert shop.generations[1]["own"] == 1 and shop.generations[1]["model"] == ""
        shop.update("a", {"title": [1, 2, 3]}, generation=2)
        assert shop.check_generation(2)["lacking"] == 0, "b has no title in the current one either"
        item = shop.get(["a"], vectors=True, generation=2)[0]
        assert item.vectors["title"].tolist() == [1, 2, 3] and item.vectors["image"].tolist() == [1, 0, 0, 0]
        shop.flip(2)
        assert shop.search({"image": [1, 0, 0, 0], "title": [1, 2, 3]}, k=1).ids.tolist() == ["a"]
        assert shop.search(np.eye(4)[1], k=1, vector="image").ids.tolist() == ["b"]
        with pytest.raises(kith.ArgumentError, match="several vectors, 'image', 'title'"):
            shop.begin_generation(dim=3)


def test_bits(shop, old):
    table = np.random.default_rng(2).integers(0, 2, (COUNT, 16)).astype(bool)
    shop.begin_generation("bits", dim=16, dtype="b1", metric="hamming")
    shop.update(range(COUNT), table, generation=2)
    shop.update([3], np.packbits(table[3])[None], generation=2)
    assert shop.search(table[9], k=1, generation=2).ids.tolist() == [9]
    assert shop.search(old[9], k=1).ids.tolist() == [9]
    assert np.array_equal(shop.get([3], vectors=True, generation=2)[0].vector, np.packbits(table[3]))
    shop.flip(2)
    assert np.array_equal(shop[3].vector, np.packbits(table[3])) and shop.search(table[9], k=1).ids.tolist() == [9]
    shop.add(3, table[4], generations={1: old[4]})
    shop.flip()
    assert np.array_equal(shop[3].vector, old[4])


# ---- Reading ---------------------------------------------------------------------------------------------------------


def test_vectors_of_whichever_generation(two, old, new, tmp_path):
    for generation, rows in ((1, old), (2, new), (None, old)):
        items = two.get([5, 3], vectors=True, generation=generation)
        assert all(np.array_equal(item.vector, rows[item.id]) for item in items)
        items = list(two.scroll("price < 5", vectors=True, generation=generation))
        assert len(items) == 10 and all(np.array_equal(item.vector, rows[item.id]) for item in items)
        hits = two.search(rows[3], k=4, generation=generation, vectors=True)
        assert np.array_equal(hits.vectors[""], rows[hits.ids])
        assert two.export(tmp_path / "x.npy", generation=generation) == COUNT
        assert np.array_equal(np.load(tmp_path / "x.npy"), rows[:COUNT])
    pages = two.scroll(vectors=True)
    first = next(pages)
    two.flip(2)
    assert np.array_equal(first.vector, old[0]) and np.array_equal(next(pages).vector, old[1])


def test_loading_a_generation(shop, new, tmp_path):
    shop.begin_generation("new", dim=NEW)
    np.save(tmp_path / "v.npy", new[:COUNT])
    with pytest.raises(kith.ArgumentError, match="mode 'upsert' makes whole items"):
        shop.load(tmp_path / "v.npy", generation=2)
    assert shop.load(tmp_path / "v.npy", mode="update", generation=2).replaced == COUNT
    assert shop.check_generation(2)["lacking"] == 0 and shop[9].payload == {"price": 4.5}
    (tmp_path / "l.jsonl").write_text('{"id": 3, "vector": [1, 2, 3, 4, 5]}\n')
    shop.load(tmp_path / "l.jsonl", mode="merge", generation=2)
    assert shop.get([3], vectors=True, generation=2)[0].vector.tolist() == [1, 2, 3, 4, 5]


# ---- Canaries --------------------------------------------------------------------------------------------------------


def test_canaries_grow(two, old, new):
    assert {two.generation_of(user) for user in USERS} == {1}
    sent: set = set()
    for share in (0.02, 0.1, 0.3, 0.8, 1):
        two.canary(2, share)
        assert [one["share"] for one in two.generations] == [0, share]
        now = {user for user in USERS if two.generation_of(user) == 2}
        assert sent <= now and abs(len(now) / len(USERS) - share) < 0.06
        sent = now
    two.canary(2, 0.3)
    for user in USERS[:20]:
        generation = two.generation_of(user)
        rows = (old, new)[generation - 1]
        hits = two.search(rows[7], k=3, user=user, explain=True, vectors=True)
        assert hits.ids.tolist() == nearest(rows[:COUNT], rows[7], 3) and hits.explain["generation"] == generation
        assert np.array_equal(hits.vectors[""], rows[hits.ids])
    assert two.begin_generation("third", dim=3) == 3
    for number in (3, 1):
        with pytest.raises(kith.BusyError):
            two.canary(number, 0.5)
    two.canary(2, 0)
    assert {two.generation_of(user) for user in USERS} == {1}
    two.canary(3, 0.5)
    two.canary(3, 0)
    two.canary(2, 0.5)
    two.flip(2)
    assert {two.generation_of(user) for user in USERS} == {2} and two.generations[1]["share"] == 0
    if two.path:
        with kith.Collection(two.path, read_only=True) as reader:
            assert {reader.generation_of(user) for user in USERS} == {2}


# ---- Mistakes --------------------------------------------------------------------------------------------------------

MISTAKES = [
    (lambda s, r: s.begin_generation("m"), kith.ArgumentError, "needs dim="),
    (lambda s, r: s.begin_generation("m", dim=3, vectors={"": 3}), kith.ArgumentError, "needs dim="),
    (lambda s, r: s.begin_generation("m", dim=0), kith.ArgumentError, "dim is 0"),
    (lambda s, r: s.begin_generation("m", dim="3"), TypeError, "dim"),
    (lambda s, r: s.begin_generation(5, dim=3), TypeError, "model must be a text"),
    (lambda s, r: s.begin_generation("m\0", dim=3), kith.ArgumentError, "null character"),
    (lambda s, r: s.begin_generation("m", dim=3, metric="near"), kith.ArgumentError, "near"),
    (lambda s, r: s.begin_generation("m", dim=16, metric="hamming"), kith.ArgumentError, "hamming"),
    (lambda s, r: s.begin_generation("m", vectors={}), kith.ArgumentError, "vector"),
    (lambda s, r: s.begin_generation("m", vectors=["a"]), TypeError, "a dict of name to dim"),
    (lambda s, r: s.begin_generation("m", vectors={"": 3}, metric="l2"), kith.ArgumentError, "gives each"),
    (lambda s, r: s.begin_generation("m", vectors={"x": 3}), kith.NotFoundError, "x"),
    (lambda s, r: s.add([1], r[:1], generation=2), kith.ArgumentError, "mode 'upsert' makes whole items"),
    (lambda s, r: s.add([900], r[:1], generation=2, mode="insert"), kith.ArgumentError, "mode 'insert' makes whole"),
    (lambda s, r: s.update([900], r[:1, :NEW], generation=2), kith.NotFoundError, "900"),
    (lambda s, r: s.update([1], r[:1], generation=2), kith.Error, "8"),
    (lambda s, r: s.update([1], r[:1], generation=9), kith.NotFoundError, "9"),
    (lambda s, r: s.update([1], payloads=[{}], generation=9), kith.NotFoundError, "9"),
    (lambda s, r: s.update([1], r[:1], generation=0), kith.ArgumentError, "generation is 0"),
    (lambda s, r: s.update([1], r[:1], generation=2**32), kith.ArgumentError, "generation is"),
    (lambda s, r: s.update([1], r[:1], generation="2"), TypeError, "generation must be a whole number"),
    (lambda s, r: s.update([1], r[:1], generations=[r]), TypeError, "generations must be a dict"),
    (lambda s, r: s.update([1], r[:1], generation=2, generations={2: r[:1]}), kith.ArgumentError, "both give"),
    (lambda s, r: s.add([1], r[:1], generations={2: r[:2, :NEW]}), kith.ArgumentError, "2 vectors for 1 items"),
    (lambda s, r: s.search(r[0], generation=9), kith.NotFoundError, "9"),
    (lambda s, r: s.search(r[0], generation=0), kith.ArgumentError, "generation is 0"),
    (lambda s, r: s.search(r[0], generation=2), kith.ArgumentError, "8"),
    (lambda s, r: s.search(r[0], generation=1, user="ann"), kith.ArgumentError, "give one of them"),
    (lambda s, r: s.search(r[0], user=5), TypeError, "user must be a text"),
    (lambda s, r: s.search(r[0], user="a\0"), kith.ArgumentError, "null character"),
    (lambda s, r: s.get([1], generation=2), kith.ArgumentError, "belongs to vectors=True"),
    (lambda s, r: s.get([1], vectors=True, generation=9), kith.NotFoundError, "9"),
    (lambda s, r: s.scroll(generation=2), kith.ArgumentError, "belongs to vectors=True"),
    (lambda s, r: list(s.scroll(vectors=True, generation=9)), kith.NotFoundError, "9"),
    (lambda s, r: s.export("nothing.npy", generation=9), kith.NotFoundError, "9"),
    (lambda s, r: s.load(r, mode="update", generation=9), kith.NotFoundError, "9"),
    (lambda s, r: s.check_generation(9), kith.NotFoundError, "9"),
    (lambda s, r: s.check_generation(2, k=0), kith.ArgumentError, "k is 0"),
    (lambda s, r: s.check_generation(2, target_recall=2), kith.ArgumentError, "target_recall is 2"),
    (lambda s, r: s.check_generation(2, sample=-1), kith.ArgumentError, "sample is -1"),
    (lambda s, r: s.check_generation(2, progress=lambda *_: True), kith.CancelledError, "checking a generation was cancelled"),
    (lambda s, r: s.check_generation(2, progress=lambda *_: 1 / 0), ZeroDivisionError, "division"),
    (lambda s, r: s.flip(9), kith.NotFoundError, "9"),
    (lambda s, r: s.flip(0), kith.ArgumentError, "generation is 0"),
    (lambda s, r: s.flip(), kith.NotFoundError, "no generation was current before"),
    (lambda s, r: s.flip(2), kith.DataError, "share of the items"),
    (lambda s, r: s.flip(2, min_share=1.5), kith.ArgumentError, "min_share is 1.5"),
    (lambda s, r: s.flip(2, min_share=0, min_recall=-1), kith.ArgumentError, "min_recall is -1"),
    (lambda s, r: s.flip(2, min_share="all"), TypeError, "min_share must be a number"),
    (lambda s, r: s.canary(2, 1.5), kith.ArgumentError, "share is 1.5"),
    (lambda s, r: s.canary(2, float("nan")), kith.ArgumentError, "share is nan"),
    (lambda s, r: s.canary(9, 0.5), kith.NotFoundError, "9"),
    (lambda s, r: s.canary(1, 0.5), kith.BusyError, "1"),
    (lambda s, r: s.generation_of(5), TypeError, "user must be a text"),
    (lambda s, r: s.drop_generation(1), kith.BusyError, "1"),
    (lambda s, r: s.drop_generation(9), kith.NotFoundError, "9"),
]


@pytest.mark.parametrize("number", range(len(MISTAKES)))
def test_mistakes_change_nothing(shop, old, number):
    call, error, text = MISTAKES[number]
    shop.begin_generation("new", dim=NEW)
    before = shop.info["version"], shop.generations
    with pytest.raises(error, match=text):
        call(shop, old)
    assert (shop.info["version"], shop.generations) == before and len(shop) == COUNT
    assert shop.search(old[3], k=1).ids.tolist() == [3]


def test_sixteen_at_most(shop):
    for number in range(2, 17):
        assert shop.begin_generation(f"m{number}", dim=2) == number
    with pytest.raises(kith.LimitError, match="16"):
        shop.begin_generation("more", dim=2)
    shop.drop_generation(9)
    assert shop.begin_generation("more", dim=2) == 17 and 9 not in states(shop)


# ---- Threads and processes -------------------------------------------------------------------------------------------


def test_readers_never_see_half_of_a_flip(shop, old, new):
    """Each answer, and the vectors that come with it, are of one generation; rows of 5 and of 8 never mix."""
    mirrored = old[:COUNT, ::-1] * 2
    shop.begin_generation("same width", dim=OLD)
    shop.update(range(COUNT), mirrored, generation=2)
    shop.begin_generation("narrow", dim=NEW)
    shop.update(range(COUNT), new[:COUNT], generation=3)
    query, stop, seen, wrong = old[7], threading.Event(), set(), []
    rows = {1: old, 2: mirrored, 3: new}
    expected = {1: nearest(old[:COUNT], query, 5), 2: nearest(mirrored, query, 5)}

    def search():
        while not stop.is_set():
            try:
                hits = shop.search(query, k=5, vectors=True, explain=True)
            except kith.ArgumentError:
                continue  # the narrow one is current
            number = hits.explain["generation"]
            seen.add(number)
            if hits.ids.tolist() != expected[number] or not np.array_equal(hits.vectors[""], rows[number][hits.ids]):
                wrong.append(("search", number))

    def get():
        while not stop.is_set():
            item = shop.get([7], vectors=True)[0]
            if not any(np.array_equal(item.vector, table[7]) for table in rows.values()):
                wrong.append(("get", item.vector))

    threads = [threading.Thread(target=work) for work in (search, search, get, get)]
    for thread in threads:
        thread.start()
    try:
        for number in (2, 1, 3, 1, 2, 3) * 10:
            shop.flip(number, min_share=0)
            time.sleep(0.005)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not wrong and seen == {1, 2}


def test_tasks(two, new):
    async def work():
        await two.aupdate([3], new[4][None], generation=2)
        assert (await two.aflip(2))["to"] == 2
        return await two.asearch(new[4], k=2)

    assert asyncio.run(work()).ids.tolist() == [3, 4]


@pytest.mark.folder
def test_a_follower_sees_the_flip(two, old, new):
    script = """
        import json, sys, kith
        with kith.Collection(sys.argv[1], read_only=True) as shop:
            for line in sys.stdin:
                query = json.loads(line)
                hits = shop.search(query, k=3, vectors=True, explain=True)
                print(json.dumps([hits.explain["generation"], hits.ids.tolist(), hits.vectors[""][0].tolist(),
                                  shop[7].vector.tolist(), shop.info["model"], shop.generation_of("ann")]), flush=True)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script), two.path], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as reader:
        def ask(query):
            reader.stdin.write(f"{query.tolist()}\n")
            reader.stdin.flush()
            return json.loads(reader.stdout.readline())

        for generation, rows, model in ((1, old, "old"), (2, new, "new"), (1, old, "old")):
            if two.info["generation"] != generation:
                two.flip(generation)
            ids = nearest(rows[:COUNT], rows[7], 3)
            assert ask(rows[7]) == [generation, ids, rows[ids[0]].tolist(), rows[7].tolist(), model, generation]
        two.canary(2, 1)
        assert ask(old[7])[-1] == 2
        two.flip(2)
        two.drop_generation(1)
        two.compact()
        assert ask(new[7])[0] == 2
        reader.stdin.close()
        assert reader.wait(60) == 0
