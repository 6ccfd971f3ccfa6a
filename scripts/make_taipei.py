"""Write the built-in corpora, data/taipei, taipei_hard and taipei_zh, from their grammars.

    python scripts/make_taipei.py            rewrite the corpora and their READMEs
    python scripts/make_taipei.py --check    exit 1 if the files differ from what would be written

The notation of the grammars is explained at the top of data/taipei/grammar.txt.
"""

from __future__ import annotations

import argparse
import math
import random
import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / "data"
SEED = 20181102
# A pair is two sentences.
SIZES = {"train": 4000, "valid": 500, "test": 1000, "pairs": 400, "unseen": 500}
SMALLER = {"train": 2000, "valid": 400, "test": 800, "pairs": 200, "unseen": 400}
SLOTS = {
    "destination": "the city the traveller wants to get to",
    "origin": "the city the traveller sets out from",
    "stopover": "a city on the way, where the traveller stops or changes planes",
    "departure_date": "the day of setting out",
    "departure_time": "the time of day of setting out",
    "arrival_date": "the day of getting there",
    "arrival_time": "the time of day of getting there",
    "return_date": "the day of coming back",
    "airline": "the airline asked for",
    "class": "the class of travel",
    "passengers": "how many travel, and who",
    "trip": "one way or round trip",
}

PART = re.compile(
    r"<(?P<rule>[\w.]+)(?::(?P<arg>\w+))?>"
    r"|\{(?P<slot>\w+)(?::(?P<value>\w+))?\}"
    r"|\((?P<choices>[^()]*\|[^()]*)\)"
)
BRACKET = re.compile(r"\[([^]]*)\]\((\w+)\)")


@dataclass
class Corpus:
    """What differs between the corpora besides the grammar."""

    folder: str
    language: str
    title: str
    unit: str
    token: re.Pattern[str]
    verbs: tuple[str, str]
    role: str
    sizes: dict[str, int] = field(default_factory=lambda: SIZES)


CORPORA = [
    Corpus(
        folder="taipei",
        language="en",
        title="a flight desk in English",
        unit="token",
        token=re.compile(r"\w+(?:['.:,]\w+)*|[^\w\s]"),
        verbs=("arrive Taipei", "leave Taipei"),
        role="""\
A date or time belongs to the nearest verb or noun of motion before it in the sentence; one that
opens the sentence belongs to the first such verb after it. *Arrive*, *land*, *reach*, *get to*,
*be in*, *be there* and *arrival* make it one of arrival, *return*, *come back* and *be back* one of
return, every other (*leave*, *depart*, *fly*, *go*, *travel*, a bare *from ... to ...*) one of
departure. Articles, prepositions, *before*, *after* and *around* are not part of the slot:
`on the [2nd of November](departure_date)`,
`before [9 am](departure_time)`. A part of the day alone is a time:
`[tomorrow](departure_date) [morning](departure_time)`.""",
    ),
    Corpus(
        folder="taipei_hard",
        language="en",
        title="a flight desk where others travel too",
        unit="token",
        token=re.compile(r"\w+(?:['.:,]\w+)*|[^\w\s]"),
        verbs=("arrive Taipei", "leave Taipei"),
        role="""\
Only what the traveller does fills a slot. *My sister wants me to leave* is about the traveller, and
so is *I promised my sister to leave*; *I want my sister to leave* and *my sister promised me to
leave* are not. Between a verb and its city or date stand clauses about others, with cities, dates
and verbs of their own. In *not arrive but leave* the second verb counts; in *my sister will arrive
in Osaka, and so will I, but on Monday* the verb is that of the other person. Otherwise the rules
are those of [taipei](../taipei/README.md).""",
        sizes=SMALLER,
    ),
    Corpus(
        folder="taipei_zh",
        language="zh",
        title="a flight desk in Traditional Chinese (Taiwan)",
        unit="character",
        token=re.compile(r"\S"),
        verbs=("抵達台北", "離開台北"),
        role="""\
A date or time belongs to the next verb of motion after it, since in Chinese the time precedes the
verb; in `離開的時間是…` and `抵達的日期是…` it belongs to the verb before. 抵達, 到達, 降落,
趕到 and 人在 make it one of arrival, 回來, 回程 and 要回來 one of return, every other (離開, 出發,
起飛, 飛, 去, 前往, 從…到…) one of departure. 在, 的, 左右, 以前 and 之後 are not part of the slot:
`[上午九點](departure_time)以前`. A part of the day alone is a time:
`[明天](departure_date)[早上](departure_time)`.""",
    ),
]

PURPOSE = {
    "train": "to learn from",
    "valid": "to choose the epoch and settings by",
    "test": "to report; the same grammar and lexicons as `train`",
    "pairs": (
        "minimal pairs: adjacent lines that differ in the verb alone, and every city changes its"
        " role"
    ),
    "unseen": "every sentence holds a city or airline that no other split has",
}

