// What maps make of a function's results.
#pragma once
#include "step.cuh"

// Twins of Gather.
enum Gather { kToArgmax, kToArgmin, kToExtract, kToSfilter, kToMfilter, kToMapply, kToApply, kToValmax, kToValmin, kToCall };

constexpr unsigned kItem = 8;       // words of a map, twin of ITEM
constexpr int kEmptyError = 2;      // the place of ErrClass::Empty

// A value of an arena.
__device__ __forceinline__ In value_at(const int* heads, const unsigned* payloads, u64 at) {
    const int* head = heads + at * kHead;
    const unsigned* payload = payloads + at * kPayload;
    return {head[0], head[1], head[2], head[3], reinterpret_cast<const i8*>(payload), payload + kMasks};
}

// A map, and the arena in which the elements of its container lie.
struct Images {
    unsigned gather;
    u64 base;
    unsigned count;
    const int* heads;
    const unsigned* payloads;
    u64 elements;       // samples of that arena
    unsigned first, last;    // slots of the function's calls

    __device__ __forceinline__ u64 place(unsigned slot, unsigned k) const { return slot * elements + base + k; }
    __device__ __forceinline__ In at(unsigned slot, unsigned k) const { return value_at(heads, payloads, place(slot, k)); }
    __device__ __forceinline__ const int* head(unsigned slot, unsigned k) const { return heads + place(slot, k) * kHead; }
};

// What stops a map at an element: nothing, a spilled call and its reason, an error, or the element that is asked for.
enum Stop { kGoesOn, kFails = 8, kIsIt };

__device__ __forceinline__ unsigned stop_at(const Images& m, unsigned k) {
    for (unsigned slot = m.first; slot <= m.last; ++slot) {
        const int* head = m.head(slot, k);
        if (head[0] == kSpilled) return head[1];
    }
    const int* key = m.head(m.last, k);
    if (key[0] == kError) return kFails;
    if (m.gather < kToExtract || m.gather > kToMfilter) return kGoesOn;
    if (key[0] != kInt && key[0] != kBool && key[0] != kNothing) return kByKind;
    return m.gather == kToExtract && key[0] != kNothing && key[1] != 0 ? kIsIt : kGoesOn;
}

// The kind of a key: numbers, pairs, patches, others; and a number that stands for it. Twin of rank.
__device__ __forceinline__ unsigned kind_of_key(const int* head) {
    return head[0] == kInt || head[0] == kBool ? 0 : head[0] == kPair ? 1 : head[0] == kIndices || head[0] == kObject ? 2 : 3;
}

__device__ __forceinline__ long long rank_of(const Images& m, unsigned k) {
    const int* head = m.head(m.last, k);
    const unsigned kind = kind_of_key(head);
    if (kind == 0) return head[1];
    if (kind == 1) return (long long)head[1] * 4294967296ll + head[2] + 2147483648ll;
    const unsigned* masks = m.payloads + m.place(m.last, k) * kPayload + kMasks;
    unsigned cells = 0;
    for (unsigned r = 0; r < kSide; ++r) cells += __popc(masks[r]);
    return cells;
}

// The first element with the largest, or smallest, key.
__device__ __forceinline__ void extreme_of(const Images& m, const Out& out) {
    const bool most = m.gather == kToArgmax || m.gather == kToValmax;
    const unsigned kind = kind_of_key(m.head(m.last, 0));
    bool odd = false, mixed = false;
    long long best = 0;
    unsigned at = kNone;
    for (unsigned k = lane_of(); k < m.count; k += 32) {
        const unsigned own = kind_of_key(m.head(m.last, k));
        odd = odd || own == 3;
        mixed = mixed || own != kind;
        if (own == 3) continue;
        const long long rank = most ? rank_of(m, k) : -rank_of(m, k);
        if (at == kNone || rank > best) best = rank, at = k;
    }
    if (__ballot_sync(kAll, odd) != 0) return out.spill(kByKind);
    if (__ballot_sync(kAll, mixed) != 0) return out.spill(kByClass);
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
        if (key[0] == kNothing || key[1] == 0) continue;
        const In element = m.at(0, k);
        if (x.kind == kObjects) {
            mask |= element.masks[lane_of()];
        } else if (int(lane_of()) == element.a - x.a) {
            mask |= 1u << (element.b - x.b);
        }
    }
    if (x.kind != kObjects) return out.indices(mask, x.a, x.b);
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
    bool objects = false, indices = false;
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

// The result of a map whose container is x.
__device__ __forceinline__ void chosen(const Images& m, const In& x, const Out& out, i8* colours) {
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
    switch (m.gather) {
        case kToExtract: return out.put(kError, kEmptyError);
        case kToSfilter:
        case kToMfilter: return filtered(m, x, out);
        case kToMapply: return united(m, out, colours);
        case kToApply: return collected(m, out);
        case kToCall: return out.copy(m.at(m.last, 0));
        default:
            if (m.count > 0) return extreme_of(m, out);
            // The key of 0 is the largest of none.
            if (m.gather >= kToValmax) return out.spill(kByClass);
            out.put(kError, kEmptyError);
    }
}
