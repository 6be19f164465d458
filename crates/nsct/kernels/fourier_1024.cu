// Lines of 1024 elements.
#define LENGTH 1024
#include "fourier_kernels.cuh"
