# make demo    set up, enhance and score photographs and street scenes, detect what is on them, write runs/demo
# make test    set up, run the tests
# make check   lint and types
# make gate    run a small plan and compare with tests/gate/baseline.json; after a wanted change: make baseline
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo test check gate baseline speed clean

help:
	@sed -n 's/^# make/make/p' Makefile

setup: $(READY)

# uv resolves and installs everything in under a minute; plain pip works as well, see README.md.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name it: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[test,check]'
	touch $@

demo: setup
	$(BIN)/bench run --datasets demo,nightscenes --limit 12 --out runs/demo
	@echo "open runs/demo/report.html"

test: setup
	$(BIN)/python -m pytest

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright

# What this project reached before: no change of code, dependency or weights makes it worse unnoticed.
gate: setup
	rm -rf runs/gate
	$(BIN)/bench run --config tests/gate/bench.toml
	$(BIN)/bench check runs/gate --config tests/gate/bench.toml --baseline tests/gate/baseline.json

baseline: setup
	rm -rf runs/gate
	$(BIN)/bench run --config tests/gate/bench.toml
	$(BIN)/bench baseline save runs/gate tests/gate/baseline.json

# Where the time of a pass goes: pictures/s of the whole and of each stage.
speed: setup
	$(BIN)/python tests/performance/whole_pass.py

clean:
	rm -rf $(VENV) build dist *.egg-info
