"""Planning: rows to samples, and the identity of the generations they will have."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from assay_core.digest import digest_of
from assay_core.errors import InvalidArgument
from assay_evaluators.packs.loading import Pack
from assay_evaluators.packs.prompts import Prompts
from assay_evaluators.packs.schema import ScenarioEntry
from assay_evaluators.packs.selection import select_rows
from assay_evaluators.sdk import paper
from assay_evaluators.sdk.dimension import Dimension, RowContext
from assay_evaluators.sdk.paper import Template
from assay_evaluators.sdk.spec import Spec
from assay_evaluators.sdk.types import Message, Sample, Sampling

CHARACTERS_PER_TOKEN = 4
TOKENS_PER_TURN = 4
"""The token estimate knows no tokenizer: English text has about four characters a token, and a
chat template adds a few tokens a turn."""

_NO_LOGPROBS = "needs log-probabilities, which an external endpoint does not give"


@dataclass(frozen=True)
class PlannedScenario:
    """A scenario as it will run.

    Attributes:
        name: Scenario.
        samples: Selected samples, in pack order; empty if the pack lacks the scenario.
        sampling: How completions are drawn.
        entry: What the pack has of it.
        identity: What decides the completions; None if there are no rows.
        limited: Whether a row limit left rows out.
    """

    name: str
    samples: tuple[Sample, ...]
    sampling: Sampling
    entry: ScenarioEntry
    identity: Mapping[str, Any] | None
    limited: bool

    @property
    def generation_digest(self) -> str:
        """Identity of the generations; empty if there are no rows."""
        return digest_of(self.identity) if self.identity is not None else ""

    @property
    def expected(self) -> int:
        """Samples of the full scenario."""
        return max(self.entry.rows_expected, len(self.samples))

    @property
    def completions(self) -> int:
        """Completions wanted in all."""
        return len(self.samples) * self.sampling.n

    @property
    def gap(self) -> str:
        """Why the scenario is missing or cut; empty if whole."""
        if self.limited:
            return f"{len(self.samples)} of {self.expected} rows: row_limit"
        return self.entry.missing or ""

    @cached_property
    def prompt_tokens(self) -> int:
        """Estimated prompt tokens of one completion of every sample."""
        return sum(estimate_tokens(sample) for sample in self.samples)


@dataclass(frozen=True)
class Plan:
    """An evaluation as it will run."""

    dimension: Dimension
    spec: Spec
    prompts: Prompts
    scenarios: tuple[PlannedScenario, ...]

    @property
    def is_complete(self) -> bool:
        """Whether no scenario of the default metric is missing.

        Rows that a limit left out make an estimate from a stratified sample, which `samples` and
        `expected` tell; they do not make the dimension incomplete.
        """
        planned = {scenario.name for scenario in self.scenarios if scenario.samples}
        return planned.issuperset(self.dimension.default_metric.scenarios)

    @property
    def completions(self) -> int:
        """Completions wanted in all."""
        return sum(scenario.completions for scenario in self.scenarios)


def make_plan(dimension: Dimension, pack: Pack, spec: Spec) -> Plan:
    """Plans an evaluation. Reads the pack; blocks.

    Raises:
        InvalidArgument: An unknown scenario, a broken row (file and line), or prompt profile
            `paper` without a template of the pack.
        DataLoss: A file of the pack is not what its manifest says.
    """
    spec.check_template()
    if spec.replay is not None and not dimension.replays:
        raise InvalidArgument.of(
            "spec.replay",
            f"does not go with {dimension.name}, whose prompts arrive as fast as they are answered",
            remedy="leave it empty, or evaluate the dimension `canary`",
        )
    names = spec.scenarios or _default_scenarios(dimension, pack)
    unknown = [name for name in names if name not in dimension.scenarios]
    if unknown:
        raise InvalidArgument.of(
            "spec.scenarios",
            f"names {unknown[0]!r}",
            remedy=f"use scenarios of {dimension.name}: {', '.join(dimension.scenarios)}",
        )
    prompts = pack.prompts()
    ordered = [name for name in dimension.scenarios if name in set(names)]
    template = (
        paper.template_of(prompts, spec.paper_template) if spec.prompt_profile == "paper" else None
    )
    wanted = _Wanted(dimension, pack, prompts, spec, template)
    scenarios = tuple(_plan_scenario(wanted, name) for name in ordered)
    return Plan(dimension, spec, prompts, scenarios)


def estimate_tokens(sample: Sample) -> int:
    """Estimated tokens of a sample's prompt."""
    turns = [message.content for message in sample.messages]
    characters = sum(map(len, turns)) + len(sample.text or "")
    return math.ceil(characters / CHARACTERS_PER_TOKEN) + TOKENS_PER_TURN * len(turns)


