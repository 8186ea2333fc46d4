# make collect   set up what is missing, run one collection into DuckDB, print what came
# make demo      the same against the offline upstream that ships with the tests
# make dev       the Dagster UI on http://127.0.0.1:3000, guarded, with both schedules on
# make test      lint, types, tests, on both versions of DuckDB, and Dagster's own validation
# make test-exports  freqtrade, nautilus_trader and qlib load what is exported, and backtest on it
# make live      every keyless endpoint once on the real internet; REPORT=live.xml keeps the account
# make hostile   every hostile query that we know of, each in the process that guards against it
# make faults    hosts, kills, clocks and disks at their worst, for an hour or two; FAULTS="--parts
#                alone --seed 7" runs a part of it
# make mutants   one operator or constant changed at a time: do the tests notice? MODULES="warehouse/file
#                monitoring/alerts" chooses, SAMPLE=80 takes so many of each by chance
# make bench     the benchmarks
# make docs      write the generated reference anew
# make lock      into locked/ the hashes of what is installed, by constraints.txt and pyproject.toml
# make lint      format, lint and types alone; make clean removes what the others installed

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export DAGSTER_HOME ?= $(CURDIR)
export DAGSTER_DISABLE_TELEMETRY := yes

.PHONY: collect demo dev test test-exports live hostile faults mutants lint bench docs lock clean

collect: $(VENV)/ready
	$(BIN)/crypto-pipeline collect both

demo: $(VENV)/ready
	$(BIN)/python -m crypto_pipeline_tests.demo

dev: $(VENV)/ready
	exec $(BIN)/crypto-pipeline dev

lint: $(VENV)/dev-ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

test: lint .duckdb2/ready
	$(BIN)/python -m crypto_pipeline.docs --check
	$(BIN)/python -m pytest -n auto
	PYTHONPATH=$(CURDIR)/.duckdb2 $(BIN)/python -m pytest -n auto \
		crypto_pipeline_tests/test_warehouse.py crypto_pipeline_tests/test_migrations.py \
		crypto_pipeline_tests/test_nothing_lost.py crypto_pipeline_tests/test_articles.py \
		crypto_pipeline_tests/test_guarded_sql.py crypto_pipeline_tests/test_published.py
	$(BIN)/dagster definitions validate -w workspace.yaml

test-exports: $(VENV)/dev-ready .venv-exports/ready
	$(BIN)/python -m pytest -m exports -n 2

REPORT ?= live.xml

live: $(VENV)/dev-ready
	$(BIN)/python -m pytest -m live --junitxml=$(REPORT)

hostile: $(VENV)/dev-ready
	$(BIN)/python -m pytest -m hostile crypto_pipeline_tests/test_guarded_sql.py

FAULTS ?=

faults: $(VENV)/dev-ready
	$(BIN)/python -m crypto_pipeline_tests.faults $(FAULTS)

MODULES ?=
SAMPLE ?= 0

mutants: $(VENV)/mutants-ready
	$(BIN)/python -m crypto_pipeline_tests.mutants $(MODULES) --sample $(SAMPLE)

bench: $(VENV)/ready
	$(BIN)/python -m benchmarks

docs: $(VENV)/ready
	$(BIN)/python -m crypto_pipeline.docs

clean:
	rm -rf $(VENV) .venv-exports .duckdb2 build *.egg-info

# Every file that is installed has a hash in locked/; without wheels it would be built, with tools
# that have none. The project itself is built with the setuptools that is locked, and offline.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
HASHED := $(PIP) --require-hashes --only-binary :all:
PROJECT := $(PIP) --no-deps --no-index --no-build-isolation -e .

# The environment is made anew whenever the project's own files say so.
$(VENV)/ready: pyproject.toml locked/run.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(HASHED) -r locked/run.txt
	$(PROJECT)
	touch $@

$(VENV)/dev-ready: $(VENV)/ready locked/dev.txt
	$(HASHED) -r locked/dev.txt
	touch $@

$(VENV)/mutants-ready: $(VENV)/dev-ready locked/mutants.txt
	$(HASHED) -r locked/mutants.txt
	touch $@

.duckdb2/ready: $(VENV)/dev-ready locked/duckdb2.txt
	rm -rf .duckdb2
	$(HASHED) --no-deps --target .duckdb2 -r locked/duckdb2.txt
	touch $@

# The packages that load exports, apart from ours: they need other versions of the same. Two of what
# they need have no wheel, and are built with the setuptools that is locked beside them.
OF_EXPORTS := PIP_PYTHON=.venv-exports/bin/python $(PIP) --require-hashes --no-deps

.venv-exports/ready: $(VENV)/dev-ready locked/exports.txt locked/exports_built.txt
	test -x .venv-exports/bin/python || $(PYTHON) -m venv .venv-exports
	$(OF_EXPORTS) --only-binary :all: -r locked/exports.txt
	$(OF_EXPORTS) --no-build-isolation -r locked/exports_built.txt
	touch $@

# For every system and each Python that the project names. Versions are those of constraints.txt;
# what only other systems need stays as it is in locked/.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-strip-extras --only-binary :all: --custom-compile-command 'make lock'
BUILD := $(BIN)/python -c 'import tomllib; \
	print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")'
EXPORTS := 'freqtrade>=2026' 'nautilus_trader>=1.221,<2' 'pyqlib>=0.9.7'
BUILT := gym==0.26.2 sdnotify==0.3.2
NO_WHEEL := --no-binary gym --no-binary sdnotify

lock: $(VENV)/dev-ready
	$(BUILD) | $(LOCK) -c constraints.txt -o locked/run.txt pyproject.toml -
	$(BUILD) | $(LOCK) -c constraints.txt -o locked/alerts.txt --extra alerts pyproject.toml -
	$(BUILD) | $(LOCK) -c constraints.txt -o locked/dg.txt --extra dg pyproject.toml -
	$(BUILD) | $(LOCK) -c constraints.txt -o locked/dev.txt --extra dev pyproject.toml -
	$(BUILD) | $(LOCK) -c constraints.txt -o locked/mutants.txt --extra mutants pyproject.toml -
	echo 'duckdb>=2,<3' | $(LOCK) -o locked/duckdb2.txt -
	printf '%s\n' $(EXPORTS) $(BUILT) | $(LOCK) $(NO_WHEEL) \
		--no-emit-package gym --no-emit-package sdnotify -o locked/exports.txt -
	printf '%s\n' $(BUILT) | $(LOCK) $(NO_WHEEL) --no-deps -o locked/exports_built.txt -
