#include "front/request.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kinds/env.h"
#include "kinds/life.h"


_Atomic unsigned  pprof_request_unserved;


int
pprof_policy_init(struct pprof_policy *p, const struct pprof_options *options)
{
    static const char *const cmdlines[] = { "argv0", "full", "off" };
    const char *cmdline = NULL;

    p->max_seconds = PPROF_SECONDS_MAX;
    p->charts = NULL;
    p->target = pprof_target_self();
    p->cmdline = cmdlines[0];

    if (options != NULL) {
        if (options->size < sizeof(struct pprof_options)) {
            errno = EINVAL;
            return -1;
        }

        if (options->max_seconds != 0) {
            p->max_seconds = options->max_seconds;
        }

        cmdline = options->cmdline;
    }

    const bool is_option = cmdline != NULL;

    if (!is_option) {
        cmdline = pprof_env_get("PPROF_CMDLINE");
    }

    if (cmdline == NULL || *cmdline == '\0') {
        return 0;
    }

    for (size_t i = 0; i < sizeof(cmdlines) / sizeof(cmdlines[0]); i++) {
        if (strcmp(cmdline, cmdlines[i]) == 0) {
            p->cmdline = cmdlines[i];
            return 0;
        }
    }

    if (is_option) {
        errno = EINVAL;
        return -1;
    }

    /* a word of the environment that is not understood shows nothing */
    p->cmdline = "off";

    return 0;
}


static int
hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
         : -1;
}


/* Reads the two digits after a '%'.  Returns the byte, or -1. */
static int
decode_escape(const char *p)
{
    const int high = hex_digit(p[0]);

    if (high == -1) {
        return -1;
    }

    const int low = hex_digit(p[1]);

    return low == -1 ? -1 : high << 4 | low;
}


int
pprof_path_normalize(const char *path, char *out, size_t size)
{
    size_t len = 0;

    if (*path != '/') {
        return -1;
    }

    while (*path != '\0') {
        int c = (unsigned char) *path++;

        if (c == '%') {
            c = decode_escape(path);

            if (c <= 0) {
                return -1;
            }

            path += 2;
        }

        if (c == '/' && len > 0) {
            /* what a segment means is known when it ends */
            if (out[len - 1] == '/') {
                continue;
            }

            if (len >= 2 && memcmp(out + len - 2, "/.", 2) == 0) {
                len--;
                continue;
            }

            if (len >= 3 && memcmp(out + len - 3, "/..", 3) == 0) {
                len -= 3;

                if (len == 0) {
                    return -1;
                }

                while (out[len - 1] != '/') {
                    len--;
                }

                continue;
            }
        }

        if (len + 1 >= size) {
            return -1;
        }

        out[len++] = (char) c;
    }

    /* "/.." and "/." at the very end count as if a slash followed */
    if (len >= 3 && memcmp(out + len - 3, "/..", 3) == 0) {
        len -= 3;

        if (len == 0) {
            return -1;
        }

        while (out[len - 1] != '/') {
            len--;
        }

    } else if (len >= 2 && memcmp(out + len - 2, "/.", 2) == 0) {
        len--;
    }

    out[len] = '\0';

    return 0;
}


int
pprof_query_get(const char *query, const char *key, char *out, size_t size)
{
    const size_t key_len = strlen(key);
    const char *p = query;

    while (p != NULL && *p != '\0') {
        const size_t len = strcspn(p, "&");

        if (len >= key_len && memcmp(p, key, key_len) == 0
            && (len == key_len || p[key_len] == '='))
        {
            const char *const end = p + len;
            size_t n = 0;

            p += key_len + (len > key_len);

            while (p < end && n + 1 < size) {
                int c = *p++;

                if (c == '+') {
                    c = ' ';

                } else if (c == '%' && end - p >= 2
                           && decode_escape(p) != -1)
                {
                    c = decode_escape(p);
                    p += 2;
                }

                out[n++] = (char) c;
            }

            out[n] = '\0';

            return 1;
        }

        p += len + (p[len] == '&');
    }

    return 0;
}


int
pprof_int_parse(const char *text, long long *n)
{
    const char *p = text + (*text == '-' || *text == '+');
    char *end;

    /* strtoll() takes spaces in front, ParseInt() does not */
    if (*p < '0' || *p > '9') {
        return -1;
    }

    errno = 0;
    *n = strtoll(text, &end, 10);

    return *end != '\0' ? -1 : errno == ERANGE ? -2 : 0;
}


/*
 * Reads `seconds` and `debug` as Go's net/http/pprof does, but for a number
 * that is too large, which there overflows.  Returns 0, or -1 when the answer
 * has been given.
 */
