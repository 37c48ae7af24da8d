#!/usr/bin/env bash
# The demo: corpus, dataset, a 1t1i model and its dense sibling on two MPI ranks, evaluation, report.  What is there already
# is used again; each phase prints its time.
set -euo pipefail
cd "$(dirname "$0")/.."

ranks=2
work=${TESSERA_DEMO:-build/demo}
tessera=build/release/tessera
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
mpirun=(mpirun --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 -n "$ranks")

begin=$(date +%s)
downloads=0
phase() {   # phase NAME COMMAND...
  local name=$1 started
  shift
  echo "== $name"
  started=$(date +%s)
  "$@"
  last=$(($(date +%s) - started))
  echo "== $name: $last s"
}

build() {
  cmake --preset program >/dev/null
  cmake --build --preset program
}
download() { data/sources/fetch_default_corpus.sh "$work"; }
manifest() {
  [ -f "$work/manifest/default.jsonl" ] || python3 data/sources/default_corpus.py --root "$work/root" --out "$work/manifest"
}
dataset() { "$tessera" prepare launch/configs/demo_data.json manifest="$work/manifest/default.jsonl" out="$work/tokens"; }
model() { "${mpirun[@]}" "$tessera" train "launch/configs/demo_$1.json" data="$work/tokens" out="$work/runs/$1"; }
evaluation() { for run in 1t1i dense; do "${mpirun[@]}" "$tessera" evaluate --run "$work/runs/$run"; done; }
# What the demo promises: held-out loss below the smoothed unigram by half a nat for text and one nat for textured patches.
verdict() {
  python3 - "$work"/runs/{1t1i,dense}/evaluation.json <<'PYTHON'
import json, sys
failed = False
for path in sys.argv[1:]:
    result = json.load(open(path))
    for part, margin in (("text", 0.5), ("image", 1.0)):
        gain = result[part]["unigram"] - result[part]["nats"]
        failed |= gain < margin
        print(f"{path}: {part} is {gain:.2f} nats per token below the unigram (at least {margin} wanted)")
sys.exit("demo: a model did not learn enough" if failed else 0)
PYTHON
}
report() { "$tessera" report "$work/runs/1t1i" "$work/runs/dense" --data "$work/tokens" --out "$work/report.html"; }

mkdir -p "$work"
phase build build
phase download download
downloads=$last
phase manifest manifest
phase dataset dataset
phase "training 1t1i" model 1t1i
phase "training dense" model dense
phase evaluation evaluation
phase verdict verdict
phase report report
total=$(($(date +%s) - begin))
echo "demo: $((total - downloads)) s without the download of the corpus ($downloads s)"
echo "open $work/report.html"
