# SPDX-License-Identifier: Apache-2.0
"""The kith command from the outside: every command, its errors and exit codes, its output on terminals and in pipes.

Standard library only. Answers are compared with a search written here, over values that floats hold exactly.
"""
import array
import json
import math
import os
import pathlib
import pty
import random
import re
import resource
import select
import shutil
import signal
import struct
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
KITH = os.environ.get("KITH_BIN") or str(ROOT / "build" / "kith")
COMMANDS = ["build", "search", "join", "tune", "info", "verify", "convert", "bench", "create", "declare", "add", "load", "get",
            "delete", "query", "profile", "generation", "flip", "top", "snapshot", "restore", "compact",
            "repair", "serve", "key", "demo", "cpu", "help", "version"]
OK, OTHER, USAGE, INPUT, INDEX, ABSENT, STORAGE, STOPPED, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 7, 130


# ---- Support ---------------------------------------------------------------------------------------------------------

def environment(**changes):
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "KITH_CPU", "KITH_THREADS", "COLUMNS")}
    env.update({"LC_ALL": "C.UTF-8", "TERM": "xterm"})
    env.update(changes)
    return env


def kith(*arguments, cwd=None, env=None, **options):
    return subprocess.run([KITH, *map(str, arguments)], cwd=cwd, env=env or environment(), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=600, **options)


def good(*arguments, **options):
    done = kith(*arguments, **options)
    assert done.returncode == OK, done.stderr
    return done


def refused(code, *arguments, **options):
    """Run what must fail: the exit code, one sentence for people, nothing on stdout."""
    done = kith(*arguments, **options)
    assert done.returncode == code, (done.returncode, done.stderr)
    assert done.stderr.startswith("kith: "), done.stderr
    assert done.stdout == ""
    return done.stderr


def write_npy(path, rows, kind="f4"):
    code = {"f4": "f", "u1": "B", "i1": "b", "i8": "q"}[kind]
    shape = f"({len(rows)}, {len(rows[0])})" if isinstance(rows[0], (list, tuple)) else f"({len(rows)},)"
    head = f"{{'descr': '{'|' if kind[1] == '1' else '<'}{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    head = head.ljust(128 - 11) + "\n"
    flat = [x for row in rows for x in row] if isinstance(rows[0], (list, tuple)) else rows
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() +
                     array.array(code, flat).tobytes())


def read_npy(path):
    data = path.read_bytes()
    assert data[:8] == b"\x93NUMPY\x01\x00"
    size = struct.unpack("<H", data[8:10])[0]
    assert (10 + size) % 64 == 0 and data[9 + size:10 + size] == b"\n"
    head = eval(data[10:10 + size].decode(), {"__builtins__": {}})  # a literal that kith wrote
    values = array.array({"<i8": "q", "<f4": "f"}[head["descr"]], data[10 + size:])
    rows, columns = head["shape"]
    assert len(values) == rows * columns
    return [list(values[i * columns:(i + 1) * columns]) for i in range(rows)]


def vectors(count, dim, seed):
    """Small whole numbers: distances are exact in floats, and ties occur."""
    rng = random.Random(seed)
    return [[float(rng.randint(-9, 9)) for _ in range(dim)] for _ in range(count)]


def nearest(rows, query, k, ids=None, allowed=None, radius=None):
    ids = ids or range(len(rows))
    found = sorted((sum((a - b) ** 2 for a, b in zip(row, query)), i) for i, row in zip(ids, rows)
                   if allowed is None or i in allowed)
    return [(i, d) for d, i in found if radius is None or d <= radius][:k]


def answers(output):
    lines = [json.loads(line) for line in output.splitlines()]
    return [[(r["id"], r["distance"]) for r in line["results"]] for line in lines if "results" in line]


