# pfxhttp. `make demo` shows it at work, `make test` tests everything, `make bench` measures it,
# `make deb` and `make install` put it into place.

CARGO  ?= cargo
BROKER := target/release/pfxhttp-broker
CLIENT := target/release/pfxhttp-client

# Where `make install` puts things, below DESTDIR. The configuration is in /etc in any case.
DESTDIR    ?=
PREFIX     ?= /usr
SYSCONFDIR ?= /etc
SBIN       := $(DESTDIR)$(PREFIX)/sbin
LIBEXEC    := $(DESTDIR)$(PREFIX)/libexec/pfxhttp
UNITS      := $(DESTDIR)$(PREFIX)/lib/systemd/system
DOC        := $(DESTDIR)$(PREFIX)/share/doc/pfxhttp
MAN        := $(DESTDIR)$(PREFIX)/share/man
ETC        := $(DESTDIR)$(SYSCONFDIR)
# A text with the places of this installation in it: $(call place,FROM,TO).
place = sed -E 's,/usr/(lib|libexec|sbin|share)/,$(PREFIX)/\1/,g' $(1) >$(2) && chmod 644 $(2)
# The tree that packages are made of.
STAGED     := target/staged

# Debian packages that the tests drive: the real Postfix, a real proxy, programs that log in, and
# what checks manuals and units.
PACKAGES := postfix tinyproxy swaks curl dovecot-core mandoc systemd
# promtool, which checks the metrics; its server is not started.
PACKAGES += prometheus
# npm, unless it came by another way; it runs on node, and so does the identity provider.
PACKAGES += $(if $(shell command -v npm),,npm)

# What the bench measures against, and its backend; strace counts system calls.
BENCH_PACKAGES := haproxy nginx-light strace
BENCH := target/release/pfxhttp-bench
RELAY := target/bench-relay

# The identity provider of the tests, with the versions of its package-lock.json.
PROVIDER := tests/peers/oidc
MODULES  := $(PROVIDER)/node_modules/.package-lock.json

.PHONY: build demo test bench check packages provider install staged deb rpm test-package completions clean
.PHONY: cargo-deb cargo-generate-rpm
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

# Some minutes on an idle machine; benches/README.md has its options and how to read it.
bench: build
	@contrib/test-packages $(BENCH_PACKAGES)
	$(CC) -static -O2 -Wall -Wextra -o $(RELAY) benches/relay.c
	$(CARGO) build --release --locked --features client --bin pfxhttp-bench
	@$(BENCH)

# What a commit must pass besides the tests.
check:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets --features client -- -D warnings
	$(CARGO) clippy --locked --no-default-features --features client --bins --lib -- -D warnings
	CARGO="$(CARGO)" contrib/check-dependencies
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items --features client

packages:
	@contrib/test-packages $(PACKAGES)
	@contrib/test-mail-peers

provider: $(MODULES)

$(MODULES): $(PROVIDER)/package.json $(PROVIDER)/package-lock.json | packages
	@$(PROVIDER)/install

# Installs what `make` built, so that root need not build. A configuration that is there stays; no
# user is made and nothing is started: contrib/after-install says how, where this is no package.
install:
	@[ -x $(BROKER) ] && [ -x $(CLIENT) ] || { echo "Nothing is built yet: run make first." >&2; exit 1; }
	install -D -s -m 755 $(BROKER) $(SBIN)/pfxhttp-broker
	install -D -m 755 $(CLIENT) $(LIBEXEC)/pfxhttp-client
	install -d -m 755 $(UNITS) $(DOC) $(MAN)/man5 $(MAN)/man8 $(ETC)
	install -d -m 750 $(ETC)/pfxhttp
	for unit in pfxhttp.service pfxhttp.socket pfxhttp-postfix@.socket; do \
	    $(call place,contrib/systemd/$$unit,$(UNITS)/$$unit) || exit 1; \
	done
	install -D -m 644 contrib/systemd/sysusers.conf $(DESTDIR)$(PREFIX)/lib/sysusers.d/pfxhttp.conf
	install -D -m 644 contrib/systemd/tmpfiles.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/pfxhttp.conf
	[ -e $(ETC)/pfxhttp/pfxhttp.yml ] || install -m 640 contrib/pfxhttp.yml $(ETC)/pfxhttp/pfxhttp.yml
	[ -e $(ETC)/default/pfxhttp ] || install -D -m 644 contrib/pfxhttp.default $(ETC)/default/pfxhttp
	install -m 644 README.md LICENSE contrib/pfxhttp.example.yml pfxhttp.schema.json $(DOC)
	install -m 644 contrib/grafana/pfxhttp.json $(DOC)/grafana.json
	install -m 644 contrib/prometheus/pfxhttp.rules.yml $(DOC)/prometheus.rules.yml
	install -m 644 contrib/fail2ban/pfxhttp.conf $(DOC)/fail2ban-filter.conf
	$(call place,master.cf.example,$(DOC)/master.cf.example)
	for page in man5/pfxhttp.yml.5 man8/pfxhttp.8 man8/pfxhttp-broker.8 man8/pfxhttp-client.8; do \
	    $(call place,man/$${page#*/},$(MAN)/$$page) || exit 1; \
	done
	install -D -m 644 contrib/completions/pfxhttp-broker.bash \
	    $(DESTDIR)$(PREFIX)/share/bash-completion/completions/pfxhttp-broker
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions contrib/completions/_pfxhttp-broker
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d \
	    contrib/completions/pfxhttp-broker.fish
	@[ -n "$(DESTDIR)" ] || sed '/^#/d' contrib/after-install

# The same for a package, from nothing.
staged: build
	rm -rf $(STAGED)
	$(MAKE) install DESTDIR=$(STAGED) PREFIX=/usr SYSCONFDIR=/etc

# Metadata, and what happens at installation, are in Cargo.toml and contrib/debian. cargo-deb warns
# "Failed to find dependency specification" of the client, rightly: it is static, and has none.
deb: cargo-deb staged
	$(CARGO) deb --locked --no-build --no-strip --output target/debian/
	@ls target/debian/pfxhttp_*.deb

rpm: cargo-generate-rpm staged
	gzip -9n $(STAGED)/usr/share/man/man*/*.[58]
	$(CARGO) generate-rpm
	@ls target/generate-rpm/pfxhttp-*.rpm

cargo-deb cargo-generate-rpm:
	@command -v $@ >/dev/null || { echo "This needs $@: cargo install --locked $@" >&2; exit 1; }

# By hand, as root: a Debian of its own takes minutes and some hundred megabytes below /tmp.
test-package: deb
	@contrib/test-package
	@contrib/test-systemd bookworm trixie

# After a change of the broker's command line.
completions:
	UPDATE_COMPLETIONS=1 $(CARGO) test --locked --test integration completions

clean:
	$(CARGO) clean
