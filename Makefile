# `make demo` shows what ofone does, `make test` whether it does it right.
#
# Everything is built in one profile, release, and in one directory, so that RocksDB's C++ is compiled
# once (a quarter of an hour on two cores). CARGO_TARGET_DIR overrides the directory.

CARGO_TARGET_DIR ?= $(HOME)/.cache/ofone/target
export CARGO_TARGET_DIR

# What Cargo.lock says and nothing else; RocksDB is the one that comes with it, never the system's.
LOCKED := --locked
unexport ROCKSDB_LIB_DIR

# Tests run with ofone's own assertions and overflow checks; its dependencies stay as they are.
CHECKED := $(LOCKED) --release --config 'profile.release.package.ofone.debug-assertions=true' \
	--config 'profile.release.package.ofone.overflow-checks=true'
OFONE := $(CARGO_TARGET_DIR)/release/ofone

.PHONY: demo test model faults mixed soak-kill soak-power soak-io soak-damage soak-mixed soak-erase soak-faults soak-model soak-fuzz fixture real-data lint build-benches bench rocksdb fuzz fuzz-short setup help

help:
	@echo 'make demo           a small service provider, and the month of one of its customers'
	@echo 'make test           unit, model, crash and interface tests, doc tests, real data if it is there'
	@echo 'make model          thousands of random histories against the naive model (CASES=2000)'
	@echo 'make faults         fail and die at every named place; planted bugs must be caught (PASSES=2)'
	@echo 'make soak-kill, soak-power, soak-io, soak-damage  hours of kills, power cuts, failures, damage; figures are kept'
	@echo 'make mixed          writers, readers, seals, retention, erasures, a looking process at once (MIXED_SECONDS=60)'
	@echo 'make soak-mixed     two hours of it, in parts; figures are kept'
	@echo 'make soak-faults    crashes at every named place, and again and again while recovering; figures are kept'
	@echo 'make soak-erase     a thousand erasures, and a search for every byte of theirs; figures are kept'
	@echo 'make fixture        write the store kept for a new format number'
	@echo 'make real-data DIR=..  only the questions asked of real logs'
	@echo 'make lint           format, clippy and docs, warnings are errors'
	@echo 'make bench          measure; make build-benches only compiles what measures'
	@echo 'make fuzz TARGET=import SECONDS=60  any bytes, of those that lead to new code more'
	@echo 'make fuzz-short     each target for SECONDS=20'
	@echo 'make soak-model     the naive model, a million operations in parts; figures are kept'
	@echo 'make soak-fuzz      each target for twenty minutes; figures are kept'
	@echo 'make setup          install what building needs (Debian, Ubuntu)'

define DEMO
set -eu
db=demo.ofone
rm -rf "$$db"
made=$$("$$OFONE" gen --db "$$db" --customers 50k --events-per-customer 60)
field() { printf '%s\n' "$$made" | sed -n "s/.*\"$$1\":\"\([^\"]*\)\".*/\1/p"; }
customer=$$(field customer)
event=$$(field id)
show() { printf '\n$$ ofone %s\n' "$$*"; "$$OFONE" "$$@" --db "$$db" --format table; }
show stats | sed -n '1p; 1!{ /^$$/q; p; }'
show stream "$$customer" --to 2026-01-15
show why "$$customer" "$$event"
command=$$(printf '%s' "$$OFONE" | sed "s|^$$HOME/|~/|")
printf '\nThe store stays in %s. Try next:\n\n' "$$db"
printf '  %s\n' "$$command stream $$customer --db $$db --min-severity warn" \
	"$$command links customer:$$customer --db $$db" "$$command stats --db $$db"
endef
export DEMO OFONE

demo: setup
	cargo build $(LOCKED) --release --bin ofone
	@sh -c "$$DEMO"

test: setup
	cargo test $(CHECKED)
	@$(MAKE) --no-print-directory real-data

# Thousands of random histories against the naive model; `make test` looks at hundreds.
CASES ?= 2000
model: setup
	OFONE_MODEL_CASES=$(CASES) cargo test $(CHECKED) --test it -- model_test --nocapture

# Built with the places at which the store fails or dies, and with bugs that the tests must notice.
PASSES ?= 2
FAULTY := --features failpoints,planted-bugs
faults: setup
	OFONE_FAIL_PASSES=$(PASSES) cargo test $(CHECKED) $(FAULTY) --lib --test it -- \
		failpoints:: failpoints_copies:: planted --nocapture

# Everything at once, for a minute; `make test` does it for seconds.
MIXED_SECONDS ?= 60
mixed: setup
	OFONE_MIXED_SECONDS=$(MIXED_SECONDS) cargo test $(CHECKED) --test it -- mixed:: --nocapture

# A store of this format with its answers, for tests/it/fixture.rs. One that is there stays as it is.
fixture: setup
	OFONE_WRITE_FIXTURE=1 cargo test $(CHECKED) --test it -- --exact fixture::child_writes_the_fixture

