# pfxhttp. `make demo` shows pfxhttp at work, `make test` tests everything, `make bench` measures it,
# `make deb` makes a package, `make install` installs it, `make docs` makes the book.

CARGO  ?= cargo
BROKER := target/release/pfxhttp-broker
CLIENT := target/release/pfxhttp-client

# The directories of `make install`, below DESTDIR. The configuration is always in /etc.
DESTDIR    ?=
PREFIX     ?= /usr
SYSCONFDIR ?= /etc
SBIN       := $(DESTDIR)$(PREFIX)/sbin
LIBEXEC    := $(DESTDIR)$(PREFIX)/libexec/pfxhttp
UNITS      := $(DESTDIR)$(PREFIX)/lib/systemd/system
DOC        := $(DESTDIR)$(PREFIX)/share/doc/pfxhttp
MAN        := $(DESTDIR)$(PREFIX)/share/man
ETC        := $(DESTDIR)$(SYSCONFDIR)
# Copies a text with the paths of this installation: $(call place,FROM,TO).
place = sed -E 's,/usr/(lib|libexec|sbin|share)/,$(PREFIX)/\1/,g' $(1) >$(2) && chmod 644 $(2)
# The tree from which packages are made, and the files of a release.
STAGED     := target/staged
DIST       := target/dist
VERSION    := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

# Debian packages for the tests: the real Postfix, a real proxy, programs that log in, and programs
# that check manuals and units.
PACKAGES := postfix tinyproxy swaks curl dovecot-core mandoc systemd
# For promtool, which checks the metrics; the server is not started.
PACKAGES += prometheus
# The server that brokers share; the tests start it, and no service does.
PACKAGES += redis-server
# The sample APIs of the book, and the machine in which its commands run.
PACKAGES += python3 php-cli libnet-ssleay-perl
# The gRPC service of the tests.
PACKAGES += python3-venv
# npm, unless it is installed already; npm and the identity provider run on node.
PACKAGES += $(if $(shell command -v npm),,npm)

# The proxy with which the bench compares, its backend, what makes an answer of the backend slow and its certificate,
# and the shared cache; strace counts system calls.
BENCH_PACKAGES := haproxy nginx-light libnginx-mod-http-echo openssl redis-server strace
# A browser, what reduces its screenshots, and what sets up its network of loopback alone.
PICTURE_PACKAGES := chromium chromium-driver pngquant iproute2
BENCH := target/release/pfxhttp-bench
RELAY := target/bench-relay

# The same sources give the same programs in every directory: source paths, which stand in messages of
# panics and in debug information, begin with /usr/src. Other flags of the environment are kept.
CARGO_HOME ?= $(HOME)/.cargo
SOURCES    := $(CURDIR)=/usr/src/pfxhttp $(CARGO_HOME)=/usr/src/cargo
build bench pgo soak: export RUSTFLAGS := $(strip $(RUSTFLAGS) $(addprefix --remap-path-prefix=,$(SOURCES)))
build bench pgo soak: export CFLAGS := $(strip $(CFLAGS) $(addprefix -ffile-prefix-map=,$(SOURCES)))
# The time in programs (mimalloc has that of its build), packages and the image: that of the last commit.
build bench pgo soak deb rpm image sbom: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.lock)

# The identity provider of the tests, in the versions of its package-lock.json.
PROVIDER := tests/peers/oidc
MODULES  := $(PROVIDER)/node_modules/.package-lock.json

# The gRPC service of the tests, in the versions of its requirements.txt.
GRPC_PEER := tests/peers/grpc
VENV      := $(GRPC_PEER)/venv/installed

.PHONY: build demo test faults bench pgo check packages provider grpc-peer install staged deb rpm
.PHONY: test-package compat
.PHONY: completions reference clean docs test-docs test-page cargo-deb cargo-generate-rpm
.PHONY: test-reproducible image test-image pictures sbom dist fuzz soak mutants
.DEFAULT_GOAL := build

# Two builds of one package: the client is static, aborts on a panic and has few dependencies.
build:
	$(CARGO) build --release --locked --bin pfxhttp-broker
	$(CARGO) rustc --profile client --locked --no-default-features --features client \
	    --bin pfxhttp-client -- -C target-feature=+crt-static -C relocation-model=static
	install -m 755 target/client/pfxhttp-client $(CLIENT)

demo: build
	@$(BROKER) demo

