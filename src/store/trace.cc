// SPDX-License-Identifier: Apache-2.0
#include "store/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "store/op_text.h"

namespace narrows {
namespace {

// Operators by thread and start, outer before inner.
std::vector<std::size_t> in_order(const std::vector<TraceOp>& ops) {
  std::vector<std::size_t> order(ops.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](std::size_t x, std::size_t y) {
    const TraceOp& a = ops[x];
    const TraceOp& b = ops[y];
    return std::tuple(a.thread, a.start, -a.end, x) < std::tuple(b.thread, b.start, -b.end, y);
  });
  return order;
}

// The operators that are open, the innermost last.
class Open {
 public:
  explicit Open(const std::vector<TraceOp>& ops) : ops_(ops) {}
  // Closes what ended before `time`, or ran on another thread.
  void move_to(std::int64_t thread, std::int64_t time) {
    if (thread != thread_) open_.clear();
    thread_ = thread;
    while (!open_.empty() && ops_[open_.back()].end < time) open_.pop_back();
  }
  void push(std::size_t op) { open_.push_back(op); }
  const std::vector<std::size_t>& stack() const { return open_; }

 private:
  const std::vector<TraceOp>& ops_;
  std::int64_t thread_ = 0;
  std::vector<std::size_t> open_;
};

bool is_backward(const std::string& name) { return name.find("Backward") != std::string::npos; }
// Checkpointing runs the forward pass again from inside a backward operator.
bool is_recompute(const std::string& name) { return name.find("Checkpoint") != std::string::npos; }

// Where each operator stands: in which backward operator, if any.
struct Standing {
  bool backward = false;
  std::int64_t sequence = -1;
};

std::vector<Standing> standings(const std::vector<TraceOp>& ops,
                                const std::vector<std::size_t>& order) {
  std::vector<Standing> result(ops.size());
  Open open(ops);
  for (const std::size_t i : order) {
    open.move_to(ops[i].thread, ops[i].start);
    for (auto outer = open.stack().rbegin(); outer != open.stack().rend(); ++outer) {
      const TraceOp& around = ops[*outer];
      if (!is_backward(around.op.name)) continue;
      if (is_recompute(around.op.name)) break;
      result[i] = {true, around.sequence};
      break;
    }
    open.push(i);
  }
  return result;
}

// Forward matmuls by sequence number. The node that a number names is made by the last operator
// that saw it; a number that two threads used names none.
std::map<std::int64_t, std::optional<TorchMatmul>> forwards(const std::vector<TraceOp>& ops,
                                                            const std::vector<std::size_t>& order,
                                                            const std::vector<Standing>& standing) {
  std::map<std::int64_t, std::optional<TorchMatmul>> result;
  std::map<std::int64_t, std::int64_t> thread_of;
  for (const std::size_t i : order) {
    if (ops[i].sequence < 0 || standing[i].backward) continue;
    const auto shape = torch_matmul(ops[i].op);
    if (!shape) continue;
    const bool other =
        thread_of.emplace(ops[i].sequence, ops[i].thread).first->second != ops[i].thread;
    result[ops[i].sequence] = other ? std::nullopt : shape;
  }
  return result;
}

// Which kernels ran while another stream of their device was busy.
std::vector<bool> beside_others(const std::vector<TraceKernel>& kernels) {
  std::vector<std::size_t> order(kernels.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](std::size_t x, std::size_t y) {
    return std::tuple(kernels[x].device, kernels[x].start, x) <
           std::tuple(kernels[y].device, kernels[y].start, y);
  });
  std::vector<bool> beside(kernels.size(), false);
  std::map<std::int64_t, std::size_t> latest;  // by stream: the kernel that ends last
  std::int64_t device = 0;
  for (const std::size_t i : order) {
    if (kernels[i].device != device) latest.clear();
    device = kernels[i].device;
    for (const auto& [stream, other] : latest) {
      if (stream == kernels[i].stream || kernels[other].end <= kernels[i].start) continue;
      beside[i] = true;
      beside[other] = true;
    }
    const auto [place, fresh] = latest.emplace(kernels[i].stream, i);
    if (!fresh && kernels[place->second].end <= kernels[i].end) place->second = i;
  }
  return beside;
}

