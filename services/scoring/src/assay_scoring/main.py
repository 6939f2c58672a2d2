"""`assay-scoring`: classifiers of texts as a service."""

from __future__ import annotations

import asyncio
import sys

import grpc

from assay_core.errors import AssayError
from assay_core.logs import configure_logging, get_logger
from assay_core.pb import scoring_pb2, scoring_pb2_grpc
from assay_core.server import serve
from assay_core.settings import load_settings
from assay_scoring.scorers import Classifier, Scorers
from assay_scoring.servicer import ScoringServicer
from assay_scoring.settings import ScoringSettings

SERVICE = scoring_pb2.DESCRIPTOR.services_by_name["ScoringService"].full_name
_LOG = get_logger("assay.scoring")


async def run(settings: ScoringSettings, classifiers: list[Classifier]) -> None:
    """Serves until SIGTERM or SIGINT."""
    scorers = Scorers(classifiers)

    def register(server: grpc.aio.Server) -> list[str]:
        scoring_pb2_grpc.add_ScoringServiceServicer_to_server(ScoringServicer(scorers), server)
        return [SERVICE]

    await serve(settings, "scoring", register)


def load(settings: ScoringSettings) -> list[Classifier]:
    """Loads every checkpoint, in the order of the settings.

    Raises:
        AssayError: Names the checkpoint that cannot be used.
    """
    # Imported late: settings and --help need no torch.
    import torch  # noqa: PLC0415

    from assay_scoring.checkpoint import Checkpoint, choose_device  # noqa: PLC0415

    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = choose_device(settings.device)
    loaded: list[Classifier] = []
    for name in settings.checkpoints:
        checkpoint = Checkpoint(name, settings.checkpoint(name), device, settings.batch_tokens)
        _LOG.info("scorer_loaded", scorer=checkpoint.id, device=str(device))
        loaded.append(checkpoint)
    return loaded


def main() -> int:
    """Entry point; returns the exit code."""
    try:
        settings = load_settings(ScoringSettings, sys.argv[1:])
        configure_logging("scoring", settings.log_level, settings.log_format)
        asyncio.run(run(settings, load(settings)))
    except AssayError as error:
        sys.stderr.write(f"assay-scoring: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
