# SPDX-License-Identifier: Apache-2.0
"""A server for tests: `kith serve` on a free port of this machine, asked with the standard library."""
import http.client
import json
import os
import pathlib
import re
import select
import signal
import ssl
import subprocess
import time

KITH = os.environ.get("KITH_BIN", str(pathlib.Path(__file__).resolve().parents[2] / "build" / "kith"))
PATIENCE_S = 30


class Server:
    """Runs from its making until stop(), or the end of a with block. What it wrote on stderr is in log() afterwards."""

    def __init__(self, folder, *arguments, env=None, pass_fds=(), start=True):
        self.errors = open(os.path.join(os.environ.get("TMPDIR", "/tmp"), f"kith-serve-{os.getpid()}-{id(self)}"), "w+")
        self.process = subprocess.Popen([KITH, "serve", str(folder), "--port", "0", *map(str, arguments)], text=True,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.errors,
                                        env={**os.environ, **(env or {})}, pass_fds=pass_fds)
        self.line = self._first_line()
        found = re.search(r"(https?)://(.*):(\d+)/", self.line)
        if not found:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"no server: {self.line!r} {self.log()}")
        self.scheme, self.port = found[1], int(found[3])
        self.url = f"{self.scheme}://127.0.0.1:{self.port}"

    def _first_line(self):
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE_S)
        return self.process.stdout.readline() if ready else ""

    def log(self):
        self.errors.flush()
        with open(self.errors.name) as errors:
            return errors.read()

    def connect(self, cafile=None):
        if self.scheme == "https":
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=PATIENCE_S,
                                               context=ssl.create_default_context(cafile=cafile))
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)

    def ask(self, method, path, body=None, key=None, headers=None, cafile=None):
        """(status, headers, body as it is): a body that is no bytes is sent as JSON."""
        connection = self.connect(cafile)
        headers = dict(headers or {})
        if key:
            headers["Authorization"] = f"Bearer {key}"
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def wait_for_log(self, text):
        until = time.monotonic() + PATIENCE_S
        while text not in self.log():
            assert time.monotonic() < until, f"{text!r} was not logged: {self.log()}"
            time.sleep(0.01)

    def stop(self, number=signal.SIGTERM):
        """The exit code after a signal."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self):
        code = self.process.wait(PATIENCE_S)
        self.process.stdout.close()
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.errors.close()
        os.unlink(self.errors.name)
