#!/usr/bin/env python3
"""Products of an LED wall in PyTorch, which calls cuBLAS and cuSPARSE: the peer of `lockstep ata bench` on a GPU.

    python3 ata_torch.py --matrix matrix/ --json
    python3 ata_torch.py --random --blocks 9 --device cpu --repeat 3         as far as a CPU goes

Dense batched products of three channels in f32, TF32 and f16, and CSR and BSR of both triangles, channel by channel. On a
GPU each is measured twice: as a replayed CUDA graph of 20 products (calls that cannot be captured are timed one by one, and
say so), and `cold`: one call behind a write that is larger than the L2 cache, as triton.testing.do_bench does.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time

import numpy as np
import torch

RUNS = 20
FLUSH = 512 << 20


def load(matrix):
    """Both triangles of each channel, dense."""
    blocks = np.load(os.path.join(matrix, "blocks.npy"))
    offsets = np.load(os.path.join(matrix, "offsets.npy"))
    with open(os.path.join(matrix, "meta.json")) as file:
        n = json.load(file)["n"]
    rows = blocks.shape[2]
    out = np.zeros((len(blocks), rows * 16, rows * 16), np.float32)
    for c, diagonals in enumerate(blocks):
        for k, d in enumerate(offsets):
            for i in range(rows - d):
                out[c, 16 * i : 16 * i + 16, 16 * (i + d) : 16 * (i + d) + 16] = diagonals[k, i]
                out[c, 16 * (i + d) : 16 * (i + d) + 16, 16 * i : 16 * i + 16] = diagonals[k, i].T
    return torch.from_numpy(out), n


def banded(n, diagonals):
    """Random symmetric blocks on contiguous diagonals."""
    rows = -(-n // 16)
    generator = torch.Generator().manual_seed(0)
    out = torch.rand(3, rows * 16, rows * 16, generator=generator) - 0.5
    place = torch.arange(rows * 16) // 16
    out *= (place[:, None] - place).abs() < diagonals
    return out + out.transpose(1, 2), n


class Clock:
    """Seconds of calls on a device."""

    def __init__(self, device, repeat):
        self.device, self.repeat = device, repeat
        self.flush = torch.empty(FLUSH if device != "cpu" else 0, dtype=torch.int8, device=device)

    def one(self, run):
        if self.device == "cpu":
            start = time.perf_counter()
            run()
            return time.perf_counter() - start
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) * 1e-3

    def cold(self, run):
        run()
        times = []
        for _ in range(self.repeat):
            self.flush.zero_()
            times.append(self.one(run))
        return times

    def warm(self, run):
        """Times of a call, and whether it was replayed from a graph."""
        if self.device == "cpu":
            run()
            return [self.one(run) for _ in range(self.repeat)], False
        try:
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                run()
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                for _ in range(RUNS):
                    run()
            graph.replay()
            return [self.one(graph.replay) / RUNS for _ in range(self.repeat)], True
        except RuntimeError:
            torch.cuda.synchronize()
            return [self.one(run) for _ in range(self.repeat)], False


def variants(dense, frames, device):
    """Name, element type and function of each way."""
    x = torch.rand(3, dense.shape[1], frames, generator=torch.Generator().manual_seed(1)).to(device)
    a = dense.to(device)
    half, x_half = a.half(), x.half()

    def tf32(allowed, left, right):
        torch.backends.cuda.matmul.allow_tf32 = allowed
        return torch.bmm(left, right)

    out = [
        ("cuBLAS dense f32", "f32", lambda: tf32(False, a, x)),
        ("cuBLAS dense TF32", "tf32", lambda: tf32(True, a, x)),
        ("cuBLAS dense f16", "f16", lambda: torch.bmm(half, x_half)),
    ]
    csr = [c.to_sparse_csr() for c in a]
    out.append(("cuSPARSE CSR f32", "f32", lambda: [m @ v for m, v in zip(csr, x)]))
    for name, dtype, right in [("f32", torch.float32, x), ("f16", torch.float16, x_half)]:
        if device == "cpu" and dtype == torch.float16:
            continue
        bsr = [c.to(dtype).to_sparse_bsr((16, 16)) for c in a]
        out.append((f"cuSPARSE BSR {name}", name, lambda bsr=bsr, right=right: [m @ v for m, v in zip(bsr, right)]))
    return out, torch.bmm(dense.double(), x.cpu().double())


def row(n, frames, dtype, variant, times):
    times = sorted(times)
    at = lambda share: times[round((len(times) - 1) * share)]  # noqa: E731
    return {"kernel": "ata product", "shape": f"n={n} F={frames}", "dtype": dtype, "variant": variant,
            "samples": len(times), "median_s": statistics.median(times), "p10_s": at(0.1), "p90_s": at(0.9)}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--matrix", help="matrix folder (lockstep ata gram)")
    source.add_argument("--command", help="the lockstep command: makes the wall of the benchmark")
    source.add_argument("--random", action="store_true", help="random blocks instead")
    parser.add_argument("--leds", type=int, default=2624, help="rows of the random matrix")
    parser.add_argument("--blocks", type=int, default=9, help="block diagonals of the random matrix, the main one among them")
    parser.add_argument("--frames", type=lambda s: [int(v) for v in s.split(",")], default=[8, 16])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeat", type=int, default=100)
    parser.add_argument("--json", action="store_true", help="the record instead of the table")
    args = parser.parse_args()
    if args.command:
        from ata_scipy import make

        with tempfile.TemporaryDirectory() as folder:
            dense, n = load(make(args.command, folder, args.leds)[1])
    else:
        dense, n = load(args.matrix) if args.matrix else banded(args.leds, args.blocks)
    clock, rows = Clock(args.device, args.repeat), []
    for frames in args.frames:
        all_variants, wanted = variants(dense, frames, args.device)
        for name, dtype, function in all_variants:
            try:
                got = function()
            except RuntimeError as error:
                print(f"NOT MEASURED: {name}: {str(error).splitlines()[0]}", file=sys.stderr)
                continue
            got = (torch.stack(got) if isinstance(got, list) else got).double().cpu()
            off = float((got - wanted).norm() / wanted.norm())
            if not off < {"f32": 1e-5}.get(dtype, 2e-3):
                sys.exit(f"error: {name} is off by {off:.1e}")
            times, graph = clock.warm(function)
            rows.append(row(n, frames, dtype, name + (", graph" if graph else ""), times))
            if args.device != "cpu":
                rows.append(row(n, frames, dtype, name + ", cold", clock.cold(function)))
    where = torch.cuda.get_device_name() if args.device != "cpu" else "cpu"
    document = {"peer": f"torch {torch.__version__}", "device": where, "rows": rows}
    if args.json:
        print(json.dumps(document, indent=1))
        return
    print(f"torch {torch.__version__} on {where}, µs")
    for r in rows:
        print(f"{r['shape']:14} {r['dtype']:5} {r['variant']:28} median {1e6 * r['median_s']:10.1f}"
              f"  p10 {1e6 * r['p10_s']:10.1f}  p90 {1e6 * r['p90_s']:10.1f}")  # fmt: skip


if __name__ == "__main__":
    main()
