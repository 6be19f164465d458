// Pieces of the vectors in f16, scaled by powers of two; see src/kernels/cast_x.rs.
#include "ata.cuh"

struct CastParams {
    unsigned frames, frames_pad, channels, n, n_pad, pieces, scaled;
};

// ceil(log2 m) of a positive finite number.
__device__ __forceinline__ int ceil_log2(float m) {
    const u64 bits = __double_as_longlong(double(m));
    return int((bits >> 52) & 0x7ff) - 1023 + ((bits & 0xfffffffffffffull) != 0 ? 1 : 0);
}

// The exponent of this block's line, in every thread.
__device__ __forceinline__ int exponent_of(const float* __restrict__ x, bool is_there, int* __restrict__ exponents,
                                           const CastParams& p) {
    __shared__ float largest[32];
    __shared__ int exponent;
    float own = 0.0f;
    if (is_there && p.scaled) {
        for (unsigned i = threadIdx.x; i < p.n; i += blockDim.x) {
            const float v = fabsf(x[i]);
            own = v > own ? v : own;
        }
    }
    own = lockstep::warp_max(own);
    if (threadIdx.x % 32 == 0) largest[threadIdx.x / 32] = own;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (unsigned w = 1; w < blockDim.x / 32; ++w) own = largest[w] > own ? largest[w] : own;
        int e = 0;
        if (p.scaled && own > 0.0f && is_finite(own)) {
            e = -ceil_log2(own);
            e = e < -126 ? -126 : e > 126 ? 126 : e;
        }
        exponent = e;
        exponents[blockIdx.x] = e;
    }
    __syncthreads();
    return exponent;
}

extern "C" __global__ void ata_cast_x(const float* x, u16* out, int* exponents, CastParams p) {
    const u64 line = blockIdx.x, lines = u64(p.frames_pad) * p.channels;
    const bool is_there = line < u64(p.frames) * p.channels;
    const float* from = x + line * p.n;
    const int e = exponent_of(from, is_there, exponents, p);
    for (unsigned i = threadIdx.x; i < p.n_pad; i += blockDim.x) {
        float rest = scaled(is_there && i < p.n ? from[i] : 0.0f, e);
        for (unsigned piece = 0; piece < p.pieces; ++piece) {
            const u16 bits = f16_bits(rest);
            out[(piece * lines + line) * p.n_pad + i] = bits;
            rest -= of_f16(bits);
        }
    }
}
