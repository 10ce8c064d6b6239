#!/usr/bin/env bash
# options.sh WORK SCALE   what each option does to loading, size, memory and questions, as a Markdown table
# Needs steps 1 to 3 of README.md. Events: the first 5 M of the scale, or LIMIT.
set -eu
[ $# -ge 2 ] || { sed -n '2,3s/^# //p' "$0"; exit 2; }
work=$1 scale=$2 limit=${LIMIT:-5000000}
compare=${COMPARE:-${CARGO_TARGET_DIR:-$HOME/.cache/ofone/target}/release/compare}
store=$work/$scale/options.ofone
trap 'rm -rf "$store"' EXIT

part() { sed -n "s/.*$1.*/\1/p" <<<"$2" | head -n 1; }
row() {
  name=$1; shift
  rm -rf "$store"
  loaded=$("$compare" ofone-load --work "$work" --scale "$scale" --db "$store" --limit "$limit" "$@")
  asked=$("$compare" ofone-cohort --work "$work" --scale "$scale" --db "$store" --seconds 2 --name options "${query[@]}")
  echo "| $name | $(part 'acknowledged:.*, \([0-9.]*\) M' "$loaded") | $(part 'quiet:.*, \([0-9.]*\) M' "$loaded")" \
    "| $(part 'peak RSS \([0-9]*\) MB' "$loaded") | $(part ', \([0-9.]*\) bytes\/event' "$loaded")" \
    "| $(part 'Q3medium *\([0-9.]* \/ [0-9.]*\)' "$asked") | $(part 'Q6 *\([0-9.]* \/ [0-9.]*\)' "$asked") | $(part 'Q5 *\([0-9.]* \/ [0-9.]*\)' "$asked") |"
}

echo "| option | M events/s acknowledged | until quiet | peak RSS, MB | bytes an event | Q3medium p50 / p99, ms | Q6 | Q5 |"
echo "|---|---|---|---|---|---|---|---|"
query=()
row defaults
row 'segment_events 1 Mi' --segment-events 1048576
row 'segment_events 256 Ki' --segment-events 262144
row 'Durability::Os' --durability os
row 'batches of 1,000' --batch 1000
row 'batches of 1,000, one at a time' --batch 1000 --pending 1
row 'batches of 100,000' --batch 100000
query=(--cache-mb 8)
row 'both caches 8 MiB, questions only'
query=(--cache-mb 1024)
row 'both caches 1 GiB, questions only'
query=(--cache-mb 1024 --index-cache-mb 4)
row 'index_cache_bytes 4 MiB, questions only'
