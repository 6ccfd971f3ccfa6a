"""The JSON Schema of configs, so that editors complete and check the YAML."""

from __future__ import annotations

from typing import Any

from slotfill.config.models import PART_KEYS, STACKABLE_PART_KEYS, Config
from slotfill.config.part_config import options_model
from slotfill.config.registry import REGISTRIES


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a config, with every registered part and its options."""
    root = Config.model_json_schema()
    definitions, keys = root["$defs"], root["properties"]
    file = {"type": "string", "pattern": r"\.py$"}
    named_file = {"type": "object", "properties": {"name": file}, "required": ["name"]}
    for registry in REGISTRIES.values():
        shapes: list[dict[str, Any]] = [{"enum": registry.names()}, file, named_file]
        for name in registry.names():
            part = registry.part(name)
            model = options_model(part).model_json_schema()
            model["properties"]["name"] = {"const": name}
            model["description"] = part.summary
            for option in part.options.values():
                if option.part_kind:
                    model["properties"][option.name] = {"$ref": f"#/$defs/{option.part_kind}"}
            shapes.append(model)
        definitions[registry.kind] = {"anyOf": shapes}
    for key in PART_KEYS:
        one: dict[str, Any] = {"$ref": f"#/$defs/{key}"}
        if key in STACKABLE_PART_KEYS:
            one = {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}
        elif keys[key]["default"] is None:
            one = {"anyOf": [one, {"type": "null"}]}
        keys[key] |= one
    log = definitions["TrainConfig"]["properties"]["log"]
    one = {"$ref": "#/$defs/logger"}
    log |= {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}
    file_format = definitions["DataConfig"]["properties"]["format"]
    file_format |= {"anyOf": [{"const": "auto"}, {"$ref": "#/$defs/format"}]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **root}
