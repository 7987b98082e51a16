"""A PyTorch model with what bench/torch_mla_moe.py leaves out, for scripts/torch-reference: float64, CPU, a few steps.

Parameters have the portable names and values of that file (its docstring); biases begin at zero. The features are the
keys of FEATURES. Sizes: `heads` query heads, `kv_heads`, `head` their width; MLA's as there.
"""
import math
import os
import sys
import types

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bench"))
import torch_mla_moe as peer  # noqa: E402

FEATURES = dict(
    layers=3, hidden=32, heads=4, vocab=64, seq=16, batch=4, steps=6, lr=0.003, wd=0.1, clip=0.0, eps=1e-6,
    kv_heads=0, head=8,                                            # kv_heads > 0: grouped-query attention, else MLA
    kv_lora=16, q_lora=24, nope=8, rope=4, v=8,
    experts=4, topk=2, expert_ffn=16, shared=16, dense_layers=1, dense_ffn=48, sigmoid=False, groups=1, top_groups=1,
    bias_rate=None,                                                # a selection bias, moved by so much after a step
    aux=0.0, shared_gate=False, mtp=0.0,                           # mtp: the weight of one prediction block
    qk_norm=False, qkv_bias=False, linear_bias=False, gelu=False, layer_norm=False, positions=False, tied=False,
    theta=10000.0, scaling=None)                                   # scaling: the members of a config's rope_scaling


