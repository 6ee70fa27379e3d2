/*
 * fake_server.c - the server over the machine of fake.h, so that tests/py can try what HTTP can do
 * without a model: fake_server KEY=VALUE... with the keys below. Prints the line that `verdant
 * serve` prints; SIGTERM drains.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "fake.h"
#include "serve/server.h"

#define MS 1000000ull

int main(int argc, char **argv)
{
    vd_fake_options fake_options = {0};
    vd_server_options options = {0};
    uint64_t step_us = 0, endless = 0, drain_ms = 2000, head_ms = 0, body_ms = 0, idle_ms = 0;
    const struct {
        const char *key;
        uint64_t *value;
    } keys[] = {
        {"step_us", &step_us},
        {"endless", &endless},
        {"drain_ms", &drain_ms},
        {"head_ms", &head_ms},
        {"body_ms", &body_ms},
        {"idle_ms", &idle_ms},
        {"max_waiting", &fake_options.max_waiting},
        {"ctx_tokens", &fake_options.ctx_tokens},
        {"max_streams", &options.max_streams},
        {"max_connections", &options.max_connections},
        {"body_bytes_max", &options.body_bytes_max},
        {"stream_bytes_max", &options.stream_bytes_max},
    };
    for (int i = 1; i < argc; i++) {
        bool known = false;
        for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
            size_t n = strlen(keys[k].key);
            if (strncmp(argv[i], keys[k].key, n) == 0 && argv[i][n] == '=') {
                *keys[k].value = strtoull(argv[i] + n + 1, NULL, 10);
                known = true;
            }
        }
        if (!known) {
            fprintf(stderr, "unknown: %s\n", argv[i]);
            return 2;
        }
    }
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    vd_json_init();
    vd_log_set_level(VD_LOG_DEBUG);
    fake_options.step_ns = step_us * 1000;
    fake_options.endless = endless != 0;
    options.head_ns = head_ms * MS;
    options.body_ns = body_ms * MS;
    options.idle_ns = idle_ms * MS;

    vd_err err = {0};
    vd_server *server = NULL;
    vd_fake *fake = vd_fake_create(&fake_options);
    vd_backend backend = vd_fake_backend(fake);
    if (vd_server_create(&options, &server, &err) != VD_OK ||
        vd_server_add_model(server, "fake", &backend, &err) != VD_OK) {
        fprintf(stderr, "fake_server: %s\n", err.message);
        return 1;
    }
    vd_server_ready(server);
    printf("listening on http://127.0.0.1:%u\n", vd_server_port(server));
    fflush(stdout);
    int got;
    sigwait(&set, &got);
    vd_server_stop(server, drain_ms * MS, NULL);
    vd_server_free(server);
    vd_fake_free(fake);
    return 0;
}
