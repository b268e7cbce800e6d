# SPDX-License-Identifier: Apache-2.0
"""Index files of every version of the format, made when it was the one that was written, are opened, checked and searched as
they were then, on every tier of this machine. tests/fixtures/make_index.py made them; they are kept forever."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
KITH = os.environ.get("KITH_BIN") or str(ROOT / "build" / "kith")
READER = ROOT / "tools" / "read_index.py"
FOLDERS = sorted((ROOT / "tests" / "fixtures").glob("index-*"))
INDEXES = [path for folder in FOLDERS for path in sorted(folder.glob("*.kith"))]
NAMES = [f"{path.parent.name}/{path.stem}" for path in INDEXES]
TIERS = ["scalar", "avx2", "avx512", "amx", "neon"]


def run(*words, tier=None):
    env = {key: value for key, value in os.environ.items() if key != "KITH_CPU"} | ({"KITH_CPU": tier} if tier else {})
    return subprocess.run([*map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def good(*words, tier=None):
    result = run(*words, tier=tier)
    assert result.returncode == 0, result.stderr
    return result.stdout


def told_of(index):
    return json.loads(index.with_suffix(".json").read_text())


def search(index, queries, *options, tier=None):
    found = good(KITH, "search", index, queries, "-k", "5", "--json", "--quiet", *options, tier=tier)
    return [json.loads(line)["results"] for line in found.splitlines()]


def agree(found, wanted, metric):
    """The same answers: to the bit, but for cosine, whose last bits are not of the format."""
    if metric != "cosine":
        assert found == wanted
        return
    assert [[hit["id"] for hit in hits] for hits in found] == [[hit["id"] for hit in hits] for hits in wanted]
    for hits, others in zip(found, wanted):
        for hit, other in zip(hits, others):
            assert hit.get("name") == other.get("name")
            assert abs(hit["distance"] - other["distance"]) <= 1e-6


def test_there_are_files_of_each_version():
    newest = json.loads(good(KITH, "info", INDEXES[-1], "--json"))["format_version"]
    assert [folder.name for folder in FOLDERS] == [f"index-{version}" for version in range(1, newest + 1)]
    for folder in FOLDERS:
        assert {path.stem for path in folder.glob("*.kith")} >= {path.stem for path in FOLDERS[0].glob("*.kith")}


@pytest.mark.parametrize("index", INDEXES, ids=NAMES)
def test_what_it_is(index):
    told, info = told_of(index), json.loads(good(KITH, "info", index, "--json"))
    assert info["format_version"] == int(index.parent.name.rpartition("-")[2])
    for key, value in told.items():
        assert key in ("plans", "answers") or info[key] == value, key
    assert all("/" in section["name"] and "unknown" not in section["name"] for section in info["sections"])
    good(KITH, "verify", index)
    second = json.loads(good(sys.executable, READER, "info", index))
    mine = [(section["name"], section["offset"], section["bytes"], section["count"]) for section in info["sections"]]
    assert mine == [(part["name"], part["offset"], part["bytes"], part["count"]) for part in second["sections"]]
    assert json.loads(good(sys.executable, READER, "check", index))["valid"]


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("index", INDEXES, ids=NAMES)
def test_what_it_answers(index, tier):
    if json.loads(good(KITH, "cpu", "--json", tier=tier))["tier"] != tier:
        pytest.skip(f"this machine has no {tier}")
    told, queries = told_of(index), index.with_suffix(".queries.npy")
    good(KITH, "verify", index, tier=tier)
    for plan in told["plans"]:
        agree(search(index, queries, "--plan", plan, tier=tier), told["answers"], told["metric"])
    if told["lists"] > 1 and told["exact"]:  # the approximate plan, when it looks at everything
        everything = ["--plan", "ivf", "--nprobe", told["lists"], "--rerank", told["rows"]]
        agree(search(index, queries, *everything, tier=tier), told["answers"], told["metric"])


@pytest.mark.parametrize("index", [index for index in INDEXES if told_of(index)["lists"] > 1 and told_of(index)["exact"]],
                         ids=lambda index: f"{index.parent.name}/{index.stem}")  # fmt: skip
def test_tuning_makes_it_one_of_today(index, tmp_path):
    told, queries, copy = told_of(index), index.with_suffix(".queries.npy"), tmp_path / "copy.kith"
    shutil.copy(index, copy)
    newest = json.loads(good(KITH, "info", INDEXES[-1], "--json"))["format_version"]
    before = {part["name"]: part for part in json.loads(good(KITH, "info", copy, "--json"))["sections"]}
    good(KITH, "tune", copy, "--quiet")
    info = json.loads(good(KITH, "info", copy, "--json"))
    assert info["format_version"] == newest and info["calibration"]
    after = {part["name"]: part for part in info["sections"]}
    assert set(after) == set(before) | {"calibration/settings"}
    for name in set(before) - {"calibration/settings"}:
        old, new = before[name], after[name]
        assert (old["bytes"], old["count"]) == (new["bytes"], new["count"])
        assert data(index, old) == data(copy, new), name
    good(KITH, "verify", copy)
    agree(search(copy, queries), told["answers"], told["metric"])


def data(path, part):
    return path.read_bytes()[part["offset"] : part["offset"] + part["bytes"]]
