#pragma once
// Functions of CUDA's math library, computed on the device: what nvcc inlines, calls and looks up in tables
// for them.

#include <vector>

namespace simulated_gpu {

inline constexpr int kMathFunctions = 18;
inline constexpr const char* kMathNames[kMathFunctions] = {"exp", "exp2", "expm1", "log",  "log2",  "log1p",
                                                           "pow", "erf",  "rsqrt", "sqrt", "cbrt",  "tanh",
                                                           "sin", "cos",  "tan",   "atan", "sinpi", "cospi"};

/// Function f of x[i] at f * x.size() + i.  The second argument of pow is x[i] / 8.
std::vector<float> device_math(const std::vector<float>& x);
std::vector<double> device_math(const std::vector<double>& x);

}  // namespace simulated_gpu
