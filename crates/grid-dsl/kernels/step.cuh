// Values of the wavefront: what a warp reads and writes of them. See src/kernels/step/mod.rs.
#pragma once
#include "grid.cuh"

constexpr unsigned kHead = 8;           // words of a head, twin of HEAD
constexpr unsigned kPayload = 288;      // words of a payload, twin of PAYLOAD
constexpr unsigned kMasks = 256;        // where the rows' masks begin
constexpr int kFar = 1 << 20;           // twin of FAR

// Twins of Kind.
enum Kind { kSpilled, kError, kInt, kBool, kPair, kGrid, kIndices, kObject, kObjects, kNothing, kStrips, kBound, kOrdered, kLines };
// Twins of Spill.
enum Spill { kByKind = 1, kBySize, kByClass, kByOperand };
// Places of ErrClass::ALL.
enum Class { kTypeError, kArityError, kEmptyError, kIndexError, kDivZeroError, kRangeError, kOverflowError };

struct In {
    int kind, a, b, c;
    const i8* cells;
    const unsigned* masks;

    __device__ __forceinline__ Grid grid() const { return {cells, unsigned(a), unsigned(b)}; }
    __device__ __forceinline__ bool number() const { return kind == kInt || kind == kBool; }
    // A number that a cell may be.
    __device__ __forceinline__ bool colour() const { return kind == kInt && a >= -128 && a <= 127; }
    __device__ __forceinline__ bool tall() const { return kind == kGrid && a > 0; }
    __device__ __forceinline__ bool patch() const { return kind == kIndices || kind == kObject; }
    // A tuple without elements, which is a patch without cells, too.
    __device__ __forceinline__ bool hollow() const { return kind == kGrid && a == 0; }
    __device__ __forceinline__ bool tuple() const {
        return kind == kPair || kind == kGrid || kind == kStrips || kind == kOrdered;
    }
    __device__ __forceinline__ bool set() const { return patch() || kind == kObjects || kind == kLines; }
    // What may be compared with colours.
    __device__ __forceinline__ bool comparable() const { return number() || kind == kNothing; }
};

// One of two values, in registers: what is chosen by address would lie in memory.
__device__ __forceinline__ In one_of(bool first, const In& a, const In& b) {
    return {first ? a.kind : b.kind, first ? a.a : b.a,         first ? a.b : b.b,
            first ? a.c : b.c,       first ? a.cells : b.cells, first ? a.masks : b.masks};
}

// A value of an arena.
__device__ __forceinline__ In value_at(const int* heads, const unsigned* payloads, u64 at) {
    const int* head = heads + at * kHead;
    const unsigned* payload = payloads + at * kPayload;
    return {head[0], head[1], head[2], head[3], reinterpret_cast<const i8*>(payload), payload + kMasks};
}

// A patch in a window that begins at its bounding box; a lane's mask is its row.
struct Patch {
    unsigned mask;
    int i0, j0;
    unsigned h, w;
    // Colours, and where in them the window begins.
    const i8* cells;
    unsigned oi, oj;

    __device__ __forceinline__ bool empty() const { return h == 0; }
    __device__ __forceinline__ unsigned count() const { return lockstep::warp_sum(unsigned(__popc(mask))); }
    __device__ __forceinline__ int at(unsigned i, unsigned j) const { return cells[(i + oi) * kSide + j + oj]; }
};

__device__ __forceinline__ Patch framed(unsigned mask, int i0, int j0, const i8* cells) {
    const unsigned rows = __ballot_sync(kAll, mask != 0), columns = warp_or(mask);
    if (rows == 0) return {0, 0, 0, 0, 0, cells, 0, 0};
    const unsigned top = low(rows), left = low(columns);
    const unsigned moved = __shfl_sync(kAll, mask, (lane_of() + top) & 31);
    return {lane_of() + top < 32 ? moved >> left : 0, i0 + int(top), j0 + int(left), high(rows) - top + 1,
            high(columns) - left + 1, cells, top, left};
}

__device__ __forceinline__ Patch patch_of(const In& v) {
    const int origin = v.kind == kObjects ? 0 : 1;
    return framed(v.masks[lane_of()], origin * v.a, origin * v.b, v.cells);
}

// The mask in a window that begins at (0, 0), of a patch that begins at (i0, j0).
__device__ __forceinline__ unsigned placed(unsigned mask, int i0, int j0) {
    const int from = int(lane_of()) - i0;
    const unsigned row = __shfl_sync(kAll, mask, from & 31);
    if (from < 0 || from > 31 || j0 > 31 || j0 < -31) return 0;
    return j0 >= 0 ? row << j0 : row >> -j0;
}

// Where the element (i, j) of a result comes from: row i0 + di * (i / f), and so for columns.
struct Map {
    // What a row or column is multiplied by to be divided by f, in 65536ths: exact below 32.
    static constexpr unsigned kOne = 65536;
    __device__ static __forceinline__ unsigned over(unsigned f) { return f <= 1 ? kOne : (kOne + f - 1) / f; }

    unsigned h, w;
    bool transposed;
    int i0, di;
    unsigned fi;
    int j0, dj;
    unsigned fj;

