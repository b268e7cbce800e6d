# SPDX-License-Identifier: Apache-2.0
"""HTTP to one server: connections that are kept, retries that are safe, and refusals as kith's exceptions.

1. A connection belongs to one request at a time. What is idle lies in a stack, so that as many are open as threads were
   ever at work at once (16 are kept); each may be used by any thread.
2. A server closes what was idle for long, and that may cross a request on its way. A request that changes nothing, or
   changes the same when it comes twice, is then sent again, once; any other is sent on a connection only after looking
   whether the server has closed it, and is not repeated: ServerError says that it is not known whether it was done.
3. 429 and 503 mean that nothing was begun. Where the server says when to come again (Retry-After), the request is sent
   again, as long as all the waiting stays within `patience` seconds.
4. The head and a body that is small go out in one piece, which is one packet for the server to wake up for. Connections
   are http.client's; replies are read by _reply.py.
5. After a fork the child has connections of its own."""

from __future__ import annotations

import http.client
import json
import os
import re
import select
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from . import _kith
from ._errors import (
    BY_STATUS,
    AccessError,
    ArgumentError,
    BusyError,
    CancelledError,
    DataError,
    DeadlineError,
    Error,
    LimitError,
    NoSpaceError,
    NotFoundError,
    ServerError,
    UnsupportedError,
)
from ._reply import Reply

KEPT = 16  # idle connections
TRIES = 8  # of one request, at a server that says when to come again
UNKNOWN = "; whether it was done is not known"
ONE_PIECE = 64 << 10  # bytes of a body that are worth copying behind the head
RAW, JSON, LINES = "application/octet-stream", "application/json", "application/x-ndjson"
_BY_KIND: dict[str, type[Exception]] = {
    kind.status: kind for kind in BY_STATUS if isinstance(kind, type) and issubclass(kind, Error)}
_BY_KIND["notfound"] = NotFoundError
_BY_CODE: dict[int, type[Exception]] = {
    400: ArgumentError, 401: AccessError, 403: AccessError, 404: NotFoundError, 405: UnsupportedError,
    408: DeadlineError,
    409: BusyError, 413: LimitError, 415: UnsupportedError, 422: DataError, 429: BusyError, 499: CancelledError,
    501: UnsupportedError, 503: BusyError, 504: DeadlineError, 507: NoSpaceError}
_LOST = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ConnectionAbortedError)


def split_url(url: Any) -> tuple[str, str, int, str | None]:
    """(scheme, host, port, name of a collection or None)"""
    if not isinstance(url, str):
        raise TypeError(f"url must be a text as 'http://127.0.0.1:6333', not {url!r}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ArgumentError(f"{url!r} is no address of a server: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ArgumentError(f"{url!r} is no address of a server: http://host:port or https://host:port was expected, "
                            "perhaps with the name of a collection behind it")
    if parts.username is not None or parts.password is not None:
        raise ArgumentError(f"the address of {parts.hostname} has a name or a password in it: a key is given as key=")
    path = parts.path.strip("/")
    if "/" in path or parts.query or parts.fragment:
        raise ArgumentError(f"{url!r}: only the name of a collection may stand behind the server's address")
    return parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80), unquote(path) or None


class Answer:
    """The status, the type and the body of a reply."""

    __slots__ = ("status", "type", "body")

    def __init__(self, status: int, type: str, body: bytearray) -> None:
        self.status, self.type, self.body = status, type, body

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise ServerError(f"the server's answer is no JSON: {error}") from None


class Link:
    """A connection, and what is read of it."""

    __slots__ = ("socket", "file")

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        connection.connect()
        self.socket = connection.sock
        self.file = self.socket.makefile("rb")

    def close(self) -> None:
        self.file.close()
        self.socket.close()