ROWS, QUERIES, DIM = vectors(300, 8, 1), vectors(12, 8, 2), 8


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Index files that tests share and none changes."""
    folder = tmp_path_factory.mktemp("kith")
    write_npy(folder / "items.npy", ROWS)
    write_npy(folder / "queries.npy", QUERIES)
    good("build", "items.npy", "--quiet", cwd=folder)
    with open(folder / "named.jsonl", "w", encoding="utf-8") as file:
        for i, row in enumerate(ROWS):
            file.write(json.dumps({"id": f"sku-{i:03}", "vector": row, "name": f"Größe {i}"}) + "\n")
    good("build", "named.jsonl", "--quiet", cwd=folder)
    return folder


# ---- Help ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command(command):
    page = good("help", command).stdout
    assert page.startswith(f"kith {command}: ")
    assert good(command, "--help").stdout == page
    assert good(command, "-h").stdout == page
    for word in ("Usage", "Options", "Examples", "Exit codes"):
        assert word in page
    assert max(map(len, page.splitlines())) <= 100


def test_overview_and_version():
    page = good("help").stdout
    assert all(f"  {command} " in page for command in COMMANDS)
    assert good("--help").stdout == page
    assert re.fullmatch(r"kith \d+\.\d+\.\d+\n", good("--version").stdout)
    alone = kith()
    assert alone.returncode == USAGE and alone.stdout == "" and "Commands" in alone.stderr


def long_options(command):
    return set(re.findall(r"^  (?:-.,|   ) (--[a-z-]+)", good("help", command).stdout, re.M))


def test_man_page_has_every_option(tmp_path):
    source = good("help", "--man").stdout
    for command in COMMANDS:
        begin = source.index(f"\n## kith {command}")
        section = source[begin:source.find("\n## ", begin + 5)]
        for option in long_options(command):
            assert f"*{option}*" in section, (command, option)
    for code in (0, 1, 2, 3, 4, 5, 6, 7, 130):
        assert f"*{code}*" in source
    if shutil.which("scdoc"):
        page = subprocess.run(["scdoc"], input=source, stdout=subprocess.PIPE, text=True, check=True).stdout
        assert '.TH "kith" "1"' in page
        for command in COMMANDS:
            assert all(f"\\fB{option}\\fR" in page for option in long_options(command))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_have_every_option(shell, tmp_path):
    script = good("help", "--completion", shell).stdout
    for command in COMMANDS:
        assert command in script
        for option in long_options(command):
            assert (f"-l {option[2:]} " in script) if shell == "fish" else (option in script), (command, option)
    if shutil.which(shell):
        (tmp_path / "script").write_text(script)
        subprocess.run([shell, "-n", tmp_path / "script"], check=True)


@pytest.mark.parametrize("option, enum", [("--plan", "PLAN"), ("--code", "SCAN")])
def test_every_word_of_the_header_is_an_option(option, enum):
    header = (ROOT / "include/kith.h").read_text()
    words = [word.lower() for word in re.findall(rf"^    KITH_{enum}_(\w+) = \d", header, re.M)]
    done = kith("search", "x.kith", "x.npy", option, "none-such")
    assert len(words) > 1 and f"but {', '.join(words[:-1])} or {words[-1]} was expected" in done.stderr
    assert f"[{'|'.join(words)}]" in good("search", "--help").stdout


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
@pytest.mark.parametrize("words, expected", [
    (["kith", "sea"], "search"),
    (["kith", "search", "--pl"], "--plan"),
    (["kith", "search", "x.kith", "--plan", "le"], "levels"),
    (["kith", "build", "-m", "cos"], "cosine"),
    (["kith", "help", "conv"], "convert"),
    (["kith", "info", "item"], "items.npy"),
])
def test_bash_completion_completes(words, expected, tmp_path):
    (tmp_path / "items.npy").touch()
    script = good("help", "--completion", "bash").stdout.replace("compopt -o filenames;", "")
    quoted = " ".join(f"'{word}'" for word in words)
    script += f"COMP_WORDS=({quoted})\nCOMP_CWORD={len(words) - 1}\n_kith\necho \"${{COMPREPLY[*]}}\"\n"
    done = subprocess.run(["bash"], input=script, stdout=subprocess.PIPE, text=True, check=True, cwd=tmp_path)
    assert done.stdout.split() == [expected]


# ---- Command lines that are not understood ---------------------------------------------------------------------------

@pytest.mark.parametrize("arguments, words", [
    (["serch"], '"serch"; did you mean "search"?'),
    (["biuld"], 'did you mean "build"?'),
    (["help", "serach"], 'did you mean "search"?'),
    (["frobnicate"], 'there is no command "frobnicate"'),
    (["build", "x", "--metrc", "l2"], "no option --metrc; did you mean --metric?"),
    (["build", "x", "--orig=none"], "did you mean --originals?"),
    (["build", "x", "--metric", "cosin"], 'did you mean "cosine"?'),
    (["build", "x", "--metric=manhattan"], '"manhattan", but l2, ip, cosine, hamming or jaccard was expected'),
    (["build", "x", "-z"], "build has no option -z"),
    (["build", "x", "--output"], "--output needs a value"),
    (["build", "x", "--quiet=yes"], "--quiet takes no value"),
    (["build", "x", "--memory", "1M"], "at least 16M"),
    (["build", "x", "--memory", "lots"], '"lots"'),
    (["build", "x", "--threads", "257"], "from 0 to 256"),
    (["build", "x", "--rows", "-1"], "--rows"),
    (["build", "x", "--rows", "18446744073709551616"], "--rows"),
    (["build"], "build needs INPUT"),
    (["build", "x", "y"], '"y"'),
    (["search", "x", "y", "z"], '"z"'),
    (["search", "x"], "needs a file of queries"),
    (["search", "x", "y", "--id", "3"], "2 were given"),
    (["search", "x", "y", "-k", "0"], "from 1 to 10000"),
    (["search", "x", "y", "-k0x1"], "from 1 to 10000"),
    (["search", "x", "y", "--timeout", "50"], "50ms"),
    (["search", "x", "y", "--timeout", "0s"], "50ms"),
    (["search", "x", "y", "--radius", "nan"], "--radius"),
    (["search", "x", "y", "--radius", "1", "-k", "2"], "only one"),
    (["search", "x", "y", "--json", "-o", "z.npy"], "only one"),
    (["search", "x", "y", "-o", "z.txt"], ".npy or .ivecs"),
    (["search", "x", "y", "-o", "z.npy", "--radius", "1"], "--json"),
    (["bench", "x", "y", "--batch", "1,,2"], "--batch"),
    (["bench", "x", "y", "--threads", "0"], "from 1 to 256"),
    (["bench", "x", "y", "--seconds", "0"], "--seconds"),
    (["--color", "never"], "--color"),
])
def test_usage_errors(arguments, words, tmp_path):
    assert words in refused(USAGE, *arguments, cwd=tmp_path)


def test_bad_kith_cpu_is_told(home):
    assert "KITH_CPU" in refused(USAGE, "cpu", env=environment(KITH_CPU="pentium"))


# ---- Build and info --------------------------------------------------------------------------------------------------

def test_build_says_what_it_made(tmp_path):
    write_npy(tmp_path / "a.b.npy", ROWS)
    summary = good("build", "a.b.npy", cwd=tmp_path).stdout
    assert "a.b.kith" in summary and "300 x 8 f32, l2" in summary and "exact" in summary
    assert sorted(os.listdir(tmp_path)) == ["a.b.kith", "a.b.npy"]
    report = json.loads(good("build", "a.b.npy", "-o", "c.kith", "--originals", "none", "--json", cwd=tmp_path).stdout)
    assert report["rows"] == 300 and report["dim"] == 8 and report["exact"] is False
    assert report["file_bytes"] == (tmp_path / "c.kith").stat().st_size
    text = good("build", "a.b.npy", "-o", "c.kith", "--originals", "none", cwd=tmp_path).stdout
    assert "approximate answers" in text


def test_build_does_not_replace_other_files(tmp_path):
    write_npy(tmp_path / "items.npy", ROWS)
    before = (tmp_path / "items.npy").read_bytes()
    assert "--force" in refused(USAGE, "build", "items.npy", "-o", "items.npy", cwd=tmp_path)
    assert (tmp_path / "items.npy").read_bytes() == before
    (tmp_path / "notes.txt").write_text("precious")
    refused(USAGE, "build", "items.npy", "-o", "notes.txt", cwd=tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "precious"
    good("build", "items.npy", "-o", "notes.txt", "--force", cwd=tmp_path)
    good("build", "items.npy", "-o", "notes.txt", cwd=tmp_path)  # an index is replaced without asking


def test_build_options_reach_the_index(tmp_path):
    write_npy(tmp_path / "items.npy", ROWS)
    good("build", "items.npy", "--metric", "ip", "--dtype", "f16", "--first-row", "10", "-n", "50", "-T1", "-M", "32M",
         "--seed=7", cwd=tmp_path)
    info = json.loads(good("info", "items.kith", "--json", cwd=tmp_path).stdout)
    assert (info["metric"], info["dtype"], info["rows"], info["dim"]) == ("ip", "f16", 50, 8)
    assert info["file_bytes"] == (tmp_path / "items.kith").stat().st_size
    assert info["raw_bytes"] == 50 * 8 * 2 and info["sections"]
    for section in info["sections"]:
        assert section["offset"] + section["bytes"] <= info["file_bytes"]


def test_info_for_people(home):
    text = good("info", "items.kith", cwd=home).stdout
    assert "300" in text and "section\toffset\tbytes" in text and "originals" in text


def test_bits(tmp_path):
    rng = random.Random(5)
    codes = [[rng.randrange(256) for _ in range(16)] for _ in range(40)]
    write_npy(tmp_path / "codes.npy", codes, "u1")
    good("build", "codes.npy", "--dtype", "b1", "--quiet", cwd=tmp_path)
    info = json.loads(good("info", "codes.kith", "--json", cwd=tmp_path).stdout)
    assert (info["dtype"], info["dim"], info["metric"]) == ("b1", 128, "hamming")
    expected = sorted((sum(bin(a ^ b).count("1") for a, b in zip(codes[3], row)), i) for i, row in enumerate(codes))[:5]
    for query in (["--query", ",".join(map(str, codes[3]))], ["codes.npy", "--first-row", "3", "--rows", "1"]):
        found = answers(good("search", "codes.kith", *query, "-k5", "--json", cwd=tmp_path).stdout)
        assert found == [[(i, d) for d, i in expected]]
    assert "0 to 255" in refused(USAGE, "search", "codes.kith", "--query", "256," * 15 + "1", cwd=tmp_path)


# ---- Search ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("plan", ["auto", "plain", "scan"])
@pytest.mark.parametrize("threads", ["1", "2"])
def test_search_is_exact(home, plan, threads):
    found = answers(good("search", "items.kith", "queries.npy", "-k", "7", "--plan", plan, "--threads", threads, "--json",
                         cwd=home).stdout)
    assert found == [nearest(ROWS, query, 7) for query in QUERIES]


def test_search_table_in_a_pipe(home):
    lines = good("search", "items.kith", "queries.npy", "-k2", "--first-row", "3", "-n", "2", cwd=home).stdout.splitlines()
    assert lines[0].split("\t") == ["query", "rank", "id", "distance"]
    expected = [(q, r + 1, i, d) for q in (3, 4) for r, (i, d) in enumerate(nearest(ROWS, QUERIES[q], 2))]
    assert [tuple(map(float, line.split("\t"))) for line in lines[1:]] == expected


def test_query_from_the_command_line(home):
    for text in (",".join(map(str, QUERIES[0])), str(QUERIES[0]), " ".join(map(str, QUERIES[0]))):
        found = answers(good("search", "items.kith", "--query", text, "--json", cwd=home).stdout)
        assert found == [nearest(ROWS, QUERIES[0], 10)]
    assert "has 2 numbers, but items.kith needs 8" in refused(USAGE, "search", "items.kith", "--query", "1,2", cwd=home)
    assert "element 1" in refused(USAGE, "search", "items.kith", "--query", "1,two,3,4,5,6,7,8", cwd=home)
    assert refused(USAGE, "search", "items.kith", "-q", "1,2,3,4,5,6,7,inf", cwd=home)


def test_more_like_a_stored_vector(home):
    found = answers(good("search", "items.kith", "--id", "17", "-k", "4", "--json", cwd=home).stdout)[0]
    assert found == [x for x in nearest(ROWS, ROWS[17], 6) if x[0] != 17][:4]
    ranged = answers(good("search", "items.kith", "--id", "17", "--radius", "250", "--json", cwd=home).stdout)[0]
    assert ranged == [x for x in nearest(ROWS, ROWS[17], None, radius=250) if x[0] != 17]
    refused(ABSENT, "search", "items.kith", "--id", "300", cwd=home)
    refused(USAGE, "search", "items.kith", "--id", "x", cwd=home)


def test_string_ids_and_names(home):
    lines = good("search", "named.kith", "--id", "sku-017", "-k", "3", "--json", cwd=home).stdout
    results = json.loads(lines)["results"]
    expected = [x for x in nearest(ROWS, ROWS[17], 5) if x[0] != 17][:3]
    assert [(r["id"], r["distance"], r["name"]) for r in results] == [
        (f"sku-{i:03}", d, f"Größe {i}") for i, d in expected]
    table = good("search", "named.kith", "--id", "sku-017", "-k1", cwd=home).stdout.splitlines()
    assert table[0].endswith("\tname") and table[1].split("\t")[4] == f"Größe {expected[0][0]}"
    assert 'no id "sku-999"' in refused(ABSENT, "search", "named.kith", "--id", "sku-999", cwd=home)


def test_allow_lists(home, tmp_path):
    allowed = {3, 50, 51, 200}
    (tmp_path / "few.txt").write_text("\n".join(map(str, sorted(allowed))) + "\r\n\n9999\n")
    for plan in ("auto", "gather", "plain"):
        done = good("search", "items.kith", "queries.npy", "-k", "3", "--allow", tmp_path / "few.txt", "--plan", plan,
                    "--json", cwd=home)
        assert answers(done.stdout) == [nearest(ROWS, query, 3, allowed=allowed) for query in QUERIES]
        assert "1 of the 5 ids" in done.stderr
    done = good("search", "items.kith", "queries.npy", "-n1", "--allow", tmp_path / "few.txt", "--json", "--quiet", cwd=home)
    assert len(answers(done.stdout)[0]) == 4 and done.stderr == ""
    (tmp_path / "names.txt").write_text("sku-003\nsku-050\nno-such\n")
    done = good("search", "named.kith", "queries.npy", "-n1", "--allow", tmp_path / "names.txt", "--json", cwd=home)
    assert {i for i, _ in answers(done.stdout)[0]} == {"sku-003", "sku-050"} and "1 of the 3 ids" in done.stderr
    (tmp_path / "bad.txt").write_text("1\n2\nx7\n")
    assert "line 3" in refused(INPUT, "search", "items.kith", "queries.npy", "--allow", tmp_path / "bad.txt", cwd=home)
    refused(ABSENT, "search", "items.kith", "queries.npy", "--allow", tmp_path / "none.txt", cwd=home)
    refused(USAGE, "search", "items.kith", "queries.npy", "--plan", "gather", cwd=home)


def test_deny_lists(home, tmp_path):
    denied = {3, 50, 51, 200}
    (tmp_path / "few.txt").write_text("\n".join(map(str, sorted(denied))) + "\r\n\n9999\n")
    (tmp_path / "some.txt").write_text("3\n4\n5\n50\n")
    rest = set(range(len(ROWS))) - denied
    for plan in ("auto", "gather", "plain"):
        done = good("search", "items.kith", "queries.npy", "-k", "3", "--deny", tmp_path / "few.txt", "--plan", plan,
                    "--json", cwd=home)
        assert answers(done.stdout) == [nearest(ROWS, query, 3, allowed=rest) for query in QUERIES]
        assert "1 of the 5 ids" in done.stderr
    done = good("search", "items.kith", "queries.npy", "-k", "3", "--allow", tmp_path / "some.txt", "--deny",
                tmp_path / "few.txt", "--json", "--quiet", cwd=home)
    assert answers(done.stdout) == [nearest(ROWS, query, 3, allowed={4, 5}) for query in QUERIES]
    (tmp_path / "bad.txt").write_text("1\n2\nx7\n")
    assert "line 3" in refused(INPUT, "search", "items.kith", "queries.npy", "--deny", tmp_path / "bad.txt", cwd=home)
    refused(ABSENT, "search", "items.kith", "queries.npy", "--deny", tmp_path / "none.txt", cwd=home)


def test_radius(home):
    found = answers(good("search", "items.kith", "queries.npy", "--radius", "300", "--json", cwd=home).stdout)
    assert found == [nearest(ROWS, query, None, radius=300) for query in QUERIES]
    assert answers(good("search", "items.kith", "queries.npy", "-r-1", "--json", cwd=home).stdout) == [[]] * len(QUERIES)


def test_results_as_arrays(home, tmp_path):
    expected = [nearest(ROWS, query, 5) for query in QUERIES]
    good("search", "items.kith", "queries.npy", "-k5", "-o", tmp_path / "out.npy", cwd=home)
    assert read_npy(tmp_path / "out.npy") == [[i for i, _ in row] for row in expected]
    assert read_npy(tmp_path / "out.distances.npy") == [[d for _, d in row] for row in expected]
    good("search", "items.kith", "queries.npy", "-k5", "-o", tmp_path / "out.ivecs", cwd=home)
    flat = struct.unpack(f"<{6 * len(QUERIES)}i", (tmp_path / "out.ivecs").read_bytes())
    assert [list(flat[6 * q:6 * q + 6]) for q in range(len(QUERIES))] == [[5] + [i for i, _ in row] for row in expected]
    assert len(list(tmp_path.iterdir())) == 4  # and nothing temporary
    (tmp_path / "few.txt").write_text("8\n9\n")
    good("search", "items.kith", "queries.npy", "-k3", "--allow", tmp_path / "few.txt", "-o", tmp_path / "out.npy", cwd=home)
    assert {row[2] for row in read_npy(tmp_path / "out.npy")} == {-1}
    assert {row[2] for row in read_npy(tmp_path / "out.distances.npy")} == {math.inf}


def test_ids_beyond_ivecs_and_npy(tmp_path):
    write_npy(tmp_path / "items.npy", ROWS[:3])
    (tmp_path / "ids.txt").write_text(f"5\n{2**31}\n{2**63}\n")
    good("build", "items.npy", "--ids", "ids.txt", "--quiet", cwd=tmp_path)
    before = sorted(os.listdir(tmp_path))
    assert str(2**31) in refused(INPUT, "search", "items.kith", "items.npy", "-o", "x.ivecs", cwd=tmp_path)
    assert str(2**63) in refused(INPUT, "search", "items.kith", "items.npy", "-o", "x.npy", cwd=tmp_path)
    assert sorted(os.listdir(tmp_path)) == before
    found = answers(good("search", "items.kith", "items.npy", "-n1", "--json", cwd=tmp_path).stdout)
    assert {i for i, _ in found[0]} == {5, 2**31, 2**63}


def test_explain(home):
    done = good("search", "items.kith", "queries.npy", "--explain", "--json", cwd=home)
    last = json.loads(done.stdout.splitlines()[-1])["explain"]
    assert last["queries"] == len(QUERIES) and last["rows"] == 300 and last["exact"] is True
    assert set(last["stage_ns"]) == {"prepare", "scan", "rerank", "select"}
    done = good("search", "items.kith", "queries.npy", "--explain", cwd=home)
    assert "plan" in done.stderr and "plan" not in done.stdout


def test_timeout(home):
    assert "1ns" in refused(STOPPED, "search", "items.kith", "queries.npy", "--timeout", "1ns", cwd=home)
    good("search", "items.kith", "queries.npy", "--timeout", "1m", cwd=home)


# ---- Input and index files that are refused --------------------------------------------------------------------------

def test_wrong_inputs(home, tmp_path):
    refused(ABSENT, "build", tmp_path / "none.npy")
    refused(ABSENT, "info", tmp_path / "none.kith")
    refused(ABSENT, "search", "items.kith", tmp_path / "none.npy", cwd=home)
    (tmp_path / "text.npy").write_text("not an array")
    assert "text.npy" in refused(INPUT, "build", tmp_path / "text.npy")
    (tmp_path / "cut.npy").write_bytes((home / "items.npy").read_bytes()[:-5])
    assert "cut.npy" in refused(INPUT, "build", tmp_path / "cut.npy")
    write_npy(tmp_path / "nan.npy", [[1.0, 2.0], [3.0, math.nan]])
    assert "1" in refused(INPUT, "build", tmp_path / "nan.npy")
    write_npy(tmp_path / "zero.npy", [[1.0, 2.0], [0.0, 0.0]])
    refused(INPUT, "build", tmp_path / "zero.npy", "--metric", "cosine")
    (tmp_path / "rows.csv").write_text("1,2,3\n4,x,6\n")
    assert "rows.csv" in refused(INPUT, "build", tmp_path / "rows.csv")
    write_npy(tmp_path / "twice.npy", [[1.0, 2.0], [0.0, 0.0]])
    (tmp_path / "ids.txt").write_text("7\n7\n")
    assert "7" in refused(INPUT, "build", tmp_path / "twice.npy", "--ids", tmp_path / "ids.txt")
    write_npy(tmp_path / "wide.npy", vectors(2, 9, 3))
    message = refused(INPUT, "search", "items.kith", tmp_path / "wide.npy", cwd=home)
    assert "9 elements" in message and "have 8" in message
    assert not list(tmp_path.glob("*.kith"))


def test_bad_queries_are_named_by_their_row(home, tmp_path):
    rows = [list(QUERIES[0]) for _ in range(5000)]
    rows[4321][3] = math.nan
    write_npy(tmp_path / "q.npy", rows)
    for extra in ([], ["--first-row", "4000"], ["--radius", "5"]):
        done = kith("search", "items.kith", tmp_path / "q.npy", *extra, cwd=home)
        assert done.returncode == INPUT and "q.npy: row 4321 " in done.stderr
    assert "NaN" in done.stderr


def test_damaged_index(home, tmp_path):
    whole = (home / "items.kith").read_bytes()
    assert json.loads(good("verify", "items.kith", "--json", cwd=home).stdout)["ok"] is True
    assert "good" in good("verify", "items.kith", cwd=home).stdout
    flipped = bytearray(whole)
    flipped[len(whole) * 2 // 3] ^= 4
    (tmp_path / "flipped.kith").write_bytes(flipped)
    assert "flipped.kith" in refused(INDEX, "verify", tmp_path / "flipped.kith")
    done = kith("verify", tmp_path / "flipped.kith", "--json")
    assert done.returncode == INDEX and json.loads(done.stdout)["ok"] is False
    (tmp_path / "cut.kith").write_bytes(whole[:-1])
    refused(INDEX, "info", tmp_path / "cut.kith")
    (tmp_path / "text.kith").write_text("hello" * 1000)
    refused(INDEX, "search", tmp_path / "text.kith", home / "queries.npy")


def test_file_names_cannot_steer_the_terminal(tmp_path):
    message = refused(ABSENT, "info", tmp_path / "\x1b[31mred\nline")
    assert "\x1b" not in message and message.count("\n") == 1


# ---- Storage ---------------------------------------------------------------------------------------------------------

@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_full_disk(home):
    with open("/dev/full", "w") as full:
        for arguments in (["search", "items.kith", "queries.npy"], ["info", "items.kith"], ["help"]):
            done = subprocess.run([KITH, *arguments], cwd=home, stdout=full, stderr=subprocess.PIPE, text=True)
            assert done.returncode == STORAGE and "stdout cannot be written" in done.stderr
    assert "not a regular file" in refused(STORAGE, "build", "items.npy", "-o", "/dev/full", cwd=home)
    assert os.path.exists("/dev/full") and not os.path.isfile("/dev/full")


def test_limit_on_file_sizes(home, tmp_path):
    write_npy(tmp_path / "items.npy", ROWS)

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    refused(STORAGE, "build", "items.npy", cwd=tmp_path, preexec_fn=limit)
    refused(STORAGE, "search", home / "items.kith", "items.npy", "-o", "x.npy", cwd=tmp_path, preexec_fn=limit)
    refused(STORAGE, "convert", "items.npy", "x.csv", cwd=tmp_path, preexec_fn=limit)
    assert os.listdir(tmp_path) == ["items.npy"]


def test_output_folder_is_missing(home, tmp_path):
    assert kith("build", "items.npy", "-o", tmp_path / "no" / "x.kith", cwd=home).returncode in (ABSENT, STORAGE)
    refused(STORAGE, "build", "items.npy", "-o", tmp_path, cwd=home)
    refused(ABSENT, "search", "items.kith", "queries.npy", "-o", tmp_path / "no" / "x.npy", cwd=home)


def test_broken_pipe_ends_quietly(home, tmp_path):
    write_npy(tmp_path / "many.npy", QUERIES * 2000)
    process = subprocess.Popen([KITH, "search", home / "items.kith", tmp_path / "many.npy"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, env=environment())
    assert process.stdout.readline().startswith("query")
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(60) == OK


def test_closed_stdout_receives_nothing_else(home):
    done = subprocess.run(["/bin/sh", "-c", f'exec "{KITH}" info items.kith >&-'], cwd=home, stderr=subprocess.PIPE, text=True)
    assert done.returncode == STORAGE and "stdout" in done.stderr


# ---- Interrupts ------------------------------------------------------------------------------------------------------

def catches(process, number):
    """Has the command asked for the signal yet? Before that it would be killed by it."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"^SigCgt:\s*(\w+)", status, re.MULTILINE)[1], 16) >> (number - 1) & 1


