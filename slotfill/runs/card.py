"""The model card of a run: Markdown with the front matter that the Hugging Face Hub reads.

Everything on it is stored in the run folder. The front matter is a `model-index`, from which the
Hub shows the scores.

Source: Mitchell et al. 2019, "Model Cards for Model Reporting"
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from slotfill.config.models import Config
from slotfill.config.sections import DataConfig
from slotfill.config.yaml_reader import dump
from slotfill.data.static_table import resolve_embedding
from slotfill.data.vocab import Vocab
from slotfill.errors import RunError, escape, format_count
from slotfill.evaluation.metrics import EvaluationResult, PRFScore
from slotfill.files import real_path
from slotfill.markdown import code, table
from slotfill.runs.load import (
    open_tagger,
    parse_run_config,
    parse_vocab,
    read_scores,
)
from slotfill.runs.manifest import CARD, ENVIRONMENT

FEW_SLOTS = 20
"""A slot with fewer gold slots than this has a score that says little."""
LOW_F1 = 80.0
"""A slot with a lower F1 is named among the limits."""

_ENVIRONMENT_SHAPE = {
    "versions": {"slotfill": str},
    "finished": str,
    "platform": str,
    "processors": int,
}

_RATES = {"f1": "F1", "precision": "precision", "recall": "recall"}


def render_card(path: Path) -> str:
    """Return the model card of the run `path`; a packed run has its own.

    Raises what `open_tagger` raises, and RunError if a file is damaged.
    """
    files = open_tagger(path)
    if files.is_packed:
        try:
            content = files[CARD].decode()
        except UnicodeDecodeError:
            raise RunError(f"{path / CARD}: not UTF-8; pack the run again") from None
        return _escape_lines(content)
    config = parse_run_config(files["config.yaml"], path)
    vocab = parse_vocab(files["vocab.json"], path)
    summary, splits = read_scores(files)
    teachers = [Path(teacher["path"]).name for teacher in summary.get("teachers") or ()]
    made = files.parse(ENVIRONMENT, _ENVIRONMENT_SHAPE)
    name, data = real_path(path).name, _data_name(config.data)
    front = {
        "library_name": "slotfill",
        "pipeline_tag": "token-classification",
        "tags": ["slotfill", "slot-filling", "token-classification", "onnx"],
        "model-index": [
            {"name": name, "results": [_result(data, *each) for each in splits.items()]}
        ],
    }
    if not splits:
        del front["model-index"]
    learned = f"{format_count(len(vocab.slot_names), 'slot')}"
    if vocab.intents:
        learned += f" and {format_count(len(vocab.intent_names), 'intent')}"
    sections = [
        # HTML is escaped for those who show the front matter as Markdown.
        "---\n" + _escape_lines(dump(front)).replace("<", "\\u003c") + "---",
        f"# {code(name)}",
        f"A tagger of slotfill that finds {learned} in a sentence. Its network is"
        f" {_describe_network(config, vocab)}, with"
        f" {format_count(summary['parameters'], 'parameter')}.",
        "## Use",
        "Prediction needs no torch: `pip install slotfill`.",
        "```python\nimport slotfill\n\n"
        'tagger = slotfill.load("PATH")  # This folder, a packed file, or hf://USER/NAME.\n'
        'for slot in tagger.predict(["a sentence"])[0].slots:\n'
        "    print(slot.name, slot.value, slot.confidence)\n```",
        "## Data",
        f"Trained on {code(data)}: {format_count(sum(vocab.tokens.values()), 'token')},"
        f" {len(vocab.tokens):,} of them different. Tokens are those of the tokenizer"
        f" {code(vocab.tokenizer.name)}.",
        f"Slots: {_join(vocab.slot_names)}.",
        *([f"Intents: {_join(vocab.intent_names)}."] if vocab.intents else []),
        "## Scores",
        *_describe_scores(splits),
        "## Limits",
        "\n".join(f"- {limit}" for limit in _limits(splits, config)),
        "## Training",
        f"slotfill {code(made['versions']['slotfill'])}, {code(made['finished'][:10])}, seed"
        f" {config.train.seed}; epoch {summary['best_epoch']} of {summary['epochs']} in"
        f" {summary['train_seconds']:,.0f} s on {code(made['platform'].partition('-')[0])} with"
        f" {format_count(made['processors'], 'processor')}.",
        *([f"Distilled from {_join(teachers)}."] if teachers else []),
    ]
    return "\n\n".join(sections) + "\n"


def _escape_lines(text: str) -> str:
    return "\n".join(map(escape, text.split("\n")))


def _data_name(data: DataConfig) -> str:
    """Return the name of the data, without the folders of the machine it was on."""
    path = Path(data.path or data.train or "unknown")
    name = path.parent.name if path.stem == "train" else path.stem
    return f"{name} and {_data_name(data.earlier)}" if data.earlier else name


def _describe_network(config: Config, vocab: Vocab) -> str:
    """Return the parts of the network."""
    parts = [*config.encoders, config.tagger]
    if config.intent is not None:
        parts.append(config.intent)
    names = [
        part if isinstance(part, str) else part["name"] for part in resolve_embedding(config, vocab)
    ]
    for part in parts:
        cell = part.get("cell")
        names += [part["name"], cell["name"]] if cell else [part["name"]]
    copies = f"{config.ensemble_size} times " if config.ensemble_size > 1 else ""
    return copies + _join(Path(name).stem for name in names)


def _result(data: str, split: str, scores: EvaluationResult) -> dict[str, Any]:
    """Return the scores of a split as a result of a `model-index`."""
    metrics = [
        {
            "type": kind,
            "name": f"Slot {label}",
            "value": round(getattr(scores.overall, kind) / 100, 4),
        }
        for kind, label in _RATES.items()
    ]
    if scores.intent:
        accuracy = round(scores.intent.accuracy / 100, 4)
        metrics.append({"type": "accuracy", "name": "Intent accuracy", "value": accuracy})
    return {
        "task": {"type": "token-classification", "name": "Slot filling"},
        "dataset": {"type": data, "name": data, "split": split},
        "metrics": metrics,
    }


def _describe_scores(splits: dict[str, EvaluationResult]) -> list[str]:
    """Return the paragraphs on the scores: a table of the splits, and one of the slots."""
    if not splits:
        return ["None: the run had no sentences beside those of training."]
    rows = []
    for name, scores in splits.items():
        overall, (low, high) = scores.overall, scores.f1_interval
        row = [code(name), *_format_rates(overall), f"{low:.2f} to {high:.2f}"]
        row += [f"{scores.sentence_accuracy:.2f}", f"{scores.sentences:,}"]
        rows.append([*row, f"{overall.support:,}"])
    head = ["split", *_RATES.values(), "95 % interval of F1", "exact sentences"]
    name, last = list(splits.items())[-1]
    paragraphs = [
        "In percent, at the end of training: changes since, of thresholds or to 8 bits, are not in"
        " them. A slot is correct if its name, its first and its last token are.",
        table([*head, "sentences", "gold slots"], rows),
    ]
    if last.intent:
        paragraphs.append(
            f"Intents on {code(name)}: accuracy {last.intent.accuracy:.2f}; slots and intents of a"
            f" sentence both correct: {last.intent.frame_accuracy:.2f}."
        )
    if last.calibration:
        paragraphs.append(
            f"Confidences on {code(name)} differ from the share that is correct by"
            f" {last.calibration.error:.1f} points on average;"
            f" {last.calibration.error_by_chance:.1f} are expected by chance."
        )
    slots = [
        [code(slot), *_format_rates(score), f"{score.support:,}"]
        for slot, score in last.slots.items()
    ]
    paragraphs.append(f"Each slot on {code(name)}:")
    return [*paragraphs, table(["slot", *_RATES.values(), "gold slots"], slots)]


def _format_rates(score: PRFScore) -> list[str]:
    return [f"{getattr(score, kind):.2f}" for kind in _RATES]


def _limits(splits: dict[str, EvaluationResult], config: Config) -> list[str]:
    """Return what the scores do not say, or what they say against the model."""
    limits = [
        "It knows the slots above and no others, in sentences like those of"
        f" {code(_data_name(config.data))}; on other sentences it is less accurate, and its"
        " confidences are too high. `in_domain` of a prediction says how much a sentence is like"
        " those of training.",
        "The scores are of one training with one seed; the interval is that of the sentences.",
    ]
    for name in splits:
        if getattr(config.data, name, None) in {config.data.train, config.data.path} - {None}:
            limits.append(
                f"The sentences of {code(name)} are those of training, so its scores say nothing"
                " about other sentences."
            )
    if not splits:
        return limits
    name, last = list(splits.items())[-1]
    if name == "valid":
        limits.append("The epoch was selected on `valid`, so its scores are too high by a little.")
    if few := [slot for slot, score in last.slots.items() if score.support < FEW_SLOTS]:
        limits.append(f"Fewer than {FEW_SLOTS} gold slots, so an uncertain score: {_join(few)}.")
    low = [
        slot
        for slot, score in last.slots.items()
        if score.support >= FEW_SLOTS and score.f1 < LOW_F1
    ]
    if low:
        limits.append(f"F1 below {LOW_F1:.0f}: {_join(low)}.")
    if unknown := last.unknown_names:
        limits.append(
            f"In {code(name)} but not learned, since training has none: {_join(unknown)}."
        )
    return limits


def _join(names: Iterable[str]) -> str:
    return ", ".join(map(code, names)) or "none"
