#!/bin/bash
# The main job with a real V4L2 driver: one process captures, another encodes, the first
# stores what came back. Says for each io-mode of v4l2src whether every frame arrived, and
# whether frames crossed without a copy where they can.
#
#   camera-test.sh BUILD_DIR
#
# Works in a guest that guest-run.sh makes, so there need be no camera.
#
# Environment:
#   CAMERA_MODES   which io-modes to try (default "auto rw userptr")
#   CAMERA_CAPS    what v4l2src is asked for; by default this leaves the format open, for
#                  it has to be settled across the two processes
#   CAMERA_LOGS    folder to leave logs and recordings in (default: none that lasts)
#   GST_DEBUG      is handed over to both processes
#
# Exit status: 0 all passed, 1 any failed, 77 can't run here, 2 wrong use.
set -euo pipefail

here=$(dirname "$(realpath "$0")")
frames=60
client_seconds=40
server_seconds=15 # to begin listening, and to end after the client did

# --- in the guest --------------------------------------------------------------------

# await SECONDS COMMAND... - until COMMAND succeeds
await() {
  local tries=$(($1 * 5))
  shift
  until "$@"; do
    [ $((tries--)) -gt 0 ] || return 1
    sleep 0.2
  done
}

listening_or_gone() { [ -S "$socket" ] || gone; }
gone() { ! kill -0 "$server" 2>/dev/null; }

end_server() {
  local logs=$1 status=0
  if ! gone; then
    echo "camera-test: had to end the server" >>"$logs/server.log"
    kill "$server" || true
  fi
  wait "$server" || status=$?
  echo "$status" >"$logs/server.status"
}

# Leaves server.log, client.log, client.stats, out.mkv and the two exit statuses in the folder $1.
run_job() {
  local logs=$1 mode=$2 status=0
  socket=$(mktemp -d)/enc
  timeout $((client_seconds + 2 * server_seconds)) gst-launch-1.0 \
    mmapsrc role=server mmap=yes socket-path="$socket" \
    ! x264enc tune=zerolatency speed-preset=ultrafast \
    ! mmapsink role=server socket-path="$socket" >"$logs/server.log" 2>&1 &
  server=$!
  if ! await "$server_seconds" listening_or_gone || [ ! -S "$socket" ]; then
    end_server "$logs"
    return
  fi

  "$BUILD_DIR/tests/camera/camera-client" "$client_seconds" tx \
    v4l2src io-mode="$mode" num-buffers="$frames" ! "$CAMERA_CAPS" \
    ! mmapsink name=tx role=client socket-path="$socket" \
    mmapsrc socket-path="$socket" ! h264parse ! matroskamux \
    ! filesink location="$logs/out.mkv" >"$logs/client.stats" 2>"$logs/client.log" || status=$?
  echo "$status" >"$logs/client.status"

  # A server whose client failed may well wait for the next one.
  [ "$status" -ne 0 ] || await "$server_seconds" gone || true
  end_server "$logs"
}

in_guest() {
  local logs=$1 mode
  # read by each process: from memory rather than from the host
  cp "$logs/registry.bin" /tmp/camera-registry.bin
  export GST_REGISTRY_1_0=/tmp/camera-registry.bin GST_REGISTRY_UPDATE=no GST_DEBUG_NO_COLOR=1
  use_build
  for mode in $CAMERA_MODES; do
    run_job "$logs/$mode" "$mode"
  done
}

# --- on the host ---------------------------------------------------------------------

