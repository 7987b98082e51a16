// The tensors of a checkpoint and the files they lie in; for checkpoint.cc.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/communicator.h"
#include "runtime/tensor_part.h"

namespace narrows {

// All tensors of all ranks, ascending by name. InvalidInput where ranks disagree on a tensor or
// their parts do not cover it exactly (by count of elements). A collective.
Result<std::vector<TensorInfo>> gather_tensors(std::span<const TensorPart> parts,
                                               Communicator& comm);

struct TensorFile {
  std::string name;  // "model-00001-of-00002.safetensors"
  SafetensorsHeader header;
  std::string front;  // the header as bytes
  std::int64_t bytes = 0;
};
// The tensors in files of at most `limit` bytes, in order.
std::vector<TensorFile> files_for(const std::string& stem, std::vector<TensorInfo> tensors,
                                  std::int64_t limit);
// model.safetensors.index.json, as Hugging Face writes it.
std::string index_text(std::span<const TensorFile> files);

// Files of a folder or a single one, and where each tensor is. Opened lazily, by one thread.
class TensorStore {
 public:
  // `names`: the files, below `folder`. `written`: they are being written.
  static Result<TensorStore> open(const std::string& folder, std::span<const std::string> names);
  static TensorStore of(const std::string& folder, std::span<const TensorFile> files);

  Status read(const TensorPart& part);
  Status write(const TensorPart& part);
  Status sync();  // what was written

 private:
  struct Place {
    std::size_t file = 0;
    TensorInfo tensor;
  };
  Result<ByteFile*> file_of(std::size_t index, bool to_write);

  std::vector<std::string> paths_;
  std::vector<ByteFile> files_;
  std::vector<char> is_open_;
  std::map<std::string, Place, std::less<>> places_;
};

// A 64-bit checksum that any change of a byte changes with probability 1 - 2^-64 or so; of
// consecutive pieces by handing the last result on. Not for adversaries.
std::uint64_t checksum(std::span<const std::byte> bytes, std::uint64_t so_far = 0);

}  // namespace narrows
