#!/usr/bin/env python3
# Trains small plans as processes under mpirun and as threads: both must give the same curve, digit for digit, and that of
# one rank but for rounding. What they cover: context parallelism by ring and by all-to-all, experts by all-gather and by
# all-to-all, multi-token prediction, balance by selection biases, pairs that overlap their exchanges, sharded state.
#
#   tests/cli/mpi_train_test.py NARROWS
#
# SPDX-License-Identifier: Apache-2.0
import json
import os
import shutil
import subprocess
import sys
import tempfile

STEPS = 3
V2 = dict(architectures=["DeepseekV2ForCausalLM"], model_type="deepseek_v2", hidden_size=64, intermediate_size=128,
          moe_intermediate_size=32, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=4,
          n_routed_experts=8, n_shared_experts=1, num_experts_per_tok=2, first_k_dense_replace=1, moe_layer_freq=1,
          kv_lora_rank=32, q_lora_rank=48, qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=16, vocab_size=256,
          max_position_embeddings=2048, tie_word_embeddings=False, n_group=1, topk_group=1, scoring_func="softmax",
          norm_topk_prob=True)
V3 = dict(V2, architectures=["DeepseekV3ForCausalLM"], model_type="deepseek_v3", scoring_func="sigmoid",
          topk_method="noaux_tc", num_nextn_predict_layers=1)
# Name: model, ranks, pins, the algorithm of an axis.
CASES = {"context ring": (V2, 2, "cp=2,dp=1", {"cp": "ring"}),
         "context all-to-all": (V2, 2, "cp=2,dp=1", {"cp": "all-to-all"}),
         "experts by all-gather": (V2, 2, "ep=2,dp=2", {"ep": "all-gather"}),
         "sharded weights": (V2, 2, "ep=2,dp=2,zero=3,dp_shard=2", {}),
         "prediction and biases": (V3, 2, "ep=2,dp=2", {}),
         "prediction and biases, two stages": (V3, 2, "pp=2,schedule=1f1b", {}),
         "overlapped pairs": (V3, 4, "pp=2,ep=2,dp=2,schedule=dualpipe", {})}
UNNAMED = dict(tp=1, pp=1, ep=1, etp=1, cp=1, micro_batch=1, recompute="none")
ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                   ASAN_OPTIONS="detect_leaks=0")
MPIRUN = ["mpirun", "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1"]


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=300)
    if done.returncode != 0:
        sys.exit(f"mpi_train_test: {' '.join(command)}: exit {done.returncode}: {done.stdout}{done.stderr}")


def plan(narrows, folder, model, ranks, pins, algorithms):
    config, path = (os.path.join(folder, name) for name in ("config.json", f"plan-{ranks}.json"))
    with open(config, "w") as file:
        json.dump(model, file)
    named = dict(pin.split("=") for pin in pins.split(",") if pin)
    fixed = ",".join(f"{key}={value}" for key, value in {**UNNAMED, **named}.items())
    run([narrows, "plan", "--model", config, "--cluster", f"h100:{ranks}", "--seq", "32", "--global-batch", "8",
         "--precision", "f32", "--fix", fixed, "--software", "narrows", "--out", path])
    with open(path) as file:
        made = json.load(file)
    for axis, algorithm in algorithms.items():
        made["strategy"]["comm"][axis] = {"algorithm": algorithm}
    with open(path, "w") as file:
        json.dump(made, file)
    return path


def curve(narrows, folder, path, launcher=()):
    metrics = os.path.join(folder, "metrics.jsonl")
    run([*launcher, narrows, "train", path, "--data", "portable:1", "--steps", str(STEPS), "--aux", "0.01", "--bias-rate",
         "0.05", "--metrics", metrics, "--quiet"])
    with open(metrics) as file:
        lines = [json.loads(line) for line in file]
    return [[line.get(key, 0) for key in ("loss", "mtp_loss", "aux_loss", "grad_norm")] for line in lines]


def main():
    if not shutil.which("mpirun"):
        print("skipped: no mpirun")
        return
    narrows = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        for name, (model, ranks, pins, algorithms) in CASES.items():
            one = curve(narrows, folder, plan(narrows, folder, model, 1, "", {}))
            path = plan(narrows, folder, model, ranks, pins, algorithms)
            threads = curve(narrows, folder, path)
            processes = curve(narrows, folder, path, [*MPIRUN, "-np", str(ranks)])
            if len(one) != STEPS or processes != threads:
                sys.exit(f"mpi_train_test: {name}: expected the threads' {threads}, found {processes}")
            apart = max(abs(a - b) / max(abs(b), 1e-9) for x, y in zip(threads, one) for a, b in zip(x, y))
            if apart > 1e-4:
                sys.exit(f"mpi_train_test: {name}: expected one rank's {one}, found {threads}")
            print(f"{name}: processes as threads, within {apart:.0e} of one rank")


main()
