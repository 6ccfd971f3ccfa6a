"""A run folder: everything that a trained model is, as files people can read, saved whole or not at
all.

`config.yaml` (complete), `vocab.json`, `model.safetensors`, `embedding.onnx`, `model.onnx`,
`history.csv`, `scores.json`, `environment.json`. While a run trains, its folder is called
`NAME.partial` and holds `checkpoint/`, from which `--resume` goes on.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slotfill.data.vocab import Vocab
from slotfill.errors import ConfigError, RunError, UsageError, did_you_mean
from slotfill.inference.engine import Engine, EngineName
from slotfill.inference.onnx_engine import ONNX, OnnxEngine
from slotfill.version import FORMAT

if TYPE_CHECKING:
    from torch import Tensor

    from slotfill.config.models import Config
    from slotfill.model.ensemble import Model

FILES = ("config.yaml", "vocab.json", "model.safetensors")
"""What a run cannot do without; the others are for people, but for `ONNX`, which predict without
torch.
"""

logger = logging.getLogger(__name__)


class Run:
    """A trained model with what it was trained from; `tokenizer` and `scheme` are those of its
    texts.
    """

    def __init__(self, path: Path, vocab: Vocab, engine: Engine, texts: Mapping[str, str]) -> None:
        self.path = path
        self.vocab = vocab
        self.engine = engine
        self.tokenizer = vocab.tokenizer
        self.scheme = texts["scheme"]

    @cached_property
    def config(self) -> Config:
        """Its config; read when it is asked for, since a prediction needs none. Raises RunError, as
        `load_run` does.
        """
        return read_config(self.path, executes=False)


def load_run(path: Path, device: str = "cpu", engine: EngineName = "auto") -> Run:
    """Return the run in the folder `path`, its model ready to predict, on ONNX Runtime where
    `engine` lets it.

    With "auto" that is where `device` is the CPU and the run is exported; otherwise torch computes.
    A part from outside is executed by torch, which is logged as a warning. Raises UsageError when
    there is no such folder, or it is not exported where ONNX is asked for, and RunError when it is
    not a whole run of this version.
    """
    check_run_folder(path)
    without_torch = engine == "onnx" or (engine == "auto" and device == "cpu" and is_exported(path))
    if engine == "onnx" and not is_exported(path):
        raise UsageError(
            f"{path} has no {' and '.join(ONNX)}; make them with: slotfill export {path}, or take"
            " engine torch"
        )
    if without_torch and device != "cpu":
        raise UsageError(f"engine onnx computes on the CPU, not on {device}; take engine torch")
    needed = [*FILES[:2], *ONNX] if without_torch else FILES
    missing = [name for name in needed if not (path / name).is_file()]
    if missing:
        raise RunError(
            f"{path}: not a whole run folder: {', '.join(missing)} missing; train it again"
        )
    if without_torch:
        vocab, digest = read_vocab(path)
        onnx = OnnxEngine(path, vocab, digest)
        return Run(path, vocab, onnx, onnx.texts)
    config = read_config(path)
    vocab, digest = read_vocab(path)
    run = Run(
        path,
        vocab,
        _torch_model(path, config, vocab, digest).to(device).eval(),
        text_settings(config),
    )
    run.config = config
    return run


def is_exported(path: Path) -> bool:
    """Tell whether the run in `path` has what predicts without torch."""
    return all((path / name).is_file() for name in ONNX)


def text_settings(config: Config) -> dict[str, str]:
    """Return what a prediction has to know of the texts that `config` is for."""
    return {"scheme": config.data.scheme}


def _torch_model(path: Path, config: Config, vocab: Vocab, digest: str) -> Model:
    """Return the network with the weights of the run in `path`."""
    weights, notes = read_tensors(path / "model.safetensors")
    if digest != notes.get("vocab"):
        name = path / "vocab.json"
        raise RunError(
            f"{name}: not the vocabulary that the weights were trained with; train the run again"
        )
    from slotfill.model.build import build_model

    model = build_model(config, vocab)
    try:
        model.load_state_dict(weights)
    except RuntimeError as fault:
        reason = str(fault).strip().splitlines()[1].strip()
        raise RunError(
            f"{path / 'model.safetensors'}: the weights do not fit config.yaml ({reason}); train"
            " the run again"
        ) from None
    return model


def check_run_folder(path: Path) -> None:
    """Raise UsageError, naming the nearest run, where `path` is not a folder."""
    if path.is_dir():
        return
    if path.exists():
        raise UsageError(f"{path} is a file; a run is the folder that `slotfill train` wrote")
    if partial_path(path).is_dir():
        raise UsageError(
            f"{path} is still training, or was stopped; go on with: slotfill train --resume {path}"
        )
    folders = (path.parent, path.parent / "runs")
    runs = {
        str(file.parent)
        for folder in folders
        for file in folder.glob("*/config.yaml")
        if file.parent.suffix != ".partial"
    }
    raise UsageError(f"no run folder {path}{did_you_mean(str(path), runs)}")


def read_config(path: Path, *, executes: bool = True) -> Config:
    """Return the config of the run in `path`, and log which files from outside it executes, if it
    does.
    """
    from slotfill.config.models import external_part_files
    from slotfill.config.validate import parse_config
    from slotfill.config.yaml_reader import parse

    name = path / "config.yaml"
    text = read_text(name)
    try:
        config = parse_config(text, str(name), folder=path)
        cut = sorted(_missing(config.model_dump(), parse(text, str(name))[0]))
    except ConfigError as fault:
        raise RunError(f"{fault.faults[0]}; mend it, or train the run again") from None
    if cut:
        raise RunError(f"{name}: cut short: {', '.join(cut[:5])} missing; train the run again")
    for file in external_part_files(config.model_dump()) if executes else ():
        logger.warning("slotfill: the run %s executes %s", path, file)
    return config


def _missing(whole: Any, given: Any, path: str = "") -> Iterator[str]:
    """Yield the keys of `whole` that are not in `given`: a saved config is complete."""
    pairs = (
        whole.items()
        if isinstance(whole, dict)
        else enumerate(whole)
        if isinstance(whole, list)
        else ()
    )
    for key, value in pairs:
        there = (
            key in given
            if isinstance(given, dict)
            else isinstance(given, list) and key < len(given)
        )
        if there:
            yield from _missing(value, given[key], f"{path}{key}.")
        elif value is not None:  # A key that says nothing may be younger than the run.
            yield f"{path}{key}"


def read_vocab(path: Path) -> tuple[Vocab, str]:
    """Return the vocabulary of the run in `path`, and its digest."""
    name = path / "vocab.json"
    text = read_text(name)
    try:
        data = json.loads(text)
        if data["format"] != FORMAT:
            raise RunError(
                f"{name}: of format {data['format']}; this version of slotfill reads format"
                f" {FORMAT}: train the run again"
            )
        vocab = Vocab.from_json(data)
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise RunError(f"{name}: not a whole vocabulary ({fault}); train the run again") from None
    return vocab, sha256_text(text)


def read_text(path: Path) -> str:
    """Return what a file of a run says; raises RunError where it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise RunError(
            f"{path}: not UTF-8, so not what slotfill wrote; train the run again"
        ) from None


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return what a safetensors file holds: tensors by name, and notes; raises RunError if it is
    not whole.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            notes = json.loads((file.metadata() or {})["slotfill"])
    except (SafetensorError, OSError, KeyError) as fault:
        raise RunError(
            f"{path}: cut short or not what slotfill wrote ({fault}); train the run again"
        ) from None
    if notes["format"] != FORMAT:
        raise RunError(
            f"{path}: of format {notes['format']}; this version of slotfill reads format {FORMAT}:"
            " train the run again"
        )
    return tensors, notes


def sha256_text(text: str) -> str:
    """Return what tells one vocabulary file from another."""
    return hashlib.sha256(text.encode()).hexdigest()


def partial_path(out: Path) -> Path:
    """Return what the run folder `out` is called while it trains."""
    return out.with_name(out.name + ".partial")
