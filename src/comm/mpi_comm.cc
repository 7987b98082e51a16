// SPDX-License-Identifier: Apache-2.0
#include "comm/mpi_comm.h"

#include <cstdlib>

#ifdef NARROWS_MPI

#include <fmt/format.h>
#include <mpi.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <optional>
#include <thread>

#include "comm/operation.h"
#include "comm/progress.h"

namespace narrows {
namespace {

constexpr int kBeatTag = 1;
constexpr int kFailureTag = 2;
constexpr std::int64_t kBeatEvery = 500'000'000;  // nanoseconds
constexpr std::int64_t kLookEvery = 20'000'000;
constexpr int kSpins = 100;
constexpr int kYields = 1000;
constexpr std::uint64_t kTags = 1u << 30;  // Open MPI's and MPICH's upper bounds are above

std::int64_t now_ns() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

// The processes of one core take turns; after a while waiting costs little.
void idle(int spins, bool is_owner) {
  if (is_owner && spins < kSpins) return;
  if (is_owner && spins < kYields) {
    sched_yield();
    return;
  }
  std::this_thread::sleep_for(std::chrono::microseconds(50));
}

}  // namespace

// What the rank's groups share. Every call of MPI is made under the lock of `progress`.
struct MpiWorld::State {
  explicit State(const MpiWorldOptions& given)
      : options(given), progress([](int spins, bool is_owner) { idle(spins, is_owner); }) {}

  void beat(bool at_once = false);
  void hear();  // beats and failures of the others
  void fail(const Error& error);

  MpiWorldOptions options;
  int rank = 0;
  int size = 1;
  MPI_Comm beats = MPI_COMM_NULL;
  std::int64_t beaten_ns = 0;
  std::int64_t looked_ns = 0;
  std::vector<std::int64_t> heard_ns;  // by rank
  std::optional<Error> failure;
  int first_to_fail = std::numeric_limits<int>::max();  // the lowest of those that found it
  CommProgress progress;                                // last: its thread uses what stands above
};

// A beat that finds no buffer is as good as one that is late: these are small and sent eagerly.
void MpiWorld::State::beat(bool at_once) {
  const std::int64_t now = now_ns();
  if (!at_once && now - beaten_ns < kBeatEvery) return;
  beaten_ns = now;
  for (int peer = 0; peer < size; ++peer) {
    if (peer == rank) continue;
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Isend(nullptr, 0, MPI_BYTE, peer, kBeatTag, beats, &request);
    MPI_Request_free(&request);
  }
}

void MpiWorld::State::hear() {
  for (;;) {
    int is_there = 0;
    MPI_Status status;
    MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, beats, &is_there, &status);
    if (!is_there) return;
    int length = 0;
    MPI_Get_count(&status, MPI_BYTE, &length);
    std::string text(static_cast<std::size_t>(length), ' ');
    MPI_Recv(text.data(), length, MPI_BYTE, status.MPI_SOURCE, status.MPI_TAG, beats,
             MPI_STATUS_IGNORE);
    heard_ns[static_cast<std::size_t>(status.MPI_SOURCE)] = now_ns();
    if (status.MPI_TAG != kFailureTag) continue;
    if (!failure) failure = Error{ErrorCode::Device, text};
    first_to_fail = std::min(first_to_fail, status.MPI_SOURCE);
  }
}

void MpiWorld::State::fail(const Error& error) {
  if (failure) return;
  failure = error;
  first_to_fail = rank;
  for (int peer = 0; peer < size; ++peer) {
    if (peer == rank) continue;
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Isend(failure->message.data(), static_cast<int>(failure->message.size()), MPI_BYTE, peer,
              kFailureTag, beats, &request);
    MPI_Request_free(&request);
  }
}

namespace {

class MpiCommunicator final : public Communicator {
 public:
  // Owns `comm` unless it is the world's.
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
    if (now_ns() - world_.beaten_ns < kBeatEvery) return;
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

