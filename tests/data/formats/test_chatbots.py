"""Formats of chatbot frameworks: Rasa NLU, Snips NLU and Dialogflow."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from slotfill.config.registry import FORMATS
from slotfill.config.sections import DataConfig
from slotfill.data.convert import convert_file
from slotfill.data.corpus import (
    read_examples,
    read_known_values,
    read_sentences,
    write_sentences,
)
from slotfill.data.detection import guess_format
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.splits import split_path
from slotfill.data.tokenizers import Tokenizer
from slotfill.errors import DataError, UsageError

SHARED = Path(__file__).parents[4] / "shared" / "formats"


def marked(example):
    """The text of an example with its slots in brackets, and its intent."""
    text, done = "", 0
    for name, start, end, resolved in example.spans:
        value = f"={resolved}" if resolved is not None else ""
        text += f"{example.text[done:start]}[{example.text[start:end]}]({name}{value})"
        done = end
    return text + example.text[done:], example.intent


def read(path: Path, format=None):
    """What a file has, each with its line and what was left out."""
    return [
        (
            int(example.location.rpartition(":")[2].partition(" ")[0]),
            *marked(example),
            *[issue.message for issue in example.issues if issue.kind == "left out"],
        )
        for example in read_examples(path, format=format)
    ]


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    return folder


@pytest.mark.parametrize(
    ("name", "format", "expected"),
    [
        (
            "rasa.yml",
            "rasa",
            [
                (5, "leave [Taipei](city.origin) on [November 2nd](date)", "book_flight"),
                (
                    6,
                    "two seats from [TPE](city.origin=Taipei) to [Narita](city.destination)",
                    "book_flight",
                    "the group '1' of slot 'city.destination'",
                ),
                (7, "hello", "book_flight"),
                (11, "how many bags may I take", "faq/baggage"),
            ],
        ),
        (
            "rasa.json",
            "rasa",
            [
                (3, "leave [TPE](city.origin=Taipei) on [November 2nd](date)", "book_flight"),
                (6, "hello", "greet"),
            ],
        ),
        (
            "snips.yaml",
            "snips",
            [
                (11, "leave [Taipei](origin) on [November 2nd](date)", "book_flight"),
                (12, "I fly from [Kaohsiung](origin)", "book_flight"),
            ],
        ),
        (
            "snips.json",
            "snips",
            [(3, "leave [Taipei](origin) on [November 2nd](date)", "book_flight")],
        ),
        (
            "snips-benchmark-2017.json",
            "snips",
            [(1, "leave [Taipei](origin) today", "BookFlight")],
        ),
        (
            "dialogflow_usersays_en.json",
            "dialogflow",
            [(1, "leave [Taipei](origin)", "dialogflow")],
        ),
        ("dialogflow_cx_intent.json", "dialogflow", [(2, "leave [Taipei](origin)", "book_flight")]),
    ],
)
def test_example_files(name, format, expected):
    path = SHARED / name
    if not path.exists():
        pytest.skip("../shared/formats is not here")
    assert guess_format(path) == format
    assert read(path) == expected


RASA = """\
# The data of an assistant.
version: "3.1"

nlu:
- intent: flight
  examples: |
    - to [NY](city:New York) 👋 [x]
    -  from [台北]{"entity": "city", "role": "origin", "value": 7}

    # an older example
    - [Oslo](a:b)[Rome][{"entity": "x"}, {"entity": "y", "role": "z"}]
- intent: yes
  metadata: {from: chat}
  examples:
  - text: |

      "go" \\n
      on
  - text: "no\\tline"
    metadata: 3
- intent: none
  examples:
- regex: zip
  examples: |
    - \\d{5}
responses:
  utter_a: [{text: b}, {text: b}]
"""


def test_rasa_yaml(tmp_path):
    path = write(tmp_path, {"a.yml": RASA}) / "a.yml"
    rows = read(path)
    assert [*rows[:2], *rows[3:]] == [
        (7, "to [NY](city=New York) 👋 [x]", "flight"),
        (8, "from [台北](city.origin=7)", "flight"),
        (17, '"go" \\n\non', "yes"),
        (19, "no\tline", "yes"),
    ]
    spans = read_examples(path)[2].spans
    assert [(span.name, span.start, span.end) for span in spans] == [
        ("a", 0, 4),
        ("x", 4, 8),
        ("y.z", 4, 8),
    ]
    path.write_bytes(b"\xef\xbb\xbf" + RASA.replace("\n", "\r\n").encode())
    assert [row[0] for row in read(path)] == [7, 8, 11, 17, 19]


def test_rasa_markdown(tmp_path):
    text = """\
