// Asynchronous copies: each correct kernel stands beside those that touch what is still under way.
#define KERNEL extern "C" __global__ void

__device__ __forceinline__ void copy16(void* to, const void* from) {
    unsigned at = __cvta_generic_to_shared(to);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(at), "l"(from) : "memory");
}
__device__ __forceinline__ void commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int kLeft>
__device__ __forceinline__ void wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}

// Two stages; the next tile goes where all threads have just read.
template <bool kBarrier>
__device__ void pipeline(const float4* in, float* out, int tiles) {
    __shared__ float4 s[2][128];
    int t = threadIdx.x;
    float sum = 0;
    for (int p = 0; p < 2; p++) {
        copy16(&s[p][t], in + p * 128 + t);
        commit();
    }
    for (int k = 0; k < tiles; k++) {
        wait<1>();
        __syncthreads();
        float4 v = s[k & 1][127 - t];
        sum += v.x + v.y + v.z + v.w;
        if (kBarrier) __syncthreads();
        if (k + 2 < tiles) copy16(&s[k & 1][t], in + (k + 2) * 128 + t);
        commit();
    }
    out[t] = sum;
}
KERNEL pipeline_good(const float4* in, float* out, int tiles) { pipeline<true>(in, out, tiles); }
KERNEL pipeline_bad(const float4* in, float* out, int tiles) { pipeline<false>(in, out, tiles); }

enum { kGood, kReads, kWrites, kNoBarrier };
template <int kHow>
__device__ void one(const float4* in, float4* out) {
    __shared__ float4 s[64];
    int t = threadIdx.x;
    s[t] = make_float4(0, 0, 0, 0);
    __syncthreads();
    copy16(&s[t], in + t);
    commit();
    if (kHow == kReads) out[t] = s[t];
    if (kHow == kWrites) s[t] = make_float4(1, 1, 1, 1);
    wait<0>();
    if (kHow != kNoBarrier) __syncthreads();
    out[t] = s[t ^ 1];
}
KERNEL one_good(const float4* in, float4* out) { one<kGood>(in, out); }
KERNEL one_reads(const float4* in, float4* out) { one<kReads>(in, out); }
KERNEL one_writes(const float4* in, float4* out) { one<kWrites>(in, out); }
KERNEL one_no_barrier(const float4* in, float4* out) { one<kNoBarrier>(in, out); }
