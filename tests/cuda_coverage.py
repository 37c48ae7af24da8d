#!/usr/bin/env python3
"""Which source lines of the CUDA kernels the tests executed on the simulated GPU.

Usage: cuda_coverage.py PROFILE.json [--least 0.95]     exit 1 when less of kernels/*.cu and *.cuh was covered
"""
import argparse
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def ranges(lines):
    """"3, 5-7" of [3, 5, 6, 7]."""
    parts, lines = [], sorted(lines)
    while lines:
        end = 0
        while end + 1 < len(lines) and lines[end + 1] == lines[end] + 1:
            end += 1
        parts.append(str(lines[0]) if end == 0 else f"{lines[0]}-{lines[end]}")
        lines = lines[end + 1:]
    return ", ".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profile")
    parser.add_argument("--least", type=float, default=0.95)
    options = parser.parse_args()
    executed = missed = 0
    for source in json.loads(pathlib.Path(options.profile).read_text())["sources"]:
        path = pathlib.Path(source["file"])
        if path.parent != ROOT / "kernels":
            continue  # headers of the CUDA Toolkit, tests of the simulator
        here, gone = len(source["executed_lines"]), source["missed_lines"]
        executed += here
        missed += len(gone)
        print(f"{here / (here + len(gone)):7.1%}  kernels/{path.name}" + (f"   missed: {ranges(gone)}" if gone else "")
              + (f"   branches that went one way: {ranges(source['one_way_branch_lines'])}" if source["one_way_branch_lines"] else ""))
    if executed == 0:
        sys.exit(f"{options.profile}: no line of kernels/ was executed")
    share = executed / (executed + missed)
    print(f"{share:7.1%}  of {executed + missed} lines with device code")
    if share < options.least:
        sys.exit(f"coverage is below {options.least:.0%}")


if __name__ == "__main__":
    main()
