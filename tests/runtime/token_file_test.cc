// SPDX-License-Identifier: Apache-2.0
#include "runtime/token_file.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <map>

#include "base/random.h"
#include "runtime/portable.h"
#include "runtime/scratch_folder.h"

using namespace narrows;
using namespace narrows::test;

namespace {

template <typename T>
void put(std::string& out, T value) {
  char raw[sizeof value];
  std::memcpy(raw, &value, sizeof value);
  out.append(raw, sizeof raw);
}

// An llm.c file of tokens 0, 1, 2, …; `promised` is what its header says.
template <typename T>
std::string llmc(std::int32_t magic, std::int32_t version, int tokens, int promised) {
  std::string out;
  put(out, magic);
  put(out, version);
  put<std::int32_t>(out, promised);
  out.resize(1024);
  for (int i = 0; i < tokens; ++i) put(out, static_cast<T>(i));
  return out;
}

// Megatron's index of documents that lie one after another, 16-bit tokens.
std::string megatron(const std::vector<std::int32_t>& lengths) {
  std::string out("MMIDIDX\0\0", 9);
  put<std::uint64_t>(out, 1);
  out.push_back(8);
  put<std::int64_t>(out, std::ssize(lengths));
  put<std::int64_t>(out, std::ssize(lengths) + 1);
  for (const std::int32_t length : lengths) put(out, length);
  std::int64_t byte = 0;
  for (const std::int32_t length : lengths) {
    put(out, byte);
    byte += 2 * length;
  }
  for (std::int64_t d = 0; d <= std::ssize(lengths); ++d) put(out, d);
  return out;
}

std::string numbers16(int count) {
  std::string out;
  for (int i = 0; i < count; ++i) put(out, static_cast<std::uint16_t>(i));
  return out;
}

DataOptions options_of(const std::string& path, std::int64_t sequence = 4) {
  return {.source = path, .sequence = sequence, .global_batch = 3, .vocabulary = 4096, .seed = 9};
}

std::vector<std::int32_t> sample(const TokenSource& source, std::int64_t step, std::int64_t row) {
  std::vector<std::int32_t> tokens(5);
  REQUIRE(source.read(step, row, tokens));
  return tokens;
}

// Over one epoch of a file that counts 0, 1, 2, …: each window of five once.
void expect_each_window_once(const TokenSource& source, std::int64_t samples) {
  CHECK(source.samples() == samples);
  std::map<int, int> begins;
  for (std::int64_t n = 0; n < samples; ++n) {
    const std::vector<std::int32_t> tokens = sample(source, n / 3, n % 3);
    for (int i = 1; i < 5; ++i) CHECK(tokens[i] == tokens[0] + i);
    ++begins[tokens[0]];
  }
  CHECK(std::ssize(begins) == samples);
  CHECK(begins.begin()->first == 0);
  CHECK(begins.rbegin()->first == 4 * (samples - 1));
}

std::string refusal(const DataOptions& options) {
  const Result<TokenSource> source = TokenSource::open(options);
  return source ? "accepted" : source.error().message;
}

}  // namespace

TEST_CASE("data: portable:SEED is the portable stream of step and row") {
  const TokenSource source = TokenSource::open(options_of("portable:11")).value();
  std::vector<std::int32_t> expected(5);
  fill(PortableRow{11, 2, 1, 256}, expected);
  CHECK(sample(source, 2, 1) == expected);
  CHECK(source.samples() == 0);
  CHECK(TokenSource::open(options_of("portable:0")));
}

TEST_CASE("data: a text file is its bytes") {
  const ScratchFolder folder;
  const std::string path = folder.write("book.txt", "Call");
  const TokenSource source =
      TokenSource::open({.source = path, .sequence = 3, .global_batch = 1}).value();
  std::vector<std::int32_t> tokens(4);
  REQUIRE(source.read(0, 0, tokens));
  CHECK(tokens == std::vector<std::int32_t>{'C', 'a', 'l', 'l'});
}

TEST_CASE("data: an epoch of each format holds every sample once") {
  const ScratchFolder folder;
  const auto open = [&](const std::string& path) {
    return TokenSource::open(options_of(path)).value();
  };
  expect_each_window_once(open(folder.write("a.bin", llmc<std::uint16_t>(20240520, 1, 90, 90))),
                          22);
  expect_each_window_once(open(folder.write("b.bin", llmc<std::uint32_t>(20240801, 7, 90, 90))),
                          22);
  folder.write("c.bin", numbers16(90));
  folder.write("c.idx", megatron({7, 0, 33, 50}));
  expect_each_window_once(open(folder.file("c.bin")), 22);
  expect_each_window_once(open(folder.file("c.idx")), 22);
  expect_each_window_once(open(folder.file("c")), 22);
}

TEST_CASE("data: Megatron documents are read in the index's order, across their borders") {
  const ScratchFolder folder;
  std::string index = megatron({3, 4});
  // Exchange the places of the two documents: 3 tokens at byte 8, 4 tokens at byte 0.
  const std::int64_t places[] = {8, 0};
  std::memcpy(index.data() + 34 + 8, places, sizeof places);
  folder.write("d.idx", index);
  folder.write("d.bin", numbers16(7));
  const TokenSource source = TokenSource::open(options_of(folder.file("d.bin"))).value();
  CHECK(sample(source, 0, 0) == std::vector<std::int32_t>{4, 5, 6, 0, 1});
}

