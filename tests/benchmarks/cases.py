"""What is measured: which frames, which way."""

import dataclasses
import itertools

RAW = "video/x-raw,format={format},width={width},height={height},framerate=60/1"
PICTURES = {
    "64k": ("GRAY8", 256, 256),
    "360p": ("I420", 640, 360),
    "720p": ("I420", 1280, 720),
    "1080p": ("I420", 1920, 1080),
    "4k": ("I420", 3840, 2160),
}
SIZES = ("1k", "64k", "1080p", "4k")
WORDS = {
    "1k": "packets of 1 KiB",
    "64k": "64 KiB frames",
    "360p": "360p I420",
    "720p": "720p I420",
    "": "no frames",
    "1080p": "1080p I420",
    "4k": "4K I420",
}
FPS = 60
FAN_OUT = (1, 4, 16)


@dataclasses.dataclass(frozen=True)
class Case:
    size: str
    shape: str = "one-way"  # round-trip, fan-out, x264, stripes, wake
    touched: bool = False
    paced: bool = False
    readers: int = 1
    stripes: int = 1
    cores: str = ""  # "two-cores": source and sink on one each, "one-core"
    frames: int = 0  # that many instead of a time

    @property
    def name(self):
        shape = {"one-way": "", "fan-out": f"fan-out-{self.readers}",
                 "stripes": f"stripes-{self.stripes}"}.get(self.shape, self.shape)
        words = [shape, self.size, "touched" * self.touched, "paced" * self.paced, self.cores]
        words.append("growth" if self.frames else "")
        return "-".join(word for word in words if word)

    @property
    def title(self):
        shape = {
            "one-way": "one way",
            "round-trip": "there and back, through `identity` in another process",
            "fan-out": f"{self.readers} reader{'s' * (self.readers > 1)}",
            "stripes": "there and back, through openjpegenc in another process, which gives out "
                       + (f"{self.stripes} stripes, one by one" if self.stripes > 1
                          else "whole frames"),
            "wake": "but a reader that a futex wakes, another thread (`queue`) or another "
                    "process (`mmap`)",
            "x264": "there and back, through x264enc (ultrafast, zerolatency) in another process",
        }[self.shape]
        words = [WORDS[self.size], shape]
        words.append(f"at {FPS} frames/s" if self.paced else "unpaced")
        if self.size:
            words.append("every byte written" if self.touched else "untouched")
        if self.touched and not self.encodes:
            words[-1] += ", read and checked"
        if self.frames:
            words.append("whether anything grows")
        if self.cores:
            words.append({"two-cores": "source and sink on a processor each",
                          "one-core": "all on one processor"}[self.cores])
        return ", ".join(words)

    @property
    def encodes(self):
        return self.shape in ("x264", "stripes")

    @property
    def bytes(self):
        if self.size == "1k":
            return 1024
        pixel_format, width, height = PICTURES[self.size]
        return width * height * (2 if pixel_format == "GRAY8" else 3) // 2

    @property
    def caps(self):
        if self.size == "1k":
            return "application/octet-stream"
        pixel_format, width, height = PICTURES[self.size]
        return RAW.format(format=pixel_format, width=width, height=height)

    def source(self):
        if self.size == "1k":
            words = ["benchsrc", "size=1024"]
        else:
            pixel_format, width, height = PICTURES[self.size]
            words = ["benchsrc", f"format={pixel_format}", f"width={width}", f"height={height}"]
        return words + [f"fps={FPS}"] * self.paced + ["touch=true"] * self.touched

    def sink(self):
        if self.shape == "stripes":
            return ["benchsink", "encoded=true", f"pieces={str(self.stripes > 1).lower()}"]
        if self.shape == "x264":
            return ["benchsink", "encoded=true"]
        return ["benchsink"] + ["touch=true"] * self.touched


def all_cases(frames_of_growth):
    for size, touched, paced in itertools.product(SIZES, (False, True), (False, True)):
        yield Case(size, touched=touched, paced=paced)
    for cores in ("two-cores", "one-core"):
        yield Case("1080p", cores=cores)
    yield Case("1080p", paced=True, cores="two-cores")
    for touched, paced in ((False, False), (True, False), (False, True)):
        yield Case("1080p", "round-trip", touched, paced)
    for paced, readers in itertools.product((False, True), FAN_OUT):
        yield Case("1080p", "fan-out", paced=paced, readers=readers)
    yield Case("720p", "x264", touched=True)
    for stripes in (1, 8):
        yield Case("360p", "stripes", touched=True, paced=True, stripes=stripes)
    yield Case("", "wake", paced=True)
    yield Case("64k", frames=frames_of_growth)
