// SPDX-License-Identifier: Apache-2.0
#include "measure/link_case.h"

namespace narrows {
namespace {

// There and back: twice the time of a message.
Status ping(Communicator& group, Buffer data) {
  if (group.rank() == 0) {
    TRY(group.send(data, 1));
    return group.receive(data, 1);
  }
  TRY(group.receive(data, 0));
  return group.send(data, 0);
}

}  // namespace

Result<std::unique_ptr<LinkBench>> LinkBench::make(Communicator& world, Bytes largest,
                                                   const std::string& method) {
  std::unique_ptr<LinkBench> bench(new LinkBench());
  const auto floats = static_cast<std::size_t>(largest / (4 * byte));
  bench->from_.assign(floats, 0.0f);
  bench->to_.assign(floats, 0.0f);
  for (int ranks = 2; ranks <= world.size(); ++ranks) {
    if (world.size() % ranks != 0) continue;
    bench->groups_.push_back(TRY(world.split(world.rank() / ranks, world.rank())));
    bench->add_cases(*bench->groups_.back(), largest, method);
  }
  return bench;
}

void LinkBench::add_cases(Communicator& group, Bytes largest, const std::string& method) {
  for (const CollectiveKind what :
       {CollectiveKind::AllReduce, CollectiveKind::AllGather, CollectiveKind::ReduceScatter,
        CollectiveKind::AllToAll, CollectiveKind::Broadcast, CollectiveKind::SendRecv}) {
    if (what == CollectiveKind::SendRecv && group.size() != 2) continue;
    for (Bytes bytes = 256 * byte; bytes <= largest; bytes *= 4) {
      LinkMeasurement link;
      link.what = what;
      link.ranks = group.size();
      link.ranks_per_node = group.size();
      link.dtype = "f32";
      link.method = method;
      // Whole elements for every member.
      const auto each = static_cast<std::int64_t>(bytes / (4 * byte)) / group.size();
      link.bytes = static_cast<double>(4 * each * group.size()) * byte;
      if (each > 0) cases_.push_back({link, task_of(group, link)});
    }
  }
}

BenchTask LinkBench::task_of(Communicator& group, const LinkMeasurement& what) {
  const auto all = static_cast<std::int64_t>(what.bytes / (4 * byte));
  const std::int64_t piece = all / group.size();
  const auto part = [](LargeVector<float>& memory, std::int64_t count) {
    return Buffer(memory.data(), count, Element::F32);
  };
  const Buffer from = part(from_, all), to = part(to_, all);
  const Buffer from_piece = part(from_, piece), to_piece = part(to_, piece);
  Communicator* const c = &group;
  switch (what.what) {
    case CollectiveKind::AllReduce:
      return {[=] { return c->all_reduce(to); }, true};
    case CollectiveKind::AllGather:
      return {[=] { return c->all_gather(from_piece, to); }, true};
    case CollectiveKind::ReduceScatter:
      return {[=] { return c->reduce_scatter(from, to_piece, {}); }, true};
    case CollectiveKind::AllToAll:
      return {[=] { return c->all_to_all(from, to); }, true};
    case CollectiveKind::Broadcast:
      return {[=] { return c->broadcast(to, 0); }, true};
    default:
      return {[=] { return ping(*c, to); }, true};
  }
}

}  // namespace narrows
