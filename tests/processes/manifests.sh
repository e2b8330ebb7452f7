#!/bin/bash
# Runs the commands of docs/compose.yaml and docs/pod.yaml as they stand there, without the containers:
# two processes each, with the directory that each has mounted, and an end.
#
#   manifests.sh BUILD_DIR
set -euo pipefail

build=$(realpath "$1")
# shellcheck source=tests/processes/lines.sh
. "$(dirname "$0")/lines.sh"

# The commands of both containers, a line each, each path as it is on the volume.
commands_of() {
  python3 - "$1" "$work/volume" <<'PYTHON'
import shlex, sys, yaml
path, volume = sys.argv[1:]
manifest = yaml.safe_load(open(path))
if "services" in manifest:
    containers = [(c["command"], c["volumes"][0].split(":")[1])
                  for c in manifest["services"].values()]
else:
    spec = manifest["spec"]
    containers = [(c["command"], c["volumeMounts"][0]["mountPath"])
                  for c in spec["initContainers"] + spec["containers"]]
for command, mounted in containers:
    # As the volume is for one user here.
    words = [w.replace(mounted, volume) for w in command if not w.startswith("group=")]
    print(shlex.join(words))
PYTHON
}

for manifest in compose pod; do
  rm -rf "$work/volume"
  mkdir "$work/volume"
  mapfile -t lines < <(commands_of "$docs/$manifest.yaml")
  if [ "${#lines[@]}" -eq 3 ]; then
    bash -c "${lines[0]}"
    lines=("${lines[@]:1}")
  fi
  [ "${#lines[@]}" -eq 2 ] || { echo "$manifest.yaml has not two containers" >&2; exit 1; }
  pair "${lines[0]}" "${lines[1]/videotestsrc/$picture}"
done
