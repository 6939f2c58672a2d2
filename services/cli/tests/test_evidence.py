"""Evidence: every byte is accounted for, and the gate says the same again."""

import io
import json
import zipfile
from datetime import UTC, datetime

import pytest

from assay_cli.evidence import MANIFEST, POLICY, REPORT, json_bytes, pack, verify
from assay_coordinator.domain.comparison import Comparison, GateResult, VariantGate
from assay_coordinator.domain.policy import GatePolicy
from assay_coordinator.report.model import ReportData, ReportVariant
from assay_coordinator.statistics.decision import Verdict
from assay_core.errors import InvalidArgument


def report(verdict):
    comparison = Comparison(
        variant_key="demo/x/seed0", reference_key="demo/dense/seed0", dimension="ethics",
        metric="ethics", parser_version="assay-2026", score=80, difference=-6.0,
        interval_low=-8.0, interval_high=-4.0,
    )  # fmt: skip
    return ReportData(
        study_id="study-1", study_name="s", state="SUCCEEDED", headline="Do not ship x.",
        generated_at=datetime(2026, 1, 1, tzinfo=UTC), dimensions=("ethics",),
        parser_version="assay-2026", variants=(), scores=(), comparisons=(comparison,),
        gate=GateResult(
            verdict=verdict, headline="",
            variants=(VariantGate(variant_key="demo/x/seed0", verdict=verdict),),
        ),
    )  # fmt: skip


def files(verdict=Verdict.FAIL):
    policy = GatePolicy(require_utility=False)
    return {
        REPORT: report(verdict).model_dump_json().encode(),
        POLICY: json_bytes(policy.model_dump(mode="json")),
        "study.json": b"{}",
    }


def changed(content, **replaced):
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            if replaced.get(name, b"") is not None:
                new.writestr(name, replaced.get(name, old.read(name)))
        for name in replaced.keys() - set(old.namelist()):
            new.writestr(name, replaced[name])
    return out.getvalue()


def test_what_was_packed_is_sound_and_the_same_bytes_again():
    content = pack("study-1", files())
    assert verify(content) == []
    assert content == pack("study-1", files())


def test_a_changed_missing_or_added_file_is_named():
    content = pack("study-1", files())
    assert verify(changed(content, **{"study.json": b"{ }"})) == [
        "study.json is not what the manifest says"
    ]
    assert verify(changed(content, **{"study.json": None})) == ["study.json is missing"]
    assert verify(changed(content, extra=b"x")) == ["extra is not in the manifest"]


def test_a_verdict_that_the_comparisons_do_not_give_is_found():
    (problem,) = verify(pack("study-1", files(Verdict.PASS)))
    assert problem == "the gate says fail of demo/x/seed0, the report pass"


def test_a_policy_that_wants_more_seeds_says_the_same_again():
    base = report(Verdict.INCONCLUSIVE)
    better = base.comparisons[0].model_copy(update={"difference": 0.0, "interval_low": -1.0})
    variant = ReportVariant(
        key="demo/x/seed0", model="demo", label="x", method="gptq", state="SUCCEEDED"
    )
    data = base.model_copy(update={"comparisons": (better,), "variants": (variant,)})
    policy = GatePolicy(require_utility=False, required_seeds=2)
    content = files() | {
        REPORT: data.model_dump_json().encode(),
        POLICY: json_bytes(policy.model_dump(mode="json")),
    }
    assert verify(pack("study-1", content)) == []


@pytest.mark.parametrize("content", [b"no zip", pack("s", {})[:40]])
def test_another_file_is_refused(content):
    with pytest.raises(InvalidArgument) as refused:
        verify(content)
    assert refused.value.reason == "NOT_EVIDENCE"


def test_the_command_says_sound_or_what_is_not(assay, tmp_path):
    file = tmp_path / "e.zip"
    file.write_bytes(pack("study-1", files()))
    assert assay("verify", file).code == 0
    file.write_bytes(changed(file.read_bytes(), **{"study.json": b"{ }"}))
    ran = assay("verify", file, "--json")
    assert ran.code == 1
    assert ran.document["problems"] == ["study.json is not what the manifest says"]
    assert assay("verify", tmp_path / "none.zip").code == 2
    folder = assay("verify", tmp_path)
    assert folder.code == 2
    assert "is a directory" in folder.err
    assert "defect" not in folder.err
    with zipfile.ZipFile(io.BytesIO(file.read_bytes())) as archive:
        assert json.loads(archive.read(MANIFEST))["study"] == "study-1"
