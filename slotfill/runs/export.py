"""Export a run: write its network as the files that predict without torch."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, cast

from slotfill.data.sentence import Sentence
from slotfill.data.splits import SPLITS, read_split, split_names
from slotfill.errors import DataError, RunError
from slotfill.evaluation.evaluate import evaluate
from slotfill.evaluation.metrics import EvaluationResult
from slotfill.export.builder import ExportError
from slotfill.export.low_rank import reduce_input_rank
from slotfill.export.to_onnx import export_model
from slotfill.inference.engine import Engine
from slotfill.inference.onnx_engine import NETWORK, OnnxEngine
from slotfill.model.ensemble import Model
from slotfill.runs.load import Run, load_run

Quantize = Literal["none", "int8"]

Scores = dict[str, tuple[EvaluationResult, EvaluationResult]]
"""By split: the scores before and after a network was made smaller."""


def export_run(
    path: Path, quantize: Quantize = "none", rank: int | None = None
) -> tuple[list[Path], Scores]:
    """Write the ONNX files of the run in the folder `path`, and replace those it has.

    `quantize="int8"` stores the weights of matrix products and LSTMs in 8 bits. `rank` is that of
    the first recurrent layer's input weights; None keeps them. Returns the files, and the scores if
    the network was made smaller. Raises RunError if the network cannot be exported.
    """
    run = load_run(path, engine="torch")
    texts = {"scheme": run.config.data.scheme}
    try:
        model = cast(Model, run.engine)
        exported = original = export_model(model, run.vocab, texts)
        if rank is not None:
            exported = export_model(reduce_input_rank(model, run.vocab, rank), run.vocab, texts)
    except ExportError as error:
        raise RunError(f"{path} cannot be exported, so torch predicts: {error}") from None
    if quantize == "int8":
        exported = exported | {NETWORK: _quantize_int8(exported[NETWORK])}
    before, after = (OnnxEngine(files, run.vocab, path) for files in (original, exported))
    run.files.replace(exported)
    scores = {} if exported is original else _scores(run, before, after)
    return [path / name for name in exported], scores


def find_export_problem(path: Path) -> str:
    """Return why the run in the folder `path` cannot be exported, or nothing if it can.

    Raises what `load_run` raises, as where its user-defined part may not be executed.
    """
    run = load_run(path, engine="torch")
    try:
        export_model(cast(Model, run.engine), run.vocab)
    except ExportError as error:
        return str(error)
    return ""


def _scores(run: Run, before: OnnxEngine, after: OnnxEngine) -> Scores:
    """Return the scores of both engines by split; none if the run's sentences are missing."""
    data = run.config.data
    try:
        splits = [split for split in SPLITS[1:] if split in split_names(data)]
        corpus = {split: read_split(data, split).sentences for split in splits}
    except DataError:
        return {}

    def score(engine: Engine, sentences: Sequence[Sentence]) -> EvaluationResult:
        return evaluate(engine, run.vocab, sentences, run.calibration)

    return {
        split: (score(before, sentences), score(after, sentences))
        for split, sentences in corpus.items()
    }


def _quantize_int8(model: bytes) -> bytes:
    """Return `model` with the weights of its products in 8 bits (dynamic quantization)."""
    from onnx import load_model_from_string
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.disable(logging.WARNING)  # It logs and prints advice that does not apply here.
    try:
        with TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
            target = Path(folder, NETWORK)
            quantize_dynamic(
                load_model_from_string(model),
                target,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=["MatMul", "LSTM"],
            )
            return target.read_bytes()
    finally:
        logging.disable(logging.NOTSET)
