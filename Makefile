# Everything a person runs. `make` is the main job; every target sets up what it needs.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: all default devices published published-searches install test test-all quick format lint types docs benchmark clean
all: default

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "budgetnas needs Python 3.11 or newer; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(BIN)/python
	$(PIP_INSTALL) -e .
	touch $@

$(VENV)/installed-train: pyproject.toml | $(BIN)/python
	$(PIP_INSTALL) -e '.[train]'
	touch $@ $(VENV)/installed

$(VENV)/installed-dev: pyproject.toml | $(BIN)/python
	$(PIP_INSTALL) -e '.[dev]'
	touch $@ $(VENV)/installed

$(VENV)/installed-docs: pyproject.toml | $(BIN)/python
	$(PIP_INSTALL) -e '.[docs]'
	touch $@ $(VENV)/installed

$(VENV)/installed-all: pyproject.toml | $(BIN)/python
	$(PIP_INSTALL) -e '.[dev,train,upstream,docs]'
	touch $@ $(VENV)/installed-dev $(VENV)/installed-train $(VENV)/installed-docs $(VENV)/installed

install: $(VENV)/installed

# The main job, without a download: the default study on the benchmark that ships with the project, its pages, its winners retrained.
default: $(VENV)/installed-train
	$(BIN)/budgetnas run default
	$(BIN)/budgetnas leaderboard runs/default
	$(BIN)/budgetnas compare runs/default

# The same on the real tables (18 MB, once) and six devices, but for the retraining.
devices: $(VENV)/installed
	$(BIN)/budgetnas data fetch
	$(BIN)/budgetnas run devices
	$(BIN)/budgetnas leaderboard runs/devices

# The pages that the project publishes.
published: $(VENV)/installed
	$(BIN)/budgetnas data fetch
	$(BIN)/budgetnas run published
	$(BIN)/budgetnas leaderboard runs/published --out leaderboards/published

# The pages of the differentiable methods and of the searches that train: some hours of two cores. Only the first two studies need a download.
SEARCHES := rc-darts-lambda dca-nas-fig3 full-information full-information-digits darts-digits darts-fashion darts-fashion-cells constrained-digits constrained-darts-digits rc-darts-table3 dca-nas-fig4a rcas-digits
RETRAINED_BY_darts-fashion := --recipe smoke --seeds 2
RETRAINED_BY_darts-fashion-cells := --recipe smoke
RETRAINED_BY_constrained-darts-digits := --recipe digits-cells --seeds 1
RETRAINED_BY_rc-darts-table3 := --recipe digits-cells
RETRAINED_BY_rcas-digits := --recipe rcas-digits
published-searches: $(VENV)/installed-train
	$(BIN)/budgetnas data fetch
	for study in dca-nas-fig3 full-information full-information-digits; do $(BIN)/budgetnas lookup-graph $$study --seeds 1 || exit 1; done
	$(BIN)/budgetnas lookup-graph constrained-digits --points 8
	$(BIN)/budgetnas lookup-graph constrained-darts-digits --points 8 --seeds 1
	$(foreach study,$(SEARCHES),$(BIN)/budgetnas run $(study) $(if $(filter dca-nas-fig4a,$(study)),--workers 1) && \
	$(if $(filter full% dca-nas-fig3 rc-darts-lambda dca-nas-fig4a,$(study)),,$(BIN)/budgetnas compare runs/$(study) $(RETRAINED_BY_$(study)) --out leaderboards/published/$(study) &&) \
	$(BIN)/budgetnas leaderboard runs/$(study) --out leaderboards/published/$(study) && )true

# Several workers: a thread each.
test test-all quick: export OMP_NUM_THREADS ?= 1
test: $(VENV)/installed-all
	$(BIN)/python -m pytest -n auto -m 'not long'

# The tests over 20 seconds too.
test-all: $(VENV)/installed-all
	$(BIN)/python -m pytest -n auto

# Under a minute: format, lint, types and the tests that take less than a few seconds each.
quick: $(VENV)/installed-dev format lint types
	$(BIN)/python -m pytest -n auto -q -m 'not slow and not long'

format: $(VENV)/installed-dev
	$(BIN)/ruff format --check .

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .

types: $(VENV)/installed-all
	$(BIN)/mypy -p budgetnas

# The documentation as a site in build/site, after the parts of its pages that repeat the code were written anew.
docs: export PYTHONPATH := docs/tools
docs: $(VENV)/installed-docs
	$(BIN)/python docs/tools/generate.py
	$(BIN)/python docs/tools/stage.py
	$(BIN)/zensical build --strict

benchmark: $(VENV)/installed-dev
	$(BIN)/python -m pytest tests/benchmarks --benchmark-enable --benchmark-only -q -s

clean:
	rm -rf build .cache $(VENV) *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
