#!/bin/bash
# A link across the boundary of a virtual machine: a client in the guest captures with the V4L2
# driver there, a server on the host encodes, and what it encoded goes back into the guest. Payload
# lies in an ivshmem device's memory, which is a file on the host; the control socket goes through a
# virtio-serial port. docs/deployment.md says what each side is given, and why.
#
#   vm-test.sh BUILD_DIR
#
# Says of each job how it went: every frame has to come back, and to have crossed in the file.
#
#   auto     the driver's buffers are copied into the file, once
#   rw       v4l2src reads straight into it
#   killed   the same, by a client that finds a server whose last client was killed
#
# The guest is that of guest-run.sh, emulated: neither KVM nor vhost has to be there.
#
# Environment:
#   VM_LOGS     folder to leave logs and recordings in (default: none that lasts)
#   GST_DEBUG   is handed over to both processes
#
# Exit status: 0 all passed, 1 any failed, 77 can't run here, 2 wrong use.
set -euo pipefail

here=$(dirname "$(realpath "$0")")
frames=60
client_seconds=60
server_seconds=30 # to begin listening, and to end after the client did
guest_seconds=300
memory_size=67108864
suite=vm
jobs="auto rw killed"
port_name=mmap-link
# shellcheck source=tests/camera/common.sh
. "$here/common.sh"

mode_of() { [ "$1" = killed ] && echo rw || echo "$1"; }

# --- in the guest --------------------------------------------------------------------

# The port knows no connections, so neither end sees the other hang up. The pause is for QEMU, which
# connects to the server again a second after that has hung up on a client that greets anew.
bridge() {
  while true; do
    socat UNIX-LISTEN:"$socket",mode=600,unlink-early "$port" || true
    sleep 2
  done
}

# pipeline_to FILE [PROPERTY] - sets pipeline: captures, with this property of v4l2src, sends that,
# receives what it was made into, and records it
pipeline_to() {
  local link="role=client on-disconnect=none socket-path=$socket mmap=$region"
  # shellcheck disable=SC2054,SC2206
  pipeline=(v4l2src io-mode="$mode" ${2:-} ! video/x-raw,width=320,height=180,framerate=30/1
    ! mmapsink name=tx $link mmapsrc $link ! h264parse ! matroskamux
    ! filesink buffer-mode=unbuffered location="$1")
}

recorded() { [ "$(stat -c %s "$1" 2>/dev/null || echo 0)" -gt 20000 ]; }

# Begins a recording, and kills who makes it when something has come back.
kill_one() {
  local process pipeline
  pipeline_to "$1/killed.mkv"
  gst-launch-1.0 "${pipeline[@]}" >"$1/killed.log" 2>&1 &
  process=$!
  await "$client_seconds" recorded "$1/killed.mkv" || echo "nothing came back" >>"$1/killed.log"
  kill -KILL "$process"
  wait "$process" 2>/dev/null || true
}

# Leaves client.log, client.stats, out.mkv and client.status in the folder $1.
run_client() {
  local folder=$1 status=0 pipeline
  : >"$folder/wanted"
  await "$server_seconds" [ -e "$folder/listens" ] || return 0
  [ "$2" != killed ] || kill_one "$folder"
  pipeline_to "$folder/out.mkv" num-buffers="$frames"
  "$BUILD_DIR/tests/camera/camera-client" "$client_seconds" tx "${pipeline[@]}" \
    >"$folder/client.stats" 2>"$folder/client.log" || status=$?
  echo "$status" >"$folder/client.status"
  await $((2 * server_seconds)) [ -s "$folder/server.status" ] || true
}

