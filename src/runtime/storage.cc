// SPDX-License-Identifier: Apache-2.0
#include "runtime/storage.h"

#include <algorithm>
#include <utility>

#include "base/result.h"
#include "kernels/fp8.h"

namespace narrows {
namespace {

// Floats.
#ifdef __SANITIZE_ADDRESS__
constexpr std::int64_t kSlab = 0;
#else
constexpr std::int64_t kSlab = std::int64_t{2} << 20;
#endif

// Sizes that vary with routing shall meet again: eight steps a power of two, at least a cache line.
std::int64_t capacity_for(std::int64_t count) {
  std::int64_t step = 16;
  while (step * 16 <= count) step *= 2;
  return std::max<std::int64_t>(16, (count + step - 1) / step * step);
}

// Floats that hold the matrix.
std::int64_t floats_for(std::int64_t rows, std::int64_t columns, Form form) {
  const std::int64_t count = rows * columns;
  switch (form) {
    case Form::F32:
      return count;
    case Form::Bf16:
      return (count + 1) / 2;
    case Form::Fp8:
      return (count + 3) / 4 + rows * kernels::fp8_tiles(columns);
  }
  return count;
}

}  // namespace

Storage& Storage::operator=(Storage&& other) noexcept {
  if (this == &other) return *this;
  release();
  pool_ = std::exchange(other.pool_, nullptr);
  data_ = std::exchange(other.data_, nullptr);
  rows_ = std::exchange(other.rows_, 0);
  columns_ = std::exchange(other.columns_, 0);
  capacity_ = std::exchange(other.capacity_, 0);
  form_ = std::exchange(other.form_, Form::F32);
  return *this;
}

void Storage::release() {
  if (pool_ != nullptr) pool_->give_back(data_, capacity_);
  pool_ = nullptr;
  data_ = nullptr;
  rows_ = columns_ = capacity_ = 0;
  form_ = Form::F32;
}

float* Storage::data() {
  ASSERT(form_ == Form::F32);
  return data_;
}

const float* Storage::data() const {
  ASSERT(form_ == Form::F32);
  return data_;
}

std::int64_t fp8_scales_at(const Storage& packed) { return (packed.count() + 3) / 4 * 4; }

// Small arrays share slabs of large pages; under a sanitizer each is its own, so that what is
// written behind it is seen.
float* StoragePool::fresh(std::int64_t capacity) {
  const auto slab = [&](std::int64_t floats) {
    return slabs_.emplace_back(static_cast<std::size_t>(floats)).data();
  };
  if (capacity > kSlab / 2) return slab(capacity);
  if (capacity > unused_floats_) {
    unused_ = slab(kSlab);
    unused_floats_ = kSlab;
  }
  unused_floats_ -= capacity;
  return std::exchange(unused_, unused_ + capacity);
}

Storage StoragePool::matrix(std::int64_t rows, std::int64_t columns, Form form) {
  Storage s;
  s.pool_ = this;
  s.rows_ = rows;
  s.columns_ = columns;
  s.form_ = form;
  s.capacity_ = capacity_for(floats_for(rows, columns, form));
  std::vector<float*>& idle = idle_[s.capacity_];
  if (idle.empty()) {
    idle.push_back(fresh(s.capacity_));
  }
  s.data_ = idle.back();
  idle.pop_back();
  out_ += s.capacity_ * static_cast<std::int64_t>(sizeof(float));
  peak_ = std::max(peak_, out_);
  return s;
}

Storage StoragePool::zeros(std::int64_t rows, std::int64_t columns) {
  Storage s = matrix(rows, columns);
  std::fill_n(s.data(), s.count(), 0.0f);
  return s;
}

void StoragePool::give_back(float* data, std::int64_t capacity) {
  idle_[capacity].push_back(data);
  out_ -= capacity * static_cast<std::int64_t>(sizeof(float));
}

}  // namespace narrows
