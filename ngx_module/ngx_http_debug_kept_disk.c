
/*
 * The snapshots' directory.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_kept_disk.h"


#define NGX_HTTP_DEBUG_DISK_LOG      600000  /* ms between two complaints */
#define NGX_HTTP_DEBUG_DISK_STALE    600     /* s until a ".tmp" is a ruin */
#define NGX_HTTP_DEBUG_DISK_BLOCK    4096    /* what the smallest file takes */
#define NGX_HTTP_DEBUG_DISK_COUNT    600000  /* ms until all are counted anew */
#define NGX_HTTP_DEBUG_DISK_MANY     1000    /* files, to be seldom counted */

#ifndef NGX_FILE_NOFOLLOW
#define NGX_FILE_NOFOLLOW            0
#endif

/* what is looked for in the directory */

#define NGX_HTTP_DEBUG_DISK_FILES    1
#define NGX_HTTP_DEBUG_DISK_FOLDERS  2


#define ngx_http_debug_disk_blocks(size)                                      \
    (((size) + NGX_HTTP_DEBUG_DISK_BLOCK - 1)                                 \
     / NGX_HTTP_DEBUG_DISK_BLOCK * NGX_HTTP_DEBUG_DISK_BLOCK)


static ngx_int_t ngx_http_debug_disk_in(ngx_http_debug_disk_save_t *save,
    ngx_str_t *name, u_char **path);
static ngx_int_t ngx_http_debug_disk_sync(ngx_http_debug_disk_save_t *save);
static void ngx_http_debug_disk_space(ngx_http_debug_disk_save_t *save,
    off_t freed);
static ngx_http_debug_disk_file_t *ngx_http_debug_disk_first(
    ngx_http_debug_disk_save_t *save, ngx_array_t *list);
static void ngx_http_debug_disk_empty(ngx_http_debug_disk_save_t *save,
    ngx_http_debug_disk_file_t *file);
static off_t ngx_http_debug_disk_delete(ngx_http_debug_disk_save_t *save,
    ngx_http_debug_disk_file_t *file);
static ngx_array_t *ngx_http_debug_disk_read_dir(ngx_pool_t *pool,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_pprof_conf_t *conf,
    ngx_str_t *prefix, ngx_uint_t what);
static off_t ngx_http_debug_disk_size(ngx_pool_t *pool,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_disk_file_t *file);
static ngx_int_t ngx_http_debug_disk_parse(ngx_pool_t *pool, ngx_str_t *name,
    ngx_http_debug_disk_file_t *file);
static u_char *ngx_http_debug_disk_escape(u_char *p, ngx_str_t *s);
static int ngx_libc_cdecl ngx_http_debug_disk_newer(const void *one,
    const void *two);


ngx_int_t
ngx_http_debug_disk_open(ngx_http_debug_disk_save_t *save)
{
    u_char     *path, text[64];
    ngx_str_t   name;

    static ngx_uint_t  serial;

    name.data = text;
    name.len = ngx_sprintf(text, ".tmp-%P-%ui", ngx_pid, serial++) - text;

    if (ngx_http_debug_disk_in(save, &name, &path) != NGX_OK) {
        ngx_http_debug_disk_fail(save, NGX_HTTP_SERVICE_UNAVAILABLE,
                                 "nginx lacks memory");
        return NGX_ERROR;
    }

    /* of another process with this pid, long ago */

    (void) ngx_delete_file(path);

    /* O_EXCL: what is there in spite of that, a link too, is an error */

    save->fd = ngx_open_tempfile(path, 1, 0600);

    if (save->fd == NGX_INVALID_FILE) {
        ngx_http_debug_disk_error(save, ngx_errno, "open", path);
        return NGX_ERROR;
    }

    save->temp = path;

    return NGX_OK;
}


/* The whole name of the file NAME, which is in the folder if there is one. */

