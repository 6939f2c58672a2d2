"""Ray and Ray Serve for the gateway: start small, deploy, swap, call, stop leaving nothing.

Only the process of `ray_host` imports it. What blocks is called from a worker thread. Whatever Ray
raises when a replica is gone becomes `EngineUnreachableError` here: its own exceptions carry
tracebacks.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import threading
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any, NoReturn

import psutil
import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from assay_core.errors import AssayError, Unavailable, from_document
from assay_core.logs import exception_facts, get_logger
from assay_serving.domain import EngineSpec, Failure, ReplicaStatus
from assay_serving.engine.arguments import gpus, replica_numbers
from assay_serving.engine.replica import EngineReplica
from assay_serving.leftovers import end_writers, own
from assay_serving.ray_paths import ray_directory
from assay_serving.runtime import EngineUnreachableError, RaySettings, engine_environment

_LOG = get_logger("assay.serving.ray")

# A fixed code version makes a deploy with another user_config a reconfiguration of the running
# replicas (an in-place swap). Serve would else give every deploy a random one and restart them.
CODE_VERSION = "1"

STATUS_TIMEOUT_SECONDS = 30.0
WATCH_SECONDS = 1.0
START_ATTEMPTS = 5
KILL_SECONDS = 10.0

ENGINE_NAME = re.compile(r"engine-[0-9a-f]{12}")
"""Name of an engine's application; see `description`."""

ABANDONED = 3
"""Exit code of the process after Ray or the gateway was lost."""

# Handles raise RuntimeError and TimeoutError for replicas that are gone or do not answer.
_UNREACHABLE = (RayError, RayServeException, RuntimeError, TimeoutError)

# Processes of Ray without which nothing of it goes on.
_VITAL = {"raylet", "gcs_server"}

_QUIET = {"log_to_driver": False, "logging_level": logging.WARNING}


