/* From accumulators to codes. Both rules are those of TensorFlow Lite for Microcontrollers and CMSIS-NN. */
#ifndef HWS_REQUANT_H
#define HWS_REQUANT_H

#include "hws.h"

/* Right shifts of negative numbers must be arithmetic, which C99 leaves to the compiler. */
typedef char hws_shifts_are_arithmetic[(-1 >> 1) == -1 ? 1 : -1];

/* x * multiplier / 2^31, rounded half up: the high half of the doubled product. */
static inline int32_t hws_multiply_high(int32_t x, int32_t multiplier) {
    return (int32_t)(((int64_t)x * multiplier + ((int64_t)1 << 30)) >> 31);
}

/* x / 2^exponent, rounded half away from zero. */
static inline int32_t hws_divide_by_power(int32_t x, int32_t exponent) {
    const int32_t mask = (int32_t)(((uint32_t)1 << exponent) - 1);
    const int32_t threshold = (mask >> 1) + (x < 0);
    return (x >> exponent) + ((x & mask) > threshold);
}

/* Rule "gemmlowp": x * multiplier * 2^(shift - 31), rounded twice. */
static inline int32_t hws_scale(int32_t x, int32_t multiplier, int32_t shift) {
    if (shift > 0) {
        return hws_multiply_high(x * ((int32_t)1 << shift), multiplier);
    }
    return hws_divide_by_power(hws_multiply_high(x, multiplier), -shift);
}

/* Rule "i16": x * multiplier * 2^(shift - 15) with a multiplier of 15 bits, rounded once, half up. */
static inline int64_t hws_scale_wide(int64_t x, int32_t multiplier, int32_t shift) {
    return (x * multiplier + ((int64_t)1 << (14 - shift))) >> (15 - shift);
}

static inline int32_t hws_bound(int64_t x, int32_t low, int32_t high) {
    return x < low ? low : x > high ? high : (int32_t)x;
}

static inline void hws_store(void *out, int32_t index, int32_t code, int32_t bytes) {
    if (bytes == 1) {
        ((uint8_t *)out)[index] = (uint8_t)code;
    } else {
        ((uint16_t *)out)[index] = (uint16_t)code;
    }
}

/* The code for an accumulator of output channel c, bias included. */
static inline int32_t hws_code(const hws_conv_layer *layer, int32_t c, int64_t sum) {
    const int below = sum < 0 && layer->slope_multiplier;
    const int32_t multiplier = below ? layer->slope_multiplier[c] : layer->multiplier[c];
    const int32_t shift = below ? layer->slope_shift[c] : layer->shift[c];
    const int64_t scaled = layer->in_bytes == 1 && layer->out_bytes == 1 ? hws_scale((int32_t)sum, multiplier, shift)
                                                                         : hws_scale_wide(sum, multiplier, shift);
    return hws_bound(scaled + layer->out_zero, layer->out_min, layer->out_max);
}

#endif
