# MaiRust. `make help` lists the targets.

GO          ?= go
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
FUZZTIME    ?= 60s
TESTFLAGS   ?=
# make bench: how long each load lasts, how often it is measured, a Markdown file for the tables, and more flags (bin/bench -h).
BENCH_SECONDS ?= 8
BENCH_REPEAT  ?= 3
BENCH_OUT     ?=
BENCHFLAGS    ?=
DEMO_DIR    ?= ./mairust-demo
# make detection: -seed, -seeds, -accounts, -days, -attacks, -date, -out.
DETECTIONFLAGS ?=

# Pinned, so that the same tree has the same findings everywhere.
GOLANGCI_VERSION := v2.15.0
GOLANGCI         := bin/golangci-lint-$(GOLANGCI_VERSION)

# Build, vet and lint compile the dependencies once, because they compile them alike.
STATIC := CGO_ENABLED=0 GOFLAGS="$$($(GO) env GOFLAGS) -trimpath"

.DEFAULT_GOAL := help

.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  %-18s %s\n", $$1, $$2 }'

.PHONY: build
build: ## Build bin/mairust and bin/mairustctl (static)
	$(STATIC) $(GO) build -buildvcs=false -ldflags "-s -w -X main.version=$(VERSION)" -o bin/ ./cmd/mairust ./cmd/mairustctl

.PHONY: test
test: prepare vet lint test-go fuzz-short ## Everything CI runs: install what tests need, check, lint, test

.PHONY: test-go
test-go: ## Only the Go tests, with the race detector (TESTFLAGS="-run Foo")
	CGO_ENABLED=1 $(GO) test -race -timeout 60m $(TESTFLAGS) ./...

.PHONY: install-services
install-services: ## Install the programs that the tests start (apt-get; nothing is done when they are there)
	@tools/install-services.sh || { [ "$$CI" != true ] && \
		echo "WARNING: tests that need what is missing will be SKIPPED"; }

# The package manager waits for the network while the linter compiles.
.PHONY: prepare
prepare:
	@$(MAKE) --no-print-directory -j2 install-services lint-tool

.PHONY: vet
vet: ## go vet
	$(STATIC) $(GO) vet ./...

.PHONY: lint-tool
lint-tool:
	@tools/install-golangci-lint.sh $(GOLANGCI_VERSION) $(GOLANGCI) || { [ "$$CI" != true ] && \
		echo "WARNING: no golangci-lint, linting will be SKIPPED"; }

.PHONY: lint
lint: lint-tool ## golangci-lint (.golangci.yml), installed into bin/ when needed
	@if [ -x $(GOLANGCI) ]; then $(STATIC) $(GOLANGCI) run --allow-parallel-runners ./...; else echo "SKIPPED: no golangci-lint"; fi

.PHONY: generate
generate: ## Write the generated references again; the tests fail while they differ from the code
	$(GO) test ./internal/config ./api ./cmd/mairust ./cmd/mairustctl -run 'Reference|OpenAPI' -update

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (60s) each
	@tools/fuzz.sh $(FUZZTIME)

.PHONY: fuzz-short
fuzz-short: ## Run every fuzz target for 3,000 inputs each
	@tools/fuzz.sh 3000x

.PHONY: bench
bench: build ## Measure delivery beside Dovecot, through Postfix, and as it grows (BENCH_SECONDS, BENCH_REPEAT, BENCH_OUT, BENCHFLAGS)
	$(STATIC) $(GO) build -buildvcs=false -o bin/bench ./internal/bench
	bin/bench -seconds $(BENCH_SECONDS) -repeat $(BENCH_REPEAT) $(if $(BENCH_OUT),-out $(BENCH_OUT)) $(BENCHFLAGS)

.PHONY: bench-go
bench-go: ## Run the benchmarks of single packages
	$(GO) test -run '^$$' -bench . -benchmem ./...

# All system calls of a delivery fail in turn, too. Rounds of one kind: MAIRUST_TORTURE_KILL, _TERM, _DATABASE, _CUT, _CUT_ONE, _CUT_ENCRYPTED, _CUT_ONE_ENCRYPTED; MAIRUST_TORTURE_SEED repeats a run.
.PHONY: torture
torture: build ## Kill, stop and cut the power for an hour or so; prints the table of docs/durability.md (needs root)
	MAIRUST_TORTURE=1 MAIRUST_TORTURE_BINARY=$(CURDIR)/bin/mairust nice $(GO) test ./cmd/mairust -run 'TestTorture|TestEveryIOError|TestBuildsThatForget' -count 1 -v -timeout 24h

.PHONY: demo
demo: build ## Show it working: a daemon and a private Postfix under ./mairust-demo; Ctrl-C ends it
	./bin/mairust demo --dir $(DEMO_DIR)

.PHONY: demo-reset
demo-reset: ## Remove all that the demo made
	@[ -x bin/mairust ] || $(MAKE) --no-print-directory build
	./bin/mairust demo --dir $(DEMO_DIR) --reset

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin

.PHONY: detection
detection: ## Measure the outbound engine with simulated traffic and write docs/detection.md (DETECTIONFLAGS="-seed 1")
	$(STATIC) $(GO) run ./policy/sim/detection $(DETECTIONFLAGS)
