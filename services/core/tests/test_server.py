"""The shell around a service, over a real socket: errors, validation, health, metrics, drain."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import nullcontext

import grpc
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from assay_core.client import call, channel, stream
from assay_core.context import new_context, set_context
from assay_core.errors import (
    AssayError,
    DeadlineExceeded,
    FailedPrecondition,
    FieldViolation,
    Internal,
    InvalidArgument,
    NotFound,
    OutOfRange,
    ResourceExhausted,
    Unavailable,
    Unimplemented,
)
from assay_core.logs import configure_logging, get_logger
from assay_core.pb import (
    compression_pb2,
    compression_pb2_grpc,
    coordination_pb2,
    coordination_pb2_grpc,
    serving_pb2,
    serving_pb2_grpc,
)
from assay_core.server import Register, running
from assay_core.settings import ServiceSettings

COMPRESSION = "assay.compression.v1.CompressionService"
SERVING = "assay.serving.v1.ServingService"
SECRET_TEXT = "the prompt that nobody may see"

SERVING_STATUS = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def get(variant: str) -> compression_pb2.GetVariantRequest:
    return compression_pb2.GetVariantRequest(id=variant)


async def scrape(port: int) -> str:
    def read() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
            return page.read().decode()

    return await asyncio.to_thread(read)


async def test_an_answer_comes_back_with_the_callers_trace(
    settings: ServiceSettings, register: Register
) -> None:
    async with running(settings, "core", register) as server, channel(server.address) as to:
        trace = new_context()
        set_context(trace)
        answer = await call(compression_pb2_grpc.CompressionServiceStub(to).GetVariant, get("a"))
        set_context(None)
        assert answer.variant.meta.id == "a"
        assert answer.variant.label == trace.trace_id


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ("missing", NotFound("variant missing does not exist", resource="variant/missing")),
        ("busy", ResourceExhausted("the queue is full", field="queue", retry_after=2.5)),
        ("abort", OutOfRange("past the end")),
    ],
)
async def test_a_servicers_error_arrives_as_the_same_error(
    settings: ServiceSettings, variant: str, expected: AssayError, register: Register
) -> None:
    async with running(settings, "core", register) as server, channel(server.address) as to:
        stub = compression_pb2_grpc.CompressionServiceStub(to)
        with pytest.raises(type(expected)) as caught:
            await call(stub.GetVariant, get(variant))
        assert caught.value == expected


async def test_a_defect_is_internal_with_a_request_id_and_no_content(
    settings: ServiceSettings, capfd: pytest.CaptureFixture[str], register: Register
) -> None:
    async with running(settings, "core", register) as server, channel(server.address) as to:
        stub = compression_pb2_grpc.CompressionServiceStub(to)
        trace = new_context()
        set_context(trace)
        with pytest.raises(Internal) as unary:
            await call(stub.GetVariant, get(f"bug {SECRET_TEXT}"))
        with pytest.raises(Internal) as streamed:
            async for _ in stream(
                stub.WatchVariant,
                compression_pb2.WatchVariantRequest(id=f"bug {SECRET_TEXT}"),
                timeout=5,
            ):
                pass
        set_context(None)
    for caught in (unary, streamed):
        assert caught.value.metadata == {"request_id": trace.request_id}
        assert SECRET_TEXT not in repr(vars(caught.value))
    logged = capfd.readouterr()
    assert SECRET_TEXT not in logged.err + logged.out


async def test_field_rules_are_checked_before_the_servicer(
    settings: ServiceSettings, register: Register
) -> None:
    async with running(settings, "core", register) as server, channel(server.address) as to:
        stub = compression_pb2_grpc.CompressionServiceStub(to)
        request = compression_pb2.CreateVariantRequest(
            model={"uri": "demo"}, recipe={"gptq": {"bits": 5}}
        )
        with pytest.raises(InvalidArgument) as caught:
            await call(stub.CreateVariant, request)
        assert caught.value.reason == "INVALID_FIELD"
        assert caught.value.violations == (
            FieldViolation("recipe.gptq.bits", "must be in list [2, 3, 4, 8]"),
        )


async def test_every_message_of_a_request_stream_is_checked(
    settings: ServiceSettings, register: Register
) -> None:
    good = serving_pb2.GenerateRequest(items=[{"id": "a", "text": "x"}])
    bad = serving_pb2.GenerateRequest(
        items=[{"id": "a", "text": "x"}, {"id": "b", "text": SECRET_TEXT, "n": 999}]
    )

    async def requests():
        yield good
        yield bad

    async with running(settings, "core", register) as server, channel(server.address) as to:
        stub = serving_pb2_grpc.ServingServiceStub(to)
        answered = 0
        with pytest.raises(InvalidArgument) as caught:
            async for _ in stream(stub.Generate, requests(), timeout=5):
                answered += 1
        assert answered == 1
        assert [violation.field for violation in caught.value.violations] == ["items[1].n"]
        assert SECRET_TEXT not in str(caught.value)


async def test_a_message_that_does_not_parse_is_the_callers_mistake(
    settings: ServiceSettings, register: Register
) -> None:
    async with (
        running(settings, "core", register) as server,
        grpc.aio.insecure_channel(server.address) as to,
    ):
        raw = to.unary_unary(f"/{COMPRESSION}/GetVariant")
        with pytest.raises(InvalidArgument) as caught:
            await call(raw, b"\xff\xff\xff")
        assert caught.value.reason == "MALFORMED_MESSAGE"


async def test_a_message_over_4_mib_is_refused(
    settings: ServiceSettings, register: Register
) -> None:
    async with (
        running(settings, "core", register) as server,
        grpc.aio.insecure_channel(server.address) as to,
    ):
        raw = to.unary_unary(f"/{COMPRESSION}/GetVariant")
        with pytest.raises(ResourceExhausted):
            await call(raw, b"\x0a" + b"x" * (4 * 1024 * 1024 + 1))


async def test_what_is_not_implemented_says_so(
    settings: ServiceSettings, register: Register
) -> None:
    async with running(settings, "core", register) as server, channel(server.address) as to:
        with pytest.raises(Unimplemented):
            await call(
                coordination_pb2_grpc.CoordinationServiceStub(to).GetStudy,
                coordination_pb2.GetStudyRequest(id="x"),
            )


async def test_a_deadline_is_an_error_of_ours(
    settings: ServiceSettings, register: Register
) -> None:
    async with running(settings, "core", register) as server, channel(server.address) as to:
        stub = compression_pb2_grpc.CompressionServiceStub(to)
        with pytest.raises(DeadlineExceeded):
            await call(stub.GetVariant, get("forever"), timeout=0.2)


async def test_an_absent_server_is_unavailable() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    async with channel(address) as to:
        with pytest.raises(Unavailable):
            await call(
                compression_pb2_grpc.CompressionServiceStub(to).GetVariant, get("a"), timeout=5
            )


async def test_health_answers_by_service_and_for_the_whole(
    settings: ServiceSettings, register: Register
) -> None:
    async with running(settings, "core", register) as server, channel(server.address) as to:
        stub = health_pb2_grpc.HealthStub(to)
        for name in ("", COMPRESSION, SERVING):
            answer = await call(stub.Check, health_pb2.HealthCheckRequest(service=name))
            assert answer.status == SERVING_STATUS
        with pytest.raises(NotFound):
            await call(stub.Check, health_pb2.HealthCheckRequest(service="no.Such"))


async def test_until_start_work_is_done_health_is_not_serving_and_calls_wait(
    settings: ServiceSettings, register: Register
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    to = channel(address)
    stub = compression_pb2_grpc.CompressionServiceStub(to)
    held: list[asyncio.Task[compression_pb2.GetVariantResponse]] = []

    async def on_start() -> None:
        health = health_pb2_grpc.HealthStub(to)
        answer = await call(health.Check, health_pb2.HealthCheckRequest())
        assert answer.status == NOT_SERVING
        with pytest.raises(DeadlineExceeded):
            await call(stub.GetVariant, get("a"), timeout=0.3)
        held.append(asyncio.create_task(call(stub.GetVariant, get("b"))))

    fixed = settings.model_copy(update={"listen": address, "metrics_listen": "off"})
    async with running(fixed, "core", register, on_start=on_start):
        assert [(await answer).variant.meta.id for answer in held] == ["b"]
    await to.close()


async def test_the_probe_port_answers_health_and_nothing_else(
    settings: ServiceSettings, register: Register
) -> None:
    probed = settings.model_copy(update={"health_listen": "127.0.0.1:0"})
    async with (
        running(probed, "core", register) as server,
        channel(f"127.0.0.1:{server.probe_port}") as to,
    ):
        answer = await call(health_pb2_grpc.HealthStub(to).Check, health_pb2.HealthCheckRequest())
        assert answer.status == SERVING_STATUS
        with pytest.raises(Unimplemented):
            await call(compression_pb2_grpc.CompressionServiceStub(to).GetVariant, get("a"))


@pytest.mark.parametrize("on", [True, False])
async def test_reflection_can_be_switched(
    settings: ServiceSettings, on: bool, register: Register
) -> None:
    async def ask():
        yield reflection_pb2.ServerReflectionRequest(list_services="")

    switched = settings.model_copy(update={"reflection": on})
    async with running(switched, "core", register) as server, channel(server.address) as to:
        stub = reflection_pb2_grpc.ServerReflectionStub(to)
        names: set[str] = set()
        try:
            async for answer in stream(stub.ServerReflectionInfo, ask(), timeout=5):
                names |= {service.name for service in answer.list_services_response.service}
        except Unimplemented:
            assert not on
        assert (COMPRESSION in names) is on


async def test_metrics_count_calls_by_method_and_code(
    settings: ServiceSettings, register: Register
) -> None:
    def value(page: str, series: str) -> float:
        found = re.search(rf"^{re.escape(series)} (\S+)$", page, re.MULTILINE)
        return float(found[1]) if found else 0.0

    labels = f'grpc_service="{COMPRESSION}",method="GetVariant"'
    done = f'assay_rpc_requests_total{{code="NOT_FOUND",{labels}}}'
    timed = f"assay_rpc_duration_seconds_count{{{labels}}}"
    async with running(settings, "core", register) as server, channel(server.address) as to:
        stub = compression_pb2_grpc.CompressionServiceStub(to)
        before = await scrape(server.metrics_port)
        for _ in range(3):
            with pytest.raises(NotFound):
                await call(stub.GetVariant, get("missing"))
        pending = asyncio.ensure_future(call(stub.GetVariant, get("slow")))
        await asyncio.sleep(0.2)
        after = await scrape(server.metrics_port)
        await pending
    assert value(after, done) - value(before, done) == 3
    assert value(after, timed) - value(before, timed) == 3
    assert value(after, f"assay_rpc_in_flight{{{labels}}}") == 1
    assert value(after, 'assay_server_ready{service="core"}') == 1
    assert "missing" not in after


async def test_a_drain_finishes_calls_and_ends_watches(
    settings: ServiceSettings, register: Register
) -> None:
    seen: list[str] = []
    settings = settings.model_copy(update={"drain_seconds": 20})

    async def on_drain() -> None:
        async with channel(address) as other:
            answer = await call(
                health_pb2_grpc.HealthStub(other).Check, health_pb2.HealthCheckRequest()
            )
            seen.append(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
            stub = compression_pb2_grpc.CompressionServiceStub(other)
            with pytest.raises(Unavailable, match="draining"):
                async for _ in stream(stub.WatchVariant, get_watch, timeout=20):
                    pass

    get_watch = compression_pb2.WatchVariantRequest(id="a")

    async def watch(to: grpc.aio.Channel) -> None:
        stub = compression_pb2_grpc.CompressionServiceStub(to)
        async for _ in stream(stub.WatchVariant, get_watch):
            watching.set()

    watching = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with running(settings, "core", register, on_drain=on_drain) as server:
        address = server.address
        to = channel(address)
        stub = compression_pb2_grpc.CompressionServiceStub(to)
        watcher = asyncio.ensure_future(watch(to))
        await watching.wait()
        slow = asyncio.ensure_future(call(stub.GetVariant, get("slow")))
        await asyncio.sleep(0.1)
        started = loop.time()
    assert loop.time() - started < settings.drain_seconds
    assert seen == ["NOT_SERVING"]
    assert (await slow).variant.meta.id == "slow"
    with pytest.raises(Unavailable) as ended:
        await watcher
    assert ended.value.reason == "DRAINING"
    await to.close()


async def test_a_taken_port_is_named(settings: ServiceSettings, register: Register) -> None:
    async with running(settings, "core", register) as server:
        second = settings.model_copy(update={"listen": server.address})
        with pytest.raises(FailedPrecondition) as caught:
            async with running(second, "core", register):
                pass
        assert caught.value.field == "listen"
        third = settings.model_copy(update={"metrics_listen": f"127.0.0.1:{server.metrics_port}"})
        with pytest.raises(FailedPrecondition) as caught:
            async with running(third, "core", register):
                pass
        assert caught.value.field == "metrics_listen"


@pytest.fixture
def default_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("default_logging")
def test_log_lines_are_json_with_ids_and_exceptions_without_messages(
    capfd: pytest.CaptureFixture[str],
) -> None:
    configure_logging("core")
    try:
        raise ValueError(SECRET_TEXT)
    except ValueError:
        get_logger("t").error("failed", exc_info=True)
        logging.getLogger("library").exception("library failed")
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == ["failed", "library failed"]
    for line in lines:
        assert line["error_type"] == "ValueError"
        assert line["service"] == "core"
        assert SECRET_TEXT not in json.dumps(line)


@pytest.mark.parametrize(("grace", "ending"), [(10.0, None), (0.0, Unavailable)])
async def test_a_call_under_way_has_the_grace_when_its_connection_is_of_age(
    settings: ServiceSettings,
    register: Register,
    grace: float,
    ending: type[AssayError] | None,
) -> None:
    aged = settings.model_copy(
        update={"max_connection_age_seconds": 0.05, "max_connection_age_grace_seconds": grace}
    )
    async with running(aged, "core", register) as server, channel(server.address) as to:
        stub = compression_pb2_grpc.CompressionServiceStub(to)
        with nullcontext() if ending is None else pytest.raises(ending):
            await call(stub.GetVariant, get("slow"))
