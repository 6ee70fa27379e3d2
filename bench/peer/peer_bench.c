/*
 * peer_bench.c - how fast llama.cpp is, through its C interface and with its own defaults: f16 KV
 * cache, its choice of attention, its repacking of weights, batches of 2,048 in parts of 512.
 *
 *     peer_bench MODEL.gguf [-t THREADS] [--peer DIR] < LINES
 *
 * A line of work is "PHASE N DEPTH BATCH":
 *
 *     prefill 512 0 1       512 tokens behind 0 of context
 *     decode 64 4096 1      64 tokens written behind 4,096
 *     decode 64 0 8         8 sequences at once; depth 0 begins behind 16 tokens
 *
 * `verdant bench MODEL --work -` takes the same lines; each gives a line of JSON with the same
 * fields. One line about the library and the loading comes first. A context is kept while lines
 * have one shape, so that a depth is read once.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "llama_abi.h"

enum { SHORT_PROMPT = 16, BATCH_MAX = 256, TOKENS_MAX = 1 << 20, WARM_UP = 4 };

typedef struct shape {
    bool prefill;
    int n, depth, batch;
} shape;

typedef struct bench {
    peer_lib lib;
    void *model, *context;
    int n_threads, n_vocab, n_batch;
    shape of;          /* what the context is for */
    bool has_depth;    /* its sequences hold of.depth tokens */
    double context_s;  /* reading them took; 0: they were there */
    peer_batch batch;  /* room for n_batch tokens */
    int32_t *seq_room; /* what batch.seq_id points into */
    char log[1024];    /* the first warning or error */
} bench;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int failed(const bench *b, const char *what)
{
    fprintf(stderr, "peer_bench: %s%s%s\n", what, b->log[0] != '\0' ? ": " : "", b->log);
    return 1;
}

static void keep_log(int level, const char *text, void *ctx)
{
    bench *b = ctx;
    if (level >= 3 && text != NULL && b->log[0] == '\0') {
        snprintf(b->log, sizeof(b->log), "%s", text);
        b->log[strcspn(b->log, "\n")] = '\0';
    }
}

/* ---- steps ---------------------------------------------------------------------------------- */

static void add(peer_batch *batch, int token, int pos, int seq, bool wanted)
{
    int i = batch->n_tokens++;
    batch->token[i] = token;
    batch->pos[i] = pos;
    batch->n_seq_id[i] = 1;
    batch->seq_id[i][0] = seq;
    batch->logits[i] = wanted;
}

static int token_at(const bench *b, int i)
{
    return 50 + 7 * i % (b->n_vocab - 100);
}

/* Tokens [from, from + n) of one sequence; the last gets logits. */
static bool read_tokens(bench *b, int seq, int from, int n)
{
    for (int at = 0; at < n;) {
        b->batch.n_tokens = 0;
        for (; at < n && b->batch.n_tokens < b->n_batch; at++)
            add(&b->batch, token_at(b, from + at), from + at, seq, at == n - 1);
        if (b->lib.llama_decode(b->context, b->batch) != 0)
            return false;
    }
    return true;
}

static bool write_tokens(bench *b, int from, int n, int n_seqs)
{
    for (int i = 0; i < n; i++) {
        b->batch.n_tokens = 0;
        for (int s = 0; s < n_seqs; s++)
            add(&b->batch, token_at(b, from + i + s), from + i, s, true);
        if (b->lib.llama_decode(b->context, b->batch) != 0)
            return false;
        (void)b->lib.llama_get_logits(b->context); /* waits for them, as who samples does */
    }
    b->lib.llama_synchronize(b->context);
    return true;
}

/* ---- contexts ------------------------------------------------------------------------------- */

static int tokens_before(const shape *s)
{
    return s->prefill || s->depth > 0 ? s->depth : SHORT_PROMPT;
}

static void drop_context(bench *b)
{
    if (b->context != NULL)
        b->lib.llama_free(b->context);
    b->context = NULL;
    b->has_depth = false;
}

static bool make_context(bench *b, const shape *s)
{
    if (b->context != NULL && b->of.prefill == s->prefill && b->of.n == s->n &&
        b->of.depth == s->depth && b->of.batch == s->batch)
        return true;
    drop_context(b);
    peer_context_params params = b->lib.llama_context_default_params();
    int each = (tokens_before(s) + s->n + 255) / 256 * 256;
    params.n_ctx = (uint32_t)(each * s->batch);
    params.n_seq_max = (uint32_t)s->batch;
    params.n_threads = params.n_threads_batch = b->n_threads;
    b->context = b->lib.llama_init_from_model(b->model, params);
    if (b->context == NULL)
        return false;
    b->of = *s;
    /* A warm-up: buffers are made, threads are started. */
    void *memory = b->lib.llama_get_memory(b->context);
    if (!read_tokens(b, 0, 0, s->prefill ? s->n < 64 ? s->n : 64 : SHORT_PROMPT) ||
        (!s->prefill && !write_tokens(b, SHORT_PROMPT, WARM_UP, 1)))
        return false;
    b->lib.llama_synchronize(b->context);
    b->lib.llama_memory_clear(memory, true);
    return true;
}

