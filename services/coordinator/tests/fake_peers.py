"""Compression, serving and evaluators as small servers that keep their side of the contracts.

They run in the test process behind real sockets and the real shell (validation, errors), keep what
they made by content as the real ones do, and count work, so that a test can say that nothing was
done twice. They make no tensors and no text.

A `Gate` stops work half-way until the test lets it go on, so that a test acts at a moment, however
fast or slow the machine is.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from fake_evaluator import FakeEvaluator, Scenario
from fake_parts import TERMINAL, Gate, S, digest, watch

from assay_core.errors import FailedPrecondition, NotFound
from assay_core.pb import (
    compression_pb2,
    compression_pb2_grpc,
    evaluation_pb2_grpc,
    serving_pb2,
    serving_pb2_grpc,
)
from assay_core.recipes import Recipe
from assay_core.server import running
from assay_core.settings import ServiceSettings
from assay_core.storage import ObjectStore


class FakeCompression(compression_pb2_grpc.CompressionServiceServicer):
    def __init__(self) -> None:
        self.variants: dict[str, compression_pb2.Variant] = {}
        self.by_request: dict[str, str] = {}
        self.artifacts: dict[str, compression_pb2.Artifact] = {}
        self.made: list[tuple[str, str]] = []
        self.gate = Gate()
        self.failing: set[str] = set()
        self.tasks: dict[str, asyncio.Task] = {}

    async def CreateVariant(self, request, context):
        known = self.by_request.get(request.request_id)
        if known is None:
            known = f"variant-{len(self.variants)}"
            recipe = Recipe.from_proto(request.recipe)
            variant = compression_pb2.Variant(
                model=request.model, recipe=request.recipe, label=recipe.label()
            )
            variant.meta.id, variant.meta.state = known, S.STATE_QUEUED
            variant.calibration.CopyFrom(request.calibration)
            self.variants[known] = variant
            self.by_request[request.request_id] = known
            self.tasks[known] = asyncio.create_task(self._make(variant))
        return compression_pb2.CreateVariantResponse(variant=self.variants[known])

    async def _make(self, variant) -> None:
        recipe = Recipe.from_proto(variant.recipe)
        content = digest(variant.model.uri, recipe.label(), variant.calibration.seed)
        variant.cache_hit = content in self.artifacts
        if not variant.cache_hit:
            variant.meta.state = S.STATE_RUNNING
            variant.meta.progress.total, variant.meta.progress.unit = 4, "layers"
            for layer in range(4):
                if layer == 2:
                    await self.gate.passed(content)
                variant.meta.progress.completed = layer + 1
            if recipe.label() in self.failing:
                variant.meta.error.code = "INVALID_ARGUMENT"
                variant.meta.error.reason = "GROUP_SIZE"
                variant.meta.error.message = "group_size 128 does not divide 48"
                variant.meta.error.remedy = "use 16"
                variant.meta.state = S.STATE_FAILED
                return
            self.made.append((variant.model.uri, recipe.label()))
            bits = getattr(recipe.method, "bits", 16)
            self.artifacts[content] = compression_pb2.Artifact(
                uri=f"file:///artifacts/{content[7:]}",
                digest=content,
                bits_per_weight=float(bits),
                sparsity=getattr(recipe.method, "sparsity", 0.0),
                architecture="LlamaForCausalLM",
                bytes=1000,
            )
        variant.artifact.CopyFrom(self.artifacts[content])
        variant.meta.state = S.STATE_SUCCEEDED

    def _find(self, id):
        if id not in self.variants:
            raise NotFound("no such variant")
        return self.variants[id]

    async def GetVariant(self, request, context):
        return compression_pb2.GetVariantResponse(variant=self._find(request.id))

    async def ListVariants(self, request, context):
        done = [v for v in self.variants.values() if v.meta.state == S.STATE_SUCCEEDED]
        wanted = re.search(r'artifact = "([^"]*)"', request.options.filter)
        if wanted is not None:
            done = [v for v in done if v.artifact.digest == wanted[1]]
        return compression_pb2.ListVariantsResponse(variants=done)

    async def WatchVariant(self, request, context):
        variant = self._find(request.id)
        response = lambda: compression_pb2.WatchVariantResponse(variant=variant)  # noqa: E731
        async for update in watch(variant, response):
            yield update

    async def CancelVariant(self, request, context):
        variant = self._find(request.id)
        if variant.meta.state not in TERMINAL:
            self.tasks[request.id].cancel()
            variant.meta.state = S.STATE_CANCELLED
        return compression_pb2.CancelVariantResponse(variant=variant)


@dataclass
class Held:
    model_id: str
    digest: str
    expires: float


class FakeServing(serving_pb2_grpc.ServingServiceServicer):
    """One engine: a swap waits until no lease on another artifact is held."""

    def __init__(self) -> None:
        self.models: dict[str, serving_pb2.Model] = {}
        self.leases: dict[str, Held] = {}
        self.resident = ""
        self.endpoints = {"partner-a", "partner-b"}
        self.asked: list[serving_pb2.LoadModelRequest] = []
        self.loads: list[str] = []
        self.released: list[float] = []
        self.measures = True
        self.profiled: list[tuple[str, serving_pb2.ProfileModelRequest]] = []
        self.numbers = itertools.count()
        self.requests: dict[str, serving_pb2.LoadModelResponse] = {}
        self.gate = Gate()
        self.tasks: set[asyncio.Task] = set()

    def _alive(self, lease_id: str) -> bool:
        held = self.leases.get(lease_id)
        return held is not None and held.expires > time.monotonic()

    def held(self) -> list[str]:
        """Leases that keep the engine from others."""
        return [lease_id for lease_id in self.leases if self._alive(lease_id)]

    def valid(self, lease_id: str, artifact: str) -> bool:
        alive = self._alive(lease_id)
        return alive and self.leases[lease_id].digest == artifact == self.resident

    def forget(self) -> None:
        """What a restart of the serving service does to its leases."""
        self.leases.clear()
        self.resident = ""

    async def DescribeEngine(self, request, context):
        if request.endpoint:
            if request.endpoint not in self.endpoints:
                known = ", ".join(sorted(self.endpoints))
                raise NotFound.of(
                    "endpoint", "names no endpoint of this project", remedy=f"use one of {known}"
                )
            return serving_pb2.DescribeEngineResponse(
                engine=serving_pb2.EngineIdentity(family="external", device_class="external"),
                artifact_digest=digest("endpoint", request.endpoint),
            )
        return serving_pb2.DescribeEngineResponse(
            engine=serving_pb2.EngineIdentity(
                family="vllm-cpu", version="0.32", dtype="float32", kv_cache_dtype="auto",
                max_model_len=8192, device_class="cpu",
            ),
            tokenizer_digest=digest("tokenizer"),
            chat_template_digest=digest("template"),
        )  # fmt: skip

    async def LoadModel(self, request, context):
        self.asked.append(request)
        known = self.requests.get(request.request_id)
        if known is not None and self._alive(known.lease.id):
            return known
        number = next(self.numbers)
        model = serving_pb2.Model(artifact_digest=request.artifact_digest)
        model.meta.id, model.meta.state = f"model-{number}", S.STATE_QUEUED
        self.models[model.meta.id] = model
        lease = serving_pb2.Lease(
            id=f"lease-{number}", model_id=model.meta.id, artifact_digest=request.artifact_digest
        )
        end = time.monotonic() + request.lease_ttl.ToNanoseconds() / 1e9
        self.leases[lease.id] = Held(model.meta.id, model.artifact_digest, end)
        self.tasks.add(asyncio.create_task(self._load(model, lease)))
        self.requests[request.request_id] = serving_pb2.LoadModelResponse(model=model, lease=lease)
        return self.requests[request.request_id]

    async def _load(self, model, lease) -> None:
        number = int(model.meta.id[6:])

        def taken() -> bool:
            """Whether an earlier lease on other weights is still held."""
            return any(
                held.digest != model.artifact_digest
                and held.expires > time.monotonic()
                and int(held.model_id[6:]) < number
                for held in self.leases.values()
            )

        while taken():  # noqa: ASYNC110 - leases also end by time
            await asyncio.sleep(0.02)
        if lease.id not in self.leases:
            model.meta.state = S.STATE_CANCELLED
            return
        model.meta.state = S.STATE_RUNNING
        await self.gate.passed(model.artifact_digest)
        if self.resident != model.artifact_digest:
            self.loads.append(model.artifact_digest)
        self.resident = model.artifact_digest
        model.meta.state = S.STATE_SUCCEEDED

    async def GetModel(self, request, context):
        return serving_pb2.GetModelResponse(model=self.models[request.id])

    async def WatchModel(self, request, context):
        model = self.models[request.id]
        response = lambda: serving_pb2.WatchModelResponse(model=model)  # noqa: E731
        async for update in watch(model, response):
            yield update

    async def ProfileModel(self, request, context):
        held = self.leases.get(request.lease_id)
        if held is None or not self.measures:
            raise FailedPrecondition("there is nothing to measure")
        self.profiled.append((held.digest, request))
        response = serving_pb2.ProfileModelResponse(tokens_per_second=640, memory_bytes=1 << 30)
        response.ttft_p50.FromMilliseconds(20)
        response.ttft_p95.FromMilliseconds(35)
        return response

    async def RenewLease(self, request, context):
        held = self.leases.get(request.lease_id)
        if held is None or held.expires < time.monotonic():
            raise NotFound("there is no such lease")
        held.expires = time.monotonic() + request.lease_ttl.ToNanoseconds() / 1e9
        return serving_pb2.RenewLeaseResponse(lease=serving_pb2.Lease(id=request.lease_id))

    async def ReleaseLease(self, request, context):
        if self.leases.pop(request.lease_id, None) is not None:
            self.released.append(time.monotonic())
        return serving_pb2.ReleaseLeaseResponse()


class World:
    """Every peer of a coordinator, listening."""

    def __init__(self, folder: Path, dimensions=("ethics", "fairness")) -> None:
        self.folder = folder
        self.data = ObjectStore((folder / "data").as_uri())
        self.compression = FakeCompression()
        self.serving = FakeServing()
        self.evaluators = {
            name: FakeEvaluator(name, self.serving, self.data) for name in dimensions
        }
        self.addresses: dict[str, str] = {}
        self.model = ""  # of the test that runs
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> World:
        add = compression_pb2_grpc.add_CompressionServiceServicer_to_server
        await self._serve("compression", self.compression, add)
        add = serving_pb2_grpc.add_ServingServiceServicer_to_server
        await self._serve("serving", self.serving, add)
        add = evaluation_pb2_grpc.add_EvaluationServiceServicer_to_server
        for name, evaluator in self.evaluators.items():
            await self._serve(name, evaluator, add)
        return self

    async def __aexit__(self, *exception) -> None:
        await self._exit.aclose()

    async def _serve(self, name, servicer, add) -> None:
        settings = ServiceSettings(
            listen="127.0.0.1:0", metrics_listen="off", home=self.folder / "peers",
            drain_seconds=0, reflection=False, log_level="error",
        )  # fmt: skip

        def register(server):
            add(servicer, server)
            return [f"fake.{name}"]

        server = await self._exit.enter_async_context(running(settings, name, register))
        self.addresses[name] = server.address

    def reset(self) -> None:
        """Every knob as it was; what was made stays, as it would."""
        self.compression.failing.clear()
        self.compression.gate.open()
        self.serving.gate.open()
        for evaluator in self.evaluators.values():
            evaluator.gate.open()
            evaluator.broken = ""
            evaluator.scenarios = (Scenario("zero_shot"), Scenario("few_shot"))

    def hold(self, *labels: str) -> None:
        """Stop the evaluations of these variants, or all, half-way."""
        for evaluator in self.evaluators.values():
            evaluator.gate.hold(*(self.artifact(self.model, label) for label in labels))

    def open(self) -> None:
        """Let every evaluation go on."""
        for evaluator in self.evaluators.values():
            evaluator.gate.open()

    def artifact(self, model: str, label: str, seed: int = 0) -> str:
        return digest(model, label, seed)
