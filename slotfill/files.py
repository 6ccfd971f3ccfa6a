"""Files: opened to be read, and written completely or not at all."""

from __future__ import annotations

import errno
import glob
import json
import logging
import os
import re
import shutil
import stat
import sys
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from io import BytesIO
from itertools import count, repeat
from pathlib import Path
from typing import Any, BinaryIO

from slotfill.errors import DataError, UsageError
from slotfill.text_lines import EncodingErrors, decode_lines

STANDARD_INPUT = Path("standard input")
"""The standard input, as a path that `read_lines` reads and messages name."""

_spooled: dict[Path, bytes] = {}
"""What has been read of standard input and of pipes, while it is kept."""

logger = logging.getLogger(__name__)


def read_lines(
    path: Path,
    errors: EncodingErrors = "strict",
    max_characters: int | None = None,
    *,
    allow_pipe: bool = False,
) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line of a UTF-8 file, without its line end.

    `errors` and `max_characters` are those of `decode_lines`. Without `allow_pipe`, a pipe or a
    device is an error: it may have no end, and cannot be read again.
    Raises UsageError when there is no such file, and DataError when it is not text.
    """
    if not allow_pipe:
        refuse_special_file(path)
    # Python cannot close sys.stdin at exit while a thread is waiting for a line of it.
    try:
        with _open(path) as file:
            yield from decode_lines(file, str(path), errors, max_characters)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file{nearest_in_folder(path)}") from None
    except IsADirectoryError:
        raise DataError(f"{path}: a folder where a file is expected") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def _open(path: Path) -> BinaryIO:
    """Open a file, or the standard input: what was read of it, or else what comes."""
    if path is not STANDARD_INPUT and path in _spooled:
        return BytesIO(_spooled[path])
    if path is STANDARD_INPUT:
        return os.fdopen(0, "rb", closefd=False)
    return path.open("rb")


@contextmanager
def spooled(path: Path) -> Iterator[Path]:
    """Read standard input or a pipe to its end; yield a path by which it is read repeatedly."""
    try:
        with _open(path) as file:
            content = file.read()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    again = Path(str(path))  # Equal to STANDARD_INPUT, which is what comes, and not the same.
    _spooled[again] = content
    try:
        yield again
    finally:
        del _spooled[again]


def shorten_path(path: str) -> Path:
    """Return an absolute path as messages show it: from the current folder, if that is shorter."""
    return Path(min(path, os.path.relpath(path), key=len))


def nearest_in_folder(path: Path, shown: Path | None = None) -> str:
    """Return the end of a message on a missing `path`: a link to nothing, or the nearest name.

    It is named like `shown`, the path as the user gave it.
    """
    if str(shown or path) == "-":
        return "; this command reads files, and not the standard input"
    for link in (shown or path, path):
        if link.is_symlink():
            return f": it is a link to {link.readlink()}, which is not there"
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.name != path.name]
    except OSError:
        return ""
    near = get_close_matches(path.name, names, n=1)
    return f"; did you mean '{(shown or path).with_name(near[0])}'?" if near else ""


def refuse_special_file(path: Path) -> None:
    """Raise DataError if there is a device, pipe or socket at `path`."""
    if path is not STANDARD_INPUT and path not in _spooled and is_special_file(path):
        raise DataError(f"{path}: not a regular file; copy its content into one")


def is_special_file(path: Path) -> bool:
    """Return whether `path` is a device, a pipe or a socket, whose content may never end."""
    with suppress(OSError, ValueError):
        mode = path.stat().st_mode
        return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
    return False


def read_regular_file(path: Path, sizes: Container[int] = range(sys.maxsize)) -> bytes:
    """Return the content of a file; nothing if its size is none of `sizes`.

    Raises OSError, also for a device, pipe or socket.
    """
    if is_special_file(path):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return path.read_bytes() if path.stat().st_size in sizes else b""


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write `path` completely or not at all, as `replaced_at_end` does."""
    with replaced_at_end(path) as temporary:
        temporary.write_bytes(content if isinstance(content, bytes) else content.encode())


def write_in_folder(path: Path, content: str | bytes) -> None:
    """Write a file of a folder that may be of a stranger: as `write_atomically`, through no link.

    Raises UsageError if `path` is one.
    """
    check_no_link(path)
    write_atomically(path, content)


def check_no_links(folder: Path) -> None:
    """Raise UsageError if anything in `folder` is a link, which may lead out of it."""
    for parent, folders, files in os.walk(folder):
        for name in sorted((*folders, *files)):
            check_no_link(Path(parent, name))


def check_no_link(path: Path) -> None:
    """Raise UsageError if `path`, which slotfill has named and not the user, is a link."""
    if path.is_symlink():
        hint = "put what it leads to in its place, as by cp -rL"
        raise UsageError(f"{path}: is a link, through which nothing is written; {hint}")


