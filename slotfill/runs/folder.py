"""Writing of a run folder: `NAME.partial` while a run trains, renamed to `NAME` at the end.

A crash at any point loses nothing: the checkpoint stays until all files of the run, and then their
manifest, are written; from there on `--resume` only renames. A run that is replaced is moved into
`NAME.partial/replaced`, and removed after the new one has its name. `NAME.partial.lock` keeps other
processes out; one that a killed process has left is not locked. `--resume` verifies the files that
training began with against the manifest beside the checkpoint; earlier versions wrote none.
"""

from __future__ import annotations

import json
import shutil
import sys
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from slotfill.config.models import Config
from slotfill.data.vocab import Vocab
from slotfill.errors import RunError, UsageError
from slotfill.files import (
    check_no_link,
    check_no_links,
    is_special_file,
    parse_json,
    read_regular_file,
    real_path,
    write_in_folder,
)
from slotfill.runs.environment import environment, list_differences
from slotfill.runs.load import (
    check_run_folder,
    parse_run_config,
    parse_tensors,
    parse_vocab,
    partial_path,
)
from slotfill.runs.lock import LockedError, check_lock, is_locked, lock
from slotfill.runs.manifest import (
    CALIBRATION,
    ENVIRONMENT,
    FILES,
    HISTORY,
    VALUES,
    RunFiles,
    is_completed,
    render_manifest,
    write_run,
)
from slotfill.runs.sources import SOURCES, check_sources, render_sources
from slotfill.training.loggers.base import Logger
from slotfill.version import FORMAT

if TYPE_CHECKING:
    from torch import Tensor

    from slotfill.inference.calibration import Calibration
    from slotfill.model.ensemble import Model
    from slotfill.model.generators.base import Generator
    from slotfill.training.trainer import Trainer

_STATE = Path("checkpoint", "state.safetensors")
_MANIFEST = _STATE.with_name("manifest.json")
_BEGUN_WITH = ("config.yaml", "vocab.json", ENVIRONMENT, SOURCES)
"""The files that are written before training, and do not change until its end."""
_MAX_UNVERIFIED = 1 << 30
"""In bytes; of a text file whose size no manifest has."""
_REPLACED = "replaced"
_IN_USE = "{}: another process is training there; wait for it, or choose another --out"
_LOGS = Logger.folder


