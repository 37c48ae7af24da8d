#pragma once
// From a stream to the implementation of its backend.  The only code that knows which backends this build has.

#include "runtime/device.h"
#include "runtime/error.h"

namespace tessera::kernels {

/// Calls body.template operator()<B>().  On meta nothing runs: shapes were checked and there is nothing to compute.
template <class Body>
void on_backend(Stream stream, Body&& body) {
  switch (stream.device.backend) {
    case Backend::cpu:
      return body.template operator()<Backend::cpu>();
    case Backend::meta:
      return;
    case Backend::cuda:
      if constexpr (TESSERA_HAS_CUDA) return body.template operator()<Backend::cuda>();
      break;
  }
  throw Error(str("this build has no kernels for ", stream.device));
}

}  // namespace tessera::kernels
