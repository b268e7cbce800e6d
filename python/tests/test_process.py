# SPDX-License-Identifier: Apache-2.0
"""Threads, signals and forks: the GIL is free while the library works, Ctrl-C stops it, and children can search."""
import multiprocessing
import os
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import kith


def run(script, *arguments):
    return subprocess.run([sys.executable, "-c", textwrap.dedent(script), *arguments], capture_output=True, text=True,
                          timeout=600, check=False)


def test_several_threads_search_one_index(index, vectors):
    expected = index.search(vectors, 5)

    def work(number):
        for row in range(number, 600, 40):
            assert np.array_equal(index.search(vectors[row], 5).ids, expected.ids[row])
            assert np.array_equal(index.search(vectors[row:row + 3], 5, threads=1 + number % 3).ids,
                                  expected.ids[row:row + 3])
        return number

    with ThreadPoolExecutor(24) as pool:  # more than the scratches that an index keeps
        assert list(pool.map(work, range(24))) == list(range(24))


def test_an_index_closed_by_one_thread_while_others_search(vectors):
    for _ in range(20):
        index = kith.Index.build(vectors)
        start = threading.Barrier(4)

        def work():
            start.wait()
            try:
                for _ in range(200):
                    index.search(vectors[:4], 5, threads=1)
            except kith.ArgumentError as error:
                assert "closed" in str(error)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        start.wait()
        index.close()
        for thread in threads:
            thread.join()


def test_python_runs_while_the_library_works(vectors):
    """The other thread can only signal while the search runs if the GIL is free: with the interpreter's own switching
    put off for an hour, nothing else would let it run."""
    index = kith.Index.build(np.tile(vectors, (100, 1)))
    queries = np.tile(vectors, (4, 1))
    interval = sys.getswitchinterval()
    for call in (lambda: index.search(queries, 10, plan="plain", threads=1),
                 lambda: index.range_search(queries, 1.0, threads=1),
                 lambda: kith.Index.build(np.tile(vectors, (50, 1)), threads=1)):
        ran = threading.Event()
        began = threading.Event()

        def other():
            began.wait()
            ran.set()

        thread = threading.Thread(target=other)
        thread.start()
        sys.setswitchinterval(3600)
        try:
            began.set()  # this thread keeps the GIL until it lets go of it by itself
            for _ in range(100):  # on a busy machine the other may not get a turn in the time that one call takes
                call()
                if ran.is_set():
                    break
            assert ran.is_set()
        finally:
            sys.setswitchinterval(interval)
            thread.join()


def test_threads_by_the_environment(monkeypatch):
    script = """
        import kith
        try:
            print(kith.get_threads(), kith.cpu()["threads"])
        except kith.ArgumentError as error:
            print("refused", error)
    """
    assert run(script).stdout.split() == [str(min(kith.cpu()["cores"], 256))] * 2
    monkeypatch.setenv("KITH_THREADS", "5")
    assert run(script).stdout == "5 5\n"
    monkeypatch.setenv("KITH_THREADS", "five")
    assert run(script).stdout.startswith('refused The environment variable KITH_THREADS is "five"')


INTERRUPTED = """
    import os, signal, sys, threading
    import numpy as np, kith
    rows = np.random.default_rng(1).standard_normal((100_000, 64), dtype=np.float32)
    index = kith.Index.build(rows[:50_000])
    started = threading.Event()

    def press():
        started.wait()
        import time
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    work = sys.argv[1]
    try:
        started.set()
        if work == "search":
            index.search(rows, 100, plan="plain", threads=1)
        elif work == "pool":
            index.search(rows, 100, plan="plain", threads=4)
        elif work == "range":
            index.range_search(rows, 1.0, plan="plain", threads=2)
        elif work == "build":
            while True:
                kith.Index.build(rows, threads=2)
        elif work == "convert":
            while True:
                kith.Index.build(rows[:, ::-1].astype("f8"), ids=[str(i) for i in range(len(rows))], threads=2)
        elif work == "tune":
            index = kith.Index.build(rows[:20_000], lists=50, calibrate=False)
            while True:
                index.tune(threads=1)
        elif work == "verify":
            while True:
                index.verify(threads=1)
    except KeyboardInterrupt:
        print("interrupted", len(index.search(rows[:3], 3).ids))
    else:
        print("finished")
"""


@pytest.mark.parametrize("work", ["search", "pool", "range", "build", "convert", "tune", "verify"])
def test_ctrl_c_stops(work):
    done = run(INTERRUPTED, work)
    assert done.stdout == "interrupted 3\n", done.stderr


def test_a_fork_can_search_and_leaves_the_parents_file(vectors):
    index = kith.Index.build(np.tile(vectors, (20, 1)))
    expected = index.search(vectors[:50], 5, threads=3).ids
    child = os.fork()
    if child == 0:
        status = 1
        try:
            same = np.array_equal(index.search(vectors[:50], 5, threads=3).ids, expected)
            index.close()
            del index
            status = 0 if same else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert os.path.exists(index._path)
    assert np.array_equal(index.search(vectors[:50], 5, threads=3).ids, expected)


def search_in_worker(index):
    return index.search(np.zeros((2, 24), np.float32), 3)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_share_an_index_by_its_path(method, vectors, tmp_path):
    with kith.Index.build(vectors, path=tmp_path / "x.kith") as index:
        with multiprocessing.get_context(method).Pool(1) as pool:
            found = pool.map(search_in_worker, [index])[0]
        assert np.array_equal(found.ids, search_in_worker(index).ids)


def test_nothing_is_left_when_the_interpreter_ends():
    done = run("""
        import os, sys, tempfile
        tempfile.tempdir = sys.argv[1]
        import numpy as np, kith
        kept = kith.Index.build(np.eye(8))
    """, folder := __import__("tempfile").mkdtemp())
    assert done.returncode == 0, done.stderr
    assert os.listdir(folder) == []
    os.rmdir(folder)
