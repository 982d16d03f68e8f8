# Two commands do everything on a fresh machine: `make serve` and `make test`. All that is needed is Python and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The CUDA libraries, where there is a GPU: it may have come, or its driver, since all else was installed.
GPU := $(shell nvidia-smi > /dev/null 2>&1 && echo $(VENV)/.gpu)
ARGS ?=
RUN ?= runs/cifarnet
NAME ?= $(notdir $(RUN:/=))

export BENTOML_DO_NOT_TRACK := True

.PHONY: help serve install test check format train export report bench gpu lock clean

help:
	@echo "make serve    install what serving needs, and serve the bundles in models/ on port 3000"
	@echo "make test     install everything, and run the tests"
	@echo "make install  install everything; after 'source .venv/bin/activate' the commands are yours"
	@echo "make check    formatting, lint and types"
	@echo "make train    train the default network on data/   (ARGS='--epochs 2' and so on: make train ARGS=--help)"
	@echo "make export   RUN=runs/cifarnet: make the bundle models/cifarnet of it"
	@echo "make report   measure the bundles in models/ again on the test images: docs/models.md   (ARGS='--data DIR')"
	@echo "make bench    every figure and plot of docs/benchmarks.md, some 20 minutes; needs wrk   (ARGS=growth: one part)"
	@echo "make gpu      what a machine with an NVIDIA GPU must prove   (ARGS=parity: one step; make gpu ARGS=--help)"

serve: $(VENV)/.serve
	$(BIN)/bentoml serve $(ARGS)

install: $(VENV)/.full

test: $(VENV)/.full
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(VENV)/.full
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.full
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

train: $(VENV)/.full
	$(BIN)/python -m training.fit $(ARGS)

export: $(VENV)/.full
	$(BIN)/python -m export $(RUN)/best.pt --out models/$(NAME) $(ARGS)

report: $(VENV)/.full
	$(BIN)/python -m bench.report $(ARGS)

bench: $(VENV)/.bench
	$(BIN)/python -m bench $(ARGS)

gpu: $(VENV)/.bench
	$(BIN)/python -m bench.gpu $(ARGS)

# A stamp is touched when its requirements are in, so that an install that was interrupted is done again.
$(VENV)/.serve: requirements/serve.txt | $(BIN)/python $(GPU)
	$(BIN)/python -m pip install --quiet --requirement requirements/serve.txt
	@touch $@

$(VENV)/.full: requirements/full.txt requirements/tune.txt | $(BIN)/python $(GPU)
	$(BIN)/python -m pip install --quiet --requirement requirements/full.txt --requirement requirements/tune.txt
	@touch $@ $(VENV)/.serve

$(VENV)/.gpu: requirements/gpu.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --requirement requirements/gpu.txt
	@touch $@

$(VENV)/.bench: requirements/bench.txt $(VENV)/.full | $(BIN)/python
	$(BIN)/python -m pip install --quiet --requirement requirements/bench.txt
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || \
		{ echo "Python 3.11, 3.12, 3.13 or 3.14 is needed. Name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# Pins requirements/*.in anew, with the hashes of every file. full.txt holds serve.txt's pins, the others full.txt's.
COMPILE := $(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-header --python-version 3.11
lock: $(VENV)/.full
	$(COMPILE) requirements/serve.in --output-file requirements/serve.txt
	$(COMPILE) --constraints requirements/serve.txt requirements/full.in --output-file requirements/full.txt
	$(COMPILE) requirements/gpu.in --output-file requirements/gpu.txt
	$(COMPILE) requirements/tune.in --output-file requirements/tune.txt
	$(COMPILE) requirements/bench.in --output-file requirements/bench.txt

clean:
	rm -rf $(VENV)
