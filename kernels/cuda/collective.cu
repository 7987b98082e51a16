// Collectives and messages by NCCL. An all-to-all is a message to and from every rank in one group.
//
// Floor of n ranks over links of bandwidth b a rank and direction: all-reduce 2 (n - 1) / n bytes /
// b, all-gather and reduce-scatter (n - 1) / n of the whole buffer, a message its bytes.
// SPDX-License-Identifier: Apache-2.0
#include <nccl.h>

#include "kernels/cuda/libraries.cuh"
#include "kernels/cuda/vector.cuh"

namespace narrows::gpu {

struct CollectiveLibrary {
  SharedLibrary library;
  ncclComm_t ranks = nullptr;
  int size = 0;
  char version[32] = "";
  decltype(&ncclGetVersion) get_version;
  decltype(&ncclGetErrorString) word_for;
  decltype(&ncclGetUniqueId) unique_id;
  decltype(&ncclCommInitRank) join;
  decltype(&ncclCommDestroy) leave;
  decltype(&ncclAllReduce) all_reduce;
  decltype(&ncclAllGather) all_gather;
  decltype(&ncclReduceScatter) reduce_scatter;
  decltype(&ncclBroadcast) broadcast;
  decltype(&ncclSend) send;
  decltype(&ncclRecv) receive;
  decltype(&ncclGroupStart) begin_group;
  decltype(&ncclGroupEnd) end_group;
};

namespace {

static_assert(sizeof(UniqueId) == sizeof(ncclUniqueId), "both are NCCL's 128 bytes");

bool bind_all(Context& context, CollectiveLibrary& l) {
  const SharedLibrary& from = l.library;
  return from.bind(context, l.get_version, "ncclGetVersion") &&
         from.bind(context, l.word_for, "ncclGetErrorString") &&
         from.bind(context, l.unique_id, "ncclGetUniqueId") &&
         from.bind(context, l.join, "ncclCommInitRank") &&
         from.bind(context, l.leave, "ncclCommDestroy") &&
         from.bind(context, l.all_reduce, "ncclAllReduce") &&
         from.bind(context, l.all_gather, "ncclAllGather") &&
         from.bind(context, l.reduce_scatter, "ncclReduceScatter") &&
         from.bind(context, l.broadcast, "ncclBroadcast") &&
         from.bind(context, l.send, "ncclSend") && from.bind(context, l.receive, "ncclRecv") &&
         from.bind(context, l.begin_group, "ncclGroupStart") &&
         from.bind(context, l.end_group, "ncclGroupEnd");
}

Code open_library(Context& context, CollectiveLibrary*& out) {
  out = context.libraries->collective;
  if (out != nullptr) return Code::Ok;
  CollectiveLibrary* l = new CollectiveLibrary;
  if (!l->library.open(context, "collectives", {"libnccl.so.2", "libnccl.so"}) ||
      !bind_all(context, *l)) {
    delete l;
    return Code::Unsupported;
  }
  int version = 0;
  l->get_version(&version);
  std::snprintf(l->version, sizeof l->version, "nccl %d.%d.%d", version / 10000,
                version / 100 % 100, version % 100);
  out = context.libraries->collective = l;
  return Code::Ok;
}

Code verdict(Context& context, const CollectiveLibrary& l, ncclResult_t result) {
  if (result == ncclSuccess) return Code::Ok;
  return refuse(context, Code::Device, "%s: %s", l.version, l.word_for(result));
}

ncclResult_t messages(const CollectiveLibrary& l, const Collective& op, ncclDataType_t type,
                      cudaStream_t stream) {
  const std::size_t count = static_cast<std::size_t>(op.count);
  const std::size_t bytes = count * static_cast<std::size_t>(bytes_of(op.type));
  ncclResult_t result = l.begin_group();
  const bool to_all = op.what == Exchange::AllToAll;
  for (int i = 0; i < (to_all ? l.size : 1) && result == ncclSuccess; ++i) {
    const int peer = to_all ? i : op.peer;
    const std::size_t at = to_all ? static_cast<std::size_t>(i) * bytes : 0;
    result = l.send(static_cast<const char*>(op.in) + at, count, type, peer, l.ranks, stream);
    if (result == ncclSuccess) {
      result = l.receive(static_cast<char*>(op.out) + at, count, type, peer, l.ranks, stream);
    }
  }
  const ncclResult_t ended = l.end_group();
  return result == ncclSuccess ? ended : result;
}

ncclResult_t start_op(const CollectiveLibrary& l, const Collective& op, cudaStream_t stream) {
  const ncclDataType_t type = op.type == Type::F32 ? ncclFloat32 : ncclBfloat16;
  const std::size_t count = static_cast<std::size_t>(op.count);
  switch (op.what) {
    case Exchange::AllReduce:
      return l.all_reduce(op.in, op.out, count, type, ncclSum, l.ranks, stream);
    case Exchange::AllGather:
      return l.all_gather(op.in, op.out, count, type, l.ranks, stream);
    case Exchange::ReduceScatter:
      return l.reduce_scatter(op.in, op.out, count, type, ncclSum, l.ranks, stream);
    case Exchange::Broadcast:
      return l.broadcast(op.in, op.out, count, type, op.peer, l.ranks, stream);
    case Exchange::AllToAll:
    case Exchange::SendReceive:
      return messages(l, op, type, stream);
  }
  return ncclInvalidArgument;
}

}  // namespace

void release(CollectiveLibrary* l) {
  if (l == nullptr) return;
  if (l->ranks != nullptr) l->leave(l->ranks);
  delete l;
}
const char* version_of(const CollectiveLibrary* l) { return l == nullptr ? "" : l->version; }

Code make_unique_id(Context& context, UniqueId& out) {
  CollectiveLibrary* l = nullptr;
  const Code opened = open_library(context, l);
  if (opened != Code::Ok) return opened;
  ncclUniqueId id;
  const Code code = verdict(context, *l, l->unique_id(&id));
  std::memcpy(&out, &id, sizeof id);
  return code;
}

Code join_ranks(Context& context, int ranks, int rank, const UniqueId& where) {
  CollectiveLibrary* l = nullptr;
  const Code opened = open_library(context, l);
  if (opened != Code::Ok) return opened;
  if (l->ranks != nullptr) l->leave(l->ranks);
  l->ranks = nullptr;
  ncclUniqueId id;
  std::memcpy(&id, &where, sizeof id);
  l->size = ranks;
  return verdict(context, *l, l->join(&l->ranks, ranks, id, rank));
}

Code run(Context& context, const Collective& op) {
  CollectiveLibrary* l = context.libraries->collective;
  if (l == nullptr || l->ranks == nullptr) {
    return refuse(context, Code::Invalid, "a collective before the ranks have joined");
  }
  return verdict(context, *l, start_op(*l, op, static_cast<cudaStream_t>(context.stream)));
}

}  // namespace narrows::gpu
