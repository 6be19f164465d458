// Lines of 128 elements.
#define LENGTH 128
#include "fourier_kernels.cuh"
