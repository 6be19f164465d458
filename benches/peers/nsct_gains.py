"""Frequency gains of the nonsubsampled contourlet transform, in numpy float64.

The spectral engine multiplies by real gains: the pyramid in the 2-D DCT-II domain (its boundary is
the half-sample mirror), the directional trees in the 2-D DFT domain (their boundary is periodic).
Both peers (`nsct_numpy.py`, `nsct_torch.py`) take their gains from here and cast them once, so a
difference between them is never a difference of filters.
"""

import re
from functools import lru_cache
from math import comb, sqrt

import numpy as np

R = sqrt(2.0)

# One-dimensional prototypes, power basis, constant term first.
HX = [R / 2, 0.5, (1 - R) / 2]
GX = [R / 2, (4 - 2 * R) / 2, (1 - R) / 2, (2 * R - 3) / 2]
H97 = [0.81289306611596057, 0.63491294754299954, -0.7408731846889216, -0.13491294754299932, 0.42798011857296114]
G97 = [0.61508705245700068, 0.86508705245700068, -0.11508705245700057, -0.36508705245700063]
HCD = [0.81289306611599998, 0.63491294754400007, -0.74087318469199992, -0.13491294754399999, 0.42798011857599999]
GCD = [0.61508705245700002, 0.86508705245599993, -0.115087052456, -0.36508705245599998]
L0 = [0.5, 0.5]
L1 = [1.0, -0.5, -0.5]

LADDER = {
    "pkva6": [0.6261, -0.1794, 0.0688],
    "pkva8": [0.6302, -0.1924, 0.0930, -0.0403],
    "pkva12": [0.6300, -0.1930, 0.0972, -0.0526, 0.0272, -0.0144],
}
LADDER["pkva"] = LADDER["pkva12"]

PYRAMID_P = {  # centre tap and the taps at 1, 2, ... of the half-band low-pass
    "maxflat": [16 / 32, 9 / 32, 0.0, -1 / 32],
    "pyr": [0.5, 0.25],
    "pyrexc": [0.5, 0.25],
    "9-7": [0.5, 0.25],
}


def alt(p):
    """p(-x)."""
    return [c * (-1) ** i for i, c in enumerate(p)]


def scaled(p, f):
    return [c * f for c in p]


def horner(p, x):
    y = np.full_like(x, p[-1])
    for c in reversed(p[:-1]):
        y *= x
        y += c
    return y


def pyramid_polynomials(family):
    """(h0, h1, g0, g1) in the pyramid mapping."""
    if family in ("maxflat", "pyr"):
        return HX, alt(GX), GX, alt(HX)
    if family == "pyrexc":
        return HX, alt(HX), GX, alt(GX)
    if family == "9-7":
        return H97, alt(G97), G97, alt(H97)
    raise ValueError(f"unknown pyramid family {family!r}; use one of {', '.join(PYRAMID_P)}")


def diamond_taps(n):
    """Maximally flat diamond mapping F_N as {(n1, n2): value}."""
    s, c = np.array([-0.25, 0.5, -0.25]), np.array([0.25, 0.5, 0.25])
    basis = []
    for i in range(n + 1):
        taps = np.array([float(comb(n, i))])
        for factor in [s] * i + [c] * (n - i):
            taps = np.convolve(taps, factor)
        basis.append(taps)
    d = np.zeros((2 * n + 1, 2 * n + 1))
    for i in range(n + 1):
        for j in range(n - i, n + 1):
            d += (0.5 if i + j == n else 1.0) * np.outer(basis[i], basis[j])
    f = -2.0 * d
    f[n, n] += 1.0
    # Offsets with n1 + n2 even are zero in exact arithmetic: leave their rounding out.
    return {(a - n, b - n): f[a, b] for a in range(2 * n + 1) for b in range(2 * n + 1) if (a + b) % 2}


