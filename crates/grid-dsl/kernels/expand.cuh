// Images of small grids under the operations of searches: a warp a grid. What an operation does becomes a `Picture`: where
// each row and column comes from, and what becomes of the colours. Twin of src/search/action.rs.
#pragma once
#include "grid.cuh"

constexpr unsigned kMost = 30;           // twin of search::SIDE
constexpr unsigned kColours = 10;
constexpr unsigned kExpandWarps = 4;     // twin of expand::WARPS
constexpr u64 kSame = 0xfedcba9876543210ull;    // each colour stays

// A grid. Lane i has row i and column i of each bit of the colours, as masks.
struct Source {
    const unsigned char* cells;    // rows of kSide, in shared memory
    unsigned h, w;
    unsigned row[4], column[4];
    // By need: most and least frequent colour; kNone before.
    unsigned most, least;
    // By need: 4 + the flags of the components that the masks are of, then the cells of the largest and smallest one, if there
    // are any, and of all that have one cell.
    unsigned flooded, large, small, singles;
};

// The image of a grid. Lane i has what is said of row i and of column i.
struct Picture {
    unsigned h, w;
    // The row, or column, that is read; + 128 where columns, or rows, are read from the other end.
    unsigned row, column;
    bool turned;         // rows are read from columns
    // What becomes of each colour.
    u64 colours;
    // Cells differing from those so far away become 0.
    unsigned down, right;
    // The cells, of the grid that is read, that become `paint`.
    unsigned mask, paint;
    bool painted;
};

__device__ __forceinline__ unsigned reverse(unsigned v) { return __brev(v); }

// Rows below h have w columns.
__device__ __forceinline__ unsigned inside(const Source& g) { return lane_of() < g.h ? first_columns(g.w) : 0; }

// The cells of a row that have a colour.
__device__ __forceinline__ unsigned having(const Source& g, unsigned colour) {
    unsigned differs = 0;
    for (unsigned k = 0; k < 4; ++k) differs |= g.row[k] ^ (0u - (colour >> k & 1));
    return inside(g) & ~differs;
}

// Reads a packed grid: height, width, cells row by row.
__device__ __forceinline__ void read(const unsigned char* __restrict__ from, unsigned char* cells, Source& g) {
    const unsigned lane = lane_of();
    g.cells = cells;
    g.h = from[0];
    g.w = from[1];
    g.most = kNone;
    g.flooded = 0;
    for (unsigned k = 0; k < 4; ++k) g.row[k] = g.column[k] = 0;
    __syncwarp();
#pragma unroll 2
    for (unsigned r = 0; r < g.h; ++r) {
        const bool alive = lane < g.w;
        const unsigned c = alive ? from[2 + r * g.w + lane] : 0;
        if (alive) cells[r * kSide + lane] = c;
        for (unsigned k = 0; k < 4; ++k) {
            const unsigned bits = __ballot_sync(kAll, c >> k & 1);
            if (lane == r) g.row[k] = bits;
            g.column[k] |= (c >> k & 1) << r;
        }
    }
    __syncwarp();
}

// The most and the least frequent colour that is there, of several the lowest.
__device__ __forceinline__ void count(Source& g) {
    if (g.most != kNone) return;
    unsigned most = 0, least = kNone;
    for (unsigned first = 0; first < kColours; first += 3) {
        // Three counts of up to 900 in a word.
        unsigned word = 0;
        for (unsigned k = 0; k < 3; ++k) {
            if (first + k < kColours) word |= __popc(having(g, first + k)) << (10 * k);
        }
        word = lockstep::warp_sum(word);
        for (unsigned k = 0; k < 3; ++k) {
            const unsigned n = word >> (10 * k) & 1023, colour = first + k;
            if (n == 0) continue;
            const unsigned high = n << 4 | (15 - colour), low = n << 4 | colour;
            most = high > most ? high : most;
            least = low < least ? low : least;
        }
    }
    g.most = 15 - (most & 15);
    g.least = least & 15;
}

