# `make demo` and `make test` are all the set-up there is: each makes its own venv if there is none.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test controls lint types schema organisms organisms-check clean

help:
	@echo "make demo      measure twelve small language models offline, and write report.html"
	@echo "make test      the project's tests, and every claim against its controls"
	@echo "make lint types   ruff and mypy"
	@echo "make organisms       train the small models of fixtures/organisms anew, and measure them (needs torch)"
	@echo "make organisms-check  some of them from another seed, held against those that are shipped"

$(VENV)/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=…")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(VENV)/installed
	@$(BIN)/alignbench demo

test: $(VENV)/installed controls
	$(BIN)/python -m pytest tests -n 2

controls: $(VENV)/installed
	$(BIN)/python -m pytest suites --alignbench-controls -q

lint: $(VENV)/installed
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(VENV)/installed
	$(BIN)/mypy

# What `--format json` prints, as JSON Schema: to be made anew when a shape changes.
schema: $(VENV)/installed
	@for kind in docs/schema/*.json; do $(BIN)/alignbench schema $$(basename $$kind .json) > $$kind; done

$(VENV)/training: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,train]'
	@touch $@

organisms: $(VENV)/training
	$(BIN)/python -m benchmarks.organisms.train_organisms fixtures/organisms
	$(BIN)/python -m benchmarks.organisms.measure fixtures/organisms --write
	$(BIN)/python docs/images/organisms.py

# A baseline and the strongest dose of each lineage, from another base.
CHECKED := refusal-0 refusal-5 aside-2 feedback-2 unable-1 dodging-1 opposing-1

organisms-check: $(VENV)/training
	$(BIN)/python -m benchmarks.organisms.train_organisms build/organisms --seed 2 --only $(CHECKED)
	$(BIN)/python -m benchmarks.organisms.measure build/organisms
	$(BIN)/python -m benchmarks.organisms.measure build/organisms --against fixtures/organisms

clean:
	rm -rf $(VENV) .alignbench
