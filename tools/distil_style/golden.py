"""Writes small random StyleViT networks with inputs and every activation, all in f64.

    python golden.py OUT_DIR

Each file holds the weights under `weights/` (matrices in f16, as in real files) and per case
`<case>/{input,position,global1,attn1,block1,...,conv1,output}`: `position` is the tokens with their
position added, `global` the normalised mean token, `attn` the result of the output projection
before it is added, `conv1` the top-left 8 x 8 corner after the ReLU, `output` cut to the input's
size. Inputs and weights are exact in f32, so that a reader in f32 starts from the same numbers.
"""

import os
import sys

import torch
import torch.nn.functional as F

import weights_io
from nets import StyleVit, conv, mirror_to_multiple, reflect_pad


@torch.no_grad()
def trace(net, x, case):
    out = {}
    hooks = []

    def keep(name, pick=lambda args, result: result):
        def hook(_, args, result):
            out[name] = pick(args, result)

        return hook

    for i, block in net.blocks.items():
        hooks.append(block.attn.register_forward_hook(keep(f"attn{i}")))
        hooks.append(block.attn.register_forward_hook(keep(f"global{i}", lambda args, _: args[1])))
    hooks.append(net.decode.linear.register_forward_hook(keep("linear")))
    y, feats = net(x, None, ("position", *(f"block{i}" for i in net.blocks)))
    for h in hooks:
        h.remove()
    out.update(feats)
    # The decoder once more, in the open.
    u = mirror_to_multiple((x - 128) / 64, 8 * net.window)
    linear = out.pop("linear")
    b, rows, cols, _ = linear.shape
    z = linear.reshape(b, rows, cols, 8, 8, 16).permute(0, 5, 1, 3, 2, 4).reshape(b, 16, rows * 8, cols * 8)
    z = torch.cat([z, u], 1)
    d = net.decode
    z = F.relu(conv(reflect_pad(z, 1), d.conv1.weight, d.conv1.bias))
    again = 128 + 64 * conv(reflect_pad(z, 1), d.conv2.weight, d.conv2.bias)
    assert (again[:, :, : x.shape[2], : x.shape[3]] - y).abs().max() < 1e-9
    out.update(input=x, output=y, conv1=z[:, :, :8, :8].contiguous())
    return {f"{case}/{k}": v.contiguous() for k, v in out.items()}


def write(path, dim, heads, blocks, hidden, window, cases, seed):
    g = torch.Generator().manual_seed(seed)
    net = StyleVit(dim, heads, blocks, hidden, window).reset(g)
    with torch.no_grad():
        for p in net.parameters():
            if p.ndim == 1:
                p.add_(torch.randn(p.shape, generator=g) * 0.1)
            else:
                p.copy_(p.half())
    net = net.double()
    tensors = {f"weights/{k}": v for k, v in net.state_dict().items()}
    weights = set(tensors)
    for case, (h, w) in cases.items():
        # Smooth pictures, as photographs are, with a little noise.
        low = torch.rand(1, 3, 4, 4, generator=g)
        x = F.interpolate(low, (h, w), mode="bilinear", align_corners=True) * 255
        x = (x + torch.randn(1, 3, h, w, generator=g) * 12).clamp(0, 255).round().double()
        tensors.update(trace(net, x, case))
    meta = {"arch": "stylevit-s", "patch": 8, "dim": dim, "heads": heads, "blocks": blocks, "hidden": hidden, "window": window}
    meta.update(license="MIT OR Apache-2.0", origin="random weights, tools/distil_style/golden.py")
    tensors = {k: (v.float() if k in weights or k.endswith("/input") else v) for k, v in tensors.items()}
    size = weights_io.save(path, tensors, meta, lambda name, t: name in weights and t.ndim > 1)
    print(path, size)


def main():
    out = sys.argv[1]
    os.makedirs(out, exist_ok=True)
    torch.set_num_threads(2)
    # Windows of 4 tokens: 32 pixels. 35 x 38 becomes 64 x 64: four windows, nine shifted ones, padding.
    write(os.path.join(out, "vit_small.safetensors"), 32, 2, 2, 64, 4, {"n35x38": (35, 38)}, 5)
    # Four blocks; a side shorter than its padding, a side of one pixel, and three windows in a row.
    write(os.path.join(out, "vit_tiny.safetensors"), 16, 1, 4, 32, 2, {"n5x7": (5, 7), "n1x20": (1, 20), "n16x48": (16, 48)}, 6)


if __name__ == "__main__":
    main()
