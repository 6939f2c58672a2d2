"""The whole line with real services: compression, vLLM, evaluators, coordinator, command line."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.stack import ROOT, Stack, eventually

pytestmark = [pytest.mark.engine, pytest.mark.compression, pytest.mark.slow]

STUDY = """
name: end to end
models: [demo]
recipes: [dense, {gptq: {bits: 3}}]
dimensions: [stereotype, fairness, ethics]
pack: demo
row_limit: %d
"""


def write(folder: Path, rows: int) -> Path:
    file = folder / f"study-{rows}.yaml"
    file.write_text(STUDY % rows)
    return file


def scores(document: Any) -> dict[tuple[str, str], float]:
    return {
        (variant["key"], evaluation["dimension"]): evaluation["score"].get(
            "value", evaluation["score"].get("partial_value")
        )
        for variant in document["study"]["variants"]
        for evaluation in variant["evaluations"]
    }


def fingerprints(stack: Stack) -> dict[str, str]:
    """Digest of every stored result, by its path in the object store."""
    root = stack.home / "data"
    return {
        str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest()
        for folder in ("artifacts", "scores")
        for file in sorted((root / folder).rglob("*"))
        if file.is_file() and file.name != "run.json"
    }


@pytest.fixture(scope="module")
def first(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small study, run once for every test that looks at one."""
    file = write(tmp_path_factory.mktemp("study"), 3)
    ran = stack.assay("study", "run", "-f", file, "--json")
    assert ran.code == 0, ran.err + stack.logs()
    return ran.document


def test_a_study_compares_every_variant_with_its_parent(stack: Stack, first: Any) -> None:
    assert first["study"]["meta"]["state"] == "STATE_SUCCEEDED"
    variants = [each["label"] for each in first["study"]["variants"]]
    assert variants[0] == "dense"
    assert variants[1].startswith("gptq-3bit")
    assert len(scores(first)) == 6
    assert all(value is not None and 0 <= value <= 100 for value in scores(first).values())
    compared = {each["dimension"] for each in first["comparisons"] if not each.get("scenario")}
    assert compared == {"stereotype", "fairness", "ethics"}
    for each in first["comparisons"]:
        assert each["n_pairs"] > 0
        assert each["interval_low"] <= each["difference"] <= each["interval_high"]


def test_its_report_is_one_self_contained_file(stack: Stack, first: Any) -> None:
    html = Path(first["report"]).read_text()
    assert html.lstrip().lower().startswith("<!doctype html>")
    assert "gptq-3bit" in html
    identifier = first["study"]["meta"]["id"]
    table = stack.assay("report", identifier, "--format", "csv", "-o", "-")
    assert table.code == 0
    assert "ethics" in table.out
    whole = json.loads(stack.assay("report", identifier, "--format", "json", "-o", "-").out)
    assert whole


def test_a_second_run_generates_nothing_again(stack: Stack, first: Any, tmp_path: Path) -> None:
    before = fingerprints(stack)
    again = stack.assay("study", "run", "-f", write(tmp_path, 3), "--json")
    assert again.code == 0, again.err
    assert again.document["study"]["meta"]["id"] != first["study"]["meta"]["id"]
    assert scores(again.document) == scores(first)
    for variant in again.document["study"]["variants"]:
        for evaluation in variant["evaluations"]:
            assert evaluation["completions_reused"] == evaluation["progress"]["total"]
    assert {name: fingerprints(stack)[name] for name in before} == before


def test_killing_services_in_the_middle_loses_nothing(stack: Stack, tmp_path: Path) -> None:
    file = write(tmp_path, 5)
    running = stack.start("study", "run", "-f", file, "--json")
    try:
        for name in ("coordinator", "evaluator-stereotype"):
            before = stack.service(name).restarts
            eventually(lambda: _completions(stack) > 0, 300, "the first completion")
            stack.kill(name)
            eventually(lambda n=name, b=before: stack.service(n).restarts > b, 60, "a restart")
        out, err = running.communicate(timeout=500)
    finally:
        running.kill()
    assert running.returncode == 0, err + stack.logs()
    disturbed = json.loads(out)
    assert disturbed["study"]["meta"]["state"] == "STATE_SUCCEEDED"
    undisturbed = stack.assay("study", "run", "-f", file, "--json")
    assert undisturbed.code == 0, undisturbed.err
    assert scores(undisturbed.document) == scores(disturbed)


def test_the_documented_client_needs_nothing_but_the_stubs(stack: Stack) -> None:
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "examples" / "client.py"),
            stack.service("coordinator").address,
        ],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "ethics" in done.stdout.splitlines()[-1]


def test_generate_answers_with_a_compressed_model(stack: Stack, first: Any) -> None:
    variant = first["study"]["variants"][1]["variant_id"]
    ran = stack.assay(
        "generate", variant, "Hello", "-n", "2", "--seed", "1", "--max-tokens", "8", "--json"
    )
    assert ran.code == 0, ran.err
    completions = ran.document["completions"]
    assert [each["index"] for each in completions] == [0, 1]
    assert all(each["completion_tokens"] <= 8 for each in completions)
    again = stack.assay(
        "generate", variant, "Hello", "-n", "2", "--seed", "1", "--max-tokens", "8", "--json"
    )
    assert again.document == ran.document


def test_rescoring_needs_no_model(stack: Stack, first: Any) -> None:
    identifier = first["study"]["meta"]["id"]
    ran = stack.assay("rescore", identifier, "--parser", "dt-2024-09", "--json")
    assert ran.code == 0, ran.err
    assert {each["score"]["parser_version"] for each in ran.document["scores"]} == {"dt-2024-09"}


def test_an_uploaded_pack_is_listed_with_a_uri_for_studies(stack: Stack) -> None:
    ran = stack.assay("data", "upload", ROOT / "packs" / "demo", "--json")
    assert ran.code == 0, ran.err
    # Prompts of canaries are packs too.
    listed = [each["uri"] for each in stack.assay("data", "list", "--json").document["packs"]]
    assert listed.count(ran.document["pack"]["uri"]) == 1


def _completions(stack: Stack) -> int:
    """Completions that studies in flight have so far."""
    listed = stack.assay("study", "list", "--json")
    if listed.code != 0:
        return 0
    ids = [
        study["meta"]["id"]
        for study in listed.document["studies"]
        if study["meta"]["state"] == "STATE_RUNNING"
    ]
    return sum(
        evaluation["progress"]["completed"]
        for identifier in ids
        for variant in stack.assay("study", "show", identifier, "--json").document["study"][
            "variants"
        ]
        for evaluation in variant["evaluations"]
        if "progress" in evaluation
    )
