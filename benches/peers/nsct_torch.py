#!/usr/bin/env python3
"""The spectral engine of the nonsubsampled contourlet transform with torch.fft.

This is the GPU peer that the Rust crate is measured against (it also runs on the CPU, for checking).

    python3 nsct_torch.py --json out.json
    python3 nsct_torch.py --device cpu --verify DATA_FOLDER
"""

import argparse
import json
import sys
import time

import numpy as np
import torch

from nsct_gains import Gains
from nsct_golden import verify

VARIANTS = ("irfft2", "split")


def pyramid_product(u, flipped, gains, gains_flipped, twiddle):
    """Half spectra of the reordered pyramid outputs, as reals: twiddle * (gains u + gains' flipped)."""
    t = torch.addcmul(u * gains, flipped, gains_flipped)
    return torch.view_as_real(torch.view_as_complex(t).mul_(twiddle))


def pyramid_product_real(u, flipped, gains, gains_flipped, twiddle):
    """The same in real arithmetic only (twiddle seen as reals), for a compiler that fuses it into one kernel."""
    t = u * gains + flipped * gains_flipped
    tr, ti = twiddle.unbind(-1)
    re, im = t.unbind(-1)
    return torch.stack((re * tr - im * ti, re * ti + im * tr), dim=-1)


def tree_product(spectrum, gains):
    """[N, 1, M] spectrum seen as reals, [n, M] gains -> [N, n, M]."""
    return spectrum * gains


def tree_sum(spectra, gains):
    """Sum over the planes of the scaled spectra: [N, n, M], [n, M] -> [N, M]."""
    return (spectra * gains).sum(dim=1)


