// Values between an arena and compact lists, a warp each; see src/kernels/step/place.rs and pack.rs.
#include "step.cuh"

struct PlaceParams {
    unsigned count;       // values
    unsigned payloads;    // whether payloads are copied, too
    unsigned each;        // places that each value is written to
};
LOCKSTEP_PARAMS(PlaceParams, 12);

struct PackParams {
    unsigned count;    // values
};
LOCKSTEP_PARAMS(PackParams, 4);

constexpr unsigned kPackItem = 3;    // words of an item, twin of ITEM
constexpr unsigned kRow = 8;         // words of a row of a payload, twin of ROW

// Copies value from[a] to value to[b], where one of the two lies at its place.
template <bool kPut>
__device__ __forceinline__ void place(const unsigned* __restrict__ places, const int* __restrict__ heads,
                                      const unsigned* __restrict__ payloads, int* __restrict__ out_heads,
                                      unsigned* __restrict__ out_payloads, const PlaceParams& p) {
    for (u64 n = u64(blockIdx.x) * kWarps + threadIdx.x / 32; n < u64(p.count) * p.each; n += u64(gridDim.x) * kWarps) {
        const u64 far = places[n / p.each] + n % p.each, from = kPut ? n / p.each : far, to = kPut ? far : n;
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

// Rows of payloads one behind the other.
extern "C" __global__ void __launch_bounds__(64)
grid_pack(const unsigned* __restrict__ items, const unsigned* __restrict__ payloads, unsigned* __restrict__ out,
          PackParams p) {
    for (u64 n = u64(blockIdx.x) * kWarps + threadIdx.x / 32; n < p.count; n += u64(gridDim.x) * kWarps) {
        const unsigned* item = items + n * kPackItem;
        const unsigned first = item[2] & 255, rows = item[2] >> 8 & 255, words = item[2] >> 16;
        const unsigned* payload = payloads + u64(item[0]) * kPayload + first * kRow;
        for (unsigned k = lane_of(); k < rows * words; k += 32) {
            out[item[1] + k] = payload[k / words * kRow + k % words];
        }
    }
}
