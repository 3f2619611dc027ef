# make demo   see it trade          make test   everything that CI runs
# make check  format, lints, layers, licences          make bench  the benchmarks          make soak  the long crash test

CARGO ?= cargo
DENY_VERSION := 0.20.2
TOOLS := $(CURDIR)/target/tools

.PHONY: demo test check fmt clippy layers deny bench soak

demo:
	$(CARGO) run --release -- demo

test: check
	$(CARGO) build --bins
	$(CARGO) nextest run --workspace

check: fmt clippy layers deny

fmt:
	$(CARGO) fmt --all -- --check

clippy:
	$(CARGO) clippy --workspace --all-targets -- -D warnings

# Cargo forbids cycles between the packages; this also keeps clocks, sockets and async out of the core.
layers:
	scripts/check-layers

deny:
	@command -v cargo-deny >/dev/null 2>&1 || [ -x $(TOOLS)/bin/cargo-deny ] || \
	  $(CARGO) install --locked --debug --version $(DENY_VERSION) --root $(TOOLS) cargo-deny
	PATH="$(TOOLS)/bin:$$PATH" $(CARGO) deny --log-level error check licenses bans sources

bench:
	$(CARGO) bench

soak:
	$(CARGO) build --bins
	QCAT_KILLS=1000 QCAT_KILL_WORKERS=16 $(CARGO) nextest run --no-capture --test kill
