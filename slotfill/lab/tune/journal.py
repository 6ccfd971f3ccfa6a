"""The file of a study: a JSON record a line, which several processes append to.

A process that is killed, or finds no space left on the disk, may leave the beginning of a record
as the last line. It is cut before anything is appended, so that no record is lost but its own.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from slotfill.errors import DataError, UsageError
from slotfill.files import parse_json

_START = b'{"op_code"'
"""The first bytes of each record; inside a string of JSON, the quotes would be escaped."""

_ATTRIBUTES = {
    "curves": (None, [[float]]),
    "f1s": (None, [float]),
    "seconds": (None, float),
    "error": (None, str),
    "slotfill": (None, {}),
}
_RECORD = {
    "op_code": int,
    "worker_id": str,
    "value": (None, float),
    "values": (None, [float]),
    "user_attr": (None, _ATTRIBUTES),
    "user_attrs": (None, _ATTRIBUTES),
}
"""What slotfill reads of a record; Optuna reads the rest."""

_GRACE = 30
"""After so many seconds, a lock that nobody has released is taken over."""
_LONG = 3
"""A lock that is older than this, in seconds, is likely that of a process that was killed."""

logger = logging.getLogger(__name__)


def open_journal(path: Path) -> JournalStorage:
    """Return the study in the file `path`, or a new one; drop records that were not completed.

    Raises UsageError if the file is something else, and DataError, which names the line, if it is
    damaged.
    """
    if path.is_file():
        with path.open("rb") as file:
            start = file.readline(1 << 20).lstrip(b" ")[: len(_START)]
        if not _START.startswith(start):
            raise UsageError(f"{path}: already exists and is not a study; choose another")
    # This lock also works on network file systems.
    lock = _Lock(path)
    journal = _Journal(str(path), lock_obj=lock)
    lock.acquire()
    try:
        _drop_incomplete(path)
    finally:
        lock.release()
    try:
        return JournalStorage(journal)
    except OSError:
        raise
    except Exception as error:  # Optuna checks no record.
        raise _damaged(path, journal.line, error) from None


class _Journal(JournalFileBackend):
    line = 0
    """The number of the line that was read last."""

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        for self.line, record in enumerate(super().read_logs(log_number_from), log_number_from + 1):
            yield record


class _Lock(JournalFileOpenLock):
    """Whoever has the lock finds complete lines, to which a record can be appended."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), grace_period=_GRACE)
        self._path = path

    def acquire(self) -> bool:
        self._warn_of_wait()
        super().acquire()
        try:
            _cut_last_line(self._path)
        except BaseException:
            self.release()
            raise
        return True

    def _warn_of_wait(self) -> None:
        lock = self._path.with_name(f"{self._path.name}.lock")
        with suppress(OSError):
            if time.time() - lock.stat().st_mtime > _LONG:
                logger.warning(
                    "%s: of a process that is writing, or was killed; waiting up to %d seconds",
                    lock,
                    _GRACE,
                )


def _cut_last_line(path: Path) -> None:
    """Cut what follows the last line end."""
    with path.open("r+b") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        if file.read() in (b"", b"\n"):
            return
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
    logger.warning("%s: the last record is incomplete, and dropped", path)


def _drop_incomplete(path: Path) -> None:
    """Overwrite the beginnings of records before a complete one in the same line by spaces.

    So nothing moves in the file, which others may be reading. Raises DataError if a line is no
    record.
    """
    with path.open("r+b") as file:
        for number, line in enumerate(iter(file.readline, b""), 1):
            try:
                start = _find_record(line)
            except ValueError as error:
                raise _damaged(path, number, error) from None
            if start:
                end = file.tell()
                file.seek(end - len(line))
                file.write(b" " * start)
                file.seek(end)
                logger.warning("%s:%d: an incomplete record is dropped", path, number)


def _find_record(line: bytes) -> int:
    """Return where the complete record of a line begins; raises ValueError if there is none."""
    try:
        _check(line)
    except ValueError:
        if (start := line.rfind(_START)) <= 0:
            raise
        _check(line[start:])
        return start
    return 0


def _check(content: bytes) -> None:
    record = parse_json(content, _RECORD)
    for attributes in (record.get("user_attr"), record.get("user_attrs")):
        if not all(map(math.isfinite, (attributes or {}).get("f1s") or ())):
            raise ValueError("f1s must be finite")


def _damaged(path: Path, line: int, error: Exception) -> DataError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(
        f"{path}:{line}: not a record of a study ({reason}); restore the file, or choose another"
        " --out or --storage"
    )
