// lockstep: arch = compute_80
// Every iteration of Fista in one cooperative launch; see src/kernels/persistent.rs.
//
// A block owns strips of channels. Their tiles, mirrored ones transposed, stay in its shared memory in the order in which
// lanes need them. An iteration needs one barrier of the grid: behind it every block knows the sums of the test, makes
// the momentum of its channels itself, and forms y = x + beta (x - x before) where it reads columns.
#include <cooperative_groups.h>

#include "mma.cuh"

struct PersistentParams {
    unsigned frames, frames_pad, channels, n, n_pad, strips, blocks, halves, iterations, room, items;
    float lower, upper, lambda;
};

// x of one iteration and of the one before; y is formed where it is read, when beta is known. Loads are asked for long
// before that.
template <unsigned N>
struct Columns {
    float now[N], before[N];

    __device__ __forceinline__ void one(unsigned k, const float* x, const float* old) {
        now[k] = __ldcg(x);
        before[k] = __ldcg(old);
    }
    __device__ __forceinline__ void two(unsigned k, const float* x, const float* old) {
        const float2 v = __ldcg(reinterpret_cast<const float2*>(x)), w = __ldcg(reinterpret_cast<const float2*>(old));
        now[k] = v.x, now[k + 1] = v.y, before[k] = w.x, before[k + 1] = w.y;
    }
    __device__ __forceinline__ float y(unsigned k, bool first, float beta) const {
        return first ? now[k] : fmaf(beta, now[k] - before[k], now[k]);
    }
};

// A number format: how a lane keeps a block, and how a warp multiplies a tile. Element (r, c) of a mirrored block is
// (c, r) of the stored one.
struct F16 {
    typedef u16 Stored;
    static constexpr unsigned kBytes = 512, kBatch = 4;
    typedef ::Columns<4> Columns;
    float sums[2][4] = {};

    static __device__ __forceinline__ void put(unsigned char* to, const u16* block, bool mirrored) {
        const unsigned lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
        unsigned own[4];
        for (unsigned e = 0; e < 4; ++e) {
            const unsigned row = g + 8 * (e % 2), column = 2 * t + 8 * (e / 2);
            const u16 low = block[mirrored ? column * 16 + row : row * 16 + column];
            const u16 high = block[mirrored ? (column + 1) * 16 + row : row * 16 + column + 1];
            own[e] = unsigned(low) | unsigned(high) << 16;
        }
        reinterpret_cast<uint4*>(to)[lane] = make_uint4(own[0], own[1], own[2], own[3]);
    }
    // What this lane reads of a tile's columns.
    static __device__ __forceinline__ void load(Columns& to, const float* now, const float* before, u64 stride) {
        const unsigned lane = threadIdx.x % 32;
        const u64 at = lane / 4 * stride + lane % 4 * 2;
        for (unsigned k = 0; k < 2; ++k) to.two(2 * k, now + at + 8 * k, before + at + 8 * k);
    }
    __device__ __forceinline__ void tile(const unsigned char* top, const unsigned char* bottom, const Columns& x,
                                         bool first, const float* betas) {
        const float beta = betas[threadIdx.x % 32 / 4];
        unsigned right[1][2];
        for (unsigned k = 0; k < 2; ++k) {
            unsigned pieces[1];
            split16<kF16>(pieces, x.y(2 * k, first, beta), x.y(2 * k + 1, first, beta));
            right[0][k] = pieces[0];
        }
        half(sums[0], top, right);
        half(sums[1], bottom, right);
    }
    static __device__ __forceinline__ void half(float (&to)[4], const unsigned char* at, const unsigned (&right)[1][2]) {
        if (!at) return;
        const uint4 v = reinterpret_cast<const uint4*>(at)[threadIdx.x % 32];
        const unsigned left[1][4] = {{v.x, v.y, v.z, v.w}};
        products16<kF16>(to, left, right);
    }
    __device__ __forceinline__ void put_sums(float (&part)[32][kGroup]) const { keep(part, sums); }
};

template <unsigned PIECES>
struct Tf32 {
    typedef float Stored;
    static constexpr unsigned kBytes = 1024, kBatch = PIECES == 1 ? 4 : 3;
    typedef ::Columns<4> Columns;
    float sums[2][4] = {};

