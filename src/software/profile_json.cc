// SPDX-License-Identifier: Apache-2.0
#include "software/profile_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <type_traits>

#include "base/text.h"
#include "software/profile_fields.h"

namespace narrows {
namespace {

std::optional<Dtype> dtype_of(std::string_view name) {
  for (const Dtype dtype : {Dtype::F32, Dtype::Bf16, Dtype::Fp16, Dtype::E5M6, Dtype::Fp8Block,
                            Dtype::Fp8, Dtype::Mxfp8, Dtype::Nvfp4, Dtype::Int64}) {
    if (to_string(dtype) == name) return dtype;
  }
  return std::nullopt;
}

void name_to(std::string_view name, std::optional<Dtype>& out) { out = dtype_of(name); }
void name_to(std::string_view name, std::optional<Dispatcher>& out) { out = dispatcher_of(name); }
void name_to(std::string_view name, std::optional<ContextExchange>& out) {
  out = context_exchange_of(name);
}
void name_to(std::string_view name, std::optional<GraphScope>& out) { out = graph_scope_of(name); }
void name_to(std::string_view name, std::optional<V3Modules>& out) { out = v3_modules_of(name); }
void name_to(std::string_view name, std::optional<ScheduleKind>& out) { out = schedule_of(name); }
void name_to(std::string_view name, std::optional<Recipe>& out) { out = recipe_of(name); }
void name_to(std::string_view name, std::optional<Recompute>& out) { out = recompute_of(name); }

std::string_view what(Dtype) { return "a format such as \"bf16\""; }
std::string_view what(Dispatcher) {
  return "\"deepep\", \"all-to-all\", \"all-gather\" or \"per-rank\"";
}
std::string_view what(ContextExchange) { return "\"ring\", \"all-gather\" or \"all-to-all\""; }
std::string_view what(GraphScope) { return "\"none\", \"router\", \"attention\" or \"pass\""; }
std::string_view what(V3Modules) {
  return "\"all\", \"up-projections\" or \"norms-and-activation\"";
}
std::string_view what(ScheduleKind) { return "a schedule such as \"1f1b\""; }
std::string_view what(Recipe) { return "a recipe such as \"fp8-block\""; }
std::string_view what(Recompute) { return "\"none\", \"selective\", \"full\" or \"v3\""; }

// The value in the first unit in which its shortest decimal reads back as the same double; the base
// unit always does.
template <typename Q>
std::string exact_text(Q value, std::initializer_list<std::pair<Q, const char*>> units) {
  for (const auto& [unit, name] : units) {
    const std::string text = fmt::format("{} {}", value / unit, name);
    const Result<Q> back = parse_quantity<Q>(text);
    if (value >= unit && back && *back == value) return text;
  }
  const auto& [unit, name] = *(units.end() - 1);
  return fmt::format("{} {}", value / unit, name);
}
Json value_json(Seconds v) { return exact_text(v, {{ms, "ms"}, {us, "us"}, {sec, "s"}}); }
Json value_json(Bytes v) {
  return exact_text(v, {{GiB, "GiB"}, {GB, "GB"}, {MiB, "MiB"}, {MB, "MB"}, {byte, "B"}});
}
Json value_json(bool v) { return v; }
Json value_json(const std::string& v) { return v; }
Json value_json(int v) { return v; }
Json value_json(double v) { return v; }
// Bounds in SI units, written like the value they belong to.
template <typename T>
Json fit_json(const T&, const FitBounds& bounds) {
  Json fit = Json::object();
  if constexpr (std::is_same_v<T, Seconds>) {
    fit.set("low", value_json(bounds.low * sec));
    fit.set("high", value_json(bounds.high * sec));
  } else if constexpr (std::is_same_v<T, Bytes>) {
    fit.set("low", value_json(bounds.low * byte));
    fit.set("high", value_json(bounds.high * byte));
  } else {
    fit.set("low", bounds.low);
    fit.set("high", bounds.high);
  }
  return fit;
}
template <typename T>
requires std::is_enum_v<T> Json value_json(T v) { return to_string(v); }
template <typename T>
Json value_json(const std::vector<T>& values) {
  Json list = Json::array();
  for (const T& v : values) list.push(value_json(v));
  return list;
}

struct Writer {
  Json json;
  const SoftwareProfile& profile;

