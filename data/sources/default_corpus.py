#!/usr/bin/env python3
"""Turns the unpacked packages of the default corpus into one manifest: OUT/default.jsonl and OUT/images/.

usage: default_corpus.py --root DIR/root --out DIR/manifest      (DIR as filled by fetch_default_corpus.sh)
"""

import argparse
import pathlib
import time

import emoji
import gcide
import gimp_manual
import manifest


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes the manifest of the default corpus.")
    parser.add_argument("--root", type=pathlib.Path, required=True, help="folder of the unpacked packages")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for default.jsonl and images/")
    arguments = parser.parse_args()

    start = time.monotonic()
    documents, pictures = [], {}
    for name, source in (("emoji", emoji), ("gimp", gimp_manual), ("gcide", gcide)):
        print(f"reading {name} ...", flush=True)
        corpus = source.read(arguments.root)
        print(manifest.summary(name, corpus.documents), flush=True)
        documents += corpus.documents
        pictures |= corpus.pictures

    # Pictures first: a manifest that exists never names a picture that does not.
    print(f"writing {len(pictures)} pictures ...", flush=True)
    manifest.write_pictures(arguments.out, pictures)
    manifest.write_manifest(arguments.out / "default.jsonl", documents)
    print(manifest.summary("total", documents))
    print(f"wrote {arguments.out / 'default.jsonl'} in {time.monotonic() - start:.1f} s")


if __name__ == "__main__":
    manifest.run(main)
