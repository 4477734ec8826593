# Every target sets up what it needs; nothing but Python >= 3.11, make and git has to be there.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
OUT    ?= demo-out
TESTERS ?= 2
SECONDS ?= 300
SEED ?= 0
CLINIC ?= .clinic
PORT ?= 8000
LOWEST ?= .venv-lowest
ONLY ?=
# Of each library what is used of it, in little time.
LOWEST_TESTS ?= tests/training/test_train.py tests/training/test_module.py tests/dicom/test_read.py \
  tests/dicom/test_jpeg.py tests/sources/test_table.py tests/sources/test_egd.py tests/attribution/test_generators.py \
  tests/attribution/test_post_hoc.py tests/models/test_unet.py tests/store/test_dataset.py \
  tests/evaluation/test_evaluate.py tests/evaluation/metrics/test_discrimination.py tests/reporting/test_report.py \
  tests/tuning/test_results.py tests/cli/test_main.py

# Compiled modules are kept, whatever the environment says: a process that imports PyTorch and the encoders
# compiles two thousand files, which takes longer than what most tests do in it.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup demo clinic-demo clinic-data clinic-tools test test-slow zoo test-clinic test-lowest fuzz docs lint limits language types contract bench lock clean

help:             ## what can be made
	@grep -hE '^[a-z-]+: .*##|^[a-z-]+:  +##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY)   ## the virtual environment .venv, from the lock

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "radgaze needs Python 3.11 to 3.13; $(PYTHON) is older. Name another: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --only-binary :all: -r requirements-uv.lock
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $(READY)

demo: $(READY)    ## the whole way on made data: phantom, prepare, train, evaluate, compare (six minutes)
	$(BIN)/radgaze demo --out $(OUT)

clinic-demo: $(READY)  ## Orthanc, OHIF and the worker on made data, until Ctrl-C: make clinic-demo PORT=8000
	@$(BIN)/python -m tools.clinic --folder $(CLINIC) --port $(PORT)

clinic-data: $(READY)  ## what tools/clinic/compose.yaml needs: made studies, a run, OHIF
	@$(BIN)/python -m tools.clinic --folder $(CLINIC) --prepare

clinic-tools:     ## install the Debian packages that the clinic tests need and that are not there
	@tools/clinic/install.sh

test: $(READY)    ## the tests, except the slow ones, file by file on two cores (make TESTERS=8 for more)
	$(BIN)/python -m pytest --numprocesses $(TESTERS) --dist loadfile --no-loadscope-reorder

test-slow: $(READY)  ## the tests marked slow
	$(BIN)/python -m pytest -m "slow and not clinic" --numprocesses $(TESTERS) --dist loadfile --timeout 900

zoo: $(READY)     ## heatmaps of networks of timm, torchvision, smp, MONAI… against autograd: make zoo ONLY="densenet and training"
	$(BIN)/python -m pytest -m "" -k "$(ONLY)" --numprocesses $(TESTERS) --dist loadgroup tests/attribution/test_zoo.py

test-clinic: $(READY) clinic-tools  ## the tests marked clinic, with Orthanc, OHIF and Chromium, which are installed (Debian)
	$(BIN)/python -m pytest -m "clinic and not slow" --durations=10 tests/clinic tests/clinic_demo tests/viewing

test-lowest: $(READY)  ## a part of the tests, with the lowest versions that pyproject.toml allows, in .venv-lowest
	$(BIN)/uv pip compile --quiet --resolution lowest-direct --no-emit-index-url --no-annotate --no-header \
	  --python $(BIN)/python pyproject.toml tests/lowest.in -o $(LOWEST).txt
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(LOWEST)
	$(BIN)/uv pip sync --quiet --python $(LOWEST)/bin/python $(LOWEST).txt
	$(BIN)/uv pip install --quiet --python $(LOWEST)/bin/python --no-deps .
	$(LOWEST)/bin/python -m pytest -p no:cacheprovider --numprocesses $(TESTERS) --dist loadfile $(LOWEST_TESTS)

fuzz: $(READY)    ## spoilt inputs of every kind: make fuzz SECONDS=300 SEED=0; the inputs of faults in fuzz-faults
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) --seed $(SEED)

docs: $(READY)    ## the documentation as a site, in site/; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

lint: $(READY)    ## ruff, the import contract, and its drawing
	$(BIN)/ruff check src tests benchmarks docs tools
	$(BIN)/ruff format --check src tests benchmarks docs tools
	$(BIN)/lint-imports
	$(BIN)/python tools/draw_architecture.py --check

limits: $(READY)  ## no function too long or of too many arguments, and no more of Any in src (a part of lint)
	$(BIN)/python tools/check_limits.py

language: $(READY)  ## no wordings or names of variables that readers stumble over (a part of lint)
	$(BIN)/python tools/check_language.py

lint: limits language

types: $(READY)   ## mypy, strict on src, tests and tools
	$(BIN)/mypy

bench: $(READY)   ## the benchmarks, each a table and a JSON in benchmarks/results
	$(BIN)/python -m benchmarks

lock:             ## write requirements.lock anew from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	  --no-header --group dev pyproject.toml -o requirements.lock
	printf 'uv\n' | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-annotate --no-header - -o requirements-uv.lock

clean:            ## the virtual environment and the output of the demos
	rm -rf $(CLINIC) $(VENV) $(LOWEST) $(LOWEST).txt $(OUT) site