    __device__ __forceinline__ unsigned row(unsigned i, unsigned j) const {
        return i0 + di * int((transposed ? j : i) * fi / kOne);
    }
    __device__ __forceinline__ unsigned column(unsigned i, unsigned j) const {
        return j0 + dj * int((transposed ? i : j) * fj / kOne);
    }
};

struct Out {
    int* head;
    unsigned* payload;

    __device__ __forceinline__ void put(int kind, int a = 0, int b = 0, int c = 0) const {
        const unsigned lane = lane_of();
        if (lane < kHead) head[lane] = lane == 0 ? kind : lane == 1 ? a : lane == 2 ? b : lane == 3 ? c : 0;
    }
    // A function with one argument fixed.
    __device__ __forceinline__ void bound(int function, const In& v) const {
        const unsigned lane = lane_of();
        const int of = lane == 4 ? v.kind : lane == 5 ? v.a : lane == 6 ? v.b : v.c;
        if (lane < kHead) head[lane] = lane == 0 ? int(kBound) : lane == 1 ? function : lane >= 4 ? of : 0;
    }
    __device__ __forceinline__ void spill(Spill why) const { put(kSpilled, why); }
    __device__ __forceinline__ void fail(Class why) const { put(kError, why); }
    __device__ __forceinline__ void number(long long n) const {
        if (n < -2147483648ll || n > 2147483647ll) return fail(kOverflowError);
        put(kInt, int(n));
    }
    __device__ __forceinline__ void pair(long long i, long long j) const {
        if (i < -2147483648ll || i > 2147483647ll || j < -2147483648ll || j > 2147483647ll) return fail(kOverflowError);
        put(kPair, int(i), int(j));
    }

    // Cells of rows below h. `f` only reads, and may be called twice for the last row.
    template <typename F>
    __device__ __forceinline__ void cells(unsigned h, F f) const {
        i8* out = reinterpret_cast<i8*>(payload);
        for (unsigned top = 0; top < h; top += kAhead) {
            int row[kAhead];
#pragma unroll
            for (unsigned k = 0; k < kAhead; ++k) row[k] = f(top + k < h ? top + k : h - 1, lane_of());
#pragma unroll
            for (unsigned k = 0; k < kAhead; ++k) {
                if (top + k < h) out[(top + k) * kSide + lane_of()] = i8(row[k]);
            }
        }
    }
    template <typename F>
    __device__ __forceinline__ void grid(unsigned h, unsigned w, F f) const {
        if (h > kSide || w > kSide) return spill(kBySize);
        w = h == 0 ? 0 : w;
        cells(h, [&](unsigned r, unsigned c) { return c < w ? f(r, c) : 0; });
        put(kGrid, h, w);
    }
    // A patch with a mask a lane, in a window of 32 x 32 that begins at (i0, j0).
    template <typename F>
    __device__ __forceinline__ void patch(bool object, unsigned mask, long long i0, long long j0, F f) const {
        const unsigned rows = __ballot_sync(kAll, mask != 0);
        if (rows != 0 && (i0 < -kFar || i0 > kFar || j0 < -kFar || j0 > kFar)) return spill(kBySize);
        payload[kMasks + lane_of()] = mask;
        if (rows == 0) return put(kIndices);
        if (object) {
            cells(high(rows) + 1, [&](unsigned r, unsigned c) {
                const unsigned row = __shfl_sync(kAll, mask, r);
                return row >> c & 1 ? f(r, c) : 0;
            });
        }
        put(object ? kObject : kIndices, int(i0), int(j0));
    }
    __device__ __forceinline__ void indices(unsigned mask, long long i0, long long j0) const {
        patch(false, mask, i0, j0, [](unsigned, unsigned) { return 0; });
    }
    // Objects of a grid's cells under the rows' masks.
    __device__ __forceinline__ void objects(const Grid& g, unsigned plane, unsigned mode) const {
        payload[kMasks + lane_of()] = plane;
        if (__ballot_sync(kAll, plane != 0) == 0) return put(kIndices);
        cells(g.h, [&](unsigned r, unsigned c) { return c < g.w ? g.at(r, c) : 0; });
        put(kObjects, g.h, g.w, mode);
    }
    __device__ __forceinline__ void copy_payload(const In& v) const {
        const unsigned* from = v.masks - kMasks;
        for (unsigned k = lane_of(); k < kPayload; k += 32) payload[k] = from[k];
    }
    __device__ __forceinline__ void copy(const In& v) const {
        // Their heads have more words.
        if (v.kind == kBound) return spill(kByKind);
        if ((v.kind >= kGrid && v.kind <= kObjects) || v.kind == kStrips || v.kind >= kOrdered) copy_payload(v);
        put(v.kind, v.a, v.b, v.c);
    }
    // A grid or patch whose elements come from another's.
    __device__ __forceinline__ void mapped(const In& v, const Map& m) const {
        if (m.h > kSide || m.w > kSide) return spill(kBySize);
        if (v.kind == kGrid) {
            const Grid g = v.grid();
            return grid(m.h, m.w, [&](unsigned r, unsigned c) { return g.at(m.row(r, c), m.column(r, c)); });
        }
        const Patch p = patch_of(v);
        unsigned mask = 0;
        for (unsigned r = 0; r < m.h; ++r) {
            const unsigned row = __shfl_sync(kAll, p.mask, m.row(r, lane_of()) & 31);
            const bool there = lane_of() < m.w && (row >> (m.column(r, lane_of()) & 31) & 1);
            const unsigned bits = __ballot_sync(kAll, there);
            if (lane_of() == r) mask = bits;
        }
        patch(v.kind == kObject, mask, p.i0, p.j0,
              [&](unsigned r, unsigned c) { return p.at(m.row(r, c), m.column(r, c)); });
    }
};

