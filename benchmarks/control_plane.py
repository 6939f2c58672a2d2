"""What the coordinator itself costs (`make bench-control`): peers are stubs behind real sockets.

Prints samples/s from plan to comparison through a real coordinator process, the time to list 1,000
studies, to take a study of 100,000 finished samples up again after `kill -9`, and to free the
engine on a cancel. Peers keep their side of the contracts and make neither tensors nor text, so the
numbers are the control plane's own; beside each wall time stands the processor time of the
coordinator, which other work on the machine does not move. A benchmark, not a test: it prints, and
says what the bar is.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "services" / "coordinator" / "tests")]

import psutil  # noqa: E402
from conftest import Coordinator  # noqa: E402
from fake_peers import Scenario, World  # noqa: E402

from assay_coordinator.domain.study_file import load_study  # noqa: E402
from assay_coordinator.store import StudyRecords  # noqa: E402
from assay_coordinator.wire.study import spec_message  # noqa: E402
from assay_core.pb import coordination_pb2 as pb  # noqa: E402

STUDY = """
name: bench
models: [MODEL]
recipes: [dense, {gptq: {bits: [8, 3]}}]
dimensions: [ethics, fairness]
pack: demo
"""


async def main(samples: int, studies: int) -> None:
    """Run the benchmarks one after the other and print a line each."""
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as folder:
        async with World(Path(folder)) as world:
            coordinator = Coordinator(world)
            coordinator.extra = {"ASSAY_COORDINATOR_MAX_ACTIVE_STUDIES": "64"}
            await coordinator.start()
            try:
                say(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores")
                await throughput(coordinator, samples)
                await resume(coordinator, samples)
                await cancel(coordinator)
                await listing(coordinator, studies)
            finally:
                await coordinator.close()


class Meter:
    """Wall time since it was made, and processor time of the coordinator."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._process = psutil.Process(coordinator.process.pid)
        self._wall = time.perf_counter()
        self.used = self._now()

    def _now(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def read(self) -> tuple[float, float]:
        """Seconds of wall and of processor."""
        return time.perf_counter() - self._wall, max(0.01, self._now() - self.used)


async def throughput(coordinator: Coordinator, samples: int) -> None:
    """Samples per second from CreateStudy to the report, over 3 variants x 2 dimensions."""
    size(coordinator.world, samples // 12)
    meter = Meter(coordinator)
    study = await coordinator.create(spec("throughput"))
    study = await coordinator.finished(study.meta.id)
    wall, used = meter.read()
    done = study.meta.progress.completed
    say(
        f"{done:,} samples in {wall:.1f} s, {used:.1f} s of processor: {done / wall:,.0f} "
        f"samples/s of wall time, {done / used:,.0f} of processor time (bar 5,000)"
    )


async def resume(coordinator: Coordinator, samples: int) -> None:
    """From the start of a killed coordinator to its next request for work."""
    world = coordinator.world
    size(world, samples // 12)
    world.model = "resume"
    world.hold("gptq-3bit-g128")
    study = await coordinator.create(spec("resume"))
    half = samples // 12

    def last_variant(found: pb.Study) -> bool:
        evaluations = [e for variant in found.variants[2:3] for e in variant.evaluations]
        return len(evaluations) == 2 and all(e.progress.completed >= half for e in evaluations)

    found = await coordinator.until(study.meta.id, last_variant, 600)
    coordinator.kill()
    asked = [evaluator.asked for evaluator in world.evaluators.values()]
    began = time.perf_counter()
    starting = asyncio.create_task(coordinator.start())
    while [e.asked for e in world.evaluators.values()] == asked:  # noqa: ASYNC110 - measures it
        await asyncio.sleep(0.01)
    seconds = time.perf_counter() - began
    used = Meter(coordinator).used
    await starting
    world.open()
    await coordinator.finished(study.meta.id)
    say(
        f"resume with {found.meta.progress.completed:,} finished samples: {seconds:.2f} s, "
        f"{used:.2f} s of processor, from the start of the process to the next request (bar 5 s)"
    )


async def cancel(coordinator: Coordinator) -> None:
    """From CancelStudy to the lease given back."""
    world = coordinator.world
    size(world, 60)
    world.model = "cancel"
    world.hold("dense")
    study = await coordinator.create(spec("cancel"))
    await coordinator.until(study.meta.id, lambda _: bool(world.serving.held()))
    began = time.perf_counter()
    await coordinator.call("CancelStudy", pb.CancelStudyRequest(id=study.meta.id))
    while world.serving.held():  # noqa: ASYNC110 - measures when it ends
        await asyncio.sleep(0.01)
    say(f"cancel freed the engine in {time.perf_counter() - began:.2f} s (bar 5 s)")
    world.open()
    await coordinator.finished(study.meta.id)


async def listing(coordinator: Coordinator, studies: int) -> None:
    """ListStudies over a project of many studies, one page of all."""
    records = StudyRecords(f"sqlite:///{coordinator.home}/db/coordinator.sqlite")
    parsed = load_study(STUDY.replace("MODEL", "listed"))
    for number in range(studies):
        record, _ = await records.create(f"study-l{number:06d}", "listed", "", parsed)
        await records.update(record.id, state=record.state.SUCCEEDED)
    await records.close()
    request = pb.ListStudiesRequest(project="listed")
    request.options.page_size = min(studies, 1000)
    rounds = []
    for _ in range(5):
        meter = Meter(coordinator)
        page = await coordinator.call("ListStudies", request)
        rounds.append(meter.read())
    wall, used = sorted(rounds)[2]
    say(
        f"list of {len(page.studies):,} studies: {1000 * wall:.0f} ms, {1000 * used:.0f} ms of "
        "processor (bar 200 ms)"
    )


def spec(model: str) -> pb.StudySpec:
    """The study on a model of its own, so that nothing is found stored."""
    return spec_message(load_study(STUDY.replace("MODEL", model)))


def size(world: World, samples: int) -> None:
    """Samples per scenario; each evaluator has two scenarios."""
    for evaluator in world.evaluators.values():
        evaluator.scenarios = (Scenario("zero_shot", samples), Scenario("few_shot", samples))


def say(text: str) -> None:
    """A line of the result."""
    print(text, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--studies", type=int, default=1000)
    options = parser.parse_args()
    asyncio.run(main(options.samples, options.studies))
