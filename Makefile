# `make help` lists the targets. `make run` and `make test` set up everything they need (packaging/setup.sh).
.DEFAULT_GOAL := ci
.NOTPARALLEL:
.DELETE_ON_ERROR:

# A Rust of rustup is found without a login shell; one that is on the path already comes first.
export PATH := $(PATH):$(HOME)/.cargo/bin
# What Python compiled is kept, whatever the environment says: hundreds of processes of the tests would do it again.
unexport PYTHONDONTWRITEBYTECODE
SETUP := packaging/setup.sh
V := .venv/bin
# -P: never import a package from the current folder by accident.
PY := $(V)/python -P
CARGO := cargo
MANIFEST := engine/Cargo.toml
# release or debug: how the engine in .venv is built. `make test ENGINE=debug` compiles faster and runs slower.
ENGINE ?= release
# More words for the command: make run ARGS="--for 60s", make daemon ARGS="--config my.toml", make test ARGS="-k word".
ARGS ?=
# Processes that share the Python tests, file by file; half of the time they wait for servers. 0: all in one.
WORKERS ?= 3
# Words for every cargo command; CI says --locked.
CARGO_FLAGS ?=

ENGINE_SOURCES := $(shell find engine -name target -prune -o \( -name '*.rs' -o -name 'Cargo.*' \) -print)
ENGINE_STAMP := $(V)/.engine-$(ENGINE)
RUST_LINT_STAMP := $(V)/.rust-lint
PYTHON_CODE := collectord tests packaging/deb packaging/audit.py

.PHONY: ci         ## what CI runs: lint test (the default)
ci: lint test

.PHONY: run        ## see it work: the daemon and simulated firewalls that show an attack; ARGS="--for 60s" to end
run: $(ENGINE_STAMP)
	$(PY) -m collectord demo $(ARGS)

.PHONY: daemon     ## the daemon in the foreground; ARGS="--config F" for a configuration
daemon: $(ENGINE_STAMP)
	$(PY) -m collectord run $(ARGS)

.PHONY: test       ## every test but the benchmarks: Rust, then Python
test: test-rust test-python

.PHONY: test-rust  ## the engine's own tests; no Python needed
test-rust: $(V)/.venv
	$(CARGO) test $(CARGO_FLAGS) --manifest-path $(MANIFEST) -p collectord-core

.PHONY: test-python ## the Python tests; ARGS="-k word" to choose
test-python: $(ENGINE_STAMP) $(V)/.dev-deps servers
	$(PY) -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: test-all   ## as test, with many more examples per property
test-all:
	HYPOTHESIS_PROFILE=slow PROPTEST_CASES=2000 $(MAKE) test

.PHONY: fuzz       ## altered messages through every reader, T=60s each; what breaks or is new goes into tests/fuzz/corpus
fuzz: T = 60s
fuzz: $(ENGINE_STAMP) $(V)/.dev-deps
	COLLECTORD_FUZZ=$(T) $(PY) -m pytest tests/fuzz --capture=no --timeout=0 $(ARGS)

.PHONY: fuzz-properties ## the property tests with very many random examples; takes minutes
fuzz-properties: $(ENGINE_STAMP) $(V)/.dev-deps
	PROPTEST_CASES=50000 $(CARGO) test $(CARGO_FLAGS) --release --manifest-path $(MANIFEST) -p collectord-core
	HYPOTHESIS_PROFILE=fuzz $(PY) -m pytest -m hypothesis --timeout=0 $(ARGS)

.PHONY: audit      ## advisories against what we depend on; status 69 inside: a database can't be reached
audit: $(V)/.deps
	$(PY) packaging/audit.py

.PHONY: bench      ## benchmarks; they check their answers and want the release engine
bench: $(V)/.engine-release $(V)/.dev-deps servers
	$(PY) -m pytest tests/benchmarks --capture=no --timeout=0 $(ARGS)

# How long the soak lasts. It waits twelve times as long as a test for what must come: what it measures is not speed.
T ?= 10m

.PHONY: soak       ## the daemon under load, restarts, reloads and faults for so long: make soak T=10m
soak: $(V)/.engine-release $(V)/.dev-deps
	COLLECTORD_SOAK=$(T) COLLECTORD_TEST_TIME_FACTOR=$${COLLECTORD_TEST_TIME_FACTOR:-12} $(PY) -m pytest tests/soak --capture=no --timeout=0 $(ARGS)

.PHONY: cover      ## the Python tests with a table of what they reach
cover: $(ENGINE_STAMP) $(V)/.dev-deps servers
	$(PY) -m pytest --cov --cov-report=term-missing:skip-covered $(ARGS)

.PHONY: lint       ## ruff, mypy, import contracts, rustfmt, clippy
lint: lint-python lint-rust

