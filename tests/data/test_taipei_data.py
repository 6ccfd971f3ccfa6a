"""The built-in corpora have the documented properties; scripts/check, that a script writes them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPLITS = ("train", "valid", "test", "pairs", "unseen")
SLOTS = {
    "destination", "origin", "stopover", "departure_date", "departure_time", "arrival_date",
    "arrival_time", "return_date", "airline", "class", "passengers", "trip",
}  # fmt: skip
CITY_SLOTS = {"destination", "origin", "stopover"}
BRACKET = re.compile(r"\[([^]]*)\]\((\w+)\)")
# A corpus: the pattern of a token, and the verb forms of arriving with those of leaving.
CORPORA = {
    "taipei": (
        re.compile(r"\w+(?:['.:,]\w+)*|[^\w\s]"),
        {"arrive": "leave", "arriving": "leaving"},
    ),
    "taipei_zh": (re.compile(r"\S"), {"抵達": "離開"}),
    "taipei_hard": (
        re.compile(r"\w+(?:['.:,]\w+)*|[^\w\s]"),
        {"arrive": "leave", "arriving": "leaving"},
    ),
}
SIZES = dict(zip(SPLITS, (4000, 500, 1000, 800, 500), strict=True))
SIZES_OF_HARD = dict(zip(SPLITS, (2000, 400, 800, 400, 400), strict=True))

Tagged = list[tuple[str, str]]  # lower-cased tokens with their slot, "" for none


def read_lines(corpus: str, split: str) -> list[str]:
    text = (ROOT / "data" / corpus / f"{split}.brackets").read_bytes().decode("utf-8")
    return text.removesuffix("\n").split("\n")


def plain(line: str) -> str:
    return BRACKET.sub(r"\1", line).lower()


def find_spans(line: str) -> list[tuple[int, int, str]]:
    """Return the start and end of each slot in the plain text."""
    spans, removed = [], 0
    for match in BRACKET.finditer(line):
        start = match.start() - removed
        spans.append((start, start + len(match[1]), match[2]))
        removed += len(match[0]) - len(match[1])
    return spans


def tag(corpus: str, line: str) -> Tagged:
    spans = find_spans(line)
    return [
        (token[0], next((slot for start, end, slot in spans if start <= token.start() < end), ""))
        for token in CORPORA[corpus][0].finditer(plain(line))
    ]


def read_lexicons(corpus: str) -> dict[tuple[str, bool], list[str]]:
    """Read the names of the grammar, by lexicon and whether they are held out."""
    folder = "taipei" if corpus == "taipei_hard" else corpus
    text = (ROOT / "data" / folder / "grammar.txt").read_text(encoding="utf-8")
    sections = re.findall(r"^names (\w+)( unseen)?:\n((?: .*\n)+)", text, flags=re.MULTILINE)
    return {
        (kind, bool(held_out)): [name.strip().lower() for name in names.split(",") if name.strip()]
        for kind, held_out, names in (
            (kind, mark, body.replace("\n", " ")) for kind, mark, body in sections
        )
    }


def mentions(corpus: str, names: list[str]) -> re.Pattern[str]:
    """Match any of the names as complete tokens."""
    choices = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.compile(choices if corpus == "taipei_zh" else rf"(?<!\w)(?:{choices})(?!\w)")


@pytest.mark.parametrize("corpus", CORPORA)
class TestCorpus:
    def test_slots_are_well_formed(self, corpus):
        for split in SPLITS:
            for line in read_lines(corpus, split):
                text = BRACKET.sub(r"\1", line)
                assert not re.search(r"[\[\]()\\\t\r]|  ", text) and text == text.strip() != "", (
                    line
                )
                bounds = [token.span() for token in CORPORA[corpus][0].finditer(plain(line))]
                starts, ends = zip(*bounds, strict=True)
                assert all(start in starts and end in ends for start, end, _ in find_spans(line)), (
                    line
                )

    def test_sizes(self, corpus):
        sizes = {split: len(read_lines(corpus, split)) for split in SPLITS}
        assert sizes == (SIZES_OF_HARD if corpus == "taipei_hard" else SIZES)

    def test_no_sentence_occurs_twice(self, corpus):
        counts = Counter(plain(line) for split in SPLITS for line in read_lines(corpus, split))
        assert counts.most_common(1)[0][1] == 1

    def test_all_slots_are_filled_and_no_others(self, corpus):
        for split in ("train", "valid", "test", "unseen"):
            slots = {
                slot for line in read_lines(corpus, split) for _, slot in BRACKET.findall(line)
            }
            assert slots == SLOTS, split

    def test_pairs_differ_only_in_the_verb(self, corpus):
        verbs = CORPORA[corpus][1]
        token = (
            CORPORA[corpus][0] if corpus != "taipei_zh" else re.compile("|".join(verbs) + "|離開|.")
        )
        lines = read_lines(corpus, "pairs")
        for arrive, leave in zip(lines[::2], lines[1::2], strict=True):
            words = [token.findall(plain(line)) for line in (arrive, leave)]
            (changed,) = [pair for pair in zip(*words, strict=True) if pair[0] != pair[1]]
            assert verbs[changed[0]] == changed[1], arrive
            cities = [
                [(name, slot) for name, slot in BRACKET.findall(line) if slot in CITY_SLOTS]
                for line in (arrive, leave)
            ]
            assert cities[0] and {slot for _, slot in cities[0]} == {"destination"}
            assert cities[1] == [(name, "origin") for name, _ in cities[0]]

    def test_pairs_vary_the_distance_to_the_verb(self, corpus):
        forms = re.compile("|".join(rf"{form}(?![a-z])" for form in CORPORA[corpus][1]))
        between = Counter()
        for line in read_lines(corpus, "pairs")[::2]:
            after = plain(line)[forms.search(plain(line)).end() :]
            city = next(
                name.lower() for name, slot in BRACKET.findall(line) if slot == "destination"
            )
            if city in after:
                between[len(CORPORA[corpus][0].findall(after[: after.index(city)]))] += 1
        if corpus == "taipei_hard":
            assert sum(count for n, count in between.items() if n >= 8) > between.total() / 3
            return
        assert between[0] >= 50 and sum(between[n] for n in range(1, 6)) >= 50
        assert sum(count for n, count in between.items() if n >= 8) >= 40

    def test_a_memoryless_tagger_gets_at_most_half_of_the_cities_in_pairs(self, corpus):
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for line in read_lines(corpus, "train"):
            for token, slot in tag(corpus, line):
                counts[token][slot] += 1
        right = total = 0
        for line in read_lines(corpus, "pairs"):
            tagged = tag(corpus, line)
            guesses = {
                token: max(counts[token], key=counts[token].get, default="") for token, _ in tagged
            }
            for name, slot in BRACKET.findall(line):
                if slot in CITY_SLOTS:
                    total += 1
                    right += all(guesses[token] == slot for token, _ in tag(corpus, name))
        assert total >= len(read_lines(corpus, "pairs")) and right <= total / 2

    def test_cities_of_pairs_occur_in_train(self, corpus):
        def cities(split):
            return {
                name.lower()
                for line in read_lines(corpus, split)
                for name, slot in BRACKET.findall(line)
                if slot in CITY_SLOTS
            }

        train_text = "\n".join(plain(line) for line in read_lines(corpus, "train"))
        assert all(mentions(corpus, [city]).search(train_text) for city in cities("pairs"))
        assert len(cities("train")) >= (100 if corpus == "taipei_hard" else 150)

    def test_held_out_names_occur_only_in_unseen(self, corpus):
        lexicons = read_lexicons(corpus)
        held_out = mentions(corpus, lexicons["city", True] + lexicons["airline", True])
        for split in ("train", "valid", "test", "pairs"):
            assert not held_out.search(
                "\n".join(plain(line) for line in read_lines(corpus, split))
            ), split
        known = {*lexicons["city", False], *lexicons["airline", False]}
        for line in read_lines(corpus, "unseen"):
            assert held_out.search(plain(line)), line
            assert known.isdisjoint(value.lower() for value, _ in BRACKET.findall(line)), line

    def test_no_wording_has_two_labellings(self, corpus):
        """The same wording fills the same slots, whatever the names, dates and times are."""
        lexicons = read_lexicons(corpus)
        names = {
            kind: mentions(corpus, lexicons[kind, False] + lexicons[kind, True])
            for kind in ("airline", "city")
        }

        def mark(match: re.Match[str]) -> str:
            kind = "city" if match[2] in CITY_SLOTS else match[2].rpartition("_")[2]
            return f"<{kind}|{match[2]}>"

        labellings = defaultdict(set)
        for split in SPLITS:
            for line in read_lines(corpus, split):
                marked = BRACKET.sub(mark, line.lower())
                for kind, pattern in names.items():
                    marked = pattern.sub(f"<{kind}|>", marked)
                wording = re.sub(r"\|\w*>", ">", marked)
                labellings[wording].add(tuple(re.findall(r"\|(\w*)>", marked)))
        assert [wording for wording, found in labellings.items() if len(found) > 1] == []
        assert len(labellings) > sum(SIZES_OF_HARD.values()) / 2

    def test_readme_counts(self, corpus):
        text = (ROOT / "data" / corpus / "README.md").read_text(encoding="utf-8")
        rows = {
            cells[0].strip("`"): cells[1:]
            for line in text.splitlines()
            if line.startswith("| `")
            for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
        }
        by_slot = {}
        for split in SPLITS:
            lines = read_lines(corpus, split)
            tokens = sum(len(CORPORA[corpus][0].findall(plain(line))) for line in lines)
            by_slot[split] = Counter(slot for line in lines for _, slot in BRACKET.findall(line))
            assert rows[split][:3] == [str(len(lines)), str(tokens), str(by_slot[split].total())]
        for slot in SLOTS:
            assert rows[slot][1:] == [str(by_slot[split][slot]) for split in SPLITS]
