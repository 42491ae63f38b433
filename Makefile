# Everything runs in a virtual environment of its own, made on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: bench clean demo dist docs figures fuzz lint test video-call

$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $(READY)

demo: $(READY)
	$(BIN)/python -m examples.ice_restart

video-call: $(READY)
	$(BIN)/python -m examples.video_call

test: $(READY)
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY)
	$(BIN)/python -m sphinx -q -E -W --keep-going -b html docs out/docs

# Both archives are tried as a user has them: installed from the index's packages alone,
# and run from where the sources are not.
dist: $(READY)
	rm -rf build dist out/dist *.egg-info
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*
	$(BIN)/python tests/archives.py dist/*
	set -e; for archive in dist/*; do \
		rm -rf out/dist; \
		$(BIN)/python -m venv out/dist; \
		out/dist/bin/pip install --quiet "$$archive"; \
		(cd out/dist && bin/python -I ../../tests/smoke.py); \
	done
	rm -rf out/dist

bench: $(READY)
	$(BIN)/python -m tests.benchmarks

# Those which compare with others, in two minutes. Where other programs are busy, too, a
# limit says nothing about the code.
figures: $(READY)
	$(BIN)/python -m tests.benchmarks --figures --quick outages trickle

# A million mutated inputs of each kind, which takes hours: less with COUNT=20000, and not
# all with TARGETS=descriptions.
COUNT ?= 1000000
SEED ?= 0
TARGETS ?=
fuzz: $(READY)
	$(BIN)/python -m tests.fuzz $(TARGETS) --count $(COUNT) --seed $(SEED)

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build dist out/docs *.egg-info
