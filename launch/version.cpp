#include "launch/version.h"

#include "runtime/error.h"
#include "runtime/isa.h"

namespace tessera {

std::string version_text() {
  return str("tessera ", TESSERA_VERSION, "\ncompiler ", __VERSION__,
             "\nbackends cpu (needs x86-64-v3; this processor: ", name_of(detect_isa()), ")");
}

}  // namespace tessera
