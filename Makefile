# make train      trains LeNet-5 on handwritten digits        ARGS="lenet5 --data mnist --epochs 5"
#                 with an NVIDIA GPU                          EXTRAS=train,cuda13
# make test       the quick suite                             ARGS="tests/ops -k conv2d"
# `make help` lists the rest. Everything is installed into .venv; only changed files are rebuilt.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

VENV ?= .venv
EXTRAS ?= train
JOBS ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
OUT ?= bench/results
export GPUDL_JOBS := $(JOBS)

# Development targets use the current Python if it has the tools (an activated environment), else .venv.
TOOLS := hypothesis ml_dtypes numpy pybind11 pytest pytest_timeout safetensors
FIND_TOOLS := import sys; from importlib.util import find_spec; print(sys.executable if all(map(find_spec, sys.argv[1:])) else "")
DEV := $(shell python3 -c '$(FIND_TOOLS)' $(TOOLS) 2>/dev/null)
ifeq ($(DEV),)
  DEV := $(VENV)/bin/python
  DEV_READY := $(VENV)/.gpudl-dev
endif

BUILD := cmake/build.py
CLANG_FORMAT = $$($(DEV) -c 'import sysconfig; print(sysconfig.get_path("scripts"))')/clang-format
PYTEST := -m pytest
QUICK := -m "not cuda and not slow"
# The tests that run kernels, derived from the declarations of the operators. The emulator's own tests build programs.
KERNELS := $(QUICK) tests/ops -k emulator
ASAN_PRELOAD = $(shell $${CXX:-c++} -print-file-name=libasan.so) $(shell $${CXX:-c++} -print-file-name=libstdc++.so)
SCHEDULES ?= 0 1 3 5 7 9 11 13 15 2 4 6 8 10 12 14 16
# Tests skip a missing module, so check that the module just built loads.
LOADS := -c "from gpudl.devices import modules; modules.load('emulator')"
CPP_FILES := find csrc tests -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh'

.PHONY: zoo help train test try emulator cuda test-schedules test-asan test-race test-sass kernels lint stubs format gpu clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 18

train: $(VENV)/.gpudl-$(EXTRAS) ## train a model: make train ARGS="lenet5 --data mnist --epochs 5"
	@$(if $(findstring cuda,$(EXTRAS)),$(VENV)/bin/python $(BUILD) cuda)
	@$(VENV)/bin/gpudl train $(or $(ARGS),lenet5)
	@echo "gpudl is installed in $(VENV); to use it in this shell: source $(VENV)/bin/activate"

test: $(VENV)/.gpudl-dev ## the quick suite; ARGS go to pytest
	@$(VENV)/bin/python scripts/watch.py "building the emulator (minutes the first time)" \
	  $(VENV)/bin/python $(BUILD) emulator
	$(VENV)/bin/python $(PYTEST) $(QUICK) $(ARGS)

try: $(DEV_READY) ## one operator, seconds after an edit: make try OP=leaky_relu
	$(if $(OP),,$(error make try needs an operator: make try OP=leaky_relu))
	@$(DEV) $(BUILD) emulator >/dev/null
	@PYTHONPATH=. $(DEV) $(PYTEST) -q -rs --tb=short $(QUICK) tests/ops -k "$(OP)" $(ARGS) || { code=$$?; \
	  [ $$code != 5 ] || PYTHONPATH=. $(DEV) -m gpudl where "$(OP)"; exit $$code; }

emulator: $(DEV_READY) ## build gpudl._emulator in place
	$(DEV) $(BUILD) emulator

cuda: $(DEV_READY) ## build gpudl._cuda in place (needs nvcc; GPUDL_ARCHS="80;90a")
	$(DEV) $(BUILD) cuda

test-schedules: $(DEV_READY) ## all kernels with threads in order, and under 8 uniform and 8 priority schedules
	@$(DEV) $(BUILD) emulator
	@export PYTHONPATH=.; for schedule in $(SCHEDULES); do echo "GPUDL_SCHEDULE=$$schedule"; \
	  GPUDL_SCHEDULE=$$schedule $(DEV) $(PYTEST) -q $(KERNELS) $(ARGS); done
	$(if $(ARGS),,$(DEV) $(PYTEST) -q -m slow tests/emulator -k every_schedule)

test-asan: $(DEV_READY) ## all kernels under AddressSanitizer and UBSan
	@module=$$($(DEV) $(BUILD) asan); \
	export GPUDL_EMULATOR_MODULE=$$module PYTHONPATH=. PYTHONMALLOC=malloc \
	  ASAN_OPTIONS=detect_leaks=0:$${ASAN_OPTIONS:-} UBSAN_OPTIONS=print_stacktrace=1:$${UBSAN_OPTIONS:-}; \
	export LD_PRELOAD="$(ASAN_PRELOAD)"; \
	$(DEV) $(LOADS); $(DEV) $(PYTEST) $(KERNELS) $(ARGS)
	$(if $(ARGS),,$(DEV) $(PYTEST) -q -m slow tests/emulator -k asan)

test-race: $(DEV_READY) ## all kernels under the race detector
	@module=$$($(DEV) $(BUILD) race); export GPUDL_EMULATOR_MODULE=$$module PYTHONPATH=.; \
	$(DEV) $(LOADS); $(DEV) $(PYTEST) $(KERNELS) $(ARGS)
	$(if $(ARGS),,$(DEV) $(PYTEST) -q -m slow tests/emulator -k race)

test-sass: $(DEV_READY) ## check the machine code of all kernels: instructions, registers, spills
	$(DEV) tests/sass/check.py

kernels: $(DEV_READY) ## write build/kernels.md and docs/kernels.md: machine code, occupancy, predictions
	@$(DEV) $(BUILD) emulator
	$(DEV) bench/kernels_table.py

lint: $(DEV_READY) ## formatting, style and types
	$(DEV) -m ruff check .
	$(DEV) -m ruff format --check .
	PYTHONPATH=. $(DEV) scripts/stubs.py --check
	$(DEV) -m mypy
	$(CPP_FILES) | xargs $(CLANG_FORMAT) --dry-run -Werror

stubs: $(DEV_READY) ## write the .pyi files: Tensor's methods and gpudl's functions
	PYTHONPATH=. $(DEV) scripts/stubs.py

format: $(DEV_READY) ## format everything
	$(DEV) -m ruff check --fix .
	$(DEV) -m ruff format .
	$(CPP_FILES) | xargs $(CLANG_FORMAT) -i

zoo: zoo-all ## write docs/zoo: all models on real data (hours); zoo-NAME: one page, see `gpudl zoo`

zoo-%: $(VENV)/.gpudl-$(patsubst train%,zoo%,$(EXTRAS))
	$(VENV)/bin/gpudl zoo $* --out docs/zoo $(ARGS)

gpu: ## with an NVIDIA GPU: build, test, compute-sanitizer, benchmarks; no network needed
	$(or $(PYTHON),python3) bench/gpu.py --out $(OUT) $(if $(STAGES),--stages $(STAGES)) -- $(ARGS)

clean: ## remove all build outputs and .venv
	rm -rf build dist *.egg-info .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis gpudl/_emulator*.so gpudl/_cuda*.so

$(VENV)/.gpudl-%: pyproject.toml setup.py scripts/venv.sh
	@scripts/venv.sh $(VENV) "$*"
	@touch $@