@contextmanager
def replaced_at_end(path: Path) -> Iterator[Path]:
    """Yield a temporary file to write, which becomes `path` unless an error occurs.

    If `path` is a link, the file that it leads to is replaced, and the link stays. Raises
    UsageError for a device, pipe or socket, and OSError, which names `path`.
    """
    _check_no_special_file(path)
    target = _follow_link(path)
    temporary = temporary_path(target)
    try:
        temporary.open("xb").close()  # Not through a link that has its name.
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:  # "No space left on device" names no file by itself.
        raise type(error)(error.errno, error.strerror or str(error), str(path)) from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def temporary_path(path: Path) -> Path:
    """Return where this process writes what becomes `path`, once what others have left is gone."""
    for left in path.parent.glob(f"{glob.escape(path.name)}.*.new"):
        process = left.name.removesuffix(".new").rpartition(".")[2]
        if process.isdecimal() and (int(process) == os.getpid() or not _is_running(int(process))):
            with suppress(OSError):
                shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
    return path.with_name(f"{path.name}.{os.getpid()}.new")


def _is_running(process: int) -> bool:
    if os.name == "nt":  # There, the call below would end it.
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return True


def real_path(path: Path | str) -> Path:
    """Return the absolute path without links; `Path.resolve` raises RuntimeError in a loop."""
    return Path(os.path.realpath(path))


def check_new_file(path: Path, *, force: bool) -> None:
    """Raise UsageError if `path` cannot be written, or exists and `force` is not set."""
    if path.name == "-":
        raise UsageError("-: give the name of a file to write")
    if path.is_dir():
        raise UsageError(f"{path}: is a folder")
    _check_no_special_file(path)
    check_folder_of(path)
    if path.exists() and not force:
        raise UsageError(f"{path}: already exists; use --force to replace it")


def check_folder_of(path: Path) -> None:
    """Raise UsageError if nothing can be written in the folder of `path`."""
    folder = _follow_link(path).parent
    if not folder.is_dir():
        raise UsageError(f"{path}: there is no such folder to write it in")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{path}: its folder cannot be written to")


def _check_no_special_file(path: Path) -> None:
    if is_special_file(path):
        raise UsageError(f"{path}: a device, pipe or socket; give the name of a file to write")
    if _follow_link(path).is_symlink():
        raise UsageError(f"{path}: a link to itself; give the name of a file to write")


def _follow_link(path: Path) -> Path:
    """Return the file that is written as `path`: what it leads to, if it is a link."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def check_not_input(path: Path, inputs: Iterable[Path]) -> None:
    """Raise UsageError if the output `path` is one of `inputs`, or a file in a folder of them."""
    if path.exists():
        for each in inputs:
            if any(file.exists() and path.samefile(file) for file in (each, *each.glob("*"))):
                raise UsageError(f"{path}: is read by this command; write to another file")


Shape = Any
"""Shape of JSON: type, `[item]`, `{str: item}`, `{"key": item}`; `(None, shape)` is optional."""

_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")

_JSON_NAMES = {dict: "an object", list: "a list", str: "a string", int: "an integer"}


def parse_json(content: str | bytes, shape: Shape) -> Any:
    """Parse UTF-8 JSON of the given shape; raises ValueError, which names the first wrong key."""
    text = content if isinstance(content, str) else content.decode("utf-8")
    try:
        value = json.loads(text)
        if _SURROGATE_ESCAPE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except UnicodeEncodeError as error:
        half = ord(error.object[error.start])
        raise ValueError(f"\\u{half:04x} is half a character") from None
    check_json(value, shape)
    return value


def check_json(value: Any, shape: Shape, key: str = "") -> None:
    """Raise ValueError, which names the key, if parsed JSON does not have the given shape."""
    if isinstance(shape, tuple):
        if value is None:
            return
        shape = shape[1]
    kind: Any = shape if isinstance(shape, type) else type(shape)
    if type(value) is not kind:
        expected = f"must be {_JSON_NAMES.get(kind, kind.__name__)}"
        raise ValueError(f"{key or 'the content'} {'is missing' if value is None else expected}")
    if isinstance(shape, type):
        return
    entries: Iterable[tuple[Any, Any, Shape]]
    if isinstance(shape, list):
        entries = zip(count(), value, repeat(shape[0]))
    elif str in shape:
        entries = zip(value, value.values(), repeat(shape[str]))
    else:
        entries = ((name, value.get(name), item) for name, item in shape.items())
    for name, item, item_shape in entries:
        if type(item) is not item_shape:  # The fast path for large vocabularies.
            check_json(item, item_shape, f"{key}.{name}" if key else str(name))