/* All sequences hold what stands before the measured tokens, and no more. */
static bool read_depth(bench *b, const shape *s)
{
    void *memory = b->lib.llama_get_memory(b->context);
    int before = tokens_before(s);
    b->context_s = 0;
    if (b->has_depth) {
        for (int i = 0; i < s->batch; i++)
            if (!b->lib.llama_memory_seq_rm(memory, i, before, -1))
                b->has_depth = false;
        if (b->has_depth)
            return true;
    }
    b->lib.llama_memory_clear(memory, true);
    double begin = now();
    if (before > 0 && !read_tokens(b, 0, 0, before))
        return false;
    b->lib.llama_synchronize(b->context);
    b->context_s = now() - begin;
    for (int i = 1; before > 0 && i < s->batch; i++)
        b->lib.llama_memory_seq_cp(memory, 0, i, -1, -1);
    b->has_depth = true;
    return true;
}

static bool measure(bench *b, const shape *s, double *ret_seconds)
{
    bool good = make_context(b, s) && read_depth(b, s);
    int before = tokens_before(s);
    b->lib.llama_synchronize(b->context);
    double begin = now();
    if (s->prefill) {
        for (int i = 0; good && i < s->batch; i++)
            good = read_tokens(b, i, before, s->n);
        b->lib.llama_synchronize(b->context);
    } else {
        good = good && write_tokens(b, before, s->n, s->batch);
    }
    *ret_seconds = now() - begin;
    return good;
}

/* ---- the program ---------------------------------------------------------------------------- */

static bool make_batch(bench *b)
{
    size_t n = (size_t)b->n_batch;
    b->batch.token = calloc(n, sizeof(int32_t));
    b->batch.pos = calloc(n, sizeof(int32_t));
    b->batch.n_seq_id = calloc(n, sizeof(int32_t));
    b->batch.seq_id = calloc(n, sizeof(int32_t *));
    b->batch.logits = calloc(n, 1);
    b->seq_room = calloc(n, sizeof(int32_t));
    if (b->batch.token == NULL || b->batch.pos == NULL || b->batch.n_seq_id == NULL ||
        b->batch.seq_id == NULL || b->batch.logits == NULL || b->seq_room == NULL)
        return false;
    for (size_t i = 0; i < n; i++)
        b->batch.seq_id[i] = &b->seq_room[i];
    return true;
}

/* A whole number in [least, most] behind blanks. */
static bool take_number(const char **at, long least, long most, int *ret)
{
    const char *digits = *at + strspn(*at, " \t");
    char *end = NULL;
    if (digits == *at || *digits < '0' || *digits > '9')
        return false;
    long n = strtol(digits, &end, 10); /* one too large for the type is the largest */
    *at = end;
    *ret = (int)n;
    return n >= least && n <= most;
}

static bool parse_line(const char *line, shape *s)
{
    s->prefill = strncmp(line, "prefill", 7) == 0;
    if (!s->prefill && strncmp(line, "decode", 6) != 0)
        return false;
    const char *at = line + (s->prefill ? 7 : 6);
    return take_number(&at, 1, TOKENS_MAX, &s->n) && take_number(&at, 0, TOKENS_MAX, &s->depth) &&
           take_number(&at, 1, BATCH_MAX, &s->batch) && at[strspn(at, " \t\r\n")] == '\0';
}

/* Which of the folder's processor libraries is loaded, by its file. */
static void find_cpu_library(char *name, size_t size)
{
    char line[4096];
    FILE *file = fopen("/proc/self/maps", "re");
    snprintf(name, size, "unknown");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        const char *found = strstr(line, "libggml-cpu-");
        if (found != NULL)
            snprintf(name, size, "%.*s", (int)strcspn(found, "\n"), found);
    }
    if (file != NULL)
        fclose(file);
}

static void print_head(const bench *b, double load_s)
{
    char cpu[96];
    find_cpu_library(cpu, sizeof(cpu));
    printf("{\"peer\": \"llama.cpp %s\", \"cpu_library\": \"%s\", \"threads\": %d, "
           "\"load_s\": %.4f}\n", b->lib.llama_version(), cpu, b->n_threads, load_s);
    fflush(stdout);
}