def _default_scenarios(dimension: Dimension, pack: Pack) -> tuple[str, ...]:
    there = (n for n in dimension.also_run if pack.scenario(dimension.name, n).file is not None)
    return (*dimension.default_metric.scenarios, *there)


@dataclass(frozen=True)
class _Wanted:
    """What a plan is made of; `template` is None for prompt profile `standard`."""

    dimension: Dimension
    pack: Pack
    prompts: Prompts
    spec: Spec
    template: Template | None


def _plan_scenario(wanted: _Wanted, name: str) -> PlannedScenario:
    dimension, pack, spec, template = wanted.dimension, wanted.pack, wanted.spec, wanted.template
    entry = pack.scenario(dimension.name, name)
    sampling = dimension.sampling(name, spec.sampling_profile)
    if spec.replay is not None:
        temperature, max_tokens = spec.replay.temperature, spec.replay.max_tokens
        sampling = replace(sampling, temperature=temperature, max_tokens=max_tokens)
    if sampling.is_likelihood and spec.subject.is_external:
        entry = entry.model_copy(update={"file": None, "missing": _NO_LOGPROBS})
    if entry.file is None:
        return PlannedScenario(name, (), sampling, entry, None, limited=False)
    rows = pack.rows(entry.file, dimension.row_model_of(name))
    selected = select_rows(rows, spec.row_limit, dimension.stratum)
    context = RowContext(pack, wanted.prompts, name, spec.seed, original_turns=template is not None)
    samples = _with_shared_turns(dimension.samples(selected, context))
    if template is not None:
        samples = tuple(_as_text(template, sample) for sample in samples)
        if template.stop_str and not sampling.is_likelihood:
            sampling = replace(sampling, cut_at=template.stop_str)
    return PlannedScenario(
        name=name,
        samples=samples,
        sampling=sampling,
        entry=entry,
        identity=_identity(wanted, name, samples, sampling),
        limited=len(selected) < len(rows),
    )


def _with_shared_turns(samples: Iterable[Sample]) -> tuple[Sample, ...]:
    """The samples, equal turns (demonstrations above all) being one object: plans are kept."""
    turns: dict[Message, Message] = {}
    return tuple(
        replace(sample, messages=tuple([turns.setdefault(turn, turn) for turn in sample.messages]))
        for sample in samples
    )


def _as_text(template: Template, sample: Sample) -> Sample:
    """A sample whose turns are rendered; raw text (MMLU, perplexity) has no template anyway."""
    if sample.text is not None:
        return sample
    return replace(sample, messages=(), text=paper.render(template, sample.messages))


def _identity(
    wanted: _Wanted, name: str, samples: Sequence[Sample], sampling: Sampling
) -> dict[str, Any]:
    """What decides the completions. Not the row limit: more rows extend the same generations."""
    dimension, pack, spec = wanted.dimension, wanted.pack, wanted.spec
    file = pack.scenario(dimension.name, name).file or ""
    document: dict[str, Any] = {
        "schema": 1,
        "subject": spec.subject.model_dump(mode="json"),
        "dimension": dimension.name,
        "scenario": name,
        "rows": pack.file_digest(file),
        "extra_files": [pack.file_digest(path) for path in dimension.extra_files(name)],
        "prompts": wanted.prompts.digest(dimension.prompt_keys(name)),
        "prompt_profile": spec.prompt_profile,
        "sampling_profile": spec.sampling_profile,
        "sampling": sampling.identity(),
        "seed": spec.seed,
    }
    if spec.replay is not None:
        document["replay"] = spec.replay.model_dump(mode="json")
    if any(sample.text is not None for sample in samples):
        document["raw_text"] = True
    if wanted.template is not None:
        facts = wanted.template.model_dump(mode="json")
        document["paper_template"] = {"name": spec.paper_template, **facts}
    return document
