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
    unsigned instructions, samples;
};
LOCKSTEP_PARAMS(StepParams, 8);

constexpr unsigned kWords = 8;    // of an instruction, twin of WORDS

extern "C" __global__ void __launch_bounds__(64)
grid_step(const unsigned* __restrict__ instructions, int* heads, unsigned* payloads, StepParams p) {
    __shared__ Scratch memory[kWarps];
    Scratch& s = memory[threadIdx.x / 32];
    const u64 items = u64(p.instructions) * p.samples;
    for (u64 n = u64(blockIdx.x) * kWarps + threadIdx.x / 32; n < items; n += u64(gridDim.x) * kWarps) {
        const unsigned* instruction = instructions + n / p.samples * kWords;
        const u64 sample = n % p.samples;
        const unsigned op = instruction[0], arguments = instruction[2];
        const u64 target = u64(instruction[1]) * p.samples + sample;
        const Out out{heads + target * kHead, payloads + target * kPayload};
        In v[4] = {};
        int failed = 0;
        bool spilled = false;
        for (unsigned k = 0; k < 4; ++k) {
            if (k >= arguments) continue;
            const u64 at = u64(instruction[3 + k]) * p.samples + sample;
            const int* head = heads + at * kHead;
            const unsigned* payload = payloads + at * kPayload;
            v[k] = {head[0], head[1], head[2], head[3], reinterpret_cast<const i8*>(payload), payload + kMasks};
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
        } else if (!added(op, instruction[7], v, out, s) && !cut(op, v, out) && !moved(op, v, out) && !joined(op, v, out) && !written(op, v, out, s.bins) &&
                   !found(op, v, out, s.bins) && !asked(op, instruction[7], v, out, s) &&
                   !measured(op, v, out, s.bins) && !shaped(op, v, out) && !combined(op, v, out)) {
            counted(op, v, out);
        }
        __syncwarp();
    }
}
