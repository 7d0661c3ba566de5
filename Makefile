# Warren. `make dev` runs it, `make test` tries it; both make their own environment in .venv from the lock files.
#
#   make PYTHON=python3.13 test     with another Python (the environment is made once: `make clean` before a change)
#   make test ARGS='-k router -x'   with arguments for pytest

PYTHON ?= python3
ARGS ?=
BUNDLE ?= examples/messages

BIN := .venv/bin
RUN := .venv/.installed-run
DEV := .venv/.installed-dev
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help dev test check bench walk drill docs clean
.DELETE_ON_ERROR:

help:
	@echo 'make dev     a local server with the example bundle; saves are live, logs stream here'
	@echo 'make test    the whole test suite'
	@echo 'make check   ruff, mypy --strict, import contracts'
	@echo 'make bench   the benchmarks, against peers; writes benchmarks/results/'
	@echo 'make walk    one request through the house, stop by stop'
	@echo 'make drill   what compose.yaml survives, tried on real containers (Docker, root)'
	@echo 'make docs    docs/limits.md and docs/settings.md, from the code'
	@echo 'make clean   removes the environment and caches (not .warren, where data lives)'

dev: $(RUN)
	@exec $(BIN)/warren dev $(BUNDLE) $(ARGS)

test: $(DEV)
	@$(BIN)/python -m pytest $(ARGS)

check: $(DEV)
	@$(BIN)/ruff check .
	@$(BIN)/mypy --strict runtime control_plane worker tests
	@$(BIN)/lint-imports --no-logo

bench: $(DEV)
	@$(BIN)/python -m benchmarks $(ARGS)

walk: $(DEV)
	@$(BIN)/python tests/walks/print_walk.py $(ARGS)

drill: $(RUN)
	@$(BIN)/python tests/walks/compose_drill.py $(ARGS)

docs: $(RUN)
	@$(BIN)/python docs/generate.py

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find runtime control_plane worker tests examples benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the environment ---------------------------------------------------------------------------------------------------

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo 'Warren needs Python 3.11 or newer; "$(PYTHON)" is' "$$($(PYTHON) --version 2>&1 || true)."; \
	  echo 'Install one, or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)'; exit 1; } >&2
	@echo 'Making the environment in .venv with' "$$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear .venv || { \
	  echo '"$(PYTHON) -m venv" failed. On Debian and Ubuntu: apt-get install python3-venv' >&2; rm -rf .venv; exit 1; }
	@touch $@

# Every package comes by its hash; Warren itself is installed last, from here, without a download of its own.
$(RUN): requirements.lock pyproject.toml | .venv/.made
	@echo 'Installing what Warren needs (requirements.lock)'
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(DEV): requirements-dev.lock $(RUN)
	@echo 'Installing what its tests and checks need (requirements-dev.lock)'
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@
