# Every target creates its virtual environment first, with the interpreter that PYTHON names.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# HEAR's validator requires tensorflow, but uses it only for tensorflow models: it is installed without
# dependencies.
VALIDATOR := hearvalidator==2021.0.2

.PHONY: demo test test-slow test-gpu fuzz soak lint lock clean

demo: $(STAMP)
	$(BIN)/python -m jobs.demo

# Two worker processes with one thread each, as the tests often wait for other processes to start.
# Files run in the order of the folders, in which the longest tests come first.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=10

# Tests that take minutes: recordings of hours, the rest of the ten kill trials, HEAR at full depth.
test-slow: $(STAMP)
	$(BIN)/pytest -m slow

# Tests that need CUDA.
test-gpu: $(STAMP)
	$(BIN)/pytest -m gpu

# Random faults of processes, nodes and Ray's own calls, several at once, for SOAK_S seconds. SOAK_SEED
# repeats the faults of an earlier run, but not their exact timing.
SOAK_S ?= 600
soak: $(STAMP)
	SOAK_S=$(SOAK_S) OMP_NUM_THREADS=1 $(BIN)/pytest -m soak -s

# Damaged files through listing, opening, planning and decoding, for FUZZ_S seconds. FUZZ_SEED makes
# the same files again. Files that led to a finding are kept in build/fuzz.
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

# Writes the versions that CI and the image use: the newest that fit together, resolved in a new
# environment. Also writes the hashes of the packages that the image installs. Hashes hold for the
# platform and Python that run this target, so run it as the image does: Linux, x86-64, Python 3.11.
lock:
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet '.[test]'
	build/lock/bin/python -m pip freeze --exclude passtream > infra/requirements.lock
	build/lock/bin/python -m pip install --quiet --dry-run --ignore-installed \
		--report build/lock/report.json -c infra/requirements.lock .
	build/lock/bin/python infra/lock_hashes.py build/lock/report.json > infra/requirements.hashes

clean:
	rm -rf $(VENV) build demo
