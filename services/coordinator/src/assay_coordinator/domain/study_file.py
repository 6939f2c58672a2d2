"""The study file: YAML or JSON text to a StudySpec, with errors that name the field.

The file differs from StudySpec in three places, for brevity. A parameter of a recipe may be a
list: `gptq: {bits: [8, 4, 3]}` is three recipes. A list of one value may be the value itself:
`dimensions: ethics`. And `preset: paper-quick` fills in what the file leaves out.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import yaml
from pydantic import ValidationError

from assay_coordinator.domain.presets import PRESETS, with_preset
from assay_coordinator.domain.study import StudySpec
from assay_core.errors import AssayError, FieldViolation, InvalidArgument
from assay_core.field_errors import invalid_argument
from assay_core.recipes import METHODS, Recipe

_OPTIONS = ("layout", "include_embeddings")
_MAY_BE_ONE_VALUE = ("parser_versions", "calibration_seeds", "dimensions", "models")
_LARGEST_FILE = 1_000_000
_REMEDY = "correct the fields named"


def load_study(text: str) -> StudySpec:
    """Parse a study file.

    Raises:
        InvalidArgument: If the text is not YAML or JSON, or a field is unknown, missing or wrong;
            `violations` lists every field at fault with its path, as `recipes[1].gptq.bits`.
    """
    violations: list[FieldViolation] = []
    document = with_preset(_parse(text), violations)
    recipes = document.get("recipes")
    if isinstance(recipes, list):
        # A recipe at fault is reported by itself; `dense` stands in so that the rest is checked.
        document["recipes"] = _expand_recipes(recipes, violations) or ["dense"]
    for name in _MAY_BE_ONE_VALUE:
        if name in document and not isinstance(document[name], list):
            document[name] = [document[name]]
    calibration = document.get("calibration")
    if isinstance(calibration, Mapping) and "seed" in calibration:
        problem = "belongs in calibration_seeds, which lists one seed per variant"
        violations.append(FieldViolation("calibration.seed", problem))
    spec: StudySpec | None = None
    try:
        spec = StudySpec.model_validate(document)
    except ValidationError as error:
        violations += invalid_argument(error, "", StudySpec).violations
    if violations or spec is None:
        raise _invalid(violations)
    return spec


def _invalid(violations: Sequence[FieldViolation]) -> InvalidArgument:
    listed = "; ".join(f"{v.field} {v.description}" for v in violations[:5])
    more = f" and {len(violations) - 5} more" if len(violations) > 5 else ""
    return InvalidArgument(
        f"the study file is not valid: {listed}{more}",
        reason="INVALID_STUDY",
        remedy=_REMEDY,
        violations=violations,
    )


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key written twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is written twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def _parse(text: str) -> dict[str, Any]:
    if len(text) > _LARGEST_FILE:
        raise InvalidArgument.of("file", "is larger than 1 MB", remedy="is it the right file?")
    try:
        document = _Loader(text).get_single_data()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "cannot be read"
        raise InvalidArgument(
            f"the study file is neither YAML nor JSON{where}: {problem}",
            reason="INVALID_STUDY",
            remedy="check the indentation and the quotes there",
        ) from error
    if not isinstance(document, dict):
        raise InvalidArgument(
            f"the study file holds a {type(document).__name__}, not a mapping of fields",
            reason="INVALID_STUDY",
            remedy="start from a file in examples/",
        )
    return document


def _expand_recipes(recipes: Sequence[Any], violations: list[FieldViolation]) -> list[Recipe]:
    """Recipes of the file; problems go to `violations`."""
    expanded: list[Recipe] = []
    for index, entry in enumerate(recipes):
        for choice in _choices(entry):
            try:
                recipe = Recipe.parse(choice, f"recipes[{index}]")
            except AssayError as error:
                fresh = [violation for violation in error.violations if violation not in violations]
                violations += fresh
            else:
                if recipe not in expanded:
                    expanded.append(recipe)
    return expanded


def _choices(entry: Any) -> Iterable[Any]:
    """`{gptq: {bits: [8, 4]}}` as `{gptq: {bits: 8}}` and `{gptq: {bits: 4}}`."""
    methods = [key for key in entry if key not in _OPTIONS] if isinstance(entry, Mapping) else []
    if len(methods) != 1 or not isinstance(entry[methods[0]], Mapping):
        yield entry
        return
    (method,) = methods
    parameters = entry[method]
    values = [value if isinstance(value, list) else [value] for value in parameters.values()]
    for chosen in itertools.product(*values):
        yield {**entry, method: dict(zip(parameters, chosen, strict=True))}


def study_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of the study file, for editors and for `assay study schema`."""
    schema = StudySpec.model_json_schema()
    definitions = schema["$defs"]
    properties = schema["properties"]
    properties["recipes"]["items"] = {
        "anyOf": [
            {"type": "string", "enum": sorted(METHODS)},
            *(_recipe_schema(name) for name in sorted(METHODS)),
        ]
    }
    for name in _MAY_BE_ONE_VALUE:
        properties[name] = {"anyOf": [properties[name], properties[name]["items"]]}
    for name in ("ModelSpec", "PackSpec"):
        text = {"type": "string", "minLength": 1, "maxLength": 1024}
        definitions[name] = {"anyOf": [text, definitions[name]]}
    definitions["Calibration"]["properties"].pop("seed")
    properties["preset"] = {
        "type": "string",
        "enum": sorted(PRESETS),
        "description": "Fills in dimensions, profiles, parsers and rows that the file leaves out.",
    }
    schema["required"] = [name for name in schema["required"] if name != "dimensions"]
    schema["anyOf"] = [{"required": ["dimensions"]}, {"required": ["preset"]}]
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Assay study file",
    }
    used = _referred({**document, "$defs": {}}, definitions)
    return {**document, "$defs": {name: definitions[name] for name in sorted(used)}}


def _referred(part: Any, definitions: Mapping[str, Any]) -> set[str]:
    """Names of the definitions that a part of the schema needs, directly or not."""
    found: set[str] = set()
    waiting = list(_references(part))
    while waiting:
        name = waiting.pop().rsplit("/", 1)[1]
        if name not in found:
            found.add(name)
            waiting += _references(definitions[name])
    return found


def _references(part: Any) -> Iterable[str]:
    if isinstance(part, Mapping):
        for key, value in part.items():
            if key == "$ref":
                yield value
            else:
                yield from _references(value)
    elif isinstance(part, list):
        for item in part:
            yield from _references(item)


def _recipe_schema(method: str) -> dict[str, Any]:
    """`{method: {parameters}}`, where each parameter may be a list of values."""
    schema = METHODS[method].model_json_schema()
    parameters = {
        name: {"anyOf": [body, {"type": "array", "items": body, "minItems": 1}]}
        for name, body in schema["properties"].items()
    }
    body = {"type": "object", "properties": parameters, "additionalProperties": False}
    if "required" in schema:
        body["required"] = schema["required"]
    options = Recipe.model_json_schema()["properties"]
    return {
        "type": "object",
        "properties": {method: body, **{name: options[name] for name in _OPTIONS}},
        "required": [method],
        "additionalProperties": False,
    }