static int
parse_window(struct pprof_job *job, const struct pprof_policy *policy,
    const char *query)
{
    const unsigned flags = job->kind->flags;
    struct pprof_answer *a = &job->answer;
    char text[128] = "";
    long long n = 0;
    int rc = -1;

    if (flags & PPROF_KIND_PLAIN) {
        return 0;
    }

    if (pprof_query_get(query, "debug", text, sizeof(text))
        && pprof_int_parse(text, &n) == 0 && n > 0)
    {
        job->ask.debug = n > 2 ? 2 : (int) n;
    }

    text[0] = '\0';
    pprof_query_get(query, "seconds", text, sizeof(text));

    if (text[0] != '\0') {
        rc = pprof_int_parse(text, &n);
    }

    const bool valid = rc == 0 && n > 0;
    const bool too_long = (rc == -2 || valid) && n > policy->max_seconds;

    if (flags & PPROF_KIND_WINDOW) {
        job->ask.seconds = PPROF_SECONDS_DEFAULT;

    } else if (text[0] == '\0') {
        return 0;

    } else if (!valid && !too_long) {
        pprof_answer_error(a, 400, "invalid value for \"seconds\" - must be a "
                           "positive integer");
        return -1;

    } else if (!(flags & PPROF_KIND_DELTA)) {
        pprof_answer_error(a, 400, "\"seconds\" parameter is not supported for "
                           "this profile type");
        return -1;

    } else if (job->ask.debug != 0) {
        pprof_answer_error(a, 400, "seconds and debug params are "
                           "incompatible");
        return -1;
    }

    if (too_long) {
        pprof_answer_error(a, 400, "profile duration exceeds the program's "
                           "limit; ask for at most %u seconds",
                           policy->max_seconds);
        return -1;
    }

    if (valid) {
        job->ask.seconds = (unsigned) n;
    }

    return 0;
}


static bool
is_set(const char *query, const char *key)
{
    char text[8];
    long long n;

    return pprof_query_get(query, key, text, sizeof(text))
           && pprof_int_parse(text, &n) == 0 && n > 0;
}


/* "thread,route".  Returns 0, or -1 when one of them is unknown. */
static int
parse_labels(const char *text, unsigned *labels)
{
    static const char *const names[] = { "thread", "object", "route" };
    const size_t n = sizeof(names) / sizeof(names[0]);

    for (/* void */; *text != '\0'; text += *text == ',') {
        const size_t len = strcspn(text, ",");
        size_t i = 0;

        while (i < n && (strlen(names[i]) != len
                         || memcmp(text, names[i], len) != 0))
        {
            i++;
        }

        if (i == n) {
            return -1;
        }

        *labels |= 1u << i;
        text += len;
    }

    return 0;
}


/*
 * "id=0000beef" and "route=/a": the threads at those requests.  Returns 0, or
 * -1 when the answer has been given.
 */
static int
parse_requests(struct pprof_job *job, const char *query)
{
    struct pprof_ask *ask = &job->ask;
    char text[16], *end;

    (void) pprof_query_get(query, "route", ask->route, sizeof(ask->route));

    if (pprof_query_get(query, "id", text, sizeof(text))) {
        ask->by_id = true;
        ask->id = (uint32_t) strtoul(text, &end, 16);

        if (strspn(text, "0123456789abcdefABCDEF") != 8 || *end != '\0') {
            pprof_answer_error(&job->answer, 400, "invalid value for \"id\" - "
                               "must be the eight digits of a request's mark");
            return -1;
        }
    }

    if ((ask->by_id || ask->route[0] != '\0')
        && (strcmp(job->kind->name, "goroutine") != 0
            || !is_set(query, "debug") || is_set(query, "seconds")))
    {
        pprof_answer_error(&job->answer, 400, "threads are told by request in "
                           "goroutine?debug=2&id= and &route= alone");
        return -1;
    }

    return 0;
}


/*
 * Reads what only profiles know, and Go's do not.  Returns 0, or -1 when the
 * answer has been given.
 */
