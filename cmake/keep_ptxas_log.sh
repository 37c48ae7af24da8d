#!/usr/bin/env bash
# Runs nvcc and keeps what ptxas says of registers and shared memory beside the object: OBJECT.ptxas.
set -uo pipefail
object=
for ((i = 1; i < $#; ++i)); do
  if [ "${!i}" = -o ]; then
    next=$((i + 1))
    object=${!next}
  fi
done
[ -n "$object" ] || exec "$@"
"$@" 2>"$object.ptxas"
code=$?
[ "$code" = 0 ] || cat "$object.ptxas" >&2
exit "$code"
