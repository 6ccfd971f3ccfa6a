"""Formats of columns and lines: conll, conllu, csv, inception and token_tag."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slotfill.config.registry import FORMATS
from slotfill.data.convert import convert_file
from slotfill.data.corpus import read_examples, read_sentences, read_texts, write_sentences
from slotfill.data.detection import guess_format
from slotfill.data.findings import find_problems
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.tokenizers import Tokenizer, is_empty
from slotfill.errors import DataError

SHARED = Path(__file__).parents[4] / "shared" / "formats"


def read(tmp_path, name, text, format=None, **keys):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", newline="")
    return read_examples(path, format=format, **keys)


def show(examples):
    """The text of each example, with its slots in brackets, and its intent."""
    shown = []
    for example in examples:
        text = example.text
        for span in sorted(example.spans or (), key=lambda span: -span.start):
            value = text[span.start : span.end]
            text = f"{text[: span.start]}[{value}]({span.name}){text[span.end :]}"
        shown.append((text, example.intent))
    return shown


def left_out(examples):
    kinds = ("left out", "extra")
    return [issue.message for each in examples for issue in each.issues if issue.kind in kinds]


def error_of(tmp_path, name, text, format=None, **keys):
    with pytest.raises(DataError) as error:
        read(tmp_path, name, text, format, **keys)
    return str(error.value).replace(str(tmp_path), "@")


@pytest.mark.parametrize(
    ("name", "format", "text"),
    [
        ("conll2003.txt", "conll", "leave [Taipei](origin) today"),
        ("inception.tsv", "inception", "leave [Taipei](origin)"),
        ("plus.conllup", "conllu", "leave [Taipei](origin)"),
        ("ud.conllu", "conllu", "leave [Taipei](origin)"),
    ],
)
def test_shared_example_files(name, format, text):
    if not (SHARED / name).is_file():
        pytest.skip(f"needs {SHARED / name}, which is not part of the repository")
    assert guess_format(SHARED / name) == format
    assert show(read_examples(SHARED / name)) == [(text, None)]


@pytest.mark.parametrize("suffix", ["txt", "tsv"])
def test_files_of_lines_and_columns_are_told_apart_by_content(suffix, tmp_path):
    texts = {
        "conll": "to\tO\nRome\tB-city\n",
        "csv": "text\tslots\ngo\t[]\n",
        "inception": "#FORMAT=WebAnno TSV 3.2\n#T_SP=x.Slot|value\n#Text=go\n1-1\t0-2\tgo\t_\t\n",
        "token_tag": "to:O Rome:B-city <=> fly\n",
        "conllu": "1\tgo" + "\t_" * 8 + "\n",
    }
    path = tmp_path / f"a.{suffix}"
    for format, text in texts.items():
        path.write_text(text, encoding="utf-8")
        guessed = {
            name
            for name in FORMATS.names()
            if FORMATS.part(name).load().looks_like(text.splitlines())
        }
        assert guessed - {"conll"} == {format} - {"conll"}
        if suffix == "txt" or format in ("conll", "csv", "inception"):
            assert guess_format(path) == format


# conll

MIT = "O\tdon\nO\tt\nB-Rating\t2\nI-Rating\tstar\n\nO\tgo\nO\tO\n\n"
GERMEVAL = (
    "#\thttp://de.example.org/wiki/Rom [2009-10-17]\n"
    "1\tin\tO\tO\n2\tNeu-Rom\tB-city\tB-part\n\n"
    "#\thttp://de.example.org/wiki/Oslo [2009-10-18]\n"
    "1\t#\tO\tO\n2\tOslo\tB-city\tO\n\n"
)
MULTICONER = "# id 5a3f\tdomain=en\nto _ _ O\nrome _ _ B-LOC\n\n# id 5a40\tdomain=en\n# _ _ O\n\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (MIT, ["don t [2 star](Rating)", "go O"]),
        (GERMEVAL, ["in [Neu-Rom](city)", "# [Oslo](city)"]),
        (MULTICONER, ["to [rome](LOC)", "#"]),
        ("-DOCSTART-1 O\nRome B-city\n\n", ["-DOCSTART-1 [Rome](city)"]),
        ("-DOCSTART- -X- O O\n\nto TO B-PP O\nRome NNP B-NP I-LOC\n\n", ["to [Rome](LOC)"]),
        ("# sent_id = 1\n1\tto\tO\t-\tx\n2\tRome\tB-LOC\t-\tx\n", ["to [Rome](LOC)"]),
        ("B-city\tRome\n", ["[Rome](city)"]),
        ("O O\nRome B-city\n", ["O [Rome](city)"]),
    ],
)
def test_conll_columns_are_found_by_content(text, shown, tmp_path):
    for line_end in ("\n", "\r\n", "\r"):
        examples = read(tmp_path, "a.txt", text.replace("\n", line_end))
        assert show(examples) == [(line, None) for line in shown]


def test_conll_columns_in_the_config_win_over_the_content(tmp_path):
    part = {"name": "conll", "token": 1, "tag": 3}
    assert show(read(tmp_path, "a.conll", GERMEVAL, part)) == [
        ("in [Neu-Rom](part)", None),
        ("# Oslo", None),
    ]
    part = {"name": "conll", "tag": 2}
    text = "Rome NNP B-city O\n"
    assert show(read(tmp_path, "a.conll", text, part)) == [("[Rome](city)", None)]


def test_conll_without_tags_is_unlabelled(tmp_path):
    examples = read(tmp_path, "a.conll", "# id 1\nto _ _ _\nrome _ _ _\n\nnow _ _ _\n\n")
    assert [(e.text, e.spans, [*e.issues[1:]]) for e in examples] == [
        ("to rome", None, []),
        ("now", None, []),
    ]


@pytest.mark.parametrize("format", ["conll", "token_tag"])
def test_tags_of_bmes_are_read_as_bioes(format, tmp_path):
    text = {"conll": "Neu B-x\nYork M-x\nStadt E-x\nan O\n", "token_tag": "Neu:B-x York:M-x a:E-x"}
    (example,) = read(tmp_path, "a", text[format], format, scheme="bioes")
    assert [span.name for span in example.spans] == ["x"] and not example.issues[1:]
    assert all(issue.kind != "repaired tag" for issue in example.issues)


def test_conll_one_bad_line_does_not_change_the_columns(tmp_path):
    assert error_of(tmp_path, "a.conll", MIT + "B-\tx\n") == (
        "@/a.conll:9: tag 'B-' has no slot name (expected B-NAME)"
    )
    assert error_of(tmp_path, "a.conll", "O\tdon\tx\n" + MIT).startswith("@/a.conll:2: 2 columns,")


def test_conll_comments_and_other_columns_are_left_out_and_said_once(tmp_path):
    assert left_out(read(tmp_path, "a.conll", GERMEVAL)) == [
        "the comments of the file, such as '#\\thttp://de.example.org/wiki/Rom [2009-10-17]'",
        "column 3 of the file, such as 'O'",
    ]
    assert left_out(read(tmp_path, "a.conll", MULTICONER)) == [
        "the comments of the file, such as '# id 5a3f\\tdomain=en'"
    ]
    comments = [each.extra for each in read(tmp_path, "a.conll", MULTICONER, extra=True)]
    assert comments[0] == {"comments": ["# id 5a3f\tdomain=en"]}
    text = "-DOCSTART- -X- O\n\n# intent: go\nto TO O\n\n# intent: go\nRome NNP B-city\n\n"
    examples = read(tmp_path, "a.conll", text)
    assert [example.intent for example in examples] == ["go", "go"]
    assert left_out(examples) == [
        "the lines -DOCSTART- of the file",
        "column 1 of the file, such as 'TO'",
    ]
    with pytest.raises(DataError, match="the lines -DOCSTART- of the file"):
        convert_file(tmp_path / "a.conll", tmp_path / "b.jsonl")
    _, losses = convert_file(tmp_path / "a.conll", tmp_path / "b.jsonl", lossy=True)
    assert len(losses) == 2


@pytest.mark.parametrize(
    ("text", "is_iob1"),
    [
        ("to O\nNew I-x\nYork I-x\nRome B-x\nnow O\nOslo I-y\n\n", True),
        ("to O\nNew I-x\nYork I-x\n\nRome B-x\n\n", False),
    ],
)
def test_iob1_is_named_where_no_b_begins_a_slot(text, is_iob1, tmp_path):
    (tmp_path / "a.conll").write_text(text, encoding="utf-8")
    reading = read_sentences(tmp_path / "a.conll")
    iob1 = read_sentences(tmp_path / "a.conll", scheme="iob1")
    assert [s.slots for s in reading.sentences] == [s.slots for s in iob1.sentences]
    finding, *_ = map(str, find_problems({"train": reading}))
    message = "train: no B- begins a slot, so tags are read as iob1; set data.scheme: iob1"
    assert (finding == message) == is_iob1 and is_iob1 == (iob1.repaired_tags == 0)


# conllu

UD = """# sent_id = 1
# text = to du  "lac".
# intent = swim
1	to	to	ADP	_	_	0	root	_	_
2-3	du	_	_	_	_	_	_	_	_
2	de	de	ADP	_	_	4	case	_	NER=B-lake
3	le	le	DET	_	_	4	det	_	NER=I-lake
3.1	x	x	_	_	_	_	_	_	_
4	"	"	PUNCT	_	_	5	punct	_	NER=O|SpaceAfter=No
5	lac	lac	NOUN	_	_	1	obl	_	SpaceAfter=No|NER=B-lake
6	"	"	PUNCT	_	_	5	punct	_	SpaceAfter=No
7	.	.	PUNCT	_	_	5	punct	_	_

