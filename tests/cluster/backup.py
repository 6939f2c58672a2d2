"""Backup and restore of a release by hand, as docs/operations/install.md says."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.cluster import PART_OF, Release, eventually, pod_with_claims

DATABASES = "/var/lib/assay/home/db"
DATA = "/var/lib/assay/data"
COPY = f"""
import os, sqlite3, sys
os.makedirs("/tmp/backup", exist_ok=True)
for name in os.listdir("{DATABASES}"):
    if name.endswith(".sqlite"):
        sqlite3.connect("{DATABASES}/" + name).backup(sqlite3.connect("/tmp/backup/" + name))
"""


@dataclass(frozen=True)
class Backup:
    """Databases, the shared volume and the Secret of tokens, in a folder."""

    release: Release
    folder: Path

    def save(self) -> None:
        """Databases first: a record then never names a file that the copy lacks."""
        for pod in self.release.pods():
            name = pod["metadata"]["name"]
            self.release.kubectl("exec", name, "--", "python", "-c", COPY)
            component = pod["metadata"]["labels"]["app.kubernetes.io/component"]
            self._fetch(name, "/tmp/backup", component)
        self._fetch("assay-coordinator-0", DATA, "data")
        secret = json.loads(self.release.kubectl("get", "secret", "assay-auth", "-o", "json"))
        kept = ("name", "namespace", "labels", "annotations")
        secret["metadata"] = {k: v for k, v in secret["metadata"].items() if k in kept}
        (self.folder / "secret.json").write_text(json.dumps(secret))

    def restore(self) -> None:
        """The Secret before the install; the files while no service runs."""
        self.release.kubectl("apply", "-f", str(self.folder / "secret.json"))
        self.release.upgrade()
        components = [pod["metadata"]["labels"] for pod in self.release.pods()]
        names = [labels["app.kubernetes.io/component"] for labels in components]
        self._scale(0)
        self.release.kubectl("apply", "-f", "-", stdin=json.dumps(self._helper(names)))
        self.release.kubectl("wait", "--for=condition=Ready", "pod/restore", "--timeout=120s")
        for name in names:
            # The volume of compression is its whole home, the others' are their databases.
            place = f"/restore/{name}" + ("/db" if name == "compression" else "")
            self.release.kubectl("exec", "restore", "--", "sh", "-c", f"rm -f {place}/*.sqlite*")
            self._put(name, place)
        self._put("data", "/restore/data")
        self.release.kubectl("delete", "pod", "restore", "--timeout=60s")
        self._scale(1)
        self.release.settle()

    def _scale(self, replicas: int) -> None:
        self.release.kubectl(
            "scale", "deployments,statefulsets", "-l", PART_OF, f"--replicas={replicas}"
        )
        if not replicas:
            eventually(lambda: not self.release.pods(), 120, "the end of the services")

    def _fetch(self, pod: str, path: str, name: str) -> None:
        with (self.folder / f"{name}.tar").open("wb") as file:
            # Without the folder itself, whose mode is the volume's.
            command = self._exec(pod, ["sh", "-c", f"cd {path} && tar c $(ls -A)"])
            subprocess.run(command, stdout=file, check=True, timeout=300)

    def _put(self, name: str, path: str) -> None:
        with (self.folder / f"{name}.tar").open("rb") as file:
            command = self._exec("restore", ["tar", "x", "-C", path])
            subprocess.run(command, stdin=file, check=True, timeout=300)

    def _exec(self, pod: str, command: Sequence[str]) -> list[str]:
        return ["kubectl", "-n", self.release.namespace, "exec", "-i", pod, "--", *command]

    def _helper(self, components: Sequence[str]) -> dict[str, Any]:
        """A pod with every volume of the release."""
        claims = {name: f"assay-{name}-home" for name in components} | {"data": "assay-data"}
        mounts = [
            {"name": name, "mountPath": f"/restore/{name}"}
            | ({} if name == "data" else {"subPath": "kept"})
            for name in claims
        ]
        image = f"{self.release.registry}/assay/cli:{self.release.tag}"
        return pod_with_claims("restore", image, claims, mounts)
