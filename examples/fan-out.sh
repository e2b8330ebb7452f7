#!/bin/bash
# One camera and four who use it, each a process of its own: one records, one shows the picture, one
# keeps a thumbnail and one measures how bright it is, once a second. All read the same frames, in
# place, and whoever ends, stops or crashes leaves the others alone.
#
#   fan-out.sh DIRECTORY [DEVICE]
#
# Writes record.mkv and thumbnail.jpg into DIRECTORY, and at the end analysis.txt; what each says is in
# a .log of its own. DEVICE is a camera; without it there is a test picture. Ctrl-C ends the camera,
# and that the others, in order. Takes a shell of `meson devenv -C build`, or installed elements.
set -euo pipefail

die() {
  echo "fan-out: $*" >&2
  exit 1
}

[ $# -eq 1 ] || [ $# -eq 2 ] || die "usage: fan-out.sh DIRECTORY [DEVICE]"
mkdir -p "$1" 2>/dev/null || die "can't make the directory $1"
dir=$(realpath "$1")
[ -w "$dir" ] || die "can't write to $1"
[ $# -eq 1 ] || [ -r "$2" ] || die "$2 is no camera that can be read"
[ "${#dir}" -le 100 ] || die "$dir is too long for a socket's path"
for element in mmapsink mmapsrc x264enc h264parse matroskamux videorate jpegenc videoanalyse; do
  gst-inspect-1.0 --exists --atleast-version=0.0 "$element" ||
    die "there is no GStreamer element $element"
done

declare -A processes

# start NAME ELEMENTS... - with -e, or what is written would have no end. In a session of its own, since
# Ctrl-C in a terminal is for all that are of one.
start() {
  local name=$1
  shift
  setsid gst-launch-1.0 -e "$@" >"$dir/$name.log" 2>&1 &
  processes[$name]=$!
}

camera=(videotestsrc is-live=true ! 'video/x-raw,width=640,height=480,framerate=30/1')
[ $# -eq 1 ] || camera=(v4l2src device="$2")
start camera "${camera[@]}" ! mmapsink socket-path="$dir/camera"
# Once: a second signal would end it at once.
trap 'trap : INT TERM; kill -INT "${processes[camera]}" 2>/dev/null || true' INT TERM

frames=(mmapsrc socket-path="$dir/camera" connection-timeout=10000000000 ! videoconvert)
each_second=(videorate drop-only=true ! 'video/x-raw,framerate=1/1')
start record "${frames[@]}" ! x264enc tune=zerolatency speed-preset=superfast ! h264parse \
  ! matroskamux ! filesink location="$dir/record.mkv"
start thumbnail "${frames[@]}" ! "${each_second[@]}" \
  ! videoscale ! video/x-raw,width=160,pixel-aspect-ratio=1/1 ! jpegenc \
  ! multifilesink location="$dir/thumbnail.jpg"
start analyse -m "${frames[@]}" ! "${each_second[@]}" ! videoanalyse ! fakesink
if [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
  start preview "${frames[@]}" ! autovideosink
else
  echo "There is no screen, so nothing is shown"
fi
echo "Running; Ctrl-C ends it"

failed=0
for name in camera record thumbnail analyse preview; do
  [ -n "${processes[$name]:-}" ] || continue
  # A signal cuts `wait` short.
  while kill -0 "${processes[$name]}" 2>/dev/null; do wait "${processes[$name]}" || true; done
  wait "${processes[$name]}" || {
    echo "$name failed:" >&2
    grep -a '^ERROR' "$dir/$name.log" >&2 || tail -n 3 "$dir/$name.log" >&2
    failed=1
  }
done
grep -ao 'GstVideoAnalyse.*' "$dir/analyse.log" >"$dir/analysis.txt" || true
exit "$failed"
