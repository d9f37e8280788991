# The two commands: make demo, make test. Scripts under tests/ do the work; none of them writes outside target/,
# but for the packages that are missing, which apt installs, and `make install`.
SHELL := /bin/bash
export PG_CONFIG PG_MAJOR
.PHONY: help demo demo-stop test matrix check build install bench update-script prerequisites clean

help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1|\2/p' Makefile | awk -F '|' '{ printf "%-22s %s\n", $$1, $$2 }'
	@echo '  PG_CONFIG=/path/to/pg_config or PG_MAJOR=15…19 chooses the Postgres; by default the one that is there.'

demo: prerequisites ## a private cluster and a sample provider; watch contacts being filled in
	@tests/demo/demo

demo-stop: ## stop what make demo left running
	@tests/demo/demo-stop

test: ## every suite, against clusters that it starts itself
	@tests/run

matrix: ## every suite on PostgreSQL 15, 17, 18 and 19, each in a Debian of its own under target/; as root
	@tests/matrix

check: prerequisites ## rustfmt and clippy
	@tests/lib/check.sh

build: prerequisites ## a development build, in a private copy of Postgres under target/
	@tests/lib/build.sh

install: prerequisites ## a release build into the Postgres of PG_CONFIG
	@tests/lib/install.sh

bench: ## calls per second, beside a hand-written function and the limits; QUICK=1 is shorter, BASE=<commit> compares with that commit
	@tests/lib/prerequisites.sh bench
	@tests/bench/bench

update-script: ## for a release: FROM=<version> DELTA=<file> make sql/leadlex_enrich--FROM--….sql, see docs/internals/releasing.md
	@tests/lib/update_script.sh "$(FROM)" "$(DELTA)"

prerequisites: ## install what is missing (apt, and cargo-pgrx under target/tools)
	@tests/lib/prerequisites.sh

clean: demo-stop ## remove target/
	@tests/lib/clean.sh
