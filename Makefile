# make demo | test | check | bench | peers | bench-gpu | gain | fidelity | clean
# PYTHON chooses the interpreter (3.11 or newer), VENV the folder of the virtual environment.

VENV ?= .venv
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo "$$name" && break; done)
PYTEST_ARGS ?= -n 2
# An interpreter whose jax has a GPU; the packages of .venv are for CPUs.
GPU_PYTHON ?= python3

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --quiet --constraint constraints.txt
INPUTS := pyproject.toml constraints.txt

.DEFAULT_GOAL := demo
.PHONY: demo test check bench peers bench-gpu gain fidelity clean

demo: $(VENV)/.run-installed
	$(BIN)/python -m runtime.cli demo

test: $(VENV)/.dev-installed
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(VENV)/.dev-installed
	$(BIN)/ruff check .
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python

bench: $(VENV)/.run-installed
	@mkdir -p out
	$(BIN)/python -m runtime.cli bench tiny --hw benchmarks/slowed-a6000-csd20.toml --slower 0.5 \
		--policies flexgen-ssd,instinfer,auto --batches 4,8,16 --contexts 64,224 --drives 1,2 \
		--max-new-tokens 10 --repeats 3 --plot out/bench.png --save out/bench.json

bench-gpu:
	$(GPU_PYTHON) -m benchmarks.hand_over
	$(GPU_PYTHON) -m benchmarks.host_attention --rows 16 --heads 32 --kv-heads 32 --tokens 1056
	$(GPU_PYTHON) -m benchmarks.decode_step --model opt-6.7b --batches 1,16,64 --prompt-len 256 --new 65 --repeats 10
	$(GPU_PYTHON) -m benchmarks.decode_step --model opt-13b --batches 1,16,64 --prompt-len 256 --new 65 --repeats 10
	$(GPU_PYTHON) -m benchmarks.gpu_policies --new 65 --repeats 10 --policies gpu-only
	$(GPU_PYTHON) -m benchmarks.gpu_policies --new 9 --repeats 10 --policies recompute,host-attention
	$(GPU_PYTHON) -m benchmarks.gpu_policies --new 9 --repeats 10 --layers 8 --policies gpu-only
	@mkdir -p out
	$(GPU_PYTHON) -m benchmarks.decode_grid --out out/decode-grid.json
	$(GPU_PYTHON) -m benchmarks.weight_streams
	$(GPU_PYTHON) -m runtime.cli calibrate --drives-of h200-csd4 --out out/this-gpu.toml
	$(GPU_PYTHON) -m benchmarks.emulated_drives --hw out/this-gpu.toml --repeats 10

peers: $(VENV)/.run-installed
	$(BIN)/python -m benchmarks.offload_peers --check

gain: $(VENV)/.run-installed
	$(BIN)/python -m benchmarks.measured_gain --check

fidelity: $(VENV)/.run-installed
	$(BIN)/python -m benchmarks.drive_fidelity --check

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The demo needs the run-time packages alone; tests and checks need the others too.
$(VENV)/.run-installed: $(INPUTS) | $(BIN)/python
	@echo "Installing the packages into $(VENV)"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.dev-installed: $(INPUTS) | $(BIN)/python
	@echo "Installing the packages and the development tools into $(VENV)"
	@$(PIP) --editable ".[dev,hf]"
	@touch $@ $(VENV)/.run-installed

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; none was found." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