// Times by op, and what is left, by reason.
class Sums {
 public:
  void add(const AnyOp& op, std::int64_t time, const std::string& kernel) {
    const OpText text = std::visit([](const auto& what) { return op_text(what); }, op);
    if (time <= 0) return leave("kernels without a time", 1, 0);
    if (!read_op(text.op, text.direction, text.recipe, text.shape))
      return leave(fmt::format("{} of odd sizes", text.op), 1, time);
    Entry& entry = entries_[text];
    if (entry.times.empty()) {
      entry.op = op;
      entry.kernel = kernel;
    }
    entry.times.push_back(time);
  }
  void leave(const std::string& why, std::int64_t count, std::int64_t time) {
    Unread& unread = unread_[why];
    unread.why = why;
    unread.count += count;
    unread.time += static_cast<double>(time) * ns;
  }
  void move_to(Batch& batch) {
    for (auto& [text, entry] : entries_) {
      std::sort(entry.times.begin(), entry.times.end());
      const Spread spread{percentile(entry.times, 0.1), percentile(entry.times, 0.9),
                          static_cast<int>(entry.times.size())};
      if (auto* link = std::get_if<LinkMeasurement>(&entry.op)) {
        link->time = percentile(entry.times, 0.5);
        batch.links.push_back({*link, spread});
      } else {
        Measurement& what = std::get<Measurement>(entry.op);
        what.time = percentile(entry.times, 0.5);
        batch.kernels.push_back({what, spread, entry.kernel});
      }
    }
    for (auto& [why, unread] : unread_) batch.unread.push_back(unread);
    std::stable_sort(batch.unread.begin(), batch.unread.end(),
                     [](const Unread& a, const Unread& b) { return a.time > b.time; });
  }

 private:
  struct Entry {
    AnyOp op;
    std::string kernel;
    std::vector<std::int64_t> times;
  };
  static Seconds percentile(const std::vector<std::int64_t>& sorted, double share) {
    const auto last = static_cast<double>(sorted.size() - 1);
    return static_cast<double>(sorted[static_cast<std::size_t>(share * last + 0.5)]) * ns;
  }

  std::map<OpText, Entry> entries_;
  std::map<std::string, Unread> unread_;
};

// A kernel's name without template arguments and parameters, short enough to show.
std::string short_name(const std::string& kernel) {
  std::string name = kernel.substr(0, kernel.find_first_of("<("));
  if (name.starts_with("void ")) name.erase(0, 5);
  return name.size() > 60 ? name.substr(0, 57) + "..." : name;
}

// What the kernels of one operator come to.
struct Run {
  std::int64_t time = 0;
  std::int64_t count = 0;
  std::int64_t longest = -1;
  std::string kernel;  // the one that ran longest
  bool beside = false;
};

}  // namespace

void tie(Trace& trace, std::vector<Launch> launches) {
  const std::vector<std::size_t> order = in_order(trace.ops);
  std::sort(launches.begin(), launches.end(), [](const Launch& a, const Launch& b) {
    return std::tuple(a.thread, a.time, a.kernel) < std::tuple(b.thread, b.time, b.kernel);
  });
  Open open(trace.ops);
  std::size_t next = 0;
  for (const Launch& launch : launches) {
    for (; next < order.size(); ++next) {
      const TraceOp& op = trace.ops[order[next]];
      if (std::pair(op.thread, op.start) > std::pair(launch.thread, launch.time)) break;
      open.move_to(op.thread, op.start);
      open.push(order[next]);
    }
    open.move_to(launch.thread, launch.time);
    if (!open.stack().empty()) trace.kernels[launch.kernel].op = open.stack().back();
  }
}

void describe(const Trace& trace, Batch& batch) {
  const std::vector<std::size_t> order = in_order(trace.ops);
  const std::vector<Standing> standing = standings(trace.ops, order);
  const auto forward = forwards(trace.ops, order, standing);
  const std::vector<bool> beside = beside_others(trace.kernels);
  Sums sums;
  std::map<std::size_t, Run> runs;
  for (std::size_t i = 0; i < trace.kernels.size(); ++i) {
    const TraceKernel& kernel = trace.kernels[i];
    const std::int64_t time = kernel.end - kernel.start;
    if (kernel.link) {
      sums.add(*kernel.link, time, kernel.name);
    } else if (!kernel.op) {
      sums.leave(fmt::format("kernel {} of no operator", short_name(kernel.name)), 1, time);
    } else {
      Run& run = runs[*kernel.op];
      run.time += time;
      ++run.count;
      run.beside = run.beside || beside[i];
      if (time > run.longest) run.kernel = kernel.name;
      run.longest = std::max(run.longest, time);
    }
  }
  for (const auto& [index, run] : runs) {
    TorchPlace place{standing[index].backward, std::nullopt, run.kernel};
    const auto found = forward.find(standing[index].sequence);
    if (place.backward && found != forward.end()) place.forward = found->second;
    const auto answer = understand(trace.ops[index].op, place);
    if (const auto* why = std::get_if<std::string>(&answer)) {
      sums.leave(*why, run.count, run.time);
    } else if (run.beside) {
      sums.leave("kernels that ran beside another stream's", run.count, run.time);
    } else {
      sums.add(std::get<Measurement>(answer), run.time, run.kernel);
    }
  }
  sums.move_to(batch);
}

}  // namespace narrows
