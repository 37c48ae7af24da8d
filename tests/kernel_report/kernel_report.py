#!/usr/bin/env python3
"""What each CUDA kernel moves and computes at its reference size, and what that predicts on real GPUs.

Counts come from the simulated GPU (reference_launches.cpp); times are PREDICTED by a roofline: the longer of bytes over memory
bandwidth and operations over arithmetic rate, as if nothing else cost anything.  No GPU was measured.

Usage: kernel_report.py PROFILE.json OUT_FOLDER [--ptxas BUILD_FOLDER]     writes kernel_report.md and kernel_report.svg
Exit code 1 when a memory-bound kernel breaks a limit that tests/kernel_report/exceptions.txt does not explain.
"""
import argparse
import html
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import cuda_resources  # noqa: E402

EXCEPTIONS = pathlib.Path(__file__).with_name("exceptions.txt")

# From NVIDIA's data sheets: bytes per second, f32 operations per second, bf16 tensor-core operations per second (dense).
GPUS = {"A100": (2.039e12, 19.5e12, 312e12), "H100": (3.35e12, 66.9e12, 989e12)}
SECTOR = 32

MOST_TRAFFIC = 1.15    # sectors moved over the least possible bytes
LEAST_COALESCING = 0.90
MOST_CONFLICTS = 0.05  # of shared accesses
RIDGE = 10.0           # operations per byte below which a kernel is bound by memory on every GPU above


class Kernel:
    def __init__(self, name, profile):
        self.name = name
        self.flops = profile["flops"]
        self.least = profile["global_unique_bytes_read"] + profile["global_unique_bytes_written"]
        self.moved = SECTOR * profile["global_sectors"]
        self.requested = profile["global_requested_bytes"]
        self.shared = profile["shared_accesses"]
        self.conflicts = profile["shared_conflicts"]
        self.shapes = [(shape["threads"], shape["shared_bytes"]) for shape in profile["launch_shapes"]]
        self.launches = profile["launches"]
        self.tensor = "tile" in self.name or "mma" in self.name

    traffic = property(lambda self: self.moved / self.least if self.least else 1.0)
    coalescing = property(lambda self: min(1.0, self.requested / self.moved) if self.moved else 1.0)
    conflict_share = property(lambda self: self.conflicts / self.shared if self.shared else 0.0)
    intensity = property(lambda self: self.flops / self.least if self.least else 0.0)

    def predicted(self, gpu):
        bandwidth, f32, tensor = GPUS[gpu]
        return max(self.moved / bandwidth, self.flops / (tensor if self.tensor else f32))

    def broken(self):
        """Limits that do not hold."""
        if self.intensity < RIDGE and self.traffic > MOST_TRAFFIC:
            yield f"moves {self.traffic:.2f} times the least bytes"
        if self.coalescing < LEAST_COALESCING:
            yield f"coalescing {self.coalescing:.0%}"
        if self.conflict_share > MOST_CONFLICTS:
            yield f"bank conflicts {self.conflict_share:.0%} of shared accesses"


def exceptions():
    """{(kernel, start of the limit's text): reason}"""
    found = {}
    for line in EXCEPTIONS.read_text().splitlines() if EXCEPTIONS.exists() else []:
        if line and not line.startswith("#"):
            name, limit, reason = line.split(" | ")
            found[name, limit] = reason
    return found


def occupancies(kernel, ptxas):
    """Share of warps on sm_80 and sm_90a, as text."""
    texts = []
    for architecture in ("sm_80", "sm_90a"):
        shares = [cuda_resources.occupancy(architecture, registers, threads, max(shared, static))
                  for (name, arch), (registers, static) in ptxas.items() if arch == architecture and name == kernel.name
                  for threads, shared in kernel.shapes]
        texts.append(f"{min(shares):.0%}" if shares else "-")
    return texts


