// SPDX-License-Identifier: Apache-2.0
#include "measure/profile.h"

#include <fmt/format.h>

#include <chrono>
#include <ctime>
#include <thread>

#include "measure/link_case.h"
#include "runtime/calibration.h"
#include "runtime/world.h"

namespace narrows {
namespace {

Seconds wall_clock() {
  const auto time = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(time).count() * sec;
}

Seconds thread_clock() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * sec + static_cast<double>(time.tv_nsec) * ns;
}

// The least time that the operating system lets a rank run before another gets its turn, where
// there are more ranks than processors: shorter samples would see either all of a processor or
// none.
constexpr Seconds kSlice = 30 * ms;

// Of a message or collective: it is used in a row of its like, on memory that its ranks have just
// worked on, so that what finding that memory again costs must not show.
constexpr Seconds kLinkSample = 1 * ms;

// A processor's units for matmuls of each format, and memory, are shared with its neighbour in ways
// of their own.
int group_of(const Measurement& what) {
  return 16 * static_cast<int>(what.family) + static_cast<int>(what.recipe);
}

constexpr const char* kPaceClass = "calibration";
constexpr const char* kSlowestClass = "slowest calibration";

// One rank's part.
class RankProfile {
 public:
  RankProfile(const ProfileOptions& options, const ProfileEvents& events, Communicator& world)
      : options_(options), events_(events), world_(world) {}

  Status run(const MakeBackend& make, ProfileSummary& summary) {
    start_ = wall_clock();
    backend_ = make();
    memory_ = std::make_unique<RotatingMemory>(options_.range);
    calibration_ = std::make_unique<Calibration>(*backend_);
    const bool is_crowded = world_.size() > static_cast<int>(std::thread::hardware_concurrency());
    site_ = {.world = world_.size() > 1 ? &world_ : nullptr,
             .now = wall_clock,
             .busy = is_crowded ? nullptr : thread_clock,
             .calibrate = [this] { return calibration_->time(); }};
    shortest_ = is_crowded ? kSlice : 200 * us;
    bench_.stop = options_.stop;
    ProfileSummary mine;
    if (options_.links && world_.size() > 1) TRY(links(mine));
    TRY(ops(mine));
    mine.elapsed = wall_clock() - start_;
    if (world_.rank() == 0) summary = mine;
    return {};
  }

 private:
  Status ops(ProfileSummary& summary) {
    std::vector<const OpCase*> cases;
    std::vector<BenchTask> tasks;
    int first = 0;  // of the cases that begin, those that are not known yet
    for (const OpCase& c : options_.cases) {
      const bool begins = &c - options_.cases.data() < options_.rules.first;
      ++summary.cases;
      if (options_.known.count(key_of(c.what)) > 0) {
        ++summary.known;
        continue;
      }
      first += begins;
      cases.push_back(&c);
      tasks.push_back({[this, &c]() -> Status {
                         world_.alive();
                         c.run(*backend_, *memory_);
                         return {};
                       },
                       false, group_of(c.what)});
    }
    bench_.shortest = shortest_;
    bench_.rules.budget = options_.rules.budget - (wall_clock() - start_);
    bench_.progress = [&](const BenchProgress& p) { tell("timing ops", p); };
    bench_.result = [&](int task, const SampleSummary& s) -> Status {
      ++summary.measured;
      if (!events_.kernel) return {};
      KernelObservation seen{cases[static_cast<std::size_t>(task)]->what, spread_of(s), ""};
      const int parts = cases[static_cast<std::size_t>(task)]->parts;
      seen.what.time = max(s.mean / parts, 1 * ns);
      seen.spread.p10 /= parts;
      seen.spread.p90 /= parts;
      return events_.kernel(seen);
    };
    BenchOptions bench = with_rules();
    bench.rules.first = first;
    const MachinePace pace = TRY(time_tasks(tasks, site_, bench));
    if (pace.calibrations > 0) summary.pace = pace;
    return {};
  }

