#!/usr/bin/env python3
"""The spectral engine of the nonsubsampled contourlet transform in numpy and scipy.fft.

This is the CPU peer that the Rust crate is measured against. It is meant to be as fast as this style
of program gets: gains, buffers and threads are made once, and the best of several formulations counts.

    python3 nsct_numpy.py --size 512 --levels 2,3,3,4 --workers 2
    python3 nsct_numpy.py --verify DATA_FOLDER
"""

import argparse
import ctypes
import json
import os
import platform
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import scipy
import scipy.fft as sf

from nsct_gains import Gains
from nsct_golden import verify

VARIANTS = ("stacked", "planes", "planes-t")


def keep_heap():
    """Keeps freed memory mapped (glibc), so that no run pays page faults for its temporaries again."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    m_trim_threshold, m_mmap_threshold = -1, -3
    return bool(mallopt(m_mmap_threshold, 1 << 30)) and bool(mallopt(m_trim_threshold, 2**31 - 1))


def interleave(gains, dtype):
    """Each gain twice in a row: a complex spectrum seen as reals is then scaled by one plain product."""
    return np.repeat(gains, 2, axis=-1).astype(dtype)


class Plan:
    """Decomposition and reconstruction of [N, H, W] stacks of one size.

    Variants: `stacked` transforms whole stacks with scipy's own threads; `planes` runs one task a plane
    on `workers` threads, so that a plane stays in the cache from the product to the last pass;
    `planes-t` is `planes` with transposed spectra, so that the complex pass is the contiguous one.
    """

    def __init__(self, gains, dtype=np.float32, workers=1, variant="planes"):
        if variant not in VARIANTS:
            raise ValueError(f"unknown variant {variant!r}; use one of {', '.join(VARIANTS)}")
        self.h, self.w, self.scales = gains.h, gains.w, gains.scales()
        self.count, self.workers, self.variant = gains.planes, workers, variant
        self.dtype, self.complex = np.dtype(dtype), np.result_type(dtype, np.complex64)
        self.transposed = variant == "planes-t"
        turn = (lambda a: np.swapaxes(a, -1, -2)) if self.transposed else (lambda a: a)
        self.pyramid = [g.astype(dtype) for g in gains.pyramid]
        self.trees = [{n: interleave(turn(g), dtype) for n, g in trees.items()} for trees in gains.trees]
        half = self.w // 2 + 1
        self.spectrum_shape = (half, self.h) if self.transposed else (self.h, half)
        if variant != "stacked":
            self.pool = ThreadPoolExecutor(workers - 1) if workers > 1 else None
            self.scratch = [np.empty(self.spectrum_shape, self.complex) for _ in range(workers)]
            # 16 columns of padding keep the rows of power-of-two images out of the same cache sets.
            self.image = [np.empty((self.h, self.w + 16), dtype)[:, : self.w] for _ in range(workers)]
            self.buffers = {}

    def decompose(self, x, out=None):
        """Planes of `x` as a list: [N, 1, H, W] low, then [N, n, H, W] for each scale, coarse to fine.

        `planes` variants fill `out` [N, S, H, W] (made when not given) and return views of it.
        """
        if self.variant == "stacked":
            return self._decompose_stacked(x)
        if out is None:
            out = np.empty((len(x), self.count, self.h, self.w), self.dtype)
        self._decompose_planes(x, out)
        return [out[:, :1]] + [out[:, at : at + n] for at, n, _ in self.scales]

    def reconstruct(self, coeffs):
        """Inverse of `decompose` on a list of the same layout."""
        return self._reconstruct_stacked(coeffs) if self.variant == "stacked" else self._reconstruct_planes(coeffs)

    # -- stacked ------------------------------------------------------------------------------------

    def _inverse(self, spectra):
        spectra = sf.ifft(spectra, axis=-2, overwrite_x=True, workers=self.workers)
        return sf.irfft(spectra, n=self.w, axis=-1, workers=self.workers)

    def _decompose_stacked(self, x):
        axes = (-2, -1)
        dct = sf.dctn(x, axes=axes, workers=self.workers)
        y = sf.idctn(dct[:, None] * self.pyramid[0], axes=axes, overwrite_x=True, workers=self.workers)
        out = [y[:, :1]]
        for j, (_, _, depth) in enumerate(self.scales, start=1):
            if depth == 0:
                out.append(y[:, j : j + 1])
                continue
            spectrum = sf.rfft2(y[:, j], workers=self.workers)
            product = spectrum.view(self.dtype)[:, None] * self.trees[0][depth]
            out.append(self._inverse(product.view(self.complex)))
        return out

    def _reconstruct_stacked(self, coeffs):
        axes = (-2, -1)
        y = [coeffs[0][:, 0]]
        for c, (_, _, depth) in zip(coeffs[1:], self.scales):
            if depth == 0:
                y.append(c[:, 0])
                continue
            spectra = sf.rfft2(c, workers=self.workers)
            real = spectra.view(self.dtype)
            real *= self.trees[1][depth]
            y.append(self._inverse(spectra.sum(axis=1)))
        dct = sf.dctn(np.stack(y, axis=1), axes=axes, overwrite_x=True, workers=self.workers)
        dct *= self.pyramid[1]
        return sf.idctn(dct.sum(axis=1), axes=axes, overwrite_x=True, workers=self.workers)

    # -- one task a plane -----------------------------------------------------------------------------

    def _run(self, tasks, body):
        """Runs `body(worker, task)` over the tasks, each taken by the next free thread (this one too)."""
        queue = iter(tasks)

        def drain(worker):
            for task in queue:  # next() of a list iterator is atomic under the interpreter lock
                body(worker, task)

        others = [self.pool.submit(drain, k) for k in range(1, self.workers)] if self.pool else []
        drain(0)
        for other in others:
            other.result()

    def _buffer(self, name, *shape, dtype=None):
        """A buffer that lives as long as the plan."""
        if self.buffers.get(name) is None or self.buffers[name].shape != shape:
            self.buffers[name] = np.empty(shape, dtype or self.dtype)
        return self.buffers[name]

    def _dct_in_place(self, transform, a, workers=1):
        result = transform(a, overwrite_x=True, workers=workers)
        if not np.shares_memory(result, a):  # overwrite_x is a permission, not a promise
            a[...] = result

    def _forward(self, image):
        half = sf.rfft(image, axis=1)
        if self.transposed:
            return sf.fft(half.T, axis=1)
        return sf.fft(half, axis=0, overwrite_x=True)

    def _inverse_into(self, spectrum, out):
        axis = 1 if self.transposed else 0
        spectrum = sf.ifft(spectrum, axis=axis, overwrite_x=True)
        # numpy's own inverse can write into a given plane; scipy's cannot.
        np.fft.irfft(spectrum.T if self.transposed else spectrum, n=self.w, axis=1, out=out)

    def _decompose_planes(self, x, out):
        count, steps = len(x), len(self.scales)
        dct = self._buffer("dct", count, self.h, self.w)
        spectra = {}
        inner = self.workers if count < self.workers else 1

        def transform(_, n):
            dct[n] = x[n]
            self._dct_in_place(sf.dctn, dct[n], inner)

        def pyramid(worker, task):
            n, j = task
            at, _, depth = self.scales[j - 1] if j else (0, 1, 0)
            target = out[n, at] if depth == 0 else self.image[worker]
            np.multiply(dct[n], self.pyramid[0][j], out=target)
            self._dct_in_place(sf.idctn, target)
            if depth:
                spectra[n, j] = self._forward(target)

        def plane(worker, task):
            n, j, k = task
            at, _, depth = self.scales[j - 1]
            product = self.scratch[worker]
            np.multiply(spectra[n, j].view(self.dtype), self.trees[0][depth][k], out=product.view(self.dtype))
            self._inverse_into(product, out[n, at + k])

        if inner > 1:
            for n in range(count):
                transform(0, n)
        else:
            self._run(list(range(count)), transform)
        self._run([(n, j) for n in range(count) for j in range(steps + 1)], pyramid)
        tasks = [(n, j, k) for n, j in sorted(spectra) for k in range(self.scales[j - 1][1])]
        self._run(tasks, plane)

    def _reconstruct_planes(self, coeffs):
        count, steps = len(coeffs[0]), len(self.scales)
        parts = self.workers if count < self.workers else 1
        sums = {}
        dct = self._buffer("dct", count, self.h, self.w)
        terms = self._buffer("terms", count, steps + 1, self.h, self.w)

        def gather(worker, task):
            n, j, part = task
            gains = self.trees[1][self.scales[j - 1][2]]
            total, product = None, self.scratch[worker].view(self.dtype)
            for k in range(part, len(gains), parts):
                spectrum = self._forward(coeffs[j][n, k]).view(self.dtype)
                if total is None:
                    total = np.multiply(spectrum, gains[k], out=spectrum)
                else:
                    total += np.multiply(spectrum, gains[k], out=product)
            sums[n, j, part] = total

        def pyramid(worker, task):
            n, j = task
            image = self.image[worker]
            if j == 0 or self.scales[j - 1][2] == 0:
                image[...] = coeffs[j][n, 0]
            else:
                total = sums[n, j, 0]
                for part in range(1, parts):
                    if sums[n, j, part] is not None:
                        total += sums[n, j, part]
                self._inverse_into(total.view(self.complex), image)
            self._dct_in_place(sf.dctn, image)
            np.multiply(image, self.pyramid[1][j], out=terms[n, j])

        out = np.empty((count, self.h, self.w), self.dtype)
        deep = [j for j in range(steps, 0, -1) if self.scales[j - 1][2]]
        self._run([(n, j, p) for n in range(count) for j in deep for p in range(parts)], gather)
        self._run([(n, j) for n in range(count) for j in range(steps + 1)], pyramid)

        def finish(_, n):
            np.sum(terms[n], axis=0, out=out[n])
            self._dct_in_place(sf.idctn, out[n], parts)

        if parts > 1:
            for n in range(count):
                finish(0, n)
        else:
            self._run(list(range(count)), finish)
        return out


def check(folder, dtype, workers):
    """All variants against the golden data; number of failures."""
    failures = 0
    for variant in VARIANTS:
        print(f"variant {variant}, {np.dtype(dtype).name}, {workers} workers")

        def make(h, w, case):
            gains = Gains(h, w, case["levels"], case["dfilt"], case["pfilt"], case.get("geometry", "toolbox"))
            plan = Plan(gains, dtype, workers, variant)
            ends = [at for at, _, _ in plan.scales]
            dec = lambda x: np.concatenate(plan.decompose(x), axis=1)
            rec = lambda c: plan.reconstruct(np.split(c, ends, axis=1))
            return dec, rec

        failures += verify(folder, make, dtype)
    return failures


def bench(args):
    """Times every variant; the repeats of all rows are interleaved, so that a busy moment hits all alike."""
    dtype = np.float64 if args.f64 else np.float32
    gains = Gains(args.size, args.size, args.levels, args.dfilt, args.pfilt, args.geometry)
    rng = np.random.default_rng(1)
    x = (255 * rng.random((args.batch, args.size, args.size))).astype(dtype)
    rows = {}
    for variant in args.variants:
        plan = Plan(gains, dtype, args.workers, variant)
        coeffs = plan.decompose(x)
        singles = [[c[n : n + 1] for c in coeffs] for n in range(args.batch)]
        # The planes variants may fill the same output again, like any caller with a buffer of its own.
        out = None if variant == "stacked" else np.empty((args.batch, plan.count, args.size, args.size), dtype)
        one = [None if out is None else out[n : n + 1] for n in range(args.batch)]
        rows["dec", variant, "batched"] = lambda p=plan, o=out: p.decompose(x, o)
        rows["rec", variant, "batched"] = lambda p=plan, c=coeffs: p.reconstruct(c)
        if args.batch > 1:
            rows["dec", variant, "looped"] = lambda p=plan, o=one: [
                p.decompose(x[n : n + 1], o[n]) for n in range(args.batch)
            ]
            rows["rec", variant, "looped"] = lambda p=plan, s=singles: [p.reconstruct(c) for c in s]
    for run in rows.values():
        run(), run()
    times, busy = {key: [] for key in rows}, {key: [] for key in rows}
    for _ in range(args.repeat):
        for key, run in rows.items():
            start, cpu = time.perf_counter(), time.process_time()
            result = run()
            times[key].append(time.perf_counter() - start)
            busy[key].append(time.process_time() - cpu)
            del result
    results = []
    for (op, variant, mode), t in sorted(times.items()):
        p10, median, p90 = np.percentile(t, [10, 50, 90])
        results.append({"op": op, "variant": variant, "mode": mode, "median_s": median, "p10_s": p10, "p90_s": p90,
                        "min_s": min(t), "cpu_s": float(np.median(busy[op, variant, mode]))})
    best = {}
    for row in results:
        key = f"{row['op']} {row['mode']}"
        if key not in best or row["median_s"] < best[key]["median_s"]:
            best[key] = row
    return {
        "peer": "numpy", "numpy": np.__version__, "scipy": scipy.__version__, "python": platform.python_version(),
        "cpus": os.cpu_count(), "size": args.size, "levels": args.levels, "planes": gains.planes,
        "dfilt": args.dfilt, "pfilt": args.pfilt, "geometry": args.geometry, "dtype": np.dtype(dtype).name,
        "batch": args.batch, "workers": args.workers, "repeat": args.repeat, "best": best, "rows": results,
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=512, help="height and width")
    parser.add_argument("--levels", type=lambda s: [int(v) for v in s.split(",") if v], default=[2, 3, 3, 4])
    parser.add_argument("--dfilt", default="dmaxflat7")
    parser.add_argument("--pfilt", default="maxflat")
    parser.add_argument("--geometry", default="wedge", choices=["wedge", "toolbox"])
    parser.add_argument("--batch", type=int, default=1, help="images in one call")
    parser.add_argument("--workers", type=int, default=1, help="threads")
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--f64", action="store_true", help="double precision")
    parser.add_argument("--verify", metavar="DIR", help="check against a golden data folder instead of timing")
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="JSON to FILE, or to standard output")
    args = parser.parse_args()
    if min(args.size, args.batch, args.workers, args.repeat) < 1:
        parser.error("--size, --batch, --workers and --repeat must be at least 1")
    if args.verify:
        return 1 if check(args.verify, np.float64 if args.f64 else np.float32, args.workers) else 0
    keep_heap()
    result = bench(args)
    if args.json == "-":
        print(json.dumps(result, indent=1))
        return 0
    if args.json:
        with open(args.json, "w") as f:
            json.dump(result, f, indent=1)
    print(f"{args.size}x{args.size}, levels {args.levels}, batch {args.batch}, {args.workers} workers, ms")
    for row in result["rows"]:
        mark = "*" if row in result["best"].values() else " "
        print(f"{mark} {row['op']} {row['mode']:8} {row['variant']:9} median {1e3 * row['median_s']:8.2f}"
              f"  p10 {1e3 * row['p10_s']:8.2f}  p90 {1e3 * row['p90_s']:8.2f}  min {1e3 * row['min_s']:8.2f}"
              f"  cpu {1e3 * row['cpu_s']:8.2f}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, OSError) as error:  # bad names and levels, missing data
        sys.exit(f"error: {error}")
