"""Contracts of every format, and properties of single formats."""

from __future__ import annotations

import io
import json
from itertools import pairwise
from unicodedata import normalize

import pytest
from conftest import empty_folder
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from slotfill.config.registry import FORMATS
from slotfill.data.corpus import read_sentences, write_sentences
from slotfill.data.detection import writable_formats
from slotfill.data.formats.base import Format
from slotfill.data.schemes import SCHEMES
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.tokenizers import TOKENIZERS, Tokenizer, is_empty
from slotfill.errors import DataError, UsageError
from slotfill.text_lines import decode_lines

EXAMPLES = settings(max_examples=15, derandomize=True)
# No surrogates, which UTF-8 cannot hold, and no NUL, which no text file holds. A line that is empty
# but for a byte-order mark would lose the mark at the start of a file.
ANY_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), max_size=20)
TEXT = ANY_TEXT | st.text(alphabet="ab 台北[]()\\\"'#-:.\t\n\r\u2028\u0301👋🏽\u200d", max_size=20)
NAMES = st.sampled_from(["city", "fromloc.city-name", "出發地", "O", "B-x"]) | st.text(
    "ab()[]\\-#", min_size=1, max_size=4
)


@st.composite
def labelled(draw, tokens: st.SearchStrategy[str] | None = None, tokenizer: str = "words"):
    """Draw a sentence with slots, from tokens or from text."""
    if tokens is None:
        sentence = Tokenizer(tokenizer).tokenize(draw(TEXT.filter(lambda text: not is_empty(text))))
    else:
        sentence = Sentence.from_tokens(draw(st.lists(tokens, min_size=1, max_size=6)))
    cuts = st.lists(st.integers(0, len(sentence.tokens)), max_size=6, unique=True).map(sorted)
    edges = draw(cuts)
    kept = [pair for pair in pairwise(edges) if draw(st.booleans())]
    sentence.slots = [Slot(draw(NAMES), start, end) for start, end in kept]
    return sentence


def with_intents(sentences, format):
    """Give sentences without an intent one if the format needs it; return them all."""
    if FORMATS.part(format).load().needs_intents:
        for sentence in sentences:
            sentence.intent = sentence.intent or "go"
    return sentences


def arrange(sentences, format):
    """Return `sentences` in the order in which the format writes them."""
    return list(FORMATS.build(format).arrange(sentences))


def there_and_back(sentences, format, scheme="iob2", tokenizer="words", labelled=True):
    with empty_folder() as folder:
        path = folder / "split"
        # `write_sentences` would do so in a folder of its own: test_format_pairs.py.
        FORMATS.build(format).write(path, sentences, scheme=scheme)
        reading = read_sentences(
            path,
            format=format,
            scheme=scheme,
            tokenizer=tokenizer,
            keep_tokens=True,
            labelled=labelled,
        )
        assert [entry.name for entry in folder.iterdir()] == ["split"]
    assert reading.repaired_tags == 0
    return reading.sentences


def content(sentences):
    """All of each sentence but its location; its tokens as they are read, Unicode-normalized."""
    return [
        (s.text, [normalize("NFC", t) for t in s.tokens], s.offsets, s.slots, s.intent)
        for s in sentences
    ]


PIECES = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\ufeff \t\r\n"), min_size=1, max_size=6
).filter(lambda text: not is_empty(text))


@pytest.mark.parametrize("format", ["conll", "jointslu", "parquet", "token_tag"])
@given(data=st.data(), scheme=st.sampled_from([*SCHEMES]))
@settings(EXAMPLES, max_examples=30)
def test_any_tokens_round_trip(format, scheme, data):
    sentences = data.draw(st.lists(labelled(PIECES), min_size=1, max_size=4))
    assert content(there_and_back(sentences, format, scheme)) == content(sentences)


@pytest.mark.parametrize("format", ["jsonl", "brackets", "clu", "label_studio", "parquet", "spacy"])
@given(data=st.data(), tokenizer=st.sampled_from([*TOKENIZERS]))
@settings(EXAMPLES, max_examples=25)
def test_any_text_round_trips(format, tokenizer, data):
    sentences = data.draw(st.lists(labelled(tokenizer=tokenizer), min_size=1, max_size=4))
    assert content(there_and_back(sentences, format, tokenizer=tokenizer)) == content(sentences)


@pytest.mark.parametrize("format", writable_formats())
@given(data=st.data(), scheme=st.sampled_from([*SCHEMES]))
@EXAMPLES
def test_plain_words_round_trip_through_every_format(format, scheme, data):
    words = st.sampled_from(
        ["fly", "to", "台", "#", "o'clock", "दिल्ली", "[", ")", "\\", "3.5", "O"]
    )
    sentences = with_intents(data.draw(st.lists(labelled(words), min_size=1, max_size=4)), format)
    try:
        sentences = arrange(sentences, format)
    except DataError:  # Rasa has no escapes for its brackets.
        reject()
    assert content(there_and_back(sentences, format, scheme, "whitespace")) == content(sentences)


