/* A libnvidia-ml.so.1 for tests: one GPU whose nature comes from the environment.
 *
 *   STUB_GPU       a100 (default), h100 (GPM), v100, p100 (no energy counter, old names), t4 (throttling)
 *   STUB_TENSOR    per cent of Tensor pipe activity by GPM, as h100 tells it (0)
 *   STUB_NO_RIGHTS processes may not be listed
 *   STUB_LOST_AT   number of calls after which the GPU has fallen off the bus
 *   STUB_NO_DRIVER initialisation fails
 *   STUB_PCIE      lanes that the link has now, of 16
 *   STUB_REMAP_FAILED a row of memory could not be remapped
 *   STUB_PIDS      number of foreign processes
 *   STUB_LOAD      file of 24 doubles that the test maps: level (0 off, 1 on, or between),
 *                  seconds of full load when it was set, when that was; and the same of the seven
 *                  levels before it; power is 60 W + 340 W x level
 *   STUB_DUTY      share of its period in which the power sensor looks at the board (1)
 *   STUB_PERIOD    seconds between updates of counter and power (0.05)
 *   STUB_LOG       file that set and reset of locked clocks are written to
 *
 * What is not exported here makes the binding raise FunctionNotFound, as an old driver
 * does. Layouts are those of nvml.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
       DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15 };
typedef void *Device;
static int calls;
static int the_gpu;

static int is(const char *name) {
    const char *gpu = getenv("STUB_GPU");
    return strcmp(gpu ? gpu : "a100", name) == 0;
}
static int lost(void) {
    const char *at = getenv("STUB_LOST_AT");
    return at && ++calls > atoi(at);
}
#define ALIVE if (lost()) return GPU_IS_LOST

int nvmlInitWithFlags(unsigned flags) { (void)flags; return getenv("STUB_NO_DRIVER") ? DRIVER_NOT_LOADED : SUCCESS; }
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { return code == GPU_IS_LOST ? "GPU is lost" : code == DRIVER_NOT_LOADED ? "Driver Not Loaded" : "stub error"; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 1; return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, Device *d) { *d = &the_gpu; return i ? NOT_FOUND : SUCCESS; }
int nvmlDeviceGetHandleByUUID(const char *uuid, Device *d) { *d = &the_gpu; return strcmp(uuid, "GPU-stub-0000") ? NOT_FOUND : SUCCESS; }
int nvmlDeviceGetHandleByPciBusId_v2(const char *id, Device *d) { *d = &the_gpu; return strcmp(id, "0000:65:00.0") ? NOT_FOUND : SUCCESS; }
int nvmlDeviceGetUUID(Device d, char *out, unsigned n) { (void)d; snprintf(out, n, "GPU-stub-0000"); return SUCCESS; }
int nvmlDeviceGetName(Device d, char *out, unsigned n) {
    (void)d;
    snprintf(out, n, "%s", is("p100") ? "Tesla P100-PCIE-16GB" : is("v100") ? "Tesla V100-SXM2-16GB" : is("t4") ? "Tesla T4" : "NVIDIA A100-SXM4-40GB");
    return SUCCESS;
}
int nvmlSystemGetDriverVersion(char *out, unsigned n) { snprintf(out, n, "580.65.06"); return SUCCESS; }
int nvmlSystemGetCudaDriverVersion_v2(int *v) { *v = 13000; return SUCCESS; }
int nvmlDeviceGetClockInfo(Device d, int kind, unsigned *mhz) { (void)d; ALIVE; *mhz = kind == 1 ? (is("t4") ? 585 : 1410) : 1215; return SUCCESS; }
int nvmlDeviceGetMaxClockInfo(Device d, int kind, unsigned *mhz) { (void)d; *mhz = kind == 1 ? 1410 : 1215; return SUCCESS; }
int nvmlDeviceGetTemperature(Device d, int sensor, unsigned *c) { (void)d; (void)sensor; ALIVE; *c = is("t4") ? 87 : 41; return SUCCESS; }

/* A board whose load the test switches: its energy is known to the test. */
static volatile double *load(void) {
    static volatile double *mapped;
    const char *path = getenv("STUB_LOAD");
    if (!mapped && path) {
        int file = open(path, O_RDONLY);
        void *at = file < 0 ? MAP_FAILED : mmap(0, 24 * sizeof(double), PROT_READ, MAP_SHARED, file, 0);
        mapped = at == MAP_FAILED ? 0 : at;
    }
    return mapped;
}
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + 1e-9 * t.tv_nsec; }
static double on_at(double t) {
    volatile double *l = load();
    int i = 0;
    while (i < 21 && l[i + 2] > t) i += 3; /* the level may have changed since */
    return l[i + 1] + l[i] * (t - l[i + 2]);
}
static double on_s(void) { return on_at(now()); }
static void tick(double *energy_j, double *power_w) {
    static double last, energy, power = 60, since, before, seen = -1, looked, looked_on;
    static long ticks;
    const char *period = getenv("STUB_PERIOD");
    double step = period ? atof(period) : 0.05, t = now();
    if (!since) since = last = t, before = on_s();
    if (getenv("STUB_DUTY")) {
        /* Looks in the last part of each period; between two calls of the test it sees nothing. */
        double phase = t / step - (long)(t / step), duty = atof(getenv("STUB_DUTY")), on = on_s();
        if (phase > 1 - duty && looked > 0 && t > looked && t - looked < step) seen = (on - looked_on) / (t - looked);
        if (phase > 1 - duty && looked == 0) looked = t, looked_on = on;
        if (phase <= 1 - duty) looked = 0;
    }
    long turn = (long)(t / step);
    if (turn != ticks && turn * step > last) {
        /* It moves at its own time, whenever it is looked at. */
        double on = on_at(t = turn * step);
        ticks = turn;
        /* A sensor of part duty saw the last of its looks only, taken as the update came due. */
        power = seen < 0 ? 60 + 340 * (on - before) / (t - last) : 60 + 340 * seen;
        seen = -1;
        energy += 60 * (t - last) + 340 * (on - before);
        last = t, before = on;
    }
    if (energy_j) *energy_j = energy;
    if (power_w) *power_w = power;
}
int nvmlDeviceGetPowerUsage(Device d, unsigned *mw) {
    double w = 61;
    (void)d; ALIVE;
    if (load()) tick(0, &w);
    *mw = (unsigned)(w * 1e3);
    return SUCCESS;
}
int nvmlDeviceGetTotalEnergyConsumption(Device d, unsigned long long *mj) {
    double j = 0;
    (void)d; ALIVE;
    if (is("p100")) return NOT_SUPPORTED;
    if (load()) tick(&j, 0);
    *mj = (unsigned long long)(j * 1e3);
    return SUCCESS;
}
int nvmlDeviceGetEnforcedPowerLimit(Device d, unsigned *mw) { (void)d; *mw = 400000; return SUCCESS; }
int nvmlDeviceGetMemoryInfo(Device d, unsigned long long *m) { (void)d; ALIVE; m[0] = 42949672960ULL; m[1] = m[0] / 2; m[2] = m[0] / 2; return SUCCESS; }
int nvmlDeviceGetVbiosVersion(Device d, char *out, unsigned n) { (void)d; snprintf(out, n, "92.00"); return SUCCESS; }
int nvmlDeviceGetPersistenceMode(Device d, int *on) { (void)d; *on = is("p100") ? 0 : 1; return SUCCESS; }
int nvmlDeviceGetCurrPcieLinkWidth(Device d, unsigned *w) { (void)d; *w = getenv("STUB_PCIE") ? atoi(getenv("STUB_PCIE")) : 16; return SUCCESS; }
int nvmlDeviceGetCurrPcieLinkGeneration(Device d, unsigned *g) { (void)d; *g = 4; return SUCCESS; }

