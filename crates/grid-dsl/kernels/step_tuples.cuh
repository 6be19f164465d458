// Tuples, bound functions, and what two patches are to each other.
#pragma once
#include "step.cuh"

// The parts one above the other: a tuple of grids as one.
__device__ __forceinline__ void stacked(const In& v, const Out& out) {
    const int n = v.c & 255;
    const Strip first(v, 0);
    unsigned h = 0;
    for (int k = 0; k < n; ++k) {
        const Strip part(v, k);
        if (part.w != first.w) return out.spill(kByKind);
        h += part.h;
    }
    if (h > kSide) return out.spill(kBySize);
    i8* cells = reinterpret_cast<i8*>(out.payload);
    unsigned row = 0;
    for (int k = 0; k < n; ++k) {
        const Strip part(v, k);
        for (unsigned r = 0; r < part.h; ++r, ++row) {
            cells[row * kSide + lane_of()] = i8(lane_of() < part.w ? part.at(r, lane_of()) : 0);
        }
    }
    out.put(kGrid, h, h == 0 ? 0 : first.w);
}

// The part that most, or fewest, others equal; of several the smallest.
__device__ __forceinline__ void common(const In& v, bool most, const Out& out) {
    const int n = v.c & 512 ? 1 : v.c & 255;
    int best = 0, best_count = -1;
    for (int k = 0; k < n; ++k) {
        const Strip own(v, k);
        int count = 0;
        for (int other = 0; other < n; ++other) {
            const Strip part(v, other);
            if (!part.like(own)) return out.spill(kByClass);
            count += own.compared(part) == 0;
        }
        const bool better = best_count < 0 || (most ? count > best_count : count < best_count);
        if (better || (count == best_count && own.compared(Strip(v, best)) < 0)) best = k, best_count = count;
    }
    const Strip part(v, best);
    out.grid(part.h, part.w, [&](unsigned r, unsigned c) { return part.at(r, c); });
}

// The smallest distance between two patches that are not empty.
__device__ __forceinline__ int distance(const Patch& p, const Patch& q) {
    int best = 1 << 30;
    for (unsigned r = 0; r < q.h; ++r) {
        const unsigned row = __shfl_sync(kAll, q.mask, r);
        const int across = p.i0 + int(lane_of()) - q.i0 - int(r), di = across < 0 ? -across : across;
        for (unsigned left = row == 0 ? 0 : p.mask; left != 0; left &= left - 1) {
            const int x = p.j0 + int(low(left)) - q.j0;
            int dj = 1 << 29;
            if (x < 0) {
                dj = int(low(row)) - x;
            } else if (x > 31) {
                dj = x - int(high(row));
            } else {
                if (row >> x) dj = low(row >> x);
                const unsigned before = row & up_to(x);
                if (before != 0 && x - int(high(before)) < dj) dj = x - int(high(before));
            }
            best = di + dj < best ? di + dj : best;
        }
    }
    for (int lanes = 16; lanes > 0; lanes /= 2) {
        const int other = __shfl_xor_sync(kAll, best, lanes);
        best = other < best ? other : best;
    }
    return best;
}

__device__ __forceinline__ long long sum(long long v) {
    for (int lanes = 16; lanes > 0; lanes /= 2) v += __shfl_xor_sync(kAll, v, lanes);
    return v;
}

__device__ __forceinline__ long long floored(long long a, long long b) { return a / b - (a % b != 0 && a < 0); }

// By how much an object must be moved to the left, or up, to lie on itself.
__device__ __forceinline__ int period(const Patch& p, bool across) {
    const unsigned side = across ? p.w : p.h;
    for (unsigned by = 1; by < side; ++by) {
        unsigned gone = across ? p.mask >> by : __shfl_sync(kAll, p.mask, (lane_of() + by) & 31);
        if (!across && lane_of() + by > 31) gone = 0;
        bool same = __ballot_sync(kAll, (gone & ~p.mask) != 0) == 0;
        for (unsigned r = 0; same && r < p.h; ++r) {
            const bool there = __shfl_sync(kAll, gone, r) >> lane_of() & 1;
            const unsigned fr = across ? r : r + by, fc = across ? lane_of() + by : lane_of();
            same = __ballot_sync(kAll, there && p.at(r, lane_of()) != p.at(fr, fc)) == 0;
        }
        if (same) return by;
    }
    return side;
}