class Connections:
    """All that goes to one server."""

    def __init__(self, url: str, key: str | None, timeout: float, patience: float, context: Any) -> None:
        self.scheme, self.host, self.port, _ = split_url(url)
        host = f"[{self.host}]" if ":" in self.host else self.host
        self.url = f"{self.scheme}://{host}:{self.port}"
        self.key, self.timeout, self.patience, self.context = key, timeout, patience, context
        self.closed = False
        if key is not None and not (isinstance(key, str) and key and key.isascii() and key.isprintable()):
            raise ArgumentError("key: a text of ASCII characters was expected")
        if context is not None and self.scheme != "https":
            raise ArgumentError(f"ssl= is given, but {self.url} is no https address")
        self._fixed = f"Host: {host}:{self.port}\r\nUser-Agent: kith/{_kith.version}\r\n" + \
            (f"Authorization: Bearer {key}\r\n" if key else "")
        self._idle: list[Link] = []
        self._lock = threading.Lock()
        self._process = os.getpid()

    # ---- Requests ----------------------------------------------------------------------------------------------------

    def call(self, method: str, path: str, *, asked: dict[str, Any] | None = None, body: Any = None,
             type: str = JSON, accept: str = JSON, again: bool = False, timeout: float | None = None) -> Answer:
        """One request and the whole reply; what is not 2xx is raised. again: it may be sent twice."""
        head = self._head(method, path, asked, body, type, accept)
        link, reply = self._sent(method, head, body, again, timeout)
        kept = False
        try:
            answer = Answer(reply.status, reply.type, reply.whole())
            kept = not reply.closes
            return answer
        except (OSError, http.client.HTTPException) as error:
            raise _failure(error, f"{self.url}: the answer to {method} {path}") from error
        finally:
            self._give(link, kept)

    def json(self, method: str, path: str, value: Any = None, **options: Any) -> Any:
        """One request with JSON in and out."""
        body = None if value is None else encode(value)
        return self.call(method, path, body=body, **options).json()

    def lines(self, method: str, path: str, value: Any) -> Iterator[bytes]:
        """A reply of NDJSON, line by line, as it comes. Whoever leaves before the end closes the connection."""
        body = encode(value)
        link, reply = self._sent(method, self._head(method, path, None, body, JSON, LINES), body, True, None)
        kept = False
        try:
            rest = b""
            for piece in reply.pieces():
                *whole, rest = (rest + piece).split(b"\n")
                yield from whole
            if rest:
                yield rest
            kept = not reply.closes
        except (OSError, http.client.HTTPException) as error:
            raise _failure(error, f"{self.url}: the answer to {method} {path}") from error
        finally:
            self._give(link, kept)

    def _head(self, method: str, path: str, asked: dict[str, Any] | None, body: Any, type: str, accept: str) -> bytes:
        if asked:
            path = f"{path}?{'&'.join([f'{name}={_argument(value)}' for name, value in asked.items()])}"
        length = f"Content-Type: {type}\r\nContent-Length: {len(body)}\r\n" if body is not None else \
            "Content-Length: 0\r\n" if method in ("POST", "PUT") else ""
        return f"{method} {path} HTTP/1.1\r\n{self._fixed}Accept: {accept}\r\n{length}\r\n".encode("latin-1")

    def _sent(self, method: str, head: bytes, body: Any, again: bool, timeout: float | None) -> tuple[Link, Reply]:
        """Send it until there is a reply that is none of "come again"."""
        until, tries = time.monotonic() + self.patience, 0
        while True:
            link, reply = self._once(method, head, body, again, timeout)
            if 200 <= reply.status < 300:
                return link, reply
            kept = False
            try:
                text = reply.whole()
                kept = not reply.closes
            except (OSError, http.client.HTTPException) as error:
                raise _failure(error, f"{self.url}: the answer to {method}") from error
            finally:
                self._give(link, kept)
            wait, tries = _later(reply), tries + 1
            if wait is None or tries >= TRIES or time.monotonic() + wait > until:
                raise refusal(reply.status, text, self.url)
            time.sleep(wait)

    def _once(self, method: str, head: bytes, body: Any, again: bool, timeout: float | None) -> tuple[Link, Reply]:
        """Send it, and read the head of the reply; twice where the kept connection turns out to be gone."""
        link = self._take(not again)
        while True:
            used = link is not None
            try:
                if link is None:
                    link = Link(self._new())
                link.socket.settimeout(self.timeout if timeout is None else timeout)
                _send(link.socket, head, body)
                return link, Reply(link.file)
            except BaseException as error:
                if link is not None:
                    link.close()
                if not isinstance(error, (OSError, http.client.HTTPException)):
                    raise
                if used and again and isinstance(error, _LOST):
                    link = None
                    continue
                raise _failure(error, f"{self.url}: {method}", "" if again or link is None else UNKNOWN) from error

    # ---- Connections -------------------------------------------------------------------------------------------------

    def _take(self, careful: bool) -> Link | None:
        """A connection that was used before. careful: not one that the server has closed."""
        if self.closed:
            raise ArgumentError("the connection to the server is closed")
        if os.getpid() != self._process:
            self._lock, self._idle, self._process = threading.Lock(), [], os.getpid()
        while True:
            with self._lock:
                link = self._idle.pop() if self._idle else None
            if link is None or not careful or not _readable(link.socket):
                return link
            link.close()

    def _new(self) -> http.client.HTTPConnection:
        if self.scheme == "https":
            return http.client.HTTPSConnection(self.host, self.port, timeout=self.timeout, context=self.context)
        return http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)

    def _give(self, link: Link, kept: bool) -> None:
        with self._lock:
            if kept and not self.closed and len(self._idle) < KEPT:
                self._idle.append(link)
                return
        link.close()

    def close(self) -> None:
        with self._lock:
            self.closed, idle, self._idle = True, self._idle, []
        for link in idle:
            link.close()


