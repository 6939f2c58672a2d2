"""The Secret of tokens: what the script makes is what core reads, with least privilege by edge."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from assay_core.auth import Scope, load_tokens

SCRIPT = Path(__file__).parents[2] / "charts" / "assay" / "files" / "make_tokens.py"


def make(*arguments):
    output = subprocess.run(
        [sys.executable, str(SCRIPT), "--name", "s", *arguments],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return json.loads(output)["stringData"]


@pytest.fixture
def principals(tmp_path):
    """Principals that a service would know, by name."""

    def read(service, data):
        file = tmp_path / "tokens.yaml"
        file.write_text(data[f"tokens-{service}.yaml"])
        return {principal.name: principal for principal in load_tokens(file).values()}

    return read


@pytest.mark.parametrize(
    ("service", "callers"),
    [
        ("coordinator", {"user"}),
        ("compression", {"user", "coordinator"}),
        ("serving", {"user", "coordinator", "evaluator"}),
        ("evaluator", {"user", "coordinator"}),
        ("scoring", {"user", "evaluator"}),
    ],
)
def test_a_service_knows_its_callers_only(principals, service, callers):
    assert principals(service, make()).keys() == callers


def test_services_have_scope_run_and_the_user_what_is_asked(principals):
    found = principals("serving", make("--user-scope", "read", "--user-project", "team-a"))
    assert found["coordinator"].scope is found["evaluator"].scope is Scope.RUN
    assert found["user"].scope is Scope.READ
    assert found["user"].projects == {"team-a"}


def test_tokens_files_hold_digests_and_never_a_token():
    data = make()
    files = " ".join(text for key, text in data.items() if key.startswith("tokens-"))
    assert not [key for key in data if key.endswith("-token") and data[key] in files]


def test_two_secrets_share_nothing():
    first, second = make(), make()
    assert not [key for key in first if first[key] == second[key]]
