#!/usr/bin/env python3
"""Breaks the CUDA sources one place at a time; the tests on the simulated GPU must notice each break.

Mutants: every barrier, every wait for asynchronous copies and every event wait is removed; the operands of every inline-PTX
wrapper are swapped and its modifiers changed.  A mutant is compiled alone, linked into the test program before the archive
that holds the original, and killed when a test fails, hangs or reports.  Those in tests/cuda_mutants_equivalent.txt are known
not to change what the program does, with the reason.

Usage: cuda_mutants.py BUILD_FOLDER [--sample N --seed S] [--list] [--only TEXT]
Exit code 1 when a mutant survives.
"""
import argparse
import collections
import dataclasses
import os
import pathlib
import random
import re
import shlex
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
EQUIVALENT = ROOT / "tests/cuda_mutants_equivalent.txt"
MOST_EQUIVALENT = 0.05
TIME_LIMIT = 600  # seconds for the tests of one mutant

# Tests of the kernels in a source, by the start of its name: those of the op table first.
TESTS = {
    ("attention",): "Table/CudaOp.*/attention:CudaAttention.*",
    ("cached_attention",): "Table/CudaOp.*/cached_attention:CudaCachedAttention.*",
    ("matmul", "grouped_matmul"): "Table/CudaOp.*/matmul*:CudaMatmul.*",
    ("rms_norm", "layer_norm", "column_sums"): "Table/CudaOp.*norm*:CudaNorm.*",
    ("cross_entropy", "binary_cross_entropy", "total_loss", "exact_norm"): "Table/CudaOp.*/*cross_entropy*:CudaLoss.*",
    ("rows", "permute", "invert", "expert_choice", "embedding"):
        "Table/CudaOp.*/gather:Table/CudaOp.*/store_rows:Table/CudaOp.*/combine*:Table/CudaOp.*/pick:Table/CudaOp.*/embedding:CudaRows.*",
    ("nearest_code", "squared_error"):
        "Table/CudaOp.*/nearest_code:Table/CudaOp.*/squared_error*:CudaQuantise.*",
    ("adamw", "fill", "random_fill", "pointwise", "rope", "swiglu"):
        "Table/CudaOp.*/add:Table/CudaOp.*/cast:Table/CudaOp.*/sigmoid:Table/CudaOp.*/silu:Table/CudaOp.*/swiglu:Table/CudaOp.*/rope:CudaElementwise.*",
}


@dataclasses.dataclass
class Mutant:
    path: str  # relative to the root
    line: int  # from 1
    what: str
    text: str  # the whole mutated file

    number: int = 0  # among mutants of the same file and kind

    @property
    def name(self):
        return f"{self.path}:{self.line}: {self.what}"

    @property
    def key(self):
        """Survives lines that come and go above it."""
        return f"{self.path}: {self.what} #{self.number}"


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
    counts = collections.Counter()
    for mutant in found:
        counts[mutant.path, mutant.what] += 1
        mutant.number = counts[mutant.path, mutant.what]
    return found


