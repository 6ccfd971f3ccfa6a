"""Train every system of the lab with as many parameters, and write docs/systems.json.

    python scripts/train_systems.py                train what is not trained yet, and take it
    python scripts/train_systems.py --seeds 1,2    only these seeds
    python scripts/train_systems.py --take         train nothing; take the runs that are finished,
                                                   also with --seeds
    python scripts/train_systems.py --known-rates  search no learning rates; take those of
                                                   docs/systems.json
    python scripts/train_systems.py --estimate     train nothing; time one epoch of the LSTM

Then `python scripts/make_systems_docs.py` writes the pages. Ctrl-C stops it, and the same command
continues. All systems and corpora are trained with a seed before the next one begins, so that the
results of few seeds can be taken. A system is a file in configs/lab; a new one is trained by the
same command.

Equal for all systems are the training sentences, epochs, size of the word vectors, the parameters
behind them, and a search of the learning rate with the first seed, on valid. Multiply-adds are not.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import yaml
from make_systems_docs import list_parts
from measured import compute_checksums, compute_checksums_of_runs, record
from system_claims import list_claims

from slotfill.config.builtin import expand_configs, load_config
from slotfill.config.registry import REGISTRIES
from slotfill.data.splits import read_split
from slotfill.data.vocab import Vocab
from slotfill.errors import ConfigError, UsageError
from slotfill.lab.compare.job import Job, check_same_config, is_finished, read_result
from slotfill.lab.compare.plan import Plan
from slotfill.lab.compare.report import summarize
from slotfill.lab.compare.runner import Stopped, run_jobs
from slotfill.lab.compare.significance import compare_f1, correct_holm
from slotfill.model.build import build_model
from slotfill.runs.load import read_scores
from slotfill.runs.manifest import RunFiles

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / "docs" / "systems.json"
CORPORA = {
    "taipei_hard": ROOT / "data" / "taipei_hard",
    "atis": ROOT.parent / "shared" / "data" / "atis",
    "mit_restaurant": ROOT.parent / "shared" / "data" / "mit_restaurant",
}
FIRST = "lstm"
SENTENCES, EPOCHS, BATCH_SIZE, WORD_SIZE, LSTM_SIZE = 1000, 16, 16, 64, 64
BUDGET = [
    *(f"data.limit={SENTENCES}", f"train.epochs={EPOCHS}", f"train.batch_size={BATCH_SIZE}"),
    f"embedding={{name: word, size: {WORD_SIZE}}}",
]
LOWER_RATE, *FIRST_RATES, HIGHER_RATE = 0.0015, 0.004, 0.01, 0.025
SEEDS = (1, 2, 3, 4, 5)
ROLES = ("origin", "destination")
TOLERANCE = 0.03
"""Of the number of parameters; a size that was solved for an older network may be beyond it."""
NEIGHBOURS = 8
"""How far from the solution sizes are tried: some must be a multiple of a number of heads."""

# The same number of parameters


def list_overrides(corpus: str, path: Path | None = None) -> list[str]:
    """Return what all systems have in common on a corpus, which may be linked at another path."""
    tokenizer = "words" if corpus == "taipei_hard" else "given"
    return [f"data.path={path or CORPORA[corpus]}", f"data.tokenizer={tokenizer}", *BUDGET]


def list_systems() -> list[str]:
    """Return the names of the systems, the first one before the others."""
    names = [name.rpartition("/")[2] for name in expand_configs("lab")]
    return sorted(names, key=lambda name: (name != FIRST, name))


def list_size_keys(data: Any, path: str = "") -> Iterator[str]:
    """Yield the keys of a config that are a hidden size."""
    entries = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in entries:
        inner = f"{path}.{key}" if path else str(key)
        if key == "hidden_size":
            yield inner
        elif isinstance(value, dict | list):
            yield from list_size_keys(value, inner)


@cache
def size_keys(system: str) -> list[str]:
    """Return the keys of a system that its hidden size is."""
    text = (ROOT / "configs" / "lab" / f"{system}.yaml").read_text(encoding="utf-8")
    return list(list_size_keys(yaml.safe_load(text)))


@cache
def read_vocab(corpus: str) -> Vocab:
    """Return the vocabulary of the training sentences of a corpus."""
    config = load_config(f"lab/{FIRST}", list_overrides(corpus))[1]
    sentences = read_split(config.data, "train").sentences
    return Vocab.from_sentences(sentences, config.scheme)


@cache
def count_parameters(system: str, corpus: str, size: int) -> int | None:
    """Return the parameters behind the word vectors; None if there is no network of this size."""
    sizes = [f"{key}={size}" for key in size_keys(system)]
    config = load_config(f"lab/{system}", [*list_overrides(corpus), *sizes])[1]
    try:
        model = build_model(config, read_vocab(corpus))
    except ConfigError:
        return None
    parameters = model.named_parameters()
    return sum(p.numel() for name, p in parameters if not name.startswith("embeddings."))


def fit_size(system: str, corpus: str) -> int:
    """Return the hidden size with which a system has as many parameters as the first one."""
    if system == FIRST:
        return LSTM_SIZE
    budget = count_parameters(FIRST, corpus, LSTM_SIZE)
    assert budget is not None
    # The number of parameters is a polynomial of the second degree in the size.
    points = (32, 64, 128)
    known = np.array([count_parameters(system, corpus, size) for size in points], dtype=float)
    curve = np.polyfit(points, known, 2) - [0, 0, budget]
    # Where it is of the first degree, another root is as large as rounding makes it.
    solution = round(min(root for root in np.roots(curve).real if root > 0))
    near = range(max(2, solution - NEIGHBOURS), solution + NEIGHBOURS + 1)
    counts = {size: count_parameters(system, corpus, size) for size in near}
    possible = [size for size, count in counts.items() if count is not None]
    if not possible:
        raise SystemExit(f"lab/{system}: no hidden size gives {budget:,} parameters on {corpus}")
    return min(possible, key=lambda size: abs((counts[size] or 0) - budget))


def is_fitted(system: str, corpus: str, size: int) -> bool:
    """Return whether a system of this size has about as many parameters as the first one."""
    budget = count_parameters(FIRST, corpus, LSTM_SIZE)
    count = count_parameters(system, corpus, size)
    return bool(budget and count and abs(count / budget - 1) <= TOLERANCE)


class Sizes:
    """The hidden sizes that were solved for, in a file beside the runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        text = path.read_text(encoding="utf-8") if path.exists() else "{}"
        self.known: dict[str, int] = json.loads(text)

    def find(self, system: str, corpus: str) -> int:
        """Return the hidden size of a system on a corpus."""
        key = f"{corpus}/{system}"
        if key not in self.known or not is_fitted(system, corpus, self.known[key]):
            self.known[key] = fit_size(system, corpus)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps(self.known, indent=1), encoding="utf-8")
        return self.known[key]


