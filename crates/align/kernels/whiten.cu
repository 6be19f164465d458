// z = z / |z|, 0 where z is 0 or not finite; see src/kernels/whiten.rs.
#include "align.cuh"

struct WhitenParams {
    unsigned long long count;
};
LOCKSTEP_PARAMS(WhitenParams, 8);

extern "C" __global__ void whiten_f32(float2* z, WhitenParams p) {
    for (uint64 i = lockstep::first(); i < p.count; i += lockstep::step()) {
        const float2 v = z[i];
        const float m = fmaxf(fabsf(v.x), fabsf(v.y));
        const float a = v.x / m, b = v.y / m;
        const float n = sqrtf(a * a + b * b);
        // 0/0 and infinities end as NaN, which no comparison holds for.
        const bool good = n >= 0.5f && m > 0.0f && m < INFINITY;
        z[i] = good ? make_float2(a / n, b / n) : make_float2(0, 0);
    }
}
