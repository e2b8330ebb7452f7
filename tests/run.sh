#!/bin/bash
# Installs what it takes, then builds and runs all tests. The last line is `N passed, N failed`.
#
#   run.sh [--camera] [--vm] [--long] [--help]
#
#   --camera   also with a camera driver, in an emulated machine (a few minutes more)
#   --vm       also a link between that machine and its host (a minute more)
#   --long     also what takes long: the tests of the elements many times over, a thousand killed
#              peers, many clients of a server for half an hour, two processes under
#              AddressSanitizer, all elements under ThreadSanitizer, ten minutes of each fuzzer,
#              elements under valgrind, and clang-tidy
#
# Each test program counts, and so does each build; those with gcc and clang must be free of
# warnings, which sanitizers make gcc give falsely. Logs of all that fails are shown. Builds are
# kept below build/, which makes the next run a quick one. The first one takes some 25
# minutes of processor time, and compilers two thirds of that.
set -euo pipefail

cd "$(dirname "$0")/.."
camera=
vm=
long=
jobs=$(nproc)
tests_at_once=$((jobs * 4)) # most of them wait, most of the time
test_seconds=900 # for the tests of one build
without_long=(--no-suite long)
passed=0
failed=0
skipped=()
broken=()

usage() {
  sed -n '2,/^set/s/^# \{0,1\}//p' "tests/run.sh"
  exit "$1"
}

step() { printf '\n=== %s (at %d:%02d)\n' "$1" $((SECONDS / 60)) $((SECONDS % 60)); }

pass() {
  passed=$((passed + 1))
  echo "PASS $1"
}

fail() {
  failed=$((failed + 1))
  broken+=("$1")
  echo "FAIL $1"
}

skip() {
  skipped+=("$1")
  echo "SKIP $1"
}

# targets_of DIR SUITE... - what ninja has to make for these tests; for none named, all there is
targets_of() {
  local dir=$1
  shift
  [ $# -gt 0 ] || return 0
  meson introspect --tests "$dir" | python3 -c '
import json, os, sys
suites = set(sys.argv[2:])
tests = [t for t in json.load(sys.stdin) if suites & {s.split(":")[-1] for s in t["suite"]}]
print("elements/libgstmmap.so")
for path in {os.path.relpath(t["cmd"][0], sys.argv[1]) for t in tests}:
    if not path.startswith(".."):
        print(path)
' "$(realpath "$dir")" "$@"
}

# build NAME SUITES OPTION... - in build/NAME, with the compiler in CXX
build() {
  local name=$1 suites=$2 dir=build/$1 log=$work/build-$1 targets
  shift 2
  # shellcheck disable=SC2086
  if { [ -f "$dir/build.ninja" ] || timeout 300 meson setup "$dir" "$@"; } >"$log" 2>&1 &&
    targets=$(targets_of "$dir" $suites 2>>"$log") &&
    timeout 900 ninja -C "$dir" -j "$jobs" $targets >>"$log" 2>&1; then
    pass "build with $name"
  else
    grep -vE '^\[[0-9]+/[0-9]+\] (Compiling|Linking|Generating)' "$log" | tail -n 60
    fail "build with $name"
    return 1
  fi
}

# Reads meson's log of one run and prints a line per test, `passed|failed|skipped NAME`. What says why
# one has failed is added to the file REASONS.
results_of() { # LOG REASONS
  python3 - "$@" <<'PYTHON'
import json, re, sys
kinds = {"OK": "passed", "EXPECTEDFAIL": "passed", "SKIP": "skipped", "IGNORED": "skipped"}
says_why = re.compile(r":[FE]:\w+:|ERROR|CRITICAL|Sanitizer:|Bail out|^not ok|^FAIL")
for line in open(sys.argv[1]):
    test = json.loads(line)
    kind = kinds.get(test["result"], "failed")
    print(kind, test["name"])
    if kind != "failed":
        continue
    said = (test.get("stdout", "") + "\n" + test.get("stderr", "")).splitlines()
    why = [one[:400] for one in said if says_why.search(one)][:5] or [test["result"]]
    with open(sys.argv[2], "a") as reasons:
        reasons.writelines(f"         {test['name']}: {one}\n" for one in why)
PYTHON
}

# run_tests NAME OPTION... - those of build/NAME that the options of `meson test` choose
run_tests() {
  local name=$1 dir=build/$1 log kind test count=0
  shift
  log=$dir/meson-logs/run.json
  rm -f "$log"
  # Interrupted, meson ends the tests that run and still writes its log: they count as failed.
  timeout -s INT -k 60 "$test_seconds" meson test -C "$dir" --no-rebuild \
    --num-processes "$tests_at_once" --print-errorlogs --logbase run "${without_long[@]}" "$@" \
    </dev/null 2>&1 || true
  if [ -f "$log" ]; then
    while read -r kind test; do
      count=$((count + 1))
      case $kind in
        passed) passed=$((passed + 1)) ;;
        skipped) skipped+=("$test ($name)") ;;
        failed)
          failed=$((failed + 1))
          broken+=("$test ($name)")
          ;;
      esac
    done < <(results_of "$log" "$work/reasons")
  fi
  [ "$count" -gt 0 ] || fail "no test ran with $name $*"
}

