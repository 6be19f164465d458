#!/usr/bin/env python3
"""The style network on the CPU: this crate, ONNX Runtime and PyTorch in turns, on a machine that may do other work.

    .venv/bin/python benches/peers/style_cpu.py --lockstep target/release/lockstep --weights candy.safetensors --json out.json

Each round runs the three programs one after the other, so that a busy moment hits all of them; figures are medians over all
runs of all rounds, and the ratio is the median of the rounds' ratios. Memory is the peak of a process that styles one
picture of the size, less that of one that styles a picture of 64 x 64: what the picture costs beside program and weights.
Ours takes and gives bytes, the peers planes of f32; conversions are in our time, and not in theirs.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def commands(options, size, repeat):
    common = ["--sizes", size, "--json"]
    python = [sys.executable]
    return {
        "lockstep": [options.lockstep, "style", "bench", "--model", options.weights, "--backend", "cpu", "--threads",
                     str(options.workers), "--samples", str(repeat), *common],
        "onnxruntime": [*python, str(HERE / "style_onnx.py"), "--weights", options.weights, "--workers",
                        str(options.workers), "--repeat", str(repeat), *common],
        "torch": [*python, str(HERE / "style_torch.py"), "--weights", options.weights, "--device", "cpu", "--modes", "f32",
                  "--workers", str(options.workers), "--repeat", str(repeat), *common],
    }


def run(command):
    """The first row of what a program prints, and the most memory that its process had."""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        text = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{command[0]} failed")
    return json.loads(text)["rows"][0], usage.ru_maxrss * 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lockstep", required=True, help="the program, built with --release")
    parser.add_argument("--weights", required=True, help="a .safetensors file with the usual names")
    parser.add_argument("--sizes", default="256x256,512x512", help="HEIGHTxWIDTH, by commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=5, help="runs of a program in a round")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="threads")
    parser.add_argument("--json", help="file for the record")
    options = parser.parse_args()
    base = {name: run(command)[1] for name, command in commands(options, "64x64", 1).items()}
    record = []
    for size in options.sizes.split(","):
        height, width = map(int, size.split("x"))
        times, peaks = {name: [] for name in base}, dict.fromkeys(base, 0)
        for _ in range(options.rounds):
            for name, command in commands(options, size, options.repeat).items():
                row, peak = run(command)
                times[name].append(row)
                peaks[name] = max(peaks[name], peak - base[name])
        ours = [row["median_s"] for row in times["lockstep"]]
        for name, rows in times.items():
            medians = [row["median_s"] for row in rows]
            record.append({
                "program": name, "shape": f"1x{size}", "samples": options.rounds * options.repeat,
                "median_s": statistics.median(medians), "least_s": min(row.get("min_s", row["p10_s"]) for row in rows),
                "p10_s": min(row["p10_s"] for row in rows), "p90_s": max(row["p90_s"] for row in rows),
                "ratio": statistics.median(m / o for m, o in zip(medians, ours)),
                "peak_bytes": peaks[name], "peak_bytes_a_pixel": peaks[name] / (height * width),
            })
            r = record[-1]
            print(f"{name:12} {size:>10} {r['median_s'] * 1e3:8.1f} ms ({r['p10_s'] * 1e3:.1f} to {r['p90_s'] * 1e3:.1f})"
                  f"  {r['ratio']:5.2f} times ours  peak {r['peak_bytes'] / 2**20:7.1f} MiB,"
                  f" {r['peak_bytes_a_pixel']:6.0f} B a pixel", flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
