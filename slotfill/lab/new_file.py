"""Files that the lab's commands write where they are told to: never over another by surprise, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from slotfill.errors import UsageError


def check(path: Path, *, force: bool) -> None:
    """Raise UsageError where `path` cannot be written, or is there already and `force` does not say to replace it."""
    if path.name == "-":
        raise UsageError("-: give the name of a file to write")
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"{path}: {'is a folder' if path.is_dir() else 'there is no such folder to write it in'}")
    if path.exists() and not force:
        raise UsageError(f"{path}: is there already; replace it with --force, or give another")


def write(path: Path, content: str | bytes) -> None:
    """Write the file `path`; what is there stays until the new one is whole. Raises UsageError where it cannot be."""
    try:
        with TemporaryDirectory(prefix=".slotfill-", dir=path.parent) as room:
            new = Path(room, path.name)
            new.write_bytes(content if isinstance(content, bytes) else content.encode())
            new.replace(path)
    except OSError as fault:
        raise UsageError(f"{path}: cannot be written: {fault.strerror}") from None
