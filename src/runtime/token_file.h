// The training's samples: which tokens row `row` of step `step` has. The answer depends on the
// source, the seed, step and row only, never on the layout: a resume at step s, also on another
// layout, sees what an undisturbed run would see.
//
// Sources, files recognised by content:
//   portable:SEED      the portable stream (portable.h)
//   llm.c              magic 20240520 (16-bit tokens) or 20240801 (32-bit)
//   Megatron           NAME.bin beside NAME.idx ("MMIDIDX"); documents one after another
//   anything else      raw text: a byte is a token
// A file is a stream of tokens cut into samples of `sequence` inputs, each with one token more, the
// last target. Sample number n of the training (n = step * global batch + row) belongs to epoch
// n / samples, and within an epoch samples come in an order that the seed and the epoch choose.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace narrows {

struct DataOptions {
  std::string source;  // "portable:1" or a path
  std::int64_t sequence = 1;
  std::int64_t global_batch = 1;
  int vocabulary = 256;
  std::uint64_t seed = 1;  // of the order
};

class TokenSource {
 public:
  // InvalidInput, NotFound or Io in one sentence: no such file, no tokens for one sample, a header
  // that contradicts the file, tokens outside of the vocabulary (for text: fewer than 256).
  static Result<TokenSource> open(const DataOptions& options);
  TokenSource(TokenSource&&) noexcept;
  TokenSource& operator=(TokenSource&&) noexcept;
  ~TokenSource();

  // sequence + 1 tokens into `tokens`: the inputs are all but the last, the targets all but the
  // first. Thread-safe. Io or InvalidInput where the file has changed or a token is outside of the
  // vocabulary.
  Status read(std::int64_t step, std::int64_t row, std::span<std::int32_t> tokens) const;

  // Samples of an epoch; 0 = endless.
  std::int64_t samples() const;
  // What identifies the source in a checkpoint: kind, length in tokens, sequence, batch, seed.
  std::string fingerprint() const;

 private:
  struct Stream;
  explicit TokenSource(std::unique_ptr<Stream> stream);
  std::unique_ptr<Stream> stream_;
};

}  // namespace narrows
