#!/bin/bash
# Runs the launch lines of docs/deployment.md that leave a host, as they stand there, between two
# network namespaces: a camera's process and a server in one, who receives in the other.
#
#   beyond.sh BUILD_DIR
#
# Namespaces, addresses and mounts are this script's own and go with it. Exits with 77 where they
# can't be made.
set -euo pipefail

build=$(realpath "$1")
if [ -z "${BEYOND_INSIDE:-}" ]; then
  type ip unshare >/dev/null 2>&1 || { echo "there is no ip or unshare"; exit 77; }
  own=(unshare --user --map-root-user --mount --net --pid --fork --kill-child --mount-proc)
  # shellcheck disable=SC2016
  why=$("${own[@]}" bash -c 'mount -t tmpfs none /run && ip netns add far &&
    ip link add near type veth peer name far netns far' 2>&1) || { echo "$why"; exit 77; }
  BEYOND_INSIDE=yes exec "${own[@]}" bash "$0" "$1"
fi
# shellcheck source=tests/processes/lines.sh
. "$(dirname "$0")/lines.sh"

mapfile -t lines < <(sed -n '/^## Beyond one host/,/^## [^B]/p' "$docs/deployment.md" |
  grep '^gst-launch-1.0 .*srt\|^gst-launch-1.0 .*mmapsink')
[ "${#lines[@]}" -eq 3 ] || { echo "deployment.md has ${#lines[@]} lines for this, not 3" >&2; exit 1; }

mount -t tmpfs none /run # where ip keeps names of namespaces
ip netns add far
ip link add near type veth peer name far netns far
ip addr add 192.0.2.1/24 dev near
ip link set near up
ip -n far addr add 192.0.2.2/24 dev far
ip -n far link set far up

camera='videotestsrc is-live=true num-buffers=90'
camera+=' ! video/x-raw,width=320,height=240,framerate=30/1'

# The line as it can run here.
fit() {
  local line=${1//\/run\/media-link\//$work/}
  line=${line//v4l2src/$camera}
  echo "${line//location=out.mkv/location=$work/out.mkv}"
}

listens() { ip netns exec far ss -Hlun 'sport = :7001' | grep -q .; }

receiver=$(fit "${lines[2]}")
echo "$receiver"
ip netns exec far timeout 60 bash -c "exec $receiver" >"$work/far.log" 2>&1 &
far=$!
for ((tries = 0; tries < 100; tries++)); do
  ! listens || break
  kill -0 "$far" 2>/dev/null || break
  sleep 0.1
done
pair "$(fit "${lines[0]}")" "$(fit "${lines[1]}")"
wait "$far" || { cat "$work/far.log"; exit 1; }

# SRT drops what is not there in time, and what is on its way at the end.
arrived=$(timeout 60 gst-launch-1.0 -q filesrc location="$work/out.mkv" ! matroskademux ! h264parse \
  ! avdec_h264 ! checksumsink sync=false | wc -l)
echo "$arrived of 90 frames have arrived"
[ "$arrived" -gt 45 ] && [ "$arrived" -le 90 ]
