#!/bin/bash
# Runs a script in a throw-away virtual machine that has a real V4L2 capture driver.
#
#   guest-run.sh SCRIPT [ARG...]   run SCRIPT with bash; exits with SCRIPT's status
#   guest-run.sh --prepare         only get what that takes, say why where it can't be had
#
# The driver is the kernel's own test driver, vivid, as /dev/video0. The machine is
# emulated, so it works where neither a camera, nor module loading, nor KVM is to be had.
# SCRIPT sees this machine's files at their usual paths, except for those in /dev and /run.
# What it writes is lost with the guest, except below $GUEST_SHARE. It has no network and no
# standard input.
#
# Environment:
#   GUEST_SHARE     folder that guest and host both write to (default: none that lasts)
#   GUEST_TIMEOUT   seconds the guest may take, boot included (default 300)
#   GUEST_QEMU      further options for QEMU, split at spaces
#   GUEST_RELEASE   release of Debian to take the kernel of, such as trixie (default: this machine's)
#
# Exit status: SCRIPT's; 124 ran out of time; 125 the guest died, or couldn't be started.
set -euo pipefail

cache=${XDG_CACHE_HOME:-$HOME/.cache}/gst-mmap-camera
GUEST_RELEASE=${GUEST_RELEASE:-}
release=() # options of apt
PATH=$PATH:/usr/sbin:/sbin

die() {
  echo "guest-run: $*" >&2
  exit 125
}

have() { type "$@" >/dev/null 2>&1; }

# --- once: tools, kernel and initramfs ---------------------------------------------

apt() { timeout 300 apt-get -qq -o DPkg::Lock::Timeout=120 "${release[@]}" "$@"; }

get_tools() {
  have qemu-system-x86_64 busybox modprobe depmod cpio xz && return
  have apt-get || die "no qemu, busybox, kmod, cpio or xz, and no apt-get to install them with"
  { apt update &&
    DEBIAN_FRONTEND=noninteractive apt install -y --no-install-recommends \
      qemu-system-x86 busybox-static kmod cpio xz-utils; } >"$work/apt.log" 2>&1 ||
    die "can't install qemu and its helpers: $(tail -n 3 "$work/apt.log")"
}

# Makes apt look at that release alone, with lists of its own: this machine's stay as they are.
choose_release() {
  local mirror
  mirror=$(apt-get indextargets --format "\$(REPO_URI)" "Label: Debian" | head -n 1)
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
    "${mirror:-http://deb.debian.org/debian} $GUEST_RELEASE main" >"$work/sources.list"
  mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
  release=(-o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache")
}

# Unpacks the kernel package to $work/kernel. The package is only downloaded, not
# installed, so that neither root nor a boot loader of the host is involved.
get_kernel() {
  local package
  have apt-get dpkg-deb || die "no apt-get to download a kernel with"
  (
    [ -z "$GUEST_RELEASE" ] || choose_release
    # An old list of packages may still do, so a failing update isn't the end.
    apt update || true
    package=$(apt-cache "${release[@]}" depends linux-image-amd64 |
      awk '$1 == "Depends:" && $2 ~ /^linux-image-/ { print $2; exit }')
    cd "$work" && apt download "${package:-linux-image-amd64}" &&
      dpkg-deb -x linux-image-*.deb kernel
  ) >"$work/apt.log" 2>&1 || die "can't download a kernel: $(tail -n 3 "$work/apt.log")"
  # Newer packages have the modules below usr/lib, where modprobe -d doesn't look.
  [ -e "$work/kernel/lib" ] || ln -s usr/lib "$work/kernel/lib"
}

write_init() {
  cat <<'INIT'
#!/bin/busybox sh
# First program of the guest. If it fails, the kernel panics and so ends the guest.
set -e
/bin/busybox --install -s /bin
mount -t proc proc /proc
while read -r module options; do
  # shellcheck disable=SC2086
  insmod "/modules/$module" $options
done </modules/order

# The host's files below, memory on top: the script can write anywhere, and the host
# doesn't notice. Unlike an empty /tmp, this leaves a build folder in /tmp visible.
p9=trans=virtio,version=9p2000.L,msize=512000
mount -t 9p -o "ro,cache=loose,$p9" host /lower
mount -t tmpfs tmpfs /upper
mkdir /upper/files /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work root /root

mount -t proc proc /root/proc
mount -t sysfs sys /root/sys
mount -t devtmpfs dev /root/dev
mkdir -p /root/dev/shm /root/dev/pts
mount -t devpts devpts /root/dev/pts
mount -t tmpfs -o mode=1777 tmpfs /root/dev/shm
# Sockets and lock files of the host's services mean nothing in here.
mount -t tmpfs -o mode=755 tmpfs /root/run
ip link set lo up

# Not cached: the host follows the output while it is being written, and the script's
# files have to be there even if the guest is killed.
mkdir -p /root/run/guest
mount -t 9p -o "rw,cache=none,$p9" control /root/run/guest
sh /root/run/guest/mount-share "$p9"
chroot /root /bin/bash /run/guest/start >>/root/run/guest/output 2>&1 || true
sync
poweroff -f
INIT
}

# Makes the initramfs below $work/initramfs: busybox, /init, and the modules, in an order
# in which each finds what it needs.
fill_initramfs() {
  local version root=$work/initramfs module path name
  version=$(ls "$work/kernel/lib/modules")
  depmod -b "$work/kernel" "$version"
  mkdir -p "$root"/{bin,proc,modules,lower,upper,root}
  cp "$(type -P busybox)" "$root/bin/busybox"
  # virtio_console: ports to the host; vsock_loopback: AF_VSOCK within the guest
  for module in virtio_pci 9pnet_virtio 9p overlay vivid virtio_console vsock_loopback; do
    modprobe -d "$work/kernel" -S "$version" --show-depends "$module" |
      awk '$1 == "insmod" { print $2 }'
  done | awk '!seen[$0]++' | while read -r path; do
    name=$(basename "$path" .xz)
    case $path in
      *.xz) xz -dc "$path" ;;
      *) cat "$path" ;;
    esac >"$root/modules/$name"
    case $name in
      # one device that only captures: the fewer, the sooner it's loaded
      vivid.ko) echo "$name n_devs=1 node_types=1 num_inputs=1 input_types=0" ;;
      *) echo "$name" ;;
    esac
  done >"$root/modules/order"
  [ -s "$root/modules/vivid.ko" ] || die "the kernel package has no vivid module"
  write_init >"$root/init"
  chmod +x "$root/init"
}

