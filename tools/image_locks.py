"""Compile the locks of the container images (`make image-locks`): locks/images/*.lock.

An environment's lock also holds what tests and development need. An image gets only what its
services require at run time: the closure of their dependencies, read from the installed
environment, as a subset of the environment's lock with the same pins and hashes. torch and what
only torch brings is a lock of its own: it is most of an image, and two images share it as a layer.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "locks" / "images"
HEADER = "# Made by `make image-locks` (tools/image_locks.py) from {source}.\n"

# What only a cluster has: Postgres, by name from SQLAlchemy URLs, and a collector of traces.
CLUSTER = (
    "psycopg[binary]",
    "opentelemetry-sdk",
    "opentelemetry-exporter-otlp-proto-grpc",
)


@dataclass(frozen=True)
class Image:
    """What an image is made of."""

    environment: str
    services: tuple[str, ...]
    extra: tuple[str, ...] = ()
    # Locks of the layers below: what they hold is not repeated.
    below: tuple[str, ...] = ()
    # Environments that share this layer: it holds only what both pin alike.
    shared_with: tuple[str, ...] = ()


VENVS = {"base": ".venv", "serving": ".venvs/serving", "compression": ".venvs/compression"}

IMAGES: dict[str, Image] = {
    "build": Image("base", (), ("hatchling",)),
    "torch": Image("serving", (), ("torch",), shared_with=("compression",)),
    "evaluators": Image("base", ("core", "evaluators"), CLUSTER),
    "coordinator": Image("base", ("core", "coordinator"), CLUSTER),
    "cli": Image("base", ("core", "evaluators", "coordinator", "cli")),
    "serving": Image("serving", ("core", "serving"), CLUSTER, below=("torch",)),
    "scoring": Image("serving", ("core", "scoring"), CLUSTER, below=("torch",)),
    "compression": Image("compression", ("core", "compression"), CLUSTER, below=("torch",)),
}


def lock_entries(path: Path) -> dict[str, str]:
    """Entries of a lock, with hashes and markers, by package name."""
    blocks = re.split(r"(?m)^(?=[A-Za-z0-9])", path.read_text())
    entries = (block for block in blocks if re.match(r"[A-Za-z0-9._-]+==", block))
    return {canonicalize_name(block.split("==", 1)[0]): block.rstrip() + "\n" for block in entries}


def installed(venv: str) -> dict[str, Distribution]:
    """Packages of an environment by name."""
    (site,) = (ROOT / venv).glob("lib/python3*/site-packages")
    return {canonicalize_name(d.metadata["Name"]): d for d in distributions(path=[str(site)])}


def closure(roots: Iterable[str], packages: Mapping[str, Distribution]) -> set[str]:
    """Names of `roots` and of everything they require here, extras included."""
    seen: set[tuple[str, str]] = set()
    todo = [Requirement(root) for root in roots]
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        package = packages.get(name)
        for extra in ("", *requirement.extras):
            if package is None or (name, extra) in seen:
                continue
            seen.add((name, extra))
            wanted = (Requirement(text) for text in package.requires or ())
            todo += [r for r in wanted if r.marker is None or r.marker.evaluate({"extra": extra})]
    return {name for name, _ in seen}


def direct(services: Iterable[str]) -> list[str]:
    """Third-party requirements of services, from their pyproject files."""
    found: list[str] = []
    for service in services:
        text = (ROOT / "services" / service / "pyproject.toml").read_text()
        found += tomllib.loads(text)["project"]["dependencies"]
    return [requirement for requirement in found if not requirement.startswith("assay-")]


def compile_image(name: str) -> str:
    """The text of one image's lock."""
    image = IMAGES[name]
    source = f"locks/{image.environment}.lock"
    entries = lock_entries(ROOT / source)
    base = lock_entries(ROOT / "locks" / "base.lock")
    names = closure([*direct(image.services), *image.extra], installed(VENVS[image.environment]))
    if image.extra and image.environment != "base":
        # Those that this environment lacks come from the base environment.
        drivers = closure(image.extra, installed(VENVS["base"]))
        entries |= {driver: base[driver] for driver in drivers if driver not in entries}
        names |= drivers
    for other in image.shared_with:
        theirs = lock_entries(ROOT / "locks" / f"{other}.lock")
        names = {n for n in names if theirs.get(n) == entries.get(n)}
    for layer in image.below:
        names -= lock_entries(FOLDER / f"{layer}.lock").keys()
    kept = sorted(names & entries.keys())
    return HEADER.format(source=source) + "".join(entries[name] for name in kept)


def main(arguments: list[str]) -> None:
    """Write every lock, or with `--check` say which are not up to date."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    stale = []
    for name in IMAGES:
        target = FOLDER / f"{name}.lock"
        text = compile_image(name)
        if "--check" in arguments:
            if not target.is_file() or target.read_text() != text:
                stale.append(name)
            continue
        target.write_text(text)
        print(f"{target.relative_to(ROOT)}: {text.count('==')} packages")
    if stale:
        raise SystemExit(f"out of date: {', '.join(stale)}; run `make image-locks`")


if __name__ == "__main__":
    main(sys.argv[1:])
