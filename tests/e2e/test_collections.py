# SPDX-License-Identifier: Apache-2.0
"""Collections by the command: made, written, asked, copied, damaged and repaired, as a user would. Standard library only.
"""
import json
import os
import random
import shutil
import signal
import subprocess
import time

import pytest

from test_cli import ABSENT, INDEX, INPUT, INTERRUPTED, KITH, STORAGE, USAGE, environment, good, kith, refused, write_npy

DIM = 8


def lines(output):
    return [json.loads(line) for line in output.splitlines()]


def vector(seed):
    rng = random.Random(seed)
    return [float(rng.randint(-9, 9)) for _ in range(DIM)]


def item(number):
    return {"id": number, "vector": vector(number),
            "payload": {"color": ["red", "blue", "green"][number % 3], "price": number / 10, "user": f"u{number // 10}",
                        "sold": number % 5 == 0}}


def nearest(numbers, query, k):
    found = sorted((sum((a - b) ** 2 for a, b in zip(vector(n), query)), n) for n in numbers)
    return [(n, d) for d, n in found][:k]


def answers(output):
    return [[(hit["id"], hit["distance"]) for hit in line["results"]] for line in lines(output)]


def write_lines(path, values):
    path.write_text("".join(json.dumps(value) + "\n" for value in values))


@pytest.fixture
def shop(tmp_path):
    """300 items; color, price and user are declared, sold is not."""
    good("create", "shop", "--dim", DIM, "--fields", "color:tag,price:float,user:tag", "--segment-field", "user",
         cwd=tmp_path)
    write_lines(tmp_path / "items.jsonl", map(item, range(300)))
    good("add", "shop", "items.jsonl", cwd=tmp_path)
    return tmp_path / "shop"


# ---- Making and writing ----------------------------------------------------------------------------------------------


def test_create_tells_and_refuses(tmp_path):
    assert "an empty collection" in good("create", "shop", "--dim", 3, cwd=tmp_path).stdout
    assert "shop" in refused(STORAGE, "create", "shop", "--dim", 3, cwd=tmp_path)
    assert "--dim" in refused(USAGE, "create", "other", cwd=tmp_path)
    assert "NAME:DIM" in refused(USAGE, "create", "other", "--vectors", "image", cwd=tmp_path)
    assert "halffloat" in refused(USAGE, "create", "other", "--vectors", "image:3:halffloat", cwd=tmp_path)
    assert "NAME:TYPE" in refused(USAGE, "create", "other", "--dim", 3, "--fields", "a:colour", cwd=tmp_path)
    assert "twice" in refused(USAGE, "create", "other", "--dim", 3, "--fields", "a:int,a:tag", cwd=tmp_path)
    assert "segment" in refused(USAGE, "create", "other", "--dim", 3, "--segment-field", "user", cwd=tmp_path)
    assert not (tmp_path / "other").exists()


def test_info_and_top(shop):
    about = json.loads(good("info", shop, "--json").stdout)
    assert (about["items"], about["version"], about["ids"]) == (300, 1, "u64")
    assert about["vectors"] == [{"name": "", "dim": DIM, "dtype": "f32", "metric": "l2"}]
    assert {field["name"]: field["type"] for field in about["fields"]} == {"color": "tag", "price": "float", "user": "tag"}
    text = good("info", shop).stdout
    assert "300, numbers as ids" in text and "user: tag, the segment key" in text
    assert len(good("top", shop, "--limit", 2, "--seconds", 0.01).stdout.splitlines()) == 2
    assert json.loads(good("top", shop, "--limit", 1, "--json").stdout)["items"] == 300


def test_modes_of_writing(shop, tmp_path):
    write_lines(tmp_path / "one.jsonl", [{"id": 7, "payload": {"price": 99, "note": "x"}}])
    assert "7" in refused(INPUT, "add", shop, tmp_path / "one.jsonl", "--mode", "insert")
    assert json.loads(good("add", shop, tmp_path / "one.jsonl", "--mode", "merge", "--json").stdout)["replaced"] == 1
    got = lines(good("get", shop, 7, "--vectors").stdout)[0]
    assert got["payload"] == item(7)["payload"] | {"price": 99, "note": "x"} and got["vector"] == vector(7)
    assert got["version"] == 2
    good("add", shop, tmp_path / "one.jsonl", "--mode", "update")
    assert lines(good("get", shop, 7).stdout)[0]["payload"] == {"price": 99, "note": "x"}
    write_lines(tmp_path / "new.jsonl", [{"id": 4000, "payload": {}}])
    assert "4000" in refused(ABSENT, "add", shop, tmp_path / "new.jsonl", "--mode", "update")
    write_lines(tmp_path / "plain.jsonl", [{"id": 4001, "vector": vector(1), "color": "pink"}])
    good("add", shop, tmp_path / "plain.jsonl")
    assert lines(good("get", shop, 4001).stdout)[0]["payload"] == {"color": "pink"}


