"""Runs on the Hugging Face Hub: the files of a packed run are the files of a model repository.

huggingface_hub finds the access token of the user and keeps what it downloads in its cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slotfill.errors import RunError, UsageError
from slotfill.extras import required_for
from slotfill.runs.manifest import PACKED_FILES

SCHEME = "hf:"
"""What the address of a run on the Hub begins with, as `hf://USER/NAME`."""


def is_on_hub(path: Path) -> bool:
    """Return whether `path` is the address of a run on the Hub."""
    return path.parts[:1] == (SCHEME,)


def download_run(path: Path) -> Path:
    """Return the local folder of the run `hf://USER/NAME` or `hf://USER/NAME@REVISION`.

    Raises UsageError if it is no such address, and RunError if it cannot be downloaded.
    """
    repository, _, revision = "/".join(path.parts[1:]).partition("@")
    _check_repository(repository)
    hub, files = _import_library(f"hf://{repository}"), [*PACKED_FILES]
    try:
        folder = hub.snapshot_download(repository, revision=revision or None, allow_patterns=files)
        return Path(folder)
    except Exception as error:  # Those of the HTTP library, of the Hub, and of the file system.
        raise RunError(f"hf://{repository}: {_first_line(error)}") from None


def upload_run(contents: Mapping[str, bytes], repository: str, *, private: bool) -> str:
    """Upload files to the `repository` USER/NAME in one commit; return its web address.

    A new repository is made, `private` or not. Raises UsageError if it is no name of a repository,
    and RunError if the Hub refuses.
    """
    _check_repository(repository)
    hub = _import_library("push")
    files = [hub.CommitOperationAdd(name, content) for name, content in contents.items()]
    api = hub.HfApi()
    try:
        address = api.create_repo(repository, private=private, exist_ok=True)
        api.create_commit(repository, files, commit_message="Add a run of slotfill")
    except Exception as error:
        raise RunError(f"{repository}: {_first_line(error)}") from None
    return str(address)


def _import_library(purpose: str) -> Any:
    with required_for(purpose):
        import huggingface_hub.utils
    huggingface_hub.utils.disable_progress_bars()  # Its bars are for larger files.
    return huggingface_hub


def _check_repository(name: str) -> None:
    if len(name.split("/")) != 2 or not all(name.split("/")):
        raise UsageError(f"{name}: a run on the Hugging Face Hub is USER/NAME, as hf://USER/NAME")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
