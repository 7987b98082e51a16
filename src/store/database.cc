// SPDX-License-Identifier: Apache-2.0
#include "store/database.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <filesystem>

namespace narrows {
namespace {

constexpr int kPatience = 10'000;  // ms to wait for another program's transaction

tl::unexpected<Error> complaint(const std::string& name, sqlite3* connection, int code) {
  const char* why = connection != nullptr ? sqlite3_errmsg(connection) : sqlite3_errstr(code);
  switch (code & 0xff) {
    case SQLITE_NOTADB:
      return invalid(fmt::format("{}: expected an SQLite database, found something else", name));
    case SQLITE_CORRUPT:
      return invalid(fmt::format("{}: a broken or truncated SQLite database: {}", name, why));
    default:
      return io_error(fmt::format("{}: SQLite refuses: {}", name, why));
  }
}

// The path as a file: URI that says the file does not change.
std::string immutable_uri(const std::string& path) {
  std::string uri = "file:";
  for (const char c : path) {
    if (c == '%' || c == '?' || c == '#') {
      uri += fmt::format("%{:02x}", static_cast<unsigned char>(c));
    } else {
      uri += c;
    }
  }
  return uri + "?immutable=1";
}

}  // namespace

void Statement::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
void Database::Close::operator()(sqlite3* connection) const { sqlite3_close_v2(connection); }

Statement& Statement::bind(int index, std::int64_t value) {
  ASSERT(sqlite3_bind_int64(statement_.get(), index, value) == SQLITE_OK);
  return *this;
}

Statement& Statement::bind(int index, double value) {
  ASSERT(sqlite3_bind_double(statement_.get(), index, value) == SQLITE_OK);
  return *this;
}

Statement& Statement::bind(int index, std::string_view value) {
  // A view of nothing has no address, which SQLite would take for NULL.
  const char* data = value.data() != nullptr ? value.data() : "";
  ASSERT(sqlite3_bind_text64(statement_.get(), index, data, value.size(), SQLITE_STATIC,
                             SQLITE_UTF8) == SQLITE_OK);
  return *this;
}

Result<bool> Statement::step() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return complaint(*name_, sqlite3_db_handle(statement_.get()), code);
}

Status Statement::run() {
  const Result<bool> row = step();
  if (!row) return tl::unexpected(row.error());
  reset();
  return {};
}

void Statement::reset() { sqlite3_reset(statement_.get()); }

std::int64_t Statement::integer(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

double Statement::number(int column) const {
  return sqlite3_column_double(statement_.get(), column);
}

std::string_view Statement::text(int column) const {
  const unsigned char* text = sqlite3_column_text(statement_.get(), column);
  if (text == nullptr) return {};
  return {reinterpret_cast<const char*>(text),
          static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

bool Statement::is_null(int column) const {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}

Result<Database> Database::open(const std::string& path, Mode mode) {
  std::error_code error;
  const std::string name = mode == Mode::Memory ? "memory" : path;
  if (mode == Mode::ReadOnly && !std::filesystem::exists(path, error))
    return not_found(fmt::format("{}: no such file", path));
  if (std::filesystem::is_directory(path, error))
    return invalid(fmt::format("{}: expected a file, found a folder", path));
  // Also for reading: where the file may be written, SQLite then tidies up its log when it is
  // closed.
  const int flags = SQLITE_OPEN_READWRITE | (mode == Mode::ReadOnly ? 0 : SQLITE_OPEN_CREATE);
  sqlite3* raw = nullptr;
  // A path that begins with ":" or "file:" is a path all the same.
  const std::string plain = path.starts_with('/') ? path : "./" + path;
  const int code =
      sqlite3_open_v2(mode == Mode::Memory ? ":memory:" : plain.c_str(), &raw, flags, nullptr);
  Database database(raw, name);
  if (code != SQLITE_OK) return complaint(name, raw, code);
  sqlite3_busy_timeout(raw, kPatience);
  if (mode != Mode::ReadOnly) return database;
  TRY(database.execute("PRAGMA query_only=1"));
  const Result<std::int64_t> schema = database.integer("PRAGMA schema_version");
  if (schema) return database;
  if (schema.error().code != ErrorCode::Io) return tl::unexpected(schema.error());
  sqlite3* again = nullptr;
  const int second = sqlite3_open_v2(immutable_uri(plain).c_str(), &again,
                                     SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, nullptr);
  Database frozen(again, name);
  if (second != SQLITE_OK) return complaint(name, again, second);
  TRY(frozen.integer("PRAGMA schema_version"));
  return frozen;
}

Status Database::execute(const std::string& sql) {
  const int code = sqlite3_exec(connection_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return complaint(*name_, connection_.get(), code);
  return {};
}

Result<Statement> Database::prepare(std::string_view sql) const {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v2(connection_.get(), sql.data(), static_cast<int>(sql.size()),
                                      &statement, nullptr);
  if (code != SQLITE_OK) return complaint(*name_, connection_.get(), code);
  return Statement(statement, *name_);
}

Result<std::int64_t> Database::integer(std::string_view sql) const {
  Statement statement = TRY(prepare(sql));
  const bool row = TRY(statement.step());
  return row ? statement.integer(0) : 0;
}

Result<bool> Database::has_table(std::string_view table) const {
  Statement statement = TRY(prepare("SELECT 1 FROM sqlite_master WHERE type='table' AND name=?"));
  return statement.bind(1, table).step();
}

Result<bool> Database::has_column(std::string_view table, std::string_view column) const {
  Statement statement = TRY(prepare("SELECT 1 FROM pragma_table_info(?) WHERE name=?"));
  return statement.bind(1, table).bind(2, column).step();
}

std::int64_t Database::last_row() const { return sqlite3_last_insert_rowid(connection_.get()); }

Status Database::copy_to(Database& other) const {
  sqlite3_backup* backup =
      sqlite3_backup_init(other.connection_.get(), "main", connection_.get(), "main");
  if (backup == nullptr)
    return complaint(*name_, other.connection_.get(), sqlite3_errcode(other.connection_.get()));
  const int code = sqlite3_backup_step(backup, -1);
  sqlite3_backup_finish(backup);
  if (code != SQLITE_DONE) return complaint(*name_, nullptr, code);
  return {};
}

}  // namespace narrows
