#!/usr/bin/env bash
# Pictures for the held-out English captions of the demo's corpus, by the demo's model, and whether they fit: the page
# build/captions/page.md and a permutation test.
set -euo pipefail
cd "$(dirname "$0")/.."

demo=${TESSERA_DEMO:-build/demo}
run=${TESSERA_CAPTIONS_RUN:-$demo/runs/1t1i}
work=${TESSERA_CAPTIONS:-build/captions}
tessera=build/release/tessera
[ -f "$demo/tokens/index.json" ] && [ -d "$run" ] || { echo "caption-match: no corpus or model at $demo: run make demo first" >&2; exit 1; }

mkdir -p "$work"
python3 - "$demo/manifest/default.jsonl" "$work" <<'PYTHON'
import json, os, sys
manifest, work = sys.argv[1:]
folder = os.path.dirname(os.path.abspath(manifest))
with open(manifest) as lines, open(f"{work}/prompts.jsonl", "w") as prompts, open(f"{work}/references.jsonl", "w") as references:
    for line in lines:
        document = json.loads(line)
        if document["source"] != "emoji" or not document["id"].endswith("/en"):
            continue
        text, image = document["parts"]
        held_out = document["split"] == "validation"
        parts = [text] if held_out else [text, {"image": os.path.join(folder, image["image"])}]
        print(json.dumps({"id": document["id"], "source": "emoji", "parts": parts}), file=prompts if held_out else references)
PYTHON
codes=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["codes_per_image"])' "$demo/tokens/index.json")
"$tessera" generate "$run" --data "$demo/tokens" --prompts "$work/prompts.jsonl" --begin-image --max-tokens $((codes + 2)) --out "$work"
"$tessera" match-captions --replies "$work/replies.jsonl" --references "$work/references.jsonl" --out "$work/match.json"
