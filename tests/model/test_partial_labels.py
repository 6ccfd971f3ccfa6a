"""Partial labels: tokens marked as not known, from the file to the loss and the scores."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
import torch

from slotfill.config.registry import TAGGERS
from slotfill.data.alignment import align
from slotfill.data.batching import UNKNOWN
from slotfill.data.corpus import read_sentences
from slotfill.data.formats.base import example_from_tokens, render_tags
from slotfill.data.schemes import TagDecoder, all_tags, slots_to_tags, tags_to_slots
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.tokenizers import Tokenizer
from slotfill.data.vocab import Vocab
from slotfill.evaluation.metrics import score_slots
from slotfill.model.taggers.crf import CRF

LENGTHS = torch.tensor([4, 2, 3])


@pytest.mark.parametrize("scheme", ["iob1", "iob2", "bioes"])
def test_crf_loss_sums_all_sequences_that_agree_with_the_known_labels(scheme):
    torch.manual_seed(3)
    tags = all_tags(["x", "y"] if scheme == "iob2" else ["x"], scheme)
    vocab = Vocab({"a": 1}, tags, scheme)
    crf = CRF(5, vocab).double().eval()
    torch.nn.init.normal_(crf.matrix)
    emissions = torch.randn(3, 4, len(tags), dtype=torch.float64)
    decoder = TagDecoder(tags, scheme)
    known = {0: [Slot("x", 0, 1)], 1: [], 2: []}
    unknown = {0: (1, 3), 1: (0, 2), 2: (2, 3)}
    labels = torch.zeros(3, 4, dtype=torch.int64)
    labels[0, 0] = tags.index({"iob1": "I-x", "iob2": "B-x", "bioes": "S-x"}[scheme])
    for row, (start, end) in unknown.items():
        labels[row, start:end] = UNKNOWN
    table = crf.transitions()

    def agrees(row, path):
        slots = decoder(path)
        outside = [slot for slot in slots if slot not in known[row]]
        return all(slot in slots for slot in known[row]) and all(
            unknown[row][0] <= slot.start and slot.end <= unknown[row][1] for slot in outside
        )

    expected = []
    for row, length in enumerate(LENGTHS.tolist()):
        paths = list(product(range(len(tags)), repeat=length))
        scores = np.array(
            [
                table.start[path[0]]
                + table.end[path[-1]]
                + sum(table.matrix[pair] for pair in pairwise(path))
                + sum(float(emissions[row, t, tag]) for t, tag in enumerate(path))
                for path in paths
            ]
        )
        agreeing = np.array([agrees(row, path) for path in paths])
        expected.append(np.logaddexp.reduce(scores) - np.logaddexp.reduce(scores[agreeing]))
    loss = crf.loss(emissions, LENGTHS, labels)
    assert loss.tolist() == pytest.approx(expected, rel=1e-5)


def test_a_sentence_without_any_known_label_has_no_crf_loss():
    vocab = Vocab({"a": 1}, all_tags(["x"], "iob2"), "iob2")
    emissions = torch.randn(3, 4, 3, requires_grad=True)
    loss = CRF(5, vocab).eval().loss(emissions, LENGTHS, torch.full((3, 4), UNKNOWN))
    loss.sum().backward()
    assert loss.tolist() == pytest.approx([0, 0, 0], abs=1e-5)
    assert emissions.grad.abs().max() < 1e-5


@pytest.mark.parametrize("name", sorted(TAGGERS.names()))
def test_every_tagger_learns_nothing_from_the_emissions_of_unknown_tokens(name):
    if name == "crf":
        pytest.skip("a chain sums over the tags of unknown tokens; tested above")
    torch.manual_seed(1)
    vocab = Vocab({"a": 1}, all_tags(["x"], "iob2"), "iob2")
    tagger = TAGGERS.build(name, 6, vocab).eval()
    labels = torch.tensor([[1, UNKNOWN, 0, 0], [UNKNOWN, 2, 0, 0], [0, 0, UNKNOWN, 0]])
    hidden = torch.randn(3, 4, 6)
    emissions = tagger(hidden, LENGTHS, labels).detach().requires_grad_()
    tagger.loss(emissions, LENGTHS, labels).sum().backward()
    assert emissions.grad.isfinite().all()
    assert not emissions.grad[labels == UNKNOWN].any()
    assert emissions.grad[0, 0].any()


CONLL = "to\tO\nNew\tB-city\nYork\tI-city\nat\t?\nnine\t?\n\nhello\tO\n\n"
JSONL = (
    '{"text": "to New York at nine", "slots": [{"name": "city", "start": 3, "end": 11}],'
    ' "unknown": [[12, 19]]}\n{"text": "hello", "slots": []}\n'
)


@pytest.mark.parametrize(("name", "content"), [("a.conll", CONLL), ("a.jsonl", JSONL)])
def test_unknown_labels_are_read_and_written(tmp_path, cli, name, content):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    for source in (path, tmp_path / "again.conll", tmp_path / "again.jsonl"):
        if source != path:
            cli("convert", path, source)
        sentence, other = read_sentences(source, tokenizer=Tokenizer()).sentences
        assert sentence.slots == [Slot("city", 1, 3)]
        unknown = [index for start, end in sentence.unknown for index in range(start, end)]
        assert unknown == [3, 4]
        assert not other.unknown


@pytest.mark.parametrize(
    ("line", "message"),
    [
        *(
            (
                f'"unknown": [{wrong}]',
                f'expected [start, end] with 0 <= start < end <= 7 in "unknown", found {wrong}',
            )
            for wrong in ("3", "[3]", "[3, 99]", "[4, 4]", "[-1, 2]")
        ),
        ('"unknown": [[0, 5]]', "is in a part whose labels are marked as not known"),
    ],
)
def test_unknown_parts_that_are_not_valid(tmp_path, cli, line, message):
    path = tmp_path / "a.jsonl"
    slots = '"slots": [{"name": "city", "start": 3, "end": 7}]'
    path.write_text(f'{{"text": "to Oslo", {slots}, {line}}}\n', encoding="utf-8")
    result = cli("check", f"data.path={path}")
    assert result.code == 3
    assert message in result.err and f"{path}:1" in result.err


@pytest.mark.parametrize(("scheme", "length"), [("iob2", 4), ("bioes", 3), ("bilou", 3)])
def test_tags_with_any_of_them_unknown_give_no_slot_that_is_not_there(scheme, length):
    """For all legal tags; in iob2, a slot seems to end where its last tags are unknown."""
    tokens = list("abcd"[:length])
    for tags in product(all_tags(["x", "y"], scheme), repeat=length):
        truth = tags_to_slots(tags, scheme)
        if slots_to_tags(truth, length, scheme) != list(tags):
            continue
        for unknown in product([False, True], repeat=length):
            seen = ["?" if hidden else tag for tag, hidden in zip(tags, unknown, strict=True)]
            example = example_from_tokens(tokens, seen, scheme, None, ["f:1"])
            found = {(name, start // 2, end // 2 + 1) for name, start, end, _ in example.spans}
            whole = {slot for slot in truth if not any(unknown[slot.start : slot.end])}
            if scheme == "iob2":
                ends = [(slot, end) for slot in truth for end in range(slot.start + 1, slot.end)]
                begun = {
                    slot._replace(end=end)
                    for slot, end in ends
                    if not any(unknown[slot.start : end]) and all(unknown[end : slot.end])
                }
                assert found <= whole | begun
            else:
                assert found == whole
            left = [span for span, hidden in zip(example.offsets, unknown, strict=True) if hidden]
            assert {*left} <= {*example.unknown}


@pytest.mark.parametrize(
    ("tags", "read", "scheme"),
    [
        ("? I-x O", "? ? O", "iob2"),
        ("B-x ? I-x", "? ? ?", "iob2"),
        ("B-x ? I-y", "B-x ? ?", "iob2"),
        ("B-x ? B-x", "B-x ? B-x", "iob2"),
        ("I-x ? B-x", "I-x ? I-x", "iob1"),
        ("B-x ? O", "? ? O", "bioes"),
        ("? I-x E-x", "? ? ?", "bioes"),
    ],
)
def test_a_slot_that_goes_on_in_an_unknown_token_is_unknown_and_reported(tags, read, scheme):
    example = example_from_tokens(["a", "b", "c"], tags.split(), scheme, None, ["f:1"])
    (sentence,) = align([example], Tokenizer(), "error", keep_tokens=True)
    assert " ".join(render_tags(sentence, scheme)) == read
    changed = [pair for pair in zip(tags.split(), read.split(), strict=True) if pair[0] != pair[1]]
    assert [issue.message[:3] for issue in example.issues] == [before for before, _ in changed]


def test_brackets_cannot_hold_unknown_labels(tmp_path, cli):
    path = tmp_path / "a.jsonl"
    path.write_text(JSONL, encoding="utf-8")
    result = cli("convert", path, tmp_path / "a.brackets")
    assert result.code == 3
    assert "brackets cannot hold it" in result.err


def test_predicted_evaluate_slots_unknown_tokens_are_not_scored():
    sentence = Sentence.from_tokens(["to", "New", "York", "at", "nine"], [Slot("city", 1, 3)])
    sentence.unknown = [(3, 5)]
    predicted = [Slot("city", 1, 3), Slot("time", 3, 5)]
    assert score_slots([sentence], [predicted]).overall.f1 == 100
    assert score_slots([sentence], [[]]).tag_accuracy == pytest.approx(100 / 3)
    sentence.unknown = []
    assert score_slots([sentence], [predicted]).overall.f1 < 70
