# The targets that a person types, and CI with them. Each does its own set-up; `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash

# A cargo-lambda of the user's own is as good; without one, a pinned one comes from PyPI into .tools/.
CARGO_LAMBDA_VERSION := 1.9.2
CARGO_MUTANTS_VERSION := 27.1.0
CARGO_FUZZ_VERSION := 0.13.2

# The stack to deploy and to work on, and its parameters: make deploy PARAMETERS='ArchiveDays=0 Tracing=Active'.
STACK ?= ecs-state-recorder
ARCHITECTURE ?= arm64
PARAMETERS ?=
# More options of `sam deploy`: make deploy SAM_OPTIONS='--tags team=platform --s3-bucket my-bucket'.
SAM_OPTIONS ?=

TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
CARGO_LAMBDA := $(or $(shell command -v cargo-lambda),.tools/bin/cargo-lambda)
export PATH := $(CURDIR)/.tools/bin:$(PATH)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-19s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: debug $(CARGO_LAMBDA) ## Send every event of events/ through the function, and show each outcome and what is stored
	@$(TARGET)/debug/local run

.PHONY: watch
watch: debug $(CARGO_LAMBDA) ## Keep the function and a DynamoDB running, and rebuild on every change
	@$(TARGET)/debug/local watch

.PHONY: invoke
invoke: $(CARGO_LAMBDA) ## Send one event to a running `make watch`: make invoke EVENT=events/….json
	@test -n '$(EVENT)' || { echo 'error: which event? make invoke EVENT=events/fargate-task-running.json' >&2; exit 2; }
	@test -f '$(EVENT)' || { echo 'error: there is no file $(EVENT)' >&2; exit 2; }
	@test -f target/local/port || { echo 'error: nothing is running; start `make watch` in another terminal' >&2; exit 1; }
	@cargo lambda invoke --invoke-address 127.0.0.1 --invoke-port "$$(cat target/local/port)" --data-file '$(EVENT)' ecs-state-recorder

.PHONY: test
test: .tools/aws/installed ## Run every test
	@# What is shipped, without the features that the tests ask of shared dependencies.
	cargo build --locked
	@mkdir -p $(TARGET)/shipped && cp $(TARGET)/debug/ecs-state-recorder $(TARGET)/shipped/
	FUNCTION_BINARY=$(TARGET)/shipped/ecs-state-recorder cargo test --locked
	@.tools/aws/bin/python -B -m pytest --quiet -p no:cacheprovider tests/deploy tests/docs

.PHONY: storm
storm: ## Send 100,000 events to 8 copies of the release build, and judge every row and every write (some minutes)
	@cargo build --locked --release
	@FUNCTION_BINARY=$(TARGET)/release/ecs-state-recorder cargo test --quiet --locked --test convergence -- \
		--ignored --exact --nocapture a_hundred_thousand_events

FUZZ_SECONDS ?= 60

