#include "tests/simulated_gpu/ptx/words.h"

#include <array>
#include <unordered_map>
#include <utility>

namespace simulated_gpu::ptx {
namespace {

constexpr std::string_view without_underscore(std::string_view word) {
  return word.ends_with('_') ? word.substr(0, word.size() - 1) : word;
}

constexpr std::pair<std::string_view, Opcode> kOpcodes[] = {
#define X(name) {without_underscore(#name), Opcode::name},
    PTX_OPCODES(X)
#undef X
};

constexpr std::pair<std::string_view, Type> kTypes[] = {
#define X(name) {#name, Type::name},
    PTX_TYPES(X)
#undef X
};

using M = Modifier;
constexpr std::pair<std::string_view, Modifier> kModifierNames[] = {
    {"rn", M::rn},
    {"rz", M::rz},
    {"rm", M::rm},
    {"rp", M::rp},
    {"rna", M::rna},
    {"rni", M::rni},
    {"rzi", M::rzi},
    {"rmi", M::rmi},
    {"rpi", M::rpi},
    {"ftz", M::ftz},
    {"sat", M::sat},
    {"satfinite", M::satfinite},
    {"relu", M::relu},
    {"approx", M::approx},
    {"full", M::full},
    {"nan", M::nan},
    {"NaN", M::nan},
    {"lo", M::lo},
    {"hi", M::hi},
    {"wide", M::wide},
    {"cc", M::cc},
    {"wrap", M::wrap},
    {"clamp", M::clamp},
    {"shiftamt", M::shiftamt},
    {"l", M::left},
    {"r", M::right},
    {"eq", M::eq},
    {"ne", M::ne},
    {"lt", M::lt},
    {"le", M::le},
    {"gt", M::gt},
    {"ge", M::ge},
    {"ls", M::ls},
    {"hs", M::hs},
    {"equ", M::equ},
    {"neu", M::neu},
    {"ltu", M::ltu},
    {"leu", M::leu},
    {"gtu", M::gtu},
    {"geu", M::geu},
    {"num", M::num},
    {"and", M::and_},
    {"or", M::or_},
    {"xor", M::xor_},
    {"add", M::add},
    {"min", M::min},
    {"max", M::max},
    {"exch", M::exch},
    {"cas", M::cas},
    {"inc", M::inc},
    {"dec", M::dec},
    {"popc", M::popc},
    {"global", M::global},
    {"shared", M::shared},
    {"local", M::local},
    {"const", M::constant},
    {"param", M::param},
    {"shared::cta", M::shared_cta},
    {"param::entry", M::param_entry},
    {"param::func", M::param_func},
    {"to", M::to},
    {"v2", M::v2},
    {"v4", M::v4},
    {"v8", M::v8},
    {"volatile", M::volatile_},
    {"weak", M::weak},
    {"relaxed", M::relaxed},
    {"acquire", M::acquire},
    {"release", M::release},
    {"acq_rel", M::acq_rel},
    {"sc", M::sc},
    {"cta", M::cta},
    {"cluster", M::cluster},
    {"gpu", M::gpu},
    {"sys", M::sys},
    {"gl", M::gl},
    {"nc", M::nc},
    {"ca", M::ca},
    {"cg", M::cg},
    {"cs", M::cs},
    {"lu", M::lu},
    {"cv", M::cv},
    {"wb", M::wb},
    {"wt", M::wt},
    {"L1::evict_normal", M::l1_evict_normal},
    {"L1::evict_unchanged", M::l1_evict_unchanged},
    {"L1::evict_first", M::l1_evict_first},
    {"L1::evict_last", M::l1_evict_last},
    {"L1::no_allocate", M::l1_no_allocate},
    {"L2::64B", M::l2_64b},
    {"L2::128B", M::l2_128b},
    {"L2::256B", M::l2_256b},
    {"L2::evict_last", M::l2_evict_last},
    {"L2::evict_first", M::l2_evict_first},
    {"L2::evict_normal", M::l2_evict_normal},
    {"L1", M::l1},
    {"L2", M::l2},
    {"sync", M::sync},
    {"aligned", M::aligned},
    {"warp", M::warp},
    {"arrive", M::arrive},
    {"red", M::red},
    {"all", M::all},
    {"any", M::any},
    {"uni", M::uni},
    {"ballot", M::ballot},
    {"idx", M::idx},
    {"up", M::up},
    {"down", M::down},
    {"bfly", M::bfly},
    {"async", M::async},
    {"commit_group", M::commit_group},
    {"wait_group", M::wait_group},
    {"wait_all", M::wait_all},
    {"m8n8", M::m8n8},
    {"x1", M::x1},
    {"x2", M::x2},
    {"x4", M::x4},
    {"trans", M::trans},
    {"m16n8k8", M::m16n8k8},
    {"m16n8k16", M::m16n8k16},
    {"row", M::row},
    {"col", M::col},
};

using S = Special;
constexpr std::pair<std::string_view, Special> kSpecials[] = {
    {"%tid.x", S::tid_x},
    {"%tid.y", S::tid_y},
    {"%tid.z", S::tid_z},
    {"%ntid.x", S::ntid_x},
    {"%ntid.y", S::ntid_y},
    {"%ntid.z", S::ntid_z},
    {"%ctaid.x", S::ctaid_x},
    {"%ctaid.y", S::ctaid_y},
    {"%ctaid.z", S::ctaid_z},
    {"%nctaid.x", S::nctaid_x},
    {"%nctaid.y", S::nctaid_y},
    {"%nctaid.z", S::nctaid_z},
    {"%laneid", S::laneid},
    {"%warpid", S::warpid},
    {"%nwarpid", S::nwarpid},
    {"%smid", S::smid},
    {"%nsmid", S::nsmid},
    {"%lanemask_eq", S::lanemask_eq},
    {"%lanemask_le", S::lanemask_le},
    {"%lanemask_lt", S::lanemask_lt},
    {"%lanemask_ge", S::lanemask_ge},
    {"%lanemask_gt", S::lanemask_gt},
    {"%clock", S::clock},
    {"%clock64", S::clock64},
    {"%globaltimer", S::globaltimer},
    {"%dynamic_smem_size", S::dynamic_smem_size},
    {"%total_smem_size", S::total_smem_size},
};

template <class Value, size_t count>
std::optional<Value> find(const std::pair<std::string_view, Value> (&list)[count], std::string_view word) {
  static const std::unordered_map<std::string_view, Value> map(list, list + count);
  const auto found = map.find(word);
  return found == map.end() ? std::nullopt : std::optional(found->second);
}

template <class Value, size_t count>
std::string_view name_in(const std::pair<std::string_view, Value> (&list)[count], Value value) {
  for (const auto& [word, candidate] : list) {
    if (candidate == value) return word;
  }
  return "?";
}

}  // namespace

std::optional<Opcode> find_opcode(std::string_view word) { return find(kOpcodes, word); }
std::optional<Type> find_type(std::string_view word) { return find(kTypes, word); }
std::optional<Modifier> find_modifier(std::string_view word) { return find(kModifierNames, word); }
std::optional<Special> find_special(std::string_view word) { return find(kSpecials, word); }
std::string_view name(Modifier modifier) { return name_in(kModifierNames, modifier); }
std::string_view name(Type type) { return name_in(kTypes, type); }

}  // namespace simulated_gpu::ptx
