#!/usr/bin/env python3
"""Johnson's TransformerNet in ONNX Runtime: the peer of `lockstep style bench` on the CPU.

    python3 style_onnx.py --weights candy.safetensors --sizes 256x256,512x512 --workers 2 --json

The graph is the network as its authors export it (Resize, reflecting Pad, Conv, InstanceNormalization), opset 13,
in f32, with all graph optimisations of the runtime.
"""

import argparse
import json
import os
import resource
import statistics
import time

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file


class Builder:
    """Nodes and constants of a graph."""

    def __init__(self, weights):
        self.weights, self.nodes, self.constants = weights, [], []

    def constant(self, value, name):
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, op, inputs, **attributes):
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def conv(self, x, name, stride=1, up=False):
        weight = self.weights[f"{name}.conv2d.weight"]
        k, p = weight.shape[-1], weight.shape[-1] // 2
        if up:
            scale = self.constant(np.array([1, 1, 2, 2], np.float32), f"{name}.scale")
            x = self.node("Resize", [x, "", scale], mode="nearest", coordinate_transformation_mode="asymmetric",
                          nearest_mode="floor")
        pads = self.constant(np.array([0, 0, p, p, 0, 0, p, p], np.int64), f"{name}.pads")
        x = self.node("Pad", [x, pads], mode="reflect")
        bias = self.constant(self.weights[f"{name}.conv2d.bias"], f"{name}.bias")
        return self.node("Conv", [x, self.constant(weight, f"{name}.weight"), bias], kernel_shape=[k, k],
                         strides=[stride, stride])

    def norm(self, x, name):
        gamma = self.constant(self.weights[f"{name}.weight"], f"{name}.gamma")
        beta = self.constant(self.weights[f"{name}.bias"], f"{name}.beta")
        return self.node("InstanceNormalization", [x, gamma, beta], epsilon=1e-5)

    def relu(self, x):
        return self.node("Relu", [x])


def model(weights, batch, height, width):
    blocks = len({name.split(".")[0] for name in weights if name.startswith("res")})
    b, x = Builder(weights), "input"
    for i in (1, 2, 3):
        x = b.relu(b.norm(b.conv(x, f"conv{i}", 1 if i == 1 else 2), f"in{i}"))
    for r in range(1, blocks + 1):
        y = b.relu(b.norm(b.conv(x, f"res{r}.conv1"), f"res{r}.in1"))
        x = b.node("Add", [b.norm(b.conv(y, f"res{r}.conv2"), f"res{r}.in2"), x])
    for i in (1, 2):
        x = b.relu(b.norm(b.conv(x, f"deconv{i}", up=True), f"in{i + 3}"))
    x = b.conv(x, "deconv3")
    value = lambda name, h, w: helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 3, h, w])
    up4 = lambda n: -(-n // 4) * 4
    graph = helper.make_graph(b.nodes, "style", [value("input", height, width)],
                              [value(x, up4(height), up4(width))], b.constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(made)
    return made.SerializeToString()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True, help="a .safetensors file with the usual names")
    parser.add_argument("--sizes", default="256x256,512x512", help="HEIGHTxWIDTH, by commas")
    parser.add_argument("--batch", default="1", help="pictures at once, by commas")
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="threads")
    parser.add_argument("--json", action="store_true", help="print the record instead of the table")
    options = parser.parse_args()
    weights = {name: value.astype(np.float32) for name, value in load_file(options.weights).items()}
    rows = []
    for size in options.sizes.split(","):
        height, width = map(int, size.split("x"))
        for batch in map(int, options.batch.split(",")):
            settings = onnxruntime.SessionOptions()
            settings.intra_op_num_threads, settings.inter_op_num_threads = options.workers, 1
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            session = onnxruntime.InferenceSession(model(weights, batch, height, width), settings,
                                                   providers=["CPUExecutionProvider"])
            x = np.random.default_rng(7).integers(0, 256, (batch, 3, height, width)).astype(np.float32)
            times = []
            for i in range(options.repeat + 2):
                start = time.perf_counter()
                session.run(None, {"input": x})
                if i >= 2:
                    times.append(time.perf_counter() - start)
            times.sort()
            at = lambda share: times[round((len(times) - 1) * share)]
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
            rows.append({"kernel": "style", "shape": f"{batch}x{height}x{width}", "dtype": "f32", "variant": "",
                         "samples": len(times), "median_s": statistics.median(times), "p10_s": at(0.1),
                         "p90_s": at(0.9), "min_s": times[0], "peak_bytes": grown})
    record = {"peer": "onnxruntime", "version": onnxruntime.__version__, "workers": options.workers, "rows": rows}
    if options.json:
        print(json.dumps(record))
        return
    print(f"ONNX Runtime {onnxruntime.__version__}, {options.workers} threads")
    for r in rows:
        print(f"{r['shape']:>14} {r['median_s'] * 1e3:9.1f} ms, best {r['min_s'] * 1e3:.1f} ms, "
              f"peak {r['peak_bytes'] / 2**20:.0f} MiB more")


if __name__ == "__main__":
    main()
