#!/usr/bin/env python3
"""Turns the lines that run.sh collects into tables in Markdown.

    summarize.py FILE.jsonl

Both processes of a transport count: their costs are added up. Numbers are
medians over the rounds, with the smallest and the largest in parentheses; a
ratio is the median of the ratios to the queue of the same round, so that a busy
minute of the machine does not count for one of them alone.
Exit status: 1 when a process failed or a frame was lost, duplicated, reordered
or damaged.
"""

import collections
import json
import os
import platform
import statistics
import sys

REFERENCE = "queue"
CASES = {
    "unpaced": "1080p I420, unpaced, frames untouched",
    "two-cores": "1080p I420, unpaced, frames untouched, source and sink on a processor each",
    "one-core": "1080p I420, unpaced, frames untouched, all on one processor",
    "paced": "1080p I420 at 60 frames/s, frames untouched",
    "touched": "1080p I420, unpaced, every byte written, read and checked",
}
# Heading, key of the measurement, digits, with a ratio to the reference.
COLUMNS = [
    ("frames/s", "fps", 0, True),
    ("CPU µs/frame", "cpu_us", 1, True),
    ("latency p50 µs", "p50_us", 0, True),
    ("latency p99 µs", "p99_us", 0, True),
    ("minor faults/frame", "faults", 3, False),
    ("context switches/frame", "switches", 2, False),
    ("bytes copied/frame", "copied", 0, False),
]


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


def measurement(lines):
    """One round of one transport: what its processes say, added up."""
    source = next(line["source"] for line in lines if "source" in line)
    sink = next(line["sink"] for line in lines if "sink" in line)

    def per_frame(*keys):
        return sum(
            sum(line["process"][key] for key in keys) / line["counted"]
            for line in lines
        )

    return {
        "fps": sink["counted"] / sink["counted_s"],
        "cpu_us": 1e6 * per_frame("user_s", "system_s"),
        "p50_us": sink["latency_p50_us"],
        "p99_us": sink["latency_p99_us"],
        "faults": per_frame("minor_faults"),
        "switches": per_frame("voluntary_switches", "involuntary_switches"),
        "copied": copied_bytes(lines, source),
        "counted": f'{sink["counted_from"] + 1} – {source["frames"] - 1}',
    }


def faults_of(lines, processes):
    """What must not happen, in words."""
    found = []
    for line in lines:
        if line["result"] != "eos":
            found.append(f'{line["role"]}: {line["result"]}')
        for name in ("lost", "duplicated", "reordered", "damaged"):
            if line.get("sink", {}).get(name, 0):
                found.append(f'{line["sink"][name]} {name}')
        if line["result"] == "eos" and line["counted"] < 1:
            found.append(f'{line["role"]}: no frame was counted')
    if len(lines) != processes:
        found.append(f"{len(lines)} of {processes} processes reported")
    return found


def cell(values, digits):
    values = [value for value in values if value is not None]
    if not values:
        return "–"
    # A thousands separator that does not end a number in a Markdown table.
    show = lambda value: f"{value:,.{digits}f}".replace(",", " ")
    low, high = show(min(values)), show(max(values))
    text = show(statistics.median(values))
    return text if low == high else f"{text} ({low} – {high})"


def ratio(runs, reference, key):
    ratios = [
        run[key] / reference[number][key]
        for number, run in runs.items()
        if number in reference and reference[number][key]
    ]
    return f"{statistics.median(ratios):.2f}" if ratios else "–"


def table(case, by_transport, totals):
    reference = by_transport.get(REFERENCE, {})
    heads = ["transport"]
    for heading, _, _, has_ratio in COLUMNS:
        heads += [heading] + (["× queue"] if has_ratio else [])
    heads += ["lost / dup. / reordered / damaged", "rounds", "frames counted"]
    rows = [heads, ["---"] + ["--:"] * (len(heads) - 1)]
    for transport, runs in by_transport.items():
        row = [transport]
        for _, key, digits, has_ratio in COLUMNS:
            row.append(cell([run[key] for run in runs.values()], digits))
            if has_ratio:
                row.append(ratio(runs, reference, key))
        row.append(" / ".join(str(n) for n in totals[case, transport]))
        row.append(str(len(runs)))
        row.append(next(iter(runs.values()))["counted"] if runs else "–")
        rows.append(row)
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
            for line in cpuinfo:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.machine()


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    groups = collections.defaultdict(list)
    with open(sys.argv[1], encoding="utf-8") as raw:
        for text in raw:
            line = json.loads(text)
            groups[line["case"], line["transport"], line["round"]].append(line)

    cases = collections.defaultdict(lambda: collections.defaultdict(dict))
    totals = collections.defaultdict(lambda: [0, 0, 0, 0])
    failures = []
    for (case, transport, number), lines in groups.items():
        runs = cases[case][transport]
        found = faults_of(lines, 1 if transport == REFERENCE else 2)
        failures += [f"{case}, {transport}, round {number}: {f}" for f in found]
        for line in lines:
            for at, name in enumerate(
                ("lost", "duplicated", "reordered", "damaged")
            ):
                totals[case, transport][at] += line.get("sink", {}).get(name, 0)
        if not found:
            runs[number] = measurement(lines)

    version = next(
        (line["gstreamer"] for lines in groups.values() for line in lines
         if "gstreamer" in line),
        "GStreamer",
    )
    print("# Benchmarks\n")
    print(
        f"{os.cpu_count()} × {processor()}, Linux {platform.release()}, "
        f"{version}, load average {os.getloadavg()[0]:.1f} at the end. Median (smallest "
        "– largest) over the rounds; costs are of all processes together, from "
        "the first counted frame to EOS; × queue is the median of each round's "
        "ratio. The latency of an unpaced stream is mostly its time in the "
        "queue, and its speed depends on whether the scheduler puts source and "
        "sink on one processor.\n"
    )
    for case, by_transport in cases.items():
        print(f"## {CASES.get(case, case)}\n")
        print(table(case, by_transport, totals) + "\n")
    if failures:
        print("## Failures\n")
        print("\n".join(f"- {failure}" for failure in failures) + "\n")
    print(f"Each process's report: `{sys.argv[1]}`")
    return 1 if failures or not groups else 0


if __name__ == "__main__":
    sys.exit(main())
