// SPDX-License-Identifier: Apache-2.0
#include "report/profile_view.h"

#include <fmt/format.h>

#include "report/text_table.h"

namespace narrows {
namespace {

std::string section_text(const Section& section) {
  std::string out = section.title.empty() ? "\n" : fmt::format("\n{}\n", section.title);
  TextTable table("lll");
  std::vector<std::string> lines;
  for (const ValueRow& row : section.rows) table.row({row.name, row.value, row.source});
  const std::string text = table.text();
  std::size_t from = 0;
  for (const ValueRow& row : section.rows) {
    const std::size_t end = text.find('\n', from);
    out += text.substr(from, end - from) + "\n";
    if (!row.remark.empty()) out += wrapped(row.remark, 6);
    from = end + 1;
  }
  for (const std::string& note : section.notes) out += wrapped(note);
  return out;
}

}  // namespace

std::string text_of(const ProfileView& view) {
  std::string out = fmt::format("{} {}", view.kind, view.name);
  if (!view.title.empty() && view.title != view.name) out += ": " + view.title;
  out += "\n";
  for (const Section& section : view.sections) out += section_text(section);
  if (!view.sources.empty()) out += "\nSources\n";
  for (const NamedSource& named : view.sources) {
    std::string line = fmt::format("{}: {}", named.id, named.source.title);
    if (!named.source.url.empty()) line += fmt::format(" <{}>", named.source.url);
    if (!named.source.reliability.empty()) line += fmt::format(" [{}]", named.source.reliability);
    out += wrapped(line);
  }
  return out;
}

Json to_json(const ProfileView& view) {
  Json root = Json::object();
  root.set("kind", view.kind);
  root.set("name", view.name);
  root.set("title", view.title);
  root.set("data", view.data);
  Json sources = Json::object();
  for (const NamedSource& named : view.sources) {
    Json source = Json::object();
    source.set("title", named.source.title);
    source.set("url", named.source.url);
    source.set("reliability", named.source.reliability);
    sources.set(named.id, std::move(source));
  }
  root.set("sources", std::move(sources));
  return root;
}

std::string text_of(const ListView& view) {
  TextTable table(view.alignment, 0);
  table.row(view.columns);
  for (const auto& row : view.rows) table.row(row);
  return table.text() + (view.hint.empty() ? "" : "\n" + wrapped(view.hint, 0));
}

Json to_json(const ListView& view) {
  Json rows = Json::array();
  for (const auto& row : view.rows) {
    Json object = Json::object();
    for (std::size_t c = 0; c < row.size(); ++c) object.set(view.columns[c], row[c]);
    rows.push(std::move(object));
  }
  Json root = Json::object();
  root.set(view.what, std::move(rows));
  return root;
}

}  // namespace narrows
