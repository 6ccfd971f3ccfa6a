"""The known values of a run, replaced without training."""

from __future__ import annotations

from pathlib import Path

from slotfill.config.models import Config
from slotfill.data.values import KnownValues
from slotfill.runs.load import check_run_folder, parse_vocab
from slotfill.runs.manifest import VALUES, RunFiles


def replace_values(path: Path, config: Config) -> None:
    """Give the run in the folder `path` the rules, synonyms and kinds of values of `config`.

    Raises what `KnownValues.read` raises; the run is then as it was.
    """
    check_run_folder(path)
    files = RunFiles(path)
    vocab = parse_vocab(files["vocab.json"], path)
    with config.locate_errors():
        values = KnownValues.read(config, vocab.tokenizer)
    files.replace({VALUES: values.to_json().encode()})
