#!/usr/bin/env python3
"""scikit-image and OpenCV from two mosaics to a shift: the peers of the benchmark `scene` of the crate `align`.

    python3 align_speed.py --workers 2 --json

Rows are named as ours: `align_pair` of one shape, both pictures from their mosaics on. `full` interpolates colours
first, as users of these libraries do; `cells` averages 2 x 2 pixels, which is the least work they can do. Libraries that
use several threads by themselves may: rows say how many there are.
"""

import argparse
import json
import statistics
import time

import cv2
import numpy as np
import scipy.fft

from align_common import binned, gray, opencv_phase, skimage_phase


def mosaic(height, width, shift, seed):
    """A Bayer mosaic with structure of many sizes and noise."""
    random = np.random.default_rng(1)
    big = np.zeros((height + 64, width + 64), np.float32)
    for size in (4, 16, 64, 256):
        coarse = random.random((big.shape[0] // size + 2, big.shape[1] // size + 2), np.float32)
        grown = cv2.resize(coarse, (coarse.shape[1] * size, coarse.shape[0] * size), interpolation=cv2.INTER_LINEAR)
        big += grown[:big.shape[0], :big.shape[1]]
    dy, dx = shift
    seen = big[32 + dy:32 + dy + height, 32 + dx:32 + dx + width]
    noise = np.random.default_rng(seed).normal(0, 10, seen.shape)
    return np.clip(512 + 3000 * seen + noise, 0, 16383).astype(np.uint16)


def measure(function, samples):
    function()
    times = []
    for _ in range(samples):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    times.sort()
    return {"median_s": statistics.median(times), "p10_s": times[round(0.1 * (samples - 1))],
            "p90_s": times[round(0.9 * (samples - 1))], "samples": samples}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="4000x6000", metavar="HxW")
    parser.add_argument("--workers", type=int, default=1, help="threads of all libraries together")
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print rows instead of a table")
    options = parser.parse_args()
    height, width = map(int, options.size.split("x"))
    truth = (6, -11)
    pair = [mosaic(height, width, (0, 0), 1), mosaic(height, width, truth, 2)]
    levels = ("RGGB", 512.0, 16383.0)
    cv2.setNumThreads(options.workers)

    def full(function):
        return function(*(gray(m, *levels) for m in pair))

    def cells(function):
        return 2 * function(*(binned(m, *levels)[0] for m in pair))

    rows = []
    with scipy.fft.set_workers(options.workers):
        for how, prepare in (("full", full), ("cells", cells)):
            for peer, function in (("scikit-image", skimage_phase), ("OpenCV", opencv_phase)):
                found = prepare(function)
                if np.abs(found - truth).max() > 2:
                    raise SystemExit(f"{peer}, {how}: {found} is not {truth}; a peer that is wrong is no yardstick")
                row = {"peer": peer, "kernel": "align_pair", "shape": f"Bayer {height}x{width}", "dtype": "f32",
                       "variant": f"{how}, {options.workers} threads", **measure(lambda: prepare(function), options.samples)}
                rows.append(row)
                if not options.json:
                    print(f"{peer:<14} {row['variant']:<18} {row['median_s']:.3f} s")
    if options.json:
        print(json.dumps({"rows": rows}))


if __name__ == "__main__":
    main()
