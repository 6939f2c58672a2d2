"""Prometheus metrics of the shell, declared in one table, and the port they are scraped from.

Labels are of low cardinality: service and method come from the contract, codes from gRPC; ids,
models and projects never become labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Thread
from typing import Self
from wsgiref.simple_server import WSGIServer

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, start_http_server

from assay_core.errors import FailedPrecondition
from assay_core.settings import split_address

_RPC = ("grpc_service", "method")
# From an in-process answer to the longest unary call; streams live in the last bucket.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

RPC_REQUESTS = Counter(
    "assay_rpc_requests_total", "Finished RPCs by canonical status code.", (*_RPC, "code")
)
RPC_DURATION = Histogram(
    "assay_rpc_duration_seconds", "Time from an RPC's start to its status.", _RPC, buckets=_BUCKETS
)
RPC_IN_FLIGHT = Gauge("assay_rpc_in_flight", "RPCs being served now.", _RPC)
RPC_MESSAGES = Counter(
    "assay_rpc_messages_total", "Messages of RPCs by direction.", (*_RPC, "direction")
)
SERVER_READY = Gauge("assay_server_ready", "1 while health answers SERVING.", ("service",))
SERVER_INFO = Gauge("assay_server_info", "Always 1; labels say what runs.", ("service", "version"))


@dataclass(frozen=True)
class MetricsServer:
    """A running scrape endpoint."""

    server: WSGIServer
    thread: Thread

    @classmethod
    def start(cls, address: str) -> Self:
        """Serves `/metrics` on `address` from a thread of its own.

        Raises:
            FailedPrecondition: If the address is taken.
        """
        host, port = split_address(address)
        try:
            server, thread = start_http_server(port, addr=host, registry=REGISTRY)
        except OSError as error:
            raise FailedPrecondition(
                f"cannot serve metrics on {address} ({error.strerror})",
                field="metrics_listen",
                reason="ADDRESS_IN_USE",
                remedy="stop what listens there, or set metrics_listen to another address or `off`",
            ) from error
        return cls(server, thread)

    @property
    def port(self) -> int:
        """The port that was bound."""
        return int(self.server.server_port)

    def stop(self) -> None:
        """Stops serving and frees the port."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(timeout=5)