@pytest.mark.parametrize("line, words", [
    ('{"vector": [1,2,3,4,5,6,7,8]}', 'has no "id"'),
    ('{"id": "x", "vector": [1,2,3,4,5,6,7,8]}', "no whole number"),
    ('{"id": -1, "vector": [1,2,3,4,5,6,7,8]}', "no whole number"),
    ('{"id": 1, "vector": [1,2,3]}', "3 elements, but 8"),
    ('{"id": 1, "vector": [1,2,3,4,5,6,7,"x"]}', "element 7"),
    ('{"id": 1, "vector": [1,2,3,4,5,6,7,1e99]}', "element 7"),
    ('{"id": 1, "vectors": {"image": [1]}}', '"image"'),
    ('{"id": 1, "vector": [1,2,3,4,5,6,7,8], "payload": [1]}', "no object"),
    ('{"id": 1, "vector": [1,2,3,4,5,6,7,8], "payload": {"price": "dear"}}', "price"),
    ('{"id": 1, "vector": [1,2,3,4,5,6,7,8], "expires": "soon"}', "expires"),
    ('[1]', "no object"),
    ('{"id": 1', "line 2"),
])
def test_bad_lines_are_named(shop, tmp_path, line, words):
    (tmp_path / "bad.jsonl").write_text(json.dumps(item(1000)) + "\n" + line + "\n")
    said = refused(INPUT, "add", shop, tmp_path / "bad.jsonl")
    assert words in said and "bad.jsonl" in said
    assert good("get", shop, "--count").stdout == "300\n", "the write of a batch is whole or not at all"


def test_files_of_vectors_with_payloads(tmp_path):
    write_npy(tmp_path / "x.npy", [vector(n) for n in range(40)])
    write_lines(tmp_path / "p.jsonl", [{"n": n} for n in range(40)])
    good("create", "shop", "--dim", DIM, cwd=tmp_path)
    good("add", "shop", "x.npy", "--payloads", "p.jsonl", cwd=tmp_path)
    got = lines(good("get", "shop", cwd=tmp_path).stdout)
    assert [(g["id"], g["payload"]) for g in got] == [(n, {"n": n}) for n in range(40)]
    write_lines(tmp_path / "short.jsonl", [{"n": 1}])
    assert "more rows" in refused(INPUT, "add", "shop", "x.npy", "--payloads", "short.jsonl", cwd=tmp_path)
    write_npy(tmp_path / "wide.npy", [[1.0] * (DIM + 1)])
    assert f"{DIM + 1} elements" in refused(INPUT, "add", "shop", "wide.npy", cwd=tmp_path)


def test_string_ids_and_named_vectors(tmp_path):
    good("create", "shop", "--vectors", "image:4:f16:cosine,title:2", "--string-ids", cwd=tmp_path)
    write_lines(tmp_path / "i.jsonl", [
        {"id": "ä b", "vectors": {"image": [1, 0, 0, 0], "title": [0, 1]}, "payload": {"n": 1}},
        {"id": "c", "vectors": {"title": [5, 5]}}])
    good("add", "shop", "i.jsonl", cwd=tmp_path)
    assert "several named vectors" in refused(USAGE, "query", "shop", "--query", "1,0", cwd=tmp_path)
    assert answers(good("query", "shop", "--query", "5,4", "--vector", "title", "--json", cwd=tmp_path).stdout) == \
        [[("c", 1.0), ("ä b", 34.0)]]
    assert answers(good("query", "shop", "--id", "ä b", "--vector", "title", "--json", cwd=tmp_path).stdout) == \
        [[("c", 41.0)]]
    assert answers(good("query", "shop", "--query", "2,0,0,0", "--vector", "image", "--json", cwd=tmp_path).stdout) == \
        [[("ä b", 0.0)]]
    got = lines(good("get", "shop", "c", "ä b", "--vectors", cwd=tmp_path).stdout)
    assert got[0] == {"id": "c", "version": 1, "vectors": {"title": [5, 5]}}
    assert got[1]["vectors"] == {"image": [1, 0, 0, 0], "title": [0, 1]}


