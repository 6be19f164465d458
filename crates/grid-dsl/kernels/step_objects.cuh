// Patches and objects of grids, and what is asked of objects.
#pragma once
#include "step.cuh"

// Functions of a grid that give locations, cells or objects. False when this is none of them.
__device__ __forceinline__ bool found(unsigned op, const In* v, const Out& out, unsigned* bins) {
    if (op < kOfcolor || op > kFgpartition) return false;
    const In target = one_of(op == kToobject, v[1], v[0]);
    Patch p;
    if (op == kToobject && !(reads_patch(v[0], p, out) && reads_rows(target, out))) return true;
    // Nothing has a most frequent colour.
    if (op == kFgpartition && target.kind == kIndices && patch_of(target).empty()) return out.fail(kEmptyError), true;
    if (op == kOfcolor && !v[1].comparable()) return out.fail(kTypeError), true;
    if (!reads_grid(target, out)) return true;
    const Grid g = target.grid();
    const unsigned all = whole(g);
    const auto own = [&](unsigned r, unsigned c) { return g.at(r, c); };
    switch (op) {
        case kOfcolor:
            out.indices(v[1].number() ? of_colour(g, all, v[1].a, true) : 0, 0, 0);
            break;
        case kAsindices: out.indices(all, 0, 0); break;
        case kAsobject: out.patch(true, all, 0, 0, own); break;
        case kToobject: {
            out.patch(true, placed(p.mask, p.i0, p.j0) & all, 0, 0, own);
            break;
        }
        default: {
            const unsigned mode = op != kObjectsOf ? kByColour | kUnivalued
                                                 : (v[1].a ? kUnivalued : 0) | (v[2].a ? kDiagonal : 0);
            if (op == kObjectsOf && !(v[1].number() && v[2].number() && v[3].number())) return out.spill(kByKind), true;
            unsigned plane = all;
            if (op == kFgpartition || (op == kObjectsOf && v[3].a)) {
                histogram(g, all, bins);
                const unsigned most = extreme_colour(bins, true);
                if (most == kNone) return out.fail(kEmptyError), true;
                plane = of_colour(g, all, int(most) - 128, false);
            }
            if (op == kObjectsOf && g.h == 0) return out.fail(kIndexError), true;
            out.objects(g, plane, mode);
        }
    }
    return true;
}

constexpr unsigned kCounted = 32;    // figures from here on count cells of a colour + 128, twin of COUNTED

// What objects are compared by: of the component whose first cell, row by row, is `root`. Twin of keys::of.
__device__ __forceinline__ int figure(const Scratch& s, unsigned root, unsigned which) {
    const unsigned columns = s.columns[root], bottom = s.parent[root] >> 16;
    switch (which) {
        case 0: return s.size[root] & 0xffff;
        case 1: return bottom - root / kSide + 1;
        case 2: return high(columns) - low(columns) + 1;
        case 3: return root / kSide;
        case 4: return bottom;
        case 5: return low(columns);
        case 6: return high(columns);
        case 7:
        case 9:
        case 14: return int(s.key[root] >> 10) - 128;
        default:
            // So many cells of a colour.
            if (which >= kCounted) return int(s.key[root] >> 10) == int(which - kCounted) ? s.size[root] & 0xffff : 0;
            return 1;
    }
}

// Whether a figure is of colours: those of components with several are counted one by one.
__device__ __forceinline__ bool of_colours(unsigned which) {
    return which == 8 || which == 9 || which == 14 || which >= kCounted;
}