  Status links(ProfileSummary& summary) {
    const std::unique_ptr<LinkBench> all =
        TRY(LinkBench::make(world_, options_.largest, options_.method));
    std::vector<const LinkCase*> cases;
    std::vector<BenchTask> tasks;
    for (const LinkCase& c : all->cases()) {
      ++summary.cases;
      if (options_.known.count(link_key(c.what)) > 0) {
        ++summary.known;
        continue;
      }
      cases.push_back(&c);
      tasks.push_back(c.task);
    }
    bench_.shortest = max(shortest_, kLinkSample);
    bench_.rules.budget = options_.links_share * options_.rules.budget;
    bench_.progress = [&](const BenchProgress& p) { tell("timing links", p); };
    bench_.result = [&](int task, const SampleSummary& s) -> Status {
      ++summary.measured;
      if (!events_.link) return {};
      LinkObservation seen{cases[static_cast<std::size_t>(task)]->what, spread_of(s)};
      // A message was sent there and back.
      const double trips = seen.what.what == CollectiveKind::SendRecv ? 2 : 1;
      seen.what.time = max(s.mean / trips, 1 * ns);
      seen.spread.p10 /= trips;
      seen.spread.p90 /= trips;
      return events_.link(seen);
    };
    summary.pace = TRY(time_tasks(tasks, site_, with_rules()));
    return {};
  }

  BenchOptions with_rules() {
    BenchOptions bench = bench_;
    const Seconds budget = bench.rules.budget;
    bench.rules = options_.rules;
    bench.rules.budget = budget;
    bench.rules.first = 0;
    return bench;
  }
  static Spread spread_of(const SampleSummary& s) { return {s.p10, s.p90, s.samples}; }
  void tell(const std::string& what, const BenchProgress& p) const {
    if (events_.progress) events_.progress(what, p);
  }

  const ProfileOptions& options_;
  const ProfileEvents& events_;
  Communicator& world_;
  Seconds start_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<RotatingMemory> memory_;
  std::unique_ptr<Calibration> calibration_;
  BenchSite site_;
  BenchOptions bench_;
  Seconds shortest_;  // of an op's sample
};

}  // namespace

Result<ProfileSummary> profile_machine(const ProfileOptions& options, const MakeBackend& backend,
                                       const ProfileEvents& events) {
  ProfileSummary summary;
  const WorldEnd end =
      run_world({.ranks = options.ranks, .levels = {}}, [&](Communicator& world) -> Status {
        // Cases hold what they work on: each rank has its own.
        ProfileOptions mine = options;
        return RankProfile(mine, events, world).run(backend, summary);
      });
  TRY(end.status);
  return summary;
}

std::vector<KernelObservation> pace_rows(const MachinePace& pace) {
  KernelObservation row;
  row.what.family = KernelFamily::Memory;
  row.what.recipe = Recipe::F32;
  row.what.memory_class = kPaceClass;
  row.what.traffic = Calibration::kTraffic;
  row.what.time = max(pace.calibration, 1 * ns);
  row.spread.samples = pace.calibrations;
  KernelObservation slowest = row;
  slowest.what.memory_class = kSlowestClass;
  slowest.what.time = pace.slowest * row.what.time;
  return {row, slowest};
}

MachinePace pace_in(std::span<const Measurement> rows) {
  MachinePace pace;
  Seconds slowest;
  for (const Measurement& row : rows) {
    if (row.family != KernelFamily::Memory) continue;
    if (row.memory_class == kPaceClass) pace.calibration = row.time;
    if (row.memory_class == kSlowestClass) slowest = row.time;
  }
  if (pace.calibration > Seconds() && slowest > pace.calibration)
    pace.slowest = slowest / pace.calibration;
  return pace;
}

std::string link_key(const LinkMeasurement& link) {
  return fmt::format("{} {} {:.0f} {}", to_string(link.what), link.ranks, link.bytes / byte,
                     link.method);
}

}  // namespace narrows
