# SPDX-License-Identifier: Apache-2.0
"""kith join from the outside: its outputs, messages, JSON and exit codes, and what an interrupt leaves.

Standard library only. Values are whole numbers, so that distances are exact in floats and ties occur.
"""
import array
import json
import os
import pathlib
import random
import signal
import struct
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
KITH = os.environ.get("KITH_BIN") or str(ROOT / "build" / "kith")
OK, USAGE, INPUT, ABSENT, STORAGE, INTERRUPTED = 0, 2, 3, 5, 6, 130
NONE = 2**64 - 1
DIM = 6


def kith(*arguments, cwd):
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "KITH_CPU", "KITH_THREADS")} | {"LC_ALL": "C.UTF-8"}
    return subprocess.run([KITH, *map(str, arguments)], cwd=cwd, env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=300)


def good(*arguments, cwd):
    done = kith(*arguments, cwd=cwd)
    assert done.returncode == OK, done.stderr
    return done


def refused(code, *arguments, cwd):
    done = kith(*arguments, cwd=cwd)
    assert done.returncode == code, (done.returncode, done.stderr)
    assert done.stderr.startswith("kith: ") and done.stdout == ""
    return done.stderr


def write_npy(path, rows):
    """Write rows (lists of numbers, all of one length) as float32."""
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({len(rows)}, {len(rows[0])}), }}"
    head = head.ljust(128 - 11) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() +
                     array.array("f", [x for row in rows for x in row]).tobytes())


def read_npy(path):
    """Return the rows of an .npy file of <u8 or <f4 as lists."""
    data = path.read_bytes()
    assert data[:8] == b"\x93NUMPY\x01\x00"
    size = struct.unpack("<H", data[8:10])[0]
    head = eval(data[10:10 + size].decode(), {"__builtins__": {}})  # a literal that kith wrote
    values = array.array({"<u8": "Q", "<f4": "f"}[head["descr"]], data[10 + size:])
    rows, columns = head["shape"]
    assert len(values) == rows * columns
    return [list(values[i * columns:(i + 1) * columns]) for i in range(rows)]


def vectors(count, seed):
    rng = random.Random(seed)
    return [[float(rng.randint(-9, 9)) for _ in range(DIM)] for _ in range(count)]


def nearest(rows, query, k, left_out=None):
    """The k nearest (id, squared distance), ties by id, without the row left_out."""
    found = sorted((sum((a - b) ** 2 for a, b in zip(row, query)), i) for i, row in enumerate(rows) if i != left_out)
    return [(i, d) for d, i in found][:k]


ITEMS, QUERIES = vectors(250, 1), vectors(30, 2)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("join")
    write_npy(folder / "items.npy", ITEMS)
    write_npy(folder / "queries.npy", QUERIES)
    good("build", "items.npy", "--quiet", cwd=folder)
    return folder


def pairs(folder, stem):
    """What the pair of arrays says, as lists of (id, distance)."""
    ids, distances = read_npy(folder / f"{stem}.ids.npy"), read_npy(folder / f"{stem}.distances.npy")
    return [[(i, d) for i, d in zip(a, b) if i != NONE] for a, b in zip(ids, distances)]


def lines(path):
    return [(row["id"], list(zip(row["ids"], row["distances"]))) for row in map(json.loads, path.open())]


def test_arrays(home, tmp_path):
    done = good("join", "queries.npy", "items.kith", "-k", 7, "-o", tmp_path / "out", cwd=home)
    assert pairs(tmp_path, "out") == [nearest(ITEMS, q, 7) for q in QUERIES]
    assert "exact" in done.stdout and "30" in done.stdout and done.stderr == ""
    assert sorted(os.listdir(tmp_path)) == ["out.distances.npy", "out.ids.npy"]


def test_lines_carry_the_queries_ids(home, tmp_path):
    (tmp_path / "users.txt").write_text("".join(f"user {i}\n" for i in range(30)))
    out = tmp_path / "out.jsonl"
    good("join", "queries.npy", "items.kith", "-k", 3, "-o", out, "--ids", tmp_path / "users.txt", cwd=home)
    assert lines(out) == [(f"user {i}", nearest(ITEMS, q, 3)) for i, q in enumerate(QUERIES)]
    good("join", "queries.npy", "items.kith", "-k", 3, "-o", tmp_path / "other", "--to", "ndjson", cwd=home)
    assert lines(tmp_path / "other") == [(i, nearest(ITEMS, q, 3)) for i, q in enumerate(QUERIES)]