class RunFolder:
    """The folder that a run trains in.

    Attributes:
        out: The folder of the finished run.
        partial: The folder while it trains.
        config: Set by `create` or read from the stopped run.
        source: The folder with the checkpoint to resume from; None for a new run.
    """

    config: Config

    def __init__(self, out: Path, *, force: bool = False, resume: bool = False) -> None:
        """Prepare to train into `out`, or to `resume` a run that was stopped.

        Raises UsageError if something is there that must not be replaced, or nothing to resume.
        """
        # A link, `.` or `..` is resolved, so that the folder can be renamed.
        self.out = real_path(out) if out.is_symlink() or out.name in ("", "..") else out
        if not self.out.name or self.out.is_symlink():  # A link to itself.
            raise UsageError(f"{out} cannot be a run folder; choose another")
        if not resume and self.out.suffix == ".partial":
            raise UsageError(
                f"{out} cannot be a run folder: a folder is called .partial while its run trains;"
                " choose another --out"
            )
        if resume:
            self.out = self.out.with_name(self.out.name.removesuffix(".partial"))
        self.partial = partial_path(self.out)
        check_no_link(self.partial)
        self.force = force
        self.release: Callable[[], object] = lambda: None
        self.source = find_stopped_run(self.out) if resume else None
        self._files: RunFiles | None = None
        check_lock(self.partial)
        if not resume:
            self._check_replaceable(self.out, force=force)
            self._check_replaceable(self.partial, force=force)
        elif self.source is not None:
            self._lock()
            self.source = find_stopped_run(self.out)
            if self.source is None:  # Another process has just completed it.
                self.release()
                raise LockedError(_IN_USE.format(self.partial))
            check_no_links(self.source)
            if (self.source / _MANIFEST).exists():
                self._files = RunFiles(self.source, str(_MANIFEST))
            self.config = parse_run_config(self._read("config.yaml"), self.source)
            if not is_completed(self.source):
                content = self._read(SOURCES) if self._has(SOURCES) else None
                hint = "train again with another --out"
                check_sources(self.source / SOURCES, content, self.config.external_files, hint)
        elif self.partial.is_dir():
            raise UsageError(f"{self.partial} was stopped in its first epoch; train it again")
        else:
            check_run_folder(self.out)
            raise UsageError(f"{self.out} has no checkpoint: it was trained to its end")

    def complete(self) -> bool:
        """Rename the run if it was trained to its end but not renamed; return whether it was."""
        if self.source is None or not is_completed(self.source):
            return False
        self._publish()
        return True

    def _check_replaceable(self, path: Path, *, force: bool) -> None:
        """Raise UsageError if `path` is not a run folder, or is one and `force` is not given."""
        names = [entry.name for entry in path.iterdir()] if path.is_dir() else [path.name]
        if not path.exists() or not names:
            return
        is_partial = path == self.partial and path.is_dir()
        if is_partial and not self.is_locked and is_in_use(self.out):
            raise LockedError(_IN_USE.format(path))
        own_names = {*FILES, _STATE.parent.name, _REPLACED, _LOGS}
        foreign = [name for name in names if name not in own_names and not name.endswith(".new")]
        if foreign:
            raise UsageError(
                f"{path} is not a run folder ({min(foreign)}), so it is not replaced; choose"
                " another --out"
            )
        resumable = find_stopped_run(self.out) == path
        if force or (is_partial and not resumable):  # Its first epoch is nothing to lose.
            return
        resume = f"resume with --resume {self.out}, " if resumable else ""
        raise UsageError(
            f"{path} exists: {resume}replace it with --force, or choose another with --out DIR"
        )

    def create(self, config: Config, vocab: Vocab) -> None:
        """Make the partial folder with what is known before training."""
        self.config = config
        try:
            self.partial.parent.mkdir(parents=True, exist_ok=True)
            self._lock()
            if is_completed(self.partial):  # It is not deleted before this run is finished.
                check_no_links(self.partial)
                (self.partial / _REPLACED).mkdir(exist_ok=True)
                self._publish()
                self._lock()
            if self.source is None:
                self._check_replaceable(self.out, force=self.force)
            self._check_replaceable(self.partial, force=self.force)
            if self.partial.exists():
                shutil.rmtree(self.partial)
            (self.partial / _STATE).parent.mkdir(parents=True)
            if self.force or self.source is not None:
                (self.partial / _REPLACED).mkdir()
        except OSError as error:
            is_in_file = self.partial.parent.is_file()
            reason = "Not a directory" if is_in_file else error.strerror
            raise UsageError(f"cannot make the run folder {self.partial}: {reason}") from None
        write_in_folder(self.partial / "config.yaml", config.to_yaml())
        write_in_folder(self.partial / "vocab.json", render_vocab(vocab.to_json()))
        write_in_folder(self.partial / ENVIRONMENT, json.dumps(environment(), indent=1))
        if files := config.external_files:
            write_in_folder(self.partial / SOURCES, render_sources(files))
        self._write_manifest(_BEGUN_WITH)

    def _write_manifest(self, names: Iterable[str]) -> None:
        """Let `--resume` verify those of the files `names` that are there."""
        paths = [path for name in names if (path := self.partial / name).exists()]
        contents = {path.name: path.read_bytes() for path in paths}
        write_in_folder(self.partial / _MANIFEST, render_manifest(contents, completed=False))

    def _has(self, name: str) -> bool:
        """Return whether the stopped run has a file, or had it when training began."""
        assert self.source is not None
        is_listed = self._files is not None and self._files.has(name)
        return is_listed or (self.source / name).exists()

    def _read(self, name: str) -> bytes:
        """Return a file of the stopped run; raises RunError if it has changed."""
        assert self.source is not None
        if self._files is not None and self._files.has(name):
            return self._files[name]
        return _read(self.source / name)

    def _lock(self) -> None:
        """Keep other processes from training here until `release`, or until this object is gone."""
        if not self.is_locked:
            self.release = weakref.finalize(self, lock(self.partial, _IN_USE))

    @property
    def is_locked(self) -> bool:
        """Whether this object keeps other processes from training here."""
        return isinstance(self.release, weakref.finalize) and self.release.alive

    def list_differences(self) -> list[str]:
        """Return in what software and processor differ from those that the run began with."""
        if self.source is None or not self._has(ENVIRONMENT):
            return []
        content = self._read(ENVIRONMENT)
        try:
            return list_differences([parse_json(content, {}), environment()])
        except ValueError as error:
            path = self.source / ENVIRONMENT
            raise RunError(f"{path}: {error}; train the run again") from None

    def resources(self) -> dict[str, dict[str, Any]]:
        """Return what the parts of the stopped run read from files; nothing for a new run."""
        if self.source is None:
            return {}
        return parse_vocab(self._read("vocab.json"), self.source).resources

    def save_checkpoint(self, trainer: Trainer) -> None:
        """Save the state of `trainer` in one file, from which it continues bit for bit."""
        tensors, notes = trainer.state_dict()
        notes |= trainer.checksums
        write_in_folder(self.partial / _STATE, _add_checksum(_serialize(tensors, notes)))

    def load_checkpoint(self, trainer: Trainer) -> None:
        """Restore the state of `trainer`; raises RunError if the checkpoint does not fit it."""
        assert self.source is not None
        state = self.source / _STATE
        tensors, notes = parse_tensors(_read_checkpoint(state), state)
        if notes.pop("sha256", None) != _compute_checksum(tensors, notes):
            raise RunError(
                f"{state}: damaged or edited: it does not match its own checksum; restore it, or"
                " train the run again"
            )
        is_same_vocab = render_vocab(trainer.vocab.to_json()).encode() == self._read("vocab.json")
        for name, checksum in trainer.checksums.items():
            saved = notes.pop(name, checksum)  # Of older versions there is none.
            if saved != checksum or (name == "training sentences" and not is_same_vocab):
                raise RunError(
                    f"{self.source}: the {name} have changed since; restore them, or train"
                    " again with another --out"
                )
        try:
            trainer.load_state_dict(tensors, notes)
        except (RuntimeError, LookupError, ValueError, TypeError, AttributeError) as error:
            reason = str(error).strip().splitlines()[-1].strip()
            raise RunError(
                f"{self.source}: the checkpoint does not fit config.yaml ({reason})"
            ) from None
        if self.source == self.partial:
            self._write_manifest(_BEGUN_WITH)  # Of the config that may have been changed.
            return
        self.create(self.config, trainer.vocab)
        if (logs := self.source / _LOGS).is_dir():
            shutil.copytree(logs, self.partial / _LOGS, ignore=_list_special_files)

    def finalize(
        self,
        model: Model | Generator,
        vocab: Vocab,
        scores: dict[str, Any],
        calibration: Calibration,
        *,
        completed: bool,
    ) -> str:
        """Write the run and rename its folder; the checkpoint stays unless `completed`.

        Returns why the run is not exported, or an empty string if it is.
        """
        from slotfill.export.builder import ExportError
        from slotfill.export.to_onnx import export_model

        reason, models = "", dict[str, bytes]()
        if self.config.generator is None:
            try:
                models = export_model(
                    cast("Model", model), vocab, {"scheme": self.config.data.scheme}
                )
            except ExportError as error:
                reason = str(error)
        scores = {"format": FORMAT, **scores}
        contents = {
            "config.yaml": self.config.to_yaml(),
            "vocab.json": render_vocab(vocab.to_json()),
            CALIBRATION: calibration.to_json(),
            ENVIRONMENT: json.dumps(environment(), indent=1),
            "scores.json": json.dumps(scores, ensure_ascii=False, indent=1),
        }
        if vocab.values:
            contents[VALUES] = vocab.values.to_json()
        files = {name: text.encode() for name, text in contents.items()}
        for path in (self.partial / HISTORY, self.partial / SOURCES):
            if path.exists():
                files[path.name] = _read(path)
        files |= {"model.safetensors": _serialize(model.state_dict(), {}), **models}
        (self.partial / _MANIFEST).unlink(missing_ok=True)  # Some of its files are replaced now.
        write_run(self.partial, files, completed=completed)
        if not completed:
            self._write_manifest(_BEGUN_WITH)
        self._publish()
        return reason

    def _publish(self) -> None:
        """Rename the partial folder, and remove what the finished run does not need."""
        replaced = self.partial / _REPLACED
        try:
            if self.partial.exists():
                if self.out.exists():
                    # Checked again, since it may have been written while this run trained.
                    self._check_replaceable(self.out, force=replaced.is_dir())
                    replaced.mkdir(exist_ok=True)
                    self.out.rename(replaced / "run")
                self.partial.rename(self.out)
            self.release()
        except (UsageError, OSError) as error:
            self.release()
            reason = getattr(error, "strerror", None) or f"{self.out} is in the way"
            raise RunError(
                f"the finished run is {self.partial}, which cannot be renamed ({reason}); correct"
                f" that, and then: slotfill train --resume {self.out}"
            ) from None
        if is_completed(self.out):
            shutil.rmtree(self.out / _STATE.parent, ignore_errors=True)
        shutil.rmtree(self.out / _REPLACED, ignore_errors=True)
        with suppress(RunError):
            RunFiles(self.out).settle()
        for temporary in self.out.glob("*.new"):  # Of a process that was killed.
            temporary.unlink()

    @property
    def has_checkpoint(self) -> bool:
        """Whether training can be resumed."""
        return (self.partial / _STATE).is_file()

    def discard(self) -> None:
        """Remove the folder of a failed training, or let its config be changed to resume it."""
        if self.has_checkpoint:
            with suppress(OSError, RunError):
                self._write_manifest(name for name in _BEGUN_WITH if name != "config.yaml")
        else:
            shutil.rmtree(self.partial, ignore_errors=True)
        self.release()


