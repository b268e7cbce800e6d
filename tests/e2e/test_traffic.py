# SPDX-License-Identifier: Apache-2.0
"""The program kith-traffic: what it writes, read here by the words of bench/traffic/README.md, and what it refuses.

Standard library only. Needs a built tree: KITH_BUILD_DIR, or build/ in the source tree.
"""
import ast
import json
import os
import pathlib
import resource
import struct
import subprocess
import xml.etree.ElementTree

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = pathlib.Path(os.environ.get("KITH_BUILD_DIR", ROOT / "build")) / "bench" / "kith-traffic"
SMALL = ["--users", "500", "--items", "800", "--dim", "8", "--topics", "4", "--segments", "3", "--rate", "0.3"]
RECORD = struct.Struct("<QIIIIIBBH")  # time, user, session, item, row, segment, kind, flags, topic
KINDS = ["?", "query_vector", "query_user", "view", "like", "insert", "update", "delete", "flip"]
NONE = 0xFFFFFFFF
OK, USAGE, INPUT, ABSENT, STORAGE = 0, 2, 3, 5, 6


def traffic(*arguments, **options):
    options.setdefault("stdout", subprocess.PIPE)
    return subprocess.run([PROGRAM, *map(str, arguments)], stderr=subprocess.PIPE, text=True, timeout=120,
                          env={**os.environ, "LC_ALL": "C.UTF-8"}, **options)


def good(*arguments, **options):
    done = traffic(*arguments, **options)
    assert done.returncode == OK, done.stderr
    return done.stdout


def refused(code, *arguments, **options):
    """Run what must fail: the exit code, and one sentence for people."""
    done = traffic(*arguments, **options)
    assert done.returncode == code, (done.returncode, done.stderr)
    assert done.stderr.startswith("kith-traffic: ") and done.stderr.count("\n") == 1
    return done.stderr