# The runs


Rates = dict[tuple[str, str], float]
"""Learning rates by system and corpus."""


def read_search() -> tuple[Rates, str]:
    """Return the learning rates that an earlier search has found, and its date."""
    report = json.loads(FIGURES.read_text(encoding="utf-8"))
    rates = {
        (system["name"], corpus): found["learning_rate"]
        for system in report["configs"]
        for corpus, found in system["corpora"].items()
    }
    return rates, report["budget"].get("searched") or report["environment"]["finished"][:10]


class Runs:
    """The runs in a folder, by system, corpus, learning rate and seed."""

    def __init__(self, folder: Path, search: tuple[Rates, str] = ({}, "")) -> None:
        self.folder = folder.resolve()
        self.known_rates, self.searched = search
        # Links, so that another checkout can go on with the same runs.
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        for corpus, path in CORPORA.items():
            link = self.folder / "data" / corpus
            if not link.exists():  # Or its checkout is gone.
                link.unlink(missing_ok=True)
                link.symlink_to(path)
        self.sizes = Sizes(folder / "sizes.json")

    def job(self, system: str, corpus: str, rate: float, seed: int) -> Job:
        """Return the job of a run; raise UsageError if it was trained with another config."""
        size = self.sizes.find(system, corpus)
        overrides = [
            *list_overrides(corpus, self.folder / "data" / corpus),
            *(f"{key}={size}" for key in size_keys(system)),
            *(f"train.learning_rate={rate}", f"train.seed={seed}"),
        ]
        config = load_config(f"lab/{system}", overrides, need_data=True)[1]
        folder = self.folder / corpus / f"rate-{rate}" / f"{system}-seed{seed}"
        job = Job(system, corpus, config, folder)
        check_same_config(job)
        return job

    def search(self, system: str, corpus: str) -> tuple[dict[float, float], list[float]]:
        """Return the F1 on valid of each learning rate of the search, and the rates to train next.

        After the two in the middle, it is the one beyond the better of them.
        """
        found: dict[float, float] = {}
        missing: list[float] = []
        for rate in FIRST_RATES:
            self._add_score(self.job(system, corpus, rate, SEEDS[0]), found, missing)
        if not missing:
            low, high = (found[rate] for rate in FIRST_RATES)
            beyond = LOWER_RATE if low > high else HIGHER_RATE
            self._add_score(self.job(system, corpus, beyond, SEEDS[0]), found, missing)
        return found, missing

    def _add_score(self, job: Job, found: dict[float, float], missing: list[float]) -> None:
        rate = job.config.train.learning_rate
        if is_finished(job):
            scores = read_scores(RunFiles(job.folder))[0]
            found[rate] = float(scores["splits"]["valid"]["overall"]["f1"])
        elif failed(job).exists():
            found[rate] = 0.0
        else:
            missing.append(rate)

    def rate(self, system: str, corpus: str) -> float | None:
        """Return the learning rate with the best F1 on valid; None before the search has ended."""
        if rate := self.known_rates.get((system, corpus)):
            return rate
        found, missing = self.search(system, corpus)
        return None if missing else max(found, key=lambda rate: found[rate])

    def _list_failures(self, system: str, corpus: str) -> Iterator[dict[str, Any]]:
        """Yield the runs of a system that failed, in the search or with another seed."""
        for rate in (LOWER_RATE, *FIRST_RATES, HIGHER_RATE):
            folder = self.folder / corpus / f"rate-{rate}"
            for seed in SEEDS:
                if (folder / f"{system}-seed{seed}.failed").exists():
                    yield {"system": system, "corpus": corpus, "rate": rate, "seed": seed}

    def train(self, seeds: tuple[int, ...]) -> None:
        """Train what is missing, seed by seed."""
        systems = list_systems()
        total = (len(seeds) + 2 * (SEEDS[0] in seeds)) * len(systems) * len(CORPORA)
        trained, start = 0, time.monotonic()
        for seed in seeds:
            for system in systems:
                for corpus in CORPORA:
                    for job in self._list_missing(system, corpus, seed):
                        errors = run_jobs(Plan([seed], {}, {}, [job]), lambda job, text: None)
                        for error in errors.values():
                            failed(job).write_text(error, encoding="utf-8")
                        trained += 1
                        outcome = "; ".join(errors.values()) or summarize_run(job)
                        print(
                            f"{corpus}/{system}, rate {job.config.train.learning_rate}, seed"
                            f" {seed}: {outcome}; {trained} of at most {total} in"
                            f" {(time.monotonic() - start) / 60:.0f} minutes",
                            flush=True,
                        )

    def _list_missing(self, system: str, corpus: str, seed: int) -> Iterator[Job]:
        """Yield the runs of a system that are neither finished nor failed."""
        if seed == SEEDS[0] and (system, corpus) not in self.known_rates:
            while missing := self.search(system, corpus)[1]:
                yield self.job(system, corpus, missing[0], seed)
        elif (rate := self.rate(system, corpus)) is not None:
            job = self.job(system, corpus, rate, seed)
            if not is_finished(job) and not failed(job).exists():
                yield job

    def take(self, seeds: tuple[int, ...]) -> None:
        """Write docs/systems.json from the runs that are finished."""
        jobs, chosen, failures = [], {}, []
        systems = list_systems()
        for system in systems:
            for corpus in CORPORA:
                try:
                    if (rate := self.rate(system, corpus)) is None:
                        continue
                    found = [self.job(system, corpus, rate, seed) for seed in seeds]
                except UsageError as error:  # The system has changed since.
                    print(f"{system} is left out: {error}", file=sys.stderr)
                    continue
                chosen[system, corpus] = rate
                jobs += [job for job in found if is_finished(job)]
                failures += self._list_failures(system, corpus)
        if FIRST not in {job.name for job in jobs}:
            raise SystemExit(f"{self.folder}: {FIRST} has no finished runs yet")
        trained = [name for name in systems if name in {job.name for job in jobs}]
        seeds = sorted({job.seed for job in jobs})
        plan = Plan(
            seeds,
            {name: f"lab/{name}" for name in trained},
            {corpus: corpus for corpus in CORPORA},
            jobs,
        )
        report = asdict(summarize(plan, {}, "python scripts/train_systems.py"))
        cities = count_cities(report.pop("runs"))
        for config in report["configs"]:
            config["cities in pairs right"] = cities.get(config["name"], [])
            for corpus, found in config["corpora"].items():
                found["hidden_size"] = self.sizes.find(config["name"], corpus)
                found["learning_rate"] = chosen[config["name"], corpus]
        report["failures"] = failures
        report["budget"] = {
            "text": describe_budget(self.searched),
            "searched": self.searched,
            "equal parameters": True,
            "ends of the search": [LOWER_RATE, HIGHER_RATE],
        }
        report["claims"] = test_claims(jobs, trained)
        text = json.dumps(report, ensure_ascii=False, indent=1)
        FIGURES.write_text(f"{text}\n", encoding="utf-8")
        depends = list_dependencies(jobs)
        same = find_reproduced(depends)
        command = "python scripts/train_systems.py; python scripts/make_systems_docs.py"
        record(
            "docs/systems.md",
            command,
            runs=[job.folder for job in jobs],
            analysis=["slotfill/lab/compare", "scripts/system_claims.py", *same],
            parts={
                pattern: [job.folder for job in found]
                for pattern, found in depends.items()
                if pattern not in same
            },
        )


