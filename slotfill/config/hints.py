"""Hints on names and keys that other toolkits have, or that belong in another section."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import cache
from typing import Any

_BERT = "pretrained transformers are embeddings: embedding={name: transformer, path: FOLDER}"
_BILSTM = "the default encoder, 'recurrent' with cell lstm, is a BiLSTM"
_RECURRENT = "use encoder=recurrent with encoder.cell"
_PRETRAINED = "use {name: pretrained, path: FILE}"

_PART_HINTS = {
    "encoder": {
        "bilstm blstm bidirectionallstm lstm": _BILSTM,
        "gru bigru rnn birnn": f"{_RECURRENT}=gru",
        "cnn conv convolution conv1d idcnn tcn": "did you mean 'dilated_cnn'?",
        "mlp dense linear": "'feedforward' with a window reads neighbours",
        "bert roberta distilbert electra xlmr minilm": _BERT,
    },
    "embedding": {
        "bert roberta distilbert electra xlmr minilm": _BERT,
        "glove word2vec w2v fasttext": _PRETRAINED,
        "char chars character characters cnn charlstm": "did you mean 'char_cnn'?",
        "words token tokens learned random": "did you mean 'word'?",
        "subword subwords bpe": "did you mean 'ngrams'?",
    },
    "cell": {
        "bilstm blstm": "use lstm; encoder.bidirectional is true by default",
        "rnn srn simplernn vanilla tanh": "did you mean 'elman'?",
        "xlstm": "its cells are 'slstm' and 'mlstm'",
        "vrnn storn draw": "it is a generator of sentences; set generator",
        "variational": "it is now called 'kl_bottleneck'",
    },
    "tagger": {
        "bilstmcrf lstmcrf linearcrf viterbi hmm": "did you mean 'crf'?",
        "linear dense classifier argmax greedy": "did you mean 'softmax'?",
        "seq2seq decoder lstm rnn": "'focus' and 'aligned' are recurrent decoders",
        "attention soft hard xu": "did you mean 'show_attend_tell'?",
    },
    "intent": {"softmax linear dense classifier max pooling cls": "did you mean 'mean'?"},
    "format": {
        "bio iob iob2 tsv conll2003": "did you mean 'conll'?",
        "json": "did you mean 'jsonl'?",
        "md markdown": "did you mean 'brackets'?",
    },
}

_SYNONYMS = {
    "lr": "learning_rate",
    "max_epochs": "epochs",
    "num_epochs": "epochs",
    "early_stopping": "patience",
    "max_grad_norm": "gradient_clip",
    "clip": "gradient_clip",
    "num_layers": "layers",
    "workers": "processes",
    "dev": "valid",
    "development": "valid",
    "validation": "valid",
}


def hint_at_part(kind: str, name: str) -> str:
    """Return how the part that is known as `name` elsewhere is written here, or nothing."""
    word = re.sub("[^a-z0-9]", "", name.lower())
    hints = _PART_HINTS.get(kind, {}).items()
    return next((hint for names, hint in hints if word in names.split()), "")


def usual_name(name: str) -> str:
    """Return what a key that is known as `name` elsewhere is called here."""
    name = name.lower().replace("-", "_")
    return _SYNONYMS.get(name, name)


def find_section_keys(name: str, section: str, allowed: Iterable[str]) -> list[str]:
    """Return the full keys, such as `train.epochs`, that an unknown key `name` may mean.

    They are outside `section`, and none of the `allowed` keys in it has a name that is as near.
    """
    keys = [key for key in _section_keys() if not section or f".{section}" not in f".{key}"]
    names = {key.rpartition(".")[2] for key in keys} | set(allowed)
    near = get_close_matches(usual_name(name), names, n=1, cutoff=0.8)
    if set(near) & set(allowed):
        return []
    return [key for key in keys if key.rpartition(".")[2] in near]


@cache
def _section_keys() -> list[str]:
    """Return the keys of all sections, and of the parts that a config has by default."""
    from slotfill.config.models import Config

    sections = Config.model_validate({}).model_dump().items()
    return [key for name, section in sections for key in _keys_below(name, section)]


def _keys_below(section: str, value: Any) -> Iterator[str]:
    for name, inner in value.items() if isinstance(value, dict) else ():
        if name != "name":
            yield f"{section}.{name}"
            yield from _keys_below(f"{section}.{name}", inner)
