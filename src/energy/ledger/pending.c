/* pending.c - see pending.h. */
#include "energy/ledger/pending.h"

#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"

#define NS_PER_S UINT64_C(1000000000)

enum {
    WINDOWS_DEFAULT = 4096,
    SHARES_DEFAULT = 32768,
    REQUESTS_DEFAULT = 8192,
};
static const uint64_t jump_ns = 2 * NS_PER_S; /* of the wall clock, beyond which a row ends */
static const uint64_t row_ns = 10 * NS_PER_S; /* a row takes in no more than this */

vd_status vd_pending_init(vd_pending *p, const vd_ledger_options *o, vd_err *err)
{
    *p = (vd_pending){
        .max_windows = o->max_windows != 0 ? o->max_windows : WINDOWS_DEFAULT,
        .max_shares = o->max_shares != 0 ? o->max_shares : SHARES_DEFAULT,
        .max_requests = o->max_requests != 0 ? o->max_requests : REQUESTS_DEFAULT,
    };
    /* A quarter is kept for request 0, which has one entry per slot, and no more slots than
     * rows. */
    p->max_shares = VD_MAX(p->max_shares, 4 * p->max_windows);
    p->n_buckets = 1;
    while (p->n_buckets < p->max_shares)
        p->n_buckets *= 2;
    const struct {
        size_t n, size;
        void *ret;
    } arrays[] = {
        {p->max_windows, sizeof(*p->window), &p->window},
        {p->max_shares, sizeof(*p->share), &p->share},
        {p->max_requests, sizeof(*p->request), &p->request},
        {p->max_requests, sizeof(*p->answer), &p->answer},
        {p->n_buckets, sizeof(int32_t), &p->share_bucket},
        {p->n_buckets, sizeof(int32_t), &p->request_bucket},
    };
    for (size_t i = 0; i < VD_COUNT(arrays); i++) {
        vd_status st =
            vd_alloc_array(arrays[i].n, arrays[i].size, "the ledger", arrays[i].ret, err);
        if (st != VD_OK)
            return st;
    }
    vd_pending_clear(p);
    return VD_OK;
}

void vd_pending_done(vd_pending *p)
{
    vd_free(p->window);
    vd_free(p->share);
    vd_free(p->request);
    vd_free(p->answer);
    vd_free(p->share_bucket);
    vd_free(p->request_bucket);
    *p = (vd_pending){0};
}

void vd_pending_clear(vd_pending *p)
{
    memset(p->share_bucket, 0xff, p->n_buckets * sizeof(int32_t)); /* -1 */
    memset(p->request_bucket, 0xff, p->n_buckets * sizeof(int32_t));
    p->n_windows = p->n_shares = p->n_requests = p->n_answers = p->n_intensities = 0;
    p->first_ns = p->folded_uj = p->n_folded = 0;
    p->busy = false;
}

bool vd_pending_is_full(const vd_pending *p)
{
    return p->n_shares > p->max_shares / 2 || p->n_requests > p->max_requests / 2 ||
           p->n_answers > p->max_requests / 2;
}

