#!/bin/bash
# Installs what a fresh Debian 12 lacks; says nothing when all of it is there.
#
#   install-packages.sh GROUP...
#
#   build    what building and running takes
#   test     what tests/run.sh takes besides
#   camera   the virtual machine of tests/camera
#   vm       what a link between that machine and its host takes besides
#   bench    what tests/benchmarks compares with, besides what the build takes
#
# Needs root or sudo. Exits with 1, and a list to install by hand, where it has neither, and on
# systems other than Debian and its like; there NO_INSTALL=1 goes on with what is there.
set -euo pipefail

packages_of() {
  case $1 in
    build)
      echo g++ meson ninja-build pkg-config libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev \
        gstreamer1.0-tools gstreamer1.0-plugins-{base,good,bad,ugly} gstreamer1.0-libav
      ;;
    # opencv-doc has the video that the tests send, plugins-base-apps has gst-play-1.0
    test)
      echo gstreamer1.0-x clang clang-tidy cppcheck gstreamer1.0-plugins-base-apps opencv-doc \
        spin valgrind bubblewrap libseccomp-dev iproute2 python3-yaml python3-gi \
        gir1.2-gstreamer-1.0 gobject-introspection libgirepository1.0-dev xvfb \
        systemd
      ;;
    camera) echo qemu-system-x86 busybox-static kmod cpio xz-utils ;;
    vm) echo socat ;;
    bench) echo gstreamer1.0-pipewire pipewire pipewire-bin ;;
    *)
      sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
      exit 2
      ;;
  esac
}

has() {
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

give_up() {
  printf 'install-packages: %s. Install these, or what your system calls them, by hand:\n  %s\n' \
    "$1" "$2" >&2
  echo "Then go on with NO_INSTALL=1 in the environment." >&2
  exit 1
}

# apt MINUTES ARGUMENT... - as root, waiting for another apt-get where one is running
apt() {
  local minutes=$1
  shift
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive timeout "$((minutes * 60))" \
    apt-get -qq -o DPkg::Lock::Timeout=120 -o Acquire::Retries=2 "$@" </dev/null
}

main() {
  local group package all='' missing=() log
  [ $# -gt 0 ] || packages_of ''
  [ -z "${NO_INSTALL:-}" ] || exit 0
  for group in "$@"; do
    all+=" $(packages_of "$group")"
  done
  type apt-get dpkg-query >/dev/null 2>&1 || give_up "there is no apt-get here" "${all# }"
  for package in $all; do
    has "$package" || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || exit 0

  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    type sudo >/dev/null 2>&1 || give_up "this takes root or sudo" "${missing[*]}"
    as_root=(sudo)
    # nobody there to type a password
    [ -t 0 ] || as_root=(sudo -n)
    "${as_root[@]}" true || give_up "sudo did not let me" "${missing[*]}"
  fi
  log=$(mktemp)
  # shellcheck disable=SC2064
  trap "rm -f '$log'" EXIT
  echo "Installing ${missing[*]} (a few minutes)"
  # An old list of packages may still do, so a failing update isn't the end.
  apt 5 update >"$log" 2>&1 || true
  if ! apt 15 install -y --no-install-recommends "${missing[@]}" >>"$log" 2>&1; then
    tail -n 20 "$log" >&2
    give_up "apt-get failed, see above" "${missing[*]}"
  fi
}

main "$@"
