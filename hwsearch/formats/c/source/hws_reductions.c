#include <math.h>

#include "hws.h"
#include "hws_requant.h"

/* The sum of `count` codes, `step` apart; less their zeros it fits 32 bits with a sign. */
static inline uint32_t sum_of(const void *in, int32_t at, int32_t step, int32_t count, int32_t bytes) {
    uint32_t sum = 0;
    for (int32_t k = 0; k < count; k++, at += step) {
        sum += (uint32_t)hws_load(in, at, bytes);
    }
    return sum;
}

void hws_mean(const hws_mean_layer *layer, const void *in, void *out) {
    const hws_mean_layer own = *layer;
    const uint32_t zeros = (uint32_t)own.count * (uint32_t)own.in_zero;
    for (int32_t o = 0; o < own.outer; o++) {
        for (int32_t i = 0; i < own.inner; i++) {
            const int32_t at = o * own.count * own.inner + i;
            const uint32_t sum = own.in_bytes == 1 ? sum_of(in, at, own.inner, own.count, 1) : sum_of(in, at, own.inner, own.count, 2);
            const int64_t code = hws_scale_long((int32_t)(sum - zeros), own.multiplier, own.shift) + own.out_zero;
            hws_store(out, o * own.inner + i, hws_bound(code, own.out_min, own.out_max), own.out_bytes);
        }
    }
}

/* The sum of `count` codes less their zero, `step` apart, and of their squares. */
static inline void squares_of(const void *in, int32_t at, int32_t step, int32_t count, int32_t bytes, int32_t zero, int64_t *sum,
                              int64_t *squares) {
    int64_t first = 0, second = 0;
    for (int32_t k = 0; k < count; k++, at += step) {
        const int32_t x = hws_load(in, at, bytes) - zero;
        first += x;
        second += (int64_t)x * x;
    }
    *sum = first;
    *squares = second;
}

void hws_std(const hws_std_layer *layer, const void *in, void *out) {
    const hws_std_layer own = *layer;
    for (int32_t o = 0; o < own.outer; o++) {
        for (int32_t i = 0; i < own.inner; i++) {
            const int32_t at = o * own.count * own.inner + i;
            int64_t sum, squares;
            if (own.in_bytes == 1) {
                squares_of(in, at, own.inner, own.count, 1, own.in_zero, &sum, &squares);
            } else {
                squares_of(in, at, own.inner, own.count, 2, own.in_zero, &sum, &squares);
            }
            const double count = own.count, first = (double)squares * count, second = (double)sum * (double)sum;
            const double variance = (first - second) / (count * (count - own.correction));
            const double scale = (double)own.in_scale, bounded = variance > 0 ? variance : 0;
            const float value = (float)(own.squared ? bounded * (scale * scale) : sqrt(bounded) * scale);
            const int32_t code = hws_nearest(value, own.out_scale, own.out_zero, own.out_min, own.out_max);
            hws_store(out, o * own.inner + i, code, own.out_bytes);
        }
    }
}

static inline int64_t of_all(const void *in, int32_t at, int32_t step, int32_t count, int32_t bytes, int32_t zero,
                             int32_t function) {
    int64_t found = hws_load(in, at, bytes) - zero;
    for (int32_t k = 1; k < count; k++) {
        at += step;
        const int32_t x = hws_load(in, at, bytes) - zero;
        if (function == HWS_TOTAL) {
            found += x;
        } else if (function == HWS_LARGEST ? x > found : x < found) {
            found = x;
        }
    }
    return found;
}

void hws_reduce(const hws_reduce_layer *layer, const void *in, void *out) {
    const hws_reduce_layer own = *layer;
    for (int32_t o = 0; o < own.outer; o++) {
        for (int32_t i = 0; i < own.inner; i++) {
            const int32_t at = o * own.count * own.inner + i;
            const int64_t found = own.in_bytes == 1 ? of_all(in, at, own.inner, own.count, 1, own.in_zero, own.function)
                                                    : of_all(in, at, own.inner, own.count, 2, own.in_zero, own.function);
            const float value = (float)((double)found * (double)own.in_scale);
            const int32_t code = hws_nearest(value, own.out_scale, own.out_zero, own.out_min, own.out_max);
            hws_store(out, o * own.inner + i, code, own.out_bytes);
        }
    }
}

