"""`evaluate` scores the predictions that `predict` returns for the texts."""

from __future__ import annotations

import json
from zlib import crc32

import numpy as np
import pytest
from conftest import empty_folder
from hypothesis import given, settings
from hypothesis import strategies as st

from slotfill.config.models import Config
from slotfill.config.registry import FORMATS
from slotfill.config.sections import DataConfig
from slotfill.data.corpus import read_sentences, write_sentences
from slotfill.data.detection import writable_formats
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.splits import fit_tokenizer, read_split
from slotfill.data.tokenizers import NORMALIZATIONS, TOKENIZERS, Tokenizer
from slotfill.data.vocab import Vocab
from slotfill.errors import DataError
from slotfill.inference.decoding import Scores
from slotfill.runs.evaluate import evaluate_run
from slotfill.runs.load import Run
from slotfill.runs.predict import Predictor

EXAMPLES = settings(max_examples=12, derandomize=True)
ALPHABET = "ab1é台북에서'’.,:$-[]()\\\"#e\u0301\u200d\u00a0👋🏽"
TEXTS = st.text(ALPHABET + "   ", min_size=1, max_size=16)
TOKENS = st.lists(st.text(ALPHABET, min_size=1, max_size=5), min_size=1, max_size=5)


@st.composite
def corpora(draw, format: str) -> list[Sentence]:
    """Labelled sentences whose slots may begin and end anywhere, as far as the format allows."""
    sentences = []
    for _ in range(draw(st.integers(1, 4))):
        if format in ("conll", "jointslu"):
            sentence = Sentence.from_tokens(draw(TOKENS))
        else:
            text = draw(TEXTS)
            visible = [index for index, char in enumerate(text) if not char.isspace()]
            sentence = Sentence(
                text, list(text), [(index, index + 1) for index in range(len(text))]
            )
            if not visible:
                continue
        edges = sorted(draw(st.sets(st.integers(0, len(sentence.tokens)), max_size=4)))
        sentence.slots = []
        for start, end in zip(edges[::2], edges[1::2], strict=False):
            value = sentence.text[sentence.offsets[start][0] : sentence.offsets[end - 1][1]]
            if value == value.strip():
                sentence.slots.append(Slot("city", start, end))
        sentence.intent = "go" if FORMATS.part(format).load().needs_intents else None
        sentences.append(sentence)
    return sentences or [Sentence.from_tokens(["go"], [])]


@pytest.mark.parametrize("format", writable_formats())
@given(
    data=st.data(),
    tokenizer=st.sampled_from([*TOKENIZERS]),
    normalization=st.sampled_from(NORMALIZATIONS),
)
@EXAMPLES
def test_a_file_is_tokenized_as_prediction_tokenizes_its_texts(
    format, tokenizer, normalization, data
):
    sentences = data.draw(corpora(format))
    with empty_folder() as folder:
        path = folder / "train"
        try:
            FORMATS.build(format).write(path, sentences, scheme="iob2")
            reading = read_sentences(
                path, format=format, tokenizer=tokenizer, normalization=normalization
            )
        except DataError:  # What the format or the tokenizer cannot hold is refused.
            return
    saved = Tokenizer.from_json(reading.tokenizer.to_json())
    assert saved.to_json() == reading.tokenizer.to_json()
    for sentence in reading.sentences:
        predicted_on = saved.tokenize(sentence.text)
        assert (sentence.tokens, sentence.offsets) == (predicted_on.tokens, predicted_on.offsets)


@pytest.mark.parametrize("tokenizer", ["words", "whitespace"])
@given(sentences=corpora("brackets"))
@settings(max_examples=25, derandomize=True)
def test_slots_inside_tokens_keep_their_characters(tokenizer, sentences):
    with empty_folder() as folder:
        path = folder / "train.brackets"
        write_sentences(path, sentences)
        try:
            reading = read_sentences(path, tokenizer=tokenizer)
        except DataError as error:
            # Inside a character, between a letter and its accent, or next to a space.
            assert "cuts the token" in str(error) or "begins or ends with a space" in str(error)
            return
    for sentence, written in zip(reading.sentences, sentences, strict=False):
        if sentence.text == written.text:
            spans = [sentence.span(slot) for slot in sentence.slots]
            assert spans == [written.span(slot) for slot in written.slots]


@pytest.mark.parametrize(
    ("line", "tokens", "text", "predicted"),
    [
        (
            "to [New York](city)'s east",
            ["to", "New", "York", "'s", "east"],
            "Oslo's",
            ["Oslo", "'s"],
        ),
        ("to [Lima](city)’s", ["to", "Lima", "’s"], "OSLO'S now", ["OSLO", "'S", "now"]),
        ("d'[Oslo](city)", ["d'", "Oslo"], "d'Elne", ["d'", "Elne"]),
        ("[서울](city)에서", ["서울", "에서"], "부산에서 가", ["부산", "에서", "가"]),
        ("at [9](hour)am", ["at", "9", "am"], "10AM team", ["10", "AM", "team"]),
        ("[9](hour)[am](half)", ["9", "am"], "8am", ["8", "am"]),
        ("in [St.](street)s", ["in", "St.", "s"], "Rd.s", ["Rd.", "s"]),
        ("pre[paid](kind)ness", ["pre", "paid", "ness"], "prelude", ["prelude"]),
        ("[Londo](city)n", ["Londo", "n"], "in LONDON", ["in", "LONDO", "N"]),
        ("[book](x)s [car](x)s", ["book", "s", "car", "s"], "trees", ["tree", "s"]),
    ],
)
def test_words_learns_to_split_tokens_at_slots(line, tokens, text, predicted, tmp_path):
    (tmp_path / "train.brackets").write_text(line + "\n", encoding="utf-8")
    reading = read_sentences(tmp_path / "train.brackets")
    assert reading.sentences[0].tokens == tokens
    assert reading.tokenizer.tokenize(text).tokens == predicted


