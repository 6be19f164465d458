// lockstep: arch = compute_80
// Products of matrices whose diagonals lie near each other: each block is fetched once for both triangles; see
// src/kernels/band.rs.
//
// A thread block takes six block rows a warp. Their vectors and the mirrored sums lie in shared memory. First come the
// mirrors of blocks in the rows above, then diagonal by diagonal the rows' own blocks: no two of a diagonal add to the
// same rows, so that every sum has one order.
#include "apply.cuh"
#include "mma.cuh"

struct BandParams {
    unsigned rows, diagonals, reach;
};

constexpr unsigned kOwn = 6;              // twin of OWN
constexpr unsigned kMostWarps = 16;       // twin of MOST_WARPS

// 16-bit blocks: 512 bytes, the halves of a row change places in every other group of four rows.
template <Format F>
struct Halves {
    typedef u16 Element;
    typedef uint2 Right;
    static constexpr unsigned kBytes = 512, kStages = 8;

    static __device__ __forceinline__ unsigned place(unsigned row, unsigned chunk) {
        return (row * 2 + (chunk ^ ((row >> 2) & 1))) * 16;
    }
    static __device__ __forceinline__ void copy(unsigned to, const u16* from, unsigned lane) {
        copy16(to + place(lane / 2, lane % 2), from + lane * 8);
    }
    static __device__ __forceinline__ Right right(const Line& line, unsigned j, unsigned t) {
        unsigned low[1], high[1];
        const float2 a = line.two(j * 16 + 2 * t), b = line.two(j * 16 + 2 * t + 8);
        split16<F>(low, a.x, a.y);
        split16<F>(high, b.x, b.y);
        return make_uint2(low[0], high[0]);
    }
    template <bool MIRRORED>
    static __device__ __forceinline__ void multiply(float (&sums)[4], unsigned from, const Right& x, unsigned lane) {
        const unsigned m = lane / 8, r = lane % 8;
        unsigned v[4];
        if (MIRRORED) {
            asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                         : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])
                         : "r"(from + place(r + 8 * (m >> 1), m & 1))
                         : "memory");
        } else {
            asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                         : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])
                         : "r"(from + place(r + 8 * (m & 1), m >> 1))
                         : "memory");
        }
        const unsigned b[2] = {x.x, x.y};
        mma16<F>(sums, v, b);
    }
};

// 32-bit blocks: 1024 bytes, four chunks a row, placed so that both a row's lanes and a column's lie in different banks.
struct Words {
    typedef float Element;
    typedef float4 Right;
    static constexpr unsigned kBytes = 1024, kStages = 4;

    static __device__ __forceinline__ unsigned place(unsigned row, unsigned column) {
        const unsigned swap = ((row >> 1) & 1) * 2 + ((row >> 2) & 1);
        return row * 64 + ((column / 4) ^ swap) * 16 + column % 4 * 4;
    }
    static __device__ __forceinline__ void copy(unsigned to, const float* from, unsigned lane) {
        for (unsigned k = 0; k < 2; ++k) {
            const unsigned chunk = lane + 32 * k;
            copy16(to + place(chunk / 4, chunk % 4 * 4), from + chunk * 4);
        }
    }
    static __device__ __forceinline__ Right right(const Line& line, unsigned j, unsigned t) {
        const unsigned at = j * 16 + t;
        return make_float4(round_tf32(line.one(at)), round_tf32(line.one(at + 4)), round_tf32(line.one(at + 8)),
                           round_tf32(line.one(at + 12)));
    }
    template <bool MIRRORED>
    static __device__ __forceinline__ void multiply(float (&sums)[4], unsigned from, const Right& x, unsigned lane) {
        const unsigned g = lane / 4, t = lane % 4;
        const unsigned right[1][2][2] = {
            {{__float_as_uint(x.x), __float_as_uint(x.y)}, {__float_as_uint(x.z), __float_as_uint(x.w)}}};
        unsigned left[1][2][4];
        for (unsigned k = 0; k < 2; ++k) {
            for (unsigned e = 0; e < 4; ++e) {
                const unsigned row = g + 8 * (e % 2), column = 8 * k + t + 4 * (e / 2);
                // The matrix has been rounded before.
                asm volatile("ld.shared.b32 %0, [%1];"
                             : "=r"(left[0][k][e])
                             : "r"(from + (MIRRORED ? place(column, row) : place(row, column)))
                             : "memory");
            }
        }
        products8<1>(sums, left, right);
    }
};

