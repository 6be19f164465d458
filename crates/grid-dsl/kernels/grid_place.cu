// Values between an arena and compact lists, a warp each; see src/kernels/step/place.rs.
#include "step.cuh"

struct PlaceParams {
    unsigned count;       // values
    unsigned payloads;    // whether payloads are copied, too
};
LOCKSTEP_PARAMS(PlaceParams, 8);

// Copies value from[a] to value to[b], where one of the two lies at its place.
template <bool kPut>
__device__ __forceinline__ void place(const unsigned* __restrict__ places, const int* __restrict__ heads,
                                      const unsigned* __restrict__ payloads, int* __restrict__ out_heads,
                                      unsigned* __restrict__ out_payloads, const PlaceParams& p) {
    for (u64 n = u64(blockIdx.x) * kWarps + threadIdx.x / 32; n < p.count; n += u64(gridDim.x) * kWarps) {
        const u64 far = places[n], from = kPut ? n : far, to = kPut ? far : n;
        if (lane_of() < kHead) out_heads[to * kHead + lane_of()] = heads[from * kHead + lane_of()];
        if (p.payloads == 0) continue;
        for (unsigned k = lane_of(); k < kPayload; k += 32) {
            out_payloads[to * kPayload + k] = payloads[from * kPayload + k];
        }
    }
}

extern "C" __global__ void __launch_bounds__(64)
grid_take(const unsigned* __restrict__ places, const int* __restrict__ heads, const unsigned* __restrict__ payloads,
          int* __restrict__ out_heads, unsigned* __restrict__ out_payloads, PlaceParams p) {
    place<false>(places, heads, payloads, out_heads, out_payloads, p);
}

extern "C" __global__ void __launch_bounds__(64)
grid_put(const unsigned* __restrict__ places, const int* __restrict__ heads, const unsigned* __restrict__ payloads,
         int* __restrict__ out_heads, unsigned* __restrict__ out_payloads, PlaceParams p) {
    place<true>(places, heads, payloads, out_heads, out_payloads, p);
}
