// SPDX-License-Identifier: Apache-2.0
#include "store/op_text.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <vector>

namespace narrows {
namespace {

constexpr std::array<std::string_view, 3> kDirections{"forward", "input-grad", "weight-grad"};
constexpr std::array<CollectiveKind, 8> kCollectives{
    CollectiveKind::AllReduce, CollectiveKind::AllGather, CollectiveKind::ReduceScatter,
    CollectiveKind::Dispatch,  CollectiveKind::Combine,   CollectiveKind::AllToAll,
    CollectiveKind::SendRecv,  CollectiveKind::Broadcast};
// Kernels that only move data; "stream" and "copy" are plain ones, the calibrations
// are the pace of the machine when it was profiled.
constexpr std::array<std::string_view, 14> kMemoryClasses{"norm",        "rope",
                                                          "activation",  "elementwise",
                                                          "quantise",    "router",
                                                          "permute",     "embedding",
                                                          "loss",        "optimizer",
                                                          "stream",      "copy",
                                                          "calibration", "slowest calibration"};

class ShapeWriter {
 public:
  template <typename Number>
  ShapeWriter& add(std::string_view key, Number value) {
    fmt::format_to(std::back_inserter(text_), "{}{}={}", text_.empty() ? "" : ";", key, value);
    return *this;
  }
  // Words, without the characters that separate; left out if there are none.
  ShapeWriter& words(std::string_view key, std::string_view value) {
    if (value.empty()) return *this;
    fmt::format_to(std::back_inserter(text_), "{}{}=", text_.empty() ? "" : ";", key);
    for (const char c : value)
      text_ += c == ';' || c == ',' || c == '"' || static_cast<unsigned char>(c) < ' ' ? ' ' : c;
    return *this;
  }
  // Left out where it is the usual.
  template <typename T>
  ShapeWriter& unless(T usual, std::string_view key, T value) {
    if (value != usual) add(key, value);
    return *this;
  }
  ShapeWriter& flag(std::string_view key, bool value) {
    if (value) add(key, 1);
    return *this;
  }
  std::string text() { return std::move(text_); }

 private:
  std::string text_;
};

// The members of a shape while they are read; what nobody asks for is refused.
class ShapeReader {
 public:
  static Result<ShapeReader> of(std::string_view shape) {
    ShapeReader reader;
    while (!shape.empty()) {
      const std::size_t end = shape.find(';');
      const std::string_view part = shape.substr(0, end);
      const std::size_t equals = part.find('=');
      if (equals == std::string_view::npos || equals == 0 || equals + 1 == part.size())
        return invalid(fmt::format("shape: expected key=value, found \"{}\"", part));
      reader.members_.push_back({part.substr(0, equals), part.substr(equals + 1), false});
      shape.remove_prefix(end == std::string_view::npos ? shape.size() : end + 1);
    }
    return reader;
  }

  // A number above zero.
  void number(std::string_view key, double& out) {
    const Member* member = take(key);
    if (member == nullptr) return want(key);
    const char* last = member->value.data() + member->value.size();
    double value = 0;
    const auto [end, error] = std::from_chars(member->value.data(), last, value);
    if (error != std::errc{} || end != last || !std::isfinite(value) || value <= 0)
      return refuse(fmt::format("{}: expected a number above 0, found \"{}\"", key, member->value));
    out = value;
  }
  template <typename Int>
  void count(std::string_view key, Int& out) {
    double value = 0;
    number(key, value);
    if (value != std::floor(value) || value > 2e9)
      return refuse(fmt::format("{}: expected a whole number, found {}", key, value));
    out = static_cast<Int>(value);
  }
  template <typename Int>
  void count_or(std::string_view key, Int& out, Int usual) {
    out = usual;
    if (has(key)) count(key, out);
  }
  void flag(std::string_view key, bool& out) {
    const Member* member = take(key);
    if (member == nullptr) return;
    if (member->value != "0" && member->value != "1")
      return refuse(fmt::format("{}: expected 0 or 1, found \"{}\"", key, member->value));
    out = member->value == "1";
  }
  void text(std::string_view key, std::string& out) {
    if (const Member* member = take(key)) out = member->value;
  }
  bool has(std::string_view key) const {
    for (const Member& member : members_) {
      if (member.key == key) return true;
    }
    return false;
  }
  Status finish() const {
    if (!complaint_.empty()) return invalid(complaint_);
    for (const Member& member : members_) {
      if (!member.asked) return invalid(fmt::format("shape: unknown key \"{}\"", member.key));
    }
    return {};
  }

 private:
  struct Member {
    std::string_view key;
    std::string_view value;
    bool asked;
  };
  Member* take(std::string_view key) {
    for (Member& member : members_) {
      if (member.key != key || member.asked) continue;
      member.asked = true;
      return &member;
    }
    return nullptr;
  }
  void refuse(std::string why) {
    if (complaint_.empty()) complaint_ = std::move(why);
  }
  void want(std::string_view key) { refuse(fmt::format("shape: {} is missing", key)); }

