/*
 * session.h - one model, one meter, one conversation at a time: what run, chat and embed share.
 * Single-owner; steps the engine in the calling thread.
 */
#ifndef VD_CLI_SESSION_H
#define VD_CLI_SESSION_H

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <verdant/engine.h>
#include <verdant/template.h>

#include "base/buf.h"
#include "carbon/carbon.h"
#include "energy/account/account.h"

typedef struct vd_session {
    vd_engine *engine;
    vd_template *tmpl; /* NULL in an encoder */
    vd_meter *meter;
    vd_account *account;
    vd_intensity intensity; /* of the zone's year: what the account weighs with */
    vd_hardware hardware;
} vd_session;

typedef struct vd_reply {
    vd_buf text; /* the answer, UTF-8 */
    vd_usage usage;
    vd_finish finish;
    vd_status status;
    vd_energy energy;
    vd_carbon carbon;
} vd_reply;

/* `model` is a path or a stored name; `zone` NULL the world average. */
VD_NODISCARD vd_status vd_session_open(const char *model, const vd_engine_options *options,
                                       const char *zone, vd_session *ret_session, vd_err *err);
void vd_session_close(vd_session *session);
/* The grams of what the account measured. */
vd_carbon vd_session_carbon(const vd_session *session, const vd_energy *energy);
/* VD_ERR_UNSUPPORTED where the model makes no text. */
VD_NODISCARD vd_status vd_session_check_speech(const vd_session *session, vd_err *err);

/* Answers a conversation (an array of messages, borrowed) through the model's template, or, where
 * `messages` is NULL, continues `text` as it stands. What comes is written to `out` at once (NULL:
 * nowhere); where that fails the answer ends as cancelled. *stop, when it becomes true, ends it too
 * (NULL: never). ret_reply is filled on success; vd_reply_done. */
VD_NODISCARD vd_status vd_session_answer(vd_session *session, json_t *messages, const char *text,
                                         const vd_sampling *sampling, size_t max_tokens, FILE *out,
                                         volatile sig_atomic_t *stop, vd_reply *ret_reply,
                                         vd_err *err);
void vd_reply_done(vd_reply *reply);

/* One line to stderr: tokens, speed, joules, grams, method. */
void vd_reply_print_cost(const vd_reply *reply);
/* {"text","finish_reason","usage":{...,"energy":{...}},"timings":{...}}, NULL without memory. */
json_t *vd_reply_json(const vd_reply *reply);

#endif
