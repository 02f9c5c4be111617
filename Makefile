# Two commands on a fresh machine: `make run` and `make test`. Python 3.11 and make are enough; the rest is installed automatically.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
SHARED ?= ../shared
WORKERS ?= 2

.PHONY: run test check format lock schemas outside bench bench-quick bench-large chaos kafka clean

run: $(STAMP)  ## play the example book's history, then serve on http://127.0.0.1:8000 until Ctrl-C
	@$(BIN)/dunwell up --demo

# Many tests start the program as a process, which would recompile all of it where the environment forbids keeping bytecode.
test: export PYTHONDONTWRITEBYTECODE :=
test: $(STAMP)  ## all tests, including those on Apache Kafka and PostgreSQL; under ten minutes on two cores
	@$(BIN)/python -m pytest tests -m "not chaos" --numprocesses $(WORKERS) --dist loadscope

check: $(STAMP)  ## format, lint, types, and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

schemas: $(STAMP)  ## write the JSON Schemas of all messages into docs/schemas
	$(BIN)/python -m tests.support.schemas

lock: $(STAMP)  ## resolve the dependencies again, with hashes and without index URLs
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --no-emit-index-url \
	    --group dev pyproject.toml --upgrade -o requirements.lock

outside: $(STAMP)  ## run the checks of $(SHARED) against a platform started here, and report how many pass
	@$(BIN)/python -m tests.support.outside --shared $(SHARED) --all

bench: $(STAMP)  ## rates of verified runs, beside the limits of this machine; half an hour
	@$(BIN)/python -m tests.bench

bench-quick: $(STAMP)  ## the same with little work: checks that every part runs and is right, not how fast it is; some minutes
	@$(BIN)/python -m tests.bench --quick

bench-large: $(STAMP)  ## what only size shows: a million due loans, alone and through all services, millions of loans in one book; takes hours
	@$(BIN)/python -m tests.bench --large

chaos: $(STAMP)  ## services, broker and database killed under load or restored to an earlier moment, killed commands, and more random lives; six minutes
	@$(BIN)/python -m pytest tests -m chaos -v

kafka:  ## Apache Kafka on 127.0.0.1:9092, without Docker
	@$(PYTHON) deploy/kafka/run.py --port 9092 --folder .dunwell/kafka

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info

$(STAMP): requirements.lock pyproject.toml
	@echo "setting up $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Dunwell needs Python 3.11 or newer: make PYTHON=python3.11")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $(STAMP)
