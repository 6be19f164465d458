// Connected components of many grids in several modes: a warp a grid and mode; see src/kernels/components.rs.
#include "grid.cuh"

struct ComponentsParams {
    unsigned count, modes, capacity;
    // Four bits a mode.
    unsigned packed;
};
LOCKSTEP_PARAMS(ComponentsParams, 16);

constexpr unsigned kError = 0x80000000u;    // twin of ERROR
constexpr unsigned kEmpty = 2, kIndex = 3;  // places of the classes in ErrClass::ALL
constexpr unsigned kMany = 0x40000000u;     // a count: left to the kernel with room for as many components as cells
constexpr unsigned kFew = 128;              // components that 97 of 100 grids of the ARC have at most
constexpr unsigned kSlot = 0x80000000u;     // a cell's parent: the number of its component from here on
// Components up to which each is compared with all others to find its place.
constexpr unsigned kCompared = 64;

// Memory of one warp for up to Slots components. It bounds how many warps an SM holds, and they wait for memory mostly.
template <unsigned Slots>
struct Found {
    unsigned parent[kCells];
    // Of each component, numbered by first cells: smallest colour + 128, and the first cell of that colour in the lowest 10 bits.
    unsigned key[Slots];
    // Which columns, and which rows, have cells.
    unsigned columns[Slots], rows[Slots];
    // Number of cells, and from bit 16 the component's place in canonical order.
    unsigned size[Slots];
    unsigned bins[256];
};

// Numbers the components that `join_rows` has joined, and what they consist of; kMany for more than there are slots.
template <unsigned Slots>
__device__ __forceinline__ unsigned collect(const Grid& g, unsigned plane, Found<Slots>& s) {
    const unsigned lane = lane_of();
    unsigned count = 0;
    for (unsigned r = 0; r < g.h; ++r) {
        const unsigned row = __shfl_sync(kAll, plane, r), at = r * kSide + lane;
        const bool alive = row >> lane & 1;
        // Rows above have their numbers already: what leads to none begins in this row.
        unsigned cell = at, slot = kSlot;
        if (alive) {
            slot = s.parent[cell];
            while (!(slot & kSlot) && slot != cell) {
                cell = slot;
                slot = s.parent[cell];
            }
        }
        const bool fresh = alive && !(slot & kSlot);
        const unsigned firsts = __ballot_sync(kAll, fresh && cell == at);
        if (fresh) slot = count + __popc(firsts & below(cell % kSide));
        slot &= ~kSlot;
        count += __popc(firsts);
        if (count > Slots) return kMany;
        __syncwarp();
        s.parent[at] = kSlot | slot;
        if (fresh && cell == at) {
            s.key[slot] = kNone;
            s.columns[slot] = 0;
            s.rows[slot] = 0;
            s.size[slot] = 0;
        }
        __syncwarp();
        const int c = alive ? g.at(r, lane) : 0;
        const int left = __shfl_up_sync(kAll, c, 1);
        const bool begins = alive && (lane == 0 || !(row >> (lane - 1) & 1) || left != c);
        const unsigned starts = __ballot_sync(kAll, begins);
        if (begins) {
            // The run of one colour that begins here.
            const unsigned ends = (starts | ~row) & ~up_to(lane);
            const unsigned run = (ends == 0 ? kAll : below(low(ends))) & ~below(lane);
            atomicAdd(&s.size[slot], __popc(run));
            atomicOr(&s.columns[slot], run);
            atomicOr(&s.rows[slot], 1u << r);
            atomicMin(&s.key[slot], unsigned(c + 128) << 10 | at);
        }
    }
    __syncwarp();
    return count;
}

