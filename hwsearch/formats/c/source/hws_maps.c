#include "hws.h"
#include "hws_requant.h"

/* Which code of an operand is next: each one `inner` times, all of them from the start again. */
typedef struct {
    int32_t inner, count, index, times;
} cursor;

static int32_t next(cursor *at) {
    const int32_t index = at->index;
    if (++at->times == at->inner) {
        at->times = 0;
        at->index = index + 1 == at->count ? 0 : index + 1;
    }
    return index;
}

static cursor first(const hws_broadcast *how) {
    const cursor at = {how->inner, how->count, 0, 0};
    return at;
}

/* The code for two codes less their zeros. */
static inline int32_t sum(const hws_add_layer *own, int32_t a, int32_t b) {
    const int32_t one = (int32_t)1 << own->left_shift;
    const int32_t x = hws_scale(a * one, own->a_multiplier, own->a_shift);
    const int32_t y = hws_scale(b * one, own->b_multiplier, own->b_shift);
    const int32_t code = hws_scale(x + y, own->out_multiplier, own->out_shift) + own->out_zero;
    return code < own->out_min ? own->out_min : code > own->out_max ? own->out_max : code;
}

void hws_add(const hws_add_layer *layer, const void *a, const void *b, void *out, int32_t elements) {
    const hws_add_layer own = *layer; /* a copy, which writing to `out` cannot change */
    for (int32_t i = 0; i < elements; i++) {
        const int32_t x = hws_load(a, i, own.a_bytes) - own.a_zero, y = hws_load(b, i, own.b_bytes) - own.b_zero;
        hws_store(out, i, sum(&own, x, y), own.out_bytes);
    }
}

void hws_add_broadcast(const hws_add_layer *layer, const void *a, const hws_broadcast *broadcast_a, const void *b,
                    const hws_broadcast *broadcast_b, void *out, int32_t elements) {
    const hws_add_layer own = *layer;
    cursor of_a = first(broadcast_a), of_b = first(broadcast_b);
    for (int32_t i = 0; i < elements; i++) {
        const int32_t x = hws_load(a, next(&of_a), own.a_bytes) - own.a_zero;
        const int32_t y = hws_load(b, next(&of_b), own.b_bytes) - own.b_zero;
        hws_store(out, i, sum(&own, x, y), own.out_bytes);
    }
}

void hws_mul(const hws_mul_layer *layer, const void *a, const hws_broadcast *broadcast_a, const void *b,
             const hws_broadcast *broadcast_b, void *out, int32_t elements) {
    const hws_mul_layer own = *layer;
    cursor of_a = first(broadcast_a), of_b = first(broadcast_b);
    for (int32_t i = 0; i < elements; i++) {
        const int32_t x = hws_load(a, next(&of_a), own.a_bytes) - own.a_zero;
        const int32_t y = hws_load(b, next(&of_b), own.b_bytes) - own.b_zero;
        const int32_t code = hws_scale(x * y, own.multiplier, own.shift) + own.out_zero;
        hws_store(out, i, code < own.out_min ? own.out_min : code > own.out_max ? own.out_max : code, own.out_bytes);
    }
}

void hws_add_sloped(const hws_add_sloped_layer *layer, const void *a, const hws_broadcast *broadcast_a, const void *b,
                    const hws_broadcast *broadcast_b, void *out, int32_t elements) {
    const hws_add_sloped_layer own = *layer;
    cursor of_a = first(broadcast_a), of_b = first(broadcast_b);
    for (int32_t i = 0; i < elements; i++) {
        const float x = (float)(hws_load(a, next(&of_a), own.a_bytes) - own.a_zero) * own.a_scale;
        const float y = (float)(hws_load(b, next(&of_b), own.b_bytes) - own.b_zero) * own.b_scale;
        const float total = x + y, value = total < 0 ? total * own.slope : total;
        hws_store(out, i, hws_nearest(value, own.out_scale, own.out_zero, own.out_min, own.out_max), own.out_bytes);
    }
}

void hws_lookup_wide(const hws_lookup_wide_layer *layer, const void *in, void *out, int32_t elements) {
    const hws_lookup_wide_layer own = *layer;
    for (int32_t i = 0; i < elements; i++) {
        const int32_t value = hws_interpolated(own.table, (int64_t)hws_load(in, i, 2) - 32768);
        const int64_t code = hws_scale_long(value, own.multiplier, own.shift) + own.out_zero;
        hws_store(out, i, hws_bound(code, own.out_min, own.out_max), own.out_bytes);
    }
}

void hws_lookup(const uint8_t *in, const void *table, void *out, int32_t elements, int32_t out_bytes) {
    for (int32_t i = 0; i < elements; i++) {
        hws_store(out, i, hws_load(table, in[i], out_bytes), out_bytes);
    }
}
