#!/usr/bin/env python3
"""Other programs on the pairs that `lockstep align` was measured on.

    LOCKSTEP_ACCEPTANCE=pairs cargo test -p align --test acceptance -- --ignored --nocapture
    python3 align_accuracy.py pairs

Reads `cases.json` (truth, and our answers) and the DNG files beside it, and prints how many of each row every program
finds to the pixel, with the median error of all answers. A table in Markdown; `--json FILE` writes the figures.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import rawpy

from align_common import binned, gray, hill_climb, opencv_ecc, opencv_phase, skimage_phase, skimage_plain

# Name, the picture that it gets, and the function.
PEERS = [
    ("scikit-image phase", "gray", skimage_phase),
    ("scikit-image plain", "gray", skimage_plain),
    ("OpenCV phaseCorrelate", "gray", opencv_phase),
    ("OpenCV phaseCorrelate, cells", "binned", opencv_phase),
    ("OpenCV ECC", "gray", opencv_ecc),
    ("hill climb", "gray", hill_climb),
]


def read(path):
    """The mosaic of a file, cut to its active area, and what is needed to make a picture of it."""
    with rawpy.imread(str(path)) as raw:
        sizes = raw.sizes
        top, left = sizes.top_margin, sizes.left_margin
        mosaic = raw.raw_image[top:top + sizes.height, left:left + sizes.width].copy()
        pattern = "".join("RGBG"[i] for i in raw.raw_pattern.flatten())
        return mosaic, pattern, float(np.mean(raw.black_level_per_channel)), float(raw.white_level)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--rows", help="only rows that contain this text")
    options = parser.parse_args()
    cases = json.loads((options.folder / "cases.json").read_text())
    errors = defaultdict(lambda: defaultdict(list))
    known = {}
    for case in cases:
        row = case.get("row") or case.get("special") or "scenes"
        if case["expect"] != "align" or case.get("special") == "rotate" or (options.rows or "") not in row:
            continue
        truth = np.array([case["dy"], case["dx"]], float)

        def off(shift):
            return float(np.abs(np.asarray(shift) - truth).max()), float(np.hypot(*(np.asarray(shift) - truth)))

        pictures = {}
        for key in ("gt", "noisy"):
            path = options.folder / case[key]
            if key == "gt" and path in known:
                pictures[key] = known[path]
                continue
            data = read(path)
            cells, size = binned(*data)
            pictures[key] = {"gray": (gray(*data), 1), "binned": (cells, size)}
            if key == "gt":
                known[path] = pictures[key]
        for name in ("lockstep", "lockstep gn"):
            if name in case:
                errors[row][name].append(off(case[name]["shift"]))
        for name, which, function in PEERS:
            (gt, scale), (noisy, _) = pictures["gt"][which], pictures["noisy"][which]
            errors[row][name].append(off(scale * function(gt, noisy)))
    names = list(dict.fromkeys(name for row in errors.values() for name in row))
    print("| row | pairs | " + " | ".join(names) + " |\n| --- | ---: |" + " ---: |" * len(names))
    figures = []
    for row, programs in errors.items():
        cells = []
        for name in names:
            found = programs.get(name, [])
            # The peers that answer in pixels alone are off by up to a half in each direction.
            exact = sum(most < 0.5 or (name == "hill climb" and most <= 0.5) for most, _ in found)
            median = float(np.median([np.nan_to_num(e, nan=1e3) for _, e in found])) if found else float("nan")
            cells.append(f"{exact} ({median:.3f})")
            figures.append({"row": row, "by": name, "pairs": len(found), "exact": exact, "median": median})
        print(f"| {row} | {len(next(iter(programs.values())))} | " + " | ".join(cells) + " |", flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
