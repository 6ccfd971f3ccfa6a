"""Slot tagging by spaCy: tok2vec and ner with its `efficiency` settings, trained from scratch.

    PYTHON benchmarks/peers/spacy_ner.py train CORPUS MODEL         prints JSON: seconds, steps, ...
    PYTHON benchmarks/peers/spacy_ner.py predict MODEL              a worker: see worker.py
    PYTHON benchmarks/peers/spacy_ner.py answer MODEL SENTENCE      from start to answer

PYTHON is that of the environment that environment.py makes. Training is `spacy train` of the config
that `spacy init config --pipeline ner --optimize efficiency` gives, unchanged but for a tokenizer
that splits at spaces. Without valid, it ends after 1,000 steps, and the last model is kept.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import spacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.tokens import Span as Entity
from spacy.vocab import Vocab
from worker import Span, corpus, main, spans

STEPS = 1000
"""Of training without sentences that could select a step, as many as slotfill's."""


class SpaceTokenizer:
    """A tokenizer that splits at spaces."""

    def __init__(self, vocab: Vocab) -> None:
        self.vocab = vocab

    def __call__(self, text: str) -> Doc:
        return Doc(self.vocab, words=text.split())

    def to_disk(self, path: Path, **_: Any) -> None:
        """Save nothing: there is nothing to it."""

    def from_disk(self, path: Path, **_: Any) -> None:
        """Load nothing."""


@spacy.registry.tokenizers("spaces")
def make_space_tokenizer() -> Callable[[Language], SpaceTokenizer]:
    """Return what makes the tokenizer of a pipeline."""
    return lambda nlp: SpaceTokenizer(nlp.vocab)


def save(folder: Path, split: str, path: Path) -> None:
    """Write a split of the corpus `folder` to `path` as spaCy reads it."""
    vocab, docs = Vocab(), DocBin()
    for words, tags in corpus(folder, split):
        doc = Doc(vocab, words=words)
        doc.set_ents([Entity(doc, start, end, label=name) for name, start, end in spans(tags)])
        docs.add(doc)
    docs.to_disk(path)


def train(folder: Path, model: Path) -> dict[str, Any]:
    """Train on the corpus `folder` and save the model, the best one on valid, to `model`."""
    from spacy.cli.init_config import init_config
    from spacy.training.initialize import init_nlp
    from spacy.training.loop import train as run

    with TemporaryDirectory() as room:
        config = init_config(lang="en", pipeline=["ner"], optimize="efficiency", gpu=False)
        config["nlp"]["tokenizer"] = {"@tokenizers": "spaces"}
        has_valid = any(folder.glob("valid*"))
        for split, name in (("train", "train"), ("valid" if has_valid else "train", "dev")):
            save(folder, split, Path(room, f"{name}.spacy"))
            config["paths"][name] = str(Path(room, f"{name}.spacy"))
        if not has_valid:
            config["training"] |= {"max_steps": STEPS, "eval_frequency": STEPS, "patience": 0}
        nlp = init_nlp(config)
        run(nlp, Path(room), stdout=sys.stderr)
        kept = "model-best" if has_valid else "model-last"
        shutil.copytree(Path(room, kept), model, dirs_exist_ok=True)
    best = spacy.load(model).meta["performance"]
    return {
        "peer": "spaCy efficiency",
        "spacy": spacy.__version__,
        "valid_f1": 100 * best["ents_f"],
    }


class Tagger:
    """A model at work."""

    def __init__(self, model: Path) -> None:
        self.nlp = spacy.load(model)

    def __call__(self, texts: Iterable[str]) -> Iterator[tuple[str, list[str], list[Span]]]:
        for doc, text in self.nlp.pipe(
            ((text, text) for text in texts), as_tuples=True, batch_size=256
        ):
            yield (
                text,
                text.split(),
                [(entity.label_, entity.start, entity.end) for entity in doc.ents],
            )


if __name__ == "__main__":
    main(train, Tagger)
