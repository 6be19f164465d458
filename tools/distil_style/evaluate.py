"""Scores of a weight file against its teacher on photographs that were not trained on.

    python evaluate.py --net nc16|vit --weights FILE --teacher FILE --photos DIR --card FILE --sheet FILE
"""

import argparse
import json

import numpy as np
import torch
from PIL import Image, ImageDraw

import data
import losses
import weights_io
from nets import StyleVit, TransformerNet


def load_teacher(path, device="cpu"):
    tensors, meta = weights_io.load(path)
    net = TransformerNet(tensors["conv1.conv2d.weight"].shape[0])
    net.load_state_dict(tensors)
    return net.to(device).eval().requires_grad_(False), meta


def load_student(kind, path, device="cpu"):
    tensors, meta = weights_io.load(path)
    if kind == "vit":
        net = StyleVit(*(int(meta[k]) for k in ("dim", "heads", "blocks", "hidden", "window")))
    else:
        net = TransformerNet(int(meta["base_channels"]), int(meta["residual_blocks"]))
    net.load_state_dict(tensors)
    return net.to(device).eval().requires_grad_(False), meta


def tensor(picture, device):
    return torch.from_numpy(np.ascontiguousarray(picture)).to(device).permute(2, 0, 1)[None].float()


@torch.no_grad()
def stylise(net, picture, device):
    """8-bit output, clamped and truncated, of the picture's size."""
    x = tensor(picture, device)
    y = net(x)[:, :, : x.shape[2], : x.shape[3]]
    return y.clamp(0, 255).to(torch.uint8)[0].permute(1, 2, 0).cpu().numpy()


def psnr(a, b):
    e = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return float(10 * np.log10(255**2 / max(e, 1e-12)))


def ssim(a, b):
    ta, tb = (torch.from_numpy(v.copy()).permute(2, 0, 1)[None].double() for v in (a, b))
    return float(losses.ssim(ta, tb))


def seam_ratio(a):
    """Energy of the step across multiples of 8, over that across the columns and rows next to them."""
    a = a.astype(np.float64)
    seam, near = 0.0, 0.0
    for axis in (0, 1):
        step = np.diff(a, axis=axis) ** 2
        lines = step.mean(axis=tuple(i for i in range(3) if i != axis))
        at = np.arange(1, len(lines) + 1)  # lines[i] is the step from i to i + 1
        seam += lines[at % 8 == 0].mean()
        near += lines[(at % 8 == 1) | (at % 8 == 7)].mean()
    return float(seam / max(near, 1e-12))


def cover(picture, width, height):
    """Scaled to cover width x height, then cut at the centre."""
    im = Image.fromarray(picture)
    s = max(width / im.width, height / im.height)
    im = im.resize((max(width, round(im.width * s)), max(height, round(im.height * s))), Image.LANCZOS)
    x, y = (im.width - width) // 2, (im.height - height) // 2
    return np.array(im.crop((x, y, x + width, y + height)))


def cases(photos):
    """(name, group, picture): each held-out photograph as it is, at 384x256 and one at 1080p."""
    found = data.find(photos, data.HELD_OUT)
    for name, a in found.items():
        yield name, "native", a
    for name, a in found.items():
        yield f"{name}_384x256", "384x256", cover(a, 384, 256)
    for name in ("flower", "coffee", "chelsea"):
        if name in found:
            yield f"{name}_1920x1080", "1080p", cover(found[name], 1920, 1080)
            break


def quick(net, teacher, photos, device, cache):
    """PSNR and SSIM at 256x256 only, for the log."""
    if "set" not in cache:
        found = data.find(photos, data.HELD_OUT)
        cache["set"] = [(p, stylise(teacher, p, device)) for p in (cover(a, 256, 256) for a in found.values())]
    scores = [(psnr(o, t), ssim(o, t)) for p, t in cache["set"] for o in [stylise(net, p, device)]]
    return [round(float(v), 3) for v in np.mean(scores, 0)] if scores else None


def evaluate(kind, weights, teacher_path, photos, device, sheet=None):
    """The scores; writes the sheet content | teacher | student."""
    # Convolutions would use TF32; matrix products do not unless told to.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    teacher, _ = load_teacher(teacher_path, device)
    student, _ = load_student(kind, weights, device)
    images, groups, rows = {}, {}, []
    for name, group, picture in cases(photos):
        t, s = stylise(teacher, picture, device), stylise(student, picture, device)
        images[name] = {
            "width": picture.shape[1],
            "height": picture.shape[0],
            "psnr_db": round(psnr(s, t), 3),
            "ssim": round(ssim(s, t), 4),
            "seam_ratio": round(seam_ratio(s), 4),
            "seam_ratio_teacher": round(seam_ratio(t), 4),
            "constant_colour_psnr_db": round(psnr(np.broadcast_to(t.mean((0, 1)), t.shape), t), 3),
        }
        groups.setdefault(group, []).append(images[name])
        if group != "384x256" or not any(r[0].endswith("384x256") for r in rows):
            rows.append((name, picture, t, s))
    means = {
        g: {k: round(float(np.mean([i[k] for i in v])), 4) for k in ("psnr_db", "ssim", "seam_ratio", "seam_ratio_teacher")}
        for g, v in groups.items()
    }
    if sheet and rows:
        write_sheet(rows, images, sheet)
    return {"mean": means, "images": images}


def write_sheet(rows, scores, path, width=448):
    strips = []
    for name, *pictures in rows:
        h = round(width * pictures[0].shape[0] / pictures[0].shape[1])
        strip = Image.new("RGB", (3 * width + 8, h + 18), "white")
        for i, p in enumerate(pictures):
            strip.paste(Image.fromarray(p).resize((width, h), Image.LANCZOS), (i * (width + 4), 18))
        s = scores[name]
        text = f"{name}: content | teacher | student   PSNR {s['psnr_db']:.2f} dB  SSIM {s['ssim']:.3f}"
        ImageDraw.Draw(strip).text((2, 3), text, fill="black")
        strips.append(strip)
    sheet = Image.new("RGB", (strips[0].width, sum(s.height for s in strips)), "white")
    y = 0
    for s in strips:
        sheet.paste(s, (0, y))
        y += s.height
    sheet.save(path, quality=88)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--net", choices=("nc16", "vit"), required=True)
    for name in ("weights", "teacher", "photos", "card", "sheet"):
        p.add_argument(f"--{name}", required=name != "photos")
    a = p.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        with open(a.card) as f:
            card = json.load(f)
    except FileNotFoundError:
        card = {}
    card["evaluation"] = evaluate(a.net, a.weights, a.teacher, a.photos, device, a.sheet)
    weights_io.write_whole(a.card, (json.dumps(card, indent=2) + "\n").encode())
    print(json.dumps(card["evaluation"]["mean"]))


if __name__ == "__main__":
    main()
