#!/bin/bash
# Runs what is in examples/, but for the quick start: with a server, a reader or a screen where it takes
# one, and looks at what comes of it.
#
#   examples.sh BUILD_DIR CASE
set -euo pipefail

build=$(realpath "$1")
# shellcheck source=tests/processes/lines.sh
. "$(dirname "$0")/lines.sh"
examples=$docs/../examples

fail() {
  echo "$*" >&2
  for log in "$work"/*.log; do sed "s|^|${log##*/}: |" "$log" >&2; done
  exit 1
}

declare -A processes

# start NAME COMMAND... - in the background, what it says in NAME.log. As a job, since others ignore
# SIGINT, and timeout (coreutils 9.10) does not hand on then what it is sent.
start() {
  local name=$1
  shift
  set -m
  timeout -k 10 100 "$@" >"$work/$name.log" 2>&1 &
  processes[$name]=$!
  set +m
}

ends_well() { wait "${processes[$1]}" || fail "$1 ended with $?"; }

# until_true WHAT COMMAND... - which says yes in the end
until_true() {
  local what=$1 end=$((SECONDS + 60))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || fail "$what"
    sleep 0.1
  done
}

grows() { [ "$(stat -c %s "$1" 2>/dev/null || echo 0)" -gt 20000 ]; }

frames_in() {
  timeout 60 gst-launch-1.0 -q filesrc location="$1" ! matroskademux ! h264parse ! avdec_h264 \
    ! checksumsink sync=false | wc -l
}

# --- a screen ----------------------------------------------------------------------------------

start_screen() {
  # shellcheck disable=SC2016
  start screen bash -c 'exec Xvfb -displayfd 3 -noreset -screen 0 1280x480x24 3>"$0"' \
    "$work/display"
  until_true "there is no screen" test -s "$work/display"
  DISPLAY=:$(<"$work/display")
  export DISPLAY
  unset WAYLAND_DISPLAY
  # autovideosink of GStreamer 1.28 takes it for one, and libdrm waits for a card where there is none.
  export GST_PLUGIN_FEATURE_RANK=kmssink:NONE
}

# shows COLOUR... - whether these stand side by side in the upper part of the screen, each on 91 of its
# 1280 columns: a picture of videotestsrc has seven of them on 640
shows() {
  timeout 30 gst-launch-1.0 -q ximagesrc num-buffers=1 use-damage=false show-pointer=false \
    ! videoconvert ! video/x-raw,format=RGB ! filesink location="$work/screen.rgb" &&
    python3 - "$work/screen.rgb" "$@" >"$work/shows.log" <<'PYTHON'
import sys
pixels, wanted = open(sys.argv[1], "rb").read(), sys.argv[2:]
width, row = 1280, 100
colours = dict(black="000", white="111", yellow="110", cyan="011", green="010", magenta="101",
               red="100", blue="001")
seen = []
for i in range(len(wanted)):
    at = (row * width + (2 * i + 1) * 640 // 14) * 3
    # An encoder may change them a little.
    near = [0 if v < 50 else 1 if v > 205 else "?" for v in pixels[at:at + 3]]
    seen.append("".join(map(str, near)))
if seen != [colours[w] for w in wanted]:
    print("the screen shows", *seen)
    sys.exit(1)
PYTHON
}

bars=(white yellow cyan green magenta red blue)
mirrored=(blue red magenta green cyan yellow white)

# --- the cases ---------------------------------------------------------------------------------

# remote PROGRAM
remote() {
  if "$1" >"$work/usage.log" 2>&1; then fail "no argument is no error"; fi
  grep -q '^usage:' "$work/usage.log" || fail "it does not say what it takes"
  start server "$build/examples/encode-server" "$work/enc"
  start client "$1" "$work/enc" "$work/out.mkv"
  ends_well client
  ends_well server
  [ "$(frames_in "$work/out.mkv")" -eq 300 ] || fail "there are not 300 frames in the file"
}

own_frames() {
  start reader "$build/examples/own-frames" read "$work/own"
  start writer "$build/examples/own-frames" write "$work/own"
  ends_well writer
  ends_well reader
  [ "$(grep -c '^frame ' "$work/writer.log")" -eq 100 ] || fail "these are not 100 frames"
  grep -qx bytes-copied=0 "$work/writer.log" || fail "something was copied"
  # The frames, where they lie, what is in them, and what was copied.
  diff <(grep -v '^info' "$work/writer.log") <(grep -v '^info' "$work/reader.log") ||
    fail "the reader saw something else"
}

# The server turns the picture round, so that no half can be taken for the other.
viewer() {
  start_screen
  ! shows "${bars[@]}" "${mirrored[@]}" || fail "this was on the screen before"
  start viewer "$build/examples/viewer" "$work/enc"
  start server gst-launch-1.0 mmapsrc role=server mmap=yes socket-path="$work/enc" \
    ! videoflip video-direction=horiz ! x264enc tune=zerolatency speed-preset=ultrafast \
    ! mmapsink socket-path="$work/enc"
  until_true "both halves are not there" shows "${bars[@]}" "${mirrored[@]}"
  kill -INT "${processes[viewer]}"
  ends_well viewer
  ends_well server
}

fan_out() {
  start_screen
  start all bash "$examples/fan-out.sh" "$work/fan"
  until_true "nothing is shown" shows "${bars[@]}"
  until_true "there is no thumbnail" test -s "$work/fan/thumbnail.jpg"
  until_true "nothing is analysed" grep -q luma-average "$work/fan/analyse.log"
  until_true "nothing is recorded" grows "$work/fan/record.mkv"
  # `timeout` hands it on.
  kill -INT "${processes[all]}"
  ends_well all
  [ "$(frames_in "$work/fan/record.mkv")" -gt 10 ] || fail "the record has no frames"
  timeout 60 gst-launch-1.0 -q filesrc location="$work/fan/thumbnail.jpg" ! jpegdec \
    ! video/x-raw,width=160,height=120 ! fakesink || fail "the thumbnail is no picture"
  # Of this test picture it is always the same.
  grep -qE 'luma-average=\(double\)0\.[3-6]' "$work/fan/analysis.txt" ||
    fail "the picture is not as bright as it is"
}

case $2 in
  remote) remote "$build/examples/remote" ;;
  remote-py) remote "$examples/remote.py" ;;
  own-frames) own_frames ;;
  viewer) viewer ;;
  fan-out) fan_out ;;
  *)
    echo "there is no case $2" >&2
    exit 2
    ;;
esac
