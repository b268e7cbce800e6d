# SPDX-License-Identifier: Apache-2.0
#
# The verbs that people type. The build itself is CMakeLists.txt; everything it makes lies under build/.
#
#   make test CC=clang-14      another compiler (after `make clean`)
#   make demo SETUP=no         install nothing
#   make install PREFIX=/usr DESTDIR=/tmp/image

PREFIX ?= /usr/local
DESTDIR ?=
BUILD ?= build
FUZZ_SECONDS ?= 10
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
SETUP ?= yes
# Which tests run under the emulator of ARM, some fifty times slower: all kernels, formats, and whole searches.
ARM_TESTS ?= ^(unit/(base|cpu|io_|project|search(/|$$)|segment|topk|traffic_trace)|property/(distance|edges|row_dot|tile))
# Which tests run with AVX-512 in software: all kernels, and whole searches.
EMULATED_TESTS ?= ^(property/(distance|edges|numbers|pq|rabitq|row_dot|search|tile|unpack)|unit/(graph_query|graph_walk|pick|project|search|topk)$$)
# Which tests are compiled with clang too; empty: all.
CLANG_TESTS ?=
PLAIN_FLAGS ?= -O2
# Which tests the sanitizers run, as ctest's -R takes it.
SANITIZE_TESTS ?= ^(unit|property|recall|crash)/
ASAN_LEFT_OUT ?= ^$$
# Tests that put themselves in front of system calls, which TSan does too and cannot bear.
TSAN_LEFT_OUT ?= ^unit/join/

ifneq ($(origin CC),default)
COMPILER := -DCMAKE_C_COMPILER=$(CC)
endif

setup = $(if $(filter no,$(SETUP)),true,tools/setup)
cmake = cmake -S . -G Ninja --log-level=WARNING
# Suites of one process each, beside each other where there are cores for it; each prints when it ends.
beside = $(if $(filter 1,$(JOBS)),,-j2 --output-sync=target)
# The Python that has pytest: the one of PATH, or the system's.
python = $$(python3 -m pytest --version >/dev/null 2>&1 && echo python3 || echo /usr/bin/python3)
pytest = PYTHONDONTWRITEBYTECODE=1 $(python) -m pytest -p no:cacheprovider -p no:benchmark
sources = $$(find include src cli server python/src tests bench -name '*.[ch]' -not -path '*/fixtures/headers/*' | sort)

.DEFAULT_GOAL := help
.PHONY: help setup build command demo test test-device e2e client-test page-test deploy-test test-offline python python-test bench-test \
	bench bench-peers bench-filters bench-choosing bench-collections bench-serve bench-offline bench-docs \
	soak sanitize asan tsan fuzz \
	test-arm test-emulated test-clang test-plain check format format-check install uninstall clean

help: ## Show these verbs
	@echo "kith $$(cat VERSION): exact nearest neighbours of vectors"
	@echo
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-19s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "Each verb first installs the packages it lacks (tools/setup says which); SETUP=no leaves that out."

build: ## Build the library and the command into build/
	@$(setup) build
	@$(cmake) -B $(BUILD) $(COMPILER) -DKITH_TESTS=OFF -DKITH_BENCH=OFF
	@cmake --build $(BUILD)

demo: ## Search 60,000 real pictures, open a shop of them, and make a page to look at
	@$(setup) demo
	@$(cmake) -B $(BUILD) $(COMPILER) -DKITH_TESTS=OFF -DKITH_BENCH=OFF
	@cmake --build $(BUILD)
	@$(BUILD)/kith demo

test: ## Build, and run all tests at every CPU tier of this machine
	@$(setup) test
	@$(cmake) -B $(BUILD) $(COMPILER) -DKITH_TESTS=ON
	@cmake --build $(BUILD)
	@tools/run_ctest $(BUILD) -j $(JOBS)
	@$(MAKE) --no-print-directory $(beside) e2e python-test bench-test

