/* Libraries in the place of NVIDIA's, for a machine without a GPU: memory is the processor's, and no kernel is launched.
 * What is not here does nothing and succeeds (tools/cuda_stand_in.py adds it by name). Prototypes and offsets after the
 * references of the CUDA Runtime API 13, the CUDA Driver API and cuDNN 9. Which library is made, -D tells.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef CUDART
enum { NO_MEMORY = 2 };
static size_t used = 0;
static uintptr_t handles = 0x1000;

static size_t total(void)
{
    const char *mib = getenv("STAND_IN_MIB");
    return (size_t)(mib ? atol(mib) : 8192) << 20;
}

int cudaMalloc(void **place, size_t size)
{
    size_t whole = (size + 511) / 256 * 256;
    char *found = used + whole > total() ? NULL : aligned_alloc(256, whole);
    if (!found) return NO_MEMORY;
    *(size_t *)found = whole;
    used += whole;
    *place = found + 256;
    return 0;
}

int cudaFree(void *place)
{
    if (!place) return 0;
    used -= *(size_t *)((char *)place - 256);
    free((char *)place - 256);
    return 0;
}

int cudaFreeAsync(void *place, void *stream) { return cudaFree(place); }
int cudaMallocFromPoolAsync(void **place, size_t size, void *pool, void *stream) { return cudaMalloc(place, size); }
int cudaMallocHost(void **place, size_t size) { *place = malloc(size); return *place ? 0 : NO_MEMORY; }
int cudaHostAlloc(void **place, size_t size, unsigned flags) { return cudaMallocHost(place, size); }
int cudaFreeHost(void *place) { free(place); return 0; }
int cudaMemGetInfo(size_t *unused, size_t *all) { *all = total(); *unused = *all - used; return 0; }
int cudaMemcpy(void *to, const void *from, size_t size, int kind) { memcpy(to, from, size); return 0; }
int cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream) { memcpy(to, from, size); return 0; }
int cudaMemset(void *to, int value, size_t size) { memset(to, value, size); return 0; }
int cudaMemsetAsync(void *to, int value, size_t size, void *stream) { memset(to, value, size); return 0; }

int cudaMemcpy2DAsync(void *to, size_t pitch, const void *from, size_t own, size_t width, size_t height, int k, void *s)
{
    for (size_t i = 0; i < height; i++) memcpy((char *)to + i * pitch, (const char *)from + i * own, width);
    return 0;
}

static void put(void *at, size_t offset, int value) { memcpy((char *)at + offset, &value, sizeof value); }

int cudaGetDeviceProperties(void *properties, int device) /* struct cudaDeviceProp */
{
    size_t all = total(), shared = 49152, more = 101376, most = 102400;
    memset(properties, 0, 1008);
    strcpy(properties, "stand-in");
    memcpy((char *)properties + 288, &all, sizeof all);
    memcpy((char *)properties + 296, &shared, sizeof shared);
    put(properties, 304, 65536);      /* registers of a block */
    put(properties, 308, 32);         /* threads of a warp, of a block */
    put(properties, 320, 1024);
    for (int i = 0; i < 3; i++) {
        put(properties, 324 + 4 * i, i < 2 ? 1024 : 64);
        put(properties, 336 + 4 * i, i ? 65535 : 2147483647);
    }
    put(properties, 360, 8);          /* compute capability 8.6 */
    put(properties, 364, 6);
    put(properties, 384, 28);         /* multiprocessors */
    put(properties, 596, 2359296);    /* L2 */
    put(properties, 604, 1536);
    memcpy((char *)properties + 624, &most, sizeof most);
    memcpy((char *)properties + 672, &more, sizeof more);
    return 0;
}

int cudaDeviceGetAttribute(int *value, int which, int device)
{
    *value = which == 75 ? 8 : which == 76 ? 6 : which == 16 ? 28 : which == 10 ? 32 : which == 97 ? 101376 : 1;
    return 0;
}

int cudaPointerGetAttributes(void *attributes, const void *place) /* type, device, two addresses */
{
    memset(attributes, 0, 24);
    put(attributes, 0, 2);
    return 0;
}

int cudaGetDeviceCount(int *count) { *count = 1; return 0; }
int cudaGetDevice(int *device) { *device = 0; return 0; }
int cudaDriverGetVersion(int *version) { *version = 13000; return 0; }
int cudaRuntimeGetVersion(int *version) { *version = 13000; return 0; }
int cudaStreamCreate(void **stream) { *stream = (void *)(handles += 16); return 0; }
int cudaStreamCreateWithFlags(void **stream, unsigned flags) { return cudaStreamCreate(stream); }
int cudaStreamIsCapturing(void *stream, int *state) { *state = 0; return 0; }
int cudaStreamEndCapture(void *stream, void **graph) { return cudaStreamCreate(graph); }
int cudaGraphInstantiate(void **executable, void *graph, void *a, void *b, size_t c) { return cudaStreamCreate(executable); }
int cudaEventCreate(void **event) { return cudaStreamCreate(event); }
int cudaEventCreateWithFlags(void **event, unsigned flags) { return cudaStreamCreate(event); }
int cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *n, const void *f, int b, size_t s, unsigned g) { *n = 2; return 0; }
const char *cudaGetErrorString(int status) { return status == NO_MEMORY ? "out of memory" : "an error of the stand-in"; }
const char *cudaGetErrorName(int status) { return cudaGetErrorString(status); }
void **__cudaRegisterFatBinary(void *binary) { return malloc(8); }
int __cudaPopCallConfiguration(void *grid, void *block, size_t *shared, void **stream) { return 0; }
#endif

