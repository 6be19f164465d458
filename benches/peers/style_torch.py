#!/usr/bin/env python3
"""Johnson's TransformerNet in PyTorch: the peer of `lockstep style bench` on a GPU (it also runs on the CPU).

    python3 style_torch.py --weights candy.safetensors --json
    python3 style_torch.py --weights candy.safetensors --sizes 512x512 --batch 1,8 --modes f16-channels-last
    python3 style_torch.py --weights candy.safetensors --compile --sizes 512x512 --batch 1 --json

Times are medians between two CUDA events, inputs and outputs in the device's memory. `--compile` measures
torch.compile(mode="max-autotune", dynamic=False) in f16 channels-last, each size in a process of its own, since
compiling several sizes in one process falls back to eager.
"""

import argparse
import json
import statistics
import struct
import subprocess
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

MODES = ("f32", "tf32", "f16", "f16-channels-last")


def load(path):
    """Tensors of a safetensors file, as f32, under short names."""
    with open(path, "rb") as file:
        data = file.read()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    types = {"F16": np.float16, "F32": np.float32}
    out = {}
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            values = np.frombuffer(data[8 + length + start:8 + length + end], types[entry["dtype"]])
            out[name.replace("conv2d.", "")] = torch.from_numpy(values.reshape(entry["shape"]).astype(np.float32))
    return out


class Net(torch.nn.Module):
    """The network as pytorch/examples defines it, from its weights."""

    def __init__(self, weights):
        super().__init__()
        self.names = {name: name.replace(".", "_") for name in weights}
        for name, value in weights.items():
            self.register_buffer(self.names[name], value)
        self.blocks = len({name.split(".")[0] for name in weights if name.startswith("res")})

    def get(self, name):
        return getattr(self, self.names[name])

    def conv(self, x, name, stride=1, up=False):
        weight = self.get(f"{name}.weight")
        pad = weight.shape[-1] // 2
        if up:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        return F.conv2d(F.pad(x, (pad,) * 4, mode="reflect"), weight, self.get(f"{name}.bias"), stride=stride)

    def norm(self, x, name):
        return F.instance_norm(x, weight=self.get(f"{name}.weight"), bias=self.get(f"{name}.bias"), eps=1e-5)

    def forward(self, x):
        for i in (1, 2, 3):
            x = F.relu(self.norm(self.conv(x, f"conv{i}", 1 if i == 1 else 2), f"in{i}"))
        for i in range(1, self.blocks + 1):
            y = F.relu(self.norm(self.conv(x, f"res{i}.conv1"), f"res{i}.in1"))
            x = x + self.norm(self.conv(y, f"res{i}.conv2"), f"res{i}.in2")
        for i in (1, 2):
            x = F.relu(self.norm(self.conv(x, f"deconv{i}", up=True), f"in{i + 3}"))
        return self.conv(x, "deconv3")


def measure(run, device, repeat):
    """Seconds of each of `repeat` runs, after warming up."""
    if device == "cpu":
        run()
        times = []
        for _ in range(repeat):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        return times
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    times = []
    for _ in range(repeat):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) * 1e-3)
    return times


def row(shape, dtype, variant, times):
    times = sorted(times)
    at = lambda share: times[round((len(times) - 1) * share)]
    return {"kernel": "style", "shape": shape, "dtype": dtype, "variant": variant, "samples": len(times),
            "median_s": statistics.median(times), "p10_s": at(0.1), "p90_s": at(0.9)}


def rows_of_size(weights, device, batch, height, width, modes, repeat, compiled):
    shape = f"{batch}x{height}x{width}"
    x = torch.rand(batch, 3, height, width, device=device) * 255
    for mode in modes:
        half, last = mode.startswith("f16"), mode.endswith("channels-last")
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = mode == "tf32"
        order = torch.channels_last if last else torch.contiguous_format
        net, input_ = Net(weights).to(device).eval(), x
        if half:
            net, input_ = net.half(), x.half()
        net = net.to(memory_format=order)
        for name, buffer in net.named_buffers():
            if buffer.dim() == 4:
                buffer.data = buffer.data.contiguous(memory_format=order)
        input_ = input_.contiguous(memory_format=order)
        dtype = {"f32": "f32", "tf32": "tf32"}.get(mode, "f16")
        variant = "eager" + (" channels-last" if last else "")
        with torch.inference_mode():
            if compiled:
                net = torch.compile(net, mode="max-autotune", dynamic=False)
                yield row(shape, dtype, "max-autotune" + (" channels-last" if last else ""),
                          measure(lambda: net(input_), device, repeat))
                continue
            yield row(shape, dtype, variant, measure(lambda: net(input_), device, repeat))
            if device == "cuda" and batch * height * width <= 8 * 512 * 512:
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph):
                    net(input_)
                yield row(shape, dtype, f"{variant}, graph", measure(graph.replay, device, repeat))
                del graph
        del net
        if device == "cuda":
            torch.cuda.empty_cache()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True, help="a .safetensors file with the usual names")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--sizes", default="256x256,512x512,1080x1920,2160x3840", help="HEIGHTxWIDTH, by commas")
    parser.add_argument("--batch", default="1", help="pictures at once, by commas")
    parser.add_argument("--modes", default=",".join(MODES), help=f"of {', '.join(MODES)}")
    parser.add_argument("--compile", action="store_true", help="f16 channels-last through torch.compile only")
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--workers", type=int, default=0, help="threads on the CPU")
    parser.add_argument("--json", action="store_true", help="print the record instead of the table")
    options = parser.parse_args()
    if options.workers:
        torch.set_num_threads(options.workers)
    sizes = [tuple(map(int, size.split("x"))) for size in options.sizes.split(",")]
    cells = [(int(batch), *size) for size in sizes for batch in options.batch.split(",")]
    modes = ["f16-channels-last"] if options.compile else options.modes.split(",")
    if unknown := set(modes) - set(MODES):
        parser.error(f"no mode {', '.join(sorted(unknown))}; there are {', '.join(MODES)}")
    rows = []
    for batch, height, width in cells:
        if options.compile and len(cells) > 1:
            command = [sys.executable, __file__, "--weights", options.weights, "--compile", "--json", "--device",
                       options.device, "--sizes", f"{height}x{width}", "--batch", str(batch), "--repeat",
                       str(options.repeat)]
            rows += json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["rows"]
            continue
        weights = load(options.weights)
        try:
            for new in rows_of_size(weights, options.device, batch, height, width, modes, options.repeat,
                                    options.compile):
                rows.append(new)
        except RuntimeError as error:  # out of memory, or more elements than its kernels count
            print(f"PyTorch cannot do {batch}x{height}x{width}: {error}", file=sys.stderr)
    name = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    record = {"peer": "torch", "version": torch.__version__, "device_name": name, "rows": rows}
    if options.json:
        print(json.dumps(record))
        return
    print(f"PyTorch {torch.__version__}, {name}")
    for r in rows:
        print(f"{r['shape']:>14} {r['dtype']:5} {r['variant']:28} {r['median_s'] * 1e3:9.3f} ms"
              f"  ({r['p10_s'] * 1e3:.3f} to {r['p90_s'] * 1e3:.3f})")


if __name__ == "__main__":
    main()