# The long runs, before a release. Each adds a line to $(FIGURES), and a later one goes on with other seeds.
FIGURES ?= soak-figures.txt
KILLS ?= 10000
LARGE_BATCH ?= 200
STATES ?= 2000
DAMAGES ?= 100000
IO_TO ?= 300
CYCLES ?= 200
define SOAK
set -eu
touch "$(FIGURES)"
run=$$(grep -c "^$(SOAKED) " "$(FIGURES)" || true)
first=$$(sed -n 's/^soak-damage .* next \([0-9]*\)$$/\1/p' "$(FIGURES)" | tail -n 1)
export OFONE_CRASH_SEED=$$((run + 1)) OFONE_POWER_SEED=$$((run * 1000 + 1)) OFONE_DAMAGE_FIRST=$${first:-0}
export OFONE_CRASH_KILLS=$(KILLS) OFONE_ERASE_KILLS=$$(($(KILLS) / 10)) OFONE_BACKUP_KILLS=$$(($(KILLS) / 10))
export OFONE_LARGE_BATCH=$(LARGE_BATCH) OFONE_POWER_STATES=$(STATES) OFONE_DAMAGE_CASES=$(DAMAGES) OFONE_IO_TO=$(IO_TO)
export OFONE_FULL_SEED=$$((run + 1)) OFONE_FULL_CYCLES=$(CYCLES)
export OFONE_MODEL_CASES=$(CASES)
export OFONE_MIXED_SEED=$$((run + 1)) OFONE_MIXED_SECONDS=$(PART_SECONDS)
export OFONE_ERASE_SEED=$$((run * 1000 + 1)) OFONE_ERASURES=$(ERASURES)
export OFONE_FAULTS_SHARE=$$run OFONE_FAULTS_SHARES=$(SHARES)
log=$$(mktemp)
begun=$$(date +%s)
cargo test $(CHECKED) $(FEATURES) --test it -- $(TESTS) --nocapture >"$$log" 2>&1 || { cat "$$log"; exit 1; }
told=$$(sed -n 's/^\(\([a-z]*: \)\{0,1\}[0-9].* \(kills\|batches\|states\|lives\|erasures\|operations\)[:;, ].*\|cases .*\)$$/\1/p' "$$log" | tr '\n' '|')
echo "$(SOAKED) $$(git rev-parse --short HEAD) $$(($$(date +%s) - begun)) s: $$told next $$((OFONE_DAMAGE_FIRST + $(DAMAGES)))" \
	| tee -a "$(FIGURES)"
endef
export SOAK
# Kills of writers, and a tenth as many of those who erase, and who back up and restore.
soak-kill: SOAKED = soak-kill
soak-kill: TESTS = crash:: cut_short_by_a_kill a_kill_during_backup
soak-kill: LARGE_BATCH = 2000
soak-power: SOAKED = soak-power
soak-power: TESTS = power::
soak-io: SOAKED = soak-io
soak-io: TESTS = io_errors:: full_disk::
soak-damage: SOAKED = soak-damage
soak-damage: TESTS = damage_sweep::
soak-kill soak-power soak-io soak-damage: setup
	@sh -c "$$SOAK"

# Each part has seeds and a line of its own, so that an hour that is cut short keeps its figures.
PARTS ?= 12
PART_SECONDS ?= 600
ERASURES ?= 100
soak-mixed: SOAKED = soak-mixed
soak-mixed: TESTS = mixed::
soak-erase: SOAKED = soak-erase
soak-erase: TESTS = --exact erase::erasures_leave_no_byte_in_any_row_or_file
soak-erase: PARTS = 10
# The places are dealt out into shares, one a part; parts beyond that strike at later passes.
SHARES ?= 8
soak-faults: SOAKED = soak-faults
soak-faults: TESTS = --ignored failpoints
soak-faults: FEATURES = $(FAULTY)
soak-faults: PARTS = $(SHARES)
# A hundred thousand operations a part and more, each part with a seed that it prints.
soak-model: SOAKED = soak-model
soak-model: TESTS = model_test::
soak-model: PARTS = 10
soak-mixed soak-erase soak-faults soak-model: setup
	@for part in $$(seq $(PARTS)); do sh -c "$$SOAK" || exit 1; done

# The logs are other people's and not in this repository: a folder of them beside it is used if there is one.
DIR ?= ../shared/data
real-data: setup
	@if ! command -v python3 >/dev/null; then echo 'skipped: real data, there is no python3'; \
	elif ! test -d '$(DIR)'; then echo 'skipped: real data, there is no folder $(DIR)'; \
	else cargo build $(CHECKED) --bin ofone && python3 tests/real_data/run.py --ofone '$(OFONE)' '$(DIR)'; fi

lint: setup
	cargo fmt --check
	cargo clippy $(LOCKED) --release --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc $(LOCKED) --release --no-deps --all-features

build-benches: setup
	cargo bench $(LOCKED) --no-run

bench: setup
	cargo bench $(LOCKED)

