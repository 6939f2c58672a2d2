"""The dashboard of GPUs against what NVIDIA's dcgm-exporter exposes; here is no GPU to watch."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from charts.tools.check_dashboards import GPU_BOARD, series
from tests.chart.prometheus import scraping

# Two GPUs with the labels and default counters of the exporter (its README, and
# etc/default-counters.csv), and the series by which the check tells that it asks the right server.
LABELS = (
    'UUID="GPU-{n}",device="nvidia{n}",modelName="H100",Hostname="node",'
    'namespace="assay",pod="w-{n}"'
)
VALUES = {
    "DCGM_FI_DEV_GPU_UTIL": 87,
    "DCGM_FI_DEV_MEM_COPY_UTIL": 41,
    "DCGM_FI_DEV_FB_USED": 61000,
    "DCGM_FI_DEV_FB_FREE": 20000,
    "DCGM_FI_DEV_POWER_USAGE": 512.5,
    "DCGM_FI_DEV_GPU_TEMP": 61,
    "DCGM_FI_DEV_XID_ERRORS": 0,
}
EXPOSED = (
    "".join(
        f'{name}{{gpu="{n}",{LABELS.format(n=n)}}} {value}\n'
        for name, value in VALUES.items()
        for n in (0, 1)
    )
    + 'assay_server_info{service="serving",version="1"} 1\n'
)


class _Exporter(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(EXPOSED.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Nothing to say of a request."""


@pytest.fixture
def exporter() -> Iterator[str]:
    """Address of an exporter of two GPUs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Exporter)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_every_panel_shows_every_gpu(exporter, tmp_path):
    with scraping({"gpu": exporter}, tmp_path) as prometheus:
        found = {
            where: rows for where, rows in series(prometheus.url) if where.startswith(GPU_BOARD)
        }
    assert len(found) == 7
    assert set(found.values()) == {2}, found
