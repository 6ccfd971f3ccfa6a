"""The JSON Schema of configs, so that editors complete and check the YAML."""

from __future__ import annotations

from typing import Any

from slotfill.config.models import PART_KEYS, STACKABLE_PART_KEYS, Config
from slotfill.config.part_config import options_model
from slotfill.config.registry import REGISTRIES


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a config, with every registered part and its options."""
    root = Config.model_json_schema()
    definitions = root.setdefault("$defs", {})
    for registry in REGISTRIES.values():
        file = {"type": "string", "pattern": r"\.py$"}
        kinds: list[dict[str, Any]] = [{"enum": registry.names()}, file]
        kinds.append({"type": "object", "properties": {"name": file}, "required": ["name"]})
        for name in registry.names():
            part = registry.part(name)
            model = options_model(part).model_json_schema()
            definitions.update(model.pop("$defs", {}))
            model["properties"]["name"] = {"const": name}
            model["description"] = part.summary
            for option in part.options.values():
                if option.part_kind:
                    model["properties"][option.name] = {"$ref": f"#/$defs/{option.part_kind}"}
            kinds.append(model)
        definitions[registry.kind] = {"anyOf": kinds}
    keys = root["properties"]
    for key in PART_KEYS:
        one = {"$ref": f"#/$defs/{key}"}
        more = (
            {"type": "array", "items": one, "minItems": 1}
            if key in STACKABLE_PART_KEYS
            else {"type": "null"}
        )
        keys[key] |= (
            {"anyOf": [one, more]}
            if key in STACKABLE_PART_KEYS or keys[key]["default"] is None
            else one
        )
    definitions["DataConfig"]["properties"]["format"] |= {
        "anyOf": [{"const": "auto"}, {"$ref": "#/$defs/format"}]
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **root}
