# Assay: make is the only entry. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

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

.venvs/serving/.ready: locks/serving.lock services/core/pyproject.toml services/serving/pyproject.toml tools/env.sh
	@tools/env.sh .venvs/serving locks/serving.lock services/core services/serving

.venvs/compression/.ready: locks/compression.lock services/core/pyproject.toml services/compression/pyproject.toml tools/env.sh
	@tools/env.sh .venvs/compression locks/compression.lock services/core services/compression

.PHONY: lock
lock: ## Resolve the locks again (locks/*.lock)
	python3 tools/lock.py
