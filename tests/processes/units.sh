#!/bin/bash
# The units of examples/systemd, as far as systemd can look at them without running; that their filter of
# system calls lets all calls of tests/containers/system-calls.txt pass; and that their settings are ones.
#
#   units.sh BUILD_DIR
set -euo pipefail

build=$(realpath "$1")
source=$(realpath "$(dirname "$0")/../..")
units=$source/examples/systemd
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Where the server is, uninstalled.
sed "s|/usr/bin/gst-mmap-server|$build/gst/tools/gst-mmap-server|" "$units/gst-mmap-server.service" \
  > "$work/gst-mmap-server.service"
cp "$units/gst-mmap-server.socket" "$work/"

# The file: with a word that it does not know it is refused, without it there is nothing to complain of but the
# path, which is not there.
settings() {
  timeout 60 "$build/gst/tools/gst-mmap-server" --socket-path="$work/none/enc" --config="$1" 2>&1 || true
}
settings "$units/gst-mmap-server.conf" | grep -q "The directory $work/none of socket-path"
{ cat "$units/gst-mmap-server.conf"; echo "colour=red"; } > "$work/other.conf"
settings "$work/other.conf" | grep -q 'knows no colour'

if ! command -v systemd-analyze > /dev/null; then
  echo "SKIP units of systemd: systemd-analyze is not there"
  exit 77
fi
complaints=$(SYSTEMD_LOG_LEVEL=warning systemd-analyze verify --man=no "$work/gst-mmap-server.service" \
  "$work/gst-mmap-server.socket" 2>&1 | grep gst-mmap-server || true)
if [ -n "$complaints" ]; then
  echo "$complaints"
  exit 1
fi

python3 - "$units/gst-mmap-server.service" "$source/tests/containers/system-calls.txt" <<'PYTHON'
import re, subprocess, sys
unit, calls = sys.argv[1:]
groups, group = {}, None
shown = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager"], check=True,
                       capture_output=True, text=True).stdout
# systemd 255 puts an escape sequence before a group within a group, whoever reads it.
for line in re.sub("\033\\[[0-9;]*m", "", shown).splitlines():
    if line.startswith("@"):
        group = groups.setdefault(line.strip(), set())
    elif line.startswith("    ") and group is not None and not line.strip().startswith("#"):
        group.add(line.strip())
def whole(names):
    return set().union(*(whole(groups[n]) if n.startswith("@") else {n} for n in names))
allowed = set()
for line in open(unit):
    if line.startswith("SystemCallFilter="):
        words = line.split("=", 1)[1].split()
        if words[0].startswith("~"):
            allowed -= whole([words[0][1:]] + words[1:])
        else:
            allowed |= whole(words)
needed = {line.split("#")[0].strip() for line in open(calls)} - {""}
needed |= {"pidfd_open", "pidfd_send_signal", "wait4", "sendto"}
# Of another kernel than systemd knows them for.
unknown = needed - whole(groups)
missing = sorted(needed - allowed - unknown)
if missing:
    sys.exit("SystemCallFilter= lets these not pass: " + " ".join(missing))
PYTHON
