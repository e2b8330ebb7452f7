#!/bin/bash
# Measures what it costs to carry frames over mmapsink/mmapsrc, beside a queue
# in one process and shmsink/shmsrc, and prints a table in Markdown.
#
#   run.sh [--quick] [--build DIR] [--output FILE.md]
#          [--raw FILE.jsonl] [--transports "queue shm mmap"]
#          [--cases "unpaced two-cores one-core paced"] [--rounds N]
#
# The transports take turns, so that whatever else the machine does hits all of
# them alike; the table has medians. How fast something was never makes this
# fail. A lost, duplicated, reordered or damaged frame and a process that fails
# do. All times are bounded.
#
# Transports: queue, shm, mmap
# Cases:      unpaced   1080p I420 as fast as it goes, frames untouched
#             two-cores the same, source and sink on a processor each
#             one-core  the same, all on one processor
#             paced     1080p I420 at 60 frames/s, frames untouched
#             touched   unpaced, every byte written, read and checked

set -u

here=$(cd "$(dirname "$0")" && pwd)
build=$here/../../build
output=
raw=
transports="queue shm mmap"
cases="unpaced two-cores one-core paced"
rounds=
quick=false

usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; }

while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=true ;;
    --build) build=${2:?--build needs a folder}; shift ;;
    --output) output=${2:?--output needs a file}; shift ;;
    --raw) raw=${2:?--raw needs a file}; shift ;;
    --transports) transports=${2:?--transports needs names}; shift ;;
    --cases) cases=${2:?--cases needs names}; shift ;;
    --rounds) rounds=${2:?--rounds needs a number}; shift ;;
    --help | -h) usage; exit 0 ;;
    *) echo "run.sh: unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
  shift
done

build=$(cd "$build" && pwd) || exit 2
bench=$build/tests/benchmarks/bench
[ -x "$bench" ] || { echo "run.sh: no $bench: build it first" >&2; exit 2; }
# The name with the version wins where both are set.
others=${GST_PLUGIN_PATH_1_0:-${GST_PLUGIN_PATH:-}}
export GST_PLUGIN_PATH_1_0=$build/elements${others:+:$others}
export GST_REGISTRY_1_0=${GST_REGISTRY_1_0:-$build/tests/registry.bin}
export LD_LIBRARY_PATH=$build/gst${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

work=$(mktemp -d) || exit 2
# Ends what process() started under that name, if it still runs.
stop() { [ -f "$work/$1.pid" ] && kill "$(cat "$work/$1.pid")" 2>/dev/null; }
cleanup() {
  for role in source sink both; do stop "$role"; done
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

if [ -z "$raw" ]; then
  if [ -n "$output" ]; then raw=${output%.md}.jsonl
  else raw=$(mktemp --tmpdir mmap-benchmark-XXXXXX.jsonl) || exit 2; fi
fi
: >"$raw" || exit 2

# The comparison comes from another package, which may not be there.
if [[ " $transports " == *" shm "* ]] && ! "$bench" --have shmsink; then
  echo "run.sh: there is no shmsink here: measuring without it" >&2
  transports=" $transports "
  transports=${transports/ shm / }
fi
if [[ " $transports " == *" mmap "* ]] && ! "$bench" --have mmapsink; then
  echo "run.sh: there is no mmapsink in $build/elements" >&2
  exit 2
fi

# The processors that may be used here, of a list like 0-3,8.
cpus=()
while IFS=- read -r first last; do
  for ((cpu = first; cpu <= ${last:-$first}; cpu++)); do cpus+=("$cpu"); done
done < <(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status | tr , '\n')
if [[ " $cases " == *" two-cores "* ]] && [ ${#cpus[@]} -lt 2 ]; then
  echo "run.sh: only one processor here: leaving out two-cores" >&2
  cases=" $cases "
  cases=${cases/ two-cores / }
fi

caps="video/x-raw,format=I420,width=1920,height=1080,framerate=60/1"

# Sets what a case consists of. Its bound is for what hangs: a virtual machine may stand still for
# many seconds, and that is no failure. bench leaves such time out.
define_case() {
  local paced_seconds=7
  fps=0 touch=false count_from=200 bound=60 source_cpu='' sink_cpu=''
  case $1 in
    unpaced)
      frames=300000 case_rounds=${rounds:-7}
      $quick && frames=60000 case_rounds=${rounds:-3}
      ;;
    two-cores | one-core)
      frames=300000 case_rounds=${rounds:-5}
      $quick && frames=60000 case_rounds=${rounds:-3}
      source_cpu=${cpus[0]} sink_cpu=${cpus[0]}
      [ "$1" = two-cores ] && sink_cpu=${cpus[1]}
      ;;
    touched)
      frames=3000 touch=true case_rounds=${rounds:-5}
      $quick && frames=600 case_rounds=${rounds:-3}
      ;;
    paced)
      case_rounds=${rounds:-5}
      $quick && paced_seconds=2 case_rounds=${rounds:-3}
      # Everything has been used once, and clocks have settled, after a second.
      fps=60 count_from=60 frames=$((60 * (1 + paced_seconds)))
      bound=$((paced_seconds + 45))
      ;;
    *) echo "run.sh: unknown case $1" >&2; exit 2 ;;
  esac
}