<!-- a comment -->
## intent:flight
- to [NY](city:New York)
* home <!-- not
- away -->
+ back

## lookup: city
  cities.txt
## synonym:Taipei
- TPE
## regex:zip
- \\d{5}
"""
    files = {"nlu.md": text, "cities.txt": "Oslo\nLima\n"}
    path = write(tmp_path, files) / "nlu.md"
    assert guess_format(path) == "rasa"
    assert read(path) == [
        (3, "to [NY](city=New York)", "flight"),
        (4, "home", "flight"),
        (6, "back", "flight"),
    ]
    found = FORMATS.build("rasa").known_values(path)
    assert found.gazetteers == {"city": ["Oslo", "Lima"]}
    assert found.patterns == {"zip": ["\\d{5}"]}
    assert found.synonyms == {"city": {"New York": ["NY"]}, "": {"Taipei": ["TPE"]}}


def test_rasa_json_values_are_what_slots_stand_for_unless_the_offsets_say_otherwise(tmp_path):
    examples = [
        # The offsets are in UTF-16 code units.
        {"text": "👋 to NY", "entities": [{"start": 6, "end": 8, "value": "NY", "entity": "c"}]},
        {"text": "NY or New York", "entities": [
            {"start": 0, "end": 2, "value": "New York", "entity": "c", "group": "g"}]},
        {"text": "two", "intent": "n", "entities": [
            {"start": 0, "end": 3, "value": 2, "entity": "n"}]},
    ]  # fmt: skip
    text = json.dumps({"rasa_nlu_data": {"common_examples": examples}}, indent=0)
    path = write(tmp_path, {"a.json": text}) / "a.json"
    assert [marked(example) for example in read_examples(path)] == [
        ("👋 to [NY](c)", None),
        ("[NY](c=New York) or New York", None),
        ("[two](n=2)", "n"),
    ]


def test_rasa_folders_are_read_without_other_files(tmp_path):
    stories = "version: '3.1'\nstories:\n- story: a\n  steps: [{intent: a}, &x {action: b}, *x]\n"
    nlu = "nlu:\n- intent: {}\n  examples: |\n    - {} on [Rome](city)\n"
    files = {
        "bot/data/nlu/b.yml": nlu.format("b", "b"),
        "bot/data/nlu/a.yaml": nlu.format("a", "a"),
        "bot/data/stories.yml": stories,
        "bot/domain.yml": "intents:\n- a\n",
        "bot/.old/nlu.yml": nlu.format("c", "c"),
        "bot/tests/README.md": "# Tests\n",
        "corpus/train.yml": nlu.format("a", "a"),
        "corpus/test.yml": nlu.format("b", "b"),
    }
    write(tmp_path, files)
    for folder in ("bot", "bot/data", "bot/data/nlu"):
        assert guess_format(tmp_path / folder) == "rasa"
        assert [row[1:] for row in read(tmp_path / folder)] == [
            ("a on [Rome](city)", "a"),
            ("b on [Rome](city)", "b"),
        ]
        assert split_path(DataConfig(path=str(tmp_path / folder)), "train") == tmp_path / folder
    corpus = DataConfig(path=str(tmp_path / "corpus"))
    assert split_path(corpus, "test") == tmp_path / "corpus" / "test.yml"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nlu: 3\n", ":1: expected a list, found '3'"),
        ("nlu:\n- flight\n", ":2: expected keys and values, found 'flight'"),
        ("nlu:\n- intent:\n  examples: |\n    - a\n", ":2: expected one of intent, synonym,"),
        ("nlu:\n- intent: [a]\n  examples: |\n    - a\n", ":2: expected a text, found a list"),
        ("nlu:\n- intent: a\n  examples: >\n    - a\n", ":3: the lines after > are joined by YAML"),
        (
            "nlu:\n- intent: a\n  examples: |\n    - a\n    b\n",
            ":5: expected an example after '- '",
        ),
        ("nlu:\n- intent: a\n  intent: b\n", ":3: the key 'intent' is given twice"),
        ("nlu:\n- &a {intent: x}\n- *a\n", ":3: the alias *a is not read; write out what it"),
        ("nlu: &a [*a]\n", ":1: the alias *a is not read"),
        ("nlu: !!python/name:os.system x\n", ":1: the tag !!python/name:os.system is not read"),
        ("nlu:\n- intent: !x a\n", ":2: the tag !x is not read; remove it"),
        ("nlu:\n- [\n", ":3: not YAML: "),
        ("nlu:\n- intent: a\x07\n", ":2: not YAML: the character U+0007 is not allowed"),
        ('nlu:\n- intent: "\\UFFFFFFFF"\n', ":2: not YAML: an escape stands for no character"),
        ('nlu:\n- intent: "\\uD800"\n', ":2: U+D800 is half a character"),
        ("nlu:\n- intent: a\u2028b\n", ":2: U+2028 ends a line in YAML; write it in double quotes"),
        ("nlu:\n- intent: " + "[" * 999, ":1: nested too deep"),
        ("intents:\n- a\n", ":1: no examples under the key nlu, where Rasa NLU has them"),
        ("nlu:\n", ":1: no examples under the key nlu"),
        (
            'nlu:\n- intent: a\n  examples: |\n    - [a]{"entity": 3}\n',
            ':4: expected a text as "entity", found 3',
        ),
        (
            "nlu:\n- intent: a\n  examples: |\n    - [a]{entity: b}\n",
            ":4: what follows [a] is not JSON: expected a key in double quotes, found",
        ),
        ("## intent:a\n- b\nhello\n", ":3: expected an example after '- ', found 'hello'"),
        (
            "## intent:a\n- b\n## story: c\n* d\n",
            ":4: an example under the heading '## story: c'; write '## KIND: NAME', where KIND is"
            " one of intent, synonym, lookup, regex",
        ),
        ("## lookup:a\nb.txt\n", ":2: no file b.txt, which the lookup table a names"),
        ('{"rasa_nlu_data": []}', ':1: expected an object in "rasa_nlu_data", found'),
        (
            '{"rasa_nlu_data": {"common_examples": [{"text": null}]}}',
            ':1: expected a text as "text", found null',
        ),
    ],
)
def test_broken_rasa_files(text, message, tmp_path):
    path = write(tmp_path, {"a.yml": text}) / "a.yml"
    with pytest.raises(DataError) as error:
        FORMATS.build("rasa").known_values(path)
        read(path, "rasa")
    assert str(error.value).startswith(f"{path}{message}") and "\n" not in str(error.value)


def test_yaml_files_without_sentences_are_no_splits(tmp_path):
    files = {"train.yml": "encoder: {hidden_size: 8}\n", "train.brackets": "go\n"}
    data = DataConfig(path=str(write(tmp_path, files)))
    assert split_path(data, "train") == tmp_path / "train.brackets"
    with pytest.raises(UsageError, match=r"train\.yml: no sentences of Rasa or Snips NLU"):
        read_examples(tmp_path / "train.yml")


def test_rasa_is_written_by_intent_and_reads_back(tmp_path):
    lines = [
        "[](b) to [New York](city) 👋",
        "[](a) hello",
        "[](b) from [Rome](city.origin)",
        r"[](a) one\nline \[x\]",
        "[](b: c) [a](x\\)y:}) \\[b\\]",
    ]
    source = tmp_path / "a.brackets"
    source.write_text("\n".join(lines), encoding="utf-8")
    target = tmp_path / "nlu.yml"
    _, losses = convert_file(source, target)
    assert losses == []
    assert (
        target.read_text(encoding="utf-8")
        == """\
