"""Cross-validation and learning curves: what is drawn, what is scored, and what is concluded."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from itertools import pairwise, product
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from conftest import write_config

from slotfill.data.corpus import read_sentences
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.stratification import draw_folds, draw_subset
from slotfill.evaluation.metrics import compute_f1
from slotfill.lab.compare.learning_curve import fit_doubling
from slotfill.lab.compare.significance import mean_f1

OUT = Path("runs/compare")


def make_sentences(count: int, seed: int = 0) -> list[Sentence]:
    """Return sentences with frequent and rare labels, a tenth of them repeated."""
    draw = random.Random(seed)
    names = [f"slot{rank}" for rank in range(12)]
    weights = [1 / (rank + 1) ** 2 for rank in range(12)]
    sentences: list[Sentence] = []
    for number in range(count):
        if sentences and draw.random() < 0.1:
            sentences.append(draw.choice(sentences))
            continue
        drawn = draw.choices(names, weights, k=draw.randint(0, 2))
        slots = [Slot(name, start, start + 1) for start, name in enumerate(drawn)]
        intent = draw.choice("abc")
        sentences.append(Sentence.from_tokens([f"w{number}", "x", "y"], slots, intent))
    return sentences


@pytest.mark.parametrize("count", [2, 3, 5])
def test_folds_divide_the_sentences_and_keep_equal_texts_together(count):
    sentences = make_sentences(137)
    folds = draw_folds(sentences, count)
    assert sorted(index for fold in folds for index in fold) == list(range(137))
    assert max(map(len, folds)) - min(map(len, folds)) <= 2
    folds_by_index = {index: number for number, fold in enumerate(folds) for index in fold}
    for index, sentence in enumerate(sentences):
        assert folds_by_index[index] == folds_by_index[sentences.index(sentence)]
    assert folds == draw_folds(sentences, count) != draw_folds(sentences, count, seed=1)


def imbalance(sentences, parts):
    """Sum over the labels of the largest difference between parts in how often they have it."""
    counts = [Counter(label for i in part for label in sentences[i].labels) for part in parts]
    labels = set().union(*counts)
    return sum(max(c[label] for c in counts) - min(c[label] for c in counts) for label in labels)


def test_folds_have_each_label_in_proportion():
    stratified, at_random = [], []
    for seed in range(10):
        sentences = make_sentences(200, seed)
        stratified.append(imbalance(sentences, draw_folds(sentences, 5, seed)))
        order = np.random.default_rng(seed).permutation(200)
        at_random.append(imbalance(sentences, [order[start::5] for start in range(5)]))
    assert np.mean(stratified) < 0.7 * np.mean(at_random)


def test_subsets_are_nested_and_have_each_label_in_proportion():
    sentences = make_sentences(300)
    subsets = [set(draw_subset(sentences, size, seed=3)) for size in (1, 30, 75, 150, 300)]
    assert [len(subset) for subset in subsets] == [1, 30, 75, 150, 300]
    assert all(small < large for small, large in pairwise(subsets))
    assert draw_subset(sentences, 75, seed=3) != draw_subset(sentences, 75, seed=4)
    everywhere = Counter(label for sentence in sentences for label in sentence.labels)
    half = Counter(label for index in subsets[3] for label in sentences[index].labels)
    for label, count in everywhere.items():
        assert abs(half[label] - count / 2) <= 2 + 0.1 * count, label


def test_each_training_sentence_is_scored_once_by_a_model_that_has_not_seen_it(desk, cli):
    write_config(Path("other.yaml"), encoder="{name: feedforward, hidden_size: 8, window: 0}")
    words = ["compare", "tiny.yaml", "other.yaml", "train.epochs=1", "--seeds", "1,2"]
    result = cli(*words, "--folds", 3, "--json", "c.json")
    assert (result.code, result.err) == (0, "")
    assert "± sample standard deviation over 3 folds and 2 seeds" in result.out
    everything = [s.text for s in read_sentences("corpus/train.brackets").sentences]
    tested = []
    for fold in (1, 2, 3):
        folder = OUT / "corpus-3-folds" / f"fold{fold}"
        train, test = (
            [s.text for s in read_sentences(folder / f"{split}.jsonl").sentences]
            for split in ("train", "test")
        )
        assert not set(train) & set(test)
        assert sorted(train + test) == sorted(everything)
        tested += test
    assert sorted(tested) == sorted(everything)
    report = json.loads(Path("c.json").read_text())
    assert report["folds"] == 3
    assert [run["fold"] for run in report["runs"]].count(2) == 4
    counts = {}
    for name in ("tiny", "other"):
        scores = next(c for c in report["configs"] if c["name"] == name)["corpora"]
        test = scores["corpus-3-folds"]["splits"]["test"]
        files = [
            [OUT / "corpus-3-folds" / f"fold{f}" / f"{name}-seed{s}.json" for f in (1, 2, 3)]
            for s in (1, 2)
        ]
        rows = [[json.loads(p.read_text())["counts"]["test"] for p in row] for row in files]
        f1s = [float(compute_f1(np.sum(part, axis=0))) for row in rows for part in row]
        assert list(test["f1s"].values()) == pytest.approx(f1s)
        assert test["mean"] == pytest.approx(np.mean(f1s))
        assert test["deviation"] == pytest.approx(np.std(f1s, ddof=1))
        counts[name] = np.array([np.concatenate(row) for row in rows])
        assert counts[name].shape == (2, 40, 3)
        low, high = test["interval"]
        assert 0 <= low < mean_f1(counts[name]) < high <= 100
        assert f"{low:.2f} to {high:.2f}" in result.out
    difference = test["difference_from_first"]["difference"]
    assert difference == pytest.approx(mean_f1(counts["other"]) - mean_f1(counts["tiny"]))

    again = cli(*words, "--folds", 3)
    assert again.out.startswith("12 runs, 12 of them already finished\n")


def test_folds_of_changed_sentences_are_an_error(desk, cli):
    text = Path("corpus/train.brackets").read_text()
    Path("own.brackets").write_text(text)
    words = ["compare", "tiny.yaml", "train.epochs=1", "--seeds", "1", "--data", "own.brackets"]
    assert cli(*words, "--folds", 2).code == 0
    Path("own.brackets").write_text(text + "hello [Oslo](origin)\n")
    result = cli(*words, "--folds", 2)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert "the training sentences changed after they were drawn; remove runs/" in result.err


def test_percentages_train_on_nested_parts_and_score_on_the_same_sentences(desk, cli):
    words = [
        "compare",
        "tiny.yaml",
        "train.epochs=1",
        "--percentages",
        "100,25,50",
        "--seeds",
        "1,2",
    ]
    files = ["--json", "c.json", "--markdown", "c.md", "--figure", "curve.svg"]
    result = cli(*words, *files)
    assert (result.code, result.err) == (0, "")
    report = json.loads(Path("c.json").read_text())
    assert list(report["corpora"]) == ["corpus-25%", "corpus-50%", "corpus-100%"]
    (curve,) = report["learning_curves"]
    assert (curve["config"], curve["corpus"], curve["split"]) == ("tiny", "corpus", "test")
    assert curve["sizes"] == [10, 20, 40] and np.shape(curve["f1s"]) == (3, 2)
    for name, f1s in zip(report["corpora"], curve["f1s"], strict=True):
        split = report["configs"][0]["corpora"][name]["splits"]["test"]
        assert list(split["f1s"].values()) == pytest.approx(f1s)
    for run in report["runs"]:
        assert run["scores"]["test"]["sentences"] == 8
    for seed in (1, 2):
        small, large = (
            Counter(s.text for s in read_sentences(OUT / name / f"train{seed}.jsonl").sentences)
            for name in ("corpus-25%", "corpus-50%")
        )
        assert (small.total(), large.total()) == (10, 20) and small < large
    assert Path("curve.svg").read_text().startswith("<?xml")
    assert "![Learning curves](curve.svg)" in Path("c.md").read_text()
    doubling = curve["doubling"]
    low, high = doubling["interval"]
    said = re.findall(r"worth about (\S+) points of F1", result.out)
    assert curve["epochs"] == 1
    assert ("With train.epochs=1 for all sizes" in result.out) == bool(said)
    assert said == ([] if low <= 0 <= high else [f"{doubling['difference']:.1f}"])


def test_percentages_of_folds_are_scored_on_all_folds_together(desk, cli):
    Path("own.brackets").write_text(Path("corpus/train.brackets").read_text())
    words = ["compare", "tiny.yaml", "train.epochs=1", "--data", "own.brackets", "--folds", 2]
    result = cli(*words, "--percentages", "50,100", "--seeds", "1,2", "--json", "c.json")
    assert (result.code, result.err) == (0, "")
    report = json.loads(Path("c.json").read_text())
    assert list(report["corpora"]) == ["own-2-folds-50%", "own-2-folds-100%"]
    (curve,) = report["learning_curves"]
    assert (curve["corpus"], curve["sizes"]) == ("own-2-folds", [10, 20])
    for name, f1s in zip(report["corpora"], curve["f1s"], strict=True):
        for seed, f1 in zip((1, 2), f1s, strict=True):
            files = [OUT / name / f"fold{fold}" / f"tiny-seed{seed}.json" for fold in (1, 2)]
            rows = [row for file in files for row in json.loads(file.read_text())["counts"]["test"]]
            assert len(rows) == 40 and f1 == pytest.approx(compute_f1(np.sum(rows, axis=0)))
    for fold, seed in product((1, 2), (1, 2)):
        half, whole, test = (
            Counter(s.text for s in read_sentences(OUT / path).sentences)
            for path in (
                f"own-2-folds-50%/fold{fold}/train{seed}.jsonl",
                f"own-2-folds/fold{fold}/train.jsonl",
                f"own-2-folds/fold{fold}/test.jsonl",
            )
        )
        assert half.total() == 10 and half < whole and not whole & test


def test_resampling_errors_are_one_line(desk, cli):
    Path("few.brackets").write_text("to [Oslo](city)\n" * 3 + "from [Rome](city)\n")
    for words, message in [
        (
            ["--folds", 3, "--data", "few.brackets"],
            "3 folds of only 2 different training sentences",
        ),
        (["--percentages", "0,50"], "--percentages 0,50: must be integers from 1 to 100"),
        (["--percentages", "50", "--data", "corpus/train.brackets"], "train has no test sentences"),
        (["--percentages", "50", "--figure", "c.gif"], "a figure is a .svg, .png or .pdf file"),
    ]:
        result = cli("compare", "tiny.yaml", *words)
        assert (result.code, result.out, result.err.count("\n")) == (2, "", 1), words
        assert message in result.err
    assert not OUT.exists()


def draw_counts(random, f1s, seeds, sentences):
    """Return slot counts of sentences with two slots each, right with the probability `f1s`."""
    difficulty = random.normal(size=(1, 1, sentences, 2))
    noise = random.normal(size=(len(f1s), seeds, sentences, 2))
    score = (difficulty + noise) / 2**0.5
    limits = np.array([NormalDist().inv_cdf(f1) for f1 in f1s])
    correct = (score < limits[:, None, None, None]).sum(axis=-1)
    return np.stack([correct, np.full_like(correct, 2), np.full_like(correct, 2)], axis=-1)


def test_doubling_is_the_slope_of_f1_on_the_logarithm_of_the_size():
    counts = draw_counts(np.random.default_rng(1), [0.7, 0.74, 0.78], 5, 20_000)
    doubling = fit_doubling([100, 200, 400], counts)
    assert doubling.sizes == [100, 200, 400]
    assert doubling.difference == pytest.approx(4, abs=0.3)
    low, high = doubling.interval
    assert low < 4 < high and high - low < 2
    assert fit_doubling([20, 100, 200, 400], counts[[0, 0, 1, 2]]).sizes == [100, 200, 400]
    assert fit_doubling([200, 400], counts[:2, :1]) is None


def test_doubling_of_what_is_worth_nothing_is_within_its_interval():
    random = np.random.default_rng(0)
    outside = 0
    for _ in range(200):
        counts = draw_counts(random, [0.8, 0.8, 0.8], 3, 100)
        low, high = fit_doubling([100, 200, 400], counts).interval
        outside += not low <= 0 <= high
    assert outside <= 0.08 * 200
