#!/usr/bin/env python3
"""Breaks parallel training one place at a time; the tests must notice each break.

Mutants: the faults of tests/parallel_faults.py.  A mutant is compiled alone, linked into the test programs before the archive
that holds the original, and killed when a test fails, hangs or reports.

Usage: parallel_mutants.py BUILD_FOLDER [--sample N --seed S] [--list] [--only TEXT]
Exit code 1 when a mutant survives, or when the text of a fault is not once in its file.
"""
import sys

import mutants
from mutants import ROOT, Mutant
from parallel_faults import FAULTS

EQUIVALENT = ROOT / "tests/parallel_mutants_equivalent.txt"
TIME_LIMIT = 60  # seconds for the tests of one mutant; unbroken they take 20 at most
MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1",
          "--timeout", str(TIME_LIMIT), "-n", "3"]

# A test program, what starts it, and its tests: ranks as threads, the quick ones first.
RANKS = ("parallel_test", [], "-*Full.*")
EXPERTS = ("layers_test", [], "DealtExperts.*")
MESHES = ("launch_test", [], "MeshTest.*")
PROCESSES = ("mpi_communicator", MPIRUN, "-*Full.*")


def judges_of(path):
    if path == "parallel/mpi.cpp":
        return [PROCESSES]
    if path == "layers/expert_networks.cpp":
        return [EXPERTS, MESHES]
    return [RANKS, MESHES] if path.startswith(("parallel/", "autograd/loss")) else [MESHES]


# Headers are compiled with what uses them.
SOURCES = {
    ("parallel/canonical_sum.h", "parallel_test"):
        ["parallel/sharded.cpp", "parallel/node_exchange.cpp", "tests/parallel/canonical_sum_test.cpp"],
    ("parallel/canonical_sum.h", "launch_test"): ["parallel/sharded.cpp", "parallel/node_exchange.cpp", "launch/statistics.cpp"],
}


def all_mutants():
    found = []
    for path, old, new, what in FAULTS:
        text = (ROOT / path).read_text()
        if text.count(old) != 1:
            sys.exit(f"{path}: a fault needs this text once, it is there {text.count(old)} times:\n{old}")
        line = text.count("\n", 0, text.index(old)) + 1
        found.append(Mutant(path, line, what, text.replace(old, new)))
    return mutants.numbered(found)


def judge(mutant, build, scratch):
    """How the mutant died, or None when it lives."""
    for target, launcher, tests in judges_of(mutant.path):
        sources = SOURCES.get((mutant.path, target), [mutant.path])
        program = build.program_with(mutant, sources, target, scratch)
        verdict = mutants.failure_of(launcher + [program, f"--gtest_filter={tests}", "--gtest_fail_fast"], {}, TIME_LIMIT)
        if verdict is not None:
            return verdict
    return None


def main():
    options = mutants.options_of(__doc__)
    build = mutants.Build(options.build)
    must_pass = [mutants.unchanged(path) for path in ("parallel/canonical_sum.cpp", "parallel/mpi.cpp")]
    mutants.run_gate(options, all_mutants(), EQUIVALENT, must_pass, lambda mutant, scratch: judge(mutant, build, scratch))


if __name__ == "__main__":
    main()