1	ok	_	_	_	_	0	_	_	_
"""


def test_conllu_words_ranges_and_spaces(tmp_path):
    examples = read(tmp_path, "a.conllu", UD)
    assert show(examples) == [('to [du](lake)  "[lac](lake)".', "swim"), ("ok", None)]
    assert [examples[0].text[a:b] for a, b in examples[0].offsets] == (
        ["to", "du", '"', "lac", '"', "."]
    )
    assert left_out(examples) == [
        "other columns of the file: LEMMA, UPOS, HEAD, DEPREL, words that share a token, empty"
        " nodes",
        'the comment "sent_id", not read',
    ]
    without_text = UD.replace("# text", "# other")
    assert show(read(tmp_path, "b.conllu", without_text))[0][0] == 'to [du](lake) "[lac](lake)".'


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\n4\t", "\n5\t", "@/a.conllu:9: expected the ID 4, found 5"),
        ("3.1\t", "x\t", "@/a.conllu:8: expected an ID as 1, 1-2 or 1.1, found 'x'"),
        ("\troot\t_", "", "@/a.conllu:4: 8 columns, but CoNLL-U has 10, separated by tabs: ID"),
        ("du  ", "de ", "@/a.conllu:4: the token 'du' does not follow in \"text\" at character 2"),
        ("\t_\n2-3", "\tBIO=O\n2-3", "@/a.conllu: BIO and NER have tags; set data.format={name:"),
    ],
)
def test_conllu_errors_name_the_line(old, new, message, tmp_path):
    (tmp_path / "a.conllu").write_text(UD.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(DataError) as error:
        read_sentences(tmp_path / "a.conllu")
    assert str(error.value).replace(str(tmp_path), "@").startswith(message)


def test_conllu_plus_columns_are_those_that_the_file_names(tmp_path):
    text = "# global.columns = FORM X:NER UPOS\nto\tO\tADP\nRome\tS-city\tPROPN\n\n"
    examples = read(tmp_path, "a.conllup", text, scheme="bioes")
    assert show(examples) == [("to [Rome](city)", None)]
    part = {"name": "conllu", "tag": "NER"}
    assert error_of(tmp_path, "a.conllup", text, part) == (
        "@/a.conllup: no column or key in MISC 'NER'; set data.format.tag to one of: X:NER"
    )


# inception

INCEPTION = """#FORMAT=WebAnno TSV 3.3
#T_SP=de.tudarmstadt.ukp.dkpro.core.api.lexmorph.type.pos.POS|PosValue
#T_SP=de.tudarmstadt.ukp.dkpro.core.api.ner.type.NamedEntity|identifier|value
#T_SP=webanno.custom.Mark
#T_RL=webanno.custom.Rel|kind|BT_webanno.custom.Mark


