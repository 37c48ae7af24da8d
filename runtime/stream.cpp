#include "runtime/stream.h"

#include "runtime/cpu_engine.h"
#include "runtime/cuda_engine.h"
#include "runtime/meta_engine.h"

namespace tessera {

void synchronize(Stream stream) {
  if (stream.device.backend == Backend::cuda) cuda_engine_of(stream).synchronize();
}

Trace* trace_of(Stream stream) {
  switch (stream.device.backend) {
    case Backend::cpu:
      return &engine_of(stream).trace;
    case Backend::cuda:
      return &cuda_engine_of(stream).trace;
    case Backend::meta:
      return nullptr;
  }
  return nullptr;
}

MemoryStatistics memory_statistics(Stream stream) {
  switch (stream.device.backend) {
    case Backend::cpu:
      return engine_of(stream).memory.statistics();
    case Backend::cuda:
      return cuda_engine_of(stream).memory.statistics();
    case Backend::meta:
      return meta_engine_of(stream) ? meta_engine_of(stream)->statistics() : MemoryStatistics{};
  }
  return {};
}

}  // namespace tessera
