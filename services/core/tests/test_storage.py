"""The object store behaves alike on every file system, and readers never see a part."""

import os
import uuid
from pathlib import Path

import fsspec
import pytest

from assay_core.errors import DataLoss, FailedPrecondition, InvalidArgument, NotFound
from assay_core.manifest import MANIFEST_NAME, build_manifest, verify, write_manifest
from assay_core.storage import ObjectStore, lies_below


@pytest.fixture(params=["file", "memory", "s3", "gs"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    name = uuid.uuid4().hex
    match request.param:
        case "file":
            return ObjectStore((tmp_path / "store").as_uri())
        case "s3":
            s3 = request.getfixturevalue("s3")
            s3.make_bucket(name)
            return ObjectStore(f"s3://{name}/data", options=s3.options())
        case "gs":
            options = {"endpoint_url": request.getfixturevalue("gcs"), "token": "anon"}
            fsspec.filesystem("gs", **options).mkdir(name)
            return ObjectStore(f"gs://{name}/data", options=options)
        case _:
            return ObjectStore(f"memory://{name}")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "nested").mkdir(parents=True)
    (root / "weights.bin").write_bytes(b"\x00\x01")
    (root / "nested" / "config.json").write_text("{}")
    write_manifest(root, build_manifest(root, kind="artifact", identity={"a": 1}))
    return root


def test_an_object_reads_back_as_written(store: ObjectStore) -> None:
    store.write_bytes("a/b.bin", b"one")
    store.write_bytes("a/b.bin", b"two")
    assert store.read_bytes("a/b.bin") == b"two"
    assert store.size("a/b.bin") == 3
    with store.open_read("a/b.bin") as stream:
        assert stream.read() == b"two"


def test_equal_json_values_are_equal_bytes(store: ObjectStore) -> None:
    store.write_json("x.json", {"b": 1, "a": [1.5, "ü"]})
    store.write_json("y.json", {"a": [1.5, "ü"], "b": 1})
    assert store.read_bytes("x.json") == store.read_bytes("y.json")
    assert store.read_json("x.json") == {"a": [1.5, "ü"], "b": 1}


def test_a_missing_object_is_not_found_and_broken_json_is_data_loss(store: ObjectStore) -> None:
    with pytest.raises(NotFound) as missing:
        store.read_bytes("no/such")
    assert missing.value.resource == "object/no/such"
    store.write_bytes("broken.json", b"{")
    with pytest.raises(DataLoss, match=r"broken\.json is not readable JSON"):
        store.read_json("broken.json")


@pytest.mark.parametrize("key", ["../x", "a/../../x", "s3://other/x", "a\0b"])
def test_a_key_never_leaves_the_store(store: ObjectStore, key: str) -> None:
    with pytest.raises(InvalidArgument):
        store.write_bytes(key, b"")


def test_a_uri_below_the_root_is_a_key(store: ObjectStore) -> None:
    store.write_bytes(store.join("a", "b"), b"x")
    uri = store.uri_of("a/b")
    assert uri == f"{store.uri}/a/b"
    assert store.read_bytes(uri) == b"x"


def test_a_tree_is_listed_published_downloaded_and_deleted(
    store: ObjectStore, tree: Path, tmp_path: Path
) -> None:
    assert store.upload_tree(tree, "artifacts/abc") is True
    assert store.upload_tree(tree, "artifacts/abc") is False
    assert store.list("artifacts/abc") == [
        "artifacts/abc/manifest.json",
        "artifacts/abc/nested/config.json",
        "artifacts/abc/weights.bin",
    ]
    assert store.list("artifacts/ab") == []
    copy = store.download("artifacts/abc", tmp_path / "copy")
    verify(copy)
    store.delete_tree("artifacts/abc")
    store.delete_tree("artifacts/abc")
    assert not store.exists("artifacts/abc")
    assert store.list("") == []
    with pytest.raises(NotFound):
        store.download("artifacts/abc", tmp_path / "again")


def test_a_remote_tree_without_its_manifest_is_published_again(tree: Path) -> None:
    store = ObjectStore(f"memory://{uuid.uuid4().hex}")
    store.write_bytes("artifacts/abc/weights.bin", b"half")
    assert store.upload_tree(tree, "artifacts/abc") is True
    assert store.exists(f"artifacts/abc/{MANIFEST_NAME}")


def test_nothing_partial_stays_behind_or_is_listed(tmp_path: Path, tree: Path) -> None:
    store = ObjectStore(tmp_path.joinpath("store").as_uri())
    store.upload_tree(tree, "artifacts/abc")
    store.write_bytes("artifacts/x.bin", b"x")
    leftover = tmp_path / "store" / "artifacts" / ".killed.123.partial"
    leftover.write_bytes(b"half")
    assert "partial" not in " ".join(store.list(""))
    assert [p for p in (tmp_path / "store").rglob("*.partial") if p != leftover] == []


def test_the_whole_store_is_never_deleted(store: ObjectStore) -> None:
    with pytest.raises(InvalidArgument):
        store.delete_tree("")


def test_local_paths_exist_only_on_file_stores(tmp_path: Path) -> None:
    assert ObjectStore(str(tmp_path)).local_path("a/b") == tmp_path / "a" / "b"
    with pytest.raises(FailedPrecondition, match="not on this machine"):
        ObjectStore("memory://x").local_path("a")


def test_an_unknown_scheme_is_refused_by_name() -> None:
    with pytest.raises(InvalidArgument, match="nosuch"):
        ObjectStore("nosuch://x")


def test_a_moved_tree_is_published_without_a_copy(tmp_path: Path, tree: Path) -> None:
    store = ObjectStore(tmp_path.joinpath("store").as_uri())
    inode = (tree / "weights.bin").stat().st_ino
    assert store.upload_tree(tree, "artifacts/abc", move=True) is True
    assert store.local_path("artifacts/abc/weights.bin").stat().st_ino == inode
    assert not tree.exists()


@pytest.mark.parametrize(
    ("uri", "lies"),
    [
        ("s3://bucket/texts", True),
        ("s3://bucket/texts/a.jsonl", True),
        ("s3://bucket/texts-of-others/a.jsonl", False),
        ("s3://bucket", False),
        ("s3://other/a.jsonl", True),
    ],
)
def test_a_prefix_covers_whole_parts_of_a_path(uri: str, lies: bool) -> None:
    assert lies_below(uri, ["s3://bucket/texts", "s3://other/"]) is lies
    assert not lies_below(uri, [])


@pytest.mark.parametrize("key", ["file/below", "x" * 300, "folder", "gone"])
def test_a_key_that_no_object_can_have_is_not_found(tmp_path: Path, key: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    store = ObjectStore(str(tmp_path))
    for read in (store.read_bytes, store.read_json):
        with pytest.raises(NotFound):
            read(key)


def test_a_file_that_may_not_be_read_is_refused_by_its_field(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"")
    (tmp_path / "secret").chmod(0)
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    with pytest.raises(FailedPrecondition) as refusal:
        ObjectStore(str(tmp_path), field="pack.uri").read_bytes("secret")
    assert (refusal.value.reason, refusal.value.field) == ("STORE_ACCESS_DENIED", "pack.uri")


def test_the_home_of_nobody_is_refused_by_its_field() -> None:
    with pytest.raises(InvalidArgument) as refusal:
        ObjectStore("~nobody-of-this-name/data", field="pack.uri")
    assert refusal.value.field == "pack.uri"
