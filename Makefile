# Everything below makes its own environment first. PYTHON names the interpreter to make it with.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# HEAR's validator asks for tensorflow, which it needs for tensorflow models alone: no dependencies.
VALIDATOR := hearvalidator==2021.0.2

.PHONY: demo test test-slow test-gpu fuzz soak lint lock clean

demo: $(STAMP)
	$(BIN)/python -m jobs.demo

# Two at a time, of one thread each: much of it is waiting for processes to start. In the order of the
# folders, as the longest tests come first there.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=10

# What takes minutes: recordings of hours, the rest of the ten kill trials, HEAR at full depth.
test-slow: $(STAMP)
	$(BIN)/pytest -m slow

# What needs CUDA.
test-gpu: $(STAMP)
	$(BIN)/pytest -m gpu

# Random faults, all at once, for SOAK_S seconds: processes, nodes and Ray's own calls. What went
# wrong once can be had again, more or less, by its SOAK_SEED.
SOAK_S ?= 600
soak: $(STAMP)
	SOAK_S=$(SOAK_S) OMP_NUM_THREADS=1 $(BIN)/pytest -m soak -s

# Damaged files through listing, opening, planning and decoding, for FUZZ_S seconds. FUZZ_SEED makes
# the same files again; those at which something was found stay in build/fuzz.
FUZZ_S ?= 600
fuzz: $(STAMP)
	FUZZ_S=$(FUZZ_S) $(BIN)/pytest -m fuzz -s tests/fuzz

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(STAMP): Makefile pyproject.toml infra/requirements.lock
	@test -n "$(PYTHON)" || { echo "passtream needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
		rm -rf $(VENV); \
		echo "$(PYTHON) cannot make a virtual environment: install its venv package (Debian: apt-get install python3-venv)" >&2; exit 1; }
	@echo "installing into $(VENV): some gigabytes, a few minutes"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c infra/requirements.lock -e '.[test]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(VALIDATOR)
	@touch $@

# The versions that CI and the image run with, from a new environment with the newest that fit; and
# the hashes of what the image installs of them, for the platform and the Python that this runs on:
# Linux on x86-64 and Python 3.11, as the image has.
lock:
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet '.[test]'
	build/lock/bin/python -m pip freeze --exclude passtream > infra/requirements.lock
	build/lock/bin/python -m pip install --quiet --dry-run --ignore-installed \
		--report build/lock/report.json -c infra/requirements.lock .
	build/lock/bin/python infra/lock_hashes.py build/lock/report.json > infra/requirements.hashes

clean:
	rm -rf $(VENV) build demo
