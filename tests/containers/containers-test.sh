#!/bin/bash
# A link between two processes that share the directory of its socket and nothing else: other
# namespaces, other users, a read-only system, few system calls. A client sends a picture, a server
# turns it over and sends it back, and the client's checksums, one a frame, have to be those of one
# process that does both.
#
#   containers-test.sh BUILD_DIR
#
# Says for each case how it went: PASS, FAIL with the logs of both sides, or SKIP where the case can't
# run here, with the reason. Takes bwrap and setpriv.
#
# Exit status: 0 no case failed, 1 any did, 77 none could run, 2 wrong use.
set -euo pipefail

here=$(dirname "$(realpath "$0")")
frames=60
seconds=30 # for one side
second=1000000000
turn='videoflip method=rotate-180'
picture="videotestsrc num-buffers=$frames ! video/x-raw,width=320,height=240,framerate=30/1"
server_uid=61001
client_uid=61002
shared_gid=61003
passed=0
failed=0

usage() {
  sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

pass() {
  passed=$((passed + 1))
  echo "PASS containers: $1"
}

fail() {
  local log
  failed=$((failed + 1))
  echo "FAIL containers: $1"
  for log in server client; do
    echo "--- $log"
    tail -n 30 "$work/$log.log"
  done
}

skip() { echo "SKIP containers: $1"; }

# --- what both sides are -------------------------------------------------------------------------

# The directory of the socket is $work/shared. What the sides run lies in $work/programs, where any
# user can read it.
prepare() {
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  chmod 755 "$work"
  mkdir "$work/programs"
  cp "$build"/elements/libgstmmap.so "$build"/gst/libgstmmap-1.0.so.0 "$work/programs"
  if [ -x "$build/tests/containers/allow-only" ]; then
    cp "$build/tests/containers/allow-only" "$here/system-calls.txt" "$work/programs"
  fi
  export GST_PLUGIN_PATH_1_0=$work/programs GST_REGISTRY_1_0=$work/programs/registry.bin
  export LD_LIBRARY_PATH=$work/programs${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  : >"$work/server.log"
  # shellcheck disable=SC2086
  if ! gst-inspect-1.0 mmapsink >"$work/client.log" 2>&1 ||
    ! timeout "$seconds" gst-launch-1.0 -q $picture ! $turn ! checksumsink \
      >"$work/expected" 2>>"$work/client.log" ||
    [ "$(wc -l <"$work/expected")" -ne "$frames" ]; then
    fail "one process by itself"
    exit 1
  fi
  export GST_REGISTRY_UPDATE=no
  chmod -R a+rX "$work/programs"
}

# begin [MODE [OWNER]] - a case: with a new directory for the socket, and both sides in it, as we are
begin() {
  rm -rf "$work/shared"
  mkdir "$work/shared"
  [ $# -lt 2 ] || chown "$2" "$work/shared"
  chmod "${1:-700}" "$work/shared"
  server=() client=() server_limits=() client_limits=()
  server_path=$work/shared/link client_path=$work/shared/link
  server_properties='' client_properties="connection-timeout=$((10 * second))"
}

# box SIDE [OPTION]... - SIDE runs in a sandbox: in namespaces of its own, with all of the system to
# read, but of $work the programs alone, and the shared directory at a path of its own
box() {
  local side=$1
  local -n command=$1 path=${1}_path
  shift
  path=$work/at-$side/link
  command+=(bwrap --die-with-parent --unshare-user --unshare-ipc --unshare-pid --unshare-net
    --ro-bind / / --dev /dev --proc /proc --tmpfs "$work"
    --ro-bind "$work/programs" "$work/programs" --bind "$work/shared" "$work/at-$side" "$@")
}

# as SIDE UID - SIDE runs as this user, who is in the group that both have in common
as() {
  # shellcheck disable=SC2178
  local -n command=$1
  command+=(setpriv --reuid "$2" --regid "$2" --groups "$shared_gid")
}

# limit OPTION... - both sides may make the system calls of the list only
limit() {
  server_limits=("$work/programs/allow-only" "$@" "$work/programs/system-calls.txt")
  client_limits=("${server_limits[@]}")
}

# Each log begins with the namespaces in which that side is.
# shellcheck disable=SC2016
enter='for kind in mnt pid user ipc net; do readlink /proc/self/ns/$kind; done >&2; exec "$@"'

# Both sides at once, until both have ended: one that failed leaves the other waiting for the next.
# Sets server_status and client_status.
run() {
  local server_process client_process first status=0 other=0
  # shellcheck disable=SC2086
  timeout "$seconds" "${server[@]}" bash -c "$enter" in "${server_limits[@]}" gst-launch-1.0 \
    mmapsrc role=server mmap=yes socket-path="$server_path" $server_properties ! $turn \
    ! mmapsink socket-path="$server_path" </dev/null >"$work/server.log" 2>&1 &
  server_process=$!
  # shellcheck disable=SC2086
  timeout "$seconds" "${client[@]}" bash -c "$enter" in "${client_limits[@]}" gst-launch-1.0 -q \
    $picture ! mmapsink role=client socket-path="$client_path" $client_properties \
    mmapsrc socket-path="$client_path" $client_properties ! checksumsink \
    </dev/null >"$work/received" 2>"$work/client.log" &
  client_process=$!
  wait -n -p first "$server_process" "$client_process" || status=$?
  if [ "$first" = "$client_process" ]; then
    [ "$status" -eq 0 ] || kill "$server_process" 2>/dev/null || true
    wait "$server_process" || other=$?
    client_status=$status server_status=$other
  else
    [ "$status" -eq 0 ] || kill "$client_process" 2>/dev/null || true
    wait "$client_process" || other=$?
    client_status=$other server_status=$status
  fi
}

# crosses NAME [KIND]... - every frame comes back, from other namespaces of these kinds
crosses() {
  local name=$1 kind ours theirs
  shift
  run
  if [ "$client_status" -ne 0 ] || [ "$server_status" -ne 0 ]; then
    fail "$name: the client ended with $client_status, the server with $server_status"
    return
  fi
  if ! cmp -s "$work/expected" "$work/received"; then
    fail "$name: $(wc -l <"$work/received") frames came back, $(comm -12 "$work/expected" \
      "$work/received" | wc -l) of $frames as they should be"
    return
  fi
  for kind in "$@"; do
    ours=$(readlink "/proc/self/ns/$kind")
    theirs=$(grep -h "^$kind:" "$work/server.log" "$work/client.log" | sort -u |
      grep -vFx "$ours" || true)
    if [ "$(wc -w <<<"$theirs")" -ne 2 ]; then
      fail "$name: both sides and this script are not in three $kind namespaces"
      return
    fi
  done
  pass "$name: $frames frames"
}

# fails NAME SIDE TEXT - SIDE ends with an error, and says why
fails() {
  local -n status=${2}_status
  run
  if [ "$status" -eq 0 ] || [ "$status" -eq 124 ]; then
    fail "$1: the $2 ended with $status"
  elif ! grep -qF -- "$3" "$work/$2.log"; then
    fail "$1: the $2 does not say \"$3\""
  else
    pass "$1: the $2 says why"
  fi
}

# --- the cases -----------------------------------------------------------------------------------

test_namespaces() {
  begin
  box server
  box client
  crosses "other mount, pid, user, ipc and network namespaces" mnt pid user ipc net
  begin
  box server
  crosses "a server in a sandbox"
  begin
  box client
  crosses "a client in a sandbox"
  begin
  box server
  box client --tmpfs /dev --dev-bind /dev/null /dev/null --dev-bind /dev/urandom /dev/urandom
  server+=(--tmpfs /dev --dev-bind /dev/null /dev/null --dev-bind /dev/urandom /dev/urandom)
  if "${client[@]}" test -e /dev/shm || "${server[@]}" test -e /dev/shm; then
    fail "no /dev/shm: there is one"
  else
    crosses "no /dev/shm"
  fi
}

test_read_only() {
  local place name="all read-only but the socket's directory, and for the client that too"
  begin
  box server --remount-ro /dev --remount-ro "$work"
  box client --remount-ro /dev --remount-ro "$work" --remount-ro "$work/at-client"
  for place in / /tmp /var/tmp /dev /dev/shm "$work" "$work/at-client"; do
    if "${client[@]}" touch "$place/file" 2>/dev/null; then
      fail "$name: $place can be written"
      return
    fi
  done
  crosses "$name"
}

test_not_shared() {
  begin
  box server
  box client
  client_path=$work/elsewhere/link
  fails "the directory is not there" client \
    "The directory $work/elsewhere of socket-path $client_path: No such file or directory"
  begin
  box server
  box client --dir "$work/elsewhere"
  client_path=$work/elsewhere/link client_properties="connection-timeout=$second"
  fails "another directory is there" client \
    "No server was on $client_path within connection-timeout"
}

# Payload in a file that each side opens by a path of its own.
test_files() {
  local name
  begin
  box server
  box client
  server_properties="mmap=$work/at-server"
  client_properties+=" mmap=$work/at-client"
  crosses "a file in a directory that has another name on each side"
  begin
  truncate -s 8M "$work/shared/region"
  box server
  box client
  server_properties="mmap=$work/at-server/region"
  client_properties+=" mmap=$work/at-client/region"
  crosses "a file that was there, by two names"
  begin
  box server
  box client --dir "$work/elsewhere"
  server_properties="mmap=$work/at-server"
  client_properties+=" mmap=$work/elsewhere"
  fails "a file of another directory" client "No such file or directory"
}

# As root: a file system of our own, which takes less than a link makes at once.
test_full() {
  begin
  mount -t tmpfs -o size=2m none "$work/shared"
  server_properties="mmap=$work/shared"
  client_properties+=" mmap=$work/shared"
  fails "a file system that is full" client "bytes more for it: No space left on device; "
  umount "$work/shared"
}

# As root: payload in huge pages, by path. As many are set aside beyond those there are, and given
# back.
huge_pages=10 # of 2 MiB: with max-memory=8M a file has a page and two halves of four
pool=/proc/sys/vm/nr_hugepages

set_aside() { echo $(($(<"$pool") + $1)) 2>/dev/null >"$pool"; }

give_back() {
  umount -q "$work/shared/pages" || true
  [ "$set" -eq 0 ] || set_aside "-$set"
}

# Nothing, if there is a hugetlbfs with enough of them in $work/shared/pages.
why_no_huge_pages() {
  local before
  [ -w "$pool" ] || { echo "this kernel has none, or $pool is not ours to write"; return; }
  before=$(<"$pool")
  set_aside $huge_pages || true
  set=$(($(<"$pool") - before))
  mkdir "$work/shared/pages"
  if [ "$set" -lt $huge_pages ]; then
    echo "no more than $set of $huge_pages could be set aside"
  else
    mount -t hugetlbfs -o pagesize=2M none "$work/shared/pages" 2>&1 || true
  fi
}

test_huge_pages() {
  local why
  begin
  set=0
  trap 'give_back; rm -rf "$work"' EXIT
  why_no_huge_pages >"$work/why"
  why=$(<"$work/why")
  if [ -n "$why" ]; then
    skip "huge pages by path: $why"
  else
    box server
    box client
    server_properties="huge-pages=require max-memory=8388608 mmap=$work/at-server/pages"
    client_properties+=" huge-pages=require max-memory=8388608 mmap=$work/at-client/pages"
    crosses "a file on hugetlbfs, in a directory that has another name on each side"
    truncate -s 18M "$work/shared/pages/region"
    server_properties+=/region client_properties+=/region
    crosses "a file on hugetlbfs that was there"
    rm "$work/shared/pages/region"
    umount "$work/shared/pages"
    mount -t hugetlbfs -o pagesize=2M,size=2M none "$work/shared/pages"
    fails "a hugetlbfs that is full" client "bytes more for it: No space left on device; set more"
  fi
  give_back
  trap 'rm -rf "$work"' EXIT
}

test_system_calls() {
  # What Orc compiles it takes from a file, since no memory may become executable.
  begin
  box server --setenv TMPDIR "$work"
  box client --setenv TMPDIR "$work"
  limit --kill
  crosses "the listed system calls and no others"
  begin
  limit --kill
  server_properties="mmap=$work/shared"
  client_properties+=" mmap=$work/shared"
  crosses "the same with a file"
  begin
  limit --kill
  server_properties=huge-pages=try
  client_properties+=" huge-pages=try"
  crosses "the same with huge pages, where there are any"
  begin
  limit --without futex_waitv
  crosses "without futex_waitv"
  begin
  limit --without memfd_create
  server_limits=()
  fails "without memfd_create" client "memfd_create: Operation not permitted"
  begin
  limit --without clone3
  server_limits=()
  fails "without threads" client "Starting a thread: Operation not permitted"
}

# As root, whose containers need no user namespace.
test_unshare() {
  local side
  begin
  for side in server client; do
    # shellcheck disable=SC2034,SC2178
    local -n command=$side path=${side}_path
    # shellcheck disable=SC2034
    path=$work/at-$side/link
    mkdir "$work/at-$side"
    # shellcheck disable=SC2016
    command=(unshare --mount --pid --fork --kill-child --mount-proc --ipc --net bash -c
      'mount --bind "$0/shared" "$1" && mount -t tmpfs none "$0/shared" && exec "${@:2}"'
      "$work" "$work/at-$side")
  done
  crosses "other namespaces but for the user's" mnt pid ipc net
}

# As root: a server whose monotonic clock is a day ahead, as a host's is of its guest's. A muxer drops
# what comes before its pipeline has begun.
test_clock() {
  local came turn="$turn ! matroskamux streamable=true ! matroskademux"
  local picture="${picture/videotestsrc/videotestsrc is-live=true}"
  begin
  server=(unshare --time --monotonic 100000 --fork --kill-child)
  if ! "${server[@]}" true 2>"$work/server.log"; then
    skip "another clock: $(<"$work/server.log")"
    return
  fi
  run
  came=$(wc -l <"$work/received")
  if [ "$client_status" -ne 0 ] || [ "$server_status" -ne 0 ] || [ "$came" -ne "$frames" ]; then
    fail "another clock: the client ended with $client_status, the server with $server_status; \
$came of $frames frames came back"
  else
    pass "another clock: $frames frames"
  fi
}

test_users() {
  begin 750 "$server_uid:$shared_gid"
  as server "$server_uid"
  as client "$client_uid"
  fails "another user" client "uid $client_uid"
  server_properties="group=$shared_gid"
  crosses "another user, by group"
  server_properties="group=$shared_gid allowed-uids=$server_uid"
  fails "another user, not in allowed-uids" client "uid $client_uid may not connect"
  server_properties="perms=$((0666)) allowed-uids=$server_uid,$client_uid"
  crosses "another user, by allowed-uids"
}

# In a directory where anybody may put a socket the client looks who serves.
test_trust() {
  begin 1777
  as server "$server_uid"
  as client "$client_uid"
  server_properties="group=$shared_gid"
  fails "a server who is not trusted" client "runs as uid $server_uid, which is not trusted"
  client_properties+=" allowed-uids=$server_uid"
  crosses "a server who is trusted by allowed-uids"
}

# Each side sees the other as nobody, and has no name for their group: the directory gives it to the
# socket.
test_unmapped() {
  begin 2750 "$server_uid:$shared_gid"
  as server "$server_uid"
  as client "$client_uid"
  box server
  box client
  server_properties="perms=$((0660))"
  crosses "another user, whom no user namespace maps" user
  server_properties="perms=$((0660)) allowed-uids=$client_uid"
  fails "the same, in allowed-uids" client "uid 65534 may not connect"
  server_properties="group=$shared_gid"
  fails "a group that no user namespace maps" server "this user namespace has no such group"
}

# why_no_box UID - nothing, if this user can make a sandbox
why_no_box() {
  local command=()
  type bwrap >/dev/null 2>&1 || { echo "there is no bwrap"; return; }
  begin 755
  [ "$1" = "$(id -u)" ] || as server "$1"
  box server
  "${server[@]}" true 2>&1 || true
}

main() {
  local why
  if [ $# -ne 1 ] || [ ! -f "$1/elements/libgstmmap.so" ]; then usage; fi
  build=$(realpath "$1")
  prepare
  why=$(why_no_box "$(id -u)")
  if [ -z "$why" ]; then
    test_namespaces
    test_read_only
    test_not_shared
    test_files
  else
    skip "sandboxes: $why"
  fi
  if [ -n "$why" ]; then
    skip "system calls: $why"
  elif [ ! -x "$work/programs/allow-only" ]; then
    skip "system calls: built without libseccomp"
  else
    test_system_calls
  fi
  if [ "$(id -u)" -ne 0 ]; then
    skip "other users: takes root"
  else
    test_unshare
    test_full
    if [ -z "$why" ]; then test_huge_pages; else skip "huge pages by path: $why"; fi
    test_clock
    test_users
    test_trust
    why=$(why_no_box "$server_uid")
    if [ -z "$why" ]; then
      test_unmapped
    else
      skip "other users in sandboxes: $why"
    fi
  fi
  [ "$failed" -eq 0 ] || exit 1
  [ "$passed" -gt 0 ] || exit 77
}

main "$@"
