/* http.h - the callbacks of libmicrohttpd. http.c: from bytes to a request; respond.c: back. */
#ifndef VD_SERVE_HTTP_H
#define VD_SERVE_HTTP_H

#include <microhttpd.h>
#include <stdbool.h>

#include "serve/exchange.h"
#include "serve/server.h"

/* The access handler (cls: the server). */
enum MHD_Result vd_http_handle(void *cls, struct MHD_Connection *connection, const char *url,
                               const char *method, const char *version, const char *upload_data,
                               size_t *upload_data_size, void **con_cls);
void vd_http_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                       enum MHD_RequestTerminationCode toe);
void vd_http_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
                        enum MHD_ConnectionNotificationCode toe);
void *vd_http_uri(void *cls, const char *uri, struct MHD_Connection *connection);

int vd_http_fd(struct MHD_Connection *connection);

/* host.c: may this Host or Origin speak to us? Loopback listeners are open to DNS rebinding and to
 * pages of other origins. */
bool vd_host_allowed(const vd_server *server, const char *host);
bool vd_origin_allowed(const vd_server *server, const char *origin);

/* respond.c. All queue a response on request->connection, on libmicrohttpd's thread. */
enum MHD_Result vd_respond_error(vd_exchange *request, const vd_api_error *error, bool close);
enum MHD_Result vd_respond_text(vd_exchange *request, unsigned http, vd_buf *text,
                                const char *type);
enum MHD_Result vd_respond_options(vd_exchange *request, const struct vd_route *route);
enum MHD_Result vd_respond_ready(vd_exchange *request);
enum MHD_Result vd_respond_stream(vd_exchange *request);

#endif
