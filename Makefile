# fleeting-plugin-digitalocean. `make help` lists the targets.

VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null | sed 's/^v//')
REVISION  ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null)
# The tag where there is one: a release is built the same in CI and by whoever checks it out.
REFERENCE ?= $(shell git describe --tags --exact-match 2>/dev/null || git rev-parse --abbrev-ref HEAD 2>/dev/null)
BUILT_AT  ?= $(shell git log -1 --format=%cI 2>/dev/null)
PKG       := gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider
LDFLAGS   := -s -w -X $(PKG).version=$(VERSION) -X $(PKG).revision=$(REVISION) -X $(PKG).reference=$(REFERENCE) -X $(PKG).builtAt=$(BUILT_AT)
# gRPC's own tag for leaving out its traces, whose HTML templates are half a MiB.
TAGS      := grpcnotrace
PLUGIN    := bin/fleeting-plugin-digitalocean
LINT      := bin/golangci-lint
# Of the linter, which is no dependency of the module: it is built where it is missing.
# renovate: github.com/golangci/golangci-lint/v2
LINT_VERSION := v2.15.0
# renovate: github.com/go-gremlins/gremlins
GREMLINS_VERSION := v0.6.0
# It fails below what CONTRIBUTING.md says. Not with --test-cpu, which v0.6.0 passes on as a flag
# that no test knows: then every mutant counts as killed.
GREMLINS  := --workers 2 --timeout-coefficient 20 --output-statuses l --threshold-efficacy 70

.PHONY: help build demo test docs lint verify soak mutants bench runner-test live clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build the plugin into bin/
	@CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags $(TAGS) -ldflags "$(LDFLAGS)" -o $(PLUGIN) ./cmd/fleeting-plugin-digitalocean

demo: ## watch the plugin scale a simulated DigitalOcean, with real jobs
	@echo "building: the first time takes minutes"
	@$(MAKE) -s build
	@CGO_ENABLED=0 go run -trimpath -tags $(TAGS) ./cmd/demo -plugin $(PLUGIN)

# Without vet, which is lint's. More packages at once than processors, since some wait for other processes.
test: ## run the tests, with the race detector; make verify has those that take long
	go test -race -vet=off -ldflags=-w -p 6 -parallel 16 ./...

docs: ## write what the docs have from the code and from measurements; run their commands, and list which cannot be run
	go test -run TestReference$$ ./provider/config -update
	TUNING=1 go test -run TestTuning ./provider -update
	go run ./cmd/fleeting-plugin-digitalocean plan --example --svg docs/plan.svg >/dev/null
	TZ=UTC go run ./cmd/fleeting-plugin-digitalocean report --example --by project --svg docs/report.svg >/dev/null
	TEST_LONG=1 go test -race -count=1 -v -run 'TestLogRe|TestCommandsInDocs' ./integration -update

lint: $(LINT) ## check style, imports and formatting
	$(LINT) run ./...

verify: ## run the heavier checks: a release, repeated tests, fuzzing, the demo
	./.ci/verify

mutants: bin/gremlins ## show that the tests can fail: change the code in a thousand places, and count what they notice
	@for p in ./instancegroup ./provider/digitalocean; do echo "$$p"; GOFLAGS=-count=1 GOMAXPROCS=1 bin/gremlins unleash $(GREMLINS) $$p || exit; done

soak: ## drive the plugin through 10,000 random histories
	go test -race -count=1 -v -timeout 3h -run TestAnythingThroughTheProvisioner ./provider -rapid.checks=10000 # near a timeout rapid does fewer

bench: build ## measure what the docs claim, and write docs/performance.md: 12 minutes
	go run ./cmd/bench -plugin $(PLUGIN) -out docs/performance.md

runner-test: $(GITLAB_RUNNER) $(GITLAB_RUNNER_OLD) ## run the plugin with a real runner: GITLAB_RUNNER, and GITLAB_RUNNER_OLD to upgrade from
	@[ -n "$(GITLAB_RUNNER)" ] || { echo "not run: GITLAB_RUNNER=/path/to/gitlab-runner make runner-test"; exit 0; }; \
		GITLAB_RUNNER="$(abspath $(GITLAB_RUNNER))" GITLAB_RUNNER_OLD="$(abspath $(GITLAB_RUNNER_OLD))" \
		go test -count=1 -v -timeout 30m -run TestRunner$$ ./integration/runner

# The one of the official image, such as build/gitlab-runner-v18.6.6.
build/gitlab-runner-%:
	mkdir -p build && go tool crane export gitlab/gitlab-runner:$* - | tar -xO usr/bin/gitlab-runner >$@.new && chmod +x $@.new && mv $@.new $@