static int
parse_extras(struct pprof_job *job, const char *query)
{
    struct pprof_ask *ask = &job->ask;
    char text[32];
    long long n;

    if (parse_requests(job, query) == -1) {
        return -1;
    }

    /* with another number a Go program collects its garbage, and others do
       nothing: a snapshot is to pause nobody */
    ask->gc = pprof_query_get(query, "gc", text, sizeof(text))
              && pprof_int_parse(text, &n) == 0 && n == 1;
    ask->wall = is_set(query, "wall");
    ask->lines = is_set(query, "lines");

    if (pprof_query_get(query, "hz", text, sizeof(text))) {
        if (pprof_int_parse(text, &n) != 0 || n < 1 || n > PPROF_HZ_MAX) {
            pprof_answer_error(&job->answer, 400, "invalid value for \"hz\" - "
                               "must be from 1 to %d", PPROF_HZ_MAX);
            return -1;
        }

        ask->hz = (unsigned) n;
    }

    ask->rate = -1;

    if (pprof_query_get(query, "rate", text, sizeof(text))) {
        if (pprof_int_parse(text, &n) != 0 || n < 0) {
            pprof_answer_error(&job->answer, 400, "invalid value for \"rate\" "
                               "- must be a number, 0 to switch off");
            return -1;
        }

        ask->rate = n;
    }

    if (pprof_query_get(query, "labels", text, sizeof(text))
        && parse_labels(text, &ask->labels) == -1)
    {
        pprof_answer_error(&job->answer, 400, "invalid value for \"labels\" - "
                           "must be route, thread, object, or some of them "
                           "with commas");
        return -1;
    }

    if ((ask->labels & PPROF_LABEL_ROUTE)
        && strcmp(job->kind->name, "profile") != 0)
    {
        pprof_answer_error(&job->answer, 400, "labels=route is for profile; %s "
                           "knows no routes", job->kind->name);
        return -1;
    }

    if (pprof_query_get(query, "by", text, sizeof(text))) {
        if (strcmp(text, "route") != 0
            || strcmp(job->kind->name, "profile") != 0)
        {
            pprof_answer_error(&job->answer, 400, "invalid value for \"by\" - "
                               "profile?by=route is what there is");
            return -1;
        }

        ask->by_route = true;
        ask->labels |= PPROF_LABEL_ROUTE;
    }

    if (pprof_query_get(query, "names", text, sizeof(text))) {
        ask->full_names = strcmp(text, "full") == 0;

        if (!ask->full_names && strcmp(text, "short") != 0) {
            pprof_answer_error(&job->answer, 400, "invalid value for "
                               "\"names\" - must be short or full");
            return -1;
        }
    }

    if (pprof_query_get(query, "format", text, sizeof(text))) {
        if (strcmp(text, "folded") == 0) {
            ask->format = PPROF_FORMAT_FOLDED;

        } else if (strcmp(text, "svg") == 0) {
            ask->format = PPROF_FORMAT_SVG;

        } else if (strcmp(text, "json") == 0
                   && (ask->by_route || job->kind->flags & PPROF_KIND_JSON))
        {
            ask->json = true;

        } else if (strcmp(text, "proto") != 0) {
            pprof_answer_error(&job->answer, 400, "invalid value for "
                               "\"format\" - must be proto, folded or svg");
            return -1;
        }
    }

    return 0;
}


/* The page for a browser; curl's user reads it as well. */
static void
write_index(struct pprof_answer *a, bool legacy)
{
    struct pprof_buf *b = &a->body;

    pprof_buf_string(b, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n"
                     "<meta charset=\"utf-8\">\n"
                     "<meta name=\"viewport\" "
                     "content=\"width=device-width\">\n"
                     "<title>Profiles</title>\n</head>\n<body>\n"
                     "<h1>Profiles</h1>\n<dl>\n");

    for (size_t i = 0; pprof_kinds[i] != NULL; i++) {
        pprof_buf_printf(b, "<dt><a href=\"%s\">%s</a></dt>\n<dd>%s</dd>\n",
                         pprof_kinds[i]->name, pprof_kinds[i]->name,
                         pprof_kinds[i]->about);
    }

    pprof_buf_string(b, "</dl>\n");

    const unsigned unserved = atomic_load(&pprof_request_unserved);

    if (unserved > 0) {
        pprof_buf_printf(b, "<p>%u processes that this program forked are not "
                         "served: too many were there at once, or too many "
                         "forked.</p>\n", unserved);
    }

    pprof_buf_printf(b, "<p>For <code>%s</code>. "
                     "libpprof " PPROF_VERSION ".</p>\n</body>\n</html>\n",
                     legacy ? "google-pprof" : "go tool pprof");

    pprof_answer_ok(a, "text/html; charset=utf-8", NULL);
}


/* The whole answer, at once: what there is was measured before. */
static void
answer_charts(struct pprof_answer *a, const struct pprof_policy *policy,
    const char *method, const char *query)
{
    char text[32];
    long long since = 0;

    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        a->allow = "GET, HEAD";
        pprof_answer_error(a, 405, "method not allowed; use %s", a->allow);
        return;
    }

    if (pprof_query_get(query, "since", text, sizeof(text))
        && text[0] != '\0' && pprof_int_parse(text, &since) != 0)
    {
        pprof_answer_error(a, 400, "invalid value for \"since\" - must be "
                           "unix milliseconds");
        return;
    }

    if (policy->charts == NULL) {
        pprof_answer_error(a, 404, "the process is measured only while the "
                           "library listens; ask there, or call "
                           "pprof_start()");
        return;
    }

    if (pprof_query_get(query, "last", text, sizeof(text))) {
        pprof_charts_write_last(policy->charts, a);
        return;
    }

    pprof_charts_write(policy->charts, since, a);
}


