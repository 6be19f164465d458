// Patches from patches, and numbers.
#pragma once
#include "step.cuh"

__device__ __forceinline__ unsigned perimeter(unsigned h, unsigned w) {
    const unsigned r = lane_of(), ends = 1u | 1u << (w - 1);
    return r >= h ? 0 : r == 0 || r == h - 1 ? first_columns(w) : ends;
}

// Whether a range that begins at a number goes beyond 32 bits.
__device__ __forceinline__ bool overflows(long long from, unsigned length) {
    return from < -2147483648ll || from + length - 1 > 2147483647ll;
}

// Whether a value counts as true.
__device__ __forceinline__ bool truth(const In& v) {
    if (v.patch()) return __ballot_sync(kAll, v.masks[lane_of()] != 0) != 0;
    return v.number() ? v.a != 0 : v.kind != kNothing && !v.hollow();
}

// Functions of one patch. False when this is none of them.
__device__ __forceinline__ bool shaped(unsigned op, const In* v, const Out& out) {
    if (op < kToindices || op > kOutbox) return false;
    const In x = one_of(op == kRecolor, v[1], v[0]);
    if (op == kRecolor && !v[0].comparable()) return out.fail(kTypeError), true;
    // What is empty is shifted by any tuple.
    if (op == kShift && !v[1].tuple()) return out.fail(kTypeError), true;
    Patch p;
    if (!reads_patch(x, p, out)) return true;
    const auto own = [&](unsigned r, unsigned c) { return p.at(r, c); };
    if (op == kRecolor) {
        if (!p.empty() && v[0].kind == kNothing) return out.fail(kTypeError), true;
        if (!p.empty() && !v[0].colour()) return out.spill(kByKind), true;
        const int c = v[0].a;
        return out.patch(true, p.mask, p.i0, p.j0, [&](unsigned, unsigned) { return c; }), true;
    }
    if (p.empty()) {
        // A tuple without elements stays one; and that is what corners are.
        const bool same = op == kShift || op == kNormalize || op == kBox;
        if ((op >= kUlcorner && op <= kLrcorner) || (same && x.hollow())) return out.put(kGrid), true;
        if (op <= kNormalize || op == kBackdrop || op == kDelta || op == kBox) return out.indices(0, 0, 0), true;
        return op == kCorners ? out.spill(kByClass) : out.fail(kEmptyError), true;
    }
    if (op == kShift && v[1].kind != kPair) return out.fail(kTypeError), true;
    const int bottom = p.i0 + int(p.h) - 1, right = p.j0 + int(p.w) - 1;
    const unsigned box = lane_of() < p.h ? first_columns(p.w) : 0, ends = 1u | 1u << (p.w - 1);
    switch (op) {
        case kToindices: out.indices(p.mask, p.i0, p.j0); break;
        case kShift:
            if (overflows((long long)p.i0 + v[1].a, p.h) || overflows((long long)p.j0 + v[1].b, p.w)) {
                return out.fail(kOverflowError), true;
            }
            out.patch(x.kind == kObject, p.mask, (long long)p.i0 + v[1].a, (long long)p.j0 + v[1].b, own);
            break;
        case kNormalize: out.patch(x.kind == kObject, p.mask, 0, 0, own); break;
        case kUppermost: out.put(kInt, p.i0); break;
        case kLowermost: out.put(kInt, bottom); break;
        case kLeftmost: out.put(kInt, p.j0); break;
        case kRightmost: out.put(kInt, right); break;
        case kUlcorner: out.put(kPair, p.i0, p.j0); break;
        case kUrcorner: out.put(kPair, p.i0, right); break;
        case kLlcorner: out.put(kPair, bottom, p.j0); break;
        case kLrcorner: out.put(kPair, bottom, right); break;
        case kCorners: out.indices(lane_of() == 0 || lane_of() == p.h - 1 ? ends : 0, p.i0, p.j0); break;
        case kCenter: out.put(kPair, p.i0 + int(p.h) / 2, p.j0 + int(p.w) / 2); break;
        case kBackdrop: out.indices(box, p.i0, p.j0); break;
        case kDelta: out.indices(box & ~p.mask, p.i0, p.j0); break;
        case kBox: out.indices(perimeter(p.h, p.w), p.i0, p.j0); break;
        case kInbox: {
            // Thin boxes turn inside out: one row becomes three, two stay two.
            const unsigned h = p.h > 2 ? p.h - 2 : 4 - p.h, w = p.w > 2 ? p.w - 2 : 4 - p.w;
            out.indices(perimeter(h, w), p.i0 + (p.h > 2 ? 1 : int(p.h) - 2), p.j0 + (p.w > 2 ? 1 : int(p.w) - 2));
            break;
        }
        default:
            if (p.h > 30 || p.w > 30) return out.spill(kBySize), true;
            out.indices(perimeter(p.h + 2, p.w + 2), p.i0 - 1, p.j0 - 1);
    }
    return true;
}

