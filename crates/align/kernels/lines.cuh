// Fourier transforms of lines of any length 2^a 3^b 5^c 7^d in shared memory.
//
// `lines` lines lie side by side, element n of line i at shared[n * lines + i], so that neighbouring threads work on
// neighbouring lines. Elements are put in the order of their reversed digits (`places`); then passes of radix 2 to 8
// work in place, decimating in time: a butterfly writes where it has read, and one barrier divides the passes.
// Everything here transforms forward (exp(-2 pi i ...)); an inverse transform swaps real and imaginary parts before and
// after.
#pragma once

#include "align.cuh"

typedef float2 Complex;

// Quotients by one number, without dividing again; right while dividend times divisor is below 2^32, as all elements of
// shared memory are with any number of theirs.
struct Divider {
    unsigned by, magic;
    __device__ __forceinline__ explicit Divider(unsigned n) : by(n), magic(0xffffffffu / n + 1) {}
    __device__ __forceinline__ unsigned quotient(unsigned i) const { return by == 1 ? i : __umulhi(i, magic); }
};

// Calls use(i, load(i)) for every i < n of this thread among its block. Loads of a batch are on their way before the first
// is used; beyond the end load gets the last element again.
template <typename Load, typename Use>
__device__ __forceinline__ void for_block(unsigned n, Load load, Use use) {
    constexpr unsigned kAhead = 8;
    for (unsigned i = threadIdx.x; i < n; i += kAhead * blockDim.x) {
        Complex values[kAhead];
#pragma unroll
        for (unsigned k = 0; k < kAhead; ++k) values[k] = load(min(i + k * blockDim.x, n - 1));
#pragma unroll
        for (unsigned k = 0; k < kAhead; ++k) {
            if (i + k * blockDim.x < n) use(i + k * blockDim.x, values[k]);
        }
    }
}

__device__ __forceinline__ Complex operator+(Complex a, Complex b) { return make_float2(a.x + b.x, a.y + b.y); }
__device__ __forceinline__ Complex operator-(Complex a, Complex b) { return make_float2(a.x - b.x, a.y - b.y); }
__device__ __forceinline__ Complex operator*(Complex a, Complex b) {
    return make_float2(fmaf(a.x, b.x, -(a.y * b.y)), fmaf(a.x, b.y, a.y * b.x));
}
__device__ __forceinline__ Complex swapped(Complex a) { return make_float2(a.y, a.x); }
__device__ __forceinline__ Complex conjugate(Complex a) { return make_float2(a.x, -a.y); }

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
    const Complex e0 = v[0], e1 = v[2], e2 = v[4], e3 = v[6];
    const Complex o0 = v[1], o2 = make_float2(v[5].y, -v[5].x);
    const Complex o1 = make_float2(h * (v[3].x + v[3].y), h * (v[3].y - v[3].x));
    const Complex o3 = make_float2(h * (v[7].y - v[7].x), -h * (v[7].x + v[7].y));
    v[0] = e0 + o0;
    v[1] = e1 + o1;
    v[2] = e2 + o2;
    v[3] = e3 + o3;
    v[4] = e0 - o0;
    v[5] = e1 - o1;
    v[6] = e2 - o2;
    v[7] = e3 - o3;
}

// cos and sin of 2 pi i / R.
template <int R>
__device__ __forceinline__ Complex root(int i) {
    constexpr float c3[] = {1.0f, -0.5f, -0.5f}, s3[] = {0.0f, 0.86602540378443865f, -0.86602540378443865f};
    constexpr float c5[] = {1.0f, 0.30901699437494742f, -0.80901699437494742f, -0.80901699437494742f,
                            0.30901699437494742f};
    constexpr float s5[] = {0.0f, 0.95105651629515357f, 0.58778525229247313f, -0.58778525229247313f,
                            -0.95105651629515357f};
    constexpr float c7[] = {1.0f, 0.62348980185873353f, -0.22252093395631440f, -0.90096886790241913f,
                            -0.90096886790241913f, -0.22252093395631440f, 0.62348980185873353f};
    constexpr float s7[] = {0.0f, 0.78183148246802981f, 0.97492791218182361f, 0.43388373911755812f,
                            -0.43388373911755812f, -0.97492791218182361f, -0.78183148246802981f};
    return R == 3 ? make_float2(c3[i % 3], s3[i % 3])
                  : R == 5 ? make_float2(c5[i % 5], s5[i % 5]) : make_float2(c7[i % 7], s7[i % 7]);
}

