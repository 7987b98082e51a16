// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include <fmt/format.h>

#include <cmath>

namespace narrows {
namespace {

void write_string(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\r':
        out += "\\r";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

}  // namespace

Json::Json(bool value) : kind_(Kind::Bool), bool_(value) {}
Json::Json(int value) : kind_(Kind::Integer), integer_(value) {}
Json::Json(std::int64_t value) : kind_(Kind::Integer), integer_(value) {}
// Adding 0 turns -0, which would be written as "-0" and read back as the integer 0, into 0.
Json::Json(double value) : kind_(Kind::Number), number_(value + 0.0) {
  ASSERT(std::isfinite(value));
}
Json::Json(const char* value) : kind_(Kind::String), string_(value) {}
Json::Json(std::string value) : kind_(Kind::String), string_(std::move(value)) {}

Json Json::array() {
  Json j;
  j.kind_ = Kind::Array;
  return j;
}
Json Json::object() {
  Json j;
  j.kind_ = Kind::Object;
  return j;
}

bool Json::boolean() const {
  ASSERT(kind_ == Kind::Bool);
  return bool_;
}
std::int64_t Json::integer() const {
  ASSERT(kind_ == Kind::Integer);
  return integer_;
}
double Json::number() const {
  ASSERT(is_number());
  return kind_ == Kind::Integer ? static_cast<double>(integer_) : number_;
}
const std::string& Json::string() const {
  ASSERT(kind_ == Kind::String);
  return string_;
}
const std::vector<Json>& Json::items() const {
  ASSERT(kind_ == Kind::Array);
  return items_;
}
const std::vector<Json::Member>& Json::members() const {
  ASSERT(kind_ == Kind::Object);
  return members_;
}
const Json* Json::find(std::string_view key) const {
  if (kind_ != Kind::Object) return nullptr;
  for (const Member& member : members_) {
    if (member.first == key) return &member.second;
  }
  return nullptr;
}

Json& Json::push(Json value) {
  ASSERT(kind_ == Kind::Array);
  items_.push_back(std::move(value));
  return *this;
}
Json& Json::append(std::string key, Json value) {
  ASSERT(kind_ == Kind::Object);
  members_.emplace_back(std::move(key), std::move(value));
  return *this;
}
Json& Json::set(std::string key, Json value) {
  ASSERT(kind_ == Kind::Object);
  for (Member& member : members_) {
    if (member.first == key) {
      member.second = std::move(value);
      return *this;
    }
  }
  members_.emplace_back(std::move(key), std::move(value));
  return *this;
}

std::string Json::description() const {
  switch (kind_) {
    case Kind::Null:
      return "null";
    case Kind::Bool:
      return bool_ ? "true" : "false";
    case Kind::Integer:
    case Kind::Number:
      return "the number " + compact();
    case Kind::String:
      return string_.size() > 60 ? "\"" + string_.substr(0, 60) + "...\"" : "\"" + string_ + "\"";
    case Kind::Array:
      return "an array";
    case Kind::Object:
      return "an object";
  }
  return "";
}

std::string Json::text() const {
  std::string out;
  write(out, 0, true);
  return out;
}
std::string Json::compact() const {
  std::string out;
  write(out, 0, false);
  return out;
}

void Json::write(std::string& out, int depth, bool indent) const {
  const auto new_line = [&](int level) {
    if (!indent) return;
    out += '\n';
    out.append(static_cast<std::size_t>(2 * level), ' ');
  };
  switch (kind_) {
    case Kind::Null:
      out += "null";
      break;
    case Kind::Bool:
      out += bool_ ? "true" : "false";
      break;
    case Kind::Integer:
      out += fmt::format("{}", integer_);
      break;
    case Kind::Number:
      out += fmt::format("{}", number_);
      break;
    case Kind::String:
      write_string(out, string_);
      break;
    case Kind::Array: {
      // Arrays of plain values stay on one line.
      bool plain = true;
      for (const Json& item : items_) plain = plain && !item.is_array() && !item.is_object();
      out += '[';
      bool first = true;
      for (const Json& item : items_) {
        if (!first) out += indent && plain ? ", " : ",";
        first = false;
        if (!plain) new_line(depth + 1);
        item.write(out, depth + 1, indent);
      }
      if (!items_.empty() && !plain) new_line(depth);
      out += ']';
      break;
    }
    case Kind::Object: {
      out += '{';
      bool first = true;
      for (const Member& member : members_) {
        if (!first) out += ',';
        first = false;
        new_line(depth + 1);
        write_string(out, member.first);
        out += indent ? ": " : ":";
        member.second.write(out, depth + 1, indent);
      }
      if (!members_.empty()) new_line(depth);
      out += '}';
      break;
    }
  }
}

}  // namespace narrows