.PHONY: lint-python ## the Python half of lint
lint-python: $(V)/.dev-deps
	$(V)/ruff check $(PYTHON_CODE)
	$(V)/ruff format --check $(PYTHON_CODE)
	$(V)/mypy
	$(V)/lint-imports

.PHONY: lint-rust  ## the Rust half of lint
lint-rust: $(RUST_LINT_STAMP)
	$(CARGO) fmt --manifest-path $(MANIFEST) --all --check
	$(CARGO) clippy $(CARGO_FLAGS) --manifest-path $(MANIFEST) --workspace --all-targets -- -D warnings

.PHONY: fmt        ## format Python and Rust, mend what ruff can mend
fmt: $(V)/.dev-deps $(RUST_LINT_STAMP)
	$(V)/ruff check --fix-only $(PYTHON_CODE)
	$(V)/ruff format $(PYTHON_CODE)
	$(CARGO) fmt --manifest-path $(MANIFEST) --all

.PHONY: dev        ## everything for development, with the debug engine in .venv
dev: $(V)/.engine-debug $(V)/.dev-deps $(RUST_LINT_STAMP)

.PHONY: integrations ## packaging/integrations anew: the files for receivers, of the default configuration
integrations: $(ENGINE_STAMP)
	@for tool in snmptrapd snmptt zabbix librenms icinga opennms; do \
		$(PY) -m collectord snmp receiver-config --config conf/collectord.toml --for $$tool \
			--dir packaging/integrations/$$tool --force || exit; \
	done

.PHONY: man        ## the manual pages into packaging/man, the shells' completions into packaging/completions
man: $(ENGINE_STAMP)
	$(PY) -m collectord.manual packaging/man packaging/completions

.PHONY: wheel      ## wheel and source archive into dist/
wheel: $(V)/.deps
	rm -f dist/collectord-*.whl
	$(V)/maturin sdist --manifest-path engine/python/Cargo.toml --out dist
	RUSTFLAGS="$(RUSTFLAGS) --remap-path-prefix=$(HOME)/.cargo=/cargo --remap-path-prefix=$(CURDIR)=/collectord" \
		CARGO_TARGET_DIR=engine/target/package SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) \
		$(V)/maturin build --release --locked --out dist

# The same sources give the same packages: no time of building is in them.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || date +%s)
# Another version for the Debian package: make package DEB_VERSION=2026.11.0+site1
DEB_VERSION ?=

.PHONY: package    ## what is handed out, into dist/: wheel, source archive, Debian package
package: wheel
	$(SETUP) package
	SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) packaging/deb/build.sh $(DEB_VERSION)

.PHONY: package-test ## the package on a clean Debian 12: install, run, upgrade, purge; needs root and a mirror
package-test: package $(V)/.dev-deps servers
	$(SETUP) package-test
	$(PY) -m pytest tests/package --capture=no --timeout=0 $(ARGS)

.PHONY: lock       ## packaging/requirements.lock anew: the newest dependencies, with their hashes
lock: $(V)/.deps
	$(SETUP) lock

.PHONY: clean      ## remove what was built; the virtual environment goes too
clean:
	rm -rf .venv dist engine/target collectord/_engine*.so packaging/man packaging/completions

.PHONY: help       ## this list
help:
	@sed -n 's/^\.PHONY: *\([a-z-]*\) *## */\1\t/p' $(MAKEFILE_LIST) | expand -t 15

# Receivers and senders of other projects for the end-to-end tests, and valgrind; what needs them is skipped without.
.PHONY: servers
servers:
	@tests/fetch_servers.sh || echo 'make: no foreign servers, the tests that need them are skipped' >&2

# --- set-up, each step once -------------------------------------------------------------------------------------

$(V)/.venv: $(SETUP)
	$(SETUP) system
	$(SETUP) venv
	@touch $@

$(V)/.deps: $(V)/.venv pyproject.toml
	$(SETUP) deps
	@touch $@

$(V)/.dev-deps: $(V)/.deps
	$(SETUP) dev-deps
	@touch $@

$(V)/.rust-lint: $(V)/.venv
	$(SETUP) rust-lint
	@touch $@

# The one module file beside the sources is a release or a debug build; a missing one is built whatever the stamps say.
ifeq ($(wildcard collectord/_engine.abi3.so),)
.PHONY: $(V)/.engine-release $(V)/.engine-debug
endif

$(V)/.engine-release $(V)/.engine-debug: $(V)/.deps $(ENGINE_SOURCES) pyproject.toml
	@rm -f $(V)/.engine-*
	PIP_QUIET=1 PIP_DISABLE_PIP_VERSION_CHECK=1 VIRTUAL_ENV=$(CURDIR)/.venv \
		$(V)/maturin develop $(if $(filter %-release,$@),--release) $(CARGO_FLAGS) --quiet
	@touch $@
