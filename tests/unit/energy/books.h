/*
 * books.h - what somebody who listens to an account writes down, and holds it to: every window adds
 * up, windows follow each other, and a settled request has exactly what its windows gave it.
 */
#ifndef TESTS_ENERGY_BOOKS_H
#define TESTS_ENERGY_BOOKS_H

#include "fake_tree.h"

#include "energy/account/account.h"

enum { BOOKS_IDS = 1 << 15 };

typedef struct books {
    uint64_t shares_uj[BOOKS_IDS]; /* by id, of windows */
    uint64_t settled_uj[BOOKS_IDS];
    bool settled[BOOKS_IDS];
    vd_energy energy[BOOKS_IDS];
    uint64_t meter_uj, idle_uj, unattributed_uj, requests_uj, part_uj[VD_PART_N];
    uint64_t left_uj[VD_PART_N], prefill_uj, decode_uj, idle_share_uj; /* of bills */
    uint64_t n_windows, n_gaps, n_settled, end_ns, shortest_ns;
    double g_per_kwh;
    bool any_id; /* requests have numbers that no table holds: their bills are not looked at */
} books;

static inline void books_window(void *ctx, const vd_window *w)
{
    books *b = ctx;
    uint64_t shares = 0;
    assert_true(w->begin_ns <= w->end_ns);
    assert_true(b->n_windows == 0 || w->begin_ns == b->end_ns);
    for (size_t i = 0; i < w->n_share; i++) {
        assert_true(w->share[i].uj > 0);
        shares += w->share[i].uj;
        if (b->any_id)
            continue;
        assert_true(w->share[i].request_id < BOOKS_IDS);
        assert_false(b->settled[w->share[i].request_id]);
        b->shares_uj[w->share[i].request_id] += w->share[i].uj;
    }
    assert_true(shares + w->idle_uj + w->unattributed_uj == w->meter_uj);
    assert_true(w->part_uj[0] + w->part_uj[1] + w->part_uj[2] == w->meter_uj);
    assert_true(!w->gap || w->unattributed_uj == w->meter_uj);
    uint64_t ns = w->end_ns - w->begin_ns;
    b->shortest_ns = b->n_windows == 0 || ns < b->shortest_ns ? ns : b->shortest_ns;
    b->end_ns = w->end_ns;
    b->meter_uj += w->meter_uj;
    b->idle_uj += w->idle_uj;
    b->unattributed_uj += w->unattributed_uj;
    b->requests_uj += shares;
    for (size_t c = 0; c < VD_PART_N; c++)
        b->part_uj[c] += w->part_uj[c];
    b->n_windows++;
    b->n_gaps += w->gap;
}

static inline void books_settled(void *ctx, uint64_t id, const vd_energy *e)
{
    books *b = ctx;
    assert_true(e->settled);
    assert_true(e->prefill_uj + e->decode_uj == e->active_uj);
    assert_true(e->active_uj + e->idle_share_uj == e->total_uj);
    assert_true(e->cpu_uj + e->dram_uj + e->gpu_uj == e->total_uj);
    if (b->any_id)
        return;
    assert_true(id < BOOKS_IDS && !b->settled[id]);
    assert_true(e->total_uj == b->shares_uj[id]);
    b->settled[id] = true;
    b->settled_uj[id] = e->total_uj;
    b->energy[id] = *e;
    b->left_uj[VD_PART_CPU] += e->cpu_uj;
    b->left_uj[VD_PART_DRAM] += e->dram_uj;
    b->left_uj[VD_PART_GPU] += e->gpu_uj;
    b->prefill_uj += e->prefill_uj;
    b->decode_uj += e->decode_uj;
    b->idle_share_uj += e->idle_share_uj;
    b->n_settled++;
}

static inline double books_intensity(void *ctx, uint64_t at_ns)
{
    (void)at_ns;
    return ((books *)ctx)->g_per_kwh;
}

static inline vd_account_observer books_observer(books *b)
{
    return (vd_account_observer){.on_window = books_window,
                                 .on_settled = books_settled,
                                 .g_per_kwh = books_intensity,
                                 .ctx = b};
}

/* The totals agree with the books, and with themselves. */
static inline vd_account_totals books_check(const books *b, vd_account *account)
{
    vd_account_totals t;
    vd_account_totals_get(account, &t);
    assert_true(t.requests_uj + t.idle_uj + t.unattributed_uj == t.meter_uj);
    assert_true(t.part_uj[0] + t.part_uj[1] + t.part_uj[2] == t.meter_uj);
    assert_true(t.meter_uj == b->meter_uj && t.idle_uj == b->idle_uj);
    assert_true(t.requests_uj == b->requests_uj && t.unattributed_uj == b->unattributed_uj);
    assert_true(t.n_windows == b->n_windows && t.n_gaps == b->n_gaps);
    assert_true(t.n_left == b->n_settled);
    assert_memory_equal(t.part_uj, b->part_uj, sizeof(t.part_uj));
    assert_memory_equal(t.left_uj, b->left_uj, sizeof(t.left_uj));
    assert_true(t.prefill_uj == b->prefill_uj && t.decode_uj == b->decode_uj);
    assert_true(t.idle_share_uj == b->idle_share_uj);
    return t;
}

#endif
