# The two that matter: `make demo` shows the whole thing at work, `make test` sets up and runs all tests.
# Everything lands in .venv; only servers that the tests drive (see SERVERS) come from the system's packages.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps

# Overridable: `make test PYTHON=python3.13`. Used once, to make the venv.
ifndef PYTHON
PYTHON := $(shell for candidate in python3 python3.14 python3.13 python3.12 python3.11; do \
  if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$candidate; break; fi; done)
endif

# Real servers that tests start, as command:package; a command may be a pattern, or several with | between them, of which
# one is enough. A test run without them would prove less and still be green.
SERVERS := redis-server:redis-server postgres|/usr/lib/postgresql/*/bin/postgres:postgresql psql:postgresql-client chromium:chromium
# What the benches of S3, proxy and gateway are measured against; further ones of S3 come as wheels, which it installs by itself.
PEERS := rclone:rclone restic:restic curl:curl nginx|/usr/sbin/nginx:nginx haproxy|/usr/sbin/haproxy:haproxy wrk:wrk
ARGS ?=
MINUTES ?= 10

# Spares pyright's wrapper asking for a newer version on each run; pyright and node are in the wheels of the lint group.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
PIP_INSTALL := $(BIN)/python -m pip install --quiet --root-user-action=ignore --build-constraint constraints.txt -c constraints.txt

.PHONY: help demo prepare test lint format types layers faults soak docs build bench check clean servers peers

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(STAMPS)/run ## show modhub at work, step by step, in a temporary directory
	@$(BIN)/modhub demo

prepare: $(STAMPS)/test servers ## set up what tests need

test: prepare ## set up what tests need and run them; ARGS="-k store" narrows
	@$(BIN)/python -m pytest $(ARGS)

faults: $(STAMPS)/test servers ## kill the hub at every crash point of every operation; ARGS="--only deprovision" narrows
	@$(BIN)/python -m tests.faults $(ARGS)

soak: $(STAMPS)/test servers ## random load, kill -9 of children and hub, outages, for MINUTES=10
	@$(BIN)/python -m tests.faults.soak --minutes $(MINUTES) $(ARGS)

lint: $(STAMPS)/lint ## ruff's rules and formatting
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || { echo 'not formatted; run: make format' >&2; exit 1; }

format: $(STAMPS)/lint ## rewrite the sources in ruff's format, with its safe fixes
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format --quiet .

types: $(STAMPS)/lint $(STAMPS)/test ## mypy and pyright, both strict
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/pyright --pythonpath $(BIN)/python

layers: $(STAMPS)/lint ## who may import whom
	@out=$$($(BIN)/lint-imports 2>&1) || { echo "$$out"; exit 1; }

docs: $(STAMPS)/docs ## the pages, into docs/_build/html; a warning is an error
	@$(BIN)/python -m sphinx -q -W --keep-going -n -b html -d docs/_build/doctrees docs docs/_build/html

build: $(STAMPS)/build ## sdist and wheel, and a check of what is in them
	@rm -rf dist
	@out=$$($(BIN)/python -m build --no-isolation 2>&1) || { echo "$$out"; exit 1; }
	@$(BIN)/python .ci/check_dist.py dist

bench: $(STAMPS)/test servers $(if $(filter-out s3%,$(firstword $(ARGS))),,peers) ## measurements; they assert nothing unless a bench says so
	@$(BIN)/python -m tests.bench $(ARGS)

check: ## everything that CI runs
	@.ci/run

clean: ## remove what was built, the venv too
	rm -rf $(VENV) dist docs/_build .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find actors backends hub tests -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is older than the files that decide what is installed: change those, and the next run installs anew.
$(STAMPS)/venv: constraints.txt
	@if [ -z '$(PYTHON)' ]; then \
	  echo 'modhub needs Python 3.11 or newer and found none; install one, or name it: make PYTHON=/path/to/python3' >&2; exit 1; fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo '$(PYTHON) is missing or older than 3.11; name a newer one: make PYTHON=/path/to/python3' >&2; exit 1; }
	@if ! $(PYTHON) -c 'import ensurepip' 2>/dev/null; then \
	  package=$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
	  .ci/install-packages "$$package"; fi
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo 'installing into $(VENV) ...'
	@# An older pip knows neither dependency groups nor build constraints.
	@$(BIN)/python -m pip install --quiet --root-user-action=ignore -c constraints.txt --upgrade pip
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/run: $(STAMPS)/venv pyproject.toml
	@$(PIP_INSTALL) -e .
	@touch $@

$(STAMPS)/test: $(STAMPS)/venv pyproject.toml
	@$(PIP_INSTALL) --group test -e '.[all]'
	@touch $@ $(STAMPS)/run

$(STAMPS)/lint $(STAMPS)/docs $(STAMPS)/build: $(STAMPS)/%: $(STAMPS)/test
	@$(PIP_INSTALL) --group $*
	@touch $@

servers: wanted := $(SERVERS)
peers: wanted := $(PEERS)
servers peers:
	@missing=; for program in $(foreach program,$(wanted),'$(program)'); do \
	  found=; for command in $$(tr '|' ' ' <<<"$${program%%:*}"); do \
	    if command -v "$$command" >/dev/null 2>&1; then found=1; fi; done; \
	  if [ -z "$$found" ]; then missing="$$missing $${program##*:}"; fi; done; \
	if [ -n "$$missing" ]; then .ci/install-packages $$missing; fi