/* Field 186 is the instant power; a P100 does not know it. */
struct value { double first; };
struct field { unsigned id, scope; long long stamp, latency; unsigned type, status; union { double d; unsigned u; } value; };
int nvmlDeviceGetFieldValues(Device d, int n, struct field *f) {
    (void)d;
    ALIVE;
    for (int i = 0; i < n; i++) {
        f[i].status = (f[i].id == 186 && !is("p100") && !is("v100")) ? SUCCESS : NOT_SUPPORTED;
        f[i].value.u = 55000;
        if (load()) { double w; tick(0, &w); f[i].value.u = (unsigned)(w * 1e3); }
    }
    return SUCCESS;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(Device d, unsigned long long *r) { (void)d; ALIVE; *r = is("t4") ? 0x20 | 0x4 : 0x1; return SUCCESS; }
int nvmlDeviceGetEccMode(Device d, unsigned *now, unsigned *next) { (void)d; if (is("p100")) return NOT_SUPPORTED; *now = *next = 1; return SUCCESS; }
/* Corrected errors (type 0) are many; what counts are uncorrected ones (1) over its life (1). */
int nvmlDeviceGetTotalEccErrors(Device d, unsigned type, unsigned counter, unsigned long long *n) { (void)d; ALIVE; if (is("p100") || is("t4")) return NOT_SUPPORTED; *n = type == 0 ? 9999 : counter == 1 ? 12 : 1; return SUCCESS; }
int nvmlDeviceGetRemappedRows(Device d, unsigned *fixed, unsigned *worn, unsigned *pending, unsigned *failed) { (void)d; ALIVE; if (!is("a100") && !is("h100")) return NOT_SUPPORTED; *fixed = 3; *worn = 2; *pending = 0; *failed = getenv("STUB_REMAP_FAILED") ? 1 : 0; return SUCCESS; }
int nvmlDeviceGetMaxPcieLinkWidth(Device d, unsigned *w) { (void)d; *w = 16; return SUCCESS; }
int nvmlDeviceGetMigMode(Device d, unsigned *now, unsigned *next) { (void)d; if (!is("a100")) return NOT_SUPPORTED; *now = *next = getenv("STUB_MIG") ? 1 : 0; return SUCCESS; }
int nvmlDeviceGetUtilizationRates(Device d, unsigned *u) { (void)d; ALIVE; if (getenv("STUB_MIG")) return NOT_SUPPORTED; u[0] = getenv("STUB_PIDS") ? 97 : 0; u[1] = 0; return SUCCESS; }

struct pci { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; };
int nvmlDeviceGetPciInfo_v3(Device d, struct pci *p) { (void)d; memset(p, 0, sizeof *p); snprintf(p->bus_id, 32, "00000000:65:00.0"); return SUCCESS; }

struct process { unsigned pid; unsigned long long bytes; unsigned instance, compute; };
int nvmlDeviceGetComputeRunningProcesses_v3(Device d, unsigned *n, struct process *p) {
    (void)d;
    ALIVE;
    if (getenv("STUB_NO_RIGHTS")) return NO_PERMISSION;
    unsigned have = getenv("STUB_PIDS") ? atoi(getenv("STUB_PIDS")) : 0, room = *n;
    *n = have;
    if (have > room) return INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < have; i++) { p[i].pid = 4242 + i; p[i].bytes = 1ULL << 30; p[i].instance = p[i].compute = 0xFFFFFFFFu; }
    return SUCCESS;
}
static int note(const char *what, unsigned mhz) {
    const char *path = getenv("STUB_LOG");
    if (!path) return NO_PERMISSION;
    FILE *f = fopen(path, "a");
    fprintf(f, "%s %u\n", what, mhz);
    fclose(f);
    return SUCCESS;
}
int nvmlDeviceSetGpuLockedClocks(Device d, unsigned low, unsigned high) { (void)d; (void)high; return note("lock", low); }
int nvmlDeviceResetGpuLockedClocks(Device d) { (void)d; return note("reset", 0); }

