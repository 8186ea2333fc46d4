# make collect   set up what is missing, run one collection into DuckDB, print what came
# make demo      the same against the offline upstream that ships with the tests
# make dev       the Dagster UI on http://127.0.0.1:3000 with both schedules on
# make test      lint, types, tests, on both versions of DuckDB, and Dagster's own validation
# make live      every keyless endpoint once on the real internet; REPORT=live.xml keeps the account
# make faults    hosts, kills, clocks and disks at their worst, for an hour or two; FAULTS="--parts
#                alone --seed 7" runs a part of it
# make bench     the benchmarks
# make docs      write the generated reference anew
# make lint      format, lint and types alone; make clean removes what the others installed

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export DAGSTER_HOME ?= $(CURDIR)
export DAGSTER_DISABLE_TELEMETRY := yes

.PHONY: collect demo dev test live faults lint bench docs clean

collect: $(VENV)/ready
	$(BIN)/crypto-pipeline collect both

demo: $(VENV)/ready
	$(BIN)/python -m crypto_pipeline_tests.demo

# A script's background job comes with SIGINT ignored, and then Dagster heeds SIGTERM no more either.
dev: $(VENV)/ready
	exec $(BIN)/python -c 'import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); \
		os.execv(sys.argv[1], sys.argv[1:])' \
		$(BIN)/dagster dev -w workspace.yaml -h 127.0.0.1 -p 3000

lint: $(VENV)/dev-ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

test: lint .duckdb2/ready
	$(BIN)/python -m crypto_pipeline.docs --check
	$(BIN)/python -m pytest -n auto
	PYTHONPATH=$(CURDIR)/.duckdb2 $(BIN)/python -m pytest \
		crypto_pipeline_tests/test_warehouse.py crypto_pipeline_tests/test_migrations.py
	$(BIN)/dagster definitions validate -w workspace.yaml

REPORT ?= live.xml

live: $(VENV)/dev-ready
	$(BIN)/python -m pytest -m live --junitxml=$(REPORT)

FAULTS ?=

faults: $(VENV)/dev-ready
	$(BIN)/python -m crypto_pipeline_tests.faults $(FAULTS)

bench: $(VENV)/ready
	$(BIN)/python -m benchmarks

docs: $(VENV)/ready
	$(BIN)/python -m crypto_pipeline.docs

clean:
	rm -rf $(VENV) .duckdb2 build *.egg-info

# The environment is made anew whenever the project's own files say so.
$(VENV)/ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/dev-ready: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

.duckdb2/ready: $(VENV)/dev-ready
	rm -rf .duckdb2
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target .duckdb2 'duckdb>=2,<3'
	touch $@
