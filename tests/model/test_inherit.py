"""A network that continues another one computes the same for what the other one knew."""

from __future__ import annotations

import pytest
import torch
from part_cases import SENTENCES, networks, randomize

from slotfill.data.batching import make_batch
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.vocab import Vocab
from slotfill.errors import RunError
from slotfill.model.ensemble import Ensemble
from slotfill.model.inherit import inherit_weights
from slotfill.model.network import Network
from slotfill.model.taggers.softmax import Softmax

NEW = [
    # Frequent words, so that the old ones change their rows; names before, between and after.
    Sentence.from_tokens(["ßß"] * 9 + ["öö"], [Slot("aisle", 0, 2), Slot("seat", 3, 4)], "book"),
    Sentence.from_tokens(["öö", "ßß"], [Slot("zone", 0, 2)], "book"),
]
BASE = [sentence for sentence in SENTENCES if sentence.intent != "go#ask"]
TOKENS = [sentence.tokens for sentence in BASE]


def predict(model, tokens):
    batch = make_batch(tokens, model.indexers)
    with torch.no_grad():
        return model.eval().scores(batch)


def silence_new(model, vocab, base_vocab):
    """Make new tags and intents impossible, as if there were none."""
    names = {f"tags{len(vocab.tags)}": (vocab.tags, base_vocab.tags)}
    names |= {f"intents{len(vocab.intent_names)}": (vocab.intent_names, base_vocab.intent_names)}
    for name, parameter in model.named_parameters():
        kind = {"tagger": "tags", "intent": "intents"}.get(name.split(".")[0], "")
        after, before = names.get(f"{kind}{len(parameter)}", ([], []))
        if parameter.dim() == 1 and name.endswith("bias"):
            for row, label in enumerate(after):
                if label not in before:
                    parameter.data[row] = -1e4


@pytest.mark.parametrize("parts", networks(inner=False))
def test_old_words_tags_and_intents_keep_their_scores(parts):
    base_vocab = Vocab.from_sentences(BASE, "bioes", intents=True)
    base = Network(base_vocab, *parts)
    randomize(base, 3)
    base.tagger.finish_training()
    restored = Vocab(
        base_vocab.tokens,
        base_vocab.tags,
        "bioes",
        base_vocab.resources,
        base_vocab.intents,
    )
    vocab = restored.grow([*BASE[:2], *NEW])
    assert len(vocab.tags) > len(base_vocab.tags)
    assert vocab.intent_names[: len(base_vocab.intent_names)] == base_vocab.intent_names
    torch.manual_seed(4)
    model = Network(vocab, *parts)
    inherit_weights(model, base, vocab, base_vocab)
    silence_new(model, vocab, base_vocab)
    before, after = predict(base, TOKENS), predict(model, TOKENS)
    old_tags = [vocab.tag_ids[tag] for tag in base_vocab.tags]
    for row, tokens in enumerate(TOKENS):
        assert after.emissions[row, : len(tokens), old_tags] == pytest.approx(
            before.emissions[row, : len(tokens)].T, abs=1e-4
        )
    if before.transitions:
        assert after.transitions.matrix[old_tags][:, old_tags] == pytest.approx(
            before.transitions.matrix
        )
    if before.intent_logits is not None:
        assert after.intent_logits[:, : len(base_vocab.intent_names)] == pytest.approx(
            before.intent_logits, abs=1e-4
        )


def test_what_is_new_keeps_its_initial_value_and_members_are_inherited_one_by_one():
    base_vocab = Vocab.from_sentences(BASE, "iob2")
    vocab = base_vocab.grow(NEW)
    base, fresh, model = (
        Ensemble([Network(own, ["word"], "recurrent", "crf") for _ in range(2)])
        for own in (base_vocab, vocab, vocab)
    )
    model.load_state_dict(fresh.state_dict())
    inherit_weights(model, base, vocab, base_vocab)
    new = [row for row, tag in enumerate(vocab.tags) if tag not in base_vocab.tags]
    for old, start, member in zip(base.members, fresh.members, model.members, strict=True):
        assert torch.equal(member.tagger.linear.weight[new], start.tagger.linear.weight[new])
        rows = [each.embeddings[0].indexer.ids["leave"] for each in (member, old)]
        assert rows[0] != rows[1], "its row has moved"
        vectors = [
            each.embeddings[0].vectors.weight[row]
            for each, row in zip((member, old), rows, strict=True)
        ]
        assert torch.equal(*vectors)
        row = member.embeddings[0].indexer.ids["ßß"]
        vectors = [each.embeddings[0].vectors.weight[row] for each in (member, start)]
        assert torch.equal(*vectors)


def test_a_part_that_grows_in_an_unknown_way_is_named():
    class Doubled(Softmax):
        def __init__(self, input_size, vocab):
            super().__init__(input_size, vocab)
            self.pairs = torch.nn.Parameter(torch.zeros(2 * len(vocab.tags)))

    base_vocab = Vocab.from_sentences(BASE, "iob2")
    vocab = base_vocab.grow(NEW)
    base, model = (Network(own, ["word"], "recurrent", "crf") for own in (base_vocab, vocab))
    for network, own in ((base, base_vocab), (model, vocab)):
        network.tagger = Doubled(256, own)
    with pytest.raises(RunError, match=r"tagger.pairs was \(10,\) and is now \(20,\)"):
        inherit_weights(model, base, vocab, base_vocab)


def test_growing_counts_no_old_sentence_twice():
    base = Vocab.from_sentences(BASE, "iob2", intents=True)
    same = base.grow(BASE[:2])
    assert (same.tokens, same.tags, same.intents) == (base.tokens, base.tags, base.intents)
    grown = base.grow([*BASE, *NEW])
    assert grown.tokens["ßß"] == 10 and grown.tokens["leave"] == base.tokens["leave"]
    assert grown.slot_names == ["aisle", "from", "seat", "time", "zone"]
    assert list(grown.intents) == [*base.intents, "book"]
