"""Cases for tests of parts: every registered part in representative options, and sentences."""

from __future__ import annotations

import atexit
import json
import re
import shutil
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np
import pytest

from slotfill.config.option_types import NonNegative
from slotfill.config.registry import CELLS, EMBEDDINGS, REGISTRIES
from slotfill.data.static_table import StaticTable
from slotfill.lab.contracts.samples import (
    SENTENCES,
    UNKNOWN_WORDS,
    compute_loss,
    make_labelled_batch,
    make_vocab,
    randomize,
)

STRANGE = UNKNOWN_WORDS
__all__ = ["SENTENCES", "STRANGE", "compute_loss", "make_labelled_batch", "make_vocab", "randomize"]

SCHEMES = ["iob1", "iob2", "bioes", "bilou"]

DECODER_CELLS = ["elman", "lstm", "clockwork", "kl_bottleneck", "qrnn"]
"""A cell of each kind of state: the output, two tensors, a counter, a loss, sums of other sizes."""

_ROOM = tempfile.mkdtemp(prefix="slotfill-parts-")
atexit.register(shutil.rmtree, _ROOM, ignore_errors=True)
FILES = {
    "pretrained": {"path": f"{_ROOM}/vectors.txt"},
    "transformer": {"path": f"{_ROOM}/transformer"},
    "static": {"path": f"{_ROOM}/table.npz"},
    "gazetteer": {"lists": [f"{_ROOM}/cities.txt", f"{_ROOM}/times.txt"]},
}
"""Options without a default of parts that need a file."""

Path(FILES["pretrained"]["path"]).write_text(
    "".join(
        f"{word} {index / 4} {1 - index / 3} {(-1) ** index * 0.6}\n"
        for index, word in enumerate(
            ["the", "a", "leave", "Taipei", "york", "New", "at", "時間", "never"]
        )
    ),
    encoding="utf-8",
)

_PIECES = ["[UNK]", "leave", "new", "tai", "##pei", "##e", "x", "##x", "a", "7", ":", "時", "11"]
StaticTable(
    _PIECES, np.arange(4 * len(_PIECES)).reshape(-1, 4).astype(np.int8) - 20, 1 / 16, True
).write(Path(FILES["static"]["path"]))

for _file, _phrases in zip(
    FILES["gazetteer"]["lists"],
    (
        "Taipei\nTAIPEI at\nNew York\nBoston\nyes\nSan Juan del Sur\nSan Juan\n",
        "7 p.m.\n\nat\nyes\n11:30\n",
    ),
    strict=True,
):
    Path(_file).write_text(_phrases, encoding="utf-8")

NO_TRANSFORMERS = (
    "" if find_spec("transformers") else "needs transformers: pip install 'slotfill[transformers]'"
)


