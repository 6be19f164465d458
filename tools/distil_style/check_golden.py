"""Recomputes the files of golden.py from FORMAT.md, token by token, in f64 NumPy. Slow and plain.

    python check_golden.py FILE...
"""

import math
import sys

import numpy as np

import weights_io


def mirror(n, multiple):
    m = -(-n // multiple) * multiple
    if n == 1:
        return [0] * m
    return [k if k < n else 2 * n - 2 - k for k in (i % (2 * n - 2) for i in range(m))]


def layer_norm(v, w, b):
    c = v - v.mean(-1, keepdims=True)
    return c / np.sqrt((c * c).mean(-1, keepdims=True) + 1e-5) * w + b


def conv3(z, w, b):
    rows, cols = z.shape[1:]
    p = np.pad(z, ((0, 0), (1, 1), (1, 1)), mode="reflect")
    return b[:, None, None] + sum(np.tensordot(w[:, :, y, x], p[:, y : y + rows, x : x + cols], 1) for y in range(3) for x in range(3))


def forward(p, meta, x):
    dim, heads, blocks, win = (int(meta[k]) for k in ("dim", "heads", "blocks", "window"))
    out, d, n = {}, dim // heads, dim // 4
    u = ((x - 128) / 64)[:, mirror(x.shape[1], 8 * win)][:, :, mirror(x.shape[2], 8 * win)]
    rows, cols = u.shape[1] // 8, u.shape[2] // 8
    omega = [8 * math.pi * 128 ** (-k / (n - 1)) for k in range(n)]
    t = np.zeros((rows, cols, dim))
    for r in range(rows):
        for c in range(cols):
            t[r, c] = p["embed.bias"] + np.tensordot(p["embed.weight"], u[:, 8 * r : 8 * r + 8, 8 * c : 8 * c + 8], 3)
            a, b = (r + 0.5) * 8 / 64, (c + 0.5) * 8 / 64
            t[r, c] += [f(w * q) for q in (a, b) for f in (math.sin, math.cos) for w in omega]
    out["position"] = t.copy()
    for i in range(1, blocks + 1):
        w = {k.removeprefix(f"blocks.{i}."): v for k, v in p.items() if k.startswith(f"blocks.{i}.")}
        qw, qb = w["attn.qkv.weight"], w["attn.qkv.bias"]
        g = layer_norm(t.mean((0, 1)), w["norm1.weight"], w["norm1.bias"])
        out[f"global{i}"] = g
        qkv, glob = layer_norm(t, w["norm1.weight"], w["norm1.bias"]) @ qw.T + qb, qw @ g + qb
        shift = 0 if i % 2 else win // 2
        cell = lambda r, c: ((r + shift) // win, (c + shift) // win)
        o = np.zeros_like(t)
        for r in range(rows):
            for c in range(cols):
                near = [qkv[y, z] for y in range(rows) for z in range(cols) if cell(y, z) == cell(r, c)] + [glob]
                for j in range(heads):
                    at = slice(j * d, (j + 1) * d)
                    logits = np.array([qkv[r, c][:dim][at] @ k[dim : 2 * dim][at] for k in near]) / math.sqrt(d)
                    e = np.exp(logits - logits.max())
                    o[r, c, at] = e / e.sum() @ np.array([k[2 * dim :][at] for k in near])
        o = o @ w["attn.out.weight"].T + w["attn.out.bias"]
        out[f"attn{i}"] = o
        t = t + o
        z = layer_norm(t, w["norm2.weight"], w["norm2.bias"]) @ w["ffn.fc1.weight"].T + w["ffn.fc1.bias"]
        z = z / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))
        t = t + z @ w["ffn.fc2.weight"].T + w["ffn.fc2.bias"]
        out[f"block{i}"] = t.copy()
    s = layer_norm(t, p["decode.norm.weight"], p["decode.norm.bias"]) @ p["decode.linear.weight"].T + p["decode.linear.bias"]
    z = np.zeros((16, 8 * rows, 8 * cols))
    for r in range(rows):
        for c in range(cols):
            for dy in range(8):
                for dx in range(8):
                    z[:, 8 * r + dy, 8 * c + dx] = s[r, c, (dy * 8 + dx) * 16 : (dy * 8 + dx + 1) * 16]
    z = np.maximum(conv3(np.concatenate([z, u]), p["decode.conv1.weight"], p["decode.conv1.bias"]), 0)
    out["conv1"] = z[:, :8, :8]
    y = 128 + 64 * conv3(z, p["decode.conv2.weight"], p["decode.conv2.bias"])
    out["output"] = y[:, : x.shape[1], : x.shape[2]]
    return out


def main():
    worst = 0.0
    for path in sys.argv[1:]:
        tensors, meta = weights_io.load(path, exact=True)
        values = {k: v.double().numpy() for k, v in tensors.items()}
        p = {k.removeprefix("weights/"): v for k, v in values.items() if k.startswith("weights/")}
        for case in sorted({k.split("/")[0] for k in values} - {"weights"}):
            for name, v in forward(p, meta, values[f"{case}/input"][0]).items():
                error = float(np.abs(v - values[f"{case}/{name}"][0]).max())
                worst = max(worst, error)
                if error > 1e-9:
                    print(f"{path}: {case}/{name}: off by {error:.2e}")
    print(f"largest difference {worst:.2e}")
    return 1 if worst > 1e-9 else 0


if __name__ == "__main__":
    sys.exit(main())
