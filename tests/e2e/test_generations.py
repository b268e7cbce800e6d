# SPDX-License-Identifier: Apache-2.0
"""Generations of a collection by the command: tomorrow's embeddings, from their beginning to the drop of today's. Standard
library only."""
import json
import random
import subprocess

import pytest

from test_cli import ABSENT, INPUT, KITH, STORAGE, USAGE, environment, good, kith, refused, write_npy

COUNT, OLD, NEW = 120, 8, 5
USERS = [f"user{i}" for i in range(40)]


def lines(output):
    return [json.loads(line) for line in output.splitlines()]


def vector(number, dim):
    rng = random.Random(f"{number} of {dim}")
    return [float(rng.randint(-9, 9)) for _ in range(dim)]


def nearest(numbers, query, k):
    found = sorted((sum((a - b) ** 2 for a, b in zip(vector(n, len(query)), query)), n) for n in numbers)
    return [n for _, n in found][:k]


def hits(*arguments):
    return [hit["id"] for hit in json.loads(good("query", *arguments, "--json").stdout)["results"]]


def numbers(values):
    return ",".join(map(str, values))


def write_lines(path, values):
    path.write_text("".join(json.dumps(value) + "\n" for value in values))


@pytest.fixture
def shop(tmp_path):
    good("create", "shop", "--dim", OLD, "--model", "old", cwd=tmp_path)
    write_lines(tmp_path / "old.jsonl", [{"id": n, "vector": vector(n, OLD), "payload": {"n": n}} for n in range(COUNT)])
    write_npy(tmp_path / "new.npy", [vector(n, NEW) for n in range(COUNT)])
    good("add", "shop", "old.jsonl", cwd=tmp_path)
    return tmp_path / "shop"


@pytest.fixture
def two(shop):
    good("generation", shop, "begin", "--model", "new", "--dim", NEW)
    good("add", shop, shop.parent / "new.npy", "--mode", "update", "--generation", 2)
    return shop


def test_tomorrows_embeddings(shop, tmp_path):
    assert json.loads(good("generation", shop, "begin", "--model", "new", "--dim", NEW, "--json").stdout) == \
        {"generation": 2}
    first, second = lines(good("generation", shop, "--json").stdout)
    assert (first["number"], first["state"], first["model"], first["share"]) == (1, "current", "old", 0)
    assert (second["number"], second["state"], second["model"], second["own"]) == (2, "building", "new", 1)
    assert second["vectors"] == [{"name": "", "dim": NEW, "dtype": "f32", "metric": "l2"}]
    table = good("generation", shop).stdout.splitlines()
    assert len(table) == 3 and table[2].split("\t") == ["2", "building", "new", "", f"{NEW} f32 l2"]
    # The first hundred, while the old ones answer.
    write_npy(tmp_path / "some.npy", [vector(n, NEW) for n in range(100)])
    good("add", shop, tmp_path / "some.npy", "--mode", "update", "--generation", 2)
    old, new = numbers(vector(500, OLD)), numbers(vector(500, NEW))
    assert hits(shop, "--query", old, "-k", 7) == nearest(range(COUNT), vector(500, OLD), 7)
    assert hits(shop, "--query", new, "-k", 7, "--generation", 2) == nearest(range(100), vector(500, NEW), 7)
    about = json.loads(good("generation", shop, "check", 2, "--json").stdout)
    assert (about["items"], about["with_vectors"], about["lacking"], about["sampled"]) == (COUNT, 100, 20, 100)
    assert "20 lack some" in good("generation", shop, "check", 2).stdout
    done = good("generation", shop, "check", 2, "--lacking", "--sample", 0)
    assert sorted(line["lacking"] for line in lines(done.stdout)) == list(range(100, COUNT))
    assert "20 lack some" in done.stderr
    assert "is required" in refused(INPUT, "flip", shop, 2)
    assert hits(shop, "--query", old, "-k", 7) == nearest(range(COUNT), vector(500, OLD), 7)
    # The others, and the flip.
    write_lines(tmp_path / "rest.jsonl", [{"id": n, "vector": vector(n, NEW)} for n in range(100, COUNT)])
    good("add", shop, tmp_path / "rest.jsonl", "--mode", "update", "--generation", 2)
    refused(INPUT, "flip", shop, 2, "--min-overlap", 0.99)
    assert "generation 2 is current, 1 was" in good("flip", shop, 2, "--min-recall", 0.9).stdout
    assert "current already" in good("flip", shop, 2).stdout
    about = json.loads(good("info", shop, "--json").stdout)
    assert (about["generation"], about["generations"], about["model"]) == (2, 2, "new")
    assert about["vectors"][0]["dim"] == NEW
    assert hits(shop, "--query", new, "-k", 7, "--model", "new") == nearest(range(COUNT), vector(500, NEW), 7)
    assert hits(shop, "--id", 9, "-k", 4) == nearest(set(range(COUNT)) - {9}, vector(9, NEW), 4)
    assert hits(shop, "--id", 9, "-k", 4, "--generation", 1) == nearest(set(range(COUNT)) - {9}, vector(9, OLD), 4)
    assert "old" in refused(USAGE, "query", shop, "--query", new, "--model", "old")
    assert str(NEW) in refused(USAGE, "query", shop, "--query", old)
    # And back, and forth, and for good.
    done = json.loads(good("flip", shop, "--back", "--json").stdout)
    assert (done["from"], done["to"]) == (2, 1)
    assert hits(shop, "--query", old, "-k", 7) == nearest(range(COUNT), vector(500, OLD), 7)
    good("flip", shop, "--back", "--min-share", 1)
    good("compact", shop)
    assert list((shop / "segments").rglob("vectors.0.kith"))
    assert "dropped" in good("generation", shop, "drop", 1).stdout
    assert not list((shop / "segments").rglob("vectors.0.kith")), "they are gone when the command ends"
    refused(ABSENT, "flip", shop, "--back")
    good("verify", shop)
    assert [line["number"] for line in lines(good("generation", shop, "--json").stdout)] == [2]
    assert hits(shop, "--query", new, "-k", 7) == nearest(range(COUNT), vector(500, NEW), 7)
    assert lines(good("get", shop, 3).stdout)[0]["payload"] == {"n": 3}


