# Gantry's commands. `make` or `make help` lists them.
SHELL := /bin/bash
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
LOCK := .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade --no-header
UV := uv==0.13.9

# The files begin in the order of tests/conftest.py, which has the longest first: none is left over at the end.
PYTEST := pytest --dist loadfile --no-loadscope-reorder
# What is measured has the machine to itself.
ALONE := tests/system/long/test_thousand_imports.py tests/system/long/test_scaling.py tests/system/long/test_three_stores.py

.DEFAULT_GOAL := help
.PHONY: help setup demo run test lint integration chaos scaling fuzz bench compat lock clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: ## install what is missing: system packages, .venv, pinned requirements
	@deploy/setup.sh runtime

demo: setup ## import two real images in a private service, check their digests, leave nothing behind
	@python -m deploy.demo

run: setup ## keep the service up and print how to use it (state in ./var; Ctrl-C stops it)
	@exec python -m deploy.run $(if $(STATE),--state "$(STATE)")

test: lint ## every check, then the tests that need no server but their own
	$(PYTEST) -n 2 tests/system tests/contract tests/functional tests/unit --ignore tests/system/long

lint: ## ruff, mypy and the import rules
	@deploy/setup.sh dev
	ruff check .
	ruff format --check .
	mypy
	lint-imports

# Half of what the ring `integration` does is waiting: three at a time leave two processors idle less often.
integration: ## attacks, large bodies, PostgreSQL, MariaDB, Ceph, RabbitMQ, long runs of real processes (SELECT="-k ...")
	@deploy/setup.sh integration
	@deploy/setup.sh ceph || echo "Without Ceph the tests of S3, Swift and RBD are skipped; each says so."
	@deploy/setup.sh keystone
	@deploy/setup.sh glance
	$(PYTEST) -n 3 tests/security tests/integration tests/system/long $(ALONE:%=--ignore %) $(SELECT)
	pytest -s $(ALONE)

chaos: ## kill -9 at random, ROUNDS times; every import must come out well (docs/chaos.md has the rest: SEED, OPTIONS)
	@deploy/setup.sh integration
	@python -m tests.chaos --rounds $(or $(ROUNDS),30) $(if $(SEED),--seed $(SEED)) $(OPTIONS)

scaling: ## what 1, 2, 4 and 8 workers download a second from a server that gives each 20 MB/s
	@deploy/setup.sh integration
	@python -m tests.chaos.scaling

fuzz: ## atheris looks for files and requests that break the gate or the API (SECONDS_EACH, 60; TARGET=files or requests)
	@deploy/setup.sh dev
	@for one in $(or $(TARGET),files requests); do python -m tests.fuzz $$one --seconds $(or $(SECONDS_EACH),60); done

bench: ## Gantry and Glance side by side on this machine (OPTIONS="--quick", OPTIONS=growth, OPTIONS=--help)
	@deploy/setup.sh bench
	@deploy/setup.sh keystone
	@deploy/setup.sh glance
	@python -m tests.bench $(OPTIONS)

compat: ## unmodified clients, Tempest and other people's suites, behind a real Keystone (TEMPEST="-k ...")
	@deploy/setup.sh dev
	@deploy/setup.sh clients
	@deploy/setup.sh keystone
	@deploy/setup.sh rally
	$(PYTEST) -n 2 tests/compat
	$(PYTEST) -n 2 tests/tempest $(TEMPEST)

lock: ## pin the newest versions that pyproject.toml allows
	@test -x .venv-lock/bin/uv || python3 -m venv .venv-lock
	@.venv-lock/bin/python -m pip install --quiet $(UV)
	$(LOCK) pyproject.toml --output-file requirements.txt
	$(LOCK) pyproject.toml --extra notifications --constraint requirements.txt --output-file requirements-notifications.txt
	$(LOCK) pyproject.toml --extra dev --constraint requirements.txt --output-file requirements-dev.txt
	$(LOCK) --group clients --output-file requirements-clients.txt
	$(LOCK) --group keystone --output-file requirements-keystone.txt
	$(LOCK) --group glance --output-file requirements-glance.txt
	$(LOCK) --group rally --output-file requirements-rally.txt
	@sed -i '1i # Made by "make lock" from pyproject.toml: complete and exact. Do not edit.' requirements*.txt

clean: ## remove the virtual environments, the caches and ./var
	rm -rf .venv .venv-clients .venv-keystone .venv-glance .venv-rally .venv-lock var build *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
