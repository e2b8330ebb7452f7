#!/bin/bash
# Builds what is committed and runs its tests in another release of Debian or Ubuntu, with the compiler and
# GStreamer of that one.
#
#   other-release.sh RELEASE [TEST...]     trixie, sid, noble, ...; these tests, for none all but long ones
#
# Takes root, debootstrap, half an hour, and 5 GB below build/release-RELEASE, which make the next run a quick
# one. Ubuntu's packages are not verified: Debian does not have its keys. Its exit status is that of meson.
set -euo pipefail

usage() {
  sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

give_up() {
  echo "other-release: $*" >&2
  exit 1
}

case ${1:-} in
  '' | -*) usage ;;
esac
[ "$(id -u)" -eq 0 ] || give_up "this takes root, to mount what another system needs"
type debootstrap >/dev/null 2>&1 || give_up "there is no debootstrap: apt-get install debootstrap"
# Mounts go with this namespace, however it ends.
[ -n "${OWN_MOUNTS:-}" ] || OWN_MOUNTS=1 exec unshare --mount --propagation private "$0" "$@"

release=$1
shift
cd "$(dirname "$0")/.."
root=$PWD/build/release-$release
case $release in
  bullseye | bookworm | trixie | forky | sid | testing | unstable)
    from=(http://deb.debian.org/debian)
    components=main
    options=()
    ;;
  *)
    # A script of debootstrap's for any release of Ubuntu.
    from=(http://archive.ubuntu.com/ubuntu gutsy)
    components=main,universe
    options=(--no-check-gpg)
    ;;
esac

if ! [ -e "$root/.complete" ]; then
  rm -rf "$root"
  mkdir -p "$root"
  debootstrap --variant=minbase "${options[@]}" --include=ca-certificates,git --components="$components" \
    "$release" "$root" "${from[@]}" >&2
  if [ ${#options[@]} -gt 0 ]; then
    sed -i 's/^deb /deb [trusted=yes] /' "$root/etc/apt/sources.list"
  fi
  touch "$root/.complete"
fi

# No chroot, in which nothing may have namespaces of its own, as containers do.
mount --rbind "$root" "$root"
for dir in proc sys dev dev/pts dev/shm; do mount --bind "/$dir" "$root/$dir"; done
[ -d "$root/source" ] || git clone -q . "$root/source"
git -C "$root/source" fetch -q "$PWD" HEAD
git -C "$root/source" reset -q --hard FETCH_HEAD
cd "$root"
pivot_root . .
umount -l .
# shellcheck disable=SC2016 # for that shell
exec /bin/bash -c '
  set -eu
  cd /source
  tests/install-packages.sh build test >&2
  [ -f /build/build.ninja ] || meson setup /build -Dwerror=true
  ninja -C /build
  gst-launch-1.0 --version | head -n 1
  if [ $# -gt 0 ]; then exec meson test -C /build --no-rebuild "$@"; fi
  exec meson test -C /build --no-rebuild --num-processes "$(($(nproc) * 4))" --no-suite long --no-suite model
' bash "$@"
