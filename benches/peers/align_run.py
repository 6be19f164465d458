#!/usr/bin/env python3
"""`lockstep align run` from files to shifts: pictures a second, who waits for whom, and memory at the peak.

    python3 benches/peers/align_run.py --lockstep target/release/lockstep --photo DATA/align/raw/gopro_hero6_12mp.dng
    python3 benches/peers/align_run.py --lockstep ./lockstep --photo gopro_hero6_12mp.dng --backend cuda --threads 16 --json

A data set is made of one DNG with a single tile of lossless JPEG: the tile twice, side by side (24 megapixels for one of
12), as many files as asked for, each with a level of black of its own: pictures without any difference would be looked at
twice. All pairs have the shift 0, which changes no time. The files are in the file cache.

What is printed of a run: its time from start to end; pictures and megapixels a second; `reading`, the processor time of the
processes that decode, and `busy`, its share of all threads' time; `resident`, the largest sum of the memory of all its
processes; and on a GPU `device`, the largest memory that its driver says this process has.
"""

import argparse
import json
import os
import shutil
import statistics
import struct
import subprocess
import tempfile
import time

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def doubled(path):
    """The file with its tile twice, where its level of black is, and its width and height."""
    with open(path, "rb") as file:
        data = bytearray(file.read())
    (start,) = struct.unpack_from("<I", data, 4)
    if data[:4] != b"II*\0":
        raise SystemExit(f"{path}: no little-endian DNG")
    (count,) = struct.unpack_from("<H", data, start)
    entries = {struct.unpack_from("<H", data, start + 2 + 12 * i)[0]: start + 2 + 12 * i for i in range(count)}
    value = {tag: struct.unpack_from("<I", data, at + 8)[0] for tag, at in entries.items()}
    if struct.unpack_from("<I", data, entries.get(324, 0) + 4)[0] != 1:
        raise SystemExit(f"{path}: not one tile")
    offset, length = value[324], value[325]
    second = len(data)
    data += data[offset:offset + length]
    for tag, pair in ((324, (offset, second)), (325, (length, length))):
        struct.pack_into("<II", data, entries[tag] + 4, 2, len(data))
        data += struct.pack("<II", *pair)
    struct.pack_into("<I", data, entries[256] + 8, 2 * value[256])
    if 50714 not in entries or struct.unpack_from("<H", data, entries[50714] + 2)[0] != 5:
        raise SystemExit(f"{path}: no level of black that is a fraction")
    return data, value[50714], 2 * value[256], value[257]


def processes(root):
    """The processes below `root` with it: id, processor seconds, resident bytes."""
    parents, facts = {}, {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat") as file:
                fields = file.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        parents[int(name)] = int(fields[1])
        facts[int(name)] = ((int(fields[11]) + int(fields[12])) / TICK, int(fields[21]) * PAGE)
    found = {root} & facts.keys()
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return {pid: facts[pid] for pid in found}
        found |= more


def device_bytes(pid):
    ask = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
    try:
        text = subprocess.run(ask, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return 0
    rows = [line.split(",") for line in text.splitlines() if "," in line]
    own = [int(used) for _, used in rows if used.strip().isdigit()]
    named = [int(used) for owner, used in rows if owner.strip() == str(pid) and used.strip().isdigit()]
    # Inside a container the driver names processes by other numbers.
    return (max(named) if named else max(own, default=0)) << 20


def run(options, data, out):
    command = [options.lockstep, "align", "run", data, "-o", out, "--backend", options.backend]
    command += ["--threads", str(options.threads), "--force"] + options.more.split()
    if options.masks:
        command += ["--masks", os.path.join(out, "masks")]
    begun = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    reading, resident, device, asked = {}, 0, 0, 0.0
    while child.poll() is None:
        now = processes(child.pid)
        resident = max(resident, sum(bytes for _, bytes in now.values()))
        reading.update({pid: seconds for pid, (seconds, _) in now.items() if pid != child.pid})
        if options.backend != "cpu" and time.perf_counter() - asked > 0.25:
            device, asked = max(device, device_bytes(child.pid)), time.perf_counter()
        time.sleep(0.01)
    took = time.perf_counter() - begun
    said, errors = child.communicate()
    if child.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}: {said}{errors}")
    waits = [line for line in said.splitlines() if "devices waited" in line]
    return {"seconds": took, "reading": sum(reading.values()), "resident": resident, "device": device,
            "said": waits[0] if waits else ""}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lockstep", required=True, help="the program")
    parser.add_argument("--photo", required=True, help="a DNG with one tile of lossless JPEG")
    parser.add_argument("--scenes", type=int, default=4)
    parser.add_argument("--pictures", type=int, default=9, help="of a scene, its ground truth included")
    parser.add_argument("--backend", default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--samples", type=int, default=3)
    parser.add_argument("--masks", action="store_true", help="write masks, too")
    parser.add_argument("--more", default="", help="more options of `align run`, in one argument")
    parser.add_argument("--json", action="store_true", help="print a row instead of words")
    options = parser.parse_args()
    options.lockstep = shutil.which(options.lockstep) or os.path.abspath(options.lockstep)
    data, black, width, height = doubled(options.photo)
    with tempfile.TemporaryDirectory() as folder:
        for scene in range(options.scenes):
            for picture in range(options.pictures):
                path = os.path.join(folder, "in", f"scene{scene}", "gt" if picture == 0 else ".", f"{picture}.dng")
                os.makedirs(os.path.dirname(path), exist_ok=True)
                struct.pack_into("<II", data, black, 12 * picture, 1)
                with open(path, "wb") as file:
                    file.write(data)
        load = os.getloadavg()[0]
        runs = [run(options, os.path.join(folder, "in"), os.path.join(folder, "out")) for _ in range(options.samples)]
    runs.sort(key=lambda r: r["seconds"])
    middle = runs[len(runs) // 2]
    seconds = statistics.median(r["seconds"] for r in runs)
    pictures = options.scenes * options.pictures
    if options.json:
        row = {"kernel": "align_run", "shape": f"{options.scenes} x {options.pictures} of {height}x{width}",
               "dtype": "u16", "variant": f"{options.threads} threads {'masks ' * options.masks}{options.more}".strip(),
               "floor_bytes": float(pictures * len(data)), "samples": len(runs), "median_s": seconds,
               "p10_s": runs[0]["seconds"], "p90_s": runs[-1]["seconds"]}
        print(json.dumps({"rows": [row]}))
        return
    rate = pictures * width * height / 1e6 / seconds
    busy = middle["reading"] / (middle["seconds"] * options.threads)
    print(f"{pictures} pictures of {width} x {height}, {options.backend}, {options.threads} threads, load before: {load:.1f}")
    print(f"{seconds:.2f} s ({runs[0]['seconds']:.2f} to {runs[-1]['seconds']:.2f}): {pictures / seconds:.1f} pictures/s, "
          f"{rate:.0f} megapixels/s")
    print(f"reading {middle['reading']:.2f} s of the processor, busy {100 * busy:.0f} %; "
          f"resident {middle['resident'] / 2**20:.0f} MiB; device {middle['device'] / 2**20:.0f} MiB")
    if middle["said"]:
        print(middle["said"])


if __name__ == "__main__":
    main()
