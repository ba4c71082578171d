/* NVTX ranges captured without a profiler.
 *
 * NVTX v3 loads the library that NVTX_INJECTION64_PATH names at the first call and hands it a
 * table of callbacks to fill (nvtxTypes.h and nvtxInit of NVIDIA's NVTX, Apache-2.0 with LLVM
 * exceptions; layouts and numbers below are of that interface). Every push, pop, start and end
 * of every domain and thread is kept with its time; Python reads them through the functions at
 * the end. Clock: CLOCK_MONOTONIC, as time.monotonic().
 */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

enum { CALLBACKS = 1, CORE = 1, CORE2 = 5 };
enum { RANGE_START_EX = 4, RANGE_START_A, RANGE_START_W, RANGE_END, PUSH_EX, PUSH_A, PUSH_W, POP };
enum { D_START_EX = 2, D_END, D_PUSH_EX, D_POP, D_STRING_A = 10, D_STRING_W, D_CREATE_A, D_CREATE_W,
       D_DESTROY };
enum { ASCII = 1, UNICODE = 2, REGISTERED = 3 };
enum { PUSHED = 0, POPPED = 1, STARTED = 2, ENDED = 3 };

typedef void (*Function)(void);
struct callbacks { size_t size; int (*table)(unsigned module, Function ***out, unsigned *size); };
typedef const void *(*GetTable)(uint32_t id);

struct attributes {
    uint16_t version, size;
    uint32_t category;
    int32_t color_type;
    uint32_t color;
    int32_t payload_type, reserved;
    uint64_t payload;
    int32_t message_type;
    const void *message;
};

struct event { double time_s; int64_t id; int32_t kind, thread; const char *domain, *name; };

static struct event *events;
static size_t count, room;
static int64_t next_id = 1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int64_t keep(int kind, int64_t id, const char *domain, const char *name) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    pthread_mutex_lock(&lock);
    if (count == room) {
        size_t more = room ? 2 * room : 4096;
        struct event *grown = realloc(events, more * sizeof *events);
        if (!grown) { pthread_mutex_unlock(&lock); return 0; }
        events = grown, room = more;
    }
    if (kind == STARTED) id = next_id++;
    events[count++] = (struct event){t.tv_sec + 1e-9 * t.tv_nsec, id, kind, (int32_t)syscall(SYS_gettid), domain, name};
    pthread_mutex_unlock(&lock);
    return id;
}

static const char *narrow(const wchar_t *wide) {
    size_t n = wcslen(wide);
    char *out = malloc(n + 1);
    if (!out) return "";
    for (size_t i = 0; i <= n; i++) out[i] = wide[i] < 128 ? (char)wide[i] : '?';
    return out;
}
/* Names outlive their callers: an ASCII message may be a buffer of the moment. */
static const char *name_of(const struct attributes *a) {
    if (!a || !a->message) return "";
    if (a->message_type == REGISTERED) return a->message;
    if (a->message_type == UNICODE) return narrow(a->message);
    return a->message_type == ASCII ? strdup(a->message) : "";
}

static uint64_t start_ex(const struct attributes *a) { return (uint64_t)keep(STARTED, 0, "", name_of(a)); }
static uint64_t start_a(const char *s) { return (uint64_t)keep(STARTED, 0, "", strdup(s)); }
static uint64_t start_w(const wchar_t *s) { return (uint64_t)keep(STARTED, 0, "", narrow(s)); }
static void end(uint64_t id) { keep(ENDED, (int64_t)id, "", ""); }
static int push_ex(const struct attributes *a) { keep(PUSHED, 0, "", name_of(a)); return 0; }
static int push_a(const char *s) { keep(PUSHED, 0, "", strdup(s)); return 0; }
static int push_w(const wchar_t *s) { keep(PUSHED, 0, "", narrow(s)); return 0; }
static int pop(void) { keep(POPPED, 0, "", ""); return 0; }
static uint64_t domain_start(const char *d, const struct attributes *a) { return (uint64_t)keep(STARTED, 0, d ? d : "", name_of(a)); }
static void domain_end(const char *d, uint64_t id) { keep(ENDED, (int64_t)id, d ? d : "", ""); }
static int domain_push(const char *d, const struct attributes *a) { keep(PUSHED, 0, d ? d : "", name_of(a)); return 0; }
static int domain_pop(const char *d) { keep(POPPED, 0, d ? d : "", ""); return 0; }
/* A domain's handle and a registered string's are their own names. */
static const char *create_a(const char *s) { return strdup(s); }
static const char *create_w(const wchar_t *s) { return narrow(s); }
static const char *string_a(const char *d, const char *s) { (void)d; return strdup(s); }
static const char *string_w(const char *d, const wchar_t *s) { (void)d; return narrow(s); }

static void set(Function **table, unsigned size, unsigned id, Function f) {
    if (id < size && table[id]) *table[id] = f;
}

int InitializeInjectionNvtx2(GetTable get) {
    const struct callbacks *c = get(CALLBACKS);
    Function **table = 0;
    unsigned size = 0;
    if (!c || !c->table) return 0;
    if (c->table(CORE, &table, &size)) {
        set(table, size, RANGE_START_EX, (Function)start_ex);
        set(table, size, RANGE_START_A, (Function)start_a);
        set(table, size, RANGE_START_W, (Function)start_w);
        set(table, size, RANGE_END, (Function)end);
        set(table, size, PUSH_EX, (Function)push_ex);
        set(table, size, PUSH_A, (Function)push_a);
        set(table, size, PUSH_W, (Function)push_w);
        set(table, size, POP, (Function)pop);
    }
    if (c->table(CORE2, &table, &size)) {
        set(table, size, D_START_EX, (Function)domain_start);
        set(table, size, D_END, (Function)domain_end);
        set(table, size, D_PUSH_EX, (Function)domain_push);
        set(table, size, D_POP, (Function)domain_pop);
        set(table, size, D_CREATE_A, (Function)create_a);
        set(table, size, D_CREATE_W, (Function)create_w);
        set(table, size, D_STRING_A, (Function)string_a);
        set(table, size, D_STRING_W, (Function)string_w);
    }
    return 1;
}

/* ---- for Python, by ctypes, in the process that NVTX has loaded this into */
size_t gpubench_nvtx_count(void) { return count; }
int gpubench_nvtx_read(size_t i, struct event *out) {
    pthread_mutex_lock(&lock);
    int there = i < count;
    if (there) *out = events[i];
    pthread_mutex_unlock(&lock);
    return there;
}
void gpubench_nvtx_reset(void) { pthread_mutex_lock(&lock); count = 0; pthread_mutex_unlock(&lock); }
