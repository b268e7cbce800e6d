# SPDX-License-Identifier: Apache-2.0
"""Files as people have them, from the outside: what their tools write by default, pipes, gzip, bad rows, and outputs that
would replace something.

Standard library only.
"""
import gzip
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import threading

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
KITH = os.environ.get("KITH_BIN") or str(ROOT / "build" / "kith")
OK, USAGE, INPUT, ABSENT, STORAGE = 0, 2, 3, 5, 6
ENVIRONMENT = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "KITH_CPU")} | {"LC_ALL": "C.UTF-8"}


def kith(*arguments, cwd, **options):
    return subprocess.run([KITH, *map(str, arguments)], cwd=cwd, env=ENVIRONMENT, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=120, **options)


def good(*arguments, cwd, **options):
    done = kith(*arguments, cwd=cwd, **options)
    assert done.returncode == OK, done.stderr
    return done.stdout.decode()


def refused(code, *arguments, cwd, **options):
    done = kith(*arguments, cwd=cwd, **options)
    assert done.returncode == code, (done.returncode, done.stderr)
    assert done.stderr.startswith(b"kith: ") and done.stdout == b""
    return done.stderr.decode()


def write_npy(path, rows, kind="f4"):
    code = {"f4": "f", "f8": "d", "i8": "q"}[kind]
    shape = f"({len(rows)}, {len(rows[0])})" if isinstance(rows[0], (list, tuple)) else f"({len(rows)},)"
    head = f"{{'descr': '<{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    flat = [x for row in rows for x in row] if isinstance(rows[0], (list, tuple)) else rows
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() +
                     struct.pack(f"<{len(flat)}{code}", *flat))


def nearest(index, query, cwd, *options):
    """Ids of all results of one query."""
    line = good("search", index, "--query", ",".join(map(str, query)), "-k", 100, "--json", *options, cwd=cwd)
    return [hit["id"] for hit in json.loads(line)["results"]]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "x.csv").write_text("1,2\n3,4\n5,6\n")
    good("build", "x.csv", "--quiet", cwd=tmp_path)
    return tmp_path


# ---- Columns ---------------------------------------------------------------------------------------------------------

def test_data_frames(tmp_path):
    (tmp_path / "plain.csv").write_text("0,1,2\n1.5,2,3\n4,5,6\n")
    done = kith("build", "plain.csv", cwd=tmp_path)
    assert done.returncode == OK and b"2 x 3 f32" in done.stdout and b"header of numbers" in done.stdout
    assert b"note" in done.stderr and b"--header no" in done.stderr
    assert nearest("plain.kith", [4, 5, 6], tmp_path) == [1, 0]
    report = json.loads(good("build", "plain.csv", "--header", "no", "--json", cwd=tmp_path))
    assert report["rows"] == 3 and report["columns"].startswith("no header")
    (tmp_path / "index.csv").write_text(",0,1,2\n7,1.5,2,3\n9,4,5,6\n")
    report = json.loads(good("build", "index.csv", "--json", "--quiet", cwd=tmp_path))
    assert report["columns"] == ("header of numbers; ids: column 1 (numbers); vectors: column 2, '0' to column 4, '2'")
    assert nearest("index.kith", [4, 5, 6], tmp_path) == [9, 7]
    (tmp_path / "upper.csv").write_text("ID,x,y\n7,1.5,2\n9,4,5\n")
    good("build", "upper.csv", "--quiet", cwd=tmp_path)
    assert nearest("upper.kith", [4, 5], tmp_path) == [9, 7]


def test_lists_and_keys(tmp_path):
    (tmp_path / "lists.csv").write_text('id,text,embedding\na,"x, y","[0.1, 0.2]"\nb,z,"[3, 4]"\n')
    report = json.loads(good("build", "lists.csv", "--json", cwd=tmp_path))
    assert report["dim"] == 2 and "left out: column 2, 'text'" in report["columns"]
    assert nearest("lists.kith", [3, 4], tmp_path) == ["b", "a"]
    (tmp_path / "keys.jsonl").write_text('{"_id": "a", "embedding": [1, 2]}\n{"_id": "b", "embedding": [3, 4]}\n')
    good("build", "keys.jsonl", "--quiet", cwd=tmp_path)
    assert nearest("keys.kith", [3, 4], tmp_path) == ["b", "a"]
    (tmp_path / "own.jsonl").write_text('{"key": 5, "latent": [1, 2]}\n{"key": 6, "latent": [3, 4]}\n')
    assert "--vector-key" in refused(INPUT, "build", "own.jsonl", cwd=tmp_path)
    good("build", "own.jsonl", "--vector-key", "latent", "--id-column", "key", "--quiet", cwd=tmp_path)
    assert nearest("own.kith", [3, 4], tmp_path) == [6, 5]