// Sets of locations, equality and choice. False when this is none of them.
__device__ __forceinline__ bool combined(unsigned op, const In* v, const Out& out) {
    if (op < kCombine || op > kBranch) return false;
    const In &a = v[0], &b = v[1];
    if (op == kBranch) {
        return out.copy(one_of(truth(a), b, v[2])), true;
    }
    if (op == kEquality && a.number() && b.number()) return out.put(kBool, a.a == b.a), true;
    // Lines are objects, too; other values of two forms are never equal: what is empty has one form.
    if (op == kEquality && (a.kind == kLines || b.kind == kLines)) return out.spill(kByKind), true;
    if (op == kEquality && (a.number() ? kInt : a.kind) != (b.number() ? kInt : b.kind)) {
        return out.put(kBool, false), true;
    }
    if (op == kEquality && a.kind == kNothing) return out.put(kBool, true), true;
    if (op == kEquality && a.kind == kPair && b.kind == kPair) return out.put(kBool, a.a == b.a && a.b == b.b), true;
    if (op == kEquality && a.kind == kGrid && b.kind == kGrid) {
        bool same = a.a == b.a && a.b == b.b;
        for (int r = 0; same && r < a.a; ++r) {
            const bool other = int(lane_of()) < a.b && a.grid().at(r, lane_of()) != b.grid().at(r, lane_of());
            same = __ballot_sync(kAll, other) == 0;
        }
        return out.put(kBool, same), true;
    }
    if (op != kEquality) {
        const bool containers = (a.tuple() || a.set()) && (b.tuple() || b.set());
        if (!containers || (op == kIntersection && !(a.set() && b.set()))) return out.fail(kTypeError), true;
        // Sets of sets have nothing in common with patches, whose elements are tuples, and neither has anything with numbers.
        const bool apart = (a.patch() && (b.kind == kObjects || b.kind == kLines || b.kind == kOrdered || b.kind == kPair)) ||
                           (b.patch() && (a.kind == kObjects || a.kind == kLines));
        if (apart && op == kIntersection) return out.indices(0, 0, 0), true;
        if (apart && op == kDifference) return out.copy(a), true;
    }
    if (!a.patch() || !b.patch()) return out.spill(kByKind), true;
    const Patch p = patch_of(a), q = patch_of(b);
    const bool objects = a.kind == kObject && b.kind == kObject;
    // Cells and locations in one set.
    if (a.kind != b.kind && op == kCombine && !p.empty() && !q.empty()) return out.spill(kByKind), true;
    if (op == kEquality) {
        bool same = p.i0 == q.i0 && p.j0 == q.j0 && __ballot_sync(kAll, p.mask != q.mask) == 0;
        for (unsigned r = 0; objects && same && r < p.h; ++r) {
            const bool there = __shfl_sync(kAll, p.mask, r) >> lane_of() & 1;
            same = __ballot_sync(kAll, there && p.at(r, lane_of()) != q.at(r, lane_of())) == 0;
        }
        return out.put(kBool, same), true;
    }
    const unsigned both = a.kind == b.kind ? p.mask & placed(q.mask, q.i0 - p.i0, q.j0 - p.j0) : 0;
    unsigned shared = both;
    for (unsigned r = 0; objects && r < p.h; ++r) {
        const bool there = __shfl_sync(kAll, both, r) >> lane_of() & 1;
        const int i = int(r) + p.i0 - q.i0, j = int(lane_of()) + p.j0 - q.j0;
        const unsigned same = __ballot_sync(kAll, there && p.at(r, lane_of()) == q.at(i, j));
        if (lane_of() == r) shared = same;
    }
    if (op != kCombine) {
        const unsigned kept = op == kIntersection ? shared : p.mask & ~shared;
        return out.patch(a.kind == kObject, kept, p.i0, p.j0, [&](unsigned r, unsigned c) { return p.at(r, c); }), true;
    }
    if (p.empty() || q.empty()) return out.copy(one_of(p.empty(), b, a)), true;
    const int i0 = p.i0 < q.i0 ? p.i0 : q.i0, j0 = p.j0 < q.j0 ? p.j0 : q.j0;
    const int pi = p.i0 + int(p.h), qi = q.i0 + int(q.h), pj = p.j0 + int(p.w), qj = q.j0 + int(q.w);
    if ((pi > qi ? pi : qi) - i0 > 32 || (pj > qj ? pj : qj) - j0 > 32) return out.spill(kBySize), true;
    // Two colours on one location.
    if (__ballot_sync(kAll, shared != both) != 0) return out.spill(kByClass), true;
    const unsigned mask = placed(p.mask, p.i0 - i0, p.j0 - j0) | placed(q.mask, q.i0 - i0, q.j0 - j0);
    out.patch(objects, mask, i0, j0, [&](unsigned r, unsigned c) {
        const int i = int(r) + i0, j = int(c) + j0, ri = i - a.a, ci = j - a.b;
        const bool first = ri >= 0 && ri < 32 && ci >= 0 && ci < 32 && (a.masks[ri] >> ci & 1);
        return int(first ? a.cells[ri * int(kSide) + ci] : b.cells[(i - b.a) * int(kSide) + j - b.b]);
    });
    return true;
}

