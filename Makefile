# `make run` and `make test` do their own set-up; `make` alone lists the targets.

PYTHON ?= python3
VENV := .venv
ARGS ?=

# One stamp for each set of packages: newer than its requirements means up to date.
RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed
BENCH := $(VENV)/.bench-installed
AXE := $(VENV)/.axe-installed
AXE_VERSION := 4.14.1
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check --quiet install

.DEFAULT_GOAL := help
.PHONY: help run test faults bench screenshots lint format clean

help:
	@echo "make run      serve calls, on the embedded queue when there is no env.yml"
	@echo "make test     run every test; ARGS='-k name' is passed on to pytest"
	@echo "make faults   inject faults for an hour and write docs/faults.md"
	@echo "make bench    measure mspc beside its peers and write docs/benchmarks.md"
	@echo "make screenshots  make the pictures of docs/pages.md"
	@echo "make lint     check style and types"
	@echo "make format   put the code into the style that lint checks"
	@echo "make clean    remove the virtual environment and the caches"

run: $(RUNTIME)
	@exec $(VENV)/bin/python mspc.py $(ARGS)

test: $(DEV)
	@scripts/ensure-programs
	@$(MAKE) --no-print-directory $(AXE)
	@scripts/run-tests $(VENV)/bin/python $(ARGS)

# Rows on RabbitMQ 4 need root on Debian, or MSPC_TEST_RABBITMQ4 with a command like it.
faults: $(DEV)
	@scripts/ensure-programs rabbitmq-server
	@if [ -z "$$MSPC_TEST_RABBITMQ4" ] && [ "$$(id -u)" = 0 ] \
		&& command -v apt-get >/dev/null; then \
		export MSPC_TEST_RABBITMQ4=scripts/rabbitmq4; \
	fi; \
	$(VENV)/bin/python -m tests.faults --write docs/faults.md $(ARGS)

bench: $(BENCH)
	@$(VENV)/bin/python -m benchmarks $(ARGS)

screenshots: $(DEV)
	@scripts/ensure-programs chromium chromium-driver
	@$(VENV)/bin/python -m tests.screenshots

# Two runs of mypy, with a cache each: mspc.py and the package mspc/ are modules of the
# same name.
lint: $(DEV)
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/ruff format --check
	@$(VENV)/bin/mypy --follow-imports=silent --cache-dir .mypy_cache/script mspc.py
	@$(VENV)/bin/mypy mspc tests benchmarks

format: $(DEV)
	@$(VENV)/bin/ruff check --fix-only
	@$(VENV)/bin/ruff format

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Made anew when the requirements change, so that nothing of the old ones stays.
# On Debian `venv` needs a package of its own, which root can be spared installing.
$(RUNTIME): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "mspc needs Python 3.11 or newer (make PYTHON=... names it)." >&2; exit 1; }
	@if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		&& [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing python3-venv..."; \
		apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq \
			-o DPkg::Lock::Timeout=300 install -y --no-install-recommends \
			python3-venv >/dev/null; \
	fi
	@echo "Making $(VENV)..."
	@$(PYTHON) -m venv --clear $(VENV)
	@echo "Installing what mspc needs to run..."
	@$(PIP) -r requirements.txt
	@touch $@

$(DEV): requirements-dev.txt requirements-tracing.txt $(RUNTIME)
	@echo "Installing what the tests need..."
	@$(PIP) -r requirements-dev.txt
	@touch $@

# axe-core looks at the pages; without it those tests are skipped, or fail with CI set.
$(AXE): Makefile $(DEV)
	@if ! command -v npm >/dev/null; then \
		echo "npm is missing: the tests of the pages will be skipped." >&2; \
	elif npm install --silent --no-audit --no-fund --prefix $(VENV)/npm \
		axe-core@$(AXE_VERSION); then \
		touch $@; \
	else \
		echo "axe-core could not be installed: the tests of the pages will be skipped." >&2; \
	fi

$(BENCH): requirements-bench.txt $(DEV)
	@echo "Installing what the benchmarks need..."
	@$(PIP) -r requirements-bench.txt
	@touch $@
