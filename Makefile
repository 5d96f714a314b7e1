# make run · make test · make test-numeric · make test-slow · make lint · make lock · make ui
PYTHON ?= python3.11
CONFIG ?= configs/quickstart.yaml
# One embedded store beside the code, unless a tracking server is named.
export MLFLOW_TRACKING_URI ?= sqlite:///$(CURDIR)/mlflow.db
# `mlflow run` says `python`, and it must be this environment's.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: run test test-numeric test-slow test-services lint lock ui

STUDY = $(notdir $(basename $(CONFIG)))
run: .venv/installed
	python -m stagewise.tracking.store "$(STUDY)"
	mlflow run . --env-manager local --experiment-name "$(STUDY)" -P config="$(CONFIG)"

# A file's tests share what is costly to make; files are taken in the order that tests/conftest.py gives them.
PARALLEL = -n 2 --dist loadfile --no-loadscope-reorder

test: .venv/installed
	pytest -q $(PARALLEL)

# ATEN_CPU_CAPABILITY=default or avx2 has torch compute as on an older processor.
test-numeric: .venv/installed
	pytest -q $(PARALLEL) -m "numeric and not slow"

test-slow: .venv/installed
	pytest -q -m slow

# On services that it starts for itself, once they are installed.
test-services: .venv/services
	pytest -q -m services tests/services

lint: .venv/installed
	ruff check
	ruff format --check
	mypy
	typos

# The packages at their newest that the ranges of pyproject.toml admit; conda.yaml is changed by hand then.
lock: .venv/installed
	{ sed '/^[^#]/,$$d' constraints.txt; uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
		--upgrade --quiet --no-annotate --no-header; } > constraints.new
	mv constraints.new constraints.txt

ui: .venv/installed
	mlflow ui --backend-store-uri "$(MLFLOW_TRACKING_URI)"

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

.venv/services: .venv/installed
	.venv/bin/pip install --quiet --constraint constraints.txt --editable ".[dev,services]"
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || \
		{ apt-get update && apt-get install --yes --no-install-recommends postgresql; }
	touch $@
