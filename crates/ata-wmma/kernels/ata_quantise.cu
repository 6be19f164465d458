// Levels for controllers; see src/kernels/quantise.rs.
#include "ata.cuh"

struct QuantiseParams {
    unsigned frames, channels, n, interleaved, table;
};

template <typename T>
__device__ __forceinline__ void quantise(const float* __restrict__ x, const unsigned* __restrict__ inverse,
                                         const T* __restrict__ table, T* __restrict__ out, double top, const QuantiseParams& p) {
    const unsigned each = p.n * p.channels;
    const unsigned at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= each) return;
    const unsigned c = p.interleaved ? at % p.channels : at / p.n, place = p.interleaved ? at / p.channels : at % p.n;
    const unsigned i = min(inverse[place], p.n - 1);
    for (unsigned f = blockIdx.y; f < p.frames; f += gridDim.y) {
        double v = floor(top * double(x[(u64(f) * p.channels + c) * p.n + i]) + 0.5);
        v = v < 0.0 ? 0.0 : v;
        v = v > top ? top : v;
        out[u64(f) * each + at] = p.table ? table[unsigned(v)] : T(v);
    }
}

extern "C" __global__ void ata_quantise_u8(const float* x, const unsigned* inverse, const unsigned char* table,
                                           unsigned char* out, QuantiseParams p) {
    quantise(x, inverse, table, out, 255.0, p);
}
extern "C" __global__ void ata_quantise_u16(const float* x, const unsigned* inverse, const u16* table, u16* out,
                                            QuantiseParams p) {
    quantise(x, inverse, table, out, 65535.0, p);
}
