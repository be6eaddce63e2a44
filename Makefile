# The targets that people and CI use. Each installs what it needs. `make` alone lists them.
SHELL := /bin/bash
.PHONY: help run watch invoke emulator cli check audit test test-functions storm fuzz mutants bench \
	validate build package test-package deploy delete deploy-cargo-lambda delete-cargo-lambda \
	invoke-remote smoke reconcile redrive replay spokes preflight signed-in cargo debug lock

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-19s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The stack, and its parameters: make deploy PARAMETERS='ArchiveDays=0 Tracing=Active'.
STACK ?= ecs-state-recorder
ARCHITECTURE ?= arm64
PARAMETERS ?=
# As for `sam deploy`: make deploy SAM_OPTIONS='--tags team=platform --s3-bucket mine'.
export SAM_OPTIONS ?=
# A folder that `make package` wrote, for a deployment without Rust. It is for one architecture, and
# this Makefile may be in it.
PACKAGE ?= $(patsubst SHA256SUMS,.,$(wildcard SHA256SUMS))
ifneq ($(PACKAGE),)
ARCHITECTURE := $(shell sed -En 's/ +AllowedValues: \[(\w+)\]/\1/p' \
	'$(PACKAGE)/template.yaml' 2>/dev/null)
endif

TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
# An installed cargo-lambda is used; otherwise, .tools/ gets one.
CARGO_LAMBDA := $(or $(shell command -v cargo-lambda),.tools/bin/cargo-lambda)
export PATH := $(CURDIR)/.tools/bin:$(PATH)
fail = { echo 'error: $(1)' >&2; exit 2; }

# ---- Try it ----

run: debug $(CARGO_LAMBDA) ## Record the events in events/, reconcile, and query the tables
	@$(TARGET)/debug/local run

watch: debug $(CARGO_LAMBDA) ## Run the recorder on a local DynamoDB; rebuild on every change
	@$(TARGET)/debug/local watch

invoke: $(CARGO_LAMBDA) ## Send one event to a running `make watch` (EVENT=events/….json)
	@test -f '$(EVENT)' || $(call fail,EVENT must be a file such as events/fargate-task-running.json)
	@test -f target/local/port || $(call fail,nothing is running: start `make watch` elsewhere)
	@cargo lambda invoke --invoke-address 127.0.0.1 --invoke-port "$$(cat target/local/port)" \
		--data-file '$(EVENT)' ecs-state-recorder

emulator: .tools/aws/builds .tools/emulator/installed debug ## Run it all in an AWS emulator
	@.tools/aws/bin/python emulator/main.py $(TARGET)/debug

cli: cargo ## Install ecs-state, which reads the tables in a terminal, into ~/.cargo/bin
	@cargo install --locked --path ecs-state

# Two builds, so that the functions have no features that the other packages enable in shared
# dependencies. The local run is not started by `cargo run`, whose variables would make the cargo
# inside `cargo lambda watch`, and the next `cargo build`, recompile ring.
debug:
	@cargo build --locked
	@cargo build --locked --package local --package ecs-state

# ---- Check and test it ----

check: ## Check formatting, lints and docs; warnings are errors
	cargo fmt --check
	cargo clippy --locked --workspace --all-targets -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' cargo doc --locked --no-deps --document-private-items \
		--package ecs-model --package ecs-state-recorder --package ecs-state
	@# It adds 30 ms of CPU time to the first TLS handshake (docs/performance.md).
	@tree=$$(cargo tree --locked --edges no-dev --prefix none) || exit 1; \
		! grep '^aws-lc' <<< "$$tree" || $(call fail,the functions must not depend on aws-lc)

# CI on GitHub checks the advisories, too. Their database is on GitHub.
AUDITS ?= licenses bans sources

audit: .tools/bin/cargo-deny ## Check the packages in Cargo.lock (AUDITS=advisories)
	@cargo deny --workspace --locked check $(AUDITS)