  std::vector<Member> members_;
  std::string complaint_;
};

void add_extras(ShapeWriter& shape, const Measurement& row) {
  shape.words("generation", row.generation).unless(0, "multiprocessors", row.multiprocessors);
  shape.unless(0.0, "quantise", row.quantise).flag("grid", row.grid).flag("library", row.library);
}

void read_extras(ShapeReader& shape, Measurement& row) {
  shape.text("generation", row.generation);
  shape.count_or("multiprocessors", row.multiprocessors, 0);
  if (shape.has("quantise")) shape.number("quantise", row.quantise);
  shape.flag("grid", row.grid);
  shape.flag("library", row.library);
}

void write_attention(ShapeWriter& shape, const AttentionShape& a) {
  shape.add("batch", a.batch).add("heads", a.heads);
  shape.unless(a.heads, "kv_heads", a.kv_heads);
  shape.add("seq", a.queries).unless(a.queries, "keys", a.keys);
  shape.add("qk_dim", a.qk_dim).add("v_dim", a.v_dim);
  shape.add("causal", a.causal ? 1 : 0).unless(0, "window", a.window);
}

void read_attention(ShapeReader& shape, AttentionShape& a) {
  shape.number("batch", a.batch);
  shape.count("heads", a.heads);
  shape.count_or("kv_heads", a.kv_heads, a.heads);
  shape.count("seq", a.queries);
  shape.count_or("keys", a.keys, a.queries);
  shape.count("qk_dim", a.qk_dim);
  shape.count("v_dim", a.v_dim);
  shape.flag("causal", a.causal);
  shape.count_or("window", a.window, 0);
}

Result<AnyOp> read_link(CollectiveKind what, std::string_view dtype, ShapeReader& shape) {
  LinkMeasurement link;
  link.what = what;
  link.dtype = dtype;
  double bytes = 0;
  shape.count("ranks", link.ranks);
  shape.count_or("per_node", link.ranks_per_node, 0);
  shape.number("bytes", bytes);
  link.bytes = bytes * byte;
  shape.text("method", link.method);
  shape.flag("streamed", link.streamed);
  shape.flag("in_place", link.in_place);
  shape.flag("waits", link.waits);
  TRY(shape.finish());
  return link;
}

Result<Direction> direction_of(std::string_view name) {
  for (std::size_t i = 0; i < kDirections.size(); ++i) {
    if (kDirections[i] == name) return static_cast<Direction>(i);
  }
  return invalid(
      fmt::format("direction: expected forward, input-grad or weight-grad, found \"{}\"", name));
}

Result<AnyOp> read_kernel(std::string_view op, Direction direction, Recipe recipe,
                          ShapeReader& shape) {
  Measurement row;
  row.direction = direction;
  row.recipe = recipe;
  if (op == "matmul") {
    row.family = KernelFamily::Matmul;
    double m = 0;
    shape.number("m", m);
    row.matmul.m = exactly(m);
    shape.count("n", row.matmul.n);
    shape.count("k", row.matmul.k);
    shape.count_or("groups", row.matmul.groups, 1);
  } else if (op == "attention") {
    row.family = KernelFamily::Attention;
    if (!shape.has("causal")) return invalid("shape: causal is missing");
    read_attention(shape, row.attention);
  } else {
    row.family = KernelFamily::Memory;
    row.memory_class = op;
    double bytes = 0;
    shape.number("bytes", bytes);
    row.traffic = bytes * byte;
  }
  read_extras(shape, row);
  TRY(shape.finish());
  return row;
}

}  // namespace

OpText op_text(const Measurement& row) {
  OpText text;
  text.direction = kDirections[static_cast<std::size_t>(row.direction)];
  text.recipe = to_string(row.recipe);
  ShapeWriter shape;
  if (row.family == KernelFamily::Matmul) {
    text.op = "matmul";
    shape.add("m", row.matmul.m.expected).add("n", row.matmul.n).add("k", row.matmul.k);
    shape.unless(1, "groups", row.matmul.groups);
  } else if (row.family == KernelFamily::Attention) {
    text.op = "attention";
    write_attention(shape, row.attention);
  } else {
    text.op = row.memory_class;
    shape.add("bytes", row.traffic / byte);
  }
  add_extras(shape, row);
  text.shape = shape.text();
  return text;
}

OpText op_text(const LinkMeasurement& link) {
  ShapeWriter shape;
  shape.add("ranks", link.ranks).unless(0, "per_node", link.ranks_per_node);
  shape.add("bytes", link.bytes / byte).words("method", link.method);
  shape.flag("streamed", link.streamed).flag("in_place", link.in_place).flag("waits", link.waits);
  return {to_string(link.what), "", link.dtype, shape.text()};
}

Result<AnyOp> read_op(std::string_view op, std::string_view direction, std::string_view recipe,
                      std::string_view shape_text) {
  ShapeReader shape = TRY(ShapeReader::of(shape_text));
  for (const CollectiveKind kind : kCollectives) {
    if (to_string(kind) == op) return read_link(kind, recipe, shape);
  }
  bool known = op == "matmul" || op == "attention";
  for (const std::string_view name : kMemoryClasses) known = known || name == op;
  if (!known) return invalid(fmt::format("op: \"{}\" is not one that narrows knows", op));
  const std::optional<Recipe> format = recipe_of(recipe);
  if (!format) return invalid(fmt::format("recipe: \"{}\" is not one that narrows knows", recipe));
  return read_kernel(op, TRY(direction_of(direction)), *format, shape);
}

}  // namespace narrows
