# The front of the house. `make demo` and `make test` prepare the machine themselves.

SHELL := /bin/bash
.DEFAULT_GOAL := help
PY := .venv/bin/python
DEMO ?= ingot.lab.demo
BENCH ?= bench
PYTEST_ARGS ?=
SUITES ?=
FIRST ?= 1
COUNT ?= 2000
# Racks, network namespaces and raw sockets need root. uv is for the parts that fetch stock tools.
ROOT = $(shell [ "$$(id -u)" = 0 ] || echo sudo -E) env PATH="$(CURDIR)/.venv/bin:$$PATH:/usr/sbin:/sbin" \
	UV="$(CURDIR)/.venv-bootstrap/bin/uv"

.PHONY: help setup demo test check lint lint-style lint-format lint-imports lint-house lint-shell \
	lint-types pytest real nightly schedules conformance fuzz bench docs clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 13

setup: ## prepare this machine for everything (Debian packages, uv, .venv)
	@tools/setup.sh test

demo: ## a virtual rack, a cloud, a real image on a (virtual) machine; ONCE=1 takes all down at the end
	@tools/setup.sh demo
	@$(ROOT) ONCE="$(ONCE)" $(PY) -m $(DEMO)

test: ## everything that CI checks
	@tools/setup.sh test
	@$(MAKE) --no-print-directory lint pytest

check: lint pytest ## the same on a machine that is ready

lint: ## style, types, directions of imports, house rules (no set-up); tells all that is wrong
	@$(MAKE) --no-print-directory --keep-going lint-style lint-format lint-imports lint-house lint-shell lint-types

lint-style:
	$(PY) -m ruff check

lint-format:
	$(PY) -m ruff format --check

lint-imports:
	.venv/bin/lint-imports --no-cache --no-logo

lint-house:
	$(PY) -m tools.house

lint-shell:
	@command -v shellcheck >/dev/null || { echo "shellcheck is not installed: skipped"; exit 0; }; \
	echo shellcheck; shellcheck tools/*.sh .ci/run

lint-types:
	$(PY) -m pyright

# Plain tracebacks: reading the source again breaks the run on Python 3.11 where a stack is deep.
PYTEST = $(ROOT) $(PY) -m pytest --durations=15 -ra --tb=native
# What failed is run once more alone, to tell whether it needs the whole machine for itself; red stays red.
AGAIN = { code=$$?; [ $$code = 1 ] || exit $$code; echo "== these failed; for the log once more, alone:"; \
	$(PYTEST) --last-failed --last-failed-no-failures none $(PYTEST_ARGS) -m "$(1)" </dev/null; exit 1; }

pytest: ## all tests but the long ones (no set-up); PYTEST_ARGS="-k word" for some
	@# Most tests wait for the world; five at a time, a file to a worker. Real machines come alone.
	$(PYTEST) -n 5 --dist loadfile --no-loadscope-reorder -m "not qemu" $(PYTEST_ARGS) </dev/null || $(call AGAIN,not qemu)
	$(PYTEST) -m "qemu and not real" $(PYTEST_ARGS) </dev/null || $(call AGAIN,qemu and not real)

# Not in .ci/run: on busy cores QEMU without virtualization gets so little of them that deadlines of real time pass
# (tests/flows/test_real_rack.py has failed so), and how long all of them take is not measured yet.
real: ## the long scenarios of real (QEMU) machines; NIGHTLY=1 for all of them
	@tools/setup.sh test
	$(PYTEST) -m real $(PYTEST_ARGS) </dev/null || $(call AGAIN,real)

nightly: ## everything that takes long: fleets, walks, kills, judges, all real machines, 2,000 fault schedules (hours)
	@tools/setup.sh test
	@NIGHTLY=1 $(MAKE) --no-print-directory --keep-going lint pytest real schedules conformance fuzz

conformance: ## the outside suites (tempest's plugin, the SDK's tests) against a real `ingot serve`
	@tools/setup.sh test
	$(PY) -m tools.conformance $(SUITES)

schedules: ## 2,000 seeded fault schedules in virtual time (10 minutes of a core); COUNT=100000 FIRST=1 for a night
	@tools/setup.sh test
	$(PY) -m tests.schedules --first $(FIRST) --count $(COUNT)

fuzz: ## Schemathesis over the documents of all services, every boundary of every parameter (minutes)
	@tools/setup.sh test
	$(PY) -m tools.conformance.fuzz $(SUITES)

bench: ## figures side by side, no pass or fail
	@tools/setup.sh test
	$(ROOT) $(PY) -m $(BENCH)

docs: ## write the generated pages again
	$(PY) -m tools.docs
	$(PY) -m tests.trees

clean: ## remove what make made here (not the caches under ~/.cache/ingot)
	rm -rf .venv .venv-bootstrap .pytest_cache .ruff_cache .import_linter_cache .hypothesis
