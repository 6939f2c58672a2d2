"""A remote store that lets nobody in, is not there, or is written by several at once."""

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from object_servers import S3

from assay_core.errors import AssayError, FailedPrecondition, NotFound, Unavailable
from assay_core.manifest import MANIFEST_NAME, build_manifest, verify, write_manifest
from assay_core.storage import ObjectStore

WRONG = "wrong-secret-wrong-secret-wrong-secret"
CALLS: dict[str, Callable[[ObjectStore], object]] = {
    "check": lambda store: store.check(),
    "size": lambda store: store.size("a"),
    "read": lambda store: store.read_bytes("a"),
    "write": lambda store: store.write_bytes("a", b"x"),
    "list": lambda store: store.list(""),
    "delete": lambda store: store.delete_tree("a"),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


@pytest.fixture
def bucket(s3: S3) -> str:
    name = f"bucket-{uuid.uuid4().hex}"
    s3.make_bucket(name)
    return name


def refused(store: ObjectStore, call: Callable[[ObjectStore], object]) -> AssayError:
    with pytest.raises(AssayError) as caught:
        call(store)
    assert caught.value.field == "pack.uri"
    assert caught.value.remedy
    assert WRONG not in caught.value.text
    return caught.value


@every_call
def test_a_wrong_secret_is_said_to_be_one_with_the_field_and_without_the_secret(
    s3: S3, bucket: str, call: Callable[[ObjectStore], object]
) -> None:
    store = ObjectStore(f"s3://{bucket}/x", options=s3.options(secret=WRONG), field="pack.uri")
    error = refused(store, call)
    assert isinstance(error, FailedPrecondition)
    assert error.reason == "STORE_ACCESS_DENIED"
    assert "AWS_SECRET_ACCESS_KEY" in error.text
    assert s3.key not in error.text


def test_no_credentials_at_all_are_a_refusal_too(
    s3: S3, bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    store = ObjectStore(
        f"s3://{bucket}/x",
        options={"endpoint_url": s3.url, "skip_instance_cache": True},
        field="pack.uri",
    )
    assert refused(store, CALLS["check"]).reason == "STORE_ACCESS_DENIED"


@pytest.mark.parametrize("name", ["check", "write", "list"])
def test_a_bucket_that_google_does_not_have_is_not_found_either(gcs: str, name: str) -> None:
    options = {"endpoint_url": gcs, "token": "anon"}
    store = ObjectStore("gs://no-such-bucket/x", options=options, field="pack.uri")
    assert refused(store, CALLS[name]).reason == "BUCKET_NOT_FOUND"


@pytest.mark.parametrize("name", ["check", "size", "read", "write", "list"])
def test_a_bucket_that_is_not_there_is_not_found_by_that_reason(s3: S3, name: str) -> None:
    store = ObjectStore("s3://no-such-bucket/x", options=s3.options(), field="pack.uri")
    error = refused(store, CALLS[name])
    assert isinstance(error, NotFound)
    assert error.reason == "BUCKET_NOT_FOUND"


def test_a_store_that_does_not_answer_is_unavailable_and_may_be_tried_again() -> None:
    options = {"endpoint_url": "http://127.0.0.1:1", "key": "k", "secret": WRONG}
    store = ObjectStore("s3://bucket/x", options=options, field="pack.uri")
    error = refused(store, CALLS["size"])
    assert isinstance(error, Unavailable)
    assert error.retry_after


def test_an_empty_bucket_passes_the_check(s3: S3, bucket: str) -> None:
    ObjectStore(f"s3://{bucket}/x", options=s3.options()).check()


def test_who_sees_the_manifest_of_a_tree_sees_all_of_it(
    s3: S3, bucket: str, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("model.safetensors", "z-last-by-name.bin"):
        (tree / name).write_bytes(name.encode() * 1000)
    write_manifest(tree, build_manifest(tree, kind="artifact", identity={}))
    store = ObjectStore(f"s3://{bucket}/x", options=s3.options())
    with ThreadPoolExecutor(1) as pool:
        upload = pool.submit(store.upload_tree, tree, "artifacts/a")
        while not store.exists(f"artifacts/a/{MANIFEST_NAME}"):
            assert not upload.done() or upload.result()
        verify(store.download("artifacts/a", tmp_path / "copy"))
        assert upload.result()
    assert store.upload_tree(tree, "artifacts/a") is False


def test_readers_see_one_writer_or_the_other_never_a_mixture(s3: S3, bucket: str) -> None:
    store = ObjectStore(f"s3://{bucket}/x", options=s3.options())
    values = [bytes([number]) * 200_000 for number in range(4)]
    store.write_bytes("shard", values[0])
    with ThreadPoolExecutor(4) as pool:
        writes = [pool.submit(store.write_bytes, "shard", value) for value in values * 3]
        while not all(write.done() for write in writes):
            assert store.read_bytes("shard") in values
        for write in writes:
            write.result()