#Text=👋 to New-York's
1-1	0-2	👋	X	_	_	_	_	_	
1-2	3-5	to	ADP	_	_	*	_	_	
1-3	6-16	New-York's	PROPN	_	_	_	x	1-2	
1-3.1	6-14	New-York	_	*[1]	city\\_name[1]|big|*	_	_	_	

#Text=a Rio
#Text=de [J]
2-1	17-18	a	_	_	_	_	_	_	
2-2	19-22	Rio	_	http://x/Q1[2]	city[2]|state[3]	_	_	_	
2-3	23-25	de	_	http://x/Q1[2]	city[2]|state[3]	_	_	_	
2-4	26-29	\\[J\\]	_	_	state[3]	_	_	_	
"""


def test_inception_offsets_escapes_parts_of_tokens_and_lines(tmp_path):
    examples = read(tmp_path, "a.tsv", INCEPTION)
    assert [(e.text, [(s.name, e.text[s.start : s.end]) for s in e.spans]) for e in examples] == [
        ("👋 to New-York's", [("city_name", "New-York"), ("big", "New-York")]),
        ("a Rio\nde [J]", [("city", "Rio\nde"), ("state", "Rio\nde [J]")]),
    ]
    layers = "de.tudarmstadt.ukp.dkpro.core.api.lexmorph.type.pos.POS.PosValue (3 tokens)"
    assert left_out(examples) == [
        "the annotation of 'New-York', which has no value",
        f"other annotations of the file: {layers},"
        " de.tudarmstadt.ukp.dkpro.core.api.ner.type.NamedEntity.identifier (3 tokens),"
        " webanno.custom.Mark (1 token), webanno.custom.Rel.kind (1 token),"
        " webanno.custom.Rel.BT_webanno.custom.Mark (1 token)",
    ]
    sentences = read_sentences(tmp_path / "a.tsv").sentences
    assert sentences[0].tokens == ["👋", "to", "New", "-", "York", "'s"]
    assert [issue.kind for issue in sentences[1].issues] == ["overlap", "retokenized"]


@pytest.mark.parametrize("layer", ["NamedEntity", "NamedEntity.value", "POS", "Entity"])
def test_inception_the_layer_of_the_slots_is_chosen(layer, tmp_path):
    part = {"name": "inception", "layer": layer}
    if layer == "Entity":
        assert "no column of slots; set data.format={name: inception, layer: NAME}" in error_of(
            tmp_path, "a.tsv", INCEPTION, part
        )
        return
    examples = read(tmp_path, "a.tsv", INCEPTION, part)
    name = "X" if layer == "POS" else "city_name"
    assert examples[0].spans[0].name == name


def test_inception_several_layers_are_an_error_that_names_them(tmp_path):
    text = INCEPTION.replace("SP=webanno.custom.Mark\n", "SP=webanno.custom.Mark|kind\n").replace(
        "\t*\t_\t_", "\tm\t_\t_"
    )
    assert error_of(tmp_path, "a.tsv", text) == (
        "@/a.tsv: several columns could be the slots; set data.format={name: inception, layer:"
        " NAME} to one of: de.tudarmstadt.ukp.dkpro.core.api.ner.type.NamedEntity.value,"
        " webanno.custom.Mark.kind"
    )


def test_inception_offsets_in_other_units_are_corrected(tmp_path):
    text = INCEPTION.replace("3-5\tto", "2-4\tto").replace("6-14\t", "5-13\t")
    examples = read(tmp_path, "a.tsv", text)
    assert examples[0].spans[0][:3] == ("city_name", 5, 13)
    issues = [issue for issue in examples[0].issues if issue.kind == "corrected offset"]
    assert [issue.location.rpartition(":")[2] for issue in issues] == ["10", "12"]
    assert error_of(
        tmp_path, "a.tsv", text.replace("5\tto", "5\ttwo").replace("4\tto", "4\ttwo")
    ) == ("@/a.tsv:10: the token 'two' is not in '#Text='; from 2 to 4 it reads ' t'")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("#FORMAT=", "#", "@/a.tsv:1: expected '#FORMAT=WebAnno TSV 3.3', found '#WebAnno TSV"),
        ("0-2\t", "", "@/a.tsv:9: expected an id such as 1-1, offsets such as 0-5, the token"),
        ("#Text=👋", "#👋", "@/a.tsv:9: a token before the first line of '#Text='"),
        ("#Text=a", "#Text=x\n\n#Text=a", "@/a.tsv: the sentence 'x' has no tokens"),
    ],
)
def test_inception_errors_name_the_line(old, new, message, tmp_path):
    part = "inception"
    assert error_of(tmp_path, "a.tsv", INCEPTION.replace(old, new, 1), part).startswith(message)


# token_tag


def test_token_tag_lines(tmp_path):
    text = "at:O 9:30:B-time <=> a;b\n\nto:O Rome:B-city <=> c#d\n<=>:O\n"
    examples = read(tmp_path, "a.txt", text, "token_tag")
    assert show(examples) == [
        ("at [9:30](time)", "a#b"),
        ("to [Rome](city)", "c#d"),
        ("<=>", None),
    ]
    path = tmp_path / "b"
    convert_file(tmp_path / "a.txt", path, from_format="token_tag", to_format="token_tag")
    assert path.read_text() == text.replace("\n\n", "\n").replace("#", ";")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("to:O Rome <=> x\n", "@/a:1: expected TOKEN:TAG before <=>, found 'Rome'"),
        ("to:O\n:O <=> x\n", "@/a:2: expected TOKEN:TAG before <=>, found ':O'"),
        (" <=> x\n", "@/a:1: an intent without a sentence; remove the line"),
        ("to:S-x <=> x\n", "@/a:1: tag 'S-x' is not of scheme iob2"),
    ],
)
def test_token_tag_errors_name_the_line(text, message, tmp_path):
    assert error_of(tmp_path, "a", text, "token_tag").startswith(message)


@pytest.mark.parametrize(
    ("sentence", "problem"),
    [
        (Sentence.from_tokens(["a"]), "the sentence is not labelled"),
        (Sentence.from_tokens(["a"], [Slot("b:c", 0, 1)]), "the slot name 'b:c' contains a colon"),
        (Sentence.from_tokens(["a"], [], "b;c"), "the intent 'b;c' contains a semicolon"),
        (Sentence.from_tokens(["a b"], []), "the token 'a b' contains a space or a line end"),
    ],
)
def test_token_tag_refuses_what_it_cannot_hold(sentence, problem, tmp_path):
    with pytest.raises(DataError, match=f"{problem}, so token_tag cannot hold it; write jsonl"):
        write_sentences(tmp_path / "a", [sentence], format="token_tag")


# csv


def test_csv_of_texts_with_quoted_line_ends_and_other_columns(tmp_path):
    text = (
        'ID;Text;intent;slots\r\n1;"fly\r\nto ""Rome""";go;'
        '"[{""name"": ""city"", ""start"": 8, ""end"": 12}]"\r\n\r\n2;go;;\r\n3;no;;[]\r\n'
    )
    examples = read(tmp_path, "a.csv", text)
    assert [e.location.rpartition(":")[2] for e in examples] == ["2", "5", "6"]
    assert show(examples)[0] == ('fly\nto "[Rome](city)"', "go")
    assert [e.spans for e in examples[1:]] == [None, []]
    assert examples[0].issues[0].message == 'the column "ID", not read'


