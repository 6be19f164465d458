// Row and column kernels of the operations dct2, idct2, rfft2, irfft2, tree_analysis and tree_synthesis for lines of N
// elements; see src/kernels/fourier_cuda. Included once for each N.
#include "fourier_line.cuh"

struct LineParams {
    unsigned count, bands, height, width, first, flags;
    unsigned long long x_stride, y_stride, plane_stride;
    double scale;
};

constexpr unsigned ADD = 1, GAIN = 2;
constexpr int N = LENGTH;
constexpr int LINE_THREADS = N / 8;
constexpr int PLACES = N / 8 * 9;
// A block of a row kernel holds ROWS lines of LINE_THREADS, one of a column kernel COLUMNS lines, side by side.
constexpr int ROWS = 2048 / N;
constexpr int COLUMNS = 4096 / N;

#define KERNEL(name) KERNEL_NAMED(name, LENGTH)
#define KERNEL_NAMED(name, n) KERNEL_JOINED(name, n)
#define KERNEL_JOINED(name, n) name##_##n##_f32
#define ROW_KERNEL extern "C" __global__ void __launch_bounds__(256)
#define COLUMN_KERNEL extern "C" __global__ void __launch_bounds__(512)
typedef const float* __restrict__ Reals;
typedef const Complex* __restrict__ Complexes;

#define FOR_LINE for (int r = 0, k = threadIdx.x; r < 8; ++r, k += LINE_THREADS)
#define FOR_COLUMN for (int r = 0, k = threadIdx.y; r < 8; ++r, k += LINE_THREADS)

// ---- cosine transforms -----------------------------------------------------------------------------------------------

// Rows 2q and 2q + 1 together; x strided, y dense.
ROW_KERNEL KERNEL(cosine_rows)(Reals x, float* __restrict__ y, Complexes table, Complexes quarter, LineParams p) {
    __shared__ Complex shared[ROWS * PLACES];
    Complex* line = shared + threadIdx.y * PLACES;
    const unsigned row = 2 * (blockIdx.x * ROWS + threadIdx.y);
    const bool inside = row < p.height;
    const float* a = x + blockIdx.y * p.x_stride + (unsigned long long)row * N;
    float* out = y + (unsigned long long)blockIdx.y * p.height * N + (unsigned long long)row * N;
    Complex v[8], m[8];
#pragma unroll
    FOR_LINE {
        const int s = cosine_source<N>(k);
        v[r] = inside ? make_float2(a[s], a[s + N]) : make_float2(0, 0);
    }
    transform<N, 1>(v, threadIdx.x, line, table);
    partners<N, 1>(v, m, threadIdx.x, line);
    if (!inside) return;
#pragma unroll
    FOR_LINE {
        const Complex w = __ldg(quarter + k);
        out[k] = (w * first_of(v[r], m[r])).x;
        out[k + N] = (w * second_of(v[r], m[r])).x;
    }
}

// Columns 2c and 2c + 1 together; x dense, y strided.
COLUMN_KERNEL KERNEL(cosine_columns)(Reals x, Reals gain, float* __restrict__ y, Complexes table, Complexes quarter,
                                     LineParams p) {
    __shared__ Complex shared[COLUMNS * PLACES];
    Complex* line = shared + threadIdx.x;
    const unsigned column = 2 * (blockIdx.x * COLUMNS + threadIdx.x);
    const bool inside = column < p.width;
    const float* a = x + (unsigned long long)blockIdx.y * N * p.width + column;
    float* out = y + blockIdx.y * p.y_stride + column;
    Complex v[8], m[8];
#pragma unroll
    FOR_COLUMN {
        const unsigned at = cosine_source<N>(k) * p.width;
        v[r] = inside ? make_float2(a[at], a[at + 1]) : make_float2(0, 0);
    }
    transform<N, COLUMNS>(v, threadIdx.y, line, table);
    partners<N, COLUMNS>(v, m, threadIdx.y, line);
    if (!inside) return;
#pragma unroll
    FOR_COLUMN {
        const Complex w = __ldg(quarter + k);
        float first = (w * first_of(v[r], m[r])).x, second = (w * second_of(v[r], m[r])).x;
        const unsigned at = k * p.width;
        if (p.flags & GAIN) {
            first *= gain[column + at];
            second *= gain[column + at + 1];
        }
        if (p.flags & ADD) {
            first += out[at];
            second += out[at + 1];
        }
        out[at] = first;
        out[at + 1] = second;
    }
}

