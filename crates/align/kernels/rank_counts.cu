// How many values have each upper half, or each lower half behind one upper half; see src/kernels/rank_counts.rs.
#include "align.cuh"

struct RankCountsParams {
    unsigned count, level, prefix;
};
LOCKSTEP_PARAMS(RankCountsParams, 12);

extern "C" __global__ void rank_clear_u32(unsigned* counts, RankCountsParams) {
    counts[blockIdx.x * blockDim.x + threadIdx.x] = 0;
}

// Values of pictures crowd into few bins, so the lanes of a warp that meet in one add once.
extern "C" __global__ void rank_counts_f32(const float* __restrict__ x, unsigned* counts, RankCountsParams p) {
    constexpr unsigned kNoBin = 0xffffffffu;
    const uint64 whole = (uint64(p.count) + kLanes - 1) / kLanes * kLanes;
    for (uint64 i = lockstep::first(); i < whole; i += lockstep::step()) {
        unsigned bin = kNoBin;
        if (i < p.count) {
            const float v = x[i];
            const unsigned key = v > 0.0f ? __float_as_uint(v) : 0u;
            if (p.level == 0) {
                bin = key >> 16;
            } else if (key >> 16 == p.prefix) {
                bin = key & 0xffffu;
            }
        }
        const unsigned same = __match_any_sync(kWhole, bin);
        if (bin != kNoBin && lane_of() == unsigned(__ffs(int(same)) - 1)) atomicAdd(counts + bin, unsigned(__popc(same)));
    }
}
