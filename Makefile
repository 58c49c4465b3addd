# On a machine with Python 3.10 or newer and nothing else:
#   make demo     installs archcalc (no torch) into .venv and shows VGG-16
#   make test     installs the test extra and runs the suite, a worker for each core (4 at most)
#   make test-oldest  runs the suite with the lowest versions that pyproject.toml allows (in .venv-oldest)
#   make test-core    runs the suite without PyTorch, e.g. with PYTHON=python3.13 (in .venv-core/python3.13)
#   make check    runs ruff (lint and format) and mypy --strict
#   make golden   rewrites every golden file and generated document; read the diff
#   make bench    measures start-up, scaling, and other tools beside archcalc; BESIDE=FOLDER compares with another
#                 checkout (bench/torchvision_weights.py needs the extra `bench`, bench/gpu.py a GPU)
#   make fuzz     checks N=10000 random networks against PyTorch (SEED=… repeats a run)
#   make proofs   validates the whole zoo on meta; runs the PyTorch source of it and of 1,000 random specs;
#                 writes the zoo as specs
#   make fields   checks receptive fields of N random graphs against gradients (SEED=… repeats a run)

PYTHON ?= python3
N ?= 10000
BIN := .venv/bin
CORE := .venv-core/$(notdir $(PYTHON))
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
STAMPS := pyproject.toml constraints.txt
PYTEST := -m pytest -n auto --maxprocesses 4 --dist worksteal

.PHONY: demo test test-oldest test-core check golden bench fuzz fields proofs clean

demo: .venv/core
	@$(BIN)/archcalc summarize vgg16

test: .venv/test
	$(BIN)/python $(PYTEST)

test-oldest: .venv-oldest/test
	.venv-oldest/bin/python $(PYTEST)

test-core: $(CORE)/test
	$(CORE)/bin/python $(PYTEST)

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

golden: .venv/test
	ARCHCALC_REWRITE=1 $(BIN)/python -m pytest -q -p no:randomly

bench: .venv/bench  # runs all, and fails if one is over a limit
	status=0; for part in startup.py scaling.py sweeps.py "peers.py --record bench/records/peers.json"; do \
		$(BIN)/python bench/$$part || status=1; done; exit $$status
	$(if $(BESIDE),$(BIN)/python bench/side_by_side.py $(BESIDE))

fuzz: .venv/test
	$(BIN)/python bench/fuzz.py $(N) $(SEED)

fields: .venv/test
	$(BIN)/python bench/fields.py $(N) $(SEED)

proofs: .venv/test
	$(BIN)/python -m archcalc validate --all --device meta
	$(BIN)/python bench/sources.py --random 1000
	$(BIN)/python bench/sources.py
	$(BIN)/python bench/specs.py

clean:
	rm -rf .venv .venv-oldest .venv-core build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/core: .venv/bin/python $(STAMPS)
	$(INSTALL) -e .
	@touch $@

.venv/test: .venv/bin/python $(STAMPS)
	$(INSTALL) -e '.[test]'
	$(INSTALL) --no-deps timm torchvision  # networks to import; what timm needs beyond PyTorch is for weights
	@touch $@

.venv/bench: .venv/bin/python $(STAMPS)
	$(INSTALL) -e '.[bench]'
	@touch $@

.venv-oldest/test: constraints-oldest.txt pyproject.toml
	$(PYTHON) -m venv --clear .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-oldest.txt -e '.[test]'
	@touch $@

$(CORE)/test: pyproject.toml
	$(PYTHON) -m venv --clear $(CORE)
	$(CORE)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[test-core]'
	@touch $@

.venv/dev: .venv/bin/python $(STAMPS)
	$(INSTALL) -e '.[dev]'
	@touch $@
