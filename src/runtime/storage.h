// Memory of tensors. A rank's pool hands out arrays and takes them back when their Storage dies, so
// that in the steady state nothing is asked of the system; it counts what is out, and the most that
// ever was.
//
// Threads: a pool and its arrays belong to the thread of their rank.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "base/large_memory.h"
#include "base/units.h"

namespace narrows {

class StoragePool;

// How a matrix lies in memory: as floats, which is how ops see it, or narrower while it waits for
// one: bf16 (kernels/bf16.h), or E4M3 codes and a scale for every 128 of a row (kernels/fp8.h).
enum class Form { F32, Bf16, Fp8 };

// A matrix of floats, row-major; empty when default-constructed or released. Moves only.
class Storage {
 public:
  Storage() = default;
  Storage(Storage&& other) noexcept { *this = std::move(other); }
  Storage& operator=(Storage&& other) noexcept;
  ~Storage() { release(); }

  // The floats; only in that form.
  float* data();
  const float* data() const;
  Form form() const { return form_; }
  // What it holds in whichever form: bf16, or codes followed by scales at a multiple of 4 bytes.
  void* memory() { return data_; }
  const void* memory() const { return data_; }
  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }
  std::int64_t count() const { return rows_ * columns_; }
  // Whether it holds a matrix (one without rows counts).
  bool held() const { return pool_ != nullptr; }
  void release();

 private:
  friend class StoragePool;
  StoragePool* pool_ = nullptr;  // borrows
  float* data_ = nullptr;
  std::int64_t rows_ = 0;
  std::int64_t columns_ = 0;
  std::int64_t capacity_ = 0;
  Form form_ = Form::F32;
};

// Where the scales of a matrix in fp8 begin, in bytes.
std::int64_t fp8_scales_at(const Storage& packed);

class StoragePool {
 public:
  StoragePool() = default;
  StoragePool(const StoragePool&) = delete;
  StoragePool& operator=(const StoragePool&) = delete;

  // Not initialised.
  Storage matrix(std::int64_t rows, std::int64_t columns, Form form = Form::F32);
  Storage zeros(std::int64_t rows, std::int64_t columns);

  Bytes out() const { return static_cast<double>(out_) * byte; }
  Bytes peak() const { return static_cast<double>(peak_) * byte; }

 private:
  friend class Storage;
  void give_back(float* data, std::int64_t capacity);

  float* fresh(std::int64_t capacity);

  std::vector<LargeVector<float>> slabs_;
  float* unused_ = nullptr;  // the rest of the last slab
  std::int64_t unused_floats_ = 0;
  std::map<std::int64_t, std::vector<float*>> idle_;  // by capacity
  std::int64_t out_ = 0;                              // bytes
  std::int64_t peak_ = 0;
};

}  // namespace narrows
