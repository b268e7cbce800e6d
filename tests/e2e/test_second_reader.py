# SPDX-License-Identifier: Apache-2.0
"""The second reader of index files, tools/read_index.py, beside the command: it was written from docs/format.md alone, so
where the two agree on files of every kind, that page is true."""
import json
import os
import pathlib
import random
import runpy
import struct
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
KITH = os.environ.get("KITH_BIN") or str(ROOT / "build" / "kith")
READER = ROOT / "tools" / "read_index.py"


def run(*words, text=None, expect=0):
    result = subprocess.run([*map(str, words)], input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert result.returncode == expect, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def read(action, index, *words, text=None, expect=0):
    return run(sys.executable, READER, action, index, *words, text=text, expect=expect)


def rows_of(kind, count, dim, seed):
    random_numbers = random.Random(seed)
    if kind == "whole":
        return [[random_numbers.randrange(256) for _ in range(dim)] for _ in range(count)]
    return [[round(random_numbers.gauss(0, 1), 4) for _ in range(dim)] for _ in range(count)]


def write_jsonl(path, rows, labels):
    with open(path, "w") as file:
        for number, row in enumerate(rows):
            item = {"vector": row}
            if labels == "numbers":
                item["id"] = 1000 - 3 * number
            elif labels == "strings":
                item.update(id=f"item-{number * 7 % len(rows):03}-{number}", name=f"Name {number}")
            file.write(json.dumps(item) + "\n")


CASES = [
    ("l2", "whole", 130, 20, "rows", []),
    ("l2", "floats", 75, 37, "numbers", []),
    ("ip", "floats", 64, 64, "strings", ["--first-level", "on"]),
    ("cosine", "floats", 50, 13, "strings", []),
    ("cosine", "floats", 33, 8, "rows", ["--dtype", "f16"]),
    ("ip", "floats", 20, 5, "rows", ["--dtype", "bf16"]),
    ("l2", "floats", 210, 21, "numbers", ["--lists", "12", "--code", "pq:7x4"]),
    ("ip", "floats", 150, 64, "strings", ["--lists", "9", "--first-level", "on", "--code", "rabitq:2"]),
    ("cosine", "floats", 120, 16, "strings", ["--lists", "30", "--dtype", "f16", "--code", "opq:4x8"]),
    ("l2", "whole", 160, 20, "rows", ["--lists", "7", "--code", "rabitq:1"]),
    ("cosine", "floats", 90, 13, "rows", ["--lists", "200"]),
    ("l2", "floats", 140, 24, "numbers", ["--index", "pq"]),
    ("cosine", "floats", 70, 9, "strings", ["--index", "pq", "--code", "rabitq:1", "--first-level", "on"]),
    ("l2", "whole", 130, 20, "rows", ["--index", "graph"]),
    ("cosine", "floats", 120, 33, "strings", ["--index", "graph", "--graph-bits", "4"]),
    ("ip", "floats", 150, 16, "numbers", ["--index", "graph", "--graph-bits", "2", "--graph-degree", "48"]),
    ("ip", "floats", 90, 17, "rows", ["--index", "graph", "--lean"]),
    ("l2", "whole", 130, 20, "numbers", ["--index", "hnsw"]),
    ("cosine", "floats", 90, 13, "rows", ["--index", "hnsw", "--hnsw-m", "5"]),
    ("ip", "floats", 110, 24, "strings", ["--index", "lsh", "--lsh-tables", "5"]),
]


@pytest.mark.parametrize("metric, kind, count, dim, labels, options", CASES)
def test_both_readers_agree(tmp_path, metric, kind, count, dim, labels, options):
    rows = rows_of(kind, count, dim, seed=count)
    queries = rows_of(kind, 4, dim, seed=count + 1)
    source, index, asked = tmp_path / "items.jsonl", tmp_path / "items.kith", tmp_path / "queries.csv"
    write_jsonl(source, rows, labels)
    asked.write_text("".join(",".join(map(str, query)) + "\n" for query in queries))
    run(KITH, "build", source, "-o", index, "--metric", metric, "--quiet", "--json", *options)
    read("check", index)
    info = read("info", index)[0]
    if "--lists" in options:
        assert 1 < info["lists"] <= int(options[options.index("--lists") + 1])
    assert info["rows"] == count and info["dim"] == dim and info["metric"] == metric
    ours = run(KITH, "search", index, asked, "-k", 7, "--json")
    theirs = read("search", index, "--k", 7, text="".join(json.dumps(query) + "\n" for query in queries))
    assert len(ours) == len(theirs) == len(queries)
    for mine, other in zip(ours, theirs):
        hits = mine["results"]
        # The second reader gives row numbers for string ids; write_jsonl put them at their end.
        assert [int(str(hit["id"]).rpartition("-")[2]) for hit in hits] == other["ids"]
        assert [struct.pack("<f", hit["distance"]) for hit in hits] == [struct.pack("<f", d) for d in other["distances"]]


@pytest.mark.parametrize("metric, kind", [("hamming", "lsh"), ("jaccard", "lsh"), ("hamming", "hnsw"), ("jaccard", "hnsw")])
def test_bits(tmp_path, metric, kind):
    rows, source, index = rows_of("whole", 150, 12, seed=8), tmp_path / "items.u8bin", tmp_path / "items.kith"
    source.write_bytes(struct.pack("<2I", 170, 12) + b"".join(map(bytes, rows + rows[:20])))
    run(KITH, "build", source, "-o", index, "--metric", metric, "--dtype", "b1", "--index", kind, "--quiet", "--json")
    told = read("check", index)[0][kind]
    assert told["twins"] == 20 if kind == "hnsw" else told["tables"] >= 1
    assert run_info(index)["hnsw_m" if kind == "hnsw" else "lsh_tables"] > 0


def test_lists_without_originals(tmp_path):
    source, index = tmp_path / "items.jsonl", tmp_path / "items.kith"
    write_jsonl(source, rows_of("floats", 150, 24, 3), "strings")
    run(KITH, "build", source, "-o", index, "--lists", "10", "--originals", "none", "--quiet", "--json")
    assert read("check", index)[0]["valid"]
    ours, theirs = run_info(index), read("info", index)[0]
    assert ours["lists"] == theirs["lists"] > 1 and ours["list_rows_max"] <= 4 * 150 / ours["lists"]


def run_info(index):
    return json.loads(subprocess.run([KITH, "info", index, "--json"], stdout=subprocess.PIPE, check=True).stdout)


def test_the_second_reader_finds_damage_too(tmp_path):
    source, index = tmp_path / "items.jsonl", tmp_path / "items.kith"
    write_jsonl(source, rows_of("floats", 40, 16, 1), "rows")
    run(KITH, "build", source, "-o", index, "--quiet", "--json")
    data = bytearray(index.read_bytes())
    data[len(data) // 2] ^= 4
    index.write_bytes(data)
    found = read("verify", index, expect=1)[0]
    assert found["valid"] is False and "section '" in found["error"] and "part '" in found["error"]


def change(data, place, value):
    data[place : place + len(value)] = value


def seal(data):
    """Make the hashes of tables and header right again; those of blocks are not looked at by `info`."""
    xxh3 = runpy.run_path(str(READER))["xxh3"]
    for i in range(struct.unpack_from("<I", data, 76)[0]):
        size, begin = struct.unpack_from("<IQ", data, 4096 + 32 * i + 4)
        if begin + size <= len(data) and size > 240:
            change(data, 4096 + 32 * i + 24, struct.pack("<Q", xxh3(bytes(data[begin : begin + size]))))
    change(data, 256, struct.pack("<Q", xxh3(bytes(data[4096:12288]))))
    change(data, len(data) - 12288, bytes(data[4096:12288]))
    change(data, 4080, struct.pack("<Q", xxh3(bytes(data[:4080]))))
    change(data, 4088, struct.pack("<Q", xxh3(bytes(data[:4088]))))
    change(data, len(data) - 4096, bytes(data[:4096]))


@pytest.mark.parametrize("place, value, words", [
    (8, 3, "newer"), (76, 257, "257 sections"), (264, 4096, "section table"), (100, 64, "entry"),
    (4096, 0, "famil"), (4096 + 32, 1, "famil"), (4096 + 4, 512, "part 'head'"), (4096 + 8, 4096, "does not begin"),
    (4096 + 16, 100, "size"), (12288, 0, "is not the head"), (12288 + 8, 2, "newer"), (12288 + 12, 3, "ascend"), (12288 + 12, 40, "40 parts"),
    (12352, 0, "ascend"), (12352 + 8, 512, "place"), (12352 + 16, 2**31, "place"), (12352 + 32 + 16, 1, "size"),
])  # fmt: skip
def test_both_readers_refuse_a_wrong_shape(tmp_path, place, value, words):
    source, index = tmp_path / "items.jsonl", tmp_path / "items.kith"
    write_jsonl(source, rows_of("floats", 40, 16, 1), "rows")
    run(KITH, "build", source, "-o", index, "--quiet", "--json")
    data = bytearray(index.read_bytes())
    change(data, place, struct.pack("<I", value))
    seal(data)
    index.write_bytes(data)
    ours = subprocess.run([KITH, "info", index], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert ours.returncode == 4
    if words == "newer":
        assert "use a newer kith" in ours.stderr
    found = read("info", index, expect=1)[0]
    assert words in found["error"], found["error"]


# ---- The calibration -------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """An index of 1,500 vectors in lists, its calibration measured with 120 others, and what kith said of it."""
    folder = tmp_path_factory.mktemp("calibrated")
    source, asked, index = folder / "items.jsonl", folder / "queries.jsonl", folder / "items.kith"
    write_jsonl(source, rows_of("floats", 1500, 12, 5), "rows")
    write_jsonl(asked, rows_of("floats", 120, 12, 6), "rows")
    run(KITH, "build", source, "-o", index, "--lists", "20", "--no-calibration", "--quiet", "--json")
    assert read("calibration", index) == [None]
    told = subprocess.run([KITH, "tune", index, "--queries", asked, "--quiet", "--json"], stdout=subprocess.PIPE, check=True)
    return index, json.loads(told.stdout)["settings"]


def test_both_readers_agree_about_the_calibration(calibrated):
    index, ours = calibrated
    read("verify", index)
    theirs = read("calibration", index)[0]
    assert theirs["held_out"] and theirs["queries"] == 120 and theirs["unusual_below"] <= theirs["median"] < 0
    assert len(ours) == len(theirs["settings"]) > 10
    for mine, other in zip(ours, theirs["settings"]):
        assert {name: other[name] for name in mine} == mine
    assert any(setting["lost"] > 0 for setting in theirs["settings"] if setting["plan"] == "ivf")


def change_calibration(index, changed, place, value, mend):
    """A copy of index with bytes of its calibration changed, which needs no other checksum to be read; mend: but its own."""
    section = next(s for s in read("info", index)[0]["sections"] if s["name"] == "calibration/settings")
    data, begin, size = bytearray(index.read_bytes()), section["offset"], section["bytes"]
    data[begin + place : begin + place + len(value)] = value
    if mend:
        hashed = runpy.run_path(str(READER))["xxh3"](bytes(data[begin : begin + size - 8]))
        data[begin + size - 8 : begin + size] = struct.pack("<Q", hashed)
    changed.write_bytes(data)


@pytest.mark.parametrize("place, value, mend, wanted", [
    (0, b"X", True, "magic"),
    (100, b"\xff", False, "hash"),
    (12, struct.pack("<I", 0), True, "0 settings"),
    (12, struct.pack("<I", 1), True, "bytes are too many or few for 1 settings"),
    (20, struct.pack("<I", 2), True, "flags"),
    (32, struct.pack("<d", float("nan")), True, "unusual_below"),
    (64, struct.pack("<I", 99), True, "setting 0: plan 99"),
    (64 + 4, struct.pack("<I", 2), True, "no second code"),
    (64 + 8, struct.pack("<I", 0), True, "setting 0: k is 0"),
    (64 + 8, struct.pack("<I", 10000), True, "setting 1 does not ascend"),
    (64 + 56 + 24, struct.pack("<d", 1.5), True, "setting 1: recall is 1.5"),
    (64 + 40, struct.pack("<d", float("inf")), True, "query_ns is inf"),
])
def test_damaged_calibrations_are_refused(calibrated, tmp_path, place, value, mend, wanted):
    changed = tmp_path / "changed.kith"
    change_calibration(calibrated[0], changed, place, value, mend)
    found = read("calibration", changed, expect=1)[0]
    assert found["valid"] is False and "calibration" in found["error"] and wanted in found["error"]


def test_a_calibration_of_another_version_is_left_aside(calibrated, tmp_path):
    changed = tmp_path / "changed.kith"
    change_calibration(calibrated[0], changed, 8, struct.pack("<I", 2), True)
    assert read("calibration", changed) == [None]
