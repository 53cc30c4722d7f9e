# Everything a person or CI does with this repository. A machine with Python 3.11 or newer, make and git is enough:
# uv comes from the Python package index into .bootstrap, everything else from uv.lock into .venv.

UV_VERSION := 0.13.9
MEMBERS := $(wildcard protos services/* orchestrator orchestrator/nodes tools/*)
# Sub-processes write no bytecode where this variable is set, and start slower for it.
unexport PYTHONDONTWRITEBYTECODE
export UV_COMPILE_BYTECODE := 1
export UV_PYTHON_DOWNLOADS := never

BIN := .venv/bin
BOOTSTRAP := .bootstrap/uv-$(UV_VERSION)
UV := $(BOOTSTRAP)/bin/uv
ENV := .venv/.synced

# The extras of members that are installed: those of the last `make env EXTRAS=...`, until another one names others.
INSTALLED_EXTRAS := $(shell cat .venv/.extras 2>/dev/null)
EXTRAS ?= $(INSTALLED_EXTRAS)
ifneq ($(strip $(EXTRAS)),$(strip $(INSTALLED_EXTRAS)))
.PHONY: $(ENV)
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

##@ Use it

.PHONY: run
run: $(ENV) ## Start the mesh with a sample shop and show each agent at work
	@$(BIN)/graphmesh demo $(ARGS)

.PHONY: up
up: $(ENV) ## Start the mesh and keep it running until Ctrl-C
	@$(BIN)/graphmesh up $(ARGS)

##@ Work on it

.PHONY: chaos
chaos: $(ENV) ## Kill processes of a mesh by a seed while runs charge money, and check the books
	@$(BIN)/graphmesh chaos $(ARGS)

.PHONY: env
env: $(ENV) ## Make or update .venv; EXTRAS="openai anthropic" adds the packages of model vendors

.PHONY: test
test: $(ENV) ## Run all tests, in one process more than there are cores; ARGS="tests/unit -k name" for some
	$(BIN)/pytest --numprocesses logical --maxprocesses 8 $(ARGS)

.PHONY: test-fast
test-fast: $(ENV) ## Run the unit tests, and the contract tests on memory and SQLite: about a minute
	$(BIN)/pytest --numprocesses logical --maxprocesses 8 -m "not backend" tests/unit tests/contract $(ARGS)

.PHONY: check
check: check-python check-protos check-envoy check-pictures check-metrics ## Everything that is checked without running it: style, types, imports, contracts

.PHONY: format
format: $(ENV) ## Format code and protos
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format
	$(BIN)/buf format -w protos

.PHONY: protos
protos: $(ENV) ## Format the protos, and generate all that is made from them
	$(BIN)/buf format -w protos
	$(BIN)/python protos/generate.py
	$(BIN)/graphmesh render envoy

.PHONY: render
render: $(ENV) ## Render Envoy's files from deploy/mesh.yaml and the protos, the pictures of graphs, and the table of metrics
	$(BIN)/graphmesh render envoy
	$(BIN)/graphmesh render pictures
	$(BIN)/graphmesh render metrics

##@ Parts of check

.PHONY: check-python
check-python: $(ENV) ## Lint, format, types, which package may import which, and the lock
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(UV) lock --check --offline --quiet

.PHONY: check-protos
check-protos: $(ENV) ## Lint, format and breaking changes of the contracts; generated code is fresh
	.ci/protos

.PHONY: check-envoy
check-envoy: $(ENV) ## Envoy's rendered files and the OpenAPI document are fresh, and Envoy and a validator accept them
	$(BIN)/graphmesh render envoy --check
	$(BIN)/openapi-spec-validator --schema 3.1 deploy/rendered/envoy/openapi.json

.PHONY: check-pictures
check-pictures: $(ENV) ## The pictures of the graphs are fresh
	$(BIN)/graphmesh render pictures --check

.PHONY: check-metrics
check-metrics: $(ENV) ## The table of metrics in the documentation is fresh
	$(BIN)/graphmesh render metrics --check

##@ The rest

.PHONY: wheels
wheels: $(UV) ## Build the wheels of all packages into dist/
	$(UV) build --all-packages --wheel --out-dir dist

.PHONY: clean
clean: ## Remove everything that was made here: environments, caches, the state of the mesh
	rm -rf dist .venv .bootstrap .graphmesh .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help
help: ## This list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo

$(UV):
	@python=$$(for name in python3 python3.13 python3.12 python3.11; do \
		"$$name" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		command -v "$$name"; break; done); \
	test -n "$$python" || { echo "No Python 3.11 or newer with its venv module was found."; exit 1; }; \
	"$$python" -m venv $(BOOTSTRAP)
	@$(BOOTSTRAP)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(ENV): uv.lock pyproject.toml $(wildcard $(MEMBERS:%=%/pyproject.toml)) | $(UV)
	@test -x $(BIN)/python || $(UV) venv --quiet --python $(BOOTSTRAP)/bin/python .venv
	@$(UV) sync --all-packages --frozen --quiet $(EXTRAS:%=--extra %)
	@echo "$(EXTRAS)" > .venv/.extras
	@$(BIN)/python -m compileall -q $(MEMBERS)
	@touch $(ENV)
