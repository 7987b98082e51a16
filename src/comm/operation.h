// A started verb: a program (program.h) and how far it has come. Its rank's CommProgress moves it
// on.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <vector>

#include "comm/communicator.h"
#include "comm/program.h"

namespace narrows {

struct Operation {
  const char* what = "";  // "all_reduce", for messages
  Communicator* group = nullptr;
  std::uint64_t tag = 0;
  Element element = Element::F32;
  Reduction how = Reduction::Sum;
  const void* in = nullptr;
  void* out = nullptr;
  CommProgram program;
  // Called at the end of the program; may install another (and its buffers) and returns whether it
  // did. For verbs whose second half depends on what the first brought.
  std::function<bool(Operation&)> then;

  // Below: how far it is. Guarded by the CommProgress's lock.
  std::vector<std::byte> scratch;
  std::size_t round = 0;  // index into program.rounds
  bool round_is_posted = false;
  std::size_t first_open = 0;                 // the first step of the round that is not done
  std::vector<Communicator::Ticket> tickets;  // of the round's steps
  std::vector<char> step_done;
  bool finished = false;
  Status status;
  std::int64_t moved_ns = 0;  // steady clock at the last step that was done

  // Moves on as far as possible without waiting; whether anything moved.
  bool advance();
  // Ends it with the error; what is posted is withdrawn.
  void fail(Error error);
  // The peer that is waited for: of the first message to come, else to leave; -1 if none.
  int awaited() const;

 private:
  void* at(const Region& region) const;
  void run_local(const Step& step);
  void post_round();
  Result<bool> try_step(const Step& step, std::size_t i);
  Result<bool> try_round();
  void next_program();
};

}  // namespace narrows
