# `make demo` shows Letheia at work, `make test` tests it. Both set up what they need: .venv/ and .letheia/.

VENV := .venv
RUN := $(VENV)/bin/
INSTALLED := $(VENV)/.installed
PIP := $(RUN)python -m pip --disable-pip-version-check --quiet install

# Any Python 3.11 to 3.13; `make PYTHON=… setup` names another one.
PYTHON ?= $(shell for each in python3 python3.13 python3.12 python3.11; do \
	command -v $$each >/dev/null && sh deploy/prerequisites.sh $$each 2>/dev/null && echo $$each && break; done)

.PHONY: help setup demo test test-unit check schemas bench up down prerequisites

help:
	@echo "make demo       show an erasure and a portability request, end to end, on this machine"
	@echo "make test       every test, from unit to end to end; make test-unit needs no server"
	@echo "make check      format, lint, types, import arrows, dependencies, schemas fresh"
	@echo "make bench      benchmarks: a table, and .letheia/bench.json"
	@echo "make up / down  start / stop the whole system on this machine"

# Before anything else is done, and all at once: what this machine lacks.
prerequisites:
	@sh deploy/prerequisites.sh "$(PYTHON)" java maven

$(INSTALLED): requirements.lock pyproject.toml
	@sh deploy/prerequisites.sh "$(PYTHON)"
	@echo "Installing the dependencies into $(VENV) (about a minute)"
	@"$(PYTHON)" -m venv $(VENV)
	@$(PIP) --require-hashes --requirement requirements.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

setup: prerequisites
	@$(MAKE) --no-print-directory $(INSTALLED)
	@$(RUN)python -m deploy.local.setup

demo: setup
	@$(RUN)python -m deploy.demo

test: setup
	@$(MAKE) --no-print-directory check
	@$(RUN)pytest

test-unit: $(INSTALLED)
	@$(RUN)pytest tests/unit tests/architecture

check: $(INSTALLED)
	$(RUN)ruff format --check --quiet
	$(RUN)ruff check --quiet
	$(RUN)mypy
	$(RUN)lint-imports
	$(RUN)deptry .
	$(RUN)python -m contracts.schemas --check

schemas: $(INSTALLED)
	$(RUN)python -m contracts.schemas

bench: setup
	@$(RUN)python -m tests.benchmarks

up: setup
	@$(RUN)letheia up --detach

down: $(INSTALLED)
	@$(RUN)letheia down