@cache
def make_transformer() -> None:
    """Write a tiny BERT, with weights drawn at random, where the cases look for it."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)] + list("0123456789:.")
    vocab = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        *letters,
        *("##" + letter for letter in letters),
        "leave",
        "tai",
    ]
    ids = {piece: index for index, piece in enumerate(vocab)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    ends = [(piece, ids[piece]) for piece in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, ends)
    folder = FILES["transformer"]["path"]
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]"
    ).save_pretrained(folder)
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=len(vocab), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=24, max_position_embeddings=32, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)


def copy_with_transformer(run: Path, stored: dict[str, Any], folder: Path) -> Path:
    """Copy `run` to `folder`, with a transformer of what is `stored` in place of its embedding."""
    from slotfill.runs.manifest import RunFiles

    shutil.copytree(run, folder)
    vocab = json.loads((run / "vocab.json").read_text()) | {"resources": {"model": stored}}
    embedding = "embedding: [{name: transformer, path: model}]\n"
    config = re.sub(
        r"^embedding:\n( .*\n)+", embedding, (run / "config.yaml").read_text(), flags=re.M
    )
    assert embedding in config
    RunFiles(folder).replace(
        {"vocab.json": json.dumps(vocab).encode(), "config.yaml": config.encode()}
    )
    return folder


def small(kind: str, name: str) -> dict[str, Any]:
    """The part with small sizes and without noise: every `Fraction`, as all dropouts are, at 0."""
    options: dict[str, Any] = {"name": name}
    if kind == "embedding":
        options |= FILES.get(name, {})
    for option in REGISTRIES[kind].part(name).options.values():
        if "size" in option.name or option.name == "filters":
            options[option.name] = 6  # 2 and 3 heads divide it.
        elif option.name == "periods":
            options[option.name] = [1, 3, 2]
        elif option.name == "max_length" and name == "ngrams":
            # No shorter than any `min_length` that is tried.
            options[option.name] = 3
        elif _bound(option.type, "lt") == 1:
            options[option.name] = 0.0
    return options


def variants(kind: str, name: str, *, inner: bool = True) -> list[dict[str, Any]]:
    """Return the small part, and copies with each option changed to each kind of value.

    They follow from the types of options, so new files and options are tested automatically.
    Without `inner`, the cells of a part are not varied.
    """
    base = small(kind, name)
    found = [base]
    for option in REGISTRIES[kind].part(name).options.values():
        values: list[Any] = []
        if option.name == "kind":
            continue  # tests/data/test_word_vectors.py covers all kinds of files.
        if option.part_kind and not inner:
            continue
        if option.part_kind:
            # All that a cell can be is tried in an encoder; a tagger runs any cell step by step.
            every = [cell for name in CELLS.names() for cell in variants("cell", name)]
            few = [small("cell", name) for name in DECODER_CELLS]
            values = every if kind == "encoder" else few
        elif choices := _choices(option.type):
            values = choices
        elif option.type is bool:
            values = [True, False]
        elif _bound(option.type, "lt") == 1:
            values = [0.5]
        elif option.name not in base and _bound(option.type, "ge") is not None:
            # A number that is not counted has no special value but 0.
            values = [
                _bound(option.type, "ge"),
                2,
                *([3] if option.type is not NonNegative else []),
            ]
        found += [{**base, option.name: value} for value in values]
    return list({repr(part): part for part in found}.values())


def _choices(kind: Any) -> list[Any]:
    """Return all values of a type of choices; for a list each choice, and all together."""
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    if get_origin(kind) is list:
        inner = _choices(get_args(kind)[0])
        return [[choice] for choice in inner] + [inner] * bool(inner)
    if get_origin(kind) in (Union, UnionType):
        return [choice for each in get_args(kind) for choice in _choices(each)]
    return []


def _bound(kind: Any, name: str) -> Any:
    """The bound `name` that a type of slotfill.config.option_types sets, if it does."""
    if get_origin(kind) is not Annotated:
        return None
    bounds = [
        getattr(one, name)
        for field in get_args(kind)[1:]
        for one in getattr(field, "metadata", ())
        if hasattr(one, name)
    ]
    return bounds[0] if bounds else None


def label(options: Any) -> str:
    """A part's options as a test's name shows them."""
    if not isinstance(options, dict):
        return str(options)
    rest = [
        f"{key}={label(value)}"
        for key, value in options.items()
        if key not in ("name", "path", "lists") and "size" not in key
    ]
    return ",".join([options["name"], *rest])


def all_variants(kind: str) -> list[Any]:
    """Every registered part of `kind` in all its variants, as pytest takes parameters."""
    return [
        pytest.param(part, id=label(part))
        for name in REGISTRIES[kind].names()
        for part in variants(kind, name)
    ]


def networks(*, inner: bool = True, options: bool = True) -> list[Any]:
    """Networks that cover every part in each of its variants; `inner` as of `variants`.

    Without `options`, they cover every part once.
    """
    word, recurrent, crf = (
        small("embedding", "word"),
        small("encoder", "recurrent"),
        small("tagger", "crf"),
    )

    def every(kind: str) -> list[dict[str, Any]]:
        names = REGISTRIES[kind].names()
        if not options:
            return [small(kind, name) for name in names]
        return [part for name in names for part in variants(kind, name, inner=inner)]

    found = [
        *(
            ([part] if part["name"] != "gazetteer" else [part, word], recurrent, crf)
            for part in every("embedding")
        ),
        *(([word], part, crf) for part in every("encoder")),
        *(([word], recurrent, part) for part in every("tagger")),
        *(([word], recurrent, crf, part) for part in every("intent")),
        (
            [small("embedding", name) for name in EMBEDDINGS.names() if name != "transformer"],
            recurrent,
            crf,
        ),
    ]
    unique = {repr(parts): parts for parts in found}.values()
    return [
        pytest.param(parts, id=" > ".join(label(p) for p in (*parts[0], *parts[1:])))
        for parts in unique
    ]