// A colour by its number, or 10 for the most and 11 for the least frequent one.
__device__ __forceinline__ unsigned picked(Source& g, unsigned pick) {
    if (pick < kColours) return pick;
    count(g);
    return pick == kColours ? g.most : g.least;
}

// From some cells of runs to the whole runs. A sum carries from a cell to the upper end of its run.
__device__ __forceinline__ unsigned upwards(unsigned cells, unsigned runs) {
    return ((runs ^ (runs + cells)) | cells) & runs;
}

// The component of a cell, the lowest one of lane `r`'s `left`.
__device__ __forceinline__ unsigned flood(unsigned left, unsigned r, unsigned free, bool diagonal) {
    unsigned own = lane_of() == r ? left & (0u - left) : 0;
    while (true) {
        unsigned near = __shfl_up_sync(kAll, own, 1) | __shfl_down_sync(kAll, own, 1);
        if (diagonal) near |= near << 1 | near >> 1;
        near = upwards((near | own) & free, free);
        near = reverse(upwards(reverse(near), reverse(free)));
        if (!__any_sync(kAll, near != own)) return own;
        own = near;
    }
}

// The components without the most frequent colour: the largest and the smallest one, of several the first in canonical order,
// and those of one cell.
__device__ __forceinline__ void components(Source& g, bool univalued, bool diagonal) {
    const unsigned flags = 4 | unsigned(univalued) << 1 | unsigned(diagonal);
    if (g.flooded == flags) return;
    g.flooded = flags;
    count(g);
    g.large = g.small = g.singles = 0;
    unsigned large_rank = kNone, small_rank = kNone;
    const unsigned there = inside(g) & ~having(g, g.most);
    for (unsigned colour = 0; colour < kColours; ++colour) {
        unsigned left = univalued ? having(g, colour) & there : there;
        const unsigned free = left;
        unsigned rows = __ballot_sync(kAll, left != 0);
        while (rows != 0) {
            const unsigned r = low(rows);
            const unsigned own = flood(left, r, free, diagonal);
            // The first cell in canonical order: the lowest colour's first one, row by row.
            unsigned first = colour, of_colour = own;
            if (!univalued) {
                for (first = 0; first + 1 < kColours; ++first) {
                    of_colour = own & having(g, first);
                    if (__any_sync(kAll, of_colour != 0)) break;
                }
                if (first + 1 == kColours) of_colour = own & having(g, first);
            }
            const unsigned i = low(__ballot_sync(kAll, of_colour != 0));
            const unsigned j = low(__shfl_sync(kAll, of_colour, i));
            const unsigned cell = first << 10 | i << 5 | j;
            const unsigned size = lockstep::warp_sum(unsigned(__popc(own)));
            const unsigned large = (1023 - size) << 14 | cell, small = size << 14 | cell;
            if (large < large_rank) {
                large_rank = large;
                g.large = own;
            }
            if (small < small_rank) {
                small_rank = small;
                g.small = own;
            }
            if (size == 1) g.singles |= own;
            left &= ~own;
            rows = __ballot_sync(kAll, left != 0);
        }
        if (!univalued) break;
    }
}

// A part of the lines of a side: where it begins, and how many they are.
struct Part {
    unsigned from, n;
};

// Twin of Span::range.
__device__ __forceinline__ Part span(unsigned code, unsigned n) {
    const unsigned k = code >> 4;
    switch (code & 15) {
        case 0: return {0, n};
        case 1: return {0, n < k ? n : k};
        case 2: return {n - 1, 1};
        case 3: return {1, n - 1};
        case 4: return {0, n - 1};
        case 5: return {0, n / 2};
        case 6: return {n - n / 2, n / 2};
        case 7: return {1, n > 2 ? n - 2 : 0};
        default: {
            const unsigned each = n / k, step = each + (each * k != n), at = (code & 15) == 8 ? 0 : k - 1;
            const unsigned from = at * step < n ? at * step : n;
            return {from, each < n - from ? each : n - from};
        }
    }
}