def test_csv_of_tokens_and_tags(tmp_path):
    text = "tokens\ttags\tintent\nto St. Ives\tO B-city I-city\tgo\n"
    examples = read(tmp_path, "a.tsv", text)
    assert show(examples) == [("to [St. Ives](city)", "go")]
    assert examples[0].offsets == [(0, 2), (3, 6), (7, 11)]


@pytest.mark.parametrize(
    ("tokens", "tags"),
    [
        ("['to', \"O'Hare\", ',', 'é\"']", "['O', 'B-city', 'O', 'O']"),
        ("['to' \"O'Hare\"\n ',' 'é\"']", "['O' 'B-city' 'O'\n 'O']"),
        ('["to", "O\'Hare", ",", "\\u00e9\\""]', '["O", "B-city", "O", "O"]'),
        ("['to', \"O'Hare\", ',', 'é\"']", "O B-city O O"),
        ("to O'Hare , é\"", "O B-city O O"),
    ],
)
def test_csv_cells_may_be_lists(tokens, tags, tmp_path):
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("tokens", "tags"), (tokens, tags), ("[]", "[]")])
    first, last = read_examples(tmp_path / "a.csv")
    assert (first.text, first.spans) == ("to O'Hare , é\"", [("city", 3, 9, None)])
    assert (last.text, last.spans) == ("", [])


