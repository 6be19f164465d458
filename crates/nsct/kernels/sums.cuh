// Four figures of a plane, summed by 256 lanes in a fixed order; the twin of `Lanes` in src/kernels/plane_sums.rs.
#pragma once

constexpr unsigned kLanes = 256;

struct Figures {
    double sum, magnitudes, squares, largest;

    __device__ __forceinline__ void add(double v, double magnitude, double square, double large) {
        sum = sum + v;
        magnitudes = magnitudes + magnitude;
        squares = squares + square;
        largest = large > largest ? large : largest;
    }
};

// Adds the upper half of the lanes to the lower, until one is left, which writes its figures. A caller may go on to the
// next plane: behind the last barrier only lane 0 reads, and only what it overwrites itself.
__device__ __forceinline__ void fold(const Figures& own, double* __restrict__ out) {
    __shared__ Figures lanes[kLanes];
    const unsigned lane = threadIdx.x;
    lanes[lane] = own;
    __syncthreads();
    for (unsigned half = kLanes / 2; half > 0; half /= 2) {
        if (lane < half) {
            const Figures& upper = lanes[lane + half];
            lanes[lane].add(upper.sum, upper.magnitudes, upper.squares, upper.largest);
        }
        __syncthreads();
    }
    if (lane == 0) {
        out[0] = lanes[0].sum;
        out[1] = lanes[0].magnitudes;
        out[2] = lanes[0].squares;
        out[3] = lanes[0].largest;
    }
}