// Whether two patches share a column.
__device__ __forceinline__ bool one_column(const Patch& p, const Patch& q) {
    const unsigned a = warp_or(p.mask), b = warp_or(q.mask);
    const int by = q.j0 - p.j0;
    const unsigned there = by > 31 || by < -31 ? 0 : by >= 0 ? b << by : b >> -by;
    return (a & there) != 0;
}

constexpr unsigned kMostCompared = 1u << 23;    // twin of MOST_COMPARED

// By how much the first is moved, a row or a column at a time, until it lies beside the second; 42 times at most.
// With `few`, not if that takes many comparisons.
__device__ __forceinline__ void gravitate(Patch p, const Patch& q, bool few, const Out& out) {
    constexpr int kMost = 42;
    if (few && p.count() * q.count() * (kMost + 1) > kMostCompared) return out.spill(kBySize);
    const bool down = one_column(p, q);
    const int from = down ? p.i0 + int(p.h) / 2 : p.j0 + int(p.w) / 2, to = down ? q.i0 + int(q.h) / 2 : q.j0 + int(q.w) / 2;
    const int by = from < to ? 1 : -1;
    int moves = 0;
    for (; moves < kMost && distance(p, q) != 1; ++moves) (down ? p.i0 : p.j0) += by;
    out.put(kPair, down ? by * moves : 0, down ? 0 : by * moves);
}

// Where in a grid an object's box may begin so that its cells are the grid's.
__device__ __forceinline__ void occurrences(const In& grid, const In& object, const Out& out) {
    Patch p;
    if (!reads_rows(grid, out) || !reads_patch(object, p, out)) return;
    const Grid g = grid.grid();
    // Nothing is everywhere, and one further.
    if (p.empty() && (g.h > 31 || g.w > 31)) return out.spill(kBySize);
    if (p.empty()) return out.indices(lane_of() <= g.h ? first_columns(g.w + 1) : 0, 0, 0);
    const bool room = p.h <= g.h && p.w <= g.w;
    // Locations have no colours.
    if (room && object.kind != kObject) return out.fail(kTypeError);
    // A lane's mask: the columns at which the box may begin in its row.
    unsigned fits = room && lane_of() <= g.h - p.h ? first_columns(g.w - p.w + 1) : 0;
    for (unsigned r = 0; room && r < p.h; ++r) {
        const unsigned row = __shfl_sync(kAll, p.mask, r);
        const int own = p.at(r, lane_of());
        for (unsigned left = row; left != 0;) {
            // The cells of one colour in that row of the object.
            const int colour = __shfl_sync(kAll, own, low(left));
            const unsigned cells = __ballot_sync(kAll, own == colour) & left;
            left &= ~cells;
            const unsigned there = __shfl_sync(kAll, of_colour(g, whole(g), colour, true), (lane_of() + r) & 31);
            for (unsigned rest = cells; rest != 0; rest &= rest - 1) fits &= there >> low(rest);
        }
    }
    out.indices(fits, 0, 0);
}

