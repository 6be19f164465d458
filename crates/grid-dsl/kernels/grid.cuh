// What the kernels of the grid language share: a warp works on one grid, a lane is a column while it walks over rows.
#pragma once
#include "lockstep.cuh"

typedef unsigned long long u64;
typedef unsigned short u16;
typedef signed char i8;

constexpr unsigned kSide = 32;                 // twin of SIDE
constexpr unsigned kCells = kSide * kSide;     // twin of CELLS
constexpr unsigned kWarps = 2;                 // warps of a block, twin of WARPS
constexpr unsigned kAll = 0xffffffffu;
constexpr unsigned kNone = 0xffffffffu;
constexpr unsigned kUnivalued = 4, kDiagonal = 2, kBare = 1;    // twins of Mode's bits
// A mode of values on the device alone: one object a colour. Twin of Mode::PARTITION.
constexpr unsigned kByColour = 8;

__device__ __forceinline__ unsigned lane_of() { return threadIdx.x % 32; }
__device__ __forceinline__ unsigned below(unsigned lane) { return (1u << lane) - 1; }
__device__ __forceinline__ unsigned up_to(unsigned lane) { return kAll >> (31 - lane); }
__device__ __forceinline__ unsigned first_columns(unsigned n) { return n >= 32 ? kAll : (1u << n) - 1; }
__device__ __forceinline__ unsigned low(unsigned mask) { return __ffs(mask) - 1; }
__device__ __forceinline__ unsigned high(unsigned mask) { return 31 - __clz(mask); }

__device__ __forceinline__ unsigned warp_or(unsigned v) {
    for (int lanes = 16; lanes > 0; lanes /= 2) v |= __shfl_xor_sync(kAll, v, lanes);
    return v;
}

// Sum of the values of lower lanes.
__device__ __forceinline__ unsigned sum_below(unsigned v) {
    const unsigned lane = lane_of(), own = v;
    for (unsigned step = 1; step < 32; step *= 2) {
        const unsigned other = __shfl_up_sync(kAll, v, step);
        if (lane >= step) v += other;
    }
    return v - own;
}

// A grid in memory: rows of kSide cells. Of a patch only cells under its mask count.
struct Grid {
    const i8* cells;
    unsigned h, w;

    __device__ __forceinline__ int at(unsigned i, unsigned j) const { return cells[i * kSide + j]; }
};

// Rows that are read before any of them is used: so many loads are on their way at once. Where much is done with a row, fewer
// copies of that are faster.
constexpr unsigned kAhead = 8, kFewAhead = 4;

// Calls f(r, cell) for every row of a grid, where the cell is that of the lane's column; of columns behind the grid it may be
// anything.
template <unsigned kAhead = ::kAhead, typename F>
__device__ __forceinline__ void each_row(const Grid& g, F f) {
    for (unsigned top = 0; top < g.h; top += kAhead) {
        int cells[kAhead];
#pragma unroll
        for (unsigned k = 0; k < kAhead; ++k) cells[k] = g.at(top + k < g.h ? top + k : g.h - 1, lane_of());
#pragma unroll
        for (unsigned k = 0; k < kAhead; ++k) {
            if (top + k < g.h) f(top + k, cells[k]);
        }
    }
}

// Memory of one warp. Arrays by cell hold what belongs to the component whose first cell, row by row, that is.
struct Scratch {
    // The component's first cell; in that cell itself the component's last row, too, from bit 16.
    unsigned parent[kCells];
    // Smallest colour + 128 of the component, and the first cell of that colour in the lowest 10 bits.
    unsigned key[kCells];
    // Which columns have cells.
    unsigned columns[kCells];
    // Number of cells, and from bit 16 the component's place in canonical order.
    unsigned size[kCells];
    unsigned bins[256];
};

constexpr unsigned kRoot = kCells - 1;

// Memory of one warp that asks no more than which cells belong together.
struct Joined {
    // Another cell of the component; of its first cell itself.
    unsigned parent[kCells];
    unsigned bins[256];
};

// How often each colour + 128 occurs among cells under the rows' masks (a lane's `plane` is its row), in 256 bins.
__device__ __forceinline__ void histogram(const Grid& g, unsigned plane, unsigned* bins) {
    const unsigned lane = lane_of();
    for (unsigned k = lane; k < 256; k += 32) bins[k] = 0;
    __syncwarp();
    each_row(g, [&](unsigned r, int cell) {
        const unsigned row = __shfl_sync(kAll, plane, r);
        if (row >> lane & 1) {
            const unsigned c = cell + 128;
            const unsigned peers = __match_any_sync(row, c);
            if (low(peers) == lane) bins[c] += __popc(peers);
        }
        __syncwarp();
    });
}

