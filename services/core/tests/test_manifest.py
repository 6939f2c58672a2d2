"""A manifest is the identity of a directory: same bytes, same digest; changed bytes are named."""

from pathlib import Path

import pytest

from assay_core.digest import canonical_json, digest_of, hex_of, is_digest, seed_of, sha256_bytes
from assay_core.errors import DataLoss, InvalidArgument
from assay_core.manifest import build_manifest, read_manifest, verify, write_manifest


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.bin").write_bytes(b"abc")
    (tmp_path / "sub" / "b.bin").write_bytes(b"")
    write_manifest(tmp_path, build_manifest(tmp_path, kind="artifact", identity={"seed": 0}))
    return tmp_path


def test_digest_strings_have_one_form() -> None:
    digest = sha256_bytes(b"")
    assert digest == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert is_digest(digest)
    assert hex_of(digest) == digest[7:]
    for bad in (digest[7:], digest.upper(), f"{digest}0", "sha256:"):
        with pytest.raises(InvalidArgument):
            hex_of(bad)


def test_canonical_json_has_one_form_per_value_and_refuses_nan() -> None:
    assert canonical_json({"b": [1, 2.5, None], "a": "ü"}) == '{"a":"ü","b":[1,2.5,null]}'.encode()
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"a": float("nan")})


def test_run_facts_are_outside_the_identity(directory: Path) -> None:
    before = read_manifest(directory)
    (directory / "run.json").write_text('{"seconds": 3}')
    after = build_manifest(directory, kind="artifact", identity={"seed": 0})
    assert after.digest == before.digest
    assert sorted(after.files) == ["a.bin", "sub/b.bin"]
    assert after.total_bytes == 3


def test_an_untouched_directory_verifies(directory: Path) -> None:
    verify(directory)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (b"abd", "file a.bin does not match its digest"),
        (b"ab", "file a.bin has 2 bytes, 3 were written"),
        (None, "file a.bin is missing"),
    ],
)
def test_damage_is_data_loss_that_names_the_file(
    directory: Path, damage: bytes | None, problem: str
) -> None:
    if damage is None:
        (directory / "a.bin").unlink()
    else:
        (directory / "a.bin").write_bytes(damage)
    with pytest.raises(DataLoss, match=problem) as caught:
        verify(directory)
    assert caught.value.metadata == {"file": "a.bin"}


def test_a_missing_or_foreign_manifest_is_data_loss(directory: Path) -> None:
    (directory / "manifest.json").write_text('{"schema_version": 9}')
    with pytest.raises(DataLoss, match="schema_version"):
        verify(directory)
    (directory / "manifest.json").unlink()
    with pytest.raises(DataLoss, match=r"manifest\.json is missing"):
        verify(directory)


def test_a_seed_is_a_function_of_the_value_and_fits_48_bits():
    assert seed_of({"a": 1, "b": 2}) == seed_of({"b": 2, "a": 1})
    assert seed_of(["x"]) != seed_of(["y"])
    assert seed_of([]) == int(hex_of(digest_of([]))[:12], 16)
    assert all(0 <= seed_of([number]) < 2**48 for number in range(100))
