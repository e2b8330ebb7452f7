#!/bin/bash
# The main job with a real V4L2 driver: one process captures, another encodes, the first
# stores what came back. Says for each io-mode of v4l2src whether every frame arrived, and without
# a copy: in our memory, or (auto) in the driver's own, as dmabufs.
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
suite=camera
# shellcheck source=tests/camera/common.sh
. "$here/common.sh"

# --- in the guest --------------------------------------------------------------------

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
  use_registry
  for mode in $CAMERA_MODES; do
    run_job "$logs/$mode" "$mode"
  done
}

# --- on the host ---------------------------------------------------------------------

on_host() {
  local mode why failed=0 debug=${GST_DEBUG:-}
  unset GST_DEBUG # wanted of the job, not of what this does around it
  [ -x "$BUILD_DIR/tests/camera/camera-client" ] || fail "no camera-client in $BUILD_DIR"
  why=$("$here/guest-run.sh" --prepare 2>&1) || skip "${why##*guest-run: }"

  # shellcheck disable=SC2086
  make_logs "${CAMERA_LOGS:-}" $CAMERA_MODES
  make_registry

  GUEST_SHARE=$logs "$here/guest-run.sh" "$here/camera-test.sh" "$BUILD_DIR" --in-guest "$logs" \
    "$CAMERA_MODES" "$CAMERA_CAPS" "$debug" || failed=1
  for mode in $CAMERA_MODES; do
    judge "io-mode=$mode" "$logs/$mode" "$(complaint "$logs/$mode" never)" || failed=1
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
