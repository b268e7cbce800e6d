# SPDX-License-Identifier: Apache-2.0
"""The second reader of index files, tools/read_index.py, beside the command: it was written from docs/format.md alone, so
where the two agree on files of every kind, that page is true."""
import json
import os
import pathlib
import random
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
    assert info["rows"] == count and info["dim"] == dim and info["metric"] == metric
    ours = run(KITH, "search", index, asked, "-k", 7, "--json")
    theirs = read("search", index, "--k", 7, text="".join(json.dumps(query) + "\n" for query in queries))
    assert len(ours) == len(theirs) == len(queries)
    for mine, other in zip(ours, theirs):
        hits = mine["results"]
        # The second reader gives row numbers for string ids; write_jsonl put them at their end.
        assert [int(str(hit["id"]).rpartition("-")[2]) for hit in hits] == other["ids"]
        assert [struct.pack("<f", hit["distance"]) for hit in hits] == [struct.pack("<f", d) for d in other["distances"]]


def test_the_second_reader_finds_damage_too(tmp_path):
    source, index = tmp_path / "items.jsonl", tmp_path / "items.kith"
    write_jsonl(source, rows_of("floats", 40, 16, 1), "rows")
    run(KITH, "build", source, "-o", index, "--quiet", "--json")
    data = bytearray(index.read_bytes())
    data[len(data) // 2] ^= 4
    index.write_bytes(data)
    found = read("verify", index, expect=1)[0]
    assert found["valid"] is False and "section" in found["error"]
