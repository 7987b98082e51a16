// Collectives of two or more MPI processes in plain loops, to hold `narrows profile` against: the
// same bytes by MPI_Isend and MPI_Irecv of whole pieces, sums included ("messages"), and by MPI's
// own collectives ("library"). Knows nothing of narrows. Buffers are used again and again, as
// there. Prints lines of collective, way, bytes, and microseconds: what a tenth of the samples stay
// below, of the slowest process.
//
//   mpicxx -O3 -march=native mpi_loops.cc -o mpi_loops && mpirun -np 2 ./mpi_loops
//   [SAMPLES] [LARGEST]
//
// SPDX-License-Identifier: Apache-2.0
#include <mpi.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

namespace {

constexpr double kSample = 1e-3;  // seconds, at least

struct Site {
  int rank = 0, size = 1;
  std::vector<float> from, to, room;
};

// Pieces of `count` floats: what `send` gives for each peer arrives where `receive` says. Sends are
// posted first: a large piece that has been announced is copied within MPI_Irecv, so that whoever
// receives first keeps its peer waiting.
template <typename Send, typename Receive>
void exchange(const Site& s, int count, Send send, Receive receive) {
  std::vector<MPI_Request> open(static_cast<std::size_t>(2 * (s.size - 1)));
  std::size_t at = 0;
  for (int i = 1; i < s.size; ++i) {
    const int peer = (s.rank + i) % s.size;
    MPI_Isend(send(peer), count, MPI_FLOAT, peer, 0, MPI_COMM_WORLD, &open[at++]);
  }
  for (int i = 1; i < s.size; ++i) {
    const int peer = (s.rank + i) % s.size;
    MPI_Irecv(receive(peer), count, MPI_FLOAT, peer, 0, MPI_COMM_WORLD, &open[at++]);
  }
  MPI_Waitall(static_cast<int>(at), open.data(), MPI_STATUSES_IGNORE);
}

// Every process ends with the sum of its own piece in `own`.
void reduce_scatter(Site& s, float* in, float* own, int piece) {
  const auto room = [&](int peer) {
    return s.room.data() + static_cast<std::ptrdiff_t>(peer) * piece;
  };
  exchange(
      s, piece, [&](int peer) { return in + static_cast<std::ptrdiff_t>(peer) * piece; }, room);
  const float* sum = in + static_cast<std::ptrdiff_t>(s.rank) * piece;
  for (int peer = 0; peer < s.size; ++peer) {
    if (peer == s.rank) continue;
    const float* const from = room(peer);
    for (int i = 0; i < piece; ++i) own[i] = sum[i] + from[i];
    sum = own;
  }
}

void all_gather(Site& s, const float* own, float* out, int piece) {
  float* const mine = out + static_cast<std::ptrdiff_t>(s.rank) * piece;
  if (own != mine) std::copy_n(own, piece, mine);
  exchange(
      s, piece, [&](int) { return own; },
      [&](int peer) { return out + static_cast<std::ptrdiff_t>(peer) * piece; });
}

void all_to_all(Site& s, int piece) {
  const std::ptrdiff_t mine = static_cast<std::ptrdiff_t>(s.rank) * piece;
  std::copy_n(s.from.data() + mine, piece, s.to.data() + mine);
  exchange(
      s, piece, [&](int peer) { return s.from.data() + static_cast<std::ptrdiff_t>(peer) * piece; },
      [&](int peer) { return s.to.data() + static_cast<std::ptrdiff_t>(peer) * piece; });
}

struct Case {
  std::string what, way;
  int floats = 0;
  std::function<void()> run;
  int repeats = 1;
  std::vector<double> times;
};

void add_cases(Site& s, int floats, std::vector<Case>& cases) {
  const int piece = floats / s.size;
  float *const from = s.from.data(), *const to = s.to.data();
  cases.push_back({"all-reduce", "messages", floats, [&s, to, piece] {
                     float* const own = to + static_cast<std::ptrdiff_t>(s.rank) * piece;
                     reduce_scatter(s, to, own, piece);
                     all_gather(s, own, to, piece);
                   }});
  cases.push_back({"all-gather", "messages", floats,
                   [&s, from, to, piece] { all_gather(s, from, to, piece); }});
  cases.push_back({"reduce-scatter", "messages", floats,
                   [&s, from, to, piece] { reduce_scatter(s, from, to, piece); }});
  cases.push_back({"all-to-all", "messages", floats, [&s, piece] { all_to_all(s, piece); }});
  const MPI_Comm world = MPI_COMM_WORLD;
  cases.push_back({"all-reduce", "library", floats,
                   [=] { MPI_Allreduce(MPI_IN_PLACE, to, floats, MPI_FLOAT, MPI_SUM, world); }});
  cases.push_back({"all-gather", "library", floats,
                   [=] { MPI_Allgather(from, piece, MPI_FLOAT, to, piece, MPI_FLOAT, world); }});
  cases.push_back({"reduce-scatter", "library", floats,
                   [=] { MPI_Reduce_scatter_block(from, to, piece, MPI_FLOAT, MPI_SUM, world); }});
  cases.push_back({"all-to-all", "library", floats,
                   [=] { MPI_Alltoall(from, piece, MPI_FLOAT, to, piece, MPI_FLOAT, world); }});
}

// Seconds of one run, after one that brings memory back; the slowest process's. Sums would overflow
// in the end: they begin anew.
double sample(Site& s, Case& c) {
  std::fill(s.to.begin(), s.to.begin() + c.floats, 0.0f);
  c.run();
  MPI_Barrier(MPI_COMM_WORLD);
  const double begin = MPI_Wtime();
  for (int i = 0; i < c.repeats; ++i) c.run();
  double mine = (MPI_Wtime() - begin) / c.repeats, slowest = 0;
  MPI_Allreduce(&mine, &slowest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  return slowest;
}

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  Site site;
  MPI_Comm_rank(MPI_COMM_WORLD, &site.rank);
  MPI_Comm_size(MPI_COMM_WORLD, &site.size);
  const int samples = argc > 1 ? std::max(1, std::atoi(argv[1])) : 15;
  const int largest = (argc > 2 ? std::max(1024, std::atoi(argv[2])) : 16 << 20) / 4;
  for (std::vector<float>* memory : {&site.from, &site.to, &site.room}) {
    memory->assign(static_cast<std::size_t>(largest), 0.0f);
  }
  std::vector<Case> cases;
  for (int floats = 64; floats <= largest; floats *= 4)
    add_cases(site, floats / site.size * site.size, cases);
  for (Case& c : cases) {
    c.run();
    c.repeats = static_cast<int>(std::clamp(kSample / sample(site, c), 1.0, 1e4));
  }
  for (int round = 0; round < samples; ++round) {
    for (Case& c : cases) c.times.push_back(sample(site, c));
  }
  for (Case& c : cases) {
    std::sort(c.times.begin(), c.times.end());
    if (site.rank != 0) continue;
    std::printf("%s %s %d %.3f\n", c.what.c_str(), c.way.c_str(), 4 * c.floats,
                1e6 * c.times[c.times.size() / 10]);
  }
  MPI_Finalize();
}
