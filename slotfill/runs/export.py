"""Export a run: write its network as the files that predict without torch."""

from __future__ import annotations

import io
import logging
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, cast

from slotfill.data.splits import evaluation_split, read_split
from slotfill.errors import DataError, RunError
from slotfill.evaluation.evaluate import evaluate
from slotfill.evaluation.metrics import EvaluationResult
from slotfill.export.builder import ExportError
from slotfill.export.low_rank import reduce_input_rank
from slotfill.export.to_onnx import export_model
from slotfill.files import write_whole
from slotfill.inference.onnx_engine import NETWORK, OnnxEngine
from slotfill.model.ensemble import Model
from slotfill.runs.load import Run, load_run, read_text, sha256_text, text_settings

Quantize = Literal["none", "int8"]


@dataclass(slots=True)
class Exported:
    """The files that were written, and the scores by split before and after, where the network was
    made smaller.
    """

    paths: list[Path]
    scores: dict[str, tuple[EvaluationResult, EvaluationResult]] = field(default_factory=dict)


def export_run(path: Path, quantize: Quantize = "none", rank: int | None = None) -> Exported:
    """Write the ONNX files of the run in the folder `path`, anew if there are some.

    With int8 the weights of products and LSTMs are held in 8 bits; with a `rank` the first
    recurrent layer reads so many numbers of a token. What they do to the scores is measured where
    the run's sentences are still there. Raises RunError, which says why, where the network cannot
    be exported.
    """
    run = load_run(path, engine="torch")
    digest = sha256_text(read_text(path / "vocab.json"))
    texts = text_settings(run.config)
    try:
        model = cast(Model, run.engine)
        models = whole = export_model(model, run.vocab, digest, texts)
        if rank is not None:
            models = export_model(
                reduce_input_rank(model, run.vocab, rank), run.vocab, digest, texts
            )
    except ExportError as fault:
        raise RunError(f"{path} cannot be exported, so torch predicts: {fault}") from None
    written = models if quantize == "none" else models | {NETWORK: _in_8_bits(models[NETWORK])}
    engines = [OnnxEngine(each, run.vocab, digest) for each in (whole, written)]
    for name, file in written.items():
        write_whole(path / name, file)
    return Exported(
        [path / name for name in written], {} if written is whole else _scores(run, engines)
    )


def _scores(
    run: Run, engines: list[OnnxEngine]
) -> dict[str, tuple[EvaluationResult, EvaluationResult]]:
    """Return the scores of two engines on valid and on the final split; nothing where the sentences
    are gone.
    """
    try:
        splits = dict.fromkeys(("valid", evaluation_split(run.config.data)))
        corpus = {split: read_split(run.config.data, split).sentences for split in splits}
    except DataError:
        return {}
    before, after = (
        [evaluate(engine, run.vocab, sentences) for sentences in corpus.values()]
        for engine in engines
    )
    return dict(zip(corpus, zip(before, after, strict=True), strict=True))


def _in_8_bits(model: bytes) -> bytes:
    """Return `model` with the weights of its products in 8 bits; what they are multiplied by is
    turned as it comes.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # The tool works on files, and advises by its logger and on standard output to do what does not
    # apply here.
    logger = logging.getLogger()
    level = logger.level
    with TemporaryDirectory() as room:
        source, target = Path(room, "whole.onnx"), Path(room, "int8.onnx")
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
