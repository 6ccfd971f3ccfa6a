"""Labelling: the order of sentences, the file of labels, and what a session does with both."""

from __future__ import annotations

import json
import shutil

import pytest

from slotfill.config.builtin import load_config
from slotfill.data.sentence import Confidence, Slot
from slotfill.data.tokenizers import Tokenizer
from slotfill.errors import DataError, UsageError
from slotfill.lab.labelling.labels import LabelFile
from slotfill.lab.labelling.ranking import Ranking
from slotfill.lab.labelling.session import Session, read_unlabelled
from slotfill.lab.labelling.training import BackgroundTraining
from slotfill.runs.manifest import write_run

TEXTS = ("play jazz", "play rock", "lights on in the hall", "stop", "what time is it in Lima")


def label(text, *slots):
    sentence = Tokenizer().tokenize(text)
    sentence.slots = [Slot(*slot) for slot in slots]
    return sentence


def test_the_next_sentence_is_uncertain_typical_and_unlike_earlier_ones():
    rows = ["play jazz now", "play jazz now", "play rock now", "play rock now", "qwx zzv yyu"]
    tokens = [row.split() for row in rows]
    ranking = Ranking(tokens, [["hello"]])
    ranking.set_confidences([0.3, 0.2, 0.3, 0.3, 0.2])
    assert ranking.next() == 1, "the least certain one that is like others"
    ranking.take(1)
    assert ranking.next() == 2, "not the same text again, though it is as uncertain"
    ranking.set_confidences([0.3, 0.2, 1.0, 1.0, 0.2])
    assert ranking.next() == 4, "nothing is learned from what is certain"
    order = []
    while (index := ranking.next()) is not None:
        order.append(index)
        ranking.take(index)
    assert sorted(order) == [0, 2, 3, 4]


def test_without_a_run_sentences_are_ordered_by_what_is_new_in_them():
    same = Ranking([["a", "b"], ["c", "d"], ["A", "b"]], [["a", "b"]])
    assert same.next() == 1
    same.take(1)
    scores = same._similarity
    assert scores == pytest.approx([1, 1, 1]), "case does not matter"
    # The cosine is that of vectors weighted by inverse document frequency, up to its projection.
    words = [f"w{index}" for index in range(400)]
    ranking = Ranking([words[:200]], [words[100:300]])
    assert ranking._similarity[0] == pytest.approx(0.5, abs=0.2)


def test_each_label_is_in_the_file_at_once_and_can_be_taken_back(tmp_path):
    path = tmp_path / "a.brackets"
    path.write_text("by [hand](how)")  # Without a line end.
    labels = LabelFile(path)
    assert [example.text for example in labels.examples] == ["by hand"]
    labels.add(label("play [a] \\ b", ("genre", 1, 4)))
    labels.add(label("stop"))
    assert path.read_text() == "by [hand](how)\nplay [\\[a\\]](genre) \\\\ b\nstop\n"
    assert [example.text for example in LabelFile(path).examples][1] == "play [a] \\ b"
    assert labels.remove_last().text == "stop" and len(labels) == 2
    path.write_text(path.read_text().replace("hand", "Hand") + "more\n")
    with pytest.raises(UsageError, match=r"a.brackets was changed; remove the last sentence there"):
        labels.remove_last()
    labels.add(label("off"))
    assert path.read_text() == "by [Hand](how)\nplay [\\[a\\]](genre) \\\\ b\nmore\noff\n"
    assert not list(tmp_path.glob("*.new"))


def test_files_that_are_no_labels_are_errors(tmp_path):
    (tmp_path / "a.brackets").write_text("open [bracket\n")
    with pytest.raises(DataError, match=r"a.brackets:1: column 6: this bracket is not closed"):
        LabelFile(tmp_path / "a.brackets")
    with pytest.raises(UsageError, match="there is no such folder"):
        LabelFile(tmp_path / "b" / "a.brackets")
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(DataError, match="no sentences to label"):
        read_unlabelled(tmp_path / "empty.txt", LabelFile(tmp_path / "c.brackets"), Tokenizer())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        *((f"new{end}", None, "in a file that ends in .brackets; choose another --labels, as new.b")
          for end in (".yaml", ".json", ".jsonl", ".csv", ".conll", ".md", ".txt", "")),
        ("my.yaml", "data: {path: corpus}\n", "in a file that ends in .brackets"),
        ("my.yml", "nlu:\n- intent: a\n", "in a file that ends in .brackets"),
        ("empty.json", "", "in a file that ends in .brackets"),
        ("notes", "buy milk\nand [tea]\n", "no sentences with slots in brackets"),
        ("README.md", "# Title\n\nWords.\n", "no sentences with slots in brackets"),
        ("a.brackets", '{"text": "fly to [Lima](city)"}\n', "jsonl, but labelled sentences are"),
        ("nlu.md", "## intent:go\n- to [Lima](city)\n", "rasa, but labelled sentences are saved"),
        ("b.brackets", "fly O\nLima B-city\n\nstop O\n", "conll, but labelled sentences are"),
    ],
)  # fmt: skip
def test_labels_are_added_to_sentences_in_brackets_alone(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError) as caught:
        LabelFile(path)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert (path.read_text() if path.exists() else None) == content


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.brackets", "stop\nlights off\n"),
        ("b.brackets", "[](play) stop\n"),
        ("c.brackets", "[jazz](genre) please\nvitamin B-12\n"),
        ("d.brackets", ""),
        ("new.BRACKETS", None),
        ("e.md", "play [jazz](genre)\n"),
        ("f.txt", "stop\nplay [jazz](genre)\n"),
        ("g", "play [jazz](genre)\n"),
    ],
)
def test_sentences_in_brackets_are_continued_under_any_name(tmp_path, name, content):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    LabelFile(path).add(label("off"))
    assert path.read_text() == (content or "") + "off\n"


