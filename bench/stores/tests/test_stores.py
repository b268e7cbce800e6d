# SPDX-License-Identifier: Apache-2.0
"""The bench of collections beside other stores: its data and truths, its rows on a store in this process that is right
or wrong on purpose, how rounds and failures become a result, marks, table, page and picture; and all of it with kith,
for a moment each."""
import json
import os
import pathlib
import subprocess
import sys
import xml.etree.ElementTree as xml

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "bench"))

from peers import plot  # noqa: E402
from peers.runner import Failure  # noqa: E402
from stores import data, drivers, marks, picture, report, rows, runner, worker  # noqa: E402
from stores.rows import changing, keeping, searching, writing  # noqa: E402


class Plain(drivers.Store):
    """Everything in a dict; every answer is exact, and loses its last id if it is told to."""

    synced_by_default = True
    settings = ("poor", "good")
    loses = 0

    def create(self, folder, dim, fields, synced, small=False):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "file").write_bytes(b"x" * 5000)
        self.items = {}

    def write(self, ids, X, payloads):
        for i, x, payload in zip(ids.tolist(), X, payloads):
            self.items[i] = (x.copy(), payload)

    def remove(self, ids):
        for i in ids.tolist():
            self.items.pop(i, None)

    def prepare(self, where):
        if where is None:
            return lambda payload: True
        return {"below": lambda payload: payload[where.field] < where.value,
                "in": lambda payload: payload[where.field] in where.value,
                "is": lambda payload: payload[where.field] == where.value}[where.kind]

    def search(self, q, k, setting, where=None):
        some = [i for i, (_, payload) in list(self.items.items()) if where is None or where(payload)]
        if not some:
            return []
        scores = np.stack([self.items[i][0] for i in some]) @ q
        found = [some[at] for at in np.argsort(-scores, kind="stable")[:k]]
        return found[:len(found) - self.loses] if setting == "good" else found[:len(found) // 2]

    def search_batch(self, Q, k, setting):
        return [self.search(q, k, setting) for q in Q]

    def open(self, folder):
        pass


@pytest.fixture
def known():
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((20, 6))
    X = data.unit(centres[rng.integers(20, size=600)] + 0.3 * rng.standard_normal((600, 6)))
    return data.Data(X, data.unit(X[:40] + 0.1))


@pytest.fixture
def desk(known, tmp_path):
    made = rows.Desk(Plain(1), known, tmp_path, rows.QUICK)
    writing.load(made)
    return made


# ---- Data and truths -------------------------------------------------------------------------------------------------

def test_filters_hold_about_their_shares(known):
    found = {chosen.name: chosen for chosen in known.filters()}
    assert set(found) == {f"{share}.{kind}" for share in ("0.1", "1", "10", "50") for kind in ("random", "category")}
    assert abs(found["50.random"].mask.mean() - 0.5) < 0.1
    assert 0.5 <= found["50.category"].mask.mean() < 0.6 and 0.1 <= found["10.category"].mask.mean() < 0.2
    for chosen in found.values():
        plain = Plain(1).prepare(chosen.where)
        assert [plain(payload) for payload in known.payloads] == chosen.mask.tolist()


def test_categories_follow_the_vectors(known):
    chosen = next(c for c in known.filters() if c.name == "10.category").mask
    inside, outside = known.X[chosen], known.X[~chosen]
    assert (inside @ inside.T).mean() > (inside @ outside.T).mean() + 0.2


def test_users_have_a_hundred_rows_each(known):
    assert np.bincount(known.user).tolist() == [100] * 6
    assert known.segment(2).mask.sum() == 100


def test_truth_counts_only_what_matches(known):
    mask = np.arange(600) % 2 == 0
    right = data.Truth(known.X, known.Q[:3], 10, mask)
    scores = np.where(mask, known.Q[:3] @ known.X.T, -9)
    best = np.argsort(-scores, axis=1)[:, :10]
    assert right.recall(list(best)) == 1 and right.short(list(best)) == 0
    odd = best.copy()
    odd[:, 0] += 1  # does not match
    assert right.recall(list(odd)) == pytest.approx(0.9) and right.short(list(odd)) == 3
    twice = best.copy()
    twice[:, 1] = twice[:, 0]
    assert right.recall(list(twice)) == pytest.approx(0.9) and right.short(list(twice)) == 3
    assert right.recall([best[0][:5]]) == 0.5


def test_truth_where_fewer_match_than_are_asked_for(known):
    few = np.zeros(600, bool)
    few[[3, 500]] = True
    right = data.Truth(known.X, known.Q[:2], 10, few)
    assert right.recall([[3, 500], [500, 3]]) == 1 and right.short([[3, 500], [3]]) == 1
    none = data.Truth(known.X, known.Q[:2], 10, np.zeros(600, bool))
    assert none.recall([[], []]) == 1 and none.short([[], []]) == 0


def test_replacing_keeps_the_vectors_as_a_whole(known):
    chosen = np.arange(0, 600, 3)
    moved = data.replaced(known.X, chosen, np.random.default_rng(1))
    assert np.array_equal(np.sort(moved, axis=0), np.sort(known.X, axis=0))
    kept = np.setdiff1d(np.arange(600), chosen)
    assert np.array_equal(moved[kept], known.X[kept]) and not np.array_equal(moved, known.X)


def test_data_that_cannot_be_used_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 400"):
        data.Data(np.ones((399, 4), np.float32), np.ones((2, 4), np.float32))
    with pytest.raises(ValueError, match="as many dimensions"):
        data.Data(np.ones((400, 4), np.float32), np.ones((2, 5), np.float32))
    np.save(tmp_path / "x.npy", np.full((4, 3), np.nan, np.float32))
    with pytest.raises(ValueError, match="finite"):
        data.read(tmp_path / "x.npy", None)
    np.save(tmp_path / "y.npy", 3 * np.ones((4, 3), np.float16))
    assert np.allclose(np.linalg.norm(data.read(tmp_path / "y.npy", 2), axis=1), 1, atol=1e-6)


# ---- Rows ------------------------------------------------------------------------------------------------------------

def test_search_finds_recall_and_rate_of_each_setting(desk):
    found = searching.search(desk)["search.points"]
    assert [point["setting"] for point in found] == ["poor", "good"]
    assert found[0]["recall"] == pytest.approx(0.5) and found[1]["recall"] == 1
    assert all(point["rate"] > 0 for point in found)
    assert desk.setting_for(0.95) == "good" and desk.setting_for(0.2) in ("poor", "good")
    assert searching.batches(desk)["batches.points"][1]["recall"] == 1


def test_filters_take_the_first_setting_that_is_good_enough(desk):
    found = searching.filters(desk)
    assert all(found[f"filter {chosen.name}.recall"] == 1 and found[f"filter {chosen.name}.short"] == 0 and
               found[f"filter {chosen.name}.rate"] > 0 for chosen in desk.data.filters())
    assert searching.segment(desk)["segment.recall"] == 1


def test_a_filter_that_no_setting_answers_well_has_no_rate(desk):
    desk.store.loses = 1
    found = searching.filters(desk)
    assert "filter 50.random.rate" not in found
    assert found["filter 50.random.recall"] == pytest.approx(0.9) and found["filter 50.random.short"] == 10


def test_what_is_replaced_is_what_is_searched_for(desk):
    searching.search(desk)
    found = changing.churn(desk)
    assert found["churn.recall"] == 1 and found["churn.disk.times"] == 1 and found["churn.share"] > 0
    assert changing.twice(desk) | {"twice.recall": 1} == {"twice.fresh": 1, "twice.recall": 1, "twice.short": 0,
                                                          "twice.lost": 0}
    assert all(np.array_equal(desk.store.items[i][0], x) for i, x in enumerate(desk.X))


def test_ingest_adds_rows_and_tells_what_its_thread_could_not(desk):
    searching.search(desk)
    found = changing.ingest(desk)
    assert found["ingest.rate"] > 0 and len(desk.store.items) > 600 and found["ingest.p99.times"] > 0

    def refuse(*_):
        raise OSError("the disk is full")

    desk.store.write = refuse
    with pytest.raises(OSError, match="the disk is full"):
        changing.ingest(desk)


def test_states_count_answers_that_are_short(desk, monkeypatch):
    monkeypatch.setattr(Plain, "settings", ("good",))
    assert keeping.states(desk) == {"states.tried": 100, "states.short": 0}
    monkeypatch.setattr(Plain, "loses", 1)
    assert keeping.states(desk)["states.short"] > 50


def test_inserts_and_sizes(desk):
    found = writing.inserts(desk, "single.synced")
    assert found["inserts.single.synced.rate"] > 0 and not (desk.folder / "inserts").exists()
    assert set(writing.sizes(desk)) == {"disk.times"}
    with pytest.raises(drivers.NotOffered):
        writing.bulk(desk)


def test_disk_counts_a_file_of_two_names_once(tmp_path):
    (tmp_path / "a").write_bytes(os.urandom(100_000))
    once = rows.disk(tmp_path)
    os.link(tmp_path / "a", tmp_path / "b")
    assert rows.disk(tmp_path) == once >= 100_000


def test_rounds_become_one():
    first = {"a.rate": 5, "b.ms": 3, "c.recall": 0.9, "p.points": [{"setting": 1, "recall": 0.9, "rate": 7}], "n": 1}
    second = {"a.rate": 4, "b.ms": 2, "c.recall": 0.95, "p.points": [{"setting": 1, "recall": 0.9, "rate": 6}], "n": 2}
    assert rows.merged(first, second) == {"a.rate": 5, "b.ms": 2, "c.recall": 0.9, "n": 2,
                                          "p.points": [{"setting": 1, "recall": 0.9, "rate": 7}]}
    assert rows.merged({}, first) == first


# ---- Worker and runner -----------------------------------------------------------------------------------------------

def test_a_row_that_fails_ends_itself_alone(desk):
    made = worker.Worker("kith")
    made.desk, made.cores = desk, 1
    assert made.row("opening", [])["values"]["open.ms"] > 0
    assert "not_offered" in made.row("cached", [])
    desk.store.open = None
    assert made.row("opening", [])["failed"].startswith("TypeError")
    desk.store.changes = False
    assert "not_offered" in made.row("churn", [])
    os.sched_setaffinity(0, made.cpus)


class Told:
    """A process that answers from a list, or fails."""

    def __init__(self, *answers):
        self.answers, self.asked, self.closed = list(answers), [], False

    def ask(self, verb, **words):
        self.asked.append(words["name"])
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self):
        self.closed = True


