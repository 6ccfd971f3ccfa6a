"""A run is a component of spaCy."""

from __future__ import annotations

from importlib.metadata import entry_points
from importlib.util import find_spec

import pytest

import slotfill
from slotfill.errors import DataError, SlotfillError, UsageError

pytestmark = pytest.mark.skipif(not find_spec("spacy"), reason="needs pip install '.[spacy]'")

TEXTS = ["leave Oslo for Lima please", "hello there", "fly from New York to Paris", ""]


@pytest.fixture(scope="module")
def spacy():
    """The library, which is imported here to keep the collection of tests fast."""
    return pytest.importorskip("spacy")


@pytest.fixture(scope="module", autouse=True)
def registered(spacy):
    """Also where the package was installed before it had the entry point."""
    from slotfill.integrations.spacy import make_component

    for entry in entry_points(group="spacy_factories", name="slotfill"):
        assert entry.load() is make_component


@pytest.fixture(scope="module")
def pipeline(spacy):
    """A function from a run and other settings to a pipeline with the component."""

    def make(run, **config):
        nlp = spacy.blank("en")
        nlp.add_pipe("slotfill", config={"run": str(run), **config})
        return nlp

    return make


@pytest.fixture(scope="module")
def nlp(pipeline, trained):
    return pipeline(trained)


def spans(doc):
    return [(s.label_, s.text, s.start_char, s.end_char) for s in doc.spans["slotfill"]]


def test_documents_have_what_the_run_predicts(nlp, trained):
    docs = [nlp(text) for text in TEXTS]
    for doc, expected in zip(docs, slotfill.load(trained).predict(TEXTS), strict=True):
        assert spans(doc) == [tuple(slot[:4]) for slot in expected.slots]
        assert list(doc.ents) == list(doc.spans["slotfill"])
        assert [e._.confidence for e in doc.ents] == [slot.confidence for slot in expected.slots]
        assert (doc._.intent, doc._.in_domain) == (expected.intent, expected.in_domain)
    assert any(doc.ents for doc in docs)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_pipe_gives_the_same_in_order(nlp, batch_size):
    docs = list(nlp.pipe(TEXTS * 3, batch_size=batch_size))
    assert [doc.text for doc in docs] == TEXTS * 3
    assert [spans(doc) for doc in docs] == [spans(nlp(text)) for text in TEXTS] * 3


def test_other_tokens_of_the_pipeline_cover_the_slots(nlp):
    """The tokens of a document are spaCy's, here separated by spaces alone."""
    from spacy.tokens import Doc

    words = ["(leave", "Oslo)", "for", "Lima,please"]
    doc = nlp(Doc(nlp.vocab, words))
    expected = nlp.get_pipe("slotfill").tagger.predict([doc.text])[0].slots
    assert expected
    for slot, span in zip(expected, doc.spans["slotfill"], strict=True):
        assert span.start_char <= slot.start and slot.end <= span.end_char
        inside = [t for t in doc if t.idx < slot.end and t.idx + len(t) > slot.start]
        assert list(span) == inside


def test_entities_that_are_there_stay_and_slots_that_collide_are_in_spans_only(spacy, trained):
    nlp = spacy.blank("en")
    ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "GPE", "pattern": "Oslo"}])
    nlp.add_pipe("slotfill", config={"run": str(trained), "spans_key": "slots"})
    doc = nlp("leave Oslo for Lima please")
    assert ("Oslo", "GPE") in [(entity.text, entity.label_) for entity in doc.ents]
    assert "Oslo" in [span.text for span in doc.spans["slots"]]
    assert ("Lima", "destination") in [(entity.text, entity.label_) for entity in doc.ents]


def test_blocked_tokens_are_no_part_of_an_entity(nlp):
    text = "leave New York for Lima please"
    assert "New York" in [entity.text for entity in nlp(text).ents]
    doc = nlp.make_doc(text)
    doc.set_ents([], blocked=[doc[2:3]], default="missing")
    doc = nlp.get_pipe("slotfill")(doc)
    assert "New York" in [span.text for span in doc.spans["slotfill"]]
    assert [entity.text for entity in doc.ents] == ["Lima"]
    assert [(t.ent_iob_, t.ent_type_) for t in doc[1:4]] == [("O", ""), ("B", ""), ("O", "")]


def test_evaluate_of_the_pipeline_scores_entities(nlp):
    from spacy.training import Example

    examples = []
    for text in TEXTS[:3]:
        entities = [(e.start_char, e.end_char, e.label_) for e in nlp(text).ents]
        examples.append(Example.from_dict(nlp.make_doc(text), {"entities": entities}))
    assert nlp.evaluate(examples)["ents_f"] == 1
    wrong = Example.from_dict(nlp.make_doc(TEXTS[0]), {"entities": [(0, 5, "verb")]})
    scores = nlp.evaluate([*examples, wrong])
    assert 0 < scores["ents_p"] < 1 and scores["ents_per_type"]["verb"]["r"] == 0


def test_threshold_leaves_slots_out(pipeline, trained):
    assert not spans(pipeline(trained, threshold=1.0)(TEXTS[0]))


def test_saved_pipeline_refers_to_the_run(spacy, nlp, tmp_path):
    nlp.to_disk(tmp_path / "pipeline")
    again = spacy.load(tmp_path / "pipeline")
    assert [spans(again(text)) for text in TEXTS] == [spans(nlp(text)) for text in TEXTS]
    assert spans(spacy.blank("en").from_config(nlp.config)(TEXTS[0])) == spans(nlp(TEXTS[0]))


def test_documents_with_extensions_survive_docbin(nlp):
    from spacy.tokens import DocBin

    docs = [nlp(text) for text in TEXTS]
    data = DocBin(docs=docs, store_user_data=True).to_bytes()
    again = list(DocBin().from_bytes(data).get_docs(nlp.vocab))
    assert [doc._.intent for doc in again] == [doc._.intent for doc in docs]
    assert [e._.confidence for e in again[0].ents] == [e._.confidence for e in docs[0].ents]


def test_documents_that_are_too_long_are_left_to_the_error_handler(spacy, pipeline, trained):
    nlp, texts = pipeline(trained), ["hello there", "word " * 20_001, "leave Oslo for Lima"]
    with pytest.raises(DataError, match="a sentence of 20,001 tokens"):
        list(nlp.pipe(texts, batch_size=1))
    nlp.set_error_handler(spacy.util.ignore_error)
    docs = list(nlp.pipe(texts, batch_size=1))
    assert [doc.text for doc in docs] == [texts[0], texts[2]]


def test_wrong_runs_are_named_in_one_line(spacy, pipeline, trained, tmp_path):
    with pytest.raises(UsageError, match=r"^the component slotfill needs a run: config="):
        spacy.blank("en").add_pipe("slotfill")
    for path in (tmp_path / "gone", tmp_path):
        with pytest.raises(SlotfillError, match=r"^[^\n]*$"):
            pipeline(path)
    with pytest.raises(UsageError, match="threshold"):
        pipeline(trained, threshold=2.0)