# Without a sanitizer, which would need a nightly compiler: the function has no unsafe code that it could watch.
.PHONY: fuzz
fuzz: .tools/bin/cargo-fuzz ## Fuzz the path from bytes to item: make fuzz FUZZ_SECONDS=60
	@mkdir -p $(TARGET)/fuzz/corpus $(TARGET)/fuzz/seeds
	@cp events/*.json events/refused/*.json $(TARGET)/fuzz/seeds
	@cargo fuzz run --fuzz-dir tests/fuzz --target-dir $(TARGET)/fuzz --sanitizer none any_bytes \
		$(TARGET)/fuzz/corpus $(TARGET)/fuzz/seeds -- -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1

.PHONY: mutants
mutants: .tools/bin/cargo-mutants ## Break the function on purpose, everywhere, and see the tests find it (half an hour)
	@mkdir -p $(TARGET)
	@cargo mutants --output $(TARGET) --cargo-test-arg=--locked -- --test rules --test process --test bad_input

# A peer is a program that speaks the Runtime API: make bench PEERS="--peer node='…'". Options of the benchmark itself
# (make bench OPTIONS=--help) shorten it: make bench OPTIONS='--only warm --events 2000'. The table of
# docs/performance.md and docs/performance.svg are what one whole run has left in target/bench.
PEERS ?=
OPTIONS ?=

.PHONY: bench
bench: .tools/reference/installed ## Measure the function beside its peers: cold, warm, memory, size, growth (twenty minutes, alone)
	@cargo build --locked --release
	@cargo build --locked --profile stock --package defaults
	@cargo build --locked --profile plain --package defaults
	@mkdir -p target/bench
	@rustc --edition 2024 -C opt-level=3 -C strip=symbols -o target/bench/floor benches/peers/floor.rs
	@PYTHONPATH=benches/peers cargo run --quiet --locked --profile bench --package benchmark -- \
		--peer ours=$(TARGET)/release/ecs-state-recorder \
		--peer floor=target/bench/floor \
		--peer plain=$(TARGET)/plain/defaults \
		--peer 'stock=$(TARGET)/stock/defaults connect' \
		--peer 'documented=.tools/reference/bin/python -m awslambdaric reference.handler' $(PEERS) $(OPTIONS)

.PHONY: check
check: ## Check format and lints, warnings as errors
	cargo fmt --check
	cargo clippy --locked --workspace --all-targets -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' cargo doc --locked --no-deps --document-private-items
	@tree=$$(cargo tree --locked --package ecs-state-recorder --edges no-dev --prefix none) || exit 1; if grep --quiet '^aws-lc' <<< "$$tree"; then \
		echo 'error: aws-lc is back: the first handshake takes 30 ms of CPU more with it (docs/performance.md)' >&2; exit 1; fi

# The tools of .tools/aws, before all others: its python3 is how cargo-lambda finds its zig.
AWS := PATH='$(CURDIR)/.tools/aws/bin':"$$PATH" SAM_CLI_TELEMETRY=0
SAM := $(AWS) sam
OPS := .tools/aws/bin/python ops

.PHONY: validate
validate: .tools/aws/installed ## Check template.yaml (SAM's own check and cfn-lint, no finding) and CI's workflow
	@AWS_DEFAULT_REGION=eu-west-1 $(SAM) validate --lint --template template.yaml
	@$(AWS) cfn-lint template.yaml
	@$(AWS) check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

.PHONY: build
build: .tools/aws/installed cargo ## Build the function for Lambda: make build ARCHITECTURE=x86_64
	@$(SAM) build --build-dir $(TARGET)/sam/build --parameter-overrides Architecture=$(ARCHITECTURE)

.PHONY: deploy
deploy: preflight build ## Deploy the stack: make deploy STACK=… PARAMETERS='AlarmTopicArn=… ArchiveDays=10'
	@$(SAM) deploy --template $(TARGET)/sam/build/template.yaml --stack-name '$(STACK)' \
		$(if $(findstring --s3-bucket,$(SAM_OPTIONS)),,--resolve-s3) \
		--capabilities CAPABILITY_IAM --no-confirm-changeset --no-fail-on-empty-changeset \
		--parameter-overrides 'Architecture=$(ARCHITECTURE) $(PARAMETERS)' $(SAM_OPTIONS)
	@$(OPS)/stack.py protect '$(STACK)'

# Before the build, which takes minutes. It looks where the environment says, not where SAM_OPTIONS may.
.PHONY: preflight
preflight: signed-in
	@$(if $(filter --profile% --region%,$(SAM_OPTIONS)),echo \
		'error: SAM_OPTIONS: export AWS_PROFILE or AWS_DEFAULT_REGION instead of --profile or --region' >&2; exit 2)
	@$(OPS)/preflight.py '$(STACK)' 'Architecture=$(ARCHITECTURE) $(PARAMETERS)'

.PHONY: delete
delete: signed-in ## Delete the stack, in whatever state it is; its two tables stay
	@$(OPS)/stack.py delete '$(STACK)'

.PHONY: deploy-cargo-lambda
deploy-cargo-lambda: signed-in cargo ## Deploy the function alone, by cargo-lambda, with permissions, rule and target
	@$(AWS) cargo lambda build --locked --release --bin ecs-state-recorder $(if $(filter arm64,$(ARCHITECTURE)),--arm64,--x86-64)
	@$(AWS) $(OPS)/cargo_lambda.py deploy '$(STACK)'

.PHONY: delete-cargo-lambda
delete-cargo-lambda: signed-in ## Delete what deploy-cargo-lambda made; the tables stay
	@$(OPS)/cargo_lambda.py delete '$(STACK)'

.PHONY: invoke-remote
invoke-remote: signed-in ## Send an event to the deployed function, and show answer and row: make invoke-remote EVENT=events/….json
	@test -n '$(EVENT)' || { echo 'error: which event? make invoke-remote EVENT=events/fargate-task-running.json' >&2; exit 2; }
	@$(OPS)/invoke.py '$(STACK)' '$(EVENT)'

.PHONY: redrive
redrive: signed-in ## Send the events of both queues to the function again: make redrive DRY_RUN=1 only shows them, FORCE=1 sends all
	@$(OPS)/redrive.py '$(STACK)' $(if $(DRY_RUN),--dry-run) $(if $(FORCE),--force)

.PHONY: cargo
cargo:
	@command -v cargo >/dev/null || { echo 'error: cargo is missing: install Rust from https://rustup.rs' >&2; exit 1; }

.PHONY: signed-in
signed-in: .tools/aws/installed
	@$(OPS)/stack.py

# Pinned to the last dependency: a deployment is the same in a year.
.tools/aws/installed: ops/requirements.txt
	@command -v python3 >/dev/null || { echo 'error: python3 is missing: install Python 3.10 or newer' >&2; exit 1; }
	@echo 'Installing the AWS SAM CLI and what else ops/requirements.txt names into .tools/aws/ …'
	@python3 -m venv .tools/aws || { echo 'error: python3 needs its venv module (Debian: apt install python3-venv)' >&2; exit 1; }
	@.tools/aws/bin/pip install --quiet --disable-pip-version-check --requirement ops/requirements.txt
	@touch $@

.PHONY: lock
lock:
	@rm -rf .tools/lock && python3 -m venv .tools/lock
	@.tools/lock/bin/pip install --quiet --disable-pip-version-check --requirement ops/requirements.in
	@{ echo '# Written by `make lock` from requirements.in.'; .tools/lock/bin/pip freeze; } > ops/requirements.txt
	@rm -rf .tools/lock

# Two builds: the function is built without the features that the local run asks of shared dependencies. The local run is
# started by itself: inside `cargo run`, the cargo of `cargo lambda watch` would find cargo's own variables, which ring's
# build script watches, and compile again what the next `cargo build` compiles back.
.PHONY: debug
debug:
	@cargo build --locked
	@cargo build --locked --package local

# Without its dependency ziglang (450 MB): only a build for another platform needs it.
.tools/bin/cargo-lambda:
	@echo 'Installing cargo-lambda $(CARGO_LAMBDA_VERSION) into .tools/ …'
	@python3 -m venv .tools || { echo 'error: python3 needs its venv module (Debian: apt install python3-venv)' >&2; exit 1; }
	@.tools/bin/pip install --quiet --disable-pip-version-check --no-deps cargo-lambda==$(CARGO_LAMBDA_VERSION)
	@touch $@

.tools/reference/installed: benches/peers/requirements.txt
	@echo 'Installing what benches/peers/requirements.txt names into .tools/reference/ …'
	@python3 -m venv .tools/reference || { echo 'error: python3 needs its venv module (Debian: apt install python3-venv)' >&2; exit 1; }
	@.tools/reference/bin/pip install --quiet --disable-pip-version-check --requirement benches/peers/requirements.txt
	@touch $@

.tools/bin/cargo-fuzz:
	@cargo install --quiet --locked --root .tools cargo-fuzz@$(CARGO_FUZZ_VERSION)

.tools/bin/cargo-mutants:
	@cargo install --quiet --locked --root .tools cargo-mutants@$(CARGO_MUTANTS_VERSION)