def formats_that(holds):
    """The names of the formats that are written and whose property `holds` is set."""
    return [name for name in writable_formats() if getattr(FORMATS.part(name).load(), holds)]


@pytest.mark.parametrize("format", formats_that("holds_unlabelled"))
def test_unlabelled_sentences_round_trip(format):
    sentences = [Sentence.from_tokens(["fly", "to", "Taipei"]), Sentence.from_tokens(["#"])]
    assert content(there_and_back(sentences, format, labelled=False)) == content(sentences)


@pytest.mark.parametrize("format", formats_that("holds_intents"))
def test_intents_round_trip(format):
    sentences = [
        Sentence.from_tokens(["fly"], [], "book#flight a"),
        Sentence.from_tokens(["#"], [Slot("x", 0, 1)]),
        Sentence.from_tokens(["go"], [], "訂票"),
    ]
    sentences = arrange(with_intents(sentences, format), format)
    assert content(there_and_back(sentences, format)) == content(sentences)


@pytest.mark.parametrize("format", writable_formats())
def test_three_thousand_tokens(format):
    sentence = Sentence.from_tokens(
        ["fly", "Taipei"] * 1500, [Slot("city", at, at + 1) for at in range(1, 3000, 2)]
    )
    sentences = with_intents([sentence], format)
    assert content(there_and_back(sentences, format)) == content(sentences)


@pytest.mark.parametrize("format", writable_formats())
def test_byte_order_mark_and_crlf(format, tmp_path):
    sentences = [
        Sentence.from_tokens(["fly", "Taipei"], [Slot("city", 1, 2)]),
        Sentence.from_tokens(["go"], []),
    ]
    path = tmp_path / "split"
    write_sentences(path, with_intents(sentences, format), format=format)
    for file in [path] if path.is_file() else list(path.iterdir()):
        if b"\0" in file.read_bytes():
            pytest.skip("not a text file")
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert content(read_sentences(path, format=format).sentences) == content(sentences)


@pytest.mark.parametrize("format", writable_formats())
def test_options_are_json_values(format):
    part = FORMATS.part(format)
    assert part.summary.endswith(".")
    assert all(option.type for option in part.options.values())


def read(tmp_path, format, text, **keys):
    path = tmp_path / "file"
    path.write_text(text, encoding="utf-8", newline="")
    return read_sentences(path, format=format, **keys)


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ("a\u2028b\x85c\x0bd\r\ne", ["a\u2028b\x85c\x0bd", "e"]),
        ("a\rb\r\rc", ["a", "b", "", "c"]),
        ("a\rb\r", ["a", "b"]),
        ("a\r\n\r\nb\r\n", ["a", "", "b"]),
        ("", []),
        ("\ufeffa\r", ["a"]),
    ],
)
def test_lines_end_in_lf_or_crlf_or_in_cr_without_any_lf(content, lines):
    file = io.BytesIO(content.encode())
    assert [text for _, text in decode_lines(file, "x")] == lines


@pytest.mark.parametrize(
    ("content", "line", "column"),
    [("a\nbc\rd\n", 2, 3), ("a\rb\n", 1, 2), ("a\n\nb\rc", 3, 2), ("a\r\r\nb\r\r\n", 1, 2)],
)
def test_a_cr_in_a_file_whose_lines_end_in_lf_is_an_error(content, line, column):
    with pytest.raises(DataError) as error:
        list(decode_lines(io.BytesIO(content.encode()), "x"))
    assert str(error.value) == (
        f"x:{line}: a CR at column {column}, though lines end in LF; replace it by LF or a space"
    )


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-32-be"])
def test_a_byte_order_mark_of_another_encoding_is_named(encoding):
    text = "fly\n" if encoding in ("utf-16", "utf-32") else "\ufefffly\n"
    with pytest.raises(DataError) as error:
        list(decode_lines(io.BytesIO(text.encode(encoding)), "x"))
    name = encoding[:6]
    assert str(error.value) == (
        f"x:1: {name.upper()}, not UTF-8; save it as UTF-8, e.g. iconv -t utf-8 -f {name}"
    )


def test_lines_that_are_not_utf_8_are_replaced_or_skipped_and_logged(caplog):
    content = b"fly\nto \xe9\nnow\n"
    replaced = decode_lines(io.BytesIO(content), "x", "replace")
    assert list(replaced) == [(1, "fly"), (2, "to \ufffd"), (3, "now")]
    assert caplog.messages == [
        "x:2: not UTF-8 (byte 0xe9 at column 4); replaced",
        "x: 1 line is not UTF-8",
    ]
    skipped = decode_lines(io.BytesIO(content), "x", "skip")
    assert list(skipped) == [(1, "fly"), (3, "now")]


