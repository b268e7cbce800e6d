# SPDX-License-Identifier: Apache-2.0
"""Paths that may be elsewhere: a folder of this machine, or anything that fsspec reaches. An index is mapped, so one
that lies elsewhere is copied once for all workers of a machine.

Copies lie in KITH_OFFLINE_CACHE, or a folder of this user's below the one for temporary files, as
``<source>-<version>.kith``: the source is the hash of the path, the version that of the content. A copy appears when it
is whole and was verified; older versions of the same source go then. Workers wait for one another by a locked file."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from typing import Any

from .. import _files, _kith
from .._errors import ArgumentError, CorruptError, FileError, MissingFileError, UnsupportedError

PIECE = 8 << 20  # bytes that are copied at a time


def is_local(path: str) -> bool:
    return "://" not in path or path.startswith(("file://", "local://")) and "::" not in path


def plain(path: str) -> str:
    """A path of this machine as the system takes it."""
    return os.path.abspath(path.split("://", 1)[1] if "://" in path else path)


def join(folder: str, name: str) -> str:
    if is_local(folder):
        return os.path.join(plain(folder), name)
    head, *rest = folder.split("::")  # of a chain, the first is the innermost
    return "::".join([f"{head.rstrip('/')}/{name}", *rest])


def _system(path: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError:
        raise UnsupportedError(f"{path}: reading it needs the package fsspec, which is not installed") from None
    with _refusals(path):
        system, inner = fsspec.core.url_to_fs(path)
    return system, inner


@contextlib.contextmanager
def _refusals(path: str) -> Iterator[None]:
    """What a file system refuses becomes kith's exception, with the path."""
    try:
        yield
    except FileNotFoundError:
        raise MissingFileError(f"{path}: there is no such file") from None
    except ImportError as error:  # a package for this kind of path
        raise UnsupportedError(f"{path}: {error}") from None
    except ValueError as error:  # no such kind
        raise ArgumentError(f"{path}: {error}") from None
    except OSError as error:
        raise FileError(f"{path}: {error}") from None


# ---- Looking and listing ---------------------------------------------------------------------------------------------


def is_folder(path: str) -> bool:
    if is_local(path):
        return os.path.isdir(plain(path))
    system, inner = _system(path)
    with _refusals(path):
        return bool(system.isdir(inner))


def exists(path: str) -> bool:
    if is_local(path):
        return os.path.exists(plain(path))
    system, inner = _system(path)
    with _refusals(path):
        return bool(system.exists(inner))


def version(path: str) -> str:
    """What changes when the file does; for a file that no manifest tells of."""
    if is_local(path):
        with _files.refusals(path):
            about = os.stat(plain(path))
        return f"{about.st_size}-{about.st_mtime_ns}"
    system, inner = _system(path)
    with _refusals(path):
        return str(system.ukey(inner))


def listed(path: str, suffixes: tuple[str, ...]) -> list[str]:
    """The files with these suffixes below a folder, or those that a pattern matches, or the file itself; by name. What
    begins with "_" or "." is left out, as engines leave such files beside their output."""
    if is_local(path):
        start = plain(path)
        if os.path.isdir(start):
            found = [os.path.join(folder, name) for folder, _, names in os.walk(start) for name in names]
        else:
            import glob

            found = glob.glob(start) if glob.has_magic(start) and not os.path.exists(start) else [start]
    else:
        system, inner = _system(path)
        with _refusals(path):
            if system.isdir(inner):
                found = system.find(inner)
            else:
                found = system.glob(inner) if any(c in inner for c in "*?[") else [inner]
            tail = path.split("::")[1:]
            found, start = ["::".join([system.unstrip_protocol(name), *tail]) for name in found], inner
    if len(found) == 1 and not is_folder(path):
        return found
    return sorted(name for name in found if name.lower().endswith(suffixes) and not _is_hidden(name, start))


def _is_hidden(name: str, start: str) -> bool:
    inner = name[len(start):] if name.startswith(start) else os.path.basename(name)
    return any(step.startswith(("_", ".")) for step in inner.split("/") if step)


