// What all layers of the style network share: parameters, border rules, pictures as they come in and go out.
// See src/kernels/net_layer.rs.
#pragma once
#include "lockstep.cuh"

namespace net {

using lockstep::int64;

enum Flags : unsigned {
    RELU = 1,   // after the norm of the input
    ADD = 2,    // the input of the residual block is added to the norm of the input
    KEEP = 4,   // the finished input is also written
    ROUND = 8,  // bytes are rounded to the nearest, not truncated
};

// Parameters of a layer; the same for all kinds. Twin of NetParams.
struct LayerParams {
    int h, w;              // of the input
    int ho, wo;            // of the output
    int tiles_x, tiles_y;  // of the output; for upsampling layers, of the input
    int groups;            // f32: of partial statistics
    int group_size;        // f32: partial statistics in a group
    int cin, cout;
    unsigned flags;
    float eps;
    float in_value, in_square;    // f16: a unit of the input's sums of values and of squares
    float out_value, out_square;  // f16: units a 1 of the output's
};
LOCKSTEP_PARAMS(LayerParams, 64);

// Mirrors an index at both ends without repeating them; what is further out than one mirror image is held at the end.
__device__ __forceinline__ int reflected(int i, int n) {
    i = i < 0 ? -i : i;
    i = i >= n ? 2 * (n - 1) - i : i;
    return min(max(i, 0), n - 1);
}
__device__ __forceinline__ int clamped(int i, int n) { return min(max(i, 0), n - 1); }

// A picture of n rows that is continued by reflection at its end.
__device__ __forceinline__ int continued(int i, int n) { return i < n ? i : 2 * (n - 1) - i; }

// Mean, and sum of squared deviations from it, of some elements of one channel.
struct Moments {
    float mean, m2;
};

// Adds the moments of `k` elements to those of n.
__device__ __forceinline__ void append(float& n, float& mean, float& m2, float k, const Moments& m) {
    if (k == 0) return;
    const float d = m.mean - mean, part = k / (n + k);
    mean = fmaf(d, part, mean);
    m2 += fmaf(d * d, n * part, m.m2);
    n += k;
}

// Reads a picture: planes of f32 [n][3][h][w], or bytes [n][h][w][3]; 128 is taken from every value, which the norm behind
// the first layer takes back: sums get smaller, and bytes stay exact in f16.
__device__ __forceinline__ float sample(const float* x, const LayerParams& p, int n, int y, int z, int c) {
    return x[(int64(n * 3 + c) * p.h + y) * p.w + z] - 128.0f;
}
__device__ __forceinline__ float sample(const unsigned char* x, const LayerParams& p, int n, int y, int z, int c) {
    return float(x[((int64(n) * p.h + y) * p.w + z) * 3 + c]) - 128.0f;
}

// Writes one value of the result: planes of f32, or bytes, clamped.
__device__ __forceinline__ void deliver(float* out, const LayerParams& p, int n, int y, int z, int c, float v) {
    out[(int64(n * 3 + c) * p.ho + y) * p.wo + z] = v;
}
__device__ __forceinline__ void deliver(unsigned char* out, const LayerParams& p, int n, int y, int z, int c, float v) {
    v = fminf(fmaxf(v, 0.0f), 255.0f);
    if (p.flags & ROUND) v = roundf(v);
    out[((int64(n) * p.ho + y) * p.wo + z) * 3 + c] = static_cast<unsigned char>(v);
}

}  // namespace net
