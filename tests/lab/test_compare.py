"""slotfill compare: runs are trained once, errors come before training, scores match the runs."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import statistics
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from conftest import start, write_config
from filelock import FileLock
from markdown_it import MarkdownIt

from slotfill.config.builtin import builtin_config_names, expand_configs, load_config
from slotfill.config.validate import parse_config
from slotfill.errors import UsageError
from slotfill.evaluation.metrics import compute_f1
from slotfill.lab.compare import runner
from slotfill.lab.compare.job import check_same_config, is_finished
from slotfill.lab.compare.plan import plan as plan_jobs
from slotfill.lab.compare.significance import compare_f1, correct_holm
from slotfill.runs.folder import RunFolder
from slotfill.runs.train import train

OUT = Path("runs/compare")
FAST = ["train.epochs=2", "--seeds", "1,2"]


@pytest.fixture(scope="module")
def compared(tmp_path_factory, corpus):
    """A folder with a comparison of three configs on the tiny corpus; read-only."""
    folder = tmp_path_factory.mktemp("compared")
    (folder / "corpus").symlink_to(corpus)
    configs(folder)
    files = ["--json", "c.json", "--markdown", "c.md"]
    process = start("compare", "one.yaml", "two.yaml", "three.yaml", *FAST, *files, cwd=folder)
    out, err = process.communicate()
    assert (process.returncode, err.decode()) == (0, "")
    (folder / "out.txt").write_bytes(out)
    return folder


@pytest.fixture
def again(tmp_path, compared, monkeypatch):
    """The current folder: a copy of the comparison."""
    shutil.copytree(compared, tmp_path / "again", symlinks=True)
    monkeypatch.chdir(tmp_path / "again")
    return tmp_path / "again"


def configs(folder):
    write_config(folder / "one.yaml")
    write_config(folder / "two.yaml", encoder="{name: feedforward, hidden_size: 8, window: 0}")
    write_config(folder / "three.yaml", train="{epochs: 6, batch_size: 8, learning_rate: 0.001}")
    text = (folder / "one.yaml").read_text()
    (folder / "one.yaml").write_text(f"# A small network.\n#\n{text}")


def read_report(folder=Path()):
    return json.loads((folder / "c.json").read_text(encoding="utf-8"))


def stamps():
    return {str(path): path.stat().st_mtime_ns for path in sorted(OUT.rglob("*")) if path.is_file()}


def steady(report):
    """The parts of a report that do not depend on the clock or the command line."""
    f1s = [
        [about["splits"] for about in config["corpora"].values()] for config in report["configs"]
    ]
    return f1s, [
        (run["corpus"], run["config"], run["seed"], run.get("epochs")) for run in report["runs"]
    ]


def test_report_has_the_scores_of_the_runs(compared, corpus):
    report = read_report(compared)
    keys = "format command date environment differences equal_outputs statistics seeds folds"
    assert list(report) == [*keys.split(), "corpora", "configs", "pairs", "learning_curves", "runs"]
    assert report["command"].startswith(
        "slotfill compare one.yaml two.yaml three.yaml train.epochs=2 --seeds 1,2"
    )
    path = os.path.relpath(corpus, compared)
    assert report["corpora"] == {
        "corpus": {
            "path": path,
            "final": "test",
            "splits": ["test", "pairs"],
            "subset": None,
            "sentences": {"test": 8, "pairs": 4},
        }
    }
    assert [config["name"] for config in report["configs"]] == ["one", "two", "three"]
    assert [config["summary"] for config in report["configs"]] == ["A small network.", "", ""]
    assert "torch" in report["environment"]["versions"] and str(compared) not in json.dumps(report)
    assert len(report["runs"]) == 6
    for run in report["runs"]:
        folder = compared / run["folder"]
        assert run["folder"] == f"runs/compare/corpus/{run['config']}-seed{run['seed']}"
        notes = json.loads((folder / "scores.json").read_text())
        assert run["scores"]["test"] == notes["splits"]["test"]
        assert run["scores"]["valid"] == notes["splits"]["valid"]
        assert (run["parameters"], run["epochs"], run["failed"]) == (notes["parameters"], 2, None)
        assert parse_config((folder / "config.yaml").read_text(), "x").train.seed == run["seed"]
    for config in report["configs"]:
        mine = [run for run in report["runs"] if run["config"] == config["name"]]
        about = config["corpora"]["corpus"]
        for split in ("test", "pairs"):
            f1s = [run["scores"][split]["overall"]["f1"] for run in mine]
            assert about["splits"][split]["seeds"] == 2
            assert list(about["splits"][split]["f1s"].items()) == list(zip("12", f1s, strict=True))
            assert about["splits"][split]["mean"] == pytest.approx(sum(f1s) / 2)
            assert about["splits"][split]["deviation"] == pytest.approx(
                abs(f1s[0] - f1s[1]) / 2**0.5
            )
        epochs = [speed for run in mine for speed in run["train_tokens_per_second_by_epoch"]]
        assert about["train_tokens_per_second"] == statistics.median(epochs) > 0
        assert about["predict_tokens_per_second"] > 0
        assert about["parameters"] == mine[0]["parameters"]
        assert about["multiply_adds_per_token"] == mine[0]["multiply_adds_per_token"] > 0
        peaks = [run["peak_memory_mb"] for run in mine]
        assert about["peak_memory_mb"] == (None if None in peaks else max(peaks))


def test_differences_are_computed_from_the_saved_counts(compared):
    report = read_report(compared)

    def counts(name, split):
        files = [compared / OUT / "corpus" / f"{name}-seed{seed}.json" for seed in (1, 2)]
        return np.array([json.loads(file.read_text())["counts"][split] for file in files])

    for scores in report["configs"][0]["corpora"]["corpus"]["splits"].values():
        assert scores["difference_from_first"] is None
    for split, sentences in (("test", 8), ("pairs", 4)):
        ps = []
        for config in report["configs"][1:]:
            one, other = counts(config["name"], split), counts("one", split)
            assert one.shape == (2, sentences, 3)
            found = config["corpora"]["corpus"]["splits"][split]
            against, first = (
                found["difference_from_first"],
                report["configs"][0]["corpora"]["corpus"]["splits"][split],
            )
            assert compute_f1(one.sum(axis=1)) == pytest.approx(list(found["f1s"].values()))
            assert against["difference"] == pytest.approx(found["mean"] - first["mean"])
            expected = compare_f1(one, other)
            assert against["p"] == expected.p
            assert against["interval"] == list(expected.interval)
            ps.append(against["p"])
        corrected = [
            config["corpora"]["corpus"]["splits"][split]["difference_from_first"]["p_corrected"]
            for config in report["configs"][1:]
        ]
        assert corrected == correct_holm(ps)


def test_a_config_is_compared_with_its_own_variants(desk, cli):
    words = ["compare", "tiny.yaml", "train.epochs=1", "--seeds", "1,2", "--json", "c.json"]
    variants = ["--with", "encoder.cell=elman", "--with", "encoder.cell=gru train.batch_size=4"]
    result = cli(*words, *variants)
    assert (result.code, result.err) == (0, "")
    names = ["tiny", "tiny+encoder.cell=elman", "tiny+encoder.cell=gru+train.batch_size=4"]
    assert [config["name"] for config in read_report()["configs"]] == names
    cells = []
    for name in names:
        text = (OUT / "corpus" / f"{name}-seed2" / "config.yaml").read_text()
        cells.append(parse_config(text, "x").encoders[0]["cell"]["name"])
    assert cells == ["lstm", "elman", "gru"]
    for variant, message in [
        ("tiny.yaml", "--with 'tiny.yaml': must be overrides separated by spaces"),
        ("", "--with '': must be overrides"),
        ("'x", "--with 'x: No closing quotation"),
        ("encoder={name: 'x", "--with encoder={name: 'x: No closing quotation"),
        ("encoder.cel=gru", "encoder.cel: unknown key; did you mean 'cell'?"),
        ("train.seed=3", "train.seed is set by --seeds"),
    ]:
        result = cli("compare", "tiny.yaml", "--with", variant)
        assert (result.code, result.out, result.err.count("\n")) == (2, "", 1), result.err
        assert message in result.err


@pytest.mark.parametrize(
    ("text", "overrides"),
    [
        (
            "encoder.cell=gru  encoder.hidden_size=50",
            ["encoder.cell=gru", "encoder.hidden_size=50"],
        ),
        (
            "encoder.cell={name: mlstm, heads: 4} train.epochs=2",
            ["encoder.cell={name: mlstm, heads: 4}", "train.epochs=2"],
        ),
        ("embedding=[word, {name: char}]", ["embedding=[word, {name: char}]"]),
        ("synonyms={'New York': {city: \"}\"}}", ["synonyms={'New York': {city: \"}\"}}"]),
        ("'encoder.cell={name: mlstm, heads: 4}'", ["encoder.cell={name: mlstm, heads: 4}"]),
        ("data.path='my data' train.epochs=2", ["data.path=my data", "train.epochs=2"]),
        ("data.path=a[1 train.epochs=2", ["data.path=a[1", "train.epochs=2"]),
    ],
)
def test_variants_are_split_at_spaces_outside_of_quotes_and_brackets(
    text, overrides, desk, cli, monkeypatch
):
    found = []

    def plan(*_, variants, **__):
        found.append(variants)
        raise UsageError("enough")

    monkeypatch.setattr("slotfill.lab.compare.plan.plan", plan)
    cli("compare", "tiny.yaml", "--with", text, "--with", "train.epochs=9", "--with", text)
    assert found == [[tuple(overrides), ("train.epochs=9",)]], "the same ones count once"


def test_a_variant_may_have_a_value_in_braces(desk, cli):
    words = ["compare", "tiny.yaml", "train.epochs=1", "--seeds", "1", "--json", "c.json"]
    variant = "encoder.cell={name: elman, activation: relu}"
    result = cli(*words, "--with", variant, "--with", variant)
    assert (result.code, result.err) == (0, "")
    assert [config["name"] for config in read_report()["configs"]] == ["tiny", f"tiny+{variant}"]


def test_tables_as_csv_and_latex(again, cli):
    words = ["compare", "one.yaml", "two.yaml", *FAST, "--csv", "c.csv", "--latex", "c.tex"]
    assert cli(*words, "--json", "new.json").code == 0
    report = json.loads(Path("new.json").read_text())
    rows = list(csv.DictReader(Path("c.csv").read_text().splitlines()))
    found = {(row["config"], row["split"]): row for row in rows}
    assert list(found) == [(name, split) for name in ("one", "two") for split in ("test", "pairs")]
    scores = report["configs"][1]["corpora"]["corpus"]["splits"]["test"]
    row, against = found["two", "test"], scores["difference_from_first"]
    assert float(row["f1"]) == scores["mean"] and row["runs"] == "2"
    assert [float(row["difference_low"]), float(row["difference_high"])] == against["interval"]
    assert (float(row["p"]), found["one", "test"]["p"]) == (against["p"], "")
    assert (row["compared_with"], found["one", "test"]["compared_with"]) == ("one", "")
    assert float(row["p_corrected"]) == against["p_corrected"] and row["p_corrected_pairs"] == ""
    text = Path("c.tex").read_text()
    cell = f"{scores['mean']:.2f} $\\pm$ {scores['deviation']:.2f}"
    assert cell in text and text.count("\\begin{tabular}") == text.count("\\end{tabular}") == 3
    assert "95\\% interval" in text
    result = cli(*words)
    assert result.err == "slotfill: c.csv: already exists; use --force to replace it\n"


def test_the_figure_shows_every_seed_and_each_difference(again):
    from slotfill.lab.compare import report
    from slotfill.lab.probe.figures import plot_scores

    plan = plan_jobs(
        ["one.yaml", "two.yaml", "three.yaml"], OUT, overrides=FAST[:1], seeds=[1, 2, 3]
    )
    summary = report.summarize(plan, {job.title: "no" for job in plan.jobs if job.seed == 3}, "")
    left, right, *_ = plot_scores(summary).axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["one", "two", "three"]
    dots = [line for line in left.lines if line.get_marker() == "o"]
    diamonds = [line for line in right.lines if line.get_marker() == "D"]
    for config, row, line in zip(summary.configs, range(3), dots, strict=True):
        scores = config.split("corpus", "test")
        assert list(line.get_xdata()) == list(scores.f1s.values()) and len(scores.f1s) == 2
        assert list(line.get_ydata()) == [row, row]
    assert [line.get_xdata()[0] for line in diamonds] == [
        config.split("corpus", "test").difference_from_first.difference
        for config in summary.configs[1:]
    ]
    assert [line.get_ydata()[0] for line in diamonds] == [1, 2]


def test_all_pairs_are_compared_if_asked_for(again, cli):
    assert read_report()["pairs"] == []
    words = ["compare", "one.yaml", "two.yaml", "three.yaml", *FAST]
    result = cli(*words, "--all-pairs", "--json", "all.json", "--csv", "all.csv")
    assert (result.code, result.err) == (0, "")
    report = json.loads(Path("all.json").read_text())
    pairs = [pair for pair in report["pairs"] if pair["split"] == "test"]
    names = [(pair["config"], pair["other"]) for pair in pairs]
    assert names == [("two", "one"), ("three", "one"), ("three", "two")]
    from_first = [
        config["corpora"]["corpus"]["splits"]["test"]["difference_from_first"]
        for config in report["configs"][1:]
    ]
    for pair, found in zip(pairs, from_first, strict=False):
        for key in ("difference", "interval", "p"):
            assert pair[key] == found[key]
    assert [pair["p_corrected"] for pair in pairs] == correct_holm([pair["p"] for pair in pairs])
    assert re.search(r"│ three - two +│ +[+-]\d", result.out)
    rows = list(csv.DictReader(Path("all.csv").read_text().splitlines()))
    of_test = {(row["config"], row["compared_with"]): row for row in rows if row["split"] == "test"}
    assert list(of_test) == [("one", ""), *names] and len(rows) == 2 * len(of_test)
    for pair, name in zip(pairs, names, strict=True):
        row = of_test[name]
        assert [float(row["difference_low"]), float(row["difference_high"])] == pair["interval"]
        for column, key in [("p", "p"), ("p_corrected_pairs", "p_corrected")]:
            assert float(row[column]) == pair[key]
    corrected = [of_test[name]["p_corrected"] for name in names]
    assert corrected == [*(str(found["p_corrected"]) for found in from_first), ""]


def test_tables_on_the_terminal_and_in_markdown(compared):
    report = read_report(compared)
    out, page = (compared / "out.txt").read_text(), (compared / "c.md").read_text()
    assert max(len(line) for line in out.splitlines() if line[:1] in "┃│") <= 80
    assert "Warning: 2 seeds, so only large differences are found; add" in out
    assert "Warning: few sentences (8 in corpus test, 4 in corpus pairs), so p may be" in out
    for config in report["configs"]:
        about = config["corpora"]["corpus"]
        found = about["splits"]["test"]
        cell = f"{found['mean']:.2f} ± {found['deviation']:.2f}"
        assert re.search(rf"│ {config['name']} +│ +{re.escape(cell)}", out)
        assert f"\n| {config['name']} | {cell}" in page
        assert f"{about['parameters']:,}" in out and f"{about['parameters']:,}" in page
    assert f"    {report['command']}\n" in page
    assert f"torch {report['environment']['versions']['torch']}" in page
    assert report["date"][:10] in page


def test_names_in_files_format_nothing(desk, cli):
    folder = Path("<img src=x>\x1b]0;a\x07")
    folder.mkdir()
    shutil.copy("corpus/test.brackets", folder)
    gold = next(folder.iterdir())
    systems = ("[a](b:c)|\x1b]0;d\x07\u202e", "<script>e")
    words = [word for name in systems for word in ("--system", f"{name}={gold}")]
    files = ("--markdown", "c.md", "--csv", "c.csv", "--latex", "c.tex")
    result = cli("compare", *words, "--gold", gold, *files)
    assert result.code == 0, result.err
    for name in ("c.md", "c.csv", "c.tex"):
        assert not re.search("[\x1b\x07\u202e]", Path(name).read_text(encoding="utf-8"))
    page = re.sub(r"^    .*$", "", Path("c.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    tags = set(re.findall(r"<(\w+)", MarkdownIt("commonmark").enable("table").render(page)))
    assert tags.isdisjoint({"img", "script", "a"}) and {"table", "h1"} <= tags
    rows = list(csv.DictReader(Path("c.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["config"] for row in rows] == [
        "[a](b:c)|\\u001b]0;d\\u0007\\u202e",
        "<script>e",
    ]


def test_a_second_call_trains_nothing_and_reports_the_same(again, cli):
    before = stamps()
    result = cli("compare", "one.yaml", "two.yaml", "three.yaml", *FAST, "--json", "c.json")
    assert (result.code, result.out) == (2, "")
    assert result.err == "slotfill: c.json: already exists; use --force to replace it\n"
    report = read_report()
    result = cli(
        "compare", "one.yaml", "two.yaml", "three.yaml", *FAST, "--json", "c.json", "--force"
    )
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("6 runs, 6 of them already finished\n")
    assert stamps() == before
    new = read_report()
    assert steady(new) == steady(report)
    assert new["runs"] == report["runs"]


def test_no_result_is_written_through_a_link(again, cli):
    result = min(OUT.rglob("*-seed1.json"))
    result.unlink()
    result.symlink_to(Path("outside").absolute())
    refused = cli("compare", "one.yaml", "two.yaml", "three.yaml", *FAST)
    assert refused.code == 2 and f"{result}: is a link" in refused.err
    assert not Path("outside").exists()


def test_only_a_missing_run_is_trained_again(again, cli):
    before = stamps()
    shutil.rmtree(OUT / "corpus" / "two-seed2")
    result = cli("compare", "one.yaml", "two.yaml", "three.yaml", *FAST, "--json", "new.json")
    assert (result.code, result.err) == (0, "")
    assert re.findall(r"^corpus/(\S+): starts", result.out, re.MULTILINE) == ["two-seed2"]
    changed = {path.split("/")[3] for path, stamp in stamps().items() if before[path] != stamp}
    assert changed == {"two-seed2", "two-seed2.json"}
    assert steady(json.loads(Path("new.json").read_text())) == steady(read_report())


def test_a_run_of_another_config_is_an_error_with_its_key(again, cli):
    before = stamps()
    result = cli(
        "compare", "one.yaml", "two.yaml", "--seeds", "1,2", "train.epochs=2", "embedding.size=9"
    )
    folder = OUT / "corpus" / "one-seed1"
    assert (
        result.err
        == f"slotfill: {folder}: trained with embedding.0.size 8, not 9; remove {folder}, or choose"
        " another --out\n"
    )
    assert (result.code, result.out, stamps()) == (2, "", before)


def test_a_run_that_is_older_than_a_key_has_its_default(again):
    job = plan_jobs(["one.yaml"], OUT, overrides=["train.epochs=2"]).jobs[0]
    path = job.folder / "config.yaml"
    text = path.read_text()
    path.write_text(text.replace("  streaming: false\n", ""))
    check_same_config(job)
    path.write_text(text.replace("  streaming: false\n", "  streaming: true\n"))
    with pytest.raises(UsageError, match=r"trained with data\.streaming true, not false"):
        check_same_config(job)


def test_changed_test_sentences_are_evaluated_and_changed_valid_sentences_an_error(desk, cli):
    words = ["compare", "tiny.yaml", "train.epochs=1", "--seeds", "1", "--data", "own"]
    shutil.copytree("corpus", "own")
    assert cli(*words).code == 0
    test, valid = Path("own/test.brackets"), Path("own/valid.brackets")
    test.write_text("".join(test.read_text().splitlines(keepends=True)[:5]))
    weights = {path: stamp for path, stamp in stamps().items() if path.endswith("safetensors")}
    result = cli(*words, "--json", "c.json")
    assert (result.code, result.err) == (0, "")
    assert read_report()["runs"][0]["scores"]["test"]["sentences"] == 5
    assert weights and weights.items() <= stamps().items(), "nothing was trained"
    valid.write_text(valid.read_text() + "hello\n")
    result = cli(*words)
    assert (result.code, result.out) == (2, "")
    assert "own/tiny-seed1: the valid sentences changed after training; remove " in result.err


def test_parallel_jobs_give_the_same_scores(again, cli):
    words = ["compare", "one.yaml", "two.yaml", "train.epochs=2", "--seeds", "1"]
    assert cli(*words, "--json", "one.json").code == 0
    result = cli(*words, "--jobs", "2", "--out", "b", "--json", "two.json")
    assert (result.code, result.err) == (0, "")
    assert max(
        map(result.out.index, ("one-seed1: starts", "two-seed1: starts"))
    ) < result.out.index("test F1")
    assert steady(json.loads(Path("two.json").read_text())) == steady(
        json.loads(Path("one.json").read_text())
    )


def test_shards_train_each_run_once_and_a_last_call_reports_the_same(desk, compared, cli):
    configs(desk)
    words = ["compare", "one.yaml", "two.yaml", "train.epochs=2", "--seeds", "1"]
    trained = []
    for number in (2, 3, 1):
        result = cli(*words, "--shard", f"{number}/3")
        assert (result.code, result.err, "F1 of slots" in result.out) == (0, "", False)
        trained.append(re.findall(r"^corpus/(\S+): starts", result.out, re.MULTILINE))
    assert trained == [["two-seed1"], [], ["one-seed1"]]
    result = cli(*words, "--json", "c.json")
    assert (result.code, "2 runs, 2 of them already finished\n" in result.out) == (0, True)
    in_one_job = {run["folder"]: run["scores"] for run in read_report(compared)["runs"]}
    runs = read_report()["runs"]
    assert [run["scores"] for run in runs] == [in_one_job[run["folder"]] for run in runs]


@pytest.mark.parametrize("finishes", [True, False])
def test_a_run_that_another_process_trains_is_waited_for(finishes, desk, monkeypatch):
    monkeypatch.setattr(runner, "_INTERVAL", 0.01)
    configs(desk)
    words = {"overrides": ["train.epochs=1"], "seeds": [1], "shard": "1/1"}
    plan = plan_jobs(["one.yaml", "two.yaml"], OUT, **words)
    in_use = OUT / "corpus" / "one-seed1.partial"
    in_use.mkdir(parents=True)
    lock = FileLock(f"{in_use}.lock")
    lock.acquire()
    messages = []

    def other_process(job, message):
        messages.append(f"{job.name} {message.partition(' F1')[0]}")
        if message == "is trained by another process":
            lock.release()
            if finishes:
                assert runner.run_jobs(plan, lambda job, message: None) == {}

    assert runner.run_jobs(plan, other_process) == {}
    expected = ["two starts", "two test", "one is trained by another process", "one test"]
    if not finishes:  # It was killed.
        expected.insert(3, "one starts")
    assert messages == expected
    assert all(map(is_finished, plan.jobs))


def test_two_processes_divide_the_runs_of_the_same_shard(desk):
    configs(desk)
    words = ("compare", "one.yaml", "two.yaml", "train.epochs=1", "--seeds", "1", "--shard", "1/1")
    processes = [start(*words) for _ in range(2)]
    for process in processes:
        out, err = process.communicate()
        text = out.decode()
        assert (process.returncode, err.decode()) == (0, ""), text
        assert re.search(r"\b(\d) of \1 done|2 of them already finished", text), text


def test_a_resumed_run_gives_the_same_scores(desk, cli):
    configs(desk)
    words = ["compare", "one.yaml", "two.yaml", "train.epochs=3", "--seeds", "1"]
    assert cli(*words, "--json", "uninterrupted.json").code == 0

    # As a kill would leave a run, and as Ctrl-C leaves one of `slotfill train`, which saves it.
    for name, end in (("one", KeyError), ("two", KeyboardInterrupt)):
        config = load_config(f"{name}.yaml", ["train.epochs=3", "train.seed=1"])[1]

        def report(progress, end=end):
            if progress.epoch == 2:
                raise end

        with suppress(KeyError):
            train(config, RunFolder(Path("b/corpus", f"{name}-seed1")), report)
    assert (
        Path("b/corpus/one-seed1.partial").is_dir()
        and Path("b/corpus/two-seed1/checkpoint").is_dir()
    )
    result = cli(*words, "--out", "b", "--json", "b.json")
    assert (result.code, result.err) == (0, "")
    assert result.out.count(": resumes") == 2
    names = ["one-seed1", "one-seed1.json", "two-seed1", "two-seed1.json"]
    assert sorted(path.name for path in Path("b/corpus").iterdir()) == names
    assert steady(json.loads(Path("b.json").read_text())) == steady(
        json.loads(Path("uninterrupted.json").read_text())
    )


@pytest.mark.parametrize("jobs", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_ctrl_c_keeps_finished_runs_and_says_how_to_resume(desk, jobs):
    configs(desk)
    Path("long.brackets").write_text(Path("corpus/train.brackets").read_text() * 30)
    write_config(Path("long.yaml"), data="{train: long.brackets, valid: corpus/valid.brackets}")
    words = ["one.yaml", "long.yaml", "train.batch_size=1", "train.epochs=2"]
    words += ["--seeds", "1", "--jobs", jobs]
    process = start("compare", *words, start_new_session=True)
    partial = OUT / desk.name / "long-seed1.partial"
    while not ((OUT / "corpus" / "one-seed1.json").exists() and partial.exists()):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
    _, err = process.communicate(timeout=20)
    assert err == b"slotfill: stopped; 1 of 2 runs are finished; run the same command to continue\n"
    assert process.returncode == 130
    assert (OUT / "corpus" / "one-seed1" / "model.safetensors").exists()


def test_all_errors_are_reported_before_training(desk, cli):
    configs(desk)
    write_config(Path("bad.yaml"), tagger="cfr")
    write_config(Path("worse.yaml"), encoder="{name: recurrent, hiden_size: 8}")
    Path("broken.conll").write_text("fly O\nto\n")
    write_config(Path("broken.yaml"), data="{train: broken.conll, valid: corpus/valid.brackets}")
    result = cli("compare", "one.yaml", "bad.yaml", "nope.yaml", "worse.yaml", "broken.yaml")
    assert (result.code, result.out, OUT.exists()) == (2, "", False)
    lines = [re.split(r"[;,]", line)[0] for line in result.err.splitlines()]
    assert lines == [
        "slotfill: bad.yaml:4: tagger: unknown tagger 'cfr'",
        "slotfill: no config 'nope.yaml'",
        "slotfill: worse.yaml:3: encoder.hiden_size: unknown key",
        "slotfill: broken.conll:2: 1 column",
    ]


def test_without_sentences_to_evaluate_nothing_is_trained(desk, cli):
    write_config(Path("all.yaml"), data="{train: corpus/train.brackets, holdout: 0}")
    result = cli("compare", "all.yaml")
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert "no test and no valid sentences" in result.err and not OUT.exists()


def test_usage_errors_are_one_line(desk, cli):
    configs(desk)
    Path("other").mkdir()
    write_config(Path("other/one.yaml"), data="{path: ../corpus}")
    shutil.copytree("corpus", "other/corpus")
    Path("empty").mkdir()
    for words, message in [
        (
            ["one.yaml", "other/one.yaml"],
            "other/one.yaml and one.yaml are both called 'one'; rename one",
        ),
        (
            ["one.yaml", "--data", "corpus", "--data", "other/corpus"],
            "are both called 'corpus'; rename one",
        ),
        (
            ["one.yaml", "--data", "corpus", "--data", "./corpus"],
            "corpus/one-seed1 is listed twice",
        ),
        (["empty"], "empty: no config in this folder"),
        (["train.epochs=2"], "no CONFIG given"),
        (["one.yaml", "--seeds", "1,x"], "--seeds 1,x: must be integers"),
        (["one.yaml", "--seeds", "1,1"], "each once"),
        (["one.yaml", "train.seed=3"], "give --seeds"),
        (["one.yaml", "train={seed: 3}"], "give --seeds"),
        (["one.yaml", "data.path=corpus", "--data", "corpus"], "give one of them"),
        (["one.yaml", "--json", "no/x.json"], "no/x.json: there is no such folder"),
        (["one.yaml", "--markdown", "empty"], "empty: is a folder"),
        (["one.yaml", "--shard", "0/2"], "--shard 0/2: must be K/N with K from 1 to N"),
        (["one.yaml", "--shard", "1/2", "--json", "x.json"], "by a last call without it"),
        (["one.yaml", "--shard", "1/2", "--all-pairs"], "give --all-pairs in a last call"),
    ]:
        result = cli("compare", *words)
        assert (result.code, result.out, result.err.count("\n")) == (2, "", 1), words
        assert message in result.err
    assert not OUT.exists()


def test_configs_listed_twice_count_once(desk):
    configs(desk)
    plan = plan_jobs(["two.yaml", "."], Path("b"), seeds=[1, 2], data=["corpus", "corpus"])
    assert list(plan.configs) == ["two", "one", "three", "tiny"]
    assert [job.title for job in plan.jobs] == [
        f"corpus/{n}-seed{s}" for s in (1, 2) for n in plan.configs
    ]


def test_a_failed_run_does_not_stop_the_others(desk, cli):
    configs(desk)
    hot = (
        "{epochs: 3, batch_size: 4, optimizer: sgd, learning_rate: 1.0e+38, gradient_clip: 0,"
        " warmup_epochs: 0}"
    )
    write_config(Path("hot.yaml"), train=hot)
    result = cli(
        "compare",
        "one.yaml",
        "hot.yaml",
        "two.yaml",
        "--seeds",
        "1",
        "--json",
        "c.json",
        "--markdown",
        "c.md",
    )
    assert result.code == 1
    assert re.fullmatch(
        r"slotfill: corpus/hot-seed1: the loss became (nan|inf) in step \d+: lower .*\n", result.err
    )
    assert re.search(r"│ hot +│ +failed! │", result.out)
    assert "! 1 of 3 runs failed and are excluded." in result.out
    assert "| hot | failed! | failed! |" in Path("c.md").read_text()
    report = read_report()
    assert report["configs"][1]["corpora"]["corpus"]["splits"]["test"] == {
        "mean": None,
        "deviation": None,
        "f1s": {},
        "intent": {},
        "seeds": 0,
        "interval": None,
        "difference_from_first": None,
    }
    assert report["runs"][1]["failed"].startswith("the loss became")
    found = report["configs"][2]["corpora"]["corpus"]["splits"]["test"]["difference_from_first"]
    assert list(found) == ["difference", "interval", "p", "p_corrected"]
    assert found["p"] is None and "Warning: 1 seed, so nothing is tested" in result.out
    assert f"{found['difference']:+.2f}, not tested" in result.out and "*" not in result.out
    names = ["one-seed1", "one-seed1.json", "two-seed1", "two-seed1.json"]
    assert sorted(path.name for path in (OUT / "corpus").iterdir()) == names


def test_runs_that_other_code_has_trained_are_named(desk, cli, monkeypatch):
    configs(desk)
    words = ("compare", "one.yaml", "--seeds", "1")
    assert "Warning" not in cli(*words).err
    assert "Warning" not in cli(*words).err
    monkeypatch.setattr("slotfill.runs.environment._code", lambda: "0123456789ab")
    changed = "Warning: what is finished was trained with other versions: code of slotfill ("
    assert cli(*words).err.startswith(changed)


def test_no_differences_if_the_first_config_failed(desk, cli):
    configs(desk)
    result = cli(
        "compare",
        "one.yaml",
        "two.yaml",
        "train.learning_rate=1e38",
        "train.optimizer=sgd",
        "train.warmup_epochs=0",
        "train.gradient_clip=0",
        "--seeds",
        "1",
        "--json",
        "c.json",
    )
    assert result.code == 1 and "Traceback" not in result.err
    for config in read_report()["configs"]:
        for scores in config["corpora"]["corpus"]["splits"].values():
            assert scores["difference_from_first"] is None


def test_data_option_replaces_the_data_of_configs(desk, cli):
    configs(desk)
    write_config(Path("own.yaml"), data="{path: corpus, train: nowhere.conll, test: nowhere.conll}")
    shutil.copytree("corpus", "no: 2")
    shutil.copytree("corpus", "first")
    Path("no: 2/pairs.brackets").rename("no: 2/strange.brackets")
    result = cli(
        "compare",
        "own.yaml",
        "train.epochs=1",
        "--seeds",
        "1",
        "--data",
        "first",
        "--data",
        "no: 2",
        "--json",
        "c.json",
    )
    assert (result.code, result.err) == (0, "")
    corpora = read_report()["corpora"]
    assert {name: (about["path"], about["splits"]) for name, about in corpora.items()} == {
        "first": ("first", ["test", "pairs"]),
        "no: 2": ("no: 2", ["test", "strange"]),
    }
    assert {path.name for path in OUT.iterdir()} == {"first", "no: 2"}


def test_cells_are_empty_where_a_config_was_not_trained(desk, cli):
    configs(desk)
    shutil.copytree("corpus", "second")
    write_config(Path("elsewhere.yaml"), data="{path: second}")
    result = cli(
        "compare",
        "one.yaml",
        "elsewhere.yaml",
        "train.epochs=1",
        "--seeds",
        "1",
        "--markdown",
        "c.md",
    )
    assert (result.code, result.err) == (0, "")
    (row,) = re.findall(r"^\| one \| (\d.*)$", Path("c.md").read_text(), re.MULTILINE)[:1]
    assert [bool(cell.strip()) for cell in row.rstrip("|").split("|")] == [True, True, False, False]


def test_expand_configs(desk):
    configs(desk)
    assert expand_configs("one.yaml") == ["one.yaml"]
    assert expand_configs("taipei") == ["taipei"]
    assert expand_configs(".") == ["one.yaml", "three.yaml", "tiny.yaml", "two.yaml"]
    assert expand_configs("nowhere") == ["nowhere"]
    folders = {name.rpartition("/")[0] for name in builtin_config_names()} - {""}
    for folder in folders:
        assert (
            expand_configs(folder)
            == expand_configs(f"{folder}/")
            == [n for n in builtin_config_names() if n.startswith(f"{folder}/")]
        )


def killed(job, device, sender):
    os._exit(9)


def test_a_killed_worker_process_is_a_failed_run(desk, monkeypatch):
    plan = plan_jobs(["tiny.yaml"], Path("b"))
    monkeypatch.setattr(runner, "_work", killed)
    errors = runner.run_jobs(plan, lambda job, text: None, processes=2)
    assert errors == {"corpus/tiny-seed1": "worker process was killed"}
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_exception_is_a_failed_run(desk, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("shapes\ndo not fit")

    monkeypatch.setattr(runner, "train", broken)
    plan = plan_jobs(["tiny.yaml"], Path("b"))
    assert runner.run_jobs(plan, lambda job, text: None) == {
        "corpus/tiny-seed1": "RuntimeError: shapes do not fit"
    }


def test_what_is_compared_is_not_replaced(desk, cli):
    for option, file in (("--json", "tiny.yaml"), ("--markdown", "corpus/valid.brackets")):
        for more in ([], ["--folds", 2]):
            done = cli("compare", "tiny.yaml", option, file, "--force", *more)
            message = f"slotfill: {file}: is read by this command; write to another file\n"
            assert (done.code, done.err) == (2, message)
    assert Path("tiny.yaml").read_text().startswith("data:")


def test_systems_that_are_trained_already_are_compared(compared, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(compared)
    runs = {name: [f"{OUT}/corpus/{name}-seed{seed}" for seed in (1, 2)] for name in ("one", "two")}
    words = ["compare", "--system", f"one={','.join(runs['one'])}"]
    files = ["--json", tmp_path / "a.json", "--figure", tmp_path / "a.svg"]
    result = cli(*words, "--system", f"two={','.join(runs['two'])}", *files)
    assert (result.code, result.err) == (0, "")
    assert (tmp_path / "a.svg").read_text(encoding="utf-8").startswith("<?xml")
    trained, report = read_report(), json.loads((tmp_path / "a.json").read_text())
    assert list(report["corpora"]) == ["corpus"] and report["corpora"]["corpus"]["final"] == "test"
    for number in (0, 1):
        mine, expected = (
            each["configs"][number]["corpora"]["corpus"]["splits"]["test"]
            for each in (report, trained)
        )
        assert list(mine["f1s"].values()) == pytest.approx(list(expected["f1s"].values()))
        if number:
            for key in ("difference", "interval", "p"):
                found, against = (each["difference_from_first"][key] for each in (mine, expected))
                assert found == pytest.approx(against)
    # The same by files of predictions, beside a run.
    files, gold = [], "corpus/test.brackets"
    for run in runs["two"]:
        file = tmp_path / f"{Path(run).name}.jsonl"
        predicted = cli("predict", run, "--input", gold, "--format", "jsonl")
        assert predicted.code == 0
        file.write_text(predicted.out)
        files.append(str(file))
    again = cli(*words, "--system", f"tool={','.join(files)}", "--gold", gold, "--all-pairs")
    assert (again.code, again.err) == (0, "")
    cell = f"{expected['mean']:.2f} ± {expected['deviation']:.2f}"
    assert re.search(rf"│ tool +│ +{re.escape(cell)}", again.out)
    assert "Warning: 2 seeds, so only large differences are found; add outputs of" in again.out
    assert "tool - one" in again.out and "Speeds" not in again.out


def test_usage_errors_of_systems_are_one_line(desk, trained, cli):
    shutil.copy("corpus/valid.brackets", "other.brackets")
    Path("same.yaml").symlink_to("tiny.yaml")
    for words, message in [
        (["--system", "one"], "--system one: must be NAME=PATH,PATH"),
        (["--system", "one=no.jsonl"], "one: no.jsonl: there is no such file or run"),
        (["--system", "one=tiny.yaml"], "tiny.yaml: predictions need the labelled sentences"),
        (["--system", f"a={trained}", "--system", f"a={trained}"], "--system a is given twice"),
        (["tiny.yaml", "--system", f"a={trained}"], "give no configs or data"),
        (["tiny.yaml", "--gold", "other.brackets"], "--gold is for --system"),
        (["tiny.yaml", "--scheme", "bioes"], "--scheme is for --system"),
        (["--system", f"a={trained}", "--scheme", "bioes"], "give --gold FILE"),
        (
            ["--system", f"a={trained}", "--gold", "other.brackets", "--scheme", "bioe"],
            "unknown tag scheme 'bioe'; did you mean 'bioes'?",
        ),
        (["--system", f"a={trained}", "--gold", "x"], "x"),
        (["--system", "a=tiny.yaml,same.yaml"], "same.yaml is given twice, first as tiny.yaml"),
        (["--system", f"a={trained}", "--seeds", "1,2"], "--seeds is for training; --system"),
        (["--system", f"a={trained}", "--with", "a=b"], "--with is for training"),
    ]:
        result = cli("compare", *words)
        assert (result.code, result.out, result.err.count("\n")) == (2, "", 1), result.err
        assert message in result.err
    words = ["compare", "--system", "a=corpus/test.brackets", "--gold", "other.brackets"]
    result = cli(*words)
    assert (result.code, result.out, result.err.count("\n")) == (3, "", 1)
    assert "give the same sentences in the same order" in result.err


def test_systems_and_their_gold_sentences_may_have_another_tag_scheme(desk, trained, cli):
    lines = Path("corpus/test.brackets").read_text().splitlines(keepends=True)
    plain = [re.sub(r"\[([^]]*)\]\S*", r"\1", line) for line in lines]
    Path("a.brackets").write_text("".join(plain[:3] + lines[3:]))
    for source, target in [("corpus/test.brackets", "test.conll"), ("a.brackets", "a.conll")]:
        assert cli("convert", source, target, "--to-scheme", "bioes").code == 0
    scores = []
    for gold, output, *scheme in [
        ("corpus/test.brackets", "a.brackets"),
        ("test.conll", "a.conll", "--scheme", "bioes"),
    ]:
        words = ["--gold", gold, "--system", f"a={output}", "--system", f"run={trained}"]
        result = cli("compare", *words, *scheme, "--json", "c.json", "--force")
        assert (result.code, result.err) == (0, "")
        corpora = [next(iter(config["corpora"].values())) for config in read_report()["configs"]]
        scores.append([corpus["splits"]["test"]["mean"] for corpus in corpora])
    assert scores[0] == scores[1]
    refused = cli("compare", "--gold", "test.conll", "--system", "a=a.conll")
    assert refused.code == 3 and "is not of scheme iob2" in refused.err


def test_systems_may_have_other_numbers_of_seeds_and_equal_outputs(desk, cli):
    gold = Path("corpus/test.brackets")
    lines = gold.read_text().splitlines(keepends=True)
    plain = [re.sub(r"\[([^]]*)\]\S*", r"\1", line) for line in lines]
    names = ("a1", "a2", "b1", "b2", "b3")
    for name, wrong in zip(names, (1, 2, 3, 5, 5), strict=True):
        Path(f"{name}.brackets").write_text("".join(plain[:wrong] + lines[wrong:]))
    a, b = "a=a1.brackets,a2.brackets", "b=b1.brackets,b2.brackets,b3.brackets"
    result = cli("compare", "--gold", gold, "--system", a, "--system", b, "--json", "c.json")
    assert (result.code, result.err) == (0, "")
    assert "sample standard deviation over 2 to 3 seeds." in result.out
    assert "Warning: 2 to 3 seeds, so only large differences are found, and p" in result.out
    assert "Warning: b: the same slots as an output before in b3.brackets; if" in result.out
    report = read_report()
    assert report["seeds"] == [1, 2, 3] and report["equal_outputs"] == {"b": ["b3.brackets"]}
    scores = [config["corpora"]["corpus"]["splits"]["test"] for config in report["configs"]]
    assert [each["seeds"] for each in scores] == [2, 3]
    # A single output is not tested, others are.
    words = ["compare", "--gold", gold, "--system", a, "--system", b]
    result = cli(*words, "--system", "c=a1.brackets")
    assert "over 1 to 3 seeds." in result.out
    assert "Warning: 1 to 3 seeds, so nothing is tested where there is one; add" in result.out
