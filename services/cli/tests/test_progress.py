"""Plain progress: what begins or ends is said at once, the rest seldom, silence never lasts."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration

from assay_cli import words
from assay_cli.output import Output, to_document
from assay_cli.study_progress import PlainProgress
from assay_core.pb import common_pb2, comparison_pb2, coordination_pb2, evaluation_pb2


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def study(
    done: int, state: common_pb2.State.ValueType = common_pb2.STATE_RUNNING, **fields: object
):
    evaluation = coordination_pb2.StudyEvaluation(
        dimension="ethics",
        state=state,
        progress=common_pb2.Progress(
            completed=done, total=400, unit="completions", eta=Duration(seconds=240)
        ),
        **fields,
    )
    variant = coordination_pb2.StudyVariant(key="demo/dense", evaluations=[evaluation])
    return coordination_pb2.Study(variants=[variant])


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_lines_name_variant_dimension_counts_and_time_left(clock, capsys) -> None:
    progress = PlainProgress(Output(), clock)
    progress.update(study(0), "")
    clock.now += 3
    progress.update(study(40), "")
    clock.now += 8
    progress.update(study(120), "")
    clock.now += 1
    progress.update(
        study(
            400,
            common_pb2.STATE_SUCCEEDED,
            score=evaluation_pb2.Score(value=71.26),
        ),
        "",
    )
    assert capsys.readouterr().err.splitlines() == [
        "[    0 s] demo/dense ethics: running, 0 of 400 completions, about 4 min left",
        "[   11 s] demo/dense ethics: running, 120 of 400 completions, about 4 min left",
        "[   12 s] demo/dense ethics: succeeded, score 71.3",
    ]


def test_a_long_silence_is_broken(clock, capsys) -> None:
    progress = PlainProgress(Output(), clock)
    progress.update(study(40), "started")
    capsys.readouterr()
    clock.now += 29
    progress.tick()
    assert capsys.readouterr().err == ""
    clock.now += 1
    progress.tick()
    progress.tick()
    assert capsys.readouterr().err.splitlines() == [
        "[   30 s] still demo/dense ethics: running, 40 of 400 completions, about 4 min left"
    ]


def test_scores_that_were_stored_before_say_so(clock, capsys) -> None:
    progress = PlainProgress(Output(), clock)
    done = study(400, common_pb2.STATE_SUCCEEDED, score=evaluation_pb2.Score(partial_value=50.0))
    done.variants[0].evaluations[0].completions_reused = 400
    progress.update(done, "")
    assert "partial score 50.0 (stored before)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.2, "1 s"), (89, "89 s"), (240, "4 min"), (7500, "2 h 05 min")],
)
def test_times_are_as_exact_as_a_wait_needs(value: float, text: str) -> None:
    assert words.seconds(value) == text


def test_a_difference_has_its_interval_and_sign() -> None:
    comparison = comparison_pb2.Comparison(difference=-6.14, interval_low=-8.0, interval_high=0.4)
    assert words.difference(comparison) == "-6.1 [-8.0, +0.4]"
    assert words.difference(comparison_pb2.Comparison()) == ""


def test_json_keeps_proto_names_and_whole_numbers() -> None:
    document = to_document({"studies": [study(120)]})
    progress = document["studies"][0]["variants"][0]["evaluations"][0]["progress"]
    assert progress["completed"] == 120
    assert progress["total"] == 400
