/* compress_internal.h - what compress.c and compress_*.c share: one run, file to file. */
#ifndef VD_COMPRESS_COMPRESS_INTERNAL_H
#define VD_COMPRESS_COMPRESS_INTERNAL_H

#include "base/pool.h"
#include "compress/awq.h"
#include "compress/compress.h"
#include "compress/layered.h"
#include "compress/piece.h"
#include "compress/resume.h"
#include "model/gguf_write.h"

typedef struct vd_compress_job {
    const vd_compress_options *options;
    vd_gguf *gguf;
    vd_gguf_out *out;
    vd_pool *pool;
    vd_mix_entry *entries;
    size_t n_entries;
    float *scratch;
    unsigned char *buffer;
    vd_layered *layered;  /* NULL: nothing is calibrated */
    size_t n_layer;       /* of the layers that it computes */
    uint64_t done, total; /* bytes of the source; with `layered`, chunks of the text and layers */
    vd_awq *awq;          /* NULL: nothing is scaled */
    vd_imatrix *saved;    /* to be written; NULL: nobody wants it */
    size_t n_weighted, n_rounded; /* matrices encoded by what they read; by GPTQ */
    uint64_t n_edited, n_zeros_before, n_zeros_after;
    vd_resume *resume;    /* NULL: nothing is kept for another run */
    json_t *told;         /* what `edited` was called with, for it */
    size_t last_layer;    /* that a tensor was looked at of, and one more; 0: none */
    size_t resumed;       /* layers that another run had done */
    vd_layered_report resumed_report; /* of those */
    uint64_t saved_ns;
} vd_compress_job;

/* compress_tensor.c. Whether an entry's values change; whether its bytes stay as they are. */
bool vd_job_edits(const vd_compress_job *job, const vd_mix_entry *entry);
bool vd_job_copies(const vd_compress_job *job, const vd_mix_entry *entry);
bool vd_job_needs_weights(const vd_compress_job *job, const vd_mix_entry *entry);
/* What the largest row and the largest piece of all entries need. */
VD_NODISCARD vd_status vd_job_take_buffers(vd_compress_job *job, vd_err *err);
/* The next tensor of the new file. */
VD_NODISCARD vd_status vd_job_write(vd_compress_job *job, const vd_mix_entry *entry, vd_err *err);

enum { VD_JOB_PIECE_BYTES = 8 << 20 };

/* compress_rows.c. n_bytes more of the source are done. */
VD_NODISCARD vd_status vd_job_tell_bytes(vd_compress_job *job, const vd_gguf_tensor *tensor,
                                         size_t n_bytes, vd_err *err);
/* How many rows go through the buffer at once. The larger side counts: eight megabytes of a small
 * type are many values, and nobody is asked whether to go on before they are done. */
size_t vd_job_rows_per_piece(size_t src_bytes, size_t dst_bytes);
/* The next rows of the new file. The walk may need them, too. */
VD_NODISCARD vd_status vd_job_put_rows(vd_compress_job *job, const vd_gguf_tensor *tensor,
                                       const vd_piece *piece, vd_err *err);
/* All rows of the piece's tensor, which lie at src, through the buffer, piece by piece. */
VD_NODISCARD vd_status vd_job_convert_rows(vd_compress_job *job, const vd_gguf_tensor *tensor,
                                           vd_piece *piece, vd_err *err);
/* What AWQ does to it: NULLs where nothing. */
vd_awq_scale vd_job_scale(const vd_compress_job *job, const vd_gguf_tensor *tensor);

/* compress_matrix.c. The whole matrix in memory: edited, pruned by what it reads, encoded; what it
 * decodes to goes on to compute the layers behind it. */
VD_NODISCARD vd_status vd_job_convert_layered(vd_compress_job *job, const vd_mix_entry *entry,
                                              vd_piece *piece, vd_err *err);
/* The output matrix, which may be too large to be in memory: piece by piece, by GPTQ. */
VD_NODISCARD vd_status vd_job_convert_head(vd_compress_job *job, const vd_mix_entry *entry,
                                           const vd_piece *piece, vd_err *err);

/* compress_calib.c. What a calibration needs: the model again, to be computed; temporary files lie
 * beside target. */
VD_NODISCARD vd_status vd_job_open_layers(vd_compress_job *job, const char *source,
                                          const char *target, vd_err *err);
/* Before an entry is written: its layer's importances are saved, its scales found. */
VD_NODISCARD vd_status vd_job_enter(vd_compress_job *job, const vd_mix_entry *entry, vd_err *err);
VD_NODISCARD vd_status vd_job_write_imatrix(const vd_compress_job *job, vd_err *err);
/* Only the importance file; all entries keep their types. */
VD_NODISCARD vd_status vd_job_run_imatrix(vd_compress_job *job, const char *source,
                                          vd_compress_result *ret_result, vd_err *err);

/* compress_resume.c. Opens what an interrupted run has left, or begins to keep what is done. Only
 * where the model is computed layer by layer. */
VD_NODISCARD vd_status vd_job_keep(vd_compress_job *job, const char *target, vd_err *err);
/* What was done before comes first; behind the head. *ret_first: the tensor to go on with. */
VD_NODISCARD vd_status vd_job_go_on(vd_compress_job *job, size_t *ret_first, vd_err *err);
/* Before tensor i: where a layer is over and it has been a while, all that is done is saved. */
VD_NODISCARD vd_status vd_job_pause(vd_compress_job *job, size_t i, vd_err *err);
/* Data of the new file, kept too. */
VD_NODISCARD vd_status vd_job_put(vd_compress_job *job, const void *bytes, size_t n, vd_err *err);
/* One matrix that was edited: to the caller, and kept. */
VD_NODISCARD vd_status vd_job_tell(vd_compress_job *job, const vd_compress_edited *edited,
                                   vd_err *err);
/* What the calibration had to do, in all runs. */
vd_layered_report vd_job_report(const vd_compress_job *job);
/* Says of a run that was stopped, or could not write, what is kept of it. Returns st. */
vd_status vd_job_say_kept(const vd_compress_job *job, vd_status st, vd_err *err);
/* finished: nothing is kept any more. */
void vd_job_keep_end(vd_compress_job *job, bool finished);

#endif
