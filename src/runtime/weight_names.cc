// SPDX-License-Identifier: Apache-2.0
#include "runtime/weight_names.h"

#include <string_view>

namespace narrows {
namespace {

struct Name {
  std::string_view hugging_face;  // without ".weight"
  std::string_view portable;
};

constexpr Name kEnds[] = {{"model.embed_tokens", "embed"},
                          {"model.embed_positions", "pos"},
                          {"model.norm", "final_norm"},
                          {"lm_head", "head"}};

// Behind the layer's prefix.
constexpr Name kLayer[] = {{"input_layernorm", "attn_norm"},
                           {"post_attention_layernorm", "ffn_norm"},
                           {"self_attn.q_a_proj", "wqd"},
                           {"self_attn.q_a_layernorm", "q_norm"},
                           {"self_attn.q_b_proj", "wqu"},
                           {"self_attn.q_proj", "wq"},
                           {"self_attn.k_proj", "wk"},
                           {"self_attn.v_proj", "wv"},
                           {"self_attn.kv_a_proj_with_mqa", "wkvd"},
                           {"self_attn.kv_a_layernorm", "kv_norm"},
                           {"self_attn.kv_b_proj", "wkvu"},
                           {"self_attn.o_proj", "wo"},
                           {"enorm", "enorm"},
                           {"hnorm", "hnorm"},
                           {"eh_proj", "eh"},
                           {"shared_head.norm", "final_norm"},
                           {"mlp.gate", "router"},
                           {"mlp.gate_proj", "ffn.wg"},
                           {"mlp.up_proj", "ffn.wu"},
                           {"mlp.down_proj", "ffn.wd"},
                           {"self_attn.q_norm", "qn"},
                           {"self_attn.k_norm", "kn"},
                           {"mlp.c_fc", "ffn.wu"},
                           {"mlp.c_proj", "ffn.wd"},
                           {"mlp.shared_expert_gate", "shared.gate"},
                           {"mlp.shared_expert.gate_proj", "shared.wg"},
                           {"mlp.shared_expert.up_proj", "shared.wu"},
                           {"mlp.shared_expert.down_proj", "shared.wd"},
                           {"mlp.shared_experts.gate_proj", "shared.wg"},
                           {"mlp.shared_experts.up_proj", "shared.wu"},
                           {"mlp.shared_experts.down_proj", "shared.wd"}};

constexpr Name kExpert[] = {{"gate_proj", "wg"}, {"up_proj", "wu"}, {"down_proj", "wd"}};

template <std::size_t N>
std::string look_up(const Name (&table)[N], std::string_view name) {
  for (const Name& entry : table) {
    if (entry.hugging_face == name) return std::string(entry.portable);
  }
  return "";
}

// Cuts the leading word up to a point off `rest`.
std::string_view take_word(std::string_view& rest) {
  const std::size_t point = rest.find('.');
  const std::string_view word = rest.substr(0, point);
  rest.remove_prefix(point == std::string_view::npos ? rest.size() : point + 1);
  return word;
}

std::string in_layer(std::string_view rest) {
  constexpr std::string_view kExperts = "mlp.experts.";
  if (!rest.starts_with(kExperts)) return look_up(kLayer, rest);
  rest.remove_prefix(kExperts.size());
  const std::string expert(take_word(rest));
  const std::string matrix = look_up(kExpert, rest);
  return matrix.empty() ? "" : "e" + expert + "." + matrix;
}

}  // namespace

std::string portable_name(const std::string& hugging_face_name) {
  std::string_view name = hugging_face_name;
  std::string suffix;
  for (const std::string_view end : {".weight", ".bias"}) {
    if (!name.ends_with(end)) continue;
    name.remove_suffix(end.size());
    if (end == ".bias") suffix = ".b";
    break;
  }
  constexpr std::string_view kLayers = "model.layers.";
  if (!name.starts_with(kLayers)) {
    const std::string end = look_up(kEnds, name);
    return end.empty() ? "" : end + suffix;
  }
  name.remove_prefix(kLayers.size());
  const std::string layer(take_word(name));
  const std::string rest = in_layer(name);
  return rest.empty() ? "" : "l" + layer + "." + rest + suffix;
}

}  // namespace narrows
