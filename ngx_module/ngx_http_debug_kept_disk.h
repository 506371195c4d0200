
/*
 * The snapshots' directory: files are written whole or not at all, listed,
 * and the oldest removed.
 *
 * A snapshot is one file, and its name says all there is to know of it:
 *
 *     group~peer~kind~milliseconds[~pid]~by.pb.gz
 *
 * with every byte but letters, digits, "_", "-", ":" and inner dots escaped
 * as %XX, so that no name of a group or a peer can leave the directory.  The
 * directory is the only index: files may be copied in and taken away.
 *
 * An incident is a folder with files of its own,
 *
 *     group~peer~incident~milliseconds~rule.incident
 *
 * and goes as a whole when it is one of too many.
 *
 * Context: worker.
 */


#ifndef _NGX_HTTP_DEBUG_KEPT_DISK_H_INCLUDED_
#define _NGX_HTTP_DEBUG_KEPT_DISK_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_kept.h"


typedef struct {
    ngx_str_t    group;
    ngx_str_t    peer;
    ngx_str_t    kind;
    uint64_t     time;      /* ms since the epoch */
    ngx_uint_t   pid;       /* 0: the peer does not tell */
    u_char       by;        /* 't'imer or 'h'and */
    off_t        size;
    ngx_str_t    name;      /* of the file */
    ngx_str_t    rule;      /* of an incident: it is a folder */
} ngx_http_debug_disk_file_t;


/* one that is being written */

typedef struct {
    ngx_http_debug_kept_conf_t  *conf;
    ngx_pool_t                  *pool;

    ngx_http_debug_disk_file_t   file;      /* as it will be */
    ngx_str_t                    folder;    /* of an incident: the file is in
                                               it, and has a name already */
    ngx_fd_t                     fd;
    u_char                      *temp;      /* its name; NULL: none is open */

    ngx_str_t                    error;     /* empty: kept */
    ngx_uint_t                   status;    /* of HTTP, with the error */
} ngx_http_debug_disk_save_t;


/* Opens a temporary file, of its owner alone; no link is followed. */
ngx_int_t ngx_http_debug_disk_open(ngx_http_debug_disk_save_t *save);

/* What was written goes, unless it has its name. */
void ngx_http_debug_disk_drop(ngx_http_debug_disk_save_t *save);

/*
 * The temporary file gets its name, after its bytes are on the disk, and so
 * gets the directory; "file" knows group, peer, kind, pid and size.
 */
ngx_int_t ngx_http_debug_disk_finish(ngx_http_debug_disk_save_t *save);

/*
 * What is too much of this peer and kind goes, and then what is too much of
 * all; not the file that was just kept.  First those from the future, whose
 * clock was wrong, then the oldest.
 */
void ngx_http_debug_disk_rotate(ngx_http_debug_disk_save_t *save);

/* It is not kept, and this is why. */
void ngx_cdecl ngx_http_debug_disk_fail(ngx_http_debug_disk_save_t *save,
    ngx_uint_t status, const char *fmt, ...);

/*
 * Makes the folder of the incident that "file" is, and gives it its name.
 * NGX_DECLINED: there is one of that name.
 */
ngx_int_t ngx_http_debug_disk_folder(ngx_http_debug_disk_save_t *save);

/* Removes the folder of an incident with all that is in it. */
void ngx_http_debug_disk_remove(ngx_http_debug_disk_save_t *save,
    ngx_str_t *folder);

/* Writes the file NAME in "folder" as a whole; it may be there already. */
ngx_int_t ngx_http_debug_disk_write(ngx_http_debug_disk_save_t *save,
    ngx_str_t *name, ngx_chain_t *in);

/*
 * WHAT was done with the file NAME, and failed with ERR: for all to know, and
 * once for the log.
 */
void ngx_http_debug_disk_error(ngx_http_debug_disk_save_t *save,
    ngx_err_t err, char *what, u_char *name);

/*
 * The files in the directory, the newest first: those that CONF lets be seen,
 * or, if that is NULL, those whose names begin with PREFIX, without their
 * sizes unless it is empty, and incidents among them; then what dead processes
 * left half written is removed too.  NULL: no memory.
 */
ngx_array_t *ngx_http_debug_disk_list(ngx_pool_t *pool,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_pprof_conf_t *conf,
    ngx_str_t *prefix);

/* The same of the incidents alone. */
ngx_array_t *ngx_http_debug_disk_incidents(ngx_pool_t *pool,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_pprof_conf_t *conf);

/*
 * The files of the incident FILE, with their sizes, in no order; each "name"
 * leads there from the directory, and "kind" is what it is called in there.
 * NULL: no memory.
 */
ngx_array_t *ngx_http_debug_disk_files(ngx_pool_t *pool,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_disk_file_t *file);

/* Opens FILE to be read, if it is what the list said. */
ngx_fd_t ngx_http_debug_disk_read(ngx_http_debug_disk_file_t *file,
    u_char *path);

/*
 * Answers with the bytes of FILE, which a list has, of the media TYPE.
 * Returns what a content handler returns.  It is in _routes.c.
 */
ngx_int_t ngx_http_debug_kept_file(ngx_http_request_t *r,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_disk_file_t *file,
    ngx_str_t *type);

/* Makes the whole name of a file in the directory, with a zero after it. */
ngx_int_t ngx_http_debug_disk_path(ngx_pool_t *pool,
    ngx_http_debug_kept_conf_t *kcf, ngx_str_t *name, u_char **path);


#endif /* _NGX_HTTP_DEBUG_KEPT_DISK_H_INCLUDED_ */