    static __device__ __forceinline__ void put(unsigned char* to, const float* block, bool mirrored) {
        const unsigned lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
        for (unsigned k = 0; k < 2; ++k) {
            float own[4];
            for (unsigned e = 0; e < 4; ++e) {
                const unsigned row = g + 8 * (e % 2), column = 8 * k + t + 4 * (e / 2);
                own[e] = block[mirrored ? column * 16 + row : row * 16 + column];
            }
            reinterpret_cast<float4*>(to)[32 * k + lane] = make_float4(own[0], own[1], own[2], own[3]);
        }
    }
    static __device__ __forceinline__ void load(Columns& to, const float* now, const float* before, u64 stride) {
        const unsigned lane = threadIdx.x % 32;
        const u64 at = lane / 4 * stride + lane % 4;
        for (unsigned k = 0; k < 4; ++k) to.one(k, now + at + 4 * k, before + at + 4 * k);
    }
    __device__ __forceinline__ void tile(const unsigned char* top, const unsigned char* bottom, const Columns& x,
                                         bool first, const float* betas) {
        const float beta = betas[threadIdx.x % 32 / 4];
        unsigned right[PIECES][2][2];
        for (unsigned k = 0; k < 4; ++k) {
            unsigned pieces[PIECES];
            split8(pieces, x.y(k, first, beta));
            for (unsigned q = 0; q < PIECES; ++q) right[q][k / 2][k % 2] = pieces[q];
        }
        half(sums[0], top, right);
        half(sums[1], bottom, right);
    }
    static __device__ __forceinline__ void half(float (&to)[4], const unsigned char* at,
                                                const unsigned (&right)[PIECES][2][2]) {
        if (!at) return;
        unsigned left[PIECES][2][4];
        for (unsigned k = 0; k < 2; ++k) {
            const float4 v = reinterpret_cast<const float4*>(at)[32 * k + threadIdx.x % 32];
            const float own[4] = {v.x, v.y, v.z, v.w};
            for (unsigned e = 0; e < 4; ++e) {
                unsigned pieces[PIECES] = {__float_as_uint(own[e])};
                if (PIECES > 1) split8(pieces, own[e]);
                for (unsigned q = 0; q < PIECES; ++q) left[q][k][e] = pieces[q];
            }
        }
        products8<PIECES>(to, left, right);
    }
    __device__ __forceinline__ void put_sums(float (&part)[32][kGroup]) const { keep(part, sums); }
};

// A lane a row of the strip; a quarter of a block has four columns of its 16 rows.
struct F32 {
    typedef float Stored;
    static constexpr unsigned kBytes = 1024, kBatch = 2;
    typedef ::Columns<4> Columns;
    float sums[kGroup] = {};

    static __device__ __forceinline__ void put(unsigned char* to, const float* block, bool mirrored) {
        for (unsigned i = threadIdx.x % 32; i < 256; i += 32) {
            const unsigned row = i / 4 % 16, column = i / 64 * 4 + i % 4;
            reinterpret_cast<float*>(to)[i] = block[mirrored ? column * 16 + row : row * 16 + column];
        }
    }
    // Four columns of a frame a lane, handed round when they are multiplied.
    static __device__ __forceinline__ void load(Columns& to, const float* now, const float* before, u64 stride) {
        const unsigned lane = threadIdx.x % 32;
        const u64 at = lane / 4 * stride + lane % 4 * 4;
        for (unsigned k = 0; k < 4; k += 2) to.two(k, now + at + k, before + at + k);
    }
    __device__ __forceinline__ void tile(const unsigned char* top, const unsigned char* bottom, const Columns& x,
                                         bool first, const float* betas) {
        const unsigned lane = threadIdx.x % 32;
        const unsigned char* at = lane < 16 ? top : bottom;
        float own[4];
        for (unsigned k = 0; k < 4; ++k) own[k] = x.y(k, first, betas[lane / 4]);
        for (unsigned s = 0; s < 4; ++s) {
            const float4 v = at ? reinterpret_cast<const float4*>(at)[s * 16 + lane % 16] : make_float4(0, 0, 0, 0);
            for (unsigned f = 0; f < kGroup; ++f) {
                float right[4];
                for (unsigned k = 0; k < 4; ++k) right[k] = __shfl_sync(0xffffffffu, own[k], f * 4 + s);
                if (!at) continue;
                sums[f] = fmaf(v.x, right[0], sums[f]);
                sums[f] = fmaf(v.y, right[1], sums[f]);
                sums[f] = fmaf(v.z, right[2], sums[f]);
                sums[f] = fmaf(v.w, right[3], sums[f]);
            }
        }
    }
    __device__ __forceinline__ void put_sums(float (&part)[32][kGroup]) const {
        for (unsigned f = 0; f < kGroup; ++f) part[threadIdx.x % 32][f] = sums[f];
    }
};

