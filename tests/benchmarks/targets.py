"""What the transport aims at, and what came of it: a report, no verdict."""

import statistics

# Fewer than one of anything in so many frames is what else goes on in a process.
NEARLY_NONE = 0.01


def key(name):
    return lambda run: run[name]


def to_queue(case, name, transport="mmap"):
    return lambda results: results.ratio((case, transport), (case, "queue"), key(name))


def added_by_a_reader(case_of_one, case_of_many, more):
    """CPU of each further reader, against that of a further branch of a tee."""

    def added(results, transport):
        # In each round; None where there is none.
        one, many = (results.runs.get(case, {}).get(transport, {})
                     for case in (case_of_one, case_of_many))
        return {n: (run["cpu_us"] - one[n]["cpu_us"]) / more
                for n, run in many.items() if n in one}

    def ratio(results):
        ours, queues = added(results, "mmap"), added(results, "queue")
        ratios = [ours[n] / queues[n] for n in ours if queues.get(n, 0) > 0]
        return statistics.median(ratios) if ratios else None

    return ratio


def most_in_any_case(name, holds):
    """Of all cases of mmap for which that holds, the largest median."""

    def most(results):
        values = [results.median(case, "mmap", name) for case in results.runs if holds(case)]
        return max((value for value in values if value is not None), default=None)

    return most


def kept(index):
    """Growth of one kind, of both processes together."""

    def value(results):
        runs = results.runs.get("64k-growth", {}).get("mmap", {})
        return statistics.median(run["kept"][index] for run in runs.values()) if runs else None

    return value


def copies_nothing(case):
    # A packet is copied once, and an encoder's output is packets.
    return not any(word in case for word in ("1k", "x264", "stripes", "wake"))


TARGETS = (
    [(f"{size} unpaced, untouched: frames/s", "× queue", to_queue(size, "fps"), ">=", 1.2)
     for size in ("1080p", "4k")]
    + [(f"{size} unpaced, untouched: CPU per frame", "× queue", to_queue(size, "cpu_us"), "<=", 0.8)
       for size in ("1080p", "4k")]
    + [("1 KiB packets, unpaced (copied once): packets/s", "× queue", to_queue("1k", "fps"),
        ">=", 1.0)]
    + [(f"{size} unpaced, written and read: frames/s", "× queue",
        to_queue(f"{size}-touched", "fps"), ">=", 0.97) for size in ("1080p", "4k")]
    + [(f"1080p at 60 frames/s: latency {name}", "× queue", to_queue("1080p-paced", f"{name}_us"),
        "<=", bound) for name, bound in (("p50", 1.1), ("p99", 1.2))]
    + [(f"… on a processor each, with busy-poll: latency {name}", "× queue",
        to_queue("1080p-paced-two-cores", f"{name}_us", "busy-poll"), "<=", bound)
       for name, bound in (("p50", 1.1), ("p99", 1.2))]
    + [
        ("1080p at 60 frames/s, there and back by a relay: latency p50", "× one way",
         lambda results: results.ratio(("round-trip-1080p-paced", "mmap"),
                                       ("1080p-paced", "mmap"), key("p50_us")), "<=", 2.2),
        ("1080p unpaced, there and back by a relay: time per frame", "× one way",
         lambda results: results.ratio(("1080p", "mmap"), ("round-trip-1080p", "mmap"),
                                       key("fps")), "<=", 2.2),
        ("minor faults per frame, the most of any case", "",
         most_in_any_case("faults", copies_nothing), "<=", 0),
        ("bytes copied per frame, the most of any case", "",
         most_in_any_case("copied", copies_nothing), "<=", 0),
        ("remote x264: frames/s", "× local", to_queue("x264-720p-touched", "fps"), ">=", 0.99),
        ("remote x264: CPU per frame", "× local", to_queue("x264-720p-touched", "cpu_us"),
         "<=", 1.01),
        ("fan-out of 1080p, unpaced: CPU of each further reader", "× a branch of tee",
         added_by_a_reader("fan-out-1-1080p", "fan-out-16-1080p", 15), "<=", 1.0),
        ("fan-out of 1080p at 60 frames/s: CPU of each further reader", "× a branch of tee",
         added_by_a_reader("fan-out-1-1080p-paced", "fan-out-16-1080p-paced", 15), "<=", 1.0),
        ("1080p inline (mmap=no): frames/s", "× gdp",
         lambda results: results.ratio(("1080p", "inline"), ("1080p", "gdp"), key("fps")),
         ">=", 2),
        ("64 KiB frames without end: growth of memory", "KiB", kept(0), "<=", 0),
        ("64 KiB frames without end: growth of descriptors", "", kept(1), "<=", 0),
        ("64 KiB frames without end: growth of arenas", "", kept(2), "<=", 0),
    ]
)


def rows(results):
    table = [["", "aimed at", "measured", "unit", ""]]
    for what, unit, measured, sign, bound in TARGETS:
        value = measured(results)
        if value is None:
            continue
        slack = NEARLY_NONE if bound == 0 else 0
        met = value >= bound if sign == ">=" else value <= bound + slack
        digits = 3 if unit == "× local" else 2
        aim = f"{'≥' if sign == '>=' else '≤'} {bound:g}"
        table.append([what, aim, f"{value:.{digits}f}", unit, "met" if met else "**not met**"])
    return table