static void print_line(const bench *b, const shape *s, double seconds)
{
    long tokens = (long)s->n * s->batch;
    printf("{\"phase\": \"%s\", \"n\": %d, \"depth\": %d, \"batch\": %d, \"tokens\": %ld, "
           "\"seconds\": %.9f, \"tok_s\": %.4f, \"context_tokens\": %d, \"context_s\": %.6f}\n",
           s->prefill ? "prefill" : "decode", s->n, s->depth, s->batch, tokens, seconds,
           (double)tokens / seconds, b->context_s > 0 ? tokens_before(s) : 0, b->context_s);
    fflush(stdout);
}

static int work(bench *b)
{
    char line[256];
    while (fgets(line, sizeof(line), stdin) != NULL) {
        shape s;
        double seconds;
        if (strncmp(line, "room ", 5) == 0)
            continue; /* we make a context for each shape */
        if (!parse_line(line, &s)) {
            line[strcspn(line, "\r\n")] = '\0';
            fprintf(stderr, "peer_bench: not \"prefill|decode N DEPTH BATCH\" of 1 to %d, 0 to %d "
                    "and 1 to %d: \"%.60s\"\n", TOKENS_MAX, TOKENS_MAX, BATCH_MAX, line);
            return 1;
        }
        if (!measure(b, &s, &seconds))
            return failed(b, "llama.cpp failed");
        print_line(b, &s, seconds);
    }
    struct rusage usage = {0};
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"peak_rss_bytes\": %lld}\n", (long long)usage.ru_maxrss * 1024);
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    perror("peer_bench: standard output");
    return 1;
}

static void find_folder(char *folder, size_t size)
{
    const char *peer = getenv("VERDANT_PEER"), *home = getenv("VERDANT_HOME");
    const char *data = getenv("XDG_DATA_HOME"), *user = getenv("HOME");
    if (peer != NULL)
        snprintf(folder, size, "%s", peer);
    else if (home != NULL && home[0] != '\0')
        snprintf(folder, size, "%s/peer", home);
    else if (data != NULL && data[0] != '\0')
        snprintf(folder, size, "%s/verdant/peer", data);
    else
        snprintf(folder, size, "%s/.local/share/verdant/peer", user != NULL ? user : "");
}

static bool parse_options(int argc, char **argv, bench *b, char *folder, size_t size)
{
    static const struct option options[] = {{"threads", required_argument, NULL, 't'},
                                            {"peer", required_argument, NULL, 'p'},
                                            {0}};
    char *end;
    int c;
    while ((c = getopt_long(argc, argv, "t:", options, NULL)) != -1) {
        if (c == 'p') {
            snprintf(folder, size, "%s", optarg);
        } else if (c == 't') {
            errno = 0;
            long n = strtol(optarg, &end, 10);
            if (errno != 0 || *end != '\0' || n < 1 || n > 256) {
                fprintf(stderr, "peer_bench: -t takes 1 to 256, not %s\n", optarg);
                return false;
            }
            b->n_threads = (int)n;
        } else {
            return false;
        }
    }
    return optind + 1 == argc;
}

int main(int argc, char **argv)
{
    static bench b = {.n_threads = 2, .n_batch = 2048};
    char folder[4096], problem[8192];
    int status = 1;
    find_folder(folder, sizeof(folder));
    if (!parse_options(argc, argv, &b, folder, sizeof(folder))) {
        fprintf(stderr, "usage: peer_bench MODEL.gguf [-t THREADS] [--peer DIR] < LINES\n");
        return 2;
    }
    if (!peer_open(folder, &b.lib, problem, sizeof(problem))) {
        fprintf(stderr, "peer_bench: %s\n", problem);
        return 1;
    }
    b.lib.ggml_log_set(keep_log, &b);
    b.lib.llama_log_set(keep_log, &b);
    b.lib.ggml_backend_load_all_from_path(folder);
    b.lib.llama_backend_init();
    double begin = now();
    peer_model_params params = b.lib.llama_model_default_params();
    params.n_gpu_layers = 0;
    b.model = b.lib.llama_model_load_from_file(argv[optind], params);
    if (b.model == NULL)
        return failed(&b, "llama.cpp does not load the model");
    double load_s = now() - begin;
    b.n_vocab = b.lib.llama_vocab_n_tokens(b.lib.llama_model_get_vocab(b.model));
    if (b.n_vocab < 200) {
        fprintf(stderr, "peer_bench: a vocabulary of %d tokens is too small\n", b.n_vocab);
    } else if (!make_batch(&b)) {
        fprintf(stderr, "peer_bench: no memory\n");
    } else {
        print_head(&b, load_s);
        status = work(&b);
    }
    drop_context(&b);
    b.lib.llama_model_free(b.model);
    return status;
}