static ngx_int_t
ngx_http_debug_disk_in(ngx_http_debug_disk_save_t *save, ngx_str_t *name,
    u_char **path)
{
    ngx_str_t  s;

    if (save->folder.len == 0) {
        return ngx_http_debug_disk_path(save->pool, save->conf, name, path);
    }

    s.data = ngx_pnalloc(save->pool, save->folder.len + 1 + name->len);
    if (s.data == NULL) {
        return NGX_ERROR;
    }

    s.len = ngx_sprintf(s.data, "%V/%V", &save->folder, name) - s.data;

    return ngx_http_debug_disk_path(save->pool, save->conf, &s, path);
}


ngx_int_t
ngx_http_debug_disk_folder(ngx_http_debug_disk_save_t *save)
{
    u_char                      *p, *path;
    ngx_http_debug_disk_file_t  *file;

    file = &save->file;

    p = ngx_pnalloc(save->pool, 3 * (file->group.len + file->peer.len
                                     + file->rule.len)
                                + NGX_INT64_LEN
                                + sizeof("~~incident~~.incident"));
    if (p == NULL) {
        goto failed;
    }

    file->name.data = p;

    p = ngx_http_debug_disk_escape(p, &file->group);
    *p++ = '~';
    p = ngx_http_debug_disk_escape(p, &file->peer);
    p = ngx_sprintf(p, "~incident~%uL~", file->time);
    p = ngx_http_debug_disk_escape(p, &file->rule);
    p = ngx_cpymem(p, ".incident", sizeof(".incident") - 1);

    file->name.len = p - file->name.data;

    if (ngx_http_debug_disk_path(save->pool, save->conf, &file->name, &path)
        != NGX_OK)
    {
        goto failed;
    }

    if (ngx_create_dir(path, 0700) == NGX_FILE_ERROR) {

        if (ngx_errno == NGX_EEXIST) {
            return NGX_DECLINED;
        }

        ngx_http_debug_disk_error(save, ngx_errno, "mkdir", path);
        return NGX_ERROR;
    }

    if (ngx_http_debug_disk_sync(save) != NGX_OK) {
        return NGX_ERROR;
    }

    save->folder = file->name;

    return NGX_OK;

failed:

    ngx_http_debug_disk_fail(save, NGX_HTTP_SERVICE_UNAVAILABLE,
                             "nginx lacks memory");
    return NGX_ERROR;
}


ngx_int_t
ngx_http_debug_disk_write(ngx_http_debug_disk_save_t *save, ngx_str_t *name,
    ngx_chain_t *in)
{
    size_t   size;
    ssize_t  n;

    if (ngx_http_debug_disk_open(save) != NGX_OK) {
        return NGX_ERROR;
    }

    save->file.name = *name;

    for ( /* void */ ; in; in = in->next) {

        size = in->buf->last - in->buf->pos;
        n = size ? ngx_write_fd(save->fd, in->buf->pos, size) : 0;

        if (n != (ssize_t) size) {
            ngx_http_debug_disk_error(save, n == -1 ? ngx_errno : NGX_ENOSPC,
                                      "write to", save->temp);
            goto failed;
        }

        save->file.size += size;
    }

    if (ngx_http_debug_disk_finish(save) == NGX_OK) {
        return NGX_OK;
    }

failed:

    ngx_http_debug_disk_drop(save);

    return NGX_ERROR;
}


void
ngx_http_debug_disk_drop(ngx_http_debug_disk_save_t *save)
{
    if (save->fd != NGX_INVALID_FILE) {
        (void) ngx_close_file(save->fd);
        save->fd = NGX_INVALID_FILE;
    }

    if (save->temp != NULL) {
        (void) ngx_delete_file(save->temp);
        save->temp = NULL;
    }
}


/* The temporary file gets its name. */

