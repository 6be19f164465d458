// How many values have each upper half, or each lower half behind one upper half; see src/kernels/rank_counts.rs.
#include "align.cuh"

constexpr unsigned kUpper = 1 << 15;    // upper halves of values that are not negative; twin of UPPER
constexpr unsigned kAhead = 8;          // values that a thread asks for before it uses the first

struct RankCountsParams {
    unsigned count, level, prefix;
};
LOCKSTEP_PARAMS(RankCountsParams, 12);

__device__ __forceinline__ unsigned key_of(float v) { return v > 0.0f ? __float_as_uint(v) : 0u; }

extern "C" __global__ void rank_clear_u32(unsigned* counts, RankCountsParams) {
    counts[blockIdx.x * blockDim.x + threadIdx.x] = 0;
}

// Counters of the upper halves for each block, in shared memory: values of pictures crowd into few bins.
extern "C" __global__ void __launch_bounds__(1024)
rank_upper_f32(const float* __restrict__ x, unsigned* counts, RankCountsParams p) {
    extern __shared__ unsigned own[];
    for (unsigned i = threadIdx.x; i < kUpper; i += blockDim.x) own[i] = 0;
    __syncthreads();
    for (uint64 first = lockstep::first(); first < p.count; first += kAhead * lockstep::step()) {
        float v[kAhead];
#pragma unroll
        for (unsigned k = 0; k < kAhead; ++k) v[k] = x[min(first + k * lockstep::step(), uint64(p.count - 1))];
#pragma unroll
        for (unsigned k = 0; k < kAhead; ++k) {
            if (first + k * lockstep::step() < p.count) atomicAdd(own + (key_of(v[k]) >> 16), 1u);
        }
    }
    __syncthreads();
    for (unsigned i = threadIdx.x; i < kUpper; i += blockDim.x) {
        if (own[i] != 0) atomicAdd(counts + i, own[i]);
    }
}

// Lanes of a warp that meet in one bin add once.
extern "C" __global__ void rank_counts_f32(const float* __restrict__ x, unsigned* counts, RankCountsParams p) {
    constexpr unsigned kNoBin = 0xffffffffu;
    const uint64 whole = (uint64(p.count) + kLanes - 1) / kLanes * kLanes;
    for (uint64 i = lockstep::first(); i < whole; i += lockstep::step()) {
        unsigned bin = kNoBin;
        if (i < p.count) {
            const unsigned key = key_of(x[i]);
            if (p.level == 0) {
                bin = key >> 16;
            } else if (key >> 16 == p.prefix) {
                bin = key & 0xffffu;
            }
        }
        if (!__any_sync(kWhole, bin != kNoBin)) continue;
        const unsigned same = __match_any_sync(kWhole, bin);
        const bool first = lane_of() == unsigned(__ffs(int(same)) - 1);
        if (bin != kNoBin && first) atomicAdd(counts + bin, unsigned(__popc(same)));
    }
}
