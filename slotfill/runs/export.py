"""Export a run: write its network as the files that predict without torch."""

from __future__ import annotations

import io
import logging
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, cast

from slotfill.data.splits import SPLITS, read_split, split_names
from slotfill.errors import DataError, RunError
from slotfill.evaluation.evaluate import evaluate
from slotfill.evaluation.metrics import EvaluationResult
from slotfill.export.builder import ExportError
from slotfill.export.low_rank import reduce_input_rank
from slotfill.export.to_onnx import export_model
from slotfill.inference.onnx_engine import NETWORK, OnnxEngine
from slotfill.model.ensemble import Model
from slotfill.runs.load import Run, load_run, text_settings

Quantize = Literal["none", "int8"]


@dataclass(slots=True)
class Exported:
    """The result of an export."""

    paths: list[Path]
    """The files that were written."""
    scores: dict[str, tuple[EvaluationResult, EvaluationResult]] = field(default_factory=dict)
    """By split: the scores before and after, if the network was made smaller."""


def export_run(path: Path, quantize: Quantize = "none", rank: int | None = None) -> Exported:
    """Write the ONNX files of the run in the folder `path`, and replace those it has.

    `quantize="int8"` stores the weights of matrix products and LSTMs in 8 bits. `rank` is that of
    the first recurrent layer's input weights; None keeps them. Raises RunError if the network
    cannot be exported.
    """
    run = load_run(path, engine="torch")
    texts = text_settings(run.config)
    try:
        model = cast(Model, run.engine)
        exported = original = export_model(model, run.vocab, texts)
        if rank is not None:
            exported = export_model(reduce_input_rank(model, run.vocab, rank), run.vocab, texts)
    except ExportError as error:
        raise RunError(f"{path} cannot be exported, so torch predicts: {error}") from None
    if quantize == "int8":
        exported = exported | {NETWORK: _quantize_int8(exported[NETWORK])}
    engines = [OnnxEngine(files, run.vocab, path) for files in (original, exported)]
    run.files.replace(exported)
    scores = {} if exported is original else _scores(run, engines)
    return Exported([path / name for name in exported], scores)


def _scores(
    run: Run, engines: list[OnnxEngine]
) -> dict[str, tuple[EvaluationResult, EvaluationResult]]:
    """Return the scores of two engines by split; none if the run's sentences are missing."""
    try:
        names = split_names(run.config.data)
        splits = [split for split in SPLITS[1:] if split in names]
        corpus = {split: read_split(run.config.data, split).sentences for split in splits}
    except DataError:
        return {}
    before, after = (
        [evaluate(engine, run.vocab, sentences) for sentences in corpus.values()]
        for engine in engines
    )
    return dict(zip(corpus, zip(before, after, strict=True), strict=True))


def _quantize_int8(model: bytes) -> bytes:
    """Return `model` with the weights of its products in 8 bits (dynamic quantization)."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # It works on files, and logs and prints advice that does not apply here.
    logger = logging.getLogger()
    level = logger.level
    with TemporaryDirectory() as folder:
        source, target = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        source.write_bytes(model)
        logger.setLevel(logging.ERROR)
        try:
            with redirect_stdout(io.StringIO()):
                quantize_dynamic(
                    source,
                    target,
                    weight_type=QuantType.QInt8,
                    op_types_to_quantize=["MatMul", "LSTM"],
                )
        finally:
            logger.setLevel(level)
        return target.read_bytes()
