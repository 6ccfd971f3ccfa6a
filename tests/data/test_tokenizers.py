"""Tokens and their offsets, in many scripts."""

from __future__ import annotations

import random
import tracemalloc
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slotfill.data.sentence import Example, Span
from slotfill.data.tokenizers import TOKENIZERS, Tokenizer
from slotfill.errors import UsageError

WORDS = [
    ("", []),
    (" \t\u3000 ", []),
    ("Fly to New-York, please!", ["Fly", "to", "New", "-", "York", ",", "please", "!"]),
    ("five o'clock or 11:30", ["five", "o'clock", "or", "11:30"]),
    ("it’s $1,000.50 in the u.s.", ["it’s", "$", "1,000.50", "in", "the", "u.s", "."]),
    ("a,b c:d 'n' seat_12", ["a", ",", "b", "c", ":", "d", "'", "n", "'", "seat_12"]),
    ("wait... 3.", ["wait", ".", ".", ".", "3", "."]),
    ("café cafe\u0301 Zürich", ["café", "café", "Zürich"]),
    ("抵達台北101", ["抵", "達", "台", "北", "101"]),
    ("東京へフライト", ["東", "京", "へ", "フ", "ラ", "イ", "ト"]),
    ("서울로 가는 비행기", ["서울로", "가는", "비행기"]),
    ("ไปกรุงเทพ ๑๒.๕", ["ไ", "ป", "ก", "รุ", "ง", "เ", "ท", "พ", "๑๒.๕"]),
    ("ไป\u200bที่iPhone", ["ไ", "ป", "ที่", "iPhone"]),
    ("ໄປ ត្រី မြို့", ["ໄ", "ປ", "ត្", "រី", "မြို့"]),
    ("मुझे दिल्ली जाना है।", ["मुझे", "दिल्ली", "जाना", "है", "।"]),
    ("أريد السَّفَر إلى دُبَي؟", ["أريد", "السَّفَر", "إلى", "دُبَي", "؟"]),
    ("می\u200cخواهم", ["می\u200cخواهم"]),
    ("hi👋🏽you", ["hi", "👋🏽", "you"]),
    ("👩\u200d👩\u200d👧 ❤\ufe0f 🇹🇼🇯🇵", ["👩\u200d👩\u200d👧", "❤\ufe0f", "🇹🇼", "🇯🇵"]),
]

CHARACTERS = [
    ("抵達 台北", ["抵", "達", "台", "北"]),
    ("on 5/2", ["o", "n", "5", "/", "2"]),
    ("cafe\u0301", ["c", "a", "f", "é"]),
    ("か\u3099", ["が"]),
    ("नि", ["नि"]),
    ("👨\u200d👩\u200d👧!", ["👨\u200d👩\u200d👧", "!"]),
    ("葛\U000e0100城", ["葛\U000e0100", "城"]),
]


@pytest.mark.parametrize(("text", "tokens"), WORDS)
def test_words(text, tokens):
    assert Tokenizer("words").tokenize(text).tokens == tokens


@pytest.mark.parametrize(("text", "tokens"), CHARACTERS)
def test_characters(text, tokens):
    assert Tokenizer("characters").tokenize(text).tokens == tokens


def test_whitespace():
    assert Tokenizer("whitespace").tokenize(" fly  to\tst. louis,\u3000please\n").tokens == [
        "fly",
        "to",
        "st.",
        "louis,",
        "please",
    ]


TEXTS = st.text(max_size=40) | st.text("a1_'.,: क्\u200d\u200c\u0301👋🏽🇹ी漢か\ufeff\t", max_size=24)
EXAMPLES = settings(max_examples=100, derandomize=True)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@given(text=TEXTS)
@EXAMPLES
def test_only_spaces_are_lost(tokenizer, text):
    end = 0
    sentence = Tokenizer(tokenizer).tokenize(text, "place")
    for first, last in [*sentence.offsets, (len(text), len(text))]:
        assert end <= first <= last
        assert not text[end:first].strip(" \u200b\ufeff\t\n\r\f\v").strip()
        end = last
    assert sentence.tokens == [
        unicodedata.normalize("NFC", form) for form in sentence.surface_forms
    ]
    assert sentence.text == text
    assert sentence.slots is None
    assert all(sentence.tokens)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@given(text=TEXTS | st.lists(st.text("ab1'.é", max_size=4), max_size=8).map(" ".join))
@EXAMPLES
def test_every_kind_of_space_separates_tokens(tokenizer, text):
    # The text is split at ASCII spaces first; without any, all of it is tokenized at once.
    ideographic = text.replace(" ", "\u3000") + "\u3000"
    tokenize = Tokenizer(tokenizer).tokenize
    assert tokenize(text).offsets == tokenize(ideographic).offsets


