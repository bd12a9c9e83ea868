#include <math.h>

#include "hws.h"
#include "hws_requant.h"

void hws_mean(const hws_mean_layer *layer, const void *in, void *out) {
    const hws_mean_layer own = *layer;
    for (int32_t o = 0; o < own.outer; o++) {
        for (int32_t i = 0; i < own.inner; i++) {
            int32_t at = o * own.count * own.inner + i, sum = 0;
            for (int32_t k = 0; k < own.count; k++, at += own.inner) {
                sum += hws_load(in, at, own.in_bytes) - own.in_zero;
            }
            const int64_t code = hws_scale_long(sum, own.multiplier, own.shift) + own.out_zero;
            hws_store(out, o * own.inner + i, hws_bound(code, own.out_min, own.out_max), own.out_bytes);
        }
    }
}

void hws_std(const hws_std_layer *layer, const void *in, void *out) {
    const hws_std_layer own = *layer;
    for (int32_t o = 0; o < own.outer; o++) {
        for (int32_t i = 0; i < own.inner; i++) {
            int64_t sum = 0, squares = 0;
            int32_t at = o * own.count * own.inner + i;
            for (int32_t k = 0; k < own.count; k++, at += own.inner) {
                const int64_t x = hws_load(in, at, own.in_bytes) - own.in_zero;
                sum += x;
                squares += x * x;
            }
            const double count = own.count, first = (double)squares * count, second = (double)sum * (double)sum;
            const double variance = (first - second) / (count * (count - own.correction));
            const float value = (float)(sqrt(variance > 0 ? variance : 0) * (double)own.in_scale);
            const int32_t code = hws_nearest(value, own.out_scale, own.out_zero, own.out_min, own.out_max);
            hws_store(out, o * own.inner + i, code, own.out_bytes);
        }
    }
}

void hws_max_pool(const hws_pool_layer *layer, const void *in, void *out) {
    const hws_pool_layer own = *layer;
    int32_t index = 0;
    for (int32_t y = 0; y < own.out_h; y++) {
        for (int32_t x = 0; x < own.out_w; x++) {
            for (int32_t c = 0; c < own.channels; c++) {
                int32_t largest = 0;
                for (int32_t dy = 0; dy < own.kernel_h; dy++) {
                    const int32_t row = y * own.stride_h + dy - own.pad_top;
                    for (int32_t dx = 0; row >= 0 && row < own.in_h && dx < own.kernel_w; dx++) {
                        const int32_t column = x * own.stride_w + dx - own.pad_left;
                        if (column >= 0 && column < own.in_w) {
                            const int32_t code = hws_load(in, (row * own.in_w + column) * own.channels + c, own.bytes);
                            largest = code > largest ? code : largest;
                        }
                    }
                }
                hws_store(out, index++, largest, own.bytes);
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
            const int64_t place = hws_scale_long(below, own.place_multiplier, own.place_shift) + 32767;
            powers[i] = (int16_t)hws_interpolated(own.wide_exponential, place);
            sum += powers[i];
        }
        const int32_t length = bit_length(sum);
        const int64_t place = ((sum * ((int64_t)1 << (31 - length)) + (1 << 13)) >> 14) - (1 << 15) - (1 << 16);
        const int64_t scale = hws_interpolated(own.wide_inverse, place);
        for (int32_t i = 0; i < own.length; i++) {
            int64_t code = (powers[i] * scale + ((int64_t)1 << (length - 2))) >> (length - 1);
            code = hws_bound(code, INT16_MIN, INT16_MAX);
            code = hws_scale_long(code, own.multiplier, own.shift) + own.out_zero;
            hws_store(out, first + i, hws_bound(code, own.out_min, own.out_max), own.out_bytes);
        }
    }
}

void hws_layer_norm(const hws_norm_layer *layer, const void *in, void *out) {
    const hws_norm_layer own = *layer;
    for (int32_t row = 0, first = 0; row < own.rows; row++, first += own.length) {
        float sum = 0, power = 0;
        for (int32_t i = 0; i < own.length; i++) {
            sum += (float)(hws_load(in, first + i, own.in_bytes) - own.in_zero) * own.in_scale;
        }
        const float mean = sum / (float)own.length;
        for (int32_t i = 0; i < own.length; i++) {
            const float apart = (float)(hws_load(in, first + i, own.in_bytes) - own.in_zero) * own.in_scale - mean;
            power += apart * apart;
        }
        const float root = 1.0f / sqrtf(power / (float)own.length + own.epsilon);
        for (int32_t i = 0; i < own.length; i++) {
            const float apart = (float)(hws_load(in, first + i, own.in_bytes) - own.in_zero) * own.in_scale - mean;
            const float value = apart * root * own.gamma[i] + own.beta[i];
            hws_store(out, first + i, hws_nearest(value, own.out_scale, own.out_zero, own.out_min, own.out_max), own.out_bytes);
        }
    }
}

void hws_unit_norm(const hws_norm_layer *layer, const void *in, void *out) {
    const hws_norm_layer own = *layer;
    for (int32_t row = 0, first = 0; row < own.rows; row++, first += own.length) {
        int64_t squares = 0;
        for (int32_t i = 0; i < own.length; i++) {
            const int64_t x = hws_load(in, first + i, own.in_bytes) - own.in_zero;
            squares += x * x;
        }
        const float length = sqrtf((float)squares) * own.in_scale, divisor = length < own.epsilon ? own.epsilon : length;
        for (int32_t i = 0; i < own.length; i++) {
            const float value = (float)(hws_load(in, first + i, own.in_bytes) - own.in_zero) * own.in_scale / divisor;
            hws_store(out, first + i, hws_nearest(value, own.out_scale, own.out_zero, own.out_min, own.out_max), own.out_bytes);
        }
    }
}