version: "3.1"
nlu:
- intent: b
  examples: |
    - to [New York](city) 👋
    - from [Rome]{"entity": "city", "role": "origin"}
- intent: a
  examples: |
    - hello
- intent: a
  examples:
  - text: "one\\nline [x]"
- intent: 'b: c'
  examples: |
    - [a]{"entity": "x)y:\\u007d"} [b]
"""
    )
    back = read_sentences(target).sentences
    assert [sentence.intent for sentence in back] == ["b", "b", "a", "a", "b: c"]
    _, losses = convert_file(target, tmp_path / "b.yml")
    assert losses == [] and (tmp_path / "b.yml").read_bytes() == target.read_bytes()


@pytest.mark.parametrize(
    ("text", "slots", "intent", "message"),
    [
        ("go", [], None, "sentence: no intent, which Rasa needs; write jsonl or brackets"),
        (" go", [], "a", "sentence: rasa would read ' go' differently; write jsonl"),
        ("[a](b)", [], "a", "sentence: rasa would read '[a](b)' differently"),
        ("a]", [Slot("x", 0, 2)], "a", "sentence: rasa would read '[a]](x)' differently"),
    ],
)
def test_what_rasa_would_read_differently_is_refused(text, slots, intent, message, tmp_path):
    sentence = Tokenizer("words").tokenize(text)
    sentence.slots, sentence.intent = slots, intent
    with pytest.raises(DataError) as error:
        write_sentences(tmp_path / "a.yml", [sentence])
    assert str(error.value).startswith(message)
    assert list(tmp_path.iterdir()) == []


SNIPS = """\
type: intent
name: flight
slots: [{name: from, entity: city}, {name: on, entity: snips/date}]
utterances:
- to [to:city](New York)👋[on](today)
- from [from]
- >
  from [from] to
  [to]