# The tests of stdio and of Postfix run the client of the release build.
test: packages provider grpc-peer build
	$(CARGO) test --locked --features client

# The book, in target/docs/index.html.
docs:
	@command -v mdbook >/dev/null || { echo "This needs mdbook: cargo install --locked mdbook" >&2; exit 1; }
	@mkdir -p target
	@mdbook build docs >target/docs.log 2>&1; cat target/docs.log; ! grep -E "WARN|ERROR" target/docs.log >/dev/null

# Run it by hand, as root: the sample API in Go (golang-go takes 400 MB), and all other tests of the documentation.
test-docs: packages build
	@contrib/test-packages golang-go
	$(CARGO) test --locked --features client --test integration -- --include-ignored docs_

# Run it by hand, as root: all rows of the fault matrix, also those that take long. It writes docs/src/faults.md.
FAULTS := $(CURDIR)/target/faults
PLAY := PFXHTTP_TEST_FAULTS=$(FAULTS) $(CARGO) test --locked --features client --test faults -- --include-ignored
# Rows that measure, or that load the machine, have it for themselves.
MEASURE := row_42 row_chaos row_recovery row_overload row_bulkhead row_amplification
faults: packages build
	@contrib/test-packages faketime
	@rm -rf $(FAULTS) && mkdir -p $(FAULTS)
	-$(PLAY) --test-threads=2 row_ $(addprefix --skip ,$(MEASURE))
	-$(PLAY) --test-threads=1 $(MEASURE)
	@$(PLAY) --nocapture --exact page::the_page

# Run it by hand: ten million lookups of all kinds (SOAK=1000000: a million) through the release build, a quarter of
# an hour or more, after a build of the tests with optimisation.
SOAK ?= 10000000
soak: build
	PFXHTTP_CLIENT=$(CURDIR)/target/client/pfxhttp-client PFXHTTP_TEST_SOAK=$(SOAK) \
	    $(CARGO) test --release --locked --features client --test faults -- --ignored --nocapture soak::
	install -m 755 target/client/pfxhttp-client $(CLIENT)

# Takes some minutes on an idle machine; benches/README.md describes the options and the report.
bench: build
	@contrib/test-packages $(BENCH_PACKAGES)
	$(CC) -static -O2 -Wall -Wextra -o $(RELAY) benches/relay.c
	$(CARGO) build --release --locked --features client --bin pfxhttp-bench
	@$(BENCH)

# Run it by hand, after `make bench`: a broker that is optimised for the lookups of the bench, in target/pgo.
pgo:
	CARGO="$(CARGO)" contrib/pgo

# Runs each fuzz target for SECONDS (FUZZ="policy login": those alone); fuzz/README.md describes them. It needs a C++ compiler.
SECONDS ?= 60
fuzz:
	@CARGO="$(CARGO)" fuzz/run $(SECONDS) $(FUZZ)

# Run it by hand: mutation tests of one file, with the tests of its room (MUTANTS_TESTS= runs all of the library).
# The results are in target/mutants.out.
MUTANTS ?= src/wire/socketmap.rs
MUTANTS_TESTS ?= $(word 2,$(subst /, ,$(MUTANTS)))::
mutants: export CARGO_TARGET_DIR ?= $(CURDIR)/target/mutants
mutants: export PFXHTTP_ORACLE_ANSWERS ?= 2000
mutants: export PROPTEST_DISABLE_FAILURE_PERSISTENCE = 1
mutants:
	@command -v cargo-mutants >/dev/null || \
	    { echo "This needs cargo-mutants: cargo install --locked cargo-mutants" >&2; exit 1; }
	@mkdir -p target
	$(CARGO) mutants --output target --re '^$(MUTANTS)' -- $(MUTANTS_TESTS)

# The checks that a commit must pass in addition to the tests.
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

grpc-peer: $(VENV)

$(VENV): $(GRPC_PEER)/requirements.txt $(GRPC_PEER)/install | packages
	@$(GRPC_PEER)/install

