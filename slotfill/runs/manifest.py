"""manifest.json: the run format, the size and SHA-256 checksum of each file, and its own."""

from __future__ import annotations

import json
import os
from collections.abc import Container, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

from slotfill.errors import RunError, UsageError
from slotfill.files import (
    Shape,
    check_no_link,
    parse_json,
    read_regular_file,
    write_in_folder,
)
from slotfill.inference.onnx_engine import ONNX
from slotfill.runs.sources import SOURCES
from slotfill.version import FORMAT

MANIFEST = "manifest.json"
WEIGHTS = "model.safetensors"
CALIBRATION = "calibration.json"
VALUES = "values.json"
HISTORY = "history.csv"
SCORES = "scores.json"
ENVIRONMENT = "environment.json"
CARD = "README.md"
"""The model card of a packed run."""

FILES = (
    *("config.yaml", "vocab.json", WEIGHTS, *ONNX),
    *(CALIBRATION, VALUES, SOURCES, HISTORY, SCORES, ENVIRONMENT, MANIFEST),
)
"""The files of a run; those of `ONNX` are missing if it cannot be exported.

Without `CALIBRATION`, all temperatures are 1 and there are no thresholds; without
`VALUES`, there are no rules; without `SOURCES`, no user-defined parts."""

PACKED_FILES = ("config.yaml", "vocab.json", *ONNX, CALIBRATION, VALUES, CARD, MANIFEST)
"""The files of a packed run."""

_PENDING = ".new"
"""What is behind the name of a file that replaces another."""

_MAX_MANIFEST = 1 << 20
"""In bytes; a manifest has a few lines for each file."""

_HEADER_SIZE, _END_SIZE = 30, 22
_MAX_DIRECTORY = 1 << 16
"""In bytes: what is before a file in a zip archive, its end, and its list of files at the most."""

_SHAPE = {"format": int, "completed": bool, "files": {str: {"size": int, "sha256": str}}}


class RunFiles:
    """The files of the run `path`, each verified against the manifest when it is read.

    A run is a folder, or the one file that `slotfill pack` writes. That of a stopped run is another
    `manifest`, of the files that its training began with.
    """

    def __init__(self, path: Path, manifest: str = MANIFEST) -> None:
        """Raises RunError if there is no manifest of this version."""
        self.path = path
        self._manifest = manifest
        self._location = path.absolute()  # Read again by a copy or another process.
        self.is_archive = path.is_file()
        try:
            content = self._read(manifest, range(_MAX_MANIFEST))
            version = parse_json(content, {"format": int})["format"]
            parsed = parse_json(content, _SHAPE) if version == FORMAT else {}
        except (FileNotFoundError, IsADirectoryError):
            raise RunError(
                f"{path}: not a complete run of this version of slotfill ({manifest} is missing);"
                " train it again"
            ) from None
        except OSError as error:
            reason = error.strerror or error
            raise RunError(f"{path / manifest}: cannot be read: {reason}") from None
        except ValueError as error:
            raise RunError(f"{path / manifest}: {error}; train the run again") from None
        if not parsed:
            raise RunError(
                f"{path}: of run format {version}, but this version of slotfill reads format"
                f" {FORMAT}; train it again"
            )
        self.checksum = sha256(content).hexdigest()
        """That of the manifest, and so of all files."""
        self.completed: bool = parsed["completed"]
        self._entries: dict[str, dict[str, Any]] = parsed["files"]
        if content != _render_manifest(self._entries, self.completed):
            raise RunError(
                f"{path / manifest}: damaged or edited: it does not match its own checksum; restore"
                " it, or train the run again"
            )

    @property
    def is_packed(self) -> bool:
        """Whether these are the files that `slotfill pack` writes, without weights for torch."""
        return self._manifest == MANIFEST and not self.has(WEIGHTS)

    @property
    def fingerprint(self) -> str:
        """A checksum of network and rules, which is the same for a packed run and its folder."""
        network = ONNX if self.has(*ONNX) else (WEIGHTS,)
        entries = [self._entries.get(name) for name in (*network, VALUES)]
        return sha256(json.dumps(entries).encode()).hexdigest()

    def has(self, *names: str) -> bool:
        """Return whether the run has all these files; reading one that was removed is an error."""
        return all(name in self._entries for name in names)

    def __getitem__(self, name: str) -> bytes:
        """Return the content of a file; raises RunError if it is missing or differs."""
        hint = f"write it again with: slotfill export {self.path}"
        hint = hint if name in ONNX else "restore it, or train the run again"
        hint = "pack the run again" if self.is_packed else hint
        if name not in self._entries:
            raise RunError(f"{self.path / name}: missing; {hint}")
        entry, problem = self._entries[name], "missing"
        # Of a file that `replace` did not rename, or has renamed just now.
        for each in (name, name + _PENDING, name):
            try:
                content = self._read(each, (entry["size"],))
            except (FileNotFoundError, IsADirectoryError):
                continue
            except (OSError, MemoryError) as error:
                reason = getattr(error, "strerror", None) or "it does not fit into memory"
                raise RunError(f"{self.path / name}: cannot be read: {reason}") from None
            if _entry(content) == entry:
                return content
            problem = f"damaged, edited or of another run: it does not match {self._manifest}"
        raise RunError(f"{self.path / name}: {problem}; {hint}")

    def parse(self, name: str, shape: Shape) -> Any:
        """Return the content of a JSON file of the given shape; raises RunError otherwise."""
        try:
            return parse_json(self[name], shape)
        except ValueError as error:
            raise RunError(f"{self.path / name}: {error}; train the run again") from None

    def replace(self, contents: Mapping[str, bytes]) -> None:
        """Write files again: if this is interrupted, all of them are the old or the new ones.

        They are written beside the old ones; the manifest then says that they replace them.
        Raises UsageError if the run is packed.
        """
        self.check_changeable()
        self.settle()
        entries = {name: _entry(content) for name, content in contents.items()}
        try:
            for name, content in contents.items():
                write_in_folder(self.path / (name + _PENDING), content)
            write_run(self.path, {}, self._entries | entries, completed=self.completed)
        except OSError:
            self.settle()
            raise
        self._entries |= entries
        self.settle()

    def settle(self) -> None:
        """Complete or undo a `replace` that was interrupted."""
        for name in FILES:
            pending = self.path / (name + _PENDING)
            if not pending.exists():
                continue
            entry = self._entries.get(name, _entry(b""))
            if _entry(self._read(pending.name, (entry["size"],))) == entry:
                pending.replace(self.path / name)
            else:
                pending.unlink()

    def check_changeable(self) -> None:
        """Raise UsageError if the run is packed, or has links that `replace` would write."""
        if self.is_packed:
            raise UsageError(
                f"{self.path}: a packed run is not changed; change the run folder, and pack it"
                " again"
            )
        for name in FILES:
            for written in (name, name + _PENDING):
                check_no_link(self.path / written)

    def _read(self, name: str, sizes: Container[int]) -> bytes:
        """Return the content of a file, which is not verified; nothing if its size is another."""
        if self.is_archive:
            return _read_packed(self._location, self.path, name)
        return read_regular_file(self._location / name, sizes)


