#!/bin/bash
# Searches the models of this directory with Spin, all states of each; or each with each of the
# faults that it must find.
#
#   run.sh [--faults] [MODEL...]       of all models, for none named
#
# A line for each search. Exits with 1 if a claim is broken, a search was cut short, a statement was
# never reached, or a fault was not found.
set -euo pipefail

models=$(cd "$(dirname "$0")" && pwd)
depth=100000
failed=0

# The searches: a model, and what is defined for it. `holds`: its assertions do, and it stops
# nowhere else than where it may. `ends`: its ltl claim holds, where none of its processes is passed
# over for ever. A fault breaks the one, `finds`, or the other, `hangs`.
searches() {
  cat <<'SEARCHES'
ring      holds
ring      ends
ring      finds   HEAD_EARLY
ring      finds   TAKEN_EARLY
ring      finds   CLAIMED_ALONE
ring      finds   LAX
ring      finds   DEAD_DROPS
ring      hangs   NO_REFRESH
wakeup    holds
wakeup    holds   MOST=1
wakeup    ends    ITEMS=2
wakeup    finds   NO_FENCE_HEAD
wakeup    finds   NO_FENCE_READER
wakeup    finds   NO_FENCE_CLAIMED MOST=1
wakeup    finds   NO_FENCE_WANTS
wakeup    finds   NUMBERED
wakeup    finds   NO_KICK
wakeup    finds   KICK_LATE
wakeup    finds   CLOSING_LATE
wakeup    finds   NO_WAKE_ROOM
receipts  holds
receipts  holds   WITH_COLLECTOR ROWS=1 ITEMS=2
receipts  ends
receipts  finds   NO_FENCE_GIVE
receipts  finds   NO_FENCE_WATCH
receipts  finds   NUMBERED
receipts  finds   WATCH_HEAD
receipts  finds   STOP_EARLY WITH_COLLECTOR ROWS=1 ITEMS=2
receipts  finds   LATE_WAITER
receipts  finds   NO_KICK WITH_COLLECTOR ROWS=1 ITEMS=2
receipts  finds   FREED_TWICE
withdraw  holds   EVENTS=1
withdraw  holds   EVENTS=1 SLOTS=2
withdraw  holds   EVENTS=2
withdraw  finds   NO_FENCE_CLAIMED EVENTS=2
withdraw  finds   NO_FENCE_REVOKED EVENTS=2
withdraw  finds   NO_SECOND_LOOK EVENTS=2
withdraw  finds   NO_SKIP EVENTS=2
withdraw  finds   NO_SLOT_RULE EVENTS=1 SLOTS=2
withdraw  finds   NO_EVENT_RULE EVENTS=1
withdraw  finds   SAME_TICKET EVENTS=2
withdraw  finds   TWICE EVENTS=2
withdraw  finds   DROP_SKIPPED EVENTS=2
SEARCHES
}

# say RESULT WHAT MORE
say() {
  printf '%-4s  %-58s %s\n' "$@"
  [ "$1" = ok ] || failed=1
}

# The lines of a model of which a statement was reached, after `all` those that have one. An inline
# is there once for each of its uses, and a line of it counts as reached where one of them was.
lines_of() {
  if [ "$1" = all ]; then : >reached; else cp out reached; fi
  ./pan -d | awk -v which="$1" '
    /^(unreached in )?proctype|^unreached in|^init/ { process = $NF }
    !listing && $2 == "state" { missed[process, $3 + 0] = 1 }
    listing && $1 == "state" && !/=> -end-$/ {
      if (which == "all" || !((process, $2) in missed)) {
        match($0, /[a-z]*\.pml:[0-9]+/)
        print substr($0, RSTART, RLENGTH)
      }
    }' reached listing=1 - | sort -u
}

# search MODEL KIND DEFINE...
search() {
  local model=$1 kind=$2 what="$*" options=(-DSAFETY -DNOCLAIM -DMEMLIM=2048) how=() states
  shift 2
  case $kind in
    ends | hangs) options=(-DNFAIR=4 -DMEMLIM=2048) how=(-a -f) ;;
  esac
  rm -rf ./*
  if ! spin "${@/#/-D}" -a "$models/$model.pml" >spin.log 2>&1 ||
    ! gcc -O1 -w "${options[@]}" -o pan pan.c >>spin.log 2>&1; then
    cat spin.log
    say FAIL "$what" "is no model"
    return
  fi
  timeout 300 ./pan "${how[@]}" -m"$depth" >out 2>&1 || true
  states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1 states/p' out)
  if grep -q -e 'max search depth too small' -e 'out of memory' out || [ -z "$states" ]; then
    tail -n 20 out
    say FAIL "$what" "was cut short"
  elif [ "$kind" = finds ] || [ "$kind" = hangs ]; then
    if grep -q 'errors: 1' out; then
      say ok "$what" "$(sed -n 's/^pan:1: \(.*\)/\1/p' out | cut -c 1-70)"
    else
      say FAIL "$what" "the fault was not found in $states"
    fi
  elif ! grep -q 'errors: 0' out || grep -q 'Search not completed' out; then
    tail -n +1 out
    spin "${@/#/-D}" -t -p -g "$models/$model.pml" -k "$model.pml.trail" 2>/dev/null | tail -n 200
    say FAIL "$what" "$(sed -n 's/^pan:1: \(.*\)/\1/p' out)"
  else
    if [ "$kind" = holds ]; then
      lines_of all >>"$work/$model.lines"
      lines_of reached >>"$work/$model.reached"
    fi
    say ok "$what" "$states"
  fi
}

main() {
  local model kind defines only wanted='holds|ends'
  if [ "${1-}" = --faults ]; then
    wanted='finds|hangs'
    shift
  fi
  only=" $* "
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  mkdir "$work/search"
  cd "$work/search"
  while read -r model kind defines; do
    [ $# -eq 0 ] || [[ $only == *" $model "* ]] || continue
    [[ $kind =~ ^($wanted)$ ]] || continue
    # shellcheck disable=SC2086
    search "$model" "$kind" $defines
  done < <(searches)
  for model in "$work"/*.lines; do
    [ -f "$model" ] || continue
    model=$(basename "$model" .lines)
    if comm -23 <(sort -u "$work/$model.lines") <(sort -u "$work/$model.reached") | grep .; then
      say FAIL "$model" "has statements that are never reached"
    fi
  done
  exit "$failed"
}

main "$@"
