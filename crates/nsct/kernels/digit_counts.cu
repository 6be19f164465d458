// Counts of one digit of the keys of magnitudes; see src/kernels/digit_counts.rs.
#include "nsct.cuh"

constexpr unsigned kValues = 1 << 12;             // twin of DIGIT_VALUES
constexpr unsigned long long kChunk = 1 << 14;    // elements that a block counts before it adds to the plane's counters

struct DigitCountsParams {
    unsigned count, per_group, shift, width;
    unsigned long long area, group_stride, stride;
};

// Ordered like |v|; one key for every NaN.
__device__ __forceinline__ unsigned long long key_of(double v) {
    return isnan(v) ? 0x7FF8ULL << 48 : (unsigned long long)__double_as_longlong(fabs(v));
}

template <typename T>
__device__ void digit_counts(const unsigned long long* __restrict__ prefixes, const T* __restrict__ x,
                             unsigned long long* __restrict__ counts, const DigitCountsParams& p) {
    __shared__ unsigned own[kValues];
    const unsigned long long mask = (1ULL << p.width) - 1;
    for (unsigned n = blockIdx.y; n < p.count; n += gridDim.y) {
        const T* plane = x + n / p.per_group * p.group_stride + n % p.per_group * p.stride;
        const unsigned long long prefix = prefixes[n];
        for (unsigned long long start = blockIdx.x * kChunk; start < p.area; start += gridDim.x * kChunk) {
            for (unsigned i = threadIdx.x; i < kValues; i += blockDim.x) own[i] = 0;
            __syncthreads();
            const unsigned long long end = start + kChunk < p.area ? start + kChunk : p.area;
            for (unsigned long long i = start + threadIdx.x; i < end; i += blockDim.x) {
                const unsigned long long key = key_of(plane[i]) >> p.shift;
                if (key >> p.width == prefix) atomicAdd(&own[key & mask], 1u);
            }
            __syncthreads();
            for (unsigned i = threadIdx.x; i < kValues; i += blockDim.x) {
                if (own[i] != 0) atomicAdd(&counts[(unsigned long long)n * kValues + i], (unsigned long long)own[i]);
            }
            // Each thread begins the next chunk with the counters that it alone has read here.
        }
    }
}

extern "C" __global__ void digit_counts_f32(const unsigned long long* prefixes, const float* x,
                                            unsigned long long* counts, DigitCountsParams p) {
    digit_counts(prefixes, x, counts, p);
}
extern "C" __global__ void digit_counts_f64(const unsigned long long* prefixes, const double* x,
                                            unsigned long long* counts, DigitCountsParams p) {
    digit_counts(prefixes, x, counts, p);
}
