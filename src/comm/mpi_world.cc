// SPDX-License-Identifier: Apache-2.0
#include "comm/mpi_world.h"

#include <cstdlib>

#ifdef NARROWS_MPI

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "comm/mpi_comm.h"

namespace narrows {
namespace {

constexpr int kBeatTag = 1;
constexpr int kFailureTag = 2;
constexpr std::int64_t kBeatEvery = 500'000'000;  // nanoseconds
constexpr int kSpins = 100;
constexpr int kYields = 1000;

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

MpiWorld::State::State(const MpiWorldOptions& given)
    : options(given), progress([](int spins, bool is_owner) { idle(spins, is_owner); }) {}

bool MpiWorld::State::is_beat_due() const { return mpi_now_ns() - beaten_ns >= kBeatEvery; }

// A beat that finds no buffer is as good as one that is late: these are small and sent eagerly.
void MpiWorld::State::beat() {
  if (!is_beat_due()) return;
  beaten_ns = mpi_now_ns();
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
    heard_ns[static_cast<std::size_t>(status.MPI_SOURCE)] = mpi_now_ns();
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
  state->heard_ns.assign(static_cast<std::size_t>(state->size), mpi_now_ns());
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
  return mpi_communicator(*state_, MPI_COMM_WORLD, state_->rank, std::move(members));
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
