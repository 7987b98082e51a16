// SPDX-License-Identifier: Apache-2.0
#include "cli/job.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "cli/local.h"
#include "cli/measured.h"
#include "cli/settings.h"
#include "plan/validate.h"
#include "software/library.h"

namespace narrows {
namespace {

std::string count_text(std::int64_t n) {
  return n < 10'000'000 ? with_commas(n) : short_count(static_cast<double>(n));
}

// The published training, or what stands for it, and what the options say over it.
Training training_of(const JobOptions& options, const BuiltinModel& model,
                     std::vector<std::string>& assumed) {
  const PublishedTraining known = default_training(model);
  const bool batch_published = model.training && model.training->global_batch > 0;
  const bool sequence_published = model.training && model.training->sequence > 0;
  const std::string source = model.training ? fmt::format("published ({})", model.training->source)
                                            : std::string("published");
  Training training;
  training.sequence = options.sequence.value_or(known.sequence);
  if (!options.sequence)
    assumed.push_back(fmt::format("sequence {}: {}", count_text(training.sequence),
                                  sequence_published ? source : "min(4096, the model's limit)"));
  const std::int64_t four_mi_tokens =
      std::max<std::int64_t>(1, (std::int64_t{4} << 20) / training.sequence);
  training.global_batch =
      options.global_batch.value_or(batch_published ? known.global_batch : four_mi_tokens);
  if (!options.global_batch)
    assumed.push_back(fmt::format("global batch {} sequences: {}",
                                  count_text(training.global_batch),
                                  batch_published ? source : "4 Mi tokens' worth"));
  training.tokens = options.tokens.value_or(known.tokens);
  if (!options.tokens && known.tokens > 0)
    assumed.push_back(fmt::format("tokens {}: {}", count_text(known.tokens), source));
  if (!options.tokens && known.tokens == 0)
    assumed.push_back("tokens: unknown, so that days and cost are not told (--tokens)");
  if (model.spec.moe) {
    training.routing = options.routing.value_or(Routing::Natural);
    if (!options.routing)
      assumed.push_back("routing natural: the load of a trained router, with its imbalance");
  }
  return training;
}

Result<SoftwareProfile> software_of(const JobOptions& options, const Profiles& profiles,
                                    const Cluster& cluster, std::vector<std::string>& assumed) {
  if (options.software) return load_software(*options.software, profiles.software);
  const bool own = !cluster.software.empty();
  const std::string name = own ? cluster.software : "megatron-core";
  assumed.push_back(fmt::format("software {}: {}", name,
                                own ? "the cluster's own" : "the default training stack"));
  return find_software(name, profiles.software);
}

// The published recipe is the default where chip and software can run it; else it is searched.
Status set_precision(const JobOptions& options, const BuiltinModel& model, LoadedJob& job) {
  const Recipe plain_fp8 = plain_fp8_of(job.cluster.chip.architecture);
  job.pins = TRY(parse_pins(options.fix, plain_fp8));
  if (!options.precision.empty()) {
    if (options.precision != "auto")
      job.pins.precision = TRY(parse_recipe(options.precision, plain_fp8));
    return {};
  }
  if (job.pins.precision || options.fix.find("precision=") != std::string::npos) return {};
  const std::string published = model.training ? model.training->recipe : "";
  const std::optional<Recipe> recipe = recipe_of(published);
  if (!recipe) {
    job.assumed.push_back("precision: searched");
    return {};
  }
  const Limits limits = limits_of(job.model, job.cluster, job.training, job.software);
  const unsigned bit = 1u << static_cast<unsigned>(*recipe);
  if ((limits.recipes & limits.chip_recipes & bit) == 0) {
    job.assumed.push_back(
        fmt::format("precision: searched, since the published {} does not run on "
                    "{} under {}",
                    published, job.cluster.chip.title, job.software.name));
    return {};
  }
  job.pins.precision = *recipe;
  job.assumed.push_back(fmt::format("precision {}: published ({}); --precision auto searches",
                                    published, model.training->source));
  return {};
}

}  // namespace

Result<KernelTables> kernel_tables(const LoadedJob& job) {
  const KernelTables published = TRY(KernelTables::published());
  if (job.measured.empty()) return published;
  return published.preferring(job.measured, job.cluster.chip);
}

std::string price_basis_of(const Cluster& cluster) {
  std::string basis = cluster.price_date;
  if (!cluster.price.source.empty()) basis += (basis.empty() ? "" : ", ") + cluster.price.source;
  return basis;
}

Result<LoadedJob> load_job(const JobOptions& options, const Profiles& profiles) {
  LoadedJob job;
  BuiltinModel model = TRY(load_model(options.model, profiles.models));
  if (is_local(options.cluster)) {
    LocalMeasured local = TRY(load_local(options.cluster, options.db));
    job.cluster = std::move(local.cluster);
    job.measured = std::move(local.kernels);
    job.assumed.push_back(std::move(local.words));
  } else {
    job.cluster = TRY(profiles.hardware.cluster(options.cluster, options.gpus));
  }
  job.software = TRY(software_of(options, profiles, job.cluster, job.assumed));
  TRY(apply(options.settings, model.spec, job.cluster, job.software));
  job.model = model.spec;
  job.training = training_of(options, model, job.assumed);
  TRY(set_precision(options, model, job));
  if (options.db && !is_local(options.cluster)) {
    job.measured =
        TRY(measured_kernels(*options.db, job.cluster.chip.name, job.software.kernel_generation));
    job.assumed.push_back(fmt::format("kernels: {} of {} in {}, before the published ones",
                                      with_commas(static_cast<std::int64_t>(job.measured.size())),
                                      job.cluster.chip.name, *options.db));
  }
  job.price = options.price.value_or(job.cluster.price.value);
  job.price_basis = options.price ? "--price" : price_basis_of(job.cluster);
  if (!options.price && job.price > PricePerTime())
    job.assumed.push_back(
        fmt::format("price ${:.2f} a GPU-hour: {}", job.price / (usd / hour), job.price_basis));
  return job;
}

}  // namespace narrows