def blank(name):
    return {"store": name, "status": "ok", "values": {}, "not_offered": {}, "failed": {}}


def test_a_store_that_dies_ends_alone_and_a_row_that_is_not_offered_is_not_asked_again(tmp_path):
    run = runner.Measurement(np.ones((2, 2)), np.ones((2, 2)), runner.Options(), tmp_path, tmp_path, lambda _: None)
    good = Told({"values": {"open.ms": 3}, "seconds": 1}, {"values": {"open.ms": 2}, "seconds": 1})
    bad, idle = Told(Failure("died", "it fell")), Told({"not_offered": "never"})
    results = [blank(name) for name in ("a", "b", "c")]
    run.running.extend(zip((good, bad, idle), results))
    for _ in range(2):
        run.turn(runner.Step("opening"))
    assert results[0]["values"] == {"open.ms": 2} and good.asked == ["opening"] * 2
    assert results[1]["status"] == "died" and "opening: it fell" in results[1]["error"] and bad.closed
    assert results[2]["not_offered"] == {"opening": "never"} and idle.asked == ["opening"]


def test_rows_bring_what_they_stand_on():
    def names(*only):
        return [step.row for step in runner.Options(only=only).steps()]

    assert names("states") == ["states"]
    assert names("segment") == ["load", "segment"]
    assert names("churn") == ["load", "search", "churn"]
    assert runner.Options(large=5).steps()[-1] == runner.Step("large", ("5",))
    assert {step.row for step in runner.STEPS} <= set(worker.ROWS)


