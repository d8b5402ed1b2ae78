# The two commands are `make run` and `make test`; both set up everything they need by themselves.
# ARGS goes to the program:  make run ARGS=--drain    make test ARGS="tests/unit -k retry"

PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

.PHONY: run test check format lock clean

run: .venv/ready
	@$(BIN)/python -m tasks.demo $(ARGS)

test: .venv/ready
	$(BIN)/pytest $(ARGS)

check: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports

format: .venv/ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The file is made last, so an interrupted set-up starts again.
.venv/ready: pyproject.toml requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "workerqueue needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# A pooler for the tests that go through one: with root and apt-get; anywhere else they are skipped.
.PHONY: pgbouncer
pgbouncer:
	@command -v pgbouncer >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& apt-get -qq update && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -qq install --yes pgbouncer >/dev/null; } \
		|| echo "no pgbouncer, and none can be installed here: the tests that need it are skipped"

# Break things on purpose and check the history; `make test` holds the ci profile with seed 1.
#   make faults ARGS="--profile nightly --seed 7"    .venv/bin/python -m tests.faults mutants
#   make test ARGS="-m proof"    each campaign finds a bug seeded into the code
.PHONY: faults
faults: .venv/ready
	$(BIN)/python -m tests.faults run $(ARGS)

# Every benchmark in its short form, into benchmarks/RESULTS.md and docs/benchmarks/.
.PHONY: bench
bench: .venv/bench
	$(BIN)/python -m benchmarks all --short $(ARGS)

.venv/bench: .venv/ready requirements/bench.txt
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/bench.txt
	@touch $@

# The environments of the queues that `python -m benchmarks peers` compares; it also makes them itself.
.PHONY: peers
peers: .venv/ready
	$(BIN)/python -m benchmarks.peers.environment
PEERS := procrastinate pgqueuer chancy awa
PEER_PINS := benchmarks/peers/requirements

# Pins every package with its hashes, for all platforms; index addresses are left out on purpose.
lock:
	uv pip compile --universal --generate-hashes --no-header --python-version 3.11 \
		pyproject.toml --group dev -o requirements/dev.txt
	uv pip compile --universal --generate-hashes --no-header --python-version 3.11 \
		-c requirements/dev.txt pyproject.toml --group bench -o requirements/bench.txt
	for peer in $(PEERS); do \
		uv pip compile --universal --generate-hashes --no-header --python-version 3.11 \
			$(PEER_PINS)/$$peer.in -o $(PEER_PINS)/$$peer.txt || exit 1; \
	done

clean:
	rm -rf .venv .venv-peers .workerqueue