live: ## run upstream's suite on a real account: up to 3 Droplets, DIGITALOCEAN_LIVE_TOKEN
	go test -race -v -count=1 -run TestLive ./integration

clean: ## remove what was built
	rm -rf bin build dist

$(LINT):
	GOBIN=$(CURDIR)/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)

bin/gremlins:
	GOBIN=$(CURDIR)/bin go install github.com/go-gremlins/gremlins/cmd/gremlins@$(GREMLINS_VERSION)

# ---- Releases: .goreleaser.yaml says what one consists of, .gitlab-ci.yml calls these.

# Where to. A fork has its own.
REGISTRY  := registry.gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean
NOTICE    := NOTICE
# renovate: github.com/goreleaser/goreleaser/v2
GORELEASER_VERSION := v2.15.1
# renovate: github.com/sigstore/cosign/v3
COSIGN_VERSION := v3.1.3
# What goreleaser is told, and where it finds the tools that it calls. The same stamp makes the same bytes.
STAMP      = PATH="$(CURDIR)/bin:$$PATH" VERSION="$(VERSION)" TAGS="$(TAGS)" LDFLAGS="$(LDFLAGS)"

.PHONY: dist stamp notice release registry-login vulncheck openapi contract

dist: bin/goreleaser bin/cyclonedx-gomod ## build all that a release has into dist/, and publish nothing: VERSION=0.1.0
	$(STAMP) bin/goreleaser release --snapshot --clean --skip=sign

# Without a key: the certificate is made out to the pipeline. It can be repeated.
release: bin/goreleaser bin/cyclonedx-gomod bin/cosign ## build, sign and publish, in a job of GitLab CI: VERSION=0.1.0
	mkdir -p build && ./.ci/notes "$(VERSION)" >build/notes.md
	$(STAMP) bin/goreleaser release --clean --release-notes build/notes.md
	case "$(VERSION)" in *-*) ;; *) ./.ci/release-oci dist $(REGISTRY) $(VERSION) && \
		bin/cosign sign --yes --recursive $(REGISTRY):$(VERSION) ;; esac

registry-login: ## log in to a registry: CI_REGISTRY, CI_REGISTRY_USER, CI_REGISTRY_PASSWORD of a job of GitLab CI
	@printf %s "$$CI_REGISTRY_PASSWORD" | go tool fleeting-artifact login -username "$$CI_REGISTRY_USER" -password-stdin "$$CI_REGISTRY"

stamp: ## print what is written into the binaries, as arguments for make
	@echo "VERSION=$(VERSION) REVISION=$(REVISION) REFERENCE=$(REFERENCE) BUILT_AT=$(BUILT_AT)"

notice: bin/go-licenses ## write NOTICE: the licences of what is in the binary
	@mkdir -p build && ./.ci/notice >build/NOTICE.new && mv build/NOTICE.new $(NOTICE)

vulncheck: bin/govulncheck ## look for known vulnerabilities that the plugin's code reaches
	bin/govulncheck -tags $(TAGS) ./cmd/fleeting-plugin-digitalocean

# DigitalOcean's specification is no part of the project.
OPENAPI   := build/openapi/specification/DigitalOcean-public.v2.yaml

openapi: ## fetch DigitalOcean's specification into build/openapi
	test -f $(OPENAPI) || git clone --depth 1 https://github.com/digitalocean/openapi build/openapi

contract: ## hold simulator and plugin to DigitalOcean's specification: DIGITALOCEAN_OPENAPI, or make openapi
	DIGITALOCEAN_OPENAPI=$${DIGITALOCEAN_OPENAPI:-$(CURDIR)/$(OPENAPI)} go test -race -count=1 ./integration/dosim/... ./integration

# The tools of releases, pinned in a module of their own.
bin/govulncheck: .ci/tools/go.mod
	cd .ci/tools && go build -o ../../$@ golang.org/x/vuln/cmd/govulncheck

bin/goreleaser:
	GOBIN=$(CURDIR)/bin go install github.com/goreleaser/goreleaser/v2@$(GORELEASER_VERSION)

bin/cosign:
	GOBIN=$(CURDIR)/bin go install github.com/sigstore/cosign/v3/cmd/cosign@$(COSIGN_VERSION)

bin/cyclonedx-gomod: .ci/tools/go.mod
	cd .ci/tools && go build -o ../../$@ github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod

bin/go-licenses: .ci/tools/go.mod
	cd .ci/tools && go build -o ../../$@ github.com/google/go-licenses/v2
