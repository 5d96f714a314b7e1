# make run · make test · make test-numeric · make test-slow · make lint · make ui
PYTHON ?= python3.11
CONFIG ?= configs/quickstart.yaml
# One embedded store beside the code, unless a tracking server is named.
export MLFLOW_TRACKING_URI ?= sqlite:///$(CURDIR)/mlflow.db
# `mlflow run` says `python`, and it must be this environment's.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: run test test-numeric test-slow lint ui

STUDY = $(notdir $(basename $(CONFIG)))
run: .venv/installed
	python -m stagewise.tracking.store "$(STUDY)"
	mlflow run . --env-manager local --experiment-name "$(STUDY)" -P config="$(CONFIG)"

test: .venv/installed
	pytest -q -n 2 --dist loadfile

# ATEN_CPU_CAPABILITY=default or avx2 has torch compute as on an older processor.
test-numeric: .venv/installed
	pytest -q -n 2 --dist loadfile -m "numeric and not slow"

test-slow: .venv/installed
	pytest -q -m slow

lint: .venv/installed
	ruff check
	ruff format --check
	mypy

ui: .venv/installed
	mlflow ui --backend-store-uri "$(MLFLOW_TRACKING_URI)"

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --editable ".[dev]"
	touch $@
