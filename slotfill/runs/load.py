"""Loading of a run folder: everything a trained model is, as files that people can read.

`config.yaml` (complete), `vocab.json`, `model.safetensors`, `embedding.onnx`, `model.onnx`,
`calibration.json`, `values.json`, `parts.json`, `history.csv`, `scores.json`,
`environment.json`, and `manifest.json` with their checksums. While a run trains, its folder is
called `NAME.partial` and holds `checkpoint/` for `--resume`.
"""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from multiprocessing import parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from slotfill.config.registry import catch_part_errors
from slotfill.data.values import KnownValues
from slotfill.data.vocab import Vocab, check_slot_names
from slotfill.errors import ConfigError, RunError, SlotfillError, UsageError, did_you_mean
from slotfill.extras import required_for
from slotfill.files import parse_json, shorten_path
from slotfill.inference.calibration import UNCALIBRATED, Calibration
from slotfill.inference.engine import Engine
from slotfill.inference.onnx_engine import ONNX, OnnxEngine
from slotfill.runs.device import EngineName, check_names, resolve_device
from slotfill.runs.hub import download_run, is_on_hub
from slotfill.runs.manifest import (
    CALIBRATION,
    HISTORY,
    MANIFEST,
    SCORES,
    VALUES,
    WEIGHTS,
    RunFiles,
    is_zip,
)
from slotfill.runs.sources import SOURCES, check_sources, find_edited

if TYPE_CHECKING:
    from torch import Tensor

    from slotfill.config.models import Config
    from slotfill.evaluation.metrics import EvaluationResult
    from slotfill.model.ensemble import Model
    from slotfill.model.generators.base import Generator

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class LoadedRun:
    """The files and the vocabulary of a run."""

    files: RunFiles
    vocab: Vocab

    @cached_property
    def config(self) -> Config:
        """The run's config, read on demand because prediction on ONNX Runtime needs none."""
        files = self.files
        return parse_run_config(files["config.yaml"], files.path, is_packed=files.is_packed)


@dataclass(eq=False)
class GeneratorRun(LoadedRun):
    """A trained generator ready to sample sentences."""

    generator: Generator


@dataclass(eq=False)
class Run(LoadedRun):
    """A trained model ready to predict."""

    engine: Engine
    scheme: str
    """The tag scheme of its files."""
    calibration: Calibration = UNCALIBRATED
    """The temperatures and thresholds of its confidences."""

    def set_thresholds(self, **thresholds: Any) -> None:
        """Change thresholds of its calibration; see `Calibration.with_thresholds`.

        Raises UsageError if one is not from 0 to 1, or ConfigError if the run has no such slot.
        """
        try:
            self.calibration = self.calibration.with_thresholds(**thresholds)
        except ValueError as error:
            raise UsageError(str(error)) from None
        if thresholds.get("intent_threshold") and not self.vocab.intents:
            raise UsageError("intent_threshold: the run has learned no intents")
        check_slot_names("thresholds", self.calibration.thresholds, self.vocab.slot_names)

    @cached_property
    def scores(self) -> dict[str, EvaluationResult]:
        """The scores that training has measured, by split; a packed run has none."""
        return read_scores(self.files)[1] if self.files.has(SCORES) else {}


def open_run(path: Path) -> RunFiles:
    """Return the files of the run `path`: a folder, a packed file, or `hf://USER/NAME`.

    Raises UsageError if there is no such run, and RunError if it cannot be read.
    """
    path = download_run(path) if is_on_hub(path) else path
    if not is_zip(path):
        check_run_folder(path)
    return RunFiles(path)


def open_tagger(path: Path) -> RunFiles:
    """Return the files of the run `path` as `open_run`; raises UsageError for a generator, too."""
    files = open_run(path)
    check_tagger(files)
    return files


