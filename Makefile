# Each target does its own set-up, in a virtual environment inside this folder, and does it once.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
HERE := $(shell cat $(VENV)/made-for 2>/dev/null)
DEMO_FLAGS ?=
TEST_FLAGS ?=

.DEFAULT_GOAL := help
.PHONY: help install demo serve test peers lint bench constraints clean FORCE

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(VENV)/installed ## Install sharewell into .venv

demo: $(VENV)/installed ## See the whole journey, then try it yourself; DEMO_FLAGS=--once stops after the journey
	@$(BIN)/sharewell demo $(DEMO_FLAGS)

serve: $(VENV)/installed ## Serve the gateway and its workers, with a database of its own
	@$(BIN)/sharewell serve

test: $(VENV)/installed-tools ## Run every test; TEST_FLAGS are handed to pytest
	@$(BIN)/python -m pytest -q $(TEST_FLAGS)

peers: $(VENV)/installed-tools ## Fetch others' verifiers and witness, which tests/peers sets against ours
	@$(BIN)/python tests/peers/fetch.py

lint: $(VENV)/installed-tools ## Check style, types and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(VENV)/installed-tools ## Measure, one JSON object a line
	@$(BIN)/python tests/benchmarks/run.py

constraints: $(VENV)/installed-tools ## Write down the exact versions that are installed now
	@head -1 .ci/constraints.txt > $(VENV)/constraints
	@$(BIN)/python -m pip freeze --exclude sharewell >> $(VENV)/constraints
	@mv $(VENV)/constraints .ci/constraints.txt

clean: ## Remove the virtual environment and every cache
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist

# A folder that was copied or moved holds the paths of where it came from: then it is made anew.
ifneq ($(HERE),$(CURDIR))
$(VENV)/made-for: FORCE
endif
$(VENV)/made-for:
	@python=$$(.ci/python) && echo "Making a virtual environment in $(VENV) with $$python" && \
	  "$$python" -m venv --clear $(VENV) && echo "$(CURDIR)" > $@

# Bytecode is left to be written when it is first needed: most of what is installed never is.
$(VENV)/installed: $(VENV)/made-for pyproject.toml .ci/constraints.txt
	@echo "Installing sharewell (half a gigabyte to fetch, once)"
	@$(PIP) install --no-compile --constraint .ci/constraints.txt --editable .
	@touch $@

$(VENV)/installed-tools: $(VENV)/installed
	@echo "Installing the tools for tests and lint"
	@$(PIP) install --no-compile --constraint .ci/constraints.txt --editable '.[dev]'
	@touch $@

FORCE:
