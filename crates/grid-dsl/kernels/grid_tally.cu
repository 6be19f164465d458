// What became of the values of slots, counted over all samples, a warp each; see src/kernels/step/tally.rs.
#include "step.cuh"

struct TallyParams {
    unsigned items;      // slots
    unsigned samples;    // of the arena
};
LOCKSTEP_PARAMS(TallyParams, 8);

constexpr unsigned kTallyItem = 4;             // words of an item, twin of ITEM
constexpr unsigned kTallies = 8;               // counts of an item, twin of TALLIES
constexpr unsigned kUntold = 1u << 31;         // of an operand, twin of UNTOLD

extern "C" __global__ void __launch_bounds__(64)
grid_tally(const unsigned* __restrict__ items, const unsigned* __restrict__ operands, const int* __restrict__ heads,
           unsigned* __restrict__ counts, TallyParams p) {
    for (u64 n = u64(blockIdx.x) * kWarps + threadIdx.x / 32; n < p.items; n += u64(gridDim.x) * kWarps) {
        const unsigned* item = items + n * kTallyItem;
        unsigned own = 0;    // the count of this lane
        for (u64 base = 0; base < p.samples; base += 32) {
            const u64 sample = base + lane_of();
            const bool there = sample < p.samples;
            int kind = kNothing, why = 0;
            bool container = item[1] != 0;
            if (there) {
                const int* head = heads + (u64(item[0]) * p.samples + sample) * kHead;
                kind = head[0], why = head[1];
                for (unsigned k = 0; k < item[3]; ++k) {
                    const unsigned operand = operands[item[2] + k];
                    const int of = heads[(u64(operand & ~kUntold) * p.samples + sample) * kHead];
                    container = container || (of >= kGrid && of <= kObjects) || of == kStrips || of == kOrdered ||
                                of == kLines || (of == kSpilled && (operand & kUntold) != 0);
                }
            }
            const bool spilled = kind == kSpilled;
            const unsigned here = __ballot_sync(kAll, there && container && !spilled);
            const unsigned away = __ballot_sync(kAll, there && container && spilled);
            const unsigned failed = __ballot_sync(kAll, there && kind == kError);
            if (lane_of() == 0) own += __popc(here);
            if (lane_of() == 1) own += __popc(away);
            if (lane_of() == 2) own += __popc(failed);
            for (int reason = 1; reason <= 5; ++reason) {
                const unsigned left = __ballot_sync(kAll, there && spilled && why == reason);
                if (int(lane_of()) == 2 + reason) own += __popc(left);
            }
        }
        if (lane_of() < kTallies) counts[n * kTallies + lane_of()] = own;
    }
}