class RayRuntime:
    """One Ray, one Serve instance, one Serve application per engine."""

    def __init__(self, settings: RaySettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._started = False
        self._ended = threading.Event()
        self._node: Any = None
        self._owned: int | None = None

    def ensure_started(self) -> bool:
        """Start Ray and Serve, or join the configured cluster. About 10 s the first time.

        Returns:
            Whether this call started it.

        Raises:
            EngineUnreachableError: It does not start.
            FailedPrecondition: Another server runs a local Ray in the same home.
        """
        logging.getLogger("ray").setLevel(logging.WARNING)
        with self._lock:
            if self._started:
                return False
            if not self._settings.address and self._owned is None:
                self._owned = own(ray_directory(self._settings.home))
            for attempt in range(1, START_ATTEMPTS + 1):
                try:
                    self._start()
                    break
                except Exception as error:  # noqa: BLE001 - Ray raises just that, see below
                    # Ray gives its node 30 s to register and raises a bare Exception when a busy
                    # machine needs longer. Starting again is safe: nothing runs on it yet, and
                    # the next start ends what this one left behind.
                    _LOG.warning("ray_not_started", attempt=attempt, **exception_facts(error))
                    ray.shutdown()
                    if attempt == START_ATTEMPTS:
                        raise EngineUnreachableError(f"Ray: {type(error).__name__}") from None
            self._started = True
            if not self._settings.address:
                self._node = ray._private.worker._global_node
                threading.Thread(target=self._watch, args=(self._node,), daemon=True).start()
            return True

    def _start(self) -> None:
        if self._settings.address:
            ray.init(address=self._settings.address, namespace="assay", **_QUIET)
        else:
            self._start_local()
        # Our gateway is the only door: Serve's own proxies listen on all interfaces.
        serve.start(
            proxy_location="Disabled",
            logging_config={"log_level": "WARNING", "enable_access_log": False},
        )
        if self._settings.address:
            self._end_engines()

    def _end_engines(self) -> None:
        """End every engine on a cluster that outlives its gateway.

        Those of an earlier one hold GPUs and memory, and nobody knows them any more.
        """
        for name in serve.status().applications:
            if ENGINE_NAME.fullmatch(name):
                _LOG.info("engine_of_before_ended", engine=name)
                serve.delete(name, _blocking=True)

    def _start_local(self) -> None:
        # Agents of a lost raylet live on for a minute, and the port of Ray's metrics with them.
        if count := end_writers(ray_directory(self._settings.home)):
            _LOG.warning("leftovers_ended", processes=count)
        shutil.rmtree(self._sockets, ignore_errors=True)
        self._sockets.mkdir()
        ray.init(
            address="local",
            namespace="assay",
            # Logical CPUs only order scheduling; replicas use the threads that they are given.
            num_cpus=64,
            include_dashboard=False,
            object_store_memory=self._settings.object_store_bytes,
            _node_ip_address="127.0.0.1",
            _metrics_export_port=self._settings.metrics_port or None,
            _temp_dir=str(ray_directory(self._settings.home)),
            **_QUIET,
        )

    def _environment(self, spec: EngineSpec) -> dict[str, str]:
        environment = engine_environment(self._settings, spec)
        if self._settings.address:
            return environment
        # Sockets of engines that were killed stay; here the next start clears them away.
        return environment | {"VLLM_RPC_BASE_PATH": str(self._sockets)}

    @property
    def _sockets(self) -> Path:
        return ray_directory(self._settings.home) / "vllm"

    def _watch(self, node: Any) -> None:
        """Notice that our Ray has died. Its client would wait a minute, and end this process."""
        while not self._ended.wait(WATCH_SECONDS):
            if _VITAL & {kind for kind, _ in node.dead_processes()}:
                _LOG.error("ray_lost")
                self.abandon()

    def abandon(self) -> NoReturn:
        """End this process and those of a Ray that is ours, without a word to any of them."""
        threading.Timer(KILL_SECONDS, os._exit, (ABANDONED,)).start()
        try:
            if self._node is not None:
                # Agents of a killed raylet would try to tell a GCS that is gone for a minute.
                below = psutil.Process().children(recursive=True)
                self._node.kill_all_processes(check_alive=False, allow_graceful=False)
                for process in below:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
        finally:
            os._exit(ABANDONED)

    def deploy(self, engine_id: str, spec: EngineSpec, path: str, digest: str) -> Any:
        """Make every replica of an engine hold an artifact; start the engine if there is none.

        Returns:
            The handle for `generate` and `count_tokens`.

        Raises:
            AssayError: A replica could not hold it; the engine is gone then.
        """
        deployment: Any = serve.deployment(EngineReplica, name="engine")
        application = deployment.options(
            version=CODE_VERSION,
            _internal=True,
            user_config={"path": path, "digest": digest},
            # The gateway bounds the work in flight; Serve must not queue on top of it.
            max_ongoing_requests=10_000,
            graceful_shutdown_timeout_s=5,
            graceful_shutdown_wait_loop_s=0.1,
            health_check_period_s=5,
            health_check_timeout_s=30,
            **replica_numbers(spec),
            ray_actor_options={
                "num_cpus": 1,
                "num_gpus": gpus(spec),
                # Set before anything is imported: vLLM and torch read them then.
                "runtime_env": {"env_vars": self._environment(spec)},
            },
        ).bind(engine_id, spec, with_metrics=bool(self._settings.metrics_port))
        try:
            handle = serve.run(application, name=engine_id, route_prefix=None)
            self._check(engine_id, handle, digest)
        except _UNREACHABLE as error:
            self.delete(engine_id)
            raise EngineUnreachableError(type(error).__name__) from None
        except AssayError:
            self.delete(engine_id)
            raise
        return handle

    def statuses(self, handle: Any) -> list[ReplicaStatus]:
        """What each replica of an engine holds.

        Raises:
            EngineUnreachableError: A replica does not answer.
        """
        with _unreachable():
            answers = handle.broadcast("status")
            found: list[ReplicaStatus] = answers.results(timeout_s=STATUS_TIMEOUT_SECONDS)
        return found

    async def generate(self, handle: Any, batch: bytes, digest: str) -> AsyncGenerator[bytes, None]:
        """Answer a batch on one replica; ending the iteration aborts what is left of it.

        Batch and answers are parcels that are passed on unopened.

        Raises:
            EngineUnreachableError: The replica went away.
        """
        with _unreachable():
            answers = handle.options(stream=True).generate.remote(batch, digest)
            try:
                async for results in answers:
                    yield results
            finally:
                answers.cancel()

    async def count_tokens(self, handle: Any, batch: bytes) -> list[int | Failure]:
        """Tokens of each prompt of a batch, which is a parcel too.

        Raises:
            EngineUnreachableError: The replica went away.
        """
        with _unreachable():
            counts: list[int | Failure] = await handle.count_tokens.remote(batch)
        return counts

    async def memory(self, handle: Any) -> int:
        """Memory of all replicas with their processes, in bytes.

        Raises:
            EngineUnreachableError: A replica went away.
        """
        with _unreachable():
            return sum(await handle.broadcast("memory").results_async())

    def _check(self, engine_id: str, handle: Any, digest: str) -> None:
        statuses = self.statuses(handle)
        for status in statuses:
            if status.failure is not None:
                raise from_document(status.failure)
        if not statuses or any(s.digest != digest or not s.ready for s in statuses):
            raise Unavailable(
                f"engine {engine_id} does not hold the artifact after it was deployed",
                reason="ENGINE_NOT_READY",
                retry_after=5.0,
                metadata={"replicas": str(len(statuses))},
            )

    def delete(self, engine_id: str) -> None:
        """End an engine and its processes; does nothing if there is none.

        A Serve that cannot be reached has taken its engines with it.
        """
        if not self._started:
            return
        with contextlib.suppress(*_UNREACHABLE):
            serve.delete(engine_id, _blocking=True)

    def stop(self) -> None:
        """End the engines and, where they are ours, Serve and Ray with all their processes."""
        self._ended.set()
        with self._lock:
            if not self._started:
                return
            if ray.is_initialized():
                if self._settings.address:
                    with contextlib.suppress(*_UNREACHABLE):
                        self._end_engines()
                else:
                    serve.shutdown()
                ray.shutdown()
            self._started = False


@contextlib.contextmanager
def _unreachable() -> Iterator[None]:
    """A call that fails with `EngineUnreachableError` when a replica or Ray is lost."""
    try:
        yield
    except _UNREACHABLE as error:
        raise EngineUnreachableError(type(error).__name__) from None
