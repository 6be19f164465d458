"""The two networks, in plain PyTorch, under the tensor names of the weight files.

`TransformerNet` is the network of the PyTorch examples' `fast_neural_style`, at any base width.
`StyleVit` is the windowed transformer described, to the last constant, in FORMAT.md.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

EPS = 1e-5


def reflect_pad(x, p):
    """Mirrors `p` rows and columns without repeating the edge; needs sides of at least p + 1."""
    if torch.compiler.is_compiling():
        return F.pad(x, (p, p, p, p), mode="reflect")
    # Slices keep the memory format and have a cheap backward pass; the built-in pad has neither.
    x = torch.cat([x[:, :, 1 : p + 1].flip(2), x, x[:, :, -p - 1 : -1].flip(2)], 2)
    return torch.cat([x[:, :, :, 1 : p + 1].flip(3), x, x[:, :, :, -p - 1 : -1].flip(3)], 3)


def mirror_to_multiple(x, multiple):
    """Mirrors the bottom and the right until both sides are multiples; sides may be of any length."""
    for dim in (2, 3):
        n = x.shape[dim]
        m = -(-n // multiple) * multiple
        if m == n:
            continue
        i = torch.arange(m, device=x.device)
        if n == 1:
            i = torch.zeros_like(i)
        else:
            i = i % (2 * n - 2)
            i = torch.where(i < n, i, 2 * n - 2 - i)
        x = x.index_select(dim, i)
    return x


def conv(x, weight, bias, stride=1):
    """A convolution whose channels are filled up to multiples of 8 on a GPU, for its tensor cores."""
    out, inp = weight.shape[:2]
    if x.is_cuda and (out % 8 or inp % 8):
        more_in, more_out = -inp % 8, -out % 8
        x = F.pad(x, (0, 0, 0, 0, 0, more_in))
        weight = F.pad(weight, (0, 0, 0, 0, 0, more_in, 0, more_out))
        bias = F.pad(bias, (0, more_out))
        if not torch.compiler.is_compiling():
            x = x.contiguous(memory_format=torch.channels_last)
            weight = weight.contiguous(memory_format=torch.channels_last)
        return F.conv2d(x, weight, bias, stride)[:, :out]
    return F.conv2d(x, weight, bias, stride)


class ConvLayer(nn.Module):
    """Reflection padding of k // 2, then the convolution."""

    def __init__(self, inp, out, k, stride=1, upsample=False):
        super().__init__()
        self.conv2d = nn.Conv2d(inp, out, k, stride)
        self.pad, self.stride, self.upsample = k // 2, stride, upsample

    def forward(self, x):
        if self.upsample:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        return conv(reflect_pad(x, self.pad), self.conv2d.weight, self.conv2d.bias, self.stride)


class InstanceNorm(nn.Module):
    """Image statistics with the biased variance, taken in f32 (f64 for f64 input)."""

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        y = x if x.dtype == torch.float64 else x.float()
        var, mean = torch.var_mean(y, (2, 3), correction=0, keepdim=True)
        scale = self.weight.to(y.dtype).view(1, -1, 1, 1) * torch.rsqrt(var + EPS)
        return ((y - mean) * scale + self.bias.to(y.dtype).view(1, -1, 1, 1)).to(x.dtype)