- [on]
---
---
type: entity
name: city
use_synonyms: true
values:
- [Taipei, TPE]
- Oslo
"""


def test_snips_yaml(tmp_path):
    text = SNIPS.replace("- [on]\n", '- "[on]"\n')
    path = write(tmp_path, {"a.yml": text}) / "a.yml"
    assert guess_format(path) == "snips"
    assert read(path) == [
        (5, "to [New York](to)👋[today](on)", "flight"),
        (6, "from [Taipei](from)", "flight"),
        (7, "from [TPE](from) to [Oslo](to)", "flight"),
        (10, "[today](on)", "flight"),
    ]
    found = FORMATS.build("snips").known_values(path)
    assert found.synonyms == {"to": {"Taipei": ["TPE"]}, "from": {"Taipei": ["TPE"]}}
    assert found.gazetteers == {"city": ["Taipei", "TPE", "Oslo"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SNIPS, ":10: expected a text, found a list"),
        ("name: a\n", ":1: expected 'type: intent' or 'type: entity'"),
        ("type: intent\n", ":1: expected the name of the intent or the entity, found none"),
        (
            "type: intent\nname: a\nutterances:\n- to [b]\n",
            ":4: the slot 'b' has no words, and its entity 'b' no values; write [b](words)",
        ),
        (
            "type: intent\nname: a\nutterances:\n- to [b](c\n",
            ":4: the slot 'b' has no words, and its entity 'b' no values; write [b](words)",
        ),
        (
            "type: intent\nname: a\nutterances:\n- to b](c)\n",
            ":4: expected [slot](words) or [slot:entity](words), found 'to b](c)'",
        ),
        ("type: intent\nname: a\nutterances:\n- to [b]()\n", ":4: expected [slot](words)"),
        ("type: intent\nname: a\nslots:\n- name: b\n", ":4: expected the entity of a slot"),
        ('{"intents": {"a": {"utterances": [{"data": [{}]}]}}}', ':1: expected a text as "text"'),
        ('{"a": [{"data": [{"text": "b"}]}', ":1: expected a comma or ']'"),
    ],
)
def test_broken_snips_files(text, message, tmp_path):
    path = write(tmp_path, {"a.yml": text}) / "a.yml"
    with pytest.raises(DataError) as error:
        read(path, "snips")
    assert str(error.value).startswith(f"{path}{message}")


def test_a_benchmark_file_that_is_not_utf_8_is_an_error_with_a_hint(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes('{"Go": [{"data": [{"text": "café"}]}]}'.encode("latin1"))
    with pytest.raises(DataError, match=r"not UTF-8 .*; save it as UTF-8, e\.g\. iconv"):
        read(path)


USER_SAYS = [
    {
        "isTemplate": False,
        "data": [
            {"text": "to ", "userDefined": False},
            {"text": "👋Rome", "alias": "city", "meta": "@sys.geo-city", "userDefined": True},
            {"text": " please", "meta": "@sys.ignore", "userDefined": False},
        ],
    },
    {"isTemplate": False, "data": [{"text": "now", "meta": "@day", "userDefined": True}]},
]
PHRASES = {"trainingPhrases": [{"parts": [{"text": "to "}, {"text": "Oslo", "parameterId": "c"}]}]}


def test_dialogflow_folders_and_zip_files(tmp_path):
    files = {
        "es/agent.json": "{}",
        "es/intents/go away.json": '{"name": "go away"}',
        "es/intents/go away_usersays_en.json": json.dumps(USER_SAYS, indent=1),
        "es/intents/go away_usersays_zh-tw.json": json.dumps(USER_SAYS[1:]),
        "cx/intents/fly/fly.json": '{"displayName": "fly"}',
        "cx/intents/fly/trainingPhrases/en.json": json.dumps(PHRASES),
    }
    write(tmp_path, files)
    for name in ("es", "cx"):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted((tmp_path / name).rglob("*.json")):
                archive.write(file, file.relative_to(tmp_path / name))
    for name in ("es", "es.zip"):
        assert guess_format(tmp_path / name) == "dialogflow"
        assert read(tmp_path / name) == [
            (2, "to [👋Rome](city) please", "go away"),
            (22, "[now](day)", "go away"),
            (1, "[now](day)", "go away"),
        ]
    for name in ("cx", "cx.zip"):
        assert read(tmp_path / name) == [(1, "to [Oslo](c)", "fly")]
    (example,) = read_examples(tmp_path / "cx.zip")
    assert example.location == f"{tmp_path / 'cx.zip'}/intents/fly/trainingPhrases/en.json:1"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK", ": not a zip file that can be read: File is not a zip file"),
        ({"a.json": b"[]"}, ": no phrases of Dialogflow in it, such as x_usersays_en.json"),
        ({"a_usersays_en.json": b"[{]"}, "/a_usersays_en.json:1: not JSON"),
        ({"a_usersays_en.json": b"\xff\xfe"}, "/a_usersays_en.json:1: UTF-16, not UTF-8"),
        (
            {"a_usersays_en.json": b'[{"isTemplate": true, "data": [{"text": "@a:a"}]}]'},
            "/a_usersays_en.json:1: a template, which has no values; write example phrases",
        ),
        ({"a_usersays_en.json": b'[{"data": [3]}]'}, "/a_usersays_en.json:1: expected objects in"),
    ],
)
def test_broken_zip_files(content, message, tmp_path):
    path = tmp_path / "a.zip"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in content.items():
                archive.writestr(name, data)
    with pytest.raises(DataError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}{message}")


def test_a_zip_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("slotfill.data.formats.dialogflow._MAX_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a_usersays_en.json", " " * 1001)
    with pytest.raises(DataError, match="its phrases have more than"):
        read(tmp_path / "a.zip")


@pytest.mark.parametrize("indent", [None, 1])
def test_amazon_lex_has_only_templates(indent, tmp_path):
    intent = {"name": "a", "sampleUtterances": [{"utterance": "to {City}"}]}
    path = write(tmp_path, {"a.json": json.dumps(intent, indent=indent)}) / "a.json"
    with pytest.raises(DataError) as error:
        read(path)
    assert str(error.value) == (
        f"{path}:1: utterances of Amazon Lex are templates such as {{City}}, without the values to"
        " learn from; write example sentences"
    )


def test_sentences_of_a_streamed_prediction_are_valid_rasa_yaml(tmp_path):
    part = FORMATS.build("rasa")
    sentences = [Sentence.from_tokens(["a"], [], "x"), Sentence.from_tokens(["b"], [], "x")]
    rendered = [part.render(sentence, scheme="iob2") for sentence in sentences]
    (tmp_path / "a.yml").write_text("".join(part.join(rendered)), encoding="utf-8")
    assert [row[1:] for row in read(tmp_path / "a.yml")] == [("a", "x"), ("b", "x")]


def test_rasa_lists_each_problem_of_yaml_and_reads_the_rest_of_a_folder(tmp_path):
    first = """\