  template <typename T, typename... Limits>
  void operator()(const char* name, const T& value, Limits...) {
    const auto source = profile.sources.find(name);
    Json figure = Json::object();
    figure.set("value", value_json(value));
    const auto fit = profile.fits.find(name);
    if (fit != profile.fits.end()) {
      Json bounds = fit_json(value, fit->second);
      const auto owner = profile.fitted_in.find(name);
      if (owner != profile.fitted_in.end()) bounds.set("of", owner->second);
      figure.set("fit", std::move(bounds));
    }
    figure.set("source", source == profile.sources.end() ? "" : source->second);
    json.set(name, std::move(figure));
  }
};

Status read_value(JsonObject& figure, bool& out) {
  out = TRY(figure.boolean("value"));
  return {};
}
Status read_value(JsonObject& figure, std::string& out) {
  out = TRY(figure.string("value"));
  return {};
}
Status read_value(JsonObject& figure, int& out, int least, int most) {
  out = static_cast<int>(TRY(figure.integer("value", least, most)));
  return {};
}
Status read_value(JsonObject& figure, double& out, const char* key, double least, double most) {
  out = TRY(figure.number(key, least, most));
  return {};
}
Status read_value(JsonObject& figure, double& out, double least, double most) {
  return read_value(figure, out, "value", least, most);
}
template <typename Q>
requires std::is_same_v<Q, Seconds> || std::is_same_v<Q, Bytes> Status
read_value(JsonObject& figure, Q& out, const char* key = "value") {
  out = TRY(figure.quantity<Q>(key));
  return {};
}

template <typename T>
Status read_name(const JsonObject& figure, const Json& node, T& out) {
  std::optional<T> found;
  if (node.is_string()) name_to(node.string(), found);
  if (!found) {
    return invalid(fmt::format("{}: expected {}, found {}", figure.place("value"), what(T{}),
                               node.description()));
  }
  out = *found;
  return {};
}
Status read_name(const JsonObject& figure, const Json& node, int& out) {
  if (node.kind() != Json::Kind::Integer || node.integer() < 0 || node.integer() > 3) {
    return invalid(fmt::format("{}: expected whole numbers from 0 to 3, found {}",
                               figure.place("value"), node.description()));
  }
  out = static_cast<int>(node.integer());
  return {};
}
template <typename T>
requires std::is_enum_v<T> Status read_value(JsonObject& figure, T& out) {
  const std::string name = TRY(figure.string("value"));
  return read_name(figure, Json(name), out);
}
template <typename T>
Status read_value(JsonObject& figure, std::vector<T>& out) {
  const Json* list = TRY(figure.array("value"));
  for (const Json& node : list->items()) {
    T value{};
    TRY(read_name(figure, node, value));
    if (std::find(out.begin(), out.end(), value) != out.end()) {
      return invalid(
          fmt::format("{}: {} is there twice", figure.place("value"), node.description()));
    }
    out.push_back(value);
  }
  return {};
}

// The bounds of a fit have the value's own form and hold it.
template <typename T, typename... Limits>
Result<FitBounds> read_fit(JsonObject& figure, const T& value, Limits... limits) {
  if constexpr (std::is_same_v<T, double> || std::is_same_v<T, Seconds> ||
                std::is_same_v<T, Bytes>) {
    JsonObject fit = TRY(figure.object("fit"));
    T low{};
    T high{};
    TRY(read_value(fit, low, "low", limits...));
    TRY(read_value(fit, high, "high", limits...));
    if (!(low < high) || value < low || high < value) {
      return invalid(
          fmt::format("{}: expected low < high with the value between them", figure.place("fit")));
    }
    fit.skip("of");
    TRY(fit.finish());
    return FitBounds{si(low), si(high)};
  } else {
    return invalid(
        fmt::format("{}: only a number, a time or a size can be fitted", figure.place("fit")));
  }
}

// Stops at the first complaint.
struct Reader {
  JsonObject& object;
  SoftwareProfile& profile;
  Status status;

