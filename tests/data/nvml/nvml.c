/* Stands in for NVIDIA's management library where there is no GPU: it looks at the arguments that it is called with, by
 * the prototypes of the NVML API reference, and answers made-up figures. It shows that calls are right, and nothing of
 * any GPU. What it is to be is told by files in the folder that the variable NVML_STAND_IN names; locked clocks become
 * files there too, so that they outlive a process. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { OK = 0, ARGUMENT = 2, UNSUPPORTED = 3, DENIED = 4, NOT_FOUND = 6, TOO_SMALL = 7, NO_DRIVER = 9, NO_FUNCTION = 13, LOST = 15 };
enum { GRAPHICS, SM, MEMORY };

typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned gpu, memory; } Load;
typedef struct { unsigned version, sensor; int celsius; } Temperature;
typedef union { double d; unsigned ui; unsigned long long ull; } Value;
typedef struct { unsigned field, scope; long long at, latency; unsigned type, status; Value value; } Field;
typedef struct { unsigned pid; unsigned long long used; unsigned instance, compute; } Process;

static void *const gpu = (void *)0x7f00000000a2;

static const char *path(const char *name)
{
    static char text[4096];
    const char *folder = getenv("NVML_STAND_IN");
    snprintf(text, sizeof text, "%s/%s", folder ? folder : "/nowhere", name);
    return text;
}
static int is(const char *name) { return access(path(name), F_OK) == 0; }
static int check(const void *device, const void *result)
{
    return device != gpu || !result ? ARGUMENT : is("lost") ? LOST : OK;
}
static int text(char *buffer, unsigned length, const char *value)
{
    return !buffer || length <= strlen(value) ? ARGUMENT : (strcpy(buffer, value), OK);
}
static int number(void *device, unsigned *result, unsigned value)
{
    const int status = check(device, result);
    if (!status) *result = value;
    return status;
}
static unsigned kept(const char *name, unsigned otherwise) /* the upper end of a lock */
{
    unsigned low, high;
    FILE *file = fopen(path(name), "r");
    if (!file) return otherwise;
    if (fscanf(file, "%u %u", &low, &high) != 2) high = otherwise;
    fclose(file);
    return high;
}
static int lock(void *device, const char *name, unsigned low, unsigned high)
{
    FILE *file;
    const int status = check(device, gpu);
    if (status) return status;
    if (is("denied")) return DENIED;
    if (is("old") || (name[0] == 'm' && is("volta"))) return UNSUPPORTED;
    if ((low >= 0xffffff00u) != (high >= 0xffffff00u) || (low < 0xffffff00u && low > high)) return ARGUMENT;
    if (!(file = fopen(path(name), "w"))) return 999;
    fprintf(file, "%u %u\n", low, high);
    fclose(file);
    return OK;
}
static int unlock(void *device, const char *name)
{
    const int status = check(device, gpu);
    if (status) return status;
    if (is("denied")) return DENIED;
    if (is("old") || (name[0] == 'm' && is("volta"))) return UNSUPPORTED;
    remove(path(name));
    return OK;
}

