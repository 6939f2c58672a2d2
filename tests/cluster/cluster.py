"""A release of the chart on a real cluster, and a client of it in another namespace."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "assay"
VALUES = ROOT / "k8s" / "values" / "cpu-small.yaml"
PART_OF = "app.kubernetes.io/part-of=assay"
INSTALL_SECONDS = 1200
SMALL = ("ethics", "fairness", "stereotype")
# Values of releases that one evaluator is enough for, which leaves the node room.
DIMENSIONS = yaml.safe_load((CHART / "values.yaml").read_text())["evaluators"]["dimensions"]
ETHICS_ALONE = tuple(
    f"evaluators.dimensions.{name}.enabled=false" for name in DIMENSIONS if name != "ethics"
)
TERMINAL = {"STATE_SUCCEEDED", "STATE_FAILED", "STATE_CANCELLED"}


@dataclass(frozen=True)
class Ran:
    """A command that ended."""

    code: int
    out: str
    err: str


def run(*command: str, stdin: str | None = None, seconds: float = 300) -> Ran:
    """Runs a command to its end, whatever that is."""
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=seconds, check=False
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def eventually(condition: Callable[[], Any], seconds: float, what: str, every: float = 1.0) -> Any:
    """Waits until a condition holds and returns its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds:.0f} s"
        time.sleep(every)
    return value


@dataclass(frozen=True)
class Release:
    """The chart, installed as `assay` in a namespace of its own."""

    namespace: str
    registry: str
    tag: str
    # Values of every install and upgrade of it, as `--set` takes them.
    sets: tuple[str, ...] = ()

    @property
    def coordinator(self) -> str:
        """Address for clients."""
        return f"assay-coordinator.{self.namespace}.svc:7400"

    @property
    def token(self) -> str:
        """The token of users."""
        return base64.b64decode(self.secret()["user-token"]).decode()

    def kubectl(self, *arguments: str, stdin: str | None = None, seconds: float = 300) -> str:
        done = run("kubectl", "-n", self.namespace, *arguments, stdin=stdin, seconds=seconds)
        assert done.code == 0, f"kubectl {' '.join(arguments)}: {done.err}"
        return done.out

    def get(self, kinds: str, selector: str = PART_OF) -> list[dict[str, Any]]:
        found = self.kubectl("get", kinds, "-l", selector, "-o", "json")
        return list(json.loads(found)["items"])

    def pods(self, component: str = "") -> list[dict[str, Any]]:
        """Pods of a component, or of all services; those of hooks are not."""
        if component:
            return self.get("pods", f"{PART_OF},app.kubernetes.io/component={component}")
        return self.get("pods", f"{PART_OF},assay.dev/service")

    def helm(self, *arguments: str, seconds: float = INSTALL_SECONDS + 60) -> Ran:
        command = (os.environ.get("HELM", "helm"), "--namespace", self.namespace, *arguments)
        return run(*command, seconds=seconds)

    def upgrade(self, *sets: str) -> None:
        """Installs or upgrades with the values of a small node and `sets`, and waits."""
        image = f"image.registry={self.registry}"
        done = self.helm(
            "upgrade", "--install", "assay", str(CHART), "--create-namespace",
            "--wait", "--timeout", f"{INSTALL_SECONDS}s", "--values", str(VALUES),
            "--set", ",".join((image, *self.sets, *sets)), "--set-string", f"image.tag={self.tag}",
        )  # fmt: skip
        assert done.code == 0, done.err + self.state()

    def shell(self, pod: str, container: str, script: str) -> str:
        """What a script in a container prints."""
        return self.kubectl("exec", pod, "-c", container, "--", "sh", "-c", script).strip()

    def engines(self, pod: dict[str, Any], container: str) -> int:
        """Processes of engines in a pod."""
        count = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -c '[V]LLM::' || true"
        return int(self.shell(pod["metadata"]["name"], container, count))

    def delete_pod(self, component: str) -> None:
        """Deletes the pod of a component and waits for the ready pod of its successor."""
        (before,) = self.pods(component)
        self.kubectl("delete", "pod", before["metadata"]["name"], "--wait=false")

        def replaced() -> bool:
            pods = self.pods(component)
            return all(p["metadata"]["uid"] != before["metadata"]["uid"] for p in pods) and bool(
                pods and ready(pods[0])
            )

        eventually(replaced, 400, f"a ready successor of {component}")

    def settle(self, seconds: float = 600) -> None:
        """Waits until every service runs as many ready pods of its last revision as it should."""
        for workload in self.get("deployments,statefulsets"):
            name = f"{workload['kind'].lower()}/{workload['metadata']['name']}"
            self.kubectl(
                "rollout", "status", name, f"--timeout={seconds:.0f}s", seconds=seconds + 30
            )

    def secret(self, name: str = "assay-auth") -> dict[str, str]:
        """Keys and encoded values of a Secret."""
        return dict(json.loads(self.kubectl("get", "secret", name, "-o", "json"))["data"])

    def state(self) -> str:
        """What there is, for a person who reads a failure."""
        parts = [
            run("kubectl", "-n", self.namespace, *command.split()).out
            for command in (
                "get pods -o wide",
                "get events --sort-by=.lastTimestamp",
                "logs -l assay.dev/service --all-containers --tail=15 --prefix",
            )
        ]
        return "\n".join(part[-6000:] for part in parts)