// The spectrum of the reordered line at k from cosine coefficients at k and N - k, times conj(quarter): a + i b.
__device__ __forceinline__ Complex cosine_spectrum(Complex w, float ak, float am, float bk, float bm) {
    const Complex c = make_float2(w.x, -w.y);
    const Complex a = c * make_float2(ak, -am), b = c * make_float2(bk, -bm);
    return make_float2(a.x - b.y, a.y + b.x);
}

// Columns 2c and 2c + 1 together; x strided, y dense.
COLUMN_KERNEL KERNEL(inverse_cosine_columns)(Reals x, Reals gain, float* __restrict__ y, Complexes table,
                                             Complexes quarter, LineParams p) {
    __shared__ Complex shared[COLUMNS * PLACES];
    Complex* line = shared + threadIdx.x;
    const unsigned column = 2 * (blockIdx.x * COLUMNS + threadIdx.x);
    const bool inside = column < p.width;
    const float* a = x + blockIdx.y * p.x_stride + column;
    float* out = y + (unsigned long long)blockIdx.y * N * p.width + column;
    Complex v[8];
#pragma unroll
    FOR_COLUMN {
        float value[4] = {0, 0, 0, 0};
        if (inside) {
            const unsigned at = k * p.width, mirror = (N - k) * p.width;
            const bool gained = p.flags & GAIN;
            value[0] = gained ? a[at] * gain[column + at] : a[at];
            value[2] = gained ? a[at + 1] * gain[column + at + 1] : a[at + 1];
            if (k > 0) {
                value[1] = gained ? a[mirror] * gain[column + mirror] : a[mirror];
                value[3] = gained ? a[mirror + 1] * gain[column + mirror + 1] : a[mirror + 1];
            }
        }
        v[r] = swapped(cosine_spectrum(__ldg(quarter + k), value[0], value[1], value[2], value[3]));
    }
    transform<N, COLUMNS>(v, threadIdx.y, line, table);
    if (!inside) return;
#pragma unroll
    FOR_COLUMN {
        const unsigned at = cosine_source<N>(k) * p.width;
        out[at] = v[r].y;
        out[at + 1] = v[r].x;
    }
}

// Rows 2q and 2q + 1 together; x dense, y strided.
ROW_KERNEL KERNEL(inverse_cosine_rows)(Reals x, float* __restrict__ y, Complexes table, Complexes quarter,
                                       LineParams p) {
    __shared__ Complex shared[ROWS * PLACES];
    Complex* line = shared + threadIdx.y * PLACES;
    const unsigned row = 2 * (blockIdx.x * ROWS + threadIdx.y);
    const bool inside = row < p.height;
    const float* a = x + (unsigned long long)blockIdx.y * p.height * N + (unsigned long long)row * N;
    float* out = y + blockIdx.y * p.y_stride + (unsigned long long)row * N;
    Complex v[8];
#pragma unroll
    FOR_LINE {
        v[r] = make_float2(0, 0);
        if (inside) {
            const float am = k > 0 ? a[N - k] : 0, bm = k > 0 ? a[2 * N - k] : 0;
            v[r] = swapped(cosine_spectrum(__ldg(quarter + k), a[k], am, a[k + N], bm));
        }
    }
    transform<N, 1>(v, threadIdx.x, line, table);
    if (!inside) return;
#pragma unroll
    FOR_LINE {
        const int s = cosine_source<N>(k);
        out[s] = v[r].y;
        out[s + N] = v[r].x;
    }
}

