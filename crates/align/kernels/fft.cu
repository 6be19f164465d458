// Real transforms of planes, and what surrounds the library's; see src/kernels/fourier_cuda.rs.
//
// A row of W real numbers is transformed as W / 2 complex ones; half spectra are [H, W / 2 + 1].
#include "lines.cuh"

struct FftParams {
    unsigned planes, height, width, lines, inverse;
    float scale;
    unsigned long long radices;
};
LOCKSTEP_PARAMS(FftParams, 32);

constexpr unsigned kRows = 4;    // rows of a thread that scales a spectrum; twin of ROWS

extern __shared__ Complex shared[];

// Rows of x to rows of z. table: the roots of unity of W.
extern "C" __global__ void __launch_bounds__(512)
fft_rows_f32(const Complex* __restrict__ x, Complex* __restrict__ z, const Complex* __restrict__ table,
             const unsigned* __restrict__ places, FftParams p) {
    const unsigned n = p.width / 2, lines = p.lines, first = blockIdx.x * lines;
    const Divider by_lines(lines), by_n(n), by_half(n + 1);
    for (unsigned plane = blockIdx.y; plane < p.planes; plane += gridDim.y) {
        const uint64 row = plane * uint64(p.height) + first;
        __syncthreads();
        for_block(
            n * lines,
            [&](unsigned i) {
                const unsigned line = by_n.quotient(i), c = i - line * n;
                return first + line < p.height ? x[(row + line) * n + c] : make_float2(0, 0);
            },
            [&](unsigned i, Complex v) {
                const unsigned line = by_n.quotient(i), c = i - line * n;
                shared[places[c] * lines + line] = v;
            });
        transform(shared, n, by_lines, p.radices, table, 2);
        for (unsigned i = threadIdx.x; i < (n + 1) * lines; i += blockDim.x) {
            const unsigned line = by_half.quotient(i), k = i - line * (n + 1);
            if (first + line >= p.height) continue;
            const Complex f = shared[(k == n ? 0 : k) * lines + line];
            const Complex m = conjugate(shared[(k == 0 ? 0 : n - k) * lines + line]);
            // Spectra of the even and of the odd elements.
            const Complex even = f + m, odd = make_float2(f.y - m.y, m.x - f.x);
            const Complex sum = even + __ldg(table + k) * odd;
            z[(row + line) * (n + 1) + k] = make_float2(0.5f * sum.x, 0.5f * sum.y);
        }
    }
}

// Columns of half spectra; `from` may be `to`: a block reads all of its columns before it writes.
__device__ __forceinline__ void columns(const Complex* from, Complex* to, const Complex* __restrict__ table,
                                        const unsigned* __restrict__ places, const FftParams& p) {
    const unsigned n = p.height, half = p.width / 2 + 1, lines = p.lines, first = blockIdx.x * lines;
    const Divider by_lines(lines);
    for (unsigned plane = blockIdx.y; plane < p.planes; plane += gridDim.y) {
        const uint64 start = plane * uint64(n) * half + first;
        __syncthreads();
        for_block(
            n * lines,
            [&](unsigned i) {
                const unsigned r = by_lines.quotient(i), line = i - r * lines;
                return first + line < half ? from[start + uint64(r) * half + line] : make_float2(0, 0);
            },
            [&](unsigned i, Complex v) {
                const unsigned r = by_lines.quotient(i), line = i - r * lines;
                if (p.inverse) v = make_float2(p.scale * v.y, p.scale * v.x);
                shared[places[r] * lines + line] = v;
            });
        transform(shared, n, by_lines, p.radices, table, 1);
#pragma unroll 4
        for (unsigned i = threadIdx.x; i < n * lines; i += blockDim.x) {
            const unsigned r = by_lines.quotient(i), line = i - r * lines;
            if (first + line >= half) continue;
            const Complex v = shared[i];
            to[start + uint64(r) * half + line] = p.inverse ? swapped(v) : v;
        }
    }
}

// table: the roots of unity of H.
extern "C" __global__ void __launch_bounds__(512)
fft_columns_f32(Complex* z, const Complex* table, const unsigned* places, FftParams p) {
    columns(z, z, table, places, p);
}
extern "C" __global__ void __launch_bounds__(512)
fft_columns_back_f32(const Complex* from, Complex* to, const Complex* table, const unsigned* places, FftParams p) {
    columns(from, to, table, places, p);
}

// Rows of z to dense rows of x. table: the roots of unity of W.
extern "C" __global__ void __launch_bounds__(512)
fft_rows_back_f32(const Complex* __restrict__ z, Complex* __restrict__ x, const Complex* __restrict__ table,
                  const unsigned* __restrict__ places, FftParams p) {
    const unsigned n = p.width / 2, lines = p.lines, first = blockIdx.x * lines;
    const Divider by_lines(lines), by_n(n), by_half(n + 1);
    for (unsigned plane = blockIdx.y; plane < p.planes; plane += gridDim.y) {
        const uint64 row = plane * uint64(p.height) + first;
        __syncthreads();
#pragma unroll 4
        for (unsigned i = threadIdx.x; i < n * lines; i += blockDim.x) {
            const unsigned line = by_n.quotient(i), k = i - line * n;
            Complex v = make_float2(0, 0);
            if (first + line < p.height) {
                const Complex* in = z + (row + line) * (n + 1);
                Complex a = in[k], b = conjugate(in[n - k]);
                // A real plane has no imaginary parts there.
                if (k == 0) a.y = b.y = 0;
                const Complex even = a + b, odd = (a - b) * conjugate(__ldg(table + k));
                v = make_float2(even.x - odd.y, even.y + odd.x);
            }
            shared[places[k] * lines + line] = swapped(v);
        }
        transform(shared, n, by_lines, p.radices, table, 2);
        for (unsigned i = threadIdx.x; i < n * lines; i += blockDim.x) {
            const unsigned line = by_n.quotient(i), c = i - line * n;
            if (first + line < p.height) x[(row + line) * n + c] = swapped(shared[c * lines + line]);
        }
    }
}

// y = scale z, with the first and the last column made those of a real plane: what the library's inverse wants.
extern "C" __global__ void __launch_bounds__(256)
fft_spectrum_f32(const Complex* __restrict__ z, Complex* __restrict__ y, FftParams p) {
    const unsigned half = p.width / 2 + 1, l = blockIdx.x * blockDim.x + threadIdx.x;
    const unsigned first = blockIdx.y * blockDim.y * kRows + threadIdx.y;
    if (l >= half || first >= p.height) return;
    const bool edge = l == 0 || l + 1 == half;
    Complex v[kRows];
#pragma unroll
    for (unsigned i = 0; i < kRows; ++i) v[i] = z[uint64(min(first + i * blockDim.y, p.height - 1)) * half + l];
#pragma unroll
    for (unsigned i = 0; i < kRows; ++i) {
        const unsigned k = first + i * blockDim.y;
        if (k >= p.height) return;
        if (edge) {
            const Complex m = z[uint64(k == 0 ? 0 : p.height - k) * half + l];
            v[i] = make_float2(0.5f * (v[i].x + m.x), 0.5f * (v[i].y - m.y));
        }
        y[uint64(k) * half + l] = make_float2(p.scale * v[i].x, p.scale * v[i].y);
    }
}
