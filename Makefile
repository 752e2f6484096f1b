# Everything a person or a machine does with this tree. `make` alone lists it.
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help setup demo demo-down test test-unit test-integration test-e2e e2e chart check format generate bench profile \
  images sbom clean

export PATH := $(CURDIR)/.venv/bin:$(PATH)
STACK := .leat/test
SOURCES := engine/src runner/src operator/src cli/src hack bench

help: ## List the commands
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-17s %s\n", $$1, $$2 }'
	@echo "New here? make demo"

setup: ## Make the environment in .venv (the others do it by themselves)
	@hack/setup
	@[ "$(MAKECMDGOALS)" != setup ] || echo "setup: done. Next: make demo, or make test"

demo: setup ## Start everything here and run a workflow on it
	@python -m leat_stack.demo up

demo-down: setup ## End the demo and remove its data
	@python -m leat_stack.demo down

test: stack ## Run all tests (ARGS="-k name" for some)
	@pytest $(ARGS)
	@leat-stack down --home $(STACK) >/dev/null
	@echo "test: passed. Next: make check"

test-unit: setup ## Run the tests that need no server
	@pytest tests/unit $(ARGS)
	@echo "test-unit: passed. Next: make test"

test-integration: stack ## Run the tests that need Postgres and RabbitMQ, and leave these up
	@pytest tests/integration $(ARGS)
	@echo "test-integration: passed. Next: make test-e2e. To end the servers: .venv/bin/leat-stack down --home $(STACK)"

test-e2e: stack ## Run the tests on the API server and real processes, and leave the servers up
	@pytest tests/e2e $(ARGS)
	@echo "test-e2e: passed. Next: make check. To end the servers: .venv/bin/leat-stack down --home $(STACK)"

e2e: setup ## Install the chart on the cluster of $KUBECONFIG and strike it (docs/operations/install.md tells what it needs)
	@pytest tests/cluster --durations=20 $(ARGS)
	@leat-stack down --home $(STACK) >/dev/null
	@echo "e2e: passed; nothing is left on the cluster but the CRDs. Next: git commit"

.PHONY: stack
stack: setup
	@leat-stack up --home $(STACK)

chart: setup ## Check the chart: helm lint, and what its templates make of values (needs helm)
	@command -v helm >/dev/null || { echo "error: helm is missing: https://helm.sh/docs/intro/install, or go install helm.sh/helm/v4/cmd/helm@v4.3.1"; exit 1; }
	@pytest tests/cluster/test_templates.py $(ARGS)
	@echo "chart: passed. Next: make e2e"

check: setup ## Check style, types, the rooms' contracts, and that generated files are fresh
	@ruff check .
	@ruff format --check .
	@mypy $(SOURCES)
	@lint-imports
	@python hack/generate.py --check
	@echo "check: passed. Next: git commit"

format: setup ## Bring all files to the house's style
	@ruff check --fix --quiet . || true
	@ruff format .
	@echo "format: done. Next: make check"

generate: setup ## Write crds/, JSON schemas and the reference page from the models
	@python hack/generate.py
	@echo "generate: done. Next: git diff, then make check"

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml | head -n 1)
TAG ?= $(VERSION)
images: ## Build both images with Docker (TAG=1.2.3)
	@for part in operator runner; do docker build --file $$part/Dockerfile --tag leat-$$part:$(TAG) --build-arg VERSION=$(TAG) \
	  --build-arg REVISION="$$(git rev-parse HEAD)" --build-arg CREATED="$$(date -u +%Y-%m-%dT%H:%M:%SZ)" . || exit 1; done
	@echo "images: leat-operator:$(TAG), leat-runner:$(TAG). Next: push them, then helm install"

sbom: setup ## Write what each image holds of Python packages, as CycloneDX (the images carry the same at /leat/sbom.cdx.json)
	@mkdir -p dist; export PATH="$$PATH:$(CURDIR)/.leat/uv/bin"; for part in operator runner; do uv export --quiet --frozen --no-dev \
	  --package leat-$$part --format cyclonedx1.5 --output-file dist/leat-$$part.cdx.json >/dev/null || exit 1; done
	@echo "sbom: dist/leat-operator.cdx.json, dist/leat-runner.cdx.json. Next: make images"

bench: setup ## Measure Leat beside its peers (minutes)
	@python -m bench

profile: setup ## Show where a runner's time goes
	@python -m bench.profile

clean: ## End all servers of this tree, remove .leat, .venv and caches
	@for home in .leat/*/; do [ ! -x .venv/bin/leat-stack ] || [ ! -e "$$home/lock" ] || leat-stack down --home "$$home"; done
	@rm -rf .leat .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "clean: done (programs built for Kubernetes stay in the user's cache). Next: make setup"
