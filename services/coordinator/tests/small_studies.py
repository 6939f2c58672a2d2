"""A small study, moments of it, and what its peers did for it."""

import collections
import itertools

import pytest

from assay_coordinator.domain.study_file import load_study
from assay_coordinator.wire.study import spec_message
from assay_core.pb import common_pb2

S = common_pb2.State
STUDY = """
name: small
models: [MODEL]
recipes:
  - dense
  - gptq: {bits: [8, 3]}
dimensions: [ethics, fairness]
pack: demo
"""


_numbers = itertools.count()
_current = {"model": ""}


@pytest.fixture(autouse=True)
def model():
    """A model of its own for each test, so that nothing of another test is found stored."""
    _current["model"] = f"model{next(_numbers)}"
    return _current["model"]


def spec(text=STUDY, **changes):
    document = load_study(text.replace("MODEL", _current["model"]))
    return spec_message(document.model_copy(update=changes) if changes else document)


def degrade(world, label="gptq-3bit-g128", accuracy=0.5):
    for evaluator in world.evaluators.values():
        evaluator.accuracy[world.artifact(_current["model"], label)] = accuracy


def generated(world):
    return [row for evaluator in world.evaluators.values() for row in evaluator.generated]


def made(world):
    return sorted(label for uri, label in world.compression.made if uri == _current["model"])


def loads(world):
    labels = ("dense", "gptq-8bit-g128", "gptq-3bit-g128")
    mine = {world.artifact(_current["model"], label) for label in labels}
    return [digest for digest in world.serving.loads if digest in mine]


def generated_twice(world):
    return {
        row: count
        for evaluator in world.evaluators.values()
        for row, count in collections.Counter(evaluator.generated).items()
        if count > 1
    }


def compressing(study):
    return any(variant.compression.completed == 2 for variant in study.variants)


def loading(study):
    return any(variant.phase.startswith("loading") for variant in study.variants)


def evaluating(study):
    """The second variant is half-way in both dimensions."""
    evaluations = [e for variant in study.variants[1:2] for e in variant.evaluations]
    return len(evaluations) == 2 and all(e.progress.completed == 60 for e in evaluations)


async def half_way(world, coordinator):
    """A study that stands still half-way through its second variant."""
    world.hold("gptq-8bit-g128")
    study = await coordinator.create(spec())
    await coordinator.until(study.meta.id, evaluating)
    return study
