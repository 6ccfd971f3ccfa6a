"""Tags to slots and back in every scheme, and legal sequences."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slotfill.data.schemes import (
    SCHEMES,
    TagDecoder,
    all_tags,
    check_scheme,
    is_cut,
    may_follow,
    slots_to_tags,
    tags_to_slots,
)
from slotfill.data.sentence import Slot
from slotfill.errors import UsageError

EXAMPLES = settings(max_examples=50, derandomize=True)
NAMES = ["city", "fromloc.city-name", "出發地"]


def legal(tags, scheme):
    return (
        may_follow("O", tags[0], scheme)
        and all(may_follow(before, after, scheme) for before, after in pairwise(tags))
        and may_follow(tags[-1], "O", scheme)
    )


@st.composite
def slots(draw):
    found, at = [], 0
    for gap, size, name in draw(
        st.lists(
            st.tuples(st.integers(0, 2), st.integers(1, 4), st.sampled_from(NAMES)), max_size=6
        )
    ):
        found.append(Slot(name, at + gap, at + gap + size))
        at += gap + size
    return found, at + draw(st.integers(0, 2))


@pytest.mark.parametrize("scheme", SCHEMES)
@given(case=slots())
@EXAMPLES
def test_slots_round_trip_through_tags(scheme, case):
    found, length = case
    tags = slots_to_tags(found, length, scheme)
    assert len(tags) == length
    assert set(tags) <= set(all_tags(NAMES, scheme))
    assert tags_to_slots(tags, scheme) == found


@pytest.mark.parametrize("scheme", SCHEMES)
def test_legal_sequences_are_those_that_are_written(scheme):
    tags = all_tags(["a", "b"], scheme)
    for length in (1, 2, 3, 4):
        for sequence in product(tags, repeat=length):
            written = slots_to_tags(tags_to_slots(sequence, scheme), length, scheme)
            assert legal(sequence, scheme) == (written == list(sequence)), sequence


@pytest.mark.parametrize(
    ("scheme", "tags", "slots"),
    [
        ("iob2", "I-a I-a O I-b", [("a", 0, 2), ("b", 3, 4)]),
        ("iob2", "B-a I-b I-b", [("a", 0, 1), ("b", 1, 3)]),
        ("iob1", "I-a B-a O B-b", [("a", 0, 1), ("a", 1, 2), ("b", 3, 4)]),
        ("bioes", "B-a O E-a I-b", [("a", 0, 1), ("a", 2, 3), ("b", 3, 4)]),
        (
            "bioes",
            "S-a E-a E-a B-a S-a",
            [("a", 0, 1), ("a", 1, 2), ("a", 2, 3), ("a", 3, 4), ("a", 4, 5)],
        ),
        ("bilou", "U-a B-a L-b", [("a", 0, 1), ("a", 1, 2), ("b", 2, 3)]),
    ],
)
def test_illegal_tags_are_repaired(scheme, tags, slots):
    assert tags_to_slots(tags.split(), scheme) == [Slot(*slot) for slot in slots]


@pytest.mark.parametrize("scheme", SCHEMES)
@given(data=st.data())
@EXAMPLES
def test_decoding_tag_ids_equals_decoding_tags(scheme, data):
    tags = data.draw(st.permutations(all_tags(NAMES, scheme)))
    read = TagDecoder(tags, scheme)
    for numbers in data.draw(
        st.lists(st.lists(st.integers(0, len(tags) - 1), max_size=8), max_size=3)
    ):
        assert read(numbers) == tags_to_slots([tags[number] for number in numbers], scheme)


@pytest.mark.parametrize("scheme", ["iob1", "iob2", "bioes"])
@given(data=st.data())
@EXAMPLES
def test_repairs_match_seqeval(scheme, data):
    entities = pytest.importorskip("seqeval.metrics.sequence_labeling").get_entities
    tags = data.draw(st.lists(st.sampled_from(all_tags(["a", "b-c"], scheme)), max_size=8))
    expected = [(name, start, end + 1) for name, start, end in entities(tags)]
    assert [(slot.name, slot.start, slot.end) for slot in tags_to_slots(tags, scheme)] == expected


@pytest.mark.parametrize(
    ("scheme", "tag", "message"),
    [
        (
            "iob2",
            "S-city",
            (
                "tag 'S-city' is not of scheme iob2 (O, B-, I-); if the tags are bioes, set"
                " data.scheme: bioes (convert: --scheme bioes)"
            ),
        ),
        (
            "bioes",
            "L-city",
            (
                "tag 'L-city' is not of scheme bioes (O, B-, I-, E-, S-); if the tags are bilou,"
                " set data.scheme: bilou (convert: --scheme bilou)"
            ),
        ),
        ("iob1", "city", "tag 'city' is not of scheme iob1 (O, B-, I-)"),
        ("bio", "o", "tag 'o' is not of scheme bio (O, B-, I-)"),
        ("iob2", "B-", "tag 'B-' has no slot name (expected B-NAME)"),
        ("iob2", "I", "tag 'I' has no slot name (expected I-NAME)"),
        ("iob2", "", "tag '' is not of scheme iob2 (O, B-, I-)"),
    ],
)
def test_foreign_tags(scheme, tag, message):
    with pytest.raises(ValueError) as error:
        tags_to_slots(["O", tag], scheme)
    assert str(error.value) == message
    with pytest.raises(ValueError) as error:
        TagDecoder(["O", tag], scheme)
    assert str(error.value) == message


def test_tag_set():
    assert all_tags(["b", "a", "b"], "bilou") == "O B-a I-a L-a U-a B-b I-b L-b U-b".split()  # noqa: SIM905
    assert all_tags([], "iob2") == ["O"]


def test_unknown_scheme():
    with pytest.raises(
        UsageError, match=r"^unknown tag scheme 'iob3'; did you mean 'iob2'\? \(allowed: bilou"
    ):
        slots_to_tags([], 0, "iob3")


@pytest.mark.parametrize(
    ("scheme", "tags", "slot", "expected"),
    [
        ("iob2", "? I-a", (1, 2), True),
        ("iob2", "? B-a", (1, 2), False),
        ("iob2", "O I-a", (1, 2), False),
        ("iob2", "? O I-a", (2, 3), False),
        ("iob2", "B-a ?", (0, 1), False),
        ("iob2", "B-a ? I-a", (0, 1), True),
        ("iob2", "B-a ? ? I-a", (0, 1), True),
        ("iob2", "B-a ? B-a", (0, 1), False),
        ("iob2", "B-a ? I-b", (0, 1), False),
        ("iob2", "B-a ? O I-a", (0, 1), False),
        ("iob2", "B-a O ? I-a", (0, 1), False),
        ("iob1", "? I-a", (1, 2), False),
        ("iob1", "I-a ? I-a", (0, 1), False),
        ("bioes", "B-a ?", (0, 1), True),
        ("bioes", "S-a ?", (0, 1), False),
        ("bioes", "B-a O ?", (0, 1), False),
        ("bioes", "B-a E-a ?", (0, 2), False),
        ("bioes", "? E-a", (1, 2), True),
        ("bioes", "? S-a", (1, 2), False),
    ],
)
def test_a_slot_is_cut_if_its_tags_say_that_it_goes_on_where_they_are_unknown(
    scheme, tags, slot, expected
):
    assert is_cut(Slot("a", *slot), tags.split(), scheme) is expected


def test_a_decoder_knows_its_scheme_and_the_tags_of_a_slot():
    for scheme in SCHEMES:
        decoder = TagDecoder(all_tags(["a", "b"], scheme), scheme)
        assert decoder.is_unique == (scheme != "iob1")
        tags = all_tags(["a", "b"], scheme)
        assert decoder.find_tags("b") == [i for i, tag in enumerate(tags) if tag[1:] == "-b"]


def test_schemes_are_checked_by_name():
    check_scheme("iob2")
    with pytest.raises(UsageError, match="unknown tag scheme 'iob3'"):
        check_scheme("iob3")
