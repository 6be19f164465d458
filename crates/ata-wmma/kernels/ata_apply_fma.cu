// Products in f32: a lane a row of the strip, a warp a part; see src/kernels/apply.rs.
#include "apply.cuh"

extern "C" __global__ void __launch_bounds__(32 * kParts)
ata_apply_fma(const float* __restrict__ a, const float* __restrict__ x, const unsigned* __restrict__ tiles,
              const unsigned* __restrict__ starts, const int* __restrict__ matrix_exponents, const int* exponents,
              const float* plain, const float* b, float* y, double* partials, ApplyParams p) {
    __shared__ float parts[kParts][32][kGroup];
    __shared__ Turns::List lists[kParts];
    __shared__ __align__(16) float columns[kParts][2][kGroup][16];
    const unsigned lane = threadIdx.x % 32, part = threadIdx.x / 32, row = lane % 16;
    const unsigned c = blockIdx.y;
    const Turns turns(lists[part], tiles, starts);
    const float* blocks = a + u64(c) * p.blocks * 256;
    // Four elements of a frame a lane.
    const Line line(p, x, blockIdx.z * kGroup + lane / 4, c);
    float sums[kGroup] = {};
    for (unsigned i = 0; i < turns.count; ++i) {
        const unsigned from = turns.at(i, 0) * 16 + lane % 4 * 4;
        const float2 low = line.two(from), high = line.two(from + 2);
        // Two tiles in turns: the one before may still be read.
        *reinterpret_cast<float4*>(&columns[part][i % 2][lane / 4][lane % 4 * 4]) =
            make_float4(low.x, low.y, high.x, high.y);
        __syncwarp();
        const unsigned block = turns.at(i, 1 + lane / 16);
        if (block != kAbsent) {
            const float* at = blocks + u64(block >> 1) * 256;
            for (unsigned s = 0; s < 16; s += 4) {
                float4 v;
                if (block & 1) {
                    v = make_float4(at[s * 16 + row], at[(s + 1) * 16 + row], at[(s + 2) * 16 + row],
                                    at[(s + 3) * 16 + row]);
                } else {
                    v = *reinterpret_cast<const float4*>(at + row * 16 + s);
                }
                for (unsigned f = 0; f < kGroup; ++f) {
                    const float4 right = *reinterpret_cast<const float4*>(&columns[part][i % 2][f][s]);
                    sums[f] = fmaf(v.x, right.x, sums[f]);
                    sums[f] = fmaf(v.y, right.y, sums[f]);
                    sums[f] = fmaf(v.z, right.z, sums[f]);
                    sums[f] = fmaf(v.w, right.w, sums[f]);
                }
            }
        }
    }
    for (unsigned f = 0; f < kGroup; ++f) parts[part][lane][f] = sums[f];
    finish_strip(p, {matrix_exponents, exponents, plain, b, y, partials}, parts);
}
