# fleeting-plugin-digitalocean. `make help` lists the targets.

VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null | sed 's/^v//')
REVISION  ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null)
REFERENCE ?= $(shell git rev-parse --abbrev-ref HEAD 2>/dev/null)
BUILT_AT  ?= $(shell git log -1 --format=%cI 2>/dev/null)
PKG       := gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider
LDFLAGS   := -s -w -X $(PKG).version=$(VERSION) -X $(PKG).revision=$(REVISION) -X $(PKG).reference=$(REFERENCE) -X $(PKG).builtAt=$(BUILT_AT)
PLUGIN    := bin/fleeting-plugin-digitalocean
LINT      := bin/golangci-lint
# Of the linter, which is no dependency of the module: it is built where it is missing.
LINT_VERSION := v2.15.0

.PHONY: help build demo test lint verify soak mutants bench fleet live clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build the plugin into bin/
	@CGO_ENABLED=0 go build -trimpath -ldflags "$(LDFLAGS)" -o $(PLUGIN) ./cmd/fleeting-plugin-digitalocean

demo: build ## watch the plugin scale a simulated DigitalOcean, with real jobs over SSH
	go run ./cmd/demo -plugin $(PLUGIN)

test: ## run all tests, with the race detector
	go test -race -parallel 16 ./...

lint: $(LINT) ## check style, imports and formatting
	$(LINT) run ./...

verify: ## run the heavier checks: every platform's build, repeated tests, fuzzing, the demo
	./.ci/verify

mutants: ## show that the tests can fail: break each promise, and see them notice
	./.ci/mutants

soak: ## drive the plugin through 10,000 random histories
	go test -race -count=1 -timeout 60m -run TestAnythingThroughTheProvisioner ./provider -rapid.checks=10000

bench: build ## measure the numbers that the docs name
	go run ./cmd/bench -plugin $(PLUGIN)

fleet: ## measure fleets of up to 5,000 Droplets for hours of virtual time: 10 minutes
	@mkdir -p build
	FLEET_RESULTS=$(CURDIR)/build/fleet.json go test -v -count=1 -timeout 60m -run TestFleet ./provider

live: ## run upstream's suite on a real account: up to 3 Droplets, DIGITALOCEAN_LIVE_TOKEN
	go test -race -v -count=1 -run TestLive ./integration

clean: ## remove what was built
	rm -rf bin build

$(LINT):
	GOBIN=$(CURDIR)/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