def load_run(path: Path, device: str = "cpu", engine: EngineName = "auto") -> Run:
    """Return the run `path`, which `open_run` opens, ready to predict.

    Args:
        device: "cpu", "cuda" or "auto", which is "cuda" if torch computes and has one.
        engine: "auto" is "onnx" unless the run is not exported or the device is "cuda".

    Raises:
        UsageError: There is no such run, it is a generator, the engine is not available, or the
            run has a custom part and `trust_external_parts` does not allow to execute it.
        RunError: A file is missing, damaged, or of another version.
    """
    check_names(device, engine)
    files = open_tagger(path)
    path = files.path
    exported = files.has(*ONNX)
    use_onnx = engine == "onnx" or (engine == "auto" and device != "cuda" and exported)
    if use_onnx and device == "cuda":
        raise UsageError("engine onnx computes on the CPU, not on cuda; use engine torch")
    if use_onnx and not exported:
        if problem := _find_export_problem(path):
            raise UsageError(f"{path} cannot be exported: {problem}; use engine torch")
        raise UsageError(
            f"{path} has no {' and '.join(ONNX)}; write them with: slotfill export {path}, or use"
            " engine torch"
        )
    if files.is_packed and not use_onnx:
        raise UsageError(
            f"{path}: a packed run has no weights for torch; use engine onnx, or the run folder"
        )
    config_text, vocab = files["config.yaml"], parse_vocab(files["vocab.json"], path)
    if vocab.tokenizer.name.endswith(".py") and not files.is_packed:
        _check_sources(files, [vocab.tokenizer.name])
    if files.has(VALUES):
        vocab.values = parse_values(files[VALUES], path)
    calibration = UNCALIBRATED
    if files.has(CALIBRATION):
        calibration = parse_calibration(files[CALIBRATION], path)
        try:
            check_slot_names("thresholds", calibration.thresholds, vocab.slot_names)
        except ConfigError as error:
            raise RunError(
                f"{path / CALIBRATION}: {error.errors[0]}; train the run again"
            ) from None
    if use_onnx:
        _warn_of_edited_parts(files)
        onnx = OnnxEngine(files, vocab, path)
        return Run(files, vocab, onnx, onnx.texts["scheme"], calibration)
    config = parse_run_config(config_text, path)
    purpose = "device cuda" if device == "cuda" else f"{path} is not exported, so prediction"
    with required_for("engine torch" if engine == "torch" else purpose):
        network = _load_network(files, config, vocab).to(resolve_device(device)).eval()
    run = Run(files, vocab, cast("Model", network), config.data.scheme, calibration)
    run.config = config
    return run


def check_tagger(files: RunFiles) -> None:
    """Raise UsageError if the run with these `files` is a generator."""
    if _generator_config(files) is not None:
        raise UsageError(
            f"{files.path} is a generator of labelled sentences, not a tagger; sample some with:"
            f" slotfill generate {files.path} --sentences 100"
        )


def is_generator(path: Path) -> bool:
    """Return whether the run `path`, which `open_run` opens, is a generator."""
    return _generator_config(open_run(path)) is not None


def load_generator(path: Path, device: str = "cpu") -> GeneratorRun:
    """Return the run `path`, ready to sample; raises as `load_run`, UsageError for a tagger."""
    files = open_run(path)
    config = _generator_config(files)
    if config is None:
        raise UsageError(
            f"{path} is a tagger, not a generator; train one with a config of data and generator:"
            " recurrent"
        )
    vocab = parse_vocab(files["vocab.json"], files.path)
    with required_for("a generator"):
        generator = _load_network(files, config, vocab).to(resolve_device(device)).eval()
    run = GeneratorRun(files, vocab, cast("Generator", generator))
    run.config = config
    return run


def _generator_config(files: RunFiles) -> Config | None:
    """Return the config of a generator; None for a run of taggers."""
    if files.has(*ONNX) or files.is_packed:  # Without reading the config, which takes time.
        return None
    config = parse_run_config(files["config.yaml"], files.path)
    return None if config.generator is None else config


def _load_network(files: RunFiles, config: Config, vocab: Vocab) -> Model | Generator:
    """Return the torch network or generator of a run, with its weights."""
    from slotfill.model.build import build_model

    _check_sources(files, config.external_files)
    name = files.path / WEIGHTS
    content = files[name.name]
    weights, _ = parse_tensors(content, name)
    try:
        with catch_part_errors():
            model = build_model(config, vocab, weights=len(content))
    except SlotfillError:
        raise
    except Exception as error:  # The resources of parts in vocab.json have formats of their own.
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise RunError(
            f"{files.path}: its network cannot be built ({reason}); train it again"
        ) from error
    saved, needed = _describe_tensors(weights), _describe_tensors(model.state_dict())
    for key in {**needed, **saved}:
        if saved.get(key) != needed.get(key):
            raise RunError(
                f"{name}: {key} is {saved.get(key, 'missing')}, but config.yaml needs"
                f" {needed.get(key, 'missing')}; train the run again"
            )
    model.load_state_dict(weights)
    return model


def _check_sources(files: RunFiles, parts: Sequence[str]) -> None:
    content = files[SOURCES] if parts and files.has(SOURCES) else None
    check_sources(files.path / SOURCES, content, parts)


def _find_export_problem(path: Path) -> str:
    """Return why a run cannot be exported, or nothing if it can or that cannot be found out."""
    with suppress(ImportError, SlotfillError):
        from slotfill.runs.export import find_export_problem

        return find_export_problem(path)
    return ""


def _warn_of_edited_parts(files: RunFiles) -> None:
    """Log which user-defined parts have been edited since, as ONNX predicts without their code."""
    if files.is_packed or not files.has(SOURCES) or parent_process() is not None:
        return
    for file in find_edited(files.path / SOURCES, files[SOURCES]):
        _warn_once(
            f"{shorten_path(file)}: is not what {files.path} was trained with; the network that was"
            " trained is used"
        )


_warn_once = cache(logger.warning)


def _describe_tensors(tensors: dict[str, Tensor]) -> dict[str, str]:
    return {key: f"{tensor.dtype} {tuple(tensor.shape)}" for key, tensor in tensors.items()}


