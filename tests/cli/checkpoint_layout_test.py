#!/usr/bin/env python3
# A checkpoint that narrows wrote is a safetensors file by the format's description, with Hugging Face's names and the
# weights that the portable definition says; and such a file, written here, is read by `train --init`.
#
#   tests/cli/checkpoint_layout_test.py NARROWS
#
# SPDX-License-Identifier: Apache-2.0
import json
import math
import os
import struct
import subprocess
import sys
import tempfile

MODEL = dict(architectures=["DeepseekV2ForCausalLM"], model_type="deepseek_v2", hidden_size=32, intermediate_size=48,
             moe_intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
             n_routed_experts=4, n_shared_experts=1, num_experts_per_tok=2, first_k_dense_replace=1, moe_layer_freq=1,
             kv_lora_rank=16, q_lora_rank=None, qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=8, vocab_size=256,
             max_position_embeddings=256, tie_word_embeddings=False, n_group=1, topk_group=1, scoring_func="softmax",
             norm_topk_prob=True)
MASK = (1 << 64) - 1
LAYERS = 2


def mix(z):
    z &= MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def portable(seed, name, count):
    key = 0xCBF29CE484222325
    for byte in name.encode():
        key = ((key ^ byte) * 0x100000001B3) & MASK
    key = mix(seed ^ key)
    std = 0.02 / (math.sqrt(2 * LAYERS) if name.endswith((".wo", ".wd")) else 1)
    scale = f32(math.sqrt(3) * std)
    words = (mix(key + (i + 1) * 0x9E3779B97F4A7C15) >> 40 for i in range(count))
    return [f32(f32(2 * word * 2.0**-24 - 1) * scale) for word in words]


def paired(values, columns, rope, period):
    """Rows in the order of Hugging Face's DeepSeek files, which rotate neighbours: of each `period` rows the last `rope` are
    pairs there, and halves in the portable definition."""
    rows = [values[i:i + columns] for i in range(0, len(values), columns)]
    for first in range(period - rope, len(rows), period):
        halves = rows[first:first + rope]
        for i in range(rope // 2):
            rows[first + 2 * i], rows[first + 2 * i + 1] = halves[i], halves[i + rope // 2]
    return [x for row in rows for x in row]


def read_safetensors(path):
    with open(path, "rb") as file:
        content = file.read()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8:8 + length])
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            assert entry["dtype"] == "F32" and end - begin == 4 * math.prod(entry["shape"]), name
            tensors[name] = (entry["shape"], content[8 + length + begin:8 + length + end])
    assert sum(len(data) for _, data in tensors.values()) == len(content) - 8 - length
    return tensors


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, (shape, values) in tensors.items():
        header[name] = dict(dtype="F32", shape=shape, data_offsets=[len(data), len(data) + len(values)])
        data += values
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def main():
    narrows = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        def path(name):
            return os.path.join(folder, name)

        def run(*words):
            done = subprocess.run([narrows, *words, "--quiet"], capture_output=True, text=True)
            if done.returncode != 0:
                sys.exit(f"narrows {' '.join(words)}: exit {done.returncode}: {done.stderr}")

        def first_loss(metrics):
            with open(path(metrics)) as file:
                return json.loads(file.readline())["loss"]

        with open(path("config.json"), "w") as file:
            json.dump(MODEL, file)
        for name, ranks, pins in (("two.json", 2, "dp=1,tp=2"), ("one.json", 1, "dp=1,tp=1")):
            run("plan", "--model", path("config.json"), "--cluster", f"h100:{ranks}", "--seq", "32", "--global-batch", "4",
                "--fix", f"precision=f32,pp=1,micro_batch=1,{pins}", "--software", "narrows", "--out", path(name))
        # A learning rate that moves no bit: the checkpoint holds the initial weights.
        run("train", path("two.json"), "--data", "portable:0", "--init", "portable:7", "--steps", "1", "--lr", "1e-30",
            "--checkpoint", path("saved"), "--metrics", path("portable.jsonl"))
        tensors = read_safetensors(path("saved/step-0000000001/model.safetensors"))
        layer = "model.layers.1."
        expected = {"model.embed_tokens.weight": ("embed", [256, 32]), "lm_head.weight": ("head", [256, 32]),
                    layer + "self_attn.q_proj.weight": ("l1.wq", [24, 32]),
                    layer + "self_attn.kv_a_proj_with_mqa.weight": ("l1.wkvd", [20, 32]),
                    layer + "self_attn.kv_b_proj.weight": ("l1.wkvu", [32, 16]),
                    layer + "self_attn.o_proj.weight": ("l1.wo", [32, 16]),
                    layer + "mlp.gate.weight": ("l1.router", [4, 32]),
                    layer + "mlp.experts.3.down_proj.weight": ("l1.e3.wd", [32, 16]),
                    layer + "mlp.shared_experts.up_proj.weight": ("l1.shared.wu", [16, 32]),
                    "model.layers.0.mlp.gate_proj.weight": ("l0.ffn.wg", [48, 32])}
        rotated = {"l1.wq": 12, "l1.wkvd": 20}  # rows of a head; of the latents and the shared key
        for name, (there, shape) in expected.items():
            assert name in tensors, f"{name} is missing; there are {sorted(tensors)}"
            assert tensors[name][0] == shape, f"{name}: shape {tensors[name][0]}, expected {shape}"
            values = portable(7, there, math.prod(shape))
            if there in rotated:
                values = paired(values, shape[1], MODEL["qk_rope_head_dim"], rotated[there])
            assert tensors[name][1] == struct.pack(f"<{len(values)}f", *values), f"{name}: other values"
        write_safetensors(path("foreign.safetensors"), tensors)
        for init in ("foreign.safetensors", "saved/step-0000000001"):
            run("train", path("one.json"), "--data", "portable:0", "--init", path(init), "--steps", "1",
                "--metrics", path("foreign.jsonl"))
            assert abs(first_loss("foreign.jsonl") - first_loss("portable.jsonl")) < 1e-6, "another loss"
        print(f"{len(tensors)} tensors as described")


main()
