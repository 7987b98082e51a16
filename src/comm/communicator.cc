// SPDX-License-Identifier: Apache-2.0
#include "comm/communicator.h"

#include <numeric>

#include "comm/operation.h"
#include "comm/progress.h"
#include "comm/two_hop.h"

namespace narrows {
namespace {

constexpr std::uint64_t kFirstCollective = 1u << 16;  // tags below are the caller's

std::vector<std::int64_t> pieces_of(std::span<const std::int64_t> counts, std::int64_t each,
                                    int size) {
  if (!counts.empty()) {
    ASSERT(static_cast<int>(counts.size()) == size);
    return {counts.begin(), counts.end()};
  }
  return std::vector<std::int64_t>(static_cast<std::size_t>(size), each);
}

std::int64_t sum(std::span<const std::int64_t> counts) {
  return std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
}

// A blocking verb is its started form, waited for at once: no background is needed meanwhile.
class Waiting {
 public:
  explicit Waiting(bool& flag) : flag_(flag) { flag_ = true; }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
  ~Waiting() { flag_ = false; }

 private:
  bool& flag_;
};

}  // namespace

Request::Request(std::unique_ptr<Operation> operation) : operation_(std::move(operation)) {
  const Communicator& group = *operation_->group;
  if (group.progress_.start(*operation_)) {
    finish();
  } else if (!group.waits_) {
    group.progress_.leave_to_background();
  }
}

Request::Request(Request&& other) noexcept = default;

Request& Request::operator=(Request&& other) noexcept {
  static_cast<void>(wait());
  operation_ = std::move(other.operation_);
  result_ = std::move(other.result_);
  return *this;
}

Request::~Request() { static_cast<void>(wait()); }

void Request::finish() {
  result_ = std::move(operation_->status);
  operation_.reset();
}

bool Request::done() {
  if (operation_ && operation_->group->progress_.done(*operation_)) finish();
  return !operation_;
}

Status Request::wait() {
  if (operation_) {
    operation_->group->progress_.wait(*operation_);
    finish();
  }
  return result_;
}

Communicator::Communicator(int rank, std::vector<int> members, Hierarchy nodes,
                           CommProgress& progress)
    : rank_(rank), members_(std::move(members)), nodes_(std::move(nodes)), progress_(progress) {}

Communicator::~Communicator() = default;

Site Communicator::site() const { return {rank_, size(), &nodes_, algorithm_, shares_memory_}; }

std::unique_ptr<Operation> Communicator::operation(const char* what, View in, Buffer out) {
  alive();
  std::unique_ptr<Operation> made = std::make_unique<Operation>();
  made->what = what;
  made->group = this;
  made->tag = kFirstCollective + sequence_++;
  made->element = in.element;
  made->in = in.data;
  made->out = out.data;
  return made;
}

Request Communicator::start_all_reduce(Buffer data, Reduction how) {
  std::unique_ptr<Operation> verb = operation("all_reduce", data, data);
  verb->how = how;
  verb->program = all_reduce_program(site(), data.count, size_of(data.element));
  return Request(std::move(verb));
}

Request Communicator::start_reduce_scatter(Buffer in, Buffer out,
                                           std::span<const std::int64_t> counts, Reduction how) {
  const std::vector<std::int64_t> pieces = pieces_of(counts, out.count, size());
  ASSERT(in.element == out.element);
  ASSERT(in.count == sum(pieces));
  ASSERT(out.count == pieces[static_cast<std::size_t>(rank_)]);
  std::unique_ptr<Operation> verb = operation("reduce_scatter", in, out);
  verb->how = how;
  verb->program = reduce_scatter_program(site(), pieces);
  return Request(std::move(verb));
}

Request Communicator::start_all_gather(View in, Buffer out, std::span<const std::int64_t> counts) {
  const std::vector<std::int64_t> pieces = pieces_of(counts, in.count, size());
  ASSERT(in.element == out.element);
  ASSERT(out.count == sum(pieces));
  ASSERT(in.count == pieces[static_cast<std::size_t>(rank_)]);
  std::unique_ptr<Operation> verb = operation("all_gather", in, out);
  verb->program = all_gather_program(site(), pieces);
  return Request(std::move(verb));
}

Request Communicator::start_all_to_all(View in, std::span<const std::int64_t> sent, Buffer out,
                                       std::span<const std::int64_t> received) {
  ASSERT(in.element == out.element);
  ASSERT(static_cast<int>(sent.size()) == size());
  ASSERT(static_cast<int>(received.size()) == size());
  ASSERT(in.count == sum(sent));
  ASSERT(out.count == sum(received));
  std::unique_ptr<Operation> verb = operation("all_to_all", in, out);
  if (is_two_hop(site())) {
    install_two_hop(*verb, site(), sent, received);
  } else {
    verb->program = all_to_all_program(site(), sent, received);
  }
  return Request(std::move(verb));
}

Request Communicator::start_broadcast(Buffer data, int root) {
  ASSERT(root >= 0);
  ASSERT(root < size());
  std::unique_ptr<Operation> verb = operation("broadcast", data, data);
  if (size() > 1) verb->program = broadcast_program(site(), root, data.count);
  return Request(std::move(verb));
}

Request Communicator::start_barrier() {
  std::unique_ptr<Operation> verb = operation("barrier", View(), Buffer());
  verb->program = barrier_program(site());
  return Request(std::move(verb));
}

std::unique_ptr<Operation> Communicator::message(const char* what, const Step& step, int tag) {
  ASSERT(step.peer >= 0);
  ASSERT(step.peer < size());
  ASSERT(tag >= 0);
  ASSERT(static_cast<std::uint64_t>(tag) < kFirstCollective);
  std::unique_ptr<Operation> made = operation(what, View(), Buffer());
  --sequence_;  // only collectives are counted alike on all members
  made->tag = static_cast<std::uint64_t>(tag);
  made->program.steps.push_back(step);
  made->program.rounds.push_back(1);
  return made;
}

Request Communicator::start_send(View data, int to, int tag) {
  const Region all{CommSpace::In, 0, data.count};
  std::unique_ptr<Operation> made = message("send", {Step::Kind::Send, to, all, {}}, tag);
  made->in = data.data;
  made->element = data.element;
  return Request(std::move(made));
}

Request Communicator::start_receive(Buffer data, int from, int tag) {
  const Region all{CommSpace::Out, 0, data.count};
  std::unique_ptr<Operation> made = message("receive", {Step::Kind::Receive, from, {}, all}, tag);
  made->out = data.data;
  made->element = data.element;
  return Request(std::move(made));
}

Status Communicator::all_reduce(Buffer data, Reduction how) {
  const Waiting now(waits_);
  return start_all_reduce(data, how).wait();
}

Status Communicator::reduce_scatter(Buffer in, Buffer out, std::span<const std::int64_t> counts,
                                    Reduction how) {
  const Waiting now(waits_);
  return start_reduce_scatter(in, out, counts, how).wait();
}

Status Communicator::all_gather(View in, Buffer out, std::span<const std::int64_t> counts) {
  const Waiting now(waits_);
  return start_all_gather(in, out, counts).wait();
}

Status Communicator::all_to_all(View in, std::span<const std::int64_t> sent, Buffer out,
                                std::span<const std::int64_t> received) {
  const Waiting now(waits_);
  return start_all_to_all(in, sent, out, received).wait();
}

Status Communicator::all_to_all(View in, Buffer out) {
  ASSERT(in.count % size() == 0);
  const std::vector<std::int64_t> counts = pieces_of({}, in.count / size(), size());
  return all_to_all(in, counts, out, counts);
}

Status Communicator::broadcast(Buffer data, int root) {
  const Waiting now(waits_);
  return start_broadcast(data, root).wait();
}

Status Communicator::barrier() {
  const Waiting now(waits_);
  return start_barrier().wait();
}

Status Communicator::send(View data, int to, int tag) {
  const Waiting now(waits_);
  return start_send(data, to, tag).wait();
}

Status Communicator::receive(Buffer data, int from, int tag) {
  const Waiting now(waits_);
  return start_receive(data, from, tag).wait();
}

}  // namespace narrows
