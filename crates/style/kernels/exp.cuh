// The exponential of src/ops/math.rs, operation by operation.
#pragma once

namespace style_ops {

// e^x within 2^-22 of itself; x is held inside -87..88, so that nothing overflows.
__device__ __forceinline__ float exponential(float x) {
    x = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);
    const float t = fmaf(x, 1.44269504088896341f, 12582912.0f), n = t - 12582912.0f;
    const float r = fmaf(n, 2.1219444e-4f, fmaf(n, -0.6933594f, x));
    float sum = 1.0f / 5040.0f;
    sum = fmaf(sum, r, 1.0f / 720.0f);
    sum = fmaf(sum, r, 1.0f / 120.0f);
    sum = fmaf(sum, r, 1.0f / 24.0f);
    sum = fmaf(sum, r, 1.0f / 6.0f);
    sum = fmaf(sum, r, 0.5f);
    sum = fmaf(sum, r, 1.0f);
    sum = fmaf(sum, r, 1.0f);
    return sum * __uint_as_float((__float_as_uint(t) + 127u) << 23);
}

// z/2 (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3)))
__device__ __forceinline__ float gelu(float z) {
    const float a = 0.7978846f, b = 0.7978846f * 0.044715f;
    const float u = z * fmaf(z * z, b, a);
    return z / (1.0f + exponential(-2.0f * u));
}

}  // namespace style_ops
