# All a fresh machine needs is Python and make: `make demo`, `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
READY := $(VENV)/.ready
DEMO := outputs/demo
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-all lint abuse docs docker-check campaign benchmark examples ablations figures constraints clean

demo: $(INSTALLED)
	rm -rf $(DEMO)
	$(BIN)/cyclegan data get seasons -o $(DEMO)/seasons
	$(BIN)/cyclegan train $(DEMO)/seasons --max-minutes 5 --runs $(DEMO)/runs --name summer-winter
	$(BIN)/cyclegan translate $(DEMO)/runs/summer-winter $(DEMO)/seasons/testA -o $(DEMO)/winter --side-by-side
	$(BIN)/cyclegan translate $(DEMO)/runs/summer-winter $(DEMO)/seasons/testB -o $(DEMO)/summer --direction BtoA --side-by-side

test: $(READY)
	$(BIN)/python -m pytest

test-all: $(READY)
	$(BIN)/python -m pytest -m ""

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/bandit --quiet --recursive src --configfile pyproject.toml

abuse: $(READY)
	$(BIN)/python -m pytest -s -m "" -k 1000 tests/server/test_abuse.py

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docker-check: $(READY)
	$(BIN)/python -m pytest -m "" tests/test_dockerfile.py

# Injected faults, one campaign after the other; docs/hardening.md says what they do. CAMPAIGNS="kills disk" chooses.
SEED ?= 0
ROUNDS ?= 100
campaign: $(READY)
	mkdir -p outputs
	$(BIN)/python tests/campaigns/run.py --seed $(SEED) --rounds $(ROUNDS) --report outputs/campaign.json $(CAMPAIGNS)

benchmark: $(READY)
	$(BIN)/python benchmarks/training.py

examples: $(READY)
	$(BIN)/python examples/gan.py
	$(BIN)/python examples/conditional_gan.py

ablations: $(READY)
	$(BIN)/python benchmarks/ablations.py

figures: $(READY)
	$(BIN)/python docs/figures.py $(DEMO)/runs/summer-winter
	$(BIN)/python examples/gan.py --out docs/gan.png
	$(BIN)/python examples/conditional_gan.py --out docs/conditional-gan.png

# One file for Linux, macOS and Windows. UPGRADE=--upgrade takes the newest versions. torch pins its CUDA packages itself.
constraints: $(READY)
	$(PIP) uv
	$(BIN)/uv pip compile pyproject.toml --quiet --extra dev --universal --python-version 3.11 --no-header --no-annotate \
		--generate-hashes $(UPGRADE) -o requirements.lock
	(echo "# The versions that this project is developed and tested with, written by \`make constraints\`."; \
		sed -nE '/^(cuda|nvidia|triton)/d; s/^([^ ].*==.*[^ ]) \\$$/\1/p' requirements.lock) > constraints.txt

# torch is installed first and alone, so that no later package replaces it with another build. On Linux without a GPU, a
# smaller torch suffices: make demo TORCH_INDEX="--extra-index-url https://download.pytorch.org/whl/cpu"
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(TORCH_INDEX) torch
	$(PIP) -e .
	touch $(INSTALLED)

# For development. Visdom needs the setuptools that it was written for.
$(READY): $(INSTALLED)
	$(PIP) setuptools wheel
	$(PIP) --no-build-isolation visdom
	$(PIP) -e ".[dev]"
	touch $(READY)

clean:
	rm -rf $(VENV) outputs site build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