# Fuzzing, on the compiler that is there: libFuzzer wants counters from it, no sanitizer, as ofone has no unsafe code
# outside its tests. RocksDB is the one of ofone's own build. What is found lies in fuzz/artifacts; inputs that led to
# new code stay in $(FUZZED), beside the seeds of fuzz/corpus, which `make test` replays.
TARGET ?= operations
SECONDS ?= 60
AT_ONCE ?= 2
TARGETS = $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))
CARGO_FUZZ := $(CARGO_TARGET_DIR)/tools/bin/cargo-fuzz
FUZZED := $(CARGO_TARGET_DIR)/fuzzed
FUZZ_LIMITS := -rss_limit_mb=256 -malloc_limit_mb=128 -timeout=60 -print_final_stats=1
define FUZZ
set -eu
one=$$1 seconds=$$2 figures=$${3:-/dev/null}
mkdir -p "$(FUZZED)/$$one"
log="$(FUZZED)/$$one.log"
cd fuzz
if ! CARGO_TARGET_DIR="$(CARGO_TARGET_DIR)/fuzz" ROCKSDB_STATIC=1 \
	ROCKSDB_LIB_DIR="$$(dirname "$$(ls -t "$(CARGO_TARGET_DIR)"/release/build/librocksdb-sys-*/out/librocksdb.a | head -n 1)")" \
	"$(CARGO_FUZZ)" run --sanitizer none "$$one" "$(FUZZED)/$$one" "corpus/$$one" -- $(FUZZ_LIMITS) \
	-max_total_time="$$seconds" >"$$log" 2>&1; then
	tail -n 60 "$$log" >&2
	exit 1
fi
sed -n 's/^stat::number_of_executed_units: *//p; s/^stat::peak_rss_mb: */ /p' "$$log" | tr -d '\n' |
	sed "s/^\(.*\) \(.*\)$$/fuzz $$(git rev-parse --short HEAD) $$one: \1 executions in $$seconds s, at most \2 MiB\n/" |
	tee -a "$$figures"
endef
export FUZZ

$(CARGO_FUZZ):
	cargo install --quiet --locked --version 0.13.2 --root '$(CARGO_TARGET_DIR)/tools' cargo-fuzz

# RocksDB as any build of ofone leaves it.
rocksdb: setup
	@ls "$(CARGO_TARGET_DIR)"/release/build/librocksdb-sys-*/out/librocksdb.a >/dev/null 2>&1 || cargo build $(LOCKED) --release --lib

fuzz: rocksdb $(CARGO_FUZZ)
	@sh -c "$$FUZZ" fuzz $(TARGET) $(SECONDS)

# Every target for some seconds, as many at once as there are cores in CI.
fuzz-short: SECONDS = 20
fuzz-short: rocksdb $(CARGO_FUZZ)
	@sh -c "$$FUZZ" fuzz native 1
	@printf '%s\n' $(TARGETS) | xargs -P $(AT_ONCE) -I '{}' sh -c "$$FUZZ" fuzz '{}' $(SECONDS)

# Those that the figures do not name yet.
soak-fuzz: SECONDS = 1200
soak-fuzz: rocksdb $(CARGO_FUZZ)
	@touch "$(FIGURES)"
	@sh -c "$$FUZZ" fuzz native 1
	@for target in $(TARGETS); do grep -q "^fuzz .* $$target:" "$(FIGURES)" || echo "$$target"; done | \
		xargs -P $(AT_ONCE) -I '{}' sh -c "$$FUZZ" fuzz '{}' $(SECONDS) '$(abspath $(FIGURES))'

define SETUP
set -eu
if ! command -v cargo >/dev/null; then
	echo 'ofone needs Rust 1.95 or newer: https://rustup.rs' >&2
	exit 1
fi
missing=
command -v c++ >/dev/null || missing="$$missing g++"
libclang=$$(find -L "$${LIBCLANG_PATH:-/usr/lib}" /usr/lib /usr/lib64 /usr/local/lib /opt/homebrew/opt/llvm/lib \
	/Library/Developer/CommandLineTools/usr/lib -maxdepth 3 \
	'(' -name 'libclang.so*' -o -name 'libclang-[0-9]*.so*' -o -name 'libclang.dylib' ')' 2>/dev/null | head -n 1)
test -n "$$libclang" || missing="$$missing libclang-dev"
# The library alone cannot parse: it wants its own stdbool.h, which Debian packs beside it.
if test -z "$$missing" && command -v apt-get >/dev/null && ! ls /usr/lib/llvm-*/lib/clang/*/include/stdbool.h >/dev/null 2>&1; then
	missing=" libclang-dev"
fi
test -n "$$missing" || exit 0
if ! command -v apt-get >/dev/null; then
	echo "RocksDB needs a C++ compiler and libclang to build; please install what matches:$$missing" >&2
	exit 1
fi
root=
test "$$(id -u)" = 0 || root=sudo
echo "installing$$missing"
$$root apt-get update -q
$$root apt-get install -q -y --no-install-recommends$$missing
endef
export SETUP

# Installs what a fresh Debian or Ubuntu lacks; does nothing when it is there.
setup:
	@sh -c "$$SETUP"
