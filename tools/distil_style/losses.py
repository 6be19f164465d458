"""What the student is pulled towards."""

import torch
import torch.nn.functional as F


def soft_clamp(y):
    """Clamp to 0..255 with a small slope outside, so that a pixel out of range can come back."""
    c = y.clamp(0, 255)
    return c + 0.05 * (y - c)


def ssim(a, b):
    """Mean structural similarity, uniform 7 x 7 windows, range 255."""

    # Around the middle grey the squares stay small enough for f32 differences.
    a, b = a - 128, b - 128
    # Rows, then columns: 14 reads a value in place of 49.
    means = F.avg_pool2d(F.avg_pool2d(torch.cat([a, b, a * a, b * b, a * b], 1), (7, 1), 1), (1, 7), 1)
    ma, mb, aa, bb, ab = means.chunk(5, 1)
    va, vb, cov = aa - ma * ma, bb - mb * mb, ab - ma * mb
    ma, mb = ma + 128, mb + 128
    n = 49 / 48
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return (((2 * ma * mb + c1) * (2 * n * cov + c2)) / ((ma**2 + mb**2 + c1) * (n * (va + vb) + c2))).mean()


def pixel_loss(out, target):
    """L1 + 0.5 (1 - SSIM) at full and at half size; `target` is already clamped."""
    out = soft_clamp(out.float())
    total = 0
    for scale in (1, 2):
        if scale == 2:
            out, target = F.avg_pool2d(out, 2), F.avg_pool2d(target, 2)
        total = total + (out - target).abs().mean() / 255 + 0.5 * (1 - ssim(out, target))
    return total


FEATURES = ("relu3", "res3", "res5")


def feature_loss(teacher, out, target):
    """L1 between the teacher's activations of both pictures, over the target's mean size."""
    n = out.shape[0]
    both = torch.cat([soft_clamp(out.float()), target])
    feats, _ = teacher.encode(both, FEATURES)
    total = 0
    for f in feats.values():
        a, b = f[:n].float(), f[n:].detach().float()
        total = total + (a - b).abs().mean() / b.abs().mean().clamp_min(1e-3)
    return total / len(FEATURES)
