# Every target sets up what it needs in .venv by itself; Python >= 3.11 and make are enough.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.installed-run
DEV_STAMP := $(VENV)/.installed-dev
WORKERS ?= 2
PACKAGES := clients server solver storage
ifneq ($(wildcard ../shared/data),)
export REALLOT_DATA ?= $(abspath ../shared/data)
endif

.PHONY: help demo test test-all lint format type security audit gen gen-check proto-lint docs lock sbom bench chaos fuzz check check-long wheel wheel-check clean
.DEFAULT_GOAL := help

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Reallot needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(RUN_STAMP): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(DEV_STAMP): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[test,dev,codegen,bench]'
	@touch $@ $(RUN_STAMP)

demo: $(RUN_STAMP)  ## Show the main job on a fresh SQLite file
	$(BIN)/reallot demo $(ARGS)

test: $(DEV_STAMP)  ## Run the quick test suite
	REALLOT_CASES_PERCENT=20 $(BIN)/python -m pytest -n $(WORKERS) -m "not long and not wheel" $(ARGS)

test-all: $(DEV_STAMP)  ## Run the whole test suite
	$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

lint: $(DEV_STAMP)  ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# ruff's security rules are part of `lint`; bandit's own go further. An exception says why, in its line or in pyproject.toml.
security: $(DEV_STAMP)  ## Look for what is unsafe in what is shipped
	@mkdir -p build
	@$(BIN)/python -m bandit --quiet --recursive $(PACKAGES) proto --exclude proto/gen 2>build/security.log || { cat build/security.log; exit 1; }

# Not in `check`: it asks a database in the network, and fails where that cannot be had.
audit: $(DEV_STAMP)  ## Ask a database in the network for known faults of what is installed
	$(BIN)/python -m pip_audit --strict --skip-editable --progress-spinner off

format: $(DEV_STAMP)  ## Rewrite the sources in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# mypy cannot see setuptools' package-dir mapping, so it gets the same tree as links.
type: $(DEV_STAMP)  ## Check the types strictly
	@rm -rf build/types && mkdir -p build/types/reallot
	@for package in $(PACKAGES); do ln -s $(CURDIR)/$$package build/types/reallot/$$package; done
	@for package in v1 internal testing; do ln -s $(CURDIR)/proto/gen/reallot/$$package build/types/reallot/$$package; done
	cd build/types && MYPYPATH=. ../../$(BIN)/mypy --cache-dir ../../.mypy_cache --config-file ../../pyproject.toml $(PACKAGES:%=-p reallot.%)

gen: $(DEV_STAMP)  ## Generate the code of the contract
	PATH="$(CURDIR)/$(BIN):$$PATH" proto/generate.sh proto/gen

gen-check: $(DEV_STAMP)  ## Fail if the generated code is stale
	PATH="$(CURDIR)/$(BIN):$$PATH" proto/check.sh

proto-lint: $(DEV_STAMP)  ## Lint the contract
	PATH="$(CURDIR)/$(BIN):$$PATH" proto/lint.sh

docs: $(DEV_STAMP)  ## Build the documents as a site into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

bench: $(DEV_STAMP)  ## Run a benchmark: make bench NAME=responsive
	$(BIN)/python -m benchmarks.$(NAME) $(ARGS)

# KILLS faults on each ENGINE (sqlite, postgresql, both), most of them kill -9, then a soak of SOAK_MINUTES.
ENGINE ?= both
KILLS ?= 200
SEED ?= 1
SOAK_MINUTES ?= 10

chaos: $(DEV_STAMP)  ## Kill, pause and cut off servers at work, and audit: make chaos KILLS=200 SEED=1 SOAK_MINUTES=10
	PYTHONPATH=tests $(BIN)/python -m chaos --engine $(ENGINE) --kills $(KILLS) --seed $(SEED) --soak-minutes $(SOAK_MINUTES) $(ARGS)

CASES_PERCENT ?= 1000
check-long: $(DEV_STAMP)  ## Try ten times as many random teams, calendars and histories: make check-long CASES_PERCENT=1000
	REALLOT_CASES_PERCENT=$(CASES_PERCENT) $(BIN)/python -m pytest -n $(WORKERS) --timeout 7200 tests/server/road/test_any_calendar.py tests/conformance/test_loads.py $(ARGS)

MINUTES ?= 5

fuzz: $(DEV_STAMP)  ## Send a server what nobody would send: make fuzz MINUTES=5 SEED=1
	PYTHONPATH=tests $(BIN)/python -m fuzz --minutes $(MINUTES) --seed $(SEED) $(ARGS)

lock: $(DEV_STAMP)  ## Renew the pinned packages of the image, with their hashes
	echo 'setuptools>=77' | $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.12 --generate-hashes --no-annotate \
		--custom-compile-command "make lock" --extra otel --output-file deploy/requirements.lock pyproject.toml -

sbom: $(DEV_STAMP)  ## Write what the image consists of, as CycloneDX, to build/sbom.json
	@mkdir -p build
	$(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --mc-type application --output-reproducible --validate \
		--output-file build/sbom.json deploy/requirements.lock

wheel: $(DEV_STAMP)  ## Build the wheel, the source distribution, and the wheel of the client alone into dist/
	rm -rf dist build/client && $(BIN)/python -m build --outdir dist .
	$(BIN)/python -m build --wheel --outdir dist clients

wheel-check: wheel  ## Install the built wheels into empty environments and try them
	$(BIN)/python -m pytest -m wheel tests/house/test_wheels.py $(ARGS)

check: lint security type gen-check proto-lint docs test-all wheel-check  ## Everything that CI checks

clean:  ## Remove what the targets made
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