template <typename Format>
__device__ __forceinline__ void iterate(const unsigned* stop, const typename Format::Stored* a, const unsigned* tiles,
                                        const unsigned* starts, const unsigned* slots, const int* matrix_exponents,
                                        const float* b, const float* rho, float* x, float* y, double* t, float* ring,
                                        double* partials, const PersistentParams& p) {
    extern __shared__ __align__(16) unsigned char matrix[];
    __shared__ float parts[kParts][32][kGroup];
    const auto grid = cooperative_groups::this_grid();
    // Nobody sets it in this launch, so all blocks leave together.
    if (stop[0]) return;
    const FistaParams limits = {p.frames, p.channels, p.n, p.lower, p.upper, p.lambda};
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const unsigned first = unsigned(u64(blockIdx.x) * p.items / gridDim.x);
    const unsigned last = unsigned(u64(blockIdx.x + 1) * p.items / gridDim.x);
    // Behind the blocks: t and beta of every item and frame.
    double* ts = reinterpret_cast<double*>(matrix + p.room);
    float* betas = reinterpret_cast<float*>(ts + (last - first) * p.frames_pad);
    auto slot = [&](unsigned item, unsigned tile) { return u64(item / p.strips) * p.halves + slots[tile]; };
    const u64 base = slot(first, starts[first % p.strips]);
    for (unsigned item = first; item < last; ++item) {
        const unsigned c = item / p.strips, s = item % p.strips;
        const typename Format::Stored* blocks = a + u64(c) * p.blocks * 256;
        for (unsigned tile = starts[s] + warp; tile < starts[s + 1]; tile += kParts) {
            unsigned char* to = matrix + (slot(item, tile) - base) * Format::kBytes;
            for (unsigned half = 0; half < 2; ++half) {
                const unsigned block = tiles[3 * u64(tile) + 1 + half];
                if (block == kAbsent) continue;
                Format::put(to, blocks + u64(block >> 1) * 256, (block & 1) != 0);
                to += Format::kBytes;
            }
        }
        for (unsigned f = threadIdx.x; f < p.frames_pad; f += blockDim.x) {
            ts[(item - first) * p.frames_pad + f] = f < p.frames ? t[u64(f) * p.channels + c] : 1.0;
            betas[(item - first) * p.frames_pad + f] = 0.0f;
        }
    }
    // Three turns of x, and y at the start; what is padding stays 0.
    const u64 stride = u64(p.channels) * p.n_pad, turn = u64(p.frames_pad) * stride;
    for (unsigned item = first; item < last; ++item) {
        const unsigned c = item / p.strips, row = item % p.strips * 32 + lane;
        for (unsigned f = warp; f < p.frames_pad; f += kParts) {
            if (row >= p.n_pad) continue;
            const bool there = row < p.n && f < p.frames;
            const u64 from = (u64(f) * p.channels + c) * p.n + row, to = f * stride + u64(c) * p.n_pad + row;
            ring[to] = there ? x[from] : 0.0f;
            ring[turn + to] = ring[2 * turn + to] = 0.0f;
            ring[3 * turn + to] = there ? y[from] : 0.0f;
        }
    }
    grid.sync();
    const u64 sums = u64(p.frames) * p.channels * p.strips;
    // t and beta from the test of iteration k; a warp a frame.
    auto move = [&](unsigned k) {
        for (unsigned item = first; item < last; ++item) {
            const unsigned c = item / p.strips;
            for (unsigned f = warp; f < p.frames; f += kParts) {
                const double* of = partials + k % 2 * sums + (u64(f) * p.channels + c) * p.strips;
                const double test = add_strips(p.strips, [&](unsigned s) { return __ldcg(of + s); });
                const unsigned at = (item - first) * p.frames_pad + f;
                double after = ts[at];
                const float beta = momentum(after, test > 0);
                __syncwarp();
                if (lane == 0) ts[at] = after, betas[at] = beta;
            }
        }
        __syncthreads();
    };
    for (unsigned k = 0; k < p.iterations; ++k) {
        const bool start = k == 0;
        const float* now = ring + (start ? 3 : k % 3) * turn;
        const float* before = start ? now : ring + (k + 2) % 3 * turn;
        const float* own = ring + k % 3 * turn;
        float* next = ring + (k + 1) % 3 * turn;
        // A batch of this warp's tiles of an item.
        typename Format::Columns columns[Format::kBatch];
        auto fetch = [&](unsigned item, unsigned group, unsigned tile) {
            const u64 column = group * stride + u64(item / p.strips) * p.n_pad;
            const unsigned end = starts[item % p.strips + 1];
#pragma unroll
            for (unsigned i = 0; i < Format::kBatch; ++i) {
                if (tile + i * kParts >= end) break;
                const u64 from = column + tiles[3 * u64(tile + i * kParts)] * 16;
                Format::load(columns[i], now + from, before + from, stride);
            }
        };
        // The first does not wait for the momentum.
        bool fetched = true;
        fetch(first, 0, starts[first % p.strips] + warp);
        if (!start) move(k - 1);
        for (unsigned item = first; item < last; ++item) {
            const unsigned c = item / p.strips, s = item % p.strips, row = s * 32 + lane;
            for (unsigned group = 0; group < p.frames_pad; group += kGroup) {
                const unsigned f = group + warp;
                const bool there = row < p.n && f < p.frames;
                const u64 line = u64(f) * p.channels + c, here = f * stride + u64(c) * p.n_pad + row;
                Columns<1> mine;
                float old = 0, weight = 0, right = 0;
                if (there) {
                    mine.one(0, now + here, before + here);
                    old = __ldcg(own + here);
                    weight = rho[u64(c) * p.n + row];
                    right = b[line * p.n + row];
                }
                const float* group_betas = betas + (item - first) * p.frames_pad + group;
                Format format;
                for (unsigned tile = starts[s] + warp; tile < starts[s + 1]; tile += kParts * Format::kBatch) {
                    if (!fetched) fetch(item, group, tile);
                    fetched = false;
#pragma unroll
                    for (unsigned i = 0; i < Format::kBatch; ++i) {
                        const unsigned at = tile + i * kParts;
                        if (at >= starts[s + 1]) break;
                        const unsigned char* block = matrix + (slot(item, at) - base) * Format::kBytes;
                        const bool top = tiles[3 * u64(at) + 1] != kAbsent, bottom = tiles[3 * u64(at) + 2] != kAbsent;
                        format.tile(top ? block : nullptr, bottom ? block + (top ? Format::kBytes : 0) : nullptr,
                                    columns[i], start, group_betas);
                    }
                }
                fetched = false;
                format.put_sums(parts[warp]);
                __syncthreads();
                float sum = parts[0][lane][warp];
                for (unsigned part = 1; part < kParts; ++part) sum += parts[part][lane][warp];
                if (f < p.frames) {
                    double test = 0;
                    if (there) {
                        const float at = mine.y(0, start, group_betas[warp]);
                        const float g = fmaf(p.lambda, at, scaled(sum, -matrix_exponents[c])) - right;
                        const float to = weight > 0.0f ? clip(at - g / weight, limits) : p.lower;
                        next[here] = to;
                        test = double(weight) * (double(at) - double(to)) * (double(to) - double(old));
                    }
                    test = lockstep::warp_sum(test);
                    if (lane == 0) partials[k % 2 * sums + line * p.strips + s] = test;
                }
                // The parts are written again.
                __syncthreads();
            }
        }
        grid.sync();
    }
    const unsigned k = p.iterations;
    move(k - 1);
    for (unsigned item = first; item < last; ++item) {
        const unsigned c = item / p.strips, row = item % p.strips * 32 + lane;
        for (unsigned f = warp; f < p.frames; f += kParts) {
            const u64 line = u64(f) * p.channels + c, from = f * stride + u64(c) * p.n_pad + row;
            const unsigned at = (item - first) * p.frames_pad + f;
            if (row < p.n) {
                const float now = __ldcg(ring + k % 3 * turn + from);
                const float before = __ldcg(ring + (k + 2) % 3 * turn + from);
                x[line * p.n + row] = now;
                y[line * p.n + row] = fmaf(betas[at], now - before, now);
            }
            if (row == 0) t[line] = ts[at];
        }
    }
}

#define ATA_FISTA(name, Format)                                                                                      \
    extern "C" __global__ void __launch_bounds__(32 * kParts, 2)                                                     \
    name(const unsigned* stop, const Format::Stored* __restrict__ a, const unsigned* __restrict__ tiles,             \
         const unsigned* __restrict__ starts, const unsigned* __restrict__ slots,                                    \
         const int* __restrict__ matrix_exponents, const float* __restrict__ b, const float* __restrict__ rho,       \
         float* x, float* y, double* t, float* ring, double* partials, PersistentParams p) {                         \
        iterate<Format>(stop, a, tiles, starts, slots, matrix_exponents, b, rho, x, y, t, ring, partials, p);        \
    }
ATA_FISTA(ata_fista_persistent_f16, F16)
ATA_FISTA(ata_fista_persistent_tf32, Tf32<1>)
ATA_FISTA(ata_fista_persistent_tf32x3, Tf32<2>)
ATA_FISTA(ata_fista_persistent_f32, F32)
