"""CPU peer of the grid language: arc-dsl in CPython, from a checkout of github.com/michaelhodel/arc-dsl.

    python3 benches/peers/grid_arcdsl.py CHECKOUT --tasks arc/training.jsonl --only W1,W1d,W3 --json rows.json
    cargo xtask bench --cpu --peers --only grid --whole-only --arc-dsl CHECKOUT

Rows name themselves as those of `lockstep grid bench`: `workload`, `what`, `items`, and rates per second of wall clock
and of processor time (CPython computes on one core). `kernel`, `shape` and `dtype` are those that results are compared by.
Run both in the same hour on the same machine.

W2 calls every solver on inputs of other tasks one by one, as a scorer of a library would; a call that takes longer than
--limit seconds is stopped and counted as done: the peer's rate is flattered by that, never ours.
"""

import argparse
import importlib
import json
import random
import signal
import statistics
import sys
import time


def grid(digits):
    return tuple(tuple(int(c) for c in row) for row in digits.split("/"))


def measure(runs, items, work):
    work(items[: max(1, len(items) // 20)])
    wall, cpu = [], []
    for _ in range(runs):
        w, c = time.perf_counter(), time.process_time()
        work(items)
        wall.append(time.perf_counter() - w)
        cpu.append(time.process_time() - c)
    return sorted(wall), statistics.median(cpu)


def at(times, share):
    return times[round(share * (len(times) - 1))]


def row(workload, what, unit, n, times, cpu):
    wall = statistics.median(times)
    out = {"workload": workload, "what": what, "unit": unit, "items": n, "by": "CPython %d.%d arc-dsl" % sys.version_info[:2],
           "kernel": "grid " + workload, "shape": "%s, %d %s" % (what, n, unit), "dtype": "i8", "samples": len(times),
           "median_s": wall, "p10_s": at(times, 0.1), "p90_s": at(times, 0.9), "cpu_s": cpu, "per_second": n / wall, "per_second_and_core": n / cpu}
    print("%-4s %-36s %9.3f s %12.1f %s/s, %12.1f /s and core" % (workload, what, wall, n / wall, unit, n / cpu), file=sys.stderr)
    return out


class Stopped(Exception):
    """A call took too long."""


def stop(_signal, _frame):
    raise Stopped


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("checkout", help="folder of arc-dsl, with dsl.py and solvers.py")
    ap.add_argument("--tasks", required=True, help="tasks, one a line, as lockstep reads them")
    ap.add_argument("--only", default="W1,W1d,W2,W3")
    ap.add_argument("--grids", type=int, default=1718)
    ap.add_argument("--dense", type=int, default=40, help="grids of W1d")
    ap.add_argument("--inputs", type=int, default=6, help="inputs of W2, evenly from all")
    ap.add_argument("--of-tasks", type=int, default=2, help="tasks of W3, evenly from all")
    ap.add_argument("--limit", type=float, default=30.0, help="seconds that one call of W2 and W3 may take")
    ap.add_argument("--runs", type=int, default=5)
    ap.add_argument("--json", nargs="?", const="-", metavar="FILE", help="rows to FILE, or to standard output")
    a = ap.parse_args()
    sys.path.insert(0, a.checkout)
    dsl = importlib.import_module("dsl")
    solvers = importlib.import_module("solvers")
    programs = [getattr(solvers, name) for name in sorted(dir(solvers)) if name.startswith("solve_")]
    tasks = [json.loads(line) for line in open(a.tasks, encoding="utf-8") if line.strip()]
    inputs = [grid(pair[0]) for task in tasks for pair in task["train"] + task["test"]]
    wanted, rows = a.only.split(","), []
    modes = {"T,F,T": (True, False, True), "T,T,T": (True, True, True), "T,F,F": (True, False, False),
             "F,T,T": (False, True, True), "F,F,T": (False, False, True)}

    def components(name, grids):
        total = [[0.0] * a.runs, 0.0]
        for text, mode in modes.items():
            wall, cpu = measure(a.runs, grids, lambda gs, mode=mode: [dsl.objects(g, *mode) for g in gs])
            rows.append(row(name, "objects " + text, "grids", len(grids), wall, cpu))
            total = [[t + w for t, w in zip(total[0], wall)], total[1] + cpu]
        rows.append(row(name, "objects, five modes", "grids", len(grids), *total))

    def evaluate(chosen):
        signal.signal(signal.SIGALRM, stop)
        for g in chosen:
            for program in programs:
                signal.setitimer(signal.ITIMER_REAL, a.limit)
                try:
                    program(g)
                except Exception:  # noqa: BLE001 - programs fail on inputs that they were not made for
                    pass
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)

    if "W1" in wanted:
        components("W1", [inputs[k % len(inputs)] for k in range(a.grids)])
    if "W1d" in wanted:
        random.seed(7)
        components("W1d", [tuple(tuple(random.randrange(10) for _ in range(30)) for _ in range(30)) for _ in range(a.dense)])
    if "W2" in wanted:
        step = -(-len(inputs) // a.inputs)
        chosen = inputs[::step]
        wall, cpu = measure(1 if a.inputs > 2 else a.runs, chosen, evaluate)
        rows.append(row("W2", "%d programs x %d inputs" % (len(programs), len(chosen)), "program evaluations",
                        len(programs) * len(chosen), wall, cpu))
    if "W3" in wanted:
        step = -(-len(tasks) // a.of_tasks)
        chosen = [[grid(pair[0]) for pair in task["train"] + task["test"]] for task in tasks[::step]]
        times = [measure(1, task, evaluate) for task in chosen]
        # Each task was timed once: the percentiles are those of the tasks.
        wall, cpu = sorted(statistics.median(t[0]) for t in times), statistics.median(t[1] for t in times)
        rows.append(row("W3", "%d programs on one task, of %d tasks" % (len(programs), len(chosen)), "tasks", 1, wall, cpu))
    document = {"peer": "CPython %d.%d arc-dsl" % sys.version_info[:2], "rows": rows}
    if a.json == "-":
        print(json.dumps(document, indent=2))
    elif a.json:
        with open(a.json, "w", encoding="utf-8") as out:
            json.dump(document, out, indent=2)


if __name__ == "__main__":
    main()
