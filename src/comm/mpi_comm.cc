// SPDX-License-Identifier: Apache-2.0
#ifdef NARROWS_MPI

#include "comm/mpi_comm.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "base/large_memory.h"
#include "comm/operation.h"

namespace narrows {
namespace {

constexpr std::int64_t kLookEvery = 20'000'000;  // nanoseconds
constexpr std::uint64_t kTags = 1u << 30;        // Open MPI's and MPICH's upper bounds are above

// Half of a message.
struct Half {
  MPI_Request request = MPI_REQUEST_NULL;
  int peer = 0;  // in the world
  void* into = nullptr;
  std::size_t bytes = 0;
  LargeVector<std::byte> room;  // where a reduction's contribution arrives
  bool is_here = false;
};

Half& half_of(void* at) { return *static_cast<Half*>(at); }

// Halves that wait to be used again, so that nothing is allocated in the steady state: those with
// room stand apart.
class Halves {
 public:
  Half* take(std::size_t room) {
    std::vector<std::unique_ptr<Half>>& from = room > 0 ? roomy_ : plain_;
    std::unique_ptr<Half> half = from.empty() ? std::make_unique<Half>() : std::move(from.back());
    if (!from.empty()) from.pop_back();
    if (half->room.size() < room) half->room = LargeVector<std::byte>(room);
    half->request = MPI_REQUEST_NULL;
    half->is_here = false;
    return half.release();
  }
  void give_back(Half* half) {
    (half->room.empty() ? plain_ : roomy_).push_back(std::unique_ptr<Half>(half));
  }

 private:
  std::vector<std::unique_ptr<Half>> plain_, roomy_;
};

class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator(MpiWorld::State& world, MPI_Comm comm, int rank, std::vector<int> members)
      : Communicator(rank, members, hierarchy_of(members, ranks_per_node(world.options.levels)),
                     world.progress),
        world_(world),
        comm_(comm) {}
  ~MpiCommunicator() override {
    if (comm_ != MPI_COMM_WORLD) world_.progress.exclusively([this] { MPI_Comm_free(&comm_); });
  }

  Result<std::unique_ptr<Communicator>> split(int color, int key) override;
  void alive() override {
    if (!world_.is_beat_due()) return;
    world_.progress.exclusively([this] { world_.beat(); });
  }

 protected:
  Ticket post_send(int peer, std::uint64_t tag, const void* data, std::size_t bytes) override;
  Ticket post_receive(int peer, std::uint64_t tag, void* into, std::size_t bytes) override;
  Result<const void*> arrived(Ticket receive) override;
  void consumed(Ticket receive) override;
  Result<bool> sent(Ticket send) override;
  void cancel(Ticket ticket, bool is_send) override;
  Status health(const Operation& waiting, bool is_owner) override;
  Error fail(const Error& error) override;