@dataclass(frozen=True)
class Client:
    """The command line in a pod of another namespace; it knows a Service's name and a token."""

    namespace: str
    # Variables of its commands, NAME=VALUE.
    environment: tuple[str, ...] = ()

    def exec(self, *command: str, stdin: str | None = None, seconds: float = 300) -> Ran:
        """Runs a command in the pod."""
        interactive = ("-i",) if stdin is not None else ()
        kubectl = ("kubectl", "-n", self.namespace, "exec", *interactive, "client", "--")
        return run(*kubectl, "env", *self.environment, *command, stdin=stdin, seconds=seconds)

    def assay(self, *arguments: str, seconds: float = 300) -> Any:
        """The JSON answer of a command that must succeed."""
        ran = self.exec("assay", *arguments, "--json", seconds=seconds)
        assert ran.code == 0, f"assay {' '.join(arguments)}: {ran.err}"
        return json.loads(ran.out)

    def create(self, study: dict[str, Any]) -> str:
        """Id of a new study."""
        written = self.exec("sh", "-c", "cat > /tmp/study.yaml", stdin=json.dumps(study))
        assert written.code == 0, written.err
        return str(self.assay("study", "create", "-f", "/tmp/study.yaml")["study"]["meta"]["id"])

    def show(self, identifier: str) -> dict[str, Any] | None:
        """The study as it is, or None while the coordinator is away."""
        ran = self.exec("assay", "study", "show", identifier, "--json")
        return dict(json.loads(ran.out)["study"]) if ran.code == 0 else None

    def finish(self, identifier: str, seconds: float) -> dict[str, Any]:
        """The study at its end."""

        def ended() -> dict[str, Any] | None:
            study = self.show(identifier)
            return study if study and study["meta"]["state"] in TERMINAL else None

        return dict(eventually(ended, seconds, "the end of the study", every=5))

    def await_completions(self, identifier: str, more_than: int) -> None:
        """Waits for progress of a study that must not have ended yet."""

        def moved() -> bool:
            found = self.show(identifier)
            state = found["meta"]["state"] if found else ""
            failed = [v["key"] for v in (found or {}).get("variants", []) if v.get("error")]
            assert state not in TERMINAL, f"too early an end for this test: {state}, {failed=}"
            return completions(found) > more_than

        eventually(moved, 900, f"a completion after the first {more_than}")


def study(name: str, rows: int, *recipes: dict[str, Any], dimensions: Sequence[str] = SMALL) -> Any:
    """A study of the demo model, dense and the recipes."""
    return {
        "name": name,
        "models": ["demo"],
        "recipes": ["dense", *recipes],
        "calibration": {"samples": 16, "sequence_length": 128},
        "dimensions": list(dimensions),
        "pack": "demo",
        "row_limit": rows,
    }


def pod_with_claims(
    name: str, image: str, claims: Mapping[str, str], mounts: Sequence[dict[str, str]]
) -> dict[str, Any]:
    """A pod that waits, restricted as the chart's are, with claims by the name of their volume."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "runAsGroup": 10001,
                "fsGroup": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": name,
                    "image": image,
                    "command": ["sleep", "infinity"],
                    "volumeMounts": list(mounts),
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
            "volumes": [
                {"name": volume, "persistentVolumeClaim": {"claimName": claim}}
                for volume, claim in claims.items()
            ],
        },
    }


def ready(pod: dict[str, Any]) -> bool:
    """Whether a pod is Ready."""
    conditions = {c["type"]: c["status"] for c in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True"


def whole(study: dict[str, Any]) -> bool:
    """Whether every variant was evaluated, with all its completions."""
    return all(variant["state"] == "STATE_SUCCEEDED" for variant in study["variants"]) and all(
        evaluation["progress"]["completed"] == evaluation["progress"]["total"]
        for variant in study["variants"]
        for evaluation in variant["evaluations"]
    )


def reused(study: dict[str, Any]) -> bool:
    """Whether every completion was found stored."""
    return all(
        evaluation["completions_reused"] == evaluation["progress"]["total"]
        for variant in study["variants"]
        for evaluation in variant["evaluations"]
    )


def completions(study: dict[str, Any] | None) -> int:
    """Completions that a study has so far."""
    return sum(
        int(evaluation.get("progress", {}).get("completed", 0))
        for variant in (study or {}).get("variants", [])
        for evaluation in variant.get("evaluations", [])
    )


def scores(study: dict[str, Any]) -> dict[tuple[str, str], float]:
    """Scores by variant and dimension."""
    return {
        (variant["key"], evaluation["dimension"]): evaluation["score"].get(
            "value", evaluation["score"].get("partial_value")
        )
        for variant in study["variants"]
        for evaluation in variant["evaluations"]
    }