# The name says which version of this script made it, so that an edit has it made anew.
prepare() {
  [ "$(uname -m)" = x86_64 ] || die "only written for x86_64"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  get_tools
  mkdir -p "$cache" || die "can't write to $cache"
  version=$(sha256sum "$0" | cut -c1-12)
  boot=$cache/boot-$version${GUEST_RELEASE:+-$GUEST_RELEASE}
  exec 9>"$cache/lock"
  flock -w 600 9 || die "another run has been preparing the guest for 10 minutes"
  if [ ! -e "$boot" ]; then
    get_kernel
    fill_initramfs
    find "$cache" -maxdepth 1 -name 'boot-*' ! -name "boot-$version*" -exec rm -rf {} +
    mkdir "$work/boot"
    cp "$work"/kernel/boot/vmlinuz-* "$work/boot/vmlinuz"
    (cd "$work/initramfs" && find . | cpio -o -H newc --quiet) >"$work/boot/initramfs"
    mv "$work/boot" "$boot"
  fi
  exec 9>&-
  rm -rf "$work"
}

# --- each run ----------------------------------------------------------------------

# Writes what init and the guest's first bash are to run to the control folder.
write_control() {
  : >"$control/output"
  : >"$control/mount-share"
  if [ -n "${GUEST_SHARE:-}" ]; then
    # shellcheck disable=SC2016
    printf 'mkdir -p /root%q\nmount -t 9p -o "rw,cache=none,$1" share /root%q\n' \
      "$share" "$share" >"$control/mount-share"
  fi
  {
    printf 'export HOME=%q PATH=%q LANG=C.UTF-8\n' "$HOME" "$PATH"
    printf 'cd %q\n' "$PWD"
    printf 'bash'
    printf ' %q' "$@"
    printf ' </dev/null\necho $? >/run/guest/status\n'
  } >"$control/start"
}

run_guest() {
  local share='' status=0 folder path
  local -a shares=()
  control=$(mktemp -d)
  trap stop EXIT
  trap 'exit 143' INT TERM HUP
  [ -z "${GUEST_SHARE:-}" ] || share=$(realpath -e "$GUEST_SHARE")
  write_control "$@"
  shares=(-virtfs "local,mount_tag=host,path=/,security_model=none,multidevs=remap,readonly=on")
  for folder in "control=$control" ${share:+"share=$share"}; do
    path=${folder#*=}
    shares+=(-virtfs "local,mount_tag=${folder%%=*},path=${path//,/,,},security_model=none")
  done
  # shellcheck disable=SC2086
  timeout -k 5 "${GUEST_TIMEOUT:-300}" qemu-system-x86_64 \
    -nodefaults -no-user-config -display none -no-reboot \
    -machine q35 -accel tcg,thread=multi -cpu max -smp 2 -m 2G \
    -kernel "$boot/vmlinuz" -initrd "$boot/initramfs" \
    -append "console=ttyS0 loglevel=4 panic=-1 mitigations=off tsc=reliable" \
    -serial "file:$control/console" "${shares[@]}" ${GUEST_QEMU:-} \
    </dev/null >"$control/qemu" 2>&1 &
  guest=$!
  # Ends by itself, after the guest's last words. In the background as a signal would
  # otherwise have to wait for that.
  tail -n +1 -s 0.2 -f --pid="$guest" "$control/output" &
  wait $! || true
  wait "$guest" || status=$?
  guest=
  [ ! -s "$control/status" ] || exit "$(cat "$control/status")"
  tail -n 40 "$control/qemu" "$control/console" >&2
  [ "$status" -ne 124 ] || echo "guest-run: no end within ${GUEST_TIMEOUT:-300} s" >&2
  [ "$status" -eq 124 ] || die "the guest ended before the script did"
  exit 124
}

stop() {
  [ -z "${guest:-}" ] || kill "$guest" 2>/dev/null || true
  rm -rf "$control"
}

case ${1:-} in
  '' | -h | --help)
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
    exit 125
    ;;
  --prepare) prepare ;;
  *)
    script=$(realpath -e "$1") || die "no such script: $1"
    shift
    prepare
    run_guest "$script" "$@"
    ;;
esac
