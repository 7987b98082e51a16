// `narrows import`: files in, a store or a cluster file out.
// SPDX-License-Identifier: Apache-2.0
#include <filesystem>

#include "cli/program.h"

namespace narrows {
namespace {

// A folder of files that is gone with the test.
class Folder {
 public:
  explicit Folder(const std::string& name)
      : path_(std::filesystem::temp_directory_path() /
              ("narrows_import_test_" + std::to_string(getpid()) + "_" + name)) {
    std::filesystem::create_directories(path_);
  }
  ~Folder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }
  std::string write(const std::string& name, const std::string& text) const {
    REQUIRE(write_file(*this / name, text).has_value());
    return *this / name;
  }
  bool has(const std::string& name) const { return std::filesystem::exists(path_ / name); }

 private:
  std::filesystem::path path_;
};

const char* const kTimings =
    "# chip: h100-sxm5\nop,direction,dtype,m,n,k,us\nmatmul,fwd,bf16,4096,2112,7168,176\n"
    "matmul,fwd,bf16,8192,2112,7168,340\n";
const char* const kOsu =
    "# OSU MPI Latency Test v7.4\n# Size          Latency (us)\n8                       1.25\n";
const char* const kTopology =
    "\tGPU0\tGPU1\tCPU Affinity\nGPU0\t X \tNV18\t0-55\nGPU1\tNV18\t X \t0-55\n\nLegend:\n";

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Refused with code 1 in one sentence that holds `words`; nothing on stdout.
void refused(const std::vector<std::string>& args, const std::string& words) {
  const Outcome outcome = narrows_with(args);
  INFO(outcome.err);
  CHECK(outcome.code == 1);
  CHECK(outcome.out.empty());
  CHECK(holds(outcome.err, words));
  CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
}

}  // namespace

TEST_CASE("import: several files go into a store, once") {
  const Folder folder("several");
  const std::string db = folder / "m.db";
  const std::vector<std::string> args{"import", folder.write("t.csv", kTimings),
                                      folder.write("osu.log", kOsu), "--db", db};
  const Outcome first = narrows_with(args);
  CHECK(first.code == 0);
  CHECK(first.out == (folder / "t.csv") + ": table of timings on h100-sxm5: 2 kernels, 0 links\n" +
                         (folder / "osu.log") +
                         ": OSU micro-benchmarks log of an unknown chip: 0 kernels, 1 link\n" + db +
                         " now holds 3 rows\n");
  CHECK(holds(first.err, "--chip NAME says which it is"));
  const Outcome again = narrows_with(args);
  CHECK(holds(again.out, "2 rows the store had already"));
  CHECK(holds(again.out, "now holds 3 rows"));
  const Outcome merged = narrows_with({"import", db, "--db", folder / "other.db"});
  CHECK(holds(merged.out, "store of measurements: 2 kernels, 1 link"));
  CHECK(!folder.has("m.db-wal"));
}

TEST_CASE("import: --json says what was added, file by file") {
  const Folder folder("json");
  const std::string text = std::string(kTimings) + "matmul,fwd,bf16,1,2,3,\n";
  const Json root = json_of(
      narrows_with({"import", folder.write("t.csv", text), "--db", folder / "m.db", "--json"}));
  CHECK(root.find("rows")->integer() == 2);
  const Json& file = root.find("files")->items().at(0);
  CHECK(file.find("kind")->string() == "table of timings");
  const Json& batch = file.find("batches")->items().at(0);
  CHECK(batch.find("kernels")->integer() == 2);
  CHECK(batch.find("chip")->string() == "h100-sxm5");
  CHECK(batch.find("unread")->items().at(0).find("why")->string() == "matmul without a time");
}

TEST_CASE("import: one broken file among good ones, and nothing is written") {
  const Folder folder("broken");
  const std::string good = folder.write("t.csv", kTimings);
  const std::string db = folder / "m.db";
  refused({"import", good, folder.write("x.csv", "op,us\nmatmul,1\n"), "--db", db}, "x.csv:2");
  refused({"import", good, folder.write("x.txt", "hello\n"), "--db", db}, "found none of these");
  refused({"import", good, folder / "none", "--db", db}, "none");
  refused({"import", good, folder.write("x.json", "{\"traceEvents\": [{\"ph\""), "--db", db},
          "the file is cut off");
  refused({"import", good, folder.write("x.gz", "\x1f\x8b\x08"), "--db", db}, "unpack it first");
  refused(
      {"import", good, folder.write("x.db", std::string("SQLite format 3\0rest", 20)), "--db", db},
      "x.db");
  CHECK(!folder.has("m.db"));
}

TEST_CASE("import: a store is not imported into itself, nor into what is none") {
  const Folder folder("itself");
  const std::string db = folder / "m.db";
  const std::string good = folder.write("t.csv", kTimings);
  REQUIRE(narrows_with({"import", good, "--db", db}).code == 0);
  refused({"import", db, "--db", db}, "is the store that --db names");
  refused({"import", good, "--db", good}, "expected an SQLite database");
  refused({"import", good, "--db", folder / "no/such/m.db"}, "SQLite refuses");
}

TEST_CASE("import: a topology becomes a cluster that plans") {
  const Folder folder("topology");
  const std::string topology = folder.write("topo.txt", kTopology);
  const std::string cluster = folder / "mine.json";
  const Outcome outcome =
      narrows_with({"import", topology, "--chip", "h100-sxm5", "--out", cluster});
  CHECK(outcome.code == 0);
  CHECK(holds(outcome.out, "2 x H100 SXM5 80GB in 1 level"));
  const Outcome plan = narrows_with({"plan", "--model", in_tests("small_model.json"), "--cluster",
                                     cluster, "--global-batch", "8", "--precision", "bf16"});
  INFO(plan.err);
  CHECK(plan.code == 0);
  const Outcome shown = narrows_with({"import", topology, "--chip", "h100-sxm5"});
  CHECK(json_of(shown).find("gpus")->integer() == 2);
  refused({"import", topology}, "--chip NAME");
  refused({"import", topology, "--chip", "h101"}, "--chip");
  refused({"import", topology, "--chip", "h100-sxm5", "--db", folder / "m.db"}, "--db");
  refused({"import", topology, topology, "--chip", "h100-sxm5"}, "imported alone");
  refused({"import", folder.write("t.csv", kTimings), "--nodes", "2", "--db", folder / "m.db"},
          "--nodes");
}

TEST_CASE("import: a model's config is no measurement, and is told how to be used") {
  const Folder folder("model");
  const Outcome outcome =
      narrows_with({"import", in_tests("small_model.json"), "--db", folder / "m.db"});
  CHECK(outcome.code == 0);
  CHECK(holds(outcome.out, "a model of"));
  CHECK(holds(outcome.out, "narrows plan --model"));
  CHECK(!folder.has("m.db"));
}

TEST_CASE("import: words that do not parse") {
  CHECK(narrows_with({"import"}).code == 2);
  CHECK(narrows_with({"import", "x", "--ranks", "many"}).code == 2);
  CHECK(narrows_with({"import", "x", "--nodes", "0"}).code == 2);
}

}  // namespace narrows
