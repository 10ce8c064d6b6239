#!/usr/bin/env python3
"""Asks ofone, through its command line, what is asked of real event logs, and has the answers checked.

    run.py [--ofone PROGRAM] [--out FOLDER] DIR...

DIR is the folder of a log, or a folder of such folders. A log has `events.ndjson.gz`, perhaps
`links.ndjson.gz`, `queries.json` and `answers.json.gz`, and a `check.py` beside it or one level up, which
knows the right answers; this program never looks at them before it has given its own.

Two stores are made of each log. In one an event happened to its customer, and there are no links; in the
other it happened to the objects that it touches, and reaches customers through links alone. The number of
A events that a B event follows is not asked for: ofone counts customers. Needs Python 3.8, nothing else.
"""

import argparse
import gzip
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
NOT_FOUND = 3  # exit code of ofone


class Store:
    """A store that the command line fills and asks."""

    def __init__(self, program, path):
        self.program = program
        self.path = path

    def run(self, command, *arguments, may_be_absent=False):
        """What a command writes to stdout; `None` when what it asks for is not in the store."""
        line = [self.program, command, "--db", self.path, *arguments]
        done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
        if may_be_absent and done.returncode == NOT_FOUND:
            return None
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(line)}\n{done.stderr}exit code {done.returncode}")
        return done.stdout

    def ingest(self, file, mapping):
        self.run("ingest", "--map", os.path.join(HERE, mapping), file)

    def stats(self):
        return json.loads(self.run("stats", "--format", "json"))

    def counts(self):
        """Events of each customer that has any."""
        lines = self.run("stream", "--all", "--count", "--direct", "--format", "ndjson").splitlines()
        rows = map(json.loads, lines)
        return {row["customer"]: row["events"] for row in rows if row["events"] > 0}

    def stream(self, customer, *arguments):
        """Ids of the events of a customer, in order."""
        command = ["stream", "--format", "ndjson", *arguments, "--", f"customer:{customer}"]
        lines = self.run(*command, may_be_absent=True) or ""
        return [json.loads(line)["id"] for line in lines.splitlines()]

    def rows(self, command, *arguments):
        """The rows of an answer that is a table."""
        return [json.loads(line) for line in self.run(command, "--format", "ndjson", *arguments).splitlines()]

    def who(self, expression, *arguments):
        """Ids of the customers in a set."""
        return [row["customer"] for row in self.rows("who", *arguments, "--", expression)]

    def count(self, expression):
        return self.rows("who", "--count", "--", expression)[0]["customers"]

    def links(self, entities, at):
        """Links that leave or enter any of some entities at an instant."""
        lines = self.run("links", "--format", "ndjson", "--at", at, "--", *entities, may_be_absent=True) or ""
        return [json.loads(line) for line in lines.splitlines()]

    def reachable(self, customer, max_hops, at):
        """What a customer depends on at an instant, over so many links."""
        root = f"customer:{customer}"
        found, edge = {root}, {root}
        for _ in range(max_hops):
            leaving = [link["to"] for link in self.links(edge, at) if link["from"] in edge] if edge else []
            edge = set(leaving) - found
            found |= edge
        return found - {root}


