// The store's rows as values: which columns a machine, an origin and a measurement take in SQL, how
// they are bound, and how they are read back with every fault named.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "measurement/observation.h"
#include "store/database.h"
#include "store/op_text.h"

namespace narrows {

// In the order in which the functions below bind and read them.
inline constexpr const char* kMachineColumns =
    "m.chip,m.device,m.clock,m.memory_clock,m.driver,m.libraries";
inline constexpr const char* kOriginColumns = "o.kind,o.name,o.hash,o.part,o.date";
inline constexpr const char* kRowColumns = "op,direction,recipe,shape,time,p10,p90,samples,kernel";
inline constexpr const char* kInsertRow =
    "INSERT INTO measurement(origin,op,direction,recipe,shape,time,p10,p90,samples,kernel) "
    "VALUES(?,?,?,?,?,?,?,?,?,?)";

// Parameters 1 to 6.
Statement& bind_machine(Statement& statement, const Machine& machine);
// The columns from `first` on.
Machine machine_at(const Statement& row, int first);
Origin origin_at(const Statement& row, int first);

// Runs kInsertRow. InvalidInput for what would not read back: a time of 0, a shape that is none.
Status insert_row(Statement& into, std::int64_t origin, const KernelObservation& kernel);
Status insert_row(Statement& into, std::int64_t origin, const LinkObservation& link);

// What stands in kRowColumns, without its time; refused if it is no measurement. `name` is the
// store's, for the complaint.
Result<AnyOp> op_at(const Statement& row, const std::string& name);
// Appends the row in kRowColumns to the batch, whose machine and origin are known.
Status read_row(const Statement& row, const std::string& name, Batch& batch);
// Copies the row in kRowColumns into kInsertRow's table.
Status copy_row(const Statement& row, std::int64_t origin, Statement& into);

}  // namespace narrows
