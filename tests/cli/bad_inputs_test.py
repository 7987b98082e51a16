#!/usr/bin/env python3
# Bad inputs to the program, as docs/cli.md promises to answer them: exactly one clear sentence on stderr, nothing on
# stdout, and the right exit code (1 the world disagrees, 2 the words do not parse, 3 infeasible, which is an answer).
#
#   tests/cli/bad_inputs_test.py NARROWS [WORDS]      runs the cases whose name holds WORDS
#
# SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import sys
import tempfile

SECONDS = 120  # generous: the suite also runs under the sanitizers
LONGEST_SENTENCE = 600
CRASHES = ["Sanitizer", "runtime error", "terminate called", "what():", "internal error", "Assertion", "Traceback"]

# A small, complete Hugging Face config that is fine as it stands; a case spoils one thing in it.
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 1024, "intermediate_size": 2816,
    "num_hidden_layers": 8, "num_attention_heads": 16, "num_key_value_heads": 8, "vocab_size": 32000,
    "max_position_embeddings": 4096, "tie_word_embeddings": False, "rms_norm_eps": 1e-5, "hidden_act": "silu",
}


def config(**changes):
    return json.dumps({**CONFIG, **changes}, indent=1).encode()


def numeral(key, text):
    """The config with `key` written as the raw JSON text."""
    return json.dumps({**CONFIG, key: "@@"}).replace('"@@"', text).encode()


def big_config():
    """10 MB of well-formed JSON that names no model."""
    return json.dumps({f"unknown_key_{i}": "x" * 80 for i in range(100_000)}).encode()


FILES = {
    "good.json": config(),
    "empty.json": b"",
    "broken.json": config()[:-20],
    "comma.json": b'{"model_type": "llama",}',
    "twice.json": b'{"model_type": "llama", "model_type": "llama"}',
    "nested.json": b"[" * 200_000,
    "nested_objects.json": b'{"a":' * 200_000,
    "negative.json": config(hidden_size=-1024),
    "zero.json": config(num_attention_heads=0),
    "huge.json": numeral("hidden_size", "9e99"),
    "overflow.json": numeral("num_hidden_layers", "99999999999999999999999"),
    "nan.json": numeral("hidden_size", "NaN"),
    "fraction.json": numeral("num_hidden_layers", "8.5"),
    "type.json": config(hidden_size="large"),
    "list.json": b"[1, 2, 3]",
    "family.json": config(model_type="perceptron", architectures=["PerceptronForCausalLM"]),
    "heads.json": config(num_key_value_heads=7),
    "big.json": big_config(),
    "junk.json": bytes(range(256)) * 64,
    "nul.json": config() + b"\0 and more",
    "latin1.json": b'{"model_type": "caf\xe9"}',
    "cluster.json": b'{"name": "mine", "chip": "no-such-chip"}',
    "object.json": b"{}",
    "cut_trace.json": b'{"traceEvents": [{"ph": "X", "cat": "kernel", "name": "a", "ts": 1, "dur": 2, "args": {}}, {"ph"',
    "odd_trace.json": b'{"traceEvents": [{"ph": "X", "cat": "kernel", "name": 5e999, "ts": 1}]}',
    "no_kernels.json": b'{"traceEvents": [{"ph": "X", "cat": "cpu_op", "name": "aten::mm", "ts": 1, "dur": 2}]}',
    "cut_nccl.log": b"# nThread 1 nGpus 1\n#  Rank  0 Group  0 Pid 1 on host device  0 [0x07] NVIDIA H800\n",
    "osu.log": b"# OSU MPI Allreduce Latency Test v7.4\n# Size  Avg Latency(us)\n8  1.5\n",
    "broken.db": b"SQLite format 3\0" + bytes(range(256)) * 16,
    "short.db": b"SQLite format 3\0",
    "rows.csv": b"op,dtype,m,n,k,us\nmatmul,bf16,1,2,3,4\nmatmul,bf16,1,2\n",
    "letters.csv": b"op,dtype,m,n,k,us\nmatmul,bf16,1,2,3,soon\n",
    "good.csv": b"op,dtype,m,n,k,us\nmatmul,bf16,1,2,3,4\n",
    "topo.txt": b"\tGPU0\tGPU1\nGPU0\t X \tNV4\n",
    "system.xml": b'<system version="1"><cpu><pci busid="1"><gpu dev="0"/></pci></cpu>',
    "trace.json.gz": b"\x1f\x8b\x08\0 and more",
}