def part(name: str) -> str:
    """A name as a part of a path."""
    return quote(name, safe="")


def encode(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _argument(value: Any) -> str:
    return quote(value, safe="") if isinstance(value, str) else str(value)


def _send(socket: Any, head: bytes, body: Any) -> None:
    if body is None:
        socket.sendall(head)
    elif len(body) <= ONE_PIECE:
        socket.sendall(b"".join((head, body)))
    else:
        socket.sendall(head)
        socket.sendall(body)


def _readable(socket: Any) -> bool:
    """Something lies there, though nothing was asked: the end of the connection."""
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return bool(poll.poll(0))


# ---- What went wrong -------------------------------------------------------------------------------------------------


def _later(reply: Reply) -> float | None:
    """Seconds after which to come again; None: not at all."""
    if reply.status not in (429, 503) or not re.fullmatch(r"\d{1,6}", reply.later):
        return None
    return float(reply.later)


def refusal(status: int, body: bytes | bytearray, url: str) -> Exception:
    """The exception for a reply that is an error: by the kind that it names, else by its status."""
    kind, text = "", ""
    try:
        error = json.loads(body)["error"]
        text, kind = str(error["message"]), str(error.get("kind", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    found = kind_of(kind, _BY_CODE.get(status, ServerError))
    return found(text or f"{url}: the server answered with status {status}, and nothing else that kith knows")


def kind_of(word: Any, otherwise: type[Exception] = Error) -> type[Exception]:
    """The exception that is called so."""
    return _BY_KIND.get(word, otherwise)


def _failure(error: BaseException, what: str, doubt: str = "") -> Exception:
    if isinstance(error, TimeoutError):
        return DeadlineError(f"{what}: nothing came in the time that was given{doubt}")
    if isinstance(error, _LOST):
        return ServerError(f"{what}: the connection was broken off{doubt}")
    return ServerError(f"{what}: {getattr(error, 'strerror', None) or error or type(error).__name__}{doubt}")
