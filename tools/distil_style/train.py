"""Trains one student for a given time. Started by driver.py, once per GPU.

Every minute the averaged weights go to OUT as a finished file with a card, so that whatever
happens later, the last minute's result stands.
"""

import argparse
import hashlib
import json
import math
import os
import sys
import time
import traceback

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

import data
import evaluate
import losses
import weights_io
from nets import StyleVit, position
from slim import slim

NAMES = {"nc16": "candy16", "vit": "vit_candy"}
HINTS = {"nc16": ("relu3", "res3", "res5", "relu4"), "vit": ("res2", "res5")}


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--net", choices=tuple(NAMES), required=True)
    p.add_argument("--teacher", required=True)
    p.add_argument("--photos")
    p.add_argument("--out", required=True)
    p.add_argument("--work", required=True, help="folder of heartbeats and checkpoints")
    p.add_argument("--seconds", type=float, help="training time from now")
    p.add_argument("--deadline", type=float, help="or: the Unix time at which training ends")
    p.add_argument("--batch", type=int, default=32, help="per GPU")
    p.add_argument("--side", type=int, default=256)
    p.add_argument("--big-side", type=int, default=384)
    p.add_argument("--big-every", type=int, default=24)
    p.add_argument("--lr", type=float)
    p.add_argument("--warm-up", type=int, default=400)
    p.add_argument("--checkpoint-every", type=float, default=60)
    p.add_argument("--compile", type=int, default=1)
    p.add_argument("--compile-backend", default="inductor")
    p.add_argument("--dim", type=int, default=256)
    p.add_argument("--resume", action="store_true")
    a = p.parse_args()
    a.deadline = a.deadline or time.time() + a.seconds
    a.lr = a.lr or {"nc16": 1e-3, "vit": 7e-4}[a.net]
    return a


class Fast:
    """A compiled function that turns into the plain one at its first failure."""

    def __init__(self, fn, a):
        self.plain = fn
        self.fast = torch.compile(fn, dynamic=False, backend=a.compile_backend) if a.compile else None

    def __call__(self, *args, plain=False):
        if plain or self.fast is None:
            return self.plain(*args)
        try:
            return self.fast(*args)
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception:
            traceback.print_exc()
            print("compiled function failed; going on without it", flush=True)
            self.fast = None
            return self.plain(*args)


class ConvHints(nn.Module):
    """The teacher's activations predicted from the student's by 1x1 maps."""

    def __init__(self, spread):
        super().__init__()
        self.maps = nn.ParameterDict({k: nn.Parameter(spread[k].clone()) for k in HINTS["nc16"]})
        self.bias = nn.ParameterDict({k: nn.Parameter(spread[k].new_zeros(len(spread[k]))) for k in HINTS["nc16"]})

    def forward(self, feats, targets):
        total = 0
        for k, m in self.maps.items():
            p = F.conv2d(feats[k], m[:, :, None, None], self.bias[k]).float()
            t = targets[k].float()
            total = total + ((p - t) ** 2).mean() / t.var().clamp_min(1e-4)
        return total / len(self.maps)


