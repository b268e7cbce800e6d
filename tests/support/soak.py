# SPDX-License-Identifier: Apache-2.0
"""A server under everything at once, for as long as one likes: items come and go, generations are begun, filled,
flipped and dropped, segments are merged, and searches go on meanwhile. At the end nothing has failed, what was found is
what exact searches find, memory, descriptors and disk are what they were, and the collection is whole.

    python3 tests/support/soak.py --seconds 1800

Needs nothing but the standard library."""
import argparse
import http.client
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import threading
import time

import serving

DIM, LIVE, STEP, K, TARGET = 16, 3000, 50, 10, 0.95
SAMPLES = 60  # of memory, over the time of a soak
NAME = "soak"


def vector(number, generation):
    """That of an item in a generation: the same whenever it is asked."""
    rng = random.Random(number * 1009 + generation)
    return [round(rng.gauss(0, 1), 4) for _ in range(DIM)]


class Failed(AssertionError):
    """Something was not as it should be."""


class Client:
    """A connection of one thread that stays open."""

    def __init__(self, server):
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        self.calls = 0

    def call(self, method, path, body=None, expected=200):
        self.connection.request(method, f"/v1/collections/{NAME}{path}", None if body is None else json.dumps(body),
                                {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        text = answer.read()
        self.calls += 1
        if answer.status != expected:
            raise Failed(f"{method} {path}: {answer.status}, not {expected}: {text[:500]!r}")
        return json.loads(text) if text else None


class World:
    """What should be there. `writing` is held by whoever changes it, and while a generation becomes the current one."""

    def __init__(self, server, seconds):
        self.server, self.seconds = server, seconds
        self.writing = threading.Lock()
        self.first, self.next = 0, 0  # live ids
        self.current, self.building = 1, None
        self.end = time.monotonic() + seconds
        self.failures, self.counts = [], {}
        self.found = self.wanted = 0

    def over(self):
        return bool(self.failures) or time.monotonic() >= self.end

    def count(self, what, more=1):
        self.counts[what] = self.counts.get(what, 0) + more

    def guarded(self, work):
        """A thread's whole life: what it raises ends the soak."""
        try:
            work(Client(self.server))
        except Exception as error:  # whatever it is, it is told
            self.failures.append(f"{work.__name__}: {type(error).__name__}: {error}")

    # ---- Writing

    def insert(self, client, count):
        numbers = range(self.next, self.next + count)
        client.call("POST", "/points", {"mode": "insert", "points": [
            {"id": i, "vector": vector(i, self.current), "payload": {"shelf": i % 10, "name": f"item {i}"}}
            for i in numbers]})
        self.next += count
        if self.building:
            self.fill(client, numbers, self.building)
        self.count("inserted", count)

    def fill(self, client, numbers, generation):
        client.call("POST", "/points", {"mode": "update", "points": [
            {"id": i, "vector": vector(i, generation), "generation": generation} for i in numbers]})

    def remove(self, client, count):
        numbers = list(range(self.first, self.first + count))
        client.call("POST", "/points/delete", {"ids": numbers})
        self.first += count
        self.count("deleted", count)
        there = client.call("POST", "/points/exists", {"ids": [numbers[0], self.first, self.next - 1]})["exists"]
        if there != [False, True, True]:
            raise Failed(f"of items {numbers[0]}, {self.first} and {self.next - 1} are there: {there}")

    def write(self, client):
        while not self.over():
            with self.writing:
                self.insert(client, STEP)
                self.remove(client, STEP)
            time.sleep(0.02)

    # ---- Generations and merging

    def renew(self, client):
        """A generation after the other, some six in all; then everything is merged."""
        while not self.over():
            with self.writing:
                begun = client.call("POST", "/generations", {"model": f"model {self.current + 1}", "vectors": [
                    {"dim": DIM, "metric": "cosine"}]}, expected=201)["number"]
                self.building, start, stop = begun, self.first, self.next
            while start < stop and not self.over():
                with self.writing:
                    start = max(start, self.first)
                    self.fill(client, range(start, min(start + 200, stop)), begun)
                    start += 200
            if self.over():
                return
            with self.writing:
                flipped = client.call("POST", "/flip", {"to": begun, "min_share": 1})
                if flipped["to"] != begun:
                    raise Failed(f"flipped to {flipped}, not to {begun}")
                client.call("DELETE", f"/generations/{self.current}")
                self.current, self.building = begun, None
            self.count("generations")
            self.merge(client)
            self.sleep(self.seconds / 8)

    def merge(self, client):
        number = client.call("POST", "/compact", expected=202)["job"]
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        state = "waiting"
        while state in ("waiting", "running"):
            connection.request("GET", f"/v1/jobs/{number}")
            job = json.loads(connection.getresponse().read())
            state = job["state"]
            time.sleep(0.02)
        connection.close()
        if state != "done":
            raise Failed(f"a job: {job}")
        self.count("merges")

    def sleep(self, seconds):
        until = min(self.end, time.monotonic() + seconds)
        while not self.over() and time.monotonic() < until:
            time.sleep(0.05)

    # ---- Searching

    def search(self, client):
        rng = random.Random(threading.get_ident())
        while not self.over():
            shelf = rng.randrange(10) if rng.random() < 0.3 else None
            asked = {"vector": [rng.gauss(0, 1) for _ in range(DIM)], "k": K, "target": TARGET, "with": ["payload"]}
            if shelf is not None:
                asked["filter"] = f"shelf = {shelf}"
            answer = client.call("POST", "/query", asked)
            exact = client.call("POST", "/query", {**asked, "exact": True})
            self.compare(answer, exact, shelf)
            self.count("searches", 2)

    def compare(self, answer, exact, shelf):
        for hit in answer["results"][0] + exact["results"][0]:
            # A payload is read after the search: that of an item which was deleted meanwhile is not there.
            payload = hit.get("payload")
            if payload is None and hit["id"] >= self.first + STEP:
                raise Failed(f"an item that is there has no payload: {hit}")
            if shelf is not None and payload is not None and payload["shelf"] != shelf:
                raise Failed(f"shelf {shelf} was asked for: {hit}")
        if len(exact["results"][0]) != K:
            raise Failed(f"{len(exact['results'][0])} answers, not {K}")
        if answer["version"] == exact["version"]:  # nothing was written in between: the two are of one state
            limit = exact["results"][0][-1]["distance"]
            self.found += sum(hit["distance"] <= limit for hit in answer["results"][0])
            self.wanted += K


# ---- What the server uses


def folder_bytes(folder):
    """What goes meanwhile, files and folders, is passed over."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(place, name)).st_size
            except OSError:
                continue
    return total


def sample(server, folder):
    """Memory of its own, descriptors, bytes on the disk."""
    process = pathlib.Path(f"/proc/{server.process.pid}")
    anonymous = re.search(r"RssAnon:\s+(\d+)", (process / "status").read_text())
    return int(anonymous[1]) * 1024, len(os.listdir(process / "fd")), folder_bytes(folder)


def must_be_flat(samples):
    """The highest of the last third is not above that of the third before it, but for what a merge more or less is."""
    third = len(samples) // 3
    if third < 3:
        raise Failed(f"only {len(samples)} samples of memory")
    for at, (what, share, slack) in enumerate((("bytes of memory", 1.15, 12 << 20), ("descriptors", 1.2, 24),
                                               ("bytes on the disk", 1.3, 32 << 20))):
        before, after = (max(one[at] for one in part) for part in (samples[third:-third], samples[-third:]))
        if after > before * share + slack:
            raise Failed(f"{what}: {before:,} in the second third, {after:,} in the last one")


def soak(seconds, folder, say=lambda text: None):
    """Raises Failed. Returns what was done, by name."""
    path = pathlib.Path(folder) / NAME
    for words in (["create", path, "--dim", DIM, "--metric", "cosine", "--fields", "shelf:int"],):
        subprocess.run([serving.KITH, *map(str, words)], check=True, capture_output=True)
    with serving.Server(path) as server:
        world = World(server, seconds)
        first = Client(server)
        for _ in range(LIVE // STEP):
            world.insert(first, STEP)
        works = [world.write, world.renew, world.search, world.search]
        threads = [threading.Thread(target=world.guarded, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        samples = []
        while not world.over():
            time.sleep(seconds / SAMPLES)
            samples.append(sample(server, path))
            say(f"{world.counts}, memory {samples[-1][0] >> 20} MiB, {samples[-1][1]} descriptors, "
                f"disk {samples[-1][2] >> 20} MiB")
        for thread in threads:
            thread.join()
        if world.failures:
            raise Failed("; ".join(world.failures) + "\n" + server.log()[-2000:])
        finish(world, first, server, path, samples)
    return world.counts


def finish(world, client, server, path, samples):
    count = client.call("POST", "/points/count", {})["count"]
    if count != world.next - world.first:
        raise Failed(f"{count} items, not {world.next - world.first}")
    if not world.wanted or world.found < (TARGET - 0.03) * world.wanted:
        raise Failed(f"{world.found} of {world.wanted} true neighbours were found")
    must_be_flat(samples)
    code = server.stop()
    if code != 0:
        raise Failed(f"the server ended with {code}: {server.log()[-2000:]}")
    verified = subprocess.run([serving.KITH, "verify", str(path)], capture_output=True, text=True, check=False)
    if verified.returncode != 0:
        raise Failed(f"kith verify: {verified.stderr}")
    world.counts["recall"] = round(world.found / world.wanted, 4)
    world.counts["memory MiB"] = samples[-1][0] >> 20


def main():
    parser = argparse.ArgumentParser(description="Keep a server busy with everything at once, and look.")
    parser.add_argument("--seconds", type=float, default=1800)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = soak(options.seconds, folder, lambda text: print(text, flush=True))
        except Failed as failure:
            print(f"soak: {failure}", file=sys.stderr)
            return 1
    print(f"soak: {options.seconds:.0f} s, nothing failed: {done}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
