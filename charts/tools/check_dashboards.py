"""Ask a running Prometheus every query of every dashboard: which have data, which have none.

    python charts/tools/check_dashboards.py http://127.0.0.1:9090

Exit code 1 if a query is refused or has no data. The dashboard of GPUs is asked where NVIDIA's
exporter is scraped.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DASHBOARDS = Path(__file__).resolve().parents[1] / "assay" / "dashboards"
# As Grafana fills them in.
VARIABLES = {
    "$__rate_interval": "5m",
    "$namespace": ".*",
    "$model": ".*",
    "$dimension": ".*",
}
GPU_BOARD = "assay-gpu"


def query(prometheus: str, expression: str) -> list[Any]:
    """Series of a query over the last hour: what a panel draws."""
    now = time.time()
    span = {"query": expression, "start": now - 3600, "end": now, "step": 2}
    address = f"{prometheus}/api/v1/query_range?" + urllib.parse.urlencode(span)
    # S310: the address is the operator's own argument.
    with urllib.request.urlopen(address, timeout=20) as answer:  # noqa: S310
        result: list[Any] = json.load(answer)["data"]["result"]
    return result


def series(prometheus: str) -> Iterator[tuple[str, int]]:
    """Every query of every panel by its place, with the number of series that answer it.

    Without NVIDIA's exporter nothing is asked of GPUs.
    """
    gpus = bool(query(prometheus, "DCGM_FI_DEV_GPU_UTIL"))
    for file in sorted(DASHBOARDS.glob("*.json")):
        if file.stem == GPU_BOARD and not gpus:
            continue
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel["targets"]:
                expression = target["expr"]
                for name, value in VARIABLES.items():
                    expression = expression.replace(name, value)
                where = f"{file.stem}: {panel['title']} [{target['legendFormat']}]"
                yield where, len(query(prometheus, expression))


def main(prometheus: str) -> int:
    """Print one line per query."""
    if not query(prometheus, "assay_server_info"):
        raise SystemExit("this Prometheus scrapes no service of Assay")
    empty = 0
    for where, found in series(prometheus):
        empty += not found
        sys.stdout.write(f"{where}: {f'{found} series' if found else 'no data'}\n")
    return 1 if empty else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1].rstrip("/")))
