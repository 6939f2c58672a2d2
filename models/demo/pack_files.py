"""Files of the pack as they will be written, and its manifest."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Row = dict[str, Any]


@dataclass
class PackFiles:
    """The pack in memory.

    Attributes:
        files: Path inside the pack -> bytes.
        rows: Rows of each JSON Lines file.
        scenarios: By dimension: scenario -> what pack.json says of it.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    scenarios: dict[str, dict[str, Row]] = field(default_factory=lambda: defaultdict(dict))

    def add_lines(self, path: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add a JSON Lines file."""
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        self.files[path] = "".join(lines).encode()
        self.rows[path] = len(rows)

    def add_document(self, path: str, document: Mapping[str, Any]) -> None:
        """Add a JSON file."""
        self.files[path] = (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode()

    def add_scenario(
        self, dimension: str, scenario: str, rows: Sequence[Mapping[str, Any]], path: str = ""
    ) -> None:
        """Add the rows of one scenario; scenarios may share a file."""
        path = path or f"data/{dimension}/{scenario}.jsonl"
        if path not in self.files:
            self.add_lines(path, rows)
        self.scenarios[dimension][scenario] = {
            "file": path,
            "rows": len(rows),
            "rows_expected": len(rows),
            "missing": None,
            "sample": False,
        }

    def manifest(self) -> Row:
        """The content of pack.json."""
        return {
            "schema": 1,
            "name": "demo",
            "version": "2",
            "licence": "Apache-2.0",
            "attribution": "Assay",
            "display": "allow",
            "source": "models/demo/build_pack.py",
            "files": {
                path: {
                    "digest": f"sha256:{hashlib.sha256(data).hexdigest()}",
                    "bytes": len(data),
                    **({"rows": self.rows[path]} if path in self.rows else {}),
                }
                for path, data in sorted(self.files.items())
            },
            "dimensions": {
                name: {"scenarios": scenarios} for name, scenarios in self.scenarios.items()
            },
        }

    def write(self, out: Path) -> None:
        """Write every file and pack.json."""
        self.add_document("pack.json", self.manifest())
        for path, data in self.files.items():
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            (out / path).write_bytes(data)
