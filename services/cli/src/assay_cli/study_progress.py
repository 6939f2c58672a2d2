"""Progress of a study: bars that redraw on a terminal, plain lines everywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from assay_cli import words
from assay_cli.output import Output
from assay_core.pb import common_pb2, coordination_pb2

# Plain lines about work in flight come at most this often; what begins or ends comes at once.
_PLAIN_INTERVAL_SECONDS = 10.0
# After so long without a line, one says what is still going on.
_SILENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Row:
    """One piece of work of a study: a compression, or one dimension of one variant."""

    variant: str
    work: str
    state: str
    completed: int
    total: int
    unit: str
    remaining: str
    note: str

    @property
    def ended(self) -> bool:
        """Whether nothing more will change."""
        return self.state in ("succeeded", "failed", "cancelled")


def rows(study: coordination_pb2.Study) -> Iterator[Row]:
    """Every piece of work that has begun, variant by variant."""
    for variant in study.variants:
        if variant.HasField("compression") or variant.phase or variant.state in words.TERMINAL:
            yield _variant_row(variant)
        for evaluation in variant.evaluations:
            if evaluation.state not in (
                common_pb2.STATE_UNSPECIFIED,
                common_pb2.STATE_QUEUED,
            ):
                yield _evaluation_row(variant.key, evaluation)


class Progress(Protocol):
    """Shows a study while it runs."""

    def update(self, study: coordination_pb2.Study, event: str) -> None:
        """Takes the study as it is now."""

    def tick(self) -> None:
        """Called about once a second, so that silence does not look like a hang."""

    def __enter__(self) -> Self:
        """Begins to show."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends; what was shown stays."""


def progress_for(output: Output) -> Progress:
    """Bars if somebody watches, lines otherwise."""
    return LiveProgress(output) if output.live else PlainProgress(output)


class PlainProgress:
    """One line per thing that begins or ends, and a throttled line while work is in flight."""

    def __init__(self, output: Output, clock: Callable[[], float] = time.monotonic) -> None:
        self._output = output
        self._clock = clock
        self._began = clock()
        self._said: dict[tuple[str, str], str] = {}
        self._reported: dict[tuple[str, str], tuple[float, int]] = {}
        self._spoke = self._began
        self._rows: list[Row] = []

    def update(self, study: coordination_pb2.Study, event: str) -> None:
        """Prints what happened and what changed."""
        if event:
            self._say(event)
        self._rows = list(rows(study))
        now = self._clock()
        for row in self._rows:
            key = (row.variant, row.work)
            if self._said.get(key) != row.state + row.note:
                self._said[key] = row.state + row.note
                self._report(row, now)
            elif row.total and not row.ended:
                last, count = self._reported[key]
                if row.completed != count and now - last >= _PLAIN_INTERVAL_SECONDS:
                    self._report(row, now)

    def tick(self) -> None:
        """Breaks a long silence."""
        if self._clock() - self._spoke < _SILENCE_SECONDS:
            return
        for row in self._rows:
            if not row.ended:
                self._say(f"still {describe(row)}")

    def _report(self, row: Row, now: float) -> None:
        self._reported[row.variant, row.work] = (now, row.completed)
        self._say(describe(row))

    def __enter__(self) -> Self:
        """Nothing to prepare."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to close."""

    def _say(self, text: str) -> None:
        self._spoke = self._clock()
        self._output.note(f"[{self._spoke - self._began:5.0f} s] {text}")


class LiveProgress:
    """A table that redraws itself: one bar per piece of work in flight."""

    def __init__(self, output: Output) -> None:
        self._live = Live(console=output.err, refresh_per_second=4, transient=True)
        self._began = time.monotonic()
        self._shown: tuple[coordination_pb2.Study, str] | None = None

    def update(self, study: coordination_pb2.Study, event: str) -> None:
        """Redraws."""
        self._shown = (study, event)
        self.tick()

    def tick(self) -> None:
        """Redraws with the time that has passed."""
        if self._shown is not None:
            self._live.update(_table(*self._shown, time.monotonic() - self._began))

    def __enter__(self) -> Self:
        """Takes over the lower end of the terminal."""
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Gives the terminal back."""
        self._live.__exit__(kind, error, trace)


def describe(row: Row) -> str:
    """A row as a line: `demo/gptq-3bit-g128 ethics: running, 120 of 400 completions`."""
    parts = [row.state]
    if row.total and not row.ended:
        parts.append(f"{row.completed:,} of {row.total:,} {row.unit}")
    parts += [part for part in (row.remaining, row.note) if part]
    return f"{row.variant} {row.work}".rstrip() + f": {', '.join(parts)}"


def _variant_row(variant: coordination_pb2.StudyVariant) -> Row:
    progress = variant.compression
    phase = variant.phase or words.state(variant.state)
    note = variant.error.message if variant.HasField("error") else ""
    return Row(
        variant=variant.key,
        work="",
        state=words.state(variant.state) if variant.state in words.TERMINAL else phase,
        completed=progress.completed,
        # The compression's counts say nothing about a variant that is being evaluated.
        total=progress.total if phase == "compressing" else 0,
        unit=progress.unit or "steps",
        remaining=words.eta(progress) if phase == "compressing" else "",
        note=note,
    )


def _evaluation_row(key: str, evaluation: coordination_pb2.StudyEvaluation) -> Row:
    progress = evaluation.progress
    note = ""
    if evaluation.HasField("error"):
        note = evaluation.error.message
    elif evaluation.HasField("score"):
        note = describe_score(evaluation)
    return Row(
        variant=key,
        work=evaluation.dimension,
        state=words.state(evaluation.state),
        completed=progress.completed,
        total=progress.total,
        unit=progress.unit or "completions",
        remaining=words.eta(progress),
        note=note,
    )


def describe_score(evaluation: coordination_pb2.StudyEvaluation) -> str:
    """`score 71.3`, with a word where it is partial or came from the store."""
    score = evaluation.score
    if score.HasField("value"):
        text = f"score {score.value:.1f}"
    elif score.HasField("partial_value"):
        text = f"partial score {score.partial_value:.1f}"
    else:
        return "no score"
    total = evaluation.progress.total
    return f"{text} (stored before)" if 0 < total <= evaluation.completions_reused else text


def _table(study: coordination_pb2.Study, event: str, elapsed: float) -> Table:
    done, total = study.meta.progress.completed, study.meta.progress.total
    title = f"{study.spec.name}  {words.state(study.meta.state)}  {words.seconds(elapsed)}"
    if total:
        title += f"  {done:,} of {total:,} {study.meta.progress.unit or 'completions'}"
    if left := words.eta(study.meta.progress):
        title += f"  {left}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("variant", "work", "state", "", "", ""):
        table.add_column(name, no_wrap=True)
    for row in rows(study):
        bar = ProgressBar(total=row.total, completed=row.completed, width=24) if row.total else ""
        count = f"{row.completed:,}/{row.total:,}" if row.total else ""
        style = {"failed": "red", "succeeded": "green"}.get(row.state, "")
        table.add_row(
            row.variant,
            row.work,
            Text(row.state, style=style),
            bar,
            count,
            row.note or row.remaining,
        )
    if event:
        table.caption = event
        table.caption_justify = "left"
    return table
