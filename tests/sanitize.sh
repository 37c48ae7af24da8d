#!/usr/bin/env bash
# The fast tests under the address + undefined-behaviour sanitizers, then under the thread sanitizer.
# Suppressions name third-party libraries only (tests/*.supp).  Usage: sanitize.sh [asan|tsan ...]
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- asan tsan

# allocator_may_return_null: a test asks for more memory than there is.
# fast_unwind_on_malloc=0: else the stacks of MPI's allocations end before the library that tests/leaks.supp names.
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1:fast_unwind_on_malloc=0
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export LSAN_OPTIONS=suppressions=$PWD/tests/leaks.supp:print_suppressions=0
export TSAN_OPTIONS=suppressions=$PWD/tests/races.supp:halt_on_error=1:allocator_may_return_null=1

for preset in "$@"; do
  cmake --preset "$preset" >/dev/null
  cmake --build --preset "$preset"
  ctest --test-dir "build/$preset" --output-on-failure -L fast -j2
done
