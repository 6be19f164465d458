// lockstep: arch = compute_80
// Products with 16-bit blocks: mma.sync m16n8k16 on single blocks; see src/kernels/apply.rs.
//
// A warp is a part of a strip. Blocks come by asynchronous copies of 16 bytes a lane into stages of shared memory;
// mirrored ones are transposed by ldmatrix. The second half of each row changes places in every other group of four
// rows, so that eight rows of one matrix lie in different banks.
#include "apply.cuh"
#include "mma.cuh"

__device__ __forceinline__ unsigned place(unsigned row, unsigned chunk) { return (row * 2 + (chunk ^ ((row >> 2) & 1))) * 16; }

// The right operand of a lane, columns 2t, 2t + 1 and 8 further of frame g: rounded here, or cast before.
template <Format F, unsigned PIECES>
struct Given {
    Line line;
    __device__ __forceinline__ Given(const ApplyParams& p, const float* __restrict__ x, unsigned g, unsigned t)
        : line(p, x, blockIdx.z * kGroup + g, blockIdx.y), first(2 * t) {}
    unsigned first;
    __device__ __forceinline__ void load(unsigned (&b)[PIECES][2], unsigned j) const {
        for (unsigned k = 0; k < 2; ++k) {
            const float2 v = line.two(j * 16 + first + 8 * k);
            unsigned pieces[PIECES];
            split16<F>(pieces, v.x, v.y);
            for (unsigned q = 0; q < PIECES; ++q) b[q][k] = pieces[q];
        }
    }
};
template <Format F, unsigned PIECES>
struct Before {
    const u16* vectors;
    u64 stride;
    __device__ __forceinline__ Before(const ApplyParams& p, const u16* __restrict__ x, unsigned g, unsigned t)
        : vectors(x + ((u64(blockIdx.z) * kGroup + g) * p.channels + blockIdx.y) * p.n_pad + 2 * t),
          stride(u64(p.frames_pad) * p.channels * p.n_pad) {}
    __device__ __forceinline__ void load(unsigned (&b)[PIECES][2], unsigned j) const {
        for (unsigned q = 0; q < PIECES; ++q) {
            const u16* at = vectors + q * stride + u64(j) * 16;
            b[q][0] = *reinterpret_cast<const unsigned*>(at);
            b[q][1] = *reinterpret_cast<const unsigned*>(at + 8);
        }
    }
};

template <Format F, unsigned PIECES, typename Source>
__device__ __forceinline__ void product(const u16* __restrict__ a, const Source& source,
                                        const unsigned* __restrict__ tiles, const unsigned* __restrict__ starts,
                                        const Operands& operands, const ApplyParams& p) {
    constexpr unsigned kStages = PIECES == 1 ? 4 : 2;
    __shared__ __align__(128) unsigned char stages[kParts][kStages][PIECES][2][512];
    __shared__ Turns::List lists[kParts];
    __shared__ float parts[kParts][32][kGroup];
    const unsigned lane = threadIdx.x % 32, part = threadIdx.x / 32;
    const Turns turns(lists[part], tiles, starts);
    const unsigned count = turns.count;
    const u64 matrix_stride = u64(p.channels) * p.blocks * 256;
    const u16* blocks = a + u64(blockIdx.y) * p.blocks * 256;
    const unsigned own = place(lane / 2, lane % 2);
    const unsigned base = unsigned(__cvta_generic_to_shared(&stages[part][0][0][0][0]));
    auto stage_of = [&](unsigned i, unsigned piece, unsigned half) {
        return base + ((i % kStages * PIECES + piece) * 2 + half) * 512;
    };
    auto fetch = [&](unsigned i) {
        if (i < count) {
            for (unsigned half = 0; half < 2; ++half) {
                const unsigned block = turns.at(i, 1 + half);
                if (block == kAbsent) continue;
                for (unsigned piece = 0; piece < PIECES; ++piece) {
                    const u16* from = blocks + piece * matrix_stride + u64(block >> 1) * 256 + lane * 8;
                    copy16(stage_of(i, piece, half) + own, from);
                }
            }
        }
        asm volatile("cp.async.commit_group;" ::: "memory");
    };
    // Matrix m of four and its row: plain blocks go down first, mirrored ones across.
    const unsigned m = lane / 8, r = lane % 8;
    const unsigned plain = place(r + 8 * (m & 1), m >> 1), mirrored = place(r + 8 * (m >> 1), m & 1);
    float sums[2][4] = {};
    for (unsigned i = 0; i + 1 < kStages; ++i) fetch(i);
    // The right operand is read a turn ahead.
    unsigned next[PIECES][2] = {};
    if (count > 0) source.load(next, turns.at(0, 0));
    for (unsigned i = 0; i < count; ++i) {
        unsigned right[PIECES][2];
        for (unsigned q = 0; q < PIECES; ++q) right[q][0] = next[q][0], right[q][1] = next[q][1];
        if (i + 1 < count) source.load(next, turns.at(i + 1, 0));
        fetch(i + kStages - 1);
        asm volatile("cp.async.wait_group %0;" ::"n"(kStages - 1) : "memory");
        __syncwarp();
        for (unsigned half = 0; half < 2; ++half) {
            const unsigned block = turns.at(i, 1 + half);
            if (block == kAbsent) continue;
            unsigned left[PIECES][4];
            for (unsigned piece = 0; piece < PIECES; ++piece) {
                unsigned(&v)[4] = left[piece];
                const unsigned from = stage_of(i, piece, half);
                if (block & 1) {
                    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                                 : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])
                                 : "r"(from + mirrored)
                                 : "memory");
                } else {
                    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                                 : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])
                                 : "r"(from + plain)
                                 : "memory");
                }
            }
            products16<F>(sums[half], left, right);
        }
        // The next copies go to what was read here.
        __syncwarp();
    }
    keep(parts[part], sums);
    finish_strip(p, operands, parts);
}

#define ATA_APPLY(name, X, format, pieces, source)                                                                   \
    extern "C" __global__ void __launch_bounds__(32 * kParts)                                                        \
    name(const u16* __restrict__ a, const X* __restrict__ x, const unsigned* __restrict__ tiles,                     \
         const unsigned* __restrict__ starts, const int* __restrict__ matrix_exponents, const int* exponents,        \
         const float* plain, const float* b, float* y, double* partials, ApplyParams p) {                            \
        const unsigned lane = threadIdx.x % 32;                                                                      \
        const source<format, pieces> right(p, x, lane / 4, lane % 4);                                                \
        product<format, pieces>(a, right, tiles, starts, {matrix_exponents, exponents, plain, b, y, partials}, p);   \
    }
ATA_APPLY(ata_apply_mma_f16, float, kF16, 1, Given)
ATA_APPLY(ata_apply_mma_f16x2, float, kF16, 2, Given)
ATA_APPLY(ata_apply_mma_bf16, float, kBf16, 1, Given)
ATA_APPLY(ata_apply_mma_f16_cast, u16, kF16, 1, Before)
ATA_APPLY(ata_apply_mma_f16x2_cast, u16, kF16, 2, Before)