README = """\
# {folder}: {title}

Synthetic sentences for slot filling, tagged by {unit}. In *{arrive}* the city is the destination,
in *{leave}* it is the origin: only the context distinguishes the two roles of the same word.

This file and the `.brackets` files are written by `python scripts/make_taipei.py` (seed {seed})
from `grammar.txt`; `--check` reports whether they are up to date. The sentences are drawn from a
grammar, not collected from people or other sources. Licence of the data: CC0-1.0 (public domain).

## Splits

{sizes}

No sentence occurs twice, within a split or in two of them, ignoring case. The lexicons have
{lexicons}.
The n-th name of a lexicon is drawn with a weight of 1 / (n + 11)², so that the last ones occur once
or a few times in `train`; those held out are drawn uniformly. The cities and airlines of `pairs`
all occur in `train`. A tagger that sees one {unit} at a time gets at most half of the cities in
`pairs` right.

## Slots

{slots}

## Which slot a word fills

{role}

A city, airline, date or time that is mentioned but not asked for fills no slot, and neither does
one that is withdrawn or rejected.

## Format

One sentence a line, UTF-8; `[words](slot)` marks a slot. The first two sentences of each split:

```
{examples}
```
"""


@dataclass
class Grammar:
    """Rules with their alternatives, and lexicons with their names, most frequent first."""

    rules: dict[str, list[str]] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)
    held_out: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Grammar:
        """Read a grammar file."""
        grammar = cls()
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.strip() or line.startswith("#"):
                continue
            if included := re.fullmatch(r"include (.+)", line):
                grammar = cls.read(path.parent / included[1])
            elif header := re.fullmatch(r"(names )?([\w.]+)( unseen)?:", line):
                names = grammar.held_out if header[3] else grammar.names
                tables = names if header[1] else grammar.rules
                entries = tables[header[2]] = []  # An included grammar may have it too.
            elif header := re.fullmatch(r" +(?:(\d+)x)?(.*)", line):
                if tables is grammar.rules:
                    entries += [header[2].strip()] * int(header[1] or 1)
                else:
                    entries += [name.strip() for name in header[2].split(",") if name.strip()]
            else:
                raise ValueError(f"{path}: cannot read {line!r}")
        return grammar


class Speaker:
    """Draws sentences from a grammar; uses only Random.random, which no Python version changes."""

    def __init__(self, grammar: Grammar, language: str, seed: str):
        self.grammar = grammar
        self.language = language
        self.random = random.Random(seed)
        self.draw_from(grammar.names, skew=2)

    def draw_from(self, lexicons: dict[str, list[str]], skew: int) -> None:
        """Draw names from these lexicons, the n-th with a weight of about 1 / n^skew."""
        self.lexicons = lexicons
        self.skew = skew

    def choose(self, options: list[str]) -> str:
        """Draw one option, all equally likely."""
        return options[int(self.random.random() * len(options))]

    def draw_name(self, lexicon: str) -> str:
        """Draw a name that is not yet in the sentence."""
        names = self.lexicons[lexicon]
        # Whole numbers, so that no rounding of a platform can change the draw.
        weights = [
            0 if name in self.drawn else 10**6 // (rank + 12) ** self.skew
            for rank, name in enumerate(names)
        ]
        point = int(self.random.random() * sum(weights))
        for name, weight in zip(names, weights, strict=True):
            point -= weight
            if point < 0:
                self.drawn.append(name)
                return name
        raise AssertionError("weights add up")

    def expand(self, part: re.Match[str]) -> str:
        """Replace one part of the notation by its next, more concrete text."""
        if part["choices"]:
            return self.choose(part["choices"].split("|"))
        if part["slot"]:
            return f"[<{part['value'] or part['slot']}>]({part['slot']})"
        if part["rule"] == "again":
            return self.drawn[-1]
        if part["rule"] in self.lexicons:
            return self.draw_name(part["rule"])
        return self.choose(self.grammar.rules[part["rule"]]).replace("*", part["arg"] or "*")

    def say(self, rule: str) -> str:
        """Draw one sentence of a rule, in brackets format."""
        self.drawn: list[str] = []
        text = f"<{rule}>"
        while part := PART.search(text):
            text = text[: part.start()] + self.expand(part) + text[part.end() :]
        return self.write_as_typed(text)

    def write_as_typed(self, text: str) -> str:
        """Fix spaces, articles and capitals."""
        if self.language == "zh":
            return text.replace(" ", "")
        text = re.sub(r" +(?=[ ,.?!]|$)", "", text).strip().replace(",,", ",")
        text = re.sub(r"\b(a) (?=\[?[aeio])(?!\[?one)", r"\1n ", text, flags=re.IGNORECASE)
        manner = self.random.random()
        if manner < 0.40:
            return text.lower()
        if manner < 0.43:
            return re.sub(
                r"\([a-z_]+\)", lambda slot: slot[0].lower(), text.upper(), flags=re.IGNORECASE
            )
        return re.sub(r"[^\W\d_]", lambda letter: letter[0].upper(), text, count=1)


