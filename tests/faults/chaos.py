"""Kills a random service with SIGKILL, again and again, while a study runs (`make chaos`).

The same study runs undisturbed, and from nothing with kills, again until there were enough of them.
Each time the scores must be byte-identical, and no completion may have been generated twice beyond
those that were in flight at a kill.

    chaos.py [--kills 20] [--every 6] [--on sqlite postgres] [--study FILE] [--seed 0]

Real services under the local supervisor, which restarts what dies. A kill of serving costs a new
engine, so the whole takes long; it prints what it does.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / "e2e"), str(ROOT / "services" / "coordinator" / "tests")]

import postgres  # noqa: E402
from stack import Stack  # noqa: E402

# Completions that an evaluator may hold without having them on disk: design, section 9.
IN_FLIGHT_PER_KILL = 256
SERVICES = ("coordinator", "compression", "serving", "evaluator-ethics", "evaluator-fairness")
DATABASES = ["sqlite", "postgres"]
FINAL = ("STATE_SUCCEEDED", "STATE_FAILED", "STATE_CANCELLED")


def main() -> int:
    """Run both studies and compare; 0 if nothing differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--every", type=float, default=6.0, help="seconds between kills")
    parser.add_argument("--study", type=Path, default=ROOT / "tests" / "faults" / "chaos.yaml")
    parser.add_argument("--on", nargs="+", choices=DATABASES, default=DATABASES, help="databases")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of victims")
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds for a disturbed run")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="assay-chaos-"))
    try:
        calm = undisturbed(Stack(folder / "calm"), options.study)
        return max(compare(calm, name, folder / name, options) for name in options.on)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def compare(calm: dict[str, Any], name: str, home: Path, options: argparse.Namespace) -> int:
    """Disturbed runs on one database against the undisturbed one; 0 if nothing differs."""
    rng = random.Random(options.seed)  # noqa: S311 - chooses victims, not secrets
    made = 0
    while made < options.kills:
        say(f"disturbed run on {name}")
        folder = home / f"after-{made}"
        with database(name) as environment:
            wild, kills = disturbed(Stack(folder, environment), options, rng, options.kills - made)
        if judge(calm, wild, kills, folder):
            return 1
        if not kills:
            say("FAILED: it ended before a service was killed")
            return 1
        made += kills.total()
    say(f"{name}: {made} kills, and nothing differs")
    return 0


@contextlib.contextmanager
def database(name: str) -> Iterator[Mapping[str, str]]:
    """Environment of a coordinator on a Postgres server of its own, or on its default."""
    if name != "postgres":
        yield {}
        return
    with postgres.server() as url:
        yield {"ASSAY_COORDINATOR_DATABASE_URL": url}


def undisturbed(stack: Stack, study: Path) -> dict[str, Any]:
    """The study as it should be."""
    say("undisturbed run")
    ran = stack.assay("study", "run", "-f", study, "--with-services", "--json")
    if ran.code not in (0, 1, 3):
        raise SystemExit(f"the undisturbed run failed:\n{ran.err}\n{stack.logs()}")
    say(f"undisturbed run took {ran.seconds:.0f} s")
    document = ran.document
    found: dict[str, Any] = document.get("study", document)
    return found


def disturbed(
    stack: Stack, options: argparse.Namespace, rng: random.Random, most: int
) -> tuple[dict[str, Any], Counter[str]]:
    """The study while services die, at most so often; and how often each did."""
    up = stack.assay("up")
    if up.code:
        raise SystemExit(f"services did not come up:\n{up.err}")
    try:
        created = stack.assay("study", "create", "-f", options.study, "--json").document["study"]
        study = created["meta"]["id"]
        end = time.monotonic() + options.limit
        kills: Counter[str] = Counter()
        engine_died_at = 0
        while time.monotonic() < end:
            time.sleep(options.every * rng.uniform(0.5, 1.5))
            state = show(stack, study)
            if state is not None and state["meta"]["state"] in FINAL:
                return state, kills
            if kills.total() == most or state is None:
                continue
            done = progress(state)
            # An engine takes a minute to come back, and must be of use before it dies again.
            spared = {"serving"} if done <= engine_died_at else set()
            if name := kill_one(stack, rng, kills, spared):
                kills[name] += 1
                say(f"kill {kills.total()}: {name}; {done} completions are done")
                engine_died_at = done if name == "serving" else engine_died_at
        raise SystemExit(f"not finished within {options.limit:.0f} s\n{stack.logs()}")
    finally:
        stack.assay("down")