// The most, or least, frequent colour + 128 of the bins, the lowest of several; kNone without cells. In every lane.
__device__ __forceinline__ unsigned extreme_colour(const unsigned* bins, bool most) {
    unsigned best = 0;
    for (unsigned k = lane_of() * 8; k < lane_of() * 8 + 8; ++k) {
        const unsigned n = bins[k];
        if (n == 0) continue;
        const unsigned rank = (most ? n : kCells + 1 - n) << 8 | (255 - k);
        best = rank > best ? rank : best;
    }
    best = lockstep::warp_max(best);
    return best == 0 ? kNone : 255 - (best & 255);
}

// The rows' masks of all cells of a grid.
__device__ __forceinline__ unsigned whole(const Grid& g) { return lane_of() < g.h ? first_columns(g.w) : 0; }

// The rows' masks of cells under `plane` with, or without, a colour.
__device__ __forceinline__ unsigned of_colour(const Grid& g, unsigned plane, int colour, bool with) {
    unsigned out = 0;
    each_row(g, [&](unsigned r, int cell) {
        const unsigned row = __shfl_sync(kAll, plane, r);
        const unsigned kept = __ballot_sync(kAll, (row >> lane_of() & 1) && (cell == colour) == with);
        if (lane_of() == r) out = kept;
    });
    return out;
}

__device__ __forceinline__ unsigned find(volatile unsigned* parent, unsigned x) {
    for (unsigned p = parent[x]; p != x; p = parent[x]) x = p;
    return x;
}

// Joins two components under the smaller first cell, whatever the order in which lanes come.
__device__ __forceinline__ void unite(unsigned* parent, unsigned a, unsigned b) {
    while (true) {
        a = find(parent, a);
        b = find(parent, b);
        if (a == b) return;
        if (a > b) {
            const unsigned t = a;
            a = b;
            b = t;
        }
        const unsigned before = atomicMin(&parent[b], a);
        if (before == b) return;
        b = before;
    }
}

// Joins cells under `plane` that belong together: afterwards the parents of a component's cells lead to its first cell, row by
// row. `each(at)` is called for every cell of the rows first.
template <class Each>
__device__ __forceinline__ void join_rows(const Grid& g, unsigned plane, unsigned mode, unsigned* parent, unsigned* bins,
                                          Each each) {
    const unsigned lane = lane_of();
    const bool univalued = mode & kUnivalued, diagonal = mode & kDiagonal;
    if (mode & kByColour) {
        for (unsigned k = lane; k < 256; k += 32) bins[k] = kNone;
        __syncwarp();
    }
    int above = 0;
    unsigned above_row = 0, above_starts = 0;
    each_row<kFewAhead>(g, [&](unsigned r, int cell) {
        const unsigned row = __shfl_sync(kAll, plane, r), at = r * kSide + lane;
        const bool alive = row >> lane & 1;
        const int c = alive ? cell : 0;
        const int left = __shfl_up_sync(kAll, c, 1);
        const bool begins = alive && (lane == 0 || !(row >> (lane - 1) & 1) || (univalued && left != c));
        const unsigned starts = __ballot_sync(kAll, begins);
        each(at);
        parent[at] = alive ? r * kSide + high(starts & up_to(lane)) : kNone;
        __syncwarp();
        if (mode & kByColour) {
            // The first cell of a colour becomes the parent of all others.
            if (alive) {
                const unsigned peers = __match_any_sync(row, c);
                const unsigned first = bins[c + 128];
                __syncwarp(row);
                if (low(peers) == lane && first == kNone) bins[c + 128] = at;
                parent[at] = first == kNone ? r * kSide + low(peers) : first;
            }
            __syncwarp();
            return;
        }
        const int left_above = __shfl_up_sync(kAll, above, 1), right_above = __shfl_down_sync(kAll, above, 1);
        const bool up = alive && (above_row >> lane & 1) && (!univalued || above == c);
        const unsigned ups = __ballot_sync(kAll, up);
        // Columns to the left that touch the same two runs have joined them.
        const bool known = lane > 0 && (ups >> (lane - 1) & 1) && !begins && !(above_starts >> lane & 1);
        if (up && !known) unite(parent, at, at - kSide);
        if (diagonal && alive && !up) {
            if (lane > 0 && (above_row >> (lane - 1) & 1) && (!univalued || left_above == c)) {
                unite(parent, at, at - kSide - 1);
            }
            if (lane < 31 && (above_row >> (lane + 1) & 1) && (!univalued || right_above == c)) {
                unite(parent, at, at - kSide + 1);
            }
        }
        __syncwarp();
        above = c;
        above_row = row;
        above_starts = starts;
    });
}