def list_dependencies(jobs: list[Job]) -> dict[str, list[Job]]:
    """Return the jobs that depend on each file of code or data."""
    depends = dict.fromkeys(
        (
            *("slotfill/model/*.py", "slotfill/model/*/base.py", "slotfill/model/*/_[dl]*.py"),
            *("slotfill/model/embeddings/word.py", "slotfill/training/*.py"),
            *("slotfill/evaluation/evaluate.py", "slotfill/evaluation/metrics.py"),
            *("configs/lab", "data/taipei_hard"),
        ),
        jobs,
    )
    for job in jobs:
        for kind, name in list_parts(job.config):
            path = REGISTRIES[kind].part(name).path.relative_to(ROOT).as_posix()
            depends[path] = [*depends.get(path, []), job]
    return depends


def find_reproduced(depends: Mapping[str, list[Job]]) -> list[str]:
    """Return the files that have changed without an effect on the weights of a run with them."""
    parts = {pattern: [job.folder for job in jobs] for pattern, jobs in depends.items()}
    then, now = compute_checksums_of_runs(parts), compute_checksums(parts)
    outcomes: dict[Path, bool] = {}
    for pattern in (changed := [each for each in then if then[each] != now[each]]):
        job = find_quick(depends[pattern])
        if job.folder not in outcomes:
            print(f"{job.title} is trained again, since {pattern} has changed", flush=True)
            outcomes[job.folder] = is_reproduced(job)
            print("its weights are " + ("the same" if outcomes[job.folder] else "different"))
    return [pattern for pattern in changed if outcomes[find_quick(depends[pattern]).folder]]