def test_self_join(home, tmp_path):
    good("join", "--self", "items.kith", "-k", 4, "-o", tmp_path / "self.npy", "--threads", 1, cwd=home)
    expected = [nearest(ITEMS, row, 4, i) for i, row in enumerate(ITEMS)]
    assert pairs(tmp_path, "self") == expected
    good("join", "--self", "items.kith", "-k", 4, "-o", tmp_path / "self.ndjson", cwd=home)
    assert lines(tmp_path / "self.ndjson") == list(enumerate(expected))


def test_json_report(home, tmp_path):
    done = good("join", "queries.npy", "items.kith", "-k", 2, "-o", tmp_path / "out", "--json", cwd=home)
    report = json.loads(done.stdout)
    assert report["queries"] == 30 and report["resumed"] == 0 and report["restarted"] == "" and report["k"] == 2
    assert report["exact"] is True and report["plan"] and report["input"] == "queries.npy"
    assert report["output_bytes"] == sum(f.stat().st_size for f in tmp_path.iterdir())
    done = good("join", "--self", "items.kith", "-o", tmp_path / "out", "--json", cwd=home)
    assert json.loads(done.stdout)["input"] is None
    assert good("join", "--self", "items.kith", "-o", tmp_path / "out", "--quiet", cwd=home).stdout == ""


def test_allow_rows_and_more_results_than_vectors(home, tmp_path):
    (tmp_path / "stock.txt").write_text("5\n9\n200\n")
    good("join", "queries.npy", "items.kith", "-k", 5, "-o", tmp_path / "out", "--allow", tmp_path / "stock.txt",
         "--first-row", 3, "--rows", 4, cwd=home)
    allowed = {i: ITEMS[i] for i in (5, 9, 200)}
    expected = [sorted(((i, d) for i, d in nearest(ITEMS, q, 250) if i in allowed), key=lambda p: (p[1], p[0]))
                for q in QUERIES[3:7]]
    assert pairs(tmp_path, "out") == expected
    assert all(row[3:] == [NONE, NONE] for row in read_npy(tmp_path / "out.ids.npy"))


def test_deny(home, tmp_path):
    (tmp_path / "sold.txt").write_text("5\n9\n200\n")
    (tmp_path / "stock.txt").write_text("5\n6\n7\n8\n")
    for more, rest in (([], set(range(len(ITEMS))) - {5, 9, 200}), (["--allow", tmp_path / "stock.txt"], {6, 7, 8})):
        good("join", "queries.npy", "items.kith", "-k", 3, "-o", tmp_path / "out", "--deny", tmp_path / "sold.txt", *more,
             "--restart", cwd=home)
        allowed = {i: ITEMS[i] for i in rest}
        assert pairs(tmp_path, "out") == [
            sorted(((i, d) for i, d in nearest(ITEMS, q, 250) if i in allowed), key=lambda p: (p[1], p[0]))[:3]
            for q in QUERIES]


@pytest.mark.parametrize("code, arguments, words", [
    (USAGE, ["items.kith", "-o", "x"], "--self"),
    (USAGE, ["--self", "queries.npy", "items.kith", "-o", "x"], "--self"),
    (USAGE, ["queries.npy", "items.kith"], "--output"),
    (USAGE, ["queries.npy", "items.kith", "-o", "x", "-k", "0"], "1 to 10000"),
    (USAGE, ["--self", "items.kith", "-o", "x", "-k", "10000"], "9999"),
    (USAGE, ["queries.npy", "items.kith", "-o", "x", "--target-recall", "1.5"], "--target-recall"),
    (USAGE, ["queries.npy", "items.kith", "-o", "x", "--memory", "1M"], "16M"),
    (USAGE, ["queries.npy", "items.kith", "-o", ""], "empty"),
    (USAGE, ["queries.npy", "items.kith", "-o", "x", "--to", "csv"], "ndjson"),
    (INPUT, ["queries.npy", "items.kith", "-o", "x", "--plan", "ivf"], "one list"),
    (ABSENT, ["none.npy", "items.kith", "-o", "x"], "none.npy"),
    (ABSENT, ["queries.npy", "none.kith", "-o", "x"], "none.kith"),
    (ABSENT, ["queries.npy", "items.kith", "-o", "none/x"], "none/x"),
    (USAGE, ["queries.npy", "items.kith", "-o", "items.kith", "--to", "ndjson"], "items.kith is an input itself"),
])
def test_refused(home, code, arguments, words):
    before = sorted(os.listdir(home))
    assert words in refused(code, "join", *arguments, cwd=home)
    assert sorted(os.listdir(home)) == before