// Such a figure of every component in place of its size.
__device__ __forceinline__ void count_colours(const Grid& g, unsigned plane, unsigned which, Scratch& s) {
    for (unsigned top = 0; top < g.h; ++top) {
        const unsigned row = __shfl_sync(kAll, plane, top), at = top * kSide + lane_of();
        unsigned roots = __ballot_sync(kAll, (row >> lane_of() & 1) && (s.parent[at] & kRoot) == at);
        for (; roots != 0; roots &= roots - 1) {
            const unsigned root = top * kSide + low(roots);
            unsigned own = 0;
            for (unsigned r = top; r < g.h; ++r) {
                const bool there = __shfl_sync(kAll, plane, r) >> lane_of() & 1;
                const unsigned bits = __ballot_sync(kAll, there && (s.parent[r * kSide + lane_of()] & kRoot) == root);
                if (lane_of() == r) own = bits;
            }
            histogram(g, own, s.bins);
            unsigned n = 0;
            if (which >= kCounted) {
                n = s.bins[which - kCounted];
            } else if (which == 8) {
                for (unsigned k = 0; k < 8; ++k) n += __popc(__ballot_sync(kAll, s.bins[k * 32 + lane_of()] != 0));
            } else {
                n = extreme_colour(s.bins, which == 9);
            }
            __syncwarp();
            if (lane_of() == 0) s.size[root] = n;
            __syncwarp();
        }
    }
}

// Whether a component is what `which` asks for. Twin of Figures::is.
__device__ __forceinline__ bool is_such(const Scratch& s, unsigned root, unsigned which) {
    const int size = figure(s, root, 0), h = figure(s, root, 1), w = figure(s, root, 2);
    switch (which) {
        case 10: return w == 1 && size == h;
        case 11: return h == 1 && size == w;
        case 12: return h == w && size == h * w;
        default: return h > w;
    }
}