TEST_CASE("data: the order depends on seed and epoch and on nothing else") {
  const ScratchFolder folder;
  const std::string path = folder.write("a.bin", llmc<std::uint16_t>(20240520, 1, 4001, 4001));
  const auto begins = [&](std::uint64_t seed, std::int64_t first_step) {
    DataOptions options = options_of(path);
    options.seed = seed;
    const TokenSource source = TokenSource::open(options).value();
    std::vector<int> all;
    for (std::int64_t step = first_step; step < first_step + 100; ++step) {
      for (std::int64_t row = 0; row < 3; ++row) all.push_back(sample(source, step, row)[0]);
    }
    return all;
  };
  const std::vector<int> whole = begins(9, 0);
  const std::vector<int> resumed = begins(9, 40);
  CHECK(std::equal(whole.begin() + 3 * 40, whole.end(), resumed.begin()));
  CHECK(begins(10, 0) != whole);
  CHECK(begins(9, 1000) != whole);  // 3,000 samples later: the fourth epoch
}

TEST_CASE("data: a file that contradicts itself is refused in one sentence") {
  const ScratchFolder folder;
  const auto said = [&](const std::string& name, const std::string& content) {
    const std::string message = refusal(options_of(folder.write(name, content)));
    return message.substr(message.find(name));
  };
  CHECK(said("a.bin", llmc<std::uint16_t>(20240520, 1, 90, 91)) ==
        "a.bin: its header promises 91 tokens and so 1206 bytes, found 1204 bytes");
  CHECK(said("a.bin", "no header at all") ==
        "a.bin: expected llm.c's header, or Megatron's .idx beside it, found neither");
  CHECK(said("a.txt", "abc") == "a.txt: expected at least 5 tokens for one sample, found 3");
  folder.write("c.idx", megatron({50}));
  CHECK(said("c.bin", numbers16(40)) ==
        "c.bin: sequence 0 of its index has 50 tokens at byte 0, the file has 80 bytes");
  folder.write("c.idx", megatron({50}).substr(0, 40));
  folder.write("c.bin", numbers16(50));
  CHECK(refusal(options_of(folder.file("c.bin"))) ==
        folder.file("c.idx") +
            ": its header promises 1 sequences and 2 documents, the file ends after 40 bytes");
  folder.write("c.idx", "something else of some length, at least 34 bytes");
  CHECK(refusal(options_of(folder.file("c.bin"))) ==
        folder.file("c.idx") + ": expected Megatron's index (\"MMIDIDX\"), found something else");
  CHECK(refusal(options_of(folder.file("none"))) == folder.file("none") + ": no such file");
  CHECK(refusal(options_of(folder.path())) == folder.path() + ": expected a file, found a folder");
  CHECK(refusal(options_of("portable:x")) ==
        "expected portable:SEED with a whole number, found \"portable:x\"");
}

TEST_CASE("data: an index with any bytes changed is read or refused, never trusted") {
  const ScratchFolder folder;
  const std::string good = megatron({7, 0, 33, 50});
  const std::string path = folder.write("c.bin", numbers16(90));
  Random random(11);
  int refused = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string bad = good;
    for (std::uint64_t n = random.below(3); n < 3; ++n) {
      bad[random.below(bad.size())] = static_cast<char>(random.below(256));
    }
    folder.write("c.idx", bad);
    const Result<TokenSource> source = TokenSource::open(options_of(path));
    refused += source ? 0 : 1;
    // What was accepted can be read, or says why a token cannot be.
    std::vector<std::int32_t> tokens(5);
    for (std::int64_t n = 0; source && n < source->samples(); ++n) {
      const Status read = source->read(n, 0, tokens);
      CHECK((read || !read.error().message.empty()));
    }
  }
  CHECK(refused > 500);
}

TEST_CASE("data: a token outside of the vocabulary is refused with its place") {
  const ScratchFolder folder;
  DataOptions options =
      options_of(folder.write("a.bin", llmc<std::uint16_t>(20240520, 1, 9, 9)), 8);
  options.vocabulary = 6;
  const TokenSource source = TokenSource::open(options).value();
  std::vector<std::int32_t> tokens(9);
  CHECK(source.read(0, 0, tokens).error().message ==
        folder.file("a.bin") +
            ": expected tokens below the model's vocabulary of 6, found 6 at token 6");
}

TEST_CASE("data: a file that is shortened while it is read is an error") {
  const ScratchFolder folder;
  const std::string path = folder.write("a.txt", "0123456789");
  const TokenSource source =
      TokenSource::open({.source = path, .sequence = 9, .global_batch = 1}).value();
  folder.write("a.txt", "0123");
  std::vector<std::int32_t> tokens(10);
  CHECK_THAT(source.read(0, 0, tokens).error().message, Catch::Contains("has been shortened"));
}
