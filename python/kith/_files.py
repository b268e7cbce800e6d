# SPDX-License-Identifier: Apache-2.0
"""Files of indexes that have no name of the user's yet, and how they get one."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from ._errors import FileError, MissingFileError, NoSpaceError


def new_private(name: str = "index.kith") -> str:
    """A name for a private file, in a folder of its own that nobody else may enter."""
    import tempfile  # here and below: what only some need is not part of importing kith

    with refusals(tempfile.gettempdir()):
        return os.path.join(tempfile.mkdtemp(prefix="kith-"), name)


def remove_private(path: str, owner: int) -> None:
    """Remove a private index. After a fork only the process that made it does."""
    if os.getpid() == owner:
        with contextlib.suppress(OSError):
            os.unlink(path)
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(path))


def remove_folder(folder: str) -> None:
    """Remove a private folder and what is in it."""
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def give_name(source: str, target: str, private: bool) -> None:
    """Let `target` be the file `source`: whole or not at all, and synced. A private file is linked where the file
    system allows it, so that nothing is copied; others are copied, so that no later write to one name changes both."""
    folder = os.path.dirname(os.path.abspath(target))
    hidden = os.path.join(folder, f".{os.path.basename(target)}.{os.urandom(6).hex()}")
    with refusals(target):
        try:
            if not (private and _link(source, hidden)):
                _copy(source, hidden)
            os.replace(hidden, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(hidden)
            raise
        _sync(folder)


def publish(hidden: str, target: str) -> None:
    """Sync a finished file and give it its name. What the system refuses is raised as it is."""
    _sync(hidden)
    os.replace(hidden, target)
    _sync(os.path.dirname(os.path.abspath(target)))


def _link(source: str, target: str) -> bool:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS):
            return False
        raise
    os.chmod(target, 0o666 & ~_umask())
    return True


def _copy(source: str, target: str) -> None:
    import shutil

    shutil.copyfile(source, target)
    _sync(target)


def _sync(path: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    with open("/proc/self/status", encoding="ascii") as status:  # asking the system would set it, for all threads
        for line in status:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o022


@contextlib.contextmanager
def refusals(path: str) -> Iterator[None]:
    """What the system refuses becomes kith's exception, with the path."""
    try:
        yield
    except FileNotFoundError as error:
        raise MissingFileError(f"{path}: {error.strerror}") from None
    except OSError as error:
        kind = NoSpaceError if error.errno in (errno.ENOSPC, errno.EDQUOT) else FileError
        raise kind(f"{path}: {error.strerror or error}") from None
