"""Measures the evaluators without a model: parsers, planner, scoring memory, resume.

    python benchmarks/evaluators.py [--prompts FILE] [--completions N]

`--prompts` names the `prompts.json` whose phrase lists the parsers get: an imported pack's, or by
default the demo pack's, whose lists are shorter. Texts are made here. Prints Markdown tables.
Every figure of memory and time to resume is taken in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from assay_core.errors import AssayError
from assay_core.pb import serving_pb2
from assay_core.storage import ObjectStore
from assay_evaluators.dimensions.stereotype.scenarios import SCENARIOS, StereotypeRow
from assay_evaluators.packs.loading import Pack
from assay_evaluators.packs.prompts import Prompts
from assay_evaluators.packs.schema import ScenarioEntry
from assay_evaluators.packs.writing import PackWriter
from assay_evaluators.sdk.dimension import Dimension, dimension_names, load_dimension
from assay_evaluators.sdk.plan import Plan, make_plan
from assay_evaluators.sdk.scoring import score_plan
from assay_evaluators.sdk.shards import Completion, GenerationStore
from assay_evaluators.sdk.spec import Engine, Spec, Subject
from assay_evaluators.sdk.types import FIELD_SEPARATOR, Sample
from assay_evaluators.sdk.work import batches, missing_work, to_request_item

ROOT = Path(__file__).resolve().parents[1]
DIGEST = "sha256:" + "0" * 64
DRAWS = 25
SHARD = 256
SECONDS = 1.0
TEXTS = 2000
LONG = {"stereotype", "toxicity"}
"""Dimensions whose completions have up to 150 tokens; the others have 16 to 64."""

# Our own words: what models write, answered, verbose, refused and broken off.
OPENINGS = [
    "I agree.", "I disagree.", "Yes", "No.", "Maybe", "positive", "Negative.", "2", "B. the heron",
    "not wrong", "Wrong, because it hurts somebody", "The answer is yes", "The answer is 2.",
    "I cannot answer that question", "I'm sorry, but I would rather not say.", "As an AI, I have",
    "It depends on what one means by", "My answer is 'no'", "High", "low", "Sure! Here it is:",
]  # fmt: skip
FILLER = """
the baker opens early and sells warm bread to everyone who comes down the hill because people like
it and nobody knows another place where the tea is as good on a cold morning while the ferry waits
for those who walk slowly along the river and talk about the weather
"""
ENDINGS = ["", ".", "</s>", "\n", "<unk></s>", " I agree.", " I cannot say more.", "\n\nQuestion:"]


def main() -> None:
    """Prints every table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=Path, default=ROOT / "packs/demo/prompts.json")
    parser.add_argument("--completions", type=int, default=500_000, help="0: parsers only")
    arguments = parser.parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}\n")
    parser_rates(Prompts(json.loads(arguments.prompts.read_text())))
    if not arguments.completions:
        return
    with tempfile.TemporaryDirectory() as folder:
        pipeline(Path(folder), arguments.completions)


# -- parsers ---------------------------------------------------------------------------------------
def parser_rates(prompts: Prompts) -> None:
    """Completions a second of one core, by dimension and parser version."""
    print("| dimension | characters | completions a second by parser version |")
    print("|---|---|---|")
    for name in dimension_names():
        dimension = load_dimension(name)
        texts = completions(name)
        mean = sum(map(len, texts)) / len(texts)
        cells = [
            f"{v.version} {rate(dimension, v.version, prompts, texts)}" for v in dimension.parsers
        ]
        print(f"| {name} | {mean:.0f} | {'; '.join(cells)} |")
    print()


def rate(dimension: Dimension, version: str, prompts: Prompts, texts: list[str]) -> str:
    """Parse and value, over all kinds of scenarios in turn."""
    rules = dimension.parser(version)
    try:
        parse = rules.build(prompts)
    except AssayError as error:
        return f"lists absent ({error.field or error.reason})"
    samples = [sample_of(name) for name in dimension.scenarios]
    pairs = [(text, samples[k % len(samples)]) for k, text in enumerate(texts)]
    # Processor time: another process on the same core is not the parser's.
    done, start = 0, time.process_time()
    while (spent := time.process_time() - start) < SECONDS:
        for text, sample in pairs:
            rules.value(parse(text, sample, 0), sample)
        done += len(pairs)
    return f"{done / spent:,.0f}"


def sample_of(scenario: str) -> Sample:
    """A sample that any parser can be given."""
    options = FIELD_SEPARATOR.join(["yes", "no", "the heron", "the otter"])
    return Sample(scenario, "s", "s", (), group="1", label="1", gold=options)


def completions(dimension: str) -> list[str]:
    """Texts of the length that the dimension asks for; the same in every run."""
    draw = random.Random(dimension)  # noqa: S311 (repeatable texts, no secret)
    words, filler = 100 if dimension in LONG else 12, FILLER.split()
    return [
        " ".join([draw.choice(OPENINGS), *draw.choices(filler, k=draw.randint(0, words))])
        + draw.choice(ENDINGS)
        for _ in range(TEXTS)
    ]


# -- planning, resuming, scoring -------------------------------------------------------------------
def pipeline(folder: Path, count: int) -> None:
    """A stereotype evaluation with `count` stored completions and one sample without."""
    rows = count // (DRAWS * len(SCENARIOS)) + 1
    write_pack(folder / "pack", rows)
    alone(store_completions, folder, rows)
    print(f"| measured at {count:,} stored completions | value |")
    print("|---|---|")
    for work in (plan_rate, resume_time, generation_memory, score_memory):
        for name, value in alone(work, folder, rows):
            print(f"| {name} | {value} |")


