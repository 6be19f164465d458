// X = (sum over planes of P_a conj P_b) (g_y g_x), X[0, 0] = 0; see src/kernels/cross_weight.rs.
#include "align.cuh"

struct CrossWeightParams {
    unsigned pairs, planes, height, half, sum;
};
LOCKSTEP_PARAMS(CrossWeightParams, 20);

extern "C" __global__ void cross_weight_f32(const float* __restrict__ gy, const float* __restrict__ gx,
                                            const unsigned* __restrict__ pairs, const float2* __restrict__ spectra,
                                            float2* __restrict__ out, CrossWeightParams p) {
    const unsigned l = blockIdx.x * blockDim.x + threadIdx.x, k = blockIdx.y * blockDim.y + threadIdx.y;
    if (l >= p.half || k >= p.height) return;
    const uint64 area = uint64(p.height) * p.half, at = uint64(k) * p.half + l;
    const unsigned outputs = p.sum ? 1 : p.planes, planes = p.sum ? p.planes : 1;
    const float g = gy[k] * gx[l];
    for (unsigned t = blockIdx.z; t < p.pairs * outputs; t += gridDim.z) {
        const unsigned pair = t / outputs, first = t % outputs;
        const float2* a = spectra + (uint64(pairs[2 * pair]) * p.planes + first) * area + at;
        const float2* b = spectra + (uint64(pairs[2 * pair + 1]) * p.planes + first) * area + at;
        float2 x = make_float2(0, 0);
        for (unsigned i = 0; i < planes; ++i, a += area, b += area) {
            x.x += a->x * b->x + a->y * b->y;
            x.y += a->y * b->x - a->x * b->y;
        }
        out[t * area + at] = at == 0 ? make_float2(0, 0) : make_float2(x.x * g, x.y * g);
    }
}
