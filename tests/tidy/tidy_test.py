#!/usr/bin/env python3
# Tests scripts/tidy.py: a small clean tree passes, and each single violation is found, at its file and line.
# SPDX-License-Identifier: Apache-2.0
import os
import subprocess
import sys
import tempfile
import unittest

TIDY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "scripts", "tidy.py")
SPDX = "// SPDX-License-Identifier: Apache-2.0\n"

CLEAN = {
    "src/LAYERS": "# who includes whom\nbase:\nmodel: base\nplanner: base model\n",
    "src/base/CMakeLists.txt": "narrows_module(base DEPS LIBS nlohmann_json::nlohmann_json)\n",
    "src/base/json.h": SPDX + '#pragma once\n#include <string>\n// Never a shared_ptr, never throw.\n',
    "src/base/json_parse.cc": SPDX + '#include "base/json.h"\n#include <nlohmann/json.hpp>\nconst char* s = "throw // std::cout";\n',
    "src/base/result.h": SPDX + "#define ASSERT(c) (c)\n#define TRY(e) (e)\n#include <tl/expected.hpp>\n",
    "src/model/CMakeLists.txt": "narrows_module(model\n  DEPS base)\n",
    "src/model/op.cc": SPDX + '#include "base/json.h"\n#include "model/op.h"\n#include <fmt/format.h>\nint n = 1\'000;\n',
    "src/model/min_cut.cc": SPDX + "#include <boost/graph/adjacency_list.hpp>\n",
    "src/model/op.h": SPDX,
    "planner/CMakeLists.txt": "narrows_module(planner DEPS base model)\n",
    "planner/search.cc": SPDX + '#include "model/op.h"\n// TODO(#12): a bound\n',
    "tests/CMakeLists.txt": "",
    "tests/model/op_test.cc": SPDX + "#include <catch2/catch.hpp>\n",
}