def find_quick(jobs: list[Job]) -> Job:
    """Return a job that is soon done."""
    return min(jobs, key=lambda job: (job.corpus != "atis", job.name != FIRST))


def is_reproduced(job: Job) -> bool:
    """Train a run again; return whether its weights are the same to the bit."""
    import torch
    from safetensors.numpy import load_file

    environment = json.loads((job.folder / "environment.json").read_text(encoding="utf-8"))
    torch.set_num_threads(environment["threads"])
    with TemporaryDirectory() as folder:
        again = replace(job, folder=Path(folder) / "again")
        if run_jobs(Plan([job.seed], {}, {}, [again]), lambda job, text: None):
            return False
        one, other = (load_file(each.folder / "model.safetensors") for each in (job, again))
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


def failed(job: Job) -> Path:
    """Return the file with the error of a run that failed, which is not tried again."""
    return job.folder.with_name(f"{job.folder.name}.failed")


def summarize_run(job: Job) -> str:
    """Return the scores of a run in words."""
    scores = read_scores(RunFiles(job.folder))[0]
    result = read_result(job)
    assert result is not None
    test = next(iter(result["scores"].values()))["overall"]["f1"]
    valid = scores["splits"]["valid"]["overall"]["f1"]
    return f"valid F1 {valid:.2f}, test F1 {test:.2f}, {scores['train_seconds']:.0f} s"