# ---- Asking ----------------------------------------------------------------------------------------------------------


def test_queries_equal_a_plain_search(shop, tmp_path):
    queries = [vector(n) for n in range(1000, 1012)]
    write_npy(tmp_path / "q.npy", queries)
    found = answers(good("query", shop, tmp_path / "q.npy", "-k", 7, "--json").stdout)
    assert found == [nearest(range(300), q, 7) for q in queries]
    some = [n for n in range(300) if n % 3 == 0 and n < 200 and n % 5]
    found = answers(good("query", shop, tmp_path / "q.npy", "-k", 500, "--json", "--where",
                         'color = "red" and price < 20 and not sold = true').stdout)
    assert found == [nearest(some, q, 500) for q in queries]
    found = answers(good("query", shop, tmp_path / "q.npy", "-k", 20, "--json", "--segment", "u3").stdout)
    assert found == [nearest(range(30, 40), q, 20) for q in queries]
    must = json.dumps({"must": [{"key": "price", "range": {"lt": 3}}]})
    found = answers(good("query", shop, tmp_path / "q.npy", "-k", 50, "--json", "--where", must).stdout)
    assert found == [nearest(range(30), q, 50) for q in queries]


def test_more_like_an_item_and_explain(shop):
    done = good("query", shop, "--id", 42, "-k", 3, "--where", "not sold", "--explain", "--json")
    assert answers(done.stdout) == [nearest([n for n in range(300) if n % 5 and n != 42], vector(42), 3)]
    told = json.loads(done.stderr)
    assert told["items"] == 300 and told["matched"] == 240 and told["filter"] == "payloads" and told["exact"]
    assert "declare" in good("query", shop, "--id", 42, "--where", "sold", "--explain").stderr
    good("declare", shop, "sold:bool")
    for _ in range(100):
        told = json.loads(good("query", shop, "--id", 42, "--where", "sold", "--explain", "--json").stderr)
        if told["filter"] == "indexed":
            break
        time.sleep(0.05)
    assert told["filter"] == "indexed"


@pytest.mark.parametrize("arguments, words", [
    (["--query", "1,2"], "needs 8"),
    (["--query", "1,2,3,4,5,6,7,nan"], "element 7"),
    (["--id", "x"], "whole numbers"),
    ([], "one of"),
    (["--id", "1", "--where", "price <"], "column"),
    (["--id", "1", "--where", 'price = "dear"'], "price"),
    (["--id", "1", "--vector", "image"], "image"),
    (["--id", "1", "--model", "other"], "other"),
])
def test_bad_queries(shop, arguments, words):
    done = kith("query", shop, *arguments)
    assert done.returncode in (USAGE, ABSENT) and words in done.stderr and done.stdout == "", done.stderr


def test_get_and_delete(shop):
    assert good("get", shop, "--count", "--where", 'color = "red"').stdout == "100\n"
    assert [i["id"] for i in lines(good("get", shop, "--where", "price < 1").stdout)] == list(range(10))
    assert len(good("get", shop, "--limit", 5).stdout.splitlines()) == 5
    done = kith("get", shop, 3, 999)
    assert done.returncode == ABSENT and lines(done.stdout)[0]["id"] == 3 and "1 of the 2" in done.stderr
    assert json.loads(good("delete", shop, 3, 4, 999, "--json").stdout)["removed"] == 2
    assert json.loads(good("delete", shop, "--where", "price >= 20", "--json").stdout)["removed"] == 100
    assert good("get", shop, "--count").stdout == "198\n"
    refused(USAGE, "delete", shop)
    refused(USAGE, "delete", shop, 1, "--where", "sold")
    assert answers(good("query", shop, "--id", 5, "-k", 300, "--json").stdout) == \
        [nearest([n for n in range(200) if n not in (3, 4, 5)], vector(5), 300)]


# ---- Keeping ---------------------------------------------------------------------------------------------------------