// The box of cells; false without any.
__device__ __forceinline__ bool box(unsigned cells, Part& rows, Part& columns) {
    const unsigned i = __ballot_sync(kAll, cells != 0), j = warp_or(cells);
    if (i == 0) return false;
    rows = {low(i), high(i) - low(i) + 1};
    columns = {low(j), high(j) - low(j) + 1};
    return true;
}

// The lane-th lowest bit of a mask; anything where there are fewer.
__device__ __forceinline__ unsigned nth(unsigned mask) {
    unsigned at = 0, n = lane_of();
    for (unsigned bits = 16; bits > 0; bits /= 2) {
        const unsigned there = __popc(mask >> at & ((1u << bits) - 1));
        if (n >= there) {
            n -= there;
            at += bits;
        }
    }
    return at & 31;
}

// Lines of several colours. Lane i has line i, of n cells.
__device__ __forceinline__ unsigned mixed(const unsigned bits[4], unsigned lines, unsigned n) {
    const unsigned all = first_columns(n);
    bool differs = false;
    for (unsigned k = 0; k < 4; ++k) differs |= bits[k] != 0 && bits[k] != all;
    return __ballot_sync(kAll, differs && lane_of() < lines);
}

// Lines that no earlier one is equal to.
__device__ __forceinline__ unsigned new_lines(const unsigned bits[4], unsigned lines) {
    unsigned peers = kAll;
    for (unsigned k = 0; k < 4; ++k) peers &= __match_any_sync(kAll, bits[k]);
    return __ballot_sync(kAll, low(peers) == lane_of() && lane_of() < lines);
}

// A colour instead of another.
__device__ __forceinline__ u64 exchanged(u64 colours, unsigned old, unsigned now) {
    return (colours & ~(u64(15) << (4 * old))) | u64(now) << (4 * old);
}

// All colours become one.
__device__ __forceinline__ u64 everywhere(unsigned colour) { return 0x1111111111111111ull * colour; }