def test_ids_survive_text(tmp_path):
    lines = [{"id": "-7", "vector": [1.0]}, {"id": "8", "vector": [2.0]}, {"id": str(2**64 - 1), "vector": [3.0]}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    good("convert", "a.jsonl", "b.csv", "--quiet", cwd=tmp_path)
    good("convert", "b.csv", "c.jsonl", "--quiet", cwd=tmp_path)
    assert [json.loads(line) for line in open(tmp_path / "c.jsonl")] == lines
    (tmp_path / "d.csv").write_text(f"id,x\n{2**64 - 1},1\n8,2\n")
    assert "line 2: id 18446744073709551615" in refused(INPUT, "build", "d.csv", cwd=tmp_path)


# ---- Numbers ---------------------------------------------------------------------------------------------------------

def test_float64_rounds_when_asked(tmp_path):
    write_npy(tmp_path / "x.npy", [[0.1, 0.2], [0.3, 1.0]], "f8")
    assert "--round" in refused(INPUT, "build", "x.npy", cwd=tmp_path)
    assert "--round" in refused(INPUT, "convert", "x.npy", "y.npy", cwd=tmp_path)
    good("convert", "x.npy", "y.npy", "--round", "--quiet", cwd=tmp_path)
    assert (tmp_path / "y.npy").read_bytes()[-16:] == struct.pack("<4f", 0.1, 0.2, 0.3, 1.0)
    good("build", "x.npy", "--round", "--quiet", cwd=tmp_path)
    good("build", "y.npy", "--quiet", cwd=tmp_path)
    both = [good("search", name, "-q", "0.1,0.7", "--json", cwd=tmp_path) for name in ("x.kith", "y.kith")]
    assert both[0] == both[1]


def test_zero_has_no_sign(tmp_path):
    (tmp_path / "x.csv").write_text("1,2\n3,4\n")
    good("build", "x.csv", "--metric", "ip", "--quiet", cwd=tmp_path)
    assert '"distance":0}' in good("search", "x.kith", "-q", "0,0", "--json", cwd=tmp_path)
    assert "\t0\n" in good("search", "x.kith", "-q", "0,0", cwd=tmp_path)
    (tmp_path / "q.csv").write_text("0,0\n")
    good("join", "q.csv", "x.kith", "-k2", "-o", "j.ndjson", "--quiet", cwd=tmp_path)
    assert "-0" not in (tmp_path / "j.ndjson").read_text()
    assert "1e39, which is beyond 32-bit floats" in refused(USAGE, "search", "x.kith", "-q", "1,1e39", cwd=tmp_path)


# ---- Bad rows --------------------------------------------------------------------------------------------------------

def test_bad_rows_are_left_out_when_asked(tmp_path):
    rows = [f"{i},{i + 1.5}" for i in range(40)]
    for at in range(5, 30, 2):
        rows[at] = "nan,1" if at % 3 else "1"
    rows[39] = "0,0"
    (tmp_path / "x.csv").write_text("\n".join(rows) + "\n")
    refused(INPUT, "build", "x.csv", cwd=tmp_path)
    done = kith("build", "x.csv", "--skip-bad", cwd=tmp_path)
    told = done.stderr.decode()
    assert done.returncode == OK and "13 of the rows of x.csv are left out" in told and "and 3 more" in told
    assert "row 5: x.csv: line 6: element 0 is NaN" in told and "line 10: has 1 fields, 2 were expected" in told
    assert "left out" in done.stdout.decode() and "row numbers of x.csv" in done.stdout.decode()
    assert nearest("x.kith", [39, 40.5], tmp_path)[:2] == [38, 37]  # as if nothing were missing
    report = json.loads(good("build", "x.csv", "--skip-bad", "--metric", "cosine", "--json", cwd=tmp_path))
    assert report["rows"] == 26 and report["skipped"] == 14
    good("convert", "x.csv", "y.jsonl", "--skip-bad", "--quiet", cwd=tmp_path)
    ids = [json.loads(line)["id"] for line in open(tmp_path / "y.jsonl")]
    assert len(ids) == 27 and ids[:6] == [0, 1, 2, 3, 4, 6]


# ---- Pipes and gzip --------------------------------------------------------------------------------------------------

def test_standard_input(folder):
    text = (folder / "x.csv").read_bytes()
    good("build", "-", "-o", "p.kith", "--quiet", cwd=folder, input=text)
    assert (folder / "p.kith").exists() and not (folder / "-").exists()
    good("build", "/dev/stdin", "-o", "p.kith", "--quiet", cwd=folder, input=gzip.compress(text))
    assert nearest("p.kith", [5, 6], folder) == [2, 1, 0]
    lines = good("search", "x.kith", "-", "-k1", "--json", cwd=folder, input=text).splitlines()
    assert [json.loads(line)["results"][0]["id"] for line in lines] == [0, 1, 2]
    lines = good("search", "x.kith", "x.csv", "-k3", "--allow", "-", "--json", cwd=folder, input=b"2\n")
    assert json.loads(lines.splitlines()[0])["results"] == [{"id": 2, "distance": 32}]
    good("build", "x.csv", "-o", "i.kith", "--ids", "-", "--quiet", cwd=folder, input=b"7\n8\n9\n")
    assert nearest("i.kith", [5, 6], folder) == [9, 8, 7]
    good("join", "-", "x.kith", "-k1", "-o", "j", "--quiet", cwd=folder, input=text)
    assert "--output" in refused(USAGE, "build", "-", cwd=folder, input=text)
    assert "once" in refused(USAGE, "search", "x.kith", "-", "--allow", "-", cwd=folder, input=text)
    refused(INPUT, "info", "/dev/stdin", cwd=folder, input=text)
    refused(INPUT, "build", "/dev/stdin", "-o", "n.kith", cwd=folder, stdin=subprocess.DEVNULL)


def test_named_pipes(folder):
    os.mkfifo(folder / "fifo.csv")
    writer = threading.Thread(target=lambda: (folder / "fifo.csv").write_text("1,2\n3,4\n"))
    writer.start()
    assert "--output" in refused(USAGE, "build", "fifo.csv", cwd=folder)
    good("build", "fifo.csv", "-o", "f.kith", "--quiet", cwd=folder)
    writer.join()
    assert nearest("f.kith", [3, 4], folder) == [1, 0]


def test_standard_output(folder):
    assert good("convert", "x.csv", "-", "--to", "jsonl", cwd=folder) == "".join(
        f'{{"vector": [{i}, {i + 1}]}}\n' for i in (1, 3, 5))
    assert good("convert", "-", "-", "--to", "csv", cwd=folder, input=b"7 8\n9 10\n") == "7,8\n9,10\n"
    assert not (folder / "-").exists()
    assert "--to" in refused(USAGE, "convert", "x.csv", "-", cwd=folder)
    assert "--to" in refused(USAGE, "convert", "x.csv", "-", "--to", "bin", cwd=folder)
    refused(USAGE, "convert", "x.csv", "-", "--to", "csv", "--json", cwd=folder)
    (folder / "bad.csv").write_text("1,2\n" * 50000 + "1,x\n")
    refused(INPUT, "convert", "bad.csv", "-", "--to", "csv", cwd=folder)  # and nothing was printed
    assert good("search", "x.kith", "x.csv", "-k1", "-o", "-", cwd=folder) == good("search", "x.kith", "x.csv", "-k1",
                                                                                  cwd=folder)


def test_gzip(folder):
    (folder / "z.csv.gz").write_bytes(gzip.compress((folder / "x.csv").read_bytes()))
    (folder / "ids.gz").write_bytes(gzip.compress(b"7\n8\n9\n"))
    good("build", "z.csv.gz", "--ids", "ids.gz", "--quiet", cwd=folder)
    assert nearest("z.kith", [5, 6], folder) == [9, 8, 7]
    assert nearest("z.kith", [5, 6], folder, "--allow", "ids.gz") == [9, 8, 7]
    (folder / "cut.csv.gz").write_bytes((folder / "z.csv.gz").read_bytes()[:-6])
    assert "cut off" in refused(INPUT, "build", "cut.csv.gz", cwd=folder)
    assert "read, not written" in refused(INPUT, "convert", "x.csv", "y.csv.gz", cwd=folder)


def test_allow_takes_what_ids_take(folder):
    (folder / "ids.txt").write_bytes(b"\xef\xbb\xbf5\r\n7\r\n\r\n9\r\n")
    write_npy(folder / "ids.npy", [5, 7, 9], "i8")
    good("build", "x.csv", "-o", "i.kith", "--ids", "ids.npy", "--quiet", cwd=folder)
    write_npy(folder / "few.npy", [9, 5, 100], "i8")
    assert nearest("i.kith", [5, 6], folder, "--allow", "ids.txt") == [9, 7, 5]
    assert nearest("i.kith", [5, 6], folder, "--allow", "few.npy") == [9, 5]
    (folder / "words.txt").write_text("7\na b\n-3\n")
    good("build", "x.csv", "-o", "s.kith", "--ids", "words.txt", "--quiet", cwd=folder)
    assert nearest("s.kith", [5, 6], folder, "--allow", "words.txt") == ["-3", "a b", "7"]
    assert "strings" in refused(INPUT, "search", "s.kith", "-q", "1,2", "--allow", "few.npy", cwd=folder)
    assert "line 2" in refused(INPUT, "search", "i.kith", "-q", "1,2", "--allow", "words.txt", cwd=folder)


@pytest.mark.parametrize("name, data, words", [
    ("a.csv", b"id,a\r7,1\r", "CR alone"),
    ("a.csv", b"<!DOCTYPE html>", "web page"),
    ("a.csv", "id,a\n1,2\n".encode("utf-16"), "UTF-16"),
    ("a.parquet", b"PAR1...", "Parquet"),
    ("a.h5", b"\x89HDF\r\n\x1a\n...", "HDF5"),
    ("a.npz", b"PK\x03\x04...", "zip archive"),
    ("a.csv", b"1|2\n3|4\n", "taken for a header"),
])
def test_other_files_are_named(name, data, words, tmp_path):
    (tmp_path / name).write_bytes(data)
    assert words in refused(INPUT, "build", name, cwd=tmp_path)


def test_folders_and_devices_are_inputs_that_are_refused(folder):
    assert "folder" in refused(INPUT, "build", ".", "-o", "n.kith", cwd=folder)
    refused(INPUT, "search", ".", "-q", "1,2", cwd=folder)
    assert "device" in refused(INPUT, "search", "x.kith", "/dev/zero", cwd=folder)


# ---- Outputs ---------------------------------------------------------------------------------------------------------

def test_inputs_are_never_replaced(folder):
    good("convert", "x.csv", "q.npy", "--quiet", cwd=folder)
    os.symlink("q.npy", folder / "link.npy")
    os.link(folder / "q.npy", folder / "hard.npy")
    (folder / "q.distances.npy").symlink_to("x.csv")
    before = {name: (folder / name).read_bytes() for name in ("q.npy", "x.csv", "x.kith")}
    for output in ("q.npy", "link.npy", "hard.npy", "./q.npy"):
        refused(USAGE, "search", "x.kith", "q.npy", "-k2", "-o", output, "--force", cwd=folder)
        refused(USAGE, "convert", "q.npy", output, "--force", cwd=folder)
    refused(USAGE, "build", "x.csv", "-o", "x.csv", "--force", cwd=folder)
    refused(USAGE, "build", "q.npy", "--ids", "x.csv", "-o", "x.csv", "--force", cwd=folder)
    refused(USAGE, "join", "q.npy", "x.kith", "-o", "x.kith", "--to", "ndjson", "--force", cwd=folder)
    refused(USAGE, "tune", "x.kith", "--svg", "x.kith", "--force", cwd=folder)
    refused(USAGE, "bench", "x.kith", "q.npy", "--json", "q.npy", "--force", cwd=folder)
    assert before == {name: (folder / name).read_bytes() for name in before}


@pytest.mark.parametrize("arguments, output", [
    (["build", "x.csv", "-o"], "out.kith"),
    (["convert", "x.csv"], "out.npy"),
    (["convert", "x.csv"], "out.fvecs"),
    (["convert", "x.csv"], "out.csv"),
    (["convert", "x.csv"], "out.jsonl"),
    (["search", "x.kith", "x.csv", "-k2", "-o"], "out.npy"),
    (["search", "x.kith", "x.csv", "-k2", "-o"], "out.ivecs"),
    (["join", "x.csv", "x.kith", "-k2", "-o"], "out.ids.npy"),
    (["join", "x.csv", "x.kith", "-k2", "-o"], "out.ndjson"),
    (["bench", "x.kith", "x.csv", "--seconds", "0.01", "--batch", "1", "--threads", "1", "--quiet", "--json"], "out.json"),
    (["bench", "x.kith", "x.csv", "--seconds", "0.01", "--batch", "1", "--threads", "1", "--quiet", "--svg"], "out.svg"),
])
def test_other_kinds_are_replaced_by_force_only(arguments, output, folder):
    # A join names its files itself.
    run = [*arguments, "out" if output.endswith("ids.npy") else output]
    (folder / output).write_text("my thesis")
    assert "--force" in refused(USAGE, *run, cwd=folder)
    assert (folder / output).read_text() == "my thesis"
    good(*run, "--force", cwd=folder)
    made = (folder / output).read_bytes()
    assert made != b"my thesis"
    good(*run, cwd=folder)  # its own kind is replaced without asking
    (folder / output).write_bytes(b"")
    good(*run, cwd=folder)  # as is what holds nothing


def test_vectors_are_no_results(folder):
    good("convert", "x.csv", "vectors.npy", "--quiet", cwd=folder)
    before = (folder / "vectors.npy").read_bytes()
    assert "ids" in refused(USAGE, "search", "x.kith", "x.csv", "-o", "vectors.npy", cwd=folder)
    (folder / "out.distances.npy").write_text("my thesis")
    assert "out.distances.npy" in refused(USAGE, "search", "x.kith", "x.csv", "-o", "out.npy", cwd=folder)
    assert (folder / "vectors.npy").read_bytes() == before and not (folder / "out.npy").exists()


# ---- Memory ----------------------------------------------------------------------------------------------------------

def test_ranges_are_printed_as_they_come(tmp_path):
    rng = random.Random(3)
    write_npy(tmp_path / "x.npy", [[rng.random(), rng.random()] for _ in range(20000)])
    good("build", "x.npy", "--lists", 1, "--quiet", cwd=tmp_path)
    # Begun by a small process: what a program took before it became another one counts for that one.
    measure = ("import os, subprocess, sys; p = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL); "
               "_, status, usage = os.wait4(p.pid, 0); print(os.waitstatus_to_exitcode(status), usage.ru_maxrss)")
    done = subprocess.run([sys.executable, "-c", measure, KITH, "search", "x.kith", "x.npy", "--rows", "100", "--radius",
                           "10"], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    code, kilobytes = map(int, done.stdout.split())
    assert code == OK
    assert kilobytes < 64 * 1024  # 2,000,000 results


def test_results_keep_mode_and_links(folder):
    """What the command itself writes is replaced as the library replaces files."""
    (folder / "there").mkdir()
    real, link = folder / "there" / "answers.npy", folder / "answers.npy"
    good("search", "x.kith", "x.csv", "-k", "1", "-o", real, cwd=folder)
    real.chmod(0o600)
    link.symlink_to("there/answers.npy")
    before = real.stat().st_ino
    good("search", "x.kith", "x.csv", "-k", "2", "-o", link, cwd=folder)
    assert link.is_symlink() and real.stat().st_ino != before
    assert real.stat().st_mode & 0o777 == 0o600
    assert not [p for p in (folder / "there").iterdir() if p.name.startswith(".")]
    (folder / "nowhere.npy").symlink_to("absent.npy")
    refused(STORAGE, "search", "x.kith", "x.csv", "-k", "1", "-o", "nowhere.npy", cwd=folder)