/* The part of a window that lies inside the picture: codes from `first` on, `rows` of `columns` pixels. */
typedef struct {
    int32_t first, rows, columns;
} part;

static int32_t inside(int32_t start, int32_t taps, int32_t size, int32_t *first) {
    *first = start < 0 ? 0 : start;
    return (start + taps > size ? size : start + taps) - *first;
}

static part part_at(const hws_pool_layer *layer, int32_t y, int32_t x) {
    int32_t row, column;
    part seen;
    seen.rows = inside(y * layer->stride_h - layer->pad_top, layer->kernel_h, layer->in_h, &row);
    seen.columns = inside(x * layer->stride_w - layer->pad_left, layer->kernel_w, layer->in_w, &column);
    seen.first = (row * layer->in_w + column) * layer->channels;
    return seen;
}

static inline int32_t largest_of(const void *in, part seen, int32_t step, int32_t pitch, int32_t bytes) {
    int32_t largest = 0;
    for (int32_t row = 0; row < seen.rows; row++, seen.first += pitch) {
        for (int32_t column = 0, at = seen.first; column < seen.columns; column++, at += step) {
            const int32_t code = hws_load(in, at, bytes);
            largest = code > largest ? code : largest;
        }
    }
    return largest;
}

void hws_max_pool(const hws_pool_layer *layer, const void *in, void *out) {
    const int32_t channels = layer->channels, pitch = layer->in_w * channels;
    int32_t index = 0;
    for (int32_t y = 0; y < layer->out_h; y++) {
        for (int32_t x = 0; x < layer->out_w; x++) {
            part seen = part_at(layer, y, x);
            for (int32_t c = 0; c < channels; c++, seen.first++, index++) {
                if (layer->bytes == 1) {
                    ((uint8_t *)out)[index] = (uint8_t)largest_of(in, seen, channels, pitch, 1);
                } else {
                    ((uint16_t *)out)[index] = (uint16_t)largest_of(in, seen, channels, pitch, 2);
                }
            }
        }
    }
}

static inline float total_of(const void *in, part seen, int32_t step, int32_t pitch, int32_t bytes, int32_t zero, float scale) {
    float total = 0;
    for (int32_t row = 0; row < seen.rows; row++, seen.first += pitch) {
        for (int32_t column = 0, at = seen.first; column < seen.columns; column++, at += step) {
            total += (float)(hws_load(in, at, bytes) - zero) * scale;
        }
    }
    return total;
}

void hws_average_pool(const hws_average_layer *layer, const void *in, void *out) {
    const hws_average_layer own = *layer;
    const int32_t channels = own.window.channels, pitch = own.window.in_w * channels;
    int32_t index = 0;
    for (int32_t y = 0; y < own.window.out_h; y++) {
        for (int32_t x = 0; x < own.window.out_w; x++) {
            part seen = part_at(&own.window, y, x);
            const int32_t count = own.count_padding ? own.window.kernel_h * own.window.kernel_w : seen.rows * seen.columns;
            for (int32_t c = 0; c < channels; c++, seen.first++, index++) {
                const float total = own.in_bytes == 1 ? total_of(in, seen, channels, pitch, 1, own.in_zero, own.in_scale)
                                                      : total_of(in, seen, channels, pitch, 2, own.in_zero, own.in_scale);
                const float value = total / (float)count;
                hws_store(out, index, hws_nearest(value, own.out_scale, own.out_zero, own.out_min, own.out_max), own.out_bytes);
            }
        }
    }
}