// What an operation makes of a grid; false where that is nothing, or too large. `ratio` of lane n is 65536 / n + 1.
__device__ __forceinline__ bool picture(Source& g, unsigned code, unsigned ratio, Picture& to) {
    const unsigned lane = lane_of(), a = code >> 8 & 255, b = code >> 16 & 255, c = code >> 24;
    to.h = g.h;
    to.w = g.w;
    to.row = to.column = lane;
    to.turned = to.painted = false;
    to.colours = kSame;
    to.down = to.right = to.mask = to.paint = 0;
    Part rows = {0, g.h}, columns = {0, g.w};
    bool cut = false;
    switch (code & 255) {
        case 0:
            to.turned = a & 4;
            if (to.turned) {
                to.h = g.w;
                to.w = g.h;
            }
            // Bits are of the place that is read: 1 reverses its columns, 2 its rows.
            if (a & (to.turned ? 1 : 2)) to.row = to.h - 1 - lane;
            if (a & (to.turned ? 2 : 1)) to.column = to.w - 1 - lane;
            break;
        case 1:
            rows = span(a, g.h);
            columns = span(b, g.w);
            cut = true;
            break;
        case 2:
            to.h = a * g.h;
            to.w = b * g.w;
            to.row = lane * __shfl_sync(kAll, ratio, a) >> 16;
            to.column = lane * __shfl_sync(kAll, ratio, b) >> 16;
            break;
        case 3:
            to.h = (g.h + a - 1) * __shfl_sync(kAll, ratio, a) >> 16;
            to.w = (g.w + a - 1) * __shfl_sync(kAll, ratio, a) >> 16;
            to.row = to.column = lane * a;
            break;
        case 4:
            to.h = a * g.h;
            to.w = b * g.w;
            to.row = lane - (lane * __shfl_sync(kAll, ratio, g.h) >> 16) * g.h;
            to.column = lane - (lane * __shfl_sync(kAll, ratio, g.w) >> 16) * g.w;
            break;
        case 5: {
            const bool beside = a, vmirror = b, mirror_first = c;
            const unsigned n = beside ? g.w : g.h;
            const bool second = lane >= n;
            unsigned line = second ? lane - n : lane;
            if (second != mirror_first) line = beside == vmirror ? n - 1 - line : line | 128;
            if (beside) {
                to.w = 2 * n;
                to.column = line;
            } else {
                to.h = 2 * n;
                to.row = line;
            }
            break;
        }
        case 6:
            components(g, a, b);
            cut = box(c ? g.large : g.small, rows, columns);
            if (!cut) return false;
            break;
        case 7:
            components(g, true, b);
            to.painted = true;
            to.mask = g.singles;
            to.paint = g.most;
            break;
        case 8:
            count(g);
            cut = box(inside(g) & ~having(g, g.most), rows, columns);
            if (!cut) return false;
            break;
        case 9: to.colours = exchanged(kSame, picked(g, a), b); break;
        case 10: to.colours = u64(a) << (4 * a); break;
        case 11:
            to.painted = box(having(g, a), rows, columns);
            to.paint = a;
            if (to.painted && lane - rows.from < rows.n) to.mask = first_columns(columns.n) << columns.from;
            break;
        case 12:
            cut = box(having(g, picked(g, a)), rows, columns);
            if (!cut) return false;
            break;
        case 13:
            count(g);
            to.colours = exchanged(exchanged(kSame, g.least, g.most), g.most, g.least);
            break;
        case 14:
            to.h = to.w = 1;
            to.colours = everywhere(picked(g, a));
            break;
        case 15: to.colours = everywhere(picked(g, a)); break;
        case 16: {
            const unsigned i = mixed(g.row, g.h, g.w), j = mixed(g.column, g.w, g.h);
            to.h = __popc(i);
            to.w = __popc(j);
            to.row = nth(i);
            to.column = nth(j);
            break;
        }
        case 17: {
            const unsigned kept = a ? new_lines(g.row, g.h) : new_lines(g.column, g.w);
            const unsigned n = __popc(kept), line = nth(kept);
            if (a) {
                to.h = n;
                to.row = line;
            } else {
                to.w = n;
                to.column = line;
            }
            break;
        }
        default:
            if (a) {
                to.w = g.w / 2;
                to.right = g.w - g.w / 2;
            } else {
                to.h = g.h / 2;
                to.down = g.h - g.h / 2;
            }
            break;
    }
    if (cut) {
        to.h = rows.n;
        to.w = columns.n;
        to.row = rows.from + lane;
        to.column = columns.from + lane;
    }
    return to.h - 1 < kMost && to.w - 1 < kMost;
}

// Cell k of an image of n cells, row by row; 0 behind the last one. `ratio` is that of its width.
__device__ __forceinline__ unsigned cell(const Source& g, const Picture& of, unsigned ratio, unsigned n, unsigned k) {
    const unsigned i = k * ratio >> 16, j = k - i * of.w;
    const unsigned row = __shfl_sync(kAll, of.row, i), column = __shfl_sync(kAll, of.column, j);
    unsigned r = row & 31, c = column & 31;
    if (row & 128) c = g.w - 1 - c;
    if (column & 128) r = g.h - 1 - r;
    if (of.turned) {
        const unsigned t = r;
        r = c;
        c = t;
    }
    unsigned value = 0;
    if (k < n) {
        value = g.cells[r * kSide + c];
        if ((of.down | of.right) != 0 && g.cells[(r + of.down) * kSide + c + of.right] != value) value = 0;
        value = unsigned(of.colours >> (4 * value)) & 15;
    }
    if (of.painted) {
        const unsigned mask = __shfl_sync(kAll, of.mask, r & 31);
        if (k < n && (mask >> (c & 31) & 1)) value = of.paint;
    }
    return value;
}