def test_csv_tokens_may_look_like_lists(tmp_path):
    text = "tokens,tags\n[ ],O O\n[],O\n"
    assert [each.text for each in read(tmp_path, "a.csv", text)] == ["[ ]", "[]"]


def test_csv_columns_of_values_are_slots(tmp_path):
    rows = [
        "text,Origin,to,id,copy",
        "Rome to Rome now,Rome,Rome,1,Rome to Rome now",
        "去台北,,台北,22,去台北",
        '"fly to 👍 St. Ives, please",, St. Ives ,3,"fly to 👍 St. Ives, please"',
        "bye,,,4,bye",
    ]
    expected = [
        ("[Rome](Origin) to [Rome](to) now", None),
        ("去[台北](to)", None),
        ("fly to 👍 [St. Ives](to), please", None),
        ("bye", None),
    ]
    for name, end in (("a.csv", "\n"), ("b.csv", "\r\n")):
        examples = read(tmp_path, name, end.join(rows))
        assert show(examples) == expected
        assert [each.message for each in examples[0].issues] == [
            'the columns "id", "copy", not read'
        ]
    rows = "text,city\nto Co\u0302te,C\u00f4te\nto C\u00f4te,Co\u0302te\n"
    assert show(read(tmp_path, "a.csv", rows)) == [
        ("to [Co\u0302te](city)", None),
        ("to [C\u00f4te](city)", None),
    ]
    text = "text\tcity\nto Rome\tRome\n"
    assert show(read(tmp_path, "a.tsv", text)) == [("to [Rome](city)", None)]
    assert error_of(tmp_path, "a.csv", "text,city\nto Rome,Rome\nto Oslo,Olso\nto Bonn,Bonn\n") == (
        "@/a.csv:3: 'Olso' of the column 'city' is not in the text, as most of its values are;"
        " correct it"
    )