def remake(run, labels, **environment):
    """Write in a run that it is trained on `labels`, and what else is given."""
    files = {file.name: file.read_bytes() for file in run.iterdir() if file.is_file()}
    del files["manifest.json"]
    config = load_config(str(run / "config.yaml"))[1]
    changes = {"path": None, "train": str(labels.resolve())}
    config = config.model_copy(update={"data": config.data.model_copy(update=changes)})
    made = {**json.loads(files["environment.json"]), **environment}
    files["config.yaml"] = config.to_yaml().encode()
    files["environment.json"] = json.dumps(made).encode()
    write_run(run, files, completed=True)


def test_only_runs_that_label_has_trained_are_replaced(tmp_path, trained):
    labels, run = tmp_path / "a.brackets", shutil.copytree(trained, tmp_path / "run")
    labels.write_text("by [hand](how)\n")

    def check(*settings, out=run):
        return BackgroundTraining(labels, out, None, settings)

    with pytest.raises(UsageError, match=r"run was not trained by label, .*; choose another --out"):
        check()
    remake(run, labels)  # By hand, with other settings.
    with pytest.raises(UsageError, match=r"run was not trained by label"):
        check()
    remake(run, labels, started_by="label")
    assert check("train.epochs=3").has_trained
    printed = check().command
    remake(run, labels, started_by=None, command=["/bin/slotfill", *printed[1:]])
    check()
    with pytest.raises(UsageError, match=r"run was not trained by label"):
        check("train.epochs=3")
    remake(run, tmp_path / "b.brackets", started_by="label")
    with pytest.raises(UsageError, match=r"run is a run on other sentences than .*a.brackets; ch"):
        check()
    # A run that was stopped, and can be resumed.
    shutil.move(run, tmp_path / "new.partial")
    remake(tmp_path / "new.partial", labels, started_by=None)
    with pytest.raises(UsageError, match=r"new.partial was not trained by label"):
        check(out=tmp_path / "new")


class FakeTraining:
    """Has a new run whenever it is asked for one."""

    def __init__(self, tagger):
        self.tagger = tagger
        self.error = ""
        self.finish = None
        self.starts = 0

    @property
    def is_running(self):
        return self.finish is not None

    def start(self, finish):
        self.starts += 1
        self.finish = finish

    def collect(self):
        finish, self.finish = self.finish, None
        return finish(self.tagger) if finish else None


class FakeTagger:
    """Is unsure about one text, and finds a slot in its first token."""

    def __init__(self, unsure):
        self.unsure = unsure

    class run:
        class vocab:
            slot_names = ("first",)
            intents = ()

    def tag(self, examples):
        sentences = [label(example.text, ("first", 0, 1)) for example in examples]
        for sentence in sentences:
            sentence.confidence = Confidence([0.9], 0.1 if sentence.text == self.unsure else 0.9)
        return sentences


def make_session(tmp_path, **options):
    (tmp_path / "texts.txt").write_text("\n".join([*TEXTS, "stop", ""]))
    labels = LabelFile(tmp_path / "labels.brackets")
    sentences = read_unlabelled(tmp_path / "texts.txt", labels, Tokenizer())
    return Session(sentences, labels, Tokenizer(), **options)


def test_every_sentence_comes_once_and_skipped_ones_at_the_end(tmp_path):
    session = make_session(tmp_path, slot_names=["genre"])
    assert (session.count_left, session.slot_names) == (5, ["genre"])
    skipped = session.next().text
    session.skip()
    seen = []
    for _ in range(4):
        seen.append(session.next())
        session.accept(seen[-1])
    assert session.next().text == skipped
    assert sorted([*(each.text for each in seen), skipped]) == sorted(TEXTS)
    again = session.undo()
    assert again.text == seen[-1].text and session.count_left == 2
    again.slots = [Slot("name", 0, 1)]
    session.accept(again)
    session.accept(session.next())
    assert session.next() is None and session.slot_names == ["genre", "name"]
    # Started again, nothing is left.
    assert make_session(tmp_path).next() is None
    assert [len(LabelFile(session.labels.path)), len(session.labels)] == [5, 5]


def test_a_run_that_is_trained_meanwhile_predicts_and_ranks(tmp_path):
    training = FakeTraining(FakeTagger("stop"))
    session = make_session(tmp_path, training=training, every=2)
    for _ in range(2):
        assert session.next().slots == []
        session.accept(next_but_stop(session))
        session.poll()
    assert training.starts == 1 and not session.learned
    assert session.poll() and session.learned == 2
    assert session.next().text == "stop" and session.next().slots == [Slot("first", 0, 1)]
    assert not session.poll()
    # What is labelled while a run is trained does not come again.
    session.accept(session.next())
    before = session.next().text
    session.accept(session.next())
    session.poll()
    session.poll()
    assert training.starts == 2 and session.next().text not in ("stop", before)


def next_but_stop(session):
    """Return the next sentence other than `stop`, which the run will be unsure about."""
    sentence = session.next()
    while sentence.text == "stop":
        session.skip()
        sentence = session.next()
    return sentence


def test_labels_that_are_there_are_learned_at_the_start(tmp_path):
    (tmp_path / "labels.brackets").write_text("by [hand](how)\n")
    training = FakeTraining(FakeTagger("stop"))
    session = make_session(tmp_path, training=training, every=20)
    assert training.starts == 1 and session.slot_names == ["how"]
    training = FakeTraining(FakeTagger("stop"))
    make_session(tmp_path, training=training, every=20, learned=1)
    assert training.starts == 0