def check_run_folder(path: Path) -> None:
    """Raise UsageError, which names the nearest run, if `path` is not a folder, or not yet."""
    is_partial = path.suffix == ".partial"
    if path.is_dir() and (not is_partial or (path / MANIFEST).exists()):
        return
    if path.is_file():
        raise UsageError(f"{path} is a file; a run is the folder that `slotfill train` wrote")
    partial = path if is_partial else partial_path(path)
    if partial.is_dir():
        raise UsageError(
            f"{path} is still training, or was stopped; resume with: slotfill train --resume"
            f" {partial.with_suffix('')}"
        )
    configs = [*path.parent.glob("*/config.yaml"), *path.parent.glob("runs/*/config.yaml")]
    runs = {str(file.parent) for file in configs if file.parent.suffix != ".partial"}
    raise UsageError(f"no run folder {path}{did_you_mean(str(path), runs)}")


def parse_run_config(content: bytes, path: Path, *, is_packed: bool = False) -> Config:
    """Return the config of the run in the folder `path`; raises RunError if it is not valid."""
    from slotfill.config.validate import parse_config

    name = path / "config.yaml"
    try:
        return parse_config(content.decode(), str(name), folder=path, is_packed=is_packed)
    except ConfigError as error:
        raise RunError(f"{error.errors[0]}; correct it, or train the run again") from None
    except UnicodeDecodeError:
        raise RunError(f"{name}: not UTF-8; train the run again") from None


def parse_vocab(content: bytes, path: Path) -> Vocab:
    """Return the vocabulary of the run in the folder `path`.

    Raises RunError if it is not valid, or UsageError if there is no such tokenizer.
    """
    name = path / "vocab.json"
    try:
        vocab = Vocab.from_json(content)
    except ConfigError as error:  # Of a user-defined tokenizer.
        raise UsageError(f"{name}: tokenizer: {error.errors[0]}") from None
    except ValueError as error:
        raise RunError(f"{name}: not a vocabulary ({error}); train the run again") from None
    vocab.source = str(name)
    return vocab


def parse_calibration(content: bytes, path: Path) -> Calibration:
    """Return the calibration of the run in the folder `path`; raises RunError if not valid."""
    try:
        return Calibration.from_json(content)
    except ValueError as error:
        name = path / CALIBRATION
        raise RunError(f"{name}: not a calibration ({error}); train the run again") from None


def parse_values(content: bytes, path: Path) -> KnownValues:
    """Return the known values of the run in the folder `path`; raises RunError if not valid."""
    try:
        return KnownValues.from_json(content)
    except ValueError as error:
        raise RunError(
            f"{path / VALUES}: not known values ({error}); train the run again"
        ) from None


def parse_tensors(content: bytes, path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of the safetensors file `path`, and the notes in its metadata."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        size = int.from_bytes(content[:8], "little")
        header = parse_json(content[8 : 8 + size], {"__metadata__": (None, {str: str})})
        notes = parse_json((header.get("__metadata__") or {}).get("slotfill", "{}"), {})
        return load(content), notes
    except (SafetensorError, ValueError, TypeError, KeyError, OverflowError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise RunError(f"{path}: not a safetensors file ({reason}); train the run again") from None


_SCORES_SHAPE = {
    "parameters": int,
    "multiply_adds_per_token": (None, int),
    "peak_memory_mb": (None, int),
    "best_epoch": int,
    "epochs": int,
    "train_seconds": float,
    "teachers": (None, [{"path": str, "sha256": str}]),
    "splits": {str: {}},
}

_Split = Literal["valid", "test"]
"""The splits that have scores."""


def read_scores(files: RunFiles) -> tuple[dict[str, Any], dict[str, EvaluationResult]]:
    """Return the content of scores.json, and the scores in it; raises RunError if not valid."""
    from pydantic import TypeAdapter, ValidationError

    from slotfill.evaluation.metrics import EvaluationResult

    content = files.parse(SCORES, _SCORES_SHAPE)
    adapter: TypeAdapter[Any] = TypeAdapter(dict[_Split, EvaluationResult])
    try:
        splits = adapter.validate_python(content["splits"])
    except ValidationError as error:
        key = ".".join(map(str, ("splits", *error.errors()[0]["loc"])))
        raise RunError(f"{files.path / SCORES}: {key} is not valid; train the run again") from None
    return content, splits


_COLUMNS = {"epoch", "loss", "tokens_per_second"}


def read_history(files: RunFiles) -> list[dict[str, float]]:
    """Return the rows of history.csv without empty cells; raises RunError if not valid."""
    try:
        reader = csv.DictReader(files[HISTORY].decode().splitlines())
        rows = [{key: float(cell) for key, cell in row.items() if cell} for row in reader]
        numbers = (cell for row in rows for cell in row.values())
        if (
            rows
            and all(map(math.isfinite, numbers))
            and all(row.keys() >= _COLUMNS for row in rows)
        ):
            return rows
    except (ValueError, TypeError, csv.Error):
        pass
    raise RunError(f"{files.path / HISTORY}: not a table of numbers; train the run again")


def partial_path(out: Path) -> Path:
    """Return the name of the run folder `out` while it trains."""
    return out.with_name(out.name + ".partial")