@pytest.mark.parametrize(
    "rows",
    [
        "text,user\nto Rome,ann\n",
        "text,user\nto Rome,me\n",  # A part of a word.
        "text,copy\nto Rome,to Rome\nbye,bye\n",
        "text,user\nto Rome,Rome\nto Oslo,ann\n",  # Not most of them.
        "text,city\nto Rome,\n",
    ],
)
def test_csv_other_columns_are_no_slots(rows, tmp_path):
    for example in read(tmp_path, "a.csv", rows):
        assert example.spans is None
    (first, *_) = read_texts(tmp_path / "a.csv")
    assert first.extra and list(first.extra) == [rows.split("\n")[0].split(",")[1]]


def test_csv_slots_as_python_writes_them(tmp_path):
    text = "text,slots\nto Rome,\"[{'name': 'city', 'value': 'Rome', 'resolved': None}]\"\ngo,[]\n"
    assert show(read(tmp_path, "a.csv", text)) == [("to [Rome](city)", None), ("go", None)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("words,slots\ngo,[]\n", "1: no column of texts in the header (allowed: text, tokens)"),
        ("text,slots,text\n", "1: two columns 'text'; rename one of them"),
        ("text,slots\ngo, go,[]\n", "2: 3 cells, but the header names 2 columns; quote cells that"),
        ('text,slots\n\ngo,"[]\n', "3: the row opens a quote that is not closed; a cell that"),
        ('text\tslots\n"ann\t[]\ngo\t[]\n', "2: the row opens a quote that is not closed; a cell"),
        ('text\tslots\n"ann" go\t[]\n', "2: a quoted cell goes on after its closing quote; a cell"),
        ('text\tslots\n"ann\t[]\n"bob\t[]\n', "2: a quoted cell goes on after its closing quote"),
        (
            'text,slots\n"' + f"{'a' * 99_999}\n" * 101,
            "2: a row of more than 10,000,000 characters, ",
        ),
        ('text,slots\n"\n' + "a" * 40_000_009, "2: a row of more than 10,000,000 characters, "),
        ("text,slots\ngo,x\n", "2: 'slots' is not JSON: expected a value, found 'x' at column 1"),
        ("text,slots\ngo,3\n", '2: expected a list as "slots", found 3'),
        ("text,tags\ngo,O\n", "2: 'slots' go with 'text', and 'tags' with 'tokens'"),
        ("tokens,slots\ngo,[]\n", "2: 'slots' go with 'text', and 'tags' with 'tokens'"),
        ("tokens,tags\na b,O\n", "2: tokens: 2, but tags: 1; each token needs one tag"),
    ],
)
def test_csv_errors_name_the_line(text, message, tmp_path):
    assert error_of(tmp_path, "a.csv", text, "csv").startswith(f"@/a.csv:{message}")


