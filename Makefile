# make demo    set up, enhance and score photographs and street scenes, detect what is on them, write runs/demo
# make test    set up, run the tests
# make check   lint and types
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo test check speed clean

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

# Where the time of a pass goes: pictures/s of the whole and of each stage.
speed: setup
	$(BIN)/python tests/performance/whole_pass.py

clean:
	rm -rf $(VENV) build dist *.egg-info
