#!/usr/bin/env python3
"""Measures what it costs to carry frames over mmapsink/mmapsrc, beside a queue in one process and
what else there is for it: shmsink, unixfdsink, pipewiresink and gdp over a Unix socket, as far as
the installed GStreamer has them, and mmapsink with mmap=no (inline).

The transports take turns, and so do the cases, so that whatever else the machine does hits all of
them alike. Prints tables in Markdown. How fast something was never makes this fail. A lost,
duplicated, reordered or damaged frame and a process that fails do. All times are bounded.
"""

import argparse
import collections
import contextlib
import dataclasses
import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import plot
import summarize
import transports as carriers
from cases import FPS, all_cases

HERE = pathlib.Path(__file__).resolve().parent
# What hangs, of others too, must not take its time again in each round.
MOST_FAILURES = 2


@dataclasses.dataclass
class Extent:
    """How much of it all."""

    rounds: int
    seconds: tuple  # to warm up, and to measure
    paced_seconds: tuple
    frames_of_growth: int
    cases: tuple = ()  # none: all
    # Of these cases all transports are measured, of others these (none: all).
    all_transports: tuple = ()
    transports: tuple = ()


FULL = Extent(5, (1, 1.5), (0.5, 3), 1_000_000)
QUICK = Extent(
    1, (0.15, 0.4), (0.3, 1.2), 100_000,
    ("1k", "64k", "1080p", "4k", "1080p-touched", "4k-touched", "1080p-paced", "round-trip-1080p",
     "round-trip-1080p-paced", "fan-out-1-1080p", "fan-out-4-1080p", "fan-out-16-1080p",
     "x264-720p-touched", "stripes-1-360p-touched-paced", "stripes-8-360p-touched-paced",
     "wake-paced", "64k-growth"),
    ("1080p", "1080p-paced"),
    ("queue", "mmap"),
)
# Whether all of it arrives, and no more.
SMOKE = Extent(
    1, (0.05, 0.1), (0.1, 0.3), 5000,
    ("1k", "1080p-touched", "1080p-paced", "1080p-paced-two-cores", "round-trip-1080p-touched",
     "fan-out-4-1080p", "x264-720p-touched", "stripes-8-360p-touched-paced", "wake-paced",
     "64k-growth"),
    (),
    ("queue", "mmap", "inline", "busy-poll"),
)


def warn(text):
    print(f"run.sh: {text}", file=sys.stderr, flush=True)


