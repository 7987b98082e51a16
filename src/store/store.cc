// SPDX-License-Identifier: Apache-2.0
#include "store/store.h"

#include <fmt/format.h>

#include <algorithm>

#include "store/database.h"
#include "store/op_text.h"
#include "store/schema.h"
#include "store/store_rows.h"

namespace narrows {
namespace {

constexpr const char* kRowsOfOrigin = "SELECT {} FROM measurement WHERE origin=? ORDER BY id";
constexpr const char* kUnreadOfOrigin =
    "SELECT why,count,time FROM unread WHERE origin=? ORDER BY id";
constexpr const char* kInsertUnread = "INSERT INTO unread(origin,why,count,time) VALUES(?,?,?,?)";

// A transaction that is rolled back unless it is committed.
class Transaction {
 public:
  explicit Transaction(Database& database) : database_(database) {}
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  ~Transaction() {
    if (open_) (void)database_.execute("ROLLBACK");
  }
  Status begin() {
    TRY(database_.execute("BEGIN IMMEDIATE"));
    open_ = true;
    return {};
  }
  Status commit() {
    TRY(database_.execute("COMMIT"));
    open_ = false;
    return {};
  }

 private:
  Database& database_;
  bool open_ = false;
};

// The median of an unsorted, non-empty list; the mean of the middle two.
double median(std::vector<double>& values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : 0.5 * (values[half - 1] + values[half]);
}

}  // namespace

Store::Store(Database database) : database_(std::make_unique<Database>(std::move(database))) {}
Store::Store(Store&&) noexcept = default;
Store& Store::operator=(Store&&) noexcept = default;
Store::~Store() = default;

Result<Store> Store::open(const std::string& path) {
  Database database = TRY(Database::open(path, Database::Mode::ReadWrite));
  // Before anything is written: a foreign database stays as it is.
  const bool empty = TRY(database.integer("SELECT count(*) FROM sqlite_master")) == 0;
  if (!empty && TRY(database.integer("PRAGMA user_version")) == kVersion && TRY(is_store(database)))
    return Store(std::move(database));
  {
    Transaction transaction(database);
    TRY(transaction.begin());
    TRY(migrate(database, kVersion));
    TRY(transaction.commit());
  }
  TRY(database.execute("PRAGMA journal_mode=WAL"));
  return Store(std::move(database));
}

Result<Store> Store::open_to_read(const std::string& path) {
  Database database = TRY(Database::open(path, Database::Mode::ReadOnly));
  if (!TRY(is_store(database))) {
    return invalid(
        fmt::format("{}: expected a store of measurements, found another SQLite database", path));
  }
  if (TRY(database.integer("PRAGMA user_version")) == kVersion) return Store(std::move(database));
  Database copy = TRY(Database::open(path, Database::Mode::Memory));
  TRY(database.copy_to(copy));
  const Status migrated = migrate(copy, kVersion);
  if (!migrated) return tl::unexpected(migrated.error().within(path));
  return Store(std::move(copy));
}

Result<std::vector<Added>> Store::add(std::span<const Batch> batches,
                                      std::span<const Store> stores) {
  TRY(database_->execute("PRAGMA synchronous=NORMAL"));
  std::vector<Added> added;
  Transaction transaction(*database_);
  TRY(transaction.begin());
  for (const Batch& batch : batches) added.push_back(TRY(add_batch(batch)));
  for (const Store& other : stores) added.push_back(TRY(add_store(other)));
  TRY(transaction.commit());
  return added;
}

Result<std::int64_t> Store::machine_id(const Machine& machine) {
  Statement find =
      TRY(database_->prepare("SELECT id FROM machine WHERE chip=? AND device=? AND clock=? AND "
                             "memory_clock=? AND driver=? AND libraries=?"));
  if (TRY(bind_machine(find, machine).step())) return find.integer(0);
  Statement insert =
      TRY(database_->prepare("INSERT INTO machine(chip,device,clock,memory_clock,driver,libraries) "
                             "VALUES(?,?,?,?,?,?)"));
  TRY(bind_machine(insert, machine).run());
  return database_->last_row();
}

Result<std::optional<std::int64_t>> Store::new_origin(const Origin& origin, std::int64_t machine) {
  Statement find =
      TRY(database_->prepare("SELECT 1 FROM origin WHERE hash=? AND part=? AND machine=?"));
  find.bind(1, origin.hash).bind(2, origin.part).bind(3, machine);
  if (TRY(find.step())) return std::nullopt;
  Statement insert = TRY(database_->prepare(
      "INSERT INTO origin(machine,kind,name,hash,part,date) VALUES(?,?,?,?,?,?)"));
  insert.bind(1, machine).bind(2, origin.kind).bind(3, origin.name).bind(4, origin.hash);
  TRY(insert.bind(5, origin.part).bind(6, origin.date).run());
  return database_->last_row();
}

Result<Added> Store::add_batch(const Batch& batch) {
  Added added;
  const auto rows = static_cast<std::int64_t>(batch.kernels.size() + batch.links.size());
  const std::int64_t machine = TRY(machine_id(batch.machine));
  const auto origin = TRY(new_origin(batch.origin, machine));
  if (!origin) {
    added.known = rows;
    return added;
  }
  Statement into = TRY(database_->prepare(kInsertRow));
  const auto within = [&](const Error& error) { return error.within(batch.origin.name); };
  for (const KernelObservation& kernel : batch.kernels) {
    const Status done = insert_row(into, *origin, kernel);
    if (!done) return tl::unexpected(within(done.error()));
  }
  for (const LinkObservation& link : batch.links) {
    const Status done = insert_row(into, *origin, link);
    if (!done) return tl::unexpected(within(done.error()));
  }
  Statement unread = TRY(database_->prepare(kInsertUnread));
  for (const Unread& left : batch.unread) {
    unread.bind(1, *origin).bind(2, left.why).bind(3, left.count).bind(4, left.time / sec);
    TRY(unread.run());
  }
  added.kernels = static_cast<std::int64_t>(batch.kernels.size());
  added.links = static_cast<std::int64_t>(batch.links.size());
  return added;
}

Result<Added> Store::add_store(const Store& other) {
  Added added;
  Statement origins = TRY(other.database_->prepare(
      fmt::format("SELECT {},{},o.id FROM origin o JOIN machine m ON m.id=o.machine ORDER BY o.id",
                  kMachineColumns, kOriginColumns)));
  Statement rows = TRY(other.database_->prepare(fmt::format(kRowsOfOrigin, kRowColumns)));
  Statement lefts = TRY(other.database_->prepare(kUnreadOfOrigin));
  Statement into = TRY(database_->prepare(kInsertRow));
  Statement unread = TRY(database_->prepare(kInsertUnread));
  while (TRY(origins.step())) {
    const std::int64_t machine = TRY(machine_id(machine_at(origins, 0)));
    const auto origin = TRY(new_origin(origin_at(origins, 6), machine));
    if (!origin) {
      Statement count =
          TRY(other.database_->prepare("SELECT count(*) FROM measurement WHERE origin=?"));
      count.bind(1, origins.integer(11));
      const bool counted = TRY(count.step());
      added.known += counted ? count.integer(0) : 0;
      continue;
    }
    rows.bind(1, origins.integer(11));
    while (TRY(rows.step())) {
      // Read, so that a broken store cannot spread.
      const AnyOp op = TRY(op_at(rows, other.database_->name()));
      const bool link = std::holds_alternative<LinkMeasurement>(op);
      ++(link ? added.links : added.kernels);
      TRY(copy_row(rows, *origin, into));
    }
    rows.reset();
    lefts.bind(1, origins.integer(11));
    while (TRY(lefts.step())) {
      unread.bind(1, *origin).bind(2, lefts.text(0)).bind(3, lefts.integer(1));
      TRY(unread.bind(4, lefts.number(2)).run());
    }
    lefts.reset();
  }
  return added;
}

Result<std::vector<StoredMachine>> Store::machines() const {
  Statement rows = TRY(database_->prepare(fmt::format(
      "SELECT {},count(DISTINCT o.id),count(r.id) FROM machine m JOIN origin o ON o.machine=m.id "
      "LEFT JOIN measurement r ON r.origin=o.id GROUP BY m.id ORDER BY m.chip,m.device,m.id",
      kMachineColumns)));
  std::vector<StoredMachine> machines;
  while (TRY(rows.step()))
    machines.push_back({machine_at(rows, 0), rows.integer(6), rows.integer(7)});
  return machines;
}

Result<std::vector<Batch>> Store::batches(std::string_view chip) const {
  Statement origins = TRY(database_->prepare(
      fmt::format("SELECT {},{},o.id FROM origin o JOIN machine m ON m.id=o.machine WHERE ?1='' OR "
                  "m.chip=?1 ORDER BY m.chip,m.device,m.id,o.id",
                  kMachineColumns, kOriginColumns)));
  Statement rows = TRY(database_->prepare(fmt::format(kRowsOfOrigin, kRowColumns)));
  Statement lefts = TRY(database_->prepare(kUnreadOfOrigin));
  std::vector<Batch> batches;
  origins.bind(1, chip);
  while (TRY(origins.step())) {
    Batch batch;
    batch.machine = machine_at(origins, 0);
    batch.origin = origin_at(origins, 6);
    rows.bind(1, origins.integer(11));
    while (TRY(rows.step())) TRY(read_row(rows, database_->name(), batch));
    rows.reset();
    lefts.bind(1, origins.integer(11));
    while (TRY(lefts.step()))
      batch.unread.push_back({std::string(lefts.text(0)), lefts.integer(1), lefts.number(2) * sec});
    lefts.reset();
    batches.push_back(std::move(batch));
  }
  return batches;
}

Result<std::vector<Measurement>> Store::kernel_table(const std::string& chip) const {
  Statement rows = TRY(database_->prepare(
      "SELECT r.op,r.direction,r.recipe,r.shape,r.time FROM measurement r JOIN origin o ON "
      "o.id=r.origin JOIN machine m ON m.id=o.machine WHERE m.chip=? AND r.direction<>'' "
      "ORDER BY r.op,r.direction,r.recipe,r.shape,r.time"));
  rows.bind(1, chip);
  std::vector<Measurement> table;
  OpText current;
  std::vector<double> times;
  const auto finish = [&]() -> Status {
    if (times.empty()) return {};
    const Result<AnyOp> op = read_op(current.op, current.direction, current.recipe, current.shape);
    if (!op || !std::holds_alternative<Measurement>(*op))
      return invalid(
          fmt::format("{}: a stored row is no kernel: {}", database_->name(), current.op));
    Measurement row = std::get<Measurement>(*op);
    row.chip = chip;
    row.source = "store";
    row.time = median(times) * sec;
    table.push_back(std::move(row));
    times.clear();
    return {};
  };
  while (TRY(rows.step())) {
    const bool same = rows.text(0) == current.op && rows.text(1) == current.direction &&
                      rows.text(2) == current.recipe && rows.text(3) == current.shape;
    if (!same) {
      TRY(finish());
      current = {std::string(rows.text(0)), std::string(rows.text(1)), std::string(rows.text(2)),
                 std::string(rows.text(3))};
    }
    times.push_back(rows.number(4));
  }
  TRY(finish());
  return table;
}

Result<std::int64_t> Store::rows() const {
  return database_->integer("SELECT count(*) FROM measurement");
}

Result<std::string> default_store_path(const std::string& xdg_data_home, const std::string& home) {
  // The XDG rules: a relative path does not count.
  if (xdg_data_home.starts_with('/')) return xdg_data_home + "/narrows/measurements.db";
  if (home.starts_with('/')) return home + "/.local/share/narrows/measurements.db";
  return invalid("--db: expected a file, since neither XDG_DATA_HOME nor HOME tells a folder");
}

}  // namespace narrows
