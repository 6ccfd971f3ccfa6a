"""Write docs/config.md, the reference of all config keys, from slotfill.config and the registries.

    python scripts/make_config_docs.py            write the page
    python scripts/make_config_docs.py --check    exit 1 if the page is not up to date

A key's type, range and default are those that configs are validated by. The meaning of a section's
key is the docstring below its field; that of a part's option is its `name: meaning` line in the
docstring of the class.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slotfill.config.json_schema import schema
from slotfill.config.option_types import MAX_COUNT
from slotfill.config.registry import REGISTRIES, REQUIRED, PartSource, Registry
from slotfill.config.yaml_reader import dump

TABLES = {"Range": "[range](#tune)", "RuleConfig": "[rule](#rules)"}
"""Links to the tables of types that are not a section by themselves."""

PAGE = Path(__file__).resolve().parent.parent / "docs" / "config.md"

INTRO = """\
# Config keys

Look up here what a config can set: every key with its type, default and meaning. `python
scripts/make_config_docs.py` writes the page from the code that validates configs; do not edit it.

A config is a YAML file. Keys that are missing have the default shown here, so an empty file is a
complete config except for its data. `slotfill show CONFIG` prints a complete config, `slotfill
check CONFIG...` checks it and its sentences, and `slotfill schema` prints this page as JSON Schema.

- **On the command line** a key is its path with dots: `slotfill train taipei encoder.cell=gru
  train.epochs=5`. Overrides are read as YAML and validated in the same way; the last one counts.
  Python takes the same ones as a mapping: `{"encoder.cell": "gru", "train": {"epochs": 5}}`.
- **An override merges or replaces.** A mapping sets the keys in it and leaves the others:
  `'train={seed: 2, epochs: 5}'` is `train.seed=2 train.epochs=5`. Everything else replaces what was
  there: a list, a range of `tune`, and a part that is given by its `name`, whose options are then
  those given. `null` empties a section: `tune=null`.
- **A part** is its name (`encoder: recurrent`), or `name` and its options:
  `encoder: {name: recurrent, hidden_size: 200}`. The name of a user-defined part is the path of
  its file: `cell: ./my_cell.py`.
- **A relative path** starts at the folder of the config, or at the current folder if there is no
  such file; on the command line it starts at the current folder.
- **Plain words stay words**: `no`, `on` and `12:30` are text, `1e-3` is a number, and a key given
  twice is an error.
"""


def render() -> str:
    """Return the complete page."""
    root = schema()
    definitions = root["$defs"]
    sections = [INTRO, "## The sections\n", _table(root["properties"], definitions, {})]
    for key, field in root["properties"].items():
        # What stands below each key of `tune`, and each item of `rules`, is a table as well.
        one = field.get("additionalProperties", {}).get("anyOf", [field])[0]
        one = one.get("items", one)
        section = definitions.get(one.get("$ref", "").rpartition("/")[2], {})
        if "properties" in section:
            sections += [
                f"## {key}\n",
                section["description"] + "\n",
                _table(section["properties"], definitions, {}),
            ]
    for registry in REGISTRIES.values():
        sections.append(f"## {registry.kind}s\n")
        sections += [
            piece for name in registry.names() for piece in _part(registry, name, definitions)
        ]
    return "\n".join(sections)


def meanings(part: PartSource) -> dict[str, str]:
    """Return the descriptions of options in the class docstring of `part`, each on one line."""
    docstring = ast.get_docstring(part.class_node) or ""
    found = re.finditer(r"^(\w+): (.+(?:\n[ \t]+.+)*)", docstring, re.MULTILINE)
    joined = {match[1]: " ".join(match[2].split()) for match in found if match[1] in part.options}
    return {key: text[0].upper() + text[1:] for key, text in joined.items()}


def _part(registry: Registry, name: str, definitions: Mapping[str, Any]) -> list[str]:
    part = registry.part(name)
    properties = next(
        dict(each["properties"])
        for each in definitions[registry.kind]["anyOf"]
        if each.get("properties", {}).get("name", {}).get("const") == name
    )
    del properties["name"]
    for option in part.options.values():
        if option.default is not REQUIRED:
            properties[option.name] = {**properties[option.name], "default": option.default}
    sections = [
        f"### {registry.kind} `{name}`\n",
        part.summary + (f" Source: {part.source}." if part.source else "") + "\n",
    ]
    return [
        *sections,
        _table(properties, definitions, meanings(part)) if properties else "No options.\n",
    ]


def _table(
    properties: Mapping[str, Any], definitions: Mapping[str, Any], descriptions: Mapping[str, str]
) -> str:
    rows = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    for key, field in properties.items():
        default = f"`{_flow(field['default'])}`" if "default" in field else "none: it must be given"
        target = definitions.get(field.get("$ref", "").rpartition("/")[2], {})
        if "properties" in target:
            default = "those below"
        meaning = descriptions.get(key) or " ".join(
            (field.get("description") or target.get("description", "")).split()
        )
        rows.append(f"| `{key}` | {_type(field)} | {default} | {meaning} |".replace("|  |", "| |"))
    return "\n".join(rows) + "\n"


def _type(field: Mapping[str, Any]) -> str:
    """Return the type and the range of a JSON Schema `field` in words."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name}s)" if name in REGISTRIES else TABLES.get(name, "section")
    if "anyOf" in field:
        return " or ".join(_type(each) for each in field["anyOf"])
    if "const" in field:
        return f"`{_flow(field['const'])}`"
    if "enum" in field:
        return ", ".join(f"`{_flow(value)}`" for value in field["enum"])
    if field["type"] == "object":
        return f"keys, each with a {_type(field['additionalProperties'])}"
    if field["type"] == "array" and not field["items"]:
        return "list of values"
    if field["type"] == "array":
        return f"list of {_type(field['items'])}"
    names = {
        "integer": "integer",
        "number": "number",
        "boolean": "`true` or `false`",
        "string": "text",
    }
    bounds = {
        "minimum": "at least",
        "exclusiveMinimum": "more than",
        "maximum": "at most",
        "exclusiveMaximum": "less than",
    }
    ranges = [
        f"{words} {field[bound]}"
        for bound, words in bounds.items()
        if field.get(bound, MAX_COUNT) != MAX_COUNT
    ]
    return ", ".join([names.get(field["type"], "nothing"), *ranges])


def _flow(value: Any) -> str:
    """Return `value` as it is written in YAML, on one line."""
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    return "null" if value is None else dump({"": value}).partition(":")[2].strip()


def main() -> int:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(
        description="Write docs/config.md from the code that checks configs."
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if the page would change"
    )
    check = parser.parse_args().check
    text = render()
    if not check:
        PAGE.write_text(text, encoding="utf-8", newline="\n")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
        print(
            "docs/config.md is not what scripts/make_config_docs.py writes: run it", file=sys.stderr
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
