// Grids from grids, and writing into them.
#pragma once
#include "step.cuh"

// Tuples of parts of a grid: its cells, and how many parts lie side by side, or one above the other (bit 8). False when
// this makes none.
__device__ __forceinline__ bool cut(unsigned op, const In* v, const Out& out) {
    if (op < kHsplit) return false;
    if (!reads_rows(v[0], out)) return true;
    if (!v[1].number()) return out.fail(kTypeError), true;
    const int n = v[1].a, side = op == kVsplit ? v[0].a : v[0].b;
    if (n == 0) return out.fail(kDivZeroError), true;
    if (n < 0) return out.put(kGrid), true;
    // Parts without cells would be like rows.
    if (n > side) return out.spill(kByClass), true;
    const Grid g = v[0].grid();
    out.cells(g.h, [&](unsigned r, unsigned c) { return c < g.w ? g.at(r, c) : 0; });
    out.put(kStrips, g.h, g.w, n | (op == kVsplit ? 256 : 0));
    return true;
}

// Functions that only move elements. False when this is none of them.
__device__ __forceinline__ bool moved(unsigned op, const In* v, const Out& out) {
    if (op > kDownscale || op == kIdentity) return false;
    const In x = one_of(op == kSubgrid, v[1], v[0]);
    const bool both = op >= kHmirror && op <= kCmirror;
    if (op == kSubgrid) {
        Patch p;
        if (!reads_patch(v[0], p, out)) return true;
        if (p.empty()) return out.fail(kIndexError), true;
    }
    if (x.kind != kGrid && !(both && x.patch()) && !(op == kUpscale && x.patch())) {
        // Tuples of anything have elements that only move, too.
        const bool elements = op == kHmirror || op == kTophalf || op == kBottomhalf || op == kVupscale;
        if (elements && x.tuple()) return out.spill(kByKind), true;
        if (op == kCrop && (v[1].kind != kPair || v[2].kind != kPair)) return out.fail(kTypeError), true;
        reads_grid(x, out);
        return true;
    }
    unsigned h = x.a, w = x.b;
    if (x.kind != kGrid) {
        const Patch p = patch_of(x);
        if (op == kUpscale && (!v[1].number() || (x.kind == kIndices && !p.empty()))) return out.fail(kTypeError), true;
        if (op == kUpscale && (p.empty() || v[1].a < 1)) return out.indices(0, 0, 0), true;
        if (p.empty()) return out.fail(kIndexError), true;
        h = p.h;
        w = p.w;
    }
    Map m{h, w, false, 0, 1, Map::kOne, 0, 1, Map::kOne};
    const bool turned = op == kRot90 || op == kRot270 || op == kDmirror || op == kCmirror;
    if (turned) {
        m.h = w;
        m.w = h;
        m.transposed = true;
    }
    const int bottom = int(h) - 1, right = int(w) - 1;
    const bool rows = op == kRot90 || op == kRot180 || op == kHmirror || op == kCmirror;
    const bool columns = op == kRot270 || op == kRot180 || op == kVmirror || op == kCmirror;
    if (rows) m.i0 = bottom, m.di = -1;
    if (columns) m.j0 = right, m.dj = -1;
    switch (op) {
        case kTrim:
            m.h = h > 2 ? h - 2 : 0;
            m.w = w > 2 ? w - 2 : 0;
            m.i0 = m.j0 = 1;
            break;
        case kTophalf: m.h = h / 2; break;
        case kBottomhalf: m.h = h / 2, m.i0 = h - h / 2; break;
        case kLefthalf:
            m.w = w / 2;
            if (m.w == 0) m.h = 0;
            break;
        case kRighthalf:
            m.w = w / 2, m.j0 = w - w / 2;
            if (m.w == 0) m.h = 0;
            break;
        case kCrop: {
            if (v[1].kind != kPair || v[2].kind != kPair) return out.fail(kTypeError), true;
            const Slice i(v[1].a, v[2].a, h), j(v[1].b, v[2].b, w);
            m.h = i.to - i.from, m.w = j.to - j.from, m.i0 = i.from, m.j0 = j.from;
            break;
        }
        case kSubgrid: {
            const Patch p = patch_of(v[0]);
            const Slice i(p.i0, p.h, h), j(p.j0, p.w, w);
            m.h = i.to - i.from, m.w = j.to - j.from, m.i0 = i.from, m.j0 = j.from;
            break;
        }
        case kUpscale:
        case kHupscale:
        case kVupscale: {
            if (!v[1].number()) return out.fail(kTypeError), true;
            if (v[1].a > 32) return out.spill(kBySize), true;
            const int f = v[1].a > 0 ? v[1].a : 0;
            if (op != kVupscale) m.w = w * f, m.fj = Map::over(f);
            if (op != kHupscale) m.h = h * f, m.fi = Map::over(f);
            break;
        }
        case kDownscale: {
            if (h == 0) return out.fail(kIndexError), true;
            if (!v[1].number()) return out.fail(kTypeError), true;
            if (v[1].a == 0) return out.fail(kDivZeroError), true;
            if (v[1].a == -2147483647 - 1) return out.spill(kByClass), true;
            const int f = v[1].a < 0 ? -v[1].a : v[1].a;
            m.h = (h - 1) / f + 1, m.w = w == 0 ? 0 : (w - 1) / f + 1, m.di = m.dj = f;
            break;
        }
        default: break;
    }
    out.mapped(x, m);
    return true;
}

