"""Which engine would serve an artifact, and what identifies its results; nothing is started."""

from __future__ import annotations

from dataclasses import dataclass

from assay_core.digest import digest_of, hex_of
from assay_serving.artifacts import Artifact, open_artifact, readable
from assay_serving.domain import EngineIdentity, EngineOptions, EngineSpec
from assay_serving.endpoints import Endpoint
from assay_serving.engine.identity import engine_spec, identity_of
from assay_serving.engine_ports import Loadable
from assay_serving.residency import engine_bytes
from assay_serving.settings import ServingSettings


@dataclass(frozen=True, slots=True)
class Description:
    """The engine that would serve an artifact or endpoint, and what else identifies its results."""

    artifact: Loadable
    spec: EngineSpec
    identity: EngineIdentity
    engine_id: str
    tokenizer_digest: str
    chat_template_digest: str
    memory_bytes: int = 0  # of all replicas at their most; 0: nothing of ours

    @classmethod
    def of(cls, artifact: Artifact, spec: EngineSpec, identity: EngineIdentity) -> Description:
        """Describe; reads the tokenizer files. Artifacts that can be swapped share an engine."""
        key = {
            "family": artifact.swap_family,
            "engine": f"{identity.family} {identity.version}",
            "dtype": spec.dtype,
            "kv_cache_dtype": spec.kv_cache_dtype,
            "max_model_len": spec.max_model_len,
            "tensor_parallel_size": spec.tensor_parallel_size,
            "replicas": spec.replicas,
            "max_replicas": spec.max_replicas,
            "target_ongoing_requests": spec.target_ongoing_requests,
            "gpu_share": spec.gpu_share,
            "kv_cache_gib": spec.kv_cache_gib,
        }
        return cls(
            artifact,
            spec,
            identity,
            f"engine-{hex_of(digest_of(key))[:12]}",
            artifact.tokenizer_digest,
            artifact.chat_template_digest,
            engine_bytes(spec, artifact.weight_bytes(spec.dtype)),
        )


def describe_endpoint(endpoint: Endpoint) -> Description:
    """What identifies results of an external endpoint; each is an engine of its own."""
    engine_id = f"endpoint-{hex_of(endpoint.digest)[:12]}"
    return Description(endpoint, endpoint.spec, endpoint.identity, engine_id, "", "")


def describe(
    settings: ServingSettings, uri: str, options: EngineOptions, expected_digest: str = ""
) -> Description:
    """Open an artifact and describe its engine. Blocks: it reads files.

    Raises:
        AssayError: See `open_artifact` and `engine_spec`.
    """
    with readable():
        artifact = open_artifact(
            uri,
            allowed=settings.allowed_prefixes,
            cache=settings.download_cache,
            expected_digest=expected_digest,
        )
        spec = engine_spec(artifact, options.over(settings.engine_options), settings.max_model_len)
        return Description.of(artifact, spec, identity_of(spec, settings.device_class))
