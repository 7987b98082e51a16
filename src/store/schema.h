// The store's tables, as the steps that led to them: step i takes a store of version i to i + 1.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/result.h"
#include "store/database.h"

namespace narrows {

// "NRWS": says that an SQLite file is a store.
inline constexpr std::int64_t kApplicationId = 0x4e525753;

// Whether the database is a store.
Result<bool> is_store(const Database& database);

// Runs the steps that the database lacks, in the caller's transaction. Unsupported for a newer
// version; InvalidInput for a database that is neither empty nor a store.
Status migrate(Database& database, int version);

}  // namespace narrows
