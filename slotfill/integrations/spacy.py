"""The spaCy component `slotfill`: a run as a step of a pipeline of spaCy.

spaCy finds it by the entry point of the package. The run splits the text of a document by itself,
and each slot becomes the span of the document's tokens that cover its characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from spacy.language import Language
from spacy.pipeline import Pipe
from spacy.scorer import get_ner_prf
from spacy.tokens import Doc, Span
from spacy.util import filter_spans, minibatch

from slotfill.config.registry import trust_external_parts
from slotfill.errors import SlotfillError, UsageError
from slotfill.runs.predict import Prediction, Predictor

DOC_EXTENSIONS = ("intent", "intent_confidence", "in_domain")
"""What a document has, as `doc._.intent`."""

SPAN_EXTENSIONS = ("confidence", "resolved")
"""What the span of a slot has, as `span._.confidence`."""


class SlotComponent(Pipe):
    """Sets the slots and the intent of documents.

    - `doc.spans[spans_key]` has all slots, each with its name as the label.
    - `doc.ents` has those that overlap no entity that is set already, no token that is blocked for
      entities, and no longer slot.
    - `span._.confidence` is the probability of a slot, and `span._.resolved` what it stands for.
    - `doc._.intent`, `doc._.intent_confidence` and `doc._.in_domain` are those of `Prediction`.

    `nlp.evaluate` scores `doc.ents`, as it does those of spaCy's own `ner`.
    """

    def __init__(self, tagger: Predictor, name: str, spans_key: str) -> None:
        self.tagger = tagger
        self.name = name
        self.spans_key = spans_key
        self.scorer = get_ner_prf
        for holder, names in ((Doc, DOC_EXTENSIONS), (Span, SPAN_EXTENSIONS)):
            for name in names:
                if not holder.has_extension(name):
                    holder.set_extension(name, default=None)

    def __call__(self, doc: Doc) -> Doc:
        """Return the document with its slots and its intent."""
        return next(self.pipe([doc]))

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Yield the documents with their slots and intents, predicted in batches.

        A batch that fails is left out if the error handler of the pipeline raises no exception.
        """
        for docs in minibatch(stream, batch_size):
            try:
                sentences = self.tagger.tag([doc.text for doc in docs])
            except SlotfillError as error:
                self.get_error_handler()(self.name, self, docs, error)
                continue
            for doc, sentence in zip(docs, sentences, strict=True):
                self._annotate(doc, Prediction.from_sentence(sentence))
                yield doc

    def _annotate(self, doc: Doc, prediction: Prediction) -> None:
        for name in DOC_EXTENSIONS:
            doc._.set(name, getattr(prediction, name))
        spans = []
        for slot in prediction.slots:
            span = doc.char_span(slot.start, slot.end, label=slot.name, alignment_mode="expand")
            for name in SPAN_EXTENSIONS:
                span._.set(name, getattr(slot, name))
            spans.append(span)
        doc.spans[self.spans_key] = spans
        # A blocked token begins an entity without a type.
        blocked = [doc[t.i : t.i + 1] for t in doc if t.ent_iob_ == "B" and not t.ent_type_]
        set_before = [*doc.ents, *blocked]
        taken = {token for span in set_before for token in range(span.start, span.end)}
        free = [span for span in spans if taken.isdisjoint(range(span.start, span.end))]
        doc.set_ents([*doc.ents, *filter_spans(free)], blocked=blocked, default="outside")


@Language.factory(
    "slotfill",
    default_config={
        "run": "",
        "spans_key": "slotfill",
        "threshold": None,
        "intent_threshold": None,
        "device": "cpu",
        "trust": False,
    },
    assigns=["doc.ents", "doc.spans", *(f"doc._.{name}" for name in DOC_EXTENSIONS)],
    default_score_weights={"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0, "ents_per_type": None},
    retokenizes=False,
)
def make_component(
    nlp: Language,
    name: str,
    run: str,
    spans_key: str,
    threshold: float | None,
    intent_threshold: float | None,
    device: str,
    trust: bool,
) -> SlotComponent:
    """Return the component, as `nlp.add_pipe("slotfill", config={"run": ...})` calls it.

    A pipeline that is saved keeps `run` as it is given, and loads the run from there.

    Args:
        nlp: The pipeline.
        name: The name of the component in it.
        run: What `slotfill.load` takes: a run folder, a packed file or `hf://USER/NAME`.
        spans_key: The key of `doc.spans` for the slots.
        threshold: The confidence below which slots are left out; by default the run's thresholds.
        intent_threshold: The confidence below which the intent is None.
        device: "cpu", "cuda" or "auto".
        trust: Whether to execute the files of user-defined parts that the run names.

    Raises:
        UsageError: There is no such run, or none is given.
        RunError: A file of the run is missing, damaged, or of another version.
    """
    if not run:
        raise UsageError("the component slotfill needs a run: config={'run': 'runs/taipei'}")
    with trust_external_parts(trust):
        tagger = Predictor.load(run, device, threshold=threshold, intent_threshold=intent_threshold)
    return SlotComponent(tagger, name, spans_key)
