"""Export a run: write its network as the file that predicts without torch."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from slotfill.errors import RunError
from slotfill.export.dim import NotExportable
from slotfill.export.network import export_model
from slotfill.model import SlotTagger
from slotfill.run import ONNX, digest_of, load_run, read_text
from slotfill.run_folder import write_whole


def export_run(path: Path) -> Path:
    """Write `model.onnx` of the run in the folder `path`, anew if there is one, and return where it is.

    Raises RunError, which says why, where the network cannot be exported.
    """
    run = load_run(path, engine="torch")
    try:
        model = export_model(cast(SlotTagger, run.model), run.vocab, digest_of(read_text(path / "vocab.json")))
    except NotExportable as fault:
        raise RunError(f"{path} cannot be exported, so torch predicts: {fault}") from None
    write_whole(path / ONNX, model)
    return path / ONNX
