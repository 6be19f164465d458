// Convolution with reflection as index arithmetic: products of f32 on FFMA, of f16 on tensor cores with f32 sums.
//
// A block makes a tile of 8 x 16 outputs by 64 channels. Its part of the input, the window, lies in shared memory for
// some channels at a time; weights stream through it by cp.async. The sums end in shared memory, where statistics are
// taken before anything is rounded, and from where they go out in either layout.
#pragma once
#include "ops.cuh"
#include "tiles.cuh"

namespace style_ops {

using namespace tiles;

constexpr int kRows = 8, kColumns = 16, kPixels = kRows * kColumns;    // of a tile; twins of TILE
constexpr int kOut = 64;                                               // channels of a block; twin of BLOCK_CHANNELS
constexpr int kThreads = 256;
constexpr int kPitch = kPixels + 4;                                    // of a channel of the tile in shared memory
constexpr int kStage = 8, kRing = 3;                                   // groups of weights a stage, stages under way

struct ConvParams {
    int h, w, ho, wo;             // of the source, of the output
    int batch, cin, cout;
    int kh, kw, stride_h, stride_w, padding;
    int phases;                   // 4: nearest x 2 and 3 x 3 as 2 x 2 for each parity; else 1
    int tiles_y, tiles_x;         // of one phase
    int group;                    // f16: groups of 8 channels in a window; f32: channels
    int chunks;                   // windows for all channels
    int units;                    // f16: groups of 8 weights in a chunk, even; f32: weights
    int columns;                  // output channels, padded to whole blocks
    int window_at, kept_at;       // bytes in shared memory
    int kept;                     // tiles that a block keeps in shared memory
    unsigned nhwc_x, nhwc_y, bias, relu;
    float eps;
    unsigned pad;
};
LOCKSTEP_PARAMS(ConvParams, 112);

// Mirrors an index at both ends without repeating them. Tiles reach over the last pixel; what is out there is dropped.
__device__ __forceinline__ int reflected(int i, int n) {
    i = i < 0 ? -i : i;
    i = i >= n ? 2 * (n - 1) - i : i;
    return min(max(i, 0), n - 1);
}

// What a block works on.
struct Item {
    int image, column, phase, ty, tx;
    int tile;    // of the image, of all phases
    __device__ __forceinline__ Item(const ConvParams& p, unsigned i) {
        const unsigned columns = p.columns / kOut, each = p.tiles_y * p.tiles_x, tiles = each * p.phases;
        column = i % columns;
        const unsigned at = i / columns;
        image = at / tiles, tile = at % tiles;
        phase = tile / each, ty = tile % each / p.tiles_x, tx = tile % each % p.tiles_x;
    }
};
__device__ __forceinline__ unsigned items(const ConvParams& p) {
    return unsigned(p.batch) * p.phases * p.tiles_y * p.tiles_x * (p.columns / kOut);
}
// Rows and columns of one phase.
__device__ __forceinline__ int phase_rows(const ConvParams& p) { return p.phases == 4 ? p.h : p.ho; }
__device__ __forceinline__ int phase_columns(const ConvParams& p) { return p.phases == 4 ? p.w : p.wo; }
__device__ __forceinline__ int rows_of(const ConvParams& p, int ty) { return min(kRows, phase_rows(p) - ty * kRows); }
__device__ __forceinline__ int columns_of(const ConvParams& p, int tx) {
    return min(kColumns, phase_columns(p) - tx * kColumns);
}

// The source of an item: where its window begins, and the border's rule.
struct Window {
    int y0, x0, rows, columns;
    bool inside;
    __device__ __forceinline__ Window(const ConvParams& p, const Item& item) {
        const bool up = p.phases == 4;
        y0 = item.ty * kRows * p.stride_h - p.padding + (up ? item.phase / 2 : 0);
        x0 = item.tx * kColumns * p.stride_w - p.padding + (up ? item.phase % 2 : 0);
        rows = (kRows - 1) * p.stride_h + p.kh, columns = (kColumns - 1) * p.stride_w + p.kw;
        inside = y0 >= 0 && x0 >= 0 && y0 + rows <= p.h && x0 + columns <= p.w;
    }
    // Pixel of the image. The mirror image of what is twice as large begins with its own edge.
    __device__ __forceinline__ int64 pixel(const ConvParams& p, int r, int c) const {
        int y = y0 + r, x = x0 + c;
        if (!inside) {
            const bool up = p.phases == 4;
            y = up ? min(max(y, 0), p.h - 1) : reflected(y, p.h);
            x = up ? min(max(x, 0), p.w - 1) : reflected(x, p.w);
        }
        return int64(y) * p.w + x;
    }
};

// Sums of an item into its tile, on FFMA. A thread has 8 pixels of a row and 4 channels.
//   weights: [phase][chunk][unit = (channel, u, v)][columns]
struct Products32 {
    template <int KW, int S>
    static __device__ __forceinline__ void row(float (&sums)[8][4], const float* from, const float4* weights) {
        float v[7 * S + KW];
#pragma unroll
        for (int i = 0; i < 7 * S + KW; i++) v[i] = from[i];
#pragma unroll
        for (int k = 0; k < KW; k++) add(sums, weights[k * (kOut / 4)], [&](int i) { return v[i * S + k]; });
    }

