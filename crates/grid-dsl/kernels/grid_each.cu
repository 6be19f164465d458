// Maps over the elements of containers, a warp for each of their samples; see src/kernels/step/each.rs.
#include "step_each.cuh"

struct EachParams {
    unsigned items;       // samples of maps
    unsigned samples;     // of the arena of values
    unsigned operands;    // where in the list slots of operands begin
    unsigned each;        // where in the list samples of maps begin
};
LOCKSTEP_PARAMS(EachParams, 16);

// Whether the elements of a container can be laid out. Twin of Gather::takes.
__device__ __forceinline__ bool takes(unsigned gather, const In& x) {
    if (x.kind == kObjects || x.hollow()) return true;
    if (x.kind == kStrips) return true;
    if (x.kind == kLines) return gather != kToSfilter;
    return x.kind == kIndices && (gather != kToMfilter || __ballot_sync(kAll, x.masks[lane_of()] != 0) == 0);
}

// How many elements a container has.
__device__ __forceinline__ unsigned elements_of(const In& x, Joined& s) {
    if (x.kind == kStrips) return x.c & 255;
    if (x.kind == kGrid) return 0;
    if (x.kind == kLines) return Lines(x).count;
    const unsigned plane = x.masks[lane_of()];
    if (x.kind == kIndices) return lockstep::warp_sum(unsigned(__popc(plane)));
    join_rows(x.grid(), plane, x.c & 15, s.parent, s.bins, [](unsigned) {});
    return roots_of(x.grid(), plane, s.parent);
}

extern "C" __global__ void __launch_bounds__(64)
grid_count(const unsigned* __restrict__ list, const unsigned* __restrict__ payloads, int* heads,
           unsigned* __restrict__ counts, EachParams p) {
    __shared__ Joined memory[kWarps];
    Joined& s = memory[threadIdx.x / 32];
    for (u64 n = u64(blockIdx.x) * kWarps + threadIdx.x / 32; n < p.items; n += u64(gridDim.x) * kWarps) {
        const unsigned* map = list + n / p.samples * kMap;
        const u64 sample = n % p.samples;
        const Out out{heads + (u64(map[1]) * p.samples + sample) * kHead, nullptr};
        int failed = 0;
        bool spilled = false, copies = false;
        for (unsigned k = 0; k < map[4]; ++k) {
            const int* head = heads + (u64(list[p.operands + map[3] + k]) * p.samples + sample) * kHead;
            // The leftmost error is the result, and what the host has yet to tell may be one.
            if (head[0] == kError && failed == 0 && !spilled) failed = head[1] + 1;
            spilled = spilled || head[0] == kSpilled;
            copies = copies || (k != map[5] && head[0] == kStrips && (head[3] & 512) != 0);
        }
        unsigned count = kNone;
        if (failed != 0) {
            out.put(kError, failed - 1);
        } else if (spilled) {
            out.spill(kByOperand);
        } else if (copies) {
            // They weigh more than the fuel that is reckoned with.
            out.spill(kByKind);
        } else if (map[2] == kNone) {
            count = 1;
        } else {
            const In x = value_at(heads, payloads, u64(map[2]) * p.samples + sample);
            if (takes(map[0], x)) {
                count = elements_of(x, s);
            } else {
                x.tuple() || x.set() ? out.spill(kByKind) : out.fail(kTypeError);
            }
        }
        if (lane_of() == 0) counts[n] = count;
        __syncwarp();
    }
}

