"""What both formats of existing generations share: readers by dimension, and choosing a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from assay_core.errors import InvalidArgument, NotFound
from assay_evaluators.existing.adv_demonstration import AdvDemonstrationReader
from assay_evaluators.existing.advglue import AdvglueReader
from assay_evaluators.existing.ethics import EthicsReader
from assay_evaluators.existing.fairness import FairnessReader
from assay_evaluators.existing.ood import OodReader
from assay_evaluators.existing.privacy import PrivacyReader
from assay_evaluators.existing.stereotype import StereotypeReader
from assay_evaluators.existing.toxicity import ToxicityReader
from assay_evaluators.existing.types import Reader
from assay_evaluators.existing.utility import UtilityReader

READERS: Mapping[str, Reader] = {
    reader.dimension: reader
    for reader in (
        StereotypeReader(),
        ToxicityReader(),
        FairnessReader(),
        PrivacyReader(),
        AdvglueReader(),
        OodReader(),
        AdvDemonstrationReader(),
        EthicsReader(),
        UtilityReader(),
    )
}


_ALIASES = {"mmlu": "utility"} | {
    folder: name for name, reader in READERS.items() for folder in reader.folders
}


def reader_of(dimension: str) -> Reader:
    """The reader of a dimension, named by its id or by its folder in the originals.

    Raises:
        InvalidArgument: If there is none.
    """
    dimension = _ALIASES.get(dimension, dimension)
    if dimension not in READERS:
        raise InvalidArgument.of(
            "dimension", f"{dimension!r} is not known", remedy=f"use one of {', '.join(READERS)}"
        )
    return READERS[dimension]


def choose(models: Sequence[str], model: str, where: str) -> str:
    """The model to score.

    A name is taken as it is, with `_` for `/` as in file names, as its last component, or as the
    beginning of a digest.

    Raises:
        NotFound: If there are no models.
        InvalidArgument: If the name is none or several of them, or empty and there are several.
    """
    if not models:
        raise NotFound(
            f"no generations of this dimension below {where}",
            field="generations",
            reason="GENERATIONS_NOT_FOUND",
            remedy="name a checkout, its data or results folder, or a folder of the dimension; for"
            " --format assay a data root",
        )
    found = _matching(models, model) if model else list(models)
    if len(found) != 1:
        problem = f"{model!r} is none or several of them" if model else "there are several models"
        raise InvalidArgument.of(
            "model", problem, reason="MODEL_AMBIGUOUS", remedy=f"use one of {', '.join(models)}"
        )
    return found[0]


def _matching(models: Sequence[str], model: str) -> list[str]:
    rules: tuple[Callable[[str], bool], ...] = (
        lambda name: name == model,
        lambda name: name.replace("/", "_") == model.replace("/", "_"),
        lambda name: name.rsplit("/", 1)[-1] == model.rsplit("/", 1)[-1],
        lambda name: name.startswith("sha256:") and name.startswith(model),
    )
    for rule in rules:
        if found := [name for name in models if rule(name)]:
            return found
    return []
