"""The command starts fast: a cache hit of `assay compress` is answered in under a second."""

from __future__ import annotations

import subprocess
import sys

# Each costs as much to import as all the rest of the command.
HEAVY = ("torch", "numpy", "pandas", "polars", "pyarrow", "scipy", "sqlalchemy", "plotly", "mlflow")


def test_the_command_imports_no_heavy_library_at_its_start():
    code = "import sys, assay_cli.main; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "assay_cli" in loaded
    assert not loaded & set(HEAVY)