def interrupt_when_busy(arguments, cwd, number, seconds=0.4):
    process = subprocess.Popen([KITH, *arguments], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env=environment())
    while process.poll() is None and not catches(process, number):
        time.sleep(0.01)
    time.sleep(seconds)
    assert process.poll() is None, "it ended before the signal"
    process.send_signal(number)
    _, stderr = process.communicate(timeout=300)
    return process.returncode, stderr


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_build_leaves_nothing(tmp_path, number, code):
    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (8000000, 64), }".ljust(117) + b"\n"
    with open(tmp_path / "big.npy", "wb") as file:  # 2 GB of zeros that take no room on the disk
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head)
        file.truncate(128 + 8000000 * 64 * 4)
    found, stderr = interrupt_when_busy(["build", "big.npy", "--memory", "64M"], tmp_path, number)
    assert found == code and "interrupted" in stderr
    assert os.listdir(tmp_path) == ["big.npy"]


def test_interrupted_bench(home):
    arguments = ["bench", "items.kith", "queries.npy", "--seconds", "60"]
    assert interrupt_when_busy(arguments, home, signal.SIGINT)[0] == INTERRUPTED


# ---- Convert ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("suffix", ["npy", "fvecs", "fbin", "csv", "tsv", "jsonl"])
def test_round_trips(suffix, tmp_path):
    rng = random.Random(9)
    rows = [[struct.unpack("f", struct.pack("f", rng.gauss(0, 10 ** rng.randint(-30, 30))))[0] for _ in range(5)]
            for _ in range(40)]
    write_npy(tmp_path / "a.npy", rows)
    good("convert", "a.npy", f"b.{suffix}", cwd=tmp_path)
    good("convert", f"b.{suffix}", "c.npy", cwd=tmp_path)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "c.npy").read_bytes()