def kill_one(stack: Stack, rng: random.Random, kills: Counter[str], spared: set[str]) -> str | None:
    """SIGKILL to a random service that runs, of those that were killed least; its name."""
    victims = [name for name in SERVICES if name not in spared]
    for name in sorted(victims, key=lambda name: (kills[name], rng.random())):
        with contextlib.suppress(StopIteration, AssertionError, ProcessLookupError):
            stack.kill(name)
            return name
    return None


def show(stack: Stack, study: str) -> dict[str, Any] | None:
    """The study; None while its coordinator is dead."""
    ran = stack.assay("study", "show", study, "--json")
    if ran.code:
        return None
    document = json.loads(ran.out)
    found: dict[str, Any] = document.get("study", document)
    return found


def progress(study: dict[str, Any]) -> int:
    """Completions that are done."""
    return int(study["meta"].get("progress", {}).get("completed", 0))


def judge(
    calm: dict[str, Any],
    wild: dict[str, Any],
    kills: Counter[str],
    home: Path,
) -> int:
    """Compare the two and say so."""
    problems = []
    if wild["meta"]["state"] != "STATE_SUCCEEDED":
        problems.append(f"the disturbed study ended {wild['meta']['state']}")
    problems += [f"{part}: {error}" for part, error in errors(wild)]
    ours, theirs = digests(wild), digests(calm)
    problems += [f"{key} differs" for key in sorted(theirs) if ours.get(key) != theirs[key]]
    ours, theirs = artifacts(wild), artifacts(calm)
    problems += [f"artifact of {key} differs" for key in theirs if ours.get(key) != theirs[key]]
    repeated, completions = repeats(home)
    allowed = kills.total() * IN_FLIGHT_PER_KILL
    if repeated > allowed:
        problems.append(f"{repeated} completions were generated twice")
    named = ", ".join(f"{name} {kills[name]}" for name in SERVICES)
    say(f"{kills.total()} kills: {named}")
    say(
        f"compared: {len(digests(calm))} verdict digests, {len(theirs)} artifact digests; "
        f"{repeated} of {completions} completions generated twice (in flight at a kill: "
        f"at most {allowed})"
    )
    for problem in problems:
        say(f"PROBLEM: {problem}")
    say("scores are byte-identical" if not problems else "FAILED")
    return 1 if problems else 0


def digests(study: dict[str, Any]) -> dict[str, str]:
    """Digest of the verdict shard of every cell."""
    return {
        f"{variant['key']} {evaluation['dimension']}": evaluation["score"]["verdicts_digest"]
        for variant in study["variants"]
        for evaluation in variant["evaluations"]
        if "score" in evaluation
    }


def errors(study: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What went wrong, by variant and dimension."""
    for variant in study["variants"]:
        for part in (variant, *variant["evaluations"]):
            if "error" in part:
                where = f"{variant['key']} {part.get('dimension', '')}".strip()
                yield where, json.dumps(part["error"])


def artifacts(study: dict[str, Any]) -> dict[str, str]:
    """Digest of the artifact of every variant."""
    return {variant["key"]: variant.get("artifact_digest", "") for variant in study["variants"]}


def repeats(home: Path) -> tuple[int, int]:
    """Completions that lie in more than one shard of their generations, and all there are."""
    twice = once = 0
    for generations in {shard.parent for shard in home.rglob("generations/**/*.parquet")}:
        counted: Counter[tuple[str, int]] = Counter()
        for shard in generations.glob("*.parquet"):
            table = pq.ParquetFile(shard).read(columns=["sample_id", "completion_index"])
            counted.update(zip(*(column.to_pylist() for column in table.columns), strict=True))
        twice += counted.total() - len(counted)
        once += len(counted)
    if not once:
        raise SystemExit(f"no generations lie under {home}")
    return twice, once


def say(text: str) -> None:
    """A line with the time."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
