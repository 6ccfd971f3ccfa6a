"""A run folder: everything that a trained model is, as files people can read, saved whole or not at all.

`config.yaml` (complete), `vocab.json`, `model.safetensors`, `history.csv`, `scores.json`, `environment.json`.
While a run trains, its folder is called `NAME.partial` and holds `checkpoint/`, from which `--resume` goes on.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slotfill import __version__
from slotfill.config import FORMAT, Config, load_config
from slotfill.errors import RunError, UsageError, did_you_mean
from slotfill.vocab import Vocab

if TYPE_CHECKING:
    from slotfill.model import SlotTagger
    from slotfill.train import Epoch, Training

FILES = ("config.yaml", "vocab.json", "model.safetensors", "scores.json")


@dataclass(slots=True)
class Run:
    """A trained model with what it was trained from."""

    path: Path
    config: Config
    vocab: Vocab
    model: SlotTagger


def load_run(path: Path, device: str = "cpu") -> Run:
    """Return the run in the folder `path`, its model ready to predict.

    Raises UsageError when there is no such folder and RunError when it is not a whole run of this version.
    """
    check_run_folder(path)
    missing = [name for name in FILES if not (path / name).is_file()]
    if missing:
        raise RunError(f"{path}: not a whole run folder: {', '.join(missing)} missing; train it again")
    config = _config(path)
    vocab = _vocab(path)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    model = build_model(config, vocab)
    try:
        model.load_state_dict(load_file(path / "model.safetensors"))
    except (SafetensorError, RuntimeError) as fault:
        reason = str(fault).strip().splitlines()[-1].strip()
        raise RunError(
            f"{path / 'model.safetensors'}: the weights do not fit config.yaml and vocab.json, or are cut short "
            f"({reason}); train the run again"
        ) from None
    return Run(path, config, vocab, model.to(device).eval())


def build_model(config: Config, vocab: Vocab) -> SlotTagger:
    """Return the model that `config` describes, with weights drawn anew."""
    from slotfill.model import SlotTagger

    return SlotTagger(vocab, config.embedding, config.encoder, config.tagger)


def check_run_folder(path: Path) -> None:
    """Raise UsageError, naming the nearest run, where `path` is not a folder."""
    if path.is_dir():
        return
    if path.exists():
        raise UsageError(f"{path} is a file; a run is the folder that `slotfill train` wrote")
    beside = path.parent if path.parent.is_dir() else Path()
    runs = [str(folder.parent) for folder in (*beside.glob("*/config.yaml"), *Path("runs").glob("*/config.yaml"))]
    raise UsageError(f"no run folder {path}{did_you_mean(str(path), set(runs))}")


def _config(path: Path) -> Config:
    name = path / "config.yaml"
    return load_config(_text(name), str(name), folder=path)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise RunError(f"{path}: not UTF-8, so not what slotfill wrote; train the run again") from None


def _vocab(path: Path) -> Vocab:
    name = path / "vocab.json"
    try:
        data = json.loads(_text(name))
        if data["format"] != FORMAT:
            raise RunError(f"{name}: of format {data['format']}; this version of slotfill reads format {FORMAT}")
        return Vocab.from_json(data)
    except (json.JSONDecodeError, KeyError, TypeError) as fault:
        raise RunError(f"{name}: not a whole vocabulary ({fault}); train the run again") from None


class RunFolder:
    """The folder of a run that trains: `out` once it is whole, `out.partial` until then."""

    def __init__(self, out: Path, *, force: bool = False) -> None:
        """Raises UsageError where something is in the way that `force` may not, or is not told to, replace."""
        self.out = out
        self.partial = out.with_name(out.name + ".partial")
        for path in (self.out, self.partial):
            if path.exists() and not force:
                advice = f"go on with --resume {out}, " if (path / "checkpoint").is_dir() else ""
                raise UsageError(f"{path} exists: {advice}replace it with --force, or choose another with --out DIR")
            if path.exists() and not _is_run(path):
                raise UsageError(f"{path} is not a run folder, so --force does not replace it; choose another --out")

    def begin(self, config: Config, vocab: Vocab) -> None:
        """Make the partial folder with what is known before training."""
        if self.partial.exists():
            shutil.rmtree(self.partial)
        try:
            (self.partial / "checkpoint").mkdir(parents=True)
        except OSError as fault:
            raise UsageError(f"cannot make the run folder {self.partial}: {fault.strerror}") from None
        self._write("config.yaml", config.to_yaml())
        self._write("vocab.json", json.dumps(vocab.to_json(), ensure_ascii=False, indent=1))

    @classmethod
    def resume(cls, out: Path) -> tuple[RunFolder, Config]:
        """Return the folder of a stopped run and its config. Raises UsageError where there is no checkpoint."""
        folder = cls.__new__(cls)
        folder.out = out.with_name(out.name.removesuffix(".partial"))
        folder.partial = folder.out.with_name(folder.out.name + ".partial")
        if not folder.partial.is_dir():
            check_run_folder(folder.out)
            if not (folder.out / "checkpoint" / "state.safetensors").is_file():
                raise UsageError(f"{folder.out} has no checkpoint: it was trained to its end")
            shutil.copytree(folder.out, folder.partial)
        elif not (folder.partial / "checkpoint" / "state.safetensors").is_file():
            raise UsageError(
                f"{folder.partial} has no checkpoint: it stopped in its first epoch; start anew with --force"
            )
        return folder, _config(folder.partial)

    def checkpoint(self, training: Training) -> None:
        """Save the state of `training`, in one file, from which it can go on to the bit."""
        from safetensors.torch import save_file

        tensors, notes = training.state()
        path = self.partial / "checkpoint" / "state.safetensors"
        save_file(tensors, path.with_suffix(".new"), {"format": str(FORMAT), **notes})
        path.with_suffix(".new").replace(path)

    def restore(self, training: Training) -> None:
        """Bring `training` to where the checkpoint stands."""
        from safetensors import safe_open

        with safe_open(self.partial / "checkpoint" / "state.safetensors", "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            training.restore(tensors, file.metadata())

    def finish(self, training: Training, scores: dict[str, Any], *, whole: bool) -> None:
        """Write the rest of the run and give the folder its name; the checkpoint stays where not `whole`."""
        from safetensors.torch import save_file

        save_file(training.best_weights, self.partial / "model.safetensors", {"format": str(FORMAT)})
        self._write_history(training.history)
        self._write("environment.json", json.dumps(environment(), indent=1))
        self._write("scores.json", json.dumps({"format": FORMAT, **scores}, ensure_ascii=False, indent=1))
        if whole:
            shutil.rmtree(self.partial / "checkpoint", ignore_errors=True)
        if self.out.exists():
            old = self.out.with_name(self.out.name + ".old")
            self.out.rename(old)
            self.partial.rename(self.out)
            shutil.rmtree(old)
        else:
            self.partial.rename(self.out)

    def discard(self) -> None:
        """Remove the partial folder of a run that came to nothing."""
        shutil.rmtree(self.partial, ignore_errors=True)

    def _write(self, name: str, text: str) -> None:
        with (self.partial / name).open("w", encoding="utf-8", newline="\n") as file:
            file.write(text if text.endswith("\n") else text + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _write_history(self, history: Sequence[Epoch]) -> None:
        with (self.partial / "history.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(history[0])], lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(epoch) for epoch in history)


def _is_run(path: Path) -> bool:
    return path.is_dir() and (path / "config.yaml").is_file() and (path / "vocab.json").is_file()


def environment() -> dict[str, Any]:
    """Return what a run was trained with: versions, machine, time."""
    import torch

    packages = ("torch", "numpy", "seqeval", "safetensors")
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
