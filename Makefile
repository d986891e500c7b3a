# Every target sets up what it needs: a clean clone and Python 3.11 or newer are enough.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

# Tests run on one worker more than there are cores, four at most; `make test WORKERS=0` runs them in one process.
WORKERS  ?= auto
PARALLEL := -n $(WORKERS) --maxprocesses 4 --dist loadscope --no-loadscope-reorder
QUICK    := tests/policy tests/oidc tests/acr tests/docs $(wildcard tests/test_*.py)

# Many containers set this; with it every one of the hundreds of processes that tests start compiles the code anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo check test lint fmt bench soak fuzz lock clients clean accept

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

$(READY): requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	touch $@

setup: $(READY) ## Create the virtual environment with the locked requirements.

demo: $(READY) ## Start the local stack and play the whole story over HTTP.
	$(BIN)/python -m devstack demo

check: lint ## Check style, types and imports, and run the tests that start no process; under a minute.
	HYPOTHESIS_PROFILE=check $(BIN)/python -m pytest -q -n $(WORKERS) --maxprocesses 4 --dist worksteal -m "not process" $(QUICK)

test: $(READY) ## Run every test, or those of T (make test T=tests/policy).
	$(BIN)/python -m pytest $(PARALLEL) $(PYTEST_ARGS) $(T)

clients: $(READY) ## Drive every real client, those too whose programs take minutes to build.
	CLIENTS_MORE=1 $(BIN)/python -m pytest tests/clients $(PYTEST_ARGS)

lint: $(READY) ## Check style, types and which package imports which.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

fmt: $(READY) ## Format the code.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY) ## Run the benchmarks; prints a table, writes bench/results/*.json and docs/performance.md.
	$(BIN)/python -m bench

soak: $(READY) ## Run under load, faults and key rotations for SOAK_SECONDS (600).
	$(BIN)/python -m tests.soak --seconds $(or $(SOAK_SECONDS),600)

fuzz: $(READY) ## Fuzz what reads untrusted input for FUZZ_SECONDS (60).
	$(BIN)/python -m tests.fuzz --seconds $(or $(FUZZ_SECONDS),60)

accept: ## Deploy into throw-away groups in Azure, hold every claim, and write acceptance.md.
	$(PYTHON) infra/acceptance --report acceptance.md

lock: ## Resolve requirements*.in into the hash-locked files, for Python 3.11 to 3.13.
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header requirements.in -o requirements.txt
	.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header requirements-telemetry.in -o requirements-telemetry.txt
	.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header requirements-dev.in -o requirements-dev.txt
	.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header infra/release/requirements.in -o infra/release/requirements.txt

clean: ## Remove what the targets made.
	rm -rf $(VENV) .venv-lock .venv-3* .venv-infra* .tools build dist
