// Fourier transforms of rows and columns whose length N is a power of two, in registers and shared memory.
//
// A line is held by N/8 threads, 8 values each: thread t holds elements t + r N/8. Stockham passes of radix 8 and a
// last one of radix 2, 4 or 8 leave the spectrum in the same places, so that lines are read and written coalesced;
// between passes values change hands in shared memory, padded by one place in eight against bank conflicts.
// Everything here transforms forward (exp(-2 pi i ...)); an inverse transform swaps real and imaginary parts before and
// after. Real lines travel in pairs, a + i b.
#pragma once

typedef float2 Complex;

__device__ __forceinline__ Complex operator+(Complex a, Complex b) { return make_float2(a.x + b.x, a.y + b.y); }
__device__ __forceinline__ Complex operator-(Complex a, Complex b) { return make_float2(a.x - b.x, a.y - b.y); }
__device__ __forceinline__ Complex operator*(Complex a, Complex b) {
    return make_float2(fmaf(a.x, b.x, -(a.y * b.y)), fmaf(a.x, b.y, a.y * b.x));
}
__device__ __forceinline__ Complex swapped(Complex a) { return make_float2(a.y, a.x); }

// Radix-2, -4 and -8 transforms of v[0], v[STEP], v[2 STEP], ...
template <int STEP>
__device__ __forceinline__ void transform2(Complex* v) {
    const Complex a = v[0], b = v[STEP];
    v[0] = a + b;
    v[STEP] = a - b;
}

template <int STEP>
__device__ __forceinline__ void transform4(Complex* v) {
    const Complex s0 = v[0] + v[2 * STEP], s1 = v[0] - v[2 * STEP];
    const Complex s2 = v[STEP] + v[3 * STEP], s3 = v[STEP] - v[3 * STEP];
    v[0] = s0 + s2;
    v[STEP] = make_float2(s1.x + s3.y, s1.y - s3.x);
    v[2 * STEP] = s0 - s2;
    v[3 * STEP] = make_float2(s1.x - s3.y, s1.y + s3.x);
}

__device__ __forceinline__ void transform8(Complex* v) {
    transform4<2>(v);
    transform4<2>(v + 1);
    const float h = 0.70710678118654752f;
    const Complex e1 = v[2], e2 = v[4], e3 = v[6];
    const Complex o0 = v[1];
    const Complex o1 = make_float2(h * (v[3].x + v[3].y), h * (v[3].y - v[3].x));
    const Complex o2 = make_float2(v[5].y, -v[5].x);
    const Complex o3 = make_float2(h * (v[7].y - v[7].x), -h * (v[7].x + v[7].y));
    const Complex e0 = v[0];
    v[0] = e0 + o0;
    v[1] = e1 + o1;
    v[2] = e2 + o2;
    v[3] = e3 + o3;
    v[4] = e0 - o0;
    v[5] = e1 - o1;
    v[6] = e2 - o2;
    v[7] = e3 - o3;
}

__host__ __device__ constexpr int padded(int position) { return position + (position >> 3); }

// One Stockham pass of radix R over a product P of earlier radices. `line` points to the line's first place in shared
// memory, whose places are STEP apart.
template <int N, int R, int P, int STEP, bool FRESH = false>
__device__ __forceinline__ void pass(Complex v[8], int t, Complex* line, const Complex* __restrict__ table) {
    constexpr int BUTTERFLIES = 8 / R;
#pragma unroll
    for (int b = 0; b < BUTTERFLIES; ++b) {
        const int i = t + b * (N / 8);
        const int k = i & (P - 1);
        Complex* u = v + b;
        if (P > 1) {
            const Complex w1 = __ldg(table + k * (N / (R * P)));
            u[BUTTERFLIES] = u[BUTTERFLIES] * w1;
            if (R > 2) {
                const Complex w2 = w1 * w1;
                u[2 * BUTTERFLIES] = u[2 * BUTTERFLIES] * w2;
                const Complex w3 = w2 * w1;
                u[3 * BUTTERFLIES] = u[3 * BUTTERFLIES] * w3;
                if (R > 4) {
                    const Complex w4 = w2 * w2;
                    u[4] = u[4] * w4;
                    u[5] = u[5] * (w4 * w1);
                    u[6] = u[6] * (w4 * w2);
                    u[7] = u[7] * (w4 * w3);
                }
            }
        }
        if (R == 2) transform2<4>(u);
        if (R == 4) transform4<2>(u);
        if (R == 8) transform8(u);
    }
    if (R * P < N) {
        // Others may still read what their pass before, or the caller, has put there.
        if (!FRESH) __syncthreads();
#pragma unroll
        for (int b = 0; b < BUTTERFLIES; ++b) {
            const int i = t + b * (N / 8);
            const int k = i & (P - 1);
            const int j = (i - k) * R + k;
#pragma unroll
            for (int r = 0; r < R; ++r) line[padded(j + r * P) * STEP] = v[b + r * BUTTERFLIES];
        }
        __syncthreads();
#pragma unroll
        for (int r = 0; r < 8; ++r) v[r] = line[padded(t + r * (N / 8)) * STEP];
    }
}

// FRESH: no thread has touched the line before.
template <int N, int STEP, bool FRESH = false>
__device__ __forceinline__ void transform(Complex v[8], int t, Complex* line, const Complex* __restrict__ table) {
    pass<N, 8, 1, STEP, FRESH>(v, t, line, table);
    pass<N, 8, 8, STEP>(v, t, line, table);
    if (N == 128) pass<N, 2, 64, STEP>(v, t, line, table);
    if (N == 256) pass<N, 4, 64, STEP>(v, t, line, table);
    if (N >= 512) pass<N, 8, 64, STEP>(v, t, line, table);
    if (N == 1024) pass<N, 2, 512, STEP>(v, t, line, table);
}

// m[r] = F[(N - k) mod N] for the k of v[r]. The line is fresh, or `transform` was the last to touch it: then each thread
// overwrites the places that it alone has read since the last barrier.
template <int N, int STEP>
__device__ __forceinline__ void partners(const Complex v[8], Complex m[8], int t, Complex* line) {
#pragma unroll
    for (int r = 0; r < 8; ++r) line[padded(t + r * (N / 8)) * STEP] = v[r];
    __syncthreads();
#pragma unroll
    for (int r = 0; r < 8; ++r) m[r] = line[padded((N - t - r * (N / 8)) & (N - 1)) * STEP];
}

// Spectra of a and b from those of a + i b at k and N - k.
__device__ __forceinline__ Complex first_of(Complex f, Complex m) {
    return make_float2(0.5f * (f.x + m.x), 0.5f * (f.y - m.y));
}
__device__ __forceinline__ Complex second_of(Complex f, Complex m) {
    return make_float2(0.5f * (f.y + m.y), 0.5f * (m.x - f.x));
}

// The element that a cosine transform takes n-th: even ones, then odd ones backwards (Makhoul).
template <int N>
__device__ __forceinline__ int cosine_source(int n) {
    return n < N / 2 ? 2 * n : 2 * (N - 1 - n) + 1;
}
