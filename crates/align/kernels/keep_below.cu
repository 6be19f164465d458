// Which values lie below a threshold; see src/kernels/keep_below.rs.
#include "align.cuh"

constexpr unsigned kAhead = 8;    // values that a thread asks for before it uses the first

struct KeepBelowParams {
    unsigned count;
    float threshold;
};
LOCKSTEP_PARAMS(KeepBelowParams, 8);

extern "C" __global__ void keep_below_u8(const float* __restrict__ x, unsigned char* __restrict__ out, KeepBelowParams p) {
    for (uint64 first = lockstep::first(); first < p.count; first += kAhead * lockstep::step()) {
        float v[kAhead];
#pragma unroll
        for (unsigned k = 0; k < kAhead; ++k) v[k] = x[min(first + k * lockstep::step(), uint64(p.count - 1))];
#pragma unroll
        for (unsigned k = 0; k < kAhead; ++k) {
            const uint64 i = first + k * lockstep::step();
            if (i < p.count) out[i] = v[k] < p.threshold;
        }
    }
}