def read_npy(path):
    """Shape, and the values as a flat tuple."""
    data = path.read_bytes()
    assert data[:8] == b"\x93NUMPY\x01\x00"
    head = ast.literal_eval(data[10:128].decode())
    assert data[8:10] == b"\x76\x00" and head["fortran_order"] is False
    letter = {"<f4": "f", "<u4": "I"}[head["descr"]]
    return head["shape"], struct.unpack(f"<{(len(data) - 128) // 4}{letter}", data[128:])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with everything that one run writes; tests share it and change nothing."""
    folder = tmp_path_factory.mktemp("traffic")
    good("generate", *SMALL, "--trace", "t.trace", "--ndjson", "t.ndjson", "--vectors", "v", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def records(made):
    data = (made / "t.trace").read_bytes()
    assert data[:8] == b"\x93KTRAFFC"
    assert struct.unpack_from("<IIII", data, 8)[:3] == (1, 512, 32)
    assert struct.unpack_from("<Q", data, 24)[0] == (len(data) - 512) // 32
    return [RECORD.unpack_from(data, at) for at in range(512, len(data), 32)]


def test_lines_and_records_say_the_same(made, records):
    lines = (made / "t.ndjson").read_text().splitlines()
    assert len(lines) == len(records) > 10000
    for line, (time, user, session, item, row, segment, kind, flags, topic) in zip(lines, records):
        event = json.loads(line)
        expected = {"time": time / 1e6, "kind": KINDS[kind], "user": user, "session": session, "item": item,
                    "generation" if kind == 8 else "row": row, "segment": segment,
                    "topic": NONE if kind == 8 else topic}
        expected = {key: value for key, value in expected.items() if value != NONE}
        if kind <= 2:
            expected["k"] = 10
            if flags:
                asked = {"segment": segment if flags & 1 else NONE, "topic": topic if flags & 2 else NONE}
                expected["filter"] = {key: value for key, value in asked.items() if value != NONE}
        if flags & 4:
            expected["nightly"] = True
        assert event == expected


def test_items_live_when_they_are_used(records):
    live, following = set(range(800)), 800
    for _, _, _, item, _, _, kind, _, _ in records:
        if kind == 5:
            assert item == following
            live.add(item)
            following += 1
        elif kind in (3, 4, 6, 7):
            assert item in live
            if kind == 7:
                live.remove(item)
    assert following > 800


def test_vectors_fit_the_events(made, records):
    kinds = [record[6] for record in records]
    (rows, dim), values = read_npy(made / "v" / "items.npy")
    assert (rows, dim) == (800 + kinds.count(5) + kinds.count(6), 8)
    assert read_npy(made / "v" / "queries.npy")[0] == (kinds.count(1), 8)
    for row in range(0, rows * dim, dim):
        assert abs(sum(x * x for x in values[row:row + dim]) - 1) < 1e-5
    live = set(range(800))
    for record in records:
        if record[6] == 5:
            live.add(record[3])
        elif record[6] == 7:
            live.remove(record[3])
        elif record[6] == 8:
            (count,), ids = read_npy(made / "v" / f"ids.g{record[4]}.npy")
            assert sorted(ids) == sorted(live)
            assert read_npy(made / "v" / f"items.g{record[4]}.npy")[0] == (count, 8)
            assert read_npy(made / "v" / f"users.g{record[4]}.npy")[0] == (500, 8)
    assert kinds.count(8) == 2
    assert read_npy(made / "v" / "users.npy")[0] == (500, 8)


def test_equal_runs_give_equal_bytes(made, tmp_path):
    good("generate", *SMALL, "-o", tmp_path / "again.trace", "--seed", "1")
    assert (tmp_path / "again.trace").read_bytes() == (made / "t.trace").read_bytes()
    lines = good("generate", *SMALL, "--ndjson", "-")
    assert lines == (made / "t.ndjson").read_text()
    good("generate", *SMALL, "-o", tmp_path / "other.trace", "--seed=2")
    assert (tmp_path / "other.trace").read_bytes() != (made / "t.trace").read_bytes()


def test_description(made, records):
    said = json.loads(good("describe", made / "t.trace", "--json"))
    kinds = [record[6] for record in records]
    assert said["events"] == len(records)
    assert said["kinds"] == {name: kinds.count(kind) for kind, name in enumerate(KINDS) if kind}
    assert said["options"]["users"] == 500 and said["options"]["seed"] == 1
    assert said["sessions"] == len({record[2] for record in records if record[2] != NONE})
    assert said["nights"] == 2
    shown = good("describe", made / "t.trace")
    assert "query_vector" in shown and "sessions" in shown


def test_zipf_exponent_is_found(tmp_path):
    flat = ["--topics", "1", "--segments", "1", "--insert", "0", "--delete", "0", "--update", "0", "--churn", "0"]
    good("generate", *flat, "--users", "2000", "--items", "2000", "--rate", "8", "--user-zipf", "1.1", "--item-zipf",
         "0.7", "-o", tmp_path / "t")
    said = json.loads(good("describe", tmp_path / "t", "--json"))
    assert abs(said["users"]["zipf_exponent"] - 1.1) < 0.03
    assert abs(said["items"]["zipf_exponent"] - 0.7) < 0.02
    assert abs(said["session"]["mean_events"] - 12) < 0.4
    assert abs(said["session"]["gap_p50_seconds"] - 15) < 1


def test_picture(made, tmp_path):
    good("describe", made / "t.trace", "--svg", tmp_path / "t.svg", "--quiet")
    assert xml.etree.ElementTree.parse(tmp_path / "t.svg").getroot().tag.endswith("svg")


def test_help_names_every_option(made):
    page = good("--help")
    for name in json.loads(good("describe", made / "t.trace", "--json"))["options"]:
        assert f"--{name} " in page


@pytest.mark.parametrize("arguments, words", [
    ([], "generate or describe"), (["make"], '"make"'), (["generate", "--user", "3"], "--users"),
    (["generate", "--users"], "--users"), (["generate", "--users", "0"], "--users"),
    (["generate", "--days=many"], "--days"), (["generate", "--k", "1.5"], "--k"),
    (["generate", "--item-zipf", "nan"], "--item-zipf"), (["generate", "--trace", ""], "--trace"),
    (["generate", "--quiet=yes"], "--quiet"), (["generate", "extra"], "extra"), (["generate", "-x"], "-x"),
    (["generate", "--topics", "65535", "--segments", "65535"], "topics"), (["generate", "-o", "-"], "standard output"),
    (["generate", "-o", "/dev/full"], "/dev/full"), (["generate", "--json", "--ndjson", "-"], "--ndjson"),
    (["generate", "--svg", "x"], "--svg"), (["describe"], "describe"), (["describe", "a", "b"], '"b"'),
    (["describe", "a", "--rate", "3"], "describe")])
def test_bad_arguments_are_named(arguments, words):
    assert words in refused(USAGE, *arguments)


def test_bad_files_are_named(made, tmp_path):
    assert "absent" in refused(ABSENT, "describe", tmp_path / "absent")
    assert "/dev/null" in refused(INPUT, "describe", "/dev/null")
    whole = (made / "t.trace").read_bytes()
    for name, data in {"empty": b"", "short": whole[:-1], "other": b"x" * 4096,
                       "flipped": whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:]}.items():
        (tmp_path / name).write_bytes(data)
        assert name in refused(INPUT, "describe", tmp_path / name)


def test_full_disk(tmp_path):
    """Every way out that can be full: a stream, standard output, and files beyond a limit, of which none is left."""
    assert "/dev/full" in refused(STORAGE, "generate", *SMALL, "--ndjson", "/dev/full")
    with open("/dev/full", "w") as full:
        refused(STORAGE, "generate", *SMALL, "--ndjson", "-", stdout=full)
        refused(STORAGE, "generate", *SMALL, "--json", stdout=full)
        refused(STORAGE, "--help", stdout=full)
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))}
    refused(STORAGE, "generate", *SMALL, "-o", tmp_path / "t", **limit)
    refused(STORAGE, "generate", *SMALL, "--vectors", tmp_path, **limit)
    assert not list(tmp_path.iterdir())
