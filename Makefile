# Every target sets up what it needs. `make` prints this list.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# One more than there are processors: a third of what tests take is waiting.
JOBS   ?= 3

.DEFAULT_GOAL := help
.PHONY: help run test lint types layers format docs soak conformance bench bench-decision bench-gateway bench-results bench-revocation bench-sessions bench-entry image weaken clean

help: ## print this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-16s %s\n", $$1, $$2}'

run: $(VENV)/.run ## control plane, gateway and demo servers in one process (mcpctl quickstart)
	@$(BIN)/mcpctl quickstart $(ARGS)

test: $(VENV)/.dev ## all tests, real PostgreSQL included
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

lint: $(VENV)/.dev ## ruff: style, errors, formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev ## mypy, strict, over src and tests
	$(BIN)/mypy

layers: $(VENV)/.dev ## import-linter: who may import whom
	$(BIN)/lint-imports --no-logo

format: $(VENV)/.dev ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.dev ## write the reference pages under docs/ from the code
	$(BIN)/python docs/write_reference.py

soak: $(VENV)/.dev ## the property-based tests, many times longer: writes benchmarks/results (an hour)
	$(BIN)/python -m benchmarks.soak $(ARGS)

weaken: $(VENV)/.dev ## take each defence out in turn: a test must turn red (minutes)
	$(BIN)/python -m tests.weakenings -j $(JOBS) $(ARGS)

conformance: $(VENV)/.dev ## the official MCP conformance suite, directly and through the gateway: writes benchmarks/results (needs npm; a minute)
	$(BIN)/python -m benchmarks.conformance $(ARGS)

image: $(VENV)/.dev ## build the container image and try it: writes benchmarks/results (needs root on Debian, or podman and buildah; two minutes)
	$(BIN)/python -m benchmarks.image $(ARGS)

bench: bench-decision bench-gateway bench-results bench-revocation bench-sessions bench-entry ## all benchmarks: writes benchmarks/results (fifteen minutes, on a quiet machine)

bench-decision: $(VENV)/.bench ## what a decision costs, beside its peers (four minutes)
	$(BIN)/python -m benchmarks.decision $(ARGS)

bench-gateway: $(VENV)/.bench ## what a call through the gateway costs, beside other proxies (five minutes; ARGS=--long for memory over 10^6 calls)
	$(BIN)/python -m benchmarks.gateway $(ARGS)

bench-results: $(VENV)/.bench ## what shaping and caching results costs, and what a cache saves (a minute)
	$(BIN)/python -m benchmarks.results_cache $(ARGS)

bench-revocation: $(VENV)/.bench ## how long a revocation takes to be true, on SQLite and PostgreSQL (a minute)
	$(BIN)/python -m benchmarks.revocation $(ARGS)

bench-sessions: $(VENV)/.dev ## what a thousand sessions cost that nobody uses, with and without an open stream (half a minute)
	$(BIN)/python -m benchmarks.sessions $(ARGS)

bench-entry: $(VENV)/.dev ## how long the STDIO entry takes to its first answer, both kinds (half a minute)
	$(BIN)/python -m benchmarks.entry $(ARGS)

clean: ## remove everything that was set up or built
	rm -rf $(VENV) .interop dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/.run: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version) if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --group dev
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --group bench \
		|| echo 'cedarpy or fastmcp cannot be installed here: the benchmarks leave them out and say so'
	@touch $@