def test_every_store_has_its_words_and_none_is_needed_to_list_them():
    for name in drivers.STORES:
        module = drivers.module(name)
        assert module.KIND in ("kith", "peer", "beside") and issubclass(module.Driver, drivers.Store) and module.__doc__
        assert name in report.NAMES
    assert drivers.select(["sqlite-vec"]) == ["kith", "kith_index", "sqlite_rows", "sqlite_vec"]
    assert drivers.select([]) == list(drivers.STORES)
    with pytest.raises(ValueError, match="no store is called 'redis'"):
        drivers.select(["redis"])


def test_ids_that_are_there_are_known():
    known = drivers.Known()
    known.add(np.array([3, 5]))
    assert known.any(np.array([1, 5])) and not known.any(np.array([0, 4, 900]))
    known.add(np.array([900]))
    known.remove(np.array([5]))
    assert known.any(np.array([900])) and known.any(np.array([3])) and not known.any(np.array([5]))


# ---- Marks, table, page, picture -------------------------------------------------------------------------------------

def made_up():
    """A result with a peer that is faster in one row, one that is missing, and one whose row failed."""
    def store(name, kind, **more):
        return {**blank(name), "kind": kind, "package": name, "version": "1", **more}

    ours = {"inserts.batch.synced.rate": 60_000.0, "search at 0.95.rate": 9000.0, "open.ms": 12.0,
            "filter 1.random.rate": 500.0, "filter 1.random.recall": 0.9931, "states.tried": 100_000, "states.short": 0,
            "batches at 0.95.rate": 50_000.0, "target 0.95.recall": 0.956, "target 0.95.rate": 3026.4,
            "twice.fresh": 0.97, "twice.recall": 0.955, "twice.lost": 0.015, "memory.part head.mb": 3.5,
            "search.points": []}
    peer = {"search at 0.95.rate": 1000.0, "filter 1.random.recall": 0.7, "states.tried": 500, "states.short": 3}
    return {"format": runner.FORMAT, "date": "2026-11-30", "command": "make bench-collections", "versions":
            {"numpy": "2"}, "machine": {"processor": "<Fast & Co>", "cores": 2, "tier": "avx2", "kernel": "6",
                                        "python": "3"},
            "data": {"name": "x", "rows": 1000, "dim": 4, "queries": 10, "raw_bytes": 16000},
            "options": {"cores": 1, "rounds": 3},
            "stores": [store("kith", "kith", values=ours, not_offered={"flip": ""}),
                       store("sqlite_rows", "beside", values={"inserts.batch.synced.rate": 100_000.0}),
                       store("zvec", "peer", values=peer, failed={"churn": "RuntimeError: a | b"}),
                       store("lancedb", "peer", status="missing", error="no wheel")]}


