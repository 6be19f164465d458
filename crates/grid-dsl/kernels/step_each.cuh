// What maps make of a function's results.
#pragma once
#include "step.cuh"

// Twins of Gather.
enum Gather { kToArgmax, kToArgmin, kToExtract, kToSfilter, kToMfilter, kToMapply, kToApply, kToValmax, kToValmin, kToCall };

constexpr unsigned kMap = 10;       // words of a map, twin of MAP
constexpr unsigned kItem = 4;       // words of a map's sample, twin of ITEM

// A map, and the arena in which the elements of its container lie.
struct Images {
    unsigned gather;
    u64 base;
    unsigned count;
    const int* heads;
    const unsigned* payloads;
    u64 elements;       // places of a slot there
    unsigned first, last;    // slots of the function's calls

    __device__ __forceinline__ u64 place(unsigned slot, unsigned k) const { return slot * elements + base + k; }
    __device__ __forceinline__ In at(unsigned slot, unsigned k) const { return value_at(heads, payloads, place(slot, k)); }
    __device__ __forceinline__ const int* head(unsigned slot, unsigned k) const { return heads + place(slot, k) * kHead; }
};

// What stops a map at an element: nothing, a spilled call and its reason, an error, or the element that is asked for.
enum Stop { kGoesOn, kFails = 8, kIsIt };

// Whether a predicate's result is true: of sets of locations a head does not tell. Twin of truth.
__device__ __forceinline__ bool holds(const int* head) {
    const bool counts = head[0] == kInt || head[0] == kBool || head[0] == kGrid;
    return counts ? head[1] != 0 : head[0] != kNothing;
}

__device__ __forceinline__ unsigned stop_at(const Images& m, unsigned k) {
    for (unsigned slot = m.first; slot <= m.last; ++slot) {
        const int* head = m.head(slot, k);
        if (head[0] == kSpilled) return head[1];
    }
    const int* key = m.head(m.last, k);
    if (key[0] == kError) return kFails;
    if (m.gather < kToExtract || m.gather > kToMfilter) return kGoesOn;
    if (key[0] == kIndices) return kByKind;
    return m.gather == kToExtract && holds(key) ? kIsIt : kGoesOn;
}

// The kind of a key: what cannot be compared, numbers, tuples, sets; and from 4 on those that have no rank. Twin of kind_of_key.
__device__ __forceinline__ unsigned kind_of_key(const int* head) {
    switch (head[0]) {
        case kInt:
        case kBool: return 1;
        case kPair: return 2;
        case kIndices:
        case kObject: return 3;
        case kGrid:
        case kStrips:
        case kOrdered: return 4 | 2;
        case kObjects:
        case kLines: return 4 | 3;
        default: return 0;
    }
}

__device__ __forceinline__ long long rank_of(const Images& m, unsigned k) {
    const int* head = m.head(m.last, k);
    const unsigned kind = kind_of_key(head);
    if (kind == 1) return head[1];
    if (kind == 2) return (long long)head[1] * 4294967296ll + head[2] + 2147483648ll;
    const unsigned* masks = m.payloads + m.place(m.last, k) * kPayload + kMasks;
    unsigned cells = 0;
    for (unsigned r = 0; r < kSide; ++r) cells += __popc(masks[r]);
    return cells;
}

// The first element with the largest, or smallest, key.
__device__ __forceinline__ void extreme_of(const Images& m, const Out& out) {
    const bool most = m.gather == kToArgmax || m.gather == kToValmax;
    const unsigned kind = kind_of_key(m.head(m.last, 0)) & 3;
    bool odd = false, mixed = kind == 0;
    long long best = 0;
    unsigned at = kNone;
    for (unsigned k = lane_of(); k < m.count; k += 32) {
        const unsigned own = kind_of_key(m.head(m.last, k));
        odd = odd || own >= 4;
        mixed = mixed || (own & 3) != kind;
        // One alone is not compared.
        if (m.count == 1) at = k;
        if (own == 0 || own >= 4) continue;
        const long long rank = most ? rank_of(m, k) : -rank_of(m, k);
        if (at == kNone || rank > best) best = rank, at = k;
    }
    if (m.count > 1 && __ballot_sync(kAll, mixed) != 0) return out.fail(kTypeError);
    if (m.count > 1 && __ballot_sync(kAll, odd) != 0) return out.spill(kByKind);
    for (int lanes = 16; lanes > 0; lanes /= 2) {
        const long long other = __shfl_xor_sync(kAll, best, lanes);
        const unsigned from = __shfl_xor_sync(kAll, at, lanes);
        if (from != kNone && (at == kNone || other > best || (other == best && from < at))) best = other, at = from;
    }
    out.copy(m.at(m.gather == kToArgmax || m.gather == kToArgmin ? 0 : m.last, at));
}

