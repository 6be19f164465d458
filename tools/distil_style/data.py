"""Training pictures, made on the GPU: random crops of free photographs and procedural images.

The teacher labels any picture, so a crop needs no label and every crop is new.
"""

import math
import os

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont

# Every picture that may be used, by file stem: (weight in the draw, source, licence).
SOURCES = {
    "astronaut": (1.5, "scikit-image", "public domain (NASA)"),
    "china": (1.5, "scikit-learn", "CC BY 2.0 (danielbuechele, flickr.com/photos/danielbuechele/6061409035)"),
    "face": (2.0, "SciPy < 1.12", "public domain (raccoon-procyon-lotor.jpg, public-domain-image.com)"),
    "ascent": (0.6, "SciPy < 1.12", "public domain (accent-to-the-top.jpg, public-domain-image.com)"),
    "grace_hopper": (1.0, "matplotlib", "public domain (US Navy)"),
    "rocket": (1.2, "scikit-image", "public domain (SpaceX)"),
    "hubble_deep_field": (0.6, "scikit-image", "public domain (NASA)"),
    "retina": (0.4, "scikit-image", "CC0"),
    "ihc": (0.5, "scikit-image", "no known copyright restrictions"),
    "camera": (0.8, "scikit-image", "CC0 (Lav Varshney)"),
    "brick": (0.4, "scikit-image", "CC0 (CC0Textures)"),
    "grass": (0.4, "scikit-image", "CC0"),
    "gravel": (0.4, "scikit-image", "CC0 (CC0Textures)"),
    "coins": (0.4, "scikit-image", "no known copyright restrictions"),
    "cell": (0.2, "scikit-image", "CC0"),
}
# Never seen in training; the scores are taken on these.
HELD_OUT = {
    "chelsea": ("scikit-image", "CC0 (Stefan van der Walt)"),
    "coffee": ("scikit-image", "CC0 (Rachel Michetti)"),
    "flower": ("scikit-learn", "CC BY 2.0 (vultilion, flickr.com/photos/vultilion/6056698931)"),
}
_ENDINGS = (".png", ".jpg", ".jpeg", ".npy")


def _folders(photos):
    """The given folder first, then those of installed packages."""
    out = [photos] if photos else []
    for module, sub in (("skimage", "data"), ("sklearn", "datasets/images"), ("matplotlib", "mpl-data/sample_data")):
        try:
            import importlib.util

            spec = importlib.util.find_spec(module)
            out.append(os.path.join(os.path.dirname(spec.origin), sub))
        except Exception:
            continue
    return [f for f in out if os.path.isdir(f)]


def _read(path):
    if path.endswith(".npy"):
        a = np.load(path)
        return np.stack([a] * 3, 2) if a.ndim == 2 else a
    with Image.open(path) as im:
        return np.array(im.convert("RGB"))


def find(photos, names):
    """{stem: RGB u8 [H, W, 3]} of the first file of each name that opens; others are left out."""
    found = {}
    for folder in _folders(photos):
        for file in sorted(os.listdir(folder)):
            stem, end = os.path.splitext(file)
            stem = stem.removesuffix("_512")
            if stem in names and stem not in found and end.lower() in _ENDINGS:
                try:
                    a = _read(os.path.join(folder, file))
                    if a.dtype == np.uint8 and a.ndim == 3 and a.shape[2] == 3 and min(a.shape[:2]) >= 128:
                        found[stem] = a
                except Exception as e:
                    print(f"left out: {file}: {e}", flush=True)
    return found