# check NAME SECONDS COMMAND... - one more test, which shows what it said only if it fails
check() {
  local name=$1 seconds=$2 log=$work/check
  shift 2
  if timeout "$seconds" "$@" </dev/null >"$log" 2>&1; then
    pass "$name"
  else
    tail -n 60 "$log"
    fail "$name"
  fi
}

# count_lines LOG - of a script that says PASS, FAIL or SKIP for each of its cases. Sets lines.
count_lines() {
  local line
  lines=0
  while read -r line; do
    case $line in
      PASS*) passed=$((passed + 1)) ;;
      FAIL*)
        failed=$((failed + 1))
        broken+=("${line#FAIL }")
        ;;
      *) skipped+=("${line#SKIP }") ;;
    esac
    lines=$((lines + 1))
  done < <(grep -E '^(PASS|FAIL|SKIP) ' "$1")
}

# --- the steps ---------------------------------------------------------------------------------

install_packages() {
  step "Packages"
  tests/install-packages.sh build test || exit 1
}

# Tests of huge pages that a peer has take some; without any they say that they were left out. The
# machine gets back what it had.
huge_pages=0
set_huge_pages_aside() {
  local pool=/proc/sys/vm/nr_hugepages before
  [ -w "$pool" ] || return 0
  before=$(<"$pool")
  echo $((before + 48)) >"$pool" || true
  huge_pages=$(($(<"$pool") - before))
}

give_huge_pages_back() {
  local pool=/proc/sys/vm/nr_hugepages
  [ "$huge_pages" -eq 0 ] || echo $(($(<"$pool") - huge_pages)) >"$pool"
}

test_gcc() {
  step "gcc: all tests"
  # To compile takes longer than to run: debuggers get no more than lines.
  CXX=g++ build gcc "" -Dwerror=true -Dcpp_args=-g1 || return 0
  [ -e build/gcc/gst/GstMmap-1.0.typelib ] ||
    skip "introspection: there is no gobject-introspection-1.0 for pkg-config"
  run_tests gcc --no-suite containers
}

test_containers() {
  step "Containers"
  local status=0 log=$work/containers lines
  timeout 300 tests/containers/containers-test.sh build/gcc </dev/null 2>&1 | tee "$log" ||
    status=$?
  count_lines "$log"
  if [ "$lines" -eq 0 ] || { [ "$status" -ne 0 ] && ! grep -qE '^(FAIL|SKIP) ' "$log"; }; then
    fail "the test of containers ended with status $status, without saying what failed"
  fi
}

# Clean is what this version finds so: another would have other things to say.
run_cppcheck() {
  step "cppcheck: nothing to say"
  if ! cppcheck --version 2>&1 | grep -q ' 2\.10'; then
    skip "cppcheck: it is not version 2.10, for which the code is clean"
    return 0
  fi
  # Not heeded: GObject's casts are C's; a variable may be called as a function is; what is written
  # and read as a whole, on the wire, has members that nothing names; loops are no worse to read.
  check "cppcheck" 300 cppcheck --quiet --error-exitcode=1 -j "$jobs" --std=c++20 \
    --language=c++ --library=gtk,posix --enable=warning,style,performance,portability \
    --inline-suppr --suppress=cstyleCast --suppress=shadowFunction \
    --suppress=unusedStructMember --suppress=useStlAlgorithm -D_GNU_SOURCE -I. \
    lib gst elements examples
}

