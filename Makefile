# The commands of the README. All the work is done by `python -m stack`; this only makes the Python environment.

TOOLS ?= $(or $(LAKE_TOOLS_DIR),$(CURDIR)/.lake/tools)
PYTHON ?= python3.11
UV_VERSION := 0.13.8
VENV := $(TOOLS)/venv
BIN := $(VENV)/bin
UV := $(TOOLS)/bootstrap/bin/uv

export LAKE_TOOLS_DIR := $(TOOLS)
export UV_PROJECT_ENVIRONMENT := $(VENV)
export UV_PYTHON_DOWNLOADS := never

.DEFAULT_GOAL := help
.PHONY: help demo up down status doctor branch test faults check contracts format clean environment secrets containers fresh

help: ## say what there is
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: environment ## play recorded trades through the whole lake; RECORDING=path plays yours, PROFILE=standard adds Trino
	@$(BIN)/python -m stack demo $(if $(RECORDING),--recording "$(RECORDING)") $(if $(PROFILE),--profile $(PROFILE))

up: environment ## the same on the live exchanges
	@$(BIN)/python -m stack up --exchange live $(if $(PROFILE),--profile $(PROFILE))

down: environment ## stop everything
	@$(BIN)/python -m stack down

status: environment ## what runs, where, how large, how far behind
	@$(BIN)/python -m stack status

doctor: environment ## what is wrong, and what to do about it
	@$(BIN)/python -m stack doctor

branch: environment ## a branch of the whole lake to try something on; NAME=x
	@$(BIN)/python -m stack branch create "$(NAME)"

test: environment ## all tests; what needs no stack beside the faults of the ingestion, which mostly wait
	@$(BIN)/python -m stack tools
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder

faults: environment ## break two ingestions in every known way, each on SEEDS seeds (5); SEED=n repeats one
	@$(BIN)/python -m stack tools
	@$(BIN)/python -m pytest tests/faults/test_ingestion_under_fire.py -m faults --numprocesses 2 --dist load \
		$(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),5))

check: environment ## format, lint, types, import directions, SQL
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy include streaming spark_apps stack
	@$(BIN)/lint-imports
	@$(BIN)/sqlfluff lint dbt_project/models

contracts: environment ## write what is rendered from the contracts anew
	@$(BIN)/python -m include.renderers

format: environment ## format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: environment ## stop everything and give up the lake: its data, logs and secrets; downloads are kept
	@$(BIN)/python -m stack clean

secrets: ## .env for docker compose, its secrets made once; PROFILE=minimal, standard or comfortable, DEMO=yes plays recorded trades
	@$(PYTHON) -m stack.containers.environment --profile $(or $(PROFILE),minimal) $(if $(DEMO),--demo)

containers: ## the demo in containers, with a real engine, from the build to the published hours; STANDING_IN=yes asks no registry
	@tests/containers/demo.sh

fresh: ## the README's commands on a machine that has never seen the lake: a container with git, make and Python alone
	@tests/containers/fresh.sh

environment: $(VENV)/.locked

$(VENV)/.locked: pyproject.toml uv.lock | $(UV)
	@$(UV) sync --locked --python $(PYTHON)
	@touch $@

$(UV):
	@command -v $(PYTHON) > /dev/null || { echo "Python 3.11 is missing: install it, or say where it is with PYTHON=…" >&2; exit 1; }
	@$(PYTHON) -m venv $(TOOLS)/bootstrap || { echo "Python cannot make environments: install python3.11-venv." >&2; exit 1; }
	@$(TOOLS)/bootstrap/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
