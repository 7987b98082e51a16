// SPDX-License-Identifier: Apache-2.0
#include "store/xml_scan.h"

#include <fmt/format.h>

#include <algorithm>

namespace narrows {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";

std::string_view without_blanks(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  return text;
}

// name="value" pairs up to the end of the tag.
bool read_attributes(std::string_view text, XmlTag& tag) {
  for (text = without_blanks(text); !text.empty(); text = without_blanks(text)) {
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos || equals == 0 || equals + 1 >= text.size()) return false;
    const char quote = text[equals + 1];
    const std::size_t end = text.find(quote, equals + 2);
    if ((quote != '"' && quote != '\'') || end == std::string_view::npos) return false;
    tag.attributes.emplace_back(text.substr(0, equals), text.substr(equals + 2, end - equals - 2));
    text.remove_prefix(end + 1);
  }
  return true;
}

// Where the tag that begins before `at` ends: a ">" outside quotes.
std::size_t end_of_tag(std::string_view text, std::size_t at) {
  char quote = '\0';
  for (; at < text.size(); ++at) {
    if (quote != '\0') {
      if (text[at] == quote) quote = '\0';
    } else if (text[at] == '"' || text[at] == '\'') {
      quote = text[at];
    } else if (text[at] == '>') {
      return at;
    }
  }
  return std::string_view::npos;
}

}  // namespace

std::string_view XmlTag::operator[](std::string_view attribute) const {
  for (const auto& [key, value] : attributes) {
    if (key == attribute) return value;
  }
  return {};
}

Result<std::vector<XmlTag>> xml_tags(std::string_view text, const std::string& name) {
  std::vector<XmlTag> tags;
  std::vector<std::string_view> open;
  int line = 1;
  std::size_t counted = 0;
  const auto refuse = [&](const std::string& why) {
    return invalid(fmt::format("{}:{}: {}", name, line, why));
  };
  for (std::size_t at = text.find('<'); at != std::string_view::npos; at = text.find('<', at)) {
    line += static_cast<int>(std::count(text.begin() + static_cast<long>(counted),
                                        text.begin() + static_cast<long>(at), '\n'));
    counted = at;
    const bool comment = text.substr(at, 4) == "<!--";
    const std::size_t end = comment ? text.find("-->", at) : end_of_tag(text, at);
    if (end == std::string_view::npos)
      return refuse("expected the end of a tag, found the end: the file is cut off");
    std::string_view inside = text.substr(at + 1, end - at - 1);
    at = end + 1;
    if (comment || inside.starts_with('?') || inside.starts_with('!')) continue;
    XmlTag tag;
    tag.line = line;
    if (inside.starts_with('/')) {
      tag.kind = XmlTag::Kind::Close;
      inside.remove_prefix(1);
    } else if (inside.ends_with('/')) {
      tag.kind = XmlTag::Kind::Empty;
      inside.remove_suffix(1);
    }
    const std::size_t word = std::min(inside.find_first_of(kBlanks), inside.size());
    tag.name = inside.substr(0, word);
    if (tag.name.empty() || !read_attributes(inside.substr(word), tag))
      return refuse(fmt::format("expected a tag, found \"<{}\"", inside.substr(0, 40)));
    if (tag.kind == XmlTag::Kind::Open) open.push_back(tag.name);
    if (tag.kind == XmlTag::Kind::Close) {
      if (open.empty() || open.back() != tag.name)
        return refuse(
            fmt::format("expected </{}>, found </{}>", open.empty() ? "" : open.back(), tag.name));
      open.pop_back();
    }
    tags.push_back(std::move(tag));
  }
  if (!open.empty())
    return refuse(fmt::format("expected </{}>, found the end: the file is cut off", open.back()));
  return tags;
}

}  // namespace narrows
