# `make` lists what can be done. It needs Python 3.11 or newer, and nothing else, on the machine.

PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=

PY  := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --no-input --require-virtualenv
# `make lock` takes the uv of the environment, else the machine's.
UV  = $(firstword $(wildcard $(VENV)/bin/uv) uv)

# Many tests wait for processes, with deadlines: what failed is run once more, without others beside it. What fails
# again has failed, and both are printed. 1: tests failed; anything else, Ctrl-C too, ends it.
AGAIN = { test $$? -eq 1 && $(PY) -m pytest --last-failed --last-failed-no-failures none -m "not chaos"; }

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.SUFFIXES:
.PHONY: help run test test-api test-long bench bench-channels bench-http bench-import bench-ledger bench-memory \
	bench-runtime bench-supervision bench-users soak chaos chaos-ledger chaos-channels fuzz \
	check fmt lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  PYTHON=python3.12 chooses the interpreter of a new environment; ARGS=… goes to run, test and bench."

run: $(VENV)/.run-installed ## Start the service (Ctrl-C or SIGTERM stops it)
	@exec $(PY) run.py $(ARGS)

test: $(VENV)/.dev-installed ## Run the tests, in random order: long files first, three at a time, then chaos alone (ARGS=…: these)
ifeq ($(ARGS),)
	$(PY) -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder -m "not chaos" || $(AGAIN)
	$(PY) -m pytest -m chaos
else
	$(PY) -m pytest $(ARGS)
endif

test-long: $(VENV)/.dev-installed ## Compare the supervisors with the model of OTP's rules in 10,000 random lives each
	HYPOTHESIS_PROFILE=long $(PY) -m pytest tests/property/test_supervisors_against_otp.py --timeout 1800 $(ARGS)

test-api: $(VENV)/.dev-installed ## Ask every operation of the OpenAPI document at random (ARGS="--examples 20")
	$(PY) -m tests.contract $(ARGS)

bench-supervision: $(VENV)/.dev-installed ## Measure restarts, starts and stops of supervised actors and processes
	$(PY) -m bench.supervision $(ARGS)

bench: $(VENV)/.dev-installed ## Measure everything beside the peers, in 20 minutes (ARGS="transfers hot", ARGS=--quick, --help)
	$(PY) -m bench $(ARGS)

bench-memory: $(VENV)/.dev-installed ## Measure the memory of an idle service
	$(PY) -m bench.memory

bench-channels: $(VENV)/.dev-installed ## Measure the fan-out of events to 2,000 sockets beside a bare server (ARGS="--rounds 5")
	$(PY) -m bench.channels $(ARGS)

bench-http: $(VENV)/.dev-installed ## Measure what a front adds to bare aiohttp; needs wrk (ARGS="--rounds 3", ARGS=--help)
	$(PY) -m bench.http $(ARGS)

bench-ledger: $(VENV)/.dev-installed ## Measure the ledger beside pgbench (ARGS="--long 10000000", ARGS=--help)
	$(PY) -m bench.ledger $(ARGS)

bench-import: $(VENV)/.dev-installed ## Import millions of lines; rate and memory over the run (ARGS="--lines 100000")
	$(PY) -m bench.imports $(ARGS)

bench-runtime: $(VENV)/.dev-installed ## Measure the actor runtime beside its peers (ARGS=--quick, --help)
	$(PY) -m bench.runtime $(ARGS)

bench-users: $(VENV)/.dev-installed ## Measure 200,000 users in one partition: memory, activations, a hot user (ARGS=--quick, --help)
	$(PY) -m bench.users $(ARGS)

soak: $(VENV)/.dev-installed ## Break the runtime at random for ten minutes (ARGS="--minutes 3 --seed 7")
	$(PY) -m tests.soak $(ARGS)

chaos: $(VENV)/.dev-installed ## Break a whole node under load for ten minutes (ARGS="--seconds 60 --seed 7 --report FILE")
	$(PY) -m tests.chaos $(ARGS)

chaos-ledger: $(VENV)/.dev-installed ## Kill the ledger 200 times under load, and PostgreSQL ten times (ARGS="--kills 20 --seed 7")
	$(PY) -m tests.chaos.ledger $(ARGS)

chaos-channels: $(VENV)/.dev-installed ## Kill notifier, fronts and ledger 50 times while 500 clients listen and resume (ARGS="--clients 60 --kills 6")
	$(PY) -m tests.chaos.channels $(ARGS)

fuzz: $(VENV)/.dev-installed ## Feed the wire protocol with garbage (ARGS="--seconds 600")
	$(PY) -m tests.fuzz $(ARGS)

check: $(VENV)/.dev-installed ## Lint, check the formatting, the types and the arrows between packages
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy bitnexus tests bench run.py
	$(VENV)/bin/lint-imports

fmt: $(VENV)/.dev-installed ## Format, and fix what can be fixed
	$(PY) -m ruff check --fix-only .
	$(PY) -m ruff format .

# One resolution: what is developed with is what runs. UPGRADE=1 takes the newest versions.
# setuptools is pinned with them: it installs the package itself.
COMPILE = printf 'setuptools>=77\n' | $(UV) pip compile setup.cfg - --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate $(if $(UPGRADE),--upgrade) \
	--custom-compile-command 'make lock'

lock: ## Pin the dependencies of setup.cfg, with hashes, in requirements/
	$(COMPILE) --extra test --extra dev --extra bench --output-file requirements/dev.txt
	$(COMPILE) --constraint requirements/dev.txt --output-file requirements/run.txt

clean: ## Remove the environment and all caches (not var/, where the data are)
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find bitnexus tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "BitNexus needs Python 3.11 or newer: name one with PYTHON=…" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# A stamp is younger than its lock file once the environment holds what the lock file says.
$(VENV)/.%-installed: requirements/%.txt setup.cfg pyproject.toml | $(VENV)/bin/python
	$(PIP) install --quiet --require-hashes --requirement $<
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
