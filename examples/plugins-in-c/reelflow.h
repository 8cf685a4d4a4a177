/* The contract of wit/plugin (reelflow:plugin@0.1.0) as C sees it: the canonical ABI of 32-bit WebAssembly, written by hand.
 *
 * A plugin is one file that includes this header once, defines `reel_describe` and the functions of its world, and exports each of
 * those with REEL_EXPORT. There is no libc: what a call allocates with `reel_alloc` is its own until its answer was read, and is given
 * back then as a whole. */
#ifndef REELFLOW_H
#define REELFLOW_H

#include <stddef.h>
#include <stdint.h>

#define REEL_EXPORT(interface, function) __attribute__((export_name("reelflow:plugin/" interface "@0.1.0#" function)))
/* Behind each exported function: the host calls it when it has read the answer. */
#define REEL_DONE(interface, function) \
    __attribute__((export_name("cabi_post_reelflow:plugin/" interface "@0.1.0#" function)))

/* A list of T of the contract. */
#define REEL_LIST(T) struct { T *items; uint32_t len; }

typedef REEL_LIST(uint8_t) reel_bytes;
typedef REEL_LIST(uint32_t) reel_u32s;

/* Byte strings one after the other: string i ends before ends.items[i]. */
typedef struct {
    reel_bytes data;
    reel_u32s ends;
} reel_packed;

enum { REEL_BOOLS = 0, REEL_INTS = 1, REEL_FLOATS = 2, REEL_BYTES = 3 };

typedef struct {
    uint8_t kind;
    union {
        reel_bytes bools; /* a bitmap, least significant bit first */
        REEL_LIST(int64_t) ints;
        REEL_LIST(double) floats;
        reel_packed bytes;
    };
    reel_bytes validity; /* a bitmap, a set bit is a value; empty: no row is null */
} reel_column;

typedef REEL_LIST(reel_column) reel_columns;

typedef struct {
    uint32_t len;
    reel_columns columns;
} reel_rows;

typedef struct {
    uint32_t row, code;
    reel_bytes message;
} reel_reject;

typedef struct {
    uint32_t output;
    reel_rows rows;
    reel_u32s origins;
} reel_routed;

typedef struct {
    REEL_LIST(reel_routed) outputs;
    REEL_LIST(reel_reject) rejects;
} reel_emitted;

typedef struct {
    reel_packed states;
    REEL_LIST(reel_reject) rejects;
} reel_added;

typedef struct {
    int64_t start, end;
} reel_window;

/* What the host reads: a compiler that lays these out otherwise must not build a plugin. */
_Static_assert(sizeof(reel_packed) == 16 && sizeof(reel_column) == 28 && sizeof(reel_rows) == 12, "the contract's layout");
_Static_assert(sizeof(reel_reject) == 16 && sizeof(reel_routed) == 24 && sizeof(reel_emitted) == 16, "the contract's layout");
_Static_assert(sizeof(reel_added) == 24 && sizeof(reel_window) == 16, "the contract's layout");

/* The plugin's document (wit/plugin/README.md). `config` is a JSON object; a plugin without settings need not look at it. */
static const char *reel_describe(const char *config, uint32_t len);

extern uint8_t __heap_base;
static uintptr_t reel_top;

/* `len` bytes, aligned to 8, of unknown content. Traps when the host gives no more memory: the call is then at fault. */
static void *reel_alloc(size_t len) {
    if (reel_top == 0) reel_top = (uintptr_t)&__heap_base;
    uintptr_t at = (reel_top + 7) & ~(uintptr_t)7;
    uint64_t end = (uint64_t)at + len;
    uint64_t held = (uint64_t)__builtin_wasm_memory_size(0) << 16;
    if (end > held && __builtin_wasm_memory_grow(0, (end - held + 65535) >> 16) == SIZE_MAX) __builtin_trap();
    reel_top = (uintptr_t)end;
    return (void *)at;
}

static void reel_copy(void *to, const void *from, size_t len) {
    for (size_t idx = 0; idx < len; idx++) ((uint8_t *)to)[idx] = ((const uint8_t *)from)[idx];
}

/* Where the host writes what it passes. It never asks for an alignment above 8. */
__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_len, size_t align, size_t len) {
    (void)align;
    void *fresh = reel_alloc(len);
    reel_copy(fresh, old, old_len < len ? old_len : len);
    return fresh;
}

/* All that the call has allocated is free again. */
static void reel_done(void) { reel_top = 0; }

/* result<string, string> */
typedef struct {
    uint8_t is_error;
    reel_bytes text;
} reel_description;

REEL_EXPORT("describe", "describe") reel_description *reel_export_describe(const char *config, uint32_t len) {
    reel_description *answer = reel_alloc(sizeof *answer);
    const char *text = reel_describe(config, len);
    uint32_t text_len = 0;
    while (text[text_len] != 0) text_len++;
    *answer = (reel_description){.is_error = 0, .text = {(uint8_t *)text, text_len}};
    return answer;
}

REEL_DONE("describe", "describe") void reel_done_describe(reel_description *answer) {
    (void)answer;
    reel_done();
}

#endif
