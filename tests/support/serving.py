# SPDX-License-Identifier: Apache-2.0
"""A `kith serve` for tests: started on a free port of this machine, and ended."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request

WAIT = 60  # seconds in which it must answer


def command():
    """The program: KITH_BIN, or the one of the package that is installed, or the one of the build folder."""
    if os.environ.get("KITH_BIN"):
        return os.environ["KITH_BIN"]
    with contextlib.suppress(ImportError):
        import kith

        inside = pathlib.Path(kith.__file__).parent / "bin" / "kith"
        if inside.exists():
            return str(inside)
    built = pathlib.Path(__file__).resolve().parents[2] / "build" / "kith"
    return str(built) if built.exists() else shutil.which("kith")


@contextlib.contextmanager
def serving(folder, *options):
    """The address of a server of a folder of collections."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    log = open(folder.parent / f"{folder.name}.log", "w+b")
    server = subprocess.Popen([command(), "serve", str(folder), "--listen", "127.0.0.1:0", *options],
                              stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield _address(server, log)
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(WAIT)
        finally:
            server.kill()
            server.wait()
            log.close()


def _address(server, log):
    """What it says it listens at, once it answers there."""
    until = time.monotonic() + WAIT
    while time.monotonic() < until:
        log.seek(0)
        text = log.read().decode(errors="replace")
        for word in text.split():
            if word.startswith("http://127.0.0.1:") and word.rstrip("/.,").rsplit(":", 1)[1].isdigit():
                url = word.rstrip("/.,")
                with contextlib.suppress(urllib.error.URLError, ConnectionError, ValueError):
                    with urllib.request.urlopen(f"{url}/v1", timeout=5) as answer:
                        if json.load(answer).get("name") == "kith":
                            return url
        if server.poll() is not None:
            raise RuntimeError(f"kith serve ended with {server.returncode}: {text}")
        time.sleep(0.05)
    raise RuntimeError(f"kith serve does not answer: {text}")
