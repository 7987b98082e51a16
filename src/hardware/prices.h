// What chips and servers cost to rent and to buy, as published, each with a date and a source
// (hwprofiles/prices). The price that a cluster uses by default stands in its node type; these are
// for comparison and for ownership.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "hardware/chip.h"

namespace narrows {

struct Price {
  std::string kind;  // "rent" or "purchase"
  std::string item;  // as the source calls it
  double low = 0;    // equal to `high` where one price was printed
  double high = 0;
  std::string unit;  // "USD", "CNY" or "USD/h"
  std::string from;  // of a range of years, else ""
  std::string date;  // ISO date, or its year or month
  std::string source;
  std::string note;
};

Result<std::vector<Price>> prices_from_json(JsonObject& object);

// Plain numbers of an ownership model by name: "pue", "usd_per_kwh", "server_life_years", …
using OwnershipFigures = std::map<std::string, Figure<double>>;
Result<OwnershipFigures> ownership_from_json(JsonObject& object);

}  // namespace narrows
