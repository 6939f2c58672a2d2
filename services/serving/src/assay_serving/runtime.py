"""What the gateway needs of the place where engines run: port, settings, and its one failure."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from assay_serving.domain import Answer, EngineSpec, Failure, Item, ReplicaStatus


class EngineUnreachableError(Exception):
    """A replica is gone or does not answer; the message is the type of what Ray raised."""


class Runtime(Protocol):
    """Engines by id. `deploy`, `statuses`, `delete` and `stop` block."""

    def deploy(self, engine_id: str, spec: EngineSpec, path: str, digest: str) -> Any:
        """Make every replica hold an artifact, starting the engine if needed; returns its handle.

        Raises:
            AssayError, EngineUnreachableError: It could not; the engine is gone then.
        """

    def statuses(self, handle: Any) -> list[ReplicaStatus]:
        """What each replica holds."""

    def generate(
        self, handle: Any, items: Sequence[Item], digest: str
    ) -> AsyncGenerator[list[Answer], None]:
        """Answer a batch; ending the iteration aborts what is left of it.

        An empty list says no more than that the engine has the batch.
        """

    async def count_tokens(self, handle: Any, items: Sequence[Item]) -> list[int | Failure]:
        """Tokens of each prompt."""

    async def memory(self, handle: Any) -> int:
        """Memory of all replicas with their processes, in bytes."""

    def delete(self, engine_id: str) -> None:
        """End the engine; does nothing if there is none."""

    def stop(self) -> None:
        """End everything that was started."""


@dataclass(frozen=True)
class RaySettings:
    """How the local Ray is sized, or which cluster is joined."""

    home: Path
    address: str = ""
    object_store_bytes: int = 100 * 2**20
    threads: int = 2
    metrics_port: int = 0

    def document(self) -> dict[str, Any]:
        """These settings as plain values; `of` reads them."""
        return asdict(self) | {"home": str(self.home)}

    @classmethod
    def of(cls, document: dict[str, Any]) -> RaySettings:
        """Settings from plain values."""
        return cls(**document | {"home": Path(document["home"])})


CPU_KV_CACHE_GIB = 1
"""KV cache of a CPU replica whose specification names none."""


def engine_environment(settings: RaySettings, spec: EngineSpec) -> dict[str, str]:
    """Environment of a replica and of the engine processes it starts.

    `nobind` keeps two engines from fighting for core 0. Ray would set OMP_NUM_THREADS to a
    replica's logical CPU share and leave the engine on one core. Threads that wait by spinning
    would take the cores from the gateway and the evaluators beside the engine. Only local files
    are loaded, and nothing is reported home.
    """
    return {
        "VLLM_CPU_KVCACHE_SPACE": str(spec.kv_cache_gib or CPU_KV_CACHE_GIB),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(settings.threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        # Of the plugins that are installed only ours, which ends orphans.
        "VLLM_PLUGINS": "assay-fate",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
