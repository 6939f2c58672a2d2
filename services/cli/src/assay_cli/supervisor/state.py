"""What the supervisor runs, as files under `HOME/run`.

`plan.json` is what it was told to start, `stack.json` what it did start; both are private to the
user. `supervisor.lock` is held for the supervisor's whole life, so that there is at most one.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from assay_cli.supervisor.records import ProcessRecord
from assay_core.errors import FailedPrecondition, InvalidArgument

RUN_FOLDER = "run"
LOGS_FOLDER = "logs"
_PRIVATE = 0o600

ModelT = TypeVar("ModelT", bound=BaseModel)


class ServiceSpec(BaseModel):
    """A process of the stack, before it runs.

    Attributes:
        name: `coordinator`, `compression`, `serving`, `evaluator-ethics`.
        phase: Order of stopping: processes of a lower phase stop first.
        command: Program and arguments.
        environment: Variables on top of the supervisor's own.
        folder: Working directory; None is the supervisor's own.
        address: gRPC address HOST:PORT.
        metrics: Prometheus address HOST:PORT.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    phase: int = 0
    command: tuple[str, ...]
    folder: Path | None = None
    environment: dict[str, str] = {}
    address: str
    metrics: str


class Plan(BaseModel):
    """What a supervisor shall run.

    Attributes:
        services: The processes.
        grace_seconds: Time between SIGTERM and SIGKILL.
        backoff_seconds: Wait before the first restart; doubles per crash.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    services: tuple[ServiceSpec, ...]
    grace_seconds: float = 25.0
    backoff_seconds: float = 1.0


class ServiceState(BaseModel):
    """A process of the stack, as it is.

    Attributes:
        state: `running`, `crashed` (waits for its restart) or `stopped`.
        restarts: Crashes survived since the stack came up.
        exit_code: Of the last exit; negative is a signal.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    phase: int = 0
    address: str
    metrics: str
    state: Literal["running", "crashed", "stopped"]
    process: ProcessRecord | None = None
    restarts: int = 0
    exit_code: int | None = None


class StackState(BaseModel):
    """The stack, as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    supervisor: ProcessRecord
    services: tuple[ServiceState, ...]

    def address(self, name: str) -> str | None:
        """Address of a service by name; None if the stack has none of that name."""
        return next((each.address for each in self.services if each.name == name), None)


class RunFolder:
    """The files of one home folder's stack."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.path = home / RUN_FOLDER
        self.logs = home / LOGS_FOLDER

    def log(self, name: str) -> Path:
        """Log file of a service."""
        return self.logs / f"{name}.log"

    def read(self) -> StackState | None:
        """The recorded stack; None if there is none.

        Raises:
            FailedPrecondition: If the file is not one of ours.
        """
        return _read(self.path / "stack.json", StackState)

    def write(self, state: StackState) -> None:
        """Records the stack, atomically."""
        self._write("stack.json", state.model_dump_json(indent=1))

    def read_plan(self) -> Plan | None:
        """What the supervisor shall run; None if nobody said."""
        return _read(self.path / "plan.json", Plan)

    def write_plan(self, plan: Plan) -> None:
        """Says what the supervisor shall run, atomically."""
        self._write("plan.json", plan.model_dump_json(indent=1))

    def clear(self) -> None:
        """Forgets the stack."""
        for name in ("stack.json", "plan.json"):
            (self.path / name).unlink(missing_ok=True)

    @contextmanager
    def lock(self) -> Iterator[bool]:
        """Takes the supervisor's lock; yields whether it was free. Ends with the process.

        Raises:
            InvalidArgument: If the home is no folder.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise InvalidArgument.of(
                "home", f"is {self.path.parent}, no folder", remedy="set ASSAY_HOME to one of yours"
            ) from None
        with (self.path / "supervisor.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    def _write(self, name: str, text: str) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        temporary = self.path / f".{name}.{os.getpid()}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        temporary.replace(self.path / name)


def _read(file: Path, model: type[ModelT]) -> ModelT | None:
    try:
        text = file.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise FailedPrecondition(
            f"{file} is not a file of this version of Assay",
            reason="STACK_STATE_UNREADABLE",
            remedy=f"stop the services it describes, then delete it: rm {file}",
        ) from error
