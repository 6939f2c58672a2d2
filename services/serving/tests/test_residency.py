"""Which engines end so that another fits, by number and by memory."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from services.serving.tests.memory_runtime import World

from assay_core.errors import ResourceExhausted
from assay_serving.domain import EngineOptions, EngineSpec
from assay_serving.residency import GIB, Limits, Running, check_fits, engine_bytes, make_room

SPEC = EngineSpec(dtype="float32", kv_cache_dtype="auto", max_model_len=512)


@st.composite
def situations(draw):
    sizes = draw(st.lists(st.integers(0, 10), max_size=6))
    running = [
        Running(f"e{k}", size, draw(st.floats(0, 100)), draw(st.booleans()))
        for k, size in enumerate(sizes)
    ]
    limits = Limits(draw(st.integers(1, 6)), draw(st.integers(0, 30)))
    needed = draw(st.integers(0, limits.budget_bytes or 10))
    return needed, running, limits


def fits(needed, running, limits):
    total = needed + sum(engine.memory_bytes for engine in running)
    return len(running) < limits.max_engines and total <= (limits.budget_bytes or total)


@given(situations())
def test_what_stays_fits_with_the_new_engine_and_only_idle_engines_end(situation):
    needed, running, limits = situation
    ended = make_room(needed, running, limits)
    if ended is not None:
        assert all(engine.idle for engine in ended)
        assert fits(needed, [engine for engine in running if engine not in ended], limits)


@given(situations())
def test_none_is_answered_only_if_ending_every_idle_engine_is_not_enough(situation):
    needed, running, limits = situation
    in_use = [engine for engine in running if not engine.idle]
    assert (make_room(needed, running, limits) is None) == (not fits(needed, in_use, limits))


@given(situations())
def test_the_least_recently_used_end_first_and_no_more_than_needed(situation):
    needed, running, limits = situation
    ended = make_room(needed, running, limits) or []
    idle = sorted((engine for engine in running if engine.idle), key=lambda e: e.last_used)
    assert list(ended) == idle[: len(ended)]
    for fewer in range(len(ended)):
        stay = [engine for engine in running if engine not in ended[:fewer]]
        assert not fits(needed, stay, limits)


def test_an_engine_takes_weights_and_cache_of_each_replica_it_may_have():
    assert engine_bytes(SPEC, 100) == 100 + GIB
    several = EngineSpec("float32", "auto", 512, replicas=2, max_replicas=3, kv_cache_gib=4)
    assert engine_bytes(several, 100) == 3 * (100 + 4 * GIB)
    on_gpu = EngineSpec("bfloat16", "auto", 512, device="cuda")
    assert engine_bytes(on_gpu, 100) == 100, "what is left of the GPU is not known"


def test_what_does_not_fit_alone_names_the_quota():
    check_fits(5, Limits(1), "it")
    check_fits(5, Limits(1, 5), "it")
    with pytest.raises(ResourceExhausted, match="takes 2") as caught:
        check_fits(2 * GIB, Limits(1, GIB), "this engine")
    assert [violation.field for violation in caught.value.violations] == ["memory_budget_gib"]


async def test_engines_share_a_memory_budget_and_the_oldest_idle_one_makes_room(tmp_path):
    """Each engine takes a little more than its 1 GiB of KV cache: two fit, three do not."""
    world = World(tmp_path, max_engines=3, memory_budget_gib=2.5)
    numbers = itertools.count(1)
    engines = {}
    for context in (128, 256):
        known, lease = await world.leased("a", options=EngineOptions(max_model_len=context))
        world.clock.now = next(numbers)
        engines[context] = world.engine(known)
        world.manager.release(lease.id)
    assert engines[128].running
    assert engines[256].running
    known, _ = await world.leased("c")
    assert world.engine(known).running
    assert not engines[128].running, "evicted: used longest ago"
    assert engines[256].running
    await world.manager.drain()
    await world.registry.close()


async def test_a_model_that_passes_the_budget_alone_is_refused_before_anything_moves(tmp_path):
    world = World(tmp_path, memory_budget_gib=1.5)
    await world.leased("a")
    with pytest.raises(ResourceExhausted) as caught:
        await world.load("b", options=EngineOptions(kv_cache_gib=2))
    assert caught.value.reason == "MEMORY_BUDGET"
    assert [what for _, what in world.runtime.history] == ["start"]
    await world.manager.drain()
    await world.registry.close()