// ---- Fourier transforms of real planes -------------------------------------------------------------------------------

// Rows 2q and 2q + 1 together; both strided.
ROW_KERNEL KERNEL(real_rows)(Reals x, Complex* __restrict__ z, Complexes table, LineParams p) {
    __shared__ Complex shared[ROWS * PLACES];
    Complex* line = shared + threadIdx.y * PLACES;
    const unsigned row = 2 * (blockIdx.x * ROWS + threadIdx.y);
    const bool inside = row < p.height;
    const float* a = x + blockIdx.y * p.x_stride + (unsigned long long)row * N;
    constexpr int HALF = N / 2 + 1;
    Complex* out = z + blockIdx.y * p.y_stride + (unsigned long long)row * HALF;
    Complex v[8], m[8];
#pragma unroll
    FOR_LINE v[r] = inside ? make_float2(a[k], a[k + N]) : make_float2(0, 0);
    transform<N, 1>(v, threadIdx.x, line, table);
    partners<N, 1>(v, m, threadIdx.x, line);
    if (!inside) return;
#pragma unroll
    FOR_LINE if (k < HALF) {
        out[k] = first_of(v[r], m[r]);
        out[k + HALF] = second_of(v[r], m[r]);
    }
}

// Columns of half spectra, in place, times scale.
COLUMN_KERNEL KERNEL(spectrum_columns)(Complex* __restrict__ z, Complexes table, LineParams p) {
    __shared__ Complex shared[COLUMNS * PLACES];
    const unsigned half = p.width / 2 + 1, column = blockIdx.x * COLUMNS + threadIdx.x;
    const bool inside = column < half;
    Complex* a = z + blockIdx.y * p.y_stride + column;
    const float scale = float(p.scale);
    Complex v[8];
#pragma unroll
    FOR_COLUMN v[r] = inside ? a[k * half] : make_float2(0, 0);
    transform<N, COLUMNS>(v, threadIdx.y, shared + threadIdx.x, table);
    if (!inside) return;
#pragma unroll
    FOR_COLUMN a[k * half] = make_float2(scale * v[r].x, scale * v[r].y);
}

// Columns of half spectra backwards, times scale; z strided, y dense.
COLUMN_KERNEL KERNEL(inverse_spectrum_columns)(Complexes z, Complex* __restrict__ y, Complexes table, LineParams p) {
    __shared__ Complex shared[COLUMNS * PLACES];
    const unsigned half = p.width / 2 + 1, column = blockIdx.x * COLUMNS + threadIdx.x;
    const bool inside = column < half;
    const Complex* a = z + blockIdx.y * p.x_stride + column;
    Complex* out = y + (unsigned long long)blockIdx.y * N * half + column;
    const float scale = float(p.scale);
    Complex v[8];
#pragma unroll
    FOR_COLUMN {
        const Complex c = inside ? a[k * half] : make_float2(0, 0);
        v[r] = make_float2(scale * c.y, scale * c.x);
    }
    transform<N, COLUMNS>(v, threadIdx.y, shared + threadIdx.x, table);
    if (!inside) return;
#pragma unroll
    FOR_COLUMN out[k * half] = swapped(v[r]);
}

