#!/usr/bin/env bash
# Five variants of one small model at equal operations, three seeds each, on the corpus of the demo: which needs how many to
# learn the same.  What is there already is used again.  TESSERA_STUDY_STEPS and TESSERA_STUDY_SEEDS change the size.
set -euo pipefail
cd "$(dirname "$0")/.."

work=${TESSERA_STUDY:-build/study}
tokens=${TESSERA_DEMO:-build/demo}/tokens
steps=${TESSERA_STUDY_STEPS:-400}
seeds=${TESSERA_STUDY_SEEDS:-1 2 3}
tessera=build/release/tessera
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
mpirun=(mpirun --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 -n 2)

# Settings by variant; mixture-of-depths spends on more layers what it saves in every other one.
variants=(dense 1t1i 4t4i moe_8x mod_1t1i)
declare -A model=(
  [dense]='model.feed_forward=["dense"]'
  [1t1i]='model.feed_forward=["1t1i"]'
  [4t4i]='model.feed_forward=["4t4i"]'
  [moe_8x]='model.feed_forward=["moe_8x"]'
  [mod_1t1i]='model.feed_forward=["1t1i"] model.layers=7 model.depth_capacity=[0.25,1,0.25,1,0.25,1,0.25]'
)

[ -f "$tokens/index.json" ] || { echo "moma-study: no corpus at $tokens: run make demo first" >&2; exit 1; }
begin=$(date +%s)
study=()
for variant in "${variants[@]}"; do
  runs=
  for seed in $seeds; do
    run=$work/${variant}_$seed
    echo "== $variant, seed $seed"
    read -ra settings <<<"${model[$variant]}"
    "${mpirun[@]}" "$tessera" train launch/configs/study.json data="$tokens" out="$run" seed="$seed" steps="$steps" "${settings[@]}" >/dev/null
    checkpoints=("$run"/step_*)
    [ "$run/evaluation.json" -nt "${checkpoints[-1]}" ] || "${mpirun[@]}" "$tessera" evaluate --run "$run" >/dev/null
    runs+=${runs:+,}$run
  done
  study+=("$variant=$runs")
done
"$tessera" study "${study[@]}" --out "$work/study"
echo "moma-study: $(($(date +%s) - begin)) s; open $work/study.html"
