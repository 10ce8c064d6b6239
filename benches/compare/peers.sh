#!/usr/bin/env bash
# peers.sh data WORK SCALE CUSTOMERS   builds the peers' generator and writes the month and the parameters
# peers.sh measure WORK SCALE          DuckDB and ClickHouse (chDB): load, Q1, Q1heavy, Q2
# peers.sh cohorts WORK SCALE          the same two and their copies by kind: load of the copies, Q3 to Q10
# peers.sh table WORK SCALE            every result under WORK/SCALE/results as one Markdown table
# PEERS: their scripts (default: ../shared/peers beside the repository). Python's packages go to WORK/venv.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
peers=${PEERS:-$here/../../../shared/peers}
[ $# -ge 3 ] || { sed -n '2,6s/^# //p' "$0"; exit 2; }
act=$1 work=$2 scale=$3
export PYTHONDONTWRITEBYTECODE=1

if [ "$act" = table ]; then exec python3 "$here/table.py" "$work/$scale"; fi
if [ ! -f "$peers/harness/bench.py" ]; then
  echo "peers.sh: no peers at $peers, nothing done; set PEERS to the folder that holds gen/ and harness/"
  exit 0
fi
case $work in
  "$(cd "$here/../.." && pwd)"/*) echo "peers.sh: WORK lies inside the repository"; exit 2 ;;
esac

mkdir -p "$work"
py=$work/venv/bin/python
if [ ! -x "$py" ]; then python3 -m venv "$work/venv"; fi
if ! "$py" -c 'import duckdb, chdb, pyarrow, numpy' 2>/dev/null; then
  grep -E '^(duckdb|chdb|pyarrow|numpy)==' "$peers/requirements.txt" | "$py" -m pip install -q -r /dev/stdin
fi

case $act in
  data)
    CARGO_TARGET_DIR=$work/target cargo build --release --manifest-path "$peers/gen/Cargo.toml"
    "$work/target/release/telco-month" --out "$work/$scale/events" --customers "$4" --events-per-customer 100
    "$py" "$peers/harness/params.py" --work "$work" --scale "$scale"
    ;;
  measure)
    for peer in duckdb chdb; do
      for phase in load query; do
        "$py" "$peers/harness/bench.py" --work "$work" --scale "$scale" --peer "$peer" --phase "$phase" --only Q1,Q1heavy,Q2 --budget "${BUDGET:-12}"
      done
    done
    ;;
  cohorts)
    for peer in duckdb duckdb+kind chdb chdb+proj; do
      case $peer in *+*) phases="load query" ;; *) phases=query ;; esac
      for phase in $phases; do
        "$py" "$peers/harness/bench.py" --work "$work" --scale "$scale" --peer "$peer" --phase "$phase" \
          --only Q3common,Q3medium,Q3rare,Q4count,Q4ids,Q5,Q6,Q7,Q8,Q9,Q10 --budget "${BUDGET:-12}"
      done
    done
    ;;
  *) echo "peers.sh: unknown act $act"; exit 2 ;;
esac
