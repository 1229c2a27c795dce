# Needs make and Python 3.10 or newer; everything else goes into .venv.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
DB := quickstart/edgeprof.db
LAW := quickstart/law.json

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help quickstart test test-gpu lint build bench torture clean

help: ## what can be made
	@echo "usage: make TARGET [PYTHON=python3.12] [ARGS='…' for test, bench and torture]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

quickstart: .venv/with-cpu ## measure this machine, fit a law, predict a network (a few minutes)
	@mkdir -p quickstart
	$(BIN)/edgeprof sweep quick --db $(DB)
	$(BIN)/edgeprof fit --db $(DB) --out $(LAW)
	$(BIN)/edgeprof predict --law $(LAW) --conv 2 --fc 1 --depth 20 --neurons 256 --batch 32
	@echo
	@echo "measurements  $(DB)"
	@echo "law           $(LAW)"
	@echo "program       $(BIN)/edgeprof --help"

test: .venv/with-dev ## run the whole test suite
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

test-gpu: .venv-gpu/made ## run the tests that need an NVIDIA GPU, with onnxruntime-gpu and TensorRT
	.venv-gpu/bin/python -m pytest -rs -m "gpu or tensorrt" tests/backends $(ARGS)

lint: .venv/with-dev ## ruff check, ruff format --check, mypy, lint-imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

build: .venv/with-dev ## build sdist and wheel into dist/, and check the wheel in a bare environment
	$(BIN)/python tools/check_wheel.py

bench: .venv/with-dev ## measure the figures that edgeprof promises
	$(BIN)/python -m benchmarks.run $(ARGS)

torture: .venv/with-dev ## kill a sweep 100 times, read 10,000 broken files (ARGS='--kills 9 --mutants 99')
	$(BIN)/python -m benchmarks.torture $(ARGS)

clean: ## remove .venv, build products and caches (quickstart/ stays: it holds measurements)
	rm -rf .venv .venv-gpu build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp per set of extras: quickstart, test and the others share one environment, and a second
# call installs nothing. Always editable, so that what runs is the code in this folder.
.venv/with-%: pyproject.toml .venv/made
	@echo "installing edgeprof[$*] into .venv …"
	@$(PIP) install -qq -e '.[$*]'
	@touch $@

# onnxruntime and onnxruntime-gpu exclude each other, hence an environment apart. ONNX Runtime wants TensorRT 10.
.venv-gpu/made: pyproject.toml
	@echo "installing edgeprof[gpu] and TensorRT 10 into .venv-gpu …"
	@$(PYTHON) -m venv --clear .venv-gpu
	@.venv-gpu/bin/python -m pip --disable-pip-version-check install -qq -e '.[gpu]' 'onnxruntime-gpu[cuda,cudnn]' 'tensorrt-cu13<11' pytest pytest-randomly hypothesis
	@touch $@

.venv/made:
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 10) or sys.exit("error: edgeprof needs Python 3.10 or newer, and $(PYTHON) is %d.%d: try make PYTHON=python3.12" % v[:2])'
	@$(PYTHON) -m venv --clear .venv
	@touch $@