/* Fibonacci hashing (Knuth, TAOCP 3, 6.4). */
static size_t bucket_of(const vd_pending *p, uint64_t request_id)
{
    return (size_t)((request_id * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & (p->n_buckets - 1);
}

static void touch(vd_pending *p, bool busy)
{
    if (p->first_ns == 0)
        p->first_ns = vd_now_ns();
    p->busy |= busy;
}

/* ---- windows ---------------------------------------------------------------------------------*/

static bool alike(const vd_row_window *row, const vd_row_window *next)
{
    uint64_t end_ns = row->begin_ns + row->length_ns;
    uint64_t off = VD_MAX(end_ns, next->begin_ns) - VD_MIN(end_ns, next->begin_ns);
    return row->slot_s == next->slot_s && strcmp(row->method, next->method) == 0 &&
           row->gap == next->gap && off < jump_ns &&
           row->mono_ns + row->length_ns == next->mono_ns &&
           row->length_ns + next->length_ns <= row_ns;
}

static void merge_window(vd_row_window *row, const vd_row_window *next)
{
    /* Also where windows between the two are missing, so that the row's end is right. */
    row->length_ns = next->mono_ns + next->length_ns - row->mono_ns;
    row->meter_uj += next->meter_uj;
    for (size_t c = 0; c < VD_PART_N; c++)
        row->part_uj[c] += next->part_uj[c];
    row->requests_uj += next->requests_uj;
    row->idle_uj += next->idle_uj;
    row->unattributed_uj += next->unattributed_uj;
    row->common_pct = VD_MAX(row->common_pct, next->common_pct);
    row->independent_pct = VD_MAX(row->independent_pct, next->independent_pct);
    row->n_merged += next->n_merged;
    row->gap |= next->gap;
    if (strcmp(row->method, next->method) != 0)
        row->method = "mixed";
}

static bool same_intensity(const vd_ledger_intensity *a, const vd_ledger_intensity *b)
{
    return a->g_per_kwh == b->g_per_kwh && a->from_s == b->from_s && a->to_s == b->to_s &&
           a->estimated == b->estimated && a->stale == b->stale && strcmp(a->zone, b->zone) == 0 &&
           strcmp(a->kind, b->kind) == 0 && strcmp(a->scope, b->scope) == 0 &&
           strcmp(a->basis, b->basis) == 0 && strcmp(a->boundary, b->boundary) == 0 &&
           strcmp(a->source, b->source) == 0 && strcmp(a->version, b->version) == 0;
}

static uint32_t intensity_index(vd_pending *p, const vd_ledger_intensity *intensity)
{
    size_t n = p->n_intensities;
    if (n > 0 && same_intensity(&p->intensity[n - 1], intensity))
        return (uint32_t)(n - 1);
    if (n == VD_PENDING_INTENSITIES) /* hours without a disk: the last one has to serve */
        return (uint32_t)(n - 1);
    p->intensity[n] = *intensity;
    p->n_intensities = n + 1;
    return (uint32_t)n;
}

/* An entry for this share: its own, a new one, or where there is no room another of the request. */
static vd_row_share *find_share(vd_pending *p, uint64_t request_id, int64_t slot_s,
                                uint32_t intensity)
{
    size_t bucket = bucket_of(p, request_id);
    vd_row_share *other = NULL;
    for (int32_t i = p->share_bucket[bucket]; i >= 0; i = p->share[i].next) {
        vd_row_share *s = &p->share[i];
        if (s->request_id != request_id || s->slot_s != slot_s)
            continue;
        if (s->intensity == intensity || request_id == 0)
            return s;
        other = s;
    }
    size_t room = p->max_shares - (request_id != 0 ? p->max_shares / 4 : 0);
    if (p->n_shares >= room)
        return other;
    vd_row_share *fresh = &p->share[p->n_shares];
    *fresh = (vd_row_share){.request_id = request_id,
                            .slot_s = slot_s,
                            .intensity = intensity,
                            .next = p->share_bucket[bucket]};
    p->share_bucket[bucket] = (int32_t)p->n_shares++;
    return fresh;
}

static void add_share(vd_pending *p, uint64_t request_id, uint64_t uj, int64_t slot_s,
                      uint32_t intensity)
{
    vd_row_share *s = find_share(p, request_id, slot_s, intensity);
    if (s == NULL) {
        s = find_share(p, 0, slot_s, intensity);
        p->folded_uj += uj;
    }
    s->uj += uj;
}

void vd_pending_window(vd_pending *p, const vd_window *w, uint64_t wall_offset_ns,
                       const vd_ledger_intensity *intensity)
{
    if (w->end_ns == w->begin_ns && w->meter_uj == 0)
        return;
    vd_row_window next = {
        .begin_ns = w->begin_ns + wall_offset_ns,
        .mono_ns = w->begin_ns,
        .length_ns = w->end_ns - w->begin_ns,
        .meter_uj = w->meter_uj,
        .idle_uj = w->idle_uj,
        .unattributed_uj = w->unattributed_uj,
        .method = w->method,
        .common_pct = w->common_pct,
        .independent_pct = w->independent_pct,
        .n_merged = 1,
        .gap = w->gap,
    };
    memcpy(next.part_uj, w->part_uj, sizeof(next.part_uj));
    for (size_t i = 0; i < w->n_share; i++)
        next.requests_uj += w->share[i].uj;
    int64_t end_s = (int64_t)((next.begin_ns + next.length_ns) / NS_PER_S);
    next.slot_s = end_s - end_s % VD_SLOT_S;
    size_t n = p->n_windows;
    if (n > 0 && (n == p->max_windows || alike(&p->window[n - 1], &next)))
        merge_window(&p->window[n - 1], &next);
    else
        p->window[p->n_windows++] = next;
    int64_t slot_s = p->window[p->n_windows - 1].slot_s;
    if (w->n_share > 0) {
        uint32_t index = intensity_index(p, intensity);
        for (size_t i = 0; i < w->n_share; i++)
            add_share(p, w->share[i].request_id, w->share[i].uj, slot_s, index);
    }
    touch(p, w->n_share > 0);
}

/* ---- requests --------------------------------------------------------------------------------*/

static vd_row_request *find_request(vd_pending *p, uint64_t request_id)
{
    size_t bucket = bucket_of(p, request_id);
    for (int32_t i = p->request_bucket[bucket]; i >= 0; i = p->request[i].next)
        if (p->request[i].request_id == request_id)
            return &p->request[i];
    if (p->n_requests == p->max_requests) {
        p->n_folded++;
        return NULL;
    }
    vd_row_request *fresh = &p->request[p->n_requests];
    *fresh = (vd_row_request){.request_id = request_id, .next = p->request_bucket[bucket]};
    p->request_bucket[bucket] = (int32_t)p->n_requests++;
    return fresh;
}

void vd_pending_settled(vd_pending *p, uint64_t request_id, const vd_energy *energy)
{
    vd_row_request *r = find_request(p, request_id);
    touch(p, true);
    if (r == NULL)
        return;
    r->has_energy = true;
    r->energy = *energy;
}

void vd_pending_sequence(vd_pending *p, const vd_ledger_sequence *sequence)
{
    vd_row_request *r = find_request(p, sequence->request_id);
    touch(p, true);
    if (r == NULL)
        return;
    r->has_sequence = true;
    r->sequence = *sequence;
}

void vd_pending_answer(vd_pending *p, const vd_ledger_answer *answer)
{
    touch(p, true);
    if (p->n_answers == p->max_requests)
        p->n_folded++;
    else
        p->answer[p->n_answers++] = *answer;
}