def row_of(result, title):
    return next(words for words in report.lines(result) if words[0].startswith(title))


def test_marks_are_ratios_of_one_run():
    result = made_up()
    runner.check(result)
    assert row_of(result, "durable inserts")[-1] == "**60,000**; 0.60x, missed"
    assert row_of(result, "one query a call at .95")[-1] == "not measured; **9.00x**"
    assert row_of(result, "open to first answer")[-1] == "12, missed"
    assert row_of(result, "batches of 100")[-1] == "**50.00x**"  # beside one query a call: zvec has no batches
    assert row_of(result, "recall when every")[-1] == "0.015, missed"
    assert {"durable inserts, batches of 1,000", "open to first answer"} <= set(report.missed(result))


def test_the_table_says_what_a_rate_is_worth():
    result = made_up()
    assert row_of(result, "filter of 1 %, at random")[1:4] == ["500 (.993)", "-", "at most .700"]
    assert row_of(result, "answers short")[1:4] == ["0 of 100,000", "-", "3 of 500"]
    assert row_of(result, "recall at a target of .95")[1] == "0.956 at 3,026/s"
    assert row_of(result, "answers short")[-1] == "**0**; **100,000**"
    text = report.text_table(result)
    assert "**" not in text and "- LanceDB (lancedb): not installed: no wheel" in text
    assert "- kith: flip: not offered" in text and "zvec: churn: RuntimeError: a \\| b" in text