nlu:
- intent: a
  examples: |
    - go
    no hyphen
    - [Rome](city)
    none
- foo: b
- intent: c
  examples:
  - txt: s
  - text: fine
"""
    for name, text in (("a", first), ("b", "nlu:\n- intent: [\n"), ("c", first)):
        (tmp_path / f"{name}.yml").write_text(text)
    reading = read_sentences(tmp_path, list_problems=True)
    assert [each.text for each in reading.sentences] == ["go", "Rome", "fine"] * 2
    found = [each.removeprefix(f"{tmp_path}/").partition(": ")[0] for each in reading.problems]
    lines = (5, 7, 8, 11)
    assert found == [
        *(f"a.yml:{line}" for line in lines), "b.yml:3", *(f"c.yml:{line}" for line in lines)
    ]  # fmt: skip
    with pytest.raises(DataError, match=r"a\.yml:5: expected an example after '- '"):
        read_sentences(tmp_path)


def test_dialogflow_reads_the_files_after_one_that_it_cannot_read(tmp_path):
    phrases = [{"data": [{"text": "go", "userDefined": False}], "isTemplate": False}]
    for name in "abc":
        text = json.dumps(phrases) if name != "b" else "[{"
        (tmp_path / f"{name}_usersays_en.json").write_text(text)
    reading = read_sentences(tmp_path, list_problems=True)
    assert [each.intent for each in reading.sentences] == ["a", "c"]
    assert len(reading.problems) == 1 and "b_usersays_en.json:1: not JSON" in reading.problems[0]
    with pytest.raises(DataError, match="b_usersays_en"):
        read_sentences(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("nlu: [[\n", ":2: not YAML"), ("nlu: &a [*a]\n", ":1: the alias *a is not read")],
)
def test_yaml_that_cannot_be_parsed_says_so(text, message, tmp_path, monkeypatch, cli):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yml").write_text(text)
    result = cli("check", "a.yml")
    assert result.code == 3 and result.err.startswith(f"slotfill: a.yml{message}")


def test_snips_lists_each_problem_of_yaml(tmp_path):
    text = """\
