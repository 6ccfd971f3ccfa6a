"""SlotTagger is an estimator for scikit-learn's model selection."""

from __future__ import annotations

import copy
import pickle
from importlib.util import find_spec

import numpy as np
import pytest

import slotfill
from slotfill.data.schemes import slots_to_tags
from slotfill.errors import ConfigError, DataError, UsageError
from slotfill.evaluation.metrics import slot_f1

pytestmark = pytest.mark.skipif(not find_spec("sklearn"), reason="needs scikit-learn")

SMALL = {
    "embedding": {"name": "word", "size": 8},
    "encoder": {"name": "recurrent", "hidden_size": 8},
    "train__epochs": 6,
    "train__batch_size": 4,
    "train__learning_rate": 0.04,
    "train__ema_decay": 0.5,
}


def tagger(**overrides):
    return slotfill.SlotTagger(**SMALL | overrides)


@pytest.fixture(scope="module")
def sentences(corpus):
    return slotfill.read(corpus / "train.brackets")


@pytest.fixture(scope="module")
def texts(sentences):
    """X and y of texts."""
    y = [[(slot.name, *each.span(slot)) for slot in each.slots] for each in sentences]
    return [each.text for each in sentences], y


@pytest.fixture(scope="module")
def tokens(sentences):
    """X and y of tokens."""
    y = [slots_to_tags(each.slots, len(each.tokens), "bioes") for each in sentences]
    return [each.tokens for each in sentences], y


@pytest.fixture(scope="module")
def fitted(texts):
    return tagger().fit(*texts)


def test_cross_val_score(texts):
    from sklearn.model_selection import cross_val_score

    scores = cross_val_score(tagger(), *texts, cv=2)
    assert scores.shape == (2,) and max(scores) > 0.5 and min(scores) > 0.2


def test_grid_search_over_a_key_that_was_not_given(texts):
    from sklearn.model_selection import GridSearchCV

    quick, seeds = tagger(train__epochs=1), {"train__seed": np.array([7])}
    search = GridSearchCV(quick, seeds, cv=2, error_score="raise").fit(*texts)
    assert search.best_estimator_.get_params()["train__seed"] == 7
    assert search.predict(texts[0][:3]) == search.best_estimator_.predict(texts[0][:3])


def test_pipeline_passes_parameters_and_texts_on(texts):
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer

    steps = [("same", FunctionTransformer()), ("tagger", tagger())]
    pipeline = Pipeline(steps).set_params(tagger__train__epochs=1).fit(*texts)
    assert pipeline["tagger"].overrides["train__epochs"] == 1
    assert len(pipeline.predict(texts[0])) == len(texts[0])


def test_clone_has_the_parameters_and_is_not_fitted(fitted):
    from sklearn.base import clone
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(fitted)
    again = clone(fitted)
    assert again.get_params() == fitted.get_params() and repr(again) == repr(fitted)
    with pytest.raises(NotFittedError):
        check_is_fitted(again)
    with pytest.raises(UsageError, match="not fitted yet"):
        again.predict(["hello"])


def test_set_params_changes_what_is_fitted_and_leaves_clones_alone():
    from sklearn.base import clone

    first = tagger()
    second = clone(first).set_params(config="taipei", train__epochs=9)
    assert (second.config, second.get_params()["train__epochs"]) == ("taipei", 9)
    assert (first.config, first.get_params()["train__epochs"]) == (None, 6)


def test_predict_gives_what_load_predicts(fitted, texts, tmp_path):
    fitted.save(tmp_path / "run")
    expected = slotfill.load(tmp_path / "run").predict(texts[0])
    slots = [[(slot.name, slot.start, slot.end) for slot in each.slots] for each in expected]
    assert fitted.predict(texts[0]) == slots and any(slots)
    with pytest.raises(UsageError, match="nothing is overwritten"):
        fitted.save(tmp_path / "run")
    with pytest.raises(UsageError, match="the path of a file or folder is a text"):
        fitted.save(None)


def test_score_is_f1_of_slots(fitted, texts, sentences):
    predicted = [each.slots for each in fitted.tagger_.tag(texts[0])]
    assert fitted.score(*texts) == pytest.approx(slot_f1(sentences, predicted) / 100)


def test_tags_of_tokens(tokens):
    X, y = tokens
    own = tagger(data__scheme="bioes").fit(X, y)
    predicted = own.predict(X)
    assert list(map(len, predicted)) == list(map(len, X))
    assert own.score(X, y) > 0.5 and own.score(X, predicted) == 1
    assert {tag[0] for tags in predicted for tag in tags} <= set("BIOES")
    with pytest.raises(DataError, match=r"^X\[0\]: must be a list of tokens as in fit, found 'hi'"):
        own.predict(["hi"])


def test_copies_and_pickles_predict_the_same(fitted, texts):
    expected = fitted.predict(texts[0])
    assert copy.deepcopy(fitted).predict(texts[0]) == expected
    assert pickle.loads(pickle.dumps(fitted)).predict(texts[0]) == expected


def test_predictions_of_folds_are_joined(texts):
    from sklearn.model_selection import cross_val_predict

    joined = cross_val_predict(tagger(train__epochs=1), *texts, cv=2)
    assert joined.shape == (len(texts[0]),) and all(isinstance(each, list) for each in joined)