#ifndef STUB_WITHOUT_GPM
/* GPM: two samples and what lies between. Compiled out, the calls are missing as in an older driver. */
struct support { unsigned version, supported; };
int nvmlGpmQueryDeviceSupport(Device d, struct support *s) { (void)d; s->supported = is("h100"); return SUCCESS; }
static int gpm_samples[8], gpm_next;
int nvmlGpmSampleAlloc(void **sample) { *sample = &gpm_samples[gpm_next++ % 8]; return SUCCESS; }
int nvmlGpmSampleFree(void *sample) { (void)sample; return SUCCESS; }
int nvmlGpmSampleGet(Device d, void *sample) { (void)d; ALIVE; static int turn; *(int *)sample = ++turn; return SUCCESS; }
struct metric { unsigned id; int status; double value; struct { char *a, *b, *c; } info; };
struct metrics { unsigned version, count; void *first, *second; struct metric metric[1]; };
int nvmlGpmMetricsGet(struct metrics *m) {
    /* The first sample must be the older one, as nvml.h asks. */
    if (*(int *)m->first >= *(int *)m->second || m->count != 1 || m->metric[0].id != 5) return 2;
    m->metric[0].status = SUCCESS;
    m->metric[0].value = getenv("STUB_TENSOR") ? atof(getenv("STUB_TENSOR")) : 0;
    return SUCCESS;
}
#endif