@pytest.mark.parametrize("format", ["brackets", "conll"])
def test_a_file_with_cr_line_ends_is_read(format, tmp_path):
    text = {"brackets": "to [Rome](city)\rgo\r", "conll": "to\tO\rRome\tB-city\r\rgo\tO\r"}[format]
    sentences = read(tmp_path, format, text).sentences
    assert [(s.text, s.slots) for s in sentences] == [
        ("to Rome", [Slot("city", 1, 2)]),
        ("go", []),
    ]


@pytest.mark.parametrize(
    "comment", ["# id x\tdomain=en", "# id 7f domain=en", "# text = fly to Rome", "# sent_id 3"]
)
def test_conll_comments_before_a_sentence_are_skipped(comment, tmp_path):
    for separator in "\t ":
        text = f"{comment}\nto{separator}O\nRome{separator}B-city\n\n{comment}\ngo{separator}O\n"
        sentences = read(tmp_path, "conll", text).sentences
        assert [s.tokens for s in sentences] == [["to", "Rome"], ["go"]]


def test_jsonl_tokens_are_found_in_their_text(tmp_path):
    text = '{"text": "in St.Louis!", "tokens": ["in", "St.", "Louis", "!"], "tags": %s}\n'
    tags = '["O", "B-city", "I-city", "O"]'
    (sentence,) = read(tmp_path, "jsonl", text % tags).sentences
    assert sentence.text == "in St.Louis!" and sentence.value(sentence.slots[0]) == "St.Louis"


CONLL = """-DOCSTART- -X- O O

# id = 7
# intent: flight
# NN O
to TO O
New NNP I-city
York NNP I-city

-DOCSTART- -X- O O

go VB O"""


def test_conll_of_four_columns(tmp_path):
    reading = read(tmp_path, "conll", CONLL)
    first, second = reading.sentences
    assert first.tokens == ["#", "to", "New", "York"]
    assert first.slots == [Slot("city", 2, 4)]
    assert (first.intent, first.location) == ("flight", f"{tmp_path / 'file'}:5")
    assert (second.intent, second.location) == (None, f"{tmp_path / 'file'}:12")
    assert reading.repaired_tags == 1
    assert read(tmp_path, "conll", CONLL, scheme="iob1").repaired_tags == 0


def test_conll_columns_by_position(tmp_path):
    part = {"name": "conll", "token": 1, "tag": 0, "separator": "tab"}
    text = "B-city\tNew York\tx\nO\tnow\tx\n"
    (sentence,) = read(tmp_path, part, text, keep_tokens=True).sentences
    assert sentence.tokens == ["New York", "now"]
    assert sentence.slots == [Slot("city", 0, 1)]


def test_conll_is_written_with_tabs(tmp_path):
    write_sentences(
        tmp_path / "x.conll",
        [Sentence.from_tokens(["to", "台北"], [Slot("c", 1, 2)], "go")],
        scheme="bioes",
    )
    assert (tmp_path / "x.conll").read_text(
        encoding="utf-8"
    ) == "# intent: go\nto\tO\n台北\tS-c\n\n"


def test_jsonl_of_both_shapes(tmp_path):
    text = (
        '{"tokens": ["to", "Taipei"], "tags": ["O", "I-city"], "intent": "go", "id": 3}\n\n'
        '{"text": "to Taipei", "slots": [{"name": "city", "start": 3, "end": 9}]}\n'
    )
    reading = read(tmp_path, "jsonl", text)
    assert [(s.tokens, s.slots, s.intent) for s in reading.sentences] == [
        (["to", "Taipei"], [Slot("city", 1, 2)], "go"),
        (["to", "Taipei"], [Slot("city", 1, 2)], None),
    ]
    assert reading.repaired_tags == 1


def test_jsonl_output(tmp_path):
    sentence = Tokenizer("words").tokenize("到 台北!")
    sentence.slots = [Slot("city", 1, 3)]
    write_sentences(tmp_path / "x.jsonl", [sentence])
    assert (tmp_path / "x.jsonl").read_text(encoding="utf-8") == (
        '{"text": "到 台北!", "slots": [{"name": "city", "value": "台北", "start": 2, "end": 4}]}\n'
    )


@given(sentence=labelled(), intent=st.none() | ANY_TEXT)
@EXAMPLES
def test_jsonl_lines_equal_json_dumps(sentence, intent):
    sentence.intent = intent
    row = {"text": sentence.text, "slots": []}
    for slot in sentence.slots:
        start, end = sentence.span(slot)
        row["slots"].append(
            {"name": slot.name, "value": sentence.value(slot), "start": start, "end": end}
        )
    if intent:
        row["intent"] = intent
    assert (
        FORMATS.build("jsonl").render(sentence, scheme="iob2")
        == json.dumps(row, ensure_ascii=False) + "\n"
    )
    sentence.slots = None
    del row["slots"]
    assert (
        FORMATS.build("jsonl").render(sentence, scheme="iob2")
        == json.dumps(row, ensure_ascii=False) + "\n"
    )


