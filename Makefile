# Everything a developer does, from a machine that has Python 3.11, make and git. `make help` lists the targets.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STAMP := .venv/.installed
PYTEST := $(BIN)/pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help run up test test-integration test-postgres lint bench docs lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

# Installs the lock once; again only when the lock or pyproject.toml is newer. uv where it is there, pip otherwise.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "Python 3.11 is needed: make PYTHON=/path/to/python3.11 …" >&2; exit 1; }
	@echo "Setting up .venv; this takes some minutes, once." >&2
	@if command -v uv >/dev/null; then \
	  uv venv --quiet --allow-existing --python $(PYTHON) .venv && \
	  uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock && \
	  uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e . ; \
	else \
	  $(PYTHON) -m venv .venv && \
	  $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock && \
	  $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . ; \
	fi
	@touch $@

run: $(STAMP) ## Run the main job on the chosen shop (by default the simulated one)
	@$(BIN)/cartograph run

up: $(STAMP) ## Start the Dagster UI, its daemon and the API; Ctrl-C stops them
	@$(BIN)/cartograph up

test: $(STAMP) ## Test each part, and what becomes of faults; minutes
	@$(PYTEST) tests/faults tests/graph tests/api tests/unit

test-integration: $(STAMP) ## Test whole runs, killed ones too, the warehouse, and each model's quality; half an hour
	@$(PYTEST) tests/integration tests/mutation tests/model

test-postgres: $(STAMP) ## Build the warehouse on PostgreSQL too (a server of the test's own) and compare every mart
	@$(BIN)/pytest -rs tests/portability

lint: $(STAMP) ## Check style, types, layers and SQL
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/sqlfluff lint --processes 2 dbt_project/models dbt_project/tests

bench: $(STAMP) ## Run the benchmarks; each result is a line of JSON
	@for file in benchmarks/[a-z]*.py; do $(BIN)/python $$file || exit 1; done

docs: $(STAMP) ## Write the documents and data that are generated from code
	@$(BIN)/python -m cartograph.documentation
	@$(BIN)/python -m tests.mutation.faults
	@$(BIN)/python -m tests.faults.trust_page
	@$(BIN)/python -m ecom_assets.warehouse.data_catalog
	@$(BIN)/python -m ecom_assets.quality.policy
	@$(BIN)/python -m ml_assets.core.features.page
	@$(BIN)/python -m ecom_assets.warehouse.holiday_seed

lock: ## Resolve the dependencies anew (needs uv)
	@uv pip compile pyproject.toml --extra dev --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-strip-extras --no-emit-index-url --no-header --output-file requirements.lock

clean: ## Delete the environment, caches and all state
	@rm -rf .venv .cartograph .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
