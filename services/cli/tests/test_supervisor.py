"""The supervisor on real processes: start, crash, restart, stale pids, the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from assay_cli.supervisor import control
from assay_cli.supervisor.records import ProcessRecord, find, record_of, stop
from assay_cli.supervisor.stack import choose_ports
from assay_cli.supervisor.state import Plan, RunFolder, ServiceSpec, ServiceState, StackState
from assay_core.errors import FailedPrecondition, InvalidArgument

SERVICE = Path(__file__).parent / "tiny_service.py"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[RunFolder]:
    run = RunFolder(tmp_path / "home")
    yield run
    control.down(run, grace=3.0)


def plan(**modes: str) -> Plan:
    ports = choose_ports(modes, {})
    services = [
        ServiceSpec(
            name=name,
            phase=index,
            command=(sys.executable, str(SERVICE), mode, "--listen", f"127.0.0.1:{ports[name][0]}"),
            address=f"127.0.0.1:{ports[name][0]}",
            metrics=f"127.0.0.1:{ports[name][1]}",
        )
        for index, (name, mode) in enumerate(modes.items())
    ]
    return Plan(services=tuple(services), grace_seconds=2.0, backoff_seconds=0.2)


def up(folder: RunFolder, **modes: str) -> tuple[StackState, bool]:
    return control.up(folder, lambda: plan(**modes), 60.0, lambda _: None)


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.1)


def service(folder: RunFolder, name: str) -> ServiceState:
    state = folder.read()
    assert state is not None
    return next(each for each in state.services if each.name == name)


def pid_of(folder: RunFolder, name: str) -> int:
    process = service(folder, name).process
    assert process is not None
    return process.pid


def runs(pid: int) -> bool:
    """Whether a process is there and no zombie, which one of the test's own children may be."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])


def test_up_starts_every_service_and_down_ends_every_one(folder: RunFolder) -> None:
    state, started = up(folder, one="plain", two="plain")
    assert started
    pids = [each.process.pid for each in state.services if each.process]
    assert len(pids) == 2
    assert [each.health for each in control.status(folder)] == ["serving", "serving"]
    assert control.down(folder, grace=3.0) == ["one", "two"]
    assert not any(runs(pid) for pid in [*pids, state.supervisor.pid])
    assert folder.read() is None


def test_a_second_up_finds_what_is_up(folder: RunFolder) -> None:
    first, _ = up(folder, one="plain")
    second, started = up(folder, one="plain")
    assert not started
    assert second.supervisor == first.supervisor


def test_a_killed_service_comes_back_at_the_same_address(folder: RunFolder) -> None:
    up(folder, one="plain", two="plain")
    before = service(folder, "one")
    other = pid_of(folder, "two")
    os.kill(pid_of(folder, "one"), signal.SIGKILL)
    eventually(lambda: service(folder, "one").restarts == 1)
    eventually(lambda: control.status(folder)[0].health == "serving")
    after = service(folder, "one")
    assert after.address == before.address
    assert after.process != before.process
    assert after.exit_code == -signal.SIGKILL
    assert pid_of(folder, "two") == other


def test_children_of_a_killed_service_do_not_outlive_it(folder: RunFolder) -> None:
    up(folder, one="parent")
    eventually(lambda: "child" in folder.log("one").read_text())
    child = int(folder.log("one").read_text().split("child ")[1].split()[0])
    os.kill(pid_of(folder, "one"), signal.SIGKILL)
    eventually(lambda: not runs(child))


def test_a_service_that_ignores_sigterm_is_killed_after_its_grace(folder: RunFolder) -> None:
    up(folder, one="stubborn")
    pid = pid_of(folder, "one")
    began = time.monotonic()
    control.down(folder, grace=2.0)
    assert not runs(pid)
    assert time.monotonic() - began < 10


def test_a_service_that_cannot_start_shows_its_log_and_the_remedy(folder: RunFolder) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        up(folder, good="plain", bad="broken")
    assert caught.value.reason == "SERVICE_FAILED"
    assert "bad does not start" in caught.value.message
    assert "No module named 'torch'" in caught.value.message
    assert "make setup" in (caught.value.remedy or "")
    assert folder.read() is None, "what was started must be stopped again"


def test_services_of_a_dead_supervisor_are_stopped_by_down(folder: RunFolder) -> None:
    state, _ = up(folder, one="plain")
    pid = pid_of(folder, "one")
    os.kill(state.supervisor.pid, signal.SIGKILL)
    eventually(lambda: find(state.supervisor) is None)
    assert runs(pid)
    assert control.down(folder, grace=3.0) == ["one"]
    eventually(lambda: not runs(pid))


def test_services_of_a_dead_supervisor_are_replaced_by_up(folder: RunFolder) -> None:
    state, _ = up(folder, one="plain")
    pid = pid_of(folder, "one")
    os.kill(state.supervisor.pid, signal.SIGKILL)
    eventually(lambda: find(state.supervisor) is None)
    _, started = up(folder, one="plain")
    assert started
    assert pid_of(folder, "one") != pid
    assert not runs(pid)


def test_a_stale_pid_file_never_hurts_another_process(folder: RunFolder) -> None:
    innocent = sleeper()
    try:
        stale = ProcessRecord(pid=innocent.pid, started=record_of(innocent.pid).started - 100)
        folder.write(
            StackState(
                supervisor=stale,
                services=(
                    ServiceState(
                        name="one",
                        address="127.0.0.1:1",
                        metrics="127.0.0.1:2",
                        state="running",
                        process=stale,
                    ),
                ),
            )
        )
        assert control.status(folder)[0].health == "crashed"
        control.down(folder, grace=1.0)
        time.sleep(0.3)
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


def test_stop_takes_only_what_the_record_describes() -> None:
    process = sleeper()
    record = record_of(process.pid)
    stop([record.model_copy(update={"started": record.started + 5})], grace=0.5)
    assert process.poll() is None
    stop([record], grace=5)
    assert process.wait(5) == -signal.SIGTERM


def test_usual_ports_give_way_and_fixed_ones_do_not() -> None:
    ports = choose_ports(["coordinator", "evaluator-a", "evaluator-b"], {})
    every = [port for pair in ports.values() for port in pair]
    assert len(set(every)) == 6
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(FailedPrecondition, match=f"port {port} of coordinator is taken"):
            choose_ports(["coordinator"], {"coordinator": port})
    with pytest.raises(InvalidArgument, match="is not a service"):
        choose_ports(["coordinator"], {"cordinator": 7400})
