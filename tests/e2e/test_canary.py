"""A team's own prompts through two real variants of the demo model, on real services."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.stack import Stack, eventually

pytestmark = [pytest.mark.engine, pytest.mark.compression, pytest.mark.slow]

PROMPTS = 24
MARK = "zebrafinch"
"""A word of every prompt that nothing else says: no log may hold it."""
LOAD = ("--max-tokens", 24, "--concurrency", 4)


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("canary") / "my.jsonl"
    subjects = ("ships", "rivers", "bread", "clocks", "roads", "letters", "gardens", "wool")
    rows = [
        {"messages": [{"role": "user", "content": f"Tell the {MARK} about {subject} {k}."}]}
        for k in range(PROMPTS // len(subjects))
        for subject in subjects
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def variant(stack: Stack, recipe: str) -> str:
    """Id of a variant, made or found."""
    ran = stack.assay("compress", "demo", "--recipe", recipe, "--json")
    assert ran.code == 0, ran.err + stack.logs()
    return str(ran.document["variant"]["meta"]["id"])


@pytest.fixture(scope="module")
def dense(stack: Stack) -> str:
    return variant(stack, "dense")


@pytest.fixture(scope="module")
def broken(stack: Stack) -> str:
    return variant(stack, "{gptq: {bits: 2, group_size: 16}}")


def measures(canary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in canary["measures"]}


def test_a_model_agrees_with_itself(stack: Stack, prompts: Path, dense: str) -> None:
    ran = stack.assay(
        "canary", dense, dense, "--prompts", prompts, *LOAD, "--min-agreement", 0.8, "--json"
    )
    assert ran.code == 0, ran.err + stack.logs()
    canary = ran.document["canary"]
    found = measures(canary)
    assert found["agreement"]["value"] == 1.0
    assert found["length_shift"]["value"] == 0.0
    assert canary["gate_result"]["verdict"] == "VERDICT_PASS"
    for side in (canary["variant"], canary["reference"]):
        assert int(side["prompts"]) == PROMPTS
        assert side["tokens_per_second"] > 0
        assert float(side["latency_p50"].rstrip("s")) > 0


def test_two_bits_change_the_answers_and_the_report_shows_no_prompt(
    stack: Stack, prompts: Path, dense: str, broken: str
) -> None:
    ran = stack.assay(
        "canary", broken, dense, "--prompts", prompts, "--max-tokens", 24, "--rate", 20,
        "--min-agreement", 0.9, "--json",
    )  # fmt: skip
    assert ran.code == 1, ran.out + ran.err
    canary = ran.document["canary"]
    assert measures(canary)["agreement"]["value"] < 0.5
    assert canary["headline"].startswith("Do not ship")
    html = Path(canary["report_uri"].removeprefix("file://")).read_text()
    assert "20 requests/s as a Poisson process" in html
    assert MARK not in html


def test_a_killed_coordinator_and_evaluator_go_on_with_the_same_canary(
    stack: Stack, prompts: Path, dense: str, broken: str
) -> None:
    process = stack.start(
        "canary", broken, dense, "--prompts", prompts, "--max-tokens", 24, "--rate", 2, "--json"
    )

    def progress() -> int:
        listed = stack.assay("canaries", "--filter", 'state = "RUNNING"', "--json")
        canaries = listed.document["canaries"] if listed.code == 0 else []
        if not canaries:
            return 0
        followed.append(canaries[0]["meta"]["id"])
        return 1

    followed: list[str] = []
    eventually(lambda: progress() > 0, 120, "a running canary")
    time.sleep(4)
    for name in ("coordinator", "evaluator-canary"):
        stack.kill(name)
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err + stack.logs()
    canary = json.loads(out)["canary"]
    assert canary["meta"]["id"] == followed[0]
    assert int(canary["variant"]["prompts"]) == PROMPTS
    assert int(canary["reference"]["prompts"]) == PROMPTS


def test_a_broken_row_is_refused_by_line_and_field(
    stack: Stack, tmp_path: Path, dense: str
) -> None:
    file = tmp_path / "broken.jsonl"
    file.write_text(
        f'{{"messages": [{{"role": "user", "content": "{MARK}"}}]}}\n{{"id": "{MARK}"}}\n'
    )
    # By its path the evaluator reads it, as a file in a bucket.
    for prompts in (str(file), file.as_uri()):
        ran = stack.assay("canary", dense, dense, "--prompts", prompts, "--json")
        assert ran.code == 2, ran.out
        error = json.loads(ran.out)["error"]
        assert error["code"] == "INVALID_ARGUMENT"
        assert "broken.jsonl:2: field messages" in json.dumps(error)
        assert MARK not in ran.out + ran.err


def test_no_log_holds_a_prompt(stack: Stack) -> None:
    logs = sorted((stack.home / "logs").rglob("*.log"))
    assert any("evaluator-canary" in log.name for log in logs)
    for log in logs:
        assert MARK not in log.read_text(errors="replace"), log.name