class Plan:
    """Decomposition and reconstruction of [N, H, W] stacks of one size on one device.

    The DCT-II is Makhoul's: reorder (even samples up, odd samples down), one real FFT of the same size,
    twiddle. Its coefficients stay packed as a complex half plane U with
    X[k1, k2] = 2 Re U[k1, k2] and X[k1, W - k2] = -2 Im U[k1, k2], so that real gains on X are real gains
    on the parts of U. An even extension would transform four times as many samples.

    Variants: `irfft2` inverts with one 2-D call, `split` with a complex call on the columns and a real one
    on the rows. Which is faster depends on the library below torch.
    """

    def __init__(self, gains, dtype=torch.float32, device="cpu", variant="irfft2", compiled=False):
        if variant not in VARIANTS:
            raise ValueError(f"unknown variant {variant!r}; use one of {', '.join(VARIANTS)}")
        h, w = self.h, self.w = gains.h, gains.w
        self.half = w // 2 + 1
        self.scales, self.count, self.variant = gains.scales(), gains.planes, variant
        put = lambda a: torch.from_numpy(np.ascontiguousarray(a)).to(device)
        real = lambda a: put(a).to(dtype)

        even_odd = lambda n: np.concatenate([np.arange(0, n, 2), np.arange(1, n, 2)[::-1]])
        rows, columns = even_odd(h), even_odd(w)
        self.order = put(rows)[:, None], put(columns)[None, :]
        self.back = put(np.argsort(rows))[:, None], put(np.argsort(columns))[None, :]
        self.negative = put(-np.arange(h) % h)

        w1 = np.exp(-0.5j * np.pi / h * np.arange(h))[:, None]
        w2 = np.exp(-0.5j * np.pi / w * np.arange(self.half))
        as_complex = torch.complex64 if dtype == torch.float32 else torch.complex128
        cast = lambda a: put(a).to(as_complex)
        self.forward_twiddles = cast(w1 * w2), cast(w1.conj() * w2)
        self.inverse_twiddle = cast(0.5 * (w1 * w2).conj())

        mirrored = -np.arange(self.half) % w
        pack = lambda g: np.stack([g[..., : self.half], g[..., mirrored]], axis=-1)
        packed = [pack(g) for g in gains.pyramid]
        flip = -np.arange(h) % h
        self.analysis = real(packed[0])
        self.analysis_flipped = real(packed[0][:, flip][..., ::-1])
        self.synthesis = real(packed[1])
        self.trees = [
            {n: real(np.repeat(g, 2, axis=-1)).reshape(len(g), -1) for n, g in trees.items()} for trees in gains.trees
        ]
        fuse = (lambda f: torch.compile(f, dynamic=False)) if compiled else (lambda f: f)
        self.pyramid_product = fuse(pyramid_product_real) if compiled else pyramid_product
        self.product_twiddle = torch.view_as_real(self.inverse_twiddle) if compiled else self.inverse_twiddle
        self.tree_product, self.tree_sum = fuse(tree_product), fuse(tree_sum)

    def _inverse(self, spectra):
        if self.variant == "split":
            return torch.fft.irfft(torch.fft.ifft(spectra, dim=-2), n=self.w, dim=-1)
        return torch.fft.irfft2(spectra, s=(self.h, self.w))

    def _dct(self, x):
        """Packed DCT-II coefficients U [..., H, W // 2 + 1]."""
        v = torch.fft.rfft2(x[..., self.order[0], self.order[1]])
        a, b = self.forward_twiddles
        return torch.addcmul(v * a, v.index_select(-2, self.negative), b)

    def _flipped(self, u):
        """-i U[H - k1, k2], zero at k1 = 0."""
        f = u.index_select(-2, self.negative) * -1j
        f[..., 0, :] = 0
        return torch.view_as_real(f)

    def _idct(self, v):
        """Images from the half spectra (as reals) of their reordered samples."""
        return self._inverse(torch.view_as_complex(v))[..., self.back[0], self.back[1]]

    def decompose(self, x):
        """[N, H, W] -> list of [N, 1, H, W] low and [N, n, H, W] for each scale, coarse to fine."""
        n = len(x)
        u = self._dct(x)[:, None]
        product = self.pyramid_product(
            torch.view_as_real(u), self._flipped(u), self.analysis, self.analysis_flipped, self.product_twiddle
        )
        y = self._idct(product)
        out = [y[:, :1]]
        if any(depth for _, _, depth in self.scales):
            spectra = torch.view_as_real(torch.fft.rfft2(y[:, 1:]))
        for j, (_, count, depth) in enumerate(self.scales):
            if depth == 0:
                out.append(y[:, j + 1 : j + 2])
                continue
            planes = self.tree_product(spectra[:, j].reshape(n, 1, -1), self.trees[0][depth])
            planes = torch.view_as_complex(planes.view(n, count, self.h, self.half, 2))
            out.append(self._inverse(planes))
        return out

    def reconstruct(self, coeffs):
        """Inverse of `decompose` on a list of the same layout."""
        n = len(coeffs[0])
        y = [coeffs[0][:, 0]]
        for c, (_, count, depth) in zip(coeffs[1:], self.scales):
            if depth == 0:
                y.append(c[:, 0])
                continue
            spectra = torch.view_as_real(torch.fft.rfft2(c)).reshape(n, count, -1)
            total = self.tree_sum(spectra, self.trees[1][depth]).view(n, self.h, self.half, 2)
            y.append(self._inverse(torch.view_as_complex(total)))
        u = torch.view_as_real(self._dct(torch.stack(y, dim=1)))
        u = torch.view_as_complex(self.tree_sum(u, self.synthesis))
        total = torch.view_as_real(u) + self._flipped(u)
        return self._idct(torch.view_as_real(torch.view_as_complex(total) * self.inverse_twiddle))


