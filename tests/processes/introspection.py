#!/usr/bin/python3
"""The library as Python sees it, by its typelib: what a sender writes and what a reader receives lies in
an arena, at the same place; other memory in none."""

import os
import sys
import tempfile

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstMmap", "1.0")
from gi.repository import Gst, GstMmap

FRAMES = 5


def place_of(buffer):
    memory = buffer.peek_memory(0)
    assert GstMmap.is_mmap_memory(memory)
    assert memory.is_type(GstMmap.MMAP_MEMORY_TYPE)
    inode = os.fstat(GstMmap.mmap_memory_get_fd(memory)).st_ino
    return inode, GstMmap.mmap_memory_get_offset(memory)


def check_link(path):
    sender = Gst.parse_launch(
        f"videotestsrc num-buffers={FRAMES} ! mmapsink name=sink wait-for-connection=true "
        f"socket-path={path}"
    )
    reader = Gst.parse_launch(f"mmapsrc socket-path={path} ! appsink name=end sync=false")
    written = []

    def on_frame(_, info):
        written.append(place_of(info.get_buffer()))
        return Gst.PadProbeReturn.OK

    sink = sender.get_by_name("sink").get_static_pad("sink")
    sink.add_probe(Gst.PadProbeType.BUFFER, on_frame)
    for pipeline in (sender, reader):
        pipeline.set_state(Gst.State.PLAYING)
    # All are held, or a later frame might lie where one before did.
    samples = []
    while sample := reader.get_by_name("end").emit("try-pull-sample", 20 * Gst.SECOND):
        samples.append(sample)
    read = [place_of(sample.get_buffer()) for sample in samples]
    for pipeline in (sender, reader):
        pipeline.set_state(Gst.State.NULL)
    assert len(read) == FRAMES, f"{len(read)} frames came, not {FRAMES}"
    assert read == written, f"written at {written}, read at {read}"


def check_other_memory():
    memory = Gst.Buffer.new_allocate(None, 100, None).peek_memory(0)
    for other in (memory, None):
        assert not GstMmap.is_mmap_memory(other)
    assert GstMmap.mmap_memory_get_fd(memory) == -1
    assert GstMmap.mmap_memory_get_offset(memory) == 0


def main():
    Gst.init(None)
    check_other_memory()
    assert GstMmap.MmapAllocator.__gtype__.is_a(Gst.Allocator)
    with tempfile.TemporaryDirectory() as directory:
        check_link(f"{directory}/link")


if __name__ == "__main__":
    sys.exit(main())
