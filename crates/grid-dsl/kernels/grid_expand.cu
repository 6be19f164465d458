// Operations of searches on states, a warp each state and up to 32 operations; see src/kernels/expand.rs.
#include "expand.cuh"

struct ExpandParams {
    unsigned states;
    unsigned operations;
    unsigned examples;    // grids of a state
    unsigned each;        // operations of a warp
};
LOCKSTEP_PARAMS(ExpandParams, 16);

// One step of both mixes. Twin of Small::mix.
__device__ __forceinline__ void eat(u64& a, u64& b, u64 word) {
    const u64 x = (a ^ word) * 0x9e3779b97f4a7c15ull;
    a = x << 29 | x >> 35;
    b = ((b << 23 | b >> 41) ^ word) * 0xc2b2ae3d27d4eb4full;
}

// The ors of eight lanes each, in all of them.
__device__ __forceinline__ unsigned or_of_eight(unsigned v) {
    for (int lanes = 4; lanes > 0; lanes /= 2) v |= __shfl_xor_sync(kAll, v, lanes);
    return v;
}

// Mixes an image into a key, and says whether it is the goal.
__device__ __forceinline__ bool keyed(const Source& g, const Picture& of, unsigned ratio,
                                      const unsigned char* __restrict__ goal, u64& a, u64& b) {
    const unsigned lane = lane_of(), n = of.h * of.w, own = __shfl_sync(kAll, ratio, of.w);
    bool same = goal[0] == of.h && goal[1] == of.w;
    eat(a, b, of.h << 8 | of.w);
    for (unsigned begin = 0; begin < n; begin += 32) {
        const unsigned k = begin + lane, value = cell(g, of, own, n, k);
        if (same) same = !__any_sync(kAll, k < n && goal[2 + k] != value);
        // Two words of sixteen cells, the first cell highest.
        const unsigned half = or_of_eight(value << (4 * (7 - lane % 8)));
        for (unsigned word = 0; word < 2; ++word) {
            const unsigned from = begin + 16 * word;
            u64 cells = u64(__shfl_sync(kAll, half, 16 * word)) << 32 | __shfl_sync(kAll, half, 16 * word + 8);
            if (from >= n) break;
            const unsigned left = n - from;
            if (left < 16) cells = cells >> (64 - 4 * left) | u64(1) << (4 * left);
            eat(a, b, cells);
        }
    }
    a ^= a >> 31;
    b ^= b >> 29;
    return same;
}

// Whether an image is the goal.
__device__ __forceinline__ bool equals(const Source& g, const Picture& of, unsigned ratio,
                                       const unsigned char* __restrict__ goal) {
    if (goal[0] != of.h || goal[1] != of.w) return false;
    const unsigned n = of.h * of.w, own = __shfl_sync(kAll, ratio, of.w);
    for (unsigned begin = 0; begin < n; begin += 32) {
        const unsigned k = begin + lane_of(), value = cell(g, of, own, n, k);
        if (__any_sync(kAll, k < n && goal[2 + k] != value)) return false;
    }
    return true;
}

__device__ __forceinline__ unsigned ratio_of_lane() { return lane_of() == 0 ? 0 : 65536 / lane_of() + 1; }

