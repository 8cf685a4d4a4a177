/* plugins/filter-half in C, a plugin of the world `transform`: the rows whose profile id is even.
 *
 * It gives back four columns, so it shows both kinds of memory: numbers, and byte strings with their ends. */
#include "reelflow.h"

enum { EVENT_ID, EVENT_TS, PROFILE_ID, TITLE_ID, N_FIELDS };

#define FIELDS                                                                                               \
    "[{\"name\":\"event_id\",\"type\":\"string\"},{\"name\":\"event_ts\",\"type\":\"i64\"},"                  \
    "{\"name\":\"profile_id\",\"type\":\"i64\"},{\"name\":\"title_id\",\"type\":\"i64\"}]"

static const char *reel_describe(const char *config, uint32_t len) {
    (void)config, (void)len;
    return "{\"format\":1,\"sdk\":\"c\",\"kind\":\"transform\",\"inputs\":[{\"fields\":" FIELDS "}],"
           "\"outputs\":[{\"name\":\"out\",\"fields\":" FIELDS "}]}";
}

/* The integers of `from` at `kept`. */
static reel_column ints_at(const reel_column *from, reel_u32s kept) {
    reel_column column = {.kind = REEL_INTS};
    column.ints.items = reel_alloc(kept.len * sizeof(int64_t));
    column.ints.len = kept.len;
    for (uint32_t idx = 0; idx < kept.len; idx++) column.ints.items[idx] = from->ints.items[kept.items[idx]];
    return column;
}

/* The byte strings of `from` at `kept`. */
static reel_column bytes_at(const reel_column *from, reel_u32s kept) {
    reel_column column = {.kind = REEL_BYTES};
    column.bytes.data.items = reel_alloc(from->bytes.data.len);
    column.bytes.ends.items = reel_alloc(kept.len * sizeof(uint32_t));
    column.bytes.ends.len = kept.len;
    uint32_t len = 0;
    for (uint32_t idx = 0; idx < kept.len; idx++) {
        uint32_t row = kept.items[idx];
        uint32_t start = row == 0 ? 0 : from->bytes.ends.items[row - 1];
        uint32_t end = from->bytes.ends.items[row];
        reel_copy(column.bytes.data.items + len, from->bytes.data.items + start, end - start);
        len += end - start;
        column.bytes.ends.items[idx] = len;
    }
    column.bytes.data.len = len;
    return column;
}

REEL_EXPORT("transform", "apply") reel_emitted *apply(uint32_t n_rows, const reel_column *columns, uint32_t n_columns) {
    if (n_columns != N_FIELDS) __builtin_trap();
    reel_u32s kept = {reel_alloc(n_rows * sizeof(uint32_t)), 0};
    for (uint32_t row = 0; row < n_rows; row++) {
        if (columns[PROFILE_ID].ints.items[row] % 2 == 0) kept.items[kept.len++] = row;
    }
    reel_column *out = reel_alloc(N_FIELDS * sizeof *out);
    for (uint32_t field = 0; field < N_FIELDS; field++) {
        out[field] = field == EVENT_ID ? bytes_at(&columns[field], kept) : ints_at(&columns[field], kept);
    }
    reel_routed *routed = reel_alloc(sizeof *routed);
    *routed = (reel_routed){.output = 0, .rows = {kept.len, {out, N_FIELDS}}, .origins = kept};
    reel_emitted *answer = reel_alloc(sizeof *answer);
    *answer = (reel_emitted){.outputs = {routed, 1}, .rejects = {0, 0}};
    return answer;
}

REEL_DONE("transform", "apply") void done(reel_emitted *answer) {
    (void)answer;
    reel_done();
}