def ladder_taps(half):
    """Ladder mapping B from the half filter b_1, b_3, ... as {(n1, n2): value}."""
    b = {}
    for i, v in enumerate(half):
        b[2 * i + 1] = b[-2 * i - 1] = v
    return {((u - v) // 2, (u + v) // 2): b[u] * b[v] for u in b for v in b}


@lru_cache(maxsize=None)
def directional_family(name):
    """Base mapping taps and the polynomials (p0, p1, q0, q1)."""
    if name in LADDER:
        return ladder_taps(LADDER[name]), (L0, L1, alt(L1), alt(L0))
    if name in ("cd", "7-9"):
        return diamond_taps(1), (HCD, alt(GCD), GCD, alt(HCD))
    if name == "vk":
        return diamond_taps(1), (scaled(L0, 1 / R), scaled(L1, R), scaled(alt(L1), R), scaled(alt(L0), 1 / R))
    if name == "dmaxflat6-toolbox":
        # The toolbox's order-6 table has a slip at (0, +-5) and normalises its prototypes by their DC.
        taps = diamond_taps(6)
        for key in ((0, 5), (0, -5)):
            taps[key] -= 400 / 2**20
        dc = sum(taps.values())
        h = scaled(HX, 1 / sum(c * dc**i for i, c in enumerate(HX)))
        g = scaled(GX, 1 / sum(c * dc**i for i, c in enumerate(GX)))
        return taps, (h, alt(g), g, alt(h))
    match = re.fullmatch(r"dmaxflat([1-9][0-9]?)", name)
    if match:
        return diamond_taps(int(match[1])), (HX, alt(GX), GX, alt(HX))
    raise ValueError(f"unknown directional family {name!r}; use dmaxflatN, {', '.join(LADDER)}, cd or vk")


def node_taps(base, depth, node, geometry):
    """Taps of the mapping of node `node` (1-based) at depth `depth`: base taps moved and signed."""
    out = []
    for (n1, n2), v in base.items():
        if depth == 1:
            dr, dc, sigma = n1, n2, n2
        elif depth == 2:
            dr, dc, sigma = n1 + n2, n2 - n1, n2
        else:
            half = q = 2 ** (depth - 2)
            first = node <= half
            kk = node if first else node - half
            s = 2 * ((kk - 1) // 2) - 2 ** (depth - 3) + 1
            sigma, t = (n2, n1 + n2) if kk % 2 == 0 else (n1, n1 - n2)
            if geometry == "wedge" and depth >= 4:
                a, b = q * t, 2 * s * t + 2 * n2
            else:
                a, b = 2 * t - 2 * s * n2, q * n2
            dr, dc = (a, b) if first else (b, a)
        out.append((dr, dc, -v if sigma % 2 else v))
    return out


def node_response(taps, h, w):
    """sum v cos(dr w_r + dc w_c) on the half spectrum [h, w // 2 + 1], as two matrix products."""
    dr, dc, v = (np.array(a) for a in zip(*taps))
    # The phase is reduced in integers, so long offsets lose no digits.
    pr = 2 * np.pi / h * ((np.arange(h)[:, None] * dr) % h)
    pc = 2 * np.pi / w * ((dc[:, None] * np.arange(w // 2 + 1)) % w)
    return (np.cos(pr) * v) @ np.cos(pc) - (np.sin(pr) * v) @ np.sin(pc)


def tree_gains(h, w, depth, family, geometry, synthesis):
    """Gains [2^depth, h, w // 2 + 1] of the planes of a directional tree: products along the paths."""
    base, polys = directional_family(family)
    p0, p1 = polys[2:] if synthesis else polys[:2]
    gains = [np.ones((h, w // 2 + 1))]
    for level in range(1, depth + 1):
        children = []
        for k, parent in enumerate(gains, start=1):
            if level == 1 or k == 1 or level > 2:  # both nodes of depth 2 have the same mapping
                mapping = node_response(node_taps(base, level, k, geometry), h, w)
            children += [parent * horner(p0, mapping), parent * horner(p1, mapping)]
        gains = children
    return np.stack(gains)


def pyramid_gains(h, w, steps, family, synthesis):
    """Gains [steps + 1, h, w] in the DCT-II domain: low plane, then the scales from coarse to fine."""
    h0, h1, g0, g1 = pyramid_polynomials(family)
    low, high = (g0, g1) if synthesis else (h0, h1)
    p = PYRAMID_P[family]

    def lowpass(n, dilation):
        y = np.full(n, p[0])
        for k, tap in enumerate(p[1:], start=1):
            y += 2 * tap * np.cos(np.pi / n * ((np.arange(n) * (k * dilation)) % (2 * n)))
        return y

    path, highs = np.ones((h, w)), []
    for i in range(steps):  # finest scale first
        mapping = 2 * np.outer(lowpass(h, 2**i), lowpass(w, 2**i)) - 1
        highs.append(path * horner(high, mapping))
        path = path * horner(low, mapping)
    return np.stack([path] + highs[::-1])


class Gains:
    """All gains of one transform. Trees of equal depth share one array: they do not depend on the scale."""

    def __init__(self, h, w, levels, dfilt="dmaxflat7", pfilt="maxflat", geometry="wedge"):
        if geometry not in ("toolbox", "wedge"):
            raise ValueError(f"unknown geometry {geometry!r}; use toolbox or wedge")
        if any(not 0 <= n <= 8 for n in levels):
            raise ValueError(f"levels {levels} out of range; every level must be 0..8")
        self.h, self.w, self.levels = h, w, list(levels)
        steps = len(self.levels)
        self.pyramid = [pyramid_gains(h, w, steps, pfilt, synthesis) for synthesis in (False, True)]
        self.trees = [
            {n: tree_gains(h, w, n, dfilt, geometry, synthesis) for n in sorted(set(self.levels)) if n}
            for synthesis in (False, True)
        ]

    @property
    def planes(self):
        """Number of output planes S."""
        return 1 + sum(2**n if n else 1 for n in self.levels)

    def scales(self):
        """(first plane, number of planes, depth) of each scale, coarse to fine."""
        at, out = 1, []
        for n in self.levels:
            count = 2**n if n else 1
            out.append((at, count, n))
            at += count
        return out
