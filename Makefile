# kro-hub: what people and the pipeline call. `make` alone says what there is.

SPOKES ?=
LOCAL ?=
# Steps of the storms of the machines in `make unit`.
STEPS ?= 25000
# Storms of each kind of the controller in `make storms`.
SEEDS ?= 100
QUICK ?=
ONLY ?=
TOOL ?=
RUNS ?=
MINUTES ?= 30
SEED ?=
INSTANCES ?=
DOCS ?=
IMAGE ?= kro-hub:0.1.0
IMAGE_TARGET ?= x86_64-unknown-linux-musl
CARGO ?= cargo
# Answers of other implementations, which tests compare with; they say so where there are none.
export KRO_HUB_CONFORMANCE ?= $(CURDIR)/../shared/conformance
# The two are built by one call: by two, their common dependencies would be built twice.
TESTENV = $(CARGO) run --quiet --locked --example testenv --

.DEFAULT_GOAL := help
.PHONY: help build test lint unit e2e storms long faults gitops soak deny chart kinds bench demo up down logs image

help: ## Say what there is
	@echo "kro-hub"
	@echo
	@sed -n 's/^\([a-z0-9]*\):.*## \(.*\)$$/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-16s %s\n", $$1, $$2}'
	@echo
	@echo "  SPOKES=n  spokes of \`make up\` (2; a second call with more adds them), and of the fleets of \`make bench\`"
	@echo "  LOCAL=1   \`make up\`: the hub may run instances too"
	@echo "  QUICK=1   \`make bench\`: one run, few instances, under five minutes; and only what is short"
	@echo "  ONLY=a,b  \`make bench\`: some of kro, kro-tuned, local, fail, adopt, replay, fleet, crds,"
	@echo "            memory, overloaded, idle-spokes, isolation, fleet-1000, rollout, people"
	@echo "  MINUTES=n \`make soak\`: how long it lasts (30); SEED=n repeats what happens in it"
	@echo "  RUNS=n    \`make bench\`: runs of each (5)"
	@echo "  INSTANCES=n  \`make bench\`: so many at once, and no other batch"
	@echo "  DOCS=1    \`make bench\`: write docs/performance.md anew"
	@echo "  IMAGE=name:tag  \`make image\`: what the image is called where it is loaded (kro-hub:0.1.0)"
	@echo
	@echo "The first run builds the Kubernetes programs it starts, from Go modules: about nine minutes on two"
	@echo "cores, once. They are kept in ~/.cache/kro-hub."

build: ## Build the controller
	$(CARGO) build --locked --bin kro-hub --example testenv

demo: build ## Show the whole journey: a hub, two spokes, one definition, two instances (temporary)
	@$(TESTENV) demo

up: build ## Start a hub and spokes in the background, registered and ready
	@$(TESTENV) up --spokes $(or $(SPOKES),2) $(if $(filter-out 0 false no,$(LOCAL)),--local)

down: ## End what `make up` started, and remove its data
	@$(TESTENV) down

logs: ## Follow the controller's log of `make up`
	@$(TESTENV) logs

# With one compiler, the same sources give the same bytes wherever they lie: no path of the builder is in them.
# Where cargo-auditable is installed, the list of crates stands in the binary too, for scanners.
image: BUILT = $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
image: REMAP = --remap-path-prefix=$(BUILT)=/target --remap-path-prefix=$(CURDIR)=/kro-hub \
  --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=/cargo
image: AUDITABLE = $(if $(shell command -v cargo-auditable),auditable)
image: ## Pack the static binary into an image for docker, podman and skopeo, with its SBOM; needs musl-gcc, no daemon
	rustup target add $(IMAGE_TARGET)
	RUSTFLAGS="$(RUSTFLAGS) $(REMAP)" $(CARGO) $(AUDITABLE) build --locked --release --target $(IMAGE_TARGET) --bin kro-hub
	$(CARGO) run --quiet --locked -p kro-hub-image -- --binary $(BUILT)/$(IMAGE_TARGET)/release/kro-hub \
	  --target $(IMAGE_TARGET) --name $(IMAGE) --out $(BUILT)/image

