# The front door: `make demo`, `make test`, `make test-all`, `make campaign`, `make check`, `make docs`. Everything happens inside .venv.

PYTHON ?= python3
VENV := .venv
GRID ?= small
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile
SCORE := { mutants[$$4]++; mutants["all"]++; alive = $$6 != "killed" && $$6 != "timeout"; survived[$$4] += alive; survived["all"] += alive } \
  END { for (file in mutants) print file, mutants[file], "mutants,", survived[file] + 0, "survived" | "sort" }
PARTS := baselines benchmarks plugins/genrec-causal-lm plugins/genrec-decoders plugins/genrec-parallel plugins/genrec-semantic

.PHONY: bench campaign check clean demo docs format mutants results test test-all

demo: $(VENV)/.demo
	$(BIN)/genrec run --indexer sci --backbone lightlm --task sequential --set backbone.minutes=3

# Two test processes with one thread each: two processes that each use all cores slow one another down.
test: $(VENV)/.test
	$(PYTEST) -m "not slow"
	@set -e; for part in $(PARTS); do echo "$$part"; $(PYTEST) -m "not slow" --rootdir $$part -c $$part/pyproject.toml $$part/tests; done

test-all: test $(VENV)/.test-all
	$(PYTEST) -rs -m slow
	$(PYTEST) -rs -m slow --rootdir baselines -c baselines/pyproject.toml baselines/tests
	$(PYTEST) --rootdir plugins/genrec-semantic plugins/genrec-semantic/tests

# Kills, flipped bits, mutated files and nasty plugins (docs/reliability.md); `make test-all` runs a part of them.
campaign: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.campaign --all

bench: $(VENV)/.test
	@set -e; for name in decode train index trie score startup; do $(BIN)/genrec bench $$name --grid $(GRID) --out benchmarks/results/$$name-$(GRID)$(ON).json; done
	$(BIN)/genrec bench report --results benchmarks/results --into docs/performance.md

check: $(VENV)/.check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The notices that this silences advertise other builders of sites.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --quiet
	@echo "site/index.html"

# Everything that the README and docs/results.md show of boards and commands.
results: $(VENV)/.test
	$(BIN)/python docs/renew.py

# Changes the protocol's code in many small ways, each alone, and counts those that no test notices (docs/reliability.md).
mutants: $(VENV)/.mutants
	rm -rf mutants
	OMP_NUM_THREADS=1 $(BIN)/mutmut run --max-children 2
	@$(BIN)/mutmut results --all true | awk -F '[. :]+' '$(SCORE)'

format: $(VENV)/.check
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) mutants build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# RecBole is there only because it carries ML-100K as example files; it is never imported.
$(VENV)/.demo: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "installing into $(VENV) ..."
	$(PIP) -e ".[torch,cpu]"
	$(PIP) --no-deps recbole
	@touch $@

$(VENV)/.test: $(VENV)/.demo $(PARTS:%=%/pyproject.toml)
	$(PIP) -e ".[cpu,test]"
	$(PIP) -e "./plugins/genrec-causal-lm[lora]" -e ./plugins/genrec-decoders -e ./plugins/genrec-parallel -e ./plugins/genrec-semantic -e ./baselines -e "./benchmarks[peers]"
	@touch $@

# What the slow tests need on top: an encoder of texts.
$(VENV)/.test-all: $(VENV)/.test
	$(PIP) -e "./plugins/genrec-semantic[text]"
	@touch $@

$(VENV)/.mutants: $(VENV)/.test
	$(PIP) -e ".[cpu,test,mutants]"
	@touch $@

$(VENV)/.docs: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) -e ".[docs]"
	@touch $@

$(VENV)/.check: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) -e ".[cpu,test,dev]"
	@touch $@
