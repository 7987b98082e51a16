// DualPipe and DualPipeV: a forward of one direction (or chunk) is paired with a backward of the
// other. Both follow one eight-step recipe (deepseek2024, github.com/deepseek-ai/DualPipe) in which
// a rank's position is its distance from the end of the pipeline where micro-batches enter.
// SPDX-License-Identifier: Apache-2.0
#include <deque>

#include "schedule/families.h"

namespace narrows::families {

namespace {

// Writes one rank's program. Sides 0 and 1 are the two chunks in the rank's own view: side 0 is the
// one that is fed first. W runs the oldest weight gradient that was put off, of whichever side.
class DualRank {
 public:
  explicit DualRank(bool swapped) : swapped_(swapped) {}

  void forward(int side) { program_.push_back(families::forward(chunk(side), forwards_[side]++)); }
  void backward(int side) {
    program_.push_back(families::backward(chunk(side), backwards_[side]++));
  }
  void input_grad(int side) {
    put_off_.push_back(families::weight_grad(chunk(side), backwards_[side]));
    program_.push_back(families::input_grad(chunk(side), backwards_[side]++));
  }
  void weight_grad() {
    program_.push_back(put_off_.front());
    put_off_.pop_front();
  }
  // The forward of `side` overlapped with the backward of the other one.
  void pair(int side) {
    const int other = 1 - side;
    program_.push_back({.action = Action::Pair,
                        .chunk = chunk(side),
                        .micro_batch = forwards_[side]++,
                        .back_chunk = chunk(other),
                        .back_micro_batch = backwards_[other]++});
  }
  Program take() { return std::move(program_); }

 private:
  int chunk(int side) const { return swapped_ ? 1 - side : side; }

  bool swapped_;
  int forwards_[2] = {};
  int backwards_[2] = {};
  std::deque<Instruction> put_off_;
  Program program_;
};

struct Position {
  int half = 1;      // ranks on one arm: p/2, or all of a V
  int place = 0;     // 0 at the open end, half-1 at the middle or fold
  int per_side = 2;  // micro-batches of each side
};

void fill(DualRank& rank, Position at) {
  const int outside = at.half - at.place - 1;  // ranks between this one and the middle
  for (int i = 0; i < 2 * outside; ++i) rank.forward(0);
  for (int i = 0; i <= at.place; ++i) {
    rank.forward(0);
    rank.forward(1);
  }
  for (int i = 0; i < outside; ++i) {
    rank.input_grad(1);
    rank.weight_grad();
    rank.forward(1);
  }
}

// The middle rank's first pair runs apart: its backward waits for a forward that has only just
// left.
void steady(DualRank& rank, Position at) {
  const bool middle = at.place == at.half - 1;
  for (int i = 0; i < at.per_side - 2 * at.half + at.place + 1; ++i) {
    if (i == 0 && middle) {
      rank.forward(0);
      rank.backward(1);
    } else {
      rank.pair(0);
    }
    rank.pair(1);
  }
}

// Half-way through the last backwards the weight gradients are put off, so that the gradients leave
// earlier.
void drain(DualRank& rank, Position at) {
  const int outside = at.half - at.place - 1;
  for (int i = 0; i < outside; ++i) {
    rank.backward(1);
    rank.pair(1);
  }
  const int whole = at.place + 1;  // backwards that stay whole, of the 2 (place + 1) in this phase
  for (int i = 0; i < 2 * (at.place + 1); ++i) {
    const int side = i % 2 == 0 ? 1 : 0;
    if (i < whole) {
      rank.backward(side);
    } else {
      rank.input_grad(side);
    }
  }
  for (int i = 0; i < outside; ++i) {
    rank.weight_grad();
    rank.input_grad(0);
  }
  for (int i = 0; i <= at.place; ++i) rank.weight_grad();
}

Program dual(DualRank rank, Position at) {
  fill(rank, at);
  steady(rank, at);
  drain(rank, at);
  return rank.take();
}

}  // namespace

// Chunk 0 is direction 0 and chunk 1 direction 1; the second half of the ranks sees them the other
// way round.
Program dual_pipe(Sizes sizes, int rank) {
  const int p = sizes.ranks;
  const bool second_half = rank >= p / 2;
  return dual(DualRank(second_half), {.half = p / 2,
                                      .place = second_half ? p - 1 - rank : rank,
                                      .per_side = sizes.micro_batches / 2});
}

Program dual_pipe_v(Sizes sizes, int rank) {
  return dual(DualRank(false),
              {.half = sizes.ranks, .place = rank, .per_side = sizes.micro_batches});
}

}  // namespace narrows::families
