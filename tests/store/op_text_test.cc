// SPDX-License-Identifier: Apache-2.0
#include "store/op_text.h"

#include "tests/store/fixture.h"

namespace narrows {
namespace {

std::string words(const OpText& text) {
  return text.op + " " + text.direction + " " + text.recipe + " " + text.shape;
}

std::string refused(std::string_view op, std::string_view direction, std::string_view recipe,
                    std::string_view shape) {
  return refusal_of(read_op(op, direction, recipe, shape));
}

}  // namespace

TEST_CASE("op text: ops in words") {
  Measurement row;
  row.family = KernelFamily::Matmul;
  row.recipe = Recipe::Fp8Block;
  row.direction = Direction::InputGrad;
  row.matmul = {exactly(32768), 4096, 7168, 4};
  row.multiprocessors = 112;
  row.grid = true;
  CHECK(words(op_text(row)) ==
        "matmul input-grad fp8-block m=32768;n=4096;k=7168;groups=4;multiprocessors=112;grid=1");
  Measurement attention;
  attention.family = KernelFamily::Attention;
  attention.attention = {2, 64, 8, 4096, 8192, 192, 128, false, 0};
  CHECK(words(op_text(attention)) ==
        "attention forward bf16 batch=2;heads=64;kv_heads=8;seq=4096;keys=8192;qk_dim=192;"
        "v_dim=128;causal=0");
  Measurement norm;
  norm.family = KernelFamily::Memory;
  norm.memory_class = "norm";
  norm.traffic = 234.88 * MB;
  CHECK(words(op_text(norm)) == "norm forward bf16 bytes=234880000");
  LinkMeasurement link;
  link.ranks = 16;
  link.bytes = 1024 * byte;
  link.method = "a;b,c=d";  // separators would not read back
  link.dtype = "float";
  link.waits = true;
  CHECK(words(op_text(link)) == "all-reduce  float ranks=16;bytes=1024;method=a b c=d;waits=1");
}

TEST_CASE("op text: every op reads back from its words") {
  std::vector<Measurement> rows;
  for (const double m : {1.0, 512.5, 4096.0, 1e7}) {
    for (const int groups : {1, 8}) {
      for (int direction = 0; direction < 3; ++direction) {
        Measurement row;
        row.matmul = {exactly(m), 2112, 7168, groups};
        row.direction = static_cast<Direction>(direction);
        row.recipe = all_recipes()[static_cast<std::size_t>(direction)];
        row.quantise = groups == 8 ? 0.73 : 0;
        row.generation = groups == 8 ? "dsv3-2024" : "";
        row.library = groups == 8;
        rows.push_back(row);
      }
    }
  }
  for (const Measurement& row : rows) {
    const OpText text = op_text(row);
    const Result<AnyOp> read = read_op(text.op, text.direction, text.recipe, text.shape);
    REQUIRE(read.has_value());
    const Measurement& again = std::get<Measurement>(*read);
    CHECK(again.matmul == row.matmul);
    CHECK(again.direction == row.direction);
    CHECK(again.recipe == row.recipe);
    CHECK(again.quantise == row.quantise);
    CHECK(again.generation == row.generation);
    CHECK(again.library == row.library);
    CHECK(op_text(again) == text);
  }
  LinkMeasurement link = all_reduce(3e9, 1).what;
  link.time = Seconds();
  for (const bool flag : {false, true}) {
    link.streamed = link.in_place = link.waits = flag;
    const OpText text = op_text(link);
    const Result<AnyOp> read = read_op(text.op, text.direction, text.recipe, text.shape);
    REQUIRE(read.has_value());
    CHECK(std::get<LinkMeasurement>(*read) == link);
  }
}

TEST_CASE("op text: what is missing, unknown or wrong is named") {
  CHECK(refused("matmul", "forward", "bf16", "m=1;n=2") == "shape: k is missing");
  CHECK(refused("matmul", "forward", "bf16", "m=1;n=2;k=3;w=4") == "shape: unknown key \"w\"");
  CHECK(refused("matmul", "forward", "bf16", "m=1;n=2;k=3;k=3") == "shape: unknown key \"k\"");
  CHECK(contains(refused("matmul", "forward", "bf16", "m=1;n=2.5;k=3"), "expected a whole number"));
  CHECK(contains(refused("matmul", "forward", "bf16", "m=nan;n=2;k=3"), "m: expected a number"));
  CHECK(contains(refused("matmul", "forward", "bf16", "m=0;n=2;k=3"), "m: expected a number"));
  CHECK(contains(refused("matmul", "forward", "bf16", "m"), "expected key=value"));
  CHECK(contains(refused("matmul", "sideways", "bf16", "m=1;n=2;k=3"), "direction"));
  CHECK(contains(refused("matmul", "forward", "int4", "m=1;n=2;k=3"), "recipe"));
  CHECK(contains(refused("conv", "forward", "bf16", "m=1"), "\"conv\""));
  CHECK(refused("attention", "forward", "bf16", "batch=1;heads=2;seq=8;qk_dim=64;v_dim=64") ==
        "shape: causal is missing");
  CHECK(refused("all-reduce", "", "", "bytes=8") == "shape: ranks is missing");
}

}  // namespace narrows