class Build:
    """Compile and link commands of an existing build, by ninja."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder).resolve()
        self.includes = {}
        for file in list(ROOT.glob("kernels/*.cu")) + list(ROOT.glob("kernels/*.cuh")):
            self.includes[str(file.relative_to(ROOT))] = re.findall(r'#include "([^"]+)"', file.read_text())

    def commands(self, target):
        out = subprocess.run(["ninja", "-C", self.folder, "-t", "commands", target], text=True, capture_output=True, check=True)
        return out.stdout.strip().split("\n")

    def sources_of(self, path):
        """The compiled files that a mutated file changes."""
        if not path.endswith(".cuh"):  # a header of kernels is compiled with whatever includes it
            return [path]
        reached = {path}
        while True:
            more = {file for file, includes in self.includes.items() if reached & set(includes)} - reached
            if not more:
                return sorted(file for file in reached if file.endswith(".cu"))
            reached |= more

    def compile(self, source, overlay, into, target):
        """Returns the object.  Raises CalledProcessError when the mutant does not compile."""
        command = next(line for line in self.commands(target) if f"{ROOT}/{source} " in line + " ")
        words = shlex.split(command)
        words[words.index("-o") + 1] = into
        for flag in ("-MF", "-MT"):
            if flag in words:
                words[words.index(flag) + 1] = into + ".d"
        mutated = overlay / source
        words = [str(mutated) if word == str(ROOT / source) and mutated.exists() else word for word in words]
        # Without its only caller a function is unused; that is no reason not to build.
        words = [word for word in words if "-Werror" not in word]
        words.insert(next(i for i, word in enumerate(words) if word.startswith("-I")), f"-I{overlay}")
        subprocess.run(words, cwd=self.folder, check=True, capture_output=True, text=True)
        return into

    def link(self, target, objects, into):
        words = shlex.split(self.commands(target)[-1])
        words = words[: words.index("&&", 2)] if "&&" in words[2:] else words
        words = [word for word in words if word not in (":", "&&")]
        at = words.index("-o")
        words[at + 1] = into
        subprocess.run(words[: at + 2] + objects + words[at + 2:], cwd=self.folder, check=True, capture_output=True, text=True)
        return into


def program_with(mutant, build, scratch):
    """The test program with the mutant in it."""
    scratch = pathlib.Path(scratch)
    overlay = scratch / "overlay"
    (overlay / mutant.path).parent.mkdir(parents=True)
    (overlay / mutant.path).write_text(mutant.text)
    target = "kernels_test" if mutant.path.startswith("kernels/") else "tessera_simulated"
    objects = [build.compile(source, overlay, str(scratch / (source.replace("/", "_") + ".o")), target)
               for source in build.sources_of(mutant.path)]
    return build.link(target, objects, str(scratch / target))


def test_command(mutant, program, build):
    """What must fail, and its environment."""
    if not mutant.path.startswith("kernels/"):
        return [build.folder / "launch_test", "--gtest_filter=CudaTrainTest.AnyNumber*"], {"TESSERA_SIMULATED_PROGRAM": program}
    reached = build.sources_of(mutant.path)
    tests = ":".join(sorted({tests_of(source) for source in reached}))
    return [program, f"--gtest_filter={tests}", "--gtest_fail_fast"], {}


def tests_of(source):
    stem = pathlib.Path(source).stem
    for starts, tests in TESTS.items():
        if stem.startswith(starts):
            return tests
    sys.exit(f"{source}: say in TESTS which tests run it")


def judge(mutant, build):
    """How the mutant died, or None when it lives.  Raises CalledProcessError when it does not build: then it proves nothing."""
    with tempfile.TemporaryDirectory() as scratch:
        program = program_with(mutant, build, scratch)
        command, environment = test_command(mutant, program, build)
        try:
            done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=TIME_LIMIT)
        except subprocess.TimeoutExpired:
            return "hangs"
        if done.returncode == 0:
            return None
        failures = re.findall(r"^(\w+ on .*|.*Failure)$", done.stdout, re.M)
        return failures[0][:100] if failures else f"exit code {done.returncode}"


def equivalent_names():
    """{name without line number: reason}"""
    names = {}
    if EQUIVALENT.exists():
        for line in EQUIVALENT.read_text().splitlines():
            if line and not line.startswith("#"):
                name, reason = line.split(" -- ", 1)
                names[name] = reason
    return names


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--sample", type=int, help="this many, drawn by the seed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="mutants whose name holds this")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()

    mutants = all_mutants()
    equivalent = equivalent_names()
    unknown = set(equivalent) - {mutant.key for mutant in mutants}
    if unknown:
        sys.exit(f"{EQUIVALENT.name} names mutants that are none: {sorted(unknown)}")
    if len(equivalent) > MOST_EQUIVALENT * len(mutants):
        sys.exit(f"{len(equivalent)} of {len(mutants)} mutants are called equivalent, at most {MOST_EQUIVALENT:.0%} may be")
    chosen = [mutant for mutant in mutants if options.only in mutant.name and mutant.key not in equivalent]
    if options.sample is not None:
        chosen = random.Random(options.seed).sample(chosen, min(options.sample, len(chosen)))
    if options.list:
        print("\n".join(mutant.name for mutant in chosen))
        return

    build = Build(options.build)
    for path in ("kernels/total_loss.cu", "runtime/cuda.cpp"):
        verdict = judge(Mutant(path, 1, "unchanged", (ROOT / path).read_text()), build)
        if verdict is not None:
            sys.exit(f"{path} fails unchanged: {verdict}")
    survivors = []
    for i, mutant in enumerate(chosen):
        began = time.monotonic()
        try:
            verdict = judge(mutant, build)
        except subprocess.CalledProcessError as error:
            sys.exit(f"{mutant.name} does not build:\n{error.stderr}")
        print(f"{i + 1}/{len(chosen)}  {mutant.name}: {verdict or 'SURVIVES'} ({time.monotonic() - began:.0f} s)", flush=True)
        if verdict is None:
            survivors.append(mutant.name)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} mutants killed; {len(equivalent)} of {len(mutants)} are equivalent")
    if survivors:
        sys.exit("survivors:\n" + "\n".join(survivors))


if __name__ == "__main__":
    main()
