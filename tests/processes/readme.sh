#!/bin/bash
# Runs the launch lines of README.md as they stand there, two processes at a time, with a test picture
# for the camera and nothing for the screen, and an end.
#
#   readme.sh BUILD_DIR
set -euo pipefail

build=$(realpath "$1")
# shellcheck source=tests/processes/lines.sh
. "$(dirname "$0")/lines.sh"

readme=$docs/../README.md
mapfile -t lines < <(grep -E '^(gst-launch-1.0 .*mmap|gst-mmap-server --socket)' "$readme")
[ "${#lines[@]}" -eq 7 ] || { echo "README.md has ${#lines[@]} launch lines, not 7" >&2; exit 1; }

# The line as it can run here.
fit() {
  local line=${1//\/tmp\//$work/}
  line=${line//v4l2src/$picture}
  # Without an end of its own the sender would not stop; without a reader it would not wait.
  line=${line/videotestsrc ! mmapsink/$picture ! mmapsink wait-for-connection=true}
  line=${line//autovideosink/fakesink}
  # It would wait for further clients.
  line=${line/gst-mmap-server/$build/gst/tools/gst-mmap-server --idle-timeout=5}
  echo "${line//location=out.mkv/location=$work/out.mkv}"
}

pair "$(fit "${lines[0]}")" "$(fit "${lines[1]}")"
[ -s "$work/out.mkv" ] || { echo "nothing was recorded" >&2; exit 1; }
# What is mapped, and what goes through the socket.
for reader in 3 6; do
  pair "$(fit "${lines[2]}")" "$(fit "${lines[reader]}")"
done
rm "$work/out.mkv"
pair "$(fit "${lines[4]}")" "$(fit "${lines[5]}")"
[ -s "$work/out.mkv" ] || { echo "nothing was recorded" >&2; exit 1; }
