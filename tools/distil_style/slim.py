"""A narrower TransformerNet cut out of a wide one.

For each activation the channels are chosen greedily so that the kept ones predict the others best
(in the eyes of the layer that reads them), and the reading layer takes over the prediction: with
a ~ M a[S] + constant, its weights become W M. The constants vanish in the next instance norm,
since padding is by reflection; only the last layer has none and gets them in its bias.
"""

import torch
import torch.nn.functional as F

from nets import TransformerNet


class _Moments:
    def __init__(self):
        self.n, self.sum, self.outer = 0, 0, 0

    def add(self, x):
        x = x.double().permute(1, 0, 2, 3).flatten(1)
        self.n += x.shape[1]
        self.sum = self.sum + x.sum(1)
        self.outer = self.outer + x @ x.T

    def mean(self):
        return self.sum / self.n

    def cov(self):
        m = self.mean()
        c = self.outer / self.n - torch.outer(m, m)
        return c + 1e-6 * c.diagonal().mean() * torch.eye(len(m), dtype=c.dtype, device=c.device)


def _choose(parts, count):
    """`parts`: (covariance, reader's Gram matrix) of every place that uses the same channels."""
    rest = [(c.clone(), g / (c * g).sum()) for c, g in parts]
    kept = []
    for _ in range(count):
        gain = sum(((r @ g) * r.T).sum(1) / r.diagonal().clamp_min(1e-12) for r, g in rest)
        gain[kept] = -1
        j = int(gain.argmax())
        kept.append(j)
        rest = [(r - torch.outer(r[:, j], r[j]) / r[j, j].clamp_min(1e-12), g) for r, g in rest]
    return sorted(kept)


def _spread(cov, kept):
    """M [all, kept]: every channel predicted from the kept ones."""
    k = cov[kept][:, kept]
    ridge = 1e-3 * k.diagonal().mean() * torch.eye(len(kept), dtype=k.dtype, device=k.device)
    m = torch.linalg.solve(k + ridge, cov[kept]).T
    m[kept] = torch.eye(len(kept), dtype=m.dtype, device=m.device)
    return m


@torch.no_grad()
def slim(teacher, nc, images):
    """(student, {activation: M}) with M for the activations relu3, res1.., relu4."""
    blocks = teacher.blocks
    streams = ["relu3"] + [f"res{i}" for i in range(1, blocks + 1)]
    stats = {}
    for x in images.split(8):
        _, f = teacher(x, ("relu1", "relu2", "relu4", "relu5", *streams))
        for i in range(1, blocks + 1):
            f[f"inner{i}"] = getattr(teacher, f"res{i}").inner(f[streams[i - 1]])
        for k, v in f.items():
            stats.setdefault(k, _Moments()).add(v)

    readers = {"relu1": "conv2", "relu2": "conv3", "relu4": "deconv2", "relu5": "deconv3", streams[-1]: "deconv1"}
    for i in range(1, blocks + 1):
        readers[streams[i - 1]] = f"res{i}.conv1"
        readers[f"inner{i}"] = f"res{i}.conv2"
    source = teacher.state_dict()
    weight = {k: source[f"{v}.conv2d.weight"].double() for k, v in readers.items()}
    cov = {k: s.cov() for k, s in stats.items()}
    gram = {k: torch.einsum("oiuv,ojuv->ij", w, w) for k, w in weight.items()}

    keep = {}
    for k, n in [("relu1", nc), ("relu2", 2 * nc), ("relu4", 2 * nc), ("relu5", nc)] + [(f"inner{i}", 4 * nc) for i in range(1, blocks + 1)]:
        keep[k] = _choose([(cov[k], gram[k])], n)
    stream = _choose([(cov[k], gram[k]) for k in streams], 4 * nc)
    for k in streams:
        keep[k] = stream
    spread = {k: _spread(cov[k], keep[k]) for k in keep}

    student = TransformerNet(nc, blocks).to(images.device)
    state = student.state_dict()
    # (convolution, norm, what it reads, what it writes)
    plan = [("conv1", "in1", None, "relu1"), ("conv2", "in2", "relu1", "relu2"), ("conv3", "in3", "relu2", "relu3")]
    for i in range(1, blocks + 1):
        plan.append((f"res{i}.conv1", f"res{i}.in1", streams[i - 1], f"inner{i}"))
        plan.append((f"res{i}.conv2", f"res{i}.in2", f"inner{i}", streams[i]))
    plan += [("deconv1", "in4", streams[-1], "relu4"), ("deconv2", "in5", "relu4", "relu5"), ("deconv3", None, "relu5", None)]
    for name, norm, reads, writes in plan:
        w, b = source[f"{name}.conv2d.weight"].double(), source[f"{name}.conv2d.bias"].double()
        if reads:
            m, mean = spread[reads], stats[reads].mean()
            b = b + w.sum((2, 3)) @ (mean - m @ mean[keep[reads]])
            w = torch.einsum("oiuv,is->osuv", w, m)
        out = keep[writes] if writes else slice(None)
        state[f"{name}.conv2d.weight"].copy_(w[out])
        state[f"{name}.conv2d.bias"].copy_(b[out])
        if norm:
            for part in ("weight", "bias"):
                state[f"{norm}.{part}"].copy_(source[f"{norm}.{part}"][out])
    return student, {k: spread[k].float().contiguous() for k in [*streams, "relu4"]}
