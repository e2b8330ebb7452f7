#!/usr/bin/python3
"""The smallest program that has its picture encoded by another process: ten seconds of a test
picture go to the server, and packets come back, into a file.

  remote.py SOCKET FILE

SOCKET is a server's, such as that of `encode-server SOCKET`. remote.cpp is the same in C++.
"""

import sys

try:
    import gi

    gi.require_version("Gst", "1.0")
    from gi.repository import GLib, Gst
except (ImportError, ValueError) as error:
    sys.exit(f"{error}: this takes the packages python3-gi and gir1.2-gstreamer-1.0")


def main():
    Gst.init(None)
    if len(sys.argv) != 3:
        sys.exit("usage: remote.py SOCKET FILE")
    try:
        pipeline = Gst.parse_launch_full(
            "videotestsrc num-buffers=300 ! video/x-raw,width=640,height=480,framerate=30/1 ! "
            # Where an encoder would stand. A server is waited for, for ten seconds.
            "mmapremote name=remote connection-timeout=10000000000 ! "
            "h264parse ! matroskamux ! filesink name=file",
            None,
            Gst.ParseFlags.FATAL_ERRORS,
        )
    except GLib.Error as error:
        sys.exit(f"can't make the pipeline: {error.message}")
    pipeline.get_by_name("remote").set_property("socket-path", sys.argv[1])
    pipeline.get_by_name("file").set_property("location", sys.argv[2])

    pipeline.set_state(Gst.State.PLAYING)
    message = pipeline.get_bus().timed_pop_filtered(
        Gst.CLOCK_TIME_NONE, Gst.MessageType.EOS | Gst.MessageType.ERROR
    )
    pipeline.set_state(Gst.State.NULL)
    if message.type == Gst.MessageType.ERROR:
        sys.exit(message.parse_error()[0].message)


if __name__ == "__main__":
    main()
