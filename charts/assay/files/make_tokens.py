"""Make the Secret with Assay's tokens: print it as JSON for `kubectl apply -f -`, or create it.

Each service gets a tokens file that knows digests only, and only of the callers that its place in
the architecture has. Runs with the standard library, as the chart's pre-install Job and by hand:

    python make_tokens.py --name assay-auth | kubectl apply -f -
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import secrets
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
CONFLICT = 409
NOT_FOUND = 404

# Service -> callers and the scope each needs there; `user` takes its scope from the arguments.
CALLERS = {
    "coordinator": {"user": ""},
    "compression": {"user": "", "coordinator": "run"},
    "serving": {"user": "", "coordinator": "run", "evaluator": "run"},
    "evaluator": {"user": "", "coordinator": "run"},
    "scoring": {"user": "", "evaluator": "run"},
}


def make_secret(name: str, namespace: str, scope: str, projects: list[str]) -> dict[str, object]:
    """The Secret, with new random tokens."""
    tokens = {caller: secrets.token_urlsafe(32) for caller in ("user", "coordinator", "evaluator")}
    data = {f"{caller}-token": token for caller, token in tokens.items()}
    data["ray-token"] = secrets.token_hex(32)
    data["postgres-password"] = secrets.token_hex(24)
    for service, callers in CALLERS.items():
        entries = [
            {
                "name": caller,
                "sha256": hashlib.sha256(tokens[caller].encode()).hexdigest(),
                "scopes": [own or scope],
                "projects": projects if caller == "user" else ["*"],
            }
            for caller, own in callers.items()
        ]
        # JSON is YAML.
        data[f"tokens-{service}.yaml"] = json.dumps({"tokens": entries}, indent=1)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/part-of": "assay"},
        },
        "stringData": data,
    }


def apply(secret: dict[str, object], name: str, namespace: str) -> str:
    """Create the Secret unless there is one; says in a sentence what was done."""
    if _call("GET", f"/api/v1/namespaces/{namespace}/secrets/{name}") != NOT_FOUND:
        return f"Secret {name} exists and is kept"
    status = _call("POST", f"/api/v1/namespaces/{namespace}/secrets", secret)
    return f"Secret {name} " + ("exists and is kept" if status == CONFLICT else "made")


def _call(method: str, path: str, body: dict[str, object] | None = None) -> int:
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc")
    host = f"[{host}]" if ":" in host else host
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    request = urllib.request.Request(
        f"https://{host}:{port}{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}",
            "Content-Type": "application/json",
        },
    )
    trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    try:
        # S310: the scheme is written above.
        with urllib.request.urlopen(request, timeout=20, context=trust) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        if error.code in (CONFLICT, NOT_FOUND):
            return error.code
        # Its text names the verb and the Secret, never a value.
        sys.stderr.write(f"{method} {path}: {error.code} {error.reason}\n")
        raise SystemExit(1) from None


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--name", required=True)
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--user-scope", default="admin", choices=("read", "run", "admin"))
    parser.add_argument("--user-project", action="append", default=[])
    parser.add_argument("--apply", action="store_true", help="create it from inside the cluster")
    options = parser.parse_args()
    projects = options.user_project or ["*"]
    secret = make_secret(options.name, options.namespace, options.user_scope, projects)
    if options.apply:
        sys.stdout.write(apply(secret, options.name, options.namespace) + "\n")
    else:
        sys.stdout.write(json.dumps(secret, indent=1) + "\n")


if __name__ == "__main__":
    main()