 private:
  MpiWorld::State& world_;  // borrows
  MPI_Comm comm_;
};

// Half of a message. `room` is where a reduction's contribution arrives.
struct Half {
  MPI_Request request = MPI_REQUEST_NULL;
  int peer = 0;  // in the world
  void* into = nullptr;
  std::size_t bytes = 0;
  std::vector<std::byte> room;
  bool is_here = false;
};

Half& half_of(void* at) { return *static_cast<Half*>(at); }

int count_of(std::size_t bytes) {
  ASSERT(bytes <= static_cast<std::size_t>(std::numeric_limits<int>::max()));
  return static_cast<int>(bytes);
}

Communicator::Ticket MpiCommunicator::post_send(int peer, std::uint64_t tag, const void* data,
                                                std::size_t bytes) {
  std::unique_ptr<Half> half = std::make_unique<Half>();
  MPI_Isend(data, count_of(bytes), MPI_BYTE, peer, static_cast<int>(tag % kTags), comm_,
            &half->request);
  return {half.release()};
}

Communicator::Ticket MpiCommunicator::post_receive(int peer, std::uint64_t tag, void* into,
                                                   std::size_t bytes) {
  std::unique_ptr<Half> half = std::make_unique<Half>();
  if (into == nullptr) half->room.resize(std::max<std::size_t>(1, bytes));
  half->into = into != nullptr ? into : half->room.data();
  half->bytes = bytes;
  half->peer = members()[static_cast<std::size_t>(peer)];
  MPI_Irecv(half->into, count_of(bytes), MPI_BYTE, peer, static_cast<int>(tag % kTags), comm_,
            &half->request);
  return {half.release()};
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

void MpiCommunicator::consumed(Ticket receive) { delete &half_of(receive.at); }

Result<bool> MpiCommunicator::sent(Ticket send) {
  Half& half = half_of(send.at);
  int flag = 0;
  MPI_Test(&half.request, &flag, MPI_STATUS_IGNORE);
  if (flag) delete &half;
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
  delete &half;
}

Status MpiCommunicator::health(const Operation& waiting, bool is_owner) {
  if (world_.failure) return tl::unexpected<Error>(*world_.failure);
  const std::int64_t now = now_ns();
  if (now - world_.looked_ns < kLookEvery) return {};
  world_.looked_ns = now;
  if (is_owner) world_.beat();
  world_.hear();
  const int peer = waiting.awaited();
  if (!world_.failure && peer >= 0) {
    const int other = members()[static_cast<std::size_t>(peer)];
    const std::int64_t silence = now - world_.heard_ns[static_cast<std::size_t>(other)];
    if (other != world_.rank && silence > round_up(world_.options.silence).ns) {
      world_.fail({ErrorCode::Device,
                   fmt::format("rank {} has been silent for {} s, rank {} waits for it in {}",
                               other, silence / 1'000'000'000, world_.rank, waiting.what)});
    }
  }
  if (world_.failure) return tl::unexpected<Error>(*world_.failure);
  return {};
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

Result<std::unique_ptr<MpiWorld>> MpiWorld::open(const MpiWorldOptions& options) {
  int level = MPI_THREAD_SINGLE;
  if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &level) != MPI_SUCCESS) {
    return tl::unexpected<Error>(Error{ErrorCode::Device, "MPI does not start"});
  }
  if (level < MPI_THREAD_SERIALIZED) {
    return unsupported("this MPI cannot be called from two threads in turn");
  }
  std::unique_ptr<State> state = std::make_unique<State>(options);
  MPI_Comm_rank(MPI_COMM_WORLD, &state->rank);
  MPI_Comm_size(MPI_COMM_WORLD, &state->size);
  MPI_Comm_dup(MPI_COMM_WORLD, &state->beats);
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  MPI_Comm_set_errhandler(state->beats, MPI_ERRORS_RETURN);
  state->heard_ns.assign(static_cast<std::size_t>(state->size), now_ns());
  return std::unique_ptr<MpiWorld>(new MpiWorld(std::move(state)));
}

// Beats that nobody has read would be left to MPI_Finalize: all stop beating, then read.
MpiWorld::~MpiWorld() {
  MPI_Barrier(MPI_COMM_WORLD);
  state_->hear();
  MPI_Comm_free(&state_->beats);
  MPI_Finalize();
}

std::unique_ptr<Communicator> MpiWorld::communicator() {
  std::vector<int> members(static_cast<std::size_t>(state_->size));
  for (std::size_t i = 0; i < members.size(); ++i) members[i] = static_cast<int>(i);
  return std::make_unique<MpiCommunicator>(*state_, MPI_COMM_WORLD, state_->rank,
                                           std::move(members));
}

void MpiWorld::fail(const Error& error) {
  state_->progress.exclusively(
      [&] { state_->fail(error.within(fmt::format("rank {}", state_->rank))); });
}

bool MpiWorld::speaks() {
  for (int i = 0; i < 20; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    state_->progress.exclusively([this] { state_->hear(); });
  }
  if (state_->first_to_fail == state_->rank) return true;
  std::this_thread::sleep_for(std::chrono::seconds(1));
  return false;
}

}  // namespace narrows

#else

namespace narrows {

struct MpiWorld::State {
  int rank = 0;
  int size = 1;
};

Result<std::unique_ptr<MpiWorld>> MpiWorld::open(const MpiWorldOptions&) {
  return unsupported("this narrows was built without MPI: its ranks are threads");
}
MpiWorld::~MpiWorld() = default;
std::unique_ptr<Communicator> MpiWorld::communicator() { return nullptr; }
void MpiWorld::fail(const Error&) {}
bool MpiWorld::speaks() { return true; }

}  // namespace narrows

#endif

namespace narrows {

MpiWorld::MpiWorld(std::unique_ptr<State> state) : state_(std::move(state)) {}

int MpiWorld::rank() const { return state_->rank; }

int MpiWorld::size() const { return state_->size; }

bool MpiWorld::is_launched() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"}) {
    if (std::getenv(name) != nullptr) return true;
  }
  return false;
}

int MpiWorld::launched_size() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS"}) {
    if (const char* size = std::getenv(name)) return std::max(1, std::atoi(size));
  }
  return 1;
}

int MpiWorld::launched_rank() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"}) {
    if (const char* rank = std::getenv(name)) return std::atoi(rank);
  }
  return 0;
}

}  // namespace narrows
