#!/usr/bin/env python3
"""Registers, shared memory and occupancy of every kernel on every architecture, as a table.

Registers and static shared memory come from ptxas (cmake/keep_ptxas_log.sh leaves its words beside the objects of the
preset `cuda`); block sizes and dynamic shared memory from launches of the op table on the simulated GPU (its profile).
Occupancy is computed by NVIDIA's rules (CUDA C++ Programming Guide, compute capabilities; cuda_occupancy.h).

Usage: cuda_resources.py BUILD_FOLDER PROFILE.json TABLE [--write]     without --write: exit 1 when the table has drifted
"""
import argparse
import difflib
import json
import pathlib
import re
import subprocess
import sys

# Per multiprocessor: registers, warps, blocks, shared bytes; shared bytes reserved for each block by the system.
ARCHITECTURES = {
    "sm_80": dict(registers=65536, warps=64, blocks=32, shared=164 * 1024, reserved=1024),
    "sm_90a": dict(registers=65536, warps=64, blocks=32, shared=228 * 1024, reserved=1024),
    "sm_100": dict(registers=65536, warps=64, blocks=32, shared=228 * 1024, reserved=1024),
}
WARP_REGISTERS = 256  # registers are handed to warps in units of this size
SHARED_UNIT = 128
WARP_UNIT = 4  # warps of a block are spread over four schedulers

ENTRY = re.compile(r"Compiling entry function '(\w+)' for '(\w+)'")
USED = re.compile(r"Used (\d+) registers.*")
SHARED = re.compile(r"(\d+) bytes smem")
SOURCE = re.compile(r"_GLOBAL__N__[0-9a-f]+_\d+_(\w+?)_cu_")

HEADER = """\
# Registers, shared memory and occupancy of the CUDA kernels

Written by `tests/cuda_resources.py`, compared by `make cuda-check`.  No kernel spills or uses local memory: ptxas would make
that an error.  Shared bytes are the most that the op table's launches ask for; occupancy is the share of a multiprocessor's
warps that can be resident then, computed from the limits of the architecture, not measured.

kernel | threads | shared bytes | registers {0} | occupancy
--- | ---: | ---: | ---: | ---:"""


def round_up(value, unit):
    return (value + unit - 1) // unit * unit


def occupancy(architecture, registers, threads, shared):
    """Share of a multiprocessor's warps that can be resident."""
    limit = ARCHITECTURES[architecture]
    warps = round_up(threads, 32) // 32
    per_warp = round_up(registers * 32, WARP_REGISTERS)
    by_registers = limit["registers"] // per_warp // WARP_UNIT * WARP_UNIT // warps
    by_shared = limit["shared"] // round_up(shared + limit["reserved"], SHARED_UNIT)
    blocks = min(limit["blocks"], limit["warps"] // warps, by_registers, by_shared)
    return blocks * warps / limit["warps"]


def short(name):
    """A demangled kernel without namespaces and parameters."""
    name = re.sub(r"\(anonymous namespace\)::|_GLOBAL__N_\w+::|tessera::|kernels::", "", name)
    name = re.sub(r"^void ", "", name)
    depth = 0
    for i, letter in enumerate(name):
        depth += {"<": 1, ">": -1}.get(letter, 0)
        if letter == "(" and depth == 0 and i > 0:
            return name[:i]
    return name


def readable_names(symbols):
    """{mangled: "source: kernel<arguments>"}; the source is that of the unnamed namespace in it, if any."""
    symbols = sorted(symbols)
    out = subprocess.run(["c++filt"], input="\n".join(symbols), text=True, capture_output=True, check=True).stdout
    names = {}
    for symbol, demangled in zip(symbols, out.splitlines()):
        source = SOURCE.search(symbol)
        names[symbol] = (f"{source[1]}: " if source else "") + short(demangled)
    return names


def read_ptxas(folder):
    """{(mangled name, architecture): (registers, static shared bytes)}"""
    found = {}
    for path in sorted(pathlib.Path(folder).rglob("*.ptxas")):
        key = None
        for line in path.read_text().splitlines():
            if match := ENTRY.search(line):
                key = match.groups()
            elif (match := USED.search(line)) and key:
                shared = SHARED.search(line)
                found[key] = (int(match[1]), int(shared[1]) if shared else 0)
                key = None
    return found


def launch_shapes(profile):
    """{readable name: {(threads, shared bytes)}} of everything that was launched."""
    kernels = json.loads(pathlib.Path(profile).read_text())["kernels"]
    names = readable_names(kernel["symbol"] for kernel in kernels)
    shapes = {}
    for kernel in kernels:
        for shape in kernel["launch_shapes"]:
            shapes.setdefault(names[kernel["symbol"]], set()).add((shape["threads"], shape["shared_bytes"]))
    return shapes


def table(ptxas, shapes):
    """The text, and the kernels that were never launched."""
    names = readable_names({symbol for symbol, _ in ptxas})
    by_name = {}
    for (symbol, architecture), used in ptxas.items():
        by_name.setdefault(names[symbol], {})[architecture] = used
    lines = [HEADER.format(" / ".join(ARCHITECTURES))]
    for name in sorted(by_name.keys() & shapes.keys()):
        for threads in sorted({threads for threads, _ in shapes[name]}):
            dynamic = max(shared for launched, shared in shapes[name] if launched == threads)
            registers, occupancies = [], []
            for architecture in ARCHITECTURES:
                used, static = by_name[name][architecture]
                shared = max(dynamic, static)
                registers.append(str(used))
                occupancies.append(f"{occupancy(architecture, used, threads, shared):.0%}")
            lines.append(f"{name} | {threads} | {shared} | {' / '.join(registers)} | {' / '.join(occupancies)}")
    return "\n".join(lines) + "\n", by_name.keys() - shapes.keys()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("profile")
    parser.add_argument("table")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    ptxas = read_ptxas(options.build)
    if not ptxas:
        sys.exit(f"{options.build}: no *.ptxas beside its objects: build the preset cuda first")
    text, never = table(ptxas, launch_shapes(options.profile))
    if never:
        sys.exit("kernels that the op table never launches: " + ", ".join(sorted(never)))
    path = pathlib.Path(options.table)
    if options.write:
        path.write_text(text)
        return
    stored = path.read_text() if path.exists() else ""
    if stored != text:
        sys.stdout.writelines(difflib.unified_diff(stored.splitlines(True), text.splitlines(True), options.table, "now"))
        sys.exit(f"{options.table} has drifted: look at the difference, then write it anew with --write")
    print(f"{options.table}: {text.count(' | ') // 4 - 1} rows, as they are")


if __name__ == "__main__":
    main()
