// Helpers that the kernels of this crate share.
#pragma once

// a * b + c with one rounding; the twin of `Real::fma`.
__device__ __forceinline__ float fused(float a, float b, float c) { return fmaf(a, b, c); }
__device__ __forceinline__ double fused(double a, double b, double c) { return fma(a, b, c); }

// Half-sample symmetric index, defined for every i; the twin of `kernels::mirror`.
__device__ __forceinline__ int mirrored(long long i, int n) {
    const long long period = 2LL * n;
    long long j = i % period;
    if (j < 0) j += period;
    return int(j < n ? j : period - 1 - j);
}
