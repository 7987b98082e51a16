// A Communicator is one rank's view of one group of ranks: collectives and messages among them.
// Ranks are threads of this process (thread_comm.h) or processes of an MPI job (mpi_world.h); the
// algorithms are the same, programs of sends and receives from program.h, so that they are executed
// as the plan names them and sum in a fixed order: the same bytes on every rank and in every run.
//
// Every verb has a form that starts it and returns a Request; the plain form waits. What a started
// verb reads must not change and what it writes must not be looked at before its Request is done.
// It proceeds while the caller computes. Members of a group start the verbs of that group in the
// same order; between groups there is no order to keep. Messages (send, receive) are matched by
// sender and tag, in the order in which each was started.
//
// A failure is an Error that names the rank to blame: one that ended with an error of its own, was
// killed, or has been silent (`alive`) for longer than the world's deadline. After the first error
// every verb of every rank fails with it; nothing hangs. Messages of unequal length at the two ends
// are InvalidInput.
//
// Threads: a Communicator and its Requests belong to the thread of their rank.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "comm/buffer.h"
#include "comm/program.h"
#include "comm/reduce.h"

namespace narrows {

struct Operation;    // the state of a started verb (operation.h)
class CommProgress;  // moves a rank's started verbs on (progress.h)

// A started verb. Default-constructed: one that is done. Destroying an unfinished one waits.
class Request {
 public:
  Request() = default;
  Request(Request&&) noexcept;
  Request& operator=(Request&&) noexcept;
  ~Request();

  // Whether `wait` would return at once.
  bool done();
  // Until done; the error that ended it. A second call returns the same.
  Status wait();

 private:
  friend class Communicator;
  explicit Request(std::unique_ptr<Operation> operation);  // starts it
  void finish();

  std::unique_ptr<Operation> operation_;
  Status result_;
};

class Communicator {
 public:
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  virtual ~Communicator();

  int rank() const { return rank_; }
  int size() const { return static_cast<int>(members_.size()); }
  // Who the members are in the world, in order of rank.
  std::span<const int> members() const { return members_; }

  // The algorithm of this group's collectives from now on. All members call it alike.
  void use(Algorithm algorithm) { algorithm_ = algorithm; }
  Algorithm algorithm() const { return algorithm_; }

  // data = the reduction of all members' data.
  Status all_reduce(Buffer data, Reduction how = Reduction::Sum);
  // out = piece `rank` of the reduction of all members' `in`. `counts` are the elements of the
  // pieces, in order of rank; empty: all have out.count. `out` may be this rank's piece of `in`;
  // the rest of `in` is left as it is or overwritten with partial sums (Ring, Hierarchical).
  Status reduce_scatter(Buffer in, Buffer out, std::span<const std::int64_t> counts = {},
                        Reduction how = Reduction::Sum);
  // out = all members' `in`, in order of rank; `counts` as above. `in` may be its place in `out`.
  Status all_gather(View in, Buffer out, std::span<const std::int64_t> counts = {});
  // Piece i of `in` goes to member i; out = what all sent here, in order of rank. Counts in
  // elements; every member knows what arrives.
  Status all_to_all(View in, std::span<const std::int64_t> sent, Buffer out,
                    std::span<const std::int64_t> received);
  // Equal pieces of in.count / size.
  Status all_to_all(View in, Buffer out);
  Status broadcast(Buffer data, int root);
  Status barrier();

  // `tag` from 0 to 65535. `send` returns when `data` may be overwritten, which can be as late as
  // the matching receive.
  Status send(View data, int to, int tag = 0);
  Status receive(Buffer data, int from, int tag = 0);

  Request start_all_reduce(Buffer data, Reduction how = Reduction::Sum);
  Request start_reduce_scatter(Buffer in, Buffer out, std::span<const std::int64_t> counts = {},
                               Reduction how = Reduction::Sum);
  Request start_all_gather(View in, Buffer out, std::span<const std::int64_t> counts = {});
  Request start_all_to_all(View in, std::span<const std::int64_t> sent, Buffer out,
                           std::span<const std::int64_t> received);
  Request start_broadcast(Buffer data, int root);
  Request start_barrier();
  Request start_send(View data, int to, int tag = 0);
  Request start_receive(Buffer data, int from, int tag = 0);

  // The members that call it with the same colour form a group, in order of (key, rank). A negative
  // colour: in none (null). A collective of this group.
  virtual Result<std::unique_ptr<Communicator>> split(int color, int key) = 0;

  // "I am computing, not hanging." Any verb says so too; call it at least once in a deadline.
  virtual void alive() = 0;

 protected:
  // Half of a message, posted; what it points to is the transport's.
  struct Ticket {
    void* at = nullptr;
  };

  Communicator(int rank, std::vector<int> members, Hierarchy nodes, CommProgress& progress);

  // What a transport provides; called under the lock of the rank's CommProgress. `into` is where a
  // receive may place its bytes.
  virtual Ticket post_send(int peer, std::uint64_t tag, const void* data, std::size_t bytes) = 0;
  virtual Ticket post_receive(int peer, std::uint64_t tag, void* into, std::size_t bytes) = 0;
  // Where the bytes of a receive are now, null while they are not: in `into` or, of a sender in the
  // same memory, at the sender's, who waits for `consumed`.
  virtual Result<const void*> arrived(Ticket receive) = 0;
  virtual void consumed(Ticket receive) = 0;
  // Whether the data of a send may be overwritten. True once: it ends the ticket.
  virtual Result<bool> sent(Ticket send) = 0;
  // Ends a ticket that will not be completed, because the world has failed.
  virtual void cancel(Ticket ticket, bool is_send) = 0;
  // The world's failure, or what is held against the peer for which `waiting` waits: that it has
  // ended, or has been silent for longer than the deadline. What the peer did before may not have
  // been looked at yet, so only CommProgress concludes from it.
  virtual Status health(const Operation& waiting, bool is_owner) = 0;
  // Ends the world with an error. The first counts, and is returned.
  virtual Error fail(const Error& error) = 0;

  // From now on what `arrived` shows may be written to, until `consumed`: it is the sender's own.
  void share_memory() { shares_memory_ = true; }

 private:
  friend struct Operation;
  friend class CommProgress;
  friend class Request;
  std::unique_ptr<Operation> operation(const char* what, View in, Buffer out);
  std::unique_ptr<Operation> message(const char* what, const Step& step, int tag);
  Site site() const;

  int rank_;
  std::vector<int> members_;
  Hierarchy nodes_;
  CommProgress& progress_;  // borrows the rank's
  Algorithm algorithm_ = Algorithm::Direct;
  std::uint64_t sequence_ = 0;
  bool shares_memory_ = false;
  bool waits_ = false;  // the verb that is being started is waited for at once
};

}  // namespace narrows