@pytest.mark.parametrize("suffix", ["bvecs", "u8bin", "ivecs", "ibin"])
def test_whole_numbers_round_trip(suffix, tmp_path):
    rng = random.Random(9)
    write_npy(tmp_path / "a.npy", [[float(rng.randrange(256)) for _ in range(5)] for _ in range(40)])
    good("convert", "a.npy", f"b.{suffix}", cwd=tmp_path)
    good("convert", f"b.{suffix}", "c.npy", "--dtype", "f32", cwd=tmp_path)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "c.npy").read_bytes()


def test_convert_never_changes_values_silently(tmp_path):
    write_npy(tmp_path / "a.npy", [[1.0, 2.0], [3.0, 0.1]])
    message = refused(INPUT, "convert", "a.npy", "b.npy", "--dtype", "f16", cwd=tmp_path)
    assert "row 1, element 1" in message and "--round" in message
    assert "row 1, element 1" in refused(INPUT, "convert", "a.npy", "b.i8bin", cwd=tmp_path)
    assert not (tmp_path / "b.npy").exists()
    good("convert", "a.npy", "b.npy", "--dtype", "f16", "--round", cwd=tmp_path)
    assert (tmp_path / "b.npy").read_bytes()[-2:] == struct.pack("<e", 0.1)
    write_npy(tmp_path / "c.npy", [[300.0, 70000.0]])
    refused(INPUT, "convert", "c.npy", "d.u8bin", "--round", cwd=tmp_path)
    refused(INPUT, "convert", "c.npy", "d.npy", "--dtype", "f16", "--round", cwd=tmp_path)