e2e:
	@if ls tests/e2e/test_*.py >/dev/null 2>&1; then \
	    KITH_BIN=$(abspath $(BUILD))/kith KITH_BUILD_DIR=$(abspath $(BUILD)) $(pytest) -q tests/e2e; fi

test-device: ## Hold OpenCL devices against the processor: one, two, and with the integer dot product
	@$(setup) test
	@$(cmake) -B $(BUILD) $(COMPILER) -DKITH_TESTS=ON
	@cmake --build $(BUILD)
	@tools/run_ctest $(BUILD) -R '/device'

# Tests that take packages of Python, each kind in an environment of its own, which is made once.
$(BUILD)/venv-%/ready: tests/requirements/%.txt
	@$(setup) python
	@rm -rf $(@D)
	@python3 -m venv $(@D)
	@$(@D)/bin/python -m pip --quiet --disable-pip-version-check install --no-compile -r $<
	@touch $@
.PRECIOUS: $(BUILD)/venv-%/ready
in_venv = KITH_BIN=$(abspath $(BUILD))/kith PYTHONDONTWRITEBYTECODE=1 $(BUILD)/venv-$(1)/bin/python -m pytest -q \
	-p no:cacheprovider

command:
	@$(setup) build
	@[ -f $(BUILD)/build.ninja ] || $(cmake) -B $(BUILD) $(COMPILER) -DKITH_TESTS=OFF -DKITH_BENCH=OFF
	@cmake --build $(BUILD) --target kith