class Log:
    """One log, in two stores."""

    def __init__(self, program, folder, scratch):
        events, links = (os.path.join(folder, f"{name}.ndjson.gz") for name in ("events", "links"))
        self.by_customer = Store(program, os.path.join(scratch, "by-customer"))
        self.by_customer.ingest(events, "events-by-customer.toml")
        self.by_objects = None
        if os.path.exists(links):
            self.by_objects = Store(program, os.path.join(scratch, "by-objects"))
            self.by_objects.ingest(events, "events-by-objects.toml")
            self.by_objects.ingest(links, "links.toml")
        self.stats = self.by_customer.stats()
        self.counts = self.by_customer.counts()

    def totals(self, _query):
        return {
            "events": self.stats["events"],
            "events_without_customer": self.stats["events_without_customer_subject"],
            "customers": len(self.counts),
            "cases": self.stats["entities"].get("case", 0),
            "kinds": self.stats["kinds"],
            "first": in_milliseconds(self.stats["first"]),
            "last": in_milliseconds(self.stats["last"]),
        }

    def counts_per_customer(self, _query):
        return self.counts

    def stream(self, query):
        return self.by_customer.stream(query["customer"], "--direct", *window(query))

    def links_out_asof(self, query):
        links = self.by_objects.links([query["object"]], query["at"])
        return sorted([link["relation"], link["to"]] for link in links if link["from"] == query["object"])

    def links_in_asof(self, query):
        links = self.by_objects.links([query["object"]], query["at"])
        return sorted({link["from"] for link in links if link["to"] == query["object"]})

    def reach_events(self, query):
        customer, max_hops = query["customer"], query["max_hops"]
        return {
            "ids": self.by_objects.stream(customer, f"--max-hops={max_hops}"),
            "reachable_objects_at_end": sorted(self.by_objects.reachable(customer, max_hops, self.stats["last"])),
        }

    def active(self, query):
        kinds = self.by_customer.rows("group", *window(query), "--", "kind")
        return {
            "events": sum(row["events"] for row in kinds),
            "distinct_customers": self.by_customer.count(f"did(any, {during(query)})"),
            "by_kind": {row["value"]: [row["events"], row["customers"]] for row in kinds},
        }

    def daily_distinct(self, _query):
        days = self.by_customer.rows("timeline", "--every=day", "--", "any")
        return {day["from"][:10]: [day["events"], day["customers"]] for day in days if day["events"] > 0}

    def cohort(self, query):
        return self.by_customer.who(customers_like(query["expr"]))

    def sequence(self, query):
        first, then = (f"kind = {quoted(query[step])}" for step in ("a", "b"))
        bounds = f"within {query['within_s']}s, {during(query, 'a_from', 'a_to')}"
        sets = {"ordered": "seq", "strict": "none"}
        seq = f"seq({first} -> {then}, {bounds}, ties "
        return {name: self.by_customer.who(f"{seq}{ties})") for name, ties in sets.items()}

    def funnel(self, query):
        steps = [f"kind = {quoted(kind)}" for kind in query["steps"]]
        bounds = [*window(query), f"--within={query['within_s']}s"]
        complete = self.by_customer.rows("funnel", *bounds, f"--customers={len(steps)}", "--", *steps)
        return {
            "reached_at_least": [row["customers"] for row in self.by_customer.rows("funnel", *bounds, "--", *steps)],
            "complete": [row["customer"] for row in complete],
        }

    def affected_customers(self, query):
        instant = f"during [{query['at']}, {a_nanosecond_after(query['at'])})"
        reached = f"reach({quoted(query['object'])}, {instant})"
        return self.by_objects.who(reached, f"--max-hops={query['max_hops']}")


ANSWERED = (
    "totals",
    "counts_per_customer",
    "stream",
    "active",
    "daily_distinct",
    "cohort",
    "sequence",
    "funnel",
    "links_out_asof",
    "links_in_asof",
    "reach_events",
    "affected_customers",
)

# The severities of the mapping files: 1 is the worst in the logs.
SEVERITY = {1: 21, 2: 17, 3: 13, 4: 9, 5: 5}


