/* plugins/count in C, a plugin of the world `aggregate`: how many rows a key has in a window.
 *
 * The state is the count, eight bytes with the least significant one first; the host keeps it and never looks into it. */
#include "reelflow.h"

static const char *reel_describe(const char *config, uint32_t len) {
    (void)config, (void)len;
    return "{\"format\":1,\"sdk\":\"c\",\"kind\":\"aggregate\",\"inputs\":[{\"fields\":[]}],"
           "\"outputs\":[{\"name\":\"out\",\"fields\":[{\"name\":\"key\",\"type\":\"i64\"},{\"name\":\"w_start\",\"type\":\"i64\"},"
           "{\"name\":\"count\",\"type\":\"i64\"}]}],"
           "\"key\":[{\"name\":\"key\",\"type\":\"i64\"}],\"state\":{\"name\":\"Counted\",\"version\":1}}";
}

/* The count in state `idx`; the state of a new group is empty. */
static int64_t count_of(const uint8_t *data, const uint32_t *ends, uint32_t idx) {
    int64_t count = 0;
    uint32_t start = idx == 0 ? 0 : ends[idx - 1];
    if (ends[idx] > start) reel_copy(&count, data + start, sizeof count);
    return count;
}

/* An answer of `n_groups` states, whose counts are yet to be written. */
static reel_added *states_of(uint32_t n_groups) {
    reel_added *answer = reel_alloc(sizeof *answer);
    uint32_t *ends = reel_alloc(n_groups * sizeof *ends);
    for (uint32_t group = 0; group < n_groups; group++) ends[group] = (group + 1) * sizeof(int64_t);
    uint32_t len = n_groups * sizeof(int64_t);
    *answer = (reel_added){.states = {{reel_alloc(len), len}, {ends, n_groups}}, .rejects = {0, 0}};
    return answer;
}

REEL_EXPORT("aggregate", "add")
reel_added *add(uint32_t n_rows, const reel_column *columns, uint32_t n_columns, const uint32_t *ends, uint32_t n_groups,
                const uint8_t *data, uint32_t data_len, const uint32_t *state_ends, uint32_t n_states) {
    (void)n_rows, (void)columns, (void)n_columns, (void)data_len, (void)n_states;
    reel_added *answer = states_of(n_groups);
    int64_t *counts = (int64_t *)answer->states.data.items;
    for (uint32_t group = 0; group < n_groups; group++) {
        counts[group] = count_of(data, state_ends, group) + ends[group] - (group == 0 ? 0 : ends[group - 1]);
    }
    return answer;
}

REEL_EXPORT("aggregate", "merge")
reel_added *merge(const uint8_t *data, uint32_t data_len, const uint32_t *part_ends, uint32_t n_parts, const uint32_t *ends,
                  uint32_t n_groups) {
    (void)data_len, (void)n_parts;
    reel_added *answer = states_of(n_groups);
    int64_t *counts = (int64_t *)answer->states.data.items;
    uint32_t part = 0;
    for (uint32_t group = 0; group < n_groups; group++) {
        counts[group] = 0;
        for (; part < ends[group]; part++) counts[group] += count_of(data, part_ends, part);
    }
    return answer;
}

REEL_EXPORT("aggregate", "emit")
reel_emitted *emit(const reel_window *windows, uint32_t n_groups, uint32_t n_keys, const reel_column *keys, uint32_t n_columns,
                   const uint8_t *data, uint32_t data_len, const uint32_t *state_ends, uint32_t n_states) {
    (void)n_keys, (void)data_len, (void)n_states;
    if (n_columns != 1) __builtin_trap();
    reel_column *out = reel_alloc(3 * sizeof *out);
    for (uint32_t field = 0; field < 3; field++) {
        out[field] = (reel_column){.kind = REEL_INTS};
        out[field].ints.items = reel_alloc(n_groups * sizeof(int64_t));
        out[field].ints.len = n_groups;
    }
    reel_u32s origins = {reel_alloc(n_groups * sizeof(uint32_t)), n_groups};
    for (uint32_t group = 0; group < n_groups; group++) {
        out[0].ints.items[group] = keys[0].ints.items[group];
        out[1].ints.items[group] = windows[group].start;
        out[2].ints.items[group] = count_of(data, state_ends, group);
        origins.items[group] = group;
    }
    reel_routed *routed = reel_alloc(sizeof *routed);
    *routed = (reel_routed){.output = 0, .rows = {n_groups, {out, 3}}, .origins = origins};
    reel_emitted *answer = reel_alloc(sizeof *answer);
    *answer = (reel_emitted){.outputs = {routed, 1}, .rejects = {0, 0}};
    return answer;
}

REEL_DONE("aggregate", "add") void done_add(reel_added *answer) {
    (void)answer;
    reel_done();
}

REEL_DONE("aggregate", "merge") void done_merge(reel_added *answer) {
    (void)answer;
    reel_done();
}

REEL_DONE("aggregate", "emit") void done_emit(reel_emitted *answer) {
    (void)answer;
    reel_done();
}