def test_copies(shop, tmp_path):
    good("compact", shop)
    good("snapshot", shop, tmp_path / "copy")
    good("delete", shop, "--where", "price >= 0")
    assert good("get", shop, "--count").stdout == "0\n"
    assert good("get", tmp_path / "copy", "--count").stdout == "300\n"
    refused(STORAGE, "snapshot", shop, tmp_path / "copy")
    good("restore", tmp_path / "copy", tmp_path / "again")
    shutil.rmtree(tmp_path / "copy")
    good("verify", tmp_path / "again")
    q = vector(77)
    text = ",".join(map(str, q))
    assert answers(good("query", tmp_path / "again", "--query", text, "-k", 9, "--json").stdout) == [nearest(range(300), q, 9)]


def test_damage_is_found_and_repaired(shop, tmp_path):
    good("compact", shop)
    index = next(path for path in (shop / "segments").rglob("*.kith") if "table" not in path.name)
    clean = index.read_bytes()
    place = clean.index(bytes(memoryview(__import__("array").array("f", vector(150)))))
    index.write_bytes(clean[:place] + bytes([clean[place] ^ 1]) + clean[place + 1:])
    assert "originals" in refused(INDEX, "verify", shop)
    done = good("repair", shop)
    lost = [line["lost"] for line in lines(done.stdout)]
    assert 150 in lost, "the row lay in a damaged block"
    good("verify", shop)
    left = [n for n in range(300) if n not in lost]
    assert good("get", shop, "--count").stdout == f"{len(left)}\n"
    if left:
        q = vector(5)
        text = ",".join(map(str, q))
        assert answers(good("query", shop, "--query", text, "-k", 300, "--json").stdout) == [nearest(left, q, 300)]


def test_a_damaged_code_costs_nothing(shop):
    """What is not the vectors themselves is made anew."""
    good("compact", shop)
    index = next(path for path in (shop / "segments").rglob("*.kith") if "table" not in path.name)
    sections = {s["name"]: s for s in json.loads(good("info", index, "--json").stdout)["sections"]}
    at = sections["codes/codes"]["offset"] + 17
    with open(index, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0x40]))
    refused(INDEX, "verify", shop)
    done = good("repair", shop)
    assert done.stdout == "" and "300 items are whole, 0 are lost" in done.stderr
    good("verify", shop)
    q = vector(9)
    text = ",".join(map(str, q))
    assert answers(good("query", shop, "--query", text, "-k", 5, "--json").stdout) == [nearest(range(300), q, 5)]


def test_profiles(shop):
    absent = refused(ABSENT, "profile", shop, "ann")
    assert 'no profile "ann"' in absent
    made = good("profile", shop, "ann", "--like", "4,6", "--dislike", 7, "--interests", 3, "--half-life", "30d").stdout
    assert "seen" in made and "3 items" in made
    shown = json.loads(good("profile", shop, "ann", "--json", "--vectors").stdout)
    assert (shown["events"], shown["seen"], shown["interests_max"]) == (3, 3, 3)
    assert shown["half_life_ms"] == 30 * 24 * 3600 * 1000 and shown["threshold"] == 0.7
    assert all(len(interest["vector"]) == DIM and interest["weight"] > 0 for interest in shown["interests"])
    # One interest alone: the nearest to its vector, without what was seen.
    good("profile", shop, "bo", "--like", 4, "--quiet")
    center = json.loads(good("profile", shop, "bo", "--json", "--vectors").stdout)["interests"][0]["vector"]
    ranked = nearest(range(300), center, 12)
    assert answers(good("query", shop, "--profile", "bo", "-k", 5, "--with-seen", "--json").stdout) == [ranked[:5]]
    ranked = [hit for hit in ranked if hit[0] != 4]
    assert answers(good("query", shop, "--profile", "bo", "-k", 5, "--json").stdout) == [ranked[:5]]
    # Recommendations change at once.
    good("profile", shop, "bo", "--seen", f"{ranked[0][0]},{ranked[1][0]}")
    assert answers(good("query", shop, "--profile", "bo", "-k", 5, "--json").stdout) == [ranked[2:7]]
    by_context = answers(good("query", shop, "--profile", "bo", "--id", 9, "--blend", 0.3, "--json").stdout)[0]
    assert len(by_context) == 10
    assert not {4, 9, ranked[0][0], ranked[1][0]} & {number for number, _ in by_context}
    diverse = answers(good("query", shop, "--profile", "bo", "-k", 5, "--diversity", 0.9, "--json").stdout)[0]
    assert len(set(diverse)) == 5 and diverse[0] == ranked[2] and diverse != ranked[2:7]
    assert len(answers(good("query", shop, "--profile", "ann", "-k", 300, "--json").stdout)[0]) == 297
    # New vectors move no profile before it is rebuilt.
    write_lines(shop.parent / "new.jsonl", [{"id": 4, "vector": vector(77)}])
    good("add", shop, shop.parent / "new.jsonl", "--mode", "update")
    assert json.loads(good("profile", shop, "bo", "--json", "--vectors").stdout)["interests"][0]["vector"] == center
    assert "1 profile of 1 events, 0 of them" in good("profile", shop, "bo", "--rebuild").stdout
    moved = json.loads(good("profile", shop, "bo", "--json", "--vectors").stdout)
    assert moved["interests"][0]["vector"] == vector(77) and moved["seen"] == 3
    good("delete", shop, 4)
    assert json.loads(good("profile", shop, "--rebuild", "--json").stdout) == {"profiles": 2, "events": 4, "skipped": 2}
    good("profile", shop, "bo", "--forget")
    refused(ABSENT, "query", shop, "--profile", "bo")
    refused(ABSENT, "profile", shop, "bo", "--forget")
    good("verify", shop)