ngx_int_t
ngx_http_debug_disk_finish(ngx_http_debug_disk_save_t *save)
{
    u_char                        *p, *path;
    ngx_fd_t                       fd;
    ngx_time_t                    *tp;
    ngx_http_debug_disk_file_t    *file;
    ngx_http_debug_kept_shared_t  *sh;

    /* a file that has its name is whole, whatever happens to the machine */

    if (fsync(save->fd) == -1) {
        ngx_http_debug_disk_error(save, ngx_errno, "fsync", save->temp);
        return NGX_ERROR;
    }

    fd = save->fd;
    save->fd = NGX_INVALID_FILE;

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_http_debug_disk_error(save, ngx_errno, "close", save->temp);
        return NGX_ERROR;
    }

    file = &save->file;
    path = NULL;

    if (save->folder.len) {
        (void) ngx_http_debug_disk_in(save, &file->name, &path);
        goto named;
    }

    tp = ngx_timeofday();
    file->time = (uint64_t) tp->sec * 1000 + tp->msec;

    p = ngx_pnalloc(save->pool, 3 * (file->group.len + file->peer.len
                                    + file->kind.len)
                               + 2 * NGX_INT64_LEN + sizeof("~~~~~t.pb.gz"));

    if (p != NULL) {
        file->name.data = p;
        p = ngx_http_debug_disk_escape(p, &file->group);
        *p++ = '~';
        p = ngx_http_debug_disk_escape(p, &file->peer);
        *p++ = '~';
        p = ngx_http_debug_disk_escape(p, &file->kind);
        p = ngx_sprintf(p, "~%uL", file->time);

        if (file->pid) {
            p = ngx_sprintf(p, "~%ui", file->pid);
        }

        p = ngx_sprintf(p, "~%c.pb.gz", file->by);
        file->name.len = p - file->name.data;

        (void) ngx_http_debug_disk_path(save->pool, save->conf, &file->name,
                                        &path);
    }

named:

    if (path == NULL) {
        ngx_http_debug_disk_fail(save, NGX_HTTP_SERVICE_UNAVAILABLE,
                                 "nginx lacks memory");
        return NGX_ERROR;
    }

    if (ngx_rename_file(save->temp, path) == NGX_FILE_ERROR) {
        ngx_http_debug_disk_error(save, ngx_errno, "rename to", path);
        return NGX_ERROR;
    }

    save->temp = NULL;

    if (ngx_http_debug_disk_sync(save) != NGX_OK) {
        return NGX_ERROR;
    }

    sh = save->conf->zone->data;

    ngx_http_debug_kept_lock(save->conf);

    if (sh->error_len) {
        sh->error_len = 0;
        sh->logged = 0;
    }

    ngx_http_debug_kept_unlock(save->conf);

    return NGX_OK;
}


/* A file cannot be written: for all to know, and once for the log. */

void
ngx_http_debug_disk_error(ngx_http_debug_disk_save_t *save, ngx_err_t err,
    char *what, u_char *name)
{
    u_char                        *p, text[128];
    ngx_str_t                      reason;
    ngx_uint_t                     say;
    ngx_http_debug_kept_shared_t  *sh;

    p = ngx_strerror(err, text, sizeof(text));

    reason.len = p - text;
    reason.data = text;

    ngx_http_debug_disk_fail(save, NGX_HTTP_INSUFFICIENT_STORAGE,
                             "%s \"%s\" failed (%d: %V)", what, name, err,
                             &reason);

    sh = save->conf->zone->data;

    ngx_http_debug_kept_lock(save->conf);

    say = sh->error_len == 0
          || (ngx_msec_int_t) (ngx_current_msec - sh->logged)
             >= NGX_HTTP_DEBUG_DISK_LOG;

    if (say) {
        sh->logged = ngx_current_msec;
    }

    sh->error_len = ngx_min(save->error.len, NGX_HTTP_DEBUG_KEPT_ERROR);
    ngx_memcpy(sh->error, save->error.data, sh->error_len);

    ngx_http_debug_kept_unlock(save->conf);

    if (say) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "no snapshots can be kept: %V", &save->error);
    }
}


/* The directory, so that the name is on the disk too. */

static ngx_int_t
ngx_http_debug_disk_sync(ngx_http_debug_disk_save_t *save)
{
    u_char    *path;
    ngx_fd_t   fd;
    ngx_err_t  err;

    path = save->conf->path->name.data;
    err = 0;

    if (save->folder.len
        && ngx_http_debug_disk_path(save->pool, save->conf, &save->folder,
                                    &path)
           != NGX_OK)
    {
        ngx_http_debug_disk_fail(save, NGX_HTTP_SERVICE_UNAVAILABLE,
                                 "nginx lacks memory");
        return NGX_ERROR;
    }

    fd = ngx_open_file(path, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        err = ngx_errno;

    } else {
        if (fsync(fd) == -1) {
            err = ngx_errno;
        }

        (void) ngx_close_file(fd);
    }

    /* file systems that cannot do it say so */

    if (err == 0 || err == NGX_EINVAL) {
        return NGX_OK;
    }

    ngx_http_debug_disk_error(save, err, "fsync", path);

    return NGX_ERROR;
}


