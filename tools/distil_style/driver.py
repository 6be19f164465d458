"""Runs both distillations side by side for a given time and sees to it that results come out.

    python driver.py TEACHER_DIR OUT SECONDS [--photos DIR] [--gpus N] [-- arguments for train.py]

One GPU trains the small TransformerNet, the others the transformer; with one GPU both share it.
A trainer that dies, or shows no sign of life, is started again from its last checkpoint without
compilation, and on one GPU unless its processes had met and only their first steps failed. At the end a missing score is made up for.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
NAMES = {"nc16": "candy16", "vit": "vit_candy"}


def gpu_count():
    try:
        out = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30).stdout
        return sum(line.startswith("GPU ") for line in out.splitlines())
    except (OSError, subprocess.TimeoutExpired):
        return 0


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Log:
    """Lines of all children, on standard output and in OUT/distil.log."""

    def __init__(self, path):
        self.file, self.lock = open(path, "a", buffering=1), threading.Lock()

    def line(self, text):
        with self.lock:
            print(text, flush=True)
            self.file.write(text + "\n")


class Job:
    def __init__(self, net, gpus, a, log, train_end):
        self.net, self.gpus, self.a, self.log, self.train_end = net, gpus, a, log, train_end
        self.work = os.path.join(a.work, net)
        os.makedirs(self.work, exist_ok=True)
        self.tries, self.children, self.finished = 0, [], False
        self.start(gpus, safe=False)

    def path(self, ending):
        return os.path.join(self.work, f"{self.net}.{ending}")

    def start(self, gpus, safe):
        self.tries += 1
        self.begun = time.time()
        for ending in ("beat", "joined"):
            if os.path.exists(self.path(ending)):
                os.remove(self.path(ending))
        world, port = max(1, len(gpus)), free_port()
        command = [sys.executable, os.path.join(HERE, "train.py"), "--net", self.net]
        command += ["--teacher", os.path.join(self.a.teacher, "candy.safetensors"), "--out", self.a.out, "--work", self.work]
        command += ["--deadline", str(self.train_end)]
        if self.a.photos:
            command += ["--photos", self.a.photos]
        command += self.a.extra
        if safe:
            command += ["--compile", "0", "--resume"]
        threads, compilers = (str(max(1, (os.cpu_count() or 4) // n)) for n in (8, 4))
        self.children = []
        for rank in range(world):
            env = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": threads}
            env.update(NCCL_NVLS_ENABLE="0", TORCH_SYMM_MEM_DISABLE_MULTICAST="1", NVSHMEM_DISABLE_NVLS="1")
            env.setdefault("TORCHINDUCTOR_COMPILE_THREADS", compilers)
            # Each process has its own compiler cache, so that none waits for another's lock.
            cache = os.path.join(self.work, f"inductor{rank}")
            env.update(TORCHINDUCTOR_CACHE_DIR=cache, TRITON_CACHE_DIR=os.path.join(cache, "triton"))
            env["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, gpus))
            if world > 1:
                env.update(RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
            child = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True)
            threading.Thread(target=self.read, args=(child, rank), daemon=True).start()
            self.children.append(child)
        self.log.line(f"driver: {self.net} started on GPUs {gpus or 'none'}{', safe mode' if safe else ''}")

    def read(self, child, rank):
        for line in child.stdout:
            self.log.line(line.rstrip() if rank == 0 else f"({self.net} rank {rank}) {line.rstrip()}")

    def stop(self):
        for c in self.children:
            # The group outlives its first process while compiler helpers are left in it.
            try:
                os.killpg(c.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
        for c in self.children:
            c.wait()

    def trouble(self):
        """Why the job must be started again, if it must."""
        codes = [c.poll() for c in self.children]
        if codes[0] == 0:
            self.finished = True
            return None
        now = time.time()
        if any(c not in (None, 0) for c in codes):
            # Once training is over only the first process has work left.
            return None if now > self.train_end and codes[0] is None else f"exit codes {codes}"
        try:
            with open(self.path("beat")) as f:
                silent, limit = now - json.load(f)["time"], self.a.silence
        except (OSError, ValueError):
            silent, limit = now - self.begun, self.a.first_beat if os.path.exists(self.path("joined")) else self.a.join
        if now < self.train_end and silent > limit:
            return f"no sign of life for {silent:.0f} s"
        return None

    def watch(self):
        if self.finished:
            return
        why = self.trouble()
        if why is None:
            return
        self.log.line(f"driver: {self.net}: {why}")
        # Processes that never met would not meet the next time either.
        together = self.tries == 1 and os.path.exists(self.path("joined")) and not os.path.exists(self.path("beat"))
        self.stop()
        if self.tries >= 3 or time.time() > self.train_end - 20:
            self.finished = True
        else:
            self.start(self.gpus if together else self.gpus[:1], safe=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("teacher")
    p.add_argument("out")
    p.add_argument("seconds", type=float)
    p.add_argument("--photos")
    p.add_argument("--gpus", type=int)
    p.add_argument("--work", default="/tmp/distil_style")
    p.add_argument("--started", type=float, default=None, help="Unix time from which SECONDS counts")
    p.add_argument("--evaluation", type=float, default=45, help="seconds kept for the scores")
    p.add_argument("--join", type=float, default=100, help="longest time until the processes of one job have met")
    p.add_argument("--first-beat", type=float, default=260, help="longest start, compilation included")
    p.add_argument("--silence", type=float, default=60, help="longest pause between signs of life")
    p.add_argument("--nets", default="nc16,vit")
    args = sys.argv[1:]
    cut = args.index("--") if "--" in args else len(args)
    a = p.parse_args(args[:cut])
    a.extra = args[cut + 1 :]
    begun = a.started or time.time()
    end = begun + a.seconds
    train_end = end - a.evaluation
    os.makedirs(a.out, exist_ok=True)
    os.makedirs(a.work, exist_ok=True)
    if a.photos is None and os.path.isdir(os.path.join(a.teacher, "photos")):
        a.photos = os.path.join(a.teacher, "photos")
    log = Log(os.path.join(a.out, "distil.log"))
    count = gpu_count() if a.gpus is None else a.gpus
    nets = a.nets.split(",")
    share = {n: list(range(count)) for n in nets}
    if len(nets) == 2 and count > 1:
        share = {"nc16": [0], "vit": list(range(1, count))}
    elif len(nets) == 2:
        share = {n: [0][:count] for n in nets}
    log.line(f"driver: {count} GPUs, training until {train_end - time.time():.0f} s from now, all over in {end - time.time():.0f} s")
    jobs = [Job(n, share[n], a, log, train_end) for n in nets]
    while not all(j.finished for j in jobs) and time.time() < end - 4:
        time.sleep(0.5)
        for j in jobs:
            j.watch()
    for j in jobs:
        j.stop()
        scored = False
        card = os.path.join(a.out, f"{NAMES[j.net]}.json")
        try:
            with open(card) as f:
                scored = "evaluation" in json.load(f)
        except (OSError, ValueError):
            pass
        weights = os.path.join(a.out, f"{NAMES[j.net]}.safetensors")
        left = end - time.time() - 2
        if not scored and os.path.exists(weights) and left > 12:
            log.line(f"driver: {j.net}: scoring what there is")
            command = [sys.executable, os.path.join(HERE, "evaluate.py"), "--net", j.net, "--weights", weights, "--card", card]
            command += ["--teacher", os.path.join(a.teacher, "candy.safetensors"), "--sheet", card.replace(".json", "_sheet.jpg")]
            if a.photos:
                command += ["--photos", a.photos]
            try:
                r = subprocess.run(command, capture_output=True, text=True, timeout=left)
                log.line(r.stdout.strip() or r.stderr[-2000:])
            except subprocess.TimeoutExpired:
                log.line("driver: no time left for it")
    for name in os.listdir(a.out):
        if name.endswith(".part"):
            os.remove(os.path.join(a.out, name))
    log.line(f"driver: done after {time.time() - begun:.0f} s: {' '.join(sorted(os.listdir(a.out)))}")
    missing = [n for n in nets if not os.path.exists(os.path.join(a.out, f"{NAMES[n]}.safetensors"))]
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
