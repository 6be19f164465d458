// Lines of 512 elements.
#define LENGTH 512
#include "fourier_kernels.cuh"