PLAN = ["plan", "--model", "deepseek-v3", "--cluster", "h800-2048"]


def model(path):
    return ["plan", "--model", path, "--cluster", "h100:8"]


def cluster(name):
    return ["plan", "--model", "llama-3.1-8b", "--cluster", name]


# (name, arguments, exit codes, words that the sentence must hold; a tuple of words: one of them)
def taken(*arguments):
    return ["import", *arguments, "--db", "m.db"]


CASES = [
    # Words that do not parse.
    ("no command", [], [2], []),
    ("unknown command", ["plann"], [2], ["plann"]),
    ("unknown option", PLAN + ["--modle", "x"], [2], ["--modle"]),
    ("option without its value", ["plan", "--model"], [2], ["--model"]),
    ("no model", ["plan", "--cluster", "h800-2048"], [2], ["--model"]),
    ("tokens in letters", PLAN + ["--tokens", "abc"], [2], ["--tokens", "abc"]),
    ("tokens with two suffixes", PLAN + ["--tokens", "14.8TT"], [2], ["14.8TT"]),
    ("negative tokens", PLAN + ["--tokens=-5"], [2], ["-5"]),
    ("tokens NaN", PLAN + ["--tokens", "nan"], [2], ["nan"]),
    ("tokens 9e99", PLAN + ["--tokens", "9e99"], [2], ["9e99"]),
    ("no GPUs", PLAN + ["--gpus", "0"], [2], ["--gpus"]),
    ("half a GPU", PLAN + ["--gpus", "0.5"], [2], ["0.5"]),
    ("negative sequence", PLAN + ["--seq=-4096"], [2], ["-4096"]),
    ("empty value", PLAN + ["--global-batch", ""], [2], ["--global-batch"]),
    ("price without a unit", PLAN + ["--price", "cheap"], [2], ["cheap"]),
    ("time limit NaN", PLAN + ["--time-limit", "nan"], [2], ["nan"]),
    ("top of letters", PLAN + ["--top", "many"], [2], ["many"]),
    ("objective that is none", PLAN + ["--objective", "beauty"], [2], ["beauty"]),
    ("one plan to diff", ["diff", "good.json"], [2], []),
    ("pin without a value", PLAN + ["--fix", "tp"], [2], ["tp"]),
    ("pin in letters", PLAN + ["--fix", "tp=two"], [1, 2], ["tp", "two"]),
    ("pin of an unknown key", PLAN + ["--fix", "tpp=2"], [1, 2], ["tpp"]),
    ("pin twice", PLAN + ["--fix", "tp=2,tp=4"], [1, 2], ["tp"]),
    ("nothing to import", ["import"], [2], ["FILE"]),
    ("ranks in letters", taken("osu.log", "--ranks", "many"), [2], ["many"]),
    # Files to import that are broken, cut off or of another kind.
    ("import a missing file", taken("none.log"), [1], ["none.log"]),
    ("import a folder", taken("folder"), [1], ["folder"]),
    ("import an empty file", taken("empty.json"), [1], ["empty.json"]),
    ("import any bytes", taken("junk.json"), [1], ["junk.json"]),
    ("import another JSON document", taken("list.json"), [1], ["list.json"]),
    ("import a trace cut off", taken("cut_trace.json"), [1], ["cut_trace.json", "cut off"]),
    ("import a trace with an odd event", taken("odd_trace.json"), [1], ["odd_trace.json"]),
    ("import a trace without kernels", taken("no_kernels.json"), [1], ["no_kernels.json", "GPU"]),
    ("import a nested document", taken("nested.json"), [1], ["nested.json"]),
    ("import a log cut off", taken("cut_nccl.log"), [1], ["cut_nccl.log", "cut off"]),
    ("import a log without its ranks", taken("osu.log"), [1], ["osu.log", "--ranks"]),
    ("import a broken database", taken("broken.db"), [1], ["broken.db"]),
    ("import the head of a database", taken("short.db"), [1], ["short.db"]),
    ("import a row cut off", taken("rows.csv"), [1], ["rows.csv:3"]),
    ("import a time in letters", taken("letters.csv"), [1], ["letters.csv:2", "soon"]),
    ("import a good file with a bad one", taken("good.csv", "rows.csv"), [1], ["rows.csv:3"]),
    ("import a compressed file", taken("trace.json.gz"), [1], ["trace.json.gz", "unpack"]),
    ("import a topology cut off", ["import", "topo.txt", "--chip", "h100-sxm5"], [1], ["topo.txt", "cut off"]),
    ("import a document cut off", ["import", "system.xml", "--chip", "h100-sxm5"], [1], ["system.xml", "cut off"]),
    ("import for an unknown chip", taken("good.csv", "--chip", "h1000"), [1], ["--chip", "h1000"]),
    ("import into what is no store", ["import", "good.csv", "--db", "good.json"], [1], ["good.json"]),
    ("plan on a store that is none", PLAN + ["--db", "good.json"], [1], ["good.json"]),
    # Names that the world does not know.
    ("unknown model", model("deepseek-v33"), [1], ["deepseek-v33", "did you mean", "deepseek-v3"]),
    ("unknown cluster", cluster("h800-2047"), [1], ["h800-2047", "did you mean", "h800-2048"]),
    ("unknown node", cluster("h8000:8"), [1], ["h8000", "did you mean", "h800"]),
    ("unknown name to show", ["show", "h20-96bg"], [1], ["h20-96bg", "did you mean", "h20-96gb"]),
    ("unknown recipe", PLAN + ["--precision", "fp7"], [1, 2], ["fp7"]),
    ("unknown software", PLAN + ["--software", "megatron-cone"], [1], ["megatron-cone", "did you mean", "megatron-core"]),
    ("unknown schedule", PLAN + ["--fix", "schedule=2f2b"], [1, 2], ["2f2b"]),
    ("a name of 100,000 letters", model("x" * 100_000), [1], []),
    ("a name with control characters", model("a\x1b[31mb\nc"), [1], []),
    # Rules of layout.
    ("2,049 GPUs of 2,048", PLAN + ["--gpus", "2049"], [1], [("2049", "2,049"), ("2048", "2,048")]),
    ("a part of a node", cluster("h800:12"), [1], ["12", "8", "16"]),
    ("tp=7", PLAN + ["--fix", "tp=7"], [1], ["tp=7", ("128", "heads")]),
    ("more stages than items", PLAN + ["--fix", "pp=1024"], [1], ["pp=1024"]),
    ("dp that does not agree", PLAN + ["--fix", "tp=1,pp=16,dp=7"], [1], ["dp=7"]),
    # Files of models.
    ("missing file", model("nowhere/config.json"), [1], ["nowhere/config.json"]),
    ("folder as a file", model("./folder"), [1], ["folder"]),
    ("empty file", model("empty.json"), [1], ["empty.json"]),
    ("broken JSON", model("broken.json"), [1], ["broken.json:"]),
    ("comma at the end", model("comma.json"), [1], ["comma.json:1"]),
    ("a key twice", model("twice.json"), [1], ["twice.json:1", "model_type"]),
    ("200,000 brackets", model("nested.json"), [1], ["nested.json:1"]),
    ("200,000 objects", model("nested_objects.json"), [1], ["nested_objects.json:1"]),
    ("negative size", model("negative.json"), [1], ["negative.json:", "hidden_size", "-1024"]),
    ("no heads", model("zero.json"), [1], ["zero.json:", "num_attention_heads"]),
    ("size 9e99", model("huge.json"), [1], ["huge.json:", "hidden_size"]),
    ("more layers than integers", model("overflow.json"), [1], ["overflow.json:"]),
    ("NaN", model("nan.json"), [1], ["nan.json:1"]),
    ("half a layer", model("fraction.json"), [1], ["fraction.json:", "num_hidden_layers", "8.5"]),
    ("wrong type", model("type.json"), [1], ["type.json:", "hidden_size"]),
    ("a list for an object", model("list.json"), [1], ["list.json:1"]),
    ("unknown family", model("family.json"), [1], ["family.json", "perceptron"]),
    ("7 KV heads for 16", model("heads.json"), [1], ["heads.json", "7"]),
    ("10 MB config", model("big.json"), [1], ["big.json"]),
    ("binary junk", model("junk.json"), [1], ["junk.json"]),
    ("text after a NUL byte", model("nul.json"), [1], ["nul.json:"]),
    ("not UTF-8", model("latin1.json"), [1], ["latin1.json"]),
    # Files of clusters and plans.
    ("cluster of an unknown chip", cluster("./cluster.json"), [1], ["cluster.json"]),
    ("cluster of nothing", cluster("./object.json"), [1], ["object.json"]),
    ("cluster file missing", cluster("./none.json"), [1], ["none.json"]),
    ("plan missing", ["simulate", "none.json"], [1], ["none.json"]),
    ("plan of nothing", ["simulate", "object.json"], [1], ["object.json"]),
    ("plan of binary junk", ["simulate", "junk.json"], [1], ["junk.json"]),
    ("plan that is a model", ["simulate", "good.json"], [1], ["good.json"]),
    ("diff of junk", ["diff", "junk.json", "good.json"], [1], ["junk.json"]),
    ("profiles missing", ["--profiles", "none", "list", "chips"], [1, 2], ["none"]),
    # What is not built says so.
    ("a command not built yet", ["sweep", "--model", "good.json"], [1], [("unsupported", "not built")]),
    ("a schedule not built yet", PLAN + ["--fix", "schedule=v-min"], [1], ["v-min"]),
]

