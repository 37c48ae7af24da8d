#pragma once
// Copies from global to shared memory that pass by the registers and do not stop the thread, one instruction
// per function (PTX manual, "Non-bulk copy").

#include <cstdint>

namespace tessera::kernels {

/// Copies `bytes` (0 to 16) and fills the rest of 16 with zeros:  cp.async.cg, which leaves the first-level
/// cache alone. Both addresses are 16-byte aligned; with 0 bytes nothing is read.
__device__ __forceinline__ void copy_16_async(void* shared, const void* global, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                   static_cast<uint32_t>(__cvta_generic_to_shared(shared))),
               "l"(__cvta_generic_to_global(global)), "r"(bytes)
               : "memory");
}

/// Copies `bytes` (0 or 4) and fills the rest of 4 with zeros:  cp.async.ca.  Both addresses are 4-byte
/// aligned.
__device__ __forceinline__ void copy_4_async(void* shared, const void* global, int bytes) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(
                   static_cast<uint32_t>(__cvta_generic_to_shared(shared))),
               "l"(__cvta_generic_to_global(global)), "r"(bytes)
               : "memory");
}

/// Waits for the copies of this thread alone, all of them:  cp.async.wait_all.  What other threads copied is
/// seen after a barrier that follows their waits.
__device__ __forceinline__ void wait_for_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

}  // namespace tessera::kernels