# The names with _1_0 are the ones that GStreamer looks at first.
use_build() {
  export GST_PLUGIN_PATH_1_0=$BUILD_DIR/elements
  export LD_LIBRARY_PATH=$BUILD_DIR/gst${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
}

skip() {
  echo "SKIP camera: $*"
  exit 77
}

fail() {
  echo "FAIL camera: $*"
  exit 1
}

# Scanning the plugins is slow in the guest, so it gets a registry made here.
make_registry() {
  local element
  export GST_REGISTRY_1_0=$logs/registry.bin
  use_build
  for element in v4l2src x264enc h264parse matroskamux matroskademux avdec_h264; do
    gst-inspect-1.0 --exists "$element" || skip "there is no GStreamer element $element"
  done
  for element in mmapsink mmapsrc; do
    gst-inspect-1.0 "$element" >"$logs/inspect.log" 2>&1 ||
      fail "no element $element in $BUILD_DIR: $(cat "$logs/inspect.log")"
  done
}

# field FILE ELEMENT FIELD - one of the values that camera-client printed
field() { sed -n "s/^stats $2:.* $3=\([0-9]*\).*/\1/p" "$1"; }

# Decodes the recording: a muxer can count frames that no decoder would show.
count_frames() {
  "$BUILD_DIR/tests/camera/camera-client" 30 shown \
    filesrc location="$1/out.mkv" ! matroskademux ! h264parse ! avdec_h264 \
    ! fakesink name=shown sync=false >"$1/decode.stats" 2>"$1/decode.log" || true
  field "$1/decode.stats" shown rendered
}

# Prints what is wrong with the job of one mode, nothing if all is well.
complaint() {
  local dir=$1 mode=$2 process status shown buffers bytes
  [ -s "$dir/server.status" ] || { echo "the guest ended before the job did"; return; }
  [ -s "$dir/client.status" ] || { echo "the server did not begin to listen"; return; }
  # the client first: where it failed, the server was ended
  for process in client server; do
    status=$(cat "$dir/$process.status")
    [ "$status" -eq 0 ] || { echo "the $process exited with status $status"; return; }
  done
  shown=$(count_frames "$dir")
  [ "${shown:-0}" -eq "$frames" ] || { echo "${shown:-0} of $frames frames arrived"; return; }
  buffers=$(field "$dir/client.stats" tx buffers-copied)
  bytes=$(field "$dir/client.stats" tx bytes-copied)
  if [ -z "$buffers" ] || [ -z "$bytes" ]; then
    echo "the stats of mmapsink do not say what was copied"
    return
  fi
  case $mode in
    rw | userptr)
      [ "$bytes" -eq 0 ] || echo "$buffers frames, $bytes bytes, were copied that need not be"
      ;;
    *)
      # The frames are in the driver's own memory, which the other process can't be given.
      if [ "$buffers" -ne "$frames" ] || [ "$bytes" -eq 0 ]; then
        echo "$buffers frames, $bytes bytes, were copied, not each of $frames frames once"
      fi
      ;;
  esac
}

show_logs() {
  local log
  for log in "$1"/*.log "$1"/*.stats; do
    [ ! -s "$log" ] || { echo "--- $(basename "$log")"; tail -n 60 "$log"; }
  done
}

judge() {
  local mode=$1 why
  why=$(complaint "$logs/$mode" "$mode")
  if [ -z "$why" ]; then
    echo "PASS camera io-mode=$mode: $frames frames," \
      "bytes-copied $(field "$logs/$mode/client.stats" tx bytes-copied)"
    return 0
  fi
  echo "FAIL camera io-mode=$mode: $why"
  show_logs "$logs/$mode"
  return 1
}

on_host() {
  local mode why failed=0 debug=${GST_DEBUG:-}
  unset GST_DEBUG # wanted of the job, not of what this does around it
  [ -x "$BUILD_DIR/tests/camera/camera-client" ] || fail "no camera-client in $BUILD_DIR"
  why=$("$here/guest-run.sh" --prepare 2>&1) || skip "${why##*guest-run: }"

  if [ -n "${CAMERA_LOGS:-}" ]; then
    mkdir -p "$CAMERA_LOGS"
    logs=$(realpath "$CAMERA_LOGS")
  else
    logs=$(mktemp -d)
    trap 'rm -rf "$logs"' EXIT
  fi
  make_registry
  for mode in $CAMERA_MODES; do
    rm -rf "${logs:?}/$mode"
    mkdir "$logs/$mode"
  done

  GUEST_SHARE=$logs "$here/guest-run.sh" "$here/camera-test.sh" "$BUILD_DIR" --in-guest "$logs" \
    "$CAMERA_MODES" "$CAMERA_CAPS" "$debug" || failed=1
  for mode in $CAMERA_MODES; do
    judge "$mode" || failed=1
  done
  exit "$failed"
}

usage() {
  sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

[ -d "${1:-}" ] || usage
BUILD_DIR=$(realpath "$1")
CAMERA_MODES=${CAMERA_MODES:-auto rw userptr}
CAMERA_CAPS=${CAMERA_CAPS:-video/x-raw,width=320,height=180,framerate=30/1}
case $# in
  1) on_host ;;
  6)
    # what the guest does not inherit
    CAMERA_MODES=$4 CAMERA_CAPS=$5
    export GST_DEBUG=$6
    in_guest "$3"
    ;;
  *) usage ;;
esac
