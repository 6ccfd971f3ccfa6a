"""Known values of a first config: what files of Rasa and Snips have beside their sentences."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO

from slotfill.config.models import DEFAULT_EMBEDDING
from slotfill.config.validate import parse_config
from slotfill.data.formats.base import KnownValuesFound
from slotfill.data.phrases import phrase_form
from slotfill.data.rules import Rules
from slotfill.data.sentence import Sentence
from slotfill.data.tokenizers import Tokenizer
from slotfill.errors import ConfigError, format_count


@dataclass
class KnownValuesConfig:
    """The keys of a config for known values, the files that they name, and what they are from."""

    lines: list[str] = field(default_factory=list)
    """Lines of YAML."""
    files: dict[str, str] = field(default_factory=dict)
    """The content of each file beside the config, by its name."""
    reasons: list[str] = field(default_factory=list)

    def add_file(self, name: str, suffix: str, content: str) -> str:
        """Add a file and return its name, which no other has."""
        name = re.sub(r"[^\w.-]+", "_", name)
        while f"{name}{suffix}" in self.files:
            name = f"{name}_"
        self.files[f"{name}{suffix}"] = content
        return f"{name}{suffix}"


def infer_known_values(
    found: KnownValuesFound, sentences: Sequence[Sentence], tokenizer: Tokenizer, stem: str
) -> KnownValuesConfig:
    """Return what a config called `stem` says of the values that were `found`."""
    inferred = KnownValuesConfig()
    _add_synonyms(inferred, found.synonyms, tokenizer, stem)
    _add_lists(inferred, found.gazetteers, sentences, tokenizer, stem)
    _add_rules(inferred, found.patterns, sentences)
    return inferred


def _add_synonyms(
    inferred: KnownValuesConfig,
    synonyms: Mapping[str, Mapping[str, Iterable[str]]],
    tokenizer: Tokenizer,
    stem: str,
) -> None:
    """Write a file for each slot; of a text that stands for two values, the first counts."""
    lines = []
    for slot, values in synonyms.items():
        if not slot:
            names = ", ".join(repr(value) for value in list(values)[:3])
            count = format_count(len(values), "value")
            inferred.reasons.append(f"synonyms of {count} are left out, since no slot has {names}")
            continue
        meanings: dict[str, str] = {}
        ambiguous: list[str] = []
        file = StringIO()
        for value, others in values.items():
            row = []
            for text in (value, *others):
                form = phrase_form(text, tokenizer)
                if meanings.setdefault(form, value) != value:
                    ambiguous.append(text)
                elif form and not re.search(r"[\r\n]", text):
                    row.append(text.strip())
            if len(row) > 1 and row[0] == value.strip():
                csv.writer(file, lineterminator="\n").writerow(dict.fromkeys(row))
        if file.getvalue():
            name = inferred.add_file(f"{stem}.{slot}", ".csv", file.getvalue())
            lines.append(f"  {quote(slot)}: {quote(name)}")
            inferred.reasons.append(f"synonyms: those of slot '{slot}', written to {name}")
        if ambiguous:
            texts = ", ".join(map(repr, ambiguous[:3]))
            inferred.reasons.append(
                f"synonyms: of slot '{slot}', {texts} would stand for two values; the first is kept"
            )
    if lines:
        inferred.lines += ["synonyms:  # what values stand for", *lines]


def _add_lists(
    inferred: KnownValuesConfig,
    lists: Mapping[str, Sequence[str]],
    sentences: Sequence[Sentence],
    tokenizer: Tokenizer,
    stem: str,
) -> None:
    """Write a file for each list that has values which no slot of the sentences has."""
    slots = ((sentence, slot) for sentence in sentences for slot in sentence.slots or ())
    seen = {phrase_form(sentence.value(slot), tokenizer) for sentence, slot in slots}
    files = []
    for name, values in lists.items():
        texts = [" ".join(value.split()) for value in values]
        forms = {form for text in texts if (form := phrase_form(text, tokenizer))}
        if new := len(forms - seen):
            file = inferred.add_file(
                f"{stem}.{name}", ".txt", "".join(f"{text}\n" for text in dict.fromkeys(texts))
            )
            files.append(file)
            inferred.reasons.append(
                f"gazetteer: the list '{name}' of {format_count(len(forms), 'value')}, {new:,} of"
                f" which no slot of the training sentences has, written to {file}"
            )
        else:
            inferred.reasons.append(
                f"the list '{name}' is left out, since slots of the training sentences have all of"
                " its values"
            )
    if files:
        inferred.lines += ["embedding:", *(f"  - {name}" for name in DEFAULT_EMBEDDING)]
        inferred.lines.append(f"  - {{name: gazetteer, lists: [{', '.join(map(quote, files))}]}}")


def _add_rules(
    inferred: KnownValuesConfig,
    patterns: Mapping[str, Sequence[str]],
    sentences: Sequence[Sentence],
) -> None:
    """Make patterns named after a slot rules, unless training sentences contradict them."""
    names = {slot.name for sentence in sentences for slot in sentence.slots or ()}
    if others := [name for name in patterns if name not in names]:
        listed = ", ".join(map(repr, others[:5]))
        inferred.reasons.append(f"regular expressions of no slot are left out: {listed}")
    rules, comments = [], []
    pairs = [(name, pattern) for name in patterns if name in names for pattern in patterns[name]]
    for name, pattern in pairs:
        line = f"  - {{slot: {quote(name)}, pattern: {json.dumps(pattern, ensure_ascii=False)}}}"
        try:
            parse_config(f"rules:\n{line}\n", "rule")
        except ConfigError as error:
            inferred.reasons.append(
                f"the regular expression {pattern!r} of slot '{name}' is left out:"
                f" {error.errors[0].message}"
            )
            continue
        rule = Rules([{"slot": name, "action": "fill", "pattern": pattern}])
        filled = [(sentence, slot) for sentence in sentences for slot in rule.fill(sentence)]
        right = sum(slot in (sentence.slots or ()) for sentence, slot in filled)
        matches = f"match{'' if len(filled) == 1 else 'es'} in the training sentences"
        what = f"{right:,} of {len(filled):,} {matches} are the slot"
        if right == len(filled):
            rules.append(line)
            inferred.reasons.append(f"rules: '{pattern}' fills slot '{name}': {what}")
        else:
            comments.append(f"#{line[1:]}  # {what}")
            inferred.reasons.append(f"rules: '{pattern}' of slot '{name}' is a comment: {what}")
    if rules:
        inferred.lines += ["rules:", *rules]
    elif comments:
        inferred.lines.append("# rules:")
    inferred.lines += comments


def quote(text: str) -> str:
    """Return `text` as a YAML string, in quotes where it needs them."""
    plain = re.fullmatch(r"[A-Za-z_./][\w./-]*", text, re.ASCII)
    is_word = text.lower() in ("null", "true", "false", "yes", "no", "on", "off", "y", "n")
    return text if plain and not is_word else json.dumps(text, ensure_ascii=False)
