"""Evidence of a study: one ZIP whose every byte is accounted for, and the check of one. Pure."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from assay_coordinator.domain.policy import Claim, GatePolicy
from assay_coordinator.gate import Candidate, evaluate_gate
from assay_coordinator.report.model import ReportData
from assay_core.errors import InvalidArgument
from assay_core.recipes import METHODS

MANIFEST = "manifest.json"
REPORT = "report/report.json"
POLICY = "policy.json"
_SCHEMA = 1
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)  # equal content gives equal bytes
_LARGEST = 256 << 20


def pack(study_id: str, files: Mapping[str, bytes]) -> bytes:
    """A ZIP of the files and a manifest with the digest of each."""
    digests = {name: _digest(content) for name, content in sorted(files.items())}
    manifest = {"schema": _SCHEMA, "study": study_id, "files": digests}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        entries = {MANIFEST: json.dumps(manifest, indent=1).encode(), **files}
        for name in sorted(entries):
            archive.writestr(zipfile.ZipInfo(name, _FIXED_TIME), entries[name])
    return out.getvalue()


def verify(content: bytes) -> list[str]:
    """What is wrong with an evidence file; empty if nothing is.

    Every file must have its digest and no file may be missing or added. The gate is applied again
    to the comparisons in the report and must say what the report says.

    Raises:
        InvalidArgument: If it is no evidence file at all.
    """
    files = _read(content)
    try:
        manifest = json.loads(files.pop(MANIFEST))
        listed = dict(manifest["files"])
    except (KeyError, ValueError, TypeError) as error:
        raise _not_evidence(f"has no readable {MANIFEST}") from error
    problems = [f"{name} is missing" for name in listed if name not in files]
    problems += [f"{name} is not in the manifest" for name in files if name not in listed]
    problems += [
        f"{name} is not what the manifest says"
        for name, content in files.items()
        if name in listed and _digest(content) != listed[name]
    ]
    return problems or _gate_again(files)


def _gate_again(files: Mapping[str, bytes]) -> list[str]:
    if REPORT not in files or POLICY not in files:
        return []
    try:
        report = ReportData.model_validate_json(files[REPORT])
        policy = GatePolicy.model_validate_json(files[POLICY])
    except ValidationError:
        return [f"{REPORT} or {POLICY} is not of a schema that this build reads"]
    if report.gate is None or policy.claim is Claim.RECIPE:
        return []
    main = [c for c in report.comparisons if c.parser_version == report.parser_version]
    keys = dict.fromkeys(c.variant_key for c in main if c.claim is Claim.ARTIFACT)
    methods = {variant.key: METHODS.get(variant.method) for variant in report.variants}
    seeds = Counter(_recipe(key) for key in keys)
    judged = [
        Candidate(
            key,
            tuple(c for c in main if c.variant_key == key),
            seeds=seeds[_recipe(key)],
            depends_on_seed=(method := methods.get(key)) is not None and method.needs_calibration,
        )
        for key in keys
    ]
    again = evaluate_gate(policy, judged, dimensions=report.dimensions)
    said = {variant.variant_key: variant.verdict for variant in report.gate.variants}
    return [
        f"the gate says {variant.verdict} of {variant.variant_key}, the report {told}"
        for variant in again.variants
        if (told := said.get(variant.variant_key)) not in (None, variant.verdict)
    ]


def _recipe(key: str) -> str:
    """The key of a variant without its calibration seed."""
    return key.rsplit("/", 1)[0]


def _read(content: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _LARGEST:
                raise _not_evidence("unpacks to more than 256 MiB")
            return {name: archive.read(name) for name in archive.namelist()}
    except zipfile.BadZipFile as error:
        raise _not_evidence("is not a ZIP file") from error


def _not_evidence(problem: str) -> InvalidArgument:
    return InvalidArgument.of(
        "file", problem, reason="NOT_EVIDENCE", remedy="give a file that `assay evidence` wrote"
    )


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def json_bytes(document: Any) -> bytes:
    """A JSON document as a file."""
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()
