"""A first config for a corpus: what can be inferred from its sentences, and from what."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from slotfill.config.sections import DataConfig, TrainConfig
from slotfill.data.corpus import ReadResult, read_known_values
from slotfill.data.detection import format_from_suffix, guess_format
from slotfill.data.findings import find_left_out
from slotfill.data.folders import list_shards
from slotfill.data.schemes import SCHEMES
from slotfill.data.sentence import Sentence, intent_names
from slotfill.data.splits import holdout_share, read_split, split_names, split_path
from slotfill.errors import DataError, UsageError, format_count
from slotfill.files import nearest_in_folder
from slotfill.lab.known_values import infer_known_values, quote
from slotfill.training.defaults import resolve_budget

_SCRIPTS = {
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "HANGUL": "ko",
    "CJK": "zh",
    "THAI": "th",
    "LAO": "lo",
    "KHMER": "km",
    "MYANMAR": "my",
    "ARABIC": "ar",
    "HEBREW": "he",
    "DEVANAGARI": "hi",
    "CYRILLIC": "ru",
    "GREEK": "el",
}
"""The language, as its ISO 639 code, that each script is most used for."""

_WITHOUT_SPACES = ("zh", "ja", "th", "lo", "km", "my")
"""Languages without spaces between words, whose letters the tokenizer `words` parts."""

_FUNCTION_WORDS = {
    "en": "the a to of and is in what i me for on my please",
    "de": "der die das und ich ist nicht ein eine mir bitte den zu mit auf",
    "fr": "le la les de des et je un une est pour dans moi du au",
    "es": "el la los de y un una en que para por mi me del con",
    "it": "il la di e un una che per mi in del con le gli alla",
    "nl": "de het een en van ik is in op voor mij naar met niet",
    "pt": "o a os de e um uma em que para por me do da com",
}
"""Frequent words of languages in Latin script."""


def infer_config(source: Path, out: Path) -> tuple[dict[Path, str], list[str]]:
    """Return the text of the config `out` and of files that it names, and the reasons for it.

    `source` is a file of sentences or a folder of splits. Raises DataError if it cannot be read.
    """
    if not source.exists():
        raise UsageError(f"{source}: no such file or folder{nearest_in_folder(source)}")
    data = DataConfig(path=str(source))
    train = split_path(data, "train")
    assert train is not None
    first = list_shards(train)[0]
    format = guess_format(first)
    by_name = format_from_suffix(first) == format
    scheme, scheme_reason = _infer_scheme(data)
    data = data.model_copy(update={"scheme": scheme})
    reading = _read(data)
    sentences = reading.sentences
    language, language_reason = _infer_language(sentences)
    splits = split_names(data)
    count = len(sentences)
    slots = Counter(slot.name for sentence in sentences for slot in sentence.slots or ())
    intents = {name for sentence in sentences for name in intent_names(sentence.intent)}
    with_intent = sum(bool(intent_names(sentence.intent)) for sentence in sentences)
    learns_intents = with_intent == count and len(intents) > 1
    if not (slots or learns_intents):
        read_split(data, "train")  # Raises the error.

    reasons = [
        f"format: {format}, by its {'name and ' if by_name else ''}content",
        *scheme_reason,
        f"language: {language or 'unknown'}, {language_reason}",
        *map(str, find_left_out({"train": reading})),
    ]
    lines = ["data:", f"  path: {quote(os.path.relpath(source, out.parent))}"]
    lines.append(f"  format: {format}")
    if scheme != "iob2":
        lines.append(f"  scheme: {scheme}")
    if any(issue.kind == "retokenized" for s in sentences for issue in s.issues):
        lines.append("  tokenizer: words  # as in prediction; `given` keeps the file's tokens")
        reasons.append("tokenizer: words, which parts some tokens of the file, as in prediction")
    else:
        parts = "each letter" if language in _WITHOUT_SPACES else "each word and punctuation mark"
        reasons.append(f"tokenizer: words, for which {parts} is a token")
    share = holdout_share(data)
    if share and round(share * count):
        lines.append(f"  holdout: {share:g}  # of the training sentences, used as valid")
        reasons.append(f"holdout: {share:g} of the training sentences, since there is no valid")
    elif share:
        splits = [split for split in splits if split != "valid"]
        lines.append("  holdout: 0  # too few sentences to hold one out as valid")
        reasons.append(
            f"holdout: 0, since {format_count(count, 'sentence')} cannot spare one for valid"
        )
    if learns_intents:
        lines.append(f"intent: attention  # {format_count(len(intents), 'intent')}")
        found = format_count(len(intents), "intent")
        reasons.append(f"intent: attention, since all sentences have one of {found}")
    elif with_intent:
        reasons.append(
            f"intent: none, since only {with_intent:,} of {count:,} sentences have one"
            if with_intent < count
            else "intent: none, since all sentences have the same one"
        )
    known = infer_known_values(
        read_known_values(first, format), sentences, reading.tokenizer, out.stem
    )
    lines += known.lines
    reasons += known.reasons
    budget = resolve_budget(TrainConfig(), count)
    sizes = f"at most {format_count(budget.epochs, 'epoch')} in batches of {budget.batch_size}"
    lines.append(f"# {sizes}, for so many sentences; train.epochs changes it")
    reasons.append(f"train: {sizes}, for {format_count(count, 'sentence')}")
    if resolvable := _find_resolvable(slots):
        lines += ["# Dates, times and numbers can be resolved to values, see docs/values.md:"]
        lines += [f"# resolve: {{language: {language or 'en'}, slots: {{{resolvable}}}}}"]
    header = (
        f"# {format_count(count, 'training sentence')}, {format_count(len(slots), 'slot name')};"
        f" splits: {', '.join(splits)}"
    )
    files = {out.with_name(name): content for name, content in known.files.items()}
    return files | {out: "\n".join([header, *lines]) + "\n"}, reasons


def _read(data: DataConfig) -> ReadResult:
    """Return all training sentences, which may have intents and no slots."""
    data = data.model_copy(update={"holdout": 0.0})
    try:
        return read_split(data, "train")
    except DataError:
        with suppress(DataError):
            return read_split(data, "train", intents=True)
        raise


def _infer_scheme(data: DataConfig) -> tuple[str, list[str]]:
    """Return the scheme in which the fewest tags are illegal, and why."""
    repaired: dict[str, int] = {}
    for scheme in ("iob2", *SCHEMES):
        with suppress(DataError):
            repaired[scheme] = _read(data.model_copy(update={"scheme": scheme})).repaired_tags
        if repaired.get("iob2") == 0:
            return "iob2", []
    if not repaired:
        _read(data)  # Raises the error.
    best = min(repaired, key=lambda scheme: repaired[scheme])
    reason = f"scheme: {best}, in which {format_count(repaired[best], 'tag')} must be repaired"
    return best, [f"{reason} ({repaired['iob2']:,} in iob2)" if "iob2" in repaired else reason]


def _infer_language(sentences: Sequence[Sentence]) -> tuple[str | None, str]:
    """Return the likely language as an ISO 639 code, or None, and what it was inferred from."""
    words = Counter(token.lower() for sentence in sentences for token in sentence.tokens)
    scripts = Counter[str]()
    for word, count in words.items():
        for letter in filter(str.isalpha, word):
            scripts[unicodedata.name(letter, "").partition(" ")[0]] += count
    if not scripts:
        return None, "since there are no letters"
    kana = scripts["HIRAGANA"] + scripts["KATAKANA"]
    script = "HIRAGANA" if 10 * kana > scripts.total() else scripts.most_common(1)[0][0]
    if language := _SCRIPTS.get(script):
        return language, f"since the script is {script.title()}"
    found = {
        language: sum(words[word] for word in text.split())
        for language, text in _FUNCTION_WORDS.items()
    }
    best = max(found, key=lambda language: found[language])
    if 20 * found[best] < words.total():
        return (
            None,
            f"since the script is {script.title()} and frequent words are of none known",
        )
    found_words = filter(words.__contains__, _FUNCTION_WORDS[best].split())
    frequent = sorted(found_words, key=lambda word: -words[word])[:3]
    verb = "is" if len(frequent) == 1 else "are"
    return best, f"since {', '.join(map(repr, frequent))} {verb} frequent"


def _find_resolvable(slots: Counter[str]) -> str:
    """Return the slots whose names say that they are dates, times or numbers, as YAML."""
    kinds = {"date": "date", "time": "time", "count": "number", "number": "number"}
    found = {}
    for name, _ in slots.most_common():
        last = re.split(r"[._-]", name.lower())[-1]
        if last in kinds:
            found[name] = kinds[last]
    return ", ".join(f"{quote(name)}: {kind}" for name, kind in found.items())
