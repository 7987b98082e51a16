#!/usr/bin/env python3
"""scripts/gpu-check and the benches, as far as a machine without a GPU shows them.

    check_test.py NARROWS
"""
# SPDX-License-Identifier: Apache-2.0
import csv
import importlib.machinery
import importlib.util
import io
import os
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NARROWS = ""


def module(path):
    loader = importlib.machinery.SourceFileLoader(os.path.basename(path).replace("-", "_"), os.path.join(ROOT, path))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    found = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode = True
    loader.exec_module(found)
    return found


torch_bench = module("bench/gpu_torch_kernels.py")
check = module("scripts/gpu-check")


def table(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        file.write("# NVIDIA H100 80GB HBM3; torch 2.11\n# driver: 580\n# clock: 1980 MHz\n# before: 0x0, 1 W\n")
        out = csv.writer(file, lineterminator="\n")
        out.writerow("op direction dtype shape us_p10 us_median us_p90 samples flops bytes note".split())
        out.writerows(rows)


class Cases(unittest.TestCase):
    def test_every_case_of_the_list_is_taken_by_the_store(self):
        cases = torch_bench.cases(False)
        rows = []
        for op, direction, dtype, shape in cases:
            flops, nbytes = torch_bench.work_of(op, direction, dtype, shape)
            rows.append([op, direction, dtype, torch_bench.text_of(shape), "9.00", "10.00", "11.00", 20, int(flops), int(nbytes), ""])
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "kernels.csv")
            table(path, rows)
            done = subprocess.run([NARROWS, "import", path, "--db", os.path.join(folder, "gpu.db")], capture_output=True, text=True,
                                  check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(str(len({tuple(r[:4]) for r in rows})), (done.stdout + done.stderr).replace(",", ""))

    def test_the_list_has_no_case_twice_and_one_order(self):
        keys = [(c[0], c[1], c[2], torch_bench.text_of(c[3])) for c in torch_bench.cases(False)]
        self.assertEqual(len(keys), len(set(keys)))
        self.assertEqual([c[:3] for c in torch_bench.cases(False)], [c[:3] for c in torch_bench.cases(False)])

    def test_flops_of_known_shapes(self):
        self.assertEqual(torch_bench.work_of("matmul", "forward", "bf16", {"m": 2, "n": 3, "k": 5}), (60, 2 * (10 + 15 + 6)))
        # A weight gradient of two groups writes both weights.
        self.assertEqual(torch_bench.work_of("matmul", "weight-grad", "bf16", {"m": 2, "n": 3, "k": 5, "groups": 2}),
                         (60, 2 * (10 + 6 + 30)))
        shape = {"batch": 1, "heads": 4, "kv_heads": 2, "seq": 8, "qk_dim": 192, "v_dim": 128}
        self.assertEqual(torch_bench.work_of("attention", "forward", "bf16", shape), (2 * 4 * 32 * 320, 2 * 8 * 320 * 6))


class Check(unittest.TestCase):
    def part(self, limit, folder):
        return check.Part("part", limit, folder)

    def setUp(self):
        self.out, sys.stdout = sys.stdout, io.StringIO()

    def tearDown(self):
        sys.stdout = self.out

    def test_a_command_that_does_not_end_is_cut_off_with_all_its_children(self):
        with tempfile.TemporaryDirectory() as folder:
            part = self.part(30, folder)
            self.assertIsNone(part.run("slow", ["sh", "-c", "sleep 300 & sleep 300"], 1.5))
            self.assertIn("cut off", part.lines[0][1])

    def test_what_has_no_time_left_and_what_is_missing_are_not_run(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertIsNone(self.part(0, folder).run("late", ["true"]))
            part = self.part(30, folder)
            self.assertIsNone(part.run("missing", ["/nowhere/program"]))
            self.assertIn("not run", part.lines[0][1])

    def test_an_exit_code_and_the_last_line_are_said(self):
        with tempfile.TemporaryDirectory() as folder:
            part = self.part(30, folder)
            self.assertEqual(part.run("fails", ["sh", "-c", "echo one; echo two; exit 3"]), 3)
            self.assertRegex(part.lines[0][1], r"^exit 3 in 0 s: two$")

    def test_a_profile_without_a_gpu_says_why_and_the_next_part_goes_on(self):
        with tempfile.TemporaryDirectory() as folder:
            part = self.part(60, folder)
            check.run_profile(part, os.path.dirname(NARROWS))
            said = dict(part.lines)
            self.assertEqual([name for name, _ in part.lines][:3], [f"profile of {model}" for model, _ in check.MODELS])
            if "--device cuda: " in said["profile of deepseek-v3"]:
                self.assertRegex(said["profile of deepseek-v3"], r"^exit 1 in ")
            self.assertIn("our kernels", said)

    def test_ratios_are_of_equal_shapes(self):
        with tempfile.TemporaryDirectory() as folder:
            row = lambda shape, us: ["matmul", "forward", "bf16", shape, us, us, us, 5, 2_000_000_000, 0, ""]
            table(os.path.join(folder, "ours.csv"), [row("m=1", 10), row("m=2", 20), row("m=3", 1)])
            table(os.path.join(folder, "torch.csv"), [row("m=1", 5), row("m=2", 30), row("m=4", 100), row("m=5", "")])
            self.assertEqual(check.rates(folder), [("matmul forward bf16", "3", "200.0", "66.7", "1.50")])


if __name__ == "__main__":
    NARROWS = os.path.abspath(sys.argv.pop(1))
    unittest.main()
