# `make help` lists what there is to make.
#
# A C compiler and cargo must be there; everything else the tests need, they install themselves.

CARGO ?= cargo
# Where `make install` puts things; DESTDIR stands before all of it.
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
MANDIR ?= $(PREFIX)/share/man
DOCDIR ?= $(PREFIX)/share/doc/ringway
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
BASHDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR ?= $(PREFIX)/share/zsh/site-functions
FISHDIR ?= $(PREFIX)/share/fish/vendor_completions.d
DESTDIR ?=
# Passed on to `ringway demo` by `make run`, e.g. ARGS='--listen 127.0.0.1:9000', and by `make
# bench` to the benchmark, e.g. ARGS='--only bulk,close --pieces 5'.
ARGS ?=
# Seeds that `make sim` tries.
SEEDS ?= 10000
# Sessions that `make scale` holds, and further options, e.g. SCALE='--every 0 --hold 120'.
N ?= 100000
SCALE ?=
# How long `make fuzz` runs each target.
SECONDS ?= 60
# Minutes of `make soak`; a seed replays the draws of another run; an engine is passed on to ringway.
MINUTES ?= 10
SEED ?=
ENGINE ?=
TARGET := $(or $(CARGO_TARGET_DIR),target)
# Most integration tests wait for a socket most of the time.
RUST_TEST_THREADS ?= 4
export RUST_TEST_THREADS

.DEFAULT_GOAL := help
.PHONY: help run build test lint docs sim mutants loom fuzz deny bench bench-quick bench-core \
	scale soak soak-reload screenshot manual install uninstall deb tools

help: ## say what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

run: build ## build ringway and start its demo: four servers and ringway in front
	$(TARGET)/release/ringway demo $(ARGS)

build: tools ## build the optimised program
	$(CARGO) build --release --locked

test: tools ## install the real peers, then run every test, `it` on both engines
	tests/setup.sh
	$(CARGO) test --profile fast --locked
	RINGWAY_TEST_ENGINE=epoll $(CARGO) test --profile fast --locked --test it

lint: tools ## formatting, clippy and rustdoc, all without a warning; lock files as they should be
	$(CARGO) fmt --check
	$(CARGO) metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null
	$(CARGO) clippy --profile fast --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --profile fast --no-deps --locked

sim: tools ## SEEDS (10,000) seeds of the simulated kernel; SIM_SEED=17 replays one
	SIM_SEEDS=$(SEEDS) $(CARGO) test --profile fast --locked --test sim -- --nocapture

mutants: tools ## put bugs into a copy of the source, one at a time, and have each caught
	nice tests/mutants.py

loom: tools ## every interleaving of what all workers share
	RUSTFLAGS="--cfg ringway_loom" CARGO_TARGET_DIR=$(TARGET)/loom \
		$(CARGO) test --profile loom --locked --lib loom_tests

# Installs a cargo command of one version, built the quick way: it runs for seconds.
cargo_tool = "$(TARGET)/tools/bin/$(1)" --version 2>/dev/null | grep -qx '$(1) $(2)' || \
	CARGO_PROFILE_RELEASE_LTO=false CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
	CARGO_PROFILE_RELEASE_CODEGEN_UNITS=256 $(CARGO) install --quiet --locked --force \
	--version $(2) --root "$(TARGET)/tools" --target-dir "$(TARGET)/tools/build" $(1)

fuzz: tools ## every fuzz target for SECONDS (60), with what is needed installed first
	@$(call cargo_tool,cargo-fuzz,0.13.2)
	fuzz/run $(SECONDS)

deny: tools ## licences, bans and sources of all that ringway is built from (deny.toml)
	@$(call cargo_tool,cargo-deny,0.20.2)
	$(TARGET)/tools/bin/cargo-deny --locked check licenses bans sources

# The program is the one that is shipped; only the load generators are built the quick way.
FIELD = $(CARGO) bench --profile fast --locked --bench field -- --ringway $(TARGET)/release/ringway

docs: tools ## write the tables of docs/configuration.md from the schema
	RINGWAY_WRITE_DOCS=1 $(CARGO) test --profile fast --locked --test docs -- --quiet reference::

deb: manual ## a Debian package, into target/debian (installs cargo-deb, two minutes)
	@$(call cargo_tool,cargo-deb,3.8.0)
	@rm -rf $(TARGET)/debian
	@cp -r $(MANUAL)/man $(MANUAL)/gz && gzip -9nr $(MANUAL)/gz
	$(TARGET)/tools/bin/cargo-deb --no-build --strip --locked --quiet --output $(TARGET)/debian/

bench: build ## ringway beside nginx, HAProxy and tokio-uring, about 12 minutes; report in target/bench
	benches/setup.sh
	$(FIELD) $(ARGS)

bench-quick: build ## the same in about 2 minutes, with wider spreads
	benches/setup.sh
	$(FIELD) --quick $(ARGS)

bench-core: tools ## micro-benchmarks of what needs no kernel
	$(CARGO) bench --locked --bench core

scale: tools ## hold N sessions (100,000) through one process: memory, latency, ceiling
	$(CARGO) bench --locked --bench scale -- $(N) $(SCALE)

