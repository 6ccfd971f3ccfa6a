"""Locks: one process at a time trains into a folder, or adds labels to a file.

The lock of `NAME` is the empty file `NAME.lock`; one that a killed process has left is not locked.
"""

from __future__ import annotations

import gc
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from slotfill.errors import UsageError


class LockedError(UsageError):
    """Another process has the lock."""


def lock(path: Path, problem: str) -> Callable[[], None]:
    """Lock `path` and return what unlocks it.

    Raises LockedError with `problem`, in which {} is `path`, if it is locked.
    """
    from filelock import FileLock, Timeout

    # Not in the folder that is locked, which Windows could not rename then.
    file = _lock_file(path)
    check_lock(path)
    file_lock = FileLock(file, timeout=0, thread_local=False)
    try:
        try:
            file_lock.acquire()
        except Timeout:
            gc.collect()  # What is left of a training of this process may have it.
            if not file.exists():  # It is not locked, but perhaps it cannot be made.
                file.touch()
            file_lock.acquire()
    except Timeout:
        raise LockedError(problem.format(path)) from None
    except (OSError, NotImplementedError):  # Some network file systems have no locks.
        return lambda: None

    def unlock() -> None:
        with suppress(OSError):  # On Windows the library removes it.
            file.unlink()
        file_lock.release()

    return unlock


def is_locked(path: Path) -> bool:
    """Return whether a process has the lock of `path` now."""
    if not _lock_file(path).exists():
        return False
    try:
        lock(path, "")()
    except LockedError:
        return True
    return False


def check_lock(path: Path) -> None:
    """Raise UsageError if a file of the user has the name of the lock, which is removed later."""
    file = _lock_file(path)
    with suppress(OSError):
        status = file.lstat()
        if status.st_size or not stat.S_ISREG(status.st_mode):
            raise UsageError(
                f"{file}: not an empty file, as a lock of slotfill is; move it, or choose another"
                f" name than {path.name}"
            )


def _lock_file(path: Path) -> Path:
    return path.with_name(path.name + ".lock")