// What two patches, or a patch and a grid, are to each other.
__device__ __forceinline__ void related(unsigned op, unsigned key, const In* v, const Out& out) {
    Patch p, q;
    if (!reads_patch(v[0], p, out)) return;
    if (op == kHperiod || op == kVperiod) {
        if (p.empty()) return out.put(kInt, 0);
        const unsigned side = op == kHperiod ? p.w : p.h;
        if (v[0].kind != kObject) return side > 1 ? out.fail(kTypeError) : out.put(kInt, 1);
        return out.put(kInt, period(p, op == kHperiod));
    }
    const bool matching = op == kHmatching || op == kVmatching;
    if (p.empty() && op == kCenterofmass) return out.put(kGrid);
    if (p.empty() && (op == kBordering || op == kPosition)) return out.fail(kEmptyError);
    const int bottom = p.i0 + int(p.h) - 1, right = p.j0 + int(p.w) - 1;
    if (op == kCenterofmass) {
        long long columns = 0;
        for (unsigned left = p.mask; left != 0; left &= left - 1) columns += low(left);
        const long long n = p.count();
        const long long i = sum((long long)__popc(p.mask) * lane_of()) + n * p.i0, j = sum(columns) + n * p.j0;
        return out.pair(floored(i, n), floored(j, n));
    }
    if (op == kBordering) {
        if (!reads_grid(v[1], out)) return;
        if (v[1].a == 0 && p.i0 != 0 && p.j0 != 0 && bottom != -1) return out.fail(kIndexError);
        return out.put(kBool, p.i0 == 0 || p.j0 == 0 || bottom == v[1].a - 1 || right == v[1].b - 1);
    }
    if (!reads_patch(v[1], q, out)) return;
    if (matching) {
        if (p.empty() || q.empty()) return out.put(kBool, false);
        if (op == kVmatching) return out.put(kBool, one_column(p, q));
        return out.put(kBool, __ballot_sync(kAll, placed(q.mask, q.i0 - p.i0, 0) != 0 && p.mask != 0) != 0);
    }
    if (p.empty() || q.empty()) return out.fail(kEmptyError);
    if (op == kPosition) {
        const int i = q.i0 + int(q.h) / 2 - p.i0 - int(p.h) / 2, j = q.j0 + int(q.w) / 2 - p.j0 - int(p.w) / 2;
        return out.put(kPair, i == 0 ? 0 : i > 0 ? 1 : -1, i != 0 && j == 0 ? 0 : j > 0 ? 1 : -1);
    }
    if (op == kGravitate) return gravitate(p, q, key != 0, out);
    const int far = distance(p, q);
    if (op == kAdjacent) return out.put(kBool, far == 1);
    out.put(kInt, far);
}

// A set of locations with one more, or one less.
__device__ __forceinline__ void changed(unsigned op, const In* v, const Out& out) {
    if (op == kInsert && !v[1].set()) return out.fail(kTypeError);
    if (op == kRemove && !v[1].tuple() && !v[1].set()) return out.fail(kTypeError);
    // Locations are pairs, and cells are of two forms.
    const bool other = v[0].kind != kPair && v[1].kind == kIndices;
    if (op == kRemove && (other || (v[0].kind == kPair && (v[1].kind == kObject || v[1].kind == kObjects)))) return out.copy(v[1]);
    if (v[0].kind != kPair) return out.spill(kByKind);
    const int i = v[0].a, j = v[0].b;
    if (op == kInitset) return out.indices(lane_of() == 0 ? 1 : 0, i, j);
    if (v[1].kind != kIndices) return out.spill(kByKind);
    const Patch p = patch_of(v[1]);
    if (op == kInsert && p.empty()) return out.indices(lane_of() == 0 ? 1 : 0, i, j);
    // Where a patch may begin, or any of its locations lie.
    const int most = op == kRemove ? kFar + int(kSide) : kFar;
    const bool far = i < -kFar || i > most || j < -kFar || j > most;
    if (far) return op == kRemove ? out.copy(v[1]) : out.spill(kBySize);
    if (op == kRemove) {
        const int r = i - p.i0, c = j - p.j0;
        const bool here = int(lane_of()) == r && c >= 0 && c < 32;
        return out.indices(here ? p.mask & ~(1u << c) : p.mask, p.i0, p.j0);
    }
    const int i0 = i < p.i0 ? i : p.i0, j0 = j < p.j0 ? j : p.j0;
    const int end_i = i >= p.i0 + int(p.h) ? i + 1 : p.i0 + int(p.h), end_j = j >= p.j0 + int(p.w) ? j + 1 : p.j0 + int(p.w);
    if (end_i - i0 > 32 || end_j - j0 > 32) return out.spill(kBySize);
    unsigned mask = placed(p.mask, p.i0 - i0, p.j0 - j0);
    if (int(lane_of()) == i - i0) mask |= 1u << (j - j0);
    out.indices(mask, i0, j0);
}

// Where a map puts a cell of a component with this box.
__device__ __forceinline__ void mapped_to(unsigned which, int top, int left, int h, int w, int& i, int& j) {
    const int r = i - top, c = j - left;
    switch (which) {
        case 1: i = top + h - 1 - r; break;
        case 2: j = left + w - 1 - c; break;
        case 3: i = top + c, j = left + r; break;
        case 4: i = top + w - 1 - c, j = left + h - 1 - r; break;
        case 5: i = r, j = c; break;
        default: break;
    }
}

