#!/usr/bin/env python3
# The rules of CONTRIBUTING.md that a machine can check: who includes whom (src/LAYERS), where third-party headers may
# stand, what no source may contain. Prints one line a complaint, `file:line: what`, and exits 1 if there is one; what only
# deserves a second look (long files, long parameter lists) is listed as a warning. Needs nothing but python3.
#
#   scripts/tidy.py ROOT [--warnings]
#
# SPDX-License-Identifier: Apache-2.0
import os
import re
import sys

CODE = (".h", ".cc", ".cu", ".cuh")
TEXT = CODE + (".py", ".sh", ".cmake", ".txt", ".md", ".json", ".jsonl", ".csv", "")
SKIPPED_FOLDERS = {"build", "b", ".git", "__pycache__", ".cache"}
ITSELF = "scripts/tidy.py"  # names what it forbids
MODULES_AT_ROOT = {"kernels", "planner"}

BOOST_GRAPH_PLACES = r"planner/partition_graph\.cc|src/model/min_cut\.cc|src/hardware/routes\.cc|src/sim/critical_path\.cc"
# Third-party header -> where it may be included (full match on the path). The first rule that fits decides.
THIRD_PARTY = [
    (r"boost/", BOOST_GRAPH_PLACES + r"|tests/.*\.cc"),
    (r"sqlite3\.h", r"src/store/[^/]*\.cc|tests/store/.*\.cc"),
    (r"nlohmann/", r"src/base/json_parse\.cc"),
    (r"fmt/", r".*\.(cc|cu)"),
    (r"CLI/", r"src/cli/.*"),
    (r"catch2/", r"tests/.*"),
    (r"benchmark/", r"bench/.*"),
    (r"tl/expected\.hpp", r"src/base/result\.h"),
    (r"dnnl|oneapi/|omp\.h", r"src/runtime/cpu_matmul\.cc"),
    (r"mpi\.h", r"src/comm/mpi_comm\.(h|cc)|src/comm/mpi_world\.cc|bench/mpi_loops\.cc"),
    (r"nccl\.h", r"kernels/cuda/collective\.cu"),
    (r"cu(da|blas|pti)", r"kernels/cuda/.*\.cuh?"),
    (r"ucontext\.h|sanitizer/", r"tests/gpu/emulation\.cc"),
]
# The language's own headers have neither dot nor slash; these are the system's.
SYSTEM_HEADER = re.compile(r"[a-z_]+|sys/[a-z_]+\.h|(unistd|fcntl|signal|poll|dlfcn|sched|pthread|immintrin|cpuid|linux/.*)\.h")

# What no C++ source may contain, comments and strings aside: (pattern, complaint, paths it is allowed in).
FORBIDDEN = [
    (r"\bshared_ptr\b", "shared_ptr: ownership has one owner here", None),
    (r"\bthrow\b", "throw: return a Result", None),
    (r"\bstd::(ranges::)?views\b|\branges::views\b", "std::views: clang 14 cannot compile it; write the loop", None),
    (r"\bstd::(cout|cerr|clog)\b|(?<![\w.>])(std::)?(printf|fprintf|vprintf|puts|fputs|putchar|perror)\s*\(|\bfmt::print(ln)?\b",
     "printing outside src/cli and src/report", r"src/(cli|report)/.*|bench/.*|tests/.*|src/base/result\.cc"),
]
MACROS = {"ASSERT", "TRY"}
# What only an attribute can say, to vectorise for several processors.
VECTOR_MACROS = {"NARROWS_VECTORISED", "NARROWS_INLINE", "NARROWS_TILED", "NARROWS_TILED_INLINE"}
VECTOR_PLACES = {"kernels/vector.h", "src/base/vectorised.h"}
MACRO_PLACES = re.compile(r"(src|kernels|planner)/.*")

TODO = re.compile(r"\b(TODO|FIXME|XXX)\b(?!\s*\(?#\d+)")
MACHINE_PATH = re.compile(r"(?<![\w.:/~${}-])/(?:work|home|root|Users)/")
REGISTRY = re.compile(r"\b(?:(?:deb|security|ftp|snapshot)\.debian\.org|archive\.ubuntu\.com|pypi\.org|registry\.npmjs\.org|"
                      r"(?:static\.)?crates\.io|proxy\.golang\.org|ghcr\.io|docker\.io)\b")
BUILD_FILE = re.compile(r"(scripts|cmake|\.ci)/.*|(.*/)?CMakeLists\.txt|CMakePresets\.json")
DOWNLOAD = re.compile(r"\b(FetchContent|ExternalProject)|file\(\s*DOWNLOAD|\b(curl|wget)\s+[-\w\"'$]|(?<!file)://\w")