// Writes the elements of a container one behind the other, at most `count` of them.
__device__ __forceinline__ void spread(const In& x, unsigned count, int* heads, unsigned* payloads, Scratch& s) {
    const auto to = [&](unsigned k) { return Out{heads + u64(k) * kHead, payloads + u64(k) * kPayload}; };
    if (x.kind == kStrips) {
        for (unsigned k = 0; k < count; ++k) {
            const Strip part(x, k);
            to(k).grid(part.h, part.w, [&](unsigned r, unsigned c) { return part.at(r, c); });
        }
        return;
    }
    if (x.kind == kLines) {
        const Lines lines(x);
        const Grid g = x.grid();
        for (unsigned k = 0; k < count; ++k) to(k).patch(true, lines.mask(k, g), 0, 0, [&](unsigned r, unsigned c) { return g.at(r, c); });
        return;
    }
    const unsigned plane = x.masks[lane_of()];
    if (x.kind == kIndices) {
        unsigned k = sum_below(unsigned(__popc(plane)));
        for (unsigned left = plane; left != 0 && k < count; left &= left - 1, ++k) {
            int* head = heads + u64(k) * kHead;
            head[0] = kPair, head[1] = x.a + int(lane_of()), head[2] = x.b + int(low(left)), head[3] = 0;
            for (unsigned word = 4; word < kHead; ++word) head[word] = 0;
        }
        return;
    }
    const Grid g = x.grid();
    label(g, plane, x.c & 15, s);
    number(g, plane, s);
    for (unsigned r = 0; r < g.h; ++r) {
        const unsigned row = __shfl_sync(kAll, plane, r), at = r * kSide + lane_of();
        unsigned roots = __ballot_sync(kAll, (row >> lane_of() & 1) && (s.parent[at] & kRoot) == at);
        for (; roots != 0; roots &= roots - 1) {
            const unsigned root = r * kSide + low(roots), k = s.size[root] >> 16, bottom = s.parent[root] >> 16;
            unsigned mask = 0;
            for (unsigned i = r; i <= bottom; ++i) {
                const unsigned there = __shfl_sync(kAll, plane, i);
                const bool own = (there >> lane_of() & 1) && (s.parent[i * kSide + lane_of()] & kRoot) == root;
                const unsigned bits = __ballot_sync(kAll, own);
                if (lane_of() == i) mask = bits;
            }
            if (k < count) to(k).patch(true, mask, 0, 0, [&](unsigned i, unsigned j) { return g.at(i, j); });
        }
    }
}

extern "C" __global__ void __launch_bounds__(64)
grid_spread(const unsigned* __restrict__ list, const int* __restrict__ heads, const unsigned* __restrict__ payloads,
            int* __restrict__ out_heads, unsigned* __restrict__ out_payloads, EachParams p) {
    __shared__ Scratch memory[kWarps];
    Scratch& s = memory[threadIdx.x / 32];
    for (u64 n = u64(blockIdx.x) * kWarps + threadIdx.x / 32; n < p.items; n += u64(gridDim.x) * kWarps) {
        const unsigned* item = list + p.each + n * kItem;
        const unsigned* map = list + u64(item[0]) * kMap;
        const u64 sample = item[1], base = u64(map[6]) + item[2];
        const unsigned count = item[3];
        if (map[2] != kNone) {
            spread(value_at(heads, payloads, u64(map[2]) * p.samples + sample), count, out_heads + base * kHead,
                   out_payloads + base * kPayload, s);
        }
        unsigned slot = 0;
        for (unsigned operand = 0; operand < map[4]; ++operand) {
            if (operand == map[5]) continue;
            const u64 from = u64(list[p.operands + map[3] + operand]) * p.samples + sample;
            const u64 to = base + u64(++slot) * map[7];
            const unsigned word = lane_of() < kHead ? unsigned(heads[from * kHead + lane_of()]) : 0;
            const int kind = int(__shfl_sync(kAll, word, 0));
            const bool plain = kind == kError || kind == kInt || kind == kBool || kind == kPair || kind == kNothing;
            for (unsigned k = 0; k < count; ++k) {
                if (lane_of() < kHead) out_heads[(to + k) * kHead + lane_of()] = int(word);
                if (plain) continue;
                for (unsigned at = lane_of(); at < kPayload; at += 32) {
                    out_payloads[(to + k) * kPayload + at] = payloads[from * kPayload + at];
                }
            }
        }
        __syncwarp();
    }
}

extern "C" __global__ void __launch_bounds__(64)
grid_gather(const unsigned* __restrict__ list, const int* __restrict__ heads, const unsigned* __restrict__ payloads,
            int* out_heads, unsigned* out_payloads, EachParams p) {
    __shared__ Joined memory[kWarps];
    Joined& s = memory[threadIdx.x / 32];
    for (u64 n = u64(blockIdx.x) * kWarps + threadIdx.x / 32; n < p.items; n += u64(gridDim.x) * kWarps) {
        const unsigned* item = list + p.each + n * kItem;
        const unsigned* map = list + u64(item[0]) * kMap;
        const Images m{map[0], u64(map[6]) + item[2], item[3], heads, payloads, map[7], map[8], map[9]};
        const u64 sample = item[1], target = u64(map[1]) * p.samples + sample;
        In x{};
        if (map[2] != kNone) x = value_at(out_heads, out_payloads, u64(map[2]) * p.samples + sample);
        chosen(m, x, Out{out_heads + target * kHead, out_payloads + target * kPayload}, s);
        __syncwarp();
    }
}