# An honest no: exit 3, with what is needed and what is available, on stdout or stderr.
INFEASIBLE = [
    ("V3 on one node", ["plan", "--model", "deepseek-v3", "--cluster", "h800:8"], ["GiB"]),
    ("405B on one node", ["plan", "--model", "llama-3.1-405b", "--cluster", "h100:8", "--fix", "pp=8,tp=1"], ["GiB"]),
]

# Spoiled plan files: (name, how, words). `how` changes the document of a good plan.
SPOILED_PLANS = [
    ("plan with an unknown key", lambda p: p.update(colour="blue"), ["spoiled.json:", "colour"]),
    ("plan with an unknown strategy key", lambda p: p["strategy"].update(tpp=1), ["spoiled.json:", "tpp"]),
    ("plan with tp=7", lambda p: p["strategy"].update(tp=7), ["tp=7"]),
    ("plan with tp=-1", lambda p: p["strategy"].update(tp=-1), ["spoiled.json:", "tp"]),
    ("plan with tp in letters", lambda p: p["strategy"].update(tp="two"), ["spoiled.json:", "tp"]),
    ("plan without a strategy", lambda p: p.pop("strategy"), ["spoiled.json", "strategy"]),
    ("plan of a later version", lambda p: p.update(version=999), ["spoiled.json", "999"]),
    ("plan with a cluster of a word", lambda p: p.update(cluster="h800"), ["spoiled.json:", "cluster"]),
]