def check(folder, dtype, device, compiled):
    """All variants against the golden data; number of failures."""
    failures = 0
    for variant in VARIANTS:
        print(f"variant {variant}, {dtype}, {device}")

        def make(h, w, case):
            gains = Gains(h, w, case["levels"], case["dfilt"], case["pfilt"], case.get("geometry", "toolbox"))
            plan = Plan(gains, dtype, device, variant, compiled)
            sizes = [1] + [count for _, count, _ in plan.scales]
            to = lambda a: torch.from_numpy(a).to(device)
            dec = lambda x: torch.cat(plan.decompose(to(x)), dim=1).cpu().numpy()
            rec = lambda c: plan.reconstruct(to(c).split(sizes, dim=1)).cpu().numpy()
            return dec, rec

        failures += verify(folder, make, np.float64 if dtype == torch.float64 else np.float32)
    return failures


def timed(run, repeat, cuda):
    """Seconds of each of `repeat` runs after a warm-up; device time between two events on CUDA."""
    for _ in range(3):
        run()
    times = []
    for _ in range(repeat):
        if cuda:
            start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize()
            start.record()
            result = run()
            stop.record()
            stop.synchronize()
            times.append(start.elapsed_time(stop) / 1e3)
        else:
            begin = time.perf_counter()
            result = run()
            times.append(time.perf_counter() - begin)
        del result
    p10, median, p90 = np.percentile(times, [10, 50, 90])
    return {"median_s": median, "p10_s": p10, "p90_s": p90}


