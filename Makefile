# The targets that people and CI use. Each installs what it needs; `make` without a target lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash

# An installed cargo-lambda is used as it is; otherwise, a pinned one is installed from PyPI into .tools/.
CARGO_LAMBDA_VERSION := 1.9.2
CARGO_MUTANTS_VERSION := 27.1.0
CARGO_FUZZ_VERSION := 0.13.2

# The stack to deploy or operate on, and its parameters: make deploy PARAMETERS='ArchiveDays=0 Tracing=Active'.
STACK ?= ecs-state-recorder
ARCHITECTURE ?= arm64
PARAMETERS ?=
# Additional options for `sam deploy`: make deploy SAM_OPTIONS='--tags team=platform --s3-bucket my-bucket'.
SAM_OPTIONS ?=

TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
CARGO_LAMBDA := $(or $(shell command -v cargo-lambda),.tools/bin/cargo-lambda)
export PATH := $(CURDIR)/.tools/bin:$(PATH)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-19s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: debug $(CARGO_LAMBDA) ## Send every event in events/ through the recorder, reconcile, and ask what runs and why tasks stopped
	@$(TARGET)/debug/local run

.PHONY: watch
watch: debug $(CARGO_LAMBDA) ## Keep the function and a local DynamoDB running, and rebuild on every change
	@$(TARGET)/debug/local watch

.PHONY: invoke
invoke: $(CARGO_LAMBDA) ## Send one event to a running `make watch`: make invoke EVENT=events/….json
	@test -n '$(EVENT)' || { echo 'error: EVENT must be set: make invoke EVENT=events/fargate-task-running.json' >&2; exit 2; }
	@test -f '$(EVENT)' || { echo 'error: there is no file $(EVENT)' >&2; exit 2; }
	@test -f target/local/port || { echo 'error: nothing is running; start `make watch` in another terminal' >&2; exit 1; }
	@cargo lambda invoke --invoke-address 127.0.0.1 --invoke-port "$$(cat target/local/port)" --data-file '$(EVENT)' ecs-state-recorder

# More than there are cores: most tests wait.
TEST_THREADS ?= 8

.PHONY: test
test: .tools/aws/all ## Run every test
	@# Tests the binaries that are shipped, without the features that the tests enable in shared dependencies.
	cargo build --locked
	@mkdir -p $(TARGET)/shipped && cp $(TARGET)/debug/ecs-state-recorder $(TARGET)/debug/ecs-state-reconciler $(TARGET)/shipped/
	FUNCTION_BINARY=$(TARGET)/shipped/ecs-state-recorder RECONCILER_BINARY=$(TARGET)/shipped/ecs-state-reconciler \
		RUST_TEST_THREADS=$(TEST_THREADS) \
		cargo test --locked --package ecs-state-recorder --package harness --features ecs-state-recorder/cli
	@$(TEST_DEPLOYMENT) tests/deploy tests/docs

.PHONY: cli
cli: cargo ## Install ecs-state, which reads the tables in a terminal, into ~/.cargo/bin
	@cargo install --locked --path . --features cli --bin ecs-state

.PHONY: storm
storm: ## Send 100,000 events to 8 instances, and 20,000 beside reconcilers, kill 200, overload DynamoDB, and check every row (twenty minutes)
	@cargo build --locked --release
	@FUNCTION_BINARY=$(TARGET)/release/ecs-state-recorder RECONCILER_BINARY=$(TARGET)/release/ecs-state-reconciler \
		cargo test --quiet --locked -- --ignored --nocapture --test-threads=1 convergence:: reconciliation:: overload::

FUZZ_SECONDS ?= 60

