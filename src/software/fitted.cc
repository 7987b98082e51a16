// SPDX-License-Identifier: Apache-2.0
#include "software/fitted.h"

#include <fmt/format.h>

namespace narrows {
namespace embedded {
std::vector<EmbeddedFile> fitted_software();
}
namespace {

constexpr const char* kPath = "fitted/software.json";

// The figure with the fitted value, its source extended by how it came about.
Result<Json> fitted_figure(const Json& figure, const Json& constant, const std::string& place) {
  const Json* value = constant.find("value");
  const Json* source = figure.find("source");
  const bool readable = value != nullptr && source != nullptr && source->is_string();
  if (!readable) return invalid(fmt::format("{}: expected a value and a source", place));
  const auto text = [&](const char* key) {
    const Json* found = constant.find(key);
    if (found == nullptr) return std::string("?");
    return found->is_string() ? found->string() : found->compact();
  };
  Json fitted = figure;
  fitted.set("value", *value);
  fitted.set("source",
             fmt::format("{}; {} before the fit, fitted to {} published runs of {} groups, "
                         "standard error {} (scripts/calibrate)",
                         source->string(), text("prior"), text("rows"), text("groups"),
                         text("standard_error")));
  return fitted;
}

}  // namespace

Result<Json> fitted_figures(const std::vector<EmbeddedFile>& overrides) {
  for (const EmbeddedFile& file : overrides) {
    if (file.path == kPath) return parse_json(file.content, file.path);
  }
  const std::vector<EmbeddedFile> files = embedded::fitted_software();
  return parse_json(files.front().content, files.front().path);
}

EmbeddedFile nothing_fitted() { return {kPath, "{}"}; }
EmbeddedFile fitted_as(const Json& overlay) { return {kPath, overlay.text()}; }

Result<Json> with_fitted(Json profile, const Json& fitted) {
  const Json* name = profile.find("name");
  const Json* profiles = fitted.find("profiles");
  if (name == nullptr || !name->is_string() || profiles == nullptr) return profile;
  const Json* own = profiles->is_object() ? profiles->find(name->string()) : nullptr;
  if (own == nullptr || !own->is_object()) return profile;
  if (const Json* constants = own->find("constants"); constants && constants->is_object()) {
    for (const auto& [field, constant] : constants->members()) {
      const Json* figure = profile.find(field);
      // Bounds that are gone since: the next calibration will say nothing of it either.
      if (figure == nullptr || figure->find("fit") == nullptr) continue;
      const std::string place = fmt::format("{}: {}.{}", kPath, name->string(), field);
      profile.set(field, TRY(fitted_figure(*figure, constant, place)));
    }
  }
  if (const Json* spread = own->find("spread")) profile.set("spread", *spread);
  return profile;
}

}  // namespace narrows
