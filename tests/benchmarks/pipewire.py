"""A PipeWire daemon of our own, for a pipewiresink and a pipewiresrc that are linked by hand: who
would link them otherwise is a session manager, which has no part in carrying frames."""

import contextlib
import os
import pathlib
import subprocess
import time

SENDER, READER = "benchsrc", "benchsink"


class Daemon:
    def __init__(self, place):
        self.environment = dict(os.environ, XDG_RUNTIME_DIR=str(place), HOME=str(place))
        self.log = open(pathlib.Path(place) / "pipewire.log", "w", encoding="utf-8")
        self.process = subprocess.Popen(["pipewire"], env=self.environment, stdout=self.log,
                                        stderr=self.log, stdin=subprocess.DEVNULL)
        self.socket = str(pathlib.Path(place) / "pipewire-0")
        self.before = None

    def port(self, name, option):
        found = subprocess.run(["pw-link", option], env=self.environment, text=True, timeout=10,
                               capture_output=True, check=False).stdout.split("\n")
        return next((port for port in found if port.startswith(name + ":")), None)

    def connect(self, deadline):
        """As soon as both are there; without it the reader would wait until its time is over."""
        while time.monotonic() < deadline:
            ports = self.port(SENDER, "-o"), self.port(READER, "-i")
            if all(ports) and not subprocess.run(["pw-link", *ports], env=self.environment,
                                                 timeout=10, check=False).returncode:
                break
            time.sleep(0.02)
        self.before = self.usage()

    def usage(self):
        """Since it started, in the words of bench."""
        task = pathlib.Path(f"/proc/{self.process.pid}/task")
        used = dict.fromkeys(
            ("user_s", "system_s", "minor_faults", "voluntary_switches", "involuntary_switches"), 0)
        for thread in task.iterdir():
            used["user_s"] += int((thread / "schedstat").read_text().split()[0]) / 1e9
            used["minor_faults"] += int((thread / "stat").read_text().split(")")[1].split()[7])
            for line in (thread / "status").read_text().splitlines():
                if line.startswith("voluntary_ctxt"):
                    used["voluntary_switches"] += int(line.split()[1])
                elif line.startswith("nonvoluntary_ctxt"):
                    used["involuntary_switches"] += int(line.split()[1])
        return used

    def line(self):
        """What it did from the link on: warm-up too, since nobody tells it of that."""
        after = self.usage()
        return {"role": "daemon", "result": "eos",
                "process": {name: after[name] - self.before[name] for name in after}}

    def end(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


@contextlib.contextmanager
def daemon(place):
    one = Daemon(place)
    try:
        yield one
    finally:
        one.end()
