"""Checks a peer against a golden data folder (manifest.json, cases/, batch/, images/)."""

import json
from pathlib import Path

import numpy as np


def verify(folder, make, dtype):
    """Runs every case; `make(h, w, case)` returns (decompose, reconstruct) on numpy arrays:
    decompose [N, H, W] -> [N, S, H, W] and back. Prints one line a case; returns the number of failures.
    """
    folder = Path(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    double = dtype == np.float64
    limits = {"bands": 1e-9, "recw": 1e-9, "rec": 1e-9} if double else {"bands": 5e-4, "recw": 1e-3, "rec": 5e-4}
    load = lambda name: np.load(folder / name)
    failures = 0

    def report(case, errors):
        nonlocal failures
        bad = [k for k, e in errors.items() if not e <= limits[k]]
        failures += bool(bad)
        text = "  ".join(f"{k} {e:.2e}" for k, e in errors.items())
        levels = ",".join(map(str, case["levels"]))
        print(f"{'FAIL' if bad else 'ok  '} {case['id']} {case['dfilt']}/{case['pfilt']} {levels} "
              f"{case.get('geometry', 'toolbox')}: {text}")

    error = lambda a, b: float(np.max(np.abs(a.astype(np.float64) - b)))
    for case in manifest["cases"]:
        x, bands = load(case["files"]["x"]), load(case["files"]["bands"])
        dec, rec = make(*x.shape, case)
        got = dec(x.astype(dtype)[None])
        b = np.arange(len(bands))
        weights = 1 + 0.25 * (b % 5) - 0.1 * (b % 3)
        weighted = (bands * weights[:, None, None]).astype(dtype)[None]
        errors = {"bands": error(got[0], bands), "recw": error(rec(weighted)[0], load(case["files"]["recw"]))}
        again = rec(got)[0]
        if "rec" in case["files"]:
            errors["rec"] = error(again, load(case["files"]["rec"]))
        else:
            errors["rec"] = error(again, x)
        report(case, errors)
    for case in manifest["batch"]:
        x, bands = load(case["files"]["x"]), load(case["files"]["bands"])
        dec, _ = make(*x.shape[-2:], case)
        got = dec(x.astype(dtype).reshape(-1, *x.shape[-2:]))
        want = np.moveaxis(bands.reshape(len(bands), -1, *x.shape[-2:]), 0, 1)
        report(case, {"bands": error(got, want)})
    for case in manifest["digests"]:
        x = load(case["image"])
        dec, rec = make(*x.shape, case)
        got = dec(x.astype(dtype)[None])
        h, w = x.shape
        t = np.arange(16)
        samples = got[0][:, (37 * t + 11) % h, (91 * t + 5) % w]
        want = np.array([b["samples"] for b in case["bands"]])
        ends = np.array([[b["min"], b["max"]] for b in case["bands"]])
        found = np.stack([got[0].min(axis=(1, 2)), got[0].max(axis=(1, 2))], axis=1)
        report(case, {"bands": max(error(samples, want), error(found, ends)), "rec": error(rec(got)[0], x)})
    print(f"{failures} failed")
    return failures