def _text_sheet(rng, side=768):
    """Lines of random letters in random sizes and colours."""
    paper, ink = (tuple(int(v) for v in rng.integers(0, 256, 3)) for _ in range(2))
    im = Image.new("RGB", (side, side), paper)
    draw = ImageDraw.Draw(im)
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:!?&()"
    y = 0
    while y < side:
        size = int(rng.choice([10, 14, 18, 24, 36, 60, 110]))
        try:
            font = ImageFont.load_default(size)
        except Exception:
            font, size = ImageFont.load_default(), 12
        if rng.random() < 0.2:
            ink = tuple(int(v) for v in rng.integers(0, 256, 3))
        words = "".join(" " if rng.random() < 0.16 else letters[int(rng.integers(len(letters)))] for _ in range(side * 2 // size))
        draw.text((int(rng.integers(-20, 20)), y), words, fill=ink, font=font)
        y += int(size * rng.uniform(1.0, 1.6)) + 1
    return np.array(im)


class Source:
    """Random batches [B, 3, S, S], f32, 0..255, channels last."""

    def __init__(self, photos, device, seed):
        self.device = device
        self.gen = torch.Generator(device).manual_seed(seed)
        rng = np.random.default_rng(7)
        entries = [(n, a, SOURCES[n][0]) for n, a in sorted(find(photos, SOURCES).items())]
        self.names = [n for n, _, _ in entries]
        entries += [("text", _text_sheet(rng), 0.12) for _ in range(8)]
        flat, size, weight, start = [], [], [], 0
        for _, a, w in entries:
            level = Image.fromarray(a)
            share = 0.6
            while True:
                a = np.array(level)
                flat.append(torch.from_numpy(a.reshape(-1, 3)))
                size.append((start, a.shape[0], a.shape[1]))
                weight.append(w * share)
                start += a.shape[0] * a.shape[1]
                level = level.resize((level.width // 2, level.height // 2), Image.BOX)
                share /= 2
                # A crop of 256 may magnify by at most about three.
                if min(level.size) < 140:
                    break
        self.flat = torch.cat(flat).to(device)
        self.size = torch.tensor(size, device=device)
        # Drawn by a search in the running sum: nothing in a batch may make the host wait for the GPU.
        self.sum = (torch.tensor(weight).cumsum(0) / sum(weight)).to(device)
        self.luma = torch.tensor([0.299, 0.587, 0.114], device=device).view(1, 3, 1, 1)
        self.past, self.filled, self.at = None, 0, 0

    def rand(self, *shape, lo=0.0, hi=1.0):
        return torch.rand(*shape, device=self.device, generator=self.gen) * (hi - lo) + lo

    def randn(self, *shape):
        return torch.randn(*shape, device=self.device, generator=self.gen)

    def crops(self, n, side):
        """Crops of photographs at random scale, aspect and sometimes angle."""
        which = torch.searchsorted(self.sum, self.rand(n)).clamp(max=len(self.sum) - 1)
        off, h, w = (t.view(n, 1, 1) for t in self.size[which].unbind(1))
        hf, wf = h.float(), w.float()
        scale = torch.exp(self.rand(n, 1, 1, lo=math.log(0.33), hi=math.log(1.5)))
        scale = torch.where(self.rand(n, 1, 1) < 0.35, torch.ones_like(scale), scale)
        scale = torch.minimum(scale, torch.minimum(hf, wf) / (side * 1.08))
        aspect = torch.exp(self.rand(n, 1, 1, lo=-0.08, hi=0.08))
        angle = self.rand(n, 1, 1, lo=-0.4, hi=0.4) * (self.rand(n, 1, 1) < 0.3)
        sy, sx = scale * aspect, scale / aspect
        cy = self.rand(n, 1, 1) * (hf - sy * side).clamp_min(0) + sy * side / 2
        cx = self.rand(n, 1, 1) * (wf - sx * side).clamp_min(0) + sx * side / 2
        r = torch.arange(side, device=self.device, dtype=torch.float32) - side / 2 + 0.5
        v, u = r.view(1, side, 1), r.view(1, 1, side)
        u = torch.where(self.rand(n, 1, 1) < 0.5, u, -u)
        v = torch.where(self.rand(n, 1, 1) < 0.08, -v, v)
        y = cy - 0.5 + sy * (angle.cos() * v + angle.sin() * u)
        x = cx - 0.5 + sx * (angle.cos() * u - angle.sin() * v)
        y, x = y.abs(), x.abs()
        y = torch.where(y > hf - 1, 2 * (hf - 1) - y, y).clamp_min(0)
        x = torch.where(x > wf - 1, 2 * (wf - 1) - x, x).clamp_min(0)
        y0, x0 = y.floor(), x.floor()
        fy, fx = (y - y0)[..., None], (x - x0)[..., None]
        y0, x0 = y0.long().clamp(max=h - 1), x0.long().clamp(max=w - 1)
        y1, x1 = torch.minimum(y0 + 1, h - 1), torch.minimum(x0 + 1, w - 1)

        def at(yy, xx):
            return self.flat[off + yy * w + xx].float()

        top = at(y0, x0) * (1 - fx) + at(y0, x1) * fx
        low = at(y1, x0) * (1 - fx) + at(y1, x1) * fx
        return (top * (1 - fy) + low * fy).permute(0, 3, 1, 2)

    def defocus(self, x):
        """Blurs a part of some pictures: backgrounds out of focus are where a style invents most."""
        n, _, side, _ = x.shape
        small = F.pad(F.avg_pool2d(x, 4), (2, 2, 2, 2), mode="reflect")
        soft = F.interpolate(F.avg_pool2d(small, 5, 1), (side, side), mode="bilinear", align_corners=False)
        r = torch.arange(side, device=self.device, dtype=torch.float32) / side
        dy, dx = r.view(1, 1, side, 1) - self.rand(n, 1, 1, 1), r.view(1, 1, 1, side) - self.rand(n, 1, 1, 1)
        far = (dy * dy + dx * dx).sqrt() - self.rand(n, 1, 1, 1, lo=-0.3, hi=0.6)
        mask = torch.sigmoid(far * self.rand(n, 1, 1, 1, lo=8, hi=60)) * (self.rand(n, 1, 1, 1) < 0.3)
        return x + (soft - x) * mask

    def clouds(self, n, side):
        """Noise with a random power spectrum and partly common channels."""
        slope = self.rand(n, 1, 1, 1, lo=0.2, hi=1.6)
        own = self.rand(n, 1, 1, 1)
        out, res = 0, 2
        while res <= side:
            g = self.randn(n, 1, res, res) * (1 - own) + self.randn(n, 3, res, res) * own
            if res < side:
                g = F.interpolate(g, (side, side), mode="bilinear", align_corners=False)
            out = out + g * (res / 2.0) ** -slope
            res *= 2
        out = out / out.std((1, 2, 3), keepdim=True).clamp_min(1e-3)
        return self.rand(n, 3, 1, 1, lo=40, hi=215) + out * self.rand(n, 1, 1, 1, lo=8, hi=75)

    def ramps(self, n, side):
        """Gradients, stripes and checks between two colours."""
        r = torch.arange(side, device=self.device, dtype=torch.float32) / side - 0.5
        a = self.rand(n, 1, 1, 1, hi=2 * math.pi)
        u = a.cos() * r.view(1, 1, 1, side) + a.sin() * r.view(1, 1, side, 1)
        v = -a.sin() * r.view(1, 1, 1, side) + a.cos() * r.view(1, 1, side, 1)
        f = torch.exp(self.rand(n, 1, 1, 1, lo=0.0, hi=math.log(60)))
        wave = (2 * math.pi * f * u + self.rand(n, 1, 1, 1, hi=6.3)).sin()
        wave = torch.where(self.rand(n, 1, 1, 1) < 0.4, wave * (2 * math.pi * f * v).sin(), wave)
        wave = torch.tanh(wave * torch.exp(self.rand(n, 1, 1, 1, lo=-0.5, hi=3.0)))
        ring = ((u - 0.2) ** 2 + v**2).sqrt() * 2.5 - 1
        t = torch.where(self.rand(n, 1, 1, 1) < 0.5, wave, torch.where(self.rand(n, 1, 1, 1) < 0.5, 2 * u, ring))
        c0, c1 = self.rand(n, 3, 1, 1, hi=255), self.rand(n, 3, 1, 1, hi=255)
        return c0 + (c1 - c0) * (t * 0.5 + 0.5)

    def leaves(self, n, side, shapes=40):
        """Dead leaves (shaded ellipses and boxes hiding one another) over clouds, ramps or photographs."""
        kind = self.rand(n, 1, 1, 1)
        base = torch.where(kind < 0.35, self.clouds(n, side), torch.where(kind < 0.55, self.ramps(n, side), self.crops(n, side)))
        grain = self.clouds(n, side)
        r = torch.arange(side, device=self.device, dtype=torch.float32)
        cy, cx = self.rand(n, shapes, 1, 1, lo=-20, hi=side + 20), self.rand(n, shapes, 1, 1, lo=-20, hi=side + 20)
        radius = 5.0 / (1 - 0.985 * self.rand(n, shapes, 1, 1)).sqrt() * torch.exp(self.rand(n, 1, 1, 1, lo=-0.2, hi=1.8)) * side / 256
        thin = torch.exp(self.rand(n, shapes, 1, 1, lo=-1.2, hi=0.3))
        a = self.rand(n, shapes, 1, 1, hi=2 * math.pi)
        dy, dx = r.view(1, 1, side, 1) - cy, r.view(1, 1, 1, side) - cx
        p = (a.cos() * dx + a.sin() * dy) / radius
        q = (a.cos() * dy - a.sin() * dx) / (radius * thin)
        box = self.rand(n, shapes, 1, 1) < 0.35
        inside = torch.where(box, torch.maximum(p.abs(), q.abs()), (p * p + q * q).sqrt()) < 1
        used = self.rand(n, 1, 1, 1, lo=-0.25, hi=1.0) * shapes
        order = torch.arange(1, shapes + 1, device=self.device).view(1, -1, 1, 1)
        top = (inside & (order <= used)).to(torch.uint8) * order.to(torch.uint8)
        top = top.amax(1).long()
        colour = self.rand(n, 1, 3, lo=20, hi=235) + self.randn(n, shapes, 3) * self.rand(n, 1, 1, lo=20, hi=80)
        colour = F.pad(colour.clamp(0, 255), (0, 0, 1, 0))
        tilt = F.pad(self.randn(n, shapes, 2) * 0.12, (0, 0, 1, 0))
        flat = top.view(n, -1, 1)
        paint = colour.gather(1, flat.expand(-1, -1, 3)).permute(0, 2, 1).reshape(n, 3, side, side)
        slant = tilt.gather(1, flat.expand(-1, -1, 2)).permute(0, 2, 1).reshape(n, 2, side, side)
        paint = paint + slant[:, :1] * (r.view(1, 1, side, 1) - side / 2) + slant[:, 1:] * (r.view(1, 1, 1, side) - side / 2)
        paint = paint + (grain - 128) * self.rand(n, 1, 1, 1, hi=0.5) * (self.rand(n, 1, 1, 1) < 0.6)
        return torch.where((top > 0)[:, None], paint, base).clamp(0, 255)

    def colours(self, x, share):
        """Gamma, contrast, saturation, white balance, channel order, noise; `share` of the batch."""
        n = x.shape[0]
        y = 255 * (x.clamp(0, 255) / 255 + 1e-6) ** torch.exp(self.rand(n, 1, 1, 1, lo=-0.45, hi=0.45))
        grey = (y * self.luma).sum(1, keepdim=True)
        keep = self.rand(n, 1, 1, 1, hi=1.7) * (self.rand(n, 1, 1, 1) > 0.08)
        y = grey + (y - grey) * keep
        y = y * torch.exp(self.randn(n, 3, 1, 1) * 0.12)
        mean = y.mean((1, 2, 3), keepdim=True)
        y = mean + (y - mean) * torch.exp(self.rand(n, 1, 1, 1, lo=-0.7, hi=0.4)) + self.randn(n, 1, 1, 1) * 22
        y = y + torch.randn(y.shape, device=y.device, generator=self.gen) * self.rand(n, 1, 1, 1, hi=14) * (self.rand(n, 1, 1, 1) < 0.2)
        order = self.rand(n, 3).argsort(1)
        order = torch.where(self.rand(n, 1) < 0.25, order, torch.arange(3, device=y.device).expand(n, 3))
        y = y.gather(1, order.view(n, 3, 1, 1).expand_as(y))
        y = torch.where(self.rand(n, 1, 1, 1) < 0.03, 255 - y, y)
        return torch.where(self.rand(n, 1, 1, 1) < share, y, x)

    def procedural(self, n, side):
        """Half freshly made, half taken from a store of earlier ones, since making them is slow."""
        if self.past is None:
            room = 2048 if self.device.type == "cuda" else 32
            self.past = torch.zeros(room, 3, side, side, dtype=torch.uint8, device=self.device)
        if side != self.past.shape[2]:
            return self.leaves(n, side)
        room = len(self.past)
        fresh = n if self.filled < 2 * n else (n + 1) // 2
        new = self.leaves(fresh, side)
        slots = (torch.arange(fresh, device=self.device) + self.at) % room
        old = torch.randint(0, max(1, self.filled), (n - fresh,), device=self.device, generator=self.gen)
        x = torch.cat([new, self.past[old].float()]) if n > fresh else new
        self.past[slots] = new.round().to(torch.uint8)
        self.at, self.filled = (self.at + fresh) % room, min(room, self.filled + fresh)
        return torch.where(self.rand(n, 1, 1, 1) < 0.5, x, x.flip(3))

    @torch.no_grad()
    def batch(self, n, side):
        """Half photographs, half procedural, at whole grey levels as 8-bit files have them."""
        made = n // 2
        x = torch.cat([self.colours(self.defocus(self.crops(n - made, side)), 0.65), self.colours(self.procedural(made, side), 0.35)])
        x = x.clamp(0, 255).round()
        return x.contiguous(memory_format=torch.channels_last)
