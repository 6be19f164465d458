// Row and column kernels of the operations dct2, idct2, rfft2, irfft2, tree_analysis and tree_synthesis for lines of N
// elements; see src/kernels/fourier_cuda. Included once for each N.
#include "fourier_line.cuh"

struct LineParams {
    unsigned group, bands, height, width, first, flags;
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
// With room for several blocks on a multiprocessor.
#define COLUMN_KERNEL_OF(blocks) extern "C" __global__ void __launch_bounds__(512, blocks)
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
    transform<N, 1, true>(v, threadIdx.x, line, table);
    partners<N, 1>(v, m, threadIdx.x, line);
    if (!inside) return;
#pragma unroll
    FOR_LINE {
        const Complex w = __ldg(quarter + k);
        out[k] = (w * first_of(v[r], m[r])).x;
        out[k + N] = (w * second_of(v[r], m[r])).x;
    }
}

// Columns c and c + COLUMNS together; x dense, y strided.
COLUMN_KERNEL KERNEL(cosine_columns)(Reals x, Reals gain, float* __restrict__ y, Complexes table, Complexes quarter,
                                     LineParams p) {
    __shared__ Complex shared[COLUMNS * PLACES];
    Complex* line = shared + threadIdx.x;
    const unsigned column = 2 * blockIdx.x * COLUMNS + threadIdx.x;
    const bool inside = column < p.width;
    const float* a = x + (unsigned long long)blockIdx.y * N * p.width + column;
    float* out = y + blockIdx.y * p.y_stride + column;
    Complex v[8], m[8];
#pragma unroll
    FOR_COLUMN {
        const unsigned at = cosine_source<N>(k) * p.width;
        v[r] = inside ? make_float2(a[at], a[at + COLUMNS]) : make_float2(0, 0);
    }
    transform<N, COLUMNS, true>(v, threadIdx.y, line, table);
    partners<N, COLUMNS>(v, m, threadIdx.y, line);
    if (!inside) return;
#pragma unroll
    FOR_COLUMN {
        const Complex w = __ldg(quarter + k);
        float first = (w * first_of(v[r], m[r])).x, second = (w * second_of(v[r], m[r])).x;
        const unsigned at = k * p.width;
        if (p.flags & GAIN) {
            first *= gain[column + at];
            second *= gain[column + at + COLUMNS];
        }
        if (p.flags & ADD) {
            first += out[at];
            second += out[at + COLUMNS];
        }
        out[at] = first;
        out[at + COLUMNS] = second;
    }
}

// Spectra A and B of two reordered lines from their cosine coefficients at k, `u`, and at N - k, `m`; swapped A + i B.
__device__ __forceinline__ Complex cosine_spectrum(Complex w, Complex u, Complex m) {
    const Complex c = make_float2(w.x, -w.y);
    const Complex a = c * make_float2(u.x, -m.x), b = c * make_float2(u.y, -m.y);
    return make_float2(a.y + b.x, a.x - b.y);
}

