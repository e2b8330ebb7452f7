#!/bin/bash
# Runs the fuzzers of build/fuzz on their corpora, and says PASS or FAIL for each.
#
#   run.sh [--build DIR] [--seconds N] [--jobs N] [--merge] [TARGET...]
#
#   --build DIR   where they were built (build/fuzz)
#   --seconds N   how long each of them runs (10)
#   --jobs N      how many of them at a time (2)
#   --merge       puts what they find into tests/fuzz/corpus, as few and as small inputs as will do
#
# What is found in between is kept in DIR/corpus, for the next run to begin with; an input
# that fails in DIR/failures. tests/fuzz/meson.build says how to make the build.
set -euo pipefail

cd "$(dirname "$0")/../.."
build=build/fuzz
corpora=tests/fuzz/corpus
seconds=10
jobs=2
merge=
targets=()

# Hangs, memory without bounds, and single allocations that no input of a few KiB should take.
limits=(-timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=64)

usage() {
  sed -n '2,/^set/s/^# \{0,1\}//p' "tests/fuzz/run.sh"
  exit "$1"
}

# fuzz TARGET - one of them; what it says to a log, the last line of which is shown
fuzz() {
  local target=$1 log=$failures/$1.log dictionary=tests/fuzz/$1.dict options=()
  mkdir -p "$found/$target"
  [ ! -f "$dictionary" ] || options+=("-dict=$dictionary")
  # Beyond their time they are ended here: one that hangs is past all of its own limits.
  if timeout -k 10 $((seconds + 120)) "$programs/fuzz-$target" "${limits[@]}" "${options[@]}" \
    -max_total_time="$seconds" -print_final_stats=1 -artifact_prefix="$failures/$target-" \
    "$found/$target" "$corpora/$target" >"$log" 2>&1 </dev/null; then
    echo "PASS fuzz-$target ($(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs)"
    return 0
  fi
  grep -vE '^#[0-9]+\s' "$log" | tail -n 60
  local input
  input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
  [ -z "$input" ] || echo "again with: $programs/fuzz-$target $input"
  echo "FAIL fuzz-$target (see $log)"
  return 1
}

# merge TARGET - a corpus of its own anew, from what is there and what was found
merge() {
  local target=$1 old=$work/$1
  mv "$corpora/$target" "$old"
  mkdir -p "$corpora/$target"
  timeout 900 "$programs/fuzz-$target" "${limits[@]}" -set_cover_merge=1 -use_counters=0 "$corpora/$target" "$old" \
    "$found/$target" >"$failures/$target.merge.log" 2>&1 </dev/null || {
    tail -n 20 "$failures/$target.merge.log"
    rm -rf "${corpora:?}/$target"
    mv "$old" "$corpora/$target"
    return 1
  }
  echo "$target: $(find "$corpora/$target" -type f | wc -l) inputs"
}

main() {
  local target status=0 running=0
  while [ $# -gt 0 ]; do
    case $1 in
      --build) build=$2 && shift ;;
      --seconds) seconds=$2 && shift ;;
      --jobs) jobs=$2 && shift ;;
      --merge) merge=yes ;;
      -h | --help) usage 0 ;;
      -*) usage 2 >&2 ;;
      *) targets+=("$1") ;;
    esac
    shift
  done
  programs=$build/tests/fuzz found=$build/corpus failures=$build/failures
  if [ ${#targets[@]} -eq 0 ]; then
    for target in "$corpora"/*/; do targets+=("$(basename "$target")"); done
  fi
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  export TMPDIR=$work G_SLICE=always-malloc
  mkdir -p "$failures"

  for target in "${targets[@]}"; do
    if [ "$running" -ge "$jobs" ]; then
      wait -n || status=1
      running=$((running - 1))
    fi
    fuzz "$target" &
    running=$((running + 1))
  done
  while [ "$running" -gt 0 ]; do
    wait -n || status=1
    running=$((running - 1))
  done
  if [ -n "$merge" ]; then
    for target in "${targets[@]}"; do merge "$target" || status=1; done
  fi
  return "$status"
}

main "$@"