#ifdef CUBLAS
int cublasCreate_v2(void **handle) { *handle = malloc(8); return 0; }
const char *cublasGetStatusName(int status) { return "stand-in"; }
const char *cublasGetStatusString(int status) { return "stand-in"; }
#endif

#ifdef CUBLASLT
int cublasLtCreate(void **handle) { *handle = malloc(8); return 0; }
#endif

#ifdef CUDNN
#define HANDLE(name) int name(void **made) { *made = malloc(64); return 0; }
HANDLE(cudnnCreate)
HANDLE(cudnnCreateTensorDescriptor)
HANDLE(cudnnCreateFilterDescriptor)
HANDLE(cudnnCreateConvolutionDescriptor)
HANDLE(cudnnCreateActivationDescriptor)
HANDLE(cudnnCreatePoolingDescriptor)
HANDLE(cudnnCreateLRNDescriptor)
HANDLE(cudnnCreateReduceTensorDescriptor)
size_t cudnnGetVersion(void) { return 92800; }
const char *cudnnGetErrorString(int status) { return "stand-in"; }
void cudnnGetLastErrorString(char *text, size_t size) { if (size) text[0] = 0; }
int cudnnBackendCreateDescriptor(int kind, void **made) { *made = malloc(64); return 0; }

/* One plan for whatever is asked, without notes (1303, 1305) or knobs (302), and without a workspace. */
int cudnnBackendGetAttribute(void *of, int name, int kind, int64_t wanted, int64_t *count, void *found)
{
    if (count) *count = name == 1303 || name == 1305 || name == 302 ? 0 : 1;
    if (found && wanted > 0 && kind == 3) *(int64_t *)found = 0;
    if (found && wanted > 0 && (kind == 9 || kind == 23)) *(int *)found = 0;
    return 0;
}
#endif

#ifdef CUDA
static void *of_runtime(const char *name)
{
    void *library = dlopen("libcudart.so.13", RTLD_NOW | RTLD_GLOBAL);
    return library ? dlsym(library, name) : NULL;
}

static uintptr_t handles = 0x100000;
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int number) { *device = number; return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *)16; return 0; }
int cuDeviceGetName(char *name, int size, int device) { snprintf(name, size, "stand-in"); return 0; }
int cuDeviceGetPCIBusId(char *address, int size, int device) { snprintf(address, size, "0000:01:00.0"); return 0; }
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuStreamCreate(void **stream, unsigned flags) { *stream = (void *)(handles += 16); return 0; }
int cuMemFree_v2(uint64_t place) { return ((int (*)(void *))of_runtime("cudaFree"))((void *)place); }
int cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t size) { memcpy((void *)to, from, size); return 0; }
int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t size) { memcpy(to, (void *)from, size); return 0; }
int cuEventCreate(void **event, unsigned flags) { *event = malloc(sizeof(struct timespec)); return 0; }
int cuEventRecord(void *event, void *stream) { return clock_gettime(CLOCK_MONOTONIC, event); }
int cuEventDestroy_v2(void *event) { free(event); return 0; }
int cuGetErrorString(int status, const char **text) { *text = status == 2 ? "out of memory" : "stand-in"; return 0; }

int cuDeviceGetAttribute(int *value, int which, int device)
{
    *value = which == 75 ? 8 : which == 76 ? 6 : which == 16 ? 28 : which == 38 ? 2359296 : 0;
    return 0;
}

int cuDeviceTotalMem_v2(size_t *bytes, int device)
{
    size_t unused;
    return ((int (*)(size_t *, size_t *))of_runtime("cudaMemGetInfo"))(&unused, bytes);
}

int cuMemGetInfo_v2(size_t *unused, size_t *all)
{
    return ((int (*)(size_t *, size_t *))of_runtime("cudaMemGetInfo"))(unused, all);
}

int cuMemAlloc_v2(uint64_t *place, size_t size)
{
    return ((int (*)(void **, size_t))of_runtime("cudaMalloc"))((void **)place, size);
}

int cuEventElapsedTime(float *ms, struct timespec *begin, struct timespec *end)
{
    *ms = (end->tv_sec - begin->tv_sec) * 1e3f + (end->tv_nsec - begin->tv_nsec) / 1e6f;
    return 0;
}
#endif