// Places of components in canonical order, by colour and then by first cell: size from bit 16.
template <unsigned Slots>
__device__ __forceinline__ void arrange(const Grid& g, unsigned plane, unsigned count, Found<Slots>& s) {
    const unsigned lane = lane_of();
    // Those that are left to the kernel with room for all have more.
    if (Slots == kFew && count <= kCompared) {
        for (unsigned k = lane; k < count; k += 32) {
            const unsigned key = s.key[k];
            unsigned place = 0;
            for (unsigned other = 0; other < count; ++other) place += s.key[other] < key;
            s.size[k] |= place << 16;
        }
        __syncwarp();
        return;
    }
    for (unsigned k = lane; k < 256; k += 32) s.bins[k] = 0;
    __syncwarp();
    for (unsigned pass = 0; pass < 2; ++pass) {
        for (unsigned r = 0; r < g.h; ++r) {
            const unsigned row = __shfl_sync(kAll, plane, r), at = r * kSide + lane;
            const unsigned slot = s.parent[at] & ~kSlot;
            const bool first = (row >> lane & 1) && (s.key[slot] & kRoot) == at;
            const unsigned all = __ballot_sync(kAll, first);
            if (first) {
                const unsigned c = g.at(r, lane) + 128;
                const unsigned peers = __match_any_sync(all, c);
                const unsigned before = s.bins[c];
                __syncwarp(all);
                if (low(peers) == lane) s.bins[c] = before + __popc(peers);
                if (pass == 1) s.size[slot] |= (before + __popc(peers & below(lane))) << 16;
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
}

// All grids with few components, and with Slots == kCells those that were left.
template <unsigned Slots>
__device__ __forceinline__ void components(const unsigned char* __restrict__ sizes, const unsigned char* __restrict__ cells,
                                           u16* __restrict__ labels, unsigned* __restrict__ counts,
                                           unsigned* __restrict__ table, const ComponentsParams& p, Found<Slots>& s) {
    const unsigned lane = lane_of();
    for (u64 n = u64(blockIdx.x) * kWarps + threadIdx.x / 32; n < p.count; n += u64(gridDim.x) * kWarps) {
        const Grid g{reinterpret_cast<const i8*>(cells) + n * kCells, sizes[2 * n], sizes[2 * n + 1]};
        unsigned background = kNone;
        for (unsigned m = 0; m < p.modes; ++m) {
            // Nobody asks for objects by colour here: what those need is left out.
            const unsigned mode = p.packed >> (4 * m) & (kUnivalued | kDiagonal | kBare);
            const u64 item = m * u64(p.count) + n;
            if (Slots == kCells && counts[item] != kMany) continue;
            unsigned plane = whole(g), count;
            if (mode & kBare) {
                if (background == kNone) {
                    histogram(g, plane, s.bins);
                    background = extreme_colour(s.bins, true);
                }
                if (background != kNone) plane = of_colour(g, plane, int(background) - 128, false);
            }
            if ((mode & kBare) && background == kNone) {
                count = kError | kEmpty;
            } else if (g.h == 0) {
                count = kError | kIndex;
            } else {
                __syncwarp();
                join_rows(g, plane, mode, s.parent, s.bins, [](unsigned) {});
                count = collect(g, plane, s);
            }
            __syncwarp();
            if (lane == 0) counts[item] = count;
            if (count == kMany) continue;
            const bool known = !(count & kError);
            if (known) {
                arrange(g, plane, count, s);
                for (unsigned k = lane; k < count; k += 32) {
                    const unsigned key = s.key[k], size = s.size[k], place = size >> 16;
                    if (place >= p.capacity) continue;
                    unsigned* out = table + (item * p.capacity + place) * 2;
                    const unsigned columns = s.columns[k], rows = s.rows[k];
                    out[0] = ((key >> 10) - 128 & 255) | (size & 0xffffu) << 8 | (key & kRoot) << 19;
                    out[1] = low(rows) | low(columns) << 8 | high(rows) << 16 | high(columns) << 24;
                }
            }
            for (unsigned r = 0; r < g.h; ++r) {
                const unsigned row = __shfl_sync(kAll, plane, r), at = r * kSide + lane;
                const bool alive = known && (row >> lane & 1);
                labels[item * kCells + at] = alive ? u16(s.size[s.parent[at] & ~kSlot] >> 16) : u16(0xffffu);
            }
            __syncwarp();
        }
    }
}

extern "C" __global__ void __launch_bounds__(64)
grid_components(const unsigned char* __restrict__ sizes, const unsigned char* __restrict__ cells,
                u16* __restrict__ labels, unsigned* __restrict__ counts, unsigned* __restrict__ table,
                ComponentsParams p) {
    __shared__ Found<kFew> memory[kWarps];
    components(sizes, cells, labels, counts, table, p, memory[threadIdx.x / 32]);
}

extern "C" __global__ void __launch_bounds__(64)
grid_components_many(const unsigned char* __restrict__ sizes, const unsigned char* __restrict__ cells,
                     u16* __restrict__ labels, unsigned* __restrict__ counts, unsigned* __restrict__ table,
                     ComponentsParams p) {
    __shared__ Found<kCells> memory[kWarps];
    components(sizes, cells, labels, counts, table, p, memory[threadIdx.x / 32]);
}