def test_bad_query_is_named(home, tmp_path):
    rows = [list(row) for row in QUERIES]
    rows[17][2] = float("nan")
    write_npy(tmp_path / "bad.npy", rows)
    said = refused(INPUT, "join", tmp_path / "bad.npy", "items.kith", "-o", tmp_path / "out", cwd=home)
    assert "row 17 holds a NaN" in said
    assert os.listdir(tmp_path) == ["bad.npy"]


def test_without_originals(home, tmp_path):
    good("build", "items.npy", "--originals", "none", "-o", tmp_path / "codes.kith", "--quiet", cwd=home)
    said = refused(INPUT, "join", "--self", tmp_path / "codes.kith", "-o", tmp_path / "x", cwd=home)
    assert "without originals" in said
    done = good("join", "queries.npy", tmp_path / "codes.kith", "-o", tmp_path / "x", "--json", cwd=home)
    assert json.loads(done.stdout)["exact"] is False


# ---- Interrupted -----------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A self-join that takes long enough to be interrupted, and its output."""
    folder = tmp_path_factory.mktemp("large")
    rng = random.Random(3)
    values = array.array("f", (rng.random() for _ in range(20000 * 4)))
    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (20000, 4), }".ljust(117) + b"\n"
    (folder / "items.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + values.tobytes())
    good("build", "items.npy", "--quiet", "--lists", 1, cwd=folder)
    return folder


ARGUMENTS = ["join", "--self", "items.kith", "-k", "20", "-o", "out", "--plan", "plain", "--threads", "1"]


# The joins that are interrupted take the slowest kernels, so that they are still at work when the signal comes, however
# busy the machine is and however fast. Those that go on take the best: the answers are the same.
SLOWLY = {**os.environ, "KITH_CPU": "scalar"}


def interrupt(folder, number):
    """Start the join and signal it once rows were written; its exit code and messages."""
    process = subprocess.Popen([KITH, *ARGUMENTS], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, env=SLOWLY)
    part = folder / "out.part"
    while not part.exists() or not part.read_bytes()[128:].strip(b"\0"):
        assert process.poll() is None, "it ended before the signal"
        time.sleep(0.01)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    return process.returncode, said


def test_interrupted_join_goes_on(large):
    for name in ("out.ids.npy", "out.distances.npy"):
        (large / name).unlink(missing_ok=True)
    code, said = interrupt(large, signal.SIGINT)
    assert code == INTERRUPTED and "interrupted" in said and "goes on" in said and "--restart" in said
    assert sorted(os.listdir(large)) == ["items.kith", "items.npy", "out.distances.part", "out.join", "out.part"]
    done = good(*ARGUMENTS, "--json", cwd=large)
    report = json.loads(done.stdout)
    assert 0 < report["resumed"] < 20000
    gone_on = [(large / name).read_bytes() for name in ("out.ids.npy", "out.distances.npy")]
    assert sorted(os.listdir(large)) == ["items.kith", "items.npy", "out.distances.npy", "out.ids.npy"]
    arguments = [a if a != "plain" else "auto" for a in ARGUMENTS]  # faster, and the same answers
    good(*arguments, cwd=large)
    assert gone_on == [(large / name).read_bytes() for name in ("out.ids.npy", "out.distances.npy")]


def test_other_options_begin_anew_and_say_so(large):
    code, _ = interrupt(large, signal.SIGTERM)
    assert code == 143
    arguments = [a if a != "plain" else "auto" for a in ARGUMENTS]
    done = good(*arguments, cwd=large)
    assert "note" in done.stderr and "not gone on with" in done.stderr and "options" in done.stderr
    assert not (large / "out.join").exists()


def test_damaged_state_begins_anew(large):
    interrupt(large, signal.SIGINT)
    state = large / "out.join"
    state.write_bytes(state.read_bytes()[:50])
    done = good(*[a if a != "plain" else "auto" for a in ARGUMENTS], cwd=large)
    assert "state file is damaged" in done.stderr


def test_two_joins_of_one_name(large):
    process = subprocess.Popen([KITH, *ARGUMENTS], cwd=large, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env=SLOWLY)
    part = large / "out.part"
    while not part.exists() or not part.read_bytes()[128:].strip(b"\0"):  # it has the lock before the first row
        assert process.poll() is None, "it ended before the other began"
        time.sleep(0.005)
    assert "another process" in refused(STORAGE, *ARGUMENTS, cwd=large)
    process.send_signal(signal.SIGINT)
    process.wait(120)
    good(*ARGUMENTS, "--restart", "--quiet", cwd=large)
