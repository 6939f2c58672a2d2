"""Packs by upload: whole or not at all, by content, usable by the URI that comes back."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_serving import SyntheticServing, right, serving

from assay_core.client import call
from assay_core.errors import DataLoss, InvalidArgument, NotFound
from assay_core.pb import evaluation_pb2 as pb
from assay_core.pb import pack_pb2, pack_pb2_grpc
from assay_core.storage import ObjectStore
from assay_evaluators.packs.depot import PackDepot
from assay_evaluators.packs.loading import Pack


def files_of(uri: str) -> dict[str, bytes]:
    folder = Path(uri.removeprefix("file://"))
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


async def upload(service, files: dict[str, bytes], chunk: int = 1000) -> pack_pb2.Pack:
    async def pieces():
        for path, data in files.items():
            for start in range(0, len(data), chunk):
                yield pack_pb2.UploadPackRequest(path=path, chunk=data[start : start + chunk])

    stub = pack_pb2_grpc.PackServiceStub(service.channel)
    return (await call(stub.UploadPack, pieces())).pack


async def test_an_uploaded_pack_can_be_listed_read_and_evaluated(
    evaluator, tmp_path, mini_pack, mini_uri
):
    servicer = SyntheticServing(right)
    async with (
        serving(servicer, tmp_path) as address,
        evaluator("ethics", address) as service,
    ):
        pack = await upload(service, files_of(mini_uri))
        again = await upload(service, files_of(mini_uri))
        stub = pack_pb2_grpc.PackServiceStub(service.channel)
        listed = await call(stub.ListPacks, pack_pb2.ListPacksRequest())
        read = await call(stub.GetPack, pack_pb2.GetPackRequest(digest=pack.digest))
        evaluation = await service.run(
            pack=pb.PackRef(uri=pack.uri, digest=pack.digest), row_limit=1
        )
    assert pack.digest == mini_pack.digest
    assert [each.digest for each in listed.packs] == [pack.digest]
    assert read.pack == pack == again
    assert {each.scenario for each in pack.scenarios if each.dimension == "ethics"} >= {"zero_shot"}
    assert evaluation.pack_digest == mini_pack.digest


async def test_what_is_wrong_with_an_upload_is_named_and_nothing_is_kept(
    evaluator, tmp_path, mini_uri
):
    whole = files_of(mini_uri)
    path = "data/ethics/zero_shot.jsonl"
    lines = whole[path].splitlines(keepends=True)
    broken = b"".join([lines[0], b'{"id": "x"}\n', *lines[2:]])

    def without(left_out: str) -> dict[str, bytes]:
        return {name: data for name, data in whole.items() if name != left_out}

    cases = [
        (without(path), NotFound, path),
        ({**whole, "data/stranger.jsonl": b"{}\n"}, InvalidArgument, "data/stranger.jsonl"),
        ({**whole, path: broken}, InvalidArgument, f"{path}:2"),
        ({**whole, "prompts.json": whole["prompts.json"] + b" "}, DataLoss, "prompts.json"),
        (without("pack.json"), NotFound, "pack.json"),
        ({**whole, "../outside": b"x"}, InvalidArgument, "leaves the pack"),
    ]  # fmt: skip
    async with evaluator("ethics", "127.0.0.1:9") as service:
        for files, kind, word in cases:
            with pytest.raises(kind) as caught:
                await upload(service, files)
            assert word in str(caught.value) + str(caught.value.violations)
        stub = pack_pb2_grpc.PackServiceStub(service.channel)
        assert not (await call(stub.ListPacks, pack_pb2.ListPacksRequest())).packs
        with pytest.raises(NotFound, match="no pack"):
            await call(stub.GetPack, pack_pb2.GetPackRequest(digest="sha256:" + "0" * 64))
    assert not list((tmp_path / "home").rglob("outside"))


def test_a_bucket_keeps_packs_too(mini_uri: str, mini_pack: Pack, tmp_path: Path) -> None:
    depot = PackDepot(ObjectStore("memory://depot"))
    with depot.receive() as received:
        for path, data in files_of(mini_uri).items():
            received.append(path, data)
        pack = received.finish()
    assert pack.digest == mini_pack.digest
    assert depot.digests() == [pack.digest]
    pack.verify()