# .clang-tidy has what is looked for.
run_clang_tidy() {
  step "clang-tidy: nothing to say"
  if ! clang-tidy --version 2>&1 | grep -q 'version 14\.'; then
    skip "clang-tidy: it is not version 14, for which .clang-tidy is"
    return 0
  fi
  # shellcheck disable=SC2016
  check "clang-tidy" 3600 bash -c '
    printf "%s\n" {lib,gst,gst/tools,elements,examples}/*.cpp |
      xargs -P "$0" -n 1 clang-tidy -p build/gcc --quiet' "$jobs"
}

# list_plugins NAME RUNTIME - all of them beforehand, or the first test would, and be blamed for
# what those of others do. Ours loads into programs with that sanitizer only, not into GStreamer's
# scanner.
list_plugins() {
  local dir=$PWD/build/$1
  env GST_REGISTRY_FORK=no GST_REGISTRY_1_0="$dir/tests/registry.bin" \
    GST_PLUGIN_PATH_1_0="$dir/elements" LD_PRELOAD="$2" \
    ASAN_OPTIONS=detect_leaks=0 TSAN_OPTIONS=report_bugs=0 \
    timeout 120 gst-inspect-1.0 mmapsink >"$work/inspect" 2>&1 || tail -n 20 "$work/inspect"
}

# One build for all that clang is for. Nothing is optimized, for the same reason.
test_clang() {
  step "clang: no warnings; AddressSanitizer and UndefinedBehaviorSanitizer: library and elements"
  # Stress is for ThreadSanitizer.
  local also=(--no-suite tsan --no-suite codecs --no-suite schedules)
  [ -z "$long" ] || also=(--suite processes --no-suite codecs)
  # GStreamer's check.h is not for -Wpedantic.
  CXX=clang++ build clang-asan "" -Dwerror=true -Dfuzz=true -Db_sanitize=address,undefined \
    -Db_lundef=false -Db_pch=true -Doptimization=0 \
    '-Dcpp_args=-g1 -Wno-gnu-zero-variadic-macro-arguments' || return 0
  # What libraries make for good, as they are loaded (GLib's table of quarks) or at first use (the
  # fonts there are), and smaller tables of quarks, which GLib leaves behind as they grow; GStreamer's
  # lists of log functions likewise, a date in a launch line, and encodebin its pads' closures. To see these callers takes the slow
  # unwinder, since GLib has no frame pointers: three quarters of the time where it looks at whole
  # stacks.
  printf 'leak:%s\n' ld-linux- libfontconfig libgstencoding g_intern_string \
    gst_debug_add_log_function gst_debug_remove_log_function \
    gst_date_time_new_from_iso8601_string >"$work/lsan"
  local -x LSAN_OPTIONS=suppressions=$work/lsan:print_suppressions=0
  local -x UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
  local -x ASAN_OPTIONS=detect_leaks=1:halt_on_error=1
  # clang's own symbolizer is in one more package.
  ASAN_OPTIONS+=:fast_unwind_on_malloc=0:malloc_context_size=10
  ASAN_OPTIONS+=:external_symbolizer_path=/usr/bin/addr2line
  local -x GST_REGISTRY_FORK=no
  list_plugins clang-asan "$(clang++ -print-file-name="libclang_rt.asan-$(uname -m).so")"
  CK_TIMEOUT_MULTIPLIER=4 run_tests clang-asan --timeout-multiplier 4 --suite lib --suite elements \
    --suite fuzz "${also[@]}"
}

test_tsan() {
  step "ThreadSanitizer: library and elements"
  local suites="tsan threads" also=(--suite tsan --suite threads)
  [ -z "$long" ] || suites="lib elements"
  [ -z "$long" ] || also=(--suite lib --suite elements --no-suite codecs --no-suite schedules)
  [ -z "$long" ] || skip "cut, lib-lane_schedules (tsan): others' codecs; one thread at a time"
  CXX=g++ build tsan "$suites" -Db_sanitize=thread -Dexamples=disabled -Doptimization=1 || return 0
  # Not ignore_noninstrumented_modules: gcc's takes no module for instrumented, ours neither, and
  # would say nothing of what is copied or freed.
  local -x TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:suppressions=$PWD/tests/tsan.supp
  local -x GST_REGISTRY_FORK=no
  list_plugins tsan "$(g++ -print-file-name=libtsan.so)"
  CK_TIMEOUT_MULTIPLIER=4 run_tests tsan --timeout-multiplier 4 "${also[@]}"
}

test_fuzz() {
  step "Fuzzers"
  local log=$work/fuzz name=clang-asan seconds=8 lines targets=(tests/fuzz/corpus/*/)
  if [ -n "$long" ]; then
    # Here it pays to compile for longer.
    name=fuzz seconds=600
    CXX=clang++ build fuzz fuzz -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false \
      -Ddefault_library=static -Dexamples=disabled -Doptimization=1 || return 0
  fi
  [ -x "build/$name/tests/fuzz/fuzz-uri" ] || return 0 # that build has failed
  tests/fuzz/run.sh --build "build/$name" --seconds "$seconds" --jobs "$jobs" 2>&1 | tee "$log" ||
    true
  count_lines "$log"
  [ "$lines" -eq ${#targets[@]} ] || fail "$lines of ${#targets[@]} fuzzers said how it went"
}

test_long() {
  run_clang_tidy
  step "elements, ten times over"
  run_tests gcc --suite elements --repeat 10
  step "elements under valgrind"
  # Leaks are AddressSanitizer's business. It knows no futex_waitv, which ours then do without.
  skip "cut, joiners (valgrind): codecs of others, for minutes, or with output that is not defined"
  CK_TIMEOUT_MULTIPLIER=10 run_tests gcc --timeout-multiplier 10 --suite elements --no-suite codecs \
    --no-suite x264 --wrap 'valgrind -q --error-exitcode=99 --trace-children=no'
}

test_quickstart() {
  step "Quick start"
  check "examples/quickstart.sh" 300 \
    examples/quickstart.sh --seconds 3 --build-dir build/gcc --output "$work/out.mkv"
}

# guest_test NAME PACKAGES... - tests/camera/NAME-test.sh
guest_test() {
  local name=$1 status=0 log=$work/$1 lines
  shift
  tests/install-packages.sh "$@" || true
  timeout 600 bash "tests/camera/$name-test.sh" build/gcc </dev/null 2>&1 | tee "$log" || status=$?
  count_lines "$log"
  if [ "$lines" -eq 0 ] || { [ "$status" -ne 0 ] && ! grep -qE '^(FAIL|SKIP) ' "$log"; }; then
    fail "$name-test.sh ended with status $status, without saying what failed"
  fi
}

test_camera() {
  step "Camera"
  guest_test camera camera
}

test_vm() {
  step "Virtual machine"
  guest_test vm camera vm
}

summary() {
  local one
  step "Summary"
  for one in "${skipped[@]}"; do echo "not run: $one"; done
  for one in "${broken[@]}"; do echo "failed:  $one"; done
  [ ! -f "$work/reasons" ] || cat "$work/reasons"
  echo "$passed passed, $failed failed"
}

main() {
  while [ $# -gt 0 ]; do
    case $1 in
      --camera) camera=yes ;;
      --vm) vm=yes ;;
      --long) long=yes test_seconds=7200 without_long=() ;;
      -h | --help) usage 0 ;;
      *) usage 2 >&2 ;;
    esac
    shift
  done
  install_packages
  work=$(mktemp -d)
  trap 'give_huge_pages_back; rm -rf "$work"' EXIT
  set_huge_pages_aside
  test_gcc
  test_containers
  test_quickstart
  test_clang
  test_fuzz
  test_tsan
  run_cppcheck
  [ -z "$long" ] || test_long
  [ -z "$camera" ] || test_camera
  [ -z "$vm" ] || test_vm
  summary
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}

main "$@"
