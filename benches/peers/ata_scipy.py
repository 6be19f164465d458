#!/usr/bin/env python3
"""Products, right sides and Gram matrix of an LED wall in numpy and scipy: the peer of `lockstep ata bench` on a CPU.

    python3 ata_scipy.py --command target/release/lockstep --json
    python3 ata_scipy.py --wall wall/ --matrix matrix/ --workers 1

Without --wall and --matrix the wall of the benchmark (2624 LEDs, seed 1) is made with the command. Every format gets the
same matrix: CSR with both triangles, BSR of 16 x 16, DIA, the symmetric band of BLAS (ssbmv), and dense (sgemm). With one
worker times are processor time of the process, since a busy machine stretches every other clock; repeats of all rows take
turns. What is timed is checked first, against a product in float64.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

sys_threads = sys.argv[sys.argv.index("--workers") + 1] if "--workers" in sys.argv[:-1] else "1"
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = sys_threads

import numpy as np  # noqa: E402
import scipy  # noqa: E402
import scipy.sparse as sparse  # noqa: E402
from scipy.linalg.blas import sgemm, ssbmv  # noqa: E402

CHANNELS = 3


def run(command, *arguments):
    subprocess.run([command, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def make(command, folder, leds):
    """A wall and its matrix, as `lockstep ata bench` has them."""
    wall, matrix = os.path.join(folder, "wall"), os.path.join(folder, "matrix")
    run(command, "ata", "gen", "--leds", str(leds), "--width", "800", "--height", "480", "--seed", "1", "--out", wall)
    run(command, "ata", "gram", "--patterns", wall, "--out", matrix)
    return wall, matrix


def load(matrix):
    """Both triangles of each channel as CSR, from the upper blocks."""
    blocks = np.load(os.path.join(matrix, "blocks.npy"))
    offsets = np.load(os.path.join(matrix, "offsets.npy"))
    with open(os.path.join(matrix, "meta.json")) as file:
        n = json.load(file)["n"]
    channels, _, rows = blocks.shape[:3]
    out = []
    for c in range(channels):
        dense = np.zeros((rows * 16, rows * 16), np.float32)
        for k, d in enumerate(offsets):
            for i in range(rows - d):
                block = blocks[c, k, i]
                dense[16 * i : 16 * i + 16, 16 * (i + d) : 16 * (i + d) + 16] = block
                dense[16 * (i + d) : 16 * (i + d) + 16, 16 * i : 16 * i + 16] = block.T
        out.append(dense[:n, :n])
    return out


def products(dense, frames):
    """Name and function of each format; a function gives [C][n, F]."""
    n = len(dense[0])
    rng = np.random.default_rng(0)
    x = [np.ascontiguousarray(rng.random((n, frames), np.float32)) for _ in range(CHANNELS)]
    wanted = [(a.astype(np.float64) @ v) for a, v in zip(dense, x)]
    csr = [sparse.csr_array(a) for a in dense]
    padded = [np.pad(a, (0, -n % 16)) for a in dense]
    bsr = [sparse.csr_array(a).tobsr((16, 16)) for a in padded]
    for a in bsr:
        a.data = a.data.astype(np.float32)
    x_padded = [np.pad(v, ((0, -n % 16), (0, 0))) for v in x]
    dia = [a.todia() for a in csr]
    width = max(int(np.abs(np.subtract(*a.nonzero())).max()) for a in csr)
    bands = []
    for a in dense:
        band = np.zeros((width + 1, n), np.float32, order="F")
        for k in range(width + 1):
            band[width - k, k:] = np.diagonal(a, k)
        bands.append(band)
    fortran = [np.asfortranarray(a) for a in dense]
    x_fortran = [np.asfortranarray(v) for v in x]
    return wanted, {
        "scipy CSR": lambda: [a @ v for a, v in zip(csr, x)],
        "scipy BSR 16x16": lambda: [(a @ v)[:n] for a, v in zip(bsr, x_padded)],
        "scipy DIA": lambda: [a @ v for a, v in zip(dia, x)],
        "BLAS ssbmv": lambda: [
            np.stack([ssbmv(width, 1.0, band, v[:, f]) for f in range(frames)], axis=1) for band, v in zip(bands, x_fortran)
        ],
        "BLAS sgemm": lambda: [sgemm(1.0, a, v) for a, v in zip(fortran, x_fortran)],
    }


def patterns_of(wall):
    """M of each channel, [pixels, LEDs]."""
    data, corners = np.load(os.path.join(wall, "patterns.npy")), np.load(os.path.join(wall, "top_left.npy"))
    with open(os.path.join(wall, "meta.json")) as file:
        meta = json.load(file)
    n, channels, side, _ = data.shape
    place = np.arange(side)
    out = []
    for c in range(channels):
        pixels = (corners[:, 0, None, None] + place[:, None]) * meta["width"] + corners[:, 1, None, None] + place
        m = sparse.csr_array(
            (data[:, c].astype(np.float32).ravel() / 255, pixels.ravel(), np.arange(n + 1) * side * side),
            shape=(n, meta["width"] * meta["height"]),
        )
        m.eliminate_zeros()
        out.append(m)
    return out


def measure(functions, repeat, clock):
    """Seconds of each run; the functions take turns."""
    times = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(repeat):
        for name, function in functions.items():
            start = clock()
            function()
            times[name].append(clock() - start)
    return times


def row(kernel, shape, variant, times):
    times = sorted(times)
    at = lambda share: times[round((len(times) - 1) * share)]  # noqa: E731
    return {"kernel": kernel, "shape": shape, "dtype": "u8" if kernel != "ata product" else "f32", "variant": variant,
            "samples": len(times), "median_s": at(0.5), "p10_s": at(0.1), "p90_s": at(0.9)}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--command", default="lockstep", help="the lockstep command, to make the wall with")
    parser.add_argument("--wall", help="pattern folder")
    parser.add_argument("--matrix", help="matrix folder")
    parser.add_argument("--leds", type=int, default=2624)
    parser.add_argument("--workers", type=int, default=1, help="threads of BLAS")
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--json", action="store_true", help="the record instead of the table")
    args = parser.parse_args()
    clock = time.process_time if args.workers == 1 else time.perf_counter
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        wall, matrix = (args.wall, args.matrix) if args.wall and args.matrix else make(args.command, folder, args.leds)
        dense, m = load(matrix), patterns_of(wall)
    n = len(dense[0])
    for frames in (8, 16):
        wanted, functions = products(dense, frames)
        for name, function in functions.items():
            for got, right in zip(function(), wanted):
                error = np.linalg.norm(got - right) / np.linalg.norm(right)
                if not error < 1e-5:
                    sys.exit(f"error: {name} is off by {error:.1e}")
        for name, times in measure(functions, args.repeat, clock).items():
            rows.append(row("ata product", f"n={n} F={frames}", name, times))
    frames = np.random.default_rng(1).random((CHANNELS, m[0].shape[1], 8), np.float32)
    functions = {"scipy CSR": lambda: [a @ v for a, v in zip(m, frames)]}
    for name, times in measure(functions, max(args.repeat // 2, 3), clock).items():
        rows.append(row("ata atb", f"n={n} F=8", name, times))
    functions = {"scipy CSR": lambda: [a @ a.T for a in m]}
    for name, times in measure(functions, 3, clock).items():
        rows.append(row("ata gram", f"n={n} F=0", name, times))
    document = {"peer": f"scipy {scipy.__version__}", "numpy": np.__version__, "workers": args.workers,
                "clock": "processor" if args.workers == 1 else "wall", "rows": rows}  # fmt: skip
    if args.json:
        print(json.dumps(document, indent=1))
        return
    print(f"scipy {scipy.__version__}, numpy {np.__version__}, {args.workers} workers, ms")
    for r in rows:
        print(f"{r['kernel']:12} {r['shape']:14} {r['variant']:16} median {1e3 * r['median_s']:9.3f}"
              f"  p10 {1e3 * r['p10_s']:9.3f}  p90 {1e3 * r['p90_s']:9.3f}")  # fmt: skip


if __name__ == "__main__":
    main()