// The blocks of a warp in the order of their use.
struct Walk {
    const unsigned* places;       // [diagonals, reach + own rows]
    const unsigned* distances;
    unsigned warp, warps, width, reach, diagonals;
    unsigned q, k;                // diagonals are counted from 1 in the first pass, which takes them from the last
    bool above;

    __device__ __forceinline__ unsigned next() {
        while (above) {
            const unsigned own = q * warps + warp;
            if (q == kOwn) {
                above = false, q = 0, k = 0;
            } else if (k == 0 || distances[k - 1] <= own) {
                ++q, k = diagonals;
            } else {
                --k;
                const unsigned place = places[k * width + own + reach - distances[k]];
                if (place != kAbsent) return place;
            }
        }
        while (k < diagonals) {
            const unsigned place = places[k * width + q * warps + warp + reach];
            if (++q == kOwn) q = 0, ++k;
            if (place != kAbsent) return place;
        }
        return kAbsent;
    }
};

template <typename F>
__device__ __forceinline__ void product_band(const typename F::Element* __restrict__ a, const float* __restrict__ x,
                                             const unsigned* __restrict__ all_distances,
                                             const unsigned* __restrict__ all_places, const Operands& operands,
                                             const ApplyParams& p, const BandParams& band) {
    extern __shared__ __align__(128) unsigned char room[];
    typedef typename F::Right Right;
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    const unsigned g = lane / 4, t = lane % 4, rows = kOwn * warps, first = blockIdx.x * rows, reach = band.reach;
    const unsigned window = rows + 2 * reach, width = rows + reach;
    Right* vectors = reinterpret_cast<Right*>(room + warps * F::kStages * F::kBytes);
    float* mirrored = reinterpret_cast<float*>(vectors + window * 32);
    unsigned* places = reinterpret_cast<unsigned*>(mirrored + rows * 128);
    unsigned* distances = places + band.diagonals * width;

    for (unsigned i = threadIdx.x; i < band.diagonals; i += blockDim.x) distances[i] = all_distances[i];
    for (unsigned k = warp; k < band.diagonals; k += warps) {
        const unsigned distance = all_distances[k];
        for (unsigned i = lane; i < width; i += 32) {
            // Rows above the first wrap round to large numbers.
            const unsigned row = first + i - reach;
            const bool is_there = row < band.rows && row + distance < band.rows;
            places[k * width + i] = is_there ? all_places[u64(k) * band.rows + row] : kAbsent;
        }
    }
    const Line line(p, x, blockIdx.z * kGroup + g, blockIdx.y);
#pragma unroll 4
    for (unsigned i = warp; i < window; i += warps) {
        const unsigned row = first + i - reach;
        vectors[i * 32 + lane] = row < band.rows ? F::right(line, row, t) : Right{};
    }
    for (unsigned i = threadIdx.x; i < rows * 128; i += blockDim.x) mirrored[i] = 0.0f;
    __syncthreads();

    const typename F::Element* blocks = a + u64(blockIdx.y) * p.blocks * 256;
    const unsigned stages = unsigned(__cvta_generic_to_shared(room)) + warp * F::kStages * F::kBytes;
    Walk walk = {places, distances, warp, warps, width, reach, band.diagonals, 0, band.diagonals, true};
    unsigned fetched = 0, used = 0;
    auto fetch = [&] {
        const unsigned place = walk.next();
        if (place != kAbsent) F::copy(stages + fetched % F::kStages * F::kBytes, blocks + u64(place) * 256, lane);
        ++fetched;
        asm volatile("cp.async.commit_group;" ::: "memory");
    };
    auto ready = [&] {
        fetch();
        asm volatile("cp.async.wait_group %0;" ::"n"(F::kStages - 1) : "memory");
        __syncwarp();
        return stages + used++ % F::kStages * F::kBytes;
    };
    for (unsigned i = 0; i + 1 < F::kStages; ++i) fetch();

    float sums[kOwn][4] = {};
#pragma unroll
    for (unsigned q = 0; q < kOwn; ++q) {
        const unsigned own = q * warps + warp;
        for (unsigned k = band.diagonals; k > 0 && distances[k - 1] > own; --k) {
            const unsigned above = own + reach - distances[k - 1];
            if (places[(k - 1) * width + above] == kAbsent) continue;
            const unsigned from = ready();
            F::template multiply<true>(sums[q], from, vectors[above * 32 + lane], lane);
            // The next copy goes to what was read here.
            __syncwarp();
        }
    }
    for (unsigned k = 0; k < band.diagonals; ++k) {
        const unsigned distance = distances[k];
#pragma unroll
        for (unsigned q = 0; q < kOwn; ++q) {
            const unsigned own = q * warps + warp, other = own + distance;
            if (places[k * width + own + reach] == kAbsent) continue;
            const unsigned from = ready();
            F::template multiply<false>(sums[q], from, vectors[(other + reach) * 32 + lane], lane);
            if (distance > 0 && other < rows) {
                float2* low = reinterpret_cast<float2*>(mirrored + other * 128 + g * 8 + 2 * t);
                float2* high = low + 32;
                float both[4] = {low->x, low->y, high->x, high->y};
                F::template multiply<true>(both, from, vectors[(own + reach) * 32 + lane], lane);
                *low = make_float2(both[0], both[1]);
                *high = make_float2(both[2], both[3]);
            }
            __syncwarp();
        }
        // The next diagonal adds to other warps' rows.
        __syncthreads();
    }
#pragma unroll
    for (unsigned q = 0; q < kOwn; ++q) {
        float2* low = reinterpret_cast<float2*>(mirrored + (q * warps + warp) * 128 + g * 8 + 2 * t);
        float2* high = low + 32;
        *low = make_float2(sums[q][0] + low->x, sums[q][1] + low->y);
        *high = make_float2(sums[q][2] + high->x, sums[q][3] + high->y);
    }
    __syncthreads();
    for (unsigned i = warp; i < rows / 2 * kGroup; i += warps) {
        const unsigned strip = i / kGroup, f = i % kGroup;
        if (first / 2 + strip >= p.strips) break;
        finish(p, operands, first / 2 + strip, blockIdx.y, blockIdx.z * kGroup + f,
               mirrored[(2 * strip + lane / 16) * 128 + lane % 16 * 8 + f]);
    }
}

#define ATA_APPLY_BAND(name, format)                                                                                 \
    extern "C" __global__ void __launch_bounds__(32 * kMostWarps, 1)                                                 \
    name(const format::Element* __restrict__ a, const float* __restrict__ x, const unsigned* __restrict__ distances, \
         const unsigned* __restrict__ places, const int* __restrict__ matrix_exponents, const float* b, float* y,    \
         double* partials, ApplyParams p, BandParams band) {                                                         \
        const Operands operands = {matrix_exponents, matrix_exponents, x, b, y, partials};                           \
        product_band<format>(a, x, distances, places, operands, p, band);                                            \
    }
ATA_APPLY_BAND(ata_apply_band_f16, Halves<kF16>)
ATA_APPLY_BAND(ata_apply_band_bf16, Halves<kBf16>)
ATA_APPLY_BAND(ata_apply_band_tf32, Words)
