#include "launch/version.h"

#include "runtime/cuda_engine.h"
#include "runtime/error.h"
#include "runtime/isa.h"

namespace tessera {

std::string version_text() {
  const std::string toolkit = cuda_devices().toolkit;
  return str("tessera ", TESSERA_VERSION, "\ncompiler ", __VERSION__,
             "\nbackends cpu (needs x86-64-v3; this processor: ", name_of(detect_isa()), ")",
             toolkit.empty() ? "" : ", cuda (toolkit " + toolkit + ")");
}

}  // namespace tessera
