"""What `helm install` tells people, rendered as a manifest: `helm template` leaves it out."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

CHART = Path(__file__).resolve().parents[2] / "charts" / "assay"

AS_MANIFEST = """apiVersion: v1
kind: ConfigMap
metadata: {name: notes}
data:
  notes: |
    {{- include "notes" . | nindent 4 }}
"""


@pytest.fixture
def notes(tool, tmp_path: Path) -> Callable[..., str]:
    chart = shutil.copytree(CHART, tmp_path / "chart")
    templates = chart / "templates"
    text = (templates / "NOTES.txt").read_text()
    (templates / "_notes.tpl").write_text(f'{{{{ define "notes" }}}}{text}{{{{ end }}}}')
    (templates / "notes.yaml").write_text(AS_MANIFEST)

    def render(*sets: str) -> str:
        arguments = [part for each in sets for part in ("--set", each)]
        command = [tool("helm"), "template", "t", str(chart), "--namespace", "ns", *arguments]
        result = subprocess.run(
            [*command, "--kube-version", "1.34.0", "--show-only", "templates/notes.yaml"],
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        return str(yaml.safe_load(result.stdout)["data"]["notes"])

    return render


def test_without_tls_a_forwarded_port_is_called_by_its_address(notes):
    text = notes()
    assert "export ASSAY_SERVER=127.0.0.1:7400" in text
    assert "PEER" not in text


def test_with_tls_the_authority_is_fetched_and_the_server_called_by_a_name(notes):
    text = notes("tls.mode=secrets", "tls.secrets.name=given")
    fetched = "get secret given -o jsonpath='{.data.ca\\.crt}' | base64 -d > assay-ca.crt"
    assert fetched in text
    assert "export ASSAY_PEER_CA_FILE=$PWD/assay-ca.crt" in text
    assert "export ASSAY_SERVER=localhost:7400" in text
    assert "CERT_FILE" not in text


def test_where_everybody_shows_a_certificate_the_clients_is_fetched_too(notes):
    text = notes(
        "tls.mode=certManager", "tls.certManager.issuerRef.name=ca", "tls.clientCertificates=all"
    )
    assert text.count("get secret t-assay-client-tls") == 3
    for file, setting in (("ca.crt", "CA"), ("tls.crt", "CERT"), ("tls.key", "KEY")):
        assert f"export ASSAY_PEER_{setting}_FILE=$PWD/assay-{file}" in text
