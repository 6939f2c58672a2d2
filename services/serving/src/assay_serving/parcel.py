"""Batches and answers as bytes: packed once, opened once; the processes between pass them on.

A batch goes gateway, Ray's process, replica, and its answers go back. Pickling a few hundred small
dataclasses at every border would cost more than everything else that the gateway does for them.
"""

from __future__ import annotations

import pickle
from typing import Any


def pack(value: Any) -> bytes:
    """A value of `domain` as bytes."""
    return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)


def unpack(parcel: bytes) -> Any:
    """The value in a parcel, which a process of this service has packed."""
    return pickle.loads(parcel)  # noqa: S301 (see above)
