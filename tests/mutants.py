"""Mutation gates: sources broken one place at a time, each of which the tests must notice.

A mutant is compiled alone, with the commands of an existing build, and linked into a test program before the archive that
holds the original.  It is killed when a test fails, hangs or reports.  One that does not compile proves nothing, and ends the
gate.  Those that an equivalents file names are known not to change what the program does, with the reason.
"""
import argparse
import collections
import concurrent.futures
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
MOST_EQUIVALENT = 0.05


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


def numbered(mutants):
    counts = collections.Counter()
    for mutant in mutants:
        counts[mutant.path, mutant.what] += 1
        mutant.number = counts[mutant.path, mutant.what]
    return mutants


def unchanged(path):
    """What the tests must accept."""
    return Mutant(path, 1, "unchanged", (ROOT / path).read_text())


class Build:
    """Compile and link commands of an existing build, by ninja."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder).resolve()
        self.known = {}

    def commands(self, target):
        if target not in self.known:
            out = subprocess.run(["ninja", "-C", self.folder, "-t", "commands", target], text=True, capture_output=True, check=True)
            self.known[target] = out.stdout.strip().split("\n")
        return self.known[target]

    def compile_command(self, source, target):
        return shlex.split(next(line for line in self.commands(target) if f"{ROOT}/{source} " in line + " "))

    def compile(self, source, overlay, into, target):
        """Raises CalledProcessError when the mutant does not compile."""
        words = self.compile_command(source, target)
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

    def link(self, target, objects, into):
        """objects: {source: object that takes the place of the one it has}"""
        words = shlex.split(self.commands(target)[-1])
        words = words[: words.index("&&", 2)] if "&&" in words[2:] else words
        replaced = [command[command.index("-o") + 1] for command in (self.compile_command(source, target) for source in objects)]
        words = [word for word in words if word not in (":", "&&") and word not in replaced]
        at = words.index("-o")
        words[at + 1] = into
        subprocess.run(words[: at + 2] + list(objects.values()) + words[at + 2:], cwd=self.folder, check=True,
                       capture_output=True, text=True)

    def program_with(self, mutant, sources, target, scratch):
        """The test program with the mutant in it.  sources: the compiled files that it changes."""
        overlay = scratch / "overlay"
        (overlay / mutant.path).parent.mkdir(parents=True, exist_ok=True)
        (overlay / mutant.path).write_text(mutant.text)
        objects = {source: str(scratch / (source.replace("/", "_") + ".o")) for source in sources}
        for source, into in objects.items():
            if not os.path.exists(into):  # another program has it already
                self.compile(source, overlay, into, target)
        program = str(scratch / target)
        self.link(target, objects, program)
        return program


def failure_of(command, environment, time_limit):
    """How the tests failed, or None when they passed.  time_limit: seconds after which they hang."""
    try:
        done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, errors="replace",
                              timeout=time_limit)
    except subprocess.TimeoutExpired:
        return "hangs"
    if done.returncode == 0:
        return None
    failures = re.findall(r"^(\w+ on .*|.*Failure)$", done.stdout, re.M)
    return failures[0][:100] if failures else f"exit code {done.returncode}"


def equivalent_keys(file, mutants):
    """{key of a mutant: reason}.  Exits when the file names mutants that are none, or too many."""
    keys = {}
    if file.exists():
        for line in file.read_text().splitlines():
            if line and not line.startswith("#"):
                key, reason = line.split(" -- ", 1)
                keys[key] = reason
    unknown = set(keys) - {mutant.key for mutant in mutants}
    if unknown:
        sys.exit(f"{file.name} names mutants that are none: {sorted(unknown)}")
    if len(keys) > MOST_EQUIVALENT * len(mutants):
        sys.exit(f"{len(keys)} of {len(mutants)} mutants are called equivalent, at most {MOST_EQUIVALENT:.0%} may be")
    return keys


def options_of(description):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--sample", type=int, help="this many, drawn by the seed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="mutants whose name holds this")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time")
    return parser.parse_args()


def run_gate(options, mutants, equivalent_file, must_pass, judge):
    """Judges mutants; exits with 1 when one survives, does not build, or one of must_pass fails.

    judge(mutant, scratch folder): how the mutant died, or None when it lives; called from several threads.
    """
    equivalent = equivalent_keys(equivalent_file, mutants)
    chosen = [mutant for mutant in mutants if options.only in mutant.name and mutant.key not in equivalent]
    if options.sample is not None:
        chosen = random.Random(options.seed).sample(chosen, min(options.sample, len(chosen)))
    if options.list:
        print("\n".join(mutant.name for mutant in chosen))
        return

    def verdict_on(mutant):
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as scratch:
            try:
                return judge(mutant, pathlib.Path(scratch)), time.monotonic() - began
            except subprocess.CalledProcessError as error:
                sys.exit(f"{mutant.name} does not build:\n{error.stderr}")

    survivors = []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        try:
            for mutant, (verdict, _) in zip(must_pass, pool.map(verdict_on, must_pass)):
                if verdict is not None:
                    sys.exit(f"{mutant.path} fails unchanged: {verdict}")
            for i, (mutant, (verdict, seconds)) in enumerate(zip(chosen, pool.map(verdict_on, chosen))):
                print(f"{i + 1}/{len(chosen)}  {mutant.name}: {verdict or 'SURVIVES'} ({seconds:.0f} s)", flush=True)
                if verdict is None:
                    survivors.append(mutant.name)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # those at work finish
            raise
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} mutants killed; {len(equivalent)} of {len(mutants)} are equivalent")
    if survivors:
        sys.exit("survivors:\n" + "\n".join(survivors))
