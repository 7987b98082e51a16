// SPDX-License-Identifier: Apache-2.0
#include "software/profile_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <type_traits>

#include "base/text.h"

namespace narrows {
namespace {

// The fields in the order of the file, named once for reader and writer. Numbers come with their
// least and most.
template <typename Profile, typename Visitor>
void each_field(Profile& p, Visitor& visit) {
  visit("schedules", p.schedules);
  visit("recipes", p.recipes);
  visit("emulated_recipes", p.emulated_recipes);
  visit("recomputes", p.recomputes);
  visit("zero_stages", p.zero_stages);
  visit("sequence_parallel", p.sequence_parallel);
  visit("context_parallel", p.context_parallel);
  visit("expert_tensor_parallel", p.expert_tensor_parallel);
  visit("most_chunks_per_rank", p.most_chunks_per_rank, 1, 1024);

  visit("gradient_dtype", p.gradient_dtype);
  visit("gradient_wire_dtype", p.gradient_wire_dtype);
  visit("master_dtype", p.master_dtype);
  visit("moment_dtype", p.moment_dtype);
  visit("resident_quantised_weights", p.resident_quantised_weights);
  visit("quantised_activations", p.quantised_activations);
  visit("quantised_gather", p.quantised_gather);
  visit("quantised_dispatch", p.quantised_dispatch);

  visit("fused_norm_residual", p.fused_norm_residual);
  visit("fused_activation", p.fused_activation);
  visit("fused_rope", p.fused_rope);
  visit("fused_attention", p.fused_attention);
  visit("fused_permute", p.fused_permute);
  visit("fused_loss", p.fused_loss);
  visit("loss_metrics", p.loss_metrics);
  visit("parallel_loss", p.parallel_loss);
  visit("fused_grad_accumulation", p.fused_grad_accumulation);
  visit("fused_experts", p.fused_experts);

  visit("overlap_tp", p.overlap_tp, 0, 1);
  visit("overlap_gradients", p.overlap_gradients, 0, 1);
  visit("overlap_parameters", p.overlap_parameters, 0, 1);
  visit("overlap_fsdp", p.overlap_fsdp, 0, 1);
  visit("overlap_ep", p.overlap_ep, 0, 1);
  visit("overlap_ep_in_pairs", p.overlap_ep_in_pairs);
  visit("overlap_shared_expert", p.overlap_shared_expert);
  visit("blocking_p2p", p.blocking_p2p);
  visit("scatters_sends", p.scatters_sends);

  visit("dispatcher", p.dispatcher);
  visit("comm_multiprocessors", p.comm_multiprocessors, 0, 4096);
  visit("kernel_generation", p.kernel_generation);
  visit("matmul_slowdown", p.matmul_slowdown, 1, 10);
  visit("stream_slowdown", p.stream_slowdown, 1, 10);
  visit("narrow_attention", p.narrow_attention, 1, 4);
  visit("comm_slowdown", p.comm_slowdown, 1, 100);
  visit("compute_slowdown", p.compute_slowdown, 1, 100);

  visit("launch", p.launch);
  visit("host_op", p.host_op);
  visit("graphs", p.graphs);
  visit("expert_launch", p.expert_launch);
  visit("dispatch_sync", p.dispatch_sync);
  visit("step_overhead", p.step_overhead);
  visit("expert_spread", p.expert_spread, 0, 10);
  visit("expert_skew", p.expert_skew, 0, 1);
  visit("context", p.context);
  visit("allocator_overhead", p.allocator_overhead, 0, 10);
  visit("comm_buffers", p.comm_buffers);

  visit("attention_kernels", p.attention_kernels);
  visit("attention_slowdown", p.attention_slowdown, 1, 10);
  visit("collective_multiprocessors", p.collective_multiprocessors, 0, 4096);
  visit("collective_slowdown", p.collective_slowdown, 1, 100);
  visit("fused_norm", p.fused_norm);
  visit("fused_optimizer", p.fused_optimizer);
  visit("fused_projections", p.fused_projections);
  visit("selective_by_op", p.selective_by_op);
  visit("recompute_stops_early", p.recompute_stops_early);
  visit("recomputes_ffn_only", p.recomputes_ffn_only);
  visit("keeps_gathered", p.keeps_gathered);
  visit("defers_scatter", p.defers_scatter);
  visit("stepwise_context", p.stepwise_context);
  visit("batch_first", p.batch_first);
  visit("copies_shards", p.copies_shards);
  visit("gradient_bucket", p.gradient_bucket);
  visit("gathers_by_tensor", p.gathers_by_tensor);
  visit("shard_piece", p.shard_piece);
  visit("wide_storage", p.wide_storage);
  visit("master_remainders", p.master_remainders);
  visit("offloaded_layers", p.offloaded_layers, 0, 4096);
  visit("kept_score_bytes", p.kept_score_bytes, 0, 16);
  visit("even_stages", p.even_stages);
}

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
void name_to(std::string_view name, std::optional<ScheduleKind>& out) { out = schedule_of(name); }
void name_to(std::string_view name, std::optional<Recipe>& out) { out = recipe_of(name); }
void name_to(std::string_view name, std::optional<Recompute>& out) { out = recompute_of(name); }

std::string_view what(Dtype) { return "a format such as \"bf16\""; }
std::string_view what(Dispatcher) {
  return "\"deepep\", \"all-to-all\", \"all-gather\" or \"per-rank\"";
}
std::string_view what(ContextExchange) { return "\"ring\", \"all-gather\" or \"all-to-all\""; }
std::string_view what(GraphScope) { return "\"none\", \"router\", \"attention\" or \"pass\""; }
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

double si(double v) { return v; }
double si(Seconds v) { return v / sec; }
double si(Bytes v) { return v / byte; }

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

// One number by name, in SI units: read, and written.
struct Finder {
  std::string_view wanted;
  std::optional<double> found;

