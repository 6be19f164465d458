// y[i] += a x[i], rounded once; see tests/pages/axpy.rs.
#include "lockstep.cuh"

struct AxpyParams {
    unsigned long long n;
    float a;
};
LOCKSTEP_PARAMS(AxpyParams, 16);

extern "C" __global__ void axpy_f32(const float* x, float* y, AxpyParams p) {
    using namespace lockstep;
    for (uint64 i = first(); i < p.n; i += step()) y[i] = fused(p.a, x[i], y[i]);
}
