// One rank of an MPI job that tests the Communicator: run by ctest under mpirun.
//
//   mpi_ranks verbs   every verb and algorithm against brute force
//   mpi_ranks rate    how long 4 MiB take from rank 0 to rank 1
//   mpi_ranks fail    rank 1 ends with an error: the others' error names it
//   mpi_ranks hang    rank 1 stops: the others' error names it within seconds
// SPDX-License-Identifier: Apache-2.0
#include <signal.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "comm/mpi_world.h"
#include "comm/verbs.h"

using namespace narrows;
using namespace narrows::test;

namespace {

Status check_overlap(Communicator& comm) {
  std::vector<float> a = values(comm.rank(), 100'000);
  std::vector<float> b = values(comm.rank(), 100'000);
  Request one = comm.start_all_reduce(a);
  Request two = comm.start_all_reduce(b);
  TRY(two.wait());
  TRY(one.wait());
  return a == sums(comm.size(), 100'000) && b == a ? Status() : invalid("wrong sums");
}

Status measure_rate(Communicator& comm) {
  std::vector<float> data(1 << 20), reply(1);
  for (int round = 0; round < 3; ++round) {
    TRY(comm.barrier());
    const auto begin = std::chrono::steady_clock::now();
    if (comm.rank() == 0) {
      TRY(comm.send(data, 1));
      TRY(comm.receive(reply, 1));
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
      std::printf("4 MiB took %.2f ms\n", 1e3 * took.count());
    } else if (comm.rank() == 1) {
      TRY(comm.receive(data, 0));
      TRY(comm.send(reply, 0));
    }
  }
  return {};
}

Status work(const std::string& what, Communicator& comm) {
  if (what == "verbs") {
    for (const Algorithm algorithm : kAlgorithms) {
      comm.use(algorithm);
      TRY(check_everything(comm));
      TRY(check_overlap(comm));
    }
    const std::unique_ptr<Communicator> half = TRY(comm.split(comm.rank() % 2, -comm.rank()));
    return check_everything(*half);
  }
  if (what == "rate") return measure_rate(comm);
  if (what == "fail" && comm.rank() == 1) return io_error("disk on fire");
  if (what == "hang" && comm.rank() == 1) ::raise(SIGSTOP);
  for (;;) TRY(comm.barrier());
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "verbs";
  Result<std::unique_ptr<MpiWorld>> opened =
      MpiWorld::open({.levels = {{"node", 2, {}, {}}, {"fabric", 64, {}, {}}}, .silence = 2 * sec});
  if (!opened) {
    std::fprintf(stderr, "%s\n", opened.error().message.c_str());
    return 1;
  }
  MpiWorld& world = **opened;
  Status status;
  {
    const std::unique_ptr<Communicator> comm = world.communicator();
    status = work(what, *comm);
  }
  if (status) {
    if (what == "verbs" && world.rank() == 0) std::printf("all verbs agree with brute force\n");
    return 0;
  }
  if (!status.error().message.starts_with("rank ")) world.fail(status.error());
  const std::string prefix = status.error().message.starts_with("rank ")
                                 ? ""
                                 : "rank " + std::to_string(world.rank()) + ": ";
  if (world.speaks())
    std::fprintf(stderr, "%s%s\n", prefix.c_str(), status.error().message.c_str());
  std::_Exit(1);
}