  template <typename T, typename... Limits>
  void operator()(const char* name, const T& value, Limits...) {
    if constexpr (std::is_same_v<T, double> || std::is_same_v<T, Seconds> ||
                  std::is_same_v<T, Bytes>) {
      if (wanted == name) found = si(value);
    }
  }
};

struct Limiter {
  std::string_view wanted;
  FitBounds limits;

  void operator()(const char* name, const double&, double least, double most) {
    if (wanted == name) limits = {least, most};
  }
  template <typename T, typename... Limits>
  void operator()(const char*, const T&, Limits...) {}
};

struct Setter {
  std::string_view wanted;
  double value;

  template <typename T, typename... Limits>
  void operator()(const char* name, T& field, Limits...) {
    if (wanted != name) return;
    if constexpr (std::is_same_v<T, double>) field = value;
    if constexpr (std::is_same_v<T, Seconds>) field = value * sec;
    if constexpr (std::is_same_v<T, Bytes>) field = value * byte;
  }
};

// Four digits, in the unit that people would use.
struct Rounder {
  std::string_view wanted;
  double value;
  Json json;

  template <typename T, typename... Limits>
  void operator()(const char* name, const T&, Limits...) {
    if (wanted != name) return;
    if constexpr (std::is_same_v<T, double>) {
      json = Json(std::stod(fmt::format("{:.4g}", value)));
    } else if constexpr (std::is_same_v<T, Seconds>) {
      const bool large = value >= 0.1, tiny = value < 1e-3;
      json = Json(large  ? fmt::format("{:.4g} s", value)
                  : tiny ? fmt::format("{:.4g} us", value * 1e6)
                         : fmt::format("{:.4g} ms", value * 1e3));
    } else if constexpr (std::is_same_v<T, Bytes>) {
      json = Json(fmt::format("{:.4g} MB", value / 1e6));
    }
  }
};

}  // namespace

std::optional<double> figure_of(const SoftwareProfile& profile, std::string_view field) {
  Finder finder{field, std::nullopt};
  each_field(profile, finder);
  return finder.found;
}

FitBounds limits_of(std::string_view field) {
  Limiter limiter{field, {0, std::numeric_limits<double>::max()}};
  const SoftwareProfile any;
  each_field(any, limiter);
  return limiter.limits;
}

void set_figure(SoftwareProfile& profile, std::string_view field, double value) {
  ASSERT(figure_of(profile, field).has_value());
  Setter setter{field, value};
  each_field(profile, setter);
}

Json rounded_figure(std::string_view field, double value) {
  Rounder rounder{field, value, {}};
  const SoftwareProfile any;
  each_field(any, rounder);
  return rounder.json;
}

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
