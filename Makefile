# On a machine with Python 3.10 or newer and nothing else:
#   make demo     installs archcalc (no torch) into .venv and shows VGG-16
#   make test     installs the test extra and runs the suite
#   make check    ruff (lint and format) and mypy --strict
#   make golden   rewrites every golden file and generated document; read the diff
#   make bench    start-up and scaling, side by side
#                 (bench/torchvision_weights.py wants the extra `bench`, bench/gpu.py a GPU)
#   make fuzz     N random networks (10,000 unless N=… says otherwise; SEED=… repeats a run) against PyTorch
#   make fields   receptive fields of N random graphs against gradients

PYTHON ?= python3
N ?= 10000
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
STAMPS := pyproject.toml constraints.txt

.PHONY: demo test check golden bench fuzz fields clean

demo: .venv/core
	@$(BIN)/archcalc summarize vgg16

test: .venv/test
	$(BIN)/python -m pytest

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

golden: .venv/test
	ARCHCALC_REWRITE=1 $(BIN)/python -m pytest -q -p no:randomly

bench: .venv/core
	$(BIN)/python bench/startup.py
	$(BIN)/python bench/scaling.py

fuzz: .venv/test
	$(BIN)/python bench/fuzz.py $(N) $(SEED)

fields: .venv/test
	$(BIN)/python bench/fields.py $(N) $(SEED)

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/core: .venv/bin/python $(STAMPS)
	$(INSTALL) -e .
	@touch $@

.venv/test: .venv/bin/python $(STAMPS)
	$(INSTALL) -e '.[test]'
	@touch $@

.venv/dev: .venv/bin/python $(STAMPS)
	$(INSTALL) -e '.[dev]'
	@touch $@