// Functions that join, recolour and cut grids. False when this is none of them.
__device__ __forceinline__ bool joined(unsigned op, const In* v, const Out& out) {
    if (op < kHconcat || op > kCanvas) return false;
    if (op == kCanvas) {
        if (!v[0].comparable() || v[1].kind != kPair) return out.fail(kTypeError), true;
        if (!v[0].colour()) return out.spill(kByKind), true;
        const int h = v[1].a > 0 ? v[1].a : 0, w = v[1].b > 0 ? v[1].b : 0, c = v[0].a;
        // Even where there are no rows, too many columns are an error.
        if (h > 32 || w > 32) return out.spill(kBySize), true;
        return out.grid(h, w, [&](unsigned, unsigned) { return c; }), true;
    }
    const bool recolours = op == kReplace || op == kSwitch;
    if (recolours && !(v[1].comparable() && v[2].comparable())) return out.fail(kTypeError), true;
    if (op == kVconcat && (v[0].kind != kGrid || v[1].kind != kGrid)) {
        // Tuples of anything have elements that follow each other, too.
        return v[0].tuple() && v[1].tuple() ? out.spill(kByKind) : out.fail(kTypeError), true;
    }
    if (op == kCellwise && v[0].hollow()) return out.fail(kIndexError), true;
    if (!reads_grid(v[0], out) || (op <= kCellwise && !reads_grid(v[1], out))) return true;
    const Grid a = v[0].grid(), b = v[1].grid();
    switch (op) {
        case kHconcat:
            out.grid(a.h < b.h ? a.h : b.h, a.w + b.w,
                     [&](unsigned r, unsigned c) { return c < a.w ? a.at(r, c) : b.at(r, c - a.w); });
            break;
        case kVconcat:
            if (a.h > 0 && b.h > 0 && a.w != b.w) return out.spill(kByKind), true;
            out.grid(a.h + b.h, a.h > 0 ? a.w : b.w,
                     [&](unsigned r, unsigned c) { return r < a.h ? a.at(r, c) : b.at(r - a.h, c); });
            break;
        case kCellwise: {
            if (!v[2].comparable()) return out.fail(kTypeError), true;
            // `None` is an error where cells differ, but perhaps one is lacking before.
            if (!v[2].colour() && (v[2].kind == kNothing || (b.h >= a.h && b.w >= a.w))) return out.spill(kByClass), true;
            if (a.w > 0 && (b.h < a.h || b.w < a.w)) return out.fail(kIndexError), true;
            const int fallback = v[2].a;
            out.grid(a.h, a.w, [&](unsigned r, unsigned c) {
                const int cell = a.at(r, c);
                return cell == b.at(r, c) ? cell : fallback;
            });
            break;
        }
        case kReplace:
        case kSwitch: {
            const int x = v[1].a, y = v[2].a;
            const bool back = op == kSwitch, from = v[1].number(), to = v[2].number();
            // What is no colour matters where it is written.
            bool there = false, here = false;
            each_row(a, [&](unsigned, int own) {
                const int cell = lane_of() < a.w ? own : 256;
                const bool is = from && cell == x;
                there = there || is;
                here = here || (back && to && cell == y && !is);
            });
            there = __ballot_sync(kAll, there) != 0;
            here = __ballot_sync(kAll, here) != 0;
            if ((there && !to) || (here && !from)) return out.fail(kTypeError), true;
            if ((there && !v[2].colour()) || (here && !v[1].colour())) return out.spill(kByClass), true;
            out.grid(a.h, a.w, [&](unsigned r, unsigned c) {
                const int cell = a.at(r, c);
                return from && cell == x ? y : back && to && cell == y ? x : cell;
            });
            break;
        }
        default: {
            // Rows and columns that are kept: those with more than one colour.
            unsigned rows = 0, columns = 0;
            const int top = lane_of() < a.w && a.h > 0 ? a.at(0, lane_of()) : 0;
            each_row(a, [&](unsigned r, int own) {
                const int cell = lane_of() < a.w ? own : 0;
                const int first = __shfl_sync(kAll, cell, 0);
                const bool mixed = __ballot_sync(kAll, lane_of() < a.w && cell != first) != 0;
                rows |= unsigned(mixed || a.w == 0) << r;
                columns |= __ballot_sync(kAll, cell != top);
            });
            // The k-th kept row of a lane k, and so for columns.
            unsigned row = 0, column = 0;
            for (unsigned r = 0; r < 32; ++r) {
                if ((rows >> r & 1) && unsigned(__popc(rows & below(r))) == lane_of()) row = r;
                if ((columns >> r & 1) && unsigned(__popc(columns & below(r))) == lane_of()) column = r;
            }
            const unsigned h = __popc(rows), w = h == 0 ? 0 : __popc(columns);
            out.cells(h, [&](unsigned r, unsigned c) {
                const unsigned from = __shfl_sync(kAll, row, r);
                return c < w ? a.at(from, column) : 0;
            });
            out.put(kGrid, h, w);
        }
    }
    return true;
}