// Rows 2q and 2q + 1 together; z dense, y strided.
ROW_KERNEL KERNEL(inverse_real_rows)(Complexes z, float* __restrict__ y, Complexes table, LineParams p) {
    __shared__ Complex shared[ROWS * PLACES];
    Complex* line = shared + threadIdx.y * PLACES;
    const unsigned row = 2 * (blockIdx.x * ROWS + threadIdx.y);
    const bool inside = row < p.height;
    constexpr int HALF = N / 2 + 1;
    const Complex* a = z + (unsigned long long)blockIdx.y * p.height * HALF + (unsigned long long)row * HALF;
    float* out = y + blockIdx.y * p.y_stride + (unsigned long long)row * N;
    Complex v[8];
#pragma unroll
    FOR_LINE {
        v[r] = make_float2(0, 0);
        if (inside) {
            const bool lower = k < HALF;
            Complex f = a[lower ? k : N - k], g = a[HALF + (lower ? k : N - k)];
            f.y = lower ? f.y : -f.y;
            g.y = lower ? g.y : -g.y;
            v[r] = make_float2(f.y + g.x, f.x - g.y);
        }
    }
    transform<N, 1>(v, threadIdx.x, line, table);
    if (!inside) return;
#pragma unroll
    FOR_LINE {
        out[k] = v[r].y;
        out[k + N] = v[r].x;
    }
}

// ---- directional trees -----------------------------------------------------------------------------------------------
// Gains are real and even, so that two planes of an image, P and Q, share one complex plane A = P + i Q. A job is such a
// pair: job j works on planes 2s and 2s + 1 of image n, s = j mod pairs, n = j / pairs; the last pair may lack its
// second plane. A is dense, one plane a job from `first` on.

// Columns: A = inverse transform of (gain_2s + i gain_2s+1) Z. Columns c and W - c follow from column c of Z.
extern "C" __global__ void __launch_bounds__(512, 2) KERNEL(tree_columns)(Reals gains, Complexes z, Complex* __restrict__ a, Complexes table, LineParams p) {
    __shared__ Complex shared[COLUMNS * PLACES];
    Complex* line = shared + threadIdx.x;
    const unsigned half = p.width / 2 + 1, column = blockIdx.x * COLUMNS + threadIdx.x;
    const bool inside = column < half;
    const unsigned pairs = (p.bands + 1) / 2, job = p.first + blockIdx.y, band = 2 * (job % pairs);
    const bool both = band + 1 < p.bands;
    const unsigned long long plane = (unsigned long long)N * half;
    const Complex* spectrum = z + (job / pairs) * p.x_stride + column;
    const float* gain = gains + band * plane + column;
    Complex v[8], w[8];
#pragma unroll
    FOR_COLUMN {
        v[r] = w[r] = make_float2(0, 0);
        if (inside) {
            const Complex c = spectrum[k * half];
            const float g = gain[k * half];
            v[r] = make_float2(g * c.y, g * c.x);
            if (both) {
                const float h = gain[plane + k * half];
                w[r] = make_float2(h * c.y, h * c.x);
            }
        }
    }
    transform<N, COLUMNS>(v, threadIdx.y, line, table);
    transform<N, COLUMNS>(w, threadIdx.y, line, table);
    if (!inside) return;
    Complex* out = a + (unsigned long long)blockIdx.y * N * p.width;
    const bool mirrored = column > 0 && 2 * column < p.width;
#pragma unroll
    FOR_COLUMN {
        const Complex f = swapped(v[r]), g = swapped(w[r]);
        out[k * p.width + column] = make_float2(f.x - g.y, f.y + g.x);
        if (mirrored) out[k * p.width + p.width - column] = make_float2(f.x + g.y, g.x - f.y);
    }
}

// Rows: planes 2s and 2s + 1 are the real and imaginary parts of A's inverse transform.
ROW_KERNEL KERNEL(tree_rows)(Complexes a, float* __restrict__ y, Complexes table, LineParams p) {
    __shared__ Complex shared[ROWS * PLACES];
    Complex* line = shared + threadIdx.y * PLACES;
    const unsigned row = blockIdx.x * ROWS + threadIdx.y;
    const bool inside = row < p.height;
    const unsigned pairs = (p.bands + 1) / 2, job = p.first + blockIdx.y, band = 2 * (job % pairs);
    const Complex* in = a + ((unsigned long long)blockIdx.y * p.height + row) * N;
    Complex v[8];
#pragma unroll
    FOR_LINE v[r] = inside ? swapped(in[k]) : make_float2(0, 0);
    transform<N, 1>(v, threadIdx.x, line, table);
    if (!inside) return;
    float* out = y + (job / pairs) * p.y_stride + band * p.plane_stride + (unsigned long long)row * N;
#pragma unroll
    FOR_LINE out[k] = v[r].y;
    if (band + 1 < p.bands) {
        out += p.plane_stride;
#pragma unroll
        FOR_LINE out[k] = v[r].x;
    }
}

