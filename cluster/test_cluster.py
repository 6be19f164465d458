#!/usr/bin/env python3
"""Many processes must write what one process writes, byte for byte.

    python cluster/test_cluster.py --program target/release/lockstep

Draws a data set, runs `align run` and `nsct denoise` over it in one process, then
  * as two ranks of `mpirun`,
  * on a local Ray cluster, with a worker that is killed (SIGKILL) while it works,
  * as a process that is interrupted (SIGINT) and started again,
and compares every file that comes out. What is not installed is named and makes the exit code 2; any difference makes
it 1. Needs `ray` in this Python and `mpirun` on the PATH.
"""

import argparse
import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The order in which items were finished and how long each took: what one run need not share with another.
JOURNAL = "done.jsonl"


def check(text, good):
    print(f"{'ok   ' if good else 'WRONG'} {text}", flush=True)
    return bool(good)


def digest(folder):
    """Every file below a folder but the journal, by name."""
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != JOURNAL)
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def same(what, one, other):
    a, b = digest(one), digest(other)
    different = sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))
    return check(f"{what}: {len(a)} files, {len(different)} differ {different[:3] or ''}", a and not different)


class Jobs:
    """The commands, with their output folder where `{}` is. Paths are relative: outputs name their files by them."""

    def __init__(self, program, root):
        self.program, self.root = program, root
        self.all = {
            "align": ["align", "run", "scenes", "-o", "{}/align", "--masks", "{}/align/masks", "--descriptor",
                      "{}/align/descriptor.yaml", "--report", "--tiles"],
            "denoise": ["nsct", "denoise", "pictures", "-o", "{}/denoise", "--levels", "2,3", "--backend", "cpu"],
        }

    def place(self, name):
        """Everything is done in a folder of its own, with the same relative names inside."""
        place = self.root / name
        place.mkdir()
        for data in ("scenes", "pictures"):
            (place / data).symlink_to(self.root / data)
        return place

    def arguments(self, job):
        return [a.format("out") for a in self.all[job]]

    def run(self, place, job, *more):
        return subprocess.run([self.program, *self.arguments(job), *more], cwd=place, capture_output=True, text=True,
                              check=False)


def draw(jobs):
    """Scenes as DNG files, and pictures for the other command: masks of a first run are as good as any."""
    drawn = subprocess.run([jobs.program, "align", "selftest", "--write", "scenes"], cwd=jobs.root, check=False)
    first = jobs.root / "first"
    first.mkdir()
    (first / "scenes").symlink_to(jobs.root / "scenes")
    masks = subprocess.run([jobs.program, "align", "run", "scenes", "-o", "out", "--masks", "out/masks", "--quiet"],
                           cwd=first, check=False)
    shutil.move(first / "out/masks", jobs.root / "pictures")
    return drawn.returncode == 0 and masks.returncode in (0, 3)


def mpi(jobs, one):
    """Two ranks, each with the shard that its launcher's variables name."""
    place = jobs.place("mpirun")
    good = True
    for job in jobs.all:
        ran = subprocess.run(["mpirun", "--allow-run-as-root", "--oversubscribe", "-np", "2", jobs.program,
                              *jobs.arguments(job), "--shard", "auto"],
                             cwd=place, capture_output=True, text=True, check=False)
        good &= check(f"mpirun, {job}: code {ran.returncode}", ran.returncode == 0) or not sys.stderr.write(ran.stderr)
    return same("two ranks of mpirun", one, place) and good


def interrupted(jobs, one):
    """Ctrl-C in the middle, then the same command again."""
    place = jobs.place("interrupted")
    good = True
    journals = {"align": place / "out/align" / JOURNAL, "denoise": place / "out/denoise" / JOURNAL}
    for job, journal in journals.items():
        started = subprocess.Popen([jobs.program, *jobs.arguments(job)], cwd=place, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        while started.poll() is None and not (journal.is_file() and journal.stat().st_size > 0):
            time.sleep(0.01)
        started.send_signal(signal.SIGINT)
        code = started.wait()
        items = len(journal.read_text().splitlines())
        good &= check(f"interrupted, {job}: code {code} after {items} items", code == 130 and items >= 1)
        good &= check(f"interrupted, {job}: goes on", jobs.run(place, job).returncode == 0)
    return same("interrupted and started again", one, place) and good


def processes():
    """Parent and command line of every process (Linux)."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int(folder.joinpath("stat").read_text().rsplit(")", 1)[1].split()[1])
                yield int(folder.name), parent, folder.joinpath("cmdline").read_bytes().decode().split("\0")
            except (OSError, ValueError):
                continue


def kill_a_worker(program, place, tries=2000):
    """Kills the worker whose program works in `place`; returns it and its shard."""
    for _ in range(tries):
        for pid, parent, line in processes():
            try:
                at = Path(f"/proc/{pid}/cwd").resolve()
            except OSError:
                continue
            if line[0] == program and at == place.resolve() and "--shard" in line:
                os.kill(parent, signal.SIGKILL)
                return parent, line[line.index("--shard") + 1]
        time.sleep(0.01)
    return None, None


def ray(jobs, one):
    """A local cluster with two places, and a worker that is lost."""
    place = jobs.place("ray")
    good = True
    for job in jobs.all:
        driver = subprocess.Popen([sys.executable, HERE / "ray/lockstep_ray.py", "--program", jobs.program, "--chunks",
                                   "4", "--", *jobs.arguments(job)], cwd=place, text=True, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE)
        worker, shard = kill_a_worker(jobs.program, place)
        out, errors = driver.communicate()
        good &= check(f"ray, {job}: worker {worker} killed at shard {shard}, code {driver.returncode}",
                      worker and driver.returncode == 0) or not sys.stderr.write(errors)
        # Somebody else did what the lost worker had begun.
        others = f'"shard": "{shard}"' in out and f'"worker": {worker},' not in out
        good &= check(f"ray, {job}: shard {shard} was done again", others)
    return same("a Ray cluster that lost workers", one, place) and good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="lockstep")
    options = parser.parse_args()
    program = shutil.which(options.program)
    if program is None:
        sys.exit(f"there is no program {options.program}; name it with --program")
    with tempfile.TemporaryDirectory(prefix="lockstep-cluster-") as folder:
        jobs = Jobs(os.path.abspath(program), Path(folder))
        good = check("data drawn", draw(jobs))
        one = jobs.place("one")
        for job in jobs.all:
            good &= check(f"one process, {job}", jobs.run(one, job).returncode == 0)
        missing = []
        good &= interrupted(jobs, one)
        if shutil.which("mpirun"):
            good &= mpi(jobs, one)
        else:
            missing.append("mpirun")
        if importlib.util.find_spec("ray"):
            good &= ray(jobs, one)
        else:
            missing.append("ray")
    for name in missing:
        print(f"NOT TESTED: there is no {name}")
    sys.exit(1 if not good else 2 if missing else 0)


if __name__ == "__main__":
    main()