class Tree:
    """The files under a root, and the complaints and warnings about them."""

    def __init__(self, root):
        self.root = root
        self.complaints = []
        self.warnings = []
        self.texts = {}
        for folder, folders, files in os.walk(root):
            folders[:] = sorted(f for f in folders if f not in SKIPPED_FOLDERS)
            for name in sorted(files):
                path = os.path.relpath(os.path.join(folder, name), root)
                if name != ".git" and os.path.splitext(name)[1] in TEXT and not os.path.islink(os.path.join(root, path)):
                    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
                        self.texts[path] = file.read()

    def refuse(self, path, line, what):
        self.complaints.append(f"{path}:{line}: {what}")

    def sources(self):
        return [(p, t) for p, t in self.texts.items() if p.endswith(CODE)]


def blank_comments_and_strings(text):
    """The text with comments and the insides of literals blanked, line for line."""
    pattern = re.compile(r'R"(?P<d>[^()\s]*)\((?:.|\n)*?\)(?P=d)"|//[^\n]*|/\*(?:.|\n)*?\*/|"(?:\\.|[^"\\\n])*"|'
                         r"(?<![\w'])'(?:\\.|[^'\\\n])+'")

    def blank(match):
        if re.search(r"#\s*include\s*$", text[max(0, match.start() - 20):match.start()]):
            return match.group()
        return re.sub(r"[^\n]", " ", match.group())

    return pattern.sub(blank, text)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def module_folder(module):
    return module if module in MODULES_AT_ROOT else "src/" + module


def module_of(path):
    parts = path.split("/")
    if parts[0] in MODULES_AT_ROOT:
        return parts[0]
    return parts[1] if parts[0] == "src" and len(parts) > 2 else None


def read_layers(tree):
    """{module: what its line allows}, in order; complains about a line that names what does not stand above it."""
    layers = {}
    for number, line in enumerate(tree.texts.get("src/LAYERS", "").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"([a-z]+):((?:\s+[a-z]+)*)\s*", line)
        if not match:
            tree.refuse("src/LAYERS", number, f"expected `module: module …`, found `{line}`")
            continue
        name, allowed = match[1], match[2].split()
        if name in layers:
            tree.refuse("src/LAYERS", number, f"{name} stands twice")
        for other in allowed:
            if other not in layers:
                tree.refuse("src/LAYERS", number, f"{name} names {other}, which does not stand on an earlier line")
        layers[name] = allowed
    if not layers:
        tree.refuse("src/LAYERS", 1, "expected the modules, found none")
    return layers


def declared_modules(tree, layers):
    """The modules that are built; complains where DEPS and line differ or code is not built."""
    built = set()
    for path, text in tree.texts.items():
        if os.path.basename(path) != "CMakeLists.txt" or not re.match(r"(src|kernels|planner)/", path):
            continue
        text = re.sub(r"#.*", "", text)
        for match in re.finditer(r"narrows_module\(\s*(\w+)([^)]*)\)", text):
            line, name = line_of(text, match.start()), match[1]
            words = match[2].split()
            start = words.index("DEPS") + 1 if "DEPS" in words else len(words)
            stop = next((i for i in range(start, len(words)) if words[i] in ("LIBS", "SOURCES")), len(words))
            if name not in layers:
                tree.refuse(path, line, f"module {name} has no line in src/LAYERS")
            elif words[start:stop] != layers[name]:
                tree.refuse(path, line, f"DEPS of {name} are `{' '.join(words[start:stop])}`, its line in src/LAYERS says "
                                        f"`{' '.join(layers[name])}`")
            if name in layers and os.path.dirname(path) != module_folder(name):
                tree.refuse(path, line, f"module {name} belongs in {module_folder(name)}")
            built.add(name)
    for name in sorted({module_of(p) for p, _ in tree.sources() if p.endswith(".cc") and module_of(p)}):
        if name in layers and name not in built and name != "cli":
            tree.refuse(module_folder(name), 1, f"has sources, but no CMakeLists.txt with narrows_module({name} …)")
    return built


def check_includes(tree, layers):
    for path, text in tree.sources():
        module = module_of(path)
        if module and module not in layers:
            tree.refuse(path, 1, f"folder {module} has no line in src/LAYERS")
        for match in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"\n]*)"|<([^>\n]*)>)', text, re.M):
            line = line_of(text, match.start())
            if match[1] is not None:
                check_own_header(tree, layers, path, line, module, match[1])
            else:
                check_angle_header(tree, path, line, match[2])


def check_own_header(tree, layers, path, line, module, header):
    target = header.split("/")[0]
    if module is None:  # tests, benches: whatever they are linked with, and their own helpers
        return
    if "/" not in header or target not in layers:
        tree.refuse(path, line, f'"{header}": expected "<module>/<file>" with a module of src/LAYERS')
    elif target != module and module in layers and target not in layers[module]:
        tree.refuse(path, line, f'"{header}": the line of {module} in src/LAYERS does not name {target}')


