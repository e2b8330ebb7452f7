#!/bin/bash
# Measures what it costs to carry frames over mmapsink/mmapsrc, beside a queue in one process and
# what else there is for it; see `run.sh --help`.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
exec python3 -B "$here/measure.py" "$@"
