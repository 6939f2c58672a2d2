# Images, chart and cluster. Included by the Makefile; the defaults suit docker and kind.
IMAGE_BUILD      ?= docker build
IMAGE_LOAD       ?= kind load docker-image
# Runs a command where the cluster's API and Services are reachable; empty: here.
CLUSTER_EXEC     ?=
IMAGE_REGISTRY   ?= assay.local
IMAGE_TAG        ?= 0.1.0
IMAGE_ARGS       ?=
# Service folders; an image has its folder's name.
IMAGES           ?= coordinator evaluators compression serving scoring cli
HELM             ?= helm
image_name        = $(IMAGE_REGISTRY)/assay/$(1):$(IMAGE_TAG)

.PHONY: images
images: $(addprefix image-,$(IMAGES)) ## Build the container images (IMAGE_BUILD, IMAGES, IMAGE_TAG)

.PHONY: $(addprefix image-,$(IMAGES))
$(addprefix image-,$(IMAGES)): image-%:
	$(IMAGE_BUILD) $(IMAGE_ARGS) --build-arg REVISION=$$(git rev-parse HEAD) -t $(call image_name,$*) -f services/$*/Dockerfile .

.PHONY: images-load
images-load: ## Load the images into the cluster (IMAGE_LOAD)
	@for image in $(foreach name,$(IMAGES),$(call image_name,$(name))); do echo "loading $$image"; $(IMAGE_LOAD) $$image; done

.PHONY: image-locks
image-locks: setup ## Make locks/images again from the environments' locks
	@.venv/bin/python tools/image_locks.py

.PHONY: chart-docs
chart-docs: .venv/.ready ## Make the chart's README table, docs/operations/metrics.md and the dashboards again
	@.venv/bin/python charts/tools/docs.py
	@.venv/bin/python charts/tools/dashboards.py

.PHONY: chart-test
chart-test: .venv/.ready ## Lint, render and test the chart; needs helm, and promtool for the alerts
	@.venv/bin/python -m pytest tests/chart

# A Postgres for the tests of a cluster that reaches no registry.
POSTGRES_IMAGE   ?= $(IMAGE_REGISTRY)/postgres:test
.PHONY: image-postgres
image-postgres:
	$(IMAGE_BUILD) -t $(POSTGRES_IMAGE) -f tests/cluster/postgres/Dockerfile tests/cluster/postgres
	$(IMAGE_LOAD) $(POSTGRES_IMAGE)

# Needs nothing of a cluster but KUBECONFIG; the defaults above suit docker and kind.
.PHONY: e2e
e2e: .venv/.ready images images-load image-postgres e2e-tests ## Install on a real cluster and live through a release's life (IMAGE_*, CLUSTER_EXEC)

.PHONY: e2e-tests
e2e-tests: .venv/.ready ## The same with images that are loaded already
	@ASSAY_E2E_REGISTRY=$(IMAGE_REGISTRY) ASSAY_E2E_TAG=$(IMAGE_TAG) ASSAY_E2E_POSTGRES=$(POSTGRES_IMAGE) HELM=$(HELM) $(CLUSTER_EXEC) \
	  .venv/bin/python -m pytest tests/cluster --ignore=tests/cluster/operators --exitfirst --durations=0 --durations-min=1

# Which of them; empty: all.
OPERATORS        ?=
.PHONY: operators
operators: ## Build operators from their Go modules and install them, where the cluster reaches no registry (IMAGE_*, CLUSTER_EXEC, OPERATORS)
	@for action in build install; do \
	  IMAGE_BUILD="$(IMAGE_BUILD)" IMAGE_LOAD="$(IMAGE_LOAD)" CLUSTER_EXEC="$(CLUSTER_EXEC)" HELM="$(HELM)" \
	    tests/cluster/operators/operators $$action $(OPERATORS) || exit 1; \
	done

.PHONY: e2e-operators
e2e-operators: .venv/.ready ## The chart with the operators that a cluster has, really acting; the images are loaded already
	@ASSAY_E2E_REGISTRY=$(IMAGE_REGISTRY) ASSAY_E2E_TAG=$(IMAGE_TAG) HELM=$(HELM) $(CLUSTER_EXEC) \
	  .venv/bin/python -m pytest tests/cluster/operators -rs --durations=0 --durations-min=1
