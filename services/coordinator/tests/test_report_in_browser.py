"""The report in a real Chromium: nothing complains, everything is seen, the keyboard reaches it."""

import dataclasses
import itertools
import os
import sys
import time
from pathlib import Path

import pytest
from browser import Browser, find
from large_report import large_report
from report_facts import HOSTILE, facts, rich_facts
from test_flips import group_of
from test_report import canary_facts

from assay_coordinator.domain.flips import FlipTexts
from assay_coordinator.report.assemble import assemble
from assay_coordinator.report.html import render_html

WIDTHS = (1280, 400)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = find()
    if program is None:
        if "chromium" in os.environ.get("ASSAY_REQUIRE", "").split(","):
            pytest.fail("ASSAY_REQUIRE=chromium, and there is no chromium on the PATH")
        pytest.skip("no chromium on the PATH; install Debian's package `chromium`")
    opened = Browser(program, tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    file = tmp_path_factory.mktemp("report") / "report.html"
    base = rich_facts()
    file.write_bytes(render_html(assemble(base)))
    return file


@pytest.mark.parametrize("width", WIDTHS)
def test_it_opens_without_a_complaint_and_loads_nothing(browser, report, width):
    browser.complaints.clear()
    browser.requests.clear()
    browser.open(report, width)
    assert browser.complaints == []
    assert all(url.startswith(("file:", "data:")) for url in browser.requests)


@pytest.mark.parametrize("width", WIDTHS)
def test_every_picture_is_drawn_and_has_room(browser, report, width):
    browser.open(report, width)
    pictures = browser.evaluate(
        "[...document.images]"
        ".map(i => [i.complete, i.naturalWidth, i.getBoundingClientRect().width])"
    )
    assert len(pictures) > 8
    for complete, natural, shown in pictures:
        assert complete
        assert natural > 0
        assert shown >= 250  # its labels are still read


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_itself_never_scrolls_sideways(browser, report, width):
    browser.open(report, width)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    small = browser.evaluate(
        "Math.min(...[...document.querySelectorAll('p, td, th, li, figcaption')]"
        ".map(e => parseFloat(getComputedStyle(e).fontSize)))"
    )
    assert small >= 12


def test_the_keyboard_reaches_the_skip_link_and_every_scrolling_region(browser, report):
    browser.open(report, 400)
    reached = []
    for _ in range(60):
        browser.press("Tab", 9)
        seen = browser.evaluate(
            "document.activeElement.className + '|' + (document.activeElement.ariaLabel || '')"
            " + '|' + getComputedStyle(document.activeElement).outlineStyle"
        )
        if reached and seen == reached[0]:
            break
        reached.append(seen)
    assert reached[0].startswith("skip|")
    regions = browser.evaluate("document.querySelectorAll('[role=region]').length")
    assert sum(entry.startswith("scroll|") for entry in reached) == regions
    assert all(entry.endswith("|solid") for entry in reached if entry.startswith("scroll|"))


def test_fifty_variants_in_nine_dimensions_open_in_less_than_two_seconds(browser, tmp_path):
    """Also on a machine with other work: the best of three tries, and the page's own cost."""
    file = tmp_path / "large.html"
    file.write_bytes(render_html(large_report()))
    browser.call("Performance.enable", timeDomain="threadTicks")
    seconds, busy = [], [browser.processor_seconds()]
    for _ in range(3):
        started = time.monotonic()
        browser.open(file, 1280)
        seconds.append(time.monotonic() - started)
        busy.append(browser.processor_seconds())
    assert browser.evaluate("document.images.length") > 20
    cost = [after - before for before, after in itertools.pairwise(busy)]
    size = file.stat().st_size / 1e6
    sys.stdout.write(f"{size:.1f} MB; opens in {seconds} s, for {cost} s of processor time")
    assert min(seconds) < 2.0
    assert min(cost) < 1.0


def test_hostile_text_runs_nothing(browser, tmp_path):
    known = rich_facts()
    variants = [known.variants[0].model_copy(update={"label": HOSTILE}), *known.variants[1:]]
    texts = FlipTexts(
        prompt=HOSTILE, completion=f"</pre>{HOSTILE}", reference_completion=f"]]>{HOSTILE}"
    )
    hostile = dataclasses.replace(
        known, headline=HOSTILE, variants=tuple(variants), flips=(group_of(texts),)
    )
    file = tmp_path / "hostile.html"
    file.write_bytes(render_html(assemble(hostile)))
    browser.complaints.clear()
    browser.open(file, 1280)
    assert browser.complaints == []
    assert browser.evaluate("document.scripts.length") == 0
    assert HOSTILE in browser.evaluate("document.body.innerText")
    shown = browser.evaluate("[...document.querySelectorAll('pre')].map(e => e.textContent)")
    assert shown == [texts.prompt, texts.reference_completion, texts.completion]


@pytest.mark.parametrize("width", WIDTHS)
def test_a_canarys_tables_are_read_at_any_width_and_run_nothing(browser, tmp_path, width):
    file = tmp_path / "canary.html"
    file.write_bytes(render_html(assemble(facts(canary=canary_facts()))))
    browser.complaints.clear()
    browser.open(file, width)
    assert browser.complaints == []
    assert browser.evaluate("document.scripts.length") == 0
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    browser.evaluate("document.querySelector('nav a[href=\"#canary\"]').click()")
    shown = browser.evaluate("document.querySelector('#canary').innerText")
    for text in ("250 ms", "in 2 parts", "25.0 %", "[10.0, 40.0]", "fail", HOSTILE):
        assert text in shown, text
    regions = "[...document.querySelectorAll('#canary [role=region]')]"
    assert browser.evaluate(f"{regions}.length") == 2
    # What does not fit is inside a region that scrolls.
    fits = f"{regions}.every(r => r.getBoundingClientRect().right <= window.innerWidth)"
    assert browser.evaluate(fits)
    assert browser.evaluate(f"{regions}[1].querySelector('tbody td').offsetHeight") > 12
    if folder := os.environ.get("ASSAY_SCREENSHOTS"):
        browser.screenshot(Path(folder) / f"canary-{width}.png")


def test_flipped_examples_open_by_the_keyboard(browser, tmp_path):
    texts = FlipTexts(prompt="user: a", completion="b", reference_completion="c")
    file = tmp_path / "flips.html"
    file.write_bytes(render_html(assemble(dataclasses.replace(facts(), flips=(group_of(texts),)))))
    browser.open(file, 400)
    for summary in ("#flips > details > summary", "#flips .texts summary"):
        browser.evaluate(f"document.querySelector('{summary}').focus()")
        browser.press("Enter", 13)
    assert browser.evaluate("document.querySelectorAll('#flips details[open]').length") == 2
    assert browser.evaluate("document.querySelector('#flips pre').innerText") == "user: a"
    assert browser.evaluate("document.documentElement.scrollWidth") <= 400


if os.environ.get("ASSAY_SCREENSHOTS"):

    @pytest.mark.parametrize("width", WIDTHS)
    def test_screenshots_for_people(browser, report, width):
        browser.open(report, width)
        browser.screenshot(Path(os.environ["ASSAY_SCREENSHOTS"]) / f"report-{width}.png")
