"""table.py WORK/SCALE: the results of ofone, SQLite and the peers as one Markdown table, answers compared."""
import json
import pathlib
import sys

QUERIES = "Q1 Q1heavy Q2 Q3common Q3medium Q3rare Q4count Q4ids Q5 Q6 Q7 Q8 Q9 Q10".split()
# chdb's load counts OPTIMIZE FINAL; ofone's ends when no background work is left.
ORDER = ["ofone", "ofone-links", "sqlite-rust-text", "sqlite-rust", "duckdb", "duckdb+kind", "chdb", "chdb+proj"]


def number(value, digits=3):
    return "-" if value is None else f"{value:,.{digits}f}"


def main(scale_dir):
    results = {p.stem: json.loads(p.read_text()) for p in (scale_dir / "results").glob("*.json")}
    names = [n for n in ORDER if n in results] + sorted(set(results) - set(ORDER))
    print("| p50 / p99 ms (n) | " + " | ".join(names) + " |")
    print("|---" * (len(names) + 1) + "|")
    for query in QUERIES:
        cells = []
        for name in names:
            one = results[name].get("query", {}).get(query)
            cells.append(f"{one['p50']:.3f} / {one['p99']:.3f} ({one['reps']})" if one else "-")
        print(f"| {query} | " + " | ".join(cells) + " |")
    loads = [results[name].get("load", {}) for name in names]
    print("| load, M events/s | " + " | ".join(number(x["rows_per_s"] / 1e6 if x else None) for x in loads) + " |")
    print("| bytes per event | " + " | ".join(number(x.get("bytes_per_event"), 1) for x in loads) + " |")
    print("| load peak RSS, MB | " + " | ".join(number(x.get("load_peak_rss_mb"), 0) for x in loads) + " |")
    print()

    same = differ = 0
    for query in QUERIES:
        answers = {n: results[n].get("query", {}).get(query, {}).get("digests") for n in names}
        answers = {n: a for n, a in answers.items() if a}
        if not answers:
            continue
        reference, expected = answers.popitem()
        for name, digests in answers.items():
            for at, (own, other) in enumerate(zip(digests, expected)):
                if own == other:
                    same += 1
                else:
                    differ += 1
                    print(f"{query} parameter {at}: {name} {own} and {reference} {other}")
    print(f"Answers: {same} digests equal to another engine's, {differ} different.")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
