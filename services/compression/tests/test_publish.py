"""Publication of a finished working copy."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from assay_compression.worker.publish import _rename


def test_two_volumes_of_one_file_system_have_no_rename_between_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As two volumes of a pod: the same device number, and EXDEV all the same.
    files, target = tmp_path / "work", tmp_path / "data" / "artifact"
    files.mkdir()

    def refuse(self: Path, target: Path) -> Path:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(Path, "rename", refuse)
    assert not _rename(files, target)
    assert files.is_dir()
    monkeypatch.undo()
    assert _rename(files, target)
    assert target.is_dir()
    assert not files.exists()
