"""CPU peer of searching: icecuber's solver in C++, from a checkout of github.com/top-quarks/ARC-solution, built with `make`.

    make -C CHECKOUT
    python3 benches/peers/grid_icecuber.py CHECKOUT --tasks arc/training.jsonl --of-tasks 10 --depth 2 --json rows.json
    cargo xtask bench --cpu --peers --only grid --whole-only --icecuber CHECKOUT

It composes functions on a task's inputs as `lockstep grid bench --only w4 --depth 2` composes operations, on one core. The
tasks are the same and so is the depth; the functions are others, and some of its states are lists of pictures. The row
`search alone` is the time that it prints for making all compositions (`brutePieces`); `whole program` is that of the
process, which also puts pieces together to answers. Each task runs in a process of its own, one after the other, with its
first test only, in a temporary folder.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time


def rows_of(digits):
    return [[int(c) for c in row] for row in digits.split("/")]


def published(task):
    """The task as the ARC publishes it, which is what the program reads."""
    pair = lambda p: {"input": rows_of(p[0]), "output": rows_of(p[1])}  # noqa: E731
    return {"train": [pair(p) for p in task["train"]], "test": [pair(p) for p in task["test"][:1]]}


def number(pattern, text, name):
    found = re.findall(pattern, text)
    if not found:
        raise ValueError(f"task {name}: the program did not print `{pattern}`; its output ends with:\n{text[-500:]}")
    return found[-1]


def once(program, folder, task, depth, limit):
    """Seconds of the search and of the process, distinct states, and functions."""
    (folder / "dataset/evaluation").mkdir(parents=True)
    (folder / "output").mkdir()
    # Names of tasks have eight characters there.
    with open(folder / "dataset/evaluation/00000000.json", "w", encoding="utf-8") as out:
        json.dump(published(task), out)
    start = time.perf_counter()
    ran = subprocess.run([program, "0", str(depth)], cwd=folder, capture_output=True, text=True, timeout=limit)
    whole = time.perf_counter() - start
    if ran.returncode != 0:
        raise ValueError(f"task {task['id']}: the program ended with {ran.returncode}:\n{ran.stderr[-500:]}")
    search = float(number(r"brutePieces time: ([0-9.e+-]+)", ran.stdout, task["id"]))
    states = sum(map(int, number(r"Dag sizes: ([0-9 ]+)", ran.stdout, task["id"]).split()))
    return search, whole, states, int(number(r"Function count: ([0-9]+)", ran.stdout, task["id"]))


def at(times, share):
    return sorted(times)[round(share * (len(times) - 1))]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("path", help="the checkout in which `make` has run, or the program that it made")
    ap.add_argument("--tasks", required=True, help="tasks, one a line, as lockstep reads them")
    ap.add_argument("--of-tasks", type=int, default=10, help="tasks, evenly from all")
    ap.add_argument("--depth", type=int, default=2, choices=[1, 2, 3])
    ap.add_argument("--limit", type=float, default=300.0, help="seconds that one task may take")
    ap.add_argument("--runs", type=int, default=5)
    ap.add_argument("--json", nargs="?", const="-", metavar="FILE", help="rows to FILE, or to standard output")
    a = ap.parse_args()
    if min(a.of_tasks, a.runs) < 1:
        ap.error("--of-tasks and --runs must be at least 1")
    path = pathlib.Path(a.path).resolve()
    program = path / "run" if path.is_dir() else path
    if not os.access(program, os.X_OK):
        raise ValueError(f"there is no program {program}: run `make` in the checkout")
    with open(a.tasks, encoding="utf-8") as lines:
        tasks = [json.loads(line) for line in lines if line.strip()]
    if not tasks:
        raise ValueError(f"{a.tasks} holds no tasks")
    chosen = tasks[:: -(-len(tasks) // a.of_tasks)]
    runs = []
    # The first run warms up.
    for k in range(a.runs + 1):
        ran = []
        for n, task in enumerate(chosen):
            with tempfile.TemporaryDirectory() as folder:
                ran.append(once(program, pathlib.Path(folder) / "task", task, a.depth, a.limit))
            if k == 0:
                print("task %s: %.3f s, %.3f s with all else, %d states" % (task["id"], *ran[-1][:3]), file=sys.stderr)
        runs += [ran] if k else []
    states, functions = sum(one[2] for one in runs[0]), runs[0][0][3]
    rows = []
    for which, name in enumerate(["search alone", "whole program"]):
        times = [sum(one[which] for one in ran) for ran in runs]
        each = [one[which] for ran in runs for one in ran]
        median = statistics.median(times)
        rows.append({
            "kernel": "grid W4", "shape": "all compositions to depth %d, %d tasks" % (a.depth, len(chosen)), "dtype": "i8",
            "variant": "%s, %d functions, %d states" % (name, functions, states), "samples": len(times),
            "median_s": median, "p10_s": at(times, 0.1), "p90_s": at(times, 0.9), "items": len(chosen), "unit": "tasks",
            "median_s_a_task": statistics.median(each), "tasks_per_second": len(chosen) / median,
            "states_per_second": states / median,
        })  # fmt: skip
        print("W4   %-14s %9.3f s for %d tasks, median %.3f s a task, %.2f tasks/s, %.0f distinct states/s" % (
            name, median, len(chosen), statistics.median(each), len(chosen) / median, states / median), file=sys.stderr)  # fmt: skip
    document = {"peer": "icecuber", "rows": rows}
    if a.json == "-":
        print(json.dumps(document, indent=2))
    elif a.json:
        with open(a.json, "w", encoding="utf-8") as out:
            json.dump(document, out, indent=2)


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError, subprocess.TimeoutExpired) as error:
        sys.exit(f"error: {error}")
