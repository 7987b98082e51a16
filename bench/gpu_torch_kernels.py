#!/usr/bin/env python3
"""The kernels that PyTorch reaches on a GPU (cuBLASLt, cuDNN or FlashAttention, its own element-wise ones), case by case.

    bench/gpu_torch_kernels.py --list > cases.csv           # the cases, in the order in which they are run; needs no torch
    bench/gpu_torch_kernels.py OUT.csv [--seconds 480] [--samples 20] [--device cuda|cpu] [--small]

`narrows_gpu_kernels cases.csv ours.csv` times our kernels on the same list, `narrows import` takes both tables. The list
is every projection of DeepSeek-V3, Llama 3 and a small model, at several numbers of tokens, in three directions and the
formats there are; their attention; what only moves memory. Its order is shuffled with a fixed seed, so that a short budget
takes a bit of everything.

A time is one call's, between CUDA events, on random inputs, after a fill of memory larger than the cache. A case that this
PyTorch or chip refuses is a row without a time, with the reason.
"""
import argparse
import csv
import datetime
import random
import statistics
import subprocess
import sys
import time

# (k, n) of y = x w^T by model; experts as (groups, k, n).
PROJECTIONS = {
    "deepseek-v3": [(7168, 2112), (1536, 24576), (512, 32768), (16384, 7168), (7168, 36864), (18432, 7168), (7168, 4096),
                    (2048, 7168), (7168, 129280)],
    "llama-3.1-405b": [(16384, 18432), (16384, 16384), (16384, 106496), (53248, 16384)],
    "llama-3.1-8b": [(4096, 6144), (4096, 4096), (4096, 28672), (14336, 4096), (4096, 128256)],
    "deepseek-v2-lite": [(2048, 3072), (512, 4096), (2048, 2048), (2048, 21888), (10944, 2048), (2048, 102400)]}
EXPERTS = [(4, 7168, 4096), (4, 2048, 7168), (8, 7168, 4096), (8, 2048, 7168), (8, 4096, 28672), (64, 2048, 2816),
           (64, 1408, 2048)]
TOKENS = (512, 1024, 4096, 8192, 16384)
# (heads, kv_heads, qk_dim, v_dim): V3, V2-Lite, Llama 3 70B and 8B and their shares under tp 8, dims of 64.
HEADS = [(128, 128, 192, 128), (16, 16, 192, 128), (64, 8, 128, 128), (8, 1, 128, 128), (32, 8, 128, 128), (32, 32, 64, 64)]
SEQUENCES = (1024, 2048, 4096, 8192, 16384)
WIDTHS = (2048, 4096, 7168, 16384)
PASSES = ("forward", "input-grad", "weight-grad")
MOST_FLOPS = 3e13  # of a case
CACHE = 256 << 20  # bytes filled before each sample


def cases(small):
    """(op, direction, dtype, {extent: number}) of the list."""
    pairs = sorted({p for model in PROJECTIONS.values() for p in model}) if not small else [(256, 384)]
    tokens = TOKENS if not small else (128,)
    out = []
    for (k, n) in pairs:
        for m in tokens:
            if 2 * m * k * n > MOST_FLOPS:
                continue
            shape = {"m": m, "n": n, "k": k}
            out += [("matmul", d, dtype, shape) for d in PASSES for dtype in ("bf16", "fp8-block")]
            out += [("matmul", "forward", dtype, shape) for dtype in ("fp8-tensor", "fp8-row")]
            if m == tokens[-3 if len(tokens) > 2 else 0]:
                out += [("matmul", d, "f32", shape) for d in PASSES]
    for groups, k, n in EXPERTS if not small else [(2, 256, 384)]:
        for m in (4096, 16384, 65536) if not small else (256,):
            shape = {"m": m, "n": n, "k": k, "groups": groups}
            out += [("matmul", d, dtype, shape) for d in PASSES for dtype in ("bf16", "fp8-block")]
    for heads, kv_heads, qk, v in HEADS if not small else [(2, 1, 128, 128), (2, 2, 192, 128)]:
        for seq in SEQUENCES if not small else (256,):
            if heads * seq <= 128 * 16384:
                shape = {"batch": 1, "heads": heads, "kv_heads": kv_heads, "seq": seq, "qk_dim": qk, "v_dim": v, "causal": 1}
                out += [("attention", d, "bf16", shape) for d in PASSES[:2]]
    for rows in (1024, 4096, 16384) if not small else (64,):
        for cols in WIDTHS if not small else (256,):
            shape = {"rows": rows, "cols": cols}
            out += [(op, d, "bf16", shape) for op in ("norm", "activation") for d in PASSES[:2]]
            out += [(op, "forward", "bf16", shape) for op in ("elementwise", "quantise", "permute")]
        out.append(("router", "forward", "f32", {"rows": rows, "cols": 256}))
    for rows in (2048, 8192) if not small else (64,):
        out += [("loss", d, "bf16", {"rows": rows, "cols": 129280 if not small else 1024}) for d in PASSES[:2]]
    for count in (1 << 26, 1 << 28) if not small else (1 << 16,):
        out.append(("optimizer", "forward", "f32", {"rows": count, "cols": 1}))
    random.Random(1).shuffle(out)
    return out