def captured(run):
    """`run` recorded once as a CUDA graph: the same kernels without their launch cost."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = run()

    def replay():
        graph.replay()
        return result

    return replay


def copy_ceiling(device, cuda, repeat, size):
    """Bytes per second (read plus written) of a copy between two buffers of `size` bytes on the device."""
    a = torch.ones(size // 4, device=device)
    b = torch.empty_like(a)
    return 2 * size / timed(lambda: b.copy_(a), repeat, cuda)["median_s"]


def measure(run, args, cuda, moved):
    """One row: times, bandwidth of the least traffic, peak memory above what was there before."""
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    row = timed(run, args.repeat, cuda)
    row["least_traffic_bytes_per_s"] = moved / row["median_s"]
    if cuda:
        row["peak_bytes"] = torch.cuda.max_memory_allocated()
        row["peak_above_inputs_bytes"] = row["peak_bytes"] - before
    return row


def bench(args):
    device, cuda = args.device, args.device.startswith("cuda")
    dtype = torch.float64 if args.f64 else torch.float32
    gains = Gains(args.size, args.size, args.levels, args.dfilt, args.pfilt, args.geometry)
    torch.manual_seed(1)
    x = 255 * torch.rand(args.batch, args.channels, args.size, args.size, dtype=dtype, device=device)
    stack = x.flatten(0, 1)
    ceiling = copy_ceiling(device, cuda, args.repeat, 1 << (30 if cuda else 28))
    moved = (1 + gains.planes) * x.numel() * x.element_size()
    runs, rows, coeffs = [], [], None
    for variant in VARIANTS:
        plan = Plan(gains, dtype, device, variant, args.compile)
        coeffs = coeffs or plan.decompose(stack)
        groups = {"batched": len(stack), "looped over images": args.channels, "looped over planes": 1}
        for mode, size in groups.items():
            if mode != "batched" and size >= groups["batched"]:
                continue
            parts = stack.split(size)
            coeff_parts = list(zip(*(c.split(size) for c in coeffs)))
            base = {"variant": variant, "mode": mode}
            runs += [
                (base | {"op": "dec"}, lambda plan=plan, p=parts: [plan.decompose(part) for part in p]),
                (base | {"op": "rec"}, lambda plan=plan, p=coeff_parts: [plan.reconstruct(part) for part in p]),
            ]
    for base, run in runs:
        rows.append(base | {"graph": False} | measure(run, args, cuda, moved))
    # Graphs come last: a capture that fails can leave the stream unusable, and must not cost the rows above.
    for base, run in runs if cuda and not args.no_graph else []:
        try:
            row = measure(captured(run), args, cuda, moved)
        except RuntimeError as error:
            print(f"no graph rows from {base} on: {str(error).splitlines()[0]}", file=sys.stderr)
            break
        # The allocator does not see a replay: the graph owns its memory since the capture.
        del row["peak_bytes"], row["peak_above_inputs_bytes"]
        rows.append(base | {"graph": True} | row)
    best = {}
    for row in rows:
        for key in (f"{row['op']} {row['mode']}", f"{row['op']} {row['mode']}, no graph"):
            if row["graph"] and key.endswith("no graph"):
                continue
            if key not in best or row["median_s"] < best[key]["median_s"]:
                best[key] = row
    return {
        "peer": "torch", "torch": torch.__version__, "device": torch.cuda.get_device_name() if cuda else "cpu",
        "threads": torch.get_num_threads(), "shape": list(x.shape), "levels": args.levels, "planes": gains.planes,
        "dfilt": args.dfilt, "pfilt": args.pfilt, "geometry": args.geometry, "dtype": str(dtype).split(".")[1],
        "compiled": args.compile, "repeat": args.repeat, "least_traffic_bytes": moved,
        "copy_bytes_per_s": ceiling, "best": best, "rows": rows,
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=512, help="height and width")
    parser.add_argument("--levels", type=lambda s: [int(v) for v in s.split(",") if v], default=[2, 3, 3, 4])
    parser.add_argument("--dfilt", default="dmaxflat7")
    parser.add_argument("--pfilt", default="maxflat")
    parser.add_argument("--geometry", default="wedge", choices=["wedge", "toolbox"])
    parser.add_argument("--batch", type=int, default=8, help="images")
    parser.add_argument("--channels", type=int, default=3, help="channels of an image")
    parser.add_argument("--repeat", type=int, default=30)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--f64", action="store_true", help="double precision")
    parser.add_argument("--compile", action="store_true", help="fuse the products with torch.compile")
    parser.add_argument("--no-graph", action="store_true", help="leave the CUDA graph rows out")
    parser.add_argument("--verify", metavar="DIR", help="check against a golden data folder instead of timing")
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="JSON to FILE, or to standard output")
    args = parser.parse_args()
    if min(args.size, args.batch, args.channels, args.repeat) < 1:
        parser.error("--size, --batch, --channels and --repeat must be at least 1")
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("this torch sees no CUDA device; use --device cpu")
    if args.compile:
        torch._dynamo.config.recompile_limit = 256  # one kernel for each shape, none of them dynamic
    with torch.inference_mode():
        if args.verify:
            return 1 if check(args.verify, torch.float64 if args.f64 else torch.float32, args.device, args.compile) else 0
        result = bench(args)
    if args.json == "-":
        print(json.dumps(result, indent=1))
        return 0
    if args.json:
        with open(args.json, "w") as f:
            json.dump(result, f, indent=1)
    print(f"{result['device']}, torch {result['torch']}, {result['shape']}, levels {args.levels}, ms")
    print(f"copy ceiling {result['copy_bytes_per_s'] / 1e9:.0f} GB/s, least traffic {result['least_traffic_bytes'] / 1e6:.0f} MB"
          f" = {1e3 * result['least_traffic_bytes'] / result['copy_bytes_per_s']:.3f} ms")
    for row in result["rows"]:
        mark = "*" if row in result["best"].values() else " "
        peak = f"  peak {row['peak_bytes'] / 2**20:.0f} MiB" if "peak_bytes" in row else ""
        print(f"{mark} {row['op']} {row['mode']:18} {row['variant']:6} {'graph' if row['graph'] else 'eager'}"
              f"  median {1e3 * row['median_s']:8.3f}  p10 {1e3 * row['p10_s']:8.3f}  p90 {1e3 * row['p90_s']:8.3f}"
              f"  {row['least_traffic_bytes_per_s'] / 1e9:6.0f} GB/s{peak}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, OSError) as error:  # bad names and levels, missing data
        sys.exit(f"error: {error}")
