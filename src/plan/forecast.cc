// SPDX-License-Identifier: Apache-2.0
#include "plan/forecast.h"

#include <fmt/format.h>

#include <cmath>

namespace narrows {
namespace {

constexpr double kMost = 1e300;

struct MemoryPart {
  const char* name;
  Bytes RankMemory::*part;
};
constexpr MemoryPart kMemoryParts[] = {
    {"parameters", &RankMemory::parameters}, {"gradients", &RankMemory::gradients},
    {"optimizer", &RankMemory::optimizer},   {"kept", &RankMemory::kept},
    {"transient", &RankMemory::transient},   {"comm_buffers", &RankMemory::comm_buffers},
    {"context", &RankMemory::context},       {"allocator", &RankMemory::allocator}};

struct BasisShare {
  const char* name;
  double BasisShares::*share;
};
constexpr BasisShare kBasisShares[] = {{"measured", &BasisShares::measured},
                                       {"interpolated", &BasisShares::interpolated},
                                       {"transferred", &BasisShares::transferred},
                                       {"roofline", &BasisShares::roofline}};

struct Total {
  const char* name;
  std::optional<double> Forecast::*value;
};
constexpr Total kTotals[] = {{"gpu_hours", &Forecast::gpu_hours},
                             {"days", &Forecast::days},
                             {"cost_usd", &Forecast::cost_usd},
                             {"energy_mwh", &Forecast::energy_mwh},
                             {"goodput", &Forecast::goodput}};

// Whole where it is whole: a count of bytes reads better so.
Json bytes_json(Bytes bytes) {
  const double n = bytes / byte;
  if (n >= 0 && n < 0x1p53 && std::floor(n) == n) return static_cast<std::int64_t>(n);
  return n;
}

Result<Bytes> read_bytes(JsonObject& object, std::string_view key) {
  return TRY(object.number(key, 0, kMost)) * byte;
}
Result<Seconds> read_seconds(JsonObject& object, std::string_view key) {
  return TRY(object.number(key, 0, kMost)) * sec;
}

Result<std::vector<std::pair<std::string, Seconds>>> read_parts(JsonObject& forecast,
                                                                std::string_view key) {
  JsonObject object = TRY(forecast.object(key));
  std::vector<std::pair<std::string, Seconds>> parts;
  for (const Json::Member& member : object.node().members()) {
    parts.emplace_back(member.first, TRY(read_seconds(object, member.first)));
  }
  return parts;
}

Result<std::vector<RankMemory>> read_memory(JsonObject& forecast) {
  const Json* list = TRY(forecast.array("memory"));
  std::vector<RankMemory> ranks;
  for (const Json& node : list->items()) {
    const std::string path = fmt::format("forecast.memory[{}]", ranks.size());
    JsonObject object = TRY(JsonObject::of(node, forecast.file(), path));
    RankMemory memory;
    for (const MemoryPart& part : kMemoryParts) {
      memory.*part.part = TRY(read_bytes(object, fmt::format("{}_bytes", part.name)));
    }
    TRY(object.finish());
    ranks.push_back(memory);
  }
  return ranks;
}

Result<BasisShares> read_basis(JsonObject& forecast) {
  JsonObject object = TRY(forecast.object("basis"));
  BasisShares basis;
  for (const BasisShare& share : kBasisShares)
    basis.*share.share = TRY(object.number(share.name, 0, 1));
  TRY(object.finish());
  return basis;
}

Json parts_json(const std::vector<std::pair<std::string, Seconds>>& parts) {
  Json json = Json::object();
  for (const auto& [name, time] : parts) json.set(name, time / sec);
  return json;
}

}  // namespace

Bytes total(const RankMemory& memory) {
  Bytes sum;
  for (const MemoryPart& part : kMemoryParts) sum += memory.*part.part;
  return sum;
}

Json to_json(const RankMemory& memory) {
  Json json = Json::object();
  for (const MemoryPart& part : kMemoryParts) {
    json.set(fmt::format("{}_bytes", part.name), bytes_json(memory.*part.part));
  }
  return json;
}

Json to_json(const BasisShares& basis) {
  Json json = Json::object();
  for (const BasisShare& share : kBasisShares) json.set(share.name, basis.*share.share);
  return json;
}

Json to_json(const Forecast& forecast) {
  Json json = Json::object();
  json.set("step_seconds", forecast.step / sec);
  json.set("step_seconds_low", forecast.step_low / sec);
  json.set("step_seconds_high", forecast.step_high / sec);
  json.set("tokens_per_second_per_gpu", forecast.tokens_per_second_per_gpu);
  json.set("model_tflops_per_gpu", forecast.model_tflops_per_gpu);
  json.set("flops_convention", forecast.flops_convention);
  json.set("mfu", forecast.mfu);
  json.set("peak_tflops", forecast.peak_tflops);
  json.set("memory_peak_bytes", bytes_json(forecast.memory_peak));
  json.set("memory_capacity_bytes", bytes_json(forecast.memory_capacity));
  json.set("breakdown", parts_json(forecast.breakdown));
  json.set("phases", parts_json(forecast.phases));
  for (const Total& figure : kTotals) json.set(figure.name, Json(forecast.*figure.value));
  json.set("basis", to_json(forecast.basis));
  Json memory = Json::array();
  for (const RankMemory& rank : forecast.memory) memory.push(to_json(rank));
  json.set("memory", std::move(memory));
  return json;
}

Result<Forecast> forecast_from_json(JsonObject& object) {
  Forecast forecast;
  forecast.step = TRY(read_seconds(object, "step_seconds"));
  forecast.step_low = TRY(read_seconds(object, "step_seconds_low"));
  forecast.step_high = TRY(read_seconds(object, "step_seconds_high"));
  forecast.tokens_per_second_per_gpu = TRY(object.number("tokens_per_second_per_gpu", 0, kMost));
  forecast.model_tflops_per_gpu = TRY(object.number("model_tflops_per_gpu", 0, kMost));
  forecast.flops_convention = TRY(object.string("flops_convention"));
  forecast.mfu = TRY(object.number("mfu", 0, kMost));
  forecast.peak_tflops = TRY(object.number("peak_tflops", 0, kMost));
  forecast.memory_peak = TRY(read_bytes(object, "memory_peak_bytes"));
  forecast.memory_capacity = TRY(read_bytes(object, "memory_capacity_bytes"));
  forecast.breakdown = TRY(read_parts(object, "breakdown"));
  forecast.phases = TRY(read_parts(object, "phases"));
  for (const Total& figure : kTotals) {
    if (object.has(figure.name)) forecast.*figure.value = TRY(object.number(figure.name, 0, kMost));
  }
  forecast.basis = TRY(read_basis(object));
  forecast.memory = TRY(read_memory(object));
  TRY(object.finish());
  return forecast;
}

}  // namespace narrows
