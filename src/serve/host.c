/*
 * host.c - who a request says it speaks to, and from where.
 *
 * A browser page can reach a loopback port by a DNS name that its owner points at 127.0.0.1 (DNS
 * rebinding); the Host header then carries that name. So a loopback listener answers only for
 * loopback names, addresses, and those configured. A page of another origin says so in Origin.
 */
#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "serve/http.h"

/* "name:8080", "[::1]:8080", "name" -> "name", "::1". False when it is none of these. */
static bool host_part(const char *host, char *name, size_t capacity)
{
    const char *end;
    if (host[0] == '[') {
        end = strchr(++host, ']');
        if (end == NULL || (end[1] != 0 && end[1] != ':'))
            return false;
    } else {
        end = host + strcspn(host, ":");
    }
    size_t n = (size_t)(end - host);
    if (n == 0 || n >= capacity)
        return false;
    memcpy(name, host, n);
    name[n] = 0;
    return true;
}

static bool name_allowed(const vd_server *server, const char *name)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (strcasecmp(name, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, name, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, name, &v6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&v6);
    for (size_t i = 0; i < server->options.n_hosts; i++)
        if (strcasecmp(name, server->options.hosts[i]) == 0)
            return true;
    return false;
}

bool vd_host_allowed(const vd_server *server, const char *host)
{
    char name[256];
    if (!server->loopback || host == NULL) /* HTTP/1.0 has none */
        return true;
    return host_part(host, name, sizeof(name)) && name_allowed(server, name);
}

bool vd_origin_allowed(const vd_server *server, const char *origin)
{
    char name[256];
    const char *host = NULL;
    if (strncmp(origin, "http://", 7) == 0)
        host = origin + 7;
    else if (strncmp(origin, "https://", 8) == 0)
        host = origin + 8;
    return host != NULL && strchr(host, '/') == NULL && host_part(host, name, sizeof(name)) &&
           name_allowed(server, name);
}
