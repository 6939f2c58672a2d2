"""Shards: repeats are dropped, keys alone are read for a resume, damage is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay_core.errors import DataLoss
from assay_core.storage import ObjectStore
from assay_evaluators.sdk.scoring import wilson
from assay_evaluators.sdk.shards import Completion, GenerationStore
from assay_evaluators.sdk.types import base_seed

DIGEST = "sha256:" + "b" * 64


def completion(sample="s", index=0, text="x"):
    return Completion(sample, index, text, "stop", 3, 1, "sha256:p", "sha256:a")


@pytest.fixture
def store(tmp_path) -> GenerationStore:
    return GenerationStore(ObjectStore(str(tmp_path)), DIGEST)


def test_an_identity_without_shards_is_empty(store):
    assert store.stored() == {}
    assert list(store.completions()) == []


def test_stored_completions_round_trip_in_order(store):
    written = [completion("a", 1, "ä\n"), completion("a", 0, ""), completion("b", 24)]
    store.write(written)
    assert list(store.completions()) == written
    assert store.stored() == {"a": {0, 1}, "b": {24}}


def test_the_first_shard_of_a_repeat_wins(store):
    store.write([completion(text="first")])
    store.write([completion(text="second"), completion(index=1)])
    assert [c.text for c in store.completions()] == ["first", "x"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 24)), max_size=40))
def test_readers_see_every_key_once(tmp_path_factory, keys):
    store = GenerationStore(ObjectStore(str(tmp_path_factory.mktemp("s"))), DIGEST)
    for start in range(0, len(keys), 7):
        store.write([completion(sample, index) for sample, index in keys[start : start + 7]])
    read = [(c.sample_id, c.completion_index) for c in store.completions()]
    assert sorted(read) == sorted(set(keys))
    assert {(s, k) for s, ks in store.stored().items() for k in ks} == set(keys)


def test_a_remote_store_works_alike():
    store = GenerationStore(ObjectStore("memory://shards"), DIGEST)
    store.write([completion()])
    assert store.stored() == {"s": {0}}


def test_a_damaged_shard_is_named(store, tmp_path):
    store.write([completion()])
    (shard,) = tmp_path.glob("generations/*/shards/*.parquet")
    shard.write_bytes(shard.read_bytes()[:20])
    with pytest.raises(DataLoss, match=shard.name):
        store.stored()


def test_plan_json_is_written_once_and_says_what_the_digest_is(store, tmp_path):
    store.describe({"scenario": "x"})
    store.describe({"scenario": "y"})
    (plan,) = tmp_path.glob("generations/*/plan.json")
    assert '"scenario":"x"' in plan.read_text()


def test_base_seed_is_31_bits_of_seed_scenario_and_sample():
    import hashlib

    expected = int(hashlib.sha256(b"7\0benign\0id").hexdigest()[:8], 16) >> 1
    assert base_seed(7, "benign", "id") == expected < 2**31


def test_wilson_interval():
    # Published example (Newcombe 1998): 81 of 263 gives .2553 to .3662.
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0.0, 20)[0] == 0.0
