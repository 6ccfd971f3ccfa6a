"""The writing of a run folder: made while a run trains, and given its name when it is whole."""

from __future__ import annotations

import csv
import io
import json
import os
import platform
import shutil
import sys
import weakref
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from datetime import datetime, timezone
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from slotfill.config.models import Config
from slotfill.data.vocab import Vocab
from slotfill.errors import RunError, UsageError
from slotfill.files import write_whole
from slotfill.inference.onnx_engine import ONNX
from slotfill.runs.load import (
    FILES,
    check_run_folder,
    partial_path,
    read_config,
    read_tensors,
    read_text,
    read_vocab,
    sha256_text,
    text_settings,
)
from slotfill.version import FORMAT, __version__

if TYPE_CHECKING:
    from torch import Tensor

    from slotfill.training.trainer import Epoch, Training

_ALL = {*FILES, *ONNX, "history.csv", "scores.json", "environment.json", "checkpoint"}
_STATE = Path("checkpoint", "state.safetensors")


class RunFolder:
    """The folder of a run that trains: `out` once it is whole, `out.partial` until then."""

    def __init__(self, out: Path, *, force: bool = False) -> None:
        """Raises UsageError where something is in the way that `force` may not, or is not told to,
        replace.
        """
        self.out = _resolve(out)
        self.partial = partial_path(self.out)
        self.force = force
        self.resumed = self.copied = False
        for path in (self.out, self.partial):
            self._check(path)

    def _check(self, path: Path) -> None:
        entries = (
            {entry.name.removesuffix(".new") for entry in path.iterdir()}
            if path.is_dir()
            else {path.name}
        )
        if not path.exists() or not entries:
            return
        if path == self.partial and path.is_dir():
            _lock_folder(path)()
        if foreign := sorted(entries - _ALL):
            raise UsageError(
                f"{path} is not a run folder ({foreign[0]}), so it is not replaced; choose another"
                " --out"
            )
        if path == self.partial and not (path / _STATE).is_file():
            return  # Stopped before its first epoch was done, so there is nothing to lose.
        if not self.force:
            resume = f"go on with --resume {self.out}, " if (path / _STATE).is_file() else ""
            raise UsageError(
                f"{path} exists: {resume}replace it with --force, or choose another with --out DIR"
            )

    def create(self, config: Config, vocab: Vocab) -> None:
        """Make the partial folder with what is known before training."""
        try:
            self._check(self.partial)
            if self.partial.exists():
                shutil.rmtree(self.partial)
            (self.partial / _STATE).parent.mkdir(parents=True)
            self._lock()
        except OSError as fault:
            raise UsageError(
                f"cannot make the run folder {self.partial}: {fault.strerror}"
            ) from None
        write_whole(self.partial / "config.yaml", config.to_yaml())
        write_whole(self.partial / "vocab.json", _vocab_text(vocab))

    def _lock(self) -> None:
        """Keep other processes from training here until `release`, or until this object is gone."""
        self.release = weakref.finalize(self, _lock_folder(self.partial))

    @classmethod
    def resume(cls, out: Path) -> tuple[RunFolder, Config]:
        """Return the folder of a stopped run and its config. Raises UsageError where there is no
        checkpoint.
        """
        folder = cls.__new__(cls)
        out = _resolve(out)
        folder.out = out.with_name(out.name.removesuffix(".partial"))
        folder.partial = partial_path(folder.out)
        folder.force = folder.resumed = True
        folder.copied = False
        if folder.partial.is_dir():
            if not (folder.partial / _STATE).is_file():
                raise UsageError(f"{folder.partial} was stopped in its first epoch; train it anew")
        else:
            check_run_folder(folder.out)
            if not (folder.out / _STATE).is_file():
                raise UsageError(f"{folder.out} has no checkpoint: it was trained to its end")
            with TemporaryDirectory(prefix=".slotfill-", dir=folder.out.parent) as room:
                shutil.copytree(folder.out, Path(room, "run")).rename(folder.partial)
            folder.copied = True
        folder._lock()
        return folder, read_config(folder.partial)

    def resources(self) -> dict[str, dict[str, Any]]:
        """Return what the parts of the stopped run have kept of files."""
        return read_vocab(self.partial)[0].kept

    def save_checkpoint(self, training: Training) -> None:
        """Save the state of `training`, in one file, from which it can go on to the bit."""
        tensors, notes = training.state()
        _save(self.partial / _STATE, tensors, notes)

    def load_checkpoint(self, training: Training) -> None:
        """Bring `training` to where the checkpoint stands; raises RunError where the two do not
        fit.
        """
        try:
            tensors, notes = read_tensors(self.partial / _STATE)
            if _vocab_text(training.vocab) != read_text(self.partial / "vocab.json"):
                raise RunError(
                    f"{self.partial}: the training sentences have changed since; put them back as"
                    " they were, or start anew with another --out"
                )
            training.restore(tensors, notes)
        except RunError:
            if self.copied:
                shutil.rmtree(self.partial, ignore_errors=True)
            raise
        except (RuntimeError, KeyError, ValueError) as fault:
            reason = str(fault).strip().splitlines()[-1].strip()
            raise RunError(
                f"{self.partial}: the checkpoint does not fit config.yaml ({reason})"
            ) from None

    def finalize(self, training: Training, scores: dict[str, Any], *, completed: bool) -> str:
        """Write the rest of the run and give the folder its name; the checkpoint stays where not
        `completed`.

        Returns why the run is not exported, or nothing where it is.
        """
        digest = sha256_text(read_text(self.partial / "vocab.json"))
        _save(self.partial / "model.safetensors", training.best_weights, {"vocab": digest})
        fault = _export(self.partial, training, digest)
        write_whole(self.partial / "history.csv", _history(training.history))
        write_whole(self.partial / "environment.json", json.dumps(environment(), indent=1))
        scores = {"format": FORMAT, **scores}
        write_whole(self.partial / "scores.json", json.dumps(scores, ensure_ascii=False, indent=1))
        if completed:
            shutil.rmtree(self.partial / "checkpoint", ignore_errors=True)
        # Looked at again, since training takes long enough for another run to have taken the name.
        try:
            self._check(self.out)
        except UsageError as fault:
            raise RunError(f"{fault}; the run that was trained is {self.partial}") from None
        with TemporaryDirectory(prefix=".slotfill-", dir=self.out.parent) as room:
            if self.out.exists():
                self.out.rename(Path(room, "old"))
            self.partial.rename(self.out)
        self.release()
        return fault

    def discard(self) -> None:
        """Remove the partial folder of a run that came to nothing; one that was resumed had come to
        something.
        """
        if not self.resumed:
            shutil.rmtree(self.partial, ignore_errors=True)
        self.release()