def find_stopped_run(out: Path) -> Path | None:
    """Return the folder of a run that `--resume` continues or completes; None if there is none."""
    for folder in (partial_path(out), out):
        if is_completed(folder):
            leftovers = [*folder.glob("*.new"), folder / _STATE.parent, folder / _REPLACED]
            return folder if folder != out or any(map(Path.exists, leftovers)) else None
        if (folder / _STATE).is_file():
            return folder
    return None


def is_in_use(out: Path) -> bool:
    """Return whether a process trains the run `out` now."""
    return is_locked(partial_path(out))


def _read(path: Path, max_size: int = _MAX_UNVERIFIED) -> bytes:
    try:
        if path.stat().st_size > max_size:
            raise MemoryError
        return read_regular_file(path, range(max_size + 1))
    except (OSError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or "it is too large"
        raise RunError(f"{path}: {reason}; train the run again") from None


def _read_checkpoint(path: Path) -> bytes:
    """Return the content of the checkpoint `path`, which is as long as its header says."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np"):
            pass
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path}: not a safetensors file ({error}); train the run again") from None
    return _read(path, sys.maxsize - 1)


def _list_special_files(folder: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if is_special_file(Path(folder, name))]


def _serialize(tensors: dict[str, Tensor], notes: dict[str, str]) -> bytes:
    from safetensors.torch import save

    # One note holds all: safetensors writes several in any order, but equal runs are equal files.
    return save(tensors, {"slotfill": json.dumps(notes)})


def _add_checksum(content: bytes) -> bytes:
    """Return a file of `_serialize` with `_compute_checksum` among its notes."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    notes = json.loads(header["__metadata__"]["slotfill"])
    notes["sha256"] = sha256(content).hexdigest()
    header["__metadata__"]["slotfill"] = json.dumps(notes)
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # The tensors are aligned.
    return b"".join([len(text).to_bytes(8, "little"), text, memoryview(content)[start:]])


def _compute_checksum(tensors: dict[str, Tensor], notes: dict[str, str]) -> str:
    return sha256(_serialize(tensors, notes)).hexdigest()


def render_vocab(data: Mapping[str, Any]) -> str:
    """Return the content of vocab.json, whose data `Vocab.to_json` gives."""
    return json.dumps(data, ensure_ascii=False, indent=1) + "\n"