chart: ## Copy into deploy/chart what it has of deploy/base and deploy/crds
	mkdir -p deploy/chart/files/crds
	cp deploy/base/cluster-role.yaml deploy/base/user-roles.yaml deploy/chart/files/
	cp deploy/crds/*.kro.run.yaml deploy/chart/files/crds/

kinds: ## Write anew the kinds built into `kro-hub validate`, from the cluster of KUBECONFIG
	$(CARGO) run --quiet --locked --bin kro-hub -- kinds-file src/cli/validate/kubernetes.json.zlib

test: lint unit e2e ## Everything the pipeline checks

lint: ## Format, clippy, links of the documentation, and the rules for dependencies where cargo-deny is installed
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" \
	  $(CARGO) doc --locked --no-deps --lib --document-private-items --quiet
	@if command -v cargo-deny >/dev/null 2>&1; then $(MAKE) --no-print-directory deny; \
	else echo "cargo-deny is not installed: the rules of deny.toml are not checked"; fi

deny: ## Licences, sources and duplicates of dependencies
	cargo deny --locked check bans licenses sources

unit: ## Unit tests and specifications; no cluster
	KRO_HUB_STEPS=$(STEPS) $(CARGO) test --locked --workspace --lib --bins --test spec

storms: ## A million steps of the machines, and SEEDS=n storms of the controller and of a fleet that is steered
	KRO_HUB_STEPS=1000000 $(CARGO) test --locked --lib -- after_any_storm_all_is_as_wanted a_rollout_keeps_its_laws
	KRO_HUB_SEED=1000 KRO_HUB_SEEDS=$(SEEDS) $(CARGO) test --locked --lib -- --nocapture \
	  after_any_storm_everything_is_as_users_said a_fleet_that_is_steered

e2e: ## Tests on real API servers
	$(CARGO) test --locked --test e2e

# Those of fleets run on the simulator.
long: ## Tests that take minutes: kills at every step, simulated fleets, clusters that are lost for long
	$(CARGO) build --locked --workspace --bin kro-hub --example kro-hub-fleet-sim
	$(CARGO) test --locked --test e2e -- --ignored --skip scenarios:: --skip gitops:: --skip soak::

# The lane is the table of docs/testing.md.
faults: ## The twenty-five scenarios that a hub must survive, and the proxy that they are made with
	$(CARGO) build --locked --workspace --bin kro-hub --example kro-hub-fleet-sim
	KRO_HUB_E2E_LANE=faults $(CARGO) test --locked --test e2e -- --nocapture

gitops: ## The real Flux and Argo CD sync examples/gitops: TOOL=flux or argocd for one of them; needs git and redis-server
	$(CARGO) build --locked --bin kro-hub
	KRO_HUB_E2E_LANE=gitops $(CARGO) test --locked --test e2e -- --nocapture gitops::$(TOOL)

soak: ## MINUTES=30 of edits, outages, rotations and restarts on thirty spokes, and a thousand rotations: nothing is left of them
	$(CARGO) build --locked --workspace --bin kro-hub --example kro-hub-fleet-sim
	KRO_HUB_SOAK_MINUTES=$(MINUTES) KRO_HUB_SEED=$(SEED) KRO_HUB_E2E_LANE=soak \
	  $(CARGO) test --locked --test e2e -- --nocapture soak::

# Both in release: the replay is a benchmark of the client as much as the controller is.
bench: ## Measure kro-hub beside kro on real API servers
	$(CARGO) build --locked --release --workspace --bin kro-hub --example testenv --example kro-hub-fleet-sim
	@$(CARGO) run --quiet --locked --release --example testenv -- bench $(if $(filter-out 0 false no,$(QUICK)),--quick) \
	  $(if $(ONLY),--only $(ONLY)) $(if $(RUNS),--runs $(RUNS)) $(if $(INSTANCES),--instances $(INSTANCES)) \
	  $(if $(SPOKES),--spokes $(SPOKES)) $(if $(filter-out 0 false no,$(DOCS)),--docs)