def test_half_floats_round_as_ieee_says(tmp_path):
    rng = random.Random(4)
    values = [0.0, 65519.0, 6e-8, 2.9e-8, 3e-8, 1.0009765, 1.00048828125, 1.00146484375, -65504.0, 6.1e-5]
    values += [rng.uniform(-1, 1) * 10 ** rng.randint(-8, 4) for _ in range(500)]
    values = [struct.unpack("f", struct.pack("f", x))[0] for x in values]
    write_npy(tmp_path / "a.npy", [values])
    good("convert", "a.npy", "b.npy", "--dtype", "f16", "--round", cwd=tmp_path)
    assert (tmp_path / "b.npy").read_bytes()[-2 * len(values):] == struct.pack(f"<{len(values)}e", *values)
    good("convert", "b.npy", "c.npy", "--dtype", "f32", cwd=tmp_path)
    back = struct.unpack(f"<{len(values)}f", (tmp_path / "c.npy").read_bytes()[-4 * len(values):])
    assert list(back) == [struct.unpack("<e", struct.pack("<e", x))[0] for x in values]


def test_convert_keeps_ids_and_names(home, tmp_path):
    good("convert", home / "named.jsonl", "a.csv", cwd=tmp_path)
    good("convert", "a.csv", "b.jsonl", cwd=tmp_path)
    lines = [json.loads(line) for line in open(tmp_path / "b.jsonl", encoding="utf-8")]
    assert lines[5] == {"id": "sku-005", "vector": ROWS[5], "name": "Größe 5"}
    refused(INPUT, "convert", home / "named.jsonl", "c.npy", cwd=tmp_path)
    good("convert", home / "named.jsonl", "c.npy", "--vectors-only", cwd=tmp_path)
    assert (tmp_path / "c.npy").read_bytes() == (home / "items.npy").read_bytes()