@pytest.mark.parametrize("spans", [[[]], [[("a", 0, 2)]], [[("a", 0, 2)]] * 3, []])
def test_predictions_are_a_list_and_an_array_of_objects(fitted, spans):
    labels = type(fitted.predict([]))(spans)
    assert labels == spans and isinstance(labels, list)
    assert np.asarray(labels).shape == (len(spans),) and np.asarray(labels).tolist() == spans


def test_numbers_and_rows_of_numpy_are_those_of_python(fitted, texts, tokens):
    X = np.array(texts[0])
    y = [
        [(np.str_(name), np.int32(start), np.uint8(end)) for name, start, end in each]
        for each in texts[1]
    ]
    assert fitted.predict(X) == fitted.predict(texts[0])
    assert fitted.score(X, y) == fitted.score(*texts)
    again = tagger(train__seed=np.int64(1)).fit(X, y)
    assert again.predict(X) == fitted.predict(X)
    rows, tags = ([np.array(each) for each in part] for part in tokens)
    own = tagger(train__epochs=1, data__scheme="bioes").fit(rows, tags)
    assert own.predict(rows) == own.predict(tokens[0])
    assert own.score(rows, tags) == own.score(*tokens)


def test_overlapping_spans_are_a_warning(texts):
    X, y = texts
    more = [[*spans, (spans[0][0], spans[0][1], spans[0][2] - 1)] for spans in y[:2]]
    with pytest.warns(UserWarning, match=r"^overlapping slots left out: 2, at X\[0\]: ") as warned:
        tagger(train__epochs=1).fit(X, more + y[2:])
    assert warned[0].filename == __file__


def test_what_is_not_fitted_says_so(tmp_path):
    for call in (lambda: tagger().save(tmp_path / "a"), lambda: tagger().score(["a"], [[]])):
        with pytest.raises(UsageError, match="not fitted yet"):
            call()


class Frame:
    """What a DataFrame looks like."""

    ndim = 2


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ("play jazz", "X is a list of texts, or of lists of tokens, not 'play jazz'"),
        (None, "X is a list of texts, or of lists of tokens, not None"),
        ({"a": 1}, "X is a list of texts, or of lists of tokens, not {'a': 1}"),
        (Frame(), "X is a Frame of 2 dimensions; give one column, or a list"),
        (np.array([["a"], ["b"]]), "X is a ndarray of 2 dimensions; give one column, or a list"),
    ],
)
def test_what_is_no_list_of_sentences_is_refused(fitted, texts, X, message):
    for call in (
        fitted.predict,
        lambda X: fitted.score(X, texts[1]),
        lambda X: tagger().fit(X, []),
    ):
        with pytest.raises(DataError) as error:
            call(X)
        assert str(error.value) == message


SPAN = [("city", 0, 4)]


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (["Oslo"], [], "X has 1 sentence, but y has labels of 0"),
        ([], [], "X has no sentences"),
        (["Oslo", 3], [SPAN, []], "X[1]: must be a text as in fit, found 3"),
        (["Oslo"], [["B-c"]], "y[0]: a span is (name, start, end) with integers, found 'B-c'"),
        (["Oslo"], [[("c", 0, 4.0)]], "y[0]: a span is (name, start, end) with integers, found"),
        (["Oslo"], [[{"name": "c"}]], "y[0]: a span is (name, start, end) with integers, found"),
        (["Oslo"], None, "y is a list, not None"),
        (["Oslo"], ["c"], "y[0] is a list, not 'c'"),
        (["Oslo"], [[("city", 0, 9)]], "X[0]: slot 'city' from 0 to 9 is not in the text"),
        ([["Oslo"]], [["B-city", "O"]], "y[0]: must have a tag for each token"),
        ([["Oslo"], ["a b"]], [["O"]] * 2, "X[1]: the token 'a b' is empty or has white space"),
        ([["Oslo"], ["a"]], [["O"], ["X"]], "X[1]: tag 'X' is not of scheme iob2"),
    ],
)
def test_wrong_data_is_named_in_one_line(X, y, message):
    with pytest.raises(DataError) as error:
        tagger().fit(X, y)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_score_needs_labels_of_each_sentence(fitted, texts):
    X, y = texts
    with pytest.raises(DataError, match=r"sentences, but y has labels of 1$"):
        fitted.score(X, y[:1])
    for wrong in ([3], "genre", [("genre",)], None):
        with pytest.raises(DataError, match=r"^y\[1\]"):
            fitted.score(X, [y[0], wrong, *y[2:]])


def test_wrong_parameters_are_named_by_fit(texts):
    with pytest.raises(ConfigError, match=r"^train\.epoch: unknown key; did you mean 'epochs'"):
        tagger(train__epoch=3).fit(*texts)
    for given in ({"data__path": "corpus"}, {"data": {"path": "corpus"}}):
        with pytest.raises(UsageError, match=r"^data\.path: X and y are the data; leave it out"):
            tagger(**given).fit(*texts)
    with pytest.raises(UsageError, match="no device 'gpu'"):
        tagger().set_params(device="gpu").fit(*texts)
    with pytest.raises(DataError, match=r"^X: none of the .* sentences has a slot"):
        tagger().fit(["play jazz", "hello"], [[], []])
