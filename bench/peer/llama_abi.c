/* llama_abi.c - see llama_abi.h. */
#include "llama_abi.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

enum { ROOM = 512 };

static void *library(const char *folder, const char *name, char *problem, size_t size)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    void *handle = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    if (handle == NULL)
        snprintf(problem, size, "%s; tests/peer/get_peer.sh fetches llama.cpp", dlerror());
    return handle;
}

static bool find(void *handle, const char *name, void *function, char *problem, size_t size)
{
    void *symbol = dlsym(handle, name);
    if (symbol == NULL) {
        snprintf(problem, size, "there is no %s: not llama.cpp v" PEER_RELEASE, name);
        return false;
    }
    memcpy(function, &symbol, sizeof(symbol));
    return true;
}

/* How many bytes `name` writes to the place of its result, and the bytes; two fills tell which. A
 * struct of this size is returned in memory whose address is the first argument. */
static bool written(void *handle, const char *name, unsigned char *bytes, size_t *ret_n,
                    char *problem, size_t size)
{
    unsigned char other[ROOM];
    void *(*function)(void *place) = NULL;
    if (!find(handle, name, &function, problem, size))
        return false;
    memset(bytes, 0xaa, ROOM);
    memset(other, 0x55, ROOM);
    function(bytes);
    function(other);
    size_t n = ROOM;
    while (n > 0 && bytes[n - 1] != other[n - 1])
        n--;
    *ret_n = n;
    return true;
}

static bool same(const char *name, const unsigned char *bytes, size_t at, const void *known,
                 size_t n, char *problem, size_t size)
{
    if (memcmp(bytes + at, known, n) == 0)
        return true;
    snprintf(problem, size,
             "%s: the defaults at byte %zu are not those of llama.cpp v" PEER_RELEASE,
             name, at);
    return false;
}

static bool check_size(const char *name, size_t n, size_t known, char *problem, size_t size)
{
    if (n == known)
        return true;
    snprintf(problem, size, "%s writes %zu bytes, %zu expected: not llama.cpp v" PEER_RELEASE,
             name, n, known);
    return false;
}

static bool check_model_params(void *handle, char *problem, size_t size)
{
    static const char name[] = "llama_model_default_params";
    static const int32_t numbers[] = {-1, 1, -1, 1, 0};
    static const bool flags[] = {false, false, true, false, false, false};
    unsigned char bytes[ROOM];
    size_t n;
    return written(handle, name, bytes, &n, problem, size) &&
           check_size(name, n, offsetof(peer_model_params, load_mtp) + 1, problem, size) &&
           same(name, bytes, offsetof(peer_model_params, n_gpu_layers), numbers, sizeof(numbers),
                problem, size) &&
           same(name, bytes, offsetof(peer_model_params, vocab_only), flags, sizeof(flags),
                problem, size);
}

static bool check_context_params(void *handle, char *problem, size_t size)
{
    static const char name[] = "llama_context_default_params";
    static const int32_t numbers[] = {512, 2048, 512, 1, 0, 0, 1, 4, 4, 0, -1, -1, -1, -1};
    static const float floats[] = {0, 0, -1, -1, -1, -1};
    static const int32_t types[] = {1, 1};
    static const bool flags[] = {false, true, true, true, true, false};
    unsigned char bytes[ROOM];
    size_t n;
    return written(handle, name, bytes, &n, problem, size) &&
           check_size(name, n, sizeof(peer_context_params), problem, size) &&
           same(name, bytes, 0, numbers, sizeof(numbers), problem, size) &&
           same(name, bytes, offsetof(peer_context_params, rope_base), floats, sizeof(floats),
                problem, size) &&
           same(name, bytes, offsetof(peer_context_params, type_k), types, sizeof(types), problem,
                size) &&
           same(name, bytes, offsetof(peer_context_params, embeddings), flags, sizeof(flags),
                problem, size);
}

static bool find_all(void *llama, void *ggml, void *base, peer_lib *lib, char *problem,
                     size_t size)
{
    const struct {
        void *handle;
        const char *name;
        void *function;
    } functions[] = {
        {llama, "llama_version", &lib->llama_version},
        {llama, "llama_model_default_params", &lib->llama_model_default_params},
        {llama, "llama_context_default_params", &lib->llama_context_default_params},
        {llama, "llama_backend_init", &lib->llama_backend_init},
        {llama, "llama_log_set", &lib->llama_log_set},
        {llama, "llama_model_load_from_file", &lib->llama_model_load_from_file},
        {llama, "llama_model_free", &lib->llama_model_free},
        {llama, "llama_init_from_model", &lib->llama_init_from_model},
        {llama, "llama_free", &lib->llama_free},
        {llama, "llama_model_get_vocab", &lib->llama_model_get_vocab},
        {llama, "llama_vocab_n_tokens", &lib->llama_vocab_n_tokens},
        {llama, "llama_get_memory", &lib->llama_get_memory},
        {llama, "llama_memory_clear", &lib->llama_memory_clear},
        {llama, "llama_memory_seq_rm", &lib->llama_memory_seq_rm},
        {llama, "llama_memory_seq_cp", &lib->llama_memory_seq_cp},
        {llama, "llama_decode", &lib->llama_decode},
        {llama, "llama_synchronize", &lib->llama_synchronize},
        {llama, "llama_get_logits", &lib->llama_get_logits},
        {base, "ggml_log_set", &lib->ggml_log_set},
        {ggml, "ggml_backend_load_all_from_path", &lib->ggml_backend_load_all_from_path},
    };
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
        if (!find(functions[i].handle, functions[i].name, functions[i].function, problem, size))
            return false;
    return true;
}

bool peer_open(const char *folder, peer_lib *ret_lib, char *problem, size_t size)
{
    peer_lib lib = {0};
    void *base = library(folder, "libggml-base.so", problem, size);
    void *ggml = base != NULL ? library(folder, "libggml.v" PEER_RELEASE ".so", problem, size)
                              : NULL;
    void *llama = ggml != NULL ? library(folder, "libllama.v" PEER_RELEASE ".so", problem, size)
                               : NULL;
    if (llama == NULL || !find(llama, "llama_version", &lib.llama_version, problem, size))
        return false;
    if (strncmp(lib.llama_version(), PEER_RELEASE, strlen(PEER_RELEASE)) != 0) {
        snprintf(problem, size, "llama.cpp %s found, v" PEER_RELEASE " wanted",
                 lib.llama_version());
        return false;
    }
    if (!check_model_params(llama, problem, size) || !check_context_params(llama, problem, size) ||
        !find_all(llama, ggml, base, &lib, problem, size))
        return false;
    *ret_lib = lib;
    return true;
}