/*
 * Sets *LEGACY and *NAME, the path behind the tree's prefix.  Returns 0, or
 * -1 when PATH lies in neither tree.
 */
static int
find_tree(const char *path, bool *legacy, const char **name)
{
    static const char proto[] = "/debug/pprof", old[] = "/pprof";

    *legacy = strncmp(path, proto, sizeof(proto) - 1) != 0;

    if (*legacy && strncmp(path, old, sizeof(old) - 1) != 0) {
        return -1;
    }

    *name = path + (*legacy ? sizeof(old) : sizeof(proto)) - 1;

    return **name == '/' || **name == '\0' ? 0 : -1;
}


void
pprof_request_route(struct pprof_job *job, const struct pprof_policy *policy,
    const char *method, const char *path, const char *query, const void *body,
    size_t body_len)
{
    struct pprof_answer *a = &job->answer;
    char clean[PPROF_PATH_MAX];
    const char *name;
    bool legacy;

    memset(job, 0, sizeof(struct pprof_job));
    job->target = policy->target;
    pprof_buf_init(&a->body);

    const bool is_head = strcmp(method, "HEAD") == 0;
    const bool is_post = strcmp(method, "POST") == 0;

    const bool is_path
        = pprof_path_normalize(path, clean, sizeof(clean)) == 0;

    if (is_path && strcmp(clean, "/debug/charts/data") == 0) {
        answer_charts(a, policy, method, query);
        return;
    }

    if (!is_path || find_tree(clean, &legacy, &name) == -1) {
        pprof_answer_error(a, 404, "not found; the profiles are below "
                           "/debug/pprof/");
        return;
    }

    const struct pprof_kind *kind
        = *name == '\0' ? NULL : pprof_kind_find(name + 1, strlen(name + 1));

    if (kind == NULL && *name != '\0' && name[1] != '\0') {
        pprof_answer_error(a, 404, "Unknown profile");
        return;
    }

    if (!is_head && strcmp(method, "GET") != 0
        && !(is_post && kind != NULL && (kind->flags & PPROF_KIND_POST)))
    {
        a->allow = kind != NULL && (kind->flags & PPROF_KIND_POST)
                   ? "GET, HEAD, POST" : "GET, HEAD";
        pprof_answer_error(a, 405, "method not allowed; use %s", a->allow);
        return;
    }

    if (kind == NULL) {
        if (*name == '\0') {
            pprof_answer_error(a, 301, "the profiles are below %s/", clean);
            return;
        }

        write_index(a, legacy);
        return;
    }

    job->kind = kind;
    job->ask.legacy = legacy;
    job->ask.method = method;
    job->ask.body = body;
    job->ask.body_len = body_len;
    job->ask.cmdline = policy->cmdline;

    if (parse_extras(job, query) == -1
        || parse_window(job, policy, query) == -1)
    {
        job->kind = NULL;
        return;
    }

    if (is_head) {
        /* a profile for nobody to read is not taken */
        job->kind = NULL;
        pprof_answer_ok(a, (kind->flags & PPROF_KIND_PLAIN)
                           || job->ask.debug != 0
                           ? PPROF_TYPE_TEXT : PPROF_TYPE_BYTES, NULL);
    }
}


static void
add_header(struct pprof_headers *h, const char *name, const char *value)
{
    h->list[h->n++] = (struct pprof_header) { name, value };
}


void
pprof_answer_headers(const struct pprof_job *job, struct pprof_headers *h)
{
    const struct pprof_answer *a = &job->answer;
    struct pprof_target *const target
        = job->target != NULL ? job->target : pprof_target_self();
    const char *build_id = pprof_kinds_build_id(target);

    h->n = 0;

    add_header(h, "Content-Type", a->type);
    add_header(h, "X-Content-Type-Options", "nosniff");
    add_header(h, "Cache-Control", "no-store");

    /* asked each time: a fork() makes it another one */
    snprintf(h->pid, sizeof(h->pid), "%ld", (long) target->pid);
    add_header(h, "X-Pprof-Pid", h->pid);

    if (*build_id != '\0') {
        add_header(h, "X-Pprof-Build-Id", build_id);
    }

    if (a->status >= 400) {
        add_header(h, "X-Go-Pprof", "1");
    }

    if (a->file != NULL) {
        snprintf(h->special, sizeof(h->special),
                 "attachment; filename=\"%s\"", a->file);
        add_header(h, "Content-Disposition", h->special);

    } else if (a->retry_after != 0) {
        snprintf(h->special, sizeof(h->special), "%u", a->retry_after);
        add_header(h, "Retry-After", h->special);

    } else if (a->allow != NULL) {
        add_header(h, "Allow", a->allow);

    } else if (a->status == 301) {
        add_header(h, "Location", "pprof/");
    }
}
