#!/usr/bin/env python3
"""Phase correlation of the four colour planes of a Bayer set in PyTorch: the peer of the sets of `align`'s benchmarks.

    python3 align_torch.py --json

One ground truth and eight pictures, mosaics in the device's memory, to shifts on the host, between two CUDA events.
`batched` is the fast formulation: one real FFT of all planes, whitened products, one inverse, argmax of the sum of the
planes. `looped` is what tutorials do: complex transforms, pair by pair. Neither despikes, windows, refines, or tells how
sure it is.
"""

import argparse
import json
import statistics

import torch

PICTURES = 9
SIZES = {"24MP": (4000, 6000), "60MP": (6336, 9504)}


def planes(mosaics):
    """The four positions of the 2 x 2 cell: [pictures, 4, height / 2, width / 2]."""
    n, height, width = mosaics.shape
    cells = mosaics.view(n, height // 2, 2, width // 2, 2)
    return cells.permute(0, 2, 4, 1, 3).reshape(n, 4, height // 2, width // 2)


def shift(correlation):
    """Rows and columns of the peaks, negative beyond the middle."""
    n, height, width = correlation.shape
    at = correlation.reshape(n, -1).argmax(1)
    y, x = at // width, at % width
    y = torch.where(y > height // 2, y - height, y)
    x = torch.where(x > width // 2, x - width, x)
    return torch.stack([y, x], 1)


def batched(mosaics):
    z = torch.fft.rfft2(planes(mosaics.to(torch.float32)))
    product = z[1:] * z[:1].conj()
    product /= product.abs().clamp_min(1e-12)
    size = (mosaics.shape[1] // 2, mosaics.shape[2] // 2)
    return shift(torch.fft.irfft2(product, s=size).sum(1)).cpu()


def looped(mosaics):
    z = [torch.fft.fft2(planes(m[None].to(torch.float32))) for m in mosaics]
    out = []
    for other in z[1:]:
        product = other * z[0].conj()
        product /= product.abs().clamp_min(1e-12)
        out.append(shift(torch.fft.ifft2(product).real.sum(1)).cpu())
    return torch.cat(out)


def measure(function, samples):
    function()
    function()
    times = []
    for _ in range(samples):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        function()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) * 1e-3)
    times.sort()
    return {"median_s": statistics.median(times), "p10_s": times[round(0.1 * (samples - 1))],
            "p90_s": times[round(0.9 * (samples - 1))], "samples": samples}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--workers", help="ignored: the device does the work")
    parser.add_argument("--json", action="store_true", help="print rows instead of a table")
    options = parser.parse_args()
    rows = []
    for name, (height, width) in SIZES.items():
        generator = torch.Generator(device="cuda").manual_seed(1)
        scene = torch.randint(512, 15512, (height + 64, width + 64), generator=generator, device="cuda")
        truth = [(2 * i, 6 - 4 * i) for i in range(PICTURES)]
        seen = [scene[32 + y:32 + y + height, 32 + x:32 + x + width] for y, x in truth]
        mosaics = torch.stack(seen).to(torch.int16)
        del scene
        for variant, function in (("batched", batched), ("looped", looped)):
            found = 2 * function(mosaics)
            wanted = torch.tensor([[truth[0][0] - y, truth[0][1] - x] for y, x in truth[1:]])
            if not torch.equal(found, wanted):
                raise SystemExit(f"{variant}: {found.tolist()} is not {wanted.tolist()}; a wrong peer is no yardstick")
            row = {"peer": "PyTorch", "kernel": "set_channels_on_device", "shape": name, "dtype": "",
                   "variant": variant, **measure(lambda: function(mosaics), options.samples)}
            rows.append(row)
            if not options.json:
                print(f"{name} {variant:<8} {row['median_s'] * 1e3:.2f} ms")
    if options.json:
        print(json.dumps({"rows": rows}))


if __name__ == "__main__":
    main()