// Whether a value is a grid; writes what functions of grids give for others. Parts of a grid may be rows of another one.
__device__ __forceinline__ bool reads_grid(const In& v, const Out& out) {
    if (v.kind != kGrid) v.kind == kStrips ? out.spill(kByKind) : out.fail(kTypeError);
    return v.kind == kGrid;
}

// The same where a first row is needed.
__device__ __forceinline__ bool reads_rows(const In& v, const Out& out) {
    if (v.hollow()) out.fail(kIndexError);
    return reads_grid(v, out) && v.a > 0;
}

// Whether a value is a patch; writes what functions of patches give for others. Rows of two may be locations.
__device__ __forceinline__ bool reads_patch(const In& v, Patch& p, const Out& out) {
    p = {0, 0, 0, 0, 0, v.cells, 0, 0};
    if (v.patch()) p = patch_of(v);
    if (v.patch() || v.hollow()) return true;
    v.kind == kGrid && v.b == 2 ? out.spill(kByKind) : out.fail(kTypeError);
    return false;
}

// Positions from <= x < to that a slice keeps.
struct Slice {
    int from, to;
    __device__ __forceinline__ Slice(long long a, long long n, int length) {
        const long long b = a + n;
        const long long x = a < 0 ? a + length : a, y = b < 0 ? b + length : b;
        from = int(x < 0 ? 0 : x > length ? length : x);
        to = int(y < 0 ? 0 : y > length ? length : y);
        if (to < from) to = from;
    }
};

// Rows and columns of one colour as objects in canonical order: a lane knows the places of a row and of a column.
struct Lines {
    unsigned count, row, column;

    __device__ __forceinline__ explicit Lines(const In& v) {
        const Grid g = v.grid();
        // The row of a grid of one cell is its column.
        const unsigned lane = lane_of(), rows = v.masks[0], columns = g.h * g.w == 1 ? 0 : v.masks[1];
        // Colour, first cell, and which of a row and a column with the same begins the other.
        const bool flat = g.h == 1;
        const unsigned by_row = rows >> lane & 1 ? unsigned(g.at(lane, 0) + 128) << 12 | lane << 6 | flat : kNone;
        const unsigned by_column = columns >> lane & 1 ? unsigned(g.at(0, lane) + 128) << 12 | lane << 1 | !flat : kNone;
        count = __popc(rows) + __popc(columns);
        row = column = 0;
        for (unsigned k = 0; k < 32; ++k) {
            const unsigned r = __shfl_sync(kAll, by_row, k), c = __shfl_sync(kAll, by_column, k);
            row += (r < by_row) + (c < by_row);
            column += (r < by_column) + (c < by_column);
        }
        if (by_row == kNone) row = kNone;
        if (by_column == kNone) column = kNone;
    }
    // The rows' masks of the k-th.
    __device__ __forceinline__ unsigned mask(unsigned k, const Grid& g) const {
        const unsigned columns = __ballot_sync(kAll, column == k);
        return row == k ? first_columns(g.w) : lane_of() < g.h ? columns : 0;
    }
};

// Cells of part k of strips.
struct Strip {
    Grid of;
    unsigned top, left, h, w;

    __device__ __forceinline__ Strip(const In& v, int k) : of(v.grid()), top(0), left(0), h(v.a), w(v.b) {
        const int n = v.c & 255, side = v.c & 256 ? v.a : v.b;
        if (v.c & 512) return;
        const int piece = side / n;
        const Slice part(k * (piece + (side % n != 0)), piece, side);
        if (v.c & 256) {
            top = part.from, h = part.to - part.from;
        } else {
            left = part.from, w = part.to - part.from;
        }
    }
    __device__ __forceinline__ int at(unsigned r, unsigned c) const { return of.at(r + top, c + left); }
    __device__ __forceinline__ bool like(const Strip& o) const { return h == o.h && w == o.w; }
    // Below 0, 0 or above for the first cell that differs, row by row; parts of one shape.
    __device__ __forceinline__ int compared(const Strip& o) const {
        for (unsigned r = 0; r < h; ++r) {
            const int x = lane_of() < w ? at(r, lane_of()) : 0, y = lane_of() < w ? o.at(r, lane_of()) : 0;
            const unsigned differ = __ballot_sync(kAll, x != y);
            if (differ != 0) return __shfl_sync(kAll, x - y, low(differ));
        }
        return 0;
    }
};
