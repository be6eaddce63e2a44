# The targets that a person types, and CI with them. Each does its own set-up; `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash

# A cargo-lambda of the user's own is as good; without one, a pinned one comes from PyPI into .tools/.
CARGO_LAMBDA_VERSION := 1.9.2
CARGO_MUTANTS_VERSION := 27.1.0
CARGO_FUZZ_VERSION := 0.13.2

TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
CARGO_LAMBDA := $(or $(shell command -v cargo-lambda),.tools/bin/cargo-lambda)
export PATH := $(CURDIR)/.tools/bin:$(PATH)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: build $(CARGO_LAMBDA) ## Send every event of events/ through the function, and show what came of it and what is stored
	@cargo run --quiet --locked --example local -- run

.PHONY: watch
watch: build $(CARGO_LAMBDA) ## Keep the function and a DynamoDB running, and rebuild on every change
	@cargo run --quiet --locked --example local -- watch

.PHONY: invoke
invoke: $(CARGO_LAMBDA) ## Send one event to a running `make watch`: make invoke EVENT=events/….json
	@test -n '$(EVENT)' || { echo 'error: which event? make invoke EVENT=events/fargate-task-running.json' >&2; exit 2; }
	@test -f '$(EVENT)' || { echo 'error: there is no file $(EVENT)' >&2; exit 2; }
	@test -f target/local/port || { echo 'error: nothing is running; start `make watch` in another terminal' >&2; exit 1; }
	@cargo lambda invoke --invoke-address 127.0.0.1 --invoke-port "$$(cat target/local/port)" --data-file '$(EVENT)' ecs-state-recorder

.PHONY: test
test: ## Run every test
	cargo test --locked

.PHONY: storm
storm: ## Send 100,000 events to 8 copies of the release build, and judge every row and every write (some minutes)
	@cargo build --locked --release --bin ecs-state-recorder
	@FUNCTION_BINARY=$(TARGET)/release/ecs-state-recorder cargo test --quiet --locked --test convergence -- \
		--ignored --exact --nocapture a_hundred_thousand_events

FUZZ_SECONDS ?= 60

# Without a sanitizer, which would need a nightly compiler: the function has no unsafe code that it could watch.
.PHONY: fuzz
fuzz: .tools/bin/cargo-fuzz ## Fuzz the way from bytes to item: make fuzz FUZZ_SECONDS=60
	@mkdir -p $(TARGET)/fuzz/corpus $(TARGET)/fuzz/seeds
	@cp events/*.json events/refused/*.json $(TARGET)/fuzz/seeds
	@cargo fuzz run --fuzz-dir tests/fuzz --target-dir $(TARGET)/fuzz --sanitizer none path \
		$(TARGET)/fuzz/corpus $(TARGET)/fuzz/seeds -- -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1

.PHONY: mutants
mutants: .tools/bin/cargo-mutants ## Break the function on purpose, everywhere, and see the tests find it (half an hour)
	@mkdir -p $(TARGET)
	@cargo mutants --output $(TARGET) --cargo-test-arg=--locked -- --test rules --test process --test bad_input --test lossless

.PHONY: check
check: ## Check format and lints, warnings as errors
	cargo fmt --check
	cargo clippy --locked --all-targets -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' cargo doc --locked --no-deps --document-private-items

# Two builds, since `cargo lambda watch` builds the function without what only the example needs.
.PHONY: build
build:
	@cargo build --locked --bin ecs-state-recorder
	@cargo build --locked --example local

# Without its dependency ziglang (450 MB): only a build for another platform needs it.
.tools/bin/cargo-lambda:
	@echo 'Installing cargo-lambda $(CARGO_LAMBDA_VERSION) into .tools/ …'
	@python3 -m venv .tools || { echo 'error: python3 needs its venv module (Debian: apt install python3-venv)' >&2; exit 1; }
	@.tools/bin/pip install --quiet --disable-pip-version-check --no-deps cargo-lambda==$(CARGO_LAMBDA_VERSION)
	@touch $@

.tools/bin/cargo-fuzz:
	@cargo install --quiet --locked --root .tools cargo-fuzz@$(CARGO_FUZZ_VERSION)

.tools/bin/cargo-mutants:
	@cargo install --quiet --locked --root .tools cargo-mutants@$(CARGO_MUTANTS_VERSION)
