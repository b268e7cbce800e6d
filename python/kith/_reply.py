# SPDX-License-Identifier: Apache-2.0
"""Replies of HTTP/1.1 as a server of kith sends them, read from a socket: the head, and a body of a length, in
chunks, or up to the end of the connection.

http.client makes an email of each head, which takes more than all else that a search of one query does here. What this
reads is what http.client would; what is no HTTP, or ends early, is one of its exceptions."""

from __future__ import annotations

from collections.abc import Iterator
from http.client import BadStatusLine, HTTPException, IncompleteRead, RemoteDisconnected
from typing import Any

LINE_BYTES = 65536
HEADERS = 100
PIECE_BYTES = 1 << 16


class Reply:
    """A reply whose head has been read. The body is read once: by whole(), or piece by piece."""

    __slots__ = ("status", "type", "later", "closes", "_file", "_length", "_chunked")

    def __init__(self, file: Any) -> None:
        self._file = file
        self.status = _status(file)
        while 100 <= self.status < 200:
            for _ in _headers(file):
                pass
            self.status = _status(file)
        self.type, self.later, self.closes, self._chunked = "", "", False, False
        self._length: int | None = None
        for name, value in _headers(file):
            if name == b"content-length":
                self._length = _number(value, 10)
            elif name == b"content-type":
                self.type = value.decode("latin-1")
            elif name == b"transfer-encoding":
                self._chunked = value.lower() == b"chunked"
            elif name == b"connection":
                self.closes = value.lower() == b"close"
            elif name == b"retry-after":
                self.later = value.decode("latin-1")
        if self.status in (204, 304):
            self._length, self._chunked = 0, False
        self.closes |= self._length is None and not self._chunked

    def whole(self) -> bytearray:
        """The body, in memory that arrays may lie in and be written to."""
        if self._chunked or self._length is None:
            return bytearray().join(self.pieces())
        body = bytearray(self._length)
        at, view = 0, memoryview(body)
        while at < len(body):
            got = self._file.readinto(view[at:])
            if not got:
                raise IncompleteRead(bytes(body[:at]), len(body) - at)
            at += got
        return body

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes."""
        if not self._chunked:
            left = self._length
            while left is None or left > 0:
                piece = self._file.read1(PIECE_BYTES if left is None else min(left, PIECE_BYTES))
                if not piece:
                    if left is None:
                        return
                    raise IncompleteRead(b"", left)
                left = None if left is None else left - len(piece)
                yield piece
            return
        while left := _number(_line(self._file).partition(b";")[0].strip(), 16):
            while left:
                piece = self._file.read1(min(left, PIECE_BYTES))
                if not piece:
                    raise IncompleteRead(b"", left)
                left -= len(piece)
                yield piece
            if _line(self._file).strip():
                raise HTTPException("a chunk is longer than it says")
        for _ in _headers(self._file):
            pass


def _line(file: Any) -> bytes:
    line = file.readline(LINE_BYTES + 1)
    if not line.endswith(b"\n"):
        raise IncompleteRead(line) if len(line) <= LINE_BYTES else HTTPException("a line of a head is too long")
    return line


def _status(file: Any) -> int:
    line = file.readline(LINE_BYTES + 1)
    if not line:
        raise RemoteDisconnected("the connection was closed without an answer")
    version, _, rest = line.partition(b" ")
    code = rest[:3]
    if not version.startswith(b"HTTP/1.") or not code.isdigit() or len(code) < 3:
        raise BadStatusLine(repr(line[:80]))
    return int(code)


def _headers(file: Any) -> Iterator[tuple[bytes, bytes]]:
    for _ in range(HEADERS + 1):
        line = _line(file)
        if line in (b"\r\n", b"\n"):
            return
        name, _, value = line.partition(b":")
        yield name.strip().lower(), value.strip()
    raise HTTPException(f"a head has more than {HEADERS} lines")


def _number(digits: bytes, base: int) -> int:
    try:
        number = int(digits, base) if digits.isalnum() and len(digits) <= 16 else -1
    except ValueError:
        number = -1
    if number < 0:
        raise HTTPException(f"{digits[:32]!r} is no length")
    return number