def test_the_page_has_its_section_replaced(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"top\n{report.BEGIN}\nold\n{report.END}\nbottom\n")
    report.write_page(made_up(), page)
    text = page.read_text()
    assert text.startswith("top\n") and text.endswith("bottom\n") and "old" not in text
    assert f"](images/{report.PICTURE})" in text and (tmp_path / "images" / report.PICTURE).exists()
    assert all(line.count("|") - line.count("\\|") == 7 for line in text.splitlines() if line.startswith("|"))
    assert "head 3.5 MB" in text
    report.write_page(made_up(), page)
    assert page.read_text() == text
    page.write_text("nothing")
    with pytest.raises(ValueError, match="has no lines"):
        report.write_page(made_up(), page)


def test_the_page_of_this_repository_has_the_markers():
    text = (ROOT / "docs/benchmarks.md").read_text()
    assert text.count(report.BEGIN) == text.count(report.END) == 1


def test_results_of_another_kind_are_refused(tmp_path):
    (tmp_path / "r.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(ValueError, match="not a result"):
        report.read(tmp_path / "r.json")
    bad = made_up()
    bad["stores"][0]["values"]["open.ms"] = "fast"
    with pytest.raises(ValueError, match="no number"):
        runner.check(bad)


def test_the_picture_is_well_formed_and_holds_what_is_drawn():
    text = picture.draw(made_up())
    root = xml.fromstring(text)
    words = "".join(root.itertext())
    assert "<Fast & Co>" in words and "one query a call at .95" in words and "recall when every" not in words
    width, height = float(root.get("width")), float(root.get("height"))
    for box in root.iter("{http://www.w3.org/2000/svg}rect"):
        if box.get("x"):
            assert float(box.get("x")) + float(box.get("width")) < width
            assert float(box.get("y")) + float(box.get("height")) < height
    assert len(picture.COLOURS) == len(drivers.STORES) and set(picture.COLOURS) <= set(plot.COLOURS)


def test_names_of_values_are_those_that_rows_make():
    """Each row of the table has a value that some function makes, by its name or the head of it."""
    heads = ("inserts.", "load.", "bulk.", "search at ", "target ", "batches at ", "filter ", "segment.", "open.",
             "large.", "cached.", "churn.", "twice.", "ingest.", "flip.", "states.", "disk.", "memory.")
    names = [row.name for part in marks.PARTS for row in part.rows]
    assert all(name.startswith(heads) for name in names) and len(names) == len(set(names))


# ---- All of it -------------------------------------------------------------------------------------------------------

def test_everything_runs_for_a_moment(tmp_path):
    pytest.importorskip("kith")
    rng = np.random.default_rng(2)
    np.save(tmp_path / "base.npy", rng.standard_normal((450, 8)).astype(np.float16))
    np.save(tmp_path / "asked.npy", rng.standard_normal((120, 8)).astype(np.float32))
    done = subprocess.run(
        [sys.executable, "-m", "stores", "run", "base.npy", "asked.npy", "--quick", "--peers", "zvec", "--large",
         "1000", "--folder", "work", "--json", "out/collections.json"], cwd=tmp_path, text=True, capture_output=True,
        env=dict(os.environ, PYTHONPATH=str(ROOT / "bench"), PYTHONDONTWRITEBYTECODE="1"), check=False)
    assert done.returncode == 0, done.stderr
    result = report.read(tmp_path / "out/collections.json")
    by_name = {store["store"]: store for store in result["stores"]}
    assert list(by_name) == ["kith", "kith_index", "sqlite_rows", "zvec"]
    assert not any(by_name[name]["failed"] for name in ("kith", "kith_index", "sqlite_rows"))
    ours = by_name["kith"]["values"]
    assert ours["states.short"] == 0 and ours["twice.recall"] > 0.9 and ours["cached.hits"] > 0
    offered = {row.name for part in marks.PARTS for row in part.rows} - {"flip.pause.ms"}
    assert offered <= ours.keys()
    assert "a collection beside" in (tmp_path / "out/collections.svg").read_text().lower()
    assert "one segment of 100 rows" in done.stdout
    assert list((tmp_path / "work").iterdir()) == [tmp_path / "work/logs"]
