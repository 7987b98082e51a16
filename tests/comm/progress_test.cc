// SPDX-License-Identifier: Apache-2.0
#include "comm/progress.h"

#include <catch2/catch.hpp>

#include "comm/communicator.h"
#include "comm/operation.h"

using namespace narrows;

namespace {

const std::vector<int> kBoth = {0, 1};

// A peer that says nothing until it is asked for, and then has ended: with its message taken, or
// not.
class LastWords final : public Communicator {
 public:
  LastWords(CommProgress& progress, bool takes)
      : Communicator(0, kBoth, hierarchy_of(kBoth, 2), progress), takes_(takes) {}
  Result<std::unique_ptr<Communicator>> split(int, int) override { return nullptr; }
  void alive() override {}
  bool has_failed = false;

 protected:
  Ticket post_send(int, std::uint64_t, const void*, std::size_t) override { return {}; }
  Ticket post_receive(int, std::uint64_t, void*, std::size_t) override { return {}; }
  Result<const void*> arrived(Ticket) override { return nullptr; }
  void consumed(Ticket) override {}
  Result<bool> sent(Ticket) override { return has_ended_ && takes_; }
  void cancel(Ticket, bool) override {}
  Status health(const Operation&, bool) override {
    has_ended_ = true;
    return tl::unexpected<Error>(Error{ErrorCode::Device, "rank 1 has ended"});
  }
  Error fail(const Error& error) override {
    has_failed = true;
    return error;
  }

 private:
  bool takes_;
  bool has_ended_ = false;
};

}  // namespace

TEST_CASE("progress: a rank that takes its last message and ends is not to blame") {
  CommProgress progress([](int, bool) {});
  LastWords comm(progress, true);
  const std::vector<float> data = {1};
  CHECK(comm.send(data, 1).has_value());
  CHECK_FALSE(comm.has_failed);
}

TEST_CASE("progress: a rank that ends without taking the message is to blame") {
  CommProgress progress([](int, bool) {});
  LastWords comm(progress, false);
  const std::vector<float> data = {1};
  const Status sent = comm.send(data, 1);
  REQUIRE_FALSE(sent.has_value());
  CHECK(sent.error().message == "rank 1 has ended");
  CHECK(comm.has_failed);
}
