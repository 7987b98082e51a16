# What the programs of this folder share: starting narrows on threads or under MPI, a store of measurements to plan with,
# plans, and the time of a step.
# SPDX-License-Identifier: Apache-2.0
import json
import os
import resource
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
MPI = ["mpirun", "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1"]
MPI_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


TRIES = 4


# Processor seconds that the machine was busy, and that this program's children ran.
def processor_seconds():
    with open("/proc/stat") as file:
        ticks = [int(word) for word in file.readline().split()[1:9]]
    busy = (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return busy, used.ru_utime + used.ru_stime


# Does `work`, again if other programs took too much of the processors meanwhile; its last result.
def undisturbed(work):
    for _ in range(TRIES):
        begin, (busy, own) = time.monotonic(), processor_seconds()
        result = work()
        seconds, (busy_then, own_then) = time.monotonic() - begin, processor_seconds()
        others = (busy_then - busy) - (own_then - own)
        if others <= undisturbed.others * os.cpu_count() * max(seconds, 0.1):
            break
        undisturbed.repeats += 1
    return result


undisturbed.repeats = 0
undisturbed.others = 0.05  # of the processors' time: what other programs may take of a run that counts


def run(command, **more):
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **MPI_ROOT}, **more)
    return done.returncode, done.stdout, done.stderr


# The words that put `command` on so many ranks: threads need none.
def launch(ranks, mpi):
    return MPI + ["-np", str(ranks)] if mpi else []


def machine(ranks, mpi=False):
    return (f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors; {ranks} ranks as "
            f"{'processes' if mpi else 'threads'}" +
            (f"; {undisturbed.repeats} runs repeated because of other programs" if undisturbed.repeats else ""))


def allow_others(share):
    undisturbed.others = float(share)


def add_others(parser):
    parser.add_argument("--others", type=allow_others, help="share of the processors that others may take of a run (0.05)")


def add_options(parser, steps=6, rounds=3):
    add_others(parser)
    parser.add_argument("narrows")
    parser.add_argument("--model", default=os.path.join(HERE, "..", "examples", "tiny-moe.json"))
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--seq", type=int, default=256)
    parser.add_argument("--global-batch", type=int, default=8)
    parser.add_argument("--routing", default="balanced")
    parser.add_argument("--db", help="store; else one of its own, profiled first")
    parser.add_argument("--budget", type=int, default=60, help="seconds of that profile")
    parser.add_argument("--mpi", action="store_true", help="ranks as processes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", help="write the rows here")


def job(o):
    return ["--model", o.model, "--seq", str(o.seq), "--global-batch", str(o.global_batch)]


# The store to plan with: the user's, or one in `folder` that is filled now.
def store(o, folder):
    return o.db or profile(o, os.path.join(folder, "measurements.db"))


# A profile of so many seconds in a store of its own.
def profile(o, db):
    words = launch(o.ranks, o.mpi) + [o.narrows, "profile"] + job(o) + ["--ranks", str(o.ranks), "--budget", str(o.budget),
                                                                       "--db", db]
    code, out, err = run(words)
    print(out.strip() or err.strip())
    if code != 0:
        raise SystemExit(1)
    return db


# All that several stores hold, in one.
def merged(o, dbs, path):
    code, _, err = run([o.narrows, "import", *dbs, "--db", path])
    if code != 0:
        raise SystemExit(err.strip())
    return path


# The planner's answer under `pins` ("tp=2,pp=1"), or nothing if it refuses.
def plan(o, db, pins, path, more=()):
    fix = ["--fix", pins] if pins else []
    code, out, _ = run([o.narrows, "plan"] + job(o) + ["--cluster", f"local:{o.ranks}", "--routing", o.routing, "--db", db] +
                       fix + ["--out", path, "--json", "--quiet", *more])
    return json.loads(out) if code == 0 else None


def mean(values):
    return sum(values) / len(values)


def median(values):
    return sorted(values)[len(values) // 2]


# The median step of one run of the plan, the first left out.
def step_seconds(o, path, folder, more=()):
    return median([s["seconds"] for s in steps(o, path, folder, more)])


# Executes the plan once more: adds to its "runs" the run's median step, the first left out, and to its "calibrations" their mean.
def execute(o, plan, folder):
    seen = steps(o, plan["path"], folder)
    plan["runs"].append(median([step["seconds"] for step in seen]))
    plan["calibrations"].append(mean([step["calibration_seconds"] for step in seen]))


# Adds to each plan its runs "at pace": the usual one of all runs, by how much of a per cent a run of a plan takes longer with one of its
# calibrations, a slope for each precision (`kind` of a plan), whose kernels share a core in ways of their own. Returns the slopes.
def bring_to_pace(plans, kind):
    usual = mean([c for plan in plans for c in plan["calibrations"]])
    sums = {}
    for plan in plans:
        times, slow = plan["runs"], [c / usual - 1 for c in plan["calibrations"]]
        time, middle = mean(times), mean(slow)
        sum_ = sums.setdefault(kind(plan), [0, 0])
        sum_[0] += sum((s - middle) * (t / time - 1) for s, t in zip(slow, times))
        sum_[1] += sum((s - middle) ** 2 for s in slow)
    slopes = {word: min(max(products / squares, 0), 2) if squares else 0 for word, (products, squares) in sorted(sums.items())}
    for plan in plans:
        slope = slopes[kind(plan)]
        plan["at pace"] = [t / max(0.5, 1 + slope * (c / usual - 1)) for t, c in zip(plan["runs"], plan["calibrations"])]
    return slopes


# The plan played with the store's measurements.
def simulated(o, path, db):
    code, out, err = run([o.narrows, "simulate", path, "--db", db, "--json", "--quiet"])
    if code != 0:
        raise SystemExit(err.strip())
    return json.loads(out)


# The steps of one run of the plan as train's metrics have them, the first left out. Raises with what the program said.
def steps(o, path, folder, more=()):
    metrics = os.path.join(folder, "metrics.jsonl")
    words = launch(o.ranks, o.mpi) + [o.narrows, "train", path, "--data", "portable:1", "--steps", str(o.steps + 1), "--metrics",
                                      metrics, "--quiet", *more]
    code, _, err = undisturbed(lambda: run(words))
    if code != 0:
        raise RuntimeError(err.strip()[-200:])
    with open(metrics) as file:
        return [json.loads(line) for line in list(file)[1:]]