# More threads than cores, since most tests wait. One call for all packages, so that every call has
# the same features and recompiles nothing.
TEST_THREADS ?= 8
TEST := RUST_TEST_THREADS=$(TEST_THREADS) cargo test --locked --package ecs-model \
	--package ecs-state-recorder --package harness --package ecs-state --
functions = RECORDER_BINARY=$(1)/ecs-state-recorder RECONCILER_BINARY=$(1)/ecs-state-reconciler \
	NOTIFIER_BINARY=$(1)/ecs-state-notifier
test_in = $(functions) $(TEST)
TEST_DEPLOYMENT := .tools/aws/bin/python -B -m pytest -q -p no:cacheprovider --numprocesses 4

test: .tools/aws/all .tools/emulator/installed ## Run every test
	@# The shipped binaries, without the features that the tests enable in shared dependencies.
	cargo build --locked
	@mkdir -p $(TARGET)/shipped
	@cp $(TARGET)/debug/ecs-state-{recorder,reconciler,notifier} $(TARGET)/shipped
	$(call test_in,$(TARGET)/shipped)
	@$(call functions,$(TARGET)/shipped) $(TEST_DEPLOYMENT) tests/deploy tests/docs tests/emulator

# The Rust tests TESTS with the functions RECORDER_BINARY, RECONCILER_BINARY and NOTIFIER_BINARY.
test-functions:
	$(TEST) $(TESTS)

storm: ## Send 120,000 events, kill processes, overload DynamoDB, check all rows (20 minutes)
	@cargo build --locked --release
	@$(call test_in,$(TARGET)/release) --ignored --nocapture --test-threads=1 storms::

FUZZ_SECONDS ?= 60