def test_unknown_tokenizer():
    with pytest.raises(
        UsageError, match=r"^unknown tokenizer 'word'; did you mean 'words'\? \(allowed: "
    ):
        Tokenizer("word")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "name",
            "word",
            r"unknown tokenizer 'word'; did you mean 'words'\? \(allowed: characters, ",
        ),
        (
            "normalization",
            "O",
            r"unknown tokenizer.normalization 'O' \(allowed: NFC, NFKC, none\)$",
        ),
        ("normalization", "nfkc", "unknown tokenizer.normalization 'nfkc'; did you mean 'NFKC'"),
    ],
)
def test_unknown_settings_of_a_stored_tokenizer(key, value, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        Tokenizer.from_json(Tokenizer().to_json() | {key: value})


def test_affixes_are_split_off_words_of_any_reasonable_length():
    tokenizer = Tokenizer(suffixes=[("letter", "s")])
    assert tokenizer.tokenize("s" * 1000).tokens == ["s"] * 1000
    for length in (1001, 100_000):  # No word: to split it would take long.
        assert tokenizer.tokenize("s" * length).tokens == ["s" * length]
    cities = [Example("Oslo" + "o" * size, [Span("city", 0, 4)]) for size in (90, 101, 100_000)]
    fitted = Tokenizer.fit("words", "NFC", cities)
    assert len(fitted.suffixes) == 1
    assert fitted.tokenize(cities[0].text).tokens == ["Oslo", "o" * 90]


def test_memory_of_affixes_grows_with_the_length_of_a_word_full_of_slots():
    def peak(length: int) -> int:
        word = "".join(random.Random(0).choices("abcdef", k=length))
        spans = [Span("x", start, start + 1) for start in range(0, length, 2)]
        tracemalloc.start()
        try:
            Tokenizer.fit("words", "NFC", [Example(word, spans)])
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(400) < 6 * peak(100)


@given(st.text(max_size=12), st.integers(1, 12), st.sampled_from(["NFC", "NFKC", "none"]))
def test_affixes_are_searched_at_every_length_that_they_can_have(text, size, normalization):
    """Also where a character has several when it is decomposed, or in lower case."""
    for is_suffix, part in ((True, text[-size:]), (False, text[:size])):
        form = Tokenizer("words", normalization)._form(part)
        tokenizer = Tokenizer("words", normalization, [("=", form)], [("=", form)])
        assert not part or len(part) in tokenizer._fit_sizes(text, is_suffix)


def test_affixes_one_by_one_are_split_in_linear_time(monkeypatch):
    counted = []
    form = Tokenizer._form
    monkeypatch.setattr(
        Tokenizer, "_form", lambda self, text: counted.append(1) or form(self, text)
    )
    tokenizer = Tokenizer("words", "NFC", [], [("letter", "b"), ("letter", "m" * 90)])
    assert len(tokenizer.tokenize("\u00e9" + "b" * 900).tokens) == 901
    assert len(counted) < 10 * 900


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("go \U0001f1f9\U0001f1fc\U0001f1f9\U0001f1fc", 4, 6),
        ("go x\U0001f1f9\U0001f1fc", 3, 5),
        ("go \U0001f468\u200d\U0001f469", 5, 6),
        ("go cafe\u0301", 3, 7),
    ],
)
def test_no_affix_is_learned_that_divides_a_character(text, start, end):
    tokenizer = Tokenizer.fit("words", "NFC", [Example(text, spans=[Span("a", start, end)])])
    assert not tokenizer.prefixes and not tokenizer.suffixes


@pytest.mark.parametrize(
    ("tokenizer", "learned", "span", "text"),
    [
        ("words", "rewrite redo replay", [(2, 7), (10, 12), (15, 19)], "re\u0301tro"),
        ("words", "\u0648\u0642\u0627\u0644", [(1, 4)], "\u0648\u064e\u0642\u0627\u0644"),
        ("whitespace", "ok\U0001f469", [(0, 2)], "\U0001f468\u200d\U0001f469"),
        (
            "whitespace",
            "\U0001f44d\U0001f1f7\U0001f1fa",
            [(0, 1)],
            "\U0001f1eb\U0001f1f7\U0001f1fa",
        ),
    ],
)
def test_a_learned_affix_never_divides_a_character(tokenizer, learned, span, text):
    spans = [Span("a", *each) for each in span]
    fitted = Tokenizer.fit(tokenizer, "NFC", [Example(learned, spans=spans)])
    assert fitted.prefixes or fitted.suffixes
    assert fitted.tokenize(text).offsets == [(0, len(text))]


def test_flags_are_divided_from_each_other():
    flag = "\U0001f1f9\U0001f1fc"
    tokenizer = Tokenizer.fit("words", "NFC", [Example(f"to {flag}x", spans=[Span("a", 3, 5)])])
    assert tokenizer.tokenize(f"to {flag}x").tokens == ["to", flag, "x"]