def write_run(
    path: Path,
    contents: Mapping[str, bytes],
    entries: Mapping[str, dict[str, Any]] | None = None,
    *,
    completed: bool,
) -> None:
    """Write files into the run folder `path`, then the manifest of them and of other `entries`."""
    for name, content in contents.items():
        write_in_folder(path / name, content)
    write_in_folder(path / MANIFEST, render_manifest(contents, entries, completed=completed))


def render_manifest(
    contents: Mapping[str, bytes],
    entries: Mapping[str, dict[str, Any]] | None = None,
    *,
    completed: bool,
) -> bytes:
    """Return the manifest of files with these contents and of other `entries`."""
    files = {**(entries or {}), **{name: _entry(data) for name, data in contents.items()}}
    return _render_manifest(files, completed)


def is_zip(path: Path) -> bool:
    """Return whether `path` is a file that begins like a zip archive; RunError if unreadable."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PK\3\4"
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from None


def is_completed(path: Path) -> bool:
    """Return whether the run in the folder `path` was trained to its end and written completely."""
    try:
        return RunFiles(path).completed
    except RunError:
        return False


def _render_manifest(entries: Mapping[str, dict[str, Any]], completed: bool) -> bytes:
    """Return the content of a manifest, with the checksum of its other keys."""
    manifest = {"format": FORMAT, "completed": completed, "files": entries}
    checksum = sha256(json.dumps(manifest).encode()).hexdigest()
    return (json.dumps({**manifest, "sha256": checksum}, indent=1) + "\n").encode()


def _read_packed(location: Path, shown: Path, name: str) -> bytes:
    """Return the content of a file in the packed run at `location`, called `shown` in messages.

    The members of a packed run are the files of a run, and not compressed, so none can be larger
    than the archive. Raises RunError for any other archive, and FileNotFoundError.
    """
    from zipfile import ZIP_STORED, ZipFile

    try:
        with location.open("rb") as file, ZipFile(_check_directory(file)) as archive:
            names = [member.filename for member in archive.infolist()]
            end = 0
            for member in archive.infolist():
                if member.filename not in PACKED_FILES or member.compress_type != ZIP_STORED:
                    raise ValueError(f"it contains {member.filename!a}")
                if names.count(member.filename) > 1:
                    raise ValueError(f"it contains {member.filename!a} twice")
                if member.header_offset != end or member.extra or member.comment:
                    raise ValueError(f"more than a file is at {member.filename!a}")
                end += _HEADER_SIZE + len(member.filename) + member.file_size
            if archive.start_dir != end:
                raise ValueError("something is before its list of files")
            return archive.read(name)
    except KeyError:
        raise FileNotFoundError(name) from None
    except PermissionError:
        raise
    except Exception as error:  # zipfile has no common class for what can be wrong with a file.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RunError(
            f"{shown}: not a file that slotfill pack wrote, or damaged ({reason})"
        ) from None


def _check_directory(file: BinaryIO) -> BinaryIO:
    """Return a zip file; raises ValueError if it has many members, which take long to read."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - _END_SIZE))
    end = file.read()
    if not end.startswith(b"PK\5\6"):
        raise ValueError("it is cut, or something follows it")
    if int.from_bytes(end[12:16], "little") > _MAX_DIRECTORY:
        raise ValueError("its list of files is too long")
    return file


def _entry(content: bytes) -> dict[str, Any]:
    return {"size": len(content), "sha256": sha256(content).hexdigest()}