/* 1 / (1 + x) for x in 0 .. 1, both with 31 fractional bits: three steps of Newton's method with 2 integer bits. */
static int32_t reciprocal(int32_t x) {
    const int32_t half = (int32_t)(((int64_t)x + INT32_MAX + 1) >> 1);
    int64_t y = 1515870810 + (int64_t)hws_multiply_high(half, -1010580540);
    for (int32_t i = 0; i < 3; i++) {
        const int32_t rest = ((int32_t)1 << 29) - hws_multiply_high(half, (int32_t)y);
        const int64_t step = (int64_t)hws_multiply_high((int32_t)y, rest) * 4;
        y += step > INT32_MAX ? INT32_MAX : step < INT32_MIN ? INT32_MIN : step;
    }
    y *= 2;
    return y > INT32_MAX ? INT32_MAX : (int32_t)y;
}

static int32_t bit_length(int64_t x) {
    int32_t count = 0;
    for (; x > 0; x >>= 1) {
        count++;
    }
    return count;
}

static int32_t greatest(const void *codes, int32_t first, int32_t length, int32_t bytes) {
    int32_t found = 0;
    for (int32_t i = 0; i < length; i++) {
        const int32_t code = hws_load(codes, first + i, bytes);
        found = code > found ? code : found;
    }
    return found;
}

void hws_softmax(const hws_softmax_layer *layer, const void *in, void *out) {
    const hws_softmax_layer own = *layer;
    for (int32_t row = 0, first = 0; row < own.rows; row++, first += own.length) {
        const uint8_t *codes = (const uint8_t *)in + first;
        const int32_t most = greatest(codes, 0, own.length, 1);
        int64_t sum = 0;
        for (int32_t i = 0; i < own.length; i++) {
            sum += own.narrow[most - codes[i]];
        }
        const int32_t length = bit_length(sum), down = length + 3; /* bits of the sum, and to 8 of the result */
        const int32_t scale = reciprocal((int32_t)(sum * ((int64_t)1 << (32 - length)) - ((int64_t)1 << 31)));
        for (int32_t i = 0; i < own.length; i++) {
            const int32_t share = hws_multiply_high(scale, own.exponential[most - codes[i]]);
            int32_t code = down > 31 ? 0 : hws_divide_by_power(share, down);
            code = hws_scale(code > 255 ? 255 : code, own.multiplier, own.shift) + own.out_zero;
            hws_store(out, first + i, code < own.out_min ? own.out_min : code > own.out_max ? own.out_max : code, own.out_bytes);
        }
    }
}

void hws_softmax_wide(const hws_softmax_layer *layer, const void *in, void *out, void *scratch) {
    const hws_softmax_layer own = *layer;
    int16_t *powers = scratch;
    for (int32_t row = 0, first = 0; row < own.rows; row++, first += own.length) {
        const int32_t most = greatest(in, first, own.length, own.in_bytes);
        int64_t sum = 0;
        for (int32_t i = 0; i < own.length; i++) {
            const int32_t below = hws_load(in, first + i, own.in_bytes) - most;
            const int64_t place = hws_scale_short(below, own.place_multiplier, own.place_shift) + 32767;
            powers[i] = (int16_t)hws_interpolated(own.wide_exponential, place);
            sum += powers[i];
        }
        const int32_t length = bit_length(sum);
        const int64_t place = ((sum * ((int64_t)1 << (31 - length)) + (1 << 13)) >> 14) - (1 << 15) - (1 << 16);
        const int32_t scale = hws_interpolated(own.wide_inverse, place), half = (int32_t)1 << (length - 2);
        for (int32_t i = 0; i < own.length; i++) {
            /* Numbers of 15 bits each, and a half of at most 29. */
            const int32_t share = (powers[i] * scale + half) >> (length - 1);
            const int32_t bounded = hws_bound(share, INT16_MIN, INT16_MAX);
            const int64_t code = hws_scale_short(bounded, own.multiplier, own.shift) + own.out_zero;
            hws_store(out, first + i, hws_bound(code, own.out_min, own.out_max), own.out_bytes);
        }
    }
}
