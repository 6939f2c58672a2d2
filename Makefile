# Assay: make is the only entry. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
# Without byte code every start of a process compiles vLLM, torch and the rest anew.
unexport PYTHONDONTWRITEBYTECODE

PY        := .venv/bin/python
PY_SERVE  := .venvs/serving/bin/python
PY_COMP   := .venvs/compression/bin/python
BASE_PACKAGES := services/core services/evaluators services/coordinator services/cli

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# -- environments -------------------------------------------------------------------------------
.PHONY: setup
setup: .venv/.ready .venvs/serving/.ready .venvs/compression/.ready ## Create the three locked environments

.venv/.ready: locks/base.lock pyproject.toml $(addsuffix /pyproject.toml,$(BASE_PACKAGES)) tools/env.sh
	@tools/env.sh .venv locks/base.lock $(BASE_PACKAGES)

.venvs/serving/.ready: locks/serving.lock services/core/pyproject.toml services/serving/pyproject.toml services/scoring/pyproject.toml tools/env.sh
	@tools/env.sh .venvs/serving locks/serving.lock services/core services/serving services/scoring

.venvs/compression/.ready: locks/compression.lock services/core/pyproject.toml services/compression/pyproject.toml tools/env.sh
	@tools/env.sh .venvs/compression locks/compression.lock services/core services/compression

.PHONY: mlflow
mlflow: .venv/.mlflow ## Add MLflow to the environment of the command line (assay export mlflow)

.venv/.mlflow: .venv/.ready locks/mlflow.lock
	@tools/uv.sh pip install --quiet --python .venv/bin/python --no-deps -r $(word 2,$^)
	@touch $@

# GPTQModel, which the GPTQ format is tested against; nothing of ours is installed beside it.
.venvs/gptqmodel/.ready: locks/gptqmodel.lock tools/env.sh
	@tools/env.sh .venvs/gptqmodel locks/gptqmodel.lock

# A tracking server of MLflow, which the export is tested against.
.venvs/mlflow-server/.ready: locks/mlflow-server.lock tools/env.sh
	@tools/env.sh .venvs/mlflow-server locks/mlflow-server.lock

# auto-gptq, an optional backend for CUDA machines; nothing of ours is installed beside it.
.venvs/autogptq/.ready: locks/autogptq.lock tools/env.sh
	@tools/env.sh .venvs/autogptq locks/autogptq.lock

.PHONY: autogptq
autogptq: .venvs/compression/.ready ## Make the environment of auto-gptq; refuses a machine without CUDA
	@.venvs/compression/bin/python -m assay_compression.autogptq --check
	@$(MAKE) --no-print-directory .venvs/autogptq/.ready

.PHONY: lock
lock: .venv/.ready ## Resolve the locks again (locks/*.lock); versions stay unless LOCK_ARGS=--upgrade
	@python3 tools/lock.py $(LOCK_ARGS)

# -- the product --------------------------------------------------------------------------------
.PHONY: run
run: setup ## Run the demo study on this machine and print the comparison table and the report's path
	@.venv/bin/assay study run -f examples/demo.yaml --with-services

.PHONY: demo-model
demo-model: setup ## Train the demo model and build the demo pack again (models/demo, packs/demo)
	@$(MAKE) -C models/demo

# -- contracts ----------------------------------------------------------------------------------
.PHONY: proto
proto: .venv/.ready ## Generate the Python stubs from protos/
	@.venv/bin/python tools/validate_proto.py protos/third_party/buf/validate/validate.proto
	@tools/proto.sh

.PHONY: proto-check
proto-check: .venv/.ready ## Lint the contracts, check stubs for drift and changes for compatibility
	@cd protos && ../.venv/bin/buf lint && ../.venv/bin/buf format --diff --exit-code --path assay
	@mkdir -p build && .venv/bin/python tools/validate_proto.py build/validate.proto
	@diff -u protos/third_party/buf/validate/validate.proto build/validate.proto
	@tools/proto.sh build/stubs
	@diff -ru build/stubs/assay services/core/src/assay --exclude=__pycache__ && diff -ru build/stubs/buf services/core/src/buf --exclude=__pycache__
	@tools/breaking.sh

