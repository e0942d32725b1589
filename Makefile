# pfxhttp. `make demo` shows it at work, `make test` tests everything.

CARGO  ?= cargo
BROKER := target/release/pfxhttp-broker
CLIENT := target/release/pfxhttp-client

# Debian packages that the tests drive: the real Postfix, a real proxy, programs that log in.
PACKAGES := postfix tinyproxy swaks curl dovecot-core
# promtool, which checks the metrics; its server is not started.
PACKAGES += prometheus
# npm, unless it came by another way; it runs on node, and so does the identity provider.
PACKAGES += $(if $(shell command -v npm),,npm)

# The identity provider of the tests, with the versions of its package-lock.json.
PROVIDER := tests/peers/oidc
MODULES  := $(PROVIDER)/node_modules/.package-lock.json

.PHONY: build demo test check packages provider clean
.DEFAULT_GOAL := build

# Two builds of one package: the client is static, aborts on a panic and has few dependencies.
build:
	$(CARGO) build --release --locked --bin pfxhttp-broker
	$(CARGO) rustc --profile client --locked --no-default-features --features client \
	    --bin pfxhttp-client -- -C target-feature=+crt-static -C relocation-model=static
	install -m 755 target/client/pfxhttp-client $(CLIENT)

demo: build
	@$(BROKER) demo

# The tests of stdio and of Postfix run the client as it ships.
test: packages provider build
	$(CARGO) test --locked --features client

# What a commit must pass besides the tests.
check:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets --features client -- -D warnings
	$(CARGO) clippy --locked --no-default-features --features client --bins --lib -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items --features client

packages:
	@contrib/test-packages $(PACKAGES)

provider: $(MODULES)

$(MODULES): $(PROVIDER)/package.json $(PROVIDER)/package-lock.json | packages
	@$(PROVIDER)/install

clean:
	$(CARGO) clean
