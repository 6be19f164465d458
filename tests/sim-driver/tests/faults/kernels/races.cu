// Order inside of a block: each correct kernel stands beside the one that lacks it.
#define KERNEL extern "C" __global__ void

template <bool kSync>
__device__ void broadcast(int* out) {
    __shared__ int s[32];
    int t = threadIdx.x;
    s[t] = t;
    __syncwarp();
    int a = s[0];
    if (kSync) __syncwarp();
    if (t == 0) s[0] = 100;
    __syncwarp();
    out[t] = a + s[0];
}
KERNEL broadcast_good(int* out) { broadcast<true>(out); }
KERNEL broadcast_bad(int* out) { broadcast<false>(out); }

// One row of shared memory for each warp, used again for the next row.
template <bool kSync>
__device__ void rows(float* x, int count) {
    __shared__ float s[4][32];
    int w = threadIdx.x / 32, l = threadIdx.x % 32;
    for (int r = w; r < count; r += 4) {
        s[w][l] = x[r * 32 + l];
        __syncwarp();
        float m = 0;
        for (int i = 0; i < 32; i++) m += s[w][i];
        x[r * 32 + l] = m;
        if (kSync) __syncwarp();
    }
}
KERNEL rows_good(float* x, int count) { rows<true>(x, count); }
KERNEL rows_bad(float* x, int count) { rows<false>(x, count); }

template <bool kSync>
__device__ void named(int* out) {
    __shared__ int s[64];
    int t = threadIdx.x;
    s[t] = t;
    asm volatile("bar.sync 1, 64;" ::: "memory");
    int a = s[0];
    if (kSync) asm volatile("bar.sync 1, 64;" ::: "memory");
    if (t == 0) s[0] = 100;
    asm volatile("bar.sync 1, 64;" ::: "memory");
    out[t] = a + s[0];
}
KERNEL named_good(int* out) { named<true>(out); }
KERNEL named_bad(int* out) { named<false>(out); }

// Two warps make what two others use, over two barriers with a number.
template <bool kWait>
__device__ void handed_over(int* out) {
    __shared__ int s[64];
    int t = threadIdx.x;
    for (int i = 0; i < 4; i++) {
        if (t < 64) {
            if (kWait && i > 0) asm volatile("bar.sync 2, 128;" ::: "memory");
            s[t] = i * t;
            asm volatile("bar.arrive 1, 128;" ::: "memory");
        } else {
            asm volatile("bar.sync 1, 128;" ::: "memory");
            out[i * 64 + t - 64] = s[127 - t];
            if (kWait && i < 3) asm volatile("bar.arrive 2, 128;" ::: "memory");
        }
    }
}
KERNEL handed_over_good(int* out) { handed_over<true>(out); }
KERNEL handed_over_bad(int* out) { handed_over<false>(out); }

// More threads at a barrier than it has been told of.
template <int kThreads>
__device__ void counted(int* out) {
    __shared__ int s[96];
    int t = threadIdx.x;
    s[t] = t;
    asm volatile("bar.sync 1, %0;" ::"n"(kThreads) : "memory");
    out[t] = s[t ^ 1];
}
KERNEL counted_good(int* out) { counted<96>(out); }
KERNEL counted_bad(int* out) { counted<64>(out); }

template <bool kTwice>
__device__ void arrives(int* out) {
    __shared__ int s[64];
    int t = threadIdx.x;
    if (t < 32) {
        s[t] = 1;
        asm volatile("bar.arrive 1, 64;" ::: "memory");
        if (kTwice) asm volatile("bar.arrive 1, 64;" ::: "memory");
    } else {
        asm volatile("bar.sync 1, 64;" ::: "memory");
        out[t] = s[t - 32];
    }
}
KERNEL arrives_good(int* out) { arrives<false>(out); }
KERNEL arrives_bad(int* out) { arrives<true>(out); }

// What is written without an atomic must be there before the first of them.
template <bool kSync>
__device__ void counter(int* out) {
    __shared__ int c;
    int t = threadIdx.x;
    if (t == 0) c = 0;
    if (kSync) __syncthreads();
    atomicAdd(&c, 1);
    __syncthreads();
    out[t] = c;
}
KERNEL counter_good(int* out) { counter<true>(out); }
KERNEL counter_bad(int* out) { counter<false>(out); }

KERNEL total_good(int* out) { atomicAdd(out, 1); }
KERNEL total_bad(int* out) {
    if (threadIdx.x == 0 && blockIdx.x == 0) *out = 0;
    atomicAdd(out, 1);
}
