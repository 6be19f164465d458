// Isometries and permutations of colours: a warp an item, which is a grid, an isometry and a permutation; and digests of
// grids: a thread a grid. See src/kernels/augment.rs and src/kernels/digest.rs.
#include "grid.cuh"

constexpr unsigned kPitch = kSide + 4;    // of rows in shared memory: rows' bytes of a column are in banks of their own

// Four cells below 16, which become what the table says.
__device__ __forceinline__ unsigned recoloured(unsigned word, const uint4& table) {
    // The cells' four bits beside each other select bytes, of the table's halves by the lower three.
    const unsigned four = __byte_perm((word | word >> 4) & 0x00ff00ffu, 0, 0x4420), low = four & 0x7777;
    const unsigned upper = (word >> 3 & 0x01010101u) * 255;
    return (__byte_perm(table.x, table.y, low) & ~upper) | (__byte_perm(table.z, table.w, low) & upper);
}

// Four cells, of which those below 16 become what the table in memory says.
__device__ __forceinline__ unsigned recoloured(unsigned word, const unsigned char* __restrict__ table) {
    unsigned out = 0;
    for (unsigned b = 0; b < 32; b += 8) {
        const unsigned c = word >> b & 255;
        out |= (c < 16 ? unsigned(table[c]) : c) << b;
    }
    return out;
}

// The first `n` bytes of a word.
__device__ __forceinline__ unsigned first_bytes(unsigned n) { return n >= 4 ? kAll : (1u << (8 * n)) - 1; }

extern "C" __global__ void __launch_bounds__(64)
grid_augment(const unsigned char* __restrict__ sizes, const unsigned char* __restrict__ cells,
             const unsigned* __restrict__ items, const unsigned char* __restrict__ permutations,
             unsigned char* __restrict__ out_sizes, unsigned char* __restrict__ out, unsigned count) {
    // Words of reversed rows begin up to three bytes before the rows.
    __shared__ unsigned turned[kWarps][1 + kSide * kPitch / 4];
    unsigned* const own = turned[threadIdx.x / 32] + 1;
    const unsigned lane = lane_of();
    for (u64 n = u64(blockIdx.x) * kWarps + threadIdx.x / 32; n < count; n += u64(gridDim.x) * kWarps) {
        const unsigned source = items[3 * n], isometry = items[3 * n + 1];
        const unsigned char* colours = permutations + u64(items[3 * n + 2]) * 16;
        const uint4 table = *reinterpret_cast<const uint4*>(colours);
        const unsigned h = sizes[2 * u64(source)], w = sizes[2 * u64(source) + 1];
        // Bit 0: columns reversed, bit 1: rows reversed, bit 2: then rows and columns exchanged.
        const bool transposed = isometry & 4;
        const unsigned oh = transposed ? w : h, ow = transposed ? (w == 0 ? 0 : h) : w;
        // Also the rows and columns beside the grid that words of the result begin or end in.
        if (lane == 0) own[-1] = 0;
        if (lane < (h + 3 & ~3u)) {
            const unsigned row = isometry & 2 && lane < h ? h - 1 - lane : lane;
            const uint4* from = reinterpret_cast<const uint4*>(cells + u64(source) * kCells) + row * 2;
            const uint4 left = from[0], right = from[1];
            const unsigned words[8] = {left.x, left.y, left.z, left.w, right.x, right.y, right.z, right.w};
            unsigned odd = 0;
#pragma unroll
            for (unsigned q = 0; q < 8; ++q) odd |= words[q];
            unsigned* const row_of = own + lane * (kPitch / 4);
            row_of[8] = 0;
            if (odd & 0xf0f0f0f0u) {
                for (unsigned q = 0; q < 8; ++q) {
                    row_of[q] = recoloured(reinterpret_cast<const unsigned*>(from)[q], colours);
                }
            } else {
#pragma unroll
                for (unsigned q = 0; q < 8; ++q) row_of[q] = recoloured(words[q], table);
            }
        }
        __syncwarp();
        // A lane is a row of the result, whose cells lie a step apart: down a column, or along a row forth or back.
        unsigned words[8] = {0, 0, 0, 0, 0, 0, 0, 0};
        if (lane < oh) {
            const bool reversed = isometry & 1;
            const unsigned* const row = own + lane * (kPitch / 4);
            const unsigned char* bytes = reinterpret_cast<const unsigned char*>(own);
            const unsigned at = reversed ? w - 1 : 0;
            bytes += transposed ? (reversed ? at - lane : lane) : lane * kPitch + at;
            const int step = transposed ? int(kPitch) : reversed ? -1 : 1;
#pragma unroll
            for (unsigned q = 0; q < 8; ++q) {
                if (q * 4 >= ow) continue;
                if (isometry & 5) {
                    const unsigned a = bytes[0], b = bytes[step], c = bytes[2 * step], d = bytes[3 * step];
                    words[q] = __byte_perm(a | b << 8, c | d << 8, 0x5410);
                    bytes += 4 * step;
                } else {
                    words[q] = row[q];
                }
                words[q] &= first_bytes(ow - q * 4);
            }
        }
        uint4* to = reinterpret_cast<uint4*>(out + n * kCells) + lane * 2;
        to[0] = make_uint4(words[0], words[1], words[2], words[3]);
        to[1] = make_uint4(words[4], words[5], words[6], words[7]);
        if (lane < 2) out_sizes[2 * n + lane] = lane == 0 ? oh : ow;
        __syncwarp();
    }
}