    template <typename At>
    static __device__ __forceinline__ void add(float (&sums)[8][4], float4 w, At at) {
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const float x = at(i);
            sums[i][0] = fmaf(x, w.x, sums[i][0]), sums[i][1] = fmaf(x, w.y, sums[i][1]);
            sums[i][2] = fmaf(x, w.z, sums[i][2]), sums[i][3] = fmaf(x, w.w, sums[i][3]);
        }
    }

    template <typename Row>
    static __device__ __forceinline__ void window(const ConvParams& p, const float* from, int plane, int pitch,
                                                  const float4* weights, Row row) {
        for (int c = 0; c < p.group; c++) {
            for (int u = 0; u < p.kh; u++) {
                row(from + c * plane + u * pitch, weights + (c * p.kh + u) * p.kw * (kOut / 4));
            }
        }
    }

    template <bool AFFINE>
    static __device__ __forceinline__ void run(const ConvParams& p, const float* x, const float* weights,
                                               const Affine* affine, const Item& item, unsigned char* shared) {
        float* ring = reinterpret_cast<float*>(shared);
        float* input = reinterpret_cast<float*>(shared + p.window_at);
        const Window window(p, item);
        const int plane = window.rows * window.columns;
        const float* from = weights + int64(item.phase) * p.chunks * p.units * p.columns + item.column * kOut;
        const auto fetch = [&](int chunk) {
            if (chunk < p.chunks) {
                for (int i = threadIdx.x; i < p.units * (kOut / 4); i += kThreads) {
                    const int unit = i / (kOut / 4), four = i % (kOut / 4) * 4;
                    copy_16_async(ring + (chunk % 2 * p.units + unit) * kOut + four,
                            from + (int64(chunk) * p.units + unit) * p.columns + four);
                }
            }
            commit_copies();
        };
        const int channels = threadIdx.x % 16, eight = threadIdx.x / 16;
        float sums[8][4];
#pragma unroll
        for (int i = 0; i < 8; i++)
#pragma unroll
            for (int k = 0; k < 4; k++) sums[i][k] = 0;
        fetch(0);
        for (int chunk = 0; chunk < p.chunks; chunk++) {
            // The window and the weights of the chunk before have been used.
            __syncthreads();
            fetch(chunk + 1);
            for (int i = threadIdx.x; i < plane * p.group; i += kThreads) {
                const int pixel = p.nhwc_x ? i / p.group : i % plane, c = p.nhwc_x ? i % p.group : i / plane;
                const int channel = chunk * p.group + c, r = pixel / window.columns;
                float v = 0;
                if (channel < p.cin) {
                    const int64 at = window.pixel(p, r, pixel - r * window.columns);
                    const int64 area = int64(p.h) * p.w;
                    v = p.nhwc_x ? x[(item.image * area + at) * p.cin + channel]
                                 : x[(int64(item.image) * p.cin + channel) * area + at];
                    if (AFFINE) v = normalised(v, affine[int64(item.image) * p.cin + channel], true);
                }
                input[c * plane + pixel] = v;
            }
            wait_copies<1>();
            __syncthreads();
            const float4* w = reinterpret_cast<const float4*>(ring + chunk % 2 * p.units * kOut) + channels;
            const float* first = input + eight / 2 * p.stride_h * window.columns + eight % 2 * 8 * p.stride_w;
            const auto all = [&](auto row_of) { Products32::window(p, first, plane, window.columns, w, row_of); };
            if (p.kw == 3 && p.stride_w == 1) {
                all([&](const float* at, const float4* w) { row<3, 1>(sums, at, w); });
            } else if (p.kw == 3 && p.stride_w == 2) {
                all([&](const float* at, const float4* w) { row<3, 2>(sums, at, w); });
            } else if (p.kw == 9 && p.stride_w == 1) {
                all([&](const float* at, const float4* w) { row<9, 1>(sums, at, w); });
            } else if (p.kw == 2 && p.stride_w == 1) {
                all([&](const float* at, const float4* w) { row<2, 1>(sums, at, w); });
            } else {
                all([&](const float* at, const float4* w) {
                    for (int v = 0; v < p.kw; v++) {
                        add(sums, w[v * (kOut / 4)], [&](int i) { return at[i * p.stride_w + v]; });
                    }
                });
            }
        }
        wait_copies<0>();
        __syncthreads();
        float* tile = reinterpret_cast<float*>(shared);
#pragma unroll
        for (int k = 0; k < 4; k++)
#pragma unroll
            for (int i = 0; i < 8; i++) tile[(channels * 4 + k) * kPitch + eight * 8 + i] = sums[i][k];
        __syncthreads();
    }
};