def markdown(kernels, ptxas, reasons):
    out = [
        "# Kernels at their reference sizes", "",
        "Counted on the simulated GPU. **Every time below is predicted by a roofline, none is measured**: the longer of bytes",
        "moved over memory bandwidth and operations over arithmetic rate (data sheets: "
        + ", ".join(f"{name} {b / 1e12:.2f} TB/s, {f / 1e12:.1f} TFLOP/s f32, {t / 1e12:.0f} bf16" for name, (b, f, t) in GPUS.items()) + ").", "",
        "traffic: 32-byte sectors moved over the distinct bytes touched. coalescing: bytes asked for by threads over bytes",
        "moved. conflicts: extra shared-memory cycles per access.", "",
        "kernel | launches | MFLOP | least MB | traffic | coalescing | conflicts | occupancy A100 / H100 | predicted A100 us | predicted H100 us | remark",
        "--- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---",
    ]
    for kernel in kernels:
        a, h = occupancies(kernel, ptxas)
        remark = "; ".join(reasons.get((kernel.name, text.split(" ")[0]), "**breaks a limit**: " + text) for text in kernel.broken())
        out.append(f"{kernel.name} | {kernel.launches} | {kernel.flops / 1e6:.1f} | {kernel.least / 1e6:.2f} | {kernel.traffic:.2f} | "
                   f"{kernel.coalescing:.0%} | {kernel.conflict_share:.1%} | {a} / {h} | {kernel.predicted('A100') * 1e6:.1f} | "
                   f"{kernel.predicted('H100') * 1e6:.1f} | {remark}")
    return "\n".join(out) + "\n"


def svg(kernels):
    """Bars of predicted time on H100: what the least bytes would take, and what is moved beyond them."""
    row, left, width = 18, 330, 520
    longest = max(kernel.predicted("H100") for kernel in kernels)
    parts = []
    for i, kernel in enumerate(sorted(kernels, key=lambda k: -k.predicted("H100"))):
        y = 46 + i * row
        total = kernel.predicted("H100") / longest * width
        floor = min(total, kernel.least / GPUS["H100"][0] / longest * width)
        parts.append(f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{html.escape(kernel.name)}</text>'
                     f'<rect x="{left}" y="{y + 2}" width="{total:.1f}" height="13" fill="#e0a35c"/>'
                     f'<rect x="{left}" y="{y + 2}" width="{floor:.1f}" height="13" fill="#3f6f9f"/>'
                     f'<text x="{left + total + 6:.1f}" y="{y + 12}">{kernel.predicted("H100") * 1e6:.2f} us</text>')
    height = 60 + len(kernels) * row
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 100}" height="{height}" font-family="sans-serif" font-size="11">'
            f'<rect width="100%" height="100%" fill="white"/>'
            f'<text x="12" y="20" font-size="14">Predicted time on H100 (roofline; nothing here was measured)</text>'
            f'<text x="12" y="36">blue: the least bytes at full bandwidth; orange: traffic beyond them, or arithmetic</text>'
            + "".join(parts) + "</svg>\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profile")
    parser.add_argument("out")
    parser.add_argument("--ptxas", help="build folder of the preset cuda, for occupancy")
    options = parser.parse_args()
    launched = [entry for entry in json.loads(pathlib.Path(options.profile).read_text())["kernels"] if entry["launches"]]
    raw = cuda_resources.read_ptxas(options.ptxas) if options.ptxas else {}
    names = cuda_resources.readable_names({entry["symbol"] for entry in launched} | {symbol for symbol, _ in raw})
    kernels = sorted((Kernel(names[entry["symbol"]], entry) for entry in launched), key=lambda kernel: kernel.name)
    ptxas = {(names[symbol], arch): used for (symbol, arch), used in raw.items()}
    reasons = exceptions()
    out = pathlib.Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "kernel_report.md").write_text(markdown(kernels, ptxas, reasons))
    (out / "kernel_report.svg").write_text(svg(kernels))
    print(f"{len(kernels)} kernels: {out}/kernel_report.md, {out}/kernel_report.svg")
    failures = [f"{kernel.name} {text}" for kernel in kernels for text in kernel.broken() if (kernel.name, text.split(" ")[0]) not in reasons]
    if failures:
        sys.exit("limits broken without a reason in exceptions.txt:\n" + "\n".join(failures))


if __name__ == "__main__":
    main()
