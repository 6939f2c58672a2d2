"""A process with one `vllm.LLM`: answers each line `{"workload": NAME}` with what it took.

The engine has the same arguments and environment as a replica of the serving service, so that a
benchmark compares the way to the engine and nothing else.

    python benchmarks/offline_engine.py MODEL_DIRECTORY SPEC_JSON WORKLOADS_JSON
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from assay_serving.domain import EngineSpec
from assay_serving.engine.arguments import engine_keywords
from assay_serving.runtime import RaySettings, engine_environment


def main() -> None:
    """Start the engine, say so, then serve lines until the input ends."""
    path, spec_json, workloads_json = sys.argv[1:]
    # vLLM prints to the standard output of all its processes: ours is a copy, theirs is stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    spec = EngineSpec(**json.loads(spec_json))
    settings = RaySettings(home=Path(), threads=os.cpu_count() or 1)
    os.environ.update(engine_environment(settings, spec))
    from vllm import LLM

    llm = LLM(**engine_keywords(path, spec), disable_log_stats=True)
    workloads = json.loads(Path(workloads_json).read_text())
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        print(
            json.dumps(measure(llm, workloads[json.loads(line)["workload"]])),
            file=answers,
            flush=True,
        )


def measure(llm: Any, workload: dict[str, Any]) -> dict[str, Any]:
    """Generate a workload once."""
    from vllm import SamplingParams

    parameters = [
        SamplingParams(
            n=workload["n"],
            temperature=workload["temperature"],
            max_tokens=workload["max_tokens"],
            seed=seed if workload["temperature"] else None,
        )
        for seed in workload["seeds"]
    ]
    started = time.perf_counter()
    outputs = llm.generate(workload["prompts"], parameters, use_tqdm=False)
    seconds = time.perf_counter() - started
    texts = [[completion.text for completion in output.outputs] for output in outputs]
    tokens = sum(len(c.token_ids) for output in outputs for c in output.outputs)
    return {"seconds": seconds, "tokens": tokens, "texts": texts}


if __name__ == "__main__":
    main()