ngx_fd_t
ngx_http_debug_disk_read(ngx_http_debug_disk_file_t *file, u_char *path)
{
    ngx_fd_t         fd;
    ngx_file_info_t  fi;

    fd = ngx_open_file(path, NGX_FILE_RDONLY|NGX_FILE_NONBLOCK
                             |NGX_FILE_NOFOLLOW,
                       NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        return fd;
    }

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR
        || !ngx_is_file(&fi)
        || ngx_file_size(&fi) != file->size)
    {
        (void) ngx_close_file(fd);
        return NGX_INVALID_FILE;
    }

    return fd;
}


void
ngx_http_debug_disk_rotate(ngx_http_debug_disk_save_t *save)
{
    off_t                        freed;
    u_char                      *p;
    ngx_str_t                    prefix;
    ngx_uint_t                   n;
    ngx_array_t                 *list;
    ngx_http_debug_disk_file_t  *file;

    /* "group~peer~kind~" */

    prefix = save->file.name;

    for (n = 0, p = prefix.data; n < 3; p++) {
        if (*p == '~') {
            n++;
        }
    }

    prefix.len = p - prefix.data;

    list = ngx_http_debug_disk_list(save->pool, save->conf, NULL, &prefix);
    if (list == NULL) {
        return;
    }

    freed = 0;

    while (list->nelts > save->conf->keep) {

        file = ngx_http_debug_disk_first(save, list);
        if (file == NULL) {
            break;
        }

        freed += ngx_http_debug_disk_delete(save, file);
    }

    ngx_http_debug_disk_space(save, freed);
}


/*
 * Names change, with the pid of a peer or its address, so "keep" alone bounds
 * nothing.  All files are counted once, and then only from time to time, or
 * when it seems to be too much.
 */

static void
ngx_http_debug_disk_space(ngx_http_debug_disk_save_t *save, off_t freed)
{
    off_t                          used, goal;
    uint32_t                       path;
    ngx_str_t                      all;
    ngx_uint_t                     i, known;
    ngx_array_t                   *list;
    ngx_http_debug_kept_conf_t    *kcf;
    ngx_http_debug_disk_file_t    *file;
    ngx_http_debug_kept_shared_t  *sh;

    kcf = save->conf;
    sh = kcf->zone->data;
    path = ngx_crc32_long(kcf->path->name.data, kcf->path->name.len) | 1;

    ngx_http_debug_kept_lock(kcf);

    sh->used += ngx_http_debug_disk_blocks(save->file.size) - freed;

    known = sh->path == path
            && sh->used <= kcf->space
            && ngx_current_msec - sh->counted < NGX_HTTP_DEBUG_DISK_COUNT;

    ngx_http_debug_kept_unlock(kcf);

    if (known) {
        return;
    }

    ngx_str_set(&all, "");

    list = ngx_http_debug_disk_list(save->pool, kcf, NULL, &all);
    if (list == NULL) {
        return;
    }

    used = 0;
    file = list->elts;

    for (i = 0; i < list->nelts; i++) {
        used += ngx_http_debug_disk_blocks(file[i].size);
    }

    if (used > kcf->space) {

        /* many take a while to count: some room for those to come */

        goal = (list->nelts > NGX_HTTP_DEBUG_DISK_MANY)
               ? kcf->space - kcf->space / 8 : kcf->space;

        while (used > goal) {

            file = ngx_http_debug_disk_first(save, list);
            if (file == NULL) {
                break;
            }

            used -= ngx_http_debug_disk_delete(save, file);
        }
    }

    ngx_http_debug_kept_lock(kcf);

    sh->path = path;
    sh->used = used;
    sh->counted = ngx_current_msec;

    ngx_http_debug_kept_unlock(kcf);
}