// Sums of an item into its tile, on tensor cores: 8 warps of 32 pixels by 32 channels. A step of 16 products is two
// groups of 8 channels, of any two taps.
//   weights: [phase][chunk][unit = (u, v, group)][columns][8]
//   shared: 16 zero bytes; the place of every unit in the window; the ring of weights; the window, channels last
struct Products16 {
    static constexpr int STAGE_BYTES = kStage * kOut * 16;

    template <bool AFFINE>
    static __device__ __forceinline__ void run(const ConvParams& p, const __half* x, const __half* weights,
                                               const Affine* affine, const Item& item, unsigned char* shared) {
        int* places = reinterpret_cast<int*>(shared + 16);
        unsigned char* ring = shared + 16 + (p.units * 4 + 15) / 16 * 16;
        unsigned char* input = shared + p.window_at;
        const Window window(p, item);
        const int plane = window.rows * window.columns;
        // Odd in units of 16 bytes, so that neighbouring pixels meet all banks.
        const int pitch = (p.group | 1) * 16, taps = p.kh * p.kw;
        const int stages = (p.units + kStage - 1) / kStage, all = stages * p.chunks;
        const __half* from = weights + (int64(item.phase) * p.chunks * p.units * p.columns + item.column * kOut) * 8;
        const auto fetch = [&](int stage) {
            if (stage < all) {
                const int chunk = stage / stages, first = stage % stages * kStage;
                const int count = min(kStage, p.units - first) * kOut;
                for (int i = threadIdx.x; i < count; i += kThreads) {
                    const int64 unit = int64(chunk) * p.units + first + i / kOut;
                    copy_16_async(ring + stage % kRing * STAGE_BYTES + i * 16, from + (unit * p.columns + i % kOut) * 8);
                }
            }
            commit_copies();
        };
        if (threadIdx.x < 4) reinterpret_cast<int*>(shared)[threadIdx.x] = 0;
        for (int i = threadIdx.x; i < p.units; i += kThreads) {
            const int tap = i / p.group, u = tap / p.kw, v = tap - u * p.kw;
            places[i] = tap < taps ? (u * window.columns + v) * pitch + (i - tap * p.group) * 16 : -1;
        }
        const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, wm = warp % 4, wn = warp / 4;
        unsigned pixels[2];
#pragma unroll
        for (int m = 0; m < 2; m++) {
            const int row = wm * 2 + m, column = lane % 16;
            pixels[m] = shared_address(input) + (row * p.stride_h * window.columns + column * p.stride_w) * pitch;
        }
        const unsigned zero = shared_address(shared);
        // Rows of 8 weights: lanes 0 to 7 and 16 to 23 of one unit, the others of the next.
        const int weight_row = (lane / 8 % 2 * kOut + wn * 32 + lane / 16 * 8 + lane % 8) * 16;
        float sums[2][4][4];
#pragma unroll
        for (int m = 0; m < 2; m++)
#pragma unroll
            for (int n = 0; n < 4; n++)
#pragma unroll
                for (int k = 0; k < 4; k++) sums[m][n][k] = 0;
        for (int i = 0; i < kRing - 1; i++) fetch(i);
        for (int stage = 0; stage < all; stage++) {
            if (stage % stages == 0) {
                __syncthreads();
                read<AFFINE>(p, x, affine, item, window, stage / stages, plane, pitch, input);
            }
            wait_copies<kRing - 2>();
            __syncthreads();
            fetch(stage + kRing - 1);
            const int first = stage % stages * kStage, steps = min(kStage, p.units - first) / 2;
            const unsigned b = shared_address(ring) + stage % kRing * STAGE_BYTES + weight_row;
#pragma unroll 4
            for (int s = 0; s < steps; s++) {
                const int place = places[first + 2 * s + lane / 16];
                unsigned a[2][4], w[2][4];
#pragma unroll
                for (int m = 0; m < 2; m++) load_matrices(a[m], place < 0 ? zero : pixels[m] + place);
#pragma unroll
                for (int n = 0; n < 2; n++) load_matrices(w[n], b + s * 2 * kOut * 16 + n * 256);
#pragma unroll
                for (int n = 0; n < 2; n++)
#pragma unroll
                    for (int m = 0; m < 2; m++) {
                        multiply(sums[m][2 * n], a[m], w[n][0], w[n][1]);
                        multiply(sums[m][2 * n + 1], a[m], w[n][2], w[n][3]);
                    }
            }
        }
        wait_copies<0>();
        __syncthreads();
        float* tile = reinterpret_cast<float*>(shared);
#pragma unroll
        for (int m = 0; m < 2; m++)
#pragma unroll
            for (int n = 0; n < 4; n++)
#pragma unroll
                for (int k = 0; k < 4; k++) {
                    const int channel = wn * 32 + n * 8 + lane % 4 * 2 + k % 2;
                    tile[channel * kPitch + (wm * 2 + m) * 16 + lane / 4 + k / 2 * 8] = sums[m][n][k];
                }
        __syncthreads();
    }

