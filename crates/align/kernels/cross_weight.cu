// X = (sum over planes of P_a conj P_b) (g_y g_x), X[0, 0] = 0; see src/kernels/cross_weight.rs.
#include "align.cuh"

struct CrossWeightParams {
    unsigned pairs, planes, height, half, sum;
};
LOCKSTEP_PARAMS(CrossWeightParams, 20);

// Pairs of one batch mostly share their first picture: a thread keeps its values for the next pair.
template <unsigned PLANES>
__device__ __forceinline__ void cross_planes(const float* __restrict__ gy, const float* __restrict__ gx,
                                             const unsigned* __restrict__ pairs, const float2* __restrict__ spectra,
                                             float2* __restrict__ out, const CrossWeightParams& p) {
    const unsigned l = blockIdx.x * blockDim.x + threadIdx.x, k = blockIdx.y * blockDim.y + threadIdx.y;
    if (l >= p.half || k >= p.height) return;
    const uint64 area = uint64(p.height) * p.half, at = uint64(k) * p.half + l;
    const unsigned outputs = p.sum ? 1 : p.planes, planes = p.sum ? p.planes : 1;
    const float g = gy[k] * gx[l];
    for (unsigned output = blockIdx.z; output < outputs; output += gridDim.z) {
        float2 a[PLANES];
        unsigned known = 0xffffffffu;
        for (unsigned pair = 0; pair < p.pairs; ++pair) {
            const unsigned one = pairs[2 * pair], other = pairs[2 * pair + 1];
            const float2* from_a = spectra + (uint64(one) * p.planes + output) * area + at;
            const float2* from_b = spectra + (uint64(other) * p.planes + output) * area + at;
            float2 x = make_float2(0, 0);
            for (unsigned first = 0; first < planes; first += PLANES) {
                float2 b[PLANES];
#pragma unroll
                for (unsigned i = 0; i < PLANES; ++i) {
                    if (first + i < planes) b[i] = from_b[(first + i) * area];
                }
                if (one != known || planes > PLANES) {
#pragma unroll
                    for (unsigned i = 0; i < PLANES; ++i) {
                        if (first + i < planes) a[i] = from_a[(first + i) * area];
                    }
                }
#pragma unroll
                for (unsigned i = 0; i < PLANES; ++i) {
                    if (first + i < planes) {
                        x.x += a[i].x * b[i].x + a[i].y * b[i].y;
                        x.y += a[i].y * b[i].x - a[i].x * b[i].y;
                    }
                }
            }
            known = one;
            out[(uint64(pair) * outputs + output) * area + at] =
                at == 0 ? make_float2(0, 0) : make_float2(x.x * g, x.y * g);
        }
    }
}

extern "C" __global__ void __launch_bounds__(256)
cross_weight_f32(const float* __restrict__ gy, const float* __restrict__ gx, const unsigned* __restrict__ pairs,
                 const float2* __restrict__ spectra, float2* __restrict__ out, CrossWeightParams p) {
    if (p.sum && p.planes > 1) {
        cross_planes<4>(gy, gx, pairs, spectra, out, p);
    } else {
        cross_planes<1>(gy, gx, pairs, spectra, out, p);
    }
}