SOAK = $(CARGO) bench --profile fast --locked --bench soak -- \
	--ringway $(TARGET)/release/ringway $(if $(SEED),--seed $(SEED)) \
	$(if $(ENGINE),--engine $(ENGINE))

soak: build ## MINUTES (10) of every kind of load, reload and failure at once, all bytes checked
	tests/setup.sh
	$(SOAK) --minutes $(MINUTES)

soak-reload: build ## reload every 100 ms under 2,000 WebSockets and 1,000 new connections a second
	$(SOAK) --reload

PROGRAM = $(TARGET)/release/ringway
# Man pages and completions, made by the program itself.
MANUAL = $(TARGET)/release/manual

$(PROGRAM): Cargo.toml Cargo.lock $(shell find src -type f)
	@$(MAKE) --no-print-directory build
	@touch $@

screenshot: build ## docs/status-page.png and its dark twin, after five minutes of traffic
	tests/setup.sh
	node tests/node/screenshot.js --ringway=$(TARGET)/release/ringway --to=docs $(ARGS)

manual: $(PROGRAM) ## man pages and shell completions, into target/release/manual
	@rm -rf $(MANUAL)
	@$(PROGRAM) manual $(MANUAL)

# What is in the repository for /usr and /etc is for wherever it is installed.
PLACED = sed -e 's|/usr/bin/ringway|$(PREFIX)/bin/ringway|' -e 's|/etc/ringway|$(SYSCONFDIR)/ringway|'

install: manual ## program, manual, completions, units and examples; builds only what is not built
	install -D -m 755 $(PROGRAM) $(DESTDIR)$(PREFIX)/bin/ringway
	for page in $(MANUAL)/man/man*/*; do \
		install -D -m 644 $$page $(DESTDIR)$(MANDIR)/$${page#$(MANUAL)/man/} || exit; \
	done
	install -D -m 644 $(MANUAL)/bash/ringway $(DESTDIR)$(BASHDIR)/ringway
	install -D -m 644 $(MANUAL)/zsh/_ringway $(DESTDIR)$(ZSHDIR)/_ringway
	install -D -m 644 $(MANUAL)/fish/ringway.fish $(DESTDIR)$(FISHDIR)/ringway.fish
	install -d $(DESTDIR)$(UNITDIR) $(DESTDIR)$(DOCDIR)/examples \
		$(DESTDIR)$(DOCDIR)/docs
	for unit in ringway.service ringway.socket; do \
		$(PLACED) packaging/$$unit >$(DESTDIR)$(UNITDIR)/$$unit || exit; \
	done
	install -D -m 644 packaging/ringway.sysusers $(DESTDIR)$(SYSUSERSDIR)/ringway.conf
	install -D -m 644 packaging/ringway.logrotate $(DESTDIR)$(SYSCONFDIR)/logrotate.d/ringway
	install -m 644 configs/*.json configs/*.yml $(DESTDIR)$(DOCDIR)/examples/
	install -m 644 packaging/ringway.sysctl $(DESTDIR)$(DOCDIR)/examples/sysctl.conf
	install -m 644 README.md CHANGELOG.md LICENSE $(DESTDIR)$(DOCDIR)/
	install -m 644 docs/*.md $(DESTDIR)$(DOCDIR)/docs/
	[ -e $(DESTDIR)$(SYSCONFDIR)/ringway/ringway.json ] || \
		install -D -m 644 packaging/ringway.json $(DESTDIR)$(SYSCONFDIR)/ringway/ringway.json

uninstall: ## takes away what `make install` has put there; a changed configuration stays
	rm -f $(DESTDIR)$(PREFIX)/bin/ringway $(DESTDIR)$(MANDIR)/man1/ringway.1 \
		$(DESTDIR)$(MANDIR)/man1/ringway-*.1 $(DESTDIR)$(MANDIR)/man5/ringway.json.5 \
		$(DESTDIR)$(BASHDIR)/ringway $(DESTDIR)$(ZSHDIR)/_ringway \
		$(DESTDIR)$(FISHDIR)/ringway.fish $(DESTDIR)$(UNITDIR)/ringway.service \
		$(DESTDIR)$(UNITDIR)/ringway.socket $(DESTDIR)$(SYSUSERSDIR)/ringway.conf \
		$(DESTDIR)$(SYSCONFDIR)/logrotate.d/ringway
	rm -rf $(DESTDIR)$(DOCDIR)
	if cmp -s packaging/ringway.json $(DESTDIR)$(SYSCONFDIR)/ringway/ringway.json; then \
		rm $(DESTDIR)$(SYSCONFDIR)/ringway/ringway.json; \
		rmdir --ignore-fail-on-non-empty $(DESTDIR)$(SYSCONFDIR)/ringway; \
	fi

tools:
	@command -v $(CARGO) >/dev/null || { \
		echo "cargo is missing: install Rust with rustup (https://rustup.rs)" >&2; exit 1; }
	@command -v cc >/dev/null || { \
		echo "a C compiler is missing: apt-get install build-essential" >&2; exit 1; }
