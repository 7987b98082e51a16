// SPDX-License-Identifier: Apache-2.0
#include "runtime/token_file.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/random.h"
#include "base/text.h"
#include "runtime/byte_file.h"
#include "runtime/portable.h"
#include "runtime/token_index.h"

namespace narrows {
namespace {

constexpr std::string_view kPortable = "portable:";

}  // namespace

struct TokenSource::Stream {
  DataOptions options;
  bool is_portable = false;
  std::uint64_t portable_seed = 0;
  ByteFile file;
  TokenIndex index;
  std::int64_t samples = 0;

  Status read_file(std::int64_t sample, std::span<std::int32_t> tokens) const;
  Status read_run(const TokenRun& run, std::int64_t skip, std::span<std::int32_t> out) const;
};

Status TokenSource::Stream::read_run(const TokenRun& run, std::int64_t skip,
                                     std::span<std::int32_t> out) const {
  const int width = bytes_of(index.type);
  std::vector<std::byte> raw(out.size() * static_cast<std::size_t>(width));
  TRY(file.read(run.byte + skip * width, raw));
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::int64_t token = decode(index.type, &raw[i * static_cast<std::size_t>(width)]);
    if (token < 0 || token >= options.vocabulary) {
      return invalid(
          fmt::format("{}: expected tokens below the model's vocabulary of {}, found {} "
                      "at token {}",
                      options.source, options.vocabulary, token,
                      run.first + skip + static_cast<std::int64_t>(i)));
    }
    out[i] = static_cast<std::int32_t>(token);
  }
  return {};
}

// A sample may span several runs (documents).
Status TokenSource::Stream::read_file(std::int64_t sample, std::span<std::int32_t> tokens) const {
  std::int64_t at = sample * options.sequence;
  std::size_t run = index.run_of(at);
  while (!tokens.empty()) {
    const TokenRun& here = index.runs[run++];
    const std::int64_t skip = at - here.first;
    const std::size_t part = std::min(tokens.size(), static_cast<std::size_t>(here.count - skip));
    TRY(read_run(here, skip, tokens.first(part)));
    tokens = tokens.subspan(part);
    at += static_cast<std::int64_t>(part);
  }
  return {};
}

TokenSource::TokenSource(std::unique_ptr<Stream> stream) : stream_(std::move(stream)) {}
TokenSource::TokenSource(TokenSource&&) noexcept = default;
TokenSource& TokenSource::operator=(TokenSource&&) noexcept = default;
TokenSource::~TokenSource() = default;

Result<TokenSource> TokenSource::open(const DataOptions& options) {
  std::unique_ptr<Stream> stream = std::make_unique<Stream>();
  stream->options = options;
  if (options.source.starts_with(kPortable)) {
    const std::string seed = options.source.substr(kPortable.size());
    const Result<double> parsed = parse_number(seed);
    const bool is_whole = parsed && *parsed >= 0 && *parsed < 9e15 &&
                          *parsed == static_cast<double>(static_cast<std::int64_t>(*parsed));
    if (!is_whole) {
      return invalid(
          fmt::format("expected portable:SEED with a whole number, found \"{}\"", options.source));
    }
    stream->is_portable = true;
    stream->portable_seed = static_cast<std::uint64_t>(*parsed);
    return TokenSource(std::move(stream));
  }
  stream->options.source = data_path(options.source);
  stream->file = TRY(ByteFile::open(stream->options.source));
  std::vector<std::byte> head(
      static_cast<std::size_t>(std::min<std::int64_t>(stream->file.size(), kTokenHeaderBytes)));
  TRY(stream->file.read(0, head));
  stream->index = TRY(index_tokens(stream->options.source, head, stream->file.size()));
  if (stream->index.is_text && options.vocabulary < 256) {
    return invalid(fmt::format("{}: text needs a vocabulary of 256 bytes, the model has {}",
                               options.source, options.vocabulary));
  }
  stream->samples = (stream->index.tokens - 1) / options.sequence;
  if (stream->samples < 1) {
    return invalid(fmt::format("{}: expected at least {} tokens for one sample, found {}",
                               options.source, options.sequence + 1, stream->index.tokens));
  }
  return TokenSource(std::move(stream));
}

Status TokenSource::read(std::int64_t step, std::int64_t row,
                         std::span<std::int32_t> tokens) const {
  const Stream& s = *stream_;
  ASSERT(std::ssize(tokens) == s.options.sequence + 1);
  if (s.is_portable) {
    fill(PortableRow{s.portable_seed, step, row, std::min(256, s.options.vocabulary)}, tokens);
    return {};
  }
  const std::int64_t n = step * s.options.global_batch + row;
  const std::uint64_t epoch = static_cast<std::uint64_t>(n / s.samples);
  return s.read_file(permuted(mix(s.options.seed) + epoch, s.samples, n % s.samples), tokens);
}

std::int64_t TokenSource::samples() const { return stream_->samples; }

std::string TokenSource::fingerprint() const {
  const Stream& s = *stream_;
  const std::string what = s.is_portable ? s.options.source
                                         : fmt::format("{} of {} tokens, order {}", s.index.kind,
                                                       s.index.tokens, s.options.seed);
  return fmt::format("{}, {} sequences of {} a step", what, s.options.global_batch,
                     s.options.sequence);
}

}  // namespace narrows