def test_vectors_of_whichever_generation(two):
    for generation, dim in ((1, OLD), (2, NEW)):
        got = lines(good("get", two, 5, 3, "--vectors", "--generation", generation).stdout)
        assert [item["vector"] for item in got] == [vector(5, dim), vector(3, dim)]
        got = lines(good("get", two, "--vectors", "--generation", generation).stdout)
        assert [item["vector"] for item in got] == [vector(n, dim) for n in range(COUNT)]
    assert lines(good("get", two, 5, "--vectors").stdout)[0]["vector"] == vector(5, OLD)


def test_double_writes(two, tmp_path):
    write_lines(tmp_path / "a.jsonl", [{"id": n, "vector": vector(n, OLD)} for n in range(COUNT, COUNT + 9)])
    write_lines(tmp_path / "b.jsonl", [{"id": n, "vector": vector(n, NEW)} for n in range(COUNT, COUNT + 9)])
    good("add", two, tmp_path / "a.jsonl")
    assert len(good("generation", two, "check", 2, "--lacking", "--quiet").stdout.splitlines()) == 9
    good("add", two, tmp_path / "b.jsonl", "--mode", "update", "--generation", 2)
    good("flip", two, 2)
    query = vector(900, NEW)
    assert hits(two, "--query", numbers(query), "-k", 200) == nearest(range(COUNT + 9), query, 200)


def test_canary(two):
    def sent():
        found = set()
        for user in USERS:
            told = json.loads(good("query", two, "--id", 3, "--user", user, "--explain", "--json").stderr)
            if told["generation"] == 2:
                found.add(user)
        return found

    assert "25 %" in good("generation", two, "canary", 2, "--share", 0.25).stdout
    assert lines(good("generation", two, "--json").stdout)[1]["share"] == 0.25
    few = sent()
    good("generation", two, "canary", 2, "--share", 0.75)
    many = sent()
    assert few < many < set(USERS)
    user, other = min(few), min(set(USERS) - many)
    assert good("generation", two, "of", user).stdout == "2\n" and good("generation", two, "of", other).stdout == "1\n"
    assert json.loads(good("generation", two, "of", user, "--json").stdout) == {"user": user, "generation": 2}
    assert hits(two, "--query", numbers(vector(3, NEW)), "--user", user, "-k", 1) == [3]
    assert hits(two, "--query", numbers(vector(3, OLD)), "--user", other, "-k", 1) == [3]
    good("generation", two, "begin", "--dim", 2)
    refused(STORAGE, "generation", two, "canary", 3, "--share", 0.1)
    refused(STORAGE, "generation", two, "canary", 1, "--share", 0.1)
    assert "no users" in good("generation", two, "canary", 2, "--share", 0).stdout
    assert not sent()


