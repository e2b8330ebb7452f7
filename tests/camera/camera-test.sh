#!/bin/bash
# The main job with a real V4L2 driver: one process captures, another encodes, the first
# stores what came back. Says for each io-mode of v4l2src whether every frame arrived, and without
# a copy: in our memory, or (auto, dmabuf) in the driver's own, as dmabufs. Then the same over
# AF_VSOCK, within the guest, and what a client says there that can't have what it wants.
#
#   camera-test.sh BUILD_DIR
#
# Works in a guest that guest-run.sh makes, so there need be no camera. io-mode=dmabuf-import, with
# udmabuf=true at mmapsink, takes a kernel with /dev/udmabuf there, which Debian 12's has not:
#
#   GUEST_RELEASE=trixie CAMERA_MODES="dmabuf dmabuf-import" camera-test.sh BUILD_DIR
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
more_jobs="vsock vsock-path"
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
  local logs=$1 mode=$2 status=0 served='' link='' more=''
  socket=$(mktemp -d)/enc
  case $2 in
    dmabuf-import) more=udmabuf=true ;;
    vsock) mode=rw served=vsock:any:5000 link=socket-path=vsock:1:5000 ;;
    vsock-path) mode=rw served=vsock:1:5001 link="socket-path=vsock:1:5001 mmap=$(mktemp -d)" ;;
  esac
  # shellcheck disable=SC2086
  timeout $((client_seconds + 2 * server_seconds)) gst-launch-1.0 \
    mmapsrc role=server mmap=yes ${link:-} socket-path="${served:-$socket}" \
    ! x264enc tune=zerolatency speed-preset=ultrafast \
    ! mmapsink role=server socket-path="${served:-$socket}" >"$logs/server.log" 2>&1 &
  server=$!
  # An address shows nothing of who listens there: the client waits by itself.
  if [ -z "$served" ] && { ! await "$server_seconds" listening_or_gone || [ ! -S "$socket" ]; }; then
    end_server "$logs"
    return
  fi

  link=${link:-socket-path=$socket}
  # shellcheck disable=SC2086
  "$BUILD_DIR/tests/camera/camera-client" "$client_seconds" tx \
    v4l2src io-mode="$mode" num-buffers="$frames" ! "$CAMERA_CAPS" \
    ! mmapsink name=tx role=client $link $more mmapsrc $link ! h264parse ! matroskamux \
    ! filesink location="$logs/out.mkv" >"$logs/client.stats" 2>"$logs/client.log" || status=$?
  echo "$status" >"$logs/client.status"

  # A server whose client failed may well wait for the next one.
  [ "$status" -ne 0 ] || await "$server_seconds" gone || true
  end_server "$logs"
}

# client NAME PROPERTY... - one that reads from a vsock, and records
client() {
  local name=$1
  shift
  timeout "$client_seconds" gst-launch-1.0 mmapsrc on-disconnect=error "$@" \
    ! filesink buffer-mode=unbuffered location="/tmp/$name" >"$logs/vsock-errors/$name.log" 2>&1
}

# What clients say whom nobody serves, who want to map, and whose server is killed.
fail_on_vsock() {
  local at=vsock:1:5002 killed
  client nobody socket-path=vsock:1:5003 connection-timeout=1000000000 || true
  gst-launch-1.0 videotestsrc is-live=true ! mmapsink socket-path="$at" \
    >"$logs/vsock-errors/server.log" 2>&1 &
  server=$!
  client mapping socket-path="$at" mmap=yes || true
  client killed socket-path="$at" &
  killed=$!
  await "$client_seconds" [ -s /tmp/killed ] || true
  kill -KILL "$server" || true
  wait "$server" "$killed" 2>/dev/null || true
}

in_guest() {
  local logs=$1 job
  use_registry
  for job in $CAMERA_MODES $more_jobs; do
    run_job "$logs/$job" "$job"
  done
  fail_on_vsock
}

# --- on the host ---------------------------------------------------------------------

# What is wrong with a job, nothing if all is well.
camera_complaint() {
  local why mode=mmap
  why=$(complaint "$logs/$1" never)
  case $1 in
    vsock) mode=inline ;;
    vsock-path) mode=path ;;
  esac
  [ -n "$why" ] || grep -q " mode-send=$mode " "$logs/$1/client.stats" ||
    why="frames did not cross by $mode"
  echo "$why"
}

# says NAME TEXT - whether that client did
says() {
  grep -q "$2" "$logs/vsock-errors/$1.log" && return
  echo "FAIL $suite vsock: the client \"$1\" does not say \"$2\""
  show_logs "$logs/vsock-errors"
  return 1
}

judge_errors() {
  says nobody 'No server was on vsock:1:5003 within connection-timeout' &&
    says mapping 'no descriptor goes over this kind of socket' &&
    says killed 'Vsock CID 1 on vsock:1:5002 hung up' &&
    echo "PASS $suite vsock: clients say what failed"
}

on_host() {
  local job name why failed=0 debug=${GST_DEBUG:-}
  unset GST_DEBUG # wanted of the job, not of what this does around it
  [ -x "$BUILD_DIR/tests/camera/camera-client" ] || fail "no camera-client in $BUILD_DIR"
  why=$("$here/guest-run.sh" --prepare 2>&1) || skip "${why##*guest-run: }"

  # shellcheck disable=SC2086
  make_logs "${CAMERA_LOGS:-}" $CAMERA_MODES $more_jobs vsock-errors
  make_registry

  GUEST_SHARE=$logs "$here/guest-run.sh" "$here/camera-test.sh" "$BUILD_DIR" --in-guest "$logs" \
    "$CAMERA_MODES" "$CAMERA_CAPS" "$debug" || failed=1
  for job in $CAMERA_MODES $more_jobs; do
    name=$job
    [[ $job = vsock* ]] || name=io-mode=$job
    judge "$name" "$logs/$job" "$(camera_complaint "$job")" || failed=1
  done
  judge_errors || failed=1
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