def test_brackets_escapes(tmp_path):
    (sentence,) = read(tmp_path, "brackets", r"f(x) \[y\] \\ [a\nb c](n\)\\) \(z\)").sentences
    assert sentence.text == "f(x) [y] \\ a\nb c (z)"
    assert [(slot.name, sentence.value(slot)) for slot in sentence.slots] == [("n)\\", "a\nb c")]


def test_jointslu_cannot_be_printed():
    with pytest.raises(UsageError, match="cannot be printed; use jsonl"):
        FORMATS.build("jointslu").render(Sentence.from_tokens(["a"], []), scheme="iob2")


@pytest.mark.parametrize(
    ("format", "sentence", "message"),
    [
        (
            "conll",
            Sentence.from_tokens(["New York"], []),
            "the token 'New York' contains a space or a line end, so conll",
        ),
        (
            "conll",
            Sentence.from_tokens(["a"], [Slot("b c", 0, 1)]),
            "the slot name 'b c' contains a space or a line end",
        ),
        (
            "conll",
            Sentence.from_tokens([""], []),
            "the token '' is empty, so conll cannot hold it; write jsonl",
        ),
        (
            "conll",
            Sentence.from_tokens(["-DOCSTART-"], []),
            "conll skips the token '-DOCSTART-'; write jsonl",
        ),
        (
            "conll",
            Sentence.from_tokens(["a"], [], "b\nc"),
            "the intent 'b\\nc' contains a tab or a line end, so conll",
        ),
        (
            "conll",
            Sentence.from_tokens(["a"], [], " b"),
            "the intent ' b' begins or ends with a space, so conll",
        ),
        (
            "jointslu",
            Sentence.from_tokens(["a"], [], "b\nc"),
            "the intent 'b\\nc' contains a tab or a line end, so jointslu",
        ),
        (
            "jointslu",
            Sentence.from_tokens(["a\tb"], []),
            "the token 'a\\tb' contains a space or a line end, so jointslu",
        ),
        (
            "jointslu",
            Sentence.from_tokens(["a"]),
            "sentence: not labelled, though another is; write jsonl, or label all or none",
        ),
    ],
)
def test_unwritable_sentences_are_errors(format, sentence, message, tmp_path):
    sentences = [Sentence.from_tokens(["ok"], []), sentence]
    with pytest.raises(DataError) as error:
        write_sentences(tmp_path / "x", sentences, format=format)
    assert message in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_slot_of_json_lines_with_a_value_alone_is_its_next_occurrence(tmp_path):
    slots = [{"name": "from", "value": "on"}, {"name": "to", "value": "Oslo"}]
    text = json.dumps({"text": "London on Oslo Oslo", "slots": slots})
    (sentence,) = read(tmp_path, "jsonl", text).sentences
    assert sentence.slots == [Slot("from", 1, 2), Slot("to", 2, 3)]
    slots[0]["value"] = "Rome"
    with pytest.raises(DataError, match='1: "value" "Rome" is not in the text'):
        read(tmp_path, "jsonl", json.dumps({"text": "to Oslo", "slots": slots}))


def test_json_whose_text_has_a_link_is_not_read_as_brackets(tmp_path):
    row = json.dumps({"text": "see [this](link) now", "intent": "x"})
    for name in ("a.jsonl", "a.json", "a.txt", "a.dat"):
        for text in (row, f"[{row}]", f"[\n{row}\n]"):
            (tmp_path / name).write_text(text, encoding="utf-8")
            (sentence,) = read_sentences(tmp_path / name, labelled=False).sentences
            assert (sentence.text, sentence.intent) == ("see [this](link) now", "x")


def test_an_end_beyond_the_text_is_corrected_by_the_value(tmp_path):
    slot = {"name": "d", "value": "Rome", "start": 5, "end": 90}
    reading = read(tmp_path, "jsonl", json.dumps({"text": "from Rome", "slots": [slot]}))
    assert reading.sentences[0].slots == [Slot("d", 1, 2)]
    assert "5 to 90 read as 5 to 9" in reading.issues("corrected offset")[0].message


@pytest.mark.parametrize("name", FORMATS.names())
def test_what_cannot_be_printed_is_said_before_a_run_is_loaded(name, cli):
    part = FORMATS.build(name)
    refused = cli("predict", "no-run", "fly", "--format", name)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    is_printed = type(part).render is not Format.render
    assert ("no-run" in refused.err) == is_printed
    assert refused.err.endswith("; use jsonl\n") != is_printed