# ---- Bench and cpu ---------------------------------------------------------------------------------------------------

def test_bench(home, tmp_path):
    table = good("bench", "items.kith", "queries.npy", "--batch", "1,5", "--threads", "1,2", "--seconds", "0.02", "--json",
                 tmp_path / "b.json", "--svg", tmp_path / "b.svg", cwd=home).stdout
    assert "recall@10" in table and "1.0000" in table and "bit-identical" in table
    report = json.loads((tmp_path / "b.json").read_text())
    assert report["recall"] == 1 and report["identical"] is True
    assert report["first_touch_ns"] > 0 and "first touch" in table
    assert [(run["threads"], run["batch"]) for run in report["runs"]] == [(1, 1), (1, 5), (2, 1), (2, 5)]
    for run in report["runs"]:
        times = run["call_ns"]
        assert 0 < times["p50"] <= times["p95"] <= times["p99"] <= times["p99_9"] and run["queries_per_second"] > 0
    import xml.etree.ElementTree
    assert xml.etree.ElementTree.parse(tmp_path / "b.svg").getroot().tag.endswith("svg")
    only = good("bench", "items.kith", "queries.npy", "--batch", "3", "--seconds", "0.01", "--json", "-", "--truth", "0",
                "--resident", "all", cwd=home).stdout
    assert json.loads(only)["recall"] is None


def test_bench_of_approximate_answers(home, tmp_path):
    rng = random.Random(6)  # not whole numbers: codes of those are the values themselves
    write_npy(tmp_path / "real.npy", [[rng.gauss(0, 1) for _ in range(8)] for _ in range(300)])
    good("build", tmp_path / "real.npy", "-o", tmp_path / "exact.kith", "--quiet")
    good("build", tmp_path / "real.npy", "-o", tmp_path / "codes.kith", "--originals", "none", "--quiet")
    good("build", tmp_path / "real.npy", "-n", "299", "-o", tmp_path / "other.kith", "--quiet")
    quick = ["--batch", "1", "--threads", "1", "--seconds", "0.01"]
    table = good("bench", tmp_path / "codes.kith", "queries.npy", *quick, cwd=home).stdout
    assert "not measured" in table and "--against" in table
    report = json.loads(good("bench", tmp_path / "codes.kith", "queries.npy", *quick, "--against",
                             tmp_path / "exact.kith", "--json", "-", cwd=home).stdout)
    assert report["exact"] is False and report["identical"] is False and 0.5 < report["recall"] <= 1
    refused(INPUT, "bench", "items.kith", "queries.npy", "--against", tmp_path / "codes.kith", cwd=home)
    refused(INPUT, "bench", "items.kith", "queries.npy", "--against", tmp_path / "other.kith", cwd=home)


def test_cpu():
    report = json.loads(good("cpu", "--json").stdout)
    assert report["tier"] in ("scalar", "avx2", "avx512", "amx", "neon") and report["cores"] >= 1
    lowered = json.loads(good("cpu", "--json", env=environment(KITH_CPU="scalar")).stdout)
    assert lowered["tier"] == "scalar" and lowered["setting"] == "scalar"
    assert "tier in use" in good("cpu").stdout


def test_threads_by_environment(home, tmp_path):
    report = json.loads(good("cpu", "--json").stdout)
    assert report["threads"] == report["cores"] or report["threads"] == 256 < report["cores"]
    three = environment(KITH_THREADS="3")
    assert json.loads(good("cpu", "--json", env=three).stdout)["threads"] == 3
    other = environment(KITH_THREADS="1" if report["cores"] > 1 else "2")
    assert re.search(r"^ *threads +[12]$", good("cpu", env=other).stdout, re.MULTILINE)
    batch = ["search", home / "items.kith", home / "queries.npy", "--explain"]
    assert ", 3 threads" in good(*batch, env=three).stderr
    assert ", 2 threads" in good(*batch, "--threads", "2", env=three).stderr
    assert ", 3 threads" in good(*batch, "--threads", "0", env=three).stderr
    message = refused(USAGE, *batch, env=environment(KITH_THREADS="many"))
    assert 'KITH_THREADS is "many"' in message and "from 1 to 256" in message
    refused(USAGE, "build", home / "items.npy", "-o", tmp_path / "x.kith", env=environment(KITH_THREADS="0"))
    assert os.listdir(tmp_path) == []


