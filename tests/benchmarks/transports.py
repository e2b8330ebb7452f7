"""The transports, and the processes that each takes for a case."""

import dataclasses
import os
import socket

import pipewire

X264 = "x264enc name=relay speed-preset=ultrafast tune=zerolatency"
STRIPES = "openjpegenc name=relay num-stripes={}"
QUEUE = "queue max-size-buffers=8 max-size-bytes=0 max-size-time=0"


def encoder(case):
    return (STRIPES.format(case.stripes) if case.shape == "stripes" else X264).split()


@dataclasses.dataclass
class Process:
    role: str
    words: list
    options: list = dataclasses.field(default_factory=list)
    waits_for: str = ""  # a socket that must be there before it starts
    sockets: list = dataclasses.field(default_factory=list)  # that it inherits
    cpus: list = dataclasses.field(default_factory=list)


class Transport:
    """One that goes one way, by a path, between an element in each process."""

    needs = ()  # elements
    programs = ()
    shapes = ("one-way", "round-trip", "fan-out")
    endless = False  # whether growth is looked for
    # What benchsrc and benchsink have to do for it.
    source_words = ()
    sink_words = ()
    source_options = ()
    # A context of what else runs meanwhile; None where nothing does.
    around = None

    def __init__(self, name):
        self.name = name

    def suits(self, case):
        return case.shape in self.shapes and (self.endless or not case.frames)

    def processes(self, case, place):
        """In the order in which they are started."""
        source = case.source() + list(self.source_words)
        sink = case.sink() + list(self.sink_words)
        if case.shape == "round-trip":
            there, back = f"{place}/there", f"{place}/back"
            relay = self.receive(there, case) + "! identity name=relay !".split()
            return [
                Process("source", source + ["!"] + self.send(there)),
                Process("relay", relay + self.send(back), waits_for=there),
                Process("sink", self.receive(back, case) + ["!"] + sink, waits_for=back),
            ]
        path = f"{place}/socket"
        return [
            Process("source", source + ["!"] + self.send(path), list(self.source_options)
                    + ([f"--readers={case.readers}"] if case.readers > 1 else [])),
        ] + [
            Process("sink", self.receive(path, case) + ["!"] + sink, waits_for=path)
            for _ in range(case.readers)
        ]


class Queue(Transport):
    """Threads of one process."""

    endless = True
    shapes = ("one-way", "round-trip", "fan-out", "x264", "stripes", "wake")

    def processes(self, case, place):
        if case.shape == "wake":
            return [Process("all", [], ["--wake=thread"])]
        source, sink = case.source(), case.sink()
        queue = ["!"] + QUEUE.split() + ["!"]
        if case.cores:
            # Two threads of one process: which is where is for them to say.
            cpus = processors()
            source += [f"cpu={cpus[0]}"]
            sink += [f"cpu={cpus[1 if case.cores == 'two-cores' else 0]}"]
        if case.shape == "round-trip":
            return [Process("all", source + queue + ["identity"] + queue + sink)]
        if case.encodes:
            return [Process("all", source + queue + encoder(case) + ["!"] + sink)]
        if case.shape == "fan-out":
            branches = (["tee."] + queue + sink) * case.readers
            return [Process("all", source + "! tee name=tee".split() + branches)]
        return [Process("all", source + queue + sink)]


class Shm(Transport):
    needs = ("shmsink",)
    shapes = ("one-way", "fan-out")  # a relay would have to be told where the stream ends
    # A pool without a limit takes all of the area, and shmsink waits for ever.
    source_words = ("own-pool-buffers=8",)
    sink_words = ("end-with-last=true",)
    source_options = ("--linger",)

    def send(self, path):
        return ["shmsink", f"socket-path={path}", "wait-for-connection=true", "sync=false",
                "shm-size=167772160"]

    def receive(self, path, case):
        return ["shmsrc", f"socket-path={path}", "!", case.caps]


class UnixFd(Transport):
    needs = ("unixfdsink",)
    shapes = ("one-way", "round-trip")  # it does not tell how many readers have come
    # It stands still when too many small ones are in flight.
    source_words = ("own-pool-buffers=8",)

    def send(self, path):
        return ["unixfdsink", f"socket-path={path}", "wait-for-connection=true", "sync=false",
                "async=false", "enable-last-sample=false"]

    def receive(self, path, case):
        return ["unixfdsrc", f"socket-path={path}"]