def run(narrows, arguments, folder, stdout=subprocess.PIPE):
    environment = {"PATH": os.environ.get("PATH", ""), "NO_COLOR": "1", "HOME": folder, "LC_ALL": "C.UTF-8"}
    try:
        return subprocess.run([narrows, *arguments], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=stdout,
                              stderr=subprocess.PIPE, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(arguments, -1, b"", f"no answer in {SECONDS} s".encode())


def missing_words(text, words):
    text = text.lower()
    choices = [word if isinstance(word, tuple) else (word,) for word in words]
    return [" or ".join(choice) for choice in choices if not any(word.lower() in text for word in choice)]


def complaints(done, codes, words):
    """What is wrong with how the program refused; empty if nothing."""
    found = []
    error = done.stderr.decode("utf-8", "replace")
    lines = [line for line in error.splitlines() if line.strip()]
    if done.returncode not in codes:
        found.append(f"expected exit {' or '.join(map(str, codes))}, found {done.returncode}")
    if done.stdout:
        found.append(f"expected nothing on stdout, found {len(done.stdout)} bytes: {done.stdout[:80]!r}")
    if len(lines) != 1:
        found.append(f"expected one sentence on stderr, found {len(lines)} lines")
    if len(error) > LONGEST_SENTENCE:
        found.append(f"expected a sentence of at most {LONGEST_SENTENCE} characters, found {len(error)}")
    if any(ord(c) < 32 for c in error.rstrip("\n")) or "\ufffd" in error:
        found.append("expected printable text")
    found += [f"a crash: {word}" for word in CRASHES if word in error]
    found += [f"expected the sentence to hold {word}" for word in missing_words(error, words)]
    return found


class Report:
    def __init__(self):
        self.cases = 0
        self.failed = 0

    def add(self, name, arguments, done, found):
        self.cases += 1
        if found:
            self.failed += 1
            print(f"FAILED {name}: narrows {' '.join(arguments)[:200]!r}")
            print("".join(f"  {what}\n" for what in found) + f"  stderr: {done.stderr[:400]!r}")


def check_cases(narrows, folder, wanted, report):
    for name, arguments, codes, words in CASES:
        for extra in ([], ["--json"]):
            if wanted in name and (not extra or arguments[:1] == ["plan"]):
                done = run(narrows, arguments + extra, folder)
                report.add(name, arguments + extra, done, complaints(done, codes, words))


def check_infeasible(narrows, folder, wanted, report):
    for name, arguments, words in INFEASIBLE:
        if wanted in name:
            done = run(narrows, arguments, folder)
            text = (done.stdout + done.stderr).decode("utf-8", "replace")
            found = [f"expected it to hold {word}" for word in missing_words(text, words)]
            if done.returncode != 3:
                found.append(f"expected exit 3, found {done.returncode}")
            report.add(name, arguments, done, found + [f"a crash: {word}" for word in CRASHES if word in text])


def check_plans(narrows, folder, wanted, report):
    arguments = model("good.json") + ["--fix", "tp=1,pp=1", "--out", "plan.json"]
    done = run(narrows, arguments, folder)
    report.add("a good plan", arguments, done, [] if done.returncode == 0 else [f"expected exit 0, found {done.returncode}"])
    if done.returncode != 0:
        return
    with open(os.path.join(folder, "plan.json"), encoding="utf-8") as file:
        text = file.read()
    for name, spoil, words in SPOILED_PLANS + [("plan cut in the middle", None, ["spoiled.json:"])]:
        if wanted in name:
            plan = json.loads(text)
            if spoil:
                spoil(plan)
            with open(os.path.join(folder, "spoiled.json"), "w", encoding="utf-8") as file:
                file.write(json.dumps(plan, indent=1) if spoil else text[:len(text) // 2])
            done = run(narrows, ["simulate", "spoiled.json"], folder)
            report.add(name, ["simulate", "spoiled.json"], done, complaints(done, [1], words))


SMALL = dict(CONFIG, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
             num_key_value_heads=2, vocab_size=256)
LLMC = (20240520).to_bytes(4, "little") + (1).to_bytes(4, "little") + (9999).to_bytes(4, "little") + bytes(1012 + 64)
DATA = ["--data", "portable:0", "--steps", "1"]
# Name, words after `train small-plan.json`, exit codes, what the sentence holds.
TRAININGS = [
    ("data missing", ["--data", "none.txt", "--steps", "1"], [1], ["none.txt", "no such file"]),
    ("data is a folder", ["--data", "folder", "--steps", "1"], [1], ["folder", "expected a file"]),
    ("data too short", ["--data", "short.txt", "--steps", "1"], [1], ["short.txt", "found 5"]),
    ("tokens cut off", ["--data", "cut.bin", "--steps", "1"], [1], ["cut.bin", "9999 tokens"]),
    ("tokens of no format", ["--data", "odd.bin", "--steps", "1"], [1], ["odd.bin", "llm.c"]),
    ("portable without a seed", ["--data", "portable:", "--steps", "1"], [1], ["portable:SEED"]),
    ("weights that are none", DATA + ["--init", "short.txt"], [1], ["short.txt", "safetensors"]),
    ("weights of another model", DATA + ["--init", "other.safetensors"], [1], ["other.safetensors", "expected a tensor"]),
    ("resume from nowhere", DATA + ["--resume", "none"], [1], ["none"]),
    ("resume from an empty folder", DATA + ["--resume", "folder"], [1], ["folder", "no checkpoint"]),
    ("resume from a foreign state", DATA + ["--resume", "foreign"], [1], ["state.json"]),
    ("checkpoints below a file", DATA + ["--checkpoint", "short.txt/x"], [1], ["short.txt/x"]),
    ("checkpoints never", DATA + ["--checkpoint", "x", "--checkpoint-every", "0"], [2], ["--checkpoint-every"]),
    ("links of no level", DATA + ["--emulate-links", "smoke=1GB/s"], [1], ["nvlink", "smoke"]),
    ("links without a figure", DATA + ["--emulate-links", "nvlink"], [1], ["LEVEL=BANDWIDTH,LATENCY"]),
    ("links of no bandwidth", DATA + ["--emulate-links", "nvlink=fast"], [1], ["nvlink", "fast"]),
]


def check_trainings(narrows, folder, wanted, report):
    tensor = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    files = {"small.json": json.dumps(SMALL).encode(), "short.txt": b"short", "cut.bin": LLMC, "odd.bin": b"odd" * 700,
             "other.safetensors": len(tensor).to_bytes(8, "little") + tensor + bytes(4), "foreign/state.json": b"{}"}
    os.mkdir(os.path.join(folder, "foreign"))
    for name, content in files.items():
        with open(os.path.join(folder, name), "wb") as file:
            file.write(content)
    arguments = ["plan", "--model", "small.json", "--cluster", "h100:1", "--seq", "16", "--global-batch", "1", "--fix",
                 "precision=f32", "--software", "narrows", "--out", "small-plan.json"]
    done = run(narrows, arguments, folder)
    report.add("a small plan", arguments, done, [] if done.returncode == 0 else [f"expected exit 0, found {done.returncode}"])
    for name, words, codes, holds in TRAININGS:
        if wanted in name and done.returncode == 0:
            arguments = ["train", "small-plan.json", "--quiet"] + words
            answer = run(narrows, arguments, folder)
            report.add(name, arguments, answer, complaints(answer, codes, holds))


def check_outputs(narrows, folder, wanted, report):
    """Output that cannot be written is an error, not a success with half an answer."""
    if wanted in "stdout is full" and os.path.exists("/dev/full"):
        with open("/dev/full", "wb") as full:
            done = run(narrows, ["list", "models"], folder, stdout=full)
        done.stdout = b""
        report.add("stdout is full", ["list", "models"], done, complaints(done, [1], []))
    if wanted in "out in a missing folder":
        arguments = model("good.json") + ["--fix", "tp=1,pp=1", "--out", "none/plan.json"]
        done = run(narrows, arguments, folder)
        found = [] if done.returncode == 1 and b"none/plan.json" in done.stderr else ["expected exit 1 and the file's name"]
        report.add("out in a missing folder", arguments, done, found)


def main():
    if len(sys.argv) < 2:
        print("usage: bad_inputs_test.py NARROWS [WORDS]", file=sys.stderr)
        return 2
    narrows, wanted = os.path.abspath(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(os.path.join(folder, "folder"))
        for name, content in FILES.items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(content)
        for check in (check_cases, check_infeasible, check_plans, check_trainings, check_outputs):
            check(narrows, folder, wanted, report)
    print(f"{report.cases - report.failed} of {report.cases} bad inputs were answered as docs/cli.md says")
    return 1 if report.failed or not report.cases else 0


if __name__ == "__main__":
    sys.exit(main())