// The elements for which the function is true.
__device__ __forceinline__ void filtered(const Images& m, const In& x, const Out& out) {
    unsigned mask = 0;
    for (unsigned k = 0; k < m.count; ++k) {
        const int* key = m.head(m.last, k);
        if (!holds(key)) continue;
        const In element = m.at(0, k);
        if (x.kind != kIndices) {
            mask |= element.masks[lane_of()];
        } else if (int(lane_of()) == element.a - x.a) {
            mask |= 1u << (element.b - x.b);
        }
    }
    if (x.kind == kIndices) return out.indices(mask, x.a, x.b);
    const Grid g = x.grid();
    if (m.gather == kToSfilter) return out.objects(g, mask, x.c);
    out.patch(true, mask, 0, 0, [&](unsigned r, unsigned c) { return g.at(r, c); });
}

// A box around locations.
struct Around {
    int top, left, bottom, right;

    __device__ __forceinline__ void add(int i, int j) {
        top = i < top ? i : top, left = j < left ? j : left;
        bottom = i > bottom ? i : bottom, right = j > right ? j : right;
    }
    __device__ __forceinline__ bool fits() const {
        return (long long)bottom - top < kSide && (long long)right - left < kSide;
    }
};

constexpr Around kNowhere = {2147483647, 2147483647, -2147483647 - 1, -2147483647 - 1};

// All results as one set.
__device__ __forceinline__ void united(const Images& m, const Out& out, i8* colours) {
    Around box = kNowhere;
    bool objects = false, indices = false, plain = false;
    // Numbers are no containers.
    for (unsigned k = lane_of(); k < m.count; k += 32) {
        const int kind = m.head(m.last, k)[0];
        plain = plain || kind == kInt || kind == kBool || kind == kNothing || kind == kBound;
    }
    if (__ballot_sync(kAll, plain) != 0) return out.fail(kTypeError);
    for (unsigned k = 0; k < m.count; ++k) {
        const In key = m.at(m.last, k);
        if (!key.patch()) return out.spill(kByKind);
        const Patch p = patch_of(key);
        if (p.empty()) continue;
        (key.kind == kObject ? objects : indices) = true;
        box.add(p.i0, p.j0);
        box.add(p.i0 + int(p.h) - 1, p.j0 + int(p.w) - 1);
    }
    if (objects && indices) return out.spill(kByKind);
    if (!objects && !indices) return out.indices(0, 0, 0);
    if (!box.fits()) return out.spill(kBySize);
    unsigned mask = 0;
    bool several = false;
    for (unsigned k = 0; k < m.count; ++k) {
        const Patch p = patch_of(m.at(m.last, k));
        if (p.empty()) continue;
        const int down = p.i0 - box.top, across = p.j0 - box.left;
        const unsigned own = placed(p.mask, down, across);
        for (unsigned r = 0; objects && r < p.h; ++r) {
            // A lane is a column of the box.
            const unsigned row = __shfl_sync(kAll, own, r + down), before = __shfl_sync(kAll, mask, r + down);
            if (row >> lane_of() & 1) {
                const int colour = p.at(r, lane_of() - across);
                i8& there = colours[(r + down) * kSide + lane_of()];
                several = several || ((before >> lane_of() & 1) && there != colour);
                there = i8(colour);
            }
        }
        __syncwarp();
        mask |= own;
    }
    // Two colours on one location.
    if (__ballot_sync(kAll, several) != 0) return out.spill(kByClass);
    out.patch(objects, mask, box.top, box.left, [&](unsigned r, unsigned c) { return int(colours[r * kSide + c]); });
}

