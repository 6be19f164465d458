// Grids from grids, and writing into them.
#pragma once
#include "step.cuh"

// Tuples of parts of a grid: its cells, and how many parts lie side by side, or one above the other (bit 8). False when
// this makes none.
__device__ __forceinline__ bool cut(unsigned op, const In* v, const Out& out) {
    if (op < kHsplit) return false;
    if (!v[0].tall() || v[1].kind != kInt) return out.spill(kByKind), true;
    const int n = v[1].a, side = op == kVsplit ? v[0].a : v[0].b;
    // Parts without cells would be like rows.
    if (n < 1 || n > side) return out.spill(kByClass), true;
    const Grid g = v[0].grid();
    out.cells(g.h, [&](unsigned r, unsigned c) { return c < g.w ? g.at(r, c) : 0; });
    out.put(kStrips, g.h, g.w, n | (op == kVsplit ? 256 : 0));
    return true;
}

// Functions that only move elements. False when this is none of them.
__device__ __forceinline__ bool moved(unsigned op, const In* v, const Out& out) {
    if (op > kDownscale || op == kIdentity) return false;
    const In& x = op == kSubgrid ? v[1] : v[0];
    const bool both = op >= kHmirror && op <= kCmirror;
    const bool of_object = op == kUpscale && x.kind == kObject;
    if (x.kind != kGrid && !of_object && !(both && x.patch())) return out.spill(kByKind), true;
    unsigned h = x.a, w = x.b;
    if (x.kind != kGrid) {
        const Patch p = patch_of(x);
        if (p.empty()) return out.spill(kByClass), true;
        h = p.h;
        w = p.w;
    }
    Map m{h, w, false, 0, 1, 1, 0, 1, 1};
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
            if (v[1].kind != kPair || v[2].kind != kPair) return out.spill(kByKind), true;
            const Slice i(v[1].a, v[2].a, h), j(v[1].b, v[2].b, w);
            m.h = i.to - i.from, m.w = j.to - j.from, m.i0 = i.from, m.j0 = j.from;
            break;
        }
        case kSubgrid: {
            if (!v[0].patch()) return out.spill(kByKind), true;
            const Patch p = patch_of(v[0]);
            if (p.empty()) return out.spill(kByClass), true;
            const Slice i(p.i0, p.h, h), j(p.j0, p.w, w);
            m.h = i.to - i.from, m.w = j.to - j.from, m.i0 = i.from, m.j0 = j.from;
            break;
        }
        case kUpscale:
        case kHupscale:
        case kVupscale: {
            if (v[1].kind != kInt || v[1].a > 32 || (of_object && v[1].a < 1)) return out.spill(kByClass), true;
            const int f = v[1].a > 0 ? v[1].a : 0;
            if (op != kVupscale) m.w = w * f, m.fj = f;
            if (op != kHupscale) m.h = h * f, m.fi = f;
            break;
        }
        case kDownscale: {
            if (v[1].kind != kInt || v[1].a == 0 || v[1].a == -2147483647 - 1 || h == 0) return out.spill(kByClass), true;
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
        if (!v[0].colour() || v[1].kind != kPair) return out.spill(kByKind), true;
        const int h = v[1].a > 0 ? v[1].a : 0, w = v[1].b > 0 ? v[1].b : 0, c = v[0].a;
        // Even where there are no rows, too many columns are an error.
        if (h > 32 || w > 32) return out.spill(kBySize), true;
        return out.grid(h, w, [&](unsigned, unsigned) { return c; }), true;
    }
    if (v[0].kind != kGrid) return out.spill(kByKind), true;
    const Grid a = v[0].grid();
    if (op <= kCellwise && v[1].kind != kGrid) return out.spill(kByKind), true;
    const Grid b = v[1].grid();
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
            if (a.h == 0 || b.h < a.h || b.w < a.w || !v[2].colour()) return out.spill(kByClass), true;
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
            const bool back = op == kSwitch;
            if (!v[2].colour() || (back ? !v[1].colour() : v[1].kind != kInt)) return out.spill(kByClass), true;
            out.grid(a.h, a.w, [&](unsigned r, unsigned c) {
                const int cell = a.at(r, c);
                return cell == x ? y : back && cell == y ? x : cell;
            });
            break;
        }
        default: {
            // Rows and columns that are kept: those with more than one colour.
            unsigned rows = 0, columns = 0;
            const int top = lane_of() < a.w && a.h > 0 ? a.at(0, lane_of()) : 0;
            for (unsigned r = 0; r < a.h; ++r) {
                const int cell = lane_of() < a.w ? a.at(r, lane_of()) : 0;
                const int first = __shfl_sync(kAll, cell, 0);
                const bool mixed = __ballot_sync(kAll, lane_of() < a.w && cell != first) != 0;
                rows |= unsigned(mixed || a.w == 0) << r;
                columns |= __ballot_sync(kAll, cell != top);
            }
            // The k-th kept row of a lane k, and so for columns.
            unsigned row = 0, column = 0;
            for (unsigned r = 0; r < 32; ++r) {
                if ((rows >> r & 1) && unsigned(__popc(rows & below(r))) == lane_of()) row = r;
                if ((columns >> r & 1) && unsigned(__popc(columns & below(r))) == lane_of()) column = r;
            }
            i8* cells = reinterpret_cast<i8*>(out.payload);
            const unsigned h = __popc(rows), w = h == 0 ? 0 : __popc(columns);
            for (unsigned r = 0; r < h; ++r) {
                const unsigned from = __shfl_sync(kAll, row, r);
                cells[r * kSide + lane_of()] = i8(lane_of() < w ? a.at(from, column) : 0);
            }
            out.put(kGrid, h, w);
        }
    }
    return true;
}