/* Takes off LIST the file that is to go first.  NULL: none may go. */

static ngx_http_debug_disk_file_t *
ngx_http_debug_disk_first(ngx_http_debug_disk_save_t *save, ngx_array_t *list)
{
    ngx_http_debug_disk_file_t  *file, *last, swap;

    if (list->nelts == 0) {
        return NULL;
    }

    file = list->elts;

    if (file->time > save->file.time) {
        list->elts = file + 1;
        list->nelts--;

        return file;
    }

    last = file + list->nelts - 1;

    if (ngx_http_debug_kept_is(&last->name, save->file.name.data,
                               save->file.name.len))
    {
        if (list->nelts == 1) {
            return NULL;
        }

        swap = *last;
        *last = last[-1];
        last[-1] = swap;
    }

    list->nelts--;

    return last;
}


/* Returns what that frees, 0 if it cannot be done. */

static off_t
ngx_http_debug_disk_delete(ngx_http_debug_disk_save_t *save,
    ngx_http_debug_disk_file_t *file)
{
    off_t             size;
    u_char           *path;
    ngx_file_info_t   fi;

    if (ngx_http_debug_disk_path(save->pool, save->conf, &file->name, &path)
        != NGX_OK
        || ngx_link_info(path, &fi) == NGX_FILE_ERROR)
    {
        return 0;
    }

    if (file->rule.len) {

        if (!ngx_is_dir(&fi)) {
            return 0;
        }

        size = file->size ? file->size
                          : ngx_http_debug_disk_size(save->pool, save->conf,
                                                     file);
        ngx_http_debug_disk_empty(save, file);

        if (ngx_delete_dir(path) == NGX_FILE_ERROR) {
            ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, ngx_errno,
                          ngx_delete_dir_n " \"%s\" failed", path);
            return 0;
        }

        return size;
    }

    if (ngx_is_dir(&fi)) {
        return 0;
    }

    if (ngx_delete_file(path) == NGX_FILE_ERROR) {

        if (ngx_errno != NGX_ENOENT) {
            ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, ngx_errno,
                          ngx_delete_file_n " \"%s\" failed", path);
        }

        return 0;
    }

    return ngx_http_debug_disk_blocks(ngx_file_size(&fi));
}


void
ngx_http_debug_disk_remove(ngx_http_debug_disk_save_t *save,
    ngx_str_t *folder)
{
    ngx_http_debug_disk_file_t  file;

    file = save->file;
    file.name = *folder;
    file.size = 0;

    (void) ngx_http_debug_disk_delete(save, &file);
}


/* What is in the folder of an incident, whatever it is, goes. */

static void
ngx_http_debug_disk_empty(ngx_http_debug_disk_save_t *save,
    ngx_http_debug_disk_file_t *file)
{
    u_char     *path;
    ngx_dir_t   dir;
    ngx_str_t   name, s;

    if (ngx_http_debug_disk_path(save->pool, save->conf, &file->name, &path)
        != NGX_OK)
    {
        return;
    }

    s.len = ngx_strlen(path);
    s.data = path;

    if (ngx_open_dir(&s, &dir) == NGX_ERROR) {
        return;
    }

    while (ngx_read_dir(&dir) == NGX_OK) {

        name.len = ngx_de_namelen(&dir);
        name.data = ngx_de_name(&dir);

        if (name.data[0] == '.'
            && (name.len == 1 || (name.len == 2 && name.data[1] == '.')))
        {
            continue;
        }

        s.data = ngx_pnalloc(save->pool, file->name.len + 1 + name.len);
        if (s.data == NULL) {
            break;
        }

        s.len = ngx_sprintf(s.data, "%V/%V", &file->name, &name) - s.data;

        if (ngx_http_debug_disk_path(save->pool, save->conf, &s, &path)
            == NGX_OK)
        {
            (void) ngx_delete_file(path);
        }
    }

    (void) ngx_close_dir(&dir);
}


/* What the files of an incident take, in whole blocks. */

