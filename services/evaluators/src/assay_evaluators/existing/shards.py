"""Generations that Assay itself stored, scored again from their shards without any service.

A generation names the digest of its rows and not of its pack, so any pack with those rows will do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay_core.errors import InvalidArgument, NotFound
from assay_core.storage import ObjectStore
from assay_core.verdicts import Verdict
from assay_evaluators.existing.documents import choose, reader_of
from assay_evaluators.existing.scoring import score_reads
from assay_evaluators.existing.types import Answer, ScenarioRead
from assay_evaluators.packs.loading import Pack
from assay_evaluators.sdk.dimension import Dimension, RowContext, load_dimension
from assay_evaluators.sdk.shards import FOLDER, OVERLENGTH, PLAN_FILE, GenerationStore
from assay_evaluators.sdk.types import Parsed

_OVERLENGTH = Parsed(Verdict.OVERLENGTH)
_DEFAULTS = {"prompt_profile": "standard", "sampling_profile": "standard", "seed": 0}


@dataclass(frozen=True)
class Stored:
    """One generation: a scenario of a subject under some profiles.

    Attributes:
        digest: Its identity.
        identity: What the digest stands for.
    """

    digest: str
    identity: Mapping[str, Any]

    @property
    def scenario(self) -> str:
        """Scenario."""
        return str(self.identity["scenario"])

    @property
    def model(self) -> str:
        """Artifact digest and engine, and what differs from the defaults."""
        subject = self.identity["subject"]
        engine = subject["engine"]
        name = f"{subject['artifact_digest']}@{engine['family']}-{engine['version']}"
        extra = [f"{k}={self.identity.get(k)}" for k in _DEFAULTS
                 if self.identity.get(k, _DEFAULTS[k]) != _DEFAULTS[k]]  # fmt: skip
        template = self.identity.get("paper_template")
        if template:
            extra.append(f"template={template['name']}")
        return "+".join([name, *extra])


def score_existing(
    dimension: str,
    generations: Path,
    *,
    pack: str = "",
    model: str = "",
    parser: str = "",
    allow_incomplete: bool = False,
) -> dict[str, Any]:
    """Scores what Assay stored of one subject on one dimension.

    Args:
        dimension: Id of the dimension.
        generations: A data root, or its `generations` folder.
        pack: Pack with the rows that were asked.
        model: The subject, as the error lists it, or the beginning of its digest; may be empty if
            there is one.
        parser: Parser version; empty means the dimension's default.
        allow_incomplete: Give the mean over what is there.

    Returns:
        The document that `assay score --json` prints.

    Raises:
        NotFound: If there are no generations.
        InvalidArgument: If there are several subjects, or the pack has other rows.
        DataLoss: If a shard cannot be read.
    """
    if not pack:
        raise InvalidArgument.of(
            "pack", "is needed: shards hold no labels", remedy="name the pack that was asked"
        )
    reader = reader_of(dimension)
    loaded = load_dimension(reader.dimension)
    version = loaded.parser(parser)
    store = ObjectStore(str(_data_root(generations)))
    found = [each for each in _stored(store) if each.identity.get("dimension") == reader.dimension]
    chosen = choose(sorted({each.model for each in found}), model, str(generations))
    opened = Pack.open(pack)
    reads, files, notes = [], [], []
    for each in (stored for stored in found if stored.model == chosen):
        read = _read(loaded, opened, store, each)
        if read.n < read.n_expected:
            notes.append(f"{read.scenario}: {read.n} of {read.n_expected} rows were asked")
        reads.append(read)
        files.append(_file_document(store, each, read))
    result = score_reads(
        reader,
        loaded,
        version,
        opened.prompts(),
        reads,
        metric=_metric_id(loaded, reader.metric_id(version.version), reads),
        allow_incomplete=allow_incomplete,
    )
    return {
        "dimension": reader.dimension,
        "model": chosen,
        "parser": version.version,
        **result,
        "files": files,
        "unscored_files": [],
        "unknown_files": [],
        "rows_from": pack,
        "notes": notes,
        "original": [],
    }


def _data_root(path: Path) -> Path:
    path = path.expanduser()
    if path.name == FOLDER:
        return path.parent
    if not (path / FOLDER).is_dir() and (path / "data" / FOLDER).is_dir():
        return path / "data"
    return path


def _stored(store: ObjectStore) -> Iterator[Stored]:
    for key in store.list(FOLDER):
        if key.endswith(f"/{PLAN_FILE}"):
            document = store.read_json(key)
            yield Stored(document["digest"], document["identity"])


def _read(dimension: Dimension, pack: Pack, store: ObjectStore, stored: Stored) -> ScenarioRead:
    """Completions joined with the rows of the pack by sample id."""
    scenario = stored.scenario
    entry = pack.scenario(dimension.name, scenario)
    rows_digest = pack.file_digest(entry.file) if entry.file is not None else None
    if entry.file is None or rows_digest != stored.identity.get("rows"):
        raise InvalidArgument.of(
            "pack",
            f"has other rows of {scenario} than those that were asked",
            reason="PACK_ROWS_DIFFER",
            remedy="name the pack that the evaluation was made with",
        )
    rows = pack.rows(entry.file, dimension.row_model_of(scenario))
    seed = int(stored.identity.get("seed", 0))
    context = RowContext(pack, pack.prompts(), scenario, seed)
    samples = {sample.id: sample for sample in dimension.samples(rows, context)}
    wanted = dimension.sampling(scenario, str(stored.identity["sampling_profile"])).n
    read = ScenarioRead(scenario, max(entry.rows_expected, entry.rows))
    for completion in GenerationStore(store, stored.digest).completions():
        sample = samples.get(completion.sample_id)
        if sample is None or completion.completion_index >= wanted:
            continue
        overlength = completion.finish_reason == OVERLENGTH
        judged = (_OVERLENGTH, None) if overlength else None
        read.answers.append(
            Answer(sample, completion.completion_index, completion.text, judged=judged)
        )
    if len(read.answers) < read.n * wanted or not read.answers:
        read.gaps.append(f"{scenario}: {len(read.answers)} of {read.n * wanted} completions")
    return read


def _metric_id(dimension: Dimension, published: str, reads: Sequence[ScenarioRead]) -> str:
    """The published metric if its scenarios are there, else the first metric of which that holds.

    Runs of ours leave out the crime settings of fairness, and have AdvGLUE's development set where
    AdvGLUE++ is not at hand.
    """
    found = {read.scenario for read in reads}
    metrics = sorted(dimension.metrics, key=lambda metric: metric.id != published)
    return next((m.id for m in metrics if found.issuperset(m.scenarios)), published)


def _file_document(store: ObjectStore, stored: Stored, read: ScenarioRead) -> dict[str, Any]:
    if not read.answers:
        raise NotFound(
            f"the generation of {read.scenario} has no completions of the pack's rows",
            field="generations",
            remedy="run the evaluation first",
        )
    return {
        "path": GenerationStore(store, stored.digest).prefix,
        "layout": "assay",
        "scenario": read.scenario,
        "rows_found": read.n,
        "rows_expected": read.n_expected,
        "rows_joined": read.n,
        "rejected": {},
    }