// Rows of both planes of a pair, forward; y strided, A dense.
ROW_KERNEL KERNEL(forward_tree_rows)(Reals y, Complex* __restrict__ a, Complexes table, LineParams p) {
    __shared__ Complex shared[ROWS * PLACES];
    Complex* line = shared + threadIdx.y * PLACES;
    const unsigned row = blockIdx.x * ROWS + threadIdx.y;
    const bool inside = row < p.height;
    const unsigned pairs = (p.bands + 1) / 2, job = p.first + blockIdx.y, band = 2 * (job % pairs);
    const float* in = y + (job / pairs) * p.y_stride + band * p.plane_stride + (unsigned long long)row * N;
    Complex v[8];
#pragma unroll
    FOR_LINE v[r] = make_float2(inside ? in[k] : 0, inside && band + 1 < p.bands ? in[p.plane_stride + k] : 0);
    transform<N, 1>(v, threadIdx.x, line, table);
    if (!inside) return;
    Complex* out = a + ((unsigned long long)blockIdx.y * p.height + row) * N;
#pragma unroll
    FOR_LINE out[k] = v[r];
}

// Columns of all pairs of one image, forward; Z = sum of gain times spectrum, pairs in order, the first plane first.
COLUMN_KERNEL KERNEL(forward_tree_columns)(Reals gains, Complexes a, Complex* __restrict__ z, Complexes table,
                                           LineParams p) {
    __shared__ Complex shared[COLUMNS * PLACES];
    Complex* line = shared + threadIdx.x;
    const unsigned half = p.width / 2 + 1, column = blockIdx.x * COLUMNS + threadIdx.x;
    const bool inside = column < half;
    const unsigned pairs = (p.bands + 1) / 2, mirror = column == 0 ? 0 : p.width - column;
    const unsigned long long plane = (unsigned long long)N * half;
    Complex sum[8];
#pragma unroll
    for (int r = 0; r < 8; ++r) sum[r] = make_float2(0, 0);
    for (unsigned s = 0; s < pairs; ++s) {
        const Complex* in = a + ((unsigned long long)blockIdx.y * pairs + s) * N * p.width;
        const float* gain = gains + 2 * s * plane + column;
        const bool both = 2 * s + 1 < p.bands;
        Complex v[8], w[8];
#pragma unroll
        FOR_COLUMN {
            v[r] = w[r] = make_float2(0, 0);
            if (inside) {
                const Complex f = in[k * p.width + column], m = in[k * p.width + mirror];
                v[r] = first_of(f, m);
                w[r] = second_of(f, m);
            }
        }
        transform<N, COLUMNS>(v, threadIdx.y, line, table);
        transform<N, COLUMNS>(w, threadIdx.y, line, table);
        if (inside) {
#pragma unroll
            FOR_COLUMN {
                const float g = gain[k * half], h = both ? gain[plane + k * half] : 0;
                sum[r].x = fmaf(h, w[r].x, fmaf(g, v[r].x, sum[r].x));
                sum[r].y = fmaf(h, w[r].y, fmaf(g, v[r].y, sum[r].y));
            }
        }
    }
    if (!inside) return;
    Complex* out = z + (p.first + blockIdx.y) * p.x_stride + column;
#pragma unroll
    FOR_COLUMN out[k * half] = sum[r];
}