# process NAME PIPELINE...: one line into $raw, whatever happens.
process() {
  local role=$1 status cpu_list
  shift
  case $role in
    source) cpu_list=$source_cpu ;;
    sink) cpu_list=$sink_cpu ;;
    both) cpu_list=${source_cpu:+$source_cpu,$sink_cpu} ;;
  esac
  # bench stops itself before that; this is for one that can't any more.
  timeout -k 2 $((bound + 120)) ${cpu_list:+taskset -c "$cpu_list"} \
    "$bench" --timeout "$bound" \
    -l "case=$case" -l "transport=$transport" -l "round=$round" \
    -l "role=$role" "$@" >"$work/$role.json" 2>"$work/$role.log" &
  echo $! >"$work/$role.pid"
  wait $!
  status=$?
  rm -f "$work/$role.pid"
  if [ ! -s "$work/$role.json" ]; then
    printf '{"case":"%s","transport":"%s","round":"%s","role":"%s","result":"%s"}\n' \
      "$case" "$transport" "$round" "$role" "no report, exit status $status" \
      >"$work/$role.json"
  fi
  if [ $status -ne 0 ]; then
    echo "run.sh: $case $transport, round $round, $role:" >&2
    cat "$work/$role.json" >&2
    tail -n 20 "$work/$role.log" >&2
  fi
  return $status
}

# two_processes SINK-OF-FIRST... -- SOURCE-OF-SECOND...
two_processes() {
  local first=() source_job status=0
  while [ "$1" != -- ]; do first+=("$1"); shift; done
  shift

  process source "${source_element[@]}" ! "${first[@]}" &
  source_job=$!
  for ((tries = 500; tries > 0; tries--)); do
    [ -S "$socket" ] && break
    kill -0 "$source_job" 2>/dev/null || break
    sleep 0.02
  done
  # Without a socket, too: the failure to connect is what is to be reported.
  if ! process sink "$@" ! "${sink_element[@]}"; then
    status=1
    sleep 2
    stop source
  fi
  wait "$source_job" || status=1
  cat "$work/source.json" "$work/sink.json" >>"$raw"
  rm -f "$socket"
  return $status
}

measure() {
  local socket=$work/socket status
  local source_element=(benchsrc "num-buffers=$frames" "fps=$fps" width=1920
    height=1080 format=I420 "touch=$touch" "count-from=$count_from")
  local sink_element=(benchsink "expected-frames=$frames" "touch=$touch"
    "count-from=$count_from")
  case $transport in
    queue)
      # Two threads of one process: which is where is for them to say.
      if [ -n "$source_cpu" ]; then
        source_element+=("cpu=$source_cpu")
        sink_element+=("cpu=$sink_cpu")
      fi
      process both "${source_element[@]}" ! \
        queue max-size-buffers=8 max-size-bytes=0 max-size-time=0 ! \
        "${sink_element[@]}"
      status=$?
      cat "$work/both.json" >>"$raw"
      return $status
      ;;
    shm)
      # A pool without a limit takes all of the area, and shmsink waits for
      # ever. There is no EOS to wait for.
      source_element+=(own-pool-buffers=8)
      sink_element+=(eos-when-complete=true)
      two_processes shmsink "socket-path=$socket" wait-for-connection=true \
        sync=false shm-size=67108864 -- \
        shmsrc "socket-path=$socket" ! "$caps"
      ;;
    mmap)
      two_processes mmapsink "socket-path=$socket" max-buffers=8 \
        wait-for-connection=true -- \
        mmapsrc "socket-path=$socket"
      ;;
    *) echo "run.sh: unknown transport $transport" >&2; exit 2 ;;
  esac
}

declare -A failed=()
for case in $cases; do
  define_case "$case"
  read -ra order <<<"$transports"
  for ((round = 1; round <= case_rounds; round++)); do
    for transport in "${order[@]}"; do
      # What hangs must not take its time again in each round of each case.
      [ "${failed[$transport]:-0}" -ge 2 ] && continue
      measure || failed[$transport]=$((${failed[$transport]:-0} + 1))
    done
    # Nobody always runs first, or always after the same neighbour.
    order=("${order[@]:1}" "${order[0]}")
  done
done

python3 "$here/summarize.py" "$raw" >"$work/table.md"
status=$?
if [ -n "$output" ]; then cp "$work/table.md" "$output"; else cat "$work/table.md"; fi
exit $status