static off_t
ngx_http_debug_disk_size(ngx_pool_t *pool, ngx_http_debug_kept_conf_t *kcf,
    ngx_http_debug_disk_file_t *file)
{
    off_t                        size;
    ngx_uint_t                   i;
    ngx_array_t                 *files;
    ngx_http_debug_disk_file_t  *f;

    files = ngx_http_debug_disk_files(pool, kcf, file);
    if (files == NULL) {
        return 0;
    }

    f = files->elts;
    size = NGX_HTTP_DEBUG_DISK_BLOCK;

    for (i = 0; i < files->nelts; i++) {
        size += ngx_http_debug_disk_blocks(f[i].size);
    }

    return size;
}


ngx_array_t *
ngx_http_debug_disk_files(ngx_pool_t *pool, ngx_http_debug_kept_conf_t *kcf,
    ngx_http_debug_disk_file_t *file)
{
    u_char                      *path, *p;
    ngx_dir_t                    dir;
    ngx_str_t                    name, s;
    ngx_array_t                 *list;
    ngx_file_info_t              fi;
    ngx_http_debug_disk_file_t  *f;

    list = ngx_array_create(pool, 16, sizeof(ngx_http_debug_disk_file_t));

    if (list == NULL
        || ngx_http_debug_disk_path(pool, kcf, &file->name, &path) != NGX_OK)
    {
        return NULL;
    }

    s.len = ngx_strlen(path);
    s.data = path;

    if (ngx_link_info(path, &fi) == NGX_FILE_ERROR
        || !ngx_is_dir(&fi)
        || ngx_open_dir(&s, &dir) == NGX_ERROR)
    {
        return list;
    }

    while (ngx_read_dir(&dir) == NGX_OK) {

        name.len = ngx_de_namelen(&dir);
        name.data = ngx_de_name(&dir);

        if (name.data[0] == '.') {
            continue;
        }

        p = ngx_pnalloc(pool, file->name.len + 1 + name.len);
        if (p == NULL) {
            goto failed;
        }

        s.data = p;
        s.len = ngx_sprintf(p, "%V/%V", &file->name, &name) - p;

        if (ngx_http_debug_disk_path(pool, kcf, &s, &path) != NGX_OK) {
            goto failed;
        }

        if (ngx_link_info(path, &fi) == NGX_FILE_ERROR || !ngx_is_file(&fi)) {
            continue;
        }

        f = ngx_array_push(list);
        if (f == NULL) {
            goto failed;
        }

        *f = *file;
        f->name = s;
        f->kind.len = name.len;
        f->kind.data = s.data + file->name.len + 1;
        f->size = ngx_file_size(&fi);
    }

    (void) ngx_close_dir(&dir);

    return list;

failed:

    (void) ngx_close_dir(&dir);

    return NULL;
}


/*
 * The files in the directory, the newest first: those that CONF lets be seen,
 * or, if that is NULL, those whose names begin with PREFIX, without their
 * sizes unless it is empty, and incidents among them; then what dead processes
 * left half written is removed too.  NULL: no memory.
 */

ngx_array_t *
ngx_http_debug_disk_list(ngx_pool_t *pool, ngx_http_debug_kept_conf_t *kcf,
    ngx_http_debug_pprof_conf_t *conf, ngx_str_t *prefix)
{
    return ngx_http_debug_disk_read_dir(pool, kcf, conf, prefix,
                                        conf ? NGX_HTTP_DEBUG_DISK_FILES
                                             : NGX_HTTP_DEBUG_DISK_FILES
                                               |NGX_HTTP_DEBUG_DISK_FOLDERS);
}


ngx_array_t *
ngx_http_debug_disk_incidents(ngx_pool_t *pool,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_pprof_conf_t *conf)
{
    return ngx_http_debug_disk_read_dir(pool, kcf, conf, NULL,
                                        NGX_HTTP_DEBUG_DISK_FOLDERS);
}


