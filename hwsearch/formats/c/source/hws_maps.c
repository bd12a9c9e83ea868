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
    /* No operand's factor is above a half. */
    const int32_t x = hws_divide_by_power(hws_multiply_high(a * one, own->a_multiplier), -own->a_shift);
    const int32_t y = hws_divide_by_power(hws_multiply_high(b * one, own->b_multiplier), -own->b_shift);
    const int32_t code = hws_scale(x + y, own->out_multiplier, own->out_shift) + own->out_zero;
    return code < own->out_min ? own->out_min : code > own->out_max ? own->out_max : code;
}

/* The sizes of codes are literals where all three are the same. */
static inline void add(const hws_add_layer own, const void *a, const void *b, void *out, int32_t elements, int32_t a_bytes,
                       int32_t b_bytes, int32_t out_bytes) {
    for (int32_t i = 0; i < elements; i++) {
        const int32_t x = hws_load(a, i, a_bytes) - own.a_zero, y = hws_load(b, i, b_bytes) - own.b_zero;
        hws_store(out, i, sum(&own, x, y), out_bytes);
    }
}

void hws_add(const hws_add_layer *layer, const void *a, const void *b, void *out, int32_t elements) {
    const hws_add_layer own = *layer; /* a copy, which writing to `out` cannot change */
    if (own.a_bytes * own.b_bytes * own.out_bytes == 1) {
        add(own, a, b, out, elements, 1, 1, 1);
    } else if (own.a_bytes * own.b_bytes * own.out_bytes == 8) {
        add(own, a, b, out, elements, 2, 2, 2);
    } else {
        add(own, a, b, out, elements, own.a_bytes, own.b_bytes, own.out_bytes);
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

/* One operand as a real value: a code, or a number where bytes is 4. */
static inline float operand(const void *in, int32_t index, int32_t bytes, int32_t zero, float scale) {
    return bytes == 4 ? ((const float *)in)[index] : (float)(hws_load(in, index, bytes) - zero) * scale;
}

static inline float of_two(int32_t function, float x, float y, float slope) {
    switch (function) {
    case HWS_SUM:
        return x + y < 0 ? (x + y) * slope : x + y;
    case HWS_DIFFERENCE:
        return x - y;
    case HWS_SMALLER:
        return x < y ? x : y;
    case HWS_LARGER:
        return x > y ? x : y;
    case HWS_PRODUCT:
        return x * y;
    case HWS_QUOTIENT:
        return x == 0 ? 0 : x / y;
    case HWS_SQUARE:
        return (x - y) * (x - y);
    default: /* HWS_BENT */
        return x < 0 ? x * y : x;
    }
}

void hws_real(const hws_real_layer *layer, const void *a, const hws_broadcast *broadcast_a, const void *b,
              const hws_broadcast *broadcast_b, void *out, int32_t elements) {
    const hws_real_layer own = *layer;
    cursor of_a = first(broadcast_a), of_b = first(broadcast_b);
    for (int32_t i = 0; i < elements; i++) {
        const float x = operand(a, next(&of_a), own.a_bytes, own.a_zero, own.a_scale);
        const float y = operand(b, next(&of_b), own.b_bytes, own.b_zero, own.b_scale);
        const float value = of_two(own.function, x, y, own.slope);
        hws_store(out, i, hws_nearest(value, own.out_scale, own.out_zero, own.out_min, own.out_max), own.out_bytes);
    }
}

static inline float of_three(int32_t function, float x, float y, float z) {
    const float sum = x + y, product = x * y;
    switch (function) {
    case HWS_CHOSEN:
        return z != 0 ? x : y;
    case HWS_AFFINE:
        return product + z;
    default: /* HWS_SUM_BENT */
        return sum < 0 ? sum * z : sum;
    }
}

void hws_real_of_three(const hws_real_layer *layer, const void *a, const hws_broadcast *broadcast_a, const void *b,
                       const hws_broadcast *broadcast_b, const void *c, const hws_broadcast *broadcast_c, void *out,
                       int32_t elements) {
    const hws_real_layer own = *layer;
    cursor of_a = first(broadcast_a), of_b = first(broadcast_b), of_c = first(broadcast_c);
    for (int32_t i = 0; i < elements; i++) {
        const float x = operand(a, next(&of_a), own.a_bytes, own.a_zero, own.a_scale);
        const float y = operand(b, next(&of_b), own.b_bytes, own.b_zero, own.b_scale);
        const float z = operand(c, next(&of_c), own.c_bytes, 0, 1);
        const float value = of_three(own.function, x, y, z);
        hws_store(out, i, hws_nearest(value, own.out_scale, own.out_zero, own.out_min, own.out_max), own.out_bytes);
    }
}

void hws_bend(const hws_bend_layer *layer, const void *in, void *out, int32_t elements) {
    const hws_bend_layer own = *layer;
    for (int32_t i = 0; i < elements; i++) {
        const float x = (float)(hws_load(in, i, own.in_bytes) - own.in_zero) * own.in_scale, bent = x < 0 ? x * own.slope : x;
        const float value = bent < own.low ? own.low : bent > own.high ? own.high : bent;
        hws_store(out, i, hws_nearest(value, own.out_scale, own.out_zero, own.out_min, own.out_max), own.out_bytes);
    }
}
