#!/usr/bin/env python3
"""Runs one `lockstep` command over a folder on a Ray cluster.

    pip install ray
    python cluster/ray/lockstep_ray.py --gpus 1 -- align run RawNIND/ -o out/ --masks out/masks
    python cluster/ray/lockstep_ray.py --cpus 8 --chunks 64 -- nsct denoise photos/ -o clean/

Works for every subcommand that takes `--shard`. The folder is cut into chunks; each chunk is one Ray task that runs the
program with `--shard I/N`, so machines that are faster do more of them. A task whose worker or machine is lost is done
again elsewhere: finished items are in the journal and are not repeated. The last task runs the command without
`--shard`: it finds everything done, joins what has to be joined, and its document is the report of the whole.

Input and output folders must be on a file system that all machines share. The program itself must be on all of them.
"""

import argparse
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import ray

# Codes of the program after which another attempt may succeed: device lost, file system, memory, ended by a signal.
TRANSIENT = {4, 5, 6, 130}
# Codes after which the items of the chunk are done, all or all but some.
DONE = {0, 3}


class Transient(Exception):
    """A chunk that failed for a reason that may pass."""


class Refused(Exception):
    """A command line or an input that no attempt will make good."""


def ends_with_parent():
    """A worker that is killed takes its program along (Linux); nobody else would end it."""
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    except (AttributeError, OSError):
        pass


def run(program, arguments, folder, threads):
    """Runs the program once, in `folder`, and returns what it said."""
    environment = dict(os.environ)
    if threads:
        environment.setdefault("RAYON_NUM_THREADS", str(threads))
    start = time.time()
    done = subprocess.run([program, *arguments], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, preexec_fn=ends_with_parent, check=False)
    code = done.returncode
    said = {"host": socket.gethostname(), "worker": os.getpid(), "seconds": round(time.time() - start, 3), "code": code}
    if code in TRANSIENT or code < 0:
        raise Transient(f"{' '.join(arguments)} ended with {code}: {done.stderr.strip()[-2000:]}")
    if code not in DONE:
        raise Refused(f"{' '.join(arguments)} ended with {code}: {done.stderr.strip()[-2000:]}")
    return said, done.stdout, done.stderr


def chunk(program, arguments, folder, threads, index, count):
    """One task: one shard."""
    said, _, errors = run(program, [*arguments, "--shard", f"{index}/{count}", "--quiet"], folder, threads)
    return {"shard": f"{index}/{count}", **said, "errors": errors.strip()[-2000:]}


def whole(program, arguments, folder, threads):
    """The last task: the whole command, which finds everything done."""
    said, out, errors = run(program, [*arguments, "--json"], folder, threads)
    return said, out, errors


def chunks_for(options):
    """Four chunks for each task that fits the cluster: the last ones to end leave little idle."""
    resources = ray.cluster_resources()
    slots = resources.get("GPU", 0) / options.gpus if options.gpus else resources.get("CPU", 1) / options.cpus
    return max(1, int(4 * slots))


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", help="of a running cluster, or `auto` [default: start one on this machine]")
    parser.add_argument("--program", default="lockstep", help="the lockstep program [default: from the PATH]")
    parser.add_argument("--chunks", type=int, help="tasks to cut the folder into [default: four for each place]")
    parser.add_argument("--gpus", type=float, default=0, help="GPUs of one task, such as 1 or 0.5 [default: 0]")
    parser.add_argument("--cpus", type=int, default=1, help="CPU threads of one task [default: 1]")
    parser.add_argument("--retries", type=int, default=3, help="further attempts for a chunk [default: 3]")
    parser.add_argument("arguments", nargs="+", help="the command, after `--`")
    options = parser.parse_args()
    if any(a == "--shard" or a.startswith("--shard=") for a in options.arguments):
        parser.error("--shard is what this program sets; leave it out")
    if (options.chunks or 1) < 1 or options.cpus < 1 or options.gpus < 0 or options.retries < 0:
        parser.error("--chunks and --cpus start at 1, --gpus and --retries at 0")
    program = shutil.which(options.program)
    if program is None:
        parser.error(f"there is no program {options.program}; name it with --program")
    options.program = os.path.abspath(program)
    return options


def main():
    options = parse()
    ray.init(address=options.address, log_to_driver=False, logging_level="warning")
    count = options.chunks or chunks_for(options)
    folder = os.getcwd()
    settings = {"num_cpus": options.cpus, "num_gpus": options.gpus, "max_retries": options.retries,
                "retry_exceptions": [Transient]}
    task = ray.remote(**settings)(chunk)
    given = (options.program, options.arguments, folder, options.cpus)
    waiting = [task.remote(*given, index, count) for index in range(count)]
    shards = []
    try:
        while waiting:
            ready, waiting = ray.wait(waiting, num_returns=1)
            shards.append(ray.get(ready[0]))
            last = shards[-1]
            print(f"{len(shards)}/{count}: shard {last['shard']} on {last['host']} in {last['seconds']:.1f} s, "
                  f"code {last['code']}", file=sys.stderr)
        said, out, errors = ray.get(ray.remote(**settings)(whole).remote(*given))
    except (Refused, Transient, ray.exceptions.RayError) as error:
        for task in waiting:
            ray.cancel(task, force=True)
        cause = getattr(error, "cause", None) or error
        sys.exit(f"{cause}\nfinished items are kept: run the same command again to go on")
    sys.stderr.write(errors)
    try:
        result = json.loads(out) if out.strip() else None
    except json.JSONDecodeError:
        result = out
    shards.sort(key=lambda s: int(s["shard"].split("/")[0]))
    print(json.dumps({"shards": shards, "whole": said, "result": result}, indent=2))
    # A chunk without failures and a chunk with some are one command with some.
    sys.exit(said["code"])


if __name__ == "__main__":
    main()