CELLS = st.text("ab ,;\"'\t\n\u2028é👋[]{}=", min_size=1, max_size=12)


@given(texts=st.lists(CELLS.filter(lambda t: not is_empty(t)), min_size=1, max_size=4))
@settings(max_examples=50, derandomize=True)
def test_csv_any_text_round_trips(texts, tmp_path_factory):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    sentences = [Tokenizer("words").tokenize(text) for text in texts]
    for sentence in sentences:
        sentence.slots = [Slot("a,\"b'", 0, 1)]
        sentence.intent = 'x, "y"'
    write_sentences(path, sentences)
    again = read_sentences(path).sentences
    assert [(s.text, s.slots, s.intent) for s in again] == [
        (s.text, s.slots, s.intent) for s in sentences
    ]


def test_csv_refuses_a_carriage_return(tmp_path):
    sentence = Tokenizer("words").tokenize("a\rb")
    with pytest.raises(DataError, match="has a CR, so csv cannot hold it; write jsonl"):
        write_sentences(tmp_path / "a.csv", [sentence])


# conll


def test_conll_comments_after_the_last_sentence_are_named(tmp_path):
    text = "# id 3\n# intent: a\nto\tO\nRome\tB-x\n\n"
    (example,) = read(tmp_path, "a.conll", text)
    assert [issue.kind for issue in example.issues] == ["extra"]
    for end in ("# the end\n", "\n# the end\n\n", "-DOCSTART- O\n\n", "# intent: b\n"):
        (example,) = read(tmp_path, "a.conll", text + end)
        assert example.intent == "a"
        what = f"the comments after the last sentence, such as {end.strip()!r}"
        assert [each.message for each in example.issues if each.kind == "left out"] == [what]


def test_conll_sentences_have_one_comment_of_intents(tmp_path):
    text = "# intent: a\n# id 3\n\n# intent = b\nto\tO\nRome\tB-x\n"
    assert error_of(tmp_path, "a.conll", text) == (
        "@/a.conll:4: a second intent of one sentence, which has 'a'; join several by '#' in one"
        " comment"
    )
    (example,) = read(tmp_path, "a.conll", "# intent: a#b\nto\tO\nRome\tB-x\n")
    assert example.intent == "a#b"


def test_conllu_comments_are_kept_or_named(tmp_path):
    rows = "# global.columns = ID FORM X:NER\n"
    sentence = "1\tto\tO\n2\tRome\tB-city\n\n"
    text = f"{rows}# note = a\n# note = b\n# intent = go\n{sentence}# end = c\n"
    (example,) = read(tmp_path, "a.conllup", text, extra=True)
    assert (example.intent, example.extra) == ("go", {"note": "a\nb"})
    assert [each.message for each in example.issues if each.kind == "left out"] == [
        'the comments "end" after the last sentence'
    ]
    text = f"{rows}# intent = go\n# intent = fly\n{sentence}"
    assert error_of(tmp_path, "a.conllup", text) == (
        "@/a.conllup:3: a second comment 'intent' of one sentence"
    )