# ---- Terminals -------------------------------------------------------------------------------------------------------

def on_terminal(arguments, cwd, env=None, stdout_too=False):
    """What the command writes on a terminal of 90 columns."""
    master, slave = pty.openpty()
    import fcntl
    import termios
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 90, 0, 0))
    process = subprocess.Popen([KITH, *arguments], cwd=cwd, env=env or environment(), stderr=slave,
                               stdout=slave if stdout_too else subprocess.DEVNULL)
    os.close(slave)
    seen = b""
    while True:
        ready, _, _ = select.select([master], [], [], 60)
        assert ready, "the command hangs"
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        if not part:
            break
        seen += part
    os.close(master)
    assert process.wait(60) == OK
    return seen.decode()


SLOW = ["bench", "items.kith", "queries.npy", "--batch", "1", "--threads", "1", "--seconds", "0.8"]


def bar_on_terminal(home, env=None):
    """What SLOW writes there, at last: on a busy machine it may not get a turn to draw in so short a time."""
    for seconds in (0.8, 3, 10, 30):
        seen = on_terminal([*SLOW[:-1], str(seconds)], home, env)
        if "█" in seen or "#" in seen:
            break
    return seen


def test_progress_only_on_a_terminal(home):
    assert good(*SLOW, cwd=home).stderr == ""
    seen = bar_on_terminal(home)
    assert "measuring" in seen and "left" in seen and "█" in seen and "%" in seen
    assert seen.endswith("\r\x1b[K")  # wiped at the end
    for frame in seen.split("\r\x1b[K"):
        assert len(re.sub(r"\x1b\[[0-9;]*m", "", frame)) < 90
    assert on_terminal([*SLOW, "--quiet"], home) == ""
    assert on_terminal(SLOW, home, environment(TERM="dumb")) == ""
    plain = bar_on_terminal(home, environment(LC_ALL="C"))
    assert "#" in plain and plain.isascii()


def test_colors(home):
    arguments = ["search", "items.kith", "queries.npy", "-n1", "-k2"]
    assert "\x1b[" in on_terminal(arguments, home, stdout_too=True)
    assert "\x1b[" not in on_terminal(arguments, home, environment(NO_COLOR="1"), stdout_too=True)
    assert "\x1b[" not in on_terminal([*arguments, "--color", "never"], home, stdout_too=True)
    assert "\x1b[" not in good(*arguments, cwd=home).stdout
    assert "\x1b[" in good(*arguments, "--color=always", cwd=home).stdout


def test_table_lines_up_on_a_terminal(home):
    env = environment(NO_COLOR="1")
    lines = on_terminal(["search", "named.kith", "queries.npy", "-n", "2"], home, env, stdout_too=True).splitlines()
    assert "\t" not in "".join(lines)
    assert len({line.index("Gr") for line in lines if "Gr" in line}) == 1


# ---- Recall ----------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    """A folder with items.kith of 6,000 vectors around 60 places in 40 lists, not calibrated, and 300 more as queries."""
    folder = tmp_path_factory.mktemp("recall")
    random.seed(11)
    places = [[random.randrange(-40, 40) for _ in range(12)] for _ in range(60)]
    rows = [[v + random.gauss(0, 6) for v in places[i % 60]] for i in range(6300)]
    write_npy(folder / "items.npy", rows[:6000])
    write_npy(folder / "queries.npy", rows[6000:])
    write_npy(folder / "few.npy", rows[6000:6050])
    good("build", "items.npy", "--lists", 40, "--no-calibration", "--quiet", cwd=folder)
    return folder


def found(folder, *options):
    lines = good("search", "items.kith", "queries.npy", "--json", *options, cwd=folder).stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    return [{hit["id"] for hit in row["results"]} for row in rows if "results" in row], rows[-1].get("explain")


def test_target_recall(listed):
    assert json.loads(good("info", "items.kith", "--json", cwd=listed).stdout)["calibration"] is None
    assert "kith tune" in good("info", "items.kith", cwd=listed).stdout
    truth, explain = found(listed, "--explain", "--target-recall", 0.9)
    assert explain["exact"] and "no calibration" in explain["considered"][0]["why"]

    told = good("tune", "items.kith", "--quiet", "--json", "--svg", "recall.svg", cwd=listed)
    settings = json.loads(told.stdout)["settings"]
    assert {s["k"] for s in settings} == {1, 10, 100} and {"ivf"} < {s["plan"] for s in settings}
    assert all(0 < s["recall"] <= 1 and s["query_ns"] > 0 for s in settings)
    assert "</svg>" in (listed / "recall.svg").read_text()
    assert json.loads(good("info", "items.kith", "--json", cwd=listed).stdout)["calibration"]["settings"] == len(settings)
    good("verify", "items.kith", "--quiet", cwd=listed)

    for target in (0.8, 0.95):
        answers, explain = found(listed, "--explain", "--target-recall", target)
        assert sum(len(a & t) for a, t in zip(answers, truth)) >= (target - 0.01) * 3000
        assert explain["considered"][0]["why"].startswith("chosen") and len(explain["considered"]) > 1
    answers, explain = found(listed, "--explain", "--nprobe", 3, "--rerank", 30, "--code", "int8")
    assert (explain["plan"], explain["nprobe"], explain["rerank"], explain["exact"]) == ("ivf", 3, 30, False)
    assert found(listed, "--target-recall", 1)[0] == truth
    done = good("bench", "items.kith", "queries.npy", "--target-recall", 0.9, "--seconds", 0.01, "--quiet", cwd=listed)
    assert "for a recall of 0.9" in done.stdout


