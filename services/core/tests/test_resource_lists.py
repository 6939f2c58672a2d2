"""Lists of the resource store: pages, orders, tokens, filters; each total and checked."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from resource_drafts import FIELDS, draft

from assay_core.errors import (
    InvalidArgument,
)
from assay_core.resources import (
    ResourceStore,
    State,
    paging,
)


async def test_every_reads_past_the_largest_page_once_each_while_states_change(
    store: ResourceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "MAX_SIZE", 2)
    for name in "abcde":
        await store.create(draft(name))
    await store.create(draft("f", project="other"))
    seen = []
    async for record in store.every("default", filter="state = QUEUED"):
        seen.append(record.id)
        await store.update(record.id, state=State.RUNNING)
    assert sorted(seen) == list("abcde")
    assert [record.id async for record in store.every(None, filter="state = QUEUED")] == ["f"]


async def test_pages_neither_skip_nor_repeat_while_rows_are_added(store: ResourceStore) -> None:
    for index in range(7):
        await store.create(draft(f"v{index}"))
    await store.create(draft("z", project="other"))
    seen: list[str] = []
    token = ""
    while True:
        page = await store.list("default", page_size=3, page_token=token)
        seen += [record.id for record in page.records]
        await store.create(draft(f"late{len(seen)}"))
        token = page.next_page_token
        if not token:
            break
    assert seen == [f"v{index}" for index in reversed(range(7))]


async def test_orders_are_total_and_checked(store: ResourceStore) -> None:
    for name, state in (("a", State.RUNNING), ("b", State.PAUSED), ("c", State.RUNNING)):
        await store.create(draft(name))
        await store.update(name, state=state)
    page = await store.list(None, page_size=1, order_by="state desc, id")
    ids = [page.records[0].id]
    while page.next_page_token:
        page = await store.list(
            None, page_size=1, order_by="state desc, id", page_token=page.next_page_token
        )
        ids.append(page.records[0].id)
    assert ids == ["a", "c", "b"]
    for bad in ("size", "id up", "id,", "spec desc"):
        with pytest.raises(InvalidArgument) as caught:
            await store.list(None, order_by=bad)
        assert caught.value.field == "order_by"


async def test_a_token_belongs_to_its_query(store: ResourceStore) -> None:
    for name in "ab":
        await store.create(draft(name))
    token = (await store.list("default", page_size=1)).next_page_token
    for project, wrong, condition in (
        ("default", "nonsense", ""),
        ("default", token + "x", ""),
        ("default", token, 'state = "QUEUED"'),
        ("other", token, ""),
    ):
        with pytest.raises(InvalidArgument) as caught:
            await store.list(project, page_size=1, page_token=wrong, filter=condition)
        assert caught.value.field == "page_token"


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("", "abc"),
        ('state = "RUNNING"', "b"),
        ("state = RUNNING", "b"),
        ('state != "RUNNING"', "ac"),
        ('model = "demo"', "ab"),
        ('model = "demo" AND bits < 4', "b"),
        ("bits >= 4", "ac"),
        ("hit = true", "b"),
        ('NOT model = "demo"', "c"),
        ('id = "a" OR id = "c"', "ac"),
        ('model = "demo" AND id = "b" OR id = "c"', "b"),
        ('(model = "demo" AND id = "b") OR id = "c"', "bc"),
        ("create_time > 2026-01-01T00:00:01Z", "bc"),
        ('model = "it\'s"', ""),
    ],
)
async def test_filters_select(store: ResourceStore, condition: str, expected: str) -> None:
    await store.create(draft("a", model={"uri": "demo"}, bits=4))
    await store.create(draft("b", model={"uri": "demo"}, bits=3))
    await store.create(draft("c", model={"uri": "other"}, bits=8))
    await store.update("b", state=State.RUNNING, status={"hit": True})
    page = await store.list("default", filter=condition, order_by="id")
    assert "".join(record.id for record in page.records) == expected


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        ('nope = "x"', "names an unknown field: use bits, create_time, hit,"),
        ("state = SLEEPING", "compares state with something else: use QUEUED, RUNNING,"),
        ("bits = four", "compares bits with something else: use a number"),
        ("create_time > yesterday", "use a time such as"),
        ("state", "ends too early"),
        ("state = ", "ends too early"),
        ("(id = a", "has a ( without its )"),
        ("id = a)", "unexpected at position 6"),
        ("id = a id = b", "unexpected at position 7"),
        ('id = "a', "cannot be read at position 4"),
        ("(" * 40 + "id = a", "nested too deeply"),
    ],
)
async def test_a_wrong_filter_says_what_is_wrong(
    store: ResourceStore, condition: str, text: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await store.list("default", filter=condition)
    assert caught.value.field == "filter"
    assert text in str(caught.value)


@given(st.text(max_size=60))
def test_no_filter_text_does_more_than_be_refused(text: str) -> None:
    from assay_core.resources.filters import compile_filter
    from assay_core.resources.schema import resource_table

    try:
        compile_filter(text, resource_table("things"), FIELDS)
    except InvalidArgument as error:
        assert error.field == "filter"


@pytest.mark.parametrize(
    "keys",
    [
        [{"a": 1}, "v0"],
        [[1], "v0"],
        [None, None],
        ["yesterday", "v0"],
        [10**30, "v0"],
        [1, 2],
        [1, "\ud800"],
        [1, "\0"],
        [1],
    ],
)
async def test_a_token_that_was_tampered_with_is_the_callers_mistake(
    store: ResourceStore, keys: list[object]
) -> None:
    await store.create(draft("v0"))
    await store.create(draft("v1"))
    token = (await store.list("default", page_size=1)).next_page_token
    document = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    document["k"] = keys
    forged = base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")
    with pytest.raises(InvalidArgument) as refusal:
        await store.list("default", page_size=1, page_token=forged)
    assert refusal.value.reason == "INVALID_PAGE_TOKEN"