type: intent
name: a
utterances:
  - go
  - to [x](
  - {}
  - to [city](Rome)
  - to [none]
---
type: other
---
type: intent
name: b
utterances: [last]
"""
    (tmp_path / "a.yml").write_text(text)
    reading = read_sentences(tmp_path / "a.yml", list_problems=True)
    assert [each.text for each in reading.sentences] == ["go", "to Rome", "last"]
    lines = [each.removeprefix(f"{tmp_path}/a.yml:").partition(":")[0] for each in reading.problems]
    assert sorted(map(int, lines)) == [5, 6, 8, 10]


def test_rasa_json_has_synonyms_lists_and_patterns(tmp_path):
    (tmp_path / "cities.txt").write_text("Oslo\nRome\n")
    city = {"start": 7, "end": 10, "value": "New York", "entity": "city"}
    content = {
        "common_examples": [{"text": "fly to nyc", "intent": "fly", "entities": [city]}],
        "entity_synonyms": [{"value": "New York", "synonyms": ["nyc", "big apple"]}],
        "regex_features": [{"name": "zip", "pattern": "[0-9]{5}"}],
        "lookup_tables": [
            {"name": "airline", "elements": ["delta", "united"]},
            {"name": "city", "elements": "cities.txt"},
        ],
    }
    path = tmp_path / "nlu.json"
    path.write_text(json.dumps({"rasa_nlu_data": content}))
    known = read_known_values(path, "rasa")
    assert known.synonyms == {"city": {"New York": ["nyc", "big apple"]}}
    assert known.gazetteers == {"airline": ["delta", "united"], "city": ["Oslo", "Rome"]}
    assert known.patterns == {"zip": ["[0-9]{5}"]}
    (tmp_path / "cities.txt").unlink()
    with pytest.raises(DataError, match=r"no file cities\.txt, which the lookup table city names"):
        read_known_values(path, "rasa")


def test_snips_json_has_the_values_of_its_entities(tmp_path):
    part = {"text": "nyc", "slot_name": "to", "entity": "city"}
    values = [{"value": "New York", "synonyms": ["nyc"]}, {"value": "Oslo"}]
    content = {
        "language": "en",
        "intents": {"fly": {"utterances": [{"data": [{"text": "fly to "}, part]}]}},
        "entities": {"city": {"data": values}},
    }
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps(content))
    known = read_known_values(path, "snips")
    assert known.synonyms == {"to": {"New York": ["nyc"]}}
    assert known.gazetteers == {"city": ["New York", "nyc", "Oslo"]}