class Residual(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv1, self.in1 = ConvLayer(c, c, 3), InstanceNorm(c)
        self.conv2, self.in2 = ConvLayer(c, c, 3), InstanceNorm(c)

    def inner(self, x):
        return F.relu(self.in1(self.conv1(x)))

    def forward(self, x):
        return self.in2(self.conv2(self.inner(x))) + x


class TransformerNet(nn.Module):
    """RGB 0..255 [B, 3, H, W] to unclamped 0..255 [B, 3, 4*ceil(H/4), 4*ceil(W/4)]."""

    def __init__(self, nc=32, blocks=5):
        super().__init__()
        a, b, c = nc, 2 * nc, 4 * nc
        self.nc, self.blocks = nc, blocks
        self.conv1, self.in1 = ConvLayer(3, a, 9), InstanceNorm(a)
        self.conv2, self.in2 = ConvLayer(a, b, 3, 2), InstanceNorm(b)
        self.conv3, self.in3 = ConvLayer(b, c, 3, 2), InstanceNorm(c)
        for i in range(1, blocks + 1):
            setattr(self, f"res{i}", Residual(c))
        self.deconv1, self.in4 = ConvLayer(c, b, 3, upsample=True), InstanceNorm(b)
        self.deconv2, self.in5 = ConvLayer(b, a, 3, upsample=True), InstanceNorm(a)
        self.deconv3 = ConvLayer(a, 3, 9)

    def encode(self, x, want=()):
        """The activations named in `want` (relu1..relu3, res1..), and the last stream."""
        out = {}
        for i in (1, 2, 3):
            x = F.relu(getattr(self, f"in{i}")(getattr(self, f"conv{i}")(x)))
            out[f"relu{i}"] = x
        for i in range(1, self.blocks + 1):
            x = getattr(self, f"res{i}")(x)
            out[f"res{i}"] = x
        return {k: out[k] for k in want if k in out}, x

    def forward(self, x, want=()):
        """The output, or (output, activations) when names are wanted."""
        feats, x = self.encode(x, want)
        x = F.relu(self.in4(self.deconv1(x)))
        if "relu4" in want:
            feats["relu4"] = x
        x = F.relu(self.in5(self.deconv2(x)))
        if "relu5" in want:
            feats["relu5"] = x
        x = self.deconv3(x)
        return (x, feats) if want else x


PATCH = 8
FEATURES = 16


def frequencies(dim, device=None):
    """dim / 4 angular frequencies per 64 pixels: 8 pi (two tokens a period) down to pi / 16."""
    n = dim // 4
    k = torch.arange(n, dtype=torch.float64, device=device)
    return 8 * math.pi * 128.0 ** (-k / (n - 1))


def position(rows, cols, dim, offset=(0, 0), device=None):
    """[rows, cols, dim]: sin and cos of y, then sin and cos of x, of the token's pixel centre / 64."""
    omega = frequencies(dim, device)
    half = []
    for n, first in ((rows, offset[0]), (cols, offset[1])):
        p = (torch.arange(n, dtype=torch.float64, device=device) + first + 0.5) * PATCH / 64
        angle = p[:, None] * omega
        half.append(torch.cat([angle.sin(), angle.cos()], 1))
    y = half[0][:, None].expand(rows, cols, -1)
    x = half[1][None].expand(rows, cols, -1)
    return torch.cat([y, x], 2)


class Attention(nn.Module):
    def __init__(self, dim, heads, window, shift):
        super().__init__()
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.heads, self.window, self.shift = heads, window, shift

    def attend(self, qkv, glob, h, w):
        """qkv [B, R, C, 3, heads, d] cut into windows of h x w; glob [B, 2, heads, d]."""
        b, rows, cols, _, heads, d = qkv.shape
        ny, nx = rows // h, cols // w
        t = qkv.reshape(b, ny, h, nx, w, 3, heads, d).permute(5, 0, 1, 3, 6, 2, 4, 7)
        q, k, v = t.reshape(3, b * ny * nx, heads, h * w, d).unbind(0)
        g = glob[:, None].expand(-1, ny * nx, -1, -1, -1).reshape(b * ny * nx, 2, heads, 1, d)
        k, v = torch.cat([k, g[:, 0]], 2), torch.cat([v, g[:, 1]], 2)
        o = F.scaled_dot_product_attention(q, k, v)
        o = o.reshape(b, ny, nx, heads, h, w, d).permute(0, 1, 4, 2, 5, 3, 6)
        return o.reshape(b, rows, cols, heads * d)

    def forward(self, n, g):
        """n [B, R, C, D]: the normalised tokens; g [B, D]: the normalised mean token."""
        b, rows, cols, dim = n.shape
        d = dim // self.heads
        qkv = self.qkv(n).reshape(b, rows, cols, 3, self.heads, d)
        glob = self.qkv(g).reshape(b, 3, self.heads, d)[:, 1:]
        win, s = self.window, self.shift
        if not s:
            o = self.attend(qkv, glob, win, win)
        else:
            # The grid lines lie at s + m * win; the first and last windows are cut by the border.
            def split(t, dim):
                n = t.shape[dim]
                edge = torch.cat([t.narrow(dim, 0, s), t.narrow(dim, n - s, s)], dim)
                return edge, (t.narrow(dim, s, n - 2 * s) if n > 2 * s else None)

            def join(edge, mid, dim):
                parts = [edge.narrow(dim, 0, s), mid, edge.narrow(dim, s, s)]
                return torch.cat([p for p in parts if p is not None], dim)

            def columns(t, h):
                if t is None:
                    return None
                edge, mid = split(t, 2)
                edge = self.attend(edge, glob, h, s)
                return join(edge, None if mid is None else self.attend(mid, glob, h, win), 2)

            edge, mid = split(qkv, 1)
            o = join(columns(edge, s), columns(mid, win), 1)
        return self.out(o)


class Ffn(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, dim, heads, hidden, window, shift):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(dim, EPS), Attention(dim, heads, window, shift)
        self.norm2, self.ffn = nn.LayerNorm(dim, EPS), Ffn(dim, hidden)

    def forward(self, x):
        x = x + self.attn(self.norm1(x), self.norm1(x.mean((1, 2))))
        return x + self.ffn(self.norm2(x))


class Decode(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.norm = nn.LayerNorm(dim, EPS)
        self.linear = nn.Linear(dim, PATCH * PATCH * FEATURES)
        self.conv1 = nn.Conv2d(FEATURES + 3, FEATURES, 3)
        self.conv2 = nn.Conv2d(FEATURES, 3, 3)

    def forward(self, x, image):
        b, rows, cols, _ = x.shape
        y = self.linear(self.norm(x)).reshape(b, rows, cols, PATCH, PATCH, FEATURES)
        y = y.permute(0, 1, 3, 2, 4, 5).reshape(b, rows * PATCH, cols * PATCH, FEATURES)
        y = torch.cat([y.permute(0, 3, 1, 2), image.to(y.dtype)], 1)
        y = F.relu(conv(reflect_pad(y, 1), self.conv1.weight, self.conv1.bias))
        return conv(reflect_pad(y, 1), self.conv2.weight, self.conv2.bias)


class StyleVit(nn.Module):
    """RGB 0..255 [B, 3, H, W], any H and W, to unclamped 0..255 of the same size."""

    def __init__(self, dim=256, heads=4, blocks=4, hidden=1024, window=16):
        super().__init__()
        self.dim, self.heads, self.depth, self.hidden, self.window = dim, heads, blocks, hidden, window
        self.embed = nn.Conv2d(3, dim, PATCH, PATCH)
        shift = window // 2
        self.blocks = nn.ModuleDict(
            {str(i): Block(dim, heads, hidden, window, 0 if i % 2 else shift) for i in range(1, blocks + 1)}
        )
        self.decode = Decode(dim)

    def forward(self, x, pos=None, want=()):
        """`pos`: a position table to use in place of the one for offset zero (training only)."""
        h, w = x.shape[2:]
        u = mirror_to_multiple((x - 128) / 64, PATCH * self.window)
        b, _, hp, wp = u.shape
        rows, cols = hp // PATCH, wp // PATCH
        t = u.reshape(b, 3, rows, PATCH, cols, PATCH).permute(0, 2, 4, 1, 3, 5).reshape(b, rows, cols, -1)
        t = F.linear(t, self.embed.weight.flatten(1), self.embed.bias)
        feats = {"embed": t}
        if pos is None:
            pos = position(rows, cols, self.dim, device=x.device)
        t = t.to(x.dtype) + pos.to(x.dtype)
        feats["position"] = t
        for i, block in self.blocks.items():
            t = block(t)
            feats[f"block{i}"] = t
        y = 128 + 64 * self.decode(t, u).to(x.dtype)
        y = y[:, :, :h, :w]
        return (y, {k: feats[k] for k in want}) if want else y

    @torch.no_grad()
    def reset(self, generator):
        """Starts every head as a look at one neighbouring token.

        Query and key read the same position pairs; the query's are turned by the angle of the
        wanted offset, so that their product peaks there. Without this, most of a short training
        goes into finding out that near tokens matter.
        """

        def normal(t, std):
            t.copy_(torch.randn(t.shape, generator=generator) * std)

        d = self.dim // self.heads
        pairs = d // 4
        n = self.dim // 4
        omega = frequencies(self.dim)
        steps = [(-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (1, 1), (-1, 1), (1, -1), (-3, 0), (3, 0), (0, -3), (0, 3)]
        read = [min(n - 1, 1 + j * max(1, n // pairs)) for j in range(pairs)]
        normal(self.embed.weight, 0.8 / math.sqrt(192))
        # The picture starts in the channels that the heads do not read for the position.
        self.embed.weight[[g * n + k for g in range(4) for k in read]] *= 0.1
        self.embed.bias.zero_()
        for index, block in enumerate(self.blocks.values()):
            for p in block.parameters():
                if p.ndim == 1:
                    p.zero_()
            block.norm1.weight.fill_(1)
            block.norm2.weight.fill_(1)
            w = block.attn.qkv.weight
            normal(w, 0.02)
            normal(w[2 * self.dim :], 1 / math.sqrt(self.dim))
            normal(block.attn.out.weight, 0.5 / math.sqrt(self.dim * 2 * self.depth))
            normal(block.ffn.fc1.weight, 1 / math.sqrt(self.dim))
            normal(block.ffn.fc2.weight, 1 / math.sqrt(self.hidden * 2 * self.depth))
            for head in range(self.heads):
                step = steps[(index * self.heads + head) % len(steps)]
                for j, k in enumerate(read):
                    for axis in (0, 1):
                        sin, cos = axis * 2 * n + k, axis * 2 * n + n + k
                        turn = float(omega[k]) * step[axis] / 8
                        row = head * d + axis * 2 * pairs + j
                        for r, (a, b) in ((row, (math.cos(turn), math.sin(turn))), (row + pairs, (-math.sin(turn), math.cos(turn)))):
                            w[r, sin] += 1.4 * a
                            w[r, cos] += 1.4 * b
                        w[self.dim + row, sin] += 1.4
                        w[self.dim + row + pairs, cos] += 1.4
        self.decode.norm.weight.fill_(1)
        self.decode.norm.bias.zero_()
        normal(self.decode.linear.weight, 1 / math.sqrt(self.dim))
        self.decode.linear.bias.zero_()
        normal(self.decode.conv1.weight, math.sqrt(2 / (9 * (FEATURES + 3))))
        normal(self.decode.conv2.weight, math.sqrt(1 / (9 * FEATURES)))
        self.decode.conv1.bias.zero_()
        self.decode.conv2.bias.zero_()
        return self