# Installs the programs that `make` has built, so that root need not build. It keeps an existing
# configuration, makes no users and starts nothing; outside of a package it prints how to do so
# (contrib/after-install).
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
	find ARCHITECTURE.md docs/src docs/samples -type f | while read -r page; do \
	    install -D -m 644 $$page $(DOC)/$$page || exit 1; \
	done
	for page in man5/pfxhttp.yml.5 man8/pfxhttp.8 man8/pfxhttp-broker.8 man8/pfxhttp-client.8; do \
	    $(call place,man/$${page#*/},$(MAN)/$$page) || exit 1; \
	done
	install -D -m 644 contrib/completions/pfxhttp-broker.bash \
	    $(DESTDIR)$(PREFIX)/share/bash-completion/completions/pfxhttp-broker
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions contrib/completions/_pfxhttp-broker
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d \
	    contrib/completions/pfxhttp-broker.fish
	@[ -n "$(DESTDIR)" ] || sed '/^#/d' contrib/after-install

# The same for a package, into an empty tree.
staged: build
	rm -rf $(STAGED)
	$(MAKE) install DESTDIR=$(STAGED) PREFIX=/usr SYSCONFDIR=/etc

# Metadata are in Cargo.toml, installation scripts in contrib/debian. cargo-deb warns "Failed to find
# dependency specification" for the client, rightly: it is static, and has no dependencies.
deb: cargo-deb staged
	$(CARGO) deb --locked --no-build --no-strip --output target/debian/
	@ls target/debian/pfxhttp_*.deb

rpm: cargo-generate-rpm staged
	gzip -9n $(STAGED)/usr/share/man/man*/*.[58]
	$(CARGO) generate-rpm
	@ls target/generate-rpm/pfxhttp-*.rpm

cargo-deb cargo-generate-rpm:
	@command -v $@ >/dev/null || { echo "This needs $@: cargo install --locked $@" >&2; exit 1; }

# Run it by hand, as root: it makes a Debian, which takes minutes and some hundred megabytes in /tmp.
test-package: deb
	@contrib/test-package
	@contrib/test-systemd bookworm trixie

# Run it by hand, as root: mail servers of three Debians, systemd and the package. It writes docs/src/compatibility.md;
# tests/compat/README.md has what it needs. `make compat COMPAT="--part exim trixie"` plays a part.
compat: deb
	@tests/compat/run $(COMPAT)

# Run it by hand: the status page in a real browser. Its screenshots are in target/page; PAGE_SECONDS is how long
# requests are made before them (the charts of the page show ten minutes).
test-page:
	@command -v chromium chromedriver >/dev/null || \
	    { echo "This needs the Debian packages chromium and chromium-driver." >&2; exit 1; }
	$(CARGO) test --locked --features client --test integration status_browser -- --ignored
	@ls target/page/*.png

# Run it by hand, as root: the pictures of the documentation, in docs/src/pictures. The plot is made of target/bench.json,
# so run `make bench` before. It takes a quarter of an hour, because the charts show ten minutes. Look at the result.
pictures: export PAGE_SECONDS ?= 600
pictures:
	@[ -e target/bench.json ] || { echo "This needs the results of make bench, in target/bench.json." >&2; exit 1; }
	@contrib/test-packages $(PICTURE_PACKAGES)
	@mkdir -p docs/src/pictures
	$(CARGO) test --locked --features client --test integration pictures:: -- --ignored --test-threads=1
	@ls -l docs/src/pictures

# The image of the broker, an archive for `podman load` or `docker load`; no daemon is needed.
image: build
	@contrib/test-packages buildah mmdebstrap binutils
	@contrib/container/build-image

# Run it by hand, as root.
test-image: image
	@contrib/test-image

# What is in both programs, as CycloneDX in JSON, in target/sbom.
sbom:
	@CARGO="$(CARGO)" contrib/sbom

# All files of a release, with their checksums, in target/dist.
dist: deb rpm image sbom
	@rm -rf $(DIST) && mkdir -p $(DIST)
	cp -p target/debian/pfxhttp_$(VERSION)-*.deb target/generate-rpm/pfxhttp-$(VERSION)-*.rpm \
	    target/image/pfxhttp-$(VERSION)-*.tar target/sbom/*.cdx.json $(DIST)
	cd $(DIST) && sha256sum -- * >SHA256SUMS && cat SHA256SUMS

# Run it by hand: it builds everything twice, in two directories.
test-reproducible:
	CARGO="$(CARGO)" contrib/test-reproducible

# Run this after a change of the broker's command line.
completions:
	UPDATE_COMPLETIONS=1 $(CARGO) test --locked --test integration completions

# Run this after a change of pfxhttp.yml(5), the help, a metric or a log line: it writes the book's pages of them.
reference:
	UPDATE_BOOK=1 $(CARGO) test --locked --features client --test integration book_reference

clean:
	$(CARGO) clean