// After `join_rows` every cell's parent becomes its component's first cell; kNone where there is no cell.
__device__ __forceinline__ void shorten(const Grid& g, unsigned plane, unsigned* parent) {
    for (unsigned r = 0; r < g.h; ++r) {
        const unsigned at = r * kSide + lane_of();
        const bool alive = __shfl_sync(kAll, plane, r) >> lane_of() & 1;
        const unsigned root = alive ? find(parent, at) : kNone;
        __syncwarp();
        parent[at] = root;
        __syncwarp();
    }
}

// The components of the cells under `plane`, after `join_rows`.
__device__ __forceinline__ unsigned roots_of(const Grid& g, unsigned plane, const unsigned* parent) {
    unsigned roots = 0;
    for (unsigned r = 0; r < g.h; ++r) {
        const unsigned row = __shfl_sync(kAll, plane, r), at = r * kSide + lane_of();
        roots += __popc(__ballot_sync(kAll, (row >> lane_of() & 1) && parent[at] == at));
    }
    return roots;
}

// Labels the components of the cells under `plane`: parent, key, columns and size of s (kNone where there is no cell).
__device__ __forceinline__ void label(const Grid& g, unsigned plane, unsigned mode, Scratch& s) {
    const unsigned lane = lane_of();
    join_rows(g, plane, mode, s.parent, s.bins, [&](unsigned at) {
        s.key[at] = kNone;
        s.columns[at] = 0;
        s.size[at] = 0;
    });
    shorten(g, plane, s.parent);
    each_row<kFewAhead>(g, [&](unsigned r, int cell) {
        const unsigned row = __shfl_sync(kAll, plane, r), at = r * kSide + lane;
        const bool alive = row >> lane & 1;
        const int c = alive ? cell : 0;
        const int left = __shfl_up_sync(kAll, c, 1);
        const bool begins = alive && (lane == 0 || !(row >> (lane - 1) & 1) || left != c);
        const unsigned starts = __ballot_sync(kAll, begins);
        const unsigned root = s.parent[at] & kRoot;
        __syncwarp();
        if (begins) {
            // The run of one colour that begins here.
            const unsigned ends = (starts | ~row) & ~up_to(lane);
            const unsigned run = (ends == 0 ? kAll : below(low(ends))) & ~below(lane);
            atomicAdd(&s.size[root], __popc(run));
            atomicOr(&s.columns[root], run);
            atomicMin(&s.key[root], unsigned(c + 128) << 10 | at);
            atomicMax(&s.parent[root], root | r << 16);
        }
        __syncwarp();
    });
}

// Whether a cell is the first one of its component in canonical order; after `label`.
__device__ __forceinline__ bool leads(const Scratch& s, unsigned at, bool alive) {
    return alive && (s.key[s.parent[at] & kRoot] & kRoot) == at;
}

// Numbers components in canonical order, by colour and then by first cell: s.size from bit 16. How many there are.
__device__ __forceinline__ unsigned number(const Grid& g, unsigned plane, Scratch& s) {
    const unsigned lane = lane_of();
    for (unsigned k = lane; k < 256; k += 32) s.bins[k] = 0;
    __syncwarp();
    for (unsigned pass = 0; pass < 2; ++pass) {
        for (unsigned r = 0; r < g.h; ++r) {
            const unsigned row = __shfl_sync(kAll, plane, r), at = r * kSide + lane;
            const bool first = leads(s, at, row >> lane & 1);
            const unsigned all = __ballot_sync(kAll, first);
            if (first) {
                const unsigned c = g.at(r, lane) + 128;
                const unsigned peers = __match_any_sync(all, c);
                const unsigned before = s.bins[c];
                __syncwarp(all);
                if (low(peers) == lane) s.bins[c] = before + __popc(peers);
                if (pass == 1) s.size[s.parent[at] & kRoot] |= (before + __popc(peers & below(lane))) << 16;
            }
            __syncwarp();
        }
        if (pass == 1) break;
        // From counts to where each colour begins.
        unsigned own = 0;
        for (unsigned k = 0; k < 8; ++k) own += s.bins[lane * 8 + k];
        unsigned begin = sum_below(own);
        for (unsigned k = 0; k < 8; ++k) {
            const unsigned n = s.bins[lane * 8 + k];
            s.bins[lane * 8 + k] = begin;
            begin += n;
        }
        __syncwarp();
    }
    return s.bins[255];
}
