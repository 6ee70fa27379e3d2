/* search_internal.h - what the parts of a search share. */
#ifndef VD_COMPRESS_SEARCH_INTERNAL_H
#define VD_COMPRESS_SEARCH_INTERNAL_H

#include "compress/mix.h"
#include "compress/search/journal.h"
#include "compress/search/knapsack.h"
#include "compress/search/probe.h"
#include "compress/search/recode.h"
#include "compress/search/search.h"

enum { VD_CANDIDATES_MAX = VD_DTYPE_LIMIT + VD_SEARCH_KEEPS }; /* each type, each keep-rate */

/* What a tensor may become. */
typedef struct vd_candidate {
    vd_wanted wanted;
    double error;
    bool sparse; /* the sparse form is smaller: the file has that */
} vd_candidate;

/* A tensor whose type is looked for. */
typedef struct vd_subject {
    const vd_gguf_tensor *tensor;
    const float *squares;    /* what it reads; NULL: all alike */
    size_t rows_per_squares;
    vd_candidate candidate[VD_CANDIDATES_MAX]; /* by rising bytes */
    vd_choice choice[VD_CANDIDATES_MAX];
    size_t n;
    size_t now;              /* the candidate that the probe holds; n: the source's rows; n + 1:
                                others */
} vd_subject;

typedef struct vd_search {
    const vd_search_options *options;
    const char *source, *target;
    char *imatrix; /* a file of what the matrices read: beside the target, or where it was wanted */
    vd_pool *pool;
    vd_probe *probe;     /* NULL where no text is computed: costs are errors of values */
    const vd_gguf *gguf; /* the source: the probe's, or */
    vd_gguf *own_gguf;
    double mean_square;  /* of all that `squares` has */
    float **squares;     /* without a probe: [tensors of the file], owned, of some NULL */
    vd_journal *journal;
    vd_subject *subject; /* [n] in the order of the new file */
    vd_item *item;       /* [n] */
    size_t n;
    uint64_t fixed_bytes; /* of the file, for all that is no subject */
    uint64_t fixed_tensor_bytes;
    uint64_t n_values;
    uint64_t alignment;
    uint64_t done, total; /* measurements */
} vd_search;

/* VD_ERR_CANCELLED, and what that leaves. */
VD_NODISCARD vd_status vd_search_stopped(const vd_search *s, vd_err *err);
/* Tells what is done; VD_ERR_CANCELLED. */
VD_NODISCARD vd_status vd_search_tell(vd_search *s, vd_str note, vd_err *err);

/* Adds a candidate of so many bytes. */
void vd_subject_add(vd_subject *subject, vd_wanted wanted, uint64_t bytes);
/* keeps.c: and those of which a share is kept, about as large. `in_layer`: it may be pruned. */
void vd_subject_add_keeps(const vd_search *s, vd_subject *subject, bool in_layer);
/* Whether candidate c may have the sparse form. */
bool vd_search_may_pack(const vd_search *s, const vd_subject *subject, size_t c);
/* Its error, of all rows, and how many bytes the file has of it, exactly. */
VD_NODISCARD vd_status vd_search_pack(vd_search *s, vd_subject *subject, size_t c, vd_err *err);
/* When all are known: by rising bytes again. */
void vd_subject_sort(vd_subject *subject);
/* The pruned one whose divergence is measured; n where there is none. */
size_t vd_subject_measured_keep(const vd_subject *subject);

enum { VD_SEARCH_KEY_MAX = 256 };
/* The journal's word for what is measured of a candidate. */
void vd_search_key(char key[VD_SEARCH_KEY_MAX], const char *what, const vd_subject *subject,
                   size_t c);
vd_recode vd_search_recode_of(const vd_subject *subject, size_t c);

/* Subjects with candidates, no costs yet. */
VD_NODISCARD vd_status vd_search_list(vd_search *s, vd_err *err);
/* And what each candidate costs, measured or from the journal. */
VD_NODISCARD vd_status vd_search_measure_costs(vd_search *s, vd_err *err);

/* The target's name with something behind it; vd_free. */
VD_NODISCARD vd_status vd_search_name(const vd_search *s, const char *end, char **ret_path,
                                      vd_err *err);
/* result->point: solutions at even ratios of bytes, most first. `pick` is room. */
VD_NODISCARD vd_status vd_search_make_front(vd_search *s, vd_pick *pick, vd_search_result *result,
                                            vd_err *err);
/* The point that the target asks for. VD_ERR_LIMIT where there is none. */
VD_NODISCARD vd_status vd_search_choose(vd_search *s, vd_pick *pick, vd_search_point *point,
                                        vd_err *err);

/* What the model says with choice[n] of the subjects, all at once. */
VD_NODISCARD vd_status vd_search_measure_point(vd_search *s, const size_t *choice,
                                               vd_probe_result *ret, vd_err *err);
vd_search_point vd_search_point_of(const vd_search *s, const vd_pick *pick);
/* The pick as a file. */
VD_NODISCARD vd_status vd_search_build(vd_search *s, const size_t *choice, const char *path,
                                       vd_err *err);
/* The same, the file that is wanted: by GPTQ where that is asked for and does no harm. The point
 * has then what it loses so, the result how many matrices. */
VD_NODISCARD vd_status vd_search_build_target(vd_search *s, const size_t *choice,
                                              vd_search_point *point, vd_search_result *result,
                                              vd_err *err);
/* Tokens per second and, with a meter, joules per token of one answer. */
VD_NODISCARD vd_status vd_search_time(vd_search *s, const char *path, vd_search_point *point,
                                      vd_err *err);

#endif