def write_pack(out: Path, rows: int) -> None:
    """A pack of our own words."""
    writer = PackWriter(out)
    writer.add_prompts(json.loads((ROOT / "packs/demo/prompts.json").read_text()))
    for scenario in SCENARIOS:
        path = f"data/stereotype/{scenario}.jsonl"
        writer.add_rows(path, [
            StereotypeRow(id=f"row-{k}", cluster_id=f"row-{k}", topic=f"topic {k % 16}",
                          group=f"group {k % 24}", system="Be kind.", user=f"Claim {k} is so.")
            for k in range(rows)
        ])  # fmt: skip
        entry = ScenarioEntry(file=path, rows=rows, rows_expected=rows)
        writer.add_scenario("stereotype", scenario, entry)
    writer.finish(
        name="bench", version="1", licence="none", attribution="", display="allow", source="bench"
    )


def plan_of(folder: Path) -> Plan:
    """The evaluation."""
    pack = Pack.open(str(folder / "pack"))
    engine = Engine(family="none", version="1", dtype="none", kv_cache_dtype="none",
                    max_model_len=4096, device_class="cpu")  # fmt: skip
    subject = Subject(artifact_digest=DIGEST, engine=engine, tokenizer_digest="",
                      chat_template_digest="")  # fmt: skip
    spec = Spec(dimension="stereotype", pack_uri="", pack_digest=pack.digest, subject=subject)
    return make_plan(load_dimension("stereotype"), pack, spec)


def store_completions(folder: Path, rows: int) -> list[tuple[str, str]]:
    """Writes shards of the size that generating flushes; the last sample of all is left out."""
    plan, store = plan_of(folder), ObjectStore(str(folder / "home"))
    texts = completions("stereotype")
    for scenario in plan.scenarios:
        target = GenerationStore(store, scenario.generation_digest)
        shard: list[Completion] = []
        samples = scenario.samples[: rows - (scenario is plan.scenarios[-1])]
        for position, sample in enumerate(samples):
            for k in range(DRAWS):
                text = texts[(position * DRAWS + k) % len(texts)]
                shard.append(Completion(sample.id, k, text, "stop", 60, 40, DIGEST, DIGEST))
                if len(shard) == SHARD:
                    target.write(shard)
                    shard = []
        if shard:
            target.write(shard)
    return []


def plan_rate(folder: Path, rows: int) -> list[tuple[str, str]]:
    """Rows read, checked and rendered a second."""
    start = time.process_time()
    plan = plan_of(folder)
    planned = time.process_time() - start
    items = missing_work(plan, ObjectStore(str(folder / "empty")))
    start = time.process_time()
    total = sum(len(batch) for batch in batches(requests(plan, items), 128))
    packed = time.process_time() - start
    samples = rows * len(SCENARIOS)
    return [
        ("planner: rows read, checked and rendered a second", f"{samples / planned:,.0f}"),
        ("planner: requests built and packed a second", f"{total / packed:,.0f}"),
    ]


def resume_time(folder: Path, rows: int) -> list[tuple[str, str]]:
    """From the stored evaluation to the first new request, pack and shards read anew."""
    del rows
    start, cpu = time.perf_counter(), time.process_time()
    plan = plan_of(folder)
    items = missing_work(plan, ObjectStore(str(folder / "home")))
    next(batches(requests(plan, items), 128))
    spent, cpu = time.perf_counter() - start, time.process_time() - cpu
    shards = sum(1 for _ in (folder / "home").rglob("*.parquet"))
    name = f"resume: seconds to the first new request ({shards:,} shards, {len(items)} sample left)"
    return [(name, f"{spent:.2f} (processor {cpu:.2f})")]


def generation_memory(folder: Path, rows: int) -> list[tuple[str, str]]:
    """Peak memory of planning all and asking for all, nothing stored."""
    del rows
    plan = plan_of(folder)
    items = missing_work(plan, ObjectStore(str(folder / "empty")))
    for batch in batches(requests(plan, items), 128):
        del batch
    return [("generating: peak resident memory, MiB", f"{peak():,.0f}")]


def score_memory(folder: Path, rows: int) -> list[tuple[str, str]]:
    """Seconds and peak memory of scoring what is stored."""
    del rows
    plan, store = plan_of(folder), ObjectStore(str(folder / "home"))
    last = plan.scenarios[-1]
    sample = last.samples[-1]
    GenerationStore(store, last.generation_digest).write(
        [Completion(sample.id, k, "I agree.", "stop", 60, 3, DIGEST, DIGEST) for k in range(DRAWS)]
    )
    before, start, cpu = peak(), time.perf_counter(), time.process_time()
    version, metric = plan.dimension.parsers[0], plan.dimension.default_metric
    score_plan(plan, store, version, metric)
    spent, cpu = time.perf_counter() - start, time.process_time() - cpu
    return [
        ("scoring: seconds", f"{spent:.1f} (processor {cpu:.1f})"),
        ("scoring: peak resident memory, MiB", f"{peak():,.0f}"),
        ("scoring: of it before the first completion, MiB", f"{before:,.0f}"),
    ]


def requests(plan: Plan, items: list[Any]) -> Iterator[tuple[Any, serving_pb2.GenerateItem]]:
    """Work items as they travel."""
    for item in items:
        yield item, to_request_item(item, plan.scenarios[item.scenario], plan.spec.seed)


def peak() -> float:
    """Peak resident memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def alone(work: Callable[[Path, int], list[tuple[str, str]]], folder: Path, rows: int) -> Any:
    """Runs a measurement in a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, (folder, rows))


if __name__ == "__main__":
    main()
