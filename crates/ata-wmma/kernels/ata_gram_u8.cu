// Exact Gram blocks of patterns: a thread an element, a block a pair of block rows; see src/kernels/gram_u8.rs.
#include "ata.cuh"

struct GramParams {
    unsigned n, channels, side, blocks;
};

extern "C" __global__ void ata_gram_u8(const unsigned char* data, const int* corners, const unsigned* list,
                                       unsigned* out, GramParams p) {
    const unsigned c = blockIdx.y, block = blockIdx.x;
    const unsigned l = list[2 * block] * 16 + threadIdx.x / 16, m = list[2 * block + 1] * 16 + threadIdx.x % 16;
    unsigned sum = 0;
    if (l < p.n && m < p.n) {
        const int down = corners[2 * m] - corners[2 * l], right = corners[2 * m + 1] - corners[2 * l + 1];
        const int side = p.side, rows = side - abs(down), columns = side - abs(right);
        const u64 window = u64(p.side) * p.side;
        const unsigned char* a = data + (u64(l) * p.channels + c) * window + max(down, 0) * side + max(right, 0);
        const unsigned char* b = data + (u64(m) * p.channels + c) * window + max(-down, 0) * side + max(-right, 0);
        for (int u = 0; u < rows; ++u) {
            for (int v = 0; v < columns; ++v) sum += unsigned(a[u * side + v]) * b[u * side + v];
        }
    }
    out[(u64(c) * p.blocks + block) * 256 + threadIdx.x] = sum;
}

// Four bytes from any place of a window.
__device__ __forceinline__ unsigned word_at(const unsigned* window, unsigned byte) {
    const unsigned low = window[byte / 4];
    if (byte % 4 == 0) return low;
    return __funnelshift_r(low, window[byte / 4 + 1], byte % 4 * 8);
}

// The same with the 32 windows of a block in shared memory, four pixels at a time. Sides are multiples of four. Each window
// has a word more, so that windows lie in different banks and the last word has one behind it.
extern "C" __global__ void __launch_bounds__(256)
ata_gram_u8_staged(const unsigned char* data, const int* corners, const unsigned* list, unsigned* out, GramParams p) {
    extern __shared__ __align__(16) unsigned windows[];
    const unsigned c = blockIdx.y, block = blockIdx.x, words = p.side * p.side / 4;
    for (unsigned k = threadIdx.x / 32; k < 32; k += 8) {
        const unsigned l = list[2 * block + k / 16] * 16 + k % 16;
        unsigned* to = windows + k * (words + 1);
        if (threadIdx.x % 32 == 0) to[words] = 0;
        if (l >= p.n) continue;
        const unsigned* from = reinterpret_cast<const unsigned*>(data) + (u64(l) * p.channels + c) * words;
        for (unsigned i = threadIdx.x % 32; i < words; i += 32) to[i] = from[i];
    }
    __syncthreads();
    const unsigned l = list[2 * block] * 16 + threadIdx.x / 16, m = list[2 * block + 1] * 16 + threadIdx.x % 16;
    unsigned sum = 0;
    if (l < p.n && m < p.n) {
        const int down = corners[2 * m] - corners[2 * l], right = corners[2 * m + 1] - corners[2 * l + 1];
        const int side = p.side, rows = side - abs(down), columns = side - abs(right);
        const unsigned* a = windows + threadIdx.x / 16 * (words + 1);
        const unsigned* b = windows + (16 + threadIdx.x % 16) * (words + 1);
        const unsigned in_a = max(down, 0) * side + max(right, 0), in_b = max(-down, 0) * side + max(-right, 0);
        for (int u = 0; u < rows; ++u) {
            int v = 0;
            for (; v + 4 <= columns; v += 4) {
                sum = __dp4a(word_at(a, in_a + u * side + v), word_at(b, in_b + u * side + v), sum);
            }
            if (v < columns) {
                // Behind the overlap begins another row.
                const unsigned kept = 0xffffffffu >> (32 - 8 * (columns - v));
                sum = __dp4a(word_at(a, in_a + u * side + v) & kept, word_at(b, in_b + u * side + v), sum);
            }
        }
    }
    out[(u64(c) * p.blocks + block) * 256 + threadIdx.x] = sum;
}
