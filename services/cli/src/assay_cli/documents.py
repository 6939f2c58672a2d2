"""Study files, policies and recipes: YAML to protobuf, with the path of every mistake.

The reading is the coordinator's; what is added here is what only the caller's side knows: files,
and the folder that relative paths start from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from assay_coordinator.domain.policy import GatePolicy
from assay_coordinator.domain.study_file import load_study
from assay_coordinator.wire.results import policy_message
from assay_coordinator.wire.study import spec_message
from assay_core.errors import InvalidArgument, NotFound
from assay_core.field_errors import invalid_argument
from assay_core.pb import common_pb2, comparison_pb2, coordination_pb2
from assay_core.recipes import Recipe

_LARGEST_FILE_BYTES = 1_000_000


def study_spec(file: Path) -> coordination_pb2.StudySpec:
    """Reads a study file; relative paths in it start from its folder.

    Raises:
        NotFound: If there is no such file.
        InvalidArgument: Names every wrong field by its path.
    """
    spec = load_study(_read(file))
    base = file.absolute().parent
    located = spec.model_copy(
        update={
            "models": tuple(
                model.model_copy(update={"uri": locate(model.uri, base)}) for model in spec.models
            ),
            "pack": spec.pack.model_copy(update={"uri": locate(spec.pack.uri, base)}),
            "calibration": spec.calibration.model_copy(
                update={"source": locate(spec.calibration.source, base)}
            ),
        }
    )
    return spec_message(located)


def gate_policy(file: Path) -> comparison_pb2.GatePolicy:
    """Reads a gate policy; `gate:` may stand around it, as in a study file.

    Raises:
        NotFound: If there is no such file.
        InvalidArgument: Names every wrong field by its path.
    """
    document = _parse(_read(file), file.name)
    if isinstance(document, dict) and set(document) == {"gate"}:
        document = document["gate"]
    try:
        return policy_message(GatePolicy.model_validate({} if document is None else document))
    except ValidationError as error:
        raise invalid_argument(error, "gate", GatePolicy, reason="INVALID_POLICY") from None


def recipe(text: str) -> common_pb2.Recipe:
    """Reads a recipe from flow YAML: `dense`, `{gptq: {bits: 3}}`.

    Raises:
        InvalidArgument: Names the wrong field by its path.
    """
    return Recipe.parse(_parse(text, "recipe")).to_proto()


def locate(name: str, base: Path) -> str:
    """A model or pack as the servers need it: URIs and known names as they are, paths absolute.

    A bare word is a name that the server knows (`demo`), unless a checkpoint, a pack or a file
    is called so in `base`.
    """
    if "://" in name:
        return name
    path = Path(name).expanduser()
    absolute = path if path.is_absolute() else base / path
    is_path = "/" in name or name.startswith((".", "~"))
    return str(absolute.resolve()) if is_path or _exists(absolute) else name


def _exists(path: Path) -> bool:
    return path.is_file() or any((path / name).is_file() for name in ("config.json", "pack.json"))


def _read(file: Path) -> str:
    try:
        if file.stat().st_size > _LARGEST_FILE_BYTES:
            raise InvalidArgument.of(
                str(file), "is larger than 1 MB", remedy="is it the right file?"
            )
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(
            f"there is no file {file}",
            reason="FILE_NOT_FOUND",
            remedy="give an existing file; examples/ holds some to start from",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument.of(str(file), f"cannot be read ({error})") from None


def _parse(text: str, name: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "cannot be read"
        raise InvalidArgument.of(
            name,
            f"is not YAML{where}: {problem}",
            reason="INVALID_YAML",
            remedy="check the brackets and quotes there",
        ) from None