def _export(folder: Path, training: Training, digest: str) -> str:
    """Write the trained network into `folder` for ONNX Runtime, or leave no such files and return
    why.
    """
    from slotfill.export.builder import ExportError
    from slotfill.export.to_onnx import export_model

    texts = text_settings(read_config(folder, executes=False))
    try:
        for name, model in export_model(training.averaged, training.vocab, digest, texts).items():
            write_whole(folder / name, model)
    except ExportError as fault:
        for name in ONNX:
            (folder / name).unlink(missing_ok=True)
        return str(fault)
    return ""


def _lock_folder(folder: Path) -> Callable[[], None]:
    """Lock `folder` and return what unlocks it; raises UsageError where another has it locked."""
    try:
        import fcntl
    except ImportError:  # Windows has no such locks.
        return lambda: None
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise UsageError(
            f"{folder}: another process is training there; wait for it, or choose another --out"
        ) from None
    return partial(os.close, lock)


def _resolve(out: Path) -> Path:
    """Return `out` by its own name, that can be given to another folder: what a link leads to, or
    `.` means.
    """
    place = out.resolve() if out.is_symlink() or out.name in ("", "..") else out
    if not place.name:
        raise UsageError(f"{out} cannot be a run folder; choose another")
    return place


def _save(path: Path, tensors: dict[str, Tensor], notes: dict[str, str]) -> None:
    from safetensors.torch import save

    # One note that holds all, since safetensors writes several in any order, and equal runs are
    # equal files.
    write_whole(path, save(tensors, {"slotfill": json.dumps({"format": FORMAT, **notes})}))


def _vocab_text(vocab: Vocab) -> str:
    return json.dumps(vocab.to_json(), ensure_ascii=False, indent=1) + "\n"


def _history(epochs: Sequence[Epoch]) -> str:
    text = io.StringIO()
    names = [
        field.name for field in fields(epochs[0]) if getattr(epochs[0], field.name) is not None
    ]
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(epoch) for epoch in epochs)
    return text.getvalue()


def environment() -> dict[str, Any]:
    """Return what a run was trained with: versions, machine, time."""
    import torch

    packages = ["torch", "onnxruntime", "numpy", "seqeval", "safetensors"]
    packages += [name for name in ("transformers", "gensim") if name in sys.modules]
    return {
        "format": FORMAT,
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "versions": {"slotfill": __version__, **{name: version(name) for name in packages}},
    }
