"""A gate's result for continuous integration: JUnit XML and a Markdown summary. Pure."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from assay_coordinator.domain.comparison import GateResult
from assay_coordinator.statistics.decision import Verdict

_MARKS = {
    Verdict.PASS: "\N{WHITE HEAVY CHECK MARK}",
    Verdict.FAIL: "\N{CROSS MARK}",
    Verdict.INCONCLUSIVE: "\N{WHITE QUESTION MARK ORNAMENT}",
}
# What XML 1.0 cannot hold at all, escaped or not.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_junit(result: GateResult, study: str) -> bytes:
    """One suite per variant and one case per check.

    A failed check is a `failure`; an inconclusive one an `error`, so that no CI system takes it for
    a pass; a warning is in the case's `system-out`.
    """
    root = ET.Element("testsuites", name=_clean(f"assay gate {study}"))
    for variant in result.variants:
        verdicts = [check.verdict for check in variant.checks]
        key = _clean(variant.variant_key)
        suite = ET.SubElement(
            root,
            "testsuite",
            name=key,
            tests=str(len(verdicts)),
            failures=str(verdicts.count(Verdict.FAIL)),
            errors=str(verdicts.count(Verdict.INCONCLUSIVE)),
        )
        for check in variant.checks:
            case = ET.SubElement(suite, "testcase", classname=key, name=_clean(check.name))
            detail = _clean(check.detail)
            if check.verdict is Verdict.FAIL:
                ET.SubElement(case, "failure", message=detail)
            elif check.verdict is Verdict.INCONCLUSIVE:
                ET.SubElement(case, "error", message=detail, type="inconclusive")
            else:
                ET.SubElement(case, "system-out").text = detail
    ET.indent(root)
    content: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def render_markdown(result: GateResult, study: str) -> str:
    """The headline, a table of variants, and what kept each from a pass."""
    lines = [
        f"## {_MARKS[result.verdict]} Assay gate: {result.verdict}",
        "",
        _text(result.headline),
        "",
        f"Study `{_code(study)}`",
        "",
        "| variant | verdict | checks |",
        "|---|---|---|",
    ]
    for variant in result.variants:
        passed = sum(check.verdict is Verdict.PASS for check in variant.checks)
        lines.append(
            f"| `{_code(variant.variant_key)}` | {_MARKS[variant.verdict]} {variant.verdict} "
            f"| {passed} of {len(variant.checks)} passed |"
        )
    for variant in result.variants:
        said = [*variant.reasons, *(f"warning: {text}" for text in variant.warnings)]
        if said:
            lines += ["", f"**`{_code(variant.variant_key)}`**", ""]
            lines += [f"- {_text(text)}" for text in said]
    return "\n".join(lines) + "\n"


def _clean(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def _code(text: str) -> str:
    """Text inside backticks: it can neither end them nor a table's cell."""
    return _clean(text).translate(str.maketrans("`|\n\r", "'/  ")).replace("<", "&lt;")


def _text(text: str) -> str:
    """Text that neither ends a cell nor starts markup or HTML."""
    escaped = re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", _clean(text))
    return escaped.translate(str.maketrans("\n\r", "  "))