def test_named_vectors(tmp_path):
    good("create", "shop", "--vectors", "image:4:f16:cosine,title:2", "--string-ids", cwd=tmp_path)
    write_lines(tmp_path / "a.jsonl", [{"id": "a", "vectors": {"image": [1, 0, 0, 0], "title": [0, 1]}},
                                       {"id": "b", "vectors": {"title": [5, 5]}}])
    good("add", "shop", "a.jsonl", cwd=tmp_path)
    assert "--vectors says" in refused(USAGE, "generation", "shop", "begin", "--dim", 3, cwd=tmp_path)
    assert "NAME:DIM" in refused(USAGE, "generation", "shop", "begin", "--vectors", "image", cwd=tmp_path)
    assert "colour" in refused(ABSENT, "generation", "shop", "begin", "--vectors", "colour:3", cwd=tmp_path)
    good("generation", "shop", "begin", "--vectors", "image:3", "--model", "b", cwd=tmp_path)
    assert "image: 3 f16 cosine, title: 2 f32 l2" in good("generation", "shop", cwd=tmp_path).stdout
    done = good("generation", "shop", "check", 2, "--lacking", "--quiet", cwd=tmp_path)
    assert lines(done.stdout) == [{"lacking": "a", "vector": "image"}], "b has no image at all"
    write_lines(tmp_path / "b.jsonl", [{"id": "a", "vectors": {"image": [0, 1, 0]}}])
    good("add", "shop", "b.jsonl", "--mode", "merge", "--generation", 2, cwd=tmp_path)
    good("flip", "shop", 2, cwd=tmp_path)
    got = lines(good("get", "shop", "--vectors", cwd=tmp_path).stdout)
    assert [item["vectors"] for item in got] == [{"image": [0, 1, 0], "title": [0, 1]}, {"title": [5, 5]}]


@pytest.mark.parametrize("code, arguments, words", [
    (USAGE, ["generation", "SHOP", "chekc", 1], 'did you mean "check"'),
    (USAGE, ["generation", "SHOP", ""], "none of begin"),
    (USAGE, ["generation", "SHOP", "begin"], "--dim"),
    (USAGE, ["generation", "SHOP", "begin", "--dim", 3, "--vectors", ":3"], "--dim"),
    (USAGE, ["generation", "SHOP", "begin", "--vectors", ":3", "--metric", "l2"], "NAME:DIM:TYPE:METRIC"),
    (USAGE, ["generation", "SHOP", "begin", 2, "--dim", 3], '"2"'),
    (USAGE, ["generation", "SHOP", "--dim", 3], "begin"),
    (USAGE, ["generation", "SHOP", "check"], "number of a generation"),
    (USAGE, ["generation", "SHOP", "of"], "name of a user"),
    (USAGE, ["generation", "SHOP", "check", "two"], '"two" is no number'),
    (USAGE, ["generation", "SHOP", "check", 0], '"0" is no number'),
    (USAGE, ["generation", "SHOP", "check", 2, "--share", 0.5], "canary"),
    (USAGE, ["generation", "SHOP", "check", 2, "--target-recall", 2], "--target-recall"),
    (ABSENT, ["generation", "SHOP", "check", 7], "7"),
    (USAGE, ["generation", "SHOP", "canary", 2], "--share"),
    (USAGE, ["generation", "SHOP", "canary", 2, "--share", 5], "0 to 1"),
    (ABSENT, ["generation", "SHOP", "canary", 7, "--share", 0.5], "7"),
    (STORAGE, ["generation", "SHOP", "drop", 1], "current"),
    (ABSENT, ["generation", "SHOP", "drop", 7], "7"),
    (USAGE, ["flip", "SHOP"], "--back"),
    (USAGE, ["flip", "SHOP", 2, "--back"], "not both"),
    (USAGE, ["flip", "SHOP", 2, "--min-share", 2], "--min-share"),
    (ABSENT, ["flip", "SHOP", 7], "7"),
    (ABSENT, ["flip", "SHOP", "--back"], "before"),
    (USAGE, ["add", "SHOP", "new.npy", "--generation", 2], "--mode update"),
    (USAGE, ["add", "SHOP", "new.npy", "--generation", 2, "--mode", "insert"], "--mode update"),
    (ABSENT, ["add", "SHOP", "new.npy", "--generation", 7, "--mode", "update"], "7"),
    (INPUT, ["add", "SHOP", "new.npy", "--generation", 1, "--mode", "update"], "5 elements"),
    (USAGE, ["get", "SHOP", 3, "--generation", 2], "--vectors"),
    (ABSENT, ["get", "SHOP", 3, "--vectors", "--generation", 7], "7"),
    (ABSENT, ["query", "SHOP", "--id", 3, "--generation", 7], "7"),
    (USAGE, ["query", "SHOP", "--id", 3, "--generation", 2, "--user", "ann"], "one of them"),
    (USAGE, ["query", "SHOP", "--query", "1,2", "--generation", 2], "5"),
])
def test_mistakes(two, code, arguments, words):
    said = refused(code, *[two if word == "SHOP" else word for word in arguments], cwd=two.parent)
    assert words in said
    assert [line["state"] for line in lines(good("generation", two, "--json").stdout)] == ["current", "building"]


def test_a_reader_that_stays_open_sees_the_flip(two):
    with subprocess.Popen([KITH, "top", two, "--json", "--seconds", "0.05"], stdout=subprocess.PIPE, text=True,
                          env=environment()) as top:
        assert json.loads(top.stdout.readline())["generation"] == 1
        good("flip", two, 2)
        assert any(json.loads(top.stdout.readline())["generation"] == 2 for _ in range(400))
        top.terminate()
    assert kith("verify", two).returncode == 0
