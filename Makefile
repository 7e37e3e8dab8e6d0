# Every target does its own set-up.  `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
FUZZ_MINUTES ?= 3

VM_RUN ?= ../shared/vm-run

.PHONY: help setup demo test vm-test quick cycles fuzz lint docs bench clean

help:
	@echo "make demo   bring the quickstart stack up, show it answering, take it down"
	@echo "make test   every test, those of the kernel and of whole stacks included (root)"
	@echo "make vm-test  kernel tests in a VM with cgroup v2, as root and as a user; VM_RUN=PROGRAM"
	@echo "make quick  the tests that need no root and no kernel objects"
	@echo "make cycles  200 times up and down beside a running project: nothing may accumulate (root)"
	@echo "make images builds and runs Dockerfiles like the official ones (root; Debian, PyPI, npm)"
	@echo "make fuzz   the property tests with many more examples, then spoiled projects; takes long"
	@echo "make lint   ruff and mypy --strict"
	@echo "make docs   write the references of files and commands anew from the code's tables"
	@echo "make bench  measure against docker compose, podman-compose, runc, crun where installed"
	@echo "make clean  remove $(VENV) and caches"

setup: $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "pcompose needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) -V 2>&1)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "setup: python3-venv is missing; installing it"; \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv; }
	@echo "setup: virtual environment in $(VENV), with pcompose and its test tools"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: setup
	@PATH="$(abspath $(BIN)):$$PATH" sh examples/quickstart/demo.sh

test: setup
	@sh .ci/debian-packages
	@$(BIN)/python -m pytest

vm-test: setup
	@sh tests/vm $(VM_RUN)

quick: setup
	@$(BIN)/python -m pytest -m 'not kernel and not e2e'

cycles: setup
	@PCOMPOSE_TEST_CYCLES=200 $(BIN)/python -m pytest tests/e2e/test_cycles.py

images: setup
	@sh .ci/debian-packages
	@PCOMPOSE_OFFICIAL=1 $(BIN)/python -m pytest -o faulthandler_timeout=900 tests/official

fuzz: setup
	@HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest -m 'not kernel and not e2e'
	@$(BIN)/python -m tests.fuzzing --minutes $(FUZZ_MINUTES)

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/mypy

docs: setup
	@$(BIN)/python -m docs.reference
	@$(BIN)/python -m docs.commandpages

bench: setup
	@$(BIN)/python -m benchmarks.run
	@$(BIN)/python -m benchmarks.build

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
