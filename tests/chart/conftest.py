"""Renders the chart with helm, once per set of values."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "assay"
KUBERNETES = "1.34.0"

Manifest = dict[str, Any]


def require(tool: str) -> str:
    """Path of a program; without it the test is skipped, unless ASSAY_REQUIRE names it."""
    found = shutil.which(tool)
    if found is None:
        if tool in os.environ.get("ASSAY_REQUIRE", "").split(","):
            pytest.fail(f"{tool} is required by ASSAY_REQUIRE and not on PATH")
        pytest.skip(f"{tool} is not on PATH")
    return found


@cache
def run_helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [require("helm"), *arguments], capture_output=True, text=True, check=False, timeout=120
    )


@dataclass(frozen=True)
class Rendering:
    """Manifests of one rendering."""

    manifests: list[Manifest]

    def of(self, kind: str) -> list[Manifest]:
        return [m for m in self.manifests if m["kind"] == kind]

    def names(self, kind: str) -> set[str]:
        return {m["metadata"]["name"] for m in self.of(kind)}

    def one(self, kind: str, name: str) -> Manifest:
        (found,) = (m for m in self.of(kind) if m["metadata"]["name"] == name)
        return found

    def pods(self) -> Iterator[tuple[str, Manifest]]:
        """Name and pod spec of everything that makes pods."""
        for manifest in self.manifests:
            name = f"{manifest['kind']}/{manifest['metadata']['name']}"
            if manifest["kind"] == "Pod":
                yield name, manifest["spec"]
            elif manifest["kind"] in ("Deployment", "StatefulSet", "Job"):
                yield name, manifest["spec"]["template"]["spec"]
            elif manifest["kind"] == "RayCluster":
                groups = [manifest["spec"]["headGroupSpec"], *manifest["spec"]["workerGroupSpecs"]]
                for group in groups:
                    yield name, group["template"]["spec"]

    def settings(self, component: str) -> dict[str, Any]:
        """The settings file of a component."""
        text = self.one("ConfigMap", f"t-assay-{component}")["data"]["config.yaml"]
        return dict(yaml.safe_load(text))


Render = Callable[..., Rendering]


@pytest.fixture
def tool() -> Callable[[str], str]:
    """Finds a program, or skips the test with the reason."""
    return require


@pytest.fixture
def helm() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs helm; the same arguments once."""
    return run_helm


@pytest.fixture
def render() -> Render:
    """Renders release `t`: `render("a.b=c")`, `render(values=FILE)`, `render(crds=[...])`."""

    def render(
        *sets: str,
        values: Path | None = None,
        crds: tuple[str, ...] = (),
        version: str = KUBERNETES,
    ) -> Rendering:
        result = _template(sets, values, crds, version)
        assert result.returncode == 0, result.stderr
        return Rendering([m for m in yaml.safe_load_all(result.stdout) if m])

    return render


@pytest.fixture
def refused() -> Callable[..., str]:
    """What helm says of values that it must refuse."""

    def refused(*sets: str) -> str:
        result = _template(sets, None, (), KUBERNETES)
        assert result.returncode != 0, "helm took values that it should refuse"
        return result.stderr

    return refused


def _template(
    sets: tuple[str, ...], values: Path | None, crds: tuple[str, ...], version: str
) -> subprocess.CompletedProcess[str]:
    arguments = ["template", "t", str(CHART), "--namespace", "ns", "--kube-version", version]
    arguments += [part for each in sets for part in ("--set", each)]
    arguments += ["--values", str(values)] if values else []
    arguments += [part for each in crds for part in ("--api-versions", each)]
    return run_helm(*arguments)
