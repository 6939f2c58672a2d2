"""A real Prometheus with the chart's alert rules, which scrapes what it is told."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.chart.conftest import CHART, require

SCRAPE_SECONDS = 1


@dataclass(frozen=True)
class Prometheus:
    """Its HTTP API."""

    url: str

    def api(self, path: str, **parameters: str) -> Any:
        address = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        # S310: the address is this process's own child.
        with urllib.request.urlopen(address, timeout=20) as answer:  # noqa: S310
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Result vector of an instant query."""
        return list(self.api("query", query=expression)["result"])

    def down(self) -> dict[str, str]:
        """What is not scraped, with the reason."""
        return {
            target["labels"]["component"]: target["lastError"] or target["health"]
            for target in self.api("targets")["activeTargets"]
            if target["health"] != "up"
        }


@contextmanager
def scraping(targets: Mapping[str, str], folder: Path) -> Iterator[Prometheus]:
    """A Prometheus that scrapes `targets` (address by component) until the end of the block."""
    program = require("prometheus")
    config = {
        "global": {"scrape_interval": f"{SCRAPE_SECONDS}s", "evaluation_interval": "5s"},
        "rule_files": [str(CHART / "alerts" / "assay.rules.yaml")],
        "scrape_configs": [
            {
                "job_name": "assay",
                "static_configs": [
                    {"targets": [address], "labels": {"component": component}}
                    for component, address in targets.items()
                ],
            }
        ],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        )
    found = Prometheus(f"http://{address}")
    try:
        _await(found, process, folder)
        yield found
    finally:
        process.terminate()
        process.wait(timeout=30)


def _await(prometheus: Prometheus, process: subprocess.Popen[bytes], folder: Path) -> None:
    """Waits until every target was scraped once."""
    deadline = time.monotonic() + 60
    why: object = "it does not answer"
    while time.monotonic() < deadline:
        assert process.poll() is None, (folder / "prometheus.log").read_text()
        try:
            why = prometheus.down()
            if not why and prometheus.query("assay_server_info"):
                return
        except OSError as error:
            why = error
        time.sleep(0.5)
    raise AssertionError(f"Prometheus does not scrape everything: {why}")
