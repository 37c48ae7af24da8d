#include "tests/simulated_gpu/runtime/device.h"

#include <stdexcept>

#include "tests/simulated_gpu/control.h"
#include "tests/simulated_gpu/runtime/pinned.h"

namespace simulated_gpu {
namespace {

constexpr DeviceModel kModels[] = {
    {"a100", "NVIDIA A100-SXM4-80GB", 8, 0, 108, 163 * 1024, 164 * 1024, 40 << 20, 1410000, 1593000, 5120},
    {"h100", "NVIDIA H100 80GB HBM3", 9, 0, 132, 227 * 1024, 228 * 1024, 50 << 20, 1980000, 2619000, 5120},
    {"b200", "NVIDIA B200", 10, 0, 148, 227 * 1024, 228 * 1024, 126 << 20, 1965000, 3996000, 8192},
};

thread_local int current_index = 0;

std::vector<std::unique_ptr<Device>>& devices() {
  static auto& list = *new std::vector<std::unique_ptr<Device>>;
  return list;
}

}  // namespace

const DeviceModel& device_model(const std::string& option) {
  std::string known;
  for (const DeviceModel& model : kModels) {
    if (option == model.option) return model;
    known += std::string(known.empty() ? "" : ", ") + model.option;
  }
  throw std::runtime_error("SIMULATED_GPU_DEVICE: expected one of " + known + ", got \"" + option + "\"");
}

Device::Device(int device_index, const DeviceModel& device_model, uint64_t memory_bytes)
    : index(device_index), model(device_model), memory(memory_bytes), shadow(memory), pool(memory) {
  install_fault_handler();
}

void Device::allocated(uint64_t address, uint64_t bytes, const OperationPointer& operation) {
  if (options().check) shadow.allocated(address, bytes, operation);
}

void Device::released(uint64_t address, uint64_t bytes, const OperationPointer& operation) {
  if (options().check) shadow.released(address, bytes, operation);
}

bool Device::touch(uint64_t address, uint64_t bytes, AccessKind kind, const OperationPointer& operation) {
  if (options().check) return shadow.touch(address, bytes, kind, operation);
  const auto block = memory.find(address);
  return bytes == 0 || (block && address + bytes <= block->address + block->bytes);
}

int device_count() { return options().count; }

Device& device(int index) {
  auto& list = devices();
  if (list.size() <= size_t(index)) list.resize(size_t(index) + 1);
  auto& entry = list[size_t(index)];
  if (!entry) entry = std::make_unique<Device>(index, device_model(options().device), options().memory);
  return *entry;
}

Device& current_device() { return device(current_index); }
int current_device_index() { return current_index; }
void set_current_device(int index) { current_index = index; }

Device* device_of(const void* address) {
  for (const auto& entry : devices()) {
    if (entry && entry->memory.contains(reinterpret_cast<uint64_t>(address))) return entry.get();
  }
  return nullptr;
}

std::vector<Device*> devices_in_use() {
  std::vector<Device*> result;
  for (const auto& entry : devices()) {
    if (entry) result.push_back(entry.get());
  }
  return result;
}

void remove_device(const Device& device) { devices()[size_t(device.index)].reset(); }

}  // namespace simulated_gpu
