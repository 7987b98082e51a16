// SQLite behind Results: a connection and its statements. Every complaint is one sentence that
// begins with the file. Strings and statements borrow from the connection.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace narrows {

class Statement {
 public:
  Statement(Statement&&) noexcept = default;
  Statement& operator=(Statement&&) noexcept = default;

  // Parameters count from 1. Text must outlive the next step.
  Statement& bind(int index, std::int64_t value);
  Statement& bind(int index, double value);
  Statement& bind(int index, std::string_view value);
  // True if there is a row.
  Result<bool> step();
  // One step of a statement without rows; then it can be bound again.
  Status run();
  void reset();

  // Columns count from 0. Text of the current row, borrowed until the next step.
  std::int64_t integer(int column) const;
  double number(int column) const;
  std::string_view text(int column) const;
  bool is_null(int column) const;

 private:
  friend class Database;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  Statement(sqlite3_stmt* statement, const std::string& name)
      : statement_(statement), name_(&name) {}

  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  const std::string* name_;
};

class Database {
 public:
  enum class Mode { ReadOnly, ReadWrite, Memory };
  // ReadWrite makes the file if there is none; ReadOnly also opens what lies in a folder that
  // cannot be written. NotFound or Io, in one sentence.
  static Result<Database> open(const std::string& path, Mode mode);

  // Statements without rows, several with ";" between them.
  Status execute(const std::string& sql);
  Result<Statement> prepare(std::string_view sql) const;
  // The one number that a statement gives.
  Result<std::int64_t> integer(std::string_view sql) const;
  Result<bool> has_table(std::string_view table) const;
  Result<bool> has_column(std::string_view table, std::string_view column) const;
  std::int64_t last_row() const;
  // Copies the whole of this database into another, which is emptied.
  Status copy_to(Database& other) const;

  const std::string& name() const { return *name_; }

 private:
  struct Close {
    void operator()(sqlite3* connection) const;
  };
  Database(sqlite3* connection, const std::string& name)
      : connection_(connection), name_(std::make_unique<std::string>(name)) {}

  std::unique_ptr<sqlite3, Close> connection_;
  std::unique_ptr<std::string> name_;  // statements borrow it
};

}  // namespace narrows
