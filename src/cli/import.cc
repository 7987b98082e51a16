// `narrows import`: other programs' measurements into the store, a topology into a cluster file.
// All files are read before anything is written, and what is written is one transaction.
// SPDX-License-Identifier: Apache-2.0
#include "store/import.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/file.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/import_report.h"
#include "cli/own_measurements.h"
#include "cli/profiles.h"
#include "hardware/cluster_json.h"
#include "model/import.h"
#include "model/parameters.h"
#include "store/store.h"

namespace narrows {
namespace {

constexpr std::size_t kLongestFile = std::size_t{16} << 30;

struct Import {
  std::vector<ReadFile> files;
  std::vector<Store> stores;
  std::optional<Cluster> cluster;  // of a topology
};

tl::unexpected<Error> not_known(const std::string& path) {
  return invalid(fmt::format(
      "{}: expected an nccl-tests or OSU log, a PyTorch trace, an Nsight Systems report (SQLite), "
      "a store, a table of timings, a topology or a model's config.json, found none of these",
      path));
}

// A model is no measurement: its file is used as it is.
Result<std::string> model_words(const std::string& text, const std::string& path) {
  const Json config = TRY(parse_json(text, path));
  const ModelSpec model = TRY(import_config(config, path));
  const auto parameters = static_cast<double>(count_parameters(model).total);
  return fmt::format(
      "a model of {} parameters and {} layers, nothing to store: plan it with "
      "`narrows plan --model {} --cluster C`",
      short_count(parameters), model.layers, path);
}

Result<Topology> topology_of(ForeignKind kind, const std::string& text, const std::string& path) {
  return kind == ForeignKind::NcclTopology ? read_nccl_topology(text, path)
                                           : read_topology_matrix(text, path);
}

Status check_chip(const std::string& chip, const Profiles& profiles) {
  if (chip.empty()) return {};
  const Result<Chip> known = profiles.hardware.chip(chip);
  if (!known) return tl::unexpected(known.error().within("--chip"));
  return {};
}

Status read_one(const std::string& path, const ImportOptions& options, const Profiles& profiles,
                Import& import) {
  ReadFile file;
  file.path = path;
  const std::string text = TRY(read_file(path, kLongestFile));
  if (is_sqlite(text) && path == "-")
    return invalid("stdin: an SQLite database must be given as a file");
  file.kind = is_sqlite(text) ? TRY(recognise_database(path)) : recognise(text);
  const ImportHints hints{options.chip, options.ranks};
  switch (file.kind) {
    case ForeignKind::Unknown:
      return not_known(path);
    case ForeignKind::Compressed:
      return unsupported(fmt::format("{}: is compressed; unpack it first (gunzip, unzip)", path));
    case ForeignKind::ModelConfig:
      file.words = TRY(model_words(text, path));
      break;
    case ForeignKind::TopologyMatrix:
    case ForeignKind::NcclTopology: {
      if (options.files.size() > 1)
        return invalid(fmt::format("{}: a topology is imported alone", path));
      const Topology topology = TRY(topology_of(file.kind, text, path));
      import.cluster =
          TRY(cluster_of(topology, path, options.chip, options.nodes, profiles.hardware));
      break;
    }
    case ForeignKind::Store: {
      file.store = import.stores.size();
      import.stores.push_back(TRY(Store::open_to_read(path)));
      break;
    }
    default:
      file.batches = TRY(read_log(file.kind, text, path, hints, today()));
  }
  import.files.push_back(std::move(file));
  return {};
}

// Options that no file has a use for are refused: nothing is ignored.
Status check_options(const ImportOptions& options, const Import& import) {
  if (import.cluster) {
    if (options.db || options.ranks)
      return invalid(fmt::format("{}: a topology becomes a cluster file and has no use for it",
                                 options.db ? "--db" : "--ranks"));
    return {};
  }
  if (options.out || options.nodes != 1)
    return invalid(fmt::format("{}: is for a topology, and {} is a {}",
                               options.out ? "--out" : "--nodes", import.files.front().path,
                               to_string(import.files.front().kind)));
  return {};
}

Result<int> write_cluster(const Import& import, const ImportOptions& options,
                          const CommonOptions& common, const Console& console) {
  const Cluster& cluster = *import.cluster;
  const std::string text = to_json(cluster).text() + "\n";
  if (!options.out) {
    console.out << text;
    return kDone;
  }
  TRY(write_file(*options.out, text));
  if (common.json) {
    console.out << text;
    return kDone;
  }
  console.out << fmt::format("{}: {} x {} in {}: plan on it with `--cluster {}`\n",
                             import.files.front().path, cluster.gpus, cluster.chip.title,
                             counted(static_cast<std::int64_t>(cluster.levels.size()), "level"),
                             *options.out);
  return kDone;
}

Status refuse_itself(const std::string& db, const Import& import) {
  for (const ReadFile& file : import.files) {
    std::error_code error;
    if (file.store && std::filesystem::equivalent(file.path, db, error))
      return invalid(fmt::format("{}: is the store that --db names", file.path));
  }
  return {};
}

}  // namespace

Result<int> import_command(const ImportOptions& options, const CommonOptions& common,
                           const Console& console) {
  const Profiles profiles = TRY(open_profiles(common.profiles));
  TRY(check_chip(options.chip, profiles));
  Import import;
  for (const std::string& path : options.files) TRY(read_one(path, options, profiles, import));
  TRY(check_options(options, import));
  if (import.cluster) return write_cluster(import, options, common, console);
  std::vector<Batch> batches;
  for (const ReadFile& file : import.files)
    batches.insert(batches.end(), file.batches.begin(), file.batches.end());
  std::vector<Added> added;
  Json result = Json::object();
  std::string last;
  if (!batches.empty() || !import.stores.empty()) {
    const std::string path = TRY(store_path(options.db, true));
    TRY(refuse_itself(path, import));
    Store store = TRY(Store::open(path));
    added = TRY(store.add(batches, import.stores));
    const std::int64_t rows = TRY(store.rows());
    last = fmt::format("{} now holds {}\n", path, counted(rows, "row"));
    result.set("store", path).set("rows", rows);
  }
  if (!common.quiet) console.err << unknown_chips(import.files);
  ImportReport report = report_of(import.files, added);
  result.set("files", std::move(report.files));
  console.out << (common.json ? result.text() + "\n" : report.text + last);
  return kDone;
}

}  // namespace narrows