in_guest() {
  local device port job mode region
  logs=$1 socket=/run/mmap-link
  use_registry
  device=$(dirname "$(grep -lx 0x1110 /sys/bus/pci/devices/*/device)")
  echo 1 >"$device/enable"
  port=/dev/$(basename "$(dirname "$(grep -lx "$port_name" /sys/class/virtio-ports/*/name)")")
  bridge >"$logs/bridge.log" 2>&1 &
  for job in $jobs; do
    mode=$(mode_of "$job")
    # Uncached, or written in larger pieces: it has to work by either.
    region=$device/resource2
    [ "$mode" = auto ] || region+=_wc
    run_client "$logs/$job" "$job"
  done
}

# --- on the host ---------------------------------------------------------------------

listening_or_gone() { [ -S "$socket" ] || gone; }
gone() { ! kill -0 "$server" 2>/dev/null; }
client_is_over() { [ -s "$1/client.status" ] || gone; }

# serve FOLDER - a server, from when the guest wants it until its client is over. Leaves server.log
# and server.status.
serve() {
  local folder=$1 status=0
  await "$guest_seconds" [ -e "$folder/wanted" ] || return 0
  GST_DEBUG=$debug timeout "$guest_seconds" gst-launch-1.0 \
    mmapsrc role=server mmap="$memory" socket-path="$socket" \
    ! x264enc tune=zerolatency speed-preset=ultrafast \
    ! mmapsink role=server socket-path="$socket" >"$folder/server.log" 2>&1 &
  server=$!
  if await "$server_seconds" listening_or_gone && [ -S "$socket" ]; then
    : >"$folder/listens"
    await $((2 * client_seconds)) client_is_over "$folder" || true
  fi
  # One whose client failed waits for the next.
  [ "$(cat "$folder/client.status" 2>/dev/null)" != 0 ] || await "$server_seconds" gone || true
  if ! gone; then
    echo "vm-test: had to end the server" >>"$folder/server.log"
    kill "$server" || true
  fi
  wait "$server" || status=$?
  echo "$status" >"$folder/server.status"
}

serve_all() {
  local job server=
  trap '[ -z "$server" ] || kill "$server"; exit' TERM
  for job in $jobs; do
    serve "$logs/$job"
  done
}

# What is wrong with a job, nothing if all is well.
vm_complaint() {
  local why copies=never
  # The driver's own buffers, which do not lie in the file.
  [ "$1" != auto ] || copies=once
  why=$(complaint "$logs/$1" "$copies")
  [ -n "$why" ] || grep -q ': sends path .* receives path ' "$logs/$1/client.log" ||
    why="frames did not cross in the file"
  [ -n "$why" ] || ! grep -q 'nothing came back' "$logs/$1"/killed.log 2>/dev/null ||
    why="nothing came back to the client that was to be killed"
  echo "$why"
}

clean_up() {
  [ -z "${servers:-}" ] || kill "$servers" 2>/dev/null || true
  rm -rf "$work" "$memory"
}

on_host() {
  local job why failed=0 debug=${GST_DEBUG:-}
  unset GST_DEBUG # wanted of the job, not of what this does around it
  [ -x "$BUILD_DIR/tests/camera/camera-client" ] || fail "no camera-client in $BUILD_DIR"
  type socat >/dev/null 2>&1 || skip "there is no socat"
  why=$("$here/guest-run.sh" --prepare 2>&1) || skip "${why##*guest-run: }"

  work=$(mktemp -d) memory=$(mktemp /dev/shm/vm-test.XXXXXX)
  trap clean_up EXIT
  trap 'exit 143' INT TERM HUP
  # All of it is there from the start: what the guest touches when there is none ends QEMU.
  fallocate -l "$memory_size" "$memory" || skip "no $memory_size bytes in /dev/shm"
  socket=$work/mmap-link
  # shellcheck disable=SC2086
  make_logs "${VM_LOGS:-$work/logs}" $jobs
  make_registry
  serve_all &
  servers=$!

  GUEST_SHARE=$logs GUEST_TIMEOUT=$guest_seconds \
    GUEST_QEMU="-object memory-backend-file,id=region,share=on,mem-path=$memory,size=$memory_size
      -device ivshmem-plain,memdev=region
      -chardev socket,id=link,path=$socket,reconnect=1
      -device virtio-serial-pci -device virtserialport,chardev=link,name=$port_name" \
    "$here/guest-run.sh" "$here/vm-test.sh" "$BUILD_DIR" --in-guest "$logs" "$debug" || failed=1
  for job in $jobs; do
    judge "$job" "$logs/$job" "$(vm_complaint "$job")" || failed=1
  done
  exit "$failed"
}

usage() {
  sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

[ -d "${1:-}" ] || usage
BUILD_DIR=$(realpath "$1")
case $# in
  1) on_host ;;
  4)
    # Not inherited. A line of the log says how frames cross; stats do while there is a link.
    export GST_DEBUG=mmapsink:4${4:+,$4}
    in_guest "$3"
    ;;
  *) usage ;;
esac
