"""Reading and writing `.safetensors` as `lockstep style convert` does."""

import json
import os
import struct

import torch

_READ = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def load(path, exact=False):
    """(tensors, metadata); the tensors in f32, or as stored when `exact`."""
    with open(path, "rb") as f:
        data = f.read()
    n = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + n])
    meta = header.pop("__metadata__", {})
    body = bytearray(data[8 + n :])
    out = {}
    for name, e in header.items():
        a, b = e["data_offsets"]
        t = torch.frombuffer(body[a:b], dtype=_READ[e["dtype"]]).reshape(e["shape"])
        out[name] = t.clone() if exact else t.float()
    return out, meta


def save(path, tensors, metadata, half=lambda name, t: False):
    """Writes `path` whole or not at all; `half` says which tensors are stored in f16."""
    header = {"__metadata__": {k: str(v) for k, v in sorted(metadata.items())}}
    body = bytearray()
    # Wide elements first, so that every tensor is aligned to its element.
    for name, t in sorted(tensors.items(), key=lambda e: (half(*e), e[0])):
        t = t.detach().cpu().contiguous()
        if half(name, t):
            t, kind = t.to(torch.float16), "F16"
        else:
            t = t if t.dtype == torch.float64 else t.float()
            kind = "F64" if t.dtype == torch.float64 else "F32"
        if not torch.isfinite(t).all():
            raise ValueError(f"{name}: not a finite number; {path} is left as it was")
        start = len(body)
        body += t.numpy().tobytes()
        header[name] = {"dtype": kind, "shape": list(t.shape), "data_offsets": [start, len(body)]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    write_whole(path, struct.pack("<Q", len(text)) + text + bytes(body))
    return 8 + len(text) + len(body)


def write_whole(path, data):
    """Replaces a file in one step."""
    temporary = f"{path}.part"
    with open(temporary, "wb") as f:
        f.write(data)
    os.replace(temporary, path)


def is_convolution(name, t):
    """What a TransformerNet file keeps in f16: its convolution weights."""
    return t.ndim == 4


def is_matrix(name, t):
    """What a StyleViT file keeps in f16: every matrix and convolution weight."""
    return t.ndim >= 2
