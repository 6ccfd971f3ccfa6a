"""The known values of a run, replaced without training."""

from __future__ import annotations

from pathlib import Path

from slotfill.config.models import Config
from slotfill.data.split_findings import check_values
from slotfill.data.values import KnownValues
from slotfill.errors import UsageError
from slotfill.runs.load import check_run_folder, check_tagger, parse_values, parse_vocab
from slotfill.runs.manifest import VALUES, RunFiles


def replace_values(path: Path, config: Config) -> tuple[bool, list[str]]:
    """Give the run in the folder `path` the rules, synonyms and kinds of values of `config`.

    Returns whether it had any before, and likely problems. Raises UsageError if `config` sets none
    of these keys, and what `KnownValues.read` raises; the run is then as it was.
    """
    if not config.model_fields_set & {"rules", "synonyms", "resolve"}:
        raise UsageError(
            "the config has none of the keys rules, synonyms and resolve; set rules=[] to remove"
            " those of the run"
        )
    check_run_folder(path)
    files = RunFiles(path)
    check_tagger(files)
    vocab = parse_vocab(files["vocab.json"], path)
    with config.locate_errors():
        values = KnownValues.read(config, vocab.tokenizer)
    had_values = files.has(VALUES) and bool(parse_values(files[VALUES], path))
    files.replace({VALUES: values.to_json().encode()})
    return had_values, [*map(str, check_values(config, vocab.slot_names))]
