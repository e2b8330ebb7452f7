# shellcheck shell=bash disable=SC2034,SC2154
# For tests of launch lines that stand in the documentation: they run as they stand there, with a
# test picture for the camera, a folder of our own, and an end. Sets work, that folder, and docs.
#
# To be set before: build.

docs=$(dirname "${BASH_SOURCE[0]}")/../../docs
work=$(mktemp -d)
# shellcheck disable=SC2046
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
export GST_PLUGIN_PATH_1_0=$build/elements
export LD_LIBRARY_PATH=$build/gst${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

picture='videotestsrc num-buffers=60 ! video/x-raw,width=320,height=240'

# pair FIRST SECOND - both must end by themselves, with 0
pair() {
  local first
  echo "$1"
  timeout 60 bash -c "exec $1" >"$work/first.log" 2>&1 &
  first=$!
  echo "$2"
  if ! timeout 60 bash -c "exec $2" >"$work/second.log" 2>&1 || ! wait $first; then
    cat "$work/first.log" "$work/second.log"
    exit 1
  fi
}