def rotary(a, dim):
    """Inverse frequencies, the factor of cosine and sine, and that of the scores."""
    inv = a.theta ** (-torch.arange(0, dim // 2, dtype=torch.float64) * 2 / dim)
    s = a.scaling
    if not s:
        return inv, 1.0, 1.0
    kind, factor = s["rope_type"], s["factor"]
    if kind == "linear":
        return inv / factor, 1.0, 1.0
    if kind == "llama3":
        old = s["original_max_position_embeddings"]
        wave = 2 * math.pi / inv
        smooth = (old / wave - s["low_freq_factor"]) / (s["high_freq_factor"] - s["low_freq_factor"])
        between = (1 - smooth) * inv / factor + smooth * inv
        out = torch.where(wave > old / s["low_freq_factor"], inv / factor, inv)
        middle = (wave <= old / s["low_freq_factor"]) & (wave >= old / s["high_freq_factor"])
        return torch.where(middle, between, out), 1.0, 1.0
    old = s["original_max_position_embeddings"]
    where = lambda turns: dim * math.log(old / (turns * 2 * math.pi)) / (2 * math.log(a.theta))
    low = max(math.floor(where(s.get("beta_fast", 32))), 0)
    high = min(math.ceil(where(s.get("beta_slow", 1))), dim - 1)
    ramp = ((torch.arange(dim // 2, dtype=torch.float64) - low) / max(high - low, 0.001)).clamp(0, 1)
    inv = inv / factor * ramp + inv * (1 - ramp)
    scale = lambda m: 0.1 * m * math.log(factor) + 1
    if s.get("mscale_all_dim"):
        return inv, scale(s["mscale"]) / scale(s["mscale_all_dim"]), scale(s["mscale_all_dim"]) ** 2
    return inv, scale(1), 1.0


class Model:
    def __init__(self, **flags):
        self.a = a = types.SimpleNamespace(**{**FEATURES, **flags})
        self.P = {}
        self.linear("embed", a.vocab, a.hidden)
        if a.positions:
            self.linear("pos", a.seq, a.hidden)
        for layer in range(a.layers + (a.mtp > 0)):
            self.layer(f"l{layer}.", layer >= a.dense_layers or layer == a.layers, layer == a.layers)
        self.norm_vector("final_norm")
        if not a.tied:
            self.linear("head", a.vocab, a.hidden)
        self.bias = {}

    def layer(self, p, moe, mtp):
        a = self.a
        if mtp:
            self.norm_vector(p + "hnorm"), self.norm_vector(p + "enorm"), self.norm_vector(p + "final_norm")
            self.linear(p + "eh", a.hidden, 2 * a.hidden)
        self.norm_vector(p + "attn_norm")
        if a.kv_heads:
            for name, heads in (("wq", a.heads), ("wk", a.kv_heads), ("wv", a.kv_heads)):
                self.linear(p + name, heads * a.head, a.hidden, a.qkv_bias or a.linear_bias)
            if a.qk_norm:
                heads, kv_heads = (a.heads, a.kv_heads) if a.qk_norm == "full" else (1, 1)
                self.vector(p + "qn", heads * a.head, 1), self.vector(p + "kn", kv_heads * a.head, 1)
            self.linear(p + "wo", a.hidden, a.heads * a.head, a.linear_bias)
        else:
            self.linear(p + "wqd", a.q_lora, a.hidden), self.vector(p + "q_norm", a.q_lora, 1)
            self.linear(p + "wqu", a.heads * (a.nope + a.rope), a.q_lora)
            self.linear(p + "wkvd", a.kv_lora + a.rope, a.hidden), self.vector(p + "kv_norm", a.kv_lora, 1)
            self.linear(p + "wkvu", a.heads * (a.nope + a.v), a.kv_lora)
            self.linear(p + "wo", a.hidden, a.heads * a.v)
        self.norm_vector(p + "ffn_norm")
        if not (moe and a.experts):
            return self.ffn_weights(p + "ffn.", a.dense_ffn)
        self.linear(p + "router", a.experts, a.hidden)
        for e in range(a.experts):
            self.ffn_weights(f"{p}e{e}.", a.expert_ffn)
        if a.shared:
            self.ffn_weights(p + "shared.", a.shared)
        if a.shared_gate:
            self.linear(p + "shared.gate", 1, a.hidden)

    def ffn_weights(self, p, width):
        b = self.a.linear_bias
        for name in ("wu",) if self.a.gelu else ("wg", "wu"):
            self.linear(p + name, width, self.a.hidden, b)
        self.linear(p + "wd", self.a.hidden, width, b)

    def linear(self, name, rows, columns, bias=False):
        std = 0.02 / (math.sqrt(2 * self.a.layers) if name.endswith((".wo", ".wd")) else 1.0)
        u = peer.unif(peer.mix(np.uint64((1 ^ peer.fnv1a(name)) & peer.M64)), np.arange(rows * columns, dtype=np.uint64))
        w = ((2 * u - 1).astype(np.float32) * np.float32(math.sqrt(3) * std)).reshape(rows, columns)
        self.P[name] = torch.from_numpy(w).double().requires_grad_()
        if bias:
            self.vector(name + ".b", rows, 0)

    def vector(self, name, n, value):
        self.P[name] = torch.full((n,), float(value), dtype=torch.float64, requires_grad=True)

    def norm_vector(self, name):
        self.vector(name, self.a.hidden, 1)
        if self.a.layer_norm:
            self.vector(name + ".b", self.a.hidden, 0)

    def norm(self, x, name):
        if name + ".b" in self.P:
            return F.layer_norm(x, x.shape[-1:], self.P[name], self.P[name + ".b"], self.a.eps)
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.a.eps) * self.P[name]

    def project(self, x, name):
        return F.linear(x, self.P[name], self.P.get(name + ".b"))

    def ffn(self, x, p):
        if self.a.gelu:
            u = self.project(x, p + "wu")
            h = 0.5 * u * (1 + torch.tanh(math.sqrt(2 / math.pi) * (u + 0.044715 * u ** 3)))
        else:
            h = F.silu(self.project(x, p + "wg")) * self.project(x, p + "wu")
        return self.project(h, p + "wd")

    def rotate(self, x):
        if self.a.positions:
            return x
        inv, scale, _ = rotary(self.a, x.shape[-1])
        angle = torch.arange(self.a.seq, dtype=torch.float64)[:, None] * inv
        c, s = (angle.cos() * scale)[None, :, None], (angle.sin() * scale)[None, :, None]
        x1, x2 = x.chunk(2, -1)
        return torch.cat((x1 * c - x2 * s, x2 * c + x1 * s), -1)

    def attention(self, x, p):
        a = self.a
        shape = (*x.shape[:2], -1)
        if a.kv_heads:
            q, k, v = (self.project(x, p + n) for n in ("wq", "wk", "wv"))
            if a.qk_norm == "full":
                q, k = self.norm(q, p + "qn"), self.norm(k, p + "kn")
            q, k, v = (t.view(*x.shape[:2], -1, a.head) for t in (q, k, v))
            if a.qk_norm and a.qk_norm != "full":
                q, k = self.norm(q, p + "qn"), self.norm(k, p + "kn")
            q, k = self.rotate(q), self.rotate(k)
            k, v = (t.repeat_interleave(a.heads // a.kv_heads, 2) for t in (k, v))
            width, turned = a.head, a.head
        else:
            q = self.project(self.norm(self.project(x, p + "wqd"), p + "q_norm"), p + "wqu").view(*x.shape[:2], a.heads, -1)
            latent, kr = self.project(x, p + "wkvd").split((a.kv_lora, a.rope), -1)
            kv = self.project(self.norm(latent, p + "kv_norm"), p + "wkvu").view(*x.shape[:2], a.heads, -1)
            kn, v = kv.split((a.nope, a.v), -1)
            q = torch.cat((q[..., :a.nope], self.rotate(q[..., a.nope:])), -1)
            k = torch.cat((kn, self.rotate(kr[:, :, None]).expand(-1, -1, a.heads, -1)), -1)
            width, turned = a.nope + a.rope, a.rope
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(width) * rotary(a, turned)[2]
        mask = torch.full((a.seq, a.seq), float("-inf"), dtype=torch.float64).triu(1)
        out = torch.einsum("bhqk,bkhd->bqhd", torch.softmax(scores + mask, -1), v)
        return self.project(out.reshape(shape), p + "wo")

    def moe(self, x, p):
        a = self.a
        scores = self.project(x, p + "router")
        scores = torch.sigmoid(scores) if a.sigmoid else torch.softmax(scores, -1)
        bias = self.bias.setdefault(p, torch.zeros(a.experts, dtype=torch.float64))
        keys = (scores + bias).detach()
        if a.top_groups < a.groups:
            grouped = keys.view(*keys.shape[:-1], a.groups, -1)
            best = grouped.topk(2, -1)[0].sum(-1) if a.sigmoid else grouped.max(-1)[0]
            open_groups = torch.zeros_like(best).scatter(-1, best.topk(a.top_groups, -1)[1], 1)
            keys = keys.masked_fill(open_groups.repeat_interleave(a.experts // a.groups, -1) == 0, float("-inf"))
        index = keys.topk(a.topk, -1)[1]
        chosen = torch.zeros_like(scores).scatter(-1, index, 1)
        self.load[p] = chosen.sum((0, 1))
        weights = scores * chosen / (scores * chosen).sum(-1, keepdim=True)
        out = sum(weights[..., e:e + 1] * self.ffn(x, f"{p}e{e}.") for e in range(a.experts))
        if a.shared:
            shared = self.ffn(x, p + "shared.")
            out = out + (torch.sigmoid(self.project(x, p + "shared.gate")) * shared if a.shared_gate else shared)
        share = scores / scores.sum(-1, keepdim=True)
        f = chosen.sum(1) * a.experts / (a.topk * a.seq)
        self.aux = self.aux + a.aux * (f * share.mean(1)).sum(-1).mean()
        return out

    def block(self, x, p, moe):
        x = x + self.attention(self.norm(x, p + "attn_norm"), p)
        h = self.norm(x, p + "ffn_norm")
        return x + (self.moe(h, p) if moe and self.a.experts else self.ffn(h, p + "ffn."))

    def losses(self, tokens):
        """Next token, token after that (unweighted), balance."""
        a = self.a
        self.aux, self.load = torch.zeros((), dtype=torch.float64), {}
        head = self.P["embed"] if a.tied else self.P["head"]
        x = F.embedding(tokens[:, :-1], self.P["embed"])
        if a.positions:
            x = x + self.P["pos"]
        for layer in range(a.layers):
            x = self.block(x, f"l{layer}.", layer >= a.dense_layers)
        logits = F.linear(self.norm(x, "final_norm"), head)
        next_loss = F.cross_entropy(logits.reshape(-1, a.vocab), tokens[:, 1:].reshape(-1))
        if not a.mtp:
            return next_loss, torch.zeros(()), self.aux
        p = f"l{a.layers}."
        both = torch.cat((self.norm(F.embedding(tokens[:, 1:], self.P["embed"]), p + "enorm"), self.norm(x, p + "hnorm")), -1)
        logits = F.linear(self.norm(self.block(self.project(both, p + "eh"), p, True), p + "final_norm"), head)[:, :-1]
        second = F.cross_entropy(logits.reshape(-1, a.vocab), tokens[:, 2:].reshape(-1), reduction="sum")
        return next_loss, second / (a.batch * a.seq), self.aux

    def update_biases(self):
        for p, load in self.load.items():
            self.bias[p] += self.a.bias_rate * torch.sign(load.mean() - load)


def train(flags):
    """(losses, gradient norms of the steps, step 0's gradients by name)."""
    torch.set_num_threads(1)
    model = Model(**flags)
    a = model.a
    matrices = [w for w in model.P.values() if w.dim() > 1]
    vectors = [w for w in model.P.values() if w.dim() == 1]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": a.wd}, {"params": vectors, "weight_decay": 0.0}],
                                  lr=a.lr, betas=(0.9, 0.95), eps=1e-8)
    stream = types.SimpleNamespace(data="vocab", vocab=a.vocab, batch=a.batch, seq=a.seq, data_seed=1)
    curve, norms, first = {"loss": [], "mtp_loss": [], "aux_loss": []}, [], {}
    for step in range(a.steps):
        losses = model.losses(torch.from_numpy(peer.tokens_for(step, stream)))
        optimizer.zero_grad()
        (losses[0] + a.mtp * losses[1] + losses[2]).backward()
        for key, loss in zip(curve, losses):
            curve[key].append(float(loss))
        grads = {n: w.grad for n, w in model.P.items()}
        first = first or {n: g.clone() for n, g in grads.items()}
        norms.append(math.sqrt(sum(float(g.pow(2).sum()) for g in grads.values())))
        if a.clip > 0:
            for g in grads.values():
                g.mul_(min(1.0, a.clip / (norms[-1] + 1e-6)))
        optimizer.step()
        if a.bias_rate is not None:
            model.update_biases()
    return curve, norms, {n: g.numpy().ravel() for n, g in first.items()}
