#!/usr/bin/env python3
# Kills a training job at random moments with SIGKILL and resumes it, until it has made all its steps: the curve must be
# that of an undisturbed job, digit for digit, with no step lost or repeated; then the same checkpoint goes on on another
# layout. With mpirun at hand, one rank of an MPI job is killed too.
#
#   tests/cli/kill_test.py NARROWS [KILLS]
#
# SPDX-License-Identifier: Apache-2.0
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

MODEL = dict(architectures=["DeepseekV2ForCausalLM"], model_type="deepseek_v2", hidden_size=64, intermediate_size=128,
             moe_intermediate_size=32, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=4,
             n_routed_experts=8, n_shared_experts=1, num_experts_per_tok=2, first_k_dense_replace=1, moe_layer_freq=1,
             kv_lora_rank=32, q_lora_rank=48, qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=16, vocab_size=256,
             max_position_embeddings=2048, tie_word_embeddings=False, n_group=1, topk_group=1, scoring_func="softmax",
             norm_topk_prob=True)
ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
MPIRUN = ["mpirun", "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1"]


class Test:
    def __init__(self, narrows, folder):
        self.narrows, self.folder = narrows, folder
        with open(self.path("config.json"), "w") as file:
            json.dump(MODEL, file)
        self.plan("two.json", 2, "dp=2,tp=1,pp=1,ep=2,micro_batch=1,zero=1")
        self.plan("other.json", 4, "dp=1,tp=2,pp=2,micro_batch=1")

    def path(self, name):
        return os.path.join(self.folder, name)

    def plan(self, name, ranks, pins):
        subprocess.run([self.narrows, "plan", "--model", self.path("config.json"), "--cluster", f"h100:{ranks}", "--seq",
                        "64", "--global-batch", "8", "--fix", "precision=f32," + pins, "--software", "narrows", "--out",
                        self.path(name)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def train(self, plan, steps, name, resume=True, launcher=()):
        command = [*launcher, self.narrows, "train", self.path(plan), "--data", "portable:0", "--steps", str(steps),
                   "--metrics", self.path(name + ".jsonl"), "--checkpoint", self.path(name), "--checkpoint-every", "1",
                   "--quiet"]
        if resume:
            command += ["--resume", self.path(name)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENVIRONMENT, text=True)

    def finish(self, job):
        said = job.communicate()[1]
        if job.returncode != 0:
            sys.exit(f"expected a job to end well, found exit {job.returncode}: {said}")

    def curve(self, name):
        with open(self.path(name + ".jsonl")) as file:
            lines = [json.loads(line) for line in file]
        return [(line["step"], line["loss"], line["grad_norm"]) for line in lines]

    def newest(self, name):
        if not os.path.isdir(self.path(name)):
            return 0
        return max([int(step[5:]) for step in os.listdir(self.path(name)) if step.startswith("step-")], default=0)


def expect(condition, what):
    if not condition:
        sys.exit("kill_test: " + what)


def main():
    kills = int(sys.argv[2]) if len(sys.argv) > 2 else 8
    steps = 4 * kills
    chance = random.Random(20261122)
    with tempfile.TemporaryDirectory() as folder:
        test = Test(os.path.abspath(sys.argv[1]), folder)
        begin = time.monotonic()
        test.finish(test.train("two.json", steps, "whole", resume=False))
        undisturbed = time.monotonic() - begin
        killed = done = 0
        while killed < kills and done < steps:
            job = test.train("two.json", steps, "killed")
            time.sleep(chance.uniform(0, min(1.5, 0.3 + undisturbed / kills)))
            job.send_signal(signal.SIGKILL)
            job.communicate()
            killed += job.returncode == -signal.SIGKILL
            expect(job.returncode in (-signal.SIGKILL, 0), f"the job complained: exit {job.returncode}")
            expect(test.newest("killed") >= done, "a checkpoint was lost")
            done = test.newest("killed")
        if shutil.which("mpirun") and done < steps:
            job = test.train("two.json", steps, "killed", launcher=[*MPIRUN, "-np", "2"])
            time.sleep(0.7)
            ranks = subprocess.run(["pgrep", "-P", str(job.pid)], capture_output=True, text=True).stdout.split()
            if ranks:
                os.kill(int(chance.choice(ranks)), signal.SIGKILL)
            job.communicate(timeout=60)
        test.finish(test.train("two.json", steps, "killed"))
        expect([step for step, _, _ in test.curve("killed")] == list(range(steps)), "a step was lost or repeated")
        expect(test.curve("killed") == test.curve("whole"), "the curve is not that of an undisturbed job")
        test.finish(test.train("two.json", steps + 2, "whole"))
        test.finish(test.train("other.json", steps + 2, "killed"))
        for (_, loss, _), (_, other, _) in zip(test.curve("whole")[-2:], test.curve("killed")[-2:]):
            expect(abs(loss - other) < 1e-3 * loss, f"another layout goes on with {other}, not {loss}")
        print(f"{killed} kills, {steps} steps: the undisturbed curve")


main()