def describe_budget(searched: str) -> str:
    """Return what all systems have in common, in words; `searched` is the date of the search."""
    earlier = f" The search is of {searched}, and the runs are later ones." if searched else ""
    rates = " and ".join(map(str, FIRST_RATES))
    return (
        f"All learn from the same {SENTENCES:,} sentences of a corpus for {EPOCHS} epochs in"
        f" batches of {BATCH_SIZE}, with word vectors of size {WORD_SIZE}. Behind the word vectors"
        f" all have as many parameters as the LSTM with {LSTM_SIZE} units per direction: the hidden"
        " size of each is chosen for that. Other options, such as dropout, are those of its file."
        f" Each has the same search of three learning rates with seed {SEEDS[0]}: {rates}, and then"
        f" {LOWER_RATE} if the lower one was better, {HIGHER_RATE} if not. The one with the best F1"
        f" on valid is kept, for the other seeds too.{earlier}"
    )


def count_cities(runs: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Return the percentage of the cities of `pairs` with the right role, by system and run."""
    cities: dict[str, list[float]] = {}
    for run in runs:
        if "pairs" in run["scores"]:
            slots = run["scores"]["pairs"]["slots"]
            rows = [slots.get(role, {"recall": 0.0, "support": 0}) for role in ROLES]
            right = sum(row["recall"] * row["support"] for row in rows)
            total = sum(row["support"] for row in rows)
            cities.setdefault(run["config"], []).append(right / total)
    return cities


def test_claims(jobs: list[Job], systems: list[str]) -> list[dict[str, Any]]:
    """Return the difference of each claim on each corpus, corrected for their number."""
    counts: dict[tuple[str, str], list[np.ndarray]] = {}
    for job in jobs:
        result = read_result(job)
        assert result is not None
        rows = np.array(result["counts"]["test"]).reshape(-1, 3)
        counts.setdefault((job.name, job.corpus), []).append(rows)
    tested: list[dict[str, Any]] = []
    for corpus in CORPORA:
        found = []
        for claim in list_claims(systems):
            pair = [counts.get((name, corpus)) for name in (claim.system, claim.other)]
            if all(pair):
                difference = compare_f1(*(np.stack(each) for each in pair if each))
                found.append({**asdict(claim), "corpus": corpus, **asdict(difference)})
        # Those with a margin are judged by their intervals.
        known = [each for each in found if each["p"] is not None and not each["margin"]]
        corrected = correct_holm([each["p"] for each in known]) if known else []
        for each, p in zip(known, corrected, strict=True):
            each["p_corrected"] = p
        tested += found
    return tested


def estimate() -> None:
    """Time one epoch of the LSTM on each corpus, and print what all runs would take."""
    from slotfill.runs.folder import RunFolder
    from slotfill.runs.train import train

    seconds = {}
    for corpus in CORPORA:
        size = [f"{key}={LSTM_SIZE}" for key in size_keys(FIRST)]
        words = [*list_overrides(corpus), *size, "train.epochs=3"]
        config = load_config(f"lab/{FIRST}", words, need_data=True)[1]
        folder = RunFolder(ROOT / "runs" / f"estimate-{corpus}-{time.time():.0f}")
        start = time.process_time()
        train(config, folder, lambda _: None)
        seconds[corpus] = (time.process_time() - start) / 3
        print(f"{corpus}: {seconds[corpus]:.2f} CPU seconds per epoch of the LSTM")
    runs = len(list_systems()) * (len(SEEDS) + 2)
    hours = runs * EPOCHS * statistics.mean(seconds.values()) * len(CORPORA) / 3600
    print(
        f"{runs * len(CORPORA):,} runs; {hours:.1f} hours if all systems were as fast as the LSTM"
    )


def main() -> None:
    """Train, take or estimate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "systems", metavar="DIR")
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS)), metavar="N,N,...")
    parser.add_argument("--take", action="store_true", help="train nothing")
    parser.add_argument("--known-rates", action="store_true", help="search no learning rates")
    parser.add_argument("--estimate", action="store_true", help="time one epoch of the LSTM")
    args = parser.parse_args()
    if args.estimate:
        estimate()
        return
    runs = Runs(args.out, read_search()) if args.known_rates else Runs(args.out)
    seeds = tuple(map(int, args.seeds.split(",")))
    if not args.take:
        try:
            runs.train(seeds)
        except Stopped:
            raise SystemExit("stopped; the same command continues") from None
    runs.take(seeds)


if __name__ == "__main__":
    main()
