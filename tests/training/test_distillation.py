"""Distillation: the targets, their loss, and the runs that it makes."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch

from slotfill.config.builtin import load_config
from slotfill.data.augmentation import replace_mentions
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.tokenizers import Tokenizer
from slotfill.data.vocab import Vocab
from slotfill.inference.decoding import Hypotheses, Scores, Transitions, legal_transitions
from slotfill.inference.marginals import average_scores, tag_marginals
from slotfill.model.taggers.crf import CRF
from slotfill.model.taggers.softmax import Softmax
from slotfill.runs.distil import student_config
from slotfill.runs.teachers import FileTeacher
from slotfill.training.distillation import SoftTarget, one_hot, stack_targets

SENTENCES = [
    Sentence.from_tokens(["leave", "New", "York", "now"], [Slot("city", 1, 3), Slot("day", 3, 4)]),
    Sentence.from_tokens(["to", "Rome"], [Slot("city", 1, 2)]),
]
VOCAB = Vocab.from_sentences(SENTENCES, "iob2")
TAGS = len(VOCAB.tags)
LENGTHS = np.array([4, 2])


def enumerate_sequences(scores, transitions, length):
    """Yield every tag sequence of one sentence with its probability."""
    paths = [*itertools.product(range(TAGS), repeat=length)]
    total = np.array([sum(scores[t, tag] for t, tag in enumerate(path)) for path in paths])
    if transitions is not None:
        pairs = [[transitions.matrix[a, b] for a, b in itertools.pairwise(path)] for path in paths]
        total += [
            transitions.start[path[0]] + sum(own) + transitions.end[path[-1]]
            for path, own in zip(paths, pairs, strict=True)
        ]
    weights = np.exp(total - total.max())
    return zip(paths, weights / weights.sum(), strict=True)


def expected(sequences, length):
    """Return the marginals and pairs of weighted sequences."""
    marginals, pairs = np.zeros((length, TAGS)), np.zeros((TAGS, TAGS))
    for path, share in sequences:
        own = one_hot(path, TAGS)
        marginals, pairs = marginals + share * own[0], pairs + share * own[1]
    return marginals, pairs


@pytest.fixture
def emissions():
    return np.random.default_rng(0).normal(size=(2, 4, TAGS)).astype(np.float32) * 2


def random_transitions():
    random = np.random.default_rng(1)
    table = {"start": TAGS, "matrix": (TAGS, TAGS), "end": TAGS}
    return Transitions(**{k: random.normal(size=s).astype(np.float32) for k, s in table.items()})


def make_legal():
    return legal_transitions(VOCAB.tags, VOCAB.scheme)


@pytest.mark.parametrize("transitions", [random_transitions(), None])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_marginals_are_sums_over_all_sequences(emissions, transitions, temperature):
    marginals, pairs = tag_marginals(Scores(emissions, transitions), LENGTHS, temperature)
    divided = transitions and Transitions(
        *(table / temperature for table in (transitions.start, transitions.matrix, transitions.end))
    )
    for row, length in enumerate(LENGTHS):
        sequences = enumerate_sequences(emissions[row] / temperature, divided, length)
        wanted = expected(sequences, length)
        assert marginals[row, :length] == pytest.approx(wanted[0], abs=1e-5)
        assert pairs[row] == pytest.approx(wanted[1], abs=1e-5)
        assert not marginals[row, length:].any()


def test_marginals_of_a_beam_search_are_those_of_its_hypotheses(emissions):
    hypotheses = [
        Hypotheses([[0, 1, 2, 0], [0, 1, 0, 0]], np.log([0.6, 0.2])),
        Hypotheses([[0, 1]], np.array([-3.0])),
    ]
    marginals, pairs = tag_marginals(Scores(emissions, None, None, hypotheses), LENGTHS)
    assert marginals[0, 2, [0, 2]] == pytest.approx([0.25, 0.75])
    assert pairs[0, 1, [0, 2]] == pytest.approx([0.25, 0.75])
    assert marginals[1, :2] == pytest.approx(one_hot([0, 1], TAGS)[0])


def test_the_mean_of_scores_is_the_geometric_mean_of_distributions(emissions):
    members = [Scores(emissions, random_transitions()), Scores(-(emissions**2) / 3, make_legal())]
    marginals, pairs = tag_marginals(average_scores(members), LENGTHS)
    for row, length in enumerate(LENGTHS):
        both = [
            [*enumerate_sequences(each.emissions[row], each.transitions, length)]
            for each in members
        ]
        shares = np.array([np.sqrt(p * q) for (_, p), (_, q) in zip(*both, strict=True)])
        paths = [path for path, _ in both[0]]
        wanted = expected(zip(paths, shares / shares.sum(), strict=True), length)
        assert marginals[row, :length] == pytest.approx(wanted[0], abs=1e-5)
        assert pairs[row] == pytest.approx(wanted[1], abs=1e-5)


def teach(tagger, emissions, marginals, pairs):
    """Return the soft loss of a tagger against a distribution for each sentence."""
    targets = [
        SoftTarget.from_arrays(own[:length], counts)
        for own, counts, length in zip(marginals, pairs, LENGTHS, strict=True)
    ]
    arrays = map(torch.from_numpy, stack_targets(targets))
    return tagger.soft_loss(torch.from_numpy(emissions), torch.from_numpy(LENGTHS), *arrays)


def make_crf():
    torch.manual_seed(0)
    crf = CRF(3, VOCAB)
    for table in (crf.start, crf.matrix, crf.end):
        torch.nn.init.normal_(table)
    return crf


def test_the_soft_loss_of_a_crf_is_the_cross_entropy_over_all_sequences(emissions):
    teacher, student = make_crf(), make_crf()
    torch.nn.init.normal_(student.matrix)
    teacher_scores = emissions[:, :, ::-1].copy()
    distribution = tag_marginals(Scores(teacher_scores, teacher.transitions()), LENGTHS)
    losses = teach(student, emissions, *distribution)
    for row, length in enumerate(LENGTHS):
        wanted = 0.0
        q = enumerate_sequences(teacher_scores[row], teacher.transitions(), length)
        p = enumerate_sequences(emissions[row], student.transitions(), length)
        for (_, target), (_, share) in zip(q, p, strict=True):
            wanted -= target * np.log(share) if target else 0.0
        assert float(losses[row].detach()) == pytest.approx(wanted, rel=2e-3)


@pytest.mark.parametrize("make", [make_crf, lambda: Softmax(3, VOCAB)])
def test_the_soft_loss_of_labels_is_the_loss(emissions, make):
    tagger = make()
    ids = [
        [VOCAB.tag_ids[tag] for tag in tags]
        for tags in (["O", "B-city", "I-city", "B-day"], ["O", "B-city"])
    ]
    targets = [one_hot(own, TAGS) for own in ids]
    padded = torch.tensor([ids[0], [*ids[1], 0, 0]])
    wanted = tagger.loss(torch.from_numpy(emissions), torch.from_numpy(LENGTHS), padded)
    found = teach(tagger, emissions, *zip(*targets, strict=True))
    assert found.tolist() == pytest.approx(wanted.tolist(), rel=1e-5)


def test_replaced_values_are_those_of_slots_of_the_same_name():
    made = replace_mentions(SENTENCES, 10, seed=3)
    texts = {sentence.text for sentence in made}
    assert texts == {"leave Rome now", "to New York"}
    assert len(made) == len(texts)
    values = {(slot.name, each.value(slot)) for each in made for slot in each.slots}
    assert values == {("city", "Rome"), ("city", "New York"), ("day", "now")}


def test_a_student_learns_from_a_run_and_from_text(cli, desk, trained):
    (desk / "more.txt").write_text("fly to Oslo\n\nleave Paris now please\n", encoding="utf-8")
    command = ["distil", trained, "--config", "tiny.yaml", "--text", "more.txt", "--augment", "20"]
    assert cli(*command, "--out", "student").code == 0
    vocab = json.loads((desk / "student" / "vocab.json").read_text())
    assert "now" in vocab["tokens"]
    (teacher,) = json.loads((desk / "student" / "scores.json").read_text())["teachers"]
    assert teacher["path"] == str(trained)
    assert len(teacher["sha256"]) == 64
    assert f"Distilled from `{trained.name}`." in cli("card", "student").out
    result = cli("evaluate", "student", "--json")
    assert json.loads(result.out)["overall"]["f1"] > 80
    assert cli("pack", "student", "--out", "student.zip").code == 0


def test_a_student_of_predictions_alone_predicts_them(cli, desk, trained):
    predicted = cli("predict", trained, "--input", "corpus/train.brackets").out
    (desk / "tool.jsonl").write_text(predicted)
    command = ["distil", "tool.jsonl", "--config", "tiny.yaml", "distil.weight=1"]
    assert cli(*command, "--out", "student").code == 0
    assert json.loads(cli("evaluate", "student", "--json").out)["overall"]["f1"] > 60


def test_intents_are_learned_from_teachers_that_predict_them(cli, desk):
    rows = [
        {"text": f"{verb} {city}", "slots": {"city": city}, "intent": intent}
        for city in ("Oslo", "Lima", "Rome", "Paris", "Bonn", "Kyiv")
        for verb, intent in (("leave", "go"), ("reach", "come"))
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (desk / "rows.jsonl").write_text(lines)
    (desk / "more.txt").write_text("reach Taipei\n")
    words = ["tiny.yaml", "data={path: rows.jsonl, holdout: 0}", "intent=mean", "train.epochs=20"]
    assert cli("train", *words, "--out", "teacher").code == 0
    config = student_config(None, ["train.epochs=2"], {"teachers": ["teacher"]})[1]
    assert (config.data.path, config.intent["name"]) == (str(desk / "rows.jsonl"), "mean")
    assert (config.train.epochs, config.encoder["hidden_size"]) == (2, 80)
    command = ["distil", "teacher", "--config", *words, "distil.weight=1", "--text", "more.txt"]
    assert cli(*command, "--out", "student").code == 0
    out = cli("predict", "student", "reach Bonn", "--format", "jsonl").out
    assert json.loads(out)["intent"] == "come"
    assert cli("train", *words[:2], "--out", "plain").code == 0
    result = cli("distil", "plain", *command[2:], "--out", "other")
    assert (result.code, "no teacher predicts intents" in result.err) == (2, True)


def test_confidences_of_a_file_are_probabilities_of_its_slots(desk):
    slots = [
        {"name": "origin", "start": 6, "end": 14, "confidence": 0.8},
        {"name": "destination", "start": 15, "end": 19},
    ]
    row = {"text": "leave New York Oslo now", "slots": slots, "confidence": 0.5}
    (desk / "tool.jsonl").write_text(json.dumps(row) + "\n")
    config = load_config("tiny.yaml")[1]
    teacher = FileTeacher(desk / "tool.jsonl", config, Tokenizer())
    vocab = Vocab.from_sentences(teacher.sentences, "iob2")
    found = teacher.predict(teacher.sentences, vocab)
    ids = [vocab.tag_ids[tag] for tag in ("O", "B-origin", "I-origin", "B-destination")]
    wanted = [[1, 0, 0, 0], [0.2, 0.8, 0, 0], [0.2, 0, 0.8, 0], [0.5, 0, 0, 0.5], [1, 0, 0, 0]]
    assert found.marginals[0][:, ids] == pytest.approx(np.array(wanted))
    pairs = {("B-origin", "I-origin"): 0.8, ("I-origin", "B-destination"): 0.4}
    for (first, second), count in pairs.items():
        assert found.pairs[0, vocab.tag_ids[first], vocab.tag_ids[second]] == pytest.approx(count)
    assert found.pairs.sum() == pytest.approx(4)


def test_text_without_teachers_is_an_error(cli, desk):
    result = cli("train", "tiny.yaml", "distil.augment=5")
    assert result.code == 2
    assert "distil.augment: needs distil.teachers" in result.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nosuch"], "no run folder nosuch"),
        (["tiny.yaml"], "tiny.yaml: not a teacher; give run folders, packed runs (.zip), or JSON"),
        (["{run}", "tiny.yaml"], "tiny.yaml: not a teacher; give run folders"),
        (["tool.jsonl"], "no sentences to train the student on"),
        (
            ["tool.jsonl", "--config", "tiny.yaml"],
            "slotfill: tool.jsonl:1: predicts the slot 'orgin', which no training sentence",
        ),
        (["tool.jsonl", "--config", "tiny.yaml", "--text", "tool.jsonl"], "orgin"),
        (["sure.jsonl", "--config", "tiny.yaml"], "sure.jsonl:1: expected a number from 0 to 1"),
        (["inside.jsonl", "--config", "tiny.yaml"], "inside.jsonl:1: slot 'origin'"),
        (["{run}", "scheme=bioes"], "set scheme=iob2"),
        (["{run}", "data.tokenizer=characters"], "set data.tokenizer=words"),
        (["{run}", "--text", "nosuch.txt"], "distil.text: there is no file nosuch.txt"),
        (
            ["{run}", "data={{path: places.jsonl}}"],
            "which no training sentence of the student has (allowed: place)",
        ),
    ],
)
def test_teachers_that_do_not_fit_are_one_line(cli, desk, trained, words, message):
    slots = [{"name": "orgin", "value": "Oslo", "start": 6, "end": 10}]
    (desk / "tool.jsonl").write_text(json.dumps({"text": "leave Oslo", "slots": slots}) + "\n")
    row = {"text": "leave Oslo", "slots": [{**slots[0], "name": "place"}]}
    (desk / "places.jsonl").write_text((json.dumps(row) + "\n") * 12)
    wrong = {"sure": {"confidence": 93}, "inside": {"end": 8, "value": "Os"}}
    for name, change in wrong.items():
        slot = {**slots[0], "name": "origin", **change}
        line = json.dumps({"text": "leave Oslo", "slots": [slot]})
        (desk / f"{name}.jsonl").write_text(f"{line}\n")
    result = cli("distil", *(word.format(run=trained) for word in words), "--out", "student")
    assert result.code in (2, 3)
    assert message in result.err
    assert len(result.err.splitlines()) == 1
    assert not (desk / "student").exists()
