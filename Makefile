# The two commands: make demo, make test. The crate xtask/ does the work; it writes nothing outside target/ but by `make
# install`. What it needs, tests/lib/prerequisites.sh installs by apt.
SHELL := /bin/bash
XTASK := tests/lib/xtask
export PG_CONFIG PG_MAJOR
.PHONY: help demo demo-stop test matrix check build install bench update-script prerequisites clean

help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1|\2/p' Makefile | awk -F '|' '{ printf "%-22s %s\n", $$1, $$2 }'
	@echo '  PG_CONFIG=/path/to/pg_config or PG_MAJOR=15…19 chooses the Postgres; by default the one that is there.'

demo: ## a private cluster and a sample provider; watch contacts being filled in
	@$(XTASK) demo

demo-stop: ## stop what make demo left running
	@$(XTASK) demo-stop

test: ## every suite, against clusters that it starts itself; SUITES="unit cluster" TESTS="words of names" are some of it
	@tests/run $(SUITES) $(if $(TESTS),-- $(TESTS))

matrix: ## every suite on PostgreSQL 15, 17, 18 and 19, each in a Debian of its own under target/; as root
	@tests/matrix

check: ## rustfmt and clippy
	@$(XTASK) check

build: ## a development build, in a private copy of Postgres under target/
	@$(XTASK) build

install: ## a release build into the Postgres of PG_CONFIG
	@$(XTASK) install

bench: ## calls a second, beside functions by hand, the limits and BASE=<commit>; QUICK=1 is shorter, ONLY="calls …" are parts, SCALE=1 is about growth
	@$(XTASK) bench

update-script: ## for a release: FROM=<version> DELTA=<file> make sql/leadlex_enrich--FROM--….sql, see docs/internals/releasing.md
	@$(XTASK) update-script "$(FROM)" "$(DELTA)"

prerequisites: ## install what is missing (apt, and cargo-pgrx under target/tools)
	@tests/lib/prerequisites.sh

clean: demo-stop ## remove target/
	@$(XTASK) clean