// Columns c and c + COLUMNS together; x strided, y dense.
COLUMN_KERNEL_OF(3) KERNEL(inverse_cosine_columns)(Reals x, Reals gain, float* __restrict__ y, Complexes table,
                                                   Complexes quarter, LineParams p) {
    __shared__ Complex shared[COLUMNS * PLACES];
    Complex* line = shared + threadIdx.x;
    const unsigned column = 2 * blockIdx.x * COLUMNS + threadIdx.x;
    const bool inside = column < p.width;
    const float* a = x + blockIdx.y * p.x_stride + column;
    float* out = y + (unsigned long long)blockIdx.y * N * p.width + column;
    Complex u[8], v[8];
#pragma unroll
    FOR_COLUMN {
        const unsigned at = k * p.width;
        u[r] = inside ? make_float2(a[at], a[at + COLUMNS]) : make_float2(0, 0);
        if (inside && p.flags & GAIN) u[r] = make_float2(u[r].x * gain[column + at], u[r].y * gain[column + at + COLUMNS]);
    }
    partners<N, COLUMNS>(u, v, threadIdx.y, line);
#pragma unroll
    FOR_COLUMN v[r] = cosine_spectrum(__ldg(quarter + k), u[r], k > 0 ? v[r] : make_float2(0, 0));
    transform<N, COLUMNS>(v, threadIdx.y, line, table);
    if (!inside) return;
#pragma unroll
    FOR_COLUMN {
        const unsigned at = cosine_source<N>(k) * p.width;
        out[at] = v[r].y;
        out[at + COLUMNS] = v[r].x;
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
    Complex u[8], v[8];
#pragma unroll
    FOR_LINE u[r] = inside ? make_float2(a[k], a[k + N]) : make_float2(0, 0);
    partners<N, 1>(u, v, threadIdx.x, line);
#pragma unroll
    FOR_LINE v[r] = cosine_spectrum(__ldg(quarter + k), u[r], k > 0 ? v[r] : make_float2(0, 0));
    transform<N, 1>(v, threadIdx.x, line, table);
    // Through shared memory, so that neighbours in the row are written together.
    __syncthreads();
#pragma unroll
    FOR_LINE line[padded(cosine_source<N>(k))] = v[r];
    __syncthreads();
#pragma unroll
    FOR_LINE v[r] = line[padded(k)];
    if (!inside) return;
#pragma unroll
    FOR_LINE {
        out[k] = v[r].y;
        out[k + N] = v[r].x;
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
    transform<N, 1, true>(v, threadIdx.x, line, table);
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
    transform<N, COLUMNS, true>(v, threadIdx.y, shared + threadIdx.x, table);
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
    transform<N, COLUMNS, true>(v, threadIdx.y, shared + threadIdx.x, table);
    if (!inside) return;
#pragma unroll
    FOR_COLUMN out[k * half] = swapped(v[r]);
}

// Loads the half spectra f and g of two real lines, `step` apart, as swapped values of f + i g.
__device__ __forceinline__ void load_pair(Complex v[8], Complexes spectra, int step, bool inside, Complex* line) {
#pragma unroll
    for (int r = 0, k = threadIdx.x; r < 4; ++r, k += LINE_THREADS) {
        const Complex f = inside ? spectra[k] : make_float2(0, 0), g = inside ? spectra[k + step] : make_float2(0, 0);
        v[r] = make_float2(f.y + g.x, f.x - g.y);
        if (k > 0) line[padded(N - k)] = make_float2(g.x - f.y, f.x + g.y);
    }
    if (threadIdx.x == 0) {
        const Complex f = inside ? spectra[N / 2] : make_float2(0, 0);
        const Complex g = inside ? spectra[N / 2 + step] : make_float2(0, 0);
        line[padded(N / 2)] = make_float2(f.y + g.x, f.x - g.y);
    }
    __syncthreads();
#pragma unroll
    for (int r = 4, k = threadIdx.x + 4 * LINE_THREADS; r < 8; ++r, k += LINE_THREADS) v[r] = line[padded(k)];
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
    load_pair(v, a, HALF, inside, line);
    transform<N, 1>(v, threadIdx.x, line, table);
    if (!inside) return;
#pragma unroll
    FOR_LINE {
        out[k] = v[r].y;
        out[k + N] = v[r].x;
    }
}

// ---- directional trees -----------------------------------------------------------------------------------------------
// Between both passes the half spectrum of every plane lies dense in a workspace A, its rows padded to whole cache lines
// of eight complex numbers. Job j is plane j mod bands of image j / bands.

__host__ __device__ constexpr unsigned padded_half(unsigned width) { return (width / 2 + 8) / 8 * 8; }

struct Job {
    unsigned image, band;
    __device__ Job(const LineParams& p, unsigned place)
        : image((p.first + place) / p.bands), band((p.first + place) % p.bands) {}
};

// Columns: A = inverse transform of gain Z for `group` planes, which share their image's Z.
COLUMN_KERNEL_OF(2) KERNEL(tree_columns)(Reals gains, Complexes z, Complex* __restrict__ a, Complexes table,
                                         LineParams p) {
    __shared__ Complex shared[COLUMNS * PLACES];
    Complex* line = shared + threadIdx.x;
    const unsigned half = p.width / 2 + 1, step = padded_half(p.width), column = blockIdx.x * COLUMNS + threadIdx.x;
    const bool inside = column < half;
    const Job job(p, blockIdx.y * p.group);
    const Complex* spectrum = z + job.image * p.x_stride + column;
    Complex source[8];
#pragma unroll
    FOR_COLUMN source[r] = inside ? spectrum[k * half] : make_float2(0, 0);
    const float* gain = gains + (unsigned long long)job.band * N * half + column;
    Complex* out = a + (unsigned long long)blockIdx.y * p.group * N * step + column;
    for (unsigned s = 0; s < p.group; ++s, gain += N * half, out += N * step) {
        Complex v[8];
#pragma unroll
        FOR_COLUMN {
            const float g = inside ? __ldg(gain + k * half) : 0;
            v[r] = make_float2(g * source[r].y, g * source[r].x);
        }
        transform<N, COLUMNS>(v, threadIdx.y, line, table);
        if (inside) {
#pragma unroll
            FOR_COLUMN out[k * step] = swapped(v[r]);
        }
    }
}

// Rows 2q and 2q + 1 together; A dense, y strided.
ROW_KERNEL KERNEL(tree_rows)(Complexes a, float* __restrict__ y, Complexes table, LineParams p) {
    __shared__ Complex shared[ROWS * PLACES];
    Complex* line = shared + threadIdx.y * PLACES;
    const unsigned row = 2 * (blockIdx.x * ROWS + threadIdx.y);
    const bool inside = row < p.height;
    constexpr int STEP = padded_half(N);
    const Job job(p, blockIdx.y);
    const Complex* in = a + ((unsigned long long)blockIdx.y * p.height + row) * STEP;
    float* out = y + job.image * p.y_stride + job.band * p.plane_stride + (unsigned long long)row * N;
    Complex v[8];
    load_pair(v, in, STEP, inside, line);
    transform<N, 1>(v, threadIdx.x, line, table);
    if (!inside) return;
#pragma unroll
    FOR_LINE {
        out[k] = v[r].y;
        out[k + N] = v[r].x;
    }
}

// Rows 2q and 2q + 1 together, forward; y strided, A dense.
ROW_KERNEL KERNEL(forward_tree_rows)(Reals y, Complex* __restrict__ a, Complexes table, LineParams p) {
    __shared__ Complex shared[ROWS * PLACES];
    Complex* line = shared + threadIdx.y * PLACES;
    const unsigned row = 2 * (blockIdx.x * ROWS + threadIdx.y);
    const bool inside = row < p.height;
    constexpr int HALF = N / 2 + 1, STEP = padded_half(N);
    const Job job(p, blockIdx.y);
    const float* in = y + job.image * p.y_stride + job.band * p.plane_stride + (unsigned long long)row * N;
    Complex* out = a + ((unsigned long long)blockIdx.y * p.height + row) * STEP;
    Complex v[8], m[8];
#pragma unroll
    FOR_LINE v[r] = inside ? make_float2(in[k], in[k + N]) : make_float2(0, 0);
    transform<N, 1, true>(v, threadIdx.x, line, table);
    partners<N, 1>(v, m, threadIdx.x, line);
    if (!inside) return;
#pragma unroll
    FOR_LINE if (k < HALF) {
        out[k] = first_of(v[r], m[r]);
        out[k + STEP] = second_of(v[r], m[r]);
    }
}

// Columns of `group` planes of one image, forward; Z = sum of gain times spectrum in the planes' order, or that added to
// what Z holds.
COLUMN_KERNEL_OF(2) KERNEL(forward_tree_columns)(Reals gains, Complexes a, Complex* __restrict__ z, Complexes table,
                                                 LineParams p) {
    __shared__ Complex shared[COLUMNS * PLACES];
    Complex* line = shared + threadIdx.x;
    const unsigned half = p.width / 2 + 1, step = padded_half(p.width), column = blockIdx.x * COLUMNS + threadIdx.x;
    const bool inside = column < half;
    const Job job(p, blockIdx.y * p.group);
    const Complex* in = a + (unsigned long long)blockIdx.y * p.group * N * step + column;
    const float* gain = gains + (unsigned long long)job.band * N * half + column;
    Complex* out = z + job.image * p.x_stride + column;
    Complex sum[8];
#pragma unroll
    FOR_COLUMN sum[r] = inside && p.flags & ADD ? out[k * half] : make_float2(0, 0);
    for (unsigned s = 0; s < p.group; ++s, gain += N * half, in += N * step) {
        Complex v[8];
#pragma unroll
        FOR_COLUMN v[r] = inside ? in[k * step] : make_float2(0, 0);
        transform<N, COLUMNS>(v, threadIdx.y, line, table);
        if (inside) {
#pragma unroll
            FOR_COLUMN {
                const float g = __ldg(gain + k * half);
                sum[r].x = fmaf(g, v[r].x, sum[r].x);
                sum[r].y = fmaf(g, v[r].y, sum[r].y);
            }
        }
    }
    if (!inside) return;
#pragma unroll
    FOR_COLUMN out[k * half] = sum[r];
}
