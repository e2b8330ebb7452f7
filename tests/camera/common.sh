# shellcheck shell=bash disable=SC2154
# What camera-test.sh and vm-test.sh have in common: jobs in the guest that guest-run.sh makes, of
# which each leaves a folder with client.stats, out.mkv, client.status, server.status and logs.
#
# To be set before: suite (how the lines begin that say how it went), BUILD_DIR, frames, logs.

# await SECONDS COMMAND... - until COMMAND succeeds
await() {
  local tries=$(($1 * 5))
  shift
  until "$@"; do
    [ $((tries--)) -gt 0 ] || return 1
    sleep 0.2
  done
}

skip() {
  echo "SKIP $suite: $*"
  exit 77
}

fail() {
  echo "FAIL $suite: $*"
  exit 1
}

# The names with _1_0 are the ones that GStreamer looks at first.
use_build() {
  export GST_PLUGIN_PATH_1_0=$BUILD_DIR/elements
  export LD_LIBRARY_PATH=$BUILD_DIR/gst${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
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

# That registry, read by each process: from memory rather than from the host.
use_registry() {
  cp "$logs/registry.bin" /tmp/camera-registry.bin
  export GST_REGISTRY_1_0=/tmp/camera-registry.bin GST_REGISTRY_UPDATE=no GST_DEBUG_NO_COLOR=1
  use_build
}

# make_logs FOLDER JOB... - there, or where it does not last; with a folder for each job
make_logs() {
  local job
  if [ -n "$1" ]; then
    mkdir -p "$1"
    logs=$(realpath "$1")
  else
    logs=$(mktemp -d)
    trap 'rm -rf "$logs"' EXIT
  fi
  shift
  for job in "$@"; do
    rm -rf "${logs:?}/$job"
    mkdir "$logs/$job"
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

# complaint FOLDER COPIES - what is wrong with a job of which each frame is to be copied so often,
# once or never; nothing if all is well
complaint() {
  local dir=$1 copies=$2 process status shown buffers bytes
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
  if [ "$copies" = never ]; then
    [ "$bytes" -eq 0 ] || echo "$buffers frames, $bytes bytes, were copied that need not be"
  elif [ "$buffers" -ne "$frames" ] || [ "$bytes" -eq 0 ]; then
    echo "$buffers frames, $bytes bytes, were copied, not each of $frames frames once"
  fi
}

show_logs() {
  local log
  for log in "$1"/*.log "$1"/*.stats; do
    [ ! -s "$log" ] || { echo "--- $(basename "$log")"; tail -n 60 "$log"; }
  done
}

# judge NAME FOLDER COMPLAINT
judge() {
  if [ -z "$3" ]; then
    echo "PASS $suite $1: $frames frames, bytes-copied $(field "$2/client.stats" tx bytes-copied)"
    return 0
  fi
  echo "FAIL $suite $1: $3"
  show_logs "$2"
  return 1
}