def tidy(changes):
    """(exit code, output) of tidy over the clean tree with `changes` (a file's new content, or None to remove it)."""
    with tempfile.TemporaryDirectory() as root:
        for path, text in {**CLEAN, **changes}.items():
            if text is None:
                continue
            os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(text)
        done = subprocess.run([sys.executable, TIDY, root, "--warnings"], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout


# (what is wrong, the file, its content, the complaint's line and a part of its words)
VIOLATIONS = [
    ("a layer names a later one", "src/LAYERS", CLEAN["src/LAYERS"] + "report: cli\ncli: base\n", 5, "earlier line"),
    ("a layer stands twice", "src/LAYERS", "base:\nmodel: base\nplanner: base model\nmodel: base\n", 4, "twice"),
    ("DEPS differ from LAYERS", "src/model/CMakeLists.txt", "narrows_module(model DEPS)\n", 1, "DEPS of model"),
    ("a module without a line", "src/extra/CMakeLists.txt", "narrows_module(extra DEPS base)\n", 1, "no line in src/LAYERS"),
    ("a folder without a line", "src/extra/x.h", SPDX, 1, "no line in src/LAYERS"),
    ("an include the line does not allow", "src/base/x.cc", SPDX + '#include "model/op.h"\n', 2, "does not name model"),
    ("an include without a module", "src/model/x.cc", SPDX + '#include "op.h"\n', 2, "<module>/<file>"),
    ("Boost elsewhere", "planner/x.cc", SPDX + "#include <boost/graph/graph_traits.hpp>\n", 2, "boost"),
    ("Boost in a header", "src/model/min_cut.h", SPDX + "#include <boost/config.hpp>\n", 2, "boost"),
    ("SQLite outside the store", "src/model/x.cc", SPDX + "#include <sqlite3.h>\n", 2, "sqlite3"),
    ("nlohmann outside base/json", "src/model/x.cc", SPDX + "#include <nlohmann/json.hpp>\n", 2, "nlohmann"),
    ("fmt in a header", "src/model/op.h", SPDX + "#include <fmt/format.h>\n", 2, "fmt"),
    ("CLI11 outside the program", "planner/x.cc", SPDX + "#include <CLI/CLI.hpp>\n", 2, "CLI"),
    ("Catch2 outside the tests", "src/model/x.cc", SPDX + "#include <catch2/catch.hpp>\n", 2, "catch2"),
    ("an unknown library", "src/model/x.cc", SPDX + "#include <eigen3/Eigen/Dense>\n", 2, "without a place"),
    ("a test that is not built", "tests/plans/plan_test.cc", SPDX, 1, "not built"),
    ("shared ownership", "src/model/x.cc", SPDX + "std::shared_ptr<int> p;\n", 2, "shared_ptr"),
    ("an exception", "src/model/x.cc", SPDX + "void f() { throw 1; }\n", 2, "throw"),
    ("a view", "src/model/x.cc", SPDX + "auto v = std::views::iota(0);\n", 2, "std::views"),
    ("cout in a library", "src/model/x.cc", SPDX + '\nvoid f() { std::cout << "x"; }\n', 3, "printing"),
    ("printf in a library", "planner/x.cc", SPDX + 'void f() { printf("x"); }\n', 2, "printing"),
    ("fmt::print in a library", "planner/x.cc", SPDX + 'void f() { fmt::print("x"); }\n', 2, "printing"),
    ("a third macro", "src/model/x.cc", SPDX + "#define LIMIT 3\n", 2, "macro LIMIT"),
    ("no licence line", "src/model/x.cc", "int x;\n", 1, "SPDX"),
    ("a licence line that was reflowed", "src/model/x.cc", "// Works. " + SPDX[3:], 1, "of its own"),
    ("a task without a number", "src/model/x.cc", SPDX + "// TO" + "DO: later\n", 2, "issue number"),
    ("a path of one machine", "src/model/x.cc", SPDX + 'auto p = "/ho' + 'me/me/data";\n', 2, "one machine"),
    ("a registry's host", "scripts/setup", "echo deb.debian" + ".org\n", 1, "registry"),
    ("a dead link", "docs/a.md", "See [this](../src/LAYERS) and\n[that](b.md).\n", 2, "leads nowhere"),
    ("a download in the build", "cmake/x.cmake", "include(Fetch" + "Content)\n", 1, "downloads nothing"),
]


class Tidy(unittest.TestCase):
    def test_a_clean_tree_passes(self):
        code, output = tidy({})
        self.assertEqual(code, 0, output)
        self.assertIn("0 complaints, 0 warnings", output)

    def test_each_violation_is_found_in_its_place(self):
        for name, path, content, line, words in VIOLATIONS:
            with self.subTest(name):
                code, output = tidy({path: content})
                found = [l for l in output.splitlines() if l.startswith(f"{path}:{line}: ") and words in l]
                self.assertEqual(code, 1, output)
                self.assertTrue(found, output)
                self.assertEqual(output.count("\n"), 2, output)  # this complaint and the count

    def test_sources_without_a_module_are_found(self):
        code, output = tidy({"src/model/CMakeLists.txt": None, "tests/model/op_test.cc": None})
        self.assertEqual(code, 1, output)
        self.assertIn("src/model:1: has sources, but no CMakeLists.txt", output)

    def test_printing_is_the_programs_business(self):
        layers = CLEAN["src/LAYERS"] + "report: base\ncli: base report\n"
        code, output = tidy({"src/LAYERS": layers, "src/cli/main.cc": SPDX + "#include <CLI/CLI.hpp>\nint x = puts(\"\");\n"})
        self.assertEqual(code, 0, output)

    def test_long_files_and_parameter_lists_are_warnings(self):
        wide = SPDX + "int wide(int a, int b, int c, int d, int e, int f);\n"
        call = SPDX + "int x = wide(a, b, c, d, e, f);\n"
        code, output = tidy({"src/model/wide.h": wide, "src/model/call.cc": call, "src/model/long.h": SPDX + "\n" * 501})
        self.assertEqual(code, 0, output)
        self.assertIn("src/model/wide.h:2: wide takes 6 parameters", output)
        self.assertIn("src/model/long.h:1: 502 lines", output)
        self.assertIn("2 warnings", output)


if __name__ == "__main__":
    unittest.main()
