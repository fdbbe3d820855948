# Everything a contributor runs. `make` alone lists the targets.
#
# There is one build configuration, release: a debug build would compile all dependencies a second
# time, and the numbers and tests should be those of what users run
# (docs/decisions/0005-one-release-configuration.md).

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

BUILD := swift build --configuration release
PYTHON := $(CURDIR)/.venv/bin/python
export MARTLET_PYTHON := $(PYTHON)

.PHONY: help bootstrap build demo test lint format bench protos clean

help: ## List these targets
	@echo 'usage: make TARGET'
	@sed -nE 's/^([a-z]+):.*## (.*)/  \1\t\2/p' Makefile | expand -t 14

bootstrap:
	@dev/bootstrap

build: bootstrap ## Install what is missing and build .build/release/martlet
	$(BUILD)

demo: build ## Run the whole ring on a simulated shop (DEMO=once: end instead of staying up)
	examples/shop/demo

test: bootstrap ## Build and run every test, Swift and Python
	$(BUILD) --build-tests
	dev/test
	$(PYTHON) -m pytest -q python/tests
	for tests in python/clients/test_*.py; do .deps/clients/bin/python -m pytest -q "$$tests"; done

lint: bootstrap ## Check format, Python, scripts and generated code; changes nothing
	@dev/lint

format: bootstrap ## Rewrite Swift and Python sources in the project's format
	@dev/lint --fix

bench: build ## Measure against the raw limits and print a table
	Benchmarks/run

protos: bootstrap ## Generate Swift and Python code from proto/
	@dev/protos

clean: ## Remove what was built; keep .venv and .deps
	rm -rf .build