// Locations as one set.
__device__ __forceinline__ void collected(const Images& m, const Out& out) {
    Around box = kNowhere;
    for (unsigned k = 0; k < m.count; ++k) {
        const int* key = m.head(m.last, k);
        if (key[0] != kPair) return out.spill(kByKind);
        box.add(key[1], key[2]);
    }
    if (m.count == 0) return out.indices(0, 0, 0);
    if (!box.fits()) return out.spill(kBySize);
    unsigned mask = 0;
    for (unsigned k = 0; k < m.count; ++k) {
        const int* key = m.head(m.last, k);
        if (int(lane_of()) == key[1] - box.top) mask |= 1u << (key[2] - box.left);
    }
    out.indices(mask, box.top, box.left);
}

// Whether the function is true for an element, or the image is asked for anyway.
__device__ __forceinline__ bool wanted(const Images& m, unsigned k) {
    return m.gather == kToMapply || m.gather == kToApply || holds(m.head(m.last, k));
}

// Grids one above the other, each a tuple of rows: images, or elements for which the function is true.
__device__ __forceinline__ void piled(const Images& m, const Out& out) {
    const unsigned slot = m.gather == kToMapply ? m.last : 0;
    unsigned h = 0, w = kNone;
    for (unsigned k = 0; k < m.count; ++k) {
        const In part = m.at(slot, k);
        if (!wanted(m, k) || part.hollow()) continue;
        if (part.kind != kGrid || (w != kNone && unsigned(part.b) != w)) return out.spill(kByKind);
        w = part.b;
        h += part.a;
        if (h > kSide) return out.spill(kBySize);
    }
    i8* cells = reinterpret_cast<i8*>(out.payload);
    unsigned row = 0;
    for (unsigned k = 0; k < m.count; ++k) {
        if (!wanted(m, k)) continue;
        const Grid part = m.at(slot, k).grid();
        for (unsigned r = 0; r < part.h; ++r, ++row) {
            cells[row * kSide + lane_of()] = i8(lane_of() < w ? part.at(r, lane_of()) : 0);
        }
    }
    out.put(kGrid, h, h == 0 ? 0 : w);
}

// Grids of one shape as parts of one, side by side or one above the other; copies stay copies.
__device__ __forceinline__ void packed(const Images& m, const In& x, const Out& out) {
    const unsigned slot = m.gather == kToApply ? m.last : 0;
    unsigned n = 0;
    In first{};
    for (unsigned k = 0; k < m.count; ++k) {
        if (!wanted(m, k)) continue;
        const In part = m.at(slot, k);
        if (n++ == 0) first = part;
        if (part.kind != kGrid || part.a == 0 || part.b == 0 || part.a != first.a || part.b != first.b) {
            return out.spill(kByKind);
        }
    }
    if (n == 0) return out.put(kGrid);
    const unsigned h = first.a, w = first.b;
    if (x.c & 512) {
        out.copy_payload(first);
        return out.put(kStrips, h, w, 512 | n);
    }
    const bool above = w * n > kSide;
    if (above && h * n > kSide) return out.spill(kBySize);
    i8* cells = reinterpret_cast<i8*>(out.payload);
    unsigned at = 0;
    for (unsigned k = 0; k < m.count; ++k) {
        if (!wanted(m, k)) continue;
        const Grid part = m.at(slot, k).grid();
        const unsigned top = above ? at * h : 0, left = above ? 0 : at * w;
        for (unsigned r = 0; r < h; ++r) {
            if (lane_of() < w) cells[(top + r) * kSide + left + lane_of()] = i8(part.at(r, lane_of()));
        }
        ++at;
    }
    above ? out.put(kStrips, h * n, w, 256 | n) : out.put(kStrips, h, w * n, n);
}

// Modes that tell objects apart, to be tried: four bits each from the lowest on, twin of MODES.
constexpr unsigned kModes = 4 | 6 << 4 | 0 << 8 | 2 << 12;