def test_affixes_are_learned_from_all_training_sentences_and_used_in_every_split(tmp_path):
    lines = [f"fly to [City{index}](city){'xyz'[index % 3]}!" for index in range(20)]
    (tmp_path / "train.brackets").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "test.brackets").write_text("to [Cityx](city)\n[Rom1](city)y\n", encoding="utf-8")
    data = DataConfig(path=str(tmp_path))
    tokenizer = fit_tokenizer(data)
    assert {form for _, form in tokenizer.suffixes} == {"x", "y", "z"}
    for split in ("valid", "train", "test"):
        reading = read_split(data.model_copy(update={"holdout": 0.1}), split)
        assert reading.tokenizer.to_json() == tokenizer.to_json()
    assert reading.sentences[1].tokens == ["Rom1", "y"]


def test_tokens_of_a_file_are_tokenized_again_unless_given(tmp_path):
    path = tmp_path / "a.conll"
    path.write_text("St.\tB-x\nLouis\tI-x\n's\tO\n", encoding="utf-8")
    again = read_sentences(path)
    assert again.sentences[0].tokens == ["St", ".", "Louis", "'", "s"]
    assert again.sentences[0].slots == [Slot("x", 0, 3)]
    (issue,) = again.issues("retokenized")
    assert issue.message == "St. 's" and issue.location == f"{path}:1"
    given_tokens = read_sentences(path, tokenizer="given")
    assert given_tokens.sentences[0].tokens == ["St.", "Louis", "'s"]
    assert given_tokens.issues("retokenized") == []


def test_given_tokens_that_prediction_would_split_are_an_error(tmp_path):
    path = tmp_path / "a.conll"
    path.write_text("New\u00a0York\tB-x\n", encoding="utf-8")
    with pytest.raises(DataError, match="holds white space, where prediction splits it; set"):
        read_sentences(path, tokenizer="given")
    assert read_sentences(path).sentences[0].slots == [Slot("x", 0, 2)]


def test_composed_and_decomposed_accents_are_one_word():
    tokenizer = Tokenizer("words")
    composed, decomposed = (
        tokenizer.tokenize("São Paulo 서울"),
        tokenizer.tokenize("Sa\u0303o Paulo \u1109\u1165\u110b\u116e\u11af"),
    )
    assert composed.tokens == decomposed.tokens
    assert decomposed.surface_forms[0] == "Sa\u0303o" and decomposed.offsets[1] == (5, 10)
    assert Tokenizer("words", "none").tokenize("e\u0301").tokens == ["e\u0301"]
    characters = Tokenizer("characters")
    assert characters.tokenize("\u1109\u1165\u110b\u116e\u11af").tokens == ["서", "울"]


class HashingEngine:
    """An engine whose tags depend only on the tokens."""

    def __init__(self, num_tags):
        self.num_tags = num_tags
        self.indexers = [self]
        self.is_multi_intent = False

    def index(self, batch):
        ids = np.zeros((len(batch), max(map(len, batch))), np.int64)
        for row, tokens in zip(ids, batch, strict=True):
            row[: len(tokens)] = [crc32(token.encode()) for token in tokens]
        return (ids,)

    def scores(self, batch):
        ((ids,),) = batch.features
        return Scores(np.eye(self.num_tags, dtype=np.float32)[ids % self.num_tags])


@pytest.mark.parametrize("format", writable_formats())
@given(
    data=st.data(),
    tokenizer=st.sampled_from([*TOKENIZERS]),
    misaligned=st.sampled_from(["split", "widen", "skip"]),
)
@EXAMPLES
def test_evaluate_scores_what_predict_gives_for_the_texts(format, tokenizer, misaligned, data):
    sentences = data.draw(corpora(format))
    with empty_folder() as folder:
        path = folder / "train"
        config = Config(
            data=DataConfig(
                train=str(path), format=format, tokenizer=tokenizer, misaligned=misaligned
            )
        )
        try:
            FORMATS.build(format).write(path, sentences, scheme="iob2")
            reading = read_sentences(
                path, format=format, tokenizer=tokenizer, misaligned=misaligned
            )
        except DataError:  # What the format or the tokenizer cannot hold is refused.
            return
        vocab = Vocab.from_sentences(reading.sentences, "iob2", tokenizer=reading.tokenizer)
        vocab = Vocab.from_json(json.dumps(vocab.to_json()).encode())
        run = Run(None, vocab, HashingEngine(len(vocab.tags)), "iob2")
        run.config = config
        result = evaluate_run(run, path=path, overrides=[])
    predictions = Predictor(run).predict([sentence.text for sentence in reading.sentences])
    gold, predicted = set(), set()
    for number, (sentence, prediction) in enumerate(
        zip(reading.sentences, predictions, strict=True)
    ):
        gold |= {(number, slot.name, *sentence.span(slot)) for slot in sentence.slots}
        predicted |= {(number, slot.name, slot.start, slot.end) for slot in prediction.slots}
    correct = len(gold & predicted)
    assert result.overall.support == len(gold)
    assert result.overall.precision == pytest.approx(100 * correct / max(1, len(predicted)))
    assert result.overall.recall == pytest.approx(100 * correct / max(1, len(gold)))