def text_of(shape):
    return ";".join(f"{key}={value}" for key, value in shape.items())


def work_of(op, direction, dtype, s):
    """FLOPs (causal attention: half) and the least bytes read and written."""
    size = {"f32": 4, "bf16": 2}.get(dtype, 1)
    if op == "matmul":
        m, n, k, groups = s["m"], s["n"], s["k"], s.get("groups", 1)
        out = m * n if direction == "forward" else m * k if direction == "input-grad" else groups * n * k
        read = m * k + groups * n * k + m * n - out
        return 2 * m * n * k, size * read + max(size, 2) * out
    if op == "attention":
        dims, pairs = s["qk_dim"] + s["v_dim"], s["batch"] * s["heads"] * s["seq"] ** 2 / 2
        numbers = s["batch"] * s["seq"] * dims * (s["heads"] + s["kv_heads"])
        if direction == "forward":
            return 2 * pairs * dims, 2 * numbers
        return 2 * pairs * (3 * s["qk_dim"] + 2 * s["v_dim"]), 4 * numbers
    count = s["rows"] * s["cols"]
    per = {("norm", "forward"): (4, 4), ("norm", "input-grad"): (11, 10), ("activation", "forward"): (8, 6),
           ("activation", "input-grad"): (16, 10), ("elementwise", "forward"): (1, 6), ("quantise", "forward"): (2, 3),
           ("permute", "forward"): (0, 4), ("router", "forward"): (4, 4), ("loss", "forward"): (5, 2),
           ("loss", "input-grad"): (4, 4), ("optimizer", "forward"): (12, 28)}[op, direction]
    return per[0] * count, per[1] * count


class Refused(Exception):
    pass


