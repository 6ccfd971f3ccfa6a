"""Folders: the files in which a corpus has its splits."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from slotfill.data.detection import FormatPart, build_format, format_from_suffix, list_formats
from slotfill.errors import DataError
from slotfill.files import nearest_in_folder

_SHARD = re.compile(r"(.+)-\d{5}-of-(\d{5})(-\w+)?(\.\w+)")
_SHARDS = re.compile(r".+-\*-of-(\d{5})(?:-\*)?\.\w+")
"""The names of one of several files of a split, and of all together."""

_NOT_SPLITS = ("README", "dataset_dict", "dataset_info", "dataset_infos", "state")
"""What files beside the splits are called, which end like a format."""

UNNAMED_SPLIT = "train"
"""The split of sentences without one in a file that names those of others."""

_SPLIT_ALIASES = {"dev": "valid", "development": "valid", "validation": "valid"}


def list_splits(folder: Path, format: FormatPart = None) -> list[str]:
    """Return the sorted names of the splits of a corpus: files and folders named after a format."""
    return sorted({split for split, path in _split_paths(folder) if _is_split(path, format)})


def is_corpus(path: Path) -> bool:
    """Return whether `path` is a folder of splits, and not one split, as in format jointslu."""
    return path.is_dir() and format_from_suffix(path) is None


def list_file_splits(path: Path, format: FormatPart = None) -> list[str]:
    """Return the sorted names of the splits of a file that names those of its sentences."""
    if not path.is_file():
        return []
    part = build_format(path, format)
    if not part.names_splits:
        return []
    splits = {each.split for each in part.read(path, scheme="iob2") if not each.problems}
    if not any(splits):
        return []
    return sorted({canonical_split(split or UNNAMED_SPLIT) for split in splits})


def find_split(folder: Path, split: str, format: FormatPart = None) -> Path | None:
    """Return the file (or folder) of a split of the corpus `folder`, or None."""
    name = canonical_split(split)
    entries = [path for each, path in _split_paths(folder) if each == name]
    paths = [path for path in entries if _is_split(path, format)]
    # A file such as train.txt has its format in its content or in the config.
    paths = paths or [path for path in entries if path.is_file()]
    if len(paths) > 1:
        names = " and ".join(path.name for path in paths)
        raise DataError(
            f"{folder}: {names} could both be the split '{split}'; keep one, or set data.format"
        )
    return paths[0] if paths else None


def list_shards(path: Path) -> list[Path]:
    """Return the files of a split in several, whose name has a `*` for the number; else `path`.

    Raises DataError if one is missing.
    """
    if not (shards := _SHARDS.fullmatch(path.name)):
        return [path]
    files = sorted(path.parent.glob(path.name))
    if len(files) != int(shards[1]):
        raise DataError(f"{path}: only {len(files)} of {int(shards[1])} files; add the others")
    return files


def split_name(path: Path) -> str:
    """Return the name of the split that the file (or folder) `path` is called after."""
    return canonical_split(path.name if path.is_dir() else path.stem)


def _is_split(path: Path, format: FormatPart) -> bool:
    if format in (None, "auto"):
        with suppress(DataError):  # What is wrong with the file is said when it is read.
            return format_from_suffix(path) is not None
    return any(part.recognizes(path) for _, part in list_formats(format))


def _split_paths(folder: Path) -> list[tuple[str, Path]]:
    """Return the files and folders in `folder`, sorted, each after the name of its split."""
    if not folder.is_dir():
        if folder.exists():
            raise DataError(f"{folder}: a file where a folder is expected")
        raise DataError(f"{folder}: no such folder{nearest_in_folder(folder)}")
    paths = []
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(".") and path.stem not in _NOT_SPLITS:
            name = path.name if path.is_dir() else path.stem
            if (shard := _SHARD.fullmatch(path.name)) and path.is_file():
                name, count, *rest = shard.groups("")
                if int(count) > 1:
                    path = path.with_name(f"{name}-*-of-{count}{'-*' * bool(rest[0])}{rest[1]}")
            paths.append((canonical_split(name), path))
    if (folder / "data").is_dir() and "train" not in dict(paths):
        paths += _split_paths(folder / "data")
    return list(dict.fromkeys(paths))


def canonical_split(split: str) -> str:
    """Return the name by which slotfill calls a split."""
    return _SPLIT_ALIASES.get(split.lower(), split)
