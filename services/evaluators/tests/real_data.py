"""Where tests find the user's copy of DecodingTrust, or the folder that stands in for one."""

import os
from pathlib import Path

_BESIDE = Path(__file__).resolve().parents[4] / "shared" / "data" / "decodingtrust"

DECODINGTRUST = Path(os.environ.get("ASSAY_TEST_DECODINGTRUST", _BESIDE))
