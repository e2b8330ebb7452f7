#!/bin/bash
# Shows the main job with two real processes: one has a camera, the other one encodes for it. Raw
# frames go there and H.264 packets come back through shared memory. Ends with a report.
#
#   quickstart.sh [--source FILE|DEVICE] [--seconds N] [--output FILE] [--build-dir DIR]
#
#   --source      a video file or a camera (default: /dev/video0 where there is one, else a moving
#                 test picture, 1280x720 at 30 frames/s)
#   --seconds     end after so long (default: 10, of a file all of it but at most 600)
#   --output      what to write (default: out.mkv)
#   --build-dir   where to build (default: build, in the checkout)
#
# Ctrl-C ends both processes as the end of the stream does. Exits with 0 if no frame was lost.
set -euo pipefail

root=$(realpath "$(dirname "$0")/..")
build=$root/build
source=
seconds=
output=out.mkv
client=
server=

usage() {
  sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
  exit "$1"
}

die() {
  echo "quickstart: $*" >&2
  exit 1
}

step() { printf '\n[%s/5] %s\n' "$1" "$2"; }

# --- 1 to 3: what it takes ---------------------------------------------------------------------

parse_arguments() {
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help) usage 0 ;;
      --source | --seconds | --output | --build-dir)
        [ $# -ge 2 ] || die "$1 needs a value, see --help"
        ;;&
      --source) source=$2 ;;
      --seconds) seconds=$2 ;;
      --output) output=$2 ;;
      --build-dir) build=$(realpath -m "$2") ;;
      *) usage 2 >&2 ;;
    esac
    shift 2
  done
  case $seconds in
    *[!0-9]* | 0*) die "--seconds takes a number from 1 on" ;;
  esac
}

choose_source() {
  if [ -z "$source" ] && [ -c /dev/video0 ]; then
    if [ -r /dev/video0 ] && [ -w /dev/video0 ]; then
      source=/dev/video0
    else
      echo "There is a camera, /dev/video0, but you may not use it: taking the test picture"
    fi
  fi
  if [ -z "$source" ]; then
    kind=test what="a moving test picture"
  elif [ -c "$source" ]; then
    kind=camera what="the camera $source"
  elif [ -f "$source" ] && [ -r "$source" ]; then
    kind=file what=$source
  else
    die "--source $source is neither a file nor a camera that can be read"
  fi
  if [ -z "$seconds" ]; then
    [ "$kind" = file ] && seconds=600 || seconds=10
  fi
  [ ! "$source" -ef "$output" ] || die "--output is the same file as --source"
  : >"$output" || die "can't write to $output"
}

build_it() {
  [ -f "$build/build.ninja" ] || timeout 300 meson setup "$build" "$root"
  timeout 900 meson compile -C "$build" gstmmap encode-server encode-client
}

use_build() {
  local element
  local other=${GST_PLUGIN_PATH_1_0:-${GST_PLUGIN_PATH:-}}
  export GST_PLUGIN_PATH_1_0=$build/elements${other:+:$other}
  # not the user's own: it would keep on listing what lies in a build folder
  export GST_REGISTRY_1_0=$build/quickstart-registry.bin
  for element in mmapsrc mmapsink x264enc h264parse matroskamux matroskademux avdec_h264; do
    # by itself --exists wants a plugin of the version of GStreamer
    timeout 120 gst-inspect-1.0 --exists --atleast-version=0.0 "$element" ||
      die "there is no GStreamer element $element"
  done
}

# --- 4: the two processes ----------------------------------------------------------------------

# value KEY FILE - the last one that a process has printed; nothing if there is none
value() { { grep -oE "(^| )$1=[0-9]+" "$2" || true; } | tail -n 1 | sed 's/.*=//'; }

# As jobs, in process groups of their own, so that Ctrl-C in a terminal reaches only this script: the
# server has to go on until the client's last frame is encoded. Who is no job ignores SIGINT besides, and
# `timeout` (coreutils 9.10) does not hand on then what it is sent.
start() {
  set -m
  timeout -k 30 "$((seconds + 90))" "$build/examples/encode-server" "$work/socket" \
    >"$work/server" 2>"$work/server.said" &
  server=$!
  local options=(--socket "$work/socket" --output "$output" --seconds "$seconds")
  [ -z "$source" ] || options+=(--source "$source")
  timeout -k 30 "$((seconds + 60))" "$build/examples/encode-client" "${options[@]}" \
    >"$work/client" 2>"$work/client.said" &
  client=$!
  set +m
}

runs() { [ -n "$1" ] && kill -0 "$1" 2>/dev/null; }

end_early() {
  echo "  ending: what is on its way still comes back"
  if runs "$client"; then kill -INT "$client"; fi
}

# No command substitution while Ctrl-C may come: bash 5.2 trips over a trap inside of one.
show_progress() {
  local second=0 line here=waiting there=
  while runs "$client"; do
    # Ctrl-C reaches this one too.
    sleep 1 || true
    second=$((second + 1))
    while read -r line; do
      [[ $line != encoded=* ]] || there=$line
    done <"$work/server"
    while read -r line; do
      [[ $line != sent=*' '* ]] || here=$line
    done <"$work/client"
    printf '  %3d s   %-28s %s\n' "$second" "$here" "$there"
  done
}