__device__ __forceinline__ long long one(unsigned op, long long n) {
    switch (op) {
        case kInvert: return -n;
        case kDouble: return 2 * n;
        case kHalve: return n >> 1;
        case kIncrement: return n + 1;
        case kDecrement: return n - 1;
        case kCrement: return n + (n > 0) - (n < 0);
        default: return (n > 0) - (n < 0);
    }
}

__device__ __forceinline__ long long two(unsigned op, long long a, long long b) {
    return op == kAdd ? a + b : op == kSubtract ? a - b : a * b;
}

// Numbers, pairs and the neighbours of a location.
__device__ __forceinline__ void counted(unsigned op, const In* v, const Out& out) {
    const In &a = v[0], &b = v[1];
    if (op >= kDneighbors) {
        if (a.kind != kPair || (op == kConnect && b.kind != kPair)) return out.fail(kTypeError);
        if (op >= kHfrontier) {
            // Always 30 cells, whatever the grid.
            const unsigned r = lane_of(), row = r == 0 ? first_columns(30) : 0, column = r < 30 ? 1u : 0;
            return out.indices(op == kHfrontier ? row : column, op == kHfrontier ? a.a : 0, op == kHfrontier ? 0 : a.b);
        }
        if (op != kConnect) {
            const unsigned outer = op == kDneighbors ? 2 : op == kIneighbors ? 5 : 7;
            const unsigned middle = op == kIneighbors ? 0 : 5, r = lane_of();
            return out.indices(r == 1 ? middle : r < 3 ? outer : 0, (long long)a.a - 1, (long long)a.b - 1);
        }
        const long long di = (long long)b.a - a.a, dj = (long long)b.b - a.b;
        const long long ni = di < 0 ? -di : di, nj = dj < 0 ? -dj : dj;
        if (ni != 0 && nj != 0 && ni != nj) return out.indices(0, 0, 0);
        if (ni > 31 || nj > 31) return out.spill(kBySize);
        const unsigned r = lane_of(), last = unsigned(nj);
        const unsigned slanted = 1u << (di < 0 == dj < 0 ? r & 31 : (last - r) & 31);
        const unsigned mask = r > unsigned(ni) ? 0 : ni == 0 ? first_columns(last + 1) : nj == 0 ? 1u : slanted;
        return out.indices(mask, di < 0 ? b.a : a.a, dj < 0 ? b.b : a.b);
    }
    const bool unary = (op >= kInvert && op <= kSign);
    if (unary || op < kInvert) {
        const bool first = a.number() || a.kind == kPair, second = unary || b.number() || b.kind == kPair;
        if (!first || !second) return out.fail(kTypeError);
        const int aj = a.number() ? a.a : a.b, bj = b.number() ? b.a : b.b;
        const long long i = unary ? one(op, a.a) : two(op, a.a, b.a), j = unary ? one(op, aj) : two(op, aj, bj);
        if (a.number() && (unary || b.number())) return out.number(i);
        return out.pair(i, j);
    }
    switch (op) {
        case kEven:
            if (!a.number()) return out.fail(kTypeError);
            return out.put(kBool, (a.a & 1) == 0);
        case kPositive:
            if (!a.number()) return out.fail(kTypeError);
            return out.put(kBool, a.a > 0);
        case kFlip: return out.put(kBool, !truth(a));
        case kBoth:
        case kEither: return out.copy(one_of(truth(a) == (op == kBoth), b, a));
        case kGreater:
            if (a.kind == kPair && b.kind == kPair) return out.put(kBool, a.a > b.a || (a.a == b.a && a.b > b.b));
            if (a.patch() && b.patch()) return out.put(kBool, patch_of(a).count() > patch_of(b).count());
            // Tuples and sets of others.
            if ((a.tuple() && b.tuple()) || (a.set() && b.set())) return out.spill(kByKind);
            if (!a.number() || !b.number()) return out.fail(kTypeError);
            return out.put(kBool, a.a > b.a);
        case kAstuple:
            if (a.kind != kInt || b.kind != kInt) return out.spill(kByKind);
            return out.put(kPair, a.a, b.a);
        default:
            if (a.kind != kInt) return a.comparable() ? out.spill(kByKind) : out.fail(kTypeError);
            return op == kToivec ? out.put(kPair, a.a, 0) : out.put(kPair, 0, a.a);
    }
}
