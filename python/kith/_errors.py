# SPDX-License-Identifier: Apache-2.0
"""The exceptions of kith: a small tree, each also what Python calls such a failure."""

from __future__ import annotations

from typing import ClassVar


class Error(Exception):
    """The base of kith's exceptions. Its text names what was refused, and where.

    ``status`` is the word of the C library's status, ``"data"`` for ``KITH_E_DATA``.
    """

    status: ClassVar[str] = "error"


class ArgumentError(Error, ValueError):
    """An argument is out of its range, or two do not fit each other."""

    status = "argument"


class DataError(Error, ValueError):
    """A value is refused: NaN, infinity, a zero vector under cosine, a duplicate or negative id. Names the row."""

    status = "data"


class FormatError(Error, ValueError):
    """An input file is malformed. Names the file and the byte, row or line."""

    status = "format"


class CorruptError(Error):
    """An index file is damaged. Names the file and the section."""

    status = "corrupt"


class VersionError(Error):
    """An index file needs a newer kith."""

    status = "version"


class NotFoundError(Error):
    """There is no such file, id or name."""

    status = "notfound"


class MissingFileError(NotFoundError, FileNotFoundError):
    """There is no such file."""


class MissingIdError(NotFoundError, KeyError):
    """The index does not hold this id."""

    def __str__(self) -> str:
        return Exception.__str__(self)  # KeyError would put the text in quotes


class FileError(Error, OSError):
    """The operating system refused a file operation. The text has its reason."""

    status = "io"


class NoSpaceError(FileError):
    """The disk is full."""

    status = "nospace"


class LimitError(Error, ValueError):
    """A size is beyond a documented limit."""

    status = "limit"


class UnsupportedError(Error):
    """This combination is not offered."""

    status = "unsupported"


class DeadlineError(Error, TimeoutError):
    """The time given by ``timeout`` was up."""

    status = "deadline"


class BusyError(Error):
    """Somebody else holds it."""

    status = "busy"


class CancelledError(Error):
    """A progress function asked to stop. (Ctrl-C is a KeyboardInterrupt, as always.)"""

    status = "cancelled"


class AccessError(Error, PermissionError):
    """A server wants a key, or this key may not do that."""

    status = "access"


class ServerError(Error, ConnectionError):
    """A server cannot be reached, or does not answer as one of kith's does."""

    status = "server"


# In the order of kith_status. KITH_E_NOMEM is a MemoryError, which C raises by itself.
BY_STATUS = (
    Error, ArgumentError, MemoryError, FileError, NoSpaceError, MissingFileError, FormatError, DataError, CorruptError,
    VersionError, LimitError, BusyError, CancelledError, DeadlineError, UnsupportedError,
)