// Functions that write a patch into a grid. False when this is none of them.
__device__ __forceinline__ bool written(unsigned op, const In* v, const Out& out, unsigned* bins) {
    if (op < kFill || op > kMove) return false;
    const In& target = v[0];
    const In at = one_of(op == kFill || op == kUnderfill, v[2], v[1]);
    const Grid g = target.grid();
    const bool filled = op == kFill || op == kUnderfill, coloured = op == kPaint || op == kUnderpaint || op == kMove;
    int background = 0;
    if (op != kFill && op != kPaint) {
        if (!reads_grid(target, out)) return true;
        histogram(g, whole(g), bins);
        const unsigned most = extreme_colour(bins, true);
        if (most == kNone) return out.fail(kEmptyError), true;
        background = int(most) - 128;
    }
    if (filled && !v[1].comparable()) return out.fail(kTypeError), true;
    Patch p;
    if (!reads_patch(at, p, out)) return true;
    int i0 = p.i0, j0 = p.j0;
    unsigned covered = 0;
    bool away = false;
    if (op == kMove) {
        const long long di = v[2].a, dj = v[2].b;
        // What is empty is moved by any tuple.
        if (v[2].kind != kPair && !(p.empty() && v[2].tuple())) return out.fail(kTypeError), true;
        const long long bottom = p.i0 + di + p.h - 1, right = p.j0 + dj + p.w - 1;
        const bool fits = p.i0 + di >= -2147483648ll && p.j0 + dj >= -2147483648ll && bottom <= 2147483647ll && right <= 2147483647ll;
        if (!p.empty() && !fits) return out.fail(kOverflowError), true;
        covered = placed(p.mask, i0, j0);
        away = p.i0 + di < -64 || p.i0 + di > 64 || p.j0 + dj < -64 || p.j0 + dj > 64;
        i0 = int(p.i0 + di), j0 = int(p.j0 + dj);
    }
    if (coloured && !p.empty() && at.kind != kObject) return out.fail(kTypeError), true;
    if (!reads_rows(target, out)) return true;
    const unsigned mask = away ? 0 : placed(p.mask, i0, j0) & whole(g);
    if (filled && !v[1].colour()) {
        // What is no colour matters where it is written.
        const unsigned there = op == kFill ? mask : mask & of_colour(g, whole(g), background, true);
        if (__ballot_sync(kAll, there != 0) == 0) return out.copy(target), true;
        return v[1].number() ? out.spill(kByClass) : out.fail(kTypeError), true;
    }
    const bool under = op == kUnderfill || op == kUnderpaint;
    const int one = op == kCover ? background : v[1].a;
    out.cells(g.h, [&](unsigned r, unsigned c) {
        const unsigned row = __shfl_sync(kAll, mask, r), gone = __shfl_sync(kAll, covered, r);
        if (c >= g.w) return 0;
        const int cell = gone >> c & 1 ? background : g.at(r, c);
        if (!(row >> c & 1) || (under && cell != background)) return cell;
        return coloured ? p.at(r - i0, c - j0) : one;
    });
    out.put(kGrid, g.h, g.w);
    return true;
}
