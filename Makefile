# `make demo` and `make test` are all the set-up there is: each makes its own venv if there is none.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test controls lint types schema clean

help:
	@echo "make demo      measure six versions of two simulated models offline, and write report.html"
	@echo "make test      the project's tests, and every claim against its controls"
	@echo "make lint types   ruff and mypy"

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

clean:
	rm -rf $(VENV) .alignbench