    // The window of one chunk, channels last in groups of 8; normalised if AFFINE.
    template <bool AFFINE>
    static __device__ __forceinline__ void read(const ConvParams& p, const __half* x, const Affine* affine,
                                                const Item& item, const Window& window, int chunk, int plane, int pitch,
                                                unsigned char* input) {
        const bool packs = p.nhwc_x && p.cin % 8 == 0 && lockstep::in_packs<__half, 8>(x);
        const int64 area = int64(p.h) * p.w;
        for (int i = threadIdx.x; i < plane * p.group; i += kThreads) {
            const int pixel = p.nhwc_x ? i / p.group : i % plane, g = p.nhwc_x ? i % p.group : i / plane;
            const int r = pixel / window.columns, channel = (chunk * p.group + g) * 8;
            const int64 at = window.pixel(p, r, pixel - r * window.columns);
            Pack<__half, 8> v;
            if (packs && channel < p.cin) {
                v = lockstep::load<__half, 8>(x + (item.image * area + at) * p.cin + channel);
            } else {
                const int64 step = p.nhwc_x ? 1 : area;
                const __half* one = p.nhwc_x ? x + (item.image * area + at) * p.cin + channel
                                             : x + (int64(item.image) * p.cin + channel) * area + at;
#pragma unroll
                for (int k = 0; k < 8; k++) v.at[k] = channel + k < p.cin ? one[k * step] : __half(0.0f);
            }
            if (AFFINE) {
                const Affine* a = affine + int64(item.image) * p.cin + channel;
#pragma unroll
                for (int k = 0; k < 8; k++) {
                    if (channel + k < p.cin) v.at[k] = nearest<__half>(normalised(__half2float(v.at[k]), a[k], true));
                }
            }
            lockstep::store<__half, 8>(reinterpret_cast<__half*>(input + pixel * pitch + g * 16), v);
        }
    }
};

template <typename T>
struct Products;
template <>
struct Products<float> : Products32 {};
template <>
struct Products<__half> : Products16 {};