# await TENTHS PID - until the process has ended; not by `wait`, which Ctrl-C cuts short
await() {
  local tries=$1
  while runs "$2" && [ $((tries--)) -gt 0 ]; do
    sleep 0.1 || true
  done
}

# The server ends with the stream; where its client failed it waits for another one.
finish() {
  client_status=0 server_status=0
  wait "$client" || client_status=$?
  client=
  [ "$client_status" -ne 0 ] || await 50 "$server"
  if runs "$server"; then
    [ "$client_status" -ne 0 ] || fail "the server did not end with the stream"
    kill "$server" || true
    await 400 "$server"
  fi
  wait "$server" || server_status=$?
  server=
}

clean_up() {
  local process
  for process in "$client" "$server"; do
    if runs "$process"; then
      kill -KILL -- "-$process" || true
      wait "$process" || true
    fi 2>/dev/null
  done
  rm -rf "$work"
}

# --- 5: the report -----------------------------------------------------------------------------

# A muxer can count frames that no decoder would show.
count_decoded() {
  timeout 600 gst-launch-1.0 -v filesrc location="$output" ! matroskademux ! h264parse \
    ! avdec_h264 ! fakesink sync=false silent=false 2>"$work/decoder.said" |
    grep -c 'last-message = chain' || true
}

failures=()
fail() { failures+=("$1"); }

judge_exit() {
  case $2 in
    0) ;;
    124) fail "the $1 had to be stopped: it took too long" ;;
    1[3-9][0-9]) fail "the $1 was killed by signal $(($2 - 128))" ;;
    *) fail "the $1 failed" ;;
  esac
}

judge() {
  judge_exit client "$client_status"
  judge_exit server "$server_status"
  [ "${sent:-0}" -gt 0 ] || fail "no frame was sent"
  [ "${lost:-0}" -eq 0 ] || fail "$lost of $sent frames did not come back"
  [ "${unexpected:-0}" -eq 0 ] || fail "$unexpected packets are of no frame that was sent"
  [ "${encoded:-0}" = "${sent:-0}" ] || fail "$sent frames sent, but ${encoded:-?} encoded"
  [ "${decoded:-0}" = "${received:-0}" ] ||
    fail "$received packets received, but $decoded frames can be decoded"
  [ "$kind" != test ] || [ "${copied:-0}/${copied_there:-0}" = 0/0 ] ||
    fail "raw frames were copied, which the test picture's need not be"
}

milliseconds() {
  if [ -n "$1" ]; then awk -v us="$1" 'BEGIN { printf "%.1f ms", us / 1000 }'; else printf '?'; fi
}

line() { printf '  %-26s %s\n' "$1" "$2"; }

report() {
  local sent received lost unexpected copied copied_there encoded bytes p50 p99 name reason
  sent=$(value sent "$work/client") received=$(value received "$work/client")
  lost=$(value lost "$work/client") unexpected=$(value unexpected "$work/client")
  bytes=$(value raw-bytes "$work/client") copied=$(value raw-bytes-copied "$work/client")
  p50=$(value latency-p50-us "$work/client") p99=$(value latency-p99-us "$work/client")
  encoded=$(value encoded "$work/server") copied_there=$(value raw-bytes-copied "$work/server")

  line "frames sent" "${sent:-?}"
  line "frames encoded" "${encoded:-?}, by the other process"
  line "packets received" "${received:-?}"
  line "lost" "${lost:-?}"
  line "raw bytes copied" \
    "${copied:-?} by the sender, ${copied_there:-?} by the encoder, of ${bytes:-?}"
  line "there and back, per frame" \
    "$(milliseconds "$p50") (median), $(milliseconds "$p99") (99th percentile)"
  line "written" "$(realpath "$output"), $(stat -c %s "$output") bytes"
  line "frames that it plays" "$decoded"

  judge
  for name in client server decoder; do
    [ ! -s "$work/$name.said" ] || { echo "The $name said:"; sed 's/^/  /' "$work/$name.said"; }
  done
  for reason in "${failures[@]}"; do
    echo "FAILED: $reason"
  done
  [ ${#failures[@]} -eq 0 ] || exit 1
  echo "All $sent frames came back."
}

main() {
  parse_arguments "$@"
  choose_source
  step 1 "Looking for the packages that this takes"
  "$root/tests/install-packages.sh" build
  step 2 "Building in $build (the first time this takes a minute)"
  build_it
  step 3 "Looking for the GStreamer elements"
  use_build

  work=$(mktemp -d)
  trap clean_up EXIT
  trap end_early INT TERM
  step 4 "Sending $what to an encoder in another process, for at most $seconds s (Ctrl-C ends it)"
  start
  # without bash's own line about a process that was killed: the report says it
  { show_progress && finish; } 2>/dev/null
  trap - INT TERM
  step 5 "Decoding what was written, to see that it plays"
  decoded=$(count_decoded)
  report
}

main "$@"
