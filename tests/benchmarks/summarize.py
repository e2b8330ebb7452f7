#!/usr/bin/env python3
"""Turns the lines that run.sh collects into tables in Markdown, and a plot.

    summarize.py FILE.jsonl [FILE.svg]

All processes of a measurement count: their costs are added up. Numbers are medians over the
rounds; a ratio is the median of the ratios within each round, so that a busy minute of the machine
does not count for one of them alone.
"""

import collections
import json
import os
import pathlib
import platform
import statistics
import sys

import plot
import targets
from cases import all_cases

REFERENCE = "queue"
# What others lose is shown, and no failure.
OURS = ("queue", "mmap", "inline", "busy-poll")
# Heading, key of the measurement, digits, with a ratio to the reference.
COLUMNS = [
    ("frames/s", "fps", 0, True),
    ("CPU µs/frame", "cpu_us", 1, True),
    ("latency p50 µs", "p50_us", 0, True),
    ("p99 µs", "p99_us", 0, True),
    ("max µs", "max_us", 0, False),
    ("first piece p50 µs", "first_us", 0, True),
    ("minor faults/frame", "faults", 3, False),
    ("context switches/frame", "switches", 2, False),
    ("bytes copied/frame", "copied", 0, False),
]
WRONG = ("lost", "duplicated", "reordered", "damaged")


def copied_bytes(lines, source):
    """Bytes that the transport copied per frame, None if it does not tell."""
    stats = [s for line in lines for s in line.get("stats", {}).values()]
    told = [s["bytes-copied"] for s in stats if "bytes-copied" in s]
    if told:
        return sum(told) / source["frames"]
    if "foreign_frames" in source:
        return source["foreign_frames"] * source["frame_size"] / source["frames"]
    if len(lines) == 1:
        return 0  # one process hands over references
    return None


def wrong_frames(lines):
    """How many were lost, duplicated, reordered and damaged, on the way to all sinks."""
    pushed = sum(line["source"]["frames"] for line in lines if "source" in line)
    sinks = [sink for line in lines for sink in line.get("sinks", [])]
    return {
        name: sum(pushed - sink["distinct"] if name == "lost" else sink[name] for sink in sinks)
        for name in WRONG
    }


def dropped(lines):
    """As the transport itself tells."""
    if not any(line["case"].startswith("fan-out") for line in lines):
        return 0
    return sum(s.get("dropped", 0) for line in lines for s in line.get("stats", {}).values())


def failures_of(lines, may_lose):
    """What must not happen, in words."""
    found = [f'{line["role"]}: {line["result"].splitlines()[0]}'
             for line in lines if line["result"] != "eos"]
    if len(lines) != int(lines[0]["processes"]):
        found.append(f'{len(lines)} of {lines[0]["processes"]} processes reported')
    if not found:
        wrong = wrong_frames(lines)
        # A reader that stands still for longer than others are held up for is passed over. That is
        # shown as lost, but it is no secret of the sender's.
        if wrong["lost"] == dropped(lines):
            wrong["lost"] = 0
        if not may_lose:
            found = [f"{n} {name}" for name, n in wrong.items() if n]
        if not all(sink["counted"] for line in lines for sink in line.get("sinks", [])):
            found.append("no frame was counted")
    return found


def measurement(lines):
    """One round of one transport: what its processes say, added up."""
    source = next(line["source"] for line in lines if "source" in line)
    sinks = [sink for line in lines for sink in line.get("sinks", [])]

    def per_frame(*keys):
        return sum(line["process"][key] for line in lines for key in keys) / source["counted"]

    return {
        "fps": min(sink["counted"] / sink["counted_s"] for sink in sinks),
        "cpu_us": 1e6 * per_frame("user_s", "system_s"),
        "p50_us": statistics.median(sink["latency_p50_us"] for sink in sinks),
        "p99_us": max(sink["latency_p99_us"] for sink in sinks),
        "max_us": max(sink["latency_max_us"] for sink in sinks),
        "first_us": next((sink.get("first_piece_p50_us") for sink in sinks), None),
        "faults": per_frame("minor_faults"),
        "switches": per_frame("voluntary_switches", "involuntary_switches"),
        "copied": copied_bytes(lines, source),
        "kept": [sum(line["process"].get(key, 0) for line in lines)
                 for key in ("more_kib", "more_descriptors", "more_arenas")],
    }