// Moments of every channel of a tile, before anything is rounded: parts[image][channel][tile].
__device__ __forceinline__ void tile_moments(const ConvParams& p, const Item& item, const float* tile, double2* parts) {
    const int rows = rows_of(p, item.ty), columns = columns_of(p, item.tx), count = rows * columns;
    const int c = threadIdx.x / 4, quarter = threadIdx.x % 4;
    const float* own = tile + c * kPitch;
    const float pivot = own[0];
    const auto sum = [&](auto of) {
        float all = 0;
#pragma unroll 8
        for (int i = quarter; i < kPixels; i += 4) {
            if (i / kColumns < rows && i % kColumns < columns) all += of(own[i] - pivot);
        }
        all += __shfl_xor_sync(0xffffffffu, all, 1);
        return all + __shfl_xor_sync(0xffffffffu, all, 2);
    };
    const float mean = sum([](float d) { return d; }) / float(count);
    const float square = sum([&](float d) { return (d - mean) * (d - mean); });
    const int channel = item.column * kOut + c, tiles = p.phases * p.tiles_y * p.tiles_x;
    if (quarter == 0 && channel < p.cout) {
        parts[(int64(item.image) * p.cout + channel) * tiles + item.tile] = {double(pivot) + mean, square};
    }
}

// Coefficients of all planes, a warp a plane, from the moments of tiles.
template <bool ROUNDED>
__device__ __forceinline__ void merge_tiles(const ConvParams& p, const float* gamma, const float* beta, double2* work) {
    const int each = p.tiles_y * p.tiles_x, tiles = p.phases * each;
    const int64 planes = int64(p.batch) * p.cout;
    Affine* affine = coefficients_in(work, planes * tiles);
    for (int64 i = lockstep::first() / 32; i < planes; i += lockstep::step() / 32) {
        const int c = i % p.cout;
        merge_plane<ROUNDED>(work + i * tiles, tiles, gamma[c], beta[c], p.eps, affine + i, [&](int tile) {
            return rows_of(p, tile % each / p.tiles_x) * columns_of(p, tile % each % p.tiles_x);
        });
    }
}
__device__ __forceinline__ Affine* tile_coefficients(const ConvParams& p, double2* work) {
    return coefficients_in(work, uint64(p.batch) * p.cout * p.phases * p.tiles_y * p.tiles_x);
}

// Writes a tile in the layout of the output. `value(channel of the block, pixel of the tile)` is what goes out.
template <typename T, typename Value>
__device__ __forceinline__ void write_tile(const ConvParams& p, const Item& item, T* y, Value value) {
    const int rows = rows_of(p, item.ty), columns = columns_of(p, item.tx), up = p.phases == 4 ? 2 : 1;
    const int first = item.column * kOut, channels = min(kOut, p.cout - first);
    const int64 area = int64(p.ho) * p.wo;
    const auto place = [&](int r, int c) {
        const int64 row = (item.ty * kRows + r) * up + (up == 2 ? item.phase / 2 : 0);
        return row * p.wo + (item.tx * kColumns + c) * up + (up == 2 ? item.phase % 2 : 0);
    };
    constexpr int V = 16 / sizeof(T);
    if (p.nhwc_y && p.cout % V == 0 && lockstep::in_packs<T, V>(y)) {
        for (int i = threadIdx.x; i < kPixels * (kOut / V); i += kThreads) {
            const int pixel = i % kPixels, group = i / kPixels * V, r = pixel / kColumns, c = pixel % kColumns;
            if (r >= rows || c >= columns || group >= channels) continue;
            Pack<T, V> pack;
#pragma unroll
            for (int k = 0; k < V; k++) pack.at[k] = value(group + k, pixel);
            lockstep::store<T, V>(y + (item.image * area + place(r, c)) * p.cout + first + group, pack);
        }
        return;
    }
    for (int i = threadIdx.x; i < kPixels * kOut; i += kThreads) {
        const int pixel = p.nhwc_y ? i / kOut : i % kPixels, channel = p.nhwc_y ? i % kOut : i / kPixels;
        const int r = pixel / kColumns, c = pixel % kColumns;
        if (r >= rows || c >= columns || channel >= channels) continue;
        const int64 at = place(r, c);
        y[p.nhwc_y ? (item.image * area + at) * p.cout + first + channel
                   : (int64(item.image) * p.cout + first + channel) * area + at] = value(channel, pixel);
    }
}

// A tile's sums as they are, or with bias.
template <typename T>
__device__ __forceinline__ void write_sums(const ConvParams& p, const Item& item, const float* tile, const float* bias,
                                           T* y, bool relu = false) {
    write_tile<T>(p, item, y, [&](int channel, int pixel) {
        float v = tile[channel * kPitch + pixel];
        if (p.bias) v += bias[item.column * kOut + channel];
        return nearest<T>(relu && v < 0.0f ? 0.0f : v);
    });
}

}  // namespace style_ops