# Other people's clients and stores, and ours for LangChain and LlamaIndex: 450 MB of packages.
client-test: python command $(BUILD)/venv-clients/ready ## Try Qdrant's client and the stores that use it, and ours
	@$(BUILD)/venv-clients/bin/pip install --quiet --disable-pip-version-check --force-reinstall --no-deps \
	    $(BUILD)/python/*.whl
	@$(call in_venv,clients) tests/clients

page-test: command $(BUILD)/venv-page/ready ## Look at the web page in a real browser, at the width of a phone and of a desk
	@$(setup) page
	@$(call in_venv,page) tests/e2e/test_page.py

deploy-test: command $(BUILD)/venv-deploy/ready ## Hold the Kubernetes manifests against the schemas and the command
	@$(call in_venv,deploy) tests/e2e/test_deploy.py

# Engines start many processes of Python, which import much: what that compiles is kept.
compiled = PYTHONDONTWRITEBYTECODE= PYTHONPYCACHEPREFIX=$(abspath $(BUILD))/pycache

# Ray with two nodes and Spark with two executors, on this machine: 1.1 GB of packages, and a Java runtime.
test-offline: python $(BUILD)/venv-offline/ready ## Try joins and builds on clusters of Ray and of Spark
	@$(setup) offline
	@$(BUILD)/venv-offline/bin/pip install --quiet --disable-pip-version-check --force-reinstall --no-deps \
	    $(BUILD)/python/*.whl
	@$(compiled) $(BUILD)/venv-offline/bin/python -m pytest -q -p no:cacheprovider tests/offline

# The package is built and installed again when one of these changed, and only then.
package_sources = $(shell find include src cli server web cmake python -type f -not -path '*/tests/*' -not -name '*.pyc') \
	VERSION CMakeLists.txt
venv = $(BUILD)/venv
pip = $(venv)/bin/python -m pip --quiet --disable-pip-version-check
# The compiler by the name that CMake finds first: caches tell them apart by it.
jobs = CC=$(CC) CMAKE_BUILD_PARALLEL_LEVEL=$(JOBS)

python: ## Build the Python package: a wheel in build/python/, and build/venv/ has it installed
	@$(setup) python
	@$(MAKE) --no-print-directory $(venv)/installed

python-test: python
	@PYTHONDONTWRITEBYTECODE=1 $(venv)/bin/python -m pytest -q python/tests

# The programs that measure, on little data.
bench-test: python
	@PYTHONDONTWRITEBYTECODE=1 $(venv)/bin/python -m pytest -q -p no:cacheprovider bench/peers/tests bench/stores/tests \
	    bench/serve/tests bench/offline/tests

$(venv)/ready: python/requirements-test.txt
	@rm -rf $(venv)
	@python3 -m venv $(venv)
	@$(pip) install --upgrade pip 'scikit-build-core>=0.10' -r python/requirements-test.txt
	@touch $@

$(venv)/installed: $(venv)/ready $(package_sources)
	@mkdir -p $(BUILD)/python
	@rm -f $(BUILD)/python/*.whl
	@$(jobs) $(pip) wheel --no-build-isolation --no-deps --wheel-dir $(BUILD)/python \
	    -C build-dir=$(abspath $(BUILD))/python/cmake -C cmake.define.KITH_WERROR=ON ./python
	@$(pip) install --force-reinstall --no-deps $(BUILD)/python/*.whl
	@touch $@

bench: ## Measure the kernels on this machine; results go to build/bench/
	@$(setup) bench
	@$(cmake) -B $(BUILD) $(COMPILER) -DKITH_BENCH=ON -DKITH_TESTS=OFF
	@cmake --build $(BUILD)
	@for program in $(BUILD)/bench/bin/*; do \
	    [ -x "$$program" ] || continue; \
	    result=$(BUILD)/bench/$$(basename $$program).json; \
	    echo "== $$(basename $$program)"; \
	    "$$program" --json $$result && tools/plot_bench $$result || exit 1; \
	done
	@echo "results: $(BUILD)/bench/"

# Data sets are separated by blanks; `make bench-peers DATA=help` describes them. PEERS names libraries or entries.
DATA ?= fashion-mnist
PEERS ?=
QUERIES ?= 2000
K ?= 10
ROUNDS ?= 3
ROWS ?=
peers = PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=bench $(BUILD)/bench-venv/bin/python -m peers

bench-peers: ## Measure kith beside other libraries on DATA, with PEERS; results go to build/bench/peers/
	@$(setup) peers
	@[ -x $(BUILD)/bench-venv/bin/python ] || python3 -m venv $(BUILD)/bench-venv
	@$(BUILD)/bench-venv/bin/pip install --quiet --disable-pip-version-check numpy
	@if [ '$(DATA)' = help ]; then $(peers) run --help; else $(peers) install $(PEERS) && \
	    $(peers) run --folder $(BUILD)/bench/peers $(foreach data,$(DATA),--data '$(data)') --queries $(QUERIES) -k $(K) \
	        --rounds $(ROUNDS) $(if $(ROWS),--rows $(ROWS)) --peers $(PEERS); fi

bench-filters: ## Measure searches with filters on DATA, kith beside PEERS; results go to build/bench/peers/
	@$(setup) peers
	@[ -x $(BUILD)/bench-venv/bin/python ] || python3 -m venv $(BUILD)/bench-venv
	@$(BUILD)/bench-venv/bin/pip install --quiet --disable-pip-version-check numpy
	@$(peers) install $(or $(PEERS),kith faiss hnswlib)
	@$(peers) filters --folder $(BUILD)/bench/peers $(foreach data,$(DATA),--data '$(data)') -k $(K) --rounds $(ROUNDS) \
	    $(if $(filter command,$(origin QUERIES)),--queries $(QUERIES)) $(if $(ROWS),--rows $(ROWS)) \
	    --peers $(or $(PEERS),kith faiss hnswlib)

# Bits of a set (signs:SET) have indexes of their own.
CHOOSING = fashion-mnist glove-words signs:glove-words

bench-choosing: ## Measure kith's types of indexes on DATA; results go to build/bench/choosing/
	@$(setup) peers
	@[ -x $(BUILD)/bench-venv/bin/python ] || python3 -m venv $(BUILD)/bench-venv
	@$(BUILD)/bench-venv/bin/pip install --quiet --disable-pip-version-check numpy
	@$(peers) install kith
	@$(peers) run --choosing --folder $(BUILD)/bench/choosing --queries $(QUERIES) -k $(K) --rounds $(ROUNDS) \
	    $(foreach data,$(if $(filter command,$(origin DATA)),$(DATA),$(CHOOSING)),--data '$(data)') \
	    $(if $(ROWS),--rows $(ROWS)) $(if $(PEERS),--peers $(PEERS))

# Two .npy files of rows, which are scaled to unit length: BASE and ASKED. PEERS names stores (`python -m stores list`),
# ONLY rows of the table, LARGE how many synthetic vectors are opened too.
BASE ?=
ASKED ?=
ONLY ?=
LARGE ?=
CORES ?= 1
QUICK ?= no
stores = PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=bench $(BUILD)/bench-venv/bin/python -m stores

bench-collections: ## Measure a collection of BASE, searched by ASKED, beside other stores; results go to build/bench/
	@[ -n "$(BASE)" ] && [ -n "$(ASKED)" ] || { echo "say BASE=rows.npy ASKED=queries.npy"; exit 2; }
	@$(setup) peers
	@[ -x $(BUILD)/bench-venv/bin/python ] || python3 -m venv $(BUILD)/bench-venv
	@$(BUILD)/bench-venv/bin/pip install --quiet --disable-pip-version-check numpy
	@$(stores) install $(PEERS)
	@$(stores) run '$(BASE)' '$(ASKED)' --json $(BUILD)/bench/collections.json --folder $(BUILD)/bench/stores \
	    --rounds $(ROUNDS) --cores $(CORES) $(if $(ROWS),--rows $(ROWS)) $(if $(LARGE),--large $(LARGE)) \
	    $(if $(PEERS),--peers $(PEERS)) $(if $(ONLY),--only $(ONLY)) $(if $(filter yes,$(QUICK)),--quick)

# The same two files, or synthetic vectors without them; ONLY and QUICK as above. PEERS=chromadb: Chroma's server too.
serve = PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=bench $(BUILD)/bench-venv/bin/python -m serve

bench-serve: ## Measure kith serve on one core, loaded by another one; results go to build/bench/
	@$(setup) bench
	@$(cmake) -B $(BUILD) $(COMPILER) -DKITH_BENCH=ON
	@cmake --build $(BUILD) --target kith bench_serve_load bench_serve_library
	@[ -x $(BUILD)/bench-venv/bin/python ] || python3 -m venv $(BUILD)/bench-venv
	@$(BUILD)/bench-venv/bin/pip install --quiet --disable-pip-version-check numpy $(filter chromadb,$(PEERS))
	@$(serve) --build $(BUILD) --json $(BUILD)/bench/serve.json --folder $(BUILD)/bench/serve/work \
	    $(if $(BASE),--base '$(BASE)' --queries '$(ASKED)') $(if $(ROWS),--rows $(ROWS)) $(if $(ONLY),--only $(ONLY)) \
	    $(if $(filter yes,$(QUICK)),--quick)

# Two .npy files as above (without ASKED queries are made of BASE's rows, without BASE all is made up).
bench-offline: python command $(BUILD)/venv-offline/ready ## Measure joins on Ray and Spark, beside Faiss on Ray; results go to build/bench/
	@$(setup) offline
	@$(BUILD)/venv-offline/bin/pip install --quiet --disable-pip-version-check --force-reinstall --no-deps \
	    $(BUILD)/python/*.whl
	@$(BUILD)/venv-offline/bin/pip install --quiet --disable-pip-version-check faiss-cpu
	@$(compiled) PYTHONPATH=bench $(BUILD)/venv-offline/bin/python -m offline --kith $(BUILD)/kith \
	    --json $(BUILD)/bench/offline.json --folder $(BUILD)/bench/offline --rounds $(ROUNDS) \
	    $(if $(BASE),--items '$(BASE)') $(if $(ASKED),--queries '$(ASKED)') $(if $(ROWS),--rows $(ROWS))

SECONDS ?= 1800

soak: ## Keep a server busy with writes, deletes, generations and searches for SECONDS (1800); memory flat, no error
	@$(setup) build
	@$(cmake) -B $(BUILD) $(COMPILER)
	@cmake --build $(BUILD) --target kith
	@KITH_BIN=$(abspath $(BUILD))/kith PYTHONDONTWRITEBYTECODE=1 $(python) tests/support/soak.py --seconds $(SECONDS)

bench-docs: ## Write what was measured into docs/benchmarks.md and docs/choosing.md, with pictures
	@[ -x $(BUILD)/bench-venv/bin/python ] || { echo "nothing was measured here: make bench-peers comes first"; exit 1; }
	@[ ! -d $(BUILD)/bench/peers/results ] && [ ! -d $(BUILD)/bench/peers/filters ] || $(peers) docs --folder $(BUILD)/bench/peers --page docs/benchmarks.md
	@[ ! -d $(BUILD)/bench/choosing/results ] || \
	    $(peers) docs --choosing --folder $(BUILD)/bench/choosing --page docs/choosing.md
	@[ ! -f $(BUILD)/bench/collections.json ] || \
	    $(stores) docs --json $(BUILD)/bench/collections.json --page docs/benchmarks.md
	@[ ! -f $(BUILD)/bench/serve.json ] || $(serve) --json $(BUILD)/bench/serve.json --docs docs/benchmarks.md
	@[ ! -f $(BUILD)/bench/offline.json ] || PYTHONPATH=bench $(BUILD)/venv-offline/bin/python -m offline \
	    --json $(BUILD)/bench/offline.json --docs docs/offline.md
	@[ ! -f $(BUILD)/bench/marks.json ] || \
	    $(BUILD)/bench-venv/bin/python bench/marks.py --from $(BUILD)/bench/marks.json --docs docs/benchmarks.md

sanitize: asan tsan ## Run the tests under ASan and UBSan, and the threaded ones under TSan

asan:
	@$(setup) sanitize
	@$(cmake) -B $(BUILD)/asan $(COMPILER) -DCMAKE_BUILD_TYPE=Sanitize -DKITH_SANITIZE=address,undefined \
	    -DKITH_BENCH=OFF -DKITH_TESTS_NOT='$(ASAN_LEFT_OUT)'
	@cmake --build $(BUILD)/asan
	@ASAN_OPTIONS=abort_on_error=0:detect_stack_use_after_return=1:allocator_may_return_null=1 \
	    UBSAN_OPTIONS=print_stacktrace=1 tools/run_ctest $(BUILD)/asan -j $(JOBS) -R '$(SANITIZE_TESTS)' -E '$(ASAN_LEFT_OUT)'

tsan:
	@$(setup) sanitize
	@$(cmake) -B $(BUILD)/tsan $(COMPILER) -DCMAKE_BUILD_TYPE=Sanitize -DKITH_SANITIZE=thread -DKITH_BENCH=OFF \
	    -DKITH_CLI=OFF -DKITH_TESTS_NOT='$(TSAN_LEFT_OUT)'
	@cmake --build $(BUILD)/tsan
	@TSAN_OPTIONS=die_after_fork=0:halt_on_error=1 \
	    tools/run_ctest $(BUILD)/tsan -j $(JOBS) -L threads -R '$(SANITIZE_TESTS)' -E '$(TSAN_LEFT_OUT)'

fuzz: ## Fuzz each reader of untrusted bytes for FUZZ_SECONDS (10)
	@$(setup) fuzz
	@$(cmake) -B $(BUILD)/fuzz -DCMAKE_C_COMPILER=clang-14 -DCMAKE_BUILD_TYPE=Sanitize -DKITH_FUZZ=ON \
	    -DKITH_TESTS=OFF -DKITH_BENCH=OFF -DKITH_CLI=OFF
	@cmake --build $(BUILD)/fuzz
	@tools/run_fuzz $(BUILD)/fuzz $(FUZZ_SECONDS)

test-arm: ## Cross-compile for 64-bit ARM, and run kernel and search tests under qemu
	@$(setup) arm
	@if [ "$$(uname -m)" = aarch64 ]; then $(MAKE) --no-print-directory test; else \
	    $(cmake) -B $(BUILD)/arm -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64-linux-gnu.cmake \
	        -DKITH_CLI=OFF -DKITH_SERVER=OFF -DKITH_BENCH=OFF -DKITH_TESTS_ONLY='$(ARM_TESTS)' && \
	    cmake --build $(BUILD)/arm && \
	    KITH_TEST_QUICK=1 tools/run_ctest $(BUILD)/arm -j $(JOBS) -L neon -R '$(ARM_TESTS)'; fi

test-emulated: ## Run kernel and search tests of the avx512 and amx tiers on any x86-64 with AVX2
	@$(setup) emulated
	@if [ "$$(uname -m)" != x86_64 ]; then echo "test-emulated: not an x86-64 machine, nothing to do"; else \
	    $(cmake) -B $(BUILD)/emulated $(if $(filter default,$(origin CC)),,-DCMAKE_C_COMPILER=gcc) -DKITH_EMULATE=ON \
	        -DKITH_CLI=OFF -DKITH_SERVER=OFF -DKITH_BENCH=OFF -DKITH_TESTS_ONLY='$(EMULATED_TESTS)' && \
	    cmake --build $(BUILD)/emulated && \
	    KITH_TEST_QUICK=1 tools/run_ctest $(BUILD)/emulated -j $(JOBS) -L avx512; fi

test-clang: ## Build everything with clang, whose warnings are others than gcc's
	@$(setup) clang
	@$(cmake) -B $(BUILD)/clang -DCMAKE_C_COMPILER=clang-14 -DCMAKE_BUILD_TYPE=Debug \
	    -DKITH_TESTS_ONLY='$(CLANG_TESTS)'
	@cmake --build $(BUILD)/clang

test-plain: ## Build the library with one cc command, without CMake
	@$(setup) build
	@mkdir -p $(BUILD)/plain
	cc $(PLAIN_FLAGS) -Iinclude -Isrc -fPIC -shared -Wl,--no-undefined src/*/*.c -o $(BUILD)/plain/libkith.so \
	    -lxxhash -lsqlite3 -lroaring -ljansson -lm -lpthread
	@python3 tools/check_exports $(BUILD)/plain/libkith.so --at-least

