# SPDX-License-Identifier: Apache-2.0
"""Processes that are measured: servers on one processor, loaders on another, and what they used of it."""
from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any, Optional, Sequence

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass(frozen=True)
class Tools:
    """The programs, and the processors that they have."""

    kith: pathlib.Path
    load: pathlib.Path
    library: pathlib.Path
    folder: pathlib.Path  # for what is made
    serve_on: int
    load_on: int


def pinned(processor: int, words: Sequence[object]) -> list[str]:
    return ["taskset", "-c", str(processor), *map(str, words)]


def run_json(words: Sequence[str], timeout: float) -> dict[str, Any]:
    """The JSON object that a program prints on its last line. RuntimeError with what it said when it fails."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)
    last = done.stdout.strip().rsplit("\n", 1)[-1]
    if done.returncode != 0 or not last.startswith("{"):
        raise RuntimeError(f"{' '.join(words[:6])}...: {done.stderr.strip() or done.stdout.strip()}")
    return json.loads(last)


class Server:
    """A server that is measured; the one who starts it closes it."""

    def __init__(self, words: Sequence[object], processor: int, log: pathlib.Path):
        self.log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(pinned(processor, words), stdout=file, stderr=subprocess.STDOUT)

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, url: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(url, timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        self.close()
        raise RuntimeError(f"the server did not come: {self.said()[-2000:]}")

    def cpu_s(self) -> float:
        """Of all its threads, so far."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) * TICK_S

    def memory_bytes(self) -> int:
        """That is its own: what is resident without the files that are mapped."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+)", text)[1]) * 1024

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Kith(Server):
    """`kith serve` of one collection: without kept answers, since what is asked repeats here and not in life."""

    def __init__(self, tools: Tools, folder: pathlib.Path, *more: object):
        words = [tools.kith, "serve", folder, "--port", 0, "--cache-bytes", 0, "--recall-share", 0, *more]
        super().__init__(words, tools.serve_on, tools.folder / "serve.log")
        self.port = self._port()
        self.name = folder.name
        self.wait_for(f"http://127.0.0.1:{self.port}/readyz")

    def _port(self) -> int:
        end = time.monotonic() + 60
        while time.monotonic() < end and self.process.poll() is None:
            found = re.search(r"http://[^\s/]*:(\d+)", self.said())
            if found:
                return int(found[1])
            time.sleep(0.02)
        self.close()
        raise RuntimeError(f"kith serve did not come: {self.said()[-2000:]}")

    def ask(self, request: bytes) -> dict[str, Any]:
        """One request of a file for the loaders, by itself; its answer as JSON."""
        head, _, body = request.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}{first.split()[1]}", body, headers)
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return json.load(answer)


@dataclasses.dataclass(frozen=True)
class Loaded:
    """What a loader saw, and what the server used meanwhile."""

    seen: dict[str, Any]
    cpu_us: float  # of the server, a request

    @property
    def rate(self) -> float:
        return self.seen["ok_per_s"]

    def ms(self, quantile: str) -> float:
        return self.seen["answered"][f"{quantile}_us"] / 1e3


def load(tools: Tools, server: Server, port: int, requests: pathlib.Path, connections: int, seconds: float,
         rate: float = 0.0, idle: int = 0, warm: float = 0.5) -> Loaded:
    """Our own loader: a closed loop, or an open one at a rate."""
    words = pinned(tools.load_on, [tools.load, "--port", port, "--requests", requests, "--connections", connections,
                                   "--seconds", seconds, "--warm", warm, "--rate", rate, "--idle", idle])
    before = server.cpu_s()
    seen = run_json(words, seconds + warm + 60)
    return Loaded(seen, (server.cpu_s() - before) * 1e6 / max(1, seen["all"]))


def wrk(tools: Tools, server: Server, port: int, requests: pathlib.Path, connections: int,
        seconds: float) -> Optional[dict[str, Any]]:
    """wrk, where it is installed: a loader that is not ours."""
    script = pathlib.Path(__file__).with_name("requests.lua")
    words = pinned(tools.load_on, ["wrk", "--latency", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s",
                                   script, f"http://127.0.0.1:{port}", "--", requests])
    if subprocess.run(["which", "wrk"], capture_output=True, check=False).returncode != 0:
        return None
    before = server.cpu_s()
    seen = run_json(words, seconds + 60)
    return {**seen, "rate": (seen["all"] - seen["failed"]) / seen["seconds"],
            "cpu_us": (server.cpu_s() - before) * 1e6 / max(1, seen["all"])}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