class Maker:
    """Makes a case's call in PyTorch: a function without arguments that starts the op once."""

    def __init__(self, torch, device):
        self.torch, self.device = torch, torch.device(device)

    def numbers(self, *shape, dtype=None):
        t = self.torch
        return (t.randn(*shape, device=self.device, dtype=t.float32) * 0.5).to(dtype or t.bfloat16)

    def call(self, op, direction, dtype, s):
        return getattr(self, op)(direction, dtype, s)

    def matmul(self, direction, dtype, s):
        if dtype.startswith("fp8"):
            return self.matmul_fp8(direction, dtype, s)
        if s.get("groups", 1) > 1:
            return self.grouped(direction, s)
        kind = self.torch.float32 if dtype == "f32" else self.torch.bfloat16
        m, n, k = s["m"], s["n"], s["k"]
        x, w, y = (self.numbers(*shape, dtype=kind) for shape in ((m, k), (n, k), (m, n)))
        return {"forward": lambda: self.torch.mm(x, w.t()), "input-grad": lambda: self.torch.mm(y, w),
                "weight-grad": lambda: self.torch.mm(y.t(), x)}[direction]

    def matmul_fp8(self, direction, dtype, s):
        t = self.torch
        if direction != "forward" or s.get("groups", 1) > 1 or not hasattr(t, "_scaled_mm"):
            raise Refused("not asked of this PyTorch")
        m, n, k = s["m"], s["n"], s["k"]
        x, w = (self.numbers(*shape).to(t.float8_e4m3fn) for shape in ((m, k), (n, k)))
        ones = lambda *shape: t.ones(*shape, device=self.device, dtype=t.float32)
        if dtype == "fp8-tensor":
            left, right = ones(1), ones(1)
        elif dtype == "fp8-row":
            left, right = ones(m, 1), ones(1, n)
        else:  # 1x128 of x, its rows next to one another; 128x128 of w, padded to four blocks
            tiles, padded = -(-k // 128), (-(-k // 128) + 3) // 4 * 4
            left = ones(tiles, m).t()
            right = ones(-(-n // 128), padded)[:, :tiles].t()
        return lambda: t._scaled_mm(x, w.t(), scale_a=left, scale_b=right, out_dtype=t.bfloat16)

    def grouped(self, direction, s):
        t = self.torch
        if not hasattr(t, "_grouped_mm"):
            raise Refused("torch._grouped_mm is missing")
        m, n, k, groups = s["m"], s["n"], s["k"], s["groups"]
        ends = t.tensor([m * (g + 1) // groups for g in range(groups)], device=self.device, dtype=t.int32)
        x, w, y = self.numbers(m, k), self.numbers(groups, n, k), self.numbers(m, n)
        return {"forward": lambda: t._grouped_mm(x, w.transpose(-2, -1), offs=ends),
                "input-grad": lambda: t._grouped_mm(y, w, offs=ends),
                "weight-grad": lambda: t._grouped_mm(y.t(), x, offs=ends)}[direction]

    def attention(self, direction, _, s):
        attend = self.torch.nn.functional.scaled_dot_product_attention
        shape = lambda heads, dim: (s["batch"], heads, s["seq"], dim)
        q = self.numbers(*shape(s["heads"], s["qk_dim"]))
        # Shared keys are repeated: not every kernel behind this call shares them.
        copies = s["heads"] // s["kv_heads"]
        k = self.numbers(*shape(s["kv_heads"], s["qk_dim"])).repeat_interleave(copies, 1)
        v = self.numbers(*shape(s["kv_heads"], s["v_dim"])).repeat_interleave(copies, 1)
        if direction == "forward":
            return lambda: attend(q, k, v, is_causal=True)
        inputs = [x.requires_grad_() for x in (q, k, v)]
        out = attend(*inputs, is_causal=True)
        grad = self.torch.randn_like(out)
        return lambda: self.torch.autograd.grad(out, inputs, grad, retain_graph=True)

    def backward_of(self, function, inputs):
        inputs = [x.requires_grad_() for x in inputs]
        out = function(*inputs)
        grad = self.torch.randn_like(out)
        return lambda: self.torch.autograd.grad(out, inputs, grad, retain_graph=True)

    def norm(self, direction, _, s):
        x, w = self.numbers(s["rows"], s["cols"]), self.numbers(s["cols"])
        f = self.torch.nn.functional
        if not hasattr(f, "rms_norm"):
            raise Refused("torch's rms_norm is missing")
        one = lambda a, b: f.rms_norm(a, (s["cols"],), b, 1e-6)
        return (lambda: one(x, w)) if direction == "forward" else self.backward_of(one, (x, w))

    def activation(self, direction, _, s):
        gate, up = self.numbers(s["rows"], s["cols"]), self.numbers(s["rows"], s["cols"])
        one = lambda a, b: self.torch.nn.functional.silu(a) * b
        return (lambda: one(gate, up)) if direction == "forward" else self.backward_of(one, (gate, up))

    def elementwise(self, _direction, _dtype, s):
        x, y = self.numbers(s["rows"], s["cols"]), self.numbers(s["rows"], s["cols"])
        return lambda: x + y

    def quantise(self, _direction, _dtype, s):
        x = self.numbers(s["rows"], s["cols"]).view(s["rows"], -1, 128)

        def one():
            scale = x.abs().amax(-1, keepdim=True).float() / 448
            return (x / scale).to(self.torch.float8_e4m3fn), scale

        return one

    def permute(self, _direction, _dtype, s):
        source = max(1, s["rows"] // 8)
        x = self.numbers(source, s["cols"])
        index = self.torch.arange(s["rows"], device=self.device) * 2654435761 % source
        return lambda: x.index_select(0, index)

    def router(self, _direction, _dtype, s):
        logits = self.numbers(s["rows"], s["cols"], dtype=self.torch.float32)

        def one():
            score = logits.sigmoid()
            groups = score.view(s["rows"], 8, -1).topk(2, -1)[0].sum(-1).topk(4, -1)[1]
            keep = self.torch.zeros(s["rows"], 8, device=self.device).scatter_(1, groups, 1.0)
            return (score.view(s["rows"], 8, -1) * keep.unsqueeze(-1)).flatten(1).topk(8, -1)

        return one

    def loss(self, direction, _, s):
        logits = self.numbers(s["rows"], s["cols"])
        targets = self.torch.randint(0, s["cols"], (s["rows"],), device=self.device)
        one = lambda x: self.torch.nn.functional.cross_entropy(x.float(), targets)
        return (lambda: one(logits)) if direction == "forward" else self.backward_of(one, (logits,))

    def optimizer(self, _direction, _dtype, s):
        weight = self.torch.nn.Parameter(self.numbers(s["rows"], dtype=self.torch.float32))
        weight.grad = self.numbers(s["rows"], dtype=self.torch.float32)
        fused = {"fused": True} if self.device.type == "cuda" else {}
        return self.torch.optim.AdamW([weight], lr=1e-4, **fused).step


class Clock:
    """Microseconds of one call."""

    def __init__(self, torch, device):
        self.torch, self.cuda = torch, device == "cuda"
        self.filler = torch.empty(CACHE, dtype=torch.uint8, device=device) if self.cuda else None

    def once(self, call):
        if not self.cuda:
            begin = time.perf_counter()
            call()
            return (time.perf_counter() - begin) * 1e6
        before, behind = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
        self.filler.zero_()  # the host is ahead of the device while it runs, and the cache is empty behind it
        before.record()
        call()
        behind.record()
        behind.synchronize()
        return before.elapsed_time(behind) * 1e3

    def times(self, call, samples):
        for _ in range(2):
            first = self.once(call)
        return sorted(self.once(call) for _ in range(max(5, min(samples, int(3e5 / max(first, 1.0))))))


def ask(*fields):
    """What nvidia-smi says of the first GPU, "" where it cannot."""
    command = ["nvidia-smi", "--id=0", "--query-gpu=" + ",".join(fields), "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


STATE = ("clocks.sm", "clocks.mem", "power.draw", "power.limit", "temperature.gpu", "clocks_throttle_reasons.active")


def head(torch, device):
    if device != "cuda":
        return f"# cpu; torch {torch.__version__}; {datetime.date.today()}\n"
    return (f"# {torch.cuda.get_device_name()}; torch {torch.__version__}; cuda {torch.version.cuda}; {datetime.date.today()}\n"
            f"# driver: {ask('driver_version')}\n# clock: {ask('clocks.sm')}\n# memory clock: {ask('clocks.mem')}\n"
            f"# before: {ask(*STATE)}\n")


def measure(words):
    import torch
    torch.manual_seed(1)
    torch.backends.cuda.matmul.allow_tf32 = False
    maker, clock = Maker(torch, words.device), Clock(torch, words.device)
    begin, done, todo = time.monotonic(), 0, cases(words.small)
    with open(words.out, "w", newline="", encoding="utf-8") as file:
        file.write(head(torch, words.device))
        table = csv.writer(file, lineterminator="\n")
        table.writerow("op direction dtype shape us_p10 us_median us_p90 samples flops bytes note".split())
        for op, direction, dtype, shape in todo:
            if time.monotonic() - begin > words.seconds:
                break
            flops, nbytes = work_of(op, direction, dtype, shape)
            row = [op, direction, dtype, text_of(shape)]
            try:
                t = clock.times(maker.call(op, direction, dtype, shape), words.samples)
                n = len(t)
                row += [f"{x:.2f}" for x in (t[n // 10], statistics.median(t), t[9 * n // 10])]
                row += [n, int(flops), int(nbytes), ""]
            except Exception as error:  # any refusal of any kernel: the reason stands in the row
                row += ["", "", "", 0, int(flops), int(nbytes), " ".join(str(error).split())[:120].replace(",", ";")]
            table.writerow(row)
            file.flush()
            done += 1
            if words.device == "cuda" and done % 20 == 0:
                torch.cuda.empty_cache()
        if words.device == "cuda":
            file.write(f"# after: {ask(*STATE)}\n")
    print(f"{done} of {len(todo)} cases in {time.monotonic() - begin:.0f} s -> {words.out}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", nargs="?")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--seconds", type=float, default=480)
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true")
    words = parser.parse_args()
    if words.list:
        print("op,direction,dtype,shape")
        for op, direction, dtype, shape in cases(words.small):
            print(f"{op},{direction},{dtype},{text_of(shape)}")
    elif words.out:
        measure(words)
    else:
        parser.error("expected OUT.csv or --list")
    return 0


if __name__ == "__main__":
    sys.exit(main())
