// SPDX-License-Identifier: Apache-2.0
#include "store/store.h"

#include <fmt/format.h>

#include "store/database.h"
#include "store/schema.h"
#include "tests/store/fixture.h"

namespace narrows {
namespace {

Store opened(const std::string& path) { return value_of(Store::open(path)); }

std::vector<Added> added(Store& store, const std::vector<Batch>& batches) {
  return value_of(store.add(batches));
}

}  // namespace

TEST_CASE("store: what was added comes back, to the bit") {
  const ScratchFolder folder;
  Batch batch = batch_of("a", {matmul(1), matmul(3, Direction::WeightGrad)}, {all_reduce(1e6, 33)});
  batch.unread = {{"aten::foo", 7, 12.5 * us}};
  KernelObservation attention;
  attention.what.family = KernelFamily::Attention;
  attention.what.attention = {1, 128, 128, 4096, 4096, 192, 128, true, 0};
  attention.what.time = 1.0 / 3 * ms;
  batch.kernels.push_back(attention);
  {
    Store store = opened(folder.file("m.db"));
    CHECK(added(store, {batch}) == std::vector<Added>{{3, 1, 0}});
  }
  const Store store = value_of(Store::open_to_read(folder.file("m.db")));
  const std::vector<Batch> batches = value_of(store.batches());
  REQUIRE(batches.size() == 1);
  CHECK(batches[0].machine == h800());
  CHECK(batches[0].origin.date == "2026-11-22");
  REQUIRE(batches[0].kernels.size() == 3);
  CHECK(batches[0].kernels[1].what.matmul == batch.kernels[1].what.matmul);
  CHECK(batches[0].kernels[1].what.direction == Direction::WeightGrad);
  CHECK(batches[0].kernels[1].spread == batch.kernels[1].spread);
  CHECK(batches[0].kernels[1].kernel == "nvjet_tst");
  CHECK(batches[0].kernels[2].what.attention == attention.what.attention);
  CHECK(batches[0].kernels[2].what.time == attention.what.time);
  CHECK(batches[0].kernels[0].what.chip == "h800-sxm5");
  REQUIRE(batches[0].links.size() == 1);
  CHECK(batches[0].links[0].what == batch.links[0].what);
  REQUIRE(batches[0].unread.size() == 1);
  CHECK(batches[0].unread[0].count == 7);
  CHECK(batches[0].unread[0].time == 12.5 * us);
}

TEST_CASE("store: the same origin is added once") {
  const ScratchFolder folder;
  Store store = opened(folder.file("m.db"));
  const Batch batch = batch_of("a", {matmul(1), matmul(2)});
  CHECK(added(store, {batch, batch}) == std::vector<Added>{{2, 0, 0}, {0, 0, 2}});
  CHECK(added(store, {batch}) == std::vector<Added>{{0, 0, 2}});
  CHECK(value_of(store.rows()) == 2);
  Batch elsewhere = batch;
  elsewhere.machine.clock = 1980 * MHz;
  CHECK(added(store, {elsewhere}) == std::vector<Added>{{2, 0, 0}});
  REQUIRE(value_of(store.machines()).size() == 2);
}

TEST_CASE("store: merging is a union, in any order") {
  const ScratchFolder folder;
  const Batch a = batch_of("a", {matmul(1)}, {all_reduce(8, 5)});
  const Batch b = batch_of("b", {matmul(2), matmul(1)});
  const Batch c = batch_of("c", {matmul(3)});
  Store first = opened(folder.file("1.db"));
  Store second = opened(folder.file("2.db"));
  Store both = opened(folder.file("3.db"));
  added(first, {a, b});
  added(second, {b, c});
  std::vector<Store> others;
  others.push_back(std::move(first));
  others.push_back(std::move(second));
  CHECK(value_of(both.add({}, others)) == std::vector<Added>{{3, 1, 0}, {1, 0, 2}});
  CHECK(value_of(both.rows()) == 5);
  const std::vector<Measurement> table = value_of(both.kernel_table("h800-sxm5"));
  Store direct = opened(folder.file("4.db"));
  added(direct, {c, b, a});
  const std::vector<Measurement> same = value_of(direct.kernel_table("h800-sxm5"));
  REQUIRE(table.size() == 3);
  REQUIRE(same.size() == 3);
  for (std::size_t i = 0; i < table.size(); ++i) {
    CHECK(table[i].matmul == same[i].matmul);
    CHECK(table[i].time == same[i].time);
  }
}

TEST_CASE("store: the kernel table has the median of all rows of an op") {
  const ScratchFolder folder;
  Store store = opened(folder.file("m.db"));
  std::vector<Batch> batches;
  for (const double time : {130.0, 100.0, 110.0, 900.0}) {
    KernelObservation row = matmul(1);
    row.what.time = time * us;
    batches.push_back(batch_of(fmt::format("{}", time), {row}));
  }
  added(store, batches);
  const std::vector<Measurement> table = value_of(store.kernel_table("h800-sxm5"));
  REQUIRE(table.size() == 1);
  CHECK(table[0].time / us == Approx(120));
  CHECK(value_of(store.kernel_table("h100-sxm5")).empty());
}

TEST_CASE("store: an older one is brought up to date when it is written, and left when read") {
  const ScratchFolder folder;
  const std::string path = folder.file("old.db");
  {
    Database old = value_of(Database::open(path, Database::Mode::ReadWrite));
    REQUIRE(migrate(old, 1).has_value());
    REQUIRE(old.execute("INSERT INTO machine VALUES(1,'h800-sxm5','',0,0,'','');"
                        "INSERT INTO origin VALUES(1,1,'profile','x','h','','2026-01-01');"
                        "INSERT INTO measurement VALUES(1,1,'matmul','forward','bf16',"
                        "'m=128;n=64;k=32',1e-5,0,0,1,'')")
                .has_value());
  }
  const auto version = [&] {
    return value_of(
        value_of(Database::open(path, Database::Mode::ReadOnly)).integer("PRAGMA user_version"));
  };
  CHECK(value_of(value_of(Store::open_to_read(path)).kernel_table("h800-sxm5")).size() == 1);
  CHECK(version() == 1);
  CHECK(value_of(opened(path).kernel_table("h800-sxm5")).size() == 1);
  CHECK(version() == Store::kVersion);
}

TEST_CASE("store: a newer one is refused by its version") {
  const ScratchFolder folder;
  const std::string path = folder.file("new.db");
  opened(path);
  REQUIRE(value_of(Database::open(path, Database::Mode::ReadWrite))
              .execute("PRAGMA user_version=99")
              .has_value());
  CHECK(contains(refusal_of(Store::open(path)), "version 2 or older, found 99"));
  CHECK(contains(refusal_of(Store::open_to_read(path)), "found 99"));
}

TEST_CASE("store: what is no store stays as it is") {
  const ScratchFolder folder;
  const std::string text = folder.write("text.db", std::string(5000, 'x'));
  CHECK(contains(refusal_of(Store::open(text)), "expected an SQLite database"));
  CHECK(value_of(read_file(text)) == std::string(5000, 'x'));
  const std::string foreign = folder.file("foreign.db");
  REQUIRE(value_of(Database::open(foreign, Database::Mode::ReadWrite))
              .execute("CREATE TABLE t(x)")
              .has_value());
  const std::string before = value_of(read_file(foreign));
  CHECK(contains(refusal_of(Store::open(foreign)), "another SQLite database"));
  CHECK(contains(refusal_of(Store::open_to_read(foreign)), "another SQLite database"));
  CHECK(value_of(read_file(foreign)) == before);
  CHECK(contains(refusal_of(Store::open_to_read(folder.file("none.db"))), "no such file"));
  CHECK(contains(refusal_of(Store::open(folder.file("no/folder.db"))), "SQLite refuses"));
}

TEST_CASE("store: a broken row of a store that is merged leaves nothing behind") {
  const ScratchFolder folder;
  for (const std::string spoil :
       {"shape='m=-1;n=2;k=3'", "op='warp'", "time=-1", "recipe='bf17'"}) {
    const std::string path = folder.file("bad.db");
    {
      Store bad = opened(path);
      added(bad, {batch_of("good", {matmul(1)}), batch_of(spoil, {matmul(2)})});
    }
    REQUIRE(value_of(Database::open(path, Database::Mode::ReadWrite))
                .execute(fmt::format("UPDATE measurement SET {} WHERE id=(SELECT max(id) FROM "
                                     "measurement)",
                                     spoil))
                .has_value());
    std::vector<Store> others;
    others.push_back(value_of(Store::open_to_read(path)));
    Store store = opened(folder.file("m.db"));
    const std::vector<Batch> mine{batch_of("mine", {matmul(5)})};
    CHECK(contains(refusal_of(store.add(mine, others)), "a stored row"));
    CHECK(value_of(store.rows()) == 0);
    CHECK(value_of(store.machines()).empty());
    std::filesystem::remove(path);
  }
}

TEST_CASE("store: two may write one file in turn") {
  const ScratchFolder folder;
  Store one = opened(folder.file("m.db"));
  Store two = opened(folder.file("m.db"));
  added(one, {batch_of("a", {matmul(1)})});
  added(two, {batch_of("b", {matmul(1)}), batch_of("a", {matmul(1)})});
  CHECK(value_of(one.rows()) == 2);
  CHECK(value_of(two.rows()) == 2);
}

TEST_CASE("store: the default path follows XDG, then the home folder") {
  CHECK(*default_store_path("/data", "/home/me") == "/data/narrows/measurements.db");
  CHECK(*default_store_path("", "/home/me") == "/home/me/.local/share/narrows/measurements.db");
  CHECK(*default_store_path("relative", "/h") == "/h/.local/share/narrows/measurements.db");
  CHECK(!default_store_path("", ""));
}

}  // namespace narrows
