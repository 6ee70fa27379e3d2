/*
 * http_stub.h - an exporter on loopback that answers as it is told, or does not. One thread, one
 * connection at a time; the kernel chooses the port.
 */
#ifndef TESTS_ENERGY_HTTP_STUB_H
#define TESTS_ENERGY_HTTP_STUB_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

typedef struct http_stub {
    int listener;
    unsigned port;
    pthread_t thread;
    pthread_mutex_t lock;
    /* guarded by lock: */
    bool ends, hangs; /* hangs: takes connections and says nothing */
    int code;
    char body[4096];
} http_stub;

static inline void http_answer(http_stub *stub, int client)
{
    char request[2048], head[160], body[4096];
    if (read(client, request, sizeof(request)) <= 0)
        return;
    pthread_mutex_lock(&stub->lock);
    int code = stub->code;
    snprintf(body, sizeof(body), "%s", stub->body);
    bool hangs = stub->hangs;
    pthread_mutex_unlock(&stub->lock);
    if (hangs) { /* until the client gives up or the stub ends */
        (void)!read(client, request, sizeof(request));
        return;
    }
    int n = snprintf(head, sizeof(head),
                     "HTTP/1.1 %d X\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", code,
                     strlen(body));
    if (send(client, head, (size_t)n, MSG_NOSIGNAL) == n)
        (void)!send(client, body, strlen(body), MSG_NOSIGNAL);
}

static inline void *http_run(void *arg)
{
    http_stub *stub = arg;
    for (;;) {
        int client = accept(stub->listener, NULL, NULL);
        pthread_mutex_lock(&stub->lock);
        bool ends = stub->ends;
        pthread_mutex_unlock(&stub->lock);
        if (client >= 0 && !ends)
            http_answer(stub, client);
        if (client >= 0)
            close(client);
        if (ends)
            return NULL;
    }
}

static inline void http_says(http_stub *stub, int code, const char *body)
{
    pthread_mutex_lock(&stub->lock);
    stub->code = code;
    stub->hangs = code == 0;
    snprintf(stub->body, sizeof(stub->body), "%s", body);
    pthread_mutex_unlock(&stub->lock);
}

static inline void http_start(http_stub *stub)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    *stub = (http_stub){.code = 200};
    pthread_mutex_init(&stub->lock, NULL);
    stub->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(stub->listener >= 0);
    assert_int_equal(bind(stub->listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(stub->listener, 8), 0);
    assert_int_equal(getsockname(stub->listener, (struct sockaddr *)&address, &size), 0);
    stub->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&stub->thread, NULL, http_run, stub), 0);
}

static inline void http_stop(http_stub *stub)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)stub->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    pthread_mutex_lock(&stub->lock);
    stub->ends = true;
    pthread_mutex_unlock(&stub->lock);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* wakes accept */
    (void)!connect(client, (struct sockaddr *)&address, sizeof(address));
    pthread_join(stub->thread, NULL);
    close(client);
    close(stub->listener);
    pthread_mutex_destroy(&stub->lock);
}

#endif