// Objects as components of what they are together, where a mode makes them so.
__device__ __forceinline__ void grouped(const Images& m, const In& x, const Out& out, Joined& s) {
    i8* cells = reinterpret_cast<i8*>(out.payload);
    unsigned plane = 0;
    for (unsigned k = 0; k < m.count; ++k) {
        const In key = m.at(m.last, k);
        if (key.kind != kObject) return out.spill(kByKind);
        const Patch p = patch_of(key);
        if (p.i0 < 0 || p.j0 < 0 || p.i0 + p.h > kSide || p.j0 + p.w > kSide) return out.spill(kBySize);
        const unsigned own = placed(p.mask, p.i0, p.j0);
        if (__ballot_sync(kAll, (plane & own) != 0) != 0) return out.spill(kByClass);
        plane |= own;
        for (unsigned r = 0; r < p.h; ++r) {
            if (__shfl_sync(kAll, p.mask, r) >> lane_of() & 1) {
                cells[(p.i0 + r) * kSide + p.j0 + lane_of()] = i8(p.at(r, lane_of()));
            }
        }
    }
    __syncwarp();
    const Grid g{cells, high(__ballot_sync(kAll, plane != 0)) + 1, high(warp_or(plane)) + 1};
    for (unsigned turn = 0; turn < 5; ++turn) {
        const unsigned mode = turn > 0 ? kModes >> (4 * turn - 4) & 15 : x.kind == kObjects ? x.c & 15 : 4;
        join_rows(g, plane, mode, s.parent, s.bins, [](unsigned) {});
        // As many as there are images, and none lies in two of them.
        bool split = roots_of(g, plane, s.parent) != m.count;
        if (!split) shorten(g, plane, s.parent);
        for (unsigned k = 0; k < m.count && !split; ++k) {
            const Patch p = patch_of(m.at(m.last, k));
            const unsigned own = placed(p.mask, p.i0, p.j0), top = p.i0;
            const unsigned root = s.parent[top * kSide + low(__shfl_sync(kAll, own, top))];
            for (unsigned r = top; r < top + p.h && !split; ++r) {
                const unsigned row = __shfl_sync(kAll, own, r), at = r * kSide + lane_of();
                split = __ballot_sync(kAll, (row >> lane_of() & 1) && s.parent[at] != root) != 0;
            }
        }
        __syncwarp();
        if (split) continue;
        out.payload[kMasks + lane_of()] = plane;
        return out.put(kObjects, g.h, g.w, mode);
    }
    out.spill(kByKind);
}

// The result of a map whose container is x.
__device__ __forceinline__ void chosen(const Images& m, const In& x, const Out& out, Joined& s) {
    // The first element that stops it.
    unsigned first = kNone;
    for (unsigned from = 0; first == kNone && from < m.count; from += 32) {
        const unsigned k = from + lane_of();
        const bool stops = k < m.count && stop_at(m, k) != kGoesOn;
        const unsigned all = __ballot_sync(kAll, stops);
        if (all != 0) first = from + low(all);
    }
    if (first != kNone) {
        const unsigned why = stop_at(m, first);
        if (why == kIsIt) return out.copy(m.at(0, first));
        if (why == kFails) return out.put(kError, m.head(m.last, first)[1]);
        return out.spill(Spill(why));
    }
    // Of a tuple without elements nothing is left but that.
    if (x.hollow() && m.gather >= kToSfilter && m.gather <= kToApply) return out.put(kGrid);
    const bool strips = x.kind == kStrips;
    switch (m.gather) {
        case kToExtract: return out.put(kError, kEmptyError);
        case kToSfilter: return strips ? packed(m, x, out) : filtered(m, x, out);
        case kToMfilter: return strips ? piled(m, out) : filtered(m, x, out);
        case kToMapply: return strips ? piled(m, out) : united(m, out, reinterpret_cast<i8*>(s.parent));
        case kToApply:
            if (strips) return packed(m, x, out);
            if (m.count > 0 && m.head(m.last, 0)[0] == kObject) return grouped(m, x, out, s);
            return collected(m, out);
        case kToCall: return out.copy(m.at(m.last, 0));
        default:
            if (m.count > 0) return extreme_of(m, out);
            // The key of 0 is the largest of none.
            if (m.gather >= kToValmax) return out.spill(kByClass);
            out.put(kError, kEmptyError);
    }
}