def test_mistakes_with_profiles(shop):
    assert "999" in refused(ABSENT, "profile", shop, "cy", "--like", "4,999")
    refused(ABSENT, "profile", shop, "cy")
    refused(USAGE, "profile", shop, "cy", "--like", "4,,5")
    refused(USAGE, "profile", shop, "cy", "--half-life", "30")
    refused(USAGE, "profile", shop, "cy", "--interests", 17)
    refused(USAGE, "profile", shop, "cy", "--forget", "--like", 4)
    refused(USAGE, "profile", shop, "cy", "--forget", "--rebuild")
    refused(USAGE, "profile", shop, "--like", 4)
    refused(ABSENT, "profile", shop, "cy", "--rebuild")
    refused(USAGE, "query", shop, "--id", 4, "--with-seen")
    refused(USAGE, "query", shop, "--profile", "cy", "--id", 4, "--query", "1")
    good("profile", shop, "cy", "--seen", 4)
    assert "no interests yet" in refused(ABSENT, "query", shop, "--profile", "cy")


def test_one_writer(shop, tmp_path):
    with subprocess.Popen([KITH, "add", shop, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          env=environment()) as writer:
        for number in range(300, 1400):  # more than a batch: it has begun to write
            writer.stdin.write(json.dumps(item(number)) + "\n")
        writer.stdin.flush()
        for _ in range(200):
            if good("get", shop, "--count").stdout != "300\n":
                break
            time.sleep(0.02)
        assert good("get", shop, "--count").stdout == "1300\n"
        assert str(writer.pid) in refused(STORAGE, "delete", shop, 1)
        writer.stdin.close()
        assert writer.wait(60) == 0
    assert good("get", shop, "--count").stdout == "1400\n"


def test_killed_while_adding(tmp_path):
    good("create", "shop", "--dim", DIM, cwd=tmp_path)
    with subprocess.Popen([KITH, "add", "shop", "-", "--quiet"], stdin=subprocess.PIPE, cwd=tmp_path, text=True,
                          env=environment()) as writer:
        try:
            for number in range(3500):
                writer.stdin.write(json.dumps(item(number)) + "\n")
            writer.stdin.flush()
            time.sleep(0.3)
        finally:
            writer.send_signal(signal.SIGKILL)
    count = int(good("get", "shop", "--count", cwd=tmp_path).stdout)
    assert count % 1000 == 0 and count <= 3000, "batches are whole or not there"
    good("verify", "shop", cwd=tmp_path)
    if count:
        assert answers(good("query", "shop", "--query", ",".join(map(str, vector(5))), "-k", 5, "--json",
                            cwd=tmp_path).stdout) == [nearest(range(count), vector(5), 5)]


def test_what_is_no_collection(tmp_path):
    (tmp_path / "folder").mkdir()
    for command in (["info"], ["get"], ["verify"], ["query", "--query", "1"], ["compact"], ["repair"]):
        refused(ABSENT, command[0], tmp_path / "folder", *command[1:])
    refused(ABSENT, "get", tmp_path / "nowhere")


def test_interrupt_ends_top(shop):
    with subprocess.Popen([KITH, "top", shop, "--seconds", "0.05"], stdout=subprocess.PIPE, text=True,
                          env=environment()) as top:
        assert "300 items" in top.stdout.readline()
        os.kill(top.pid, signal.SIGINT)
        assert top.wait(20) in (0, INTERRUPTED)