static ngx_array_t *
ngx_http_debug_disk_read_dir(ngx_pool_t *pool,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_pprof_conf_t *conf,
    ngx_str_t *prefix, ngx_uint_t what)
{
    u_char                      *path;
    ngx_dir_t                    dir;
    ngx_str_t                    name, zero;
    ngx_array_t                 *list;
    ngx_file_info_t              fi;
    ngx_http_debug_disk_file_t  *file, f;

    list = ngx_array_create(pool, 64, sizeof(ngx_http_debug_disk_file_t));
    if (list == NULL) {
        return NULL;
    }

    zero.len = kcf->path->name.len;
    zero.data = kcf->path->name.data;

    if (ngx_open_dir(&zero, &dir) == NGX_ERROR) {

        /* the next snapshot will say it */

        return list;
    }

    while (ngx_read_dir(&dir) == NGX_OK) {

        name.len = ngx_de_namelen(&dir);
        name.data = ngx_de_name(&dir);

        if (name.len > 5 && ngx_strncmp(name.data, ".tmp-", 5) == 0) {

            if (conf == NULL
                && ngx_http_debug_disk_path(pool, kcf, &name, &path) == NGX_OK
                && ngx_link_info(path, &fi) != NGX_FILE_ERROR
                && ngx_file_mtime(&fi) + NGX_HTTP_DEBUG_DISK_STALE
                   < ngx_time())
            {
                (void) ngx_delete_file(path);
            }

            continue;
        }

        if (conf == NULL
            && (name.len <= prefix->len
                || ngx_strncmp(name.data, prefix->data, prefix->len) != 0))
        {
            continue;
        }

        if (ngx_http_debug_disk_parse(pool, &name, &f) != NGX_OK
            || !(what & (f.rule.len ? NGX_HTTP_DEBUG_DISK_FOLDERS
                                    : NGX_HTTP_DEBUG_DISK_FILES)))
        {
            continue;
        }

        /* a name alone is no snapshot: it would take a place of keep= */

        if (dir.type && !ngx_de_is_dir(&dir) != !f.rule.len) {
            continue;
        }

        if (conf != NULL
            && (!ngx_http_debug_kept_sees(conf, &f.group)
                || (f.rule.len == 0
                    && !ngx_http_debug_kept_lets(conf, &f.kind))))
        {
            continue;
        }

        if (conf != NULL || prefix->len == 0) {

            if (ngx_http_debug_disk_path(pool, kcf, &f.name, &path) != NGX_OK)
            {
                goto failed;
            }

            if (ngx_link_info(path, &fi) == NGX_FILE_ERROR
                || !(f.rule.len ? ngx_is_dir(&fi) : ngx_is_file(&fi)))
            {
                continue;
            }

            f.size = f.rule.len ? ngx_http_debug_disk_size(pool, kcf, &f)
                                : ngx_file_size(&fi);
        }

        file = ngx_array_push(list);
        if (file == NULL) {
            goto failed;
        }

        *file = f;
    }

    (void) ngx_close_dir(&dir);

    ngx_qsort(list->elts, list->nelts, sizeof(ngx_http_debug_disk_file_t),
              ngx_http_debug_disk_newer);

    return list;

failed:

    (void) ngx_close_dir(&dir);

    return NULL;
}


/* NGX_OK; NGX_DECLINED: it is none of ours; NGX_ERROR. */