def plain(sentence: str) -> str:
    """Drop the brackets, and the capitals, by which two sentences might seem to differ."""
    return BRACKET.sub(r"\1", sentence).lower()


def make_splits(grammar: Grammar, corpus: Corpus) -> dict[str, list[str]]:
    """Draw all splits of a corpus, no sentence twice."""
    sizes = corpus.sizes
    speaker = Speaker(grammar, corpus.language, f"{SEED} {corpus.language}")
    seen: set[str] = set()
    known: set[str] = set()

    def is_new(*sentences: str) -> bool:
        texts = [plain(sentence) for sentence in sentences]
        fresh = seen.isdisjoint(texts)
        if fresh:
            seen.update(texts)
        return fresh

    # One stream dealt out in rounds: drawn in turn, the first split would take all of the short
    # sentences.
    drawn_together = ("train", "valid", "test")
    rounds = math.gcd(*(sizes[split] for split in drawn_together))
    round_of_splits = [split for split in drawn_together for _ in range(sizes[split] // rounds)]
    splits: dict[str, list[str]] = {split: [] for split in sizes}
    for split in round_of_splits * rounds:
        while not is_new(sentence := speaker.say("sentence")):
            pass
        splits[split].append(sentence)
        if split == "train":
            known.update(speaker.drawn)

    while len(splits["pairs"]) < 2 * sizes["pairs"]:
        state = speaker.random.getstate()
        arrive = speaker.say("pair:arrival")
        speaker.random.setstate(state)
        leave = speaker.say("pair:departure")
        if known.issuperset(speaker.drawn) and is_new(arrive, leave):
            splits["pairs"] += [arrive, leave]

    speaker.draw_from(grammar.held_out, skew=0)
    while len(splits["unseen"]) < sizes["unseen"]:
        sentence = speaker.say("sentence")
        if speaker.drawn and is_new(sentence):
            splits["unseen"].append(sentence)
    return splits


def read_slots(sentences: list[str]) -> Counter[str]:
    """Count how often each slot is filled."""
    return Counter(slot for sentence in sentences for _, slot in BRACKET.findall(sentence))


def table(header: list[str], rows: list[list[object]]) -> str:
    """Lay out a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def describe(corpus: Corpus, splits: dict[str, list[str]]) -> str:
    """Write the README of a corpus."""
    slots = {split: read_slots(sentences) for split, sentences in splits.items()}
    sizes = [
        [
            f"`{split}`",
            len(sentences),
            sum(len(corpus.token.findall(plain(sentence))) for sentence in sentences),
            slots[split].total(),
            PURPOSE[split],
        ]
        for split, sentences in splits.items()
    ]
    meanings = [
        [f"`{slot}`", meaning, *(slots[split][slot] for split in splits)]
        for slot, meaning in SLOTS.items()
    ]
    examples = "\n".join(
        f"{split + ':':8}{sentence}"
        for split, sentences in splits.items()
        for sentence in sentences[:2]
    )
    arrive, leave = corpus.verbs
    grammar = Grammar.read(DATA / corpus.folder / "grammar.txt")
    lexicons = ", ".join(
        f"{len(grammar.names[kind])} {plural} and {len(grammar.held_out[kind])} more for `unseen`"
        " alone"
        for kind, plural in (("city", "cities"), ("airline", "airlines"))
    )
    return README.format(
        title=corpus.title,
        folder=corpus.folder,
        unit=corpus.unit,
        arrive=arrive,
        leave=leave,
        role=corpus.role,
        seed=SEED,
        lexicons=lexicons,
        sizes=table(["split", "sentences", f"{corpus.unit}s", "slots", "what it is for"], sizes),
        slots=table(["slot", "meaning", *(f"`{split}`" for split in splits)], meanings),
        examples=examples,
    )


def render() -> dict[Path, str]:
    """Make the text of every file of all corpora."""
    files = {}
    for corpus in CORPORA:
        folder = DATA / corpus.folder
        splits = make_splits(Grammar.read(folder / "grammar.txt"), corpus)
        for split, sentences in splits.items():
            files[folder / f"{split}.brackets"] = "".join(f"{sentence}\n" for sentence in sentences)
        files[folder / "README.md"] = describe(corpus, splits)
    return files


def main() -> int:
    """Write the files, or check them."""
    parser = argparse.ArgumentParser(description="Write the corpora in data from their grammars.")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if a file would change"
    )
    check = parser.parse_args().check
    stale = []
    for path, text in render().items():
        # Bytes, so that a line end that a checkout changed counts as a difference.
        data = text.encode("utf-8")
        if not check:
            path.write_bytes(data)
        elif not path.is_file() or path.read_bytes() != data:
            stale.append(path.relative_to(DATA.parent).as_posix())
    if stale:
        print(f"not what scripts/make_taipei.py writes: {', '.join(stale)}", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