// Functions that write a patch into a grid. False when this is none of them.
__device__ __forceinline__ bool written(unsigned op, const In* v, const Out& out, unsigned* bins) {
    if (op < kFill || op > kMove) return false;
    const In& target = v[0];
    const In& at = op == kFill || op == kUnderfill ? v[2] : v[1];
    if (!target.tall() || !at.patch()) return out.spill(target.kind == kGrid ? kByClass : kByKind), true;
    const Grid g = target.grid();
    const Patch p = patch_of(at);
    const bool coloured = op == kPaint || op == kUnderpaint || op == kMove;
    if (coloured && !p.empty() && at.kind != kObject) return out.spill(kByClass), true;
    if ((op == kFill || op == kUnderfill) && !v[1].colour()) return out.spill(kByClass), true;
    int background = 0;
    if (op != kFill && op != kPaint) {
        histogram(g, whole(g), bins);
        const unsigned most = extreme_colour(bins, true);
        if (most == kNone) return out.spill(kByClass), true;
        background = int(most) - 128;
    }
    int i0 = p.i0, j0 = p.j0;
    unsigned covered = 0;
    if (op == kMove) {
        const int di = v[2].a, dj = v[2].b;
        if (v[2].kind != kPair || p.empty() || di > kFar || di < -kFar || dj > kFar || dj < -kFar) {
            return out.spill(kByClass), true;
        }
        covered = placed(p.mask, i0, j0);
        i0 += di;
        j0 += dj;
    }
    const unsigned mask = placed(p.mask, i0, j0);
    const bool under = op == kUnderfill || op == kUnderpaint;
    const int one = op == kCover ? background : v[1].a;
    i8* cells = reinterpret_cast<i8*>(out.payload);
    for (unsigned r = 0; r < g.h; ++r) {
        const unsigned row = __shfl_sync(kAll, mask, r), gone = __shfl_sync(kAll, covered, r), c = lane_of();
        int cell = c < g.w ? g.at(r, c) : 0;
        if (c < g.w && (gone >> c & 1)) cell = background;
        if (c < g.w && (row >> c & 1) && !(under && cell != background)) {
            cell = coloured ? p.at(r - i0, c - j0) : one;
        }
        cells[r * kSide + c] = i8(cell);
    }
    out.put(kGrid, g.h, g.w);
    return true;
}