static ngx_int_t
ngx_http_debug_disk_parse(ngx_pool_t *pool, ngx_str_t *name,
    ngx_http_debug_disk_file_t *file)
{
    off_t        time;
    u_char      *p, *last, *dst, *data;
    ngx_int_t    n, pid;
    ngx_str_t    part[6], tail;
    ngx_uint_t   i, incident;

    static ngx_str_t  tails[] = {
        ngx_string(".pb.gz"),
        ngx_string(".incident")
    };

    for (incident = 0; /* void */ ; incident++) {

        if (incident == 2) {
            return NGX_DECLINED;
        }

        tail = tails[incident];

        if (name->len > tail.len
            && ngx_strncmp(name->data + name->len - tail.len, tail.data,
                           tail.len)
               == 0)
        {
            break;
        }
    }

    ngx_memzero(file, sizeof(ngx_http_debug_disk_file_t));

    data = ngx_pnalloc(pool, 2 * name->len + 1);
    if (data == NULL) {
        return NGX_ERROR;
    }

    file->name.len = name->len;
    file->name.data = data;

    p = ngx_cpymem(data, name->data, name->len);
    *p++ = '\0';
    dst = p;

    p = data;
    last = data + name->len - tail.len;

    i = 0;
    part[0].data = dst;

    for ( /* void */ ; p < last; p++) {

        if (*p == '~') {
            part[i].len = dst - part[i].data;

            if (part[i].len == 0 || ++i == 6) {
                return NGX_DECLINED;
            }

            part[i].data = dst;
            continue;
        }

        if (*p == '%') {

            if (last - p < 3) {
                return NGX_DECLINED;
            }

            n = ngx_hextoi(p + 1, 2);

            if (n == NGX_ERROR) {
                return NGX_DECLINED;
            }

            *dst++ = (u_char) n;
            p += 2;
            continue;
        }

        *dst++ = *p;
    }

    part[i].len = dst - part[i].data;

    if (incident) {
        time = (i == 4 && part[4].len)
               ? ngx_atoof(part[3].data, part[3].len) : NGX_ERROR;

        if (time == NGX_ERROR) {
            return NGX_DECLINED;
        }

        file->group = part[0];
        file->peer = part[1];
        file->kind = part[2];
        file->time = time;
        file->rule = part[4];

        return NGX_OK;
    }

    /* whose process is not known has no pid */

    if (i < 4 || part[i].len != 1) {
        return NGX_DECLINED;
    }

    time = ngx_atoof(part[3].data, part[3].len);
    pid = (i == 5) ? ngx_atoi(part[4].data, part[4].len) : 0;

    if (time == NGX_ERROR || pid == NGX_ERROR) {
        return NGX_DECLINED;
    }

    file->group = part[0];
    file->peer = part[1];
    file->kind = part[2];
    file->time = time;
    file->pid = pid;
    file->by = part[i].data[0];

    return NGX_OK;
}


static u_char *
ngx_http_debug_disk_escape(u_char *p, ngx_str_t *s)
{
    u_char  ch;
    size_t  i;

    for (i = 0; i < s->len; i++) {
        ch = s->data[i];

        if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')
            || (ch >= '0' && ch <= '9')
            || ch == '_' || ch == '-' || ch == ':'
            || (ch == '.' && i != 0))
        {
            *p++ = ch;

        } else {
            p = ngx_sprintf(p, "%%%02Xi", (ngx_uint_t) ch);
        }
    }

    return p;
}


/* Makes the whole name of a file in the directory, with a zero after it. */

ngx_int_t
ngx_http_debug_disk_path(ngx_pool_t *pool, ngx_http_debug_kept_conf_t *kcf,
    ngx_str_t *name, u_char **path)
{
    *path = ngx_pnalloc(pool, kcf->path->name.len + 1 + name->len + 1);
    if (*path == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_sprintf(*path, "%V/%V%Z", &kcf->path->name, name);

    return NGX_OK;
}


static int ngx_libc_cdecl
ngx_http_debug_disk_newer(const void *one, const void *two)
{
    const ngx_http_debug_disk_file_t  *a = one;
    const ngx_http_debug_disk_file_t  *b = two;

    if (a->time != b->time) {
        return a->time < b->time ? 1 : -1;
    }

    return ngx_memn2cmp(a->name.data, b->name.data, a->name.len, b->name.len);
}


void ngx_cdecl
ngx_http_debug_disk_fail(ngx_http_debug_disk_save_t *save, ngx_uint_t status,
    const char *fmt, ...)
{
    u_char   *p, text[NGX_HTTP_DEBUG_KEPT_ERROR];
    va_list   args;

    va_start(args, fmt);
    p = ngx_vslprintf(text, text + sizeof(text), fmt, args);
    va_end(args);

    save->status = status;
    save->error.data = ngx_pnalloc(save->pool, p - text);

    if (save->error.data == NULL) {
        ngx_str_set(&save->error, "nginx lacks memory");
        return;
    }

    save->error.len = p - text;
    ngx_memcpy(save->error.data, text, p - text);
}