// Functions of objects.
__device__ __forceinline__ void asked(unsigned op, unsigned which, const In* v, const Out& out, Scratch& s) {
    const bool by_predicate = op >= kSfilter && op <= kExtract;
    const In& x = v[0];
    const Grid g = x.grid();
    // In an order by a figure, of which the first and the last are asked for.
    const bool ordered = x.kind == kOrdered;
    if (ordered && op != kFirst && op != kLast && op != kSize) return out.spill(kByKind);
    const bool objects = x.kind == kObjects || ordered;
    const int mode = x.c & 15;
    if (ordered) which = (x.c >> 8) - 1;
    const bool filters = op == kColorfilter || op == kSizefilter;
    if (filters && !v[1].comparable()) return out.fail(kTypeError);
    if (!objects) {
        // Not a container; or of numbers, of which nothing can be asked.
        if (!x.tuple() && !x.set()) return out.fail(kTypeError);
        if (x.kind == kPair && op != kSize && op != kFirst && op != kLast) return out.fail(kTypeError);
        if (op == kSize && x.kind == kGrid) return out.put(kInt, x.a);
        if (op == kSize && x.kind == kPair) return out.put(kInt, 2);
        if (op == kFirst && x.kind == kPair) return out.put(kInt, x.a);
        if (op == kLast && x.kind == kPair) return out.put(kInt, x.b);
        if (x.kind == kStrips) {
            const int n = x.c & 255;
            if (op == kSize) return out.put(kInt, n);
            if (op == kMerge) return stacked(x, out);
            if (op != kFirst && op != kLast) return out.spill(kByKind);
            const Strip part(x, op == kLast ? n - 1 : 0);
            out.grid(part.h, part.w, [&](unsigned r, unsigned c) { return part.at(r, c); });
            return;
        }
        if (x.kind == kLines) {
            const unsigned rows = x.masks[0], columns = x.masks[1], r = lane_of();
            // The row of a grid of one cell is its column.
            if (op == kSize) return out.put(kInt, x.a * x.b == 1 ? 1 : __popc(rows) + __popc(columns));
            if (op == kFirst || op == kLast) {
                const Lines lines(x);
                const unsigned sought = lines.mask(op == kFirst ? 0 : lines.count - 1, g);
                return out.patch(true, sought, 0, 0, [&](unsigned i, unsigned j) { return g.at(i, j); });
            }
            if (op != kMerge) return out.spill(kByKind);
            const unsigned mask = r >= g.h ? 0 : rows >> r & 1 ? first_columns(g.w) : columns;
            return out.patch(true, mask, 0, 0, [&](unsigned i, unsigned j) { return g.at(i, j); });
        }
        const bool sought = op == kFirst || op == kLast || op == kArgmax || op == kArgmin || op == kExtract;
        if (x.hollow()) {
            if (sought) return out.fail(kEmptyError);
            return filters ? out.indices(0, 0, 0) : out.put(kGrid);
        }
        if (!x.patch()) return out.spill(kByKind);
        const Patch p = patch_of(x);
        if (op == kSize) return out.put(kInt, p.count());
        if (p.empty()) return sought ? out.fail(kEmptyError) : out.indices(0, 0, 0);
        // The elements are pairs and cells: no objects, and of two elements each.
        if (op == kColorfilter || by_predicate) return out.fail(kTypeError);
        if (op == kSizefilter) return v[1].number() && v[1].a == 2 ? out.copy(x) : out.indices(0, 0, 0);
        if (x.kind != kIndices || (op != kFirst && op != kLast)) return out.spill(kByKind);
        const unsigned row = __shfl_sync(kAll, p.mask, op == kFirst ? 0 : p.h - 1);
        out.pair(op == kFirst ? p.i0 : p.i0 + int(p.h) - 1, p.j0 + int(op == kFirst ? low(row) : high(row)));
        return;
    }
    const unsigned plane = x.masks[lane_of()];
    const auto own = [&](unsigned r, unsigned c) { return g.at(r, c); };
    if (op == kMerge) return out.patch(true, plane, 0, 0, own);
    if (filters && !v[1].number()) return out.indices(0, 0, 0);
    label(g, plane, mode, s);
    if ((op == kArgmax || op == kArgmin || ordered) && of_colours(which) && !(mode & kUnivalued)) {
        count_colours(g, plane, which, s);
        which = 0;
    }
    if ((op >= kColorfilter && op != kExtract) || op == kSize) {
        unsigned kept = 0, roots = 0;
        for (unsigned r = 0; r < g.h; ++r) {
            const unsigned row = __shfl_sync(kAll, plane, r), at = r * kSide + lane_of();
            const bool alive = row >> lane_of() & 1;
            const unsigned root = alive ? s.parent[at] & kRoot : 0;
            const bool wanted = alive && op != kSize &&
                                (by_predicate ? is_such(s, root, which)
                                              : figure(s, root, op == kSizefilter ? 0 : 7) == v[1].a);
            const unsigned bits = __ballot_sync(kAll, wanted);
            if (lane_of() == r) kept = bits;
            roots += __popc(__ballot_sync(kAll, alive && root == at));
        }
        if (op == kSize) return out.put(kInt, roots);
        if (op == kMfilter) return out.patch(true, kept, 0, 0, own);
        return out.objects(g, kept, x.c);
    }
    // The extreme figure first, then the first key; or for the first and the last object the key alone.
    u64 best = 0;
    for (unsigned r = 0; r < g.h; ++r) {
        const unsigned row = __shfl_sync(kAll, plane, r), at = r * kSide + lane_of();
        if (!(row >> lane_of() & 1) || (s.parent[at] & kRoot) != at) continue;
        if (op == kExtract && !is_such(s, at, which)) continue;
        const bool upwards = op == kArgmax || (ordered && op == kLast), downwards = op == kArgmin || (ordered && op == kFirst);
        const int n = upwards ? figure(s, at, which) : downwards ? -figure(s, at, which) : 0;
        const unsigned key = s.key[at];
        const u64 rank = u64(n + 4096) << 48 | u64(op == kLast ? key : 0xffffffu - key) << 16 | at;
        best = rank > best ? rank : best;
    }
    best = lockstep::warp_max(best);
    if (best == 0) return out.fail(kEmptyError);
    const unsigned root = unsigned(best) & 0xffffu;
    unsigned mask = 0;
    for (unsigned r = 0; r < g.h; ++r) {
        const unsigned row = __shfl_sync(kAll, plane, r), at = r * kSide + lane_of();
        const bool own_cell = (row >> lane_of() & 1) && (s.parent[at] & kRoot) == root;
        const unsigned bits = __ballot_sync(kAll, own_cell);
        if (lane_of() == r) mask = bits;
    }
    out.patch(true, mask, 0, 0, own);
}

