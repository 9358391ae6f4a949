"""The format of hwmodels/*.toml as a JSON Schema, made from schema.py, so that an editor can complete and check it.

A file that extends another may leave out what that one states, so there are two shapes: whole, and in part. `espsim
models check` also finds what a JSON Schema can't state, for example that fn = "mask" needs `bits`.
"""

from __future__ import annotations

from typing import Any

from espsim.offload.schema import Spec

_MERGED = ("DeviceFacts", "Caps", "OutboundSpec", "InboundSpec", "Classify", "Verify", "Program", "ResultSpec")
_ALWAYS = ["schema", "id"]


def json_schema() -> dict[str, Any]:
    """The schema as a JSON document (draft 2020-12)."""
    whole = _one_spelling(Spec.model_json_schema(by_alias=True))
    definitions = whole.pop("$defs")
    for definition in (whole, *definitions.values()):
        _strip(definition)
    description = "A hardware model of espsim: one device with one driver. See hwmodels/README.md."
    del whole["description"]
    part = {**_renamed(whole), "required": _ALWAYS}
    for name in _MERGED:
        definitions[f"{name}InPart"] = _renamed({k: v for k, v in definitions[name].items() if k != "required"})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "espsim hardware model",
        "description": description,
        "if": {"required": ["extends"]},
        "then": part,
        "else": whole,
        "$defs": dict(sorted(definitions.items())),
    }


def _one_spelling(value: Any) -> Any:
    """A copy that is the same for pydantic 2.7 and later versions, which differ in a few details."""
    if isinstance(value, list):
        return [_one_spelling(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    copy: dict[str, Any] = {}
    for key, inner in value.items():
        if key == "allOf" and len(inner) == 1:
            copy |= _one_spelling(inner[0])
        else:
            copy[key] = _one_spelling(inner)
    if "const" in copy and copy.get("enum") == [copy["const"]]:
        del copy["enum"]
    if copy.get("additionalProperties") is True:  # the default of every object
        del copy["additionalProperties"]
    return copy


def _strip(schema: dict[str, Any]) -> None:
    """Remove the titles that pydantic makes up, and put each description in one line."""
    schema.pop("title", None)
    if "description" in schema:
        schema["description"] = " ".join(schema["description"].split()).replace("`", "")
    for value in schema.get("properties", {}).values():
        value.pop("title", None)


def _renamed(value: Any) -> Any:
    """A copy in which the tables that merge key by key are those that may be stated in part."""
    if isinstance(value, dict):
        return {key: _renamed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_renamed(inner) for inner in value]
    names = [f"#/$defs/{name}" for name in _MERGED]
    return f"{value}InPart" if value in names else value
