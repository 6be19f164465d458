// y = alpha A x + beta y in f32: a lane a row of the strip, a warp a part; see src/kernels/apply.rs.
#include "ata.cuh"

__device__ __forceinline__ void add4(float (&sums)[kGroup], const float4 a, const float* __restrict__ x, u64 stride) {
    for (unsigned f = 0; f < kGroup; ++f) {
        const float4 v = *reinterpret_cast<const float4*>(x + f * stride);
        sums[f] = fmaf(a.x, v.x, sums[f]);
        sums[f] = fmaf(a.y, v.y, sums[f]);
        sums[f] = fmaf(a.z, v.z, sums[f]);
        sums[f] = fmaf(a.w, v.w, sums[f]);
    }
}

extern "C" __global__ void __launch_bounds__(32 * kParts)
ata_apply_fma(const float* __restrict__ a, const float* __restrict__ x, const unsigned* __restrict__ tiles,
              const unsigned* __restrict__ starts, const int* __restrict__ matrix_exponents,
              const int* __restrict__ exponents, float* __restrict__ y, ApplyParams p) {
    __shared__ float parts[kParts][32][kGroup];
    __shared__ Turns::List lists[kParts];
    const unsigned lane = threadIdx.x % 32, part = threadIdx.x / 32, row = lane % 16;
    const unsigned c = blockIdx.y;
    const Turns turns(lists[part], tiles, starts);
    const float* blocks = a + u64(c) * p.blocks * 256;
    const u64 stride = u64(p.channels) * p.n_pad;
    const float* vectors = x + (u64(blockIdx.z) * kGroup * p.channels + c) * p.n_pad;
    float sums[kGroup] = {};
    for (unsigned i = 0; i < turns.count; ++i) {
        const unsigned block = turns.at(i, 1 + lane / 16);
        if (block == kAbsent) continue;
        const float* from = blocks + u64(block >> 1) * 256;
        const float* column = vectors + u64(turns.at(i, 0)) * 16;
        for (unsigned s = 0; s < 16; s += 4) {
            float4 v;
            if (block & 1) {
                v = make_float4(from[s * 16 + row], from[(s + 1) * 16 + row], from[(s + 2) * 16 + row],
                                from[(s + 3) * 16 + row]);
            } else {
                v = *reinterpret_cast<const float4*>(from + row * 16 + s);
            }
            add4(sums, v, column + s, stride);
        }
    }
    for (unsigned f = 0; f < kGroup; ++f) parts[part][lane][f] = sums[f];
    store_strip(p, parts, matrix_exponents, exponents, y);
}
