#!/usr/bin/env python3
"""Breaks the CUDA sources one place at a time; the tests on the simulated GPU must notice each break.

Mutants: every barrier, every wait for asynchronous copies and every event wait is removed; the operands of every inline-PTX
wrapper are swapped and its modifiers changed.  A mutant is compiled alone, linked into the test program before the archive
that holds the original, and killed when a test fails, hangs or reports.  Those in tests/cuda_mutants_equivalent.txt are known
not to change what the program does, with the reason.

Usage: cuda_mutants.py BUILD_FOLDER [--sample N --seed S] [--list] [--only TEXT]
Exit code 1 when a mutant survives.
"""
import pathlib
import re
import sys

import mutants
from mutants import ROOT, Mutant

EQUIVALENT = ROOT / "tests/cuda_mutants_equivalent.txt"
TIME_LIMIT = 600  # seconds for the tests of one mutant

# Tests of the kernels in a source, by the start of its name: those of the op table first.
TESTS = {
    ("attention",): "Table/CudaOp.*/attention:CudaAttention.*",
    ("cached_attention",): "Table/CudaOp.*/cached_attention:CudaCachedAttention.*",
    ("matmul", "grouped_matmul"): "Table/CudaOp.*/matmul*:CudaMatmul.*",
    ("rms_norm", "qk_norm", "column_sums"): "Table/CudaOp.*norm*:CudaNorm.*",
    ("cross_entropy", "binary_cross_entropy", "total_loss", "exact_norm"): "Table/CudaOp.*/*cross_entropy*:CudaLoss.*",
    ("rows", "permute", "invert", "expert_choice", "embedding"):
        "Table/CudaOp.*/gather:Table/CudaOp.*/store_rows:Table/CudaOp.*/combine*:Table/CudaOp.*/pick:Table/CudaOp.*/embedding:CudaRows.*",
    ("nearest_code", "squared_error"):
        "Table/CudaOp.*/nearest_code:Table/CudaOp.*/squared_error*:CudaQuantise.*",
    ("adamw", "fill", "random_fill", "pointwise", "rope", "swiglu"):
        "Table/CudaOp.*/add:Table/CudaOp.*/cast:Table/CudaOp.*/sigmoid:Table/CudaOp.*/silu:Table/CudaOp.*/swiglu:Table/CudaOp.*/rope:CudaElementwise.*",
}


def replace_line(text, index, line):
    lines = text.split("\n")
    lines[index] = line
    return "\n".join(lines)


# A statement of its own that orders something: what it does when it is gone is nothing.
ORDERING = re.compile(
    r"\b(__syncthreads\(\)|__syncwarp\(\)|wait_for_copies\(\)|__threadfence\(\)"
    r"|cuda_check\((?:cudaStreamWaitEvent|cudaEventSynchronize)\([^;]*\)"
    r"|[\w.>-]+(?:\.|->)(?:wait|synchronize)\([^;]*\));")


def ordering_mutants(path, text):
    for index, line in enumerate(text.split("\n")):
        if line.lstrip().startswith("//"):
            continue
        for match in ORDERING.finditer(line):
            broken = line[: match.start()] + "(void)0;" + line[match.end():]
            yield Mutant(path, index + 1, f"without {match[1]}", replace_line(text, index, broken))


def swap(text, first, second):
    (a, b), (c, d) = first, second
    return text[:a] + text[c:d] + text[b:c] + text[a:b] + text[d:]


ASM = re.compile(r"asm(?: volatile)?\((.*?)\);(?: \})?\n", re.S)
OPERAND = re.compile(r"%\d+")
# A modifier and what it becomes.
MODIFIERS = [
    (".m8n8.x4.trans.", ".m8n8.x4."),
    (".m8n8.x4.shared", ".m8n8.x4.trans.shared"),
    (".row.col.f32.bf16.bf16.f32", ".row.col.f32.f16.f16.f32"),
    (", 16, %2;", ", 16;"),
    (", 4, %2;", ", 4;"),
    ("cp.async.wait_all;", ""),
]


def asm_mutants(path, text):
    for block in ASM.finditer(text):
        line = text.count("\n", 0, block.start()) + 1
        name = re.findall(r"(\w+)\([^()]*\) \{[^{}]*$", text[: block.start()])
        where = name[-1] if name else "asm"
        operands = list(OPERAND.finditer(text, block.start(), block.end()))
        for left, right in zip(operands, operands[1:]):
            between = text[left.end():right.start()]
            if left[0] == right[0] or "[" in between or "]" in between:
                continue
            yield Mutant(path, line, f"{where}: {left[0]} and {right[0]} swapped",
                         swap(text, left.span(), right.span()))
        for old, new in MODIFIERS:
            at = text.find(old, block.start(), block.end())
            if at >= 0:
                yield Mutant(path, line, f"{where}: \"{old}\" becomes \"{new}\"", text[:at] + new + text[at + len(old):])


def all_mutants():
    found = []
    for pattern in ("kernels/*.cu", "kernels/*.cuh", "runtime/cuda.cpp", "parallel/nccl.cpp"):
        for file in sorted(ROOT.glob(pattern)):
            path = str(file.relative_to(ROOT))
            text = file.read_text()
            found += ordering_mutants(path, text)
            if file.suffix == ".cuh":
                found += asm_mutants(path, text)
    return mutants.numbered(found)


def kernel_includes():
    """{kernel source or header: what it includes}"""
    files = list(ROOT.glob("kernels/*.cu")) + list(ROOT.glob("kernels/*.cuh"))
    return {str(file.relative_to(ROOT)): re.findall(r'#include "([^"]+)"', file.read_text()) for file in files}


def sources_of(path):
    """The compiled files that a mutated file changes."""
    if not path.endswith(".cuh"):  # a header of kernels is compiled with whatever includes it
        return [path]
    includes_of = kernel_includes()
    reached = {path}
    while True:
        more = {file for file, includes in includes_of.items() if reached & set(includes)} - reached
        if not more:
            return sorted(file for file in reached if file.endswith(".cu"))
        reached |= more


def tests_of(source):
    stem = pathlib.Path(source).stem
    for starts, tests in TESTS.items():
        if stem.startswith(starts):
            return tests
    sys.exit(f"{source}: say in TESTS which tests run it")


def judge(mutant, build, scratch):
    """How the mutant died, or None when it lives."""
    sources = sources_of(mutant.path)
    if not mutant.path.startswith("kernels/"):
        program = build.program_with(mutant, sources, "tessera_simulated", scratch)
        command = [build.folder / "launch_test", "--gtest_filter=CudaTrainTest.AnyNumber*"]
        return mutants.failure_of(command, {"TESSERA_SIMULATED_PROGRAM": program}, TIME_LIMIT)
    program = build.program_with(mutant, sources, "kernels_test", scratch)
    tests = ":".join(sorted({tests_of(source) for source in sources}))
    return mutants.failure_of([program, f"--gtest_filter={tests}", "--gtest_fail_fast"], {}, TIME_LIMIT)


def main():
    options = mutants.options_of(__doc__)
    build = mutants.Build(options.build)
    must_pass = [mutants.unchanged(path) for path in ("kernels/total_loss.cu", "runtime/cuda.cpp")]
    mutants.run_gate(options, all_mutants(), EQUIVALENT, must_pass, lambda mutant, scratch: judge(mutant, build, scratch))


if __name__ == "__main__":
    main()
