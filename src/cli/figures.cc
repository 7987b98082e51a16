// SPDX-License-Identifier: Apache-2.0
#include "cli/figures.h"

#include <fmt/format.h>

#include <algorithm>

namespace narrows {
namespace {

std::string plain(const Json& value) {
  if (value.is_string()) return value.string();
  if (!value.is_array()) return value.compact();
  std::string out;
  for (const Json& item : value.items()) out += (out.empty() ? "" : " ") + plain(item);
  return out;
}

std::string text_at(const Json& figure, const char* key) {
  const Json* found = figure.find(key);
  return found != nullptr && found->is_string() ? found->string() : "";
}

bool is_empty(const Json& value) {
  return value.is_null() || (value.is_string() && value.string().empty()) ||
         (value.is_array() && value.items().empty());
}

bool holds_objects(const Json& value) {
  return value.is_array() && !value.items().empty() && value.items().front().is_object();
}

ValueRow figure_row(const std::string& name, const Json& figure) {
  const std::string mark = text_at(figure, "mark");
  const std::string note = text_at(figure, "note");
  return {name, plain(*figure.find("value")), text_at(figure, "source"),
          mark + (mark.empty() || note.empty() ? "" : ": ") + note};
}

void collect(const std::string& name, const Json& value, std::vector<ValueRow>& rows) {
  if (is_empty(value)) return;
  if (value.is_object() && value.find("value") != nullptr) {
    rows.push_back(figure_row(name, value));
  } else if (value.is_object()) {
    for (const auto& [key, member] : value.members()) collect(name + "." + key, member, rows);
  } else if (holds_objects(value)) {
    for (std::size_t i = 0; i < value.items().size(); ++i)
      collect(fmt::format("{}.{}", name, i), value.items()[i], rows);
  } else {
    const std::string text = plain(value);
    if (text.size() > 60) {
      rows.push_back({name, "", "", text});
    } else {
      rows.push_back({name, text, "", ""});
    }
  }
}

// The ids in "S-A, S-B" and in "words (S-A)".
void add_ids(const std::string& text, std::vector<std::string>& ids) {
  for (std::size_t at = text.find("S-"); at != std::string::npos; at = text.find("S-", at + 2)) {
    std::size_t end = at + 2;
    while (end < text.size() && ((text[end] >= 'A' && text[end] <= 'Z') || text[end] == '-' ||
                                 (text[end] >= '0' && text[end] <= '9')))
      ++end;
    const std::string id = text.substr(at, end - at);
    if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
  }
}

}  // namespace

std::vector<ValueRow> rows_of(const Json& object, const std::set<std::string>& without) {
  std::vector<ValueRow> rows;
  for (const auto& [key, value] : object.members()) {
    if (!without.contains(key)) collect(key, value, rows);
  }
  return rows;
}

std::vector<NamedSource> sources_of(const std::vector<Section>& sections,
                                    const ProfileLibrary& library) {
  std::vector<std::string> ids;
  for (const Section& section : sections) {
    for (const ValueRow& row : section.rows) {
      add_ids(row.source, ids);
      add_ids(row.remark, ids);
    }
    for (const std::string& note : section.notes) add_ids(note, ids);
  }
  std::sort(ids.begin(), ids.end());
  std::vector<NamedSource> sources;
  for (const std::string& id : ids) {
    if (const Result<Source> source = library.source(id)) sources.push_back({id, *source});
  }
  return sources;
}

}  // namespace narrows