// Odd R: elements j and R - j enter every frequency by their sum and their difference.
template <int R>
__device__ __forceinline__ void transform_odd(Complex* v) {
    constexpr int H = R / 2;
    Complex sums[H], differences[H];
    const Complex first = v[0];
    Complex all = first;
#pragma unroll
    for (int j = 0; j < H; ++j) {
        sums[j] = v[j + 1] + v[R - 1 - j];
        differences[j] = v[j + 1] - v[R - 1 - j];
        all = all + sums[j];
    }
    v[0] = all;
#pragma unroll
    for (int m = 1; m <= H; ++m) {
        Complex a = first, b = make_float2(0, 0);
#pragma unroll
        for (int j = 0; j < H; ++j) {
            const Complex w = root<R>(m * (j + 1));
            a = make_float2(fmaf(w.x, sums[j].x, a.x), fmaf(w.x, sums[j].y, a.y));
            b = make_float2(fmaf(w.y, differences[j].x, b.x), fmaf(w.y, differences[j].y, b.y));
        }
        v[m] = make_float2(a.x + b.y, a.y - b.x);
        v[R - m] = make_float2(a.x - b.y, a.y + b.x);
    }
}

template <int R>
__device__ __forceinline__ void transform_small(Complex* v) {
    if (R == 2) {
        const Complex a = v[0], b = v[1];
        v[0] = a + b;
        v[1] = a - b;
    } else if (R == 4) {
        transform4<1>(v);
    } else if (R == 8) {
        transform8(v);
    } else {
        transform_odd<R>(v);
    }
}

// One pass of radix R behind passes whose radices multiply to `done`. The table holds the roots of unity of n * step.
template <int R>
__device__ __forceinline__ void pass(Complex* shared, unsigned n, const Divider& by_lines, unsigned done,
                                     const Complex* __restrict__ table, unsigned step) {
    const Divider by_done(done);
    const unsigned lines = by_lines.by;
    const unsigned butterflies = n / R * lines, apart = done * lines, turn = by_done.quotient(n / R) * step;
    for (unsigned i = threadIdx.x; i < butterflies; i += blockDim.x) {
        const unsigned j = by_lines.quotient(i), line = i - j * lines, k = j - by_done.quotient(j) * done;
        Complex* at = shared + ((j - k) * R + k) * lines + line;
        Complex v[R];
#pragma unroll
        for (int q = 0; q < R; ++q) v[q] = at[q * apart];
        if (done > 1) {
#pragma unroll
            for (int q = 1; q < R; ++q) v[q] = v[q] * __ldg(table + q * k * turn);
        }
        transform_small<R>(v);
#pragma unroll
        for (int q = 0; q < R; ++q) at[q * apart] = v[q];
    }
    __syncthreads();
}

// All passes; `radices` has one in four bits, the first lowest. A barrier lies before the first and behind the last.
__device__ __forceinline__ void transform(Complex* shared, unsigned n, const Divider& lines, uint64 radices,
                                          const Complex* __restrict__ table, unsigned step) {
    __syncthreads();
    for (unsigned done = 1; radices != 0; radices >>= 4) {
        const unsigned radix = unsigned(radices & 15);
        switch (radix) {
            case 2: pass<2>(shared, n, lines, done, table, step); break;
            case 3: pass<3>(shared, n, lines, done, table, step); break;
            case 4: pass<4>(shared, n, lines, done, table, step); break;
            case 5: pass<5>(shared, n, lines, done, table, step); break;
            case 7: pass<7>(shared, n, lines, done, table, step); break;
            default: pass<8>(shared, n, lines, done, table, step); break;
        }
        done *= radix;
    }
}
