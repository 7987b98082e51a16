// What `list` and `show` print: rows of names and values with their sources, in sections.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "hardware/profile_library.h"

namespace narrows {

struct ValueRow {
  std::string name;
  std::string value;
  std::string source;  // an id or words; "" = computed or no figure
  std::string remark;  // doubts and notes
};

struct Section {
  std::string title;  // "" = none
  std::vector<ValueRow> rows;
  std::vector<std::string> notes;
};

struct NamedSource {
  std::string id;
  Source source;
};

struct ProfileView {
  std::string kind;  // "model", "cluster", "node", "chip", "software", "schedule", "rule"
  std::string name;
  std::string title;
  std::vector<Section> sections;
  std::vector<NamedSource> sources;  // of the ids that the rows name
  Json data;                         // the profile itself, for --json
};
std::string text_of(const ProfileView& view);
Json to_json(const ProfileView& view);

// A list: one row a thing, the first column its name.
struct ListView {
  std::string what;
  std::vector<std::string> columns;  // names of the columns, as JSON keys too
  std::string alignment;             // 'l' or 'r' a column
  std::vector<std::vector<std::string>> rows;
  std::string hint;
};
std::string text_of(const ListView& view);
Json to_json(const ListView& view);

}  // namespace narrows
