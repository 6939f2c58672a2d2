"""The demo pack is what its program writes, and every dimension of a study finds its rows there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from assay_evaluators.packs.loading import Pack
from assay_evaluators.sdk.dimension import dimension_names, load_dimension
from assay_evaluators.sdk.plan import make_plan
from assay_evaluators.sdk.spec import Engine, Spec, Subject

ROOT = Path(__file__).resolve().parents[3]
DEMO = ROOT / "packs" / "demo"
_DIGEST = "sha256:" + "0" * 64
_ENGINE = Engine(
    family="vllm",
    version="-",
    dtype="float32",
    kv_cache_dtype="auto",
    max_model_len=16384,
    device_class="cpu",
)
SUBJECT = Subject(
    artifact_digest=_DIGEST, engine=_ENGINE, tokenizer_digest=_DIGEST, chat_template_digest=_DIGEST
)


@pytest.fixture(scope="module")
def pack() -> Pack:
    return Pack.open(str(DEMO))


def test_every_file_is_what_the_manifest_says(pack: Pack) -> None:
    pack.verify()


def test_building_it_again_gives_the_same_bytes(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "models.demo.build_pack", "--out", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    built = {path.relative_to(tmp_path): path.read_bytes() for path in _files(tmp_path)}
    committed = {path.relative_to(DEMO): path.read_bytes() for path in _files(DEMO)}
    assert sorted(built) == sorted(committed)
    assert [path for path, data in built.items() if data != committed[path]] == []


# What replays a team's own prompts finds none in a pack.
OF_PACKS = [name for name in dimension_names() if not load_dimension(name).replays]


@pytest.mark.parametrize("name", OF_PACKS)
def test_has_every_scenario_of_the_default_metric(pack: Pack, name: str) -> None:
    spec = Spec(dimension=name, pack_uri=str(DEMO), pack_digest=pack.digest, subject=SUBJECT)
    plan = make_plan(load_dimension(name), pack, spec)
    assert plan.is_complete
    assert [scenario.name for scenario in plan.scenarios if scenario.gap] == []


def test_says_whose_it_is_and_may_be_shown(pack: Pack) -> None:
    manifest = pack.manifest
    assert (manifest.licence, manifest.attribution) == ("Apache-2.0", "Assay")
    assert manifest.display == "allow"


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
