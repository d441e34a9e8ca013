# `make demo` and `make test` each do all of their own set-up.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test faults lint setup setup-test clean

demo: setup
	@$(BIN)/foreshock demo

# Two files of tests side by side: many wait for servers, of which each side has its own.
test: setup-test lint
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

# An hour: fifty kills of the live job's parts, then a comparison with a replay.
faults: setup-test
	@$(BIN)/python -m tests.faults.live --kills 50

lint: setup-test
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

setup: $(VENV)/.installed

setup-test: $(VENV)/.installed-test

$(VENV)/.installed: pyproject.toml constraints.txt infra/setup/venv.sh
	@infra/setup/venv.sh $(PYTHON) $(VENV)
	@echo "Installing Foreshock into $(VENV) (about a minute)"
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[postgresql,traces]'
	@touch $@

# The tests train a tiny model, so they need PyTorch; the report is looked at in a real browser,
# the store is tried on a real PostgreSQL, and streaming on a real Kafka and Flink, which Maven fetches.
$(VENV)/.installed-test: $(VENV)/.installed infra/setup/debian.sh
	@infra/setup/debian.sh chromium postgresql default-jre-headless maven prometheus prometheus-alertmanager
	@$(BIN)/python -m infra.kafka.broker fetch
	@$(BIN)/python -m infra.flink.cluster fetch
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[postgresql,traces,train]' --group dev
	@touch $@

clean:
	rm -rf $(VENV) .foreshock .mypy_cache .pytest_cache .ruff_cache .hypothesis