class Running:
    """The processes of one measurement."""

    def __init__(self, bench, labels, bound, place, daemon):
        self.bench, self.labels, self.bound, self.place = bench, labels, bound, place
        self.daemon = daemon
        self.deadline = time.monotonic() + bound + 60
        self.started = []

    def start(self, process):
        while process.waits_for and not pathlib.Path(process.waits_for).exists():
            # Without a socket, too: the failure to connect is what is to be reported.
            if any(one.poll() is not None for _, one in self.started):
                break
            if time.monotonic() > self.deadline:
                break
            time.sleep(0.005)
        labels = [f"--label={name}={value}" for name, value in self.labels.items()]
        command = [self.bench, f"--timeout={self.bound}", *labels, f"--label=role={process.role}",
                   *process.options, *process.words]
        if process.cpus:
            command = ["taskset", "-c", ",".join(map(str, process.cpus)), *command]
        log = open(self.place / f"{len(self.started)}.log", "w+", encoding="utf-8")
        one = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=log, text=True,
                               env=self.daemon.environment if self.daemon else None,
                               pass_fds=[end.fileno() for end in process.sockets])
        one.log = log
        for end in process.sockets:
            end.close()
        self.started.append((process, one))

    def lines(self):
        """What each says, one after the other; of one that says nothing, that it did not."""
        # Those that were started last end first; who lingers does until its turn comes.
        for process, one in reversed(self.started):
            try:
                text, _ = one.communicate(timeout=max(0.1, self.deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                one.kill()
                text, _ = one.communicate()
            try:
                line = json.loads(text)
            except ValueError:
                line = dict(self.labels, role=process.role,
                            result=f"no report, exit status {one.returncode}")
            if line["result"] != "eos":
                # Nothing comes of the others any more, but what they have to say of it.
                self.deadline = min(self.deadline, time.monotonic() + 5)
                one.log.seek(0)
                warn(f"{line['case']}, {line['transport']}, {process.role}: {line['result']}\n"
                     + "".join(one.log.readlines()[-20:]))
            yield line
        if self.daemon:
            yield dict(self.labels, **self.daemon.line())

    def end(self):
        for _, one in self.started:
            if one.poll() is None:
                one.kill()
                one.wait()
            one.log.close()


def measure(bench, case, transport, extent, number):
    warm_up, seconds = extent.paced_seconds if case.paced else extent.seconds
    times = [f"frames={case.frames}"] if case.frames else [f"warm-up={warm_up}",
                                                           f"seconds={seconds}"]
    bound = 300 if case.frames else int(45 + warm_up + seconds)
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory(prefix="mmap-benchmark-"))
        processes = carriers.place_on_processors(case, transport.processes(case, place))
        daemon = stack.enter_context(transport.around(place)) if transport.around else None
        labels = {"case": case.name, "transport": transport.name, "round": str(number),
                  "processes": str(len(processes) + bool(daemon))}
        running = Running(bench, labels, bound, pathlib.Path(place), daemon)
        stack.callback(running.end)
        for process in processes:
            if "benchsrc" in process.words:
                process.words[1:1] = times
            if case.shape == "wake":
                process.options.append(f"--wake-frames={max(1, round(seconds * FPS))}")
            if case.frames:
                process.options.append("--kept")
            running.start(process)
        if daemon:
            daemon.connect(time.monotonic() + bound)
        return list(running.lines())


def run(bench, cases, transports, extent, raw):
    """All measurements, one line of JSON for each process into raw."""
    failures = collections.Counter()
    for number in range(1, extent.rounds + 1):
        for case in cases:
            few = extent.transports and case.name not in extent.all_transports
            order = [one for one in transports
                     if one.suits(case) and (not few or one.name in extent.transports)]
            # Nobody always runs first, or always after the same neighbour.
            turn = number % len(order) if order else 0
            for transport in order[turn:] + order[:turn]:
                if failures[case, transport] >= MOST_FAILURES:
                    continue
                lines = measure(bench, case, transport, extent, number)
                failures[case, transport] += any(line["result"] != "eos" for line in lines)
                for line in lines:
                    print(json.dumps(line), file=raw, flush=True)


def environment(build):
    # The name with the version wins where both are set.
    others = os.environ.get("GST_PLUGIN_PATH_1_0", os.environ.get("GST_PLUGIN_PATH"))
    paths = [str(build / "elements")] + ([others] if others else [])
    os.environ["GST_PLUGIN_PATH_1_0"] = ":".join(paths)
    os.environ.setdefault("GST_REGISTRY_1_0", str(build / "tests" / "registry.bin"))
    libraries = [str(build / "gst")] + os.environ.get("LD_LIBRARY_PATH", "").split(":")
    os.environ["LD_LIBRARY_PATH"] = ":".join(filter(None, libraries))


def has(bench, element):
    return subprocess.run([bench, f"--have={element}"], check=False).returncode == 0


def chosen(options, bench, extent):
    """Cases and transports, without those that are not to be had here; which is said."""
    known = {case.name: case for case in all_cases(extent.frames_of_growth)}
    names = options.cases or extent.cases or known
    wrong = [name for name in names if name not in known]
    if wrong:
        sys.exit(f"run.sh: there are no cases {', '.join(wrong)}, but {', '.join(known)}")
    cases = [known[name] for name in names]
    if len(carriers.processors()) < 2 and any(case.cores == "two-cores" for case in cases):
        warn("only one processor here: leaving out what takes two")
        cases = [case for case in cases if case.cores != "two-cores"]
    for shape, encoder in (("x264", "x264enc"), ("stripes", "openjpegenc")):
        if any(case.shape == shape for case in cases) and not has(bench, encoder):
            warn(f"there is no {encoder} here: leaving out what takes it")
            cases = [case for case in cases if case.shape != shape]

    wrong = [name for name in options.transports if name not in carriers.TRANSPORTS]
    if wrong:
        sys.exit(f"run.sh: there are no transports {', '.join(wrong)}, but "
                 + ", ".join(carriers.TRANSPORTS))
    transports = []
    for name in options.transports or carriers.TRANSPORTS:
        transport = carriers.TRANSPORTS[name]
        missing = [one for one in transport.needs if not has(bench, one)]
        missing += [one for one in transport.programs if not shutil.which(one)]
        if "mmapsink" in missing:
            sys.exit("run.sh: there is no mmapsink in that build")
        if missing:
            warn(f"there is no {missing[0]} here: measuring without {name}")
        else:
            transports.append(transport)
    return cases, transports


def parse():
    parser = argparse.ArgumentParser(
        prog="run.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the main cases, in under a minute")
    parser.add_argument("--smoke", action="store_true",
                        help="only whether all of it arrives, in some seconds")
    parser.add_argument("--build", type=pathlib.Path, default=HERE / "../../build", metavar="DIR")
    parser.add_argument("--output", type=pathlib.Path, metavar="FILE.md",
                        help="the tables go here, in place of the standard output")
    parser.add_argument("--plot", type=pathlib.Path, metavar="FILE.svg", help="also a plot")
    parser.add_argument("--raw", type=pathlib.Path, metavar="FILE.jsonl",
                        help="what each process said is kept here (default: beside FILE.md, or "
                        "last.jsonl in the build)")
    parser.add_argument("--transports", type=str.split, default=[], metavar='"queue mmap"')
    parser.add_argument("--cases", type=str.split, default=[], metavar='"1k 1080p-paced"')
    parser.add_argument("--rounds", type=int, help="how often each is measured")
    parser.add_argument("--seconds", type=float, help="for how long each is measured")
    parser.add_argument("--list", action="store_true", help="say which cases there are")
    return parser.parse_args()


def main():
    options = parse()
    extent = SMOKE if options.smoke else QUICK if options.quick else FULL
    if options.rounds:
        extent.rounds = options.rounds
    if options.seconds:
        extent.seconds = (extent.seconds[0], options.seconds)
        extent.paced_seconds = (extent.paced_seconds[0], options.seconds)
    if options.cases or options.transports:
        extent.transports = ()
    if options.list:
        for case in all_cases(extent.frames_of_growth):
            print(f"{case.name:28} {case.title}")
        return 0
    build = options.build.resolve()
    bench = build / "tests" / "benchmarks" / "bench"
    if not bench.exists():
        sys.exit(f"run.sh: no {bench}: build it first")
    environment(build)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cases, transports = chosen(options, bench, extent)

    raw = options.raw or (options.output and options.output.with_suffix(".jsonl"))
    raw = raw or bench.with_name("last.jsonl")
    begin = time.monotonic()
    with open(raw, "w", encoding="utf-8") as lines:
        run(bench, cases, transports, extent, lines)
    results = summarize.Results(raw)
    tables = io.StringIO()
    with contextlib.redirect_stdout(tables):
        summarize.report(results, time.monotonic() - begin)
    if options.output:
        options.output.write_text(tables.getvalue(), encoding="utf-8")
    else:
        print(tables.getvalue(), end="")
    if options.plot:
        options.plot.write_text(plot.svg(results), encoding="utf-8")
    return 1 if results.failed or not results.runs else 0


if __name__ == "__main__":
    sys.exit(main())