  template <typename T, typename... Limits>
  void operator()(const char* name, T& value, Limits... limits) {
    if (status) status = read(name, value, limits...);
  }
  template <typename T, typename... Limits>
  Status read(const char* name, T& value, Limits... limits) {
    JsonObject figure = TRY(object.object(name));
    TRY(read_value(figure, value, limits...));
    if (figure.has("fit")) {
      profile.fits[name] = TRY(read_fit(figure, value, limits...));
      JsonObject fit = TRY(figure.object("fit"));
      if (fit.has("of")) profile.fitted_in[name] = TRY(fit.string("of"));
    }
    const std::string source = TRY(figure.string("source"));
    if (source.empty()) {
      return invalid(fmt::format("{}: expected where the value comes from, found \"\"",
                                 figure.place("source")));
    }
    profile.sources[name] = source;
    return figure.finish();
  }
};

Result<ForecastSpread> read_spread(JsonObject& parent) {
  constexpr double kMost = 100;
  JsonObject object = TRY(parent.object("spread"));
  ForecastSpread spread;
  spread.dense = TRY(object.number("dense", 1, kMost));
  spread.moe = TRY(object.number("moe", 1, kMost));
  TRY(object.finish());
  return spread;
}

Status check(const SoftwareProfile& profile, const JsonObject& object) {
  const auto empty = [&](const char* field) {
    return invalid(fmt::format("{}: expected at least one", object.place(field)));
  };
  if (profile.schedules.empty()) return empty("schedules");
  if (profile.recipes.empty()) return empty("recipes");
  if (profile.recomputes.empty()) return empty("recomputes");
  if (profile.zero_stages.empty()) return empty("zero_stages");
  for (const Recipe recipe : profile.emulated_recipes) {
    if (std::find(profile.recipes.begin(), profile.recipes.end(), recipe) ==
        profile.recipes.end()) {
      return invalid(fmt::format("{}: \"{}\" is not among the recipes",
                                 object.place("emulated_recipes"), to_string(recipe)));
    }
  }
  return {};
}

}  // namespace

Json to_json(const SoftwareProfile& profile) {
  Writer writer{Json::object(), profile};
  writer.json.set("name", profile.name);
  if (profile.family != profile.name) writer.json.set("family", profile.family);
  writer.json.set("title", profile.title);
  writer.json.set("source", profile.source);
  each_field(profile, writer);
  Json spread = Json::object();
  spread.set("dense", profile.spread.dense);
  spread.set("moe", profile.spread.moe);
  writer.json.set("spread", std::move(spread));
  Json notes = Json::array();
  for (const std::string& note : profile.notes) notes.push(note);
  writer.json.set("notes", std::move(notes));
  return std::move(writer.json);
}

Result<SoftwareProfile> software_from_json(JsonObject& object) {
  SoftwareProfile profile;
  profile.name = TRY(object.string("name"));
  profile.family = TRY(object.string_or("family", profile.name));
  profile.title = TRY(object.string("title"));
  profile.source = TRY(object.string("source"));
  Reader reader{object, profile, {}};
  each_field(profile, reader);
  if (!reader.status) return tl::unexpected(reader.status.error());
  if (object.has("spread")) profile.spread = TRY(read_spread(object));
  const Json* notes = TRY(object.array("notes"));
  for (const Json& note : notes->items()) {
    if (!note.is_string()) {
      return invalid(
          fmt::format("{}: expected strings, found {}", object.place("notes"), note.description()));
    }
    profile.notes.push_back(note.string());
  }
  TRY(object.finish());
  TRY(check(profile, object));
  return profile;
}

}  // namespace narrows