def check_angle_header(tree, path, line, header):
    for pattern, places in THIRD_PARTY:
        if re.match(pattern, header):
            if not re.fullmatch(places, path):
                tree.refuse(path, line, f"<{header}> may not be included here (CONTRIBUTING.md, Shape)")
            return
    if not SYSTEM_HEADER.fullmatch(header):
        tree.refuse(path, line, f"<{header}>: a third-party header without a place in scripts/tidy.py")


def check_words(tree):
    for path, text in tree.sources():
        code = blank_comments_and_strings(text)
        for pattern, complaint, allowed in FORBIDDEN:
            if allowed and re.fullmatch(allowed, path):
                continue
            for match in re.finditer(pattern, code):
                tree.refuse(path, line_of(code, match.start()), complaint)
        if MACRO_PLACES.fullmatch(path):
            for match in re.finditer(r"^[ \t]*#[ \t]*define[ \t]+(\w+)", code, re.M):
                allowed = MACROS | VECTOR_MACROS if path in VECTOR_PLACES else MACROS
                if match[1] not in allowed:
                    tree.refuse(path, line_of(code, match.start()), f"macro {match[1]}: only ASSERT and TRY are macros")
        if not re.search(r"^// SPDX-License-Identifier: Apache-2\.0$", text, re.M):
            tree.refuse(path, 1, "expected a line `// SPDX-License-Identifier: Apache-2.0` of its own")


def check_texts(tree):
    for path, text in tree.texts.items():
        for pattern, complaint, wanted in [
                (TODO, "a TODO without an issue number, such as TODO(#12)", path.endswith(CODE + (".py", ".cmake")) and path != ITSELF),
                (MACHINE_PATH, "an absolute path of one machine", True),
                (REGISTRY, "a package registry's host: use the machine's own configuration", True),
                (DOWNLOAD, "the build downloads nothing: dependencies come from the distribution",
                 BUILD_FILE.fullmatch(path) and path != ITSELF)]:
            if wanted:
                for match in pattern.finditer(text):
                    tree.refuse(path, line_of(text, match.start()), complaint)


def check_links(tree):
    """Relative links of the documents lead to something."""
    for path, text in tree.texts.items():
        if path.endswith(".md"):
            for match in re.finditer(r"\]\(([^)#\s:]+)(?:#[^)]*)?\)", text):
                target = os.path.join(tree.root, os.path.dirname(path), match[1])
                if not os.path.exists(target):
                    tree.refuse(path, line_of(text, match.start()), f"the link to {match[1]} leads nowhere")


def check_tests(tree, built):
    lists = "\n".join(t for p, t in tree.texts.items() if p.startswith("tests/") and p.endswith("CMakeLists.txt"))
    for path, _ in tree.sources():
        if not path.startswith("tests/") or not path.endswith("_test.cc"):
            continue
        parts = path.split("/")
        globbed = len(parts) == 3 and parts[1] in built
        if not globbed and parts[-1] not in lists:
            tree.refuse(path, 1, "this test is not built: expected tests/<module>/*_test.cc with a module that is built")


def check_sizes(tree):
    signature = re.compile(r"^[ \t]*(?:[\w:<>,&*\[\]]+[ \t]+)+[&*]?(\w+)\(([^(){};]*)\)", re.M)
    for path, text in tree.sources():
        lines = text.count("\n")
        if lines > 500:
            tree.warnings.append(f"{path}:1: {lines} lines; past 500, look again")
        code = blank_comments_and_strings(text)
        for match in signature.finditer(code):
            parameters = re.sub(r"<[^<>]*>", "", re.sub(r"<[^<>]*>", "", match[2])).split(",")
            if len(parameters) > 5 and all(re.search(r"\w[\s&*]+\w", p) for p in parameters):
                tree.warnings.append(f"{path}:{line_of(code, match.start())}: {match[1]} takes {len(parameters)} "
                                     "parameters; past 5, make a struct")


def main():
    if len(sys.argv) < 2:
        print("usage: scripts/tidy.py ROOT [--warnings]", file=sys.stderr)
        return 2
    tree = Tree(sys.argv[1])
    layers = read_layers(tree)
    built = declared_modules(tree, layers)
    check_includes(tree, layers)
    check_words(tree)
    check_texts(tree)
    check_links(tree)
    check_tests(tree, built)
    check_sizes(tree)
    for complaint in tree.complaints:
        print(complaint)
    if "--warnings" in sys.argv:
        for warning in tree.warnings:
            print("warning: " + warning)
    print(f"tidy: {len(tree.sources())} sources, {len(tree.complaints)} complaints, {len(tree.warnings)} warnings")
    return 1 if tree.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