// What a map makes of all objects, as one set. Maps below 6 move cells, 6 leaves their locations, others make boxes.
__device__ __forceinline__ void mapped_objects(unsigned which, const In& x, const Out& out, Scratch& s) {
    if (x.hollow()) return out.put(kGrid);
    if (x.kind != kObjects) {
        if (x.patch() && patch_of(x).empty()) return out.indices(0, 0, 0);
        // Pairs and cells are no patches, and can be mirrored up and down alone; numbers are nothing.
        const bool odd = (x.patch() && which < 2) || x.kind == kGrid || x.kind == kStrips || x.kind >= kOrdered;
        return odd ? out.spill(kByKind) : out.fail(kTypeError);
    }
    const Grid g = x.grid();
    const unsigned plane = x.masks[lane_of()], lane = lane_of();
    if (which == 6) return out.indices(plane, 0, 0);
    label(g, plane, x.c, s);
    if (which < 6) {
        for (unsigned k = lane; k < kCells; k += 32) s.key[k] = kNone;
        __syncwarp();
        bool outside = false;
        for (unsigned pass = 0; pass < 2; ++pass) {
            bool several = false;
            for (unsigned r = 0; r < g.h; ++r) {
                const unsigned row = __shfl_sync(kAll, plane, r), at = r * kSide + lane;
                if (row >> lane & 1) {
                    const unsigned root = s.parent[at] & kRoot, columns = s.columns[root];
                    const int top = root / kSide, left = low(columns);
                    int i = r, j = lane;
                    mapped_to(which, top, left, int(s.parent[root] >> 16) - top + 1, int(high(columns)) - left + 1, i, j);
                    if (i > 31 || j > 31) {
                        outside = true;
                    } else if (pass == 0) {
                        atomicMin(&s.key[i * kSide + j], unsigned(g.at(r, lane) + 128));
                    } else {
                        several = several || s.key[i * kSide + j] != unsigned(g.at(r, lane) + 128);
                    }
                }
                __syncwarp();
            }
            if (__ballot_sync(kAll, outside) != 0) return out.spill(kBySize);
            // Two colours on one location.
            if (__ballot_sync(kAll, several) != 0) return out.spill(kByClass);
        }
        unsigned mask = 0;
        for (unsigned r = 0; r < kSide; ++r) {
            const unsigned row = __ballot_sync(kAll, s.key[r * kSide + lane] != kNone);
            if (lane == r) mask = row;
        }
        return out.patch(true, mask, 0, 0,
                         [&](unsigned r, unsigned c) { return int(s.key[r * kSide + c]) - 128; });
    }
    // Boxes: a lane is a row of a window that begins at (-1, -1).
    unsigned mask = 0;
    bool outside = false;
    for (unsigned r = 0; r < g.h; ++r) {
        const unsigned row = __shfl_sync(kAll, plane, r), at = r * kSide + lane;
        unsigned roots = __ballot_sync(kAll, (row >> lane & 1) && (s.parent[at] & kRoot) == at);
        for (; roots != 0; roots &= roots - 1) {
            const unsigned root = r * kSide + low(roots), columns = s.columns[root];
            int top = root / kSide + 1, left = low(columns) + 1, bottom = (s.parent[root] >> 16) + 1;
            int right = high(columns) + 1;
            if (which == 10) top -= 1, left -= 1, bottom += 1, right += 1;
            if (which == 11) {
                // Thin boxes turn inside out.
                const int h = bottom - top, w = right - left;
                top += h > 1 ? 1 : h - 1, left += w > 1 ? 1 : w - 1;
                bottom = h > 1 ? bottom - 1 : top + 2 - h, right = w > 1 ? right - 1 : left + 2 - w;
            }
            outside = outside || bottom > 31 || right > 31;
            const int own = int(lane);
            const unsigned ends = 1u << (left & 31) | 1u << (right & 31), all = up_to(right & 31) & ~below(left & 31);
            const bool edge = own == top || own == bottom;
            if (own < top || own > bottom) continue;
            mask |= which == 7 || (edge && which != 9) ? all : which == 9 && !edge ? 0 : ends;
        }
        __syncwarp();
    }
    if (__ballot_sync(kAll, outside) != 0) return out.spill(kBySize);
    out.indices(mask, -1, -1);
}

