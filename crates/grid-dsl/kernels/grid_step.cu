// One step of the wavefront: every instruction of a level for every sample, a warp each; see src/kernels/step/mod.rs.
#include "step.cuh"

// Twins of Op, in its order.
enum Op {
    kIdentity, kRot90, kRot180, kRot270, kHmirror, kVmirror, kDmirror, kCmirror, kTrim, kTophalf, kBottomhalf, kLefthalf,
    kRighthalf, kCrop, kSubgrid, kUpscale, kHupscale, kVupscale, kDownscale, kHconcat, kVconcat, kCellwise, kReplace,
    kSwitch, kCompress, kCanvas, kFill, kUnderfill, kCover, kPaint, kUnderpaint, kMove, kOfcolor, kAsindices, kAsobject,
    kToobject, kObjectsOf, kPartition, kFgpartition, kMerge, kSize, kFirst, kLast, kArgmax, kArgmin, kColorfilter,
    kSizefilter, kMostcolor, kLeastcolor, kNumcolors, kColorcount, kColor, kHeight, kWidth, kShape, kPortrait, kSquare,
    kVline, kHline, kIndex, kToindices, kRecolor, kShift, kNormalize, kUppermost, kLowermost, kLeftmost, kRightmost,
    kUlcorner, kUrcorner, kLlcorner, kLrcorner, kCorners, kCenter, kBackdrop, kDelta, kBox, kInbox, kOutbox, kCombine,
    kIntersection, kDifference, kEquality, kBranch, kAdd, kSubtract, kMultiply, kInvert, kDouble, kHalve, kIncrement,
    kDecrement, kCrement, kSign, kEven, kPositive, kFlip, kBoth, kEither, kGreater, kAstuple, kToivec, kTojvec,
    kDneighbors, kIneighbors, kNeighbors, kConnect, kHfrontier, kVfrontier, kSfilter, kMfilter, kExtract, kHsplit, kVsplit,
    kLbind, kRbind, kRepeat, kMostcommon, kLeastcommon, kOrder, kTotuple, kCenterofmass, kPosition, kHmatching, kVmatching,
    kManhattan, kAdjacent, kBordering, kHperiod, kVperiod, kInitset, kInsert, kRemove, kMapply, kFrontiers,
    kGravitate, kOccurrences, kContained,
};

#include "step_grids.cuh"
#include "step_tuples.cuh"
#include "step_objects.cuh"
#include "step_patches.cuh"

struct StepParams {
    unsigned instructions;
    unsigned samples;    // 0 where targets and operands are places, and each instruction has items of its own
    unsigned items;      // of all instructions then
};
LOCKSTEP_PARAMS(StepParams, 12);

constexpr unsigned kWords = 8;    // of an instruction, twin of WORDS

// The last instruction that begins at or before an item, by the lanes of a warp.
__device__ __forceinline__ unsigned instruction_of(const unsigned* __restrict__ instructions, unsigned count, unsigned item) {
    unsigned from = 0;
    while (count > 1) {
        const unsigned stride = (count + 31) / 32, own = lane_of() * stride;
        const bool before = own < count && instructions[u64(from + own) * kWords + 1] <= item;
        const unsigned last = (__popc(__ballot_sync(kAll, before)) - 1) * stride;
        from += last;
        count = count - last < stride ? count - last : stride;
    }
    return from;
}

// The instructions that look at components, or the others: without the former's memory more warps run side by side.
template <typename F>
__device__ __forceinline__ void steps(const unsigned* __restrict__ instructions, int* heads, unsigned* payloads,
                                      const StepParams& p, F evaluate) {
    const u64 items = p.samples == 0 ? p.items : u64(p.instructions) * p.samples;
    const u64 scale = p.samples == 0 ? 1 : p.samples;
    for (u64 n = u64(blockIdx.x) * kWarps + threadIdx.x / 32; n < items; n += u64(gridDim.x) * kWarps) {
        const u64 number = p.samples == 0 ? instruction_of(instructions, p.instructions, unsigned(n)) : n / scale;
        const unsigned* instruction = instructions + number * kWords;
        const u64 own = p.samples == 0 ? n - instruction[1] : n % scale;
        const unsigned op = instruction[0] & 0xffff, arguments = instruction[0] >> 16 & 15, same = instruction[0] >> 24;
        const u64 target = u64(instruction[2]) * scale + own;
        const Out out{heads + target * kHead, payloads + target * kPayload};
        // Operands that an operation has not are its first one.
        In v[4];
        int failed = 0;
        bool spilled = false;
#pragma unroll
        for (unsigned k = 0; k < 4; ++k) {
            const unsigned from = k < arguments ? k : 0;
            v[k] = value_at(heads, payloads, u64(instruction[3 + from]) * scale + (same >> from & 1 ? 0 : own));
            // The leftmost error is the result, and what the host has yet to tell may be one.
            if (v[k].kind == kError && failed == 0 && !spilled) failed = v[k].a + 1;
            spilled = spilled || v[k].kind == kSpilled;
        }
        if (failed != 0) {
            out.put(kError, failed - 1);
        } else if (spilled) {
            out.spill(kByOperand);
        } else if (op == kIdentity) {
            out.copy(v[0]);
        } else {
            evaluate(op, instruction[7], v, out);
        }
        __syncwarp();
    }
}

// Rows come from far away: with 32 warps side by side a unit waits less than its few spilled registers cost.
extern "C" __global__ void __launch_bounds__(64, 16)
grid_step(const unsigned* __restrict__ instructions, int* heads, unsigned* payloads, StepParams p) {
    __shared__ unsigned memory[kWarps][256];
    unsigned* bins = memory[threadIdx.x / 32];
    steps(instructions, heads, payloads, p, [&](unsigned op, unsigned key, const In* v, const Out& out) {
        if (!added(op, key, v, out) && !cut(op, v, out) && !moved(op, v, out) && !joined(op, v, out) &&
            !written(op, v, out, bins) && !found(op, v, out, bins) && !measured(op, v, out, bins) && !shaped(op, v, out) &&
            !combined(op, v, out)) {
            counted(op, v, out);
        }
    });
}

// Of operations that look at components.
extern "C" __global__ void __launch_bounds__(64)
grid_step_labels(const unsigned* __restrict__ instructions, int* heads, unsigned* payloads, StepParams p) {
    __shared__ Scratch memory[kWarps];
    Scratch& s = memory[threadIdx.x / 32];
    steps(instructions, heads, payloads, p, [&](unsigned op, unsigned key, const In* v, const Out& out) {
        op == kMapply ? mapped_objects(key, v[0], out, s) : asked(op, key, v, out, s);
    });
}
