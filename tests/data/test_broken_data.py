"""Each kind of broken data file is reported in one line with its location and a fix."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from slotfill.config.registry import FORMATS
from slotfill.data.corpus import read_sentences
from slotfill.errors import SlotfillError

J = '{"text": "fly to Taipei", "slots": [%s]}'

# What it is, the files, what is read, the options, the message. `@` stands for the folder of the
# files.
BROKEN = [
    ("an empty file", {"a.conll": ""}, "a.conll", {}, "@/a.conll: no sentences; the file is empty"),
    (
        "only empty lines",
        {"a.conll": "\n \n\t\n"},
        "a.conll",
        {},
        "@/a.conll: no sentences; the file has no words",
    ),
    (
        "an empty file of no known ending",
        {"a.txt": ""},
        "a.txt",
        {},
        "@/a.txt: no sentences; the file is empty",
    ),
    (
        "no telling what it is",
        {"a.txt": "fly to Taipei\n"},
        "a.txt",
        {},
        (
            "@/a.txt: the format is not clear from its name or content; set data.format (convert:"
            f" --from) to one of: {', '.join(FORMATS.names())}"
        ),
    ),
    (
        "a column missing",
        {"a.conll": "fly\tO\nto\n"},
        "a.conll",
        {},
        (
            "@/a.conll:2: 1 column, but line 1 has 2; separate the columns of all lines alike, by"
            " tabs or by spaces"
        ),
    ),
    (
        "a column too many",
        {"a.conll": "fly O\n\nto New O\n"},
        "a.conll",
        {},
        (
            "@/a.conll:3: 3 columns, but line 1 has 2; separate the columns of all lines alike, by"
            " tabs or by spaces"
        ),
    ),
    (
        "a column out of range",
        {"a.conll": "fly O\n"},
        "a.conll",
        {"format": {"name": "conll", "tag": 3}},
        "@/a.conll:1: no column 3 for the tag: 2 columns, 0 to 1",
    ),
    (
        "token and tag in one column",
        {"a.conll": "fly O\n"},
        "a.conll",
        {"format": {"name": "conll", "token": 1}},
        "@/a.conll:1: of 2 columns, token and tag are the same one, 1",
    ),
    (
        "spaces for tabs",
        {"a.conll": "fly O\n"},
        "a.conll",
        {"format": {"name": "conll", "separator": "tab"}},
        "@/a.conll:1: no tab separates the columns; set data.format.separator: space",
    ),
    (
        "tabs for spaces",
        {"a.conll": "fly\tO\n"},
        "a.conll",
        {"format": {"name": "conll", "separator": "space"}},
        "@/a.conll:1: no space separates the columns; set data.format.separator: tab",
    ),
    (
        "an empty token",
        {"a.conll": "\tO\n"},
        "a.conll",
        {},
        "@/a.conll:1: the token (column 0) is empty",
    ),
    (
        "an empty tag",
        {"a.conll": "fly\t\n"},
        "a.conll",
        {},
        "@/a.conll:1: the tag (column 1) is empty",
    ),
    (
        "a tag of another scheme",
        {"a.conll": "fly O\nTaipei S-city\n"},
        "a.conll",
        {},
        (
            "@/a.conll:2: tag 'S-city' is not of scheme iob2 (O, B-, I-); if the tags are bioes,"
            " set data.scheme: bioes (convert: --scheme bioes)"
        ),
    ),
    (
        "a tag of no scheme",
        {"a/seq.in": "fly Taipei\n", "a/seq.out": "O city\n"},
        "a",
        {"scheme": "bilou"},
        "@/a/seq.out:1: tag 'city' is not of scheme bilou (O, B-, I-, L-, U-)",
    ),
    (
        "a tag without a name",
        {"a.conll": "Taipei B-\n"},
        "a.conll",
        {},
        "@/a.conll:1: tag 'B-' has no slot name (expected B-NAME)",
    ),
    (
        "an unknown scheme",
        {"a.conll": "fly O\n"},
        "a.conll",
        {"scheme": "iob3"},
        "unknown tag scheme 'iob3'; did you mean 'iob2'? (allowed: bilou, bio, bioes, iob1, iob2)",
    ),
    (
        "an unknown format",
        {"a.conll": "fly O\n"},
        "a.conll",
        {"format": "connl"},
        f"unknown format 'connl'; did you mean 'conll'? (allowed: {', '.join(FORMATS.names())})",
    ),
    (
        "latin-1",
        {"a.conll": b"fly\tO\n\n" + "San José\tB-city\n".encode("latin1")},
        "a.conll",
        {},
        (
            "@/a.conll:3: not UTF-8 (byte 0xe9 at column 8); save it as UTF-8, e.g. iconv -t utf-8"
            " -f latin1"
        ),
    ),
    (
        "UTF-8 with a byte of another encoding",
        {"a.conll": "東京\tB-city\n\n".encode() + "San José\tB-city\n".encode("latin1")},
        "a.conll",
        {},
        (
            "@/a.conll:3: not UTF-8 (byte 0xe9 at column 8); the rest of the file is UTF-8; correct"
            " the line"
        ),
    ),
    (
        "a column more in the first line, whose last one is no tag",
        {"a.conll": "Rome B-city extra\ngo O\n"},
        "a.conll",
        {},
        (
            "@/a.conll:2: 2 columns, but line 1 has 3; separate the columns of all lines alike, by"
            " tabs or by spaces"
        ),
    ),
    (
        "UTF-16",
        {"a.conll": "fly\tO\n".encode("utf-16")},
        "a.conll",
        {},
        "@/a.conll:1: UTF-16, not UTF-8; save it as UTF-8, e.g. iconv -t utf-8 -f utf-16",
    ),
    (
        "a NUL byte",
        {"a.conll": b"fly\tO\nto\0\tO\n"},
        "a.conll",
        {},
        "@/a.conll:2: a NUL byte at column 3; not a text file",
    ),
    (
        "a folder for a file",
        {"a/b.conll": "fly O\n"},
        "a",
        {"format": "conll"},
        "@/a: a folder where a file is expected",
    ),
    (
        "a folder of no known format",
        {"a/b.conll": "fly O\n"},
        "a",
        {},
        "@/a: a folder of no format; give one of its files",
    ),
    (
        "a file for a folder",
        {"a/seq.in": "fly\n"},
        "a/seq.in",
        {"format": "jointslu"},
        "@/a/seq.in: a file; jointslu is the folder that holds seq.in and seq.out",
    ),
    (
        "no such file",
        {"train.conll": "fly O\n"},
        "trian.conll",
        {},
        "@/trian.conll: no such file; did you mean '@/train.conll'?",
    ),
    (
        "no such folder",
        {"train/seq.in": "fly\n"},
        "trian",
        {"format": "jointslu"},
        "@/trian: no such folder; did you mean '@/train'?",
    ),
    (
        "no permission",
        {"a.conll": None},
        "a.conll",
        {},
        "@/a.conll: cannot be read: Permission denied",
    ),
    (
        "unequal seq.in and seq.out",
        {"a/seq.in": "go\nfly to Taipei \n", "a/seq.out": "O\nO O\n"},
        "a",
        {},
        "@/a/seq.out:2: tokens: 3, but tags: 2; each token needs one tag",
    ),
    (
        "files of different length",
        {"a/seq.in": "go\nfly\nto\n", "a/seq.out": "O\nO\n", "a/label": "x\nx\nx\nx\n"},
        "a",
        {},
        (
            "@/a: the files differ in lines: seq.in has 3, seq.out has 2, label has 4; each line is"
            " one sentence"
        ),
    ),
    (
        "seq.in missing",
        {"a/seq.out": "O\n"},
        "a",
        {"format": "jointslu"},
        "@/a/seq.in: no such file; did you mean '@/a/seq.out'?",
    ),
    (
        "no labels in jointslu",
        {"a/seq.in": "go\n"},
        "a",
        {},
        "@/a: none of its 1 sentence has labels, which training and scoring need; label some",
    ),
    (
        "no labels in conll",
        {"a.conll": "go\nfly\n"},
        "a.conll",
        {},
        "@/a.conll: none of its 1 sentence has labels, which training and scoring need; label some",
    ),
    (
        "no labels in jsonl",
        {"a.jsonl": '{"text": "a"}\n{"text": "fly"}\n'},
        "a.jsonl",
        {},
        (
            "@/a.jsonl: none of its 2 sentences has labels, which training and scoring need; label"
            " some"
        ),
    ),
    (
        "no labels where they are needed",
        {"a.jsonl": '{"text": "a", "slots": []}\n{"text": "fly"}\n{"text": ""}\n'},
        "a.jsonl",
        {"strict": True},
        "@/a.jsonl:2: no labels: 'fly' (and 1 more)",
    ),
    (
        "no words at all",
        {"a.jsonl": '{"text": ""}\n{"text": " "}\n'},
        "a.jsonl",
        {"labelled": False},
        "@/a.jsonl: none of its 2 sentences has words",
    ),
    (
        "JSON that does not parse",
        {"a.jsonl": "{'text': 'fly'}\n"},
        "a.jsonl",
        {},
        "@/a.jsonl:1: not JSON: expected a key in double quotes, found \"'text': 'fly'}\" at column"
        " 2",
    ),
    (
        "an object on a line with others in a JSON array",
        {"a.json": '[{"text": "a", "slots": []},\n{"text": "b", "slots": []}, {"text": 3}]\n'},
        "a.json",
        {},
        '@/a.json:2 (sentence 3): expected a text as "text", found 3',
    ),
    (
        "an object in a JSON array on one line",
        {"a.json": '[{"text": 3, "slots": []},{"text": "b", "slots": []}]'},
        "a.json",
        {},
        '@/a.json:1 (sentence 1): expected a text as "text", found 3',
    ),
    *(
        (
            f"JSON with {what}",
            {"a.jsonl": '{"text": "fly", "slots": []}\n' + line},
            "a.jsonl",
            {},
            f"@/a.jsonl:2: {message}",
        )
        for what, line, message in [
            ("a word", '{"text": fly}', "not JSON: expected a value, found 'fly}' at column 10"),
            (
                "no end",
                '{"text": ',
                "not JSON: expected a value, found the end of the line at column 10",
            ),
            ("no colon", '{"text" 3}', "not JSON: expected a colon, found '3}' at column 9"),
            (
                "no comma",
                '{"a": 1 2}',
                "not JSON: expected a comma or a closing bracket, found '2}' at column 9",
            ),
            (
                "an open text",
                '{"text": "a',
                "not JSON: a text that is not closed, '\"a' at column 10",
            ),
            (
                "a tab in a text",
                '{"a": "\t"}',
                "not JSON: a control character in a text,"
                " '\\t\"}'; write it as \\u and its code, at column 8",
            ),
            (
                "a wrong escape",
                '{"a": "\\x"}',
                "not JSON: a backslash before what it cannot escape, '\\\\x\"}', at column 8",
            ),
            ("two values", '{"a": 1} 2', "not JSON: the JSON is complete before '2' at column 10"),
            ("many brackets", "[" * 100_000, "JSON that cannot be used: nested too deep"),
            (
                "a long number",
                f'{{"a": {"9" * 5000}}}',
                "JSON that cannot be used: a number of too many digits",
            ),
        ]
    ),
    (
        "JSON, but no object",
        {"a.jsonl": '"fly to Taipei"\n'},
        "a.jsonl",
        {},
        '@/a.jsonl:1: expected a JSON object, found "fly to Taipei"',
    ),
    (
        "neither text nor tokens",
        {"a.jsonl": '{"sentence": "fly"}\n'},
        "a.jsonl",
        {},
        '@/a.jsonl:1: neither "text" nor "tokens" among the keys: "sentence"',
    ),
    (
        "a text that is no text",
        {"a.jsonl": '{"text": ["fly"]}\n'},
        "a.jsonl",
        {},
        '@/a.jsonl:1: expected a text as "text", found ["fly"]',
    ),
    (
        "half a character",
        {"a.jsonl": '{"text": "fly \\ud83d"}\n'},
        "a.jsonl",
        {},
        '@/a.jsonl:1: "\\ud83d" is half a character, which UTF-8 cannot hold',
    ),
    (
        "an empty token",
        {"a.jsonl": '{"tokens": ["fly", " "]}\n'},
        "a.jsonl",
        {},
        '@/a.jsonl:1: "tokens" must hold texts that are not only spaces, found " "',
    ),
    (
        "unequal tokens and tags",
        {"a.jsonl": '{"tokens": ["fly", "to"], "tags": ["O"]}\n'},
        "a.jsonl",
        {},
        "@/a.jsonl:1: tokens: 2, but tags: 1; each token needs one tag",
    ),
    (
        "tags for a text",
        {"a.jsonl": '{"text": "fly to", "tags": ["O", "O"]}\n'},
        "a.jsonl",
        {},
        '@/a.jsonl:1: "slots" go with "text", "tags" with "tokens"',
    ),
    (
        "slots for tokens",
        {"a.jsonl": '{"tokens": ["fly"], "slots": []}\n'},
        "a.jsonl",
        {},
        '@/a.jsonl:1: "slots" go with "text", "tags" with "tokens"',
    ),
    (
        "a slot without its end",
        {"a.jsonl": J % '{"name": "city", "start": 7}'},
        "a.jsonl",
        {},
        '@/a.jsonl:1: expected an integer as "end", it is missing',
    ),
    (
        "an offset that is no number",
        {"a.jsonl": J % '{"name": "city", "start": "7", "end": 13}'},
        "a.jsonl",
        {},
        '@/a.jsonl:1: expected an integer as "start", found "7"',
    ),
    (
        "a slot that is no object",
        {"a.jsonl": J % '["city", 7, 13]'},
        "a.jsonl",
        {},
        '@/a.jsonl:1: expected objects in "slots", found ["city", 7, 13]',
    ),
    (
        "an offset out of the text",
        {"a.jsonl": J % '{"name": "city", "start": 7, "end": 14}'},
        "a.jsonl",
        {},
        "@/a.jsonl:1: slot 'city' from 7 to 14 is not in the text of 13 characters, counted from 0",
    ),
    (
        "a slot without characters",
        {"a.jsonl": J % '{"name": "city", "start": 7, "end": 7}'},
        "a.jsonl",
        {},
        "@/a.jsonl:1: slot 'city' from 7 to 7 is empty",
    ),
    (
        "an offset that has to be corrected",
        {"a.jsonl": J % '{"name": "city", "value": "Taipei", "start": 8, "end": 14}'},
        "a.jsonl",
        {"strict": True},
        "@/a.jsonl:1: slot 'city' ('Taipei'): 8 to 14 read as 7 to 13 (the nearest occurrence)",
    ),
    (
        "a value that does not stand there",
        {"a.jsonl": J % '{"name": "city", "value": "Tainan", "start": 7, "end": 13}'},
        "a.jsonl",
        {},
        "@/a.jsonl:1: slot 'city' has the value 'Tainan', which is not in the text; from 7 to 13 it"
        " reads 'Taipei'",
    ),
    (
        "a slot without a name in jsonl",
        {"a.jsonl": J % '{"name": "", "start": 7, "end": 13}'},
        "a.jsonl",
        {},
        "@/a.jsonl:1: the slot from 7 to 13 has no name",
    ),
    (
        "overlapping slots",
        {
            "a.jsonl": (
                J % '{"name": "b", "start": 4, "end": 13}, {"name": "a", "start": 0, "end": 6}'
            )
        },
        "a.jsonl",
        {"strict": True},
        "@/a.jsonl:1: slot 'a' ('fly to') overlaps 'b' ('to Taipei'), and is left out",
    ),
    (
        "a slot that cuts a token",
        {"a.jsonl": J % '{"name": "city", "start": 7, "end": 11}'},
        "a.jsonl",
        {"misaligned": "error"},
        (
            "@/a.jsonl:1: slot 'city' ('Taip') cuts the token 'Taipei'; correct the slot, or set"
            " data.misaligned (convert: --misaligned) to split, widen or skip"
        ),
    ),
    (
        "a slot with a space at its edge",
        {"a.brackets": "fly to[ Taipei](city)\n"},
        "a.brackets",
        {},
        "@/a.brackets:1: slot 'city' (' Taipei') begins or ends with a space; leave the space out",
    ),
    (
        "a bracket that is not closed",
        {"a.brackets": "go\n\nfly to [Taipei\n"},
        "a.brackets",
        {},
        "@/a.brackets:3: column 8: this bracket is not closed; write \\[ for a plain one",
    ),
    (
        "a bracket that nothing opens",
        {"a.brackets": "fly to Taipei](city)\n"},
        "a.brackets",
        {},
        "@/a.brackets:1: column 14: nothing opens this bracket; write \\] for a plain one",
    ),
    (
        "a bracket in a bracket",
        {"a.brackets": "fly [to [Taipei](city)](x)\n"},
        "a.brackets",
        {},
        "@/a.brackets:1: column 9: inside the bracket of column 5; write \\[ for a plain one",
    ),
    (
        "a bracket without a name",
        {"a.brackets": "fly to [Taipei] now\n"},
        "a.brackets",
        {},
        "@/a.brackets:1: column 15: no (name) after the bracket; write \\[ and \\] for plain ones",
    ),
    (
        "an empty name",
        {"a.brackets": "fly to [Taipei]()\n"},
        "a.brackets",
        {},
        "@/a.brackets:1: column 15: a slot without a name",
    ),
    (
        "an empty value",
        {"a.brackets": "fly to [](city)\n"},
        "a.brackets",
        {},
        "@/a.brackets:1: column 9: a slot without a value",
    ),
    (
        "an intent without a sentence",
        {"a.brackets": "fly\n[](book)\n"},
        "a.brackets",
        {},
        "@/a.brackets:2: an intent without a sentence; remove the line",
    ),
    *(
        (
            f"the key {key} twice in a JSON object",
            {"a.jsonl": '{"text": "go"}\n' + line},
            "a.jsonl",
            {"labelled": False},
            f"@/a.jsonl:2: JSON that cannot be used: the key '{key}' occurs twice",
        )
        for key, line in {
            "text": '{"text": "fly", "intent": "x", "text": "go"}',
            "start": J % '{"name": "x", "start": 0, "start": 7, "end": 13}',
        }.items()
    ),
    (
        "a stray backslash",
        {"a.brackets": "fly \\to\n"},
        "a.brackets",
        {},
        "@/a.brackets:1: column 5: a backslash before 't'; write \\\\ for a plain one",
    ),
    *(
        (
            f"labels in jsonl under {key}",
            {"a.jsonl": f'{{"text": "fly to Rome", "{key}": [[7, 11, "city"]]}}'},
            "a.jsonl",
            {"labelled": False},
            (
                f'@/a.jsonl:1: "{key}" may be labels, but labels are read from "slots", each'
                ' {"name", "start", "end"}, or "tags" (and "intent"); write them so, or remove the'
                " key"
            ),
        )
        for key in ("mentions", "Labels", "slot", "spans", "ner_tags", "annotations", "Entities")
    ),
    (
        "the second of two JSON objects over several lines",
        {"a.json": '{\n"text": "fly", "slots": []\n}\n{\n"text": 3\n}\n'},
        "a.json",
        {},
        '@/a.json:4: expected a text as "text", found 3',
    ),
    *(
        (f"{what} as text", {"a.jsonl": content}, "a.jsonl", {}, f"@/a.jsonl: {message}")
        for what, content, message in [
            ("gzip", gzip.compress(b"{}"), "compressed by gzip, not text; unpack it first"),
            (
                "a spreadsheet",
                b"PK\x03\x04\x14\x00",
                "a zip file or a spreadsheet, not text; unpack it, or save it as CSV",
            ),
        ]
    ),
    (
        "a header without rows",
        {"a.csv": "text,slots,intent\n\n"},
        "a.csv",
        {},
        "@/a.csv:1: a header without rows; add a row for each sentence",
    ),
    (
        "an offset out of a text of one character",
        {"a.jsonl": '{"text": "x", "slots": [{"name": "city", "start": 0, "end": 2}]}'},
        "a.jsonl",
        {},
        "@/a.jsonl:1: slot 'city' from 0 to 2 is not in the text of 1 character, counted from 0",
    ),
    (
        "an exclusive end in GLiNER",
        {"a.jsonl": '{"tokenized_text": ["to", "Rome"], "ner": [[1, 2, "city"]]}'},
        "a.jsonl",
        {},
        (
            '@/a.jsonl:1: expected [first, last, label] in "ner", tokens from 0 to 1 where last is'
            ' a part of the slot, found [1, 2, "city"]'
        ),
    ),
    (
        "no empty lines",
        {"a.conll": "to O\nRome B-city\n" * 60},
        "a.conll",
        {},
        (
            "@/a.conll: no empty line, so its 120 tokens are one sentence; put an empty line after"
            " each sentence"
        ),
    ),
    *(
        (
            f"the comment {line} without a space",
            {"a.conll": f"{line}\nfly\tO\n\n" if first else f"fly\tO\n\n{line}\nfly\tO\n\n"},
            "a.conll",
            {},
            f"@/a.conll:{message}; a comment begins with '# ', with a space",
        )
        for line, first, message in [
            ("#id=7", True, "2: 2 columns, but line 1 has 1"),
            ("#id=7", False, "3: 1 column, but line 1 has 2"),
            ("#id 7", False, "3: tag '7' is not of scheme iob2 (O, B-, I-)"),
        ]
    ),
    *(
        (
            f"the link {link} in Markdown",
            {"a.md": f"go\nread [this]({link}) now\n"},
            "a.md",
            {},
            (
                f"@/a.md:2: {link!r} is a link, not the name of a slot; a file of sentences has no"
                " links (if it is a name, call the file .brackets)"
            ),
        )
        for link in ("https://a.org/b", "#usage", "docs/train.md", "../a", 'a/b "A title"')
    ),
    (
        "BMES tags",
        {"a.conll": "New B-x\nYork M-x\nCity E-x\n"},
        "a.conll",
        {},
        (
            "@/a.conll:2: tag 'M-x' is not of scheme iob2 (O, B-, I-); if the tags are BMES, set"
            " data.scheme: bioes (convert: --scheme bioes)"
        ),
    ),
    (
        "a header above columns",
        {"a.conll": "token\ttag\nNew\tB-x\nYork\tI-x\n"},
        "a.conll",
        {},
        (
            "@/a.conll:1: tag 'tag' is not of scheme iob2 (O, B-, I-); if the line is a header,"
            " remove it"
        ),
    ),
    (
        "a token of a no-break space",
        {"a.conll": "fly O\n\u00a0\tO\n"},
        "a.conll",
        {"format": {"name": "conll", "separator": "auto"}},
        "@/a.conll:2: the token '\\xa0' has no visible character",
    ),
    (
        "a token of a zero-width space in jointslu",
        {"a/seq.in": "go\nfly \u200b\n", "a/seq.out": "O\nO O\n"},
        "a",
        {},
        "@/a/seq.out:2: the token '\\u200b' has no visible character",
    ),
    (
        "GB18030",
        {"a.conll": "北京\tB-city\n".encode("gb18030")},
        "a.conll",
        {},
        (
            "@/a.conll:1: not UTF-8 (byte 0xb1 at column 1); save it as UTF-8, e.g. iconv -t utf-8"
            " -f ENCODING (perhaps euc-kr or euc-jp or gb18030 or big5)"
        ),
    ),
    (
        "tokens that are not in the text",
        {"a.jsonl": '{"text": "fly now", "tokens": ["fly", "then"]}'},
        "a.jsonl",
        {},
        "@/a.jsonl:1: the token 'then' does not follow in \"text\" at character 3",
    ),
]


@pytest.mark.parametrize(
    ("files", "read", "options", "message"),
    [row[1:] for row in BROKEN],
    ids=[row[0] for row in BROKEN],
)
def test_broken_data(files, read, options, message, tmp_path):
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content or b"")
        if content is None:
            path.chmod(0)
            if os.access(path, os.R_OK):
                pytest.skip("this user may read every file")
    with pytest.raises(SlotfillError) as error:
        read_sentences(tmp_path / read, **options)
    actual = str(error.value).replace(str(tmp_path), "@")
    assert "\n" not in actual
    assert actual == message


def test_messages_show_the_path_as_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.conll").write_text("fly O\nto\n", encoding="utf-8")
    with pytest.raises(SlotfillError, match=r"^a\.conll:2: "):
        read_sentences("a.conll")