@pytest.mark.parametrize("options, plan, parameter, told", [
    (["--index", "pq"], "pq", ["--rerank", 100], {"second_code": "pq:6x4", "lists": 1}),
    (["--index", "graph"], "graph", ["--effort", 400], {"graph_degree": 32}),
    (["--index", "graph", "--lean", "--graph-degree", 64], "graph", ["--effort", 2000], {"graph_degree": 64, "graph_bits": 0}),
    (["--index", "hnsw", "--hnsw-m", 12], "hnsw", ["--effort", 100], {"hnsw_m": 12}),
    (["--index", "lsh", "--lsh-tables", 30], "lsh", ["--effort", 60], {"lsh_tables": 30}),
    (["--index", "flat"], None, None, {"lists": 1, "graph_degree": 0, "hnsw_m": 0, "lsh_tables": 0}),
    (["--no-graph"], None, None, {"graph_degree": 0}),
])
def test_types_of_index(listed, tmp_path, options, plan, parameter, told):
    """Each is built, told of, verified, searched, joined and measured."""
    shutil.copy(listed / "queries.npy", tmp_path / "queries.npy")
    built = json.loads(good("build", listed / "items.npy", "-o", "items.kith", "--no-calibration", "--json", *options, cwd=tmp_path).stdout)
    info = json.loads(good("info", "items.kith", "--json", cwd=tmp_path).stdout)
    assert told.items() <= info.items() and all(built[name] == info[name] for name in ("graph_degree", "graph_bits", "hnsw_m"))
    good("verify", "items.kith", "--quiet", cwd=tmp_path)
    truth, explain = found(tmp_path, "--explain")
    assert explain["exact"]
    if not plan:
        return
    assert plan == "pq" or re.search(rf"^{plan} ", good("info", "items.kith", cwd=tmp_path).stdout, re.MULTILINE)
    answers, explain = found(tmp_path, "--explain", "--plan", plan, *parameter)
    assert (explain["plan"], explain["exact"], explain[parameter[0][2:]]) == (plan, False, parameter[1])
    assert (explain["visited"] > 0) == (plan != "pq")
    assert sum(len(a & t) for a, t in zip(answers, truth)) >= 0.9 * sum(map(len, truth))
    assert "parameters" in good("search", "items.kith", "queries.npy", "-x", "-p", plan, "--quiet", cwd=tmp_path).stderr
    joined = good("join", "queries.npy", "items.kith", "-o", "out", "--plan", plan, *parameter, "--json", cwd=tmp_path)
    assert json.loads(joined.stdout)["plan"] == plan
    settings = json.loads(good("tune", "items.kith", "--count", 200, "--quiet", "--json", cwd=tmp_path).stdout)["settings"]
    own = [setting for setting in settings if setting["plan"] == plan]
    assert own and all(setting["nprobe"] == 0 and (setting["effort"] > 0) == (plan != "pq") for setting in own)
    assert plan in good("bench", "items.kith", "queries.npy", "-p", plan, "--seconds", 0.01, "--quiet", cwd=tmp_path).stdout


def test_a_graph_of_links(listed, tmp_path):
    shutil.copy(listed / "queries.npy", tmp_path / "queries.npy")
    build = ["build", listed / "items.npy", "--no-calibration", "--quiet", "-o"]
    good(*build, "linked.kith", "--index", "hnsw", cwd=tmp_path)
    good(*build, "items.kith", "--index", "graph", "--links", "linked.kith", cwd=tmp_path)
    good("verify", "items.kith", "--quiet", cwd=tmp_path)
    answers, _ = found(tmp_path, "--explain", "--plan", "graph", "--effort", 400)
    truth, _ = found(tmp_path, "--explain")
    assert sum(len(a & t) for a, t in zip(answers, truth)) >= 0.9 * sum(map(len, truth))
    assert "has no HNSW" in refused(USAGE, "build", listed / "items.npy", "-o", "x.kith", "--index", "graph", "--links", "items.kith",
                                    cwd=tmp_path)
    assert not (tmp_path / "x.kith").exists()


@pytest.mark.parametrize("options, words", [
    (["--index", "tree"], "--index"),
    (["--index", "hnsw", "--lean"], "--lean is an option of --index graph"),
    (["--index", "ivf", "--links", "items.kith"], "--links is an option of --index graph"),
    (["--index", "graph", "--hnsw-m", 8], "--hnsw-m is an option of --index hnsw"),
    (["--index", "graph", "--lean", "--graph-bits", 2], "--graph-bits"),
    (["--no-graph", "--index", "graph"], "opposites"),
    (["--no-graph", "--graph-degree", 48], "--graph-degree is an option"),
    (["--graph-degree", 33], "--graph-degree"),
    (["--index", "lsh", "--lsh-tables", 1025], "--lsh-tables"),
])
def test_options_of_other_types_are_refused(listed, tmp_path, options, words):
    assert words in refused(USAGE, "build", listed / "items.npy", "-o", "x.kith", *options, cwd=tmp_path)
    for command in ("search", "bench"):
        assert "--effort" in refused(USAGE, command, "items.kith", "queries.npy", "--effort", 3, cwd=listed)


def test_near_duplicates_are_told(listed, tmp_path):
    """A file that was loaded twice: build, info and tune say so; nobody is told of what is not there."""
    lines = ["[" + ",".join(repr(random.gauss(0, 1)) for _ in range(8)) + "]" for _ in range(1500)]
    (tmp_path / "twice.jsonl").write_text("\n".join(f'{{"vector": {line}}}' for line in lines + lines) + "\n")
    built = good("build", "twice.jsonl", "--lists", 20, cwd=tmp_path).stdout
    shown = [built, good("info", "twice.kith", cwd=tmp_path).stdout, good("tune", "twice.kith", cwd=tmp_path).stdout]
    assert all(re.search(r"near-duplicates +100 % of the vectors", text) for text in shown)
    for command in ("info", "tune"):
        assert json.loads(good(command, "twice.kith", "--json", cwd=tmp_path).stdout)["near_duplicates"] > 0.95
    good("build", listed / "items.npy", "-o", "once.kith", "--lists", 40, "--quiet", cwd=tmp_path)
    assert "near-duplicates" not in good("info", "once.kith", cwd=tmp_path).stdout


def test_tune_is_refused(listed, tmp_path):
    shutil.copy(listed / "items.kith", tmp_path / "items.kith")
    good("tune", "items.kith", "--queries", listed / "queries.npy", "--count", 200, "--quiet", cwd=tmp_path)
    before = (tmp_path / "items.kith").read_bytes()
    assert "100" in refused(INPUT, "tune", "items.kith", "--queries", listed / "few.npy", cwd=tmp_path)
    refused(ABSENT, "tune", "absent.kith", cwd=tmp_path)
    refused(ABSENT, "tune", "items.kith", "--queries", "absent.npy", cwd=tmp_path)
    for share in ("0", "-0.5", "1.01", "nan", "x"):
        refused(USAGE, "search", "items.kith", listed / "queries.npy", f"--target-recall={share}", cwd=tmp_path)
        refused(USAGE, "bench", "items.kith", listed / "queries.npy", f"--target-recall={share}", cwd=tmp_path)
    assert (tmp_path / "items.kith").read_bytes() == before
    good("build", listed / "few.npy", "-o", "one.kith", "--quiet", cwd=tmp_path)
    assert "one list" in refused(INPUT, "tune", "one.kith", cwd=tmp_path)
