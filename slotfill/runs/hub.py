"""Runs on the Hugging Face Hub: the files of a packed run are the files of a model repository.

huggingface_hub finds the access token of the user and keeps what it downloads in its cache.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slotfill.errors import RunError, UsageError
from slotfill.extras import required_for
from slotfill.runs.manifest import PACKED_FILES

SCHEME = "hf:"
"""What the address of a run on the Hub begins with, as `hf://USER/NAME`."""

_LETTERS = "of the letters a to z, digits, and . - _ between them"

_PROBLEMS = {
    "GatedRepoError": "ask its owner for access, on its page; to log in: hf auth login",
    "RepositoryNotFoundError": "no such repository, or a private one; to log in: hf auth login",
    "RevisionNotFoundError": "the repository has no such branch, tag or commit",
    "OfflineModeIsEnabled": "the variable HF_HUB_OFFLINE forbids the network",
    "LocalEntryNotFoundError": "the Hub cannot be reached, and the run is not in the local cache",
    "TransportError": "the Hub cannot be reached; is there a network?",
    401: "the Hub does not know who you are; to log in: hf auth login",
    403: "your account or its token has no right to this; its rights are at hf.co/settings/tokens",
}
"""Errors of huggingface_hub, that of its HTTP library for connections, and codes of HTTP, in words.
"""


def is_on_hub(path: Path) -> bool:
    """Return whether `path` is the address of a run on the Hub."""
    return path.parts[:1] == (SCHEME,)


def download_run(path: Path) -> Path:
    """Return the local folder of the run `hf://USER/NAME` or `hf://USER/NAME@REVISION`.

    Raises UsageError if it is no such address, and RunError if it cannot be downloaded.
    """
    address = f"hf://{'/'.join(path.parts[1:])}"
    repository, at, revision = "/".join(path.parts[1:]).partition("@")
    if not _is_repository(repository) or (at and not revision):
        raise UsageError(f"{address}: a run on the Hugging Face Hub is hf://USER/NAME, {_LETTERS}")
    hub, files = _import_library(address), [*PACKED_FILES]
    try:
        folder = hub.snapshot_download(repository, revision=revision or None, allow_patterns=files)
        return Path(folder)
    except Exception as error:  # Those of the HTTP library, of the Hub, and of the file system.
        raise RunError(f"{address}: {_describe(error)}") from None


def upload_run(contents: Mapping[str, bytes], repository: str, *, private: bool) -> str:
    """Upload files to the `repository` USER/NAME in one commit; return its web address.

    A new repository is made, `private` or not. Raises UsageError if it is no name of a repository,
    and RunError if the Hub refuses.
    """
    if not _is_repository(repository):
        raise UsageError(f"{repository}: a repository to push to is USER/NAME, {_LETTERS}")
    hub = _import_library("push")
    files = [hub.CommitOperationAdd(name, content) for name, content in contents.items()]
    api = hub.HfApi()
    try:
        address = api.create_repo(repository, private=private, exist_ok=True)
        api.create_commit(repository, files, commit_message="Add a run of slotfill")
    except Exception as error:
        raise RunError(f"{repository}: {_describe(error)}") from None
    return str(address)


def _import_library(purpose: str) -> Any:
    with required_for(purpose):
        import huggingface_hub.utils
    huggingface_hub.utils.disable_progress_bars()  # Its bars are for larger files.
    return huggingface_hub


def _is_repository(name: str) -> bool:
    parts = name.split("/")
    return len(parts) == 2 and all(re.fullmatch(r"\w([\w.-]*\w)?", part, re.A) for part in parts)


def _describe(error: BaseException) -> str:
    """Return what went wrong in one line."""
    kinds = [kind.__name__ for kind in type(error).__mro__]
    if "LocalEntryNotFoundError" in kinds and hasattr(error.__cause__, "response"):
        assert error.__cause__ is not None  # The Hub was reached, and refused.
        return _describe(error.__cause__)
    for key in (*kinds, getattr(getattr(error, "response", None), "status_code", None)):
        if key in _PROBLEMS:
            return _PROBLEMS[key]
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