# ---- Reading and writing ---------------------------------------------------------------------------------------------


def read(path: str, most: int) -> bytes:
    """A whole small file."""
    with opened(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise CorruptError(f"{path}: has more than the {most} bytes that were expected")
    return data


@contextlib.contextmanager
def opened(path: str) -> Iterator[Any]:
    """A file to read from, in binary."""
    if is_local(path):
        with _files.refusals(path):
            file = open(plain(path), "rb")
    else:
        system, inner = _system(path)
        with _refusals(path):
            file = system.open(inner, "rb")
    with file:
        yield file


def make_folder(path: str) -> None:
    if is_local(path):
        with _files.refusals(path):
            os.makedirs(plain(path), exist_ok=True)
    else:
        system, inner = _system(path)
        with _refusals(path):
            system.makedirs(inner, exist_ok=True)


def put(source: str, target: str) -> None:
    """Let `target` be a copy of a file of this machine, whole or not at all."""
    if is_local(target):
        _files.give_name(source, plain(target), False)
        return
    system, inner = _system(target)
    hidden = f"{inner}.{os.urandom(6).hex()}"
    with _refusals(target):
        try:
            system.put_file(source, hidden)
            system.mv(hidden, inner)
        except BaseException:
            with contextlib.suppress(Exception):
                system.rm_file(hidden)
            raise


def put_bytes(data: bytes, target: str) -> None:
    with tempfile.NamedTemporaryFile(prefix="kith-") as file:
        file.write(data)
        file.flush()
        put(file.name, target)


def remove(path: str) -> None:
    """Nothing is said of a file that cannot be removed."""
    with contextlib.suppress(Exception):
        if is_local(path):
            os.unlink(plain(path))
        else:
            system, inner = _system(path)
            system.rm_file(inner)


# ---- Copies ----------------------------------------------------------------------------------------------------------


def cache_folder() -> str:
    """Where this machine's copies lie. FileError: it is somebody else's."""
    given = os.environ.get("KITH_OFFLINE_CACHE")
    folder = given or os.path.join(tempfile.gettempdir(), f"kith-offline-{os.getuid()}")
    with _files.refusals(folder):
        os.makedirs(folder, mode=0o700, exist_ok=True)
        if os.stat(folder).st_uid != os.getuid():
            raise FileError(f"{folder}: belongs to another user; KITH_OFFLINE_CACHE can name another folder")
    return folder


def local(path: str, content: str, index: bool) -> str:
    """Where a file lies on this machine: there, or as a copy that is made now unless another worker made it.

    content: what tells this version from others. index: its checksums are looked at, once, when it is copied."""
    if is_local(path):
        return plain(path)
    folder = cache_folder()
    source = hashlib.blake2b(path.encode(), digest_size=12).hexdigest()
    name = f"{source}-{hashlib.blake2b(content.encode(), digest_size=12).hexdigest()}.kith"
    copy = os.path.join(folder, name)
    if os.path.exists(copy):
        return copy
    with _files.refusals(folder):
        lock = open(os.path.join(folder, f"{source}.lock"), "w", encoding="ascii")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(copy):
            _copy(path, copy, index)
            for other in os.listdir(folder):
                if other.startswith(f"{source}-") and other != name:
                    remove(os.path.join(folder, other))
    return copy


def _copy(path: str, copy: str, index: bool) -> None:
    hidden = f"{copy}.{os.urandom(6).hex()}.part"
    try:
        with opened(path) as source, _files.refusals(hidden), open(hidden, "wb") as target:
            while piece := source.read(PIECE):
                target.write(piece)
        if index:
            try:
                _kith.verify(hidden, 1, None)
            except CorruptError as error:
                raise CorruptError(f"{path}: {str(error).removeprefix(f'{hidden}: ')}") from None
        with _files.refusals(copy):
            _files.publish(hidden, copy)
    except BaseException:
        remove(hidden)
        raise