struct Fnv {
    unsigned low = 0x84222325u, high = 0xcbf29ce4u;
    // Exclusive or with the lowest byte of b only, and a product with 2^40 + 0x1b3.
    __device__ __forceinline__ void byte(unsigned b) {
        const unsigned mixed = low ^ (b & 255);
        const u64 product = u64(mixed) * 0x1b3u;
        low = unsigned(product);
        high = high * 0x1b3u + unsigned(product >> 32) + (mixed << 8);
    }
    template <unsigned N>
    __device__ __forceinline__ void text(const char (&t)[N]) {
#pragma unroll
        for (unsigned k = 0; k + 1 < N; ++k) byte(t[k]);
    }
    __device__ __forceinline__ void integer(int v) {
        if (v < 0) byte('-');
        const unsigned n = v < 0 ? -v : v;
        if (n >= 100) byte('0' + n / 100);
        if (n >= 10) byte('0' + n / 10 % 10);
        byte('0' + n % 10);
    }
};

// The digest of a grid that is no grid of digits.
__device__ __noinline__ Fnv digest_numbers(const unsigned char* __restrict__ cells, unsigned h, unsigned w) {
    Fnv fnv;
    fnv.text("{\"t\":[");
    for (unsigned i = 0; i < h; ++i) {
        if (i > 0) fnv.byte(',');
        fnv.text("{\"t\":[");
        for (unsigned j = 0; j < w; ++j) {
            if (j > 0) fnv.byte(',');
            fnv.integer(i8(cells[i * kSide + j]));
        }
        fnv.text("]}");
    }
    fnv.text("]}");
    return fnv;
}

constexpr unsigned kDigestWarps = 4;                // warps of a block, a quarter of the block in src/kernels/digest.rs
constexpr unsigned kRows = 4;                       // rows that a warp loads of each of its grids at once
constexpr unsigned kPieces = kRows * kSide / 16;    // pieces of 16 bytes that those are
constexpr unsigned kStride = kPieces + 1;           // pieces between grids in shared memory, for banks of their own

extern "C" __global__ void __launch_bounds__(128)
grid_digest(const unsigned char* __restrict__ sizes, const unsigned char* __restrict__ cells, uint2* __restrict__ out,
            unsigned count) {
    __shared__ uint4 memory[kDigestWarps][32 * kStride];
    uint4* const staged = memory[threadIdx.x / 32];
    const unsigned lane = lane_of();
    const u64 warps = u64(gridDim.x) * kDigestWarps;
    for (u64 begin = (u64(blockIdx.x) * kDigestWarps + threadIdx.x / 32) * 32; begin < count; begin += warps * 32) {
        const u64 n = begin + lane;
        const unsigned here = count - begin < 32 ? unsigned(count - begin) : 32;
        const unsigned h = lane < here ? sizes[2 * n] : 0, w = lane < here ? sizes[2 * n + 1] : 0;
        const unsigned rows = lockstep::warp_max(h);
        // Eight lanes load four rows of a grid, and the warp those of four grids at once.
        const uint4* const from = reinterpret_cast<const uint4*>(cells + begin * kCells) + lane % kPieces;
        const unsigned first = lane / kPieces;
        uint4 next[kPieces] = {};
        const auto load = [&](unsigned row) {
#pragma unroll
            for (unsigned k = 0; k < kPieces; ++k) {
                const unsigned grid = k * 4 + first;
                if (grid < here) next[k] = from[grid * (kCells / 16) + row * 2];
            }
        };
        Fnv fnv;
        fnv.text("{\"g\":\"");
        unsigned odd = 0;
        if (rows > 0) load(0);
        for (unsigned row = 0; row < rows; row += kRows) {
            __syncwarp();
#pragma unroll
            for (unsigned k = 0; k < kPieces; ++k) staged[(k * 4 + first) * kStride + lane % kPieces] = next[k];
            __syncwarp();
            // They come while these are worked on.
            if (row + kRows < rows) load(row + kRows);
            for (unsigned r = 0; r < kRows && row + r < h; ++r) {
                if (row + r > 0) fnv.byte('/');
                const uint4* const pieces = staged + lane * kStride + r * 2;
                const uint4 left = pieces[0], right = pieces[1];
                const unsigned words[8] = {left.x, left.y, left.z, left.w, right.x, right.y, right.z, right.w};
                // The highest bit of bytes from 10 on; carries come from such bytes only.
#pragma unroll
                for (unsigned q = 0; q < 8; ++q) {
                    if (q >= w / 4) continue;
                    const unsigned word = words[q], text = word | 0x30303030u;
                    odd |= word + 0x76767676u | word;
                    fnv.byte(text);
                    fnv.byte(text >> 8);
                    fnv.byte(text >> 16);
                    fnv.byte(text >> 24);
                }
                if (w % 4 > 0) {
                    unsigned rest = reinterpret_cast<const unsigned*>(pieces)[w / 4] & first_bytes(w % 4);
                    odd |= rest + 0x76767676u | rest;
                    for (unsigned b = 0; b < w % 4; ++b, rest >>= 8) fnv.byte(rest | 0x30);
                }
            }
        }
        if (lane < here) {
            fnv.text("\"}");
            if ((odd & 0x80808080u) || h == 0 || w == 0) fnv = digest_numbers(cells + n * kCells, h, w);
            out[n] = make_uint2(fnv.low, fnv.high);
        }
    }
}