# Without a sanitizer, which would need a nightly compiler: the project has no unsafe code.
fuzz: .tools/bin/cargo-fuzz ## Fuzz events and rows (FUZZ_SECONDS=60 each)
	@mkdir -p $(TARGET)/fuzz/corpus $(TARGET)/fuzz/seeds
	@cp events/*.json events/refused/*.json $(TARGET)/fuzz/seeds
	@for target in any_bytes any_row; do \
		cargo fuzz run --fuzz-dir tests/fuzz --target-dir $(TARGET)/fuzz --sanitizer none $$target \
			$(TARGET)/fuzz/corpus $(TARGET)/fuzz/seeds \
			-- -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 || exit 1; done

mutants: .tools/bin/cargo-mutants ## Run mutation tests on the recorder (an hour and a half)
	@mkdir -p $(TARGET)
	@cargo mutants --package ecs-state-recorder --output $(TARGET) --cargo-test-arg=--locked \
		--file 'src/*.rs' --file 'src/state/*.rs' --file 'src/recorder/*.rs' \
		--file src/bin/ecs-state-recorder.rs -- \
		-- recorder:: process:: bad_input:: secrets:: reconciler:: notifier::

# PEERS="--peer node='…'" adds a program that speaks the Runtime API. OPTIONS=--help lists the
# options that shorten a run. docs/performance.md and .svg show the output of a whole one.
bench: .tools/reference/installed ## Compare the functions with their peers (40 minutes)
	@cargo build --locked --release
	@cargo build --locked --release --package ecs-state
	@for profile in stock plain; do \
		cargo build --locked --profile $$profile --package defaults || exit 1; done
	@mkdir -p target/bench
	@rustc --edition 2024 -C opt-level=3 -C strip=symbols -o target/bench/floor benches/peers/floor.rs
	@PYTHONPATH=benches/peers cargo run --quiet --locked --profile bench --package benchmark -- \
		--reconciler $(TARGET)/release/ecs-state-reconciler --notifier $(TARGET)/release/ecs-state-notifier \
		--reader $(TARGET)/release/ecs-state \
		--peer ours=$(TARGET)/release/ecs-state-recorder --peer floor=target/bench/floor \
		--peer plain=$(TARGET)/plain/defaults \
		--peer 'plain+connect=$(TARGET)/plain/defaults connect' --peer stock=$(TARGET)/stock/defaults \
		--peer 'documented=.tools/reference/bin/python -m awslambdaric reference.handler' \
		$(PEERS) $(OPTIONS)

# The tools in .tools/aws come first in PATH: cargo-lambda finds zig through its python3.
AWS := PATH='$(CURDIR)/.tools/aws/bin':"$$PATH" SAM_CLI_TELEMETRY=0
OPS := .tools/aws/bin/python ops

validate: .tools/aws/all ## Check the templates and GitHub's workflows
	@AWS_DEFAULT_REGION=eu-west-1 $(AWS) sam validate --lint --template template.yaml
	@$(AWS) cfn-lint template.yaml organization/*.yaml
	@$(AWS) check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

# ---- Deploy it ----

build: .tools/aws/builds cargo ## Build the functions for Lambda (ARCHITECTURE=arm64 or x86_64)
	@$(AWS) sam build --build-dir $(TARGET)/sam/build \
		--parameter-overrides Architecture=$(ARCHITECTURE)

ARCHITECTURES ?= arm64 x86_64

package: .tools/aws/builds cargo ## Build what deploys without Rust, into target/package
	@$(AWS) python ops/package.py $(TARGET)/package $(ARCHITECTURES)

test-package: .tools/aws/all .tools/emulator/installed ## Test a package (PACKAGE=target/package/arm64)
	@$(OPS)/check_package.py '$(PACKAGE)'

deploy: preflight $(if $(PACKAGE),,build) ## Deploy the stack (PARAMETERS='ArchiveDays=10')
	@$(OPS)/deploy.py '$(STACK)' 'Architecture=$(ARCHITECTURE) $(PARAMETERS)' \
		'$(or $(PACKAGE),$(TARGET)/sam/build)' --options="$$SAM_OPTIONS"
	@$(OPS)/stack.py protect '$(STACK)'
	@$(OPS)/stack.py next-step '$(STACK)'

# Before the build, which takes minutes.
preflight: signed-in
	@$(OPS)/preflight.py '$(STACK)' 'Architecture=$(ARCHITECTURE) $(PARAMETERS)' \
		--package '$(PACKAGE)' --sam-options="$$SAM_OPTIONS"

delete: signed-in ## Delete the stack and its archive; its two tables are kept
	@$(OPS)/stack.py delete '$(STACK)'

deploy-cargo-lambda: signed-in .tools/aws/builds cargo ## Deploy only the functions
	@$(AWS) cargo lambda build --locked --release \
		--bin ecs-state-recorder --bin ecs-state-reconciler \
		$(if $(filter arm64,$(ARCHITECTURE)),--arm64,--x86-64)
	@$(AWS) $(OPS)/cargo_lambda.py deploy '$(STACK)'

delete-cargo-lambda: signed-in .tools/aws/builds ## Delete what deploy-cargo-lambda created except for the tables
	@$(OPS)/cargo_lambda.py delete '$(STACK)'

# ---- Operate it ----

invoke-remote: signed-in ## Send an event to the deployed recorder (EVENT=events/….json)
	@$(OPS)/invoke.py '$(STACK)' '$(EVENT)'

smoke: signed-in ## Check the deployed stack link by link (REPLAY=0 skips the replay)
	@$(OPS)/smoke.py '$(STACK)' $(if $(filter 0,$(REPLAY)),--no-replay) \
		$(if $(PACKAGE),--package '$(PACKAGE)')

reconcile: signed-in ## Compare the tables with ECS (SCOPE=fleet or SCOPE=table; SCAN=1 reads the whole table)
	@$(OPS)/reconcile.py '$(STACK)' '$(SCOPE)' $(if $(filter-out 0,$(SCAN)),--scan)

redrive: signed-in ## Resend the events in the queues (DRY_RUN=1 only lists them)
	@$(OPS)/redrive.py '$(STACK)' $(if $(filter-out 0,$(DRY_RUN)),--dry-run) $(if $(filter-out 0,$(FORCE)),--force) \
		$(if $(PER_SECOND),--per-second '$(PER_SECOND)') $(if $(SPOKES),--spokes '$(SPOKES)')

replay: signed-in ## Replay archived events (FROM=2026-03-01T00:00Z TO=…; DRY_RUN=1 only counts them)
	@$(OPS)/replay.py '$(STACK)' --from '$(FROM)' --to '$(TO)' $(if $(filter-out 0,$(DRY_RUN)),--dry-run)

spokes: signed-in ## Show the version of each stack of the organization's StackSets
	@$(OPS)/spokes.py $(if $(CALL_AS),--call-as '$(CALL_AS)')

# ---- Tools ----

cargo:
	@command -v cargo >/dev/null || $(call fail,cargo is missing: install Rust from https://rustup.rs)

signed-in: .tools/aws/installed
	@$(OPS)/stack.py

venv = python3 -m venv $(1) || \
	$(call fail,python3 must be 3.11 or newer with venv (Debian: apt install python3-venv))
PIP := pip install --quiet --disable-pip-version-check
# Every dependency is pinned with its hashes, so that a deployment in a year works like one today.
PINNED := $(PIP) --require-hashes --requirement ops/requirements

.tools/aws/installed: ops/requirements-deploy.txt
	@echo 'Installing boto3 into .tools/aws/ …'
	@$(call venv,.tools/aws)
	@.tools/aws/bin/$(PINNED)-deploy.txt
	@touch $@

.tools/aws/builds: .tools/aws/installed ops/requirements-build.txt
	@echo 'Installing the AWS SAM CLI, cargo-lambda and zig into .tools/aws/ …'
	@.tools/aws/bin/$(PINNED)-build.txt
	@touch $@

.tools/aws/all: .tools/aws/builds ops/requirements.txt
	@echo "Installing the tests' packages into .tools/aws/ …"
	@.tools/aws/bin/$(PINNED).txt
	@touch $@

# Apart from the SAM CLI, which needs another botocore.
.tools/emulator/installed: emulator/requirements.txt
	@echo 'Installing MiniStack into .tools/emulator/ …'
	@$(call venv,.tools/emulator)
	@.tools/emulator/bin/$(PIP) --require-hashes --requirement $<
	@touch $@

# One line for each package. Each file has what the one that it requires lacks.
lock:
	@rm -rf .tools/lock && $(call venv,.tools/lock)
	@.tools/lock/bin/$(PIP) uv
	@cd ops && uv() { ../.tools/lock/bin/uv pip compile --quiet --universal --python-version 3.11 \
			--generate-hashes --no-strip-extras --no-annotate --no-header "$$@" \
			| sed -e ':a' -e '/\\$$/N; s/ *\\\n */ /; ta'; } && \
		uv requirements.in > all && uv requirements-build.in --constraint all > build && \
		uv requirements-deploy.in --constraint all > deploy && \
		{ echo '# Written by `make lock`.'; cat deploy; } > requirements-deploy.txt && \
		{ echo '--requirement requirements-deploy.txt'; grep -vxFf deploy build; } > requirements-build.txt && \
		{ echo '--requirement requirements-build.txt'; grep -vxFf build all; } > requirements.txt && \
		rm all build deploy
	@rm -rf .tools/lock

# Without its dependency ziglang (450 MB), which only cross-compilation needs.
.tools/bin/cargo-lambda:
	@echo 'Installing cargo-lambda into .tools/ …'
	@$(call venv,.tools)
	@.tools/bin/$(PIP) --no-deps --require-hashes \
		--requirement <(grep '^cargo-lambda==' ops/requirements-build.txt)
	@touch $@

.tools/reference/installed: benches/peers/requirements.txt
	@echo 'Installing the packages in benches/peers/requirements.txt into .tools/reference/ …'
	@$(call venv,.tools/reference)
	@.tools/reference/bin/$(PIP) --requirement benches/peers/requirements.txt
	@touch $@

.tools/bin/cargo-fuzz:
	@cargo install --quiet --locked --root .tools cargo-fuzz@0.13.2

# Unoptimized, it is built in a third of the time.
.tools/bin/cargo-deny:
	@cargo install --quiet --locked --debug --root .tools cargo-deny@0.20.2

.tools/bin/cargo-mutants:
	@cargo install --quiet --locked --root .tools cargo-mutants@27.1.0