class Gdp(Transport):
    """gdppay and gdpdepay, with a socketpair between fdsink and fdsrc."""

    needs = ("gdppay",)

    @staticmethod
    def into(end):
        return ["fdsink", f"fd={end.fileno()}", "sync=false", "async=false"]

    @staticmethod
    def out_of(end, case):
        # Small reads cost it more than anything else does, so it reads as much as a frame.
        size = max(4096, case.bytes)
        return ["fdsrc", f"fd={end.fileno()}", f"blocksize={size}", "!", "gdpdepay", "!"]

    def processes(self, case, place):
        source, sink, pay = case.source(), case.sink(), "! gdppay !".split()
        near, far = zip(*(socket.socketpair() for _ in range(max(2, case.readers))))
        if case.shape == "round-trip":
            relay = self.out_of(far[0], case) + "identity name=relay".split() + pay
            return [
                Process("source", source + pay + self.into(near[0]), sockets=[near[0]]),
                Process("relay", relay + self.into(near[1]), sockets=[far[0], near[1]]),
                Process("sink", self.out_of(far[1], case) + sink, sockets=[far[1]]),
            ]
        near, far = near[:case.readers], far[:case.readers]
        branches = ["tee", "name=tee"] * (case.readers > 1)
        for end in near:
            branches += (["tee.", "!"] + QUEUE.split() + ["!"]) * (case.readers > 1)
            branches += self.into(end)
        return [Process("source", source + pay + branches, sockets=list(near))] + [
            Process("sink", self.out_of(end, case) + sink, sockets=[end]) for end in far
        ]


class PipeWire(Transport):
    """Paced only: as fast as it goes, it stands still."""

    needs = ("pipewiresink",)
    programs = ("pipewire", "pw-link")
    shapes = ("one-way",)
    sink_words = ("end-with-last=true",)
    source_options = ("--linger",)
    around = staticmethod(pipewire.daemon)

    def suits(self, case):
        return super().suits(case) and case.paced and case.size in ("1080p", "4k")

    def processes(self, case, place):
        processes = super().processes(case, place)
        for process in processes:
            process.waits_for = f"{place}/pipewire-0"
        return processes

    def send(self, path):
        return ["pipewiresink", "mode=provide", "sync=false", "enable-last-sample=false",
                f"stream-properties=props,node.name={pipewire.SENDER}"]

    def receive(self, path, case):
        return ["pipewiresrc", f"stream-properties=props,node.name={pipewire.READER}"]


class Mmap(Transport):
    shapes = ("one-way", "round-trip", "fan-out", "x264", "stripes", "wake")
    needs = ("mmapsink",)
    endless = True
    mode = ()  # what both sides are told of what may be mapped

    def send(self, path, role="server"):
        return ["mmapsink", f"socket-path={path}", f"role={role}", "max-buffers=8",
                "wait-for-connection=true", *self.mode]

    def receive(self, path, case=None, role="client"):
        return ["mmapsrc", f"socket-path={path}", f"role={role}", *self.mode]

    def processes(self, case, place):
        if case.shape == "wake":
            return [Process("both", [], ["--wake=process"])]
        if case.shape != "round-trip" and not case.encodes:
            return super().processes(case, place)
        path = f"{place}/socket"
        far = encoder(case) if case.encodes else "identity name=relay".split()
        server = self.receive(path, role="server") + (["mmap=yes"] if not self.mode else [])
        server += ["!"] + far + ["!"] + self.send(path, role="server")
        client = case.source() + ["!"] + self.send(path, role="client")
        client += self.receive(path, role="client") + ["!"] + case.sink()
        return [Process("relay", server), Process("client", client, waits_for=path)]


class Inline(Mmap):
    shapes = ("one-way", "round-trip", "fan-out", "x264", "stripes")
    mode = ("mmap=no",)


class BusyPoll(Mmap):
    """That looks for what is due: for who has a processor to itself."""

    shapes = ("one-way",)

    def suits(self, case):
        return super().suits(case) and case.paced and case.cores == "two-cores"

    def receive(self, path, case=None, role="client"):
        return super().receive(path, case, role) + ["busy-poll=500000"]


TRANSPORTS = {
    name: kind(name)
    for name, kind in (
        ("queue", Queue),
        ("mmap", Mmap),
        ("inline", Inline),
        ("busy-poll", BusyPoll),
        ("shm", Shm),
        ("unixfd", UnixFd),
        ("gdp", Gdp),
        ("pipewire", PipeWire),
    )
}


def processors():
    return sorted(os.sched_getaffinity(0))


def place_on_processors(case, processes):
    """Each process on its own processor, or all on one."""
    cpus = processors()
    if case.cores == "two-cores":
        for index, process in enumerate(processes):
            process.cpus = cpus[:2] if len(processes) == 1 else [cpus[index % 2]]
    elif case.cores == "one-core":
        for process in processes:
            process.cpus = cpus[:1]
    return processes