def quoted(text):
    """A text as a value in an expression."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def window(query):
    return [f"--{bound}={query[bound]}" for bound in ("from", "to") if query.get(bound)]


def during(query, begin="from", end="to"):
    return f"during [{query[begin]}, {query[end]})"


def a_nanosecond_after(time):
    whole, _, fraction = time.rstrip("Z").partition(".")
    return f"{whole}.{int(f'{fraction:0<9}') + 1:09}Z"


def customers_like(expr):
    """The text of a set of customers."""
    if "and" in expr or "or" in expr:
        (operator, parts), = expr.items()
        return "(" + f" {operator} ".join(map(customers_like, parts)) + ")"
    if "not" in expr:
        # The logs know only customers that have an event.
        return f"(did(any) minus {customers_like(expr['not'])})"
    match = expr["match"]
    tests = [f"kind = {quoted(match['kind'])}"] if "kind" in match else []
    tests += [f"about = {quoted(match['object'])}"] if "object" in match else []
    tests += [f"severity >= {SEVERITY[match['severity_le']]}"] if "severity_le" in match else []
    tests += [f"attr.{name} = {quoted(value)}" for name, value in match.get("attr", {}).items()]
    return f"did({' and '.join(tests)}, n >= {expr['min']}, {during(expr)})"


def in_milliseconds(time):
    """A time with no fraction or three digits of it, as the logs write them."""
    whole, _, fraction = time.rstrip("Z").partition(".")
    return f"{whole}.{fraction[:3]:0<3}Z" if fraction.strip("0") else f"{whole}Z"


def unlike_at_end(folder, queries, got):
    """Sentences about the parts of `reach_events` that check.py does not look at."""
    with gzip.open(os.path.join(folder, "answers.json.gz"), "rt", encoding="utf-8") as file:
        right = json.load(file)
    for query in queries:
        wanted = right[query["id"]].get("reachable_objects_at_end") if query["type"] == "reach_events" else None
        if wanted:
            objects = got[query["id"]]["reachable_objects_at_end"]
            digest = hashlib.sha256("".join(f"{name}\n" for name in objects).encode()).hexdigest()
            if (len(objects), digest) != (wanted["n"], wanted["sha256"]):
                yield f"FAIL {query['id']}.reachable_objects_at_end: want n={wanted['n']} got n={len(objects)}"


def run(program, folder, out):
    """Whether all answers about a log are right."""
    begin = time.monotonic()
    with open(os.path.join(folder, "queries.json"), encoding="utf-8") as file:
        queries = [query for query in json.load(file) if query["type"] in ANSWERED]
    with tempfile.TemporaryDirectory(prefix="ofone-real-data-") as scratch:
        log = Log(program, folder, scratch)
        got = {query["id"]: getattr(log, query["type"])(query) for query in queries}
        path = os.path.join(out or scratch, f"got-{os.path.basename(folder)}.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(got, file)
        took = time.monotonic() - begin
        print(f"{folder}: {log.stats['events']} events, {len(got)} answers in {took:.1f} s", flush=True)
        done = subprocess.run([sys.executable, checker(folder), folder, path, "--allow-missing"])
    unlike = list(unlike_at_end(folder, queries, got))
    for sentence in unlike:
        print(sentence)
    return done.returncode == 0 and not unlike


def checker(folder):
    places = [os.path.join(place, "check.py") for place in (os.path.dirname(folder), folder)]
    found = next(filter(os.path.exists, places), None)
    return found or sys.exit(f"no check.py for {folder}")


def logs(folder):
    """The folder, or the folders in it, that have queries."""
    folder = os.path.abspath(folder)
    inner = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    places = [folder, *(os.path.join(folder, name) for name in inner)]
    return [place for place in places if os.path.exists(os.path.join(place, "queries.json"))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ofone", default="ofone", metavar="PROGRAM", help="the command line to ask")
    parser.add_argument("--out", metavar="FOLDER", help="keep the answers there")
    parser.add_argument("folders", nargs="+", metavar="DIR")
    arguments = parser.parse_args()
    if arguments.out:
        os.makedirs(arguments.out, exist_ok=True)
    right = True
    for given in arguments.folders:
        found = logs(given)
        if not found:
            print(f"skipped: no real data in {given}")
        for folder in found:
            right &= run(arguments.ofone, folder, arguments.out)
    sys.exit(0 if right else 1)


main()