 private:
  MpiWorld::State& world_;  // borrows
  MPI_Comm comm_;
  Halves halves_;
};

int count_of(std::size_t bytes) {
  ASSERT(bytes <= static_cast<std::size_t>(std::numeric_limits<int>::max()));
  return static_cast<int>(bytes);
}

Communicator::Ticket MpiCommunicator::post_send(int peer, std::uint64_t tag, const void* data,
                                                std::size_t bytes) {
  Half* const half = halves_.take(0);
  MPI_Isend(data, count_of(bytes), MPI_BYTE, peer, static_cast<int>(tag % kTags), comm_,
            &half->request);
  return {half};
}

Communicator::Ticket MpiCommunicator::post_receive(int peer, std::uint64_t tag, void* into,
                                                   std::size_t bytes) {
  Half* const half = halves_.take(into == nullptr ? std::max<std::size_t>(1, bytes) : 0);
  half->into = into != nullptr ? into : half->room.data();
  half->bytes = bytes;
  half->peer = members()[static_cast<std::size_t>(peer)];
  MPI_Irecv(half->into, count_of(bytes), MPI_BYTE, peer, static_cast<int>(tag % kTags), comm_,
            &half->request);
  return {half};
}

Result<const void*> MpiCommunicator::arrived(Ticket receive) {
  Half& half = half_of(receive.at);
  if (half.is_here) return half.into;
  int flag = 0;
  MPI_Status status;
  status.MPI_ERROR = MPI_SUCCESS;
  const int failed = MPI_Test(&half.request, &flag, &status);
  int length = 0;
  if (failed == MPI_SUCCESS && !flag) return nullptr;
  if (failed == MPI_SUCCESS) MPI_Get_count(&status, MPI_BYTE, &length);
  if (failed != MPI_SUCCESS || static_cast<std::size_t>(length) != half.bytes) {
    const std::string found =
        failed == MPI_SUCCESS ? fmt::format("{} bytes", length) : std::string("more");
    const Error error{ErrorCode::InvalidInput,
                      fmt::format("rank {} sends {} where rank {} expects {} bytes", half.peer,
                                  found, world_.rank, half.bytes)};
    world_.fail(error);
    return tl::unexpected<Error>(error);
  }
  half.is_here = true;
  return half.into;
}

void MpiCommunicator::consumed(Ticket receive) { halves_.give_back(&half_of(receive.at)); }

Result<bool> MpiCommunicator::sent(Ticket send) {
  Half& half = half_of(send.at);
  int flag = 0;
  MPI_Test(&half.request, &flag, MPI_STATUS_IGNORE);
  if (flag) halves_.give_back(&half);
  return flag != 0;
}

// The job ends; what MPI may still write to stays reserved.
void MpiCommunicator::cancel(Ticket ticket, bool) {
  Half& half = half_of(ticket.at);
  if (half.request != MPI_REQUEST_NULL) {
    MPI_Cancel(&half.request);
    MPI_Request_free(&half.request);
    return;
  }
  halves_.give_back(&half);
}

Status MpiCommunicator::health(const Operation& waiting, bool is_owner) {
  if (world_.failure) return tl::unexpected<Error>(*world_.failure);
  const std::int64_t now = mpi_now_ns();
  if (now - world_.looked_ns < kLookEvery) return {};
  world_.looked_ns = now;
  if (is_owner) world_.beat();
  world_.hear();
  const int peer = waiting.awaited();
  if (!world_.failure && peer >= 0) {
    const int other = members()[static_cast<std::size_t>(peer)];
    const std::int64_t silence = now - world_.heard_ns[static_cast<std::size_t>(other)];
    if (other != world_.rank && silence > round_up(world_.options.silence).ns) {
      return tl::unexpected<Error>(
          Error{ErrorCode::Device,
                fmt::format("rank {} has been silent for {} s, rank {} waits for it in {}", other,
                            silence / 1'000'000'000, world_.rank, waiting.what)});
    }
  }
  if (world_.failure) return tl::unexpected<Error>(*world_.failure);
  return {};
}

Error MpiCommunicator::fail(const Error& error) {
  world_.fail(error);
  return *world_.failure;
}

Result<std::unique_ptr<Communicator>> MpiCommunicator::split(int color, int key) {
  TRY(barrier());  // so that a rank that has failed is noticed here and not inside of MPI
  MPI_Comm made = MPI_COMM_NULL;
  int rank_there = 0;
  std::vector<int> of_world;
  world_.progress.exclusively([&] {
    MPI_Comm_split(comm_, color < 0 ? MPI_UNDEFINED : color, key, &made);
    if (made == MPI_COMM_NULL) return;
    int size_there = 0;
    MPI_Comm_rank(made, &rank_there);
    MPI_Comm_size(made, &size_there);
    std::vector<int> theirs(static_cast<std::size_t>(size_there));
    for (int i = 0; i < size_there; ++i) theirs[static_cast<std::size_t>(i)] = i;
    of_world.resize(theirs.size());
    MPI_Group there, world;
    MPI_Comm_group(made, &there);
    MPI_Comm_group(MPI_COMM_WORLD, &world);
    MPI_Group_translate_ranks(there, size_there, theirs.data(), world, of_world.data());
    MPI_Group_free(&there);
    MPI_Group_free(&world);
  });
  if (made == MPI_COMM_NULL) return nullptr;
  return std::make_unique<MpiCommunicator>(world_, made, rank_there, std::move(of_world));
}

}  // namespace

std::int64_t mpi_now_ns() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

std::unique_ptr<Communicator> mpi_communicator(MpiWorld::State& world, MPI_Comm comm, int rank,
                                               std::vector<int> members) {
  return std::make_unique<MpiCommunicator>(world, comm, rank, std::move(members));
}

}  // namespace narrows

#endif