.PHONY: dimensions-doc
dimensions-doc: .venv/.ready ## Write docs/dimensions.md from what the evaluators say of themselves
	@.venv/bin/python tools/dimensions_doc.py

# -- quality ------------------------------------------------------------------------------------
.PHONY: lint
lint: setup proto-check ## ruff, mypy --strict, buf lint, stub drift, breaking changes
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy --exclude 'src/(assay|buf)/' $(addsuffix /src,$(wildcard services/*)) tools

.PHONY: format
format: .venv/.ready ## Format the Python code
	@.venv/bin/ruff check --fix . && .venv/bin/ruff format .

.PHONY: test
test: setup ## Run all tests: real processes, sockets, databases, compression jobs, a real vLLM engine, the whole line
	@$(MAKE) --no-print-directory -j2 --output-sync=target \
	  test-serving test-coordinator test-evaluators test-compression test-e2e

.PHONY: test-evaluators
test-evaluators: .venv/.ready ## Tests of core and evaluators
	@.venv/bin/python -m pytest services/core services/evaluators

.PHONY: test-coordinator
test-coordinator: .venv/.ready ## Tests of coordinator, command line and chart
	@.venv/bin/python -m pytest services/coordinator services/cli tests/chart

.PHONY: test-compression
test-compression: .venvs/compression/.ready ## Tests of the compression service
	@.venvs/compression/bin/python -m pytest services/compression

.PHONY: test-gptqmodel
test-gptqmodel: .venvs/compression/.ready .venvs/gptqmodel/.ready ## The GPTQ format both ways against GPTQModel itself
	@.venvs/compression/bin/python -m pytest services/compression/tests/test_gptqmodel.py -m "gptqmodel or compression"

.PHONY: test-mlflow
test-mlflow: mlflow .venvs/mlflow-server/.ready ## The export to MLflow, to a database and to a tracking server
	@ASSAY_REQUIRE=mlflow .venv/bin/python -m pytest services/cli/tests/test_mlflow.py

.PHONY: test-autogptq
test-autogptq: .venvs/compression/.ready .venvs/autogptq/.ready ## Our calls of auto-gptq against the library itself; needs no CUDA
	@.venvs/compression/bin/python -m pytest services/compression/tests/test_autogptq.py -m "autogptq or compression"

.PHONY: test-serving
test-serving: .venvs/serving/.ready ## Tests of serving, with a real vLLM engine, and of scoring
	@.venvs/serving/bin/python -m pytest services/serving services/scoring -m "not slow"

.PHONY: test-families
test-families: .venvs/serving/.ready ## Serve every family and packing, one engine start each; 20 swaps against offline vLLM
	@.venvs/serving/bin/python -m pytest services/serving/tests/test_families.py services/serving/tests/test_offline.py

.PHONY: gpu-check
gpu-check: setup ## Compress, load, swap and generate on a GPU in less than ten minutes; refuses without one
	@.venv/bin/python tests/gpu/check.py

.PHONY: gpu-compression
gpu-compression: .venvs/compression/.ready ## Every method on a GPU against the CPU, resume after kills, seconds per layer of a 7B shape
	@.venvs/compression/bin/python tests/gpu/compression.py

.PHONY: test-scaling
test-scaling: .venvs/serving/.ready ## An engine that scales from one replica to two under load, across swaps
	@.venvs/serving/bin/python -m pytest services/serving/tests/test_scaling.py

.PHONY: test-external
test-external: setup ## An endpoint that is not ours, a `vllm serve` process: generations, and a study
	@.venvs/serving/bin/python -m pytest services/serving/tests/test_vllm_serve.py
	@.venv/bin/python -m pytest tests/external/test_vllm_study.py

.PHONY: test-s3
test-s3: setup ## A study with all its data in an S3 (moto, a real HTTP server), every service a process of its own
	@.venv/bin/python -m pytest tests/external/test_s3_study.py

.PHONY: faults-serving
faults-serving: .venvs/serving/.ready ## Kill engine, replica, Ray and gateway under load; a Ray cluster that outlives its gateways
	@.venvs/serving/bin/python -m pytest services/serving/tests/test_kills.py services/serving/tests/test_ray_cluster.py

.PHONY: faults-evaluators
faults-evaluators: .venv/.ready ## An evaluator killed 20 times at random points (the ordinary test: three times)
	@ASSAY_TEST_KILLS=20 .venv/bin/python -m pytest services/evaluators/tests/test_kills.py

.PHONY: test-e2e
test-e2e: setup ## Tests of the whole line, every service a process of its own
	@.venv/bin/python -m pytest tests/e2e

# -- measurements -------------------------------------------------------------------------------
.PHONY: bench-scoring
bench-scoring: .venvs/serving/.ready ## Texts per second of a BERT-base classifier
	@.venvs/serving/bin/python benchmarks/scoring.py

.PHONY: bench-serving
bench-serving: .venvs/serving/.ready ## Throughput of gateway and Ray Serve against vLLM alone, on the demo model
	@.venvs/serving/bin/python -m benchmarks.serving

.PHONY: bench-serving-1b
bench-serving-1b: .venvs/serving/.ready ## The same with a random 1B-shape model in bfloat16, few completions
	@.venvs/serving/bin/python -m benchmarks.serving --model 1b --rounds 6 \
	  --classification-prompts 16 --sampling-prompts 1 --n 8 --tokens 32

.PHONY: bench-evaluators
bench-evaluators: .venv/.ready ## Parser rates, planner, memory and resume of the evaluators (PROMPTS=prompts.json of a pack)
	@.venv/bin/python benchmarks/evaluators.py $(if $(PROMPTS),--prompts $(PROMPTS))

.PHONY: bench-compression
bench-compression: .venvs/compression/.ready ## Every recipe on the demo model: perplexity and overhead, into docs/compression-results.md
	@OMP_WAIT_POLICY=PASSIVE .venvs/compression/bin/python -m benchmarks.compression --write docs/compression-results.md

.PHONY: bench-overhead
bench-overhead: .venvs/compression/.ready ## The service against the library on a larger random model, into docs/compression-overhead.md
	@OMP_WAIT_POLICY=PASSIVE .venvs/compression/bin/python -m benchmarks.compression.larger --write docs/compression-overhead.md

.PHONY: bench-departures
bench-departures: .venvs/compression/.ready ## How far variants are from the dense model, by calibration text, into docs/compression-departures.md
	@OMP_WAIT_POLICY=PASSIVE .venvs/compression/bin/python -m benchmarks.compression.departures --write docs/compression-departures.md

# All 22 layers of the shape take longer than ten minutes on two cores: LAYERS=22 for those.
LAYERS ?= 4
.PHONY: bench-scale
bench-scale: .venvs/compression/.ready .venvs/serving/.ready ## A model of the 1.1 B shape: time per layer, peak memory, load, swap, 1,000 completions, into docs/compression-scale.md
	@rm -rf build/scale && mkdir -p build/scale
	@OMP_WAIT_POLICY=PASSIVE .venvs/compression/bin/python -m benchmarks.scale --layers $(LAYERS) --scratch build/scale --keep build/scale/made --write docs/compression-scale.md
	@.venvs/serving/bin/python -m benchmarks.scale_serving build/scale/made/gptq build/scale/made/wanda --write docs/compression-scale.md
	@rm -rf build/scale

.PHONY: layouts-vllm
layouts-vllm: setup ## Which packed layouts vLLM on CPU loads, into docs/compression-layouts.md
	@rm -rf build/layouts && .venvs/compression/bin/python services/compression/tests/layout_table.py models/demo/model build/layouts
	@.venvs/serving/bin/python services/compression/tests/layouts_vllm.py build/layouts
.PHONY: test-statistics
test-statistics: .venv/.ready ## Coverage of every interval, error of the gate and of early stopping; prints the figures
	@.venv/bin/python -m pytest services/coordinator -m simulation -rP

.PHONY: bench-control
bench-control: .venv/.ready ## What the coordinator costs: samples/s, list, resume, cancel, with stub peers
	@.venv/bin/python benchmarks/control_plane.py

.PHONY: chaos
chaos: setup ## Kill -9 a random service again and again during a study, on SQLite and on Postgres
	@.venv/bin/python tests/faults/chaos.py

.PHONY: clean
clean: ## Remove environments, caches and local data (.assay)
	@[ ! -x .venv/bin/assay ] || .venv/bin/assay down || true
	@rm -rf .venv .venvs .assay build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# -- images, chart, cluster -----------------------------------------------------------------------
-include charts/targets.mk