// Colours and sizes of grids and patches. False when this is none of them.
__device__ __forceinline__ bool measured(unsigned op, const In* v, const Out& out, unsigned* bins) {
    if (op < kMostcolor || op > kIndex) return false;
    const In& x = v[0];
    if (op == kColorcount && !v[1].comparable()) return out.fail(kTypeError), true;
    if (x.kind == kPair && op == kHeight) return out.put(kInt, 2), true;
    if (op == kIndex && !(reads_rows(x, out))) return true;
    if (x.kind != kGrid && !x.patch()) {
        // Parts of a grid may be rows of another one, and objects are as many as the tuple is high.
        if (x.kind == kStrips || (x.kind == kOrdered && op == kHeight)) return out.spill(kByKind), true;
        return out.fail(kTypeError), true;
    }
    Patch p{};
    if (x.kind != kGrid) p = patch_of(x);
    const unsigned h = x.kind == kGrid ? x.a : p.h, w = x.kind == kGrid ? x.b : p.w;
    if (op <= kColor) {
        const bool empty = x.hollow() || (x.patch() && p.empty());
        if (empty && (op == kNumcolors || op == kColorcount)) return out.put(kInt, 0), true;
        if (empty) return out.fail(kEmptyError), true;
        // The first component of what is no object: a row's first cell, a location's row.
        if (op == kColor && x.kind == kGrid && x.b == 0) return out.fail(kIndexError), true;
        if (op == kColor && x.kind != kObject) return out.put(kInt, x.kind == kGrid ? x.grid().at(0, 0) : p.i0), true;
        if (x.kind == kIndices) return out.spill(kByKind), true;
        const Grid g{x.cells, x.kind == kGrid ? h : kSide, x.kind == kGrid ? w : kSide};
        histogram(g, x.kind == kGrid ? whole(g) : x.masks[lane_of()], bins);
        if (op == kColorcount) {
            return out.put(kInt, v[1].number() && v[1].a >= -128 && v[1].a <= 127 ? int(bins[v[1].a + 128]) : 0), true;
        }
        unsigned colours = 0, lowest = kNone;
        for (unsigned k = 8; k-- > 0;) {
            const unsigned present = __ballot_sync(kAll, bins[k * 32 + lane_of()] != 0);
            colours += __popc(present);
            if (present != 0) lowest = k * 32 + low(present);
        }
        if (op == kNumcolors) return out.put(kInt, colours), true;
        const unsigned c = op == kColor ? lowest : extreme_colour(bins, op == kMostcolor);
        if (c == kNone) return out.fail(kEmptyError), true;
        return out.put(kInt, int(c) - 128), true;
    }
    switch (op) {
        case kHeight: out.put(kInt, h); break;
        case kWidth: out.put(kInt, w); break;
        case kShape: out.put(kPair, h, w); break;
        case kPortrait: out.put(kBool, h > w); break;
        case kSquare:
            if (x.kind == kGrid && h == 0) return out.fail(kIndexError), true;
            out.put(kBool, h == w && (x.kind == kGrid || p.count() == h * w));
            break;
        case kVline:
        case kHline:
            if (x.kind == kGrid && !reads_patch(x, p, out)) return true;
            out.put(kBool, !p.empty() && p.count() == (op == kVline ? h : w) && (op == kVline ? w : h) == 1);
            break;
        default: {
            if (v[1].kind != kPair) return out.fail(kTypeError), true;
            const int i = v[1].a, j = v[1].b;
            if (i < 0 || j < 0 || i >= int(h) || j >= int(w)) return out.put(kNothing), true;
            out.put(kInt, x.grid().at(i, j));
        }
    }
    return true;
}