# Without a sanitizer, which would need a nightly compiler: the function has no unsafe code for it to check.
.PHONY: fuzz
fuzz: .tools/bin/cargo-fuzz ## Fuzz the path from bytes to item, and from item to model, FUZZ_SECONDS each: make fuzz FUZZ_SECONDS=60
	@mkdir -p $(TARGET)/fuzz/corpus $(TARGET)/fuzz/seeds
	@cp events/*.json events/refused/*.json $(TARGET)/fuzz/seeds
	@for target in any_bytes any_row; do \
		cargo fuzz run --fuzz-dir tests/fuzz --target-dir $(TARGET)/fuzz --sanitizer none $$target \
			$(TARGET)/fuzz/corpus $(TARGET)/fuzz/seeds -- -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 \
			|| exit 1; done

.PHONY: mutants
mutants: .tools/bin/cargo-mutants ## Run mutation tests: break the recorder, and what both functions share, in every place (an hour and a half)
	@mkdir -p $(TARGET)
	@cargo mutants --package ecs-state-recorder --output $(TARGET) --cargo-test-arg=--locked \
		--file 'src/*.rs' --file 'src/state/*.rs' --file 'src/recorder/*.rs' -- \
		-- rules:: process:: bad_input:: secrets:: reconciler::

# A peer is any program that speaks the Runtime API: make bench PEERS="--peer node='…'". The benchmark's own options
# (make bench OPTIONS=--help) shorten a run: make bench OPTIONS='--only warm --events 2000'. The table of
# docs/performance.md and docs/performance.svg are the output of one complete run, in target/bench.
PEERS ?=
OPTIONS ?=

.PHONY: bench
bench: .tools/reference/installed ## Compare the function with its peers: cold, warm, memory, size, growth (40 minutes on an idle machine)
	@cargo build --locked --release
	@# Replaces none of the functions: this builds nothing else.
	@cargo build --locked --release --features cli --bin ecs-state
	@cargo build --locked --profile stock --package defaults
	@cargo build --locked --profile plain --package defaults
	@mkdir -p target/bench
	@rustc --edition 2024 -C opt-level=3 -C strip=symbols -o target/bench/floor benches/peers/floor.rs
	@PYTHONPATH=benches/peers cargo run --quiet --locked --profile bench --package benchmark -- \
		--reconciler $(TARGET)/release/ecs-state-reconciler \
		--reader $(TARGET)/release/ecs-state \
		--peer ours=$(TARGET)/release/ecs-state-recorder \
		--peer floor=target/bench/floor \
		--peer plain=$(TARGET)/plain/defaults \
		--peer 'plain+connect=$(TARGET)/plain/defaults connect' \
		--peer stock=$(TARGET)/stock/defaults \
		--peer 'documented=.tools/reference/bin/python -m awslambdaric reference.handler' $(PEERS) $(OPTIONS)

.PHONY: check
check: ## Check formatting, lints and docs; warnings are errors
	cargo fmt --check
	cargo clippy --locked --workspace --all-targets --features cli -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' cargo doc --locked --no-deps --document-private-items --features cli
	@tree=$$(cargo tree --locked --package ecs-state-recorder --edges no-dev --prefix none) || exit 1; if grep --quiet '^aws-lc' <<< "$$tree"; then \
		echo 'error: the function must not depend on aws-lc: it adds 30 ms of CPU time to the first TLS handshake (docs/performance.md)' >&2; exit 1; fi

# A folder that `make package` wrote, for a deployment without Rust. It is of one architecture.
PACKAGE ?=
ifneq ($(PACKAGE),)
ARCHITECTURE := $(shell sed -n '/^  Architecture:/,/Default:/s/.*Default: //p' '$(PACKAGE)/template.yaml' 2>/dev/null)
endif

# The tools in .tools/aws come first in PATH: cargo-lambda finds zig through its python3.
AWS := PATH='$(CURDIR)/.tools/aws/bin':"$$PATH" SAM_CLI_TELEMETRY=0
SAM := $(AWS) sam
OPS := .tools/aws/bin/python ops

.PHONY: validate
validate: .tools/aws/all ## Check template.yaml with SAM, all templates with cfn-lint, and the workflows of .github
	@AWS_DEFAULT_REGION=eu-west-1 $(SAM) validate --lint --template template.yaml
	@$(AWS) cfn-lint template.yaml organization/*.yaml
	@$(AWS) check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

.PHONY: build
build: .tools/aws/builds cargo ## Build both functions for Lambda: make build ARCHITECTURE=x86_64
	@$(SAM) build --build-dir $(TARGET)/sam/build --parameter-overrides Architecture=$(ARCHITECTURE)

ARCHITECTURES ?= arm64 x86_64

.PHONY: package
package: .tools/aws/builds cargo ## Build what can be deployed without Rust, into target/package: functions, template, command line, licenses
	@$(AWS) python ops/package.py $(TARGET)/package $(ARCHITECTURES)

# On x86_64, a package of arm64 runs under Debian's qemu-user, with the C library of libc6-arm64-cross.
EMULATED := $(filter arm64-x86_64,$(ARCHITECTURE)-$(shell uname -m))
EMULATOR := $(and $(wildcard /usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1),$(shell command -v qemu-aarch64))
UNPACKED := $(TARGET)/unpacked/$(ARCHITECTURE)
TEST_DEPLOYMENT := .tools/aws/bin/python -B -m pytest --quiet -p no:cacheprovider --numprocesses 4

.PHONY: test-package
test-package: unpacked .tools/aws/all ## Test a package; one of arm64 also on x86_64, with qemu-user: make test-package PACKAGE=target/package/arm64
	@PACKAGE='$(abspath $(PACKAGE))' $(TEST_DEPLOYMENT) tests/deploy/test_package.py
ifeq ($(EMULATED)$(EMULATOR),arm64-x86_64)
	@echo 'SKIPPED: the functions were not run: this machine needs an emulator for arm64 (Debian: apt install qemu-user libc6-arm64-cross)' >&2
else
	@mkdir -p $(UNPACKED)
	@for name in recorder reconciler; do unzip -q -o '$(PACKAGE)'/$$name.zip -d $(UNPACKED)/$$name || exit 1; done
	@$(if $(EMULATED),for name in recorder reconciler; do (cd $(UNPACKED)/$$name && mv bootstrap emulated && \
		printf '#!/bin/sh\nexec %s -L /usr/aarch64-linux-gnu %s "$$@"\n' $(EMULATOR) "$$PWD/emulated" > bootstrap && \
		chmod +x bootstrap) || exit 1; done)
	FUNCTION_BINARY=$(UNPACKED)/recorder/bootstrap RECONCILER_BINARY=$(UNPACKED)/reconciler/bootstrap \
		cargo test --locked -- rules:: bad_input:: process:: convergence:: reconciliation::
	@# Of the deployment's tests, those that run the function, or build with SAM, which is for this machine.
	@FUNCTION_BINARY=$(UNPACKED)/recorder/bootstrap $(TEST_DEPLOYMENT) tests/deploy/test_commands.py \
		$(if $(EMULATED),,tests/deploy/test_make.py)
endif

.PHONY: deploy
deploy: $(if $(PACKAGE),unpacked) preflight $(if $(PACKAGE),,build) ## Deploy the stack: make deploy STACK=… PARAMETERS='AlarmTopicArn=… ArchiveDays=10', or without Rust: PACKAGE=…
	@$(SAM) deploy --template '$(or $(PACKAGE),$(TARGET)/sam/build)/template.yaml' --stack-name '$(STACK)' \
		$(if $(findstring --s3-bucket,$(SAM_OPTIONS)),,--resolve-s3) \
		--capabilities CAPABILITY_IAM --no-confirm-changeset --no-fail-on-empty-changeset \
		--parameter-overrides 'Architecture=$(ARCHITECTURE) $(PARAMETERS)' $(SAM_OPTIONS)
	@$(OPS)/stack.py protect '$(STACK)'
	@$(OPS)/stack.py next-step '$(STACK)'

.PHONY: unpacked
unpacked:
	@test -f '$(PACKAGE)/template.yaml' || { echo 'error: there is no file $(PACKAGE)/template.yaml: PACKAGE is a folder that `make package` writes, such as target/package/arm64' >&2; exit 2; }
	@cd '$(PACKAGE)' && sha256sum --check --quiet SHA256SUMS || { echo 'error: $(PACKAGE) is not as `make package` wrote it: fetch it again' >&2; exit 1; }

# Runs before the build, which takes minutes. It uses the profile and region of the environment, not of SAM_OPTIONS.
.PHONY: preflight
preflight: signed-in
	@$(if $(filter --profile% --region%,$(SAM_OPTIONS)),echo \
		'error: SAM_OPTIONS must not contain --profile or --region: export AWS_PROFILE or AWS_DEFAULT_REGION instead' >&2; exit 2)
	@$(OPS)/preflight.py '$(STACK)' 'Architecture=$(ARCHITECTURE) $(PARAMETERS)' '$(or $(PACKAGE),.)/template.yaml'

.PHONY: delete
delete: signed-in ## Delete the stack, whatever its state; its two tables are kept
	@$(OPS)/stack.py delete '$(STACK)'

.PHONY: deploy-cargo-lambda
deploy-cargo-lambda: signed-in .tools/aws/builds cargo ## Deploy only the functions with cargo-lambda, with their roles, rule and schedules
	@$(AWS) cargo lambda build --locked --release --bin ecs-state-recorder --bin ecs-state-reconciler \
		$(if $(filter arm64,$(ARCHITECTURE)),--arm64,--x86-64)
	@$(AWS) $(OPS)/cargo_lambda.py deploy '$(STACK)'

.PHONY: delete-cargo-lambda
delete-cargo-lambda: signed-in ## Delete what deploy-cargo-lambda created; the tables are kept
	@$(OPS)/cargo_lambda.py delete '$(STACK)'

.PHONY: invoke-remote
invoke-remote: signed-in ## Send an event to the deployed function, and show its answer and the row: make invoke-remote EVENT=events/….json
	@test -n '$(EVENT)' || { echo 'error: EVENT must be set: make invoke-remote EVENT=events/fargate-task-running.json' >&2; exit 2; }
	@$(OPS)/invoke.py '$(STACK)' '$(EVENT)'

.PHONY: smoke
smoke: signed-in ## Check the deployed stack link by link, with a fictional task and a replay: make smoke REPLAY=0 does not replay
	@$(OPS)/smoke.py '$(STACK)' $(if $(filter 0,$(REPLAY)),--no-replay)

.PHONY: reconcile
reconcile: signed-in ## Compare the tables with ECS, and show what was written: make reconcile SCOPE=fleet, or SCOPE=table
	@$(OPS)/reconcile.py '$(STACK)' '$(SCOPE)'

.PHONY: redrive
redrive: signed-in ## Resend the events in both queues to the function: make redrive DRY_RUN=1 only lists them, FORCE=1 also sends refused and old ones, PER_SECOND=… sets the pace, SPOKES=… also those of an organization
	@$(OPS)/redrive.py '$(STACK)' $(if $(DRY_RUN),--dry-run) $(if $(FORCE),--force) $(if $(PER_SECOND),--per-second '$(PER_SECOND)') $(if $(SPOKES),--spokes '$(SPOKES)')

.PHONY: cargo
cargo:
	@command -v cargo >/dev/null || { echo 'error: cargo is missing: install Rust from https://rustup.rs' >&2; exit 1; }

.PHONY: signed-in
signed-in: .tools/aws/installed
	@$(OPS)/stack.py

# Every dependency is pinned, so that a deployment in a year works like one today. A deployment from a package needs
# less than half of them.
INSTALL := .tools/aws/bin/pip install --quiet --disable-pip-version-check --constraint ops/requirements.txt

.tools/aws/installed: ops/requirements.txt
	@command -v python3 >/dev/null || { echo 'error: python3 is missing: install Python 3.10 or newer' >&2; exit 1; }
	@echo 'Installing the AWS SAM CLI into .tools/aws/ …'
	@python3 -m venv .tools/aws || { echo 'error: python3 needs its venv module (Debian: apt install python3-venv)' >&2; exit 1; }
	@$(INSTALL) aws-sam-cli boto3
	@touch $@

.tools/aws/builds: .tools/aws/installed
	@echo 'Installing cargo-lambda and zig into .tools/aws/ …'
	@$(INSTALL) cargo-lambda license-expression
	@touch $@

.tools/aws/all: .tools/aws/builds
	@echo "Installing the tests' packages into .tools/aws/ …"
	@$(INSTALL) --requirement ops/requirements.txt
	@touch $@

.PHONY: lock
lock:
	@rm -rf .tools/lock && python3 -m venv .tools/lock
	@.tools/lock/bin/pip install --quiet --disable-pip-version-check --requirement ops/requirements.in
	@{ echo '# Written by `make lock` from requirements.in.'; .tools/lock/bin/pip freeze; } > ops/requirements.txt
	@rm -rf .tools/lock

# Two builds, so that the functions are built without the features that the local run and the command line enable in
# shared dependencies. The local run is not started by `cargo run`: that sets variables which ring's build script
# watches, so that the cargo inside `cargo lambda watch` would recompile ring, and the next `cargo build` would do so
# again.
.PHONY: debug
debug:
	@cargo build --locked
	@cargo build --locked --package local --package ecs-state-recorder --features ecs-state-recorder/cli --bin local --bin ecs-state

# Without its dependency ziglang (450 MB), which only cross-compilation needs.
.tools/bin/cargo-lambda:
	@echo 'Installing cargo-lambda $(CARGO_LAMBDA_VERSION) into .tools/ …'
	@python3 -m venv .tools || { echo 'error: python3 needs its venv module (Debian: apt install python3-venv)' >&2; exit 1; }
	@.tools/bin/pip install --quiet --disable-pip-version-check --no-deps cargo-lambda==$(CARGO_LAMBDA_VERSION)
	@touch $@

.tools/reference/installed: benches/peers/requirements.txt
	@echo 'Installing the packages in benches/peers/requirements.txt into .tools/reference/ …'
	@python3 -m venv .tools/reference || { echo 'error: python3 needs its venv module (Debian: apt install python3-venv)' >&2; exit 1; }
	@.tools/reference/bin/pip install --quiet --disable-pip-version-check --requirement benches/peers/requirements.txt
	@touch $@

.tools/bin/cargo-fuzz:
	@cargo install --quiet --locked --root .tools cargo-fuzz@$(CARGO_FUZZ_VERSION)

.tools/bin/cargo-mutants:
	@cargo install --quiet --locked --root .tools cargo-mutants@$(CARGO_MUTANTS_VERSION)