class TokenHints(nn.Module):
    """The teacher's activations at quarter size predicted from the tokens: 2 x 2 pixels a token."""

    def __init__(self, dim, channels):
        super().__init__()
        self.after = {"res2": "block2", "res5": "block4"}
        self.norm = nn.ModuleDict({k: nn.LayerNorm(dim) for k in self.after})
        self.maps = nn.ModuleDict({k: nn.Linear(dim, 4 * channels) for k in self.after})

    def forward(self, feats, targets):
        total = 0
        for k, block in self.after.items():
            p = self.maps[k](self.norm[k](feats[block])).float()
            b, c, h, w = targets[k].shape
            t = targets[k].float().reshape(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(p.shape)
            total = total + ((p - t) ** 2).mean() / t.var().clamp_min(1e-4)
        return total / len(self.after)


class Trainer:
    def __init__(self, a):
        self.a, self.begun, self.step, self.seen = a, time.time(), 0, 0
        self.rank, self.world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        cuda = torch.cuda.is_available()
        self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if cuda else torch.device("cpu")
        if cuda:
            torch.cuda.set_device(self.device)
            torch.backends.cudnn.benchmark = True
        self.say(f"torch {torch.__version__} is up, {self.world} process(es), {self.device}")
        if self.world > 1:
            dist.init_process_group("nccl" if cuda else "gloo")
            t = torch.ones(1, device=self.device)
            dist.all_reduce(t)
            self.say(f"{float(t):.0f} processes have joined")
        self.mark("joined")
        torch.manual_seed(1)
        self.reference, self.teacher_meta = evaluate.load_teacher(a.teacher, self.device)
        self.source = data.Source(a.photos, self.device, 1000 + self.rank)
        self.say(f"{len(self.source.names)} photographs: {' '.join(self.source.names)}")
        if a.net == "nc16":
            self.student, spread = slim(self.reference, 16, self.source.batch(64 if cuda else 8, a.side))
            self.hints = ConvHints(spread)
        else:
            self.student = StyleVit(a.dim, hidden=4 * a.dim).reset(torch.Generator().manual_seed(1))
            self.hints = TokenHints(a.dim, 4 * self.reference.nc)
        # The parameters keep their plain layout: the fused optimiser wants that of the gradients.
        self.student.to(self.device).train()
        self.hints.to(self.device)
        self.teacher, _ = evaluate.load_teacher(a.teacher, self.device)
        self.teacher.to(memory_format=torch.channels_last)
        if cuda:
            # Norms stay in f32: their statistics decide the picture.
            for m in self.teacher.modules():
                if isinstance(m, nn.Conv2d):
                    m.half()
        self.checkpoint = os.path.join(a.work, f"{a.net}.pt")
        self.before = 0.0
        if a.resume and os.path.exists(self.checkpoint):
            c = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
            self.student.load_state_dict(c["student"])
            self.hints.load_state_dict(c["hints"])
            self.step, self.seen, self.before = c["step"], c["seen"], c["fraction"]
            self.say(f"going on from step {self.step}")
        self.params = [*self.student.parameters(), *self.hints.parameters()]
        for p in self.params:
            p.data = p.data.contiguous()
        if self.world > 1:
            for p in self.params:
                dist.broadcast(p.data, 0)
        self.state = self.student.state_dict()
        self.ema = {k: v.detach().clone() for k, v in self.state.items()}
        decay = {"nc16": 1e-4, "vit": 0.02}[a.net]
        groups = [
            {"params": [p for p in self.params if p.ndim > 1], "weight_decay": decay},
            {"params": [p for p in self.params if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=a.lr, betas=(0.9, 0.98), fused=cuda)
        self.label, self.learn, self.compare = Fast(self._label, a), Fast(self._learn, a), Fast(self._compare, a)
        self.curve, self.cache, self.scores = [], {}, None
        self.trained_from = time.time()

    def say(self, text):
        if self.rank == 0:
            print(f"[{self.a.net} {time.time() - self.begun:6.1f} s] {text}", flush=True)

    def half(self):
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda")

    def _label(self, x):
        with torch.no_grad():
            y, feats = self.teacher(x.half() if x.is_cuda else x, HINTS[self.a.net])
            return y.float().clamp(0, 255), feats

    def _learn(self, x, y, pos, targets):
        with self.half():
            if self.a.net == "nc16":
                out, feats = self.student(x, HINTS["nc16"])
            else:
                out, feats = self.student(x, pos, ("block2", "block4"))
            hint = self.hints(feats, targets)
        out = out.float()
        return out, losses.pixel_loss(out, y), hint

    def _compare(self, out, y):
        with self.half():
            return losses.feature_loss(self.teacher, out, y)

    def place(self, side):
        """A position table that starts anywhere in a large picture, so that no place is unknown."""
        if self.a.net == "nc16":
            return None
        n = side // 8
        at = (0, 0)
        if torch.rand(()) < 0.7:
            at = (int(torch.randint(0, 144, ())), int(torch.randint(0, 240, ())))
        return position(n, n, self.a.dim, at, self.device).float()

    def stage(self, name):
        """Says how far the first step is, most of which is compilation."""
        if not self.seen:
            self.say(f"first step: {name} done")

    def losses(self, fraction):
        """One batch's (weighted sum, parts); the gradients are left in the parameters."""
        big = self.a.big_every and self.step % self.a.big_every == self.a.big_every - 1
        side = self.a.big_side if big else self.a.side
        # The same number of pixels, so that a large batch takes no more memory.
        n = max(2, self.a.batch * self.a.side**2 // side**2) if big else self.a.batch
        x = self.source.batch(n, side)
        y, targets = self.label(x, plain=big)
        self.stage("teacher")
        out, pixel, hint = self.learn(x, y, self.place(side), targets, plain=big)
        self.stage("student")
        quarter = slice(self.step % 4, None, 4) if n >= 8 else slice(None)
        feature = self.compare(out[quarter], y[quarter], plain=big)
        self.stage("features")
        weight = 0.2 * max(0.0, 1 - fraction / 0.6)
        (pixel + 0.1 * feature + weight * hint).backward()
        self.seen += n * self.world
        return torch.stack([pixel.detach(), feature.detach(), hint.detach()]), big

    def update(self, fraction):
        """Averages the gradients over the GPUs, clips them, steps, and averages the weights."""
        grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in self.params]
        flat = torch.cat([g.reshape(-1) for g in grads])
        if self.world > 1:
            dist.all_reduce(flat)
            flat /= self.world
        # One bad batch must not end the run: a gradient that is no number counts as zero.
        flat = torch.nan_to_num(flat, 0.0, 0.0, 0.0)
        flat = flat * (1.0 / flat.norm().clamp_min(1e-12)).clamp_max(1.0)
        for p, g in zip(self.params, flat.split([p.numel() for p in self.params])):
            p.grad = g.view_as(p)
        rate = self.a.lr * min(1.0, (self.step + 1) / self.a.warm_up) * (0.005 + 0.995 * 0.5 * (1 + math.cos(math.pi * min(1.0, fraction))))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        # Over about the last thousand steps; over fewer at the start.
        decay = min(0.999, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.ema.values()), list(self.state.values()), 1 - decay)

    def fraction(self):
        """The share of the training time that has passed, the same on every GPU."""
        now = time.time()
        f = self.before + (1 - self.before) * (now - self.trained_from) / max(1.0, self.a.deadline - self.trained_from)
        if self.world > 1:
            t = torch.tensor([f], dtype=torch.float64, device=self.device)
            dist.all_reduce(t)
            f = float(t) / self.world
        return f

    def mark(self, ending):
        """A sign of life that the driver reads."""
        if self.rank == 0:
            text = json.dumps({"step": self.step, "time": time.time()})
            weights_io.write_whole(os.path.join(self.a.work, f"{self.a.net}.{ending}"), text.encode())

    def run(self):
        fraction, total, count, last_beat, last_save, at = self.before, 0, 0, 0, time.time() - self.a.checkpoint_every + 25, (time.time(), self.step)
        first = self.step
        while fraction < 1:
            try:
                parts, big = self.losses(fraction)
            except Exception:
                # Compilation of a backward pass fails here, at the first steps.
                if self.step - first > 20 or all(f.fast is None for f in (self.label, self.learn, self.compare)):
                    raise
                traceback.print_exc()
                self.say("a step failed; going on without compilation")
                for f in (self.label, self.learn, self.compare):
                    f.fast = None
                self.optimizer.zero_grad(set_to_none=True)
                parts, big = self.losses(fraction)
            self.update(fraction)
            self.step += 1
            if not big:
                total, count = total + parts, count + 1
            if self.step - first == 1:
                self.say("first step done")
                # Compilation is no training time.
                self.trained_from = time.time()
                at = (time.time(), self.step)
            if self.step % 10 == 0:
                fraction = self.fraction()
                if time.time() - last_beat > 2:
                    last_beat = time.time()
                    self.mark("beat")
                if self.rank == 0 and time.time() - last_save > self.a.checkpoint_every:
                    self.save(fraction)
                    last_save = time.time()
            if self.step % 200 == 0 and self.rank == 0 and count:
                p = [round(float(v), 4) for v in total / count]
                rate = (self.step - at[1]) / (time.time() - at[0])
                self.curve.append({"step": self.step, "pixel": p[0], "feature": p[1], "hint": p[2]})
                self.say(f"step {self.step} pixel {p[0]:.4f} feature {p[1]:.4f} hint {p[2]:.4f}, {rate:.1f} steps/s, {100 * fraction:.0f} %")
                total, count, at = 0, 0, (time.time(), self.step)
        if self.rank == 0:
            self.save(1.0, final=True)

    def paths(self):
        base = os.path.join(self.a.out, NAMES[self.a.net])
        return f"{base}.safetensors", f"{base}.json", f"{base}_sheet.jpg"

    def metadata(self):
        meta = {
            "format": "pt",
            "style": "candy",
            "license": "MIT OR Apache-2.0",
            "input_range": "0..255",
            "origin": "distilled by tools/distil_style",
            "teacher": "candy of the PyTorch examples' fast_neural_style, BSD-3-Clause",
        }
        if self.a.net == "nc16":
            more = {"arch": "johnson-transformernet", "base_channels": 16, "residual_blocks": 5, "upsample": "nearest2x+conv", "norm": "instance,eps=1e-5"}
        else:
            s = self.student
            more = {"arch": "stylevit-s", "patch": 8, "dim": s.dim, "heads": s.heads, "blocks": s.depth, "hidden": s.hidden, "window": s.window}
        return {**meta, **more}

    def save(self, fraction, final=False):
        """Weights, card, checkpoint; at the end also the scores and the sheet."""
        weights, card_path, sheet = self.paths()
        half = weights_io.is_convolution if self.a.net == "nc16" else weights_io.is_matrix
        try:
            size = weights_io.save(weights, self.ema, self.metadata(), half)
        except ValueError as e:
            self.say(f"not saved: {e}")
            return
        if not final:
            state = {"student": self.student.state_dict(), "hints": self.hints.state_dict(), "step": self.step, "seen": self.seen, "fraction": fraction}
            torch.save(state, self.checkpoint + ".part")
            os.replace(self.checkpoint + ".part", self.checkpoint)
        card = self.card(weights, size, final)
        write = lambda: weights_io.write_whole(card_path, (json.dumps(card, indent=2) + "\n").encode())
        write()
        try:
            net, _ = evaluate.load_student(self.a.net, weights, self.device)
            self.scores = evaluate.quick(net, self.reference, self.a.photos, self.device, self.cache)
            card["held_out_256"] = {"psnr_db": self.scores[0], "ssim": self.scores[1]} if self.scores else None
            self.say(f"saved {size} bytes at step {self.step}; held-out 256x256: PSNR, SSIM {self.scores}")
            write()
            if final:
                card["evaluation"] = evaluate.evaluate(self.a.net, weights, self.a.teacher, self.a.photos, self.device, sheet)
                self.say(json.dumps(card["evaluation"]["mean"]))
                write()
        except Exception:
            traceback.print_exc()

    def card(self, weights, size, final):
        with open(weights, "rb") as f:
            digest = hashlib.sha256(f.read()).hexdigest()
        with open(self.a.teacher, "rb") as f:
            teacher = hashlib.sha256(f.read()).hexdigest()
        gpu = torch.cuda.get_device_name() if self.device.type == "cuda" else "CPU"
        return {
            "file": os.path.basename(weights),
            "bytes": size,
            "sha256": digest,
            "parameters": sum(v.numel() for v in self.ema.values()),
            "status": "finished" if final else "checkpoint",
            "metadata": self.metadata(),
            "licence": "MIT OR Apache-2.0; the teacher, the candy model of the PyTorch examples, is BSD-3-Clause",
            "teacher_sha256": teacher,
            "training": {
                "machine": f"{self.world} x {gpu}",
                "torch": torch.__version__,
                "date": time.strftime("%Y-%m-%d", time.gmtime()),
                "steps": self.step,
                "images_seen": self.seen,
                "seconds": round(time.time() - self.trained_from, 1),
                "batch": self.a.batch * self.world,
                "crop": self.a.side,
                "other_crop": f"{self.a.big_side}, every {self.a.big_every} steps",
                "learning_rate": self.a.lr,
                "optimizer": "AdamW, cosine over time, average of the weights",
                "loss": "L1 + 0.5 (1 - SSIM) at full and half size + 0.1 teacher features (relu3, res3, res5) + fading hints",
                "compiled": all(f.fast is not None for f in (self.label, self.learn, self.compare)),
                "curve": self.curve[:: max(1, len(self.curve) // 40)] + self.curve[-1:],
            },
            "data": {
                "photographs": {n: {"from": data.SOURCES[n][1], "licence": data.SOURCES[n][2]} for n in self.source.names},
                "procedural": "half of each batch: dead leaves over noise, gradients, stripes, text and photographs; own",
                "held_out": {n: {"from": s, "licence": l} for n, (s, l) in data.HELD_OUT.items()},
            },
            "scores_note": "against the f32 teacher, both clamped and truncated to 8 bits; SSIM with uniform 7x7 windows, all channels; "
            "seam_ratio: energy of steps across multiples of 8 over that of the steps one pixel beside them",
        }


def main():
    a = arguments()
    os.makedirs(a.out, exist_ok=True)
    os.makedirs(a.work, exist_ok=True)
    trainer = Trainer(a)
    trainer.run()
    trainer.say("done")
    sys.stdout.flush()
    # Leaving the process group in order can block when another process has gone already.
    os._exit(0)


if __name__ == "__main__":
    main()