// With kLast nothing but the goals is looked for, and an image that is not one ends its operation.
template <bool kLast>
__device__ __forceinline__ void expand(const unsigned* __restrict__ operations, const unsigned* __restrict__ begins,
                                       const unsigned char* __restrict__ grids,
                                       const unsigned char* __restrict__ goals, u64* __restrict__ keys,
                                       unsigned* __restrict__ sizes, unsigned* __restrict__ tallies,
                                       const ExpandParams& p) {
    __shared__ unsigned char memory[kExpandWarps][kCells];
    unsigned char* cells = memory[threadIdx.x / 32];
    const unsigned lane = lane_of(), ratio = ratio_of_lane(), parts = (p.operations + p.each - 1) / p.each;
    const u64 items = u64(p.states) * parts;
    for (u64 item = u64(blockIdx.x) * kExpandWarps + threadIdx.x / 32; item < items;
         item += u64(gridDim.x) * kExpandWarps) {
        const u64 state = item / parts;
        const unsigned first = unsigned(item - state * parts) * p.each;
        const unsigned count = p.operations - first < p.each ? p.operations - first : p.each;
        // Operations, as bits, that still have an image, and those whose images were all goals.
        unsigned alive = first_columns(count), equal = alive, applications = 0;
        // What lane k has is of operation k.
        u64 a = 0x6c62272e07bb0142ull, b = 0x62b821756295c58dull;
        unsigned bytes = 0;
        const unsigned char* from = grids + begins[state];
        const unsigned char* goal = goals;
        for (unsigned e = 0; e < p.examples && alive != 0; ++e) {
            Source g;
            read(from, cells, g);
            applications += __popc(alive);
            for (unsigned left = alive; left != 0; left &= left - 1) {
                const unsigned k = low(left);
                Picture image;
                if (!picture(g, operations[first + k], ratio, image)) {
                    alive &= ~(1u << k);
                } else if (kLast) {
                    if (!equals(g, image, ratio, goal)) alive &= ~(1u << k);
                } else {
                    u64 now_a = __shfl_sync(kAll, a, k), now_b = __shfl_sync(kAll, b, k);
                    if (!keyed(g, image, ratio, goal, now_a, now_b)) equal &= ~(1u << k);
                    if (lane == k) {
                        a = now_a;
                        b = now_b;
                        bytes += 2 + image.h * image.w;
                    }
                }
            }
            from += 2 + g.h * g.w;
            goal += 2 + goal[0] * goal[1];
        }
        const unsigned hits = alive & equal;
        if (lane == 0) {
            tallies[2 * item] = applications;
            tallies[2 * item + 1] = hits;
        }
        if (!kLast && lane < count) {
            const u64 n = state * p.operations + first + lane;
            const bool is_new = (alive & ~hits) >> lane & 1;
            sizes[n] = is_new ? bytes : 0;
            keys[2 * n] = is_new ? a : 0;
            keys[2 * n + 1] = is_new ? b : 0;
        }
    }
}

extern "C" __global__ void __launch_bounds__(128, 5)
grid_expand(const unsigned* __restrict__ operations, const unsigned* __restrict__ begins,
            const unsigned char* __restrict__ grids, const unsigned char* __restrict__ goals,
            u64* __restrict__ keys, unsigned* __restrict__ sizes, unsigned* __restrict__ tallies, ExpandParams p) {
    expand<false>(operations, begins, grids, goals, keys, sizes, tallies, p);
}

extern "C" __global__ void __launch_bounds__(128)
grid_expand_last(const unsigned* __restrict__ operations, const unsigned* __restrict__ begins,
                 const unsigned char* __restrict__ grids, const unsigned char* __restrict__ goals,
                 unsigned* __restrict__ tallies, ExpandParams p) {
    expand<true>(operations, begins, grids, goals, nullptr, nullptr, tallies, p);
}

// Packs the images of a state under an operation; `wanted` has state, operation, where they begin and
// their bytes: what does not fit is left out.
extern "C" __global__ void __launch_bounds__(128)
grid_expand_pack(const unsigned* __restrict__ operations, const unsigned* __restrict__ begins,
                 const unsigned char* __restrict__ grids, const unsigned* __restrict__ wanted,
                 unsigned char* __restrict__ out, unsigned count, unsigned examples) {
    __shared__ unsigned char memory[kExpandWarps][kCells];
    unsigned char* cells = memory[threadIdx.x / 32];
    const unsigned lane = lane_of(), ratio = ratio_of_lane();
    for (u64 item = u64(blockIdx.x) * kExpandWarps + threadIdx.x / 32; item < count;
         item += u64(gridDim.x) * kExpandWarps) {
        const unsigned char* from = grids + begins[wanted[4 * item]];
        const unsigned operation = operations[wanted[4 * item + 1]];
        unsigned char* to = out + wanted[4 * item + 2];
        unsigned room = wanted[4 * item + 3];
        for (unsigned e = 0; e < examples; ++e) {
            Source g;
            Picture image;
            read(from, cells, g);
            const bool whole = picture(g, operation, ratio, image);
            const unsigned n = image.h * image.w;
            if (!whole || room < 2 + n) break;
            room -= 2 + n;
            const unsigned own = __shfl_sync(kAll, ratio, image.w);
            if (lane == 0) {
                to[0] = image.h;
                to[1] = image.w;
            }
            for (unsigned begin = 0; begin < n; begin += 32) {
                const unsigned k = begin + lane, value = cell(g, image, own, n, k);
                if (k < n) to[2 + k] = value;
            }
            from += 2 + g.h * g.w;
            to += 2 + n;
        }
    }
}
