"""Expansion of a study into variants."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from assay_coordinator.domain.canary import CanarySpec, Side
from assay_coordinator.domain.study import ModelSpec, StudySpec
from assay_core.errors import InvalidArgument
from assay_core.recipes import Calibration, Recipe

AS_SERVED = "as served"
"""Label of an endpoint's variant: nobody here knows in what form its weights are."""


@dataclass(frozen=True)
class PlannedVariant:
    """One cell row of the matrix: a model, a recipe and a calibration seed."""

    key: str  # `demo/gptq-4bit-g128/seed0`
    model_name: str
    model: ModelSpec
    recipe: Recipe
    calibration: Calibration
    label: str
    reference_key: str  # what it is compared with: the dense parent unless the study names another
    variant_id: str = ""  # of a variant that exists, in the compression service

    @property
    def is_reference(self) -> bool:
        """Whether others are compared with it."""
        return self.key == self.reference_key


def expand(spec: StudySpec) -> list[PlannedVariant]:
    """Variants of a study in the order they are run: per model the dense parent first.

    Recipes that look at no calibration data run once, with the first seed. The same recipe written
    twice runs once. A reference that the study names is that of every variant, and runs first; a
    study with an endpoint compares with its first model unless it names another.

    Raises:
        InvalidArgument: The study names a reference that it does not have.
    """
    if isinstance(spec, CanarySpec):
        return [_of_side(spec, side) for side in (spec.against, spec.variant)]
    variants = [
        variant
        for model, name in zip(spec.models, model_names(spec.models), strict=True)
        for variant in _of_model(spec, model, name)
    ]
    if not spec.has_one_reference:
        return variants
    wanted = spec.reference or variants[0].key
    named = [v for v in variants if v.key == wanted] or [
        v for v in variants if v.model_name == wanted and v.is_reference
    ]
    if not named:
        keys = ", ".join(variant.key for variant in variants)
        raise InvalidArgument.of(
            "spec.reference",
            f"names {wanted!r}, which is no variant or model of this study",
            remedy=f"name one of: {keys}",
            reason="UNKNOWN_REFERENCE",
        )
    variants.sort(key=lambda variant: variant.key != named[0].key)
    return [replace(variant, reference_key=named[0].key) for variant in variants]


def _of_side(spec: CanarySpec, side: Side) -> PlannedVariant:
    return PlannedVariant(
        key=side.key,
        model_name=side.model_name,
        model=side.model,
        recipe=side.recipe,
        calibration=spec.calibration.model_copy(update={"seed": side.calibration_seed}),
        label=side.label,
        reference_key=spec.against.key,
        variant_id=side.variant_id,
    )


def _of_model(spec: StudySpec, model: ModelSpec, name: str) -> Iterable[PlannedVariant]:
    ordered = sorted(spec.recipes, key=lambda recipe: recipe.name != "dense")
    first_seed = spec.calibration_seeds[0]
    reference = f"{name}/{ordered[0].label()}/seed{first_seed}"
    seen: set[str] = set()
    for recipe in ordered:
        seeds = spec.calibration_seeds if recipe.needs_calibration else (first_seed,)
        for seed in seeds:
            key = f"{name}/{recipe.label()}/seed{seed}"
            if key in seen:
                continue
            seen.add(key)
            yield PlannedVariant(
                key=key,
                model_name=name,
                model=model,
                recipe=recipe,
                calibration=spec.calibration.model_copy(update={"seed": seed}),
                label=AS_SERVED if model.endpoint else recipe.label(),
                reference_key=reference,
            )


def model_names(models: Iterable[ModelSpec]) -> list[str]:
    """Short unique names of models: the last part of the URI, numbered where it repeats."""
    names: list[str] = []
    for model in models:
        stem = PurePosixPath(model.uri.rstrip("/")).name or "model"
        if model.revision:
            stem = f"{stem}@{model.revision[:12]}"
        name, number = stem, 2
        while name in names:
            name, number = f"{stem}-{number}", number + 1
        names.append(name)
    return names