// Rows and columns of one colour: the grid's cells, and in the first two masks which rows and columns.
__device__ __forceinline__ void lines(const In& x, const Out& out) {
    if (!reads_rows(x, out)) return;
    if (x.b == 0) return out.indices(0, 0, 0);
    const Grid g = x.grid();
    unsigned rows = 0, mixed = 0;
    const int top = lane_of() < g.w ? g.at(0, lane_of()) : 0;
    for (unsigned r = 0; r < g.h; ++r) {
        const int cell = lane_of() < g.w ? g.at(r, lane_of()) : 0, first = __shfl_sync(kAll, cell, 0);
        const bool several = __ballot_sync(kAll, lane_of() < g.w && cell != first) != 0;
        rows |= unsigned(!several) << r;
        mixed |= __ballot_sync(kAll, cell != top);
    }
    const unsigned columns = first_columns(g.w) & ~mixed;
    if (rows == 0 && columns == 0) return out.indices(0, 0, 0);
    out.copy_payload(x);
    out.payload[kMasks + lane_of()] = lane_of() == 0 ? rows : lane_of() == 1 ? columns : 0;
    out.put(kLines, g.h, g.w);
}

// Operations on tuples, functions and relations. False when this is none of them.
__device__ __forceinline__ bool added(unsigned op, unsigned key, const In* v, const Out& out) {
    if (op <= kVsplit) return false;
    const In& x = v[0];
    switch (op) {
        case kLbind:
        case kRbind: {
            const bool payload = (x.kind >= kGrid && x.kind <= kObjects) || x.kind == kStrips;
            if (x.kind >= kBound) return out.spill(kByKind), true;
            if (payload) out.copy_payload(x);
            out.bound(int(key) | (op == kRbind ? 1 << 16 : 0), x);
            break;
        }
        case kRepeat:
            if (!v[1].number()) return out.fail(kTypeError), true;
            if (v[1].a <= 0) return out.put(kGrid), true;
            if (x.kind != kGrid || x.a == 0 || x.b == 0) return out.spill(kByKind), true;
            if (v[1].a > 255) return out.spill(kBySize), true;
            out.copy_payload(x);
            out.put(kStrips, x.a, x.b, 512 | v[1].a);
            break;
        case kMostcommon:
        case kLeastcommon:
            if (x.hollow()) return out.fail(kEmptyError), true;
            // Of two numbers the smaller: they are equal, or occur once each.
            if (x.kind == kPair) return out.put(kInt, x.a < x.b ? x.a : x.b), true;
            if (x.kind != kStrips) return x.tuple() ? out.spill(kByKind) : out.fail(kTypeError), true;
            common(x, op == kMostcommon, out);
            break;
        case kOrder:
        case kTotuple:
            if (x.hollow() || (x.kind == kIndices && patch_of(x).empty())) return out.put(kGrid), true;
            if (!x.tuple() && !x.set()) return out.fail(kTypeError), true;
            if (op == kTotuple && x.tuple()) return out.copy(x), true;
            if (op == kOrder && x.kind == kPair) return out.fail(kTypeError), true;
            if (x.kind != kObjects) return out.spill(kByKind), true;
            out.copy_payload(x);
            out.put(kOrdered, x.a, x.b, x.c | int(op == kTotuple ? 16 : key + 1) << 8);
            break;
        case kInitset:
        case kInsert:
        case kRemove: changed(op, v, out); break;
        case kFrontiers: lines(x, out); break;
        case kOccurrences: occurrences(x, v[1], out); break;
        case kContained: {
            const In& y = v[1];
            if (!y.tuple() && !y.set()) return out.fail(kTypeError), true;
            if (y.kind == kPair) return out.put(kBool, x.number() && (x.a == y.a || x.a == y.b)), true;
            // Elements are tuples or sets, rows are of numbers, and what is empty has no elements.
            const bool apart = x.number() || x.kind == kNothing || y.hollow() || (x.kind == kPair && y.kind == kObject);
            if (apart) return out.put(kBool, false), true;
            if (x.kind != kPair || y.kind != kIndices) return out.spill(kByKind), true;
            // Numbers of 32 bits may differ by more than that.
            const long long r = (long long)x.a - v[1].a, c = (long long)x.b - v[1].b;
            const bool inside = r >= 0 && r < kSide && c >= 0 && c < kSide;
            out.put(kBool, inside && (v[1].masks[inside ? r : 0] >> (inside ? c : 0) & 1) != 0);
            break;
        }
        default: related(op, key, v, out);
    }
    return true;
}
