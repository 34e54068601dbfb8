# The front door: `make demo`, `make test`, `make test-all`, `make check`. Everything happens inside .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-all check format clean

demo: $(VENV)/.demo
	$(BIN)/genrec run --indexer sci --backbone lightlm

test: $(VENV)/.test
	$(BIN)/python -m pytest -m "not slow"

test-all: test
	$(BIN)/python -m pytest -m slow

check: $(VENV)/.check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.check
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# RecBole is there only because it carries ML-100K as example files; it is never imported.
$(VENV)/.demo: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "installing into $(VENV) ..."
	$(PIP) -e .
	$(PIP) --no-deps recbole
	@touch $@

$(VENV)/.test: $(VENV)/.demo
	$(PIP) -e ".[test]"
	@touch $@

$(VENV)/.check: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) -e ".[test,dev]"
	@touch $@