class Results:
    """runs[case][transport][round] is a measurement."""

    def __init__(self, path):
        self.path = path
        self.runs = collections.defaultdict(lambda: collections.defaultdict(dict))
        self.wrong = collections.defaultdict(collections.Counter)
        self.failures = []
        self.failed = False
        self.version = "GStreamer"
        groups = collections.defaultdict(list)
        for text in pathlib.Path(path).read_text(encoding="utf-8").splitlines():
            line = json.loads(text)
            self.version = line.get("gstreamer", self.version)
            groups[line["case"], line["transport"], line["round"]].append(line)
        for (case, transport, number), lines in groups.items():
            runs = self.runs[case][transport]
            found = failures_of(lines, transport not in OURS)
            self.failed = self.failed or bool(found and transport in OURS)
            self.failures += [f"{case}, {transport}, round {number}: {f}" for f in found]
            self.wrong[case, transport].update(wrong_frames(lines))
            if not found:
                runs[number] = measurement(lines)

    def median(self, case, transport, key):
        """None where that was not measured."""
        values = [run[key] for run in self.runs.get(case, {}).get(transport, {}).values()]
        values = [value for value in values if value is not None]
        return statistics.median(values) if values else None

    def ratio(self, ours, theirs, value, other_value=None):
        """Of (case, transport) to another, within each round; value is of a run."""
        ours, theirs = (self.runs.get(case, {}).get(t, {}) for case, t in (ours, theirs))
        ratios = [
            value(run) / (other_value or value)(theirs[number])
            for number, run in ours.items()
            if number in theirs and (other_value or value)(theirs[number])
        ]
        return statistics.median(ratios) if ratios else None


def show(value, digits):
    # A thousands separator that does not end a number in a Markdown table.
    return "–" if value is None else f"{value:,.{digits}f}".replace(",", " ")


def print_table(rows):
    rows.insert(1, ["---"] + ["--:"] * (len(rows[0]) - 1))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def print_case(results, case, title):
    columns = [column for column in COLUMNS
               if any(results.median(case, transport, column[1]) is not None
                      for transport in results.runs[case])]
    heads = ["transport"]
    for heading, _, _, has_ratio in columns:
        heads += [heading] + (["× queue"] if has_ratio else [])
    rows = [heads + ["lost / dup. / reordered / damaged", "rounds"]]
    for transport, runs in results.runs[case].items():
        row = [transport]
        for _, key, digits, has_ratio in columns:
            values = [run[key] for run in runs.values() if run[key] is not None]
            text = show(results.median(case, transport, key), digits)
            if key in ("fps", "cpu_us") and len(values) > 1:
                text += f" ({show(min(values), digits)} – {show(max(values), digits)})"
            row.append(text)
            if has_ratio:
                row.append(show(results.ratio((case, transport), (case, REFERENCE),
                                              lambda run, key=key: run[key]), 2))
        wrong = results.wrong[case, transport]
        row.append(" / ".join(str(wrong[name]) for name in WRONG))
        rows.append(row + [str(len(runs))])
    print(f"### {title}\n\n`{case}`\n")
    print_table(rows)


def processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
            for line in cpuinfo:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.machine()


def report(results, seconds=None):
    took = f" after {seconds:.0f} s" if seconds else ""
    print("# Benchmarks\n")
    print(
        f"{os.cpu_count()} × {processor()}, Linux {platform.release()}, {results.version}, load "
        f"average {os.getloadavg()[0]:.1f}{took}. Medians (smallest – largest) over the rounds; "
        "costs are of all processes together, from the first frame that counts, when start-up is "
        "over, to EOS; × queue is the median of each round's ratio. The latency of an unpaced "
        "stream is mostly its time in the queue, and its speed depends on whether the scheduler "
        "puts source and sink on one processor.\n"
    )
    rows = targets.rows(results)
    if len(rows) > 1:
        print("## What is aimed at\n")
        print_table(rows)
    print("## Cases\n")
    titles = {case.name: case.title for case in all_cases(1)}
    for case in results.runs:
        print_case(results, case, titles.get(case, case))
    if results.failures:
        print("## Failures\n")
        print("\n".join(f"- {failure}" for failure in results.failures) + "\n")
    print(f"Each process's report: `{results.path}`")


def main():
    if len(sys.argv) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    results = Results(sys.argv[1])
    report(results)
    if len(sys.argv) == 3:
        pathlib.Path(sys.argv[2]).write_text(plot.svg(results), encoding="utf-8")
    return 1 if results.failed or not results.runs else 0


if __name__ == "__main__":
    sys.exit(main())