int nvmlInitWithFlags(unsigned flags) { return flags ? ARGUMENT : is("no_driver") ? NO_DRIVER : OK; }
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int status) { return status == LOST ? "GPU is lost" : "a status of the stand-in"; }
int nvmlSystemGetDriverVersion(char *version, unsigned length) { return text(version, length, "600.00"); }
int nvmlDeviceGetCount_v2(unsigned *count) { return count ? (*count = !is("no_gpu"), OK) : ARGUMENT; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device)
{
    return index || is("no_gpu") ? ARGUMENT : (*device = gpu, OK);
}
int nvmlDeviceGetHandleByPciBusId_v2(const char *id, void **device)
{
    return strcmp(id, "0000:05:00.0") ? NOT_FOUND : is("lost") ? LOST : (*device = gpu, OK);
}
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device)
{
    return strcmp(uuid, "GPU-0a2") ? NOT_FOUND : (*device = gpu, OK);
}
int nvmlDeviceGetName(void *device, char *name, unsigned length)
{
    return device != gpu ? ARGUMENT : text(name, length, is("old") ? "NVIDIA GeForce GTX 960" : "NVIDIA A2");
}
int nvmlDeviceGetUUID(void *device, char *uuid, unsigned length)
{
    const int status = check(device, uuid);
    return status ? status : text(uuid, length, "GPU-0a2");
}
int nvmlDeviceGetMemoryInfo(void *device, Memory *memory)
{
    const int status = check(device, memory);
    if (!status) *memory = (Memory){(unsigned long long)15356 << 20, (unsigned long long)15000 << 20, 356 << 20};
    return status;
}
int nvmlDeviceGetClockInfo(void *device, unsigned type, unsigned *mhz)
{
    return type == MEMORY ? number(device, mhz, kept("memory_lock", 6001)) : number(device, mhz, kept("gpu_lock", 1200));
}
int nvmlDeviceGetMaxClockInfo(void *device, unsigned type, unsigned *mhz)
{
    return number(device, mhz, type == MEMORY ? 6251 : 1770);
}
int nvmlDeviceGetTemperatureV(void *device, Temperature *found)
{
    const int status = check(device, found);
    if (status) return status;
    if (found->version != (1u << 24 | sizeof *found) || found->sensor) return 25;
    if (is("old")) return NO_FUNCTION;
    found->celsius = 51;
    return OK;
}
int nvmlDeviceGetTemperature(void *device, unsigned sensor, unsigned *celsius)
{
    return sensor ? ARGUMENT : number(device, celsius, 52);
}
int nvmlDeviceGetTemperatureThreshold(void *device, unsigned which, unsigned *celsius)
{
    return is("new") ? UNSUPPORTED : number(device, celsius, which == 0 ? 96 : which == 1 ? (is("hot") ? 53 : 93) : 89);
}
typedef struct { unsigned version; int celsius; } Margin;
int nvmlDeviceGetMarginTemperature(void *device, Margin *margin)
{
    const int status = check(device, margin);
    if (status) return status;
    if (margin->version != (1u << 24 | sizeof *margin)) return 25;
    if (!is("new")) return UNSUPPORTED;
    margin->celsius = 30;
    return OK;
}
int nvmlDeviceGetFanSpeed(void *device, unsigned *percent)
{
    const int status = number(device, percent, 40);
    return !status && !is("old") ? UNSUPPORTED : status; /* the A2 has no fan of its own */
}
int nvmlDeviceGetUtilizationRates(void *device, Load *load)
{
    const int status = check(device, load);
    if (!status) *load = (Load){97, 20};
    return status;
}
static int reasons(void *device, unsigned long long *mask)
{
    const int status = check(device, mask);
    if (!status) *mask = is("cut") ? 0x24 : 0x1;
    return status;
}
int nvmlDeviceGetCurrentClocksEventReasons(void *device, unsigned long long *mask)
{
    return is("old") ? NO_FUNCTION : reasons(device, mask);
}
int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *mask) { return reasons(device, mask); }
int nvmlDeviceGetPowerUsage(void *device, unsigned *mw) { return is("unmetered") ? UNSUPPORTED : number(device, mw, 14000); }
int nvmlDeviceGetFieldValues(void *device, int count, Field *fields)
{
    const int status = check(device, fields);
    if (status) return status;
    if (is("old")) return NO_FUNCTION;
    for (int i = 0; i < count; i++) {
        const int power = fields[i].field == 185 || fields[i].field == 186;
        fields[i].status = (power && !is("unmetered") && !(fields[i].field == 185 && is("ga100"))) ? OK : UNSUPPORTED;
        fields[i].type = 1;
        fields[i].value.ui = fields[i].field == 185 ? 15000 : 16000;
    }
    return OK;
}
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *mj)
{
    struct timespec now;
    const int status = check(device, mj);
    if (status) return status;
    if (is("old") || is("unmetered")) return UNSUPPORTED;
    clock_gettime(CLOCK_MONOTONIC, &now); /* 20 W, always */
    *mj = is("stuck") ? 7 : 20 * ((unsigned long long)now.tv_sec * 1000 + now.tv_nsec / 1000000);
    return OK;
}
int nvmlDeviceSetGpuLockedClocks(void *device, unsigned low, unsigned high) { return lock(device, "gpu_lock", low, high); }
int nvmlDeviceResetGpuLockedClocks(void *device) { return unlock(device, "gpu_lock"); }
int nvmlDeviceSetMemoryLockedClocks(void *device, unsigned low, unsigned high)
{
    return high >= 0xffffff00u ? ARGUMENT : lock(device, "memory_lock", low, high);
}
int nvmlDeviceResetMemoryLockedClocks(void *device) { return unlock(device, "memory_lock"); }
int nvmlDeviceGetPersistenceMode(void *device, unsigned *on) { return number(device, on, is("persistent")); }
int nvmlDeviceGetEccMode(void *device, unsigned *now, unsigned *later)
{
    if (is("old")) return UNSUPPORTED;
    return number(device, later, 1) || number(device, now, 1);
}
int nvmlDeviceGetMigMode(void *device, unsigned *now, unsigned *later)
{
    if (!is("mig")) return UNSUPPORTED;
    return number(device, later, 1) || number(device, now, 1);
}
int nvmlDeviceGetPowerManagementDefaultLimit(void *device, unsigned *mw) { return number(device, mw, 60000); }
int nvmlDeviceGetEnforcedPowerLimit(void *device, unsigned *mw) { return number(device, mw, is("limited") ? 40000 : 60000); }
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, Process *found)
{
    const unsigned room = count ? *count : 0;
    const int status = check(device, count);
    if (status) return status;
    if (is("mig")) return DENIED;
    *count = is("shared");
    if (*count > room) return TOO_SMALL;
    if (*count) found[0] = (Process){1, 300 << 20, 0xffffffff, 0xffffffff};
    return OK;
}