check: ## Check that #include lines point downward only
	@tools/check_layers

format: ## Format the C files
	@$(setup) format
	@clang-format-14 -i $(sources)

format-check:
	@$(setup) format
	@bad=0; total=0; for file in $(sources); do total=$$((total + 1)); \
	    clang-format-14 --dry-run --Werror $$file >/dev/null 2>&1 || \
	        { bad=$$((bad + 1)); echo "$$file is not formatted"; }; \
	done; echo "format-check: $$total files, $$bad not formatted (make format formats them)"; [ $$bad -eq 0 ]

install: ## Install under PREFIX (/usr/local), inside DESTDIR
	@$(setup) build
	@$(cmake) -B $(BUILD) $(COMPILER) -DCMAKE_INSTALL_PREFIX='$(PREFIX)' -DKITH_TESTS=OFF -DKITH_BENCH=OFF
	@cmake --build $(BUILD)
	@DESTDIR='$(DESTDIR)' cmake --install $(BUILD)
	@[ -n '$(DESTDIR)' ] || [ "$$(id -u)" -ne 0 ] || ldconfig

uninstall: ## Remove what the last install put there
	@[ -f $(BUILD)/install_manifest.txt ] || \
	    { echo "$(BUILD)/install_manifest.txt is missing: nothing was installed from here"; exit 1; }
	@while IFS= read -r file || [ -n "$$file" ]; do \
	    echo "removing $(DESTDIR)$$file"; rm -f "$(DESTDIR)$$file"; done <$(BUILD)/install_manifest.txt

clean: ## Remove build/
	@rm -rf $(BUILD)
